//! Squares of a plane, cut out and put back: sixteen tiles of one image, or one tile of sixteen images.

use super::TILE;
use super::transform::Steps;
use crate::kernels::conv::add;
use crate::kernels::packed::PANEL;
use crate::kernels::simd::Isa;
use crate::kernels::{LANES, versioned};
use crate::shared::Shared;
use std::ops::Range;

/// The squares of all tiles in one plane, [`TILE`] apart; what lies outside of the plane is zero and stays so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patches {
    /// Height and width of the plane.
    pub(super) plane: [usize; 2],
    /// How far the first square begins above and to the left of the plane.
    pub(super) pad: [usize; 2],
    /// Height and width of a square.
    pub(super) side: usize,
    /// Rows of squares, and squares on a row.
    pub(super) down: usize,
    pub(super) across: usize,
    pub(super) lanes: usize,
}

/// The squares that lie abreast in one vector.
#[derive(Clone, Debug)]
pub(super) struct Place {
    runs: Vec<Run>,
}

/// Neighbours on a row of squares; if there are several, none is cut on its left or right.
#[derive(Clone, Copy, Debug)]
struct Run {
    y: Part,
    x: Part,
    /// The place of the first one in the vector.
    lane: usize,
    count: usize,
}

/// The part of a square that lies inside the plane, on one axis.
#[derive(Clone, Copy, Debug)]
struct Part {
    /// First row of the square that is inside, and the row of the plane that it is.
    inside: usize,
    at: usize,
    count: usize,
}

/// A part of a square.
pub(super) struct Region {
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
}

impl Region {
    /// The whole square.
    pub(super) fn all(patches: &Patches) -> Self {
        Self { rows: 0..patches.side, columns: 0..patches.side }
    }
}

impl Patches {
    /// All squares.
    pub(super) fn count(&self) -> usize {
        self.down * self.across
    }

    /// Floats of a plane.
    pub(super) fn floats(&self) -> usize {
        self.plane[0] * self.plane[1] * self.lanes
    }

    /// The part of square `number` on `axis`.
    fn part(&self, axis: usize, number: usize) -> Part {
        let start = number * TILE;
        let inside = self.pad[axis].saturating_sub(start).min(self.side);
        let at = start + inside - self.pad[axis].min(start + inside);
        let at = at.min(self.plane[axis]);
        let count = (self.side - inside).min(self.plane[axis] - at);
        Part { inside, at, count }
    }

    /// The first row of the plane that square `number` covers.
    pub(super) fn top(&self, number: usize) -> usize {
        self.part(0, number / self.across).at
    }

    /// The squares of vector number `v`.
    pub(super) fn place(&self, v: usize) -> Place {
        let abreast = LANES / self.lanes;
        let mut runs: Vec<Run> = Vec::new();
        for tile in v * abreast..self.count().min((v + 1) * abreast) {
            let (row, column) = (tile / self.across, tile % self.across);
            let (y, x) = (self.part(0, row), self.part(1, column));
            let whole = |x: &Part| x.count == self.side;
            match runs.last_mut() {
                Some(run) if column > 0 && whole(&run.x) && whole(&x) => run.count += 1,
                _ => runs.push(Run { y, x, lane: tile - v * abreast, count: 1 }),
            }
        }
        Place { runs }
    }

    /// Where the whole square begins in the plane, if it lies inside and images lie abreast.
    pub(super) fn whole(&self, place: &Place) -> Option<usize> {
        let [Run { y, x, .. }] = place.runs[..] else { return None };
        let whole = self.lanes == LANES && y.count == self.side && x.count == self.side;
        whole.then(|| (y.at * self.plane[1] + x.at) * LANES)
    }

    /// How squares lie in a plane where images lie abreast.
    pub(super) fn steps(&self) -> Steps {
        Steps { row: Some(self.plane[1] * LANES), column: LANES }
    }

    /// How a copied square lies: element (y, x) at `(y · side + x) · 16`.
    pub(super) fn copied(&self) -> Steps {
        Steps { row: Some(self.side * PANEL), column: PANEL }
    }

    /// Copies the squares of a place.
    pub(super) fn read(&self, isa: Isa, plane: &[f32], place: &Place, to: &mut [f32]) {
        to[..self.side * self.side * PANEL].fill(0.0);
        let width = self.plane[1];
        for run in &place.runs {
            let Run { y, x, .. } = run;
            if self.lanes != LANES {
                read_run(isa, plane, width, self.side, run, to);
                continue;
            }
            for row in 0..y.count {
                let from = &plane[((y.at + row) * width + x.at) * LANES..][..x.count * LANES];
                let to = &mut to[((y.inside + row) * self.side + x.inside) * LANES..];
                to[..from.len()].copy_from_slice(from);
            }
        }
    }

