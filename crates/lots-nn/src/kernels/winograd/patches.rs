//! Squares of a plane, cut out and put back: sixteen tiles of one image, or one tile of sixteen images.

use super::transform::Square;
use crate::kernels::conv::add;
use crate::kernels::simd::Isa;
use crate::kernels::tile::PANEL;
use crate::kernels::{LANES, versioned};

/// The squares of all tiles in one plane; what lies outside of the plane is zero and stays so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patches {
    /// Height and width of the plane.
    pub(super) plane: [usize; 2],
    /// How far the first square begins above and to the left of the plane.
    pub(super) pad: [usize; 2],
    /// Height and width of a square.
    pub(super) side: usize,
    /// How far squares lie apart.
    pub(super) stride: usize,
    /// Rows of squares, and squares on a row.
    pub(super) down: usize,
    pub(super) across: usize,
    pub(super) lanes: usize,
}

/// Squares that lie abreast in one vector.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) first: usize,
    pub(super) count: usize,
}

/// The part of a square that lies inside the plane, on one axis.
#[derive(Clone, Copy, Debug)]
struct Part {
    /// First row of the square that is inside, and the row of the plane that it is.
    inside: usize,
    at: usize,
    count: usize,
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
        let start = number * self.stride;
        let inside = self.pad[axis].saturating_sub(start).min(self.side);
        let at = start + inside - self.pad[axis].min(start + inside);
        let at = at.min(self.plane[axis]);
        let count = (self.side - inside).min(self.plane[axis] - at);
        Part { inside, at, count }
    }

    fn parts(&self, tile: usize) -> [Part; 2] {
        [self.part(0, tile / self.across), self.part(1, tile % self.across)]
    }

    /// Where the whole square lies in the plane, if it does and images lie abreast.
    pub(super) fn whole(&self, place: Place) -> Option<Square> {
        let [y, x] = self.parts(place.first);
        (self.lanes == LANES && y.count == self.side && x.count == self.side).then(|| Square {
            start: (y.at * self.plane[1] + x.at) * LANES,
            row: self.plane[1] * LANES,
            column: LANES,
        })
    }

    /// A copied square, element (y, x) at `(y · side + x) · 16`.
    pub(super) fn copied(&self) -> Square {
        Square { start: 0, row: self.side * PANEL, column: PANEL }
    }

    /// Copies the squares of a place.
    pub(super) fn read(&self, isa: Isa, plane: &[f32], place: Place, to: &mut [f32]) {
        to[..self.side * self.side * PANEL].fill(0.0);
        for i in 0..place.count {
            let [y, x] = self.parts(place.first + i);
            for row in 0..y.count {
                let from = ((y.at + row) * self.plane[1] + x.at) * self.lanes;
                let from = &plane[from..][..x.count * self.lanes];
                let to = &mut to[((y.inside + row) * self.side + x.inside) * PANEL..];
                if self.lanes == LANES {
                    to[..from.len()].copy_from_slice(from);
                } else {
                    spread(isa, from, i, to);
                }
            }
        }
    }

    /// Puts copied squares back, or adds them where they lie.
    pub(super) fn write(
        &self,
        isa: Isa,
        plane: &mut [f32],
        place: Place,
        from: &[f32],
        adds: bool,
    ) {
        for i in 0..place.count {
            let [y, x] = self.parts(place.first + i);
            for row in 0..y.count {
                let to = ((y.at + row) * self.plane[1] + x.at) * self.lanes;
                let to = &mut plane[to..][..x.count * self.lanes];
                let from = &from[((y.inside + row) * self.side + x.inside) * PANEL..];
                match (self.lanes == LANES, adds) {
                    (true, true) => add(isa, &from[..to.len()], to),
                    (true, false) => to.copy_from_slice(&from[..to.len()]),
                    (false, true) => gather_add(isa, from, i, to),
                    (false, false) => gather(isa, from, i, to),
                }
            }
        }
    }
}

versioned! {
    /// Element `k` of `from` to element `at` of vector `k` of `to`.
    fn spread(from: &[f32], at: usize, to: &mut [f32]) {
        for (to, from) in to.as_chunks_mut::<PANEL>().0.iter_mut().zip(from) {
            to[at] = *from;
        }
    }
}

versioned! {
    /// Element `at` of vector `k` of `from` to element `k` of `to`.
    fn gather(from: &[f32], at: usize, to: &mut [f32]) {
        for (to, from) in to.iter_mut().zip(from.as_chunks::<PANEL>().0) {
            *to = from[at];
        }
    }
}

versioned! {
    /// [`gather`], added to what is there.
    fn gather_add(from: &[f32], at: usize, to: &mut [f32]) {
        for (to, from) in to.iter_mut().zip(from.as_chunks::<PANEL>().0) {
            *to += from[at];
        }
    }
}