    /// Puts a part of copied squares back, each over what is there or, if it `adds`, added to it, in their order. The plane begins
    /// at `plane.1`.
    ///
    /// # Safety
    /// No one else touches this part of the plane meanwhile; all of the plane, where single images lie there.
    pub(super) unsafe fn write(
        &self,
        isa: Isa,
        plane: (Shared<'_>, usize),
        place: &Place,
        part: &Region,
        from: &[f32],
        adds: bool,
    ) {
        let width = self.plane[1];
        if self.lanes != LANES {
            // SAFETY: the caller's promise.
            let plane = unsafe { plane.0.slice(plane.1, self.floats()) };
            for run in &place.runs {
                if adds {
                    add_run(isa, plane, width, self.side, run, from);
                } else {
                    write_run(isa, plane, width, self.side, run, from);
                }
            }
            return;
        }
        for Run { y, x, .. } in &place.runs {
            let (y, x) = (y.within(&part.rows), x.within(&part.columns));
            for row in 0..y.count {
                let at = plane.1 + ((y.at + row) * width + x.at) * LANES;
                // SAFETY: the caller's promise.
                let to = unsafe { plane.0.slice(at, x.count * LANES) };
                let from = &from[((y.inside + row) * self.side + x.inside) * LANES..];
                if adds {
                    add(isa, &from[..to.len()], to);
                } else {
                    to.copy_from_slice(&from[..to.len()]);
                }
            }
        }
    }
}

impl Part {
    /// What of it lies in some rows of the square.
    fn within(&self, rows: &Range<usize>) -> Self {
        let behind = self.inside + self.count;
        let inside = self.inside.max(rows.start).min(behind);
        let end = behind.min(rows.end);
        Self { inside, at: self.at + inside - self.inside, count: end.saturating_sub(inside) }
    }
}

versioned! {
    /// The squares of a run: element (y, x) of square `t` to lane `run.lane + t` of vector (y, x).
    fn read_run(plane: &[f32], width: usize, side: usize, run: &Run, to: &mut [f32]) {
        let Run { y, x, lane, count } = *run;
        for row in 0..y.count {
            let from = &plane[(y.at + row) * width + x.at..];
            let from = &from[..(count - 1) * TILE + x.count];
            for column in 0..x.count {
                let to = &mut to[((y.inside + row) * side + x.inside + column) * PANEL + lane..];
                let from = &from[column..];
                for (t, to) in to[..count].iter_mut().enumerate() {
                    *to = from[t * TILE];
                }
            }
        }
    }
}

versioned! {
    /// The squares of a run of tiles, which do not overlap, to their places.
    fn write_run(plane: &mut [f32], width: usize, side: usize, run: &Run, from: &[f32]) {
        let Run { y, x, lane, count } = *run;
        for row in 0..y.count {
            let to = &mut plane[(y.at + row) * width + x.at..][..(count - 1) * TILE + x.count];
            let from = &from[(y.inside + row) * side * PANEL + lane..];
            if count == 1 {
                for (column, to) in to.iter_mut().enumerate() {
                    *to = from[(x.inside + column) * PANEL];
                }
                continue;
            }
            let column = |c: usize| &from[c * PANEL..][..count];
            let columns = column(0).iter().zip(column(1)).zip(column(2)).zip(column(3));
            for (to, (((a, b), c), d)) in to.as_chunks_mut::<TILE>().0.iter_mut().zip(columns) {
                *to = [*a, *b, *c, *d];
            }
        }
    }
}

versioned! {
    /// Adds the squares of a run where they lie. Where two overlap the first one comes first, as with one after the other:
    /// the last columns of a square, which lie over the first ones of the next, are added before all first ones.
    fn add_run(plane: &mut [f32], width: usize, side: usize, run: &Run, from: &[f32]) {
        let Run { y, x, lane, count } = *run;
        for row in 0..y.count {
            let to = &mut plane[(y.at + row) * width + x.at..][..(count - 1) * TILE + x.count];
            let from = &from[(y.inside + row) * side * PANEL + lane..];
            if count == 1 {
                for (column, to) in to.iter_mut().enumerate() {
                    *to += from[(x.inside + column) * PANEL];
                }
                continue;
            }
            for column in (TILE..side).rev() {
                let from = &from[column * PANEL..][..count];
                for (t, from) in from.iter().enumerate() {
                    to[t * TILE + column] += from;
                }
            }
            let column = |c: usize| &from[c * PANEL..][..count];
            let columns = column(0).iter().zip(column(1)).zip(column(2)).zip(column(3));
            for (to, (((a, b), c), d)) in to.as_chunks_mut::<TILE>().0.iter_mut().zip(columns) {
                to[0] += a;
                to[1] += b;
                to[2] += c;
                to[3] += d;
            }
        }
    }
}
