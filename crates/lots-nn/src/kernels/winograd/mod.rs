//! Convolutions of stride 1 with 3 × 3 or 5 × 5 taps by Winograd's minimal filtering, and their adjoint.
//!
//! Tiles of 4 × 4 outputs go to 6 × 6 or 8 × 8 points, where a convolution is one matrix product a point, with 4 or 6.25
//! times fewer multiplications. Back-projection is the transposed sequence with the same weights, and the weights' gradient
//! (`gradient`) takes columns of both operands to points. A vector holds one tile of sixteen images that lie side by side, or sixteen tiles of
//! a single image: both make the same numbers in the same order.

mod gradient;
mod matrices;
mod patches;
mod products;
mod strips;
#[cfg(test)]
mod tests;
mod transform;

use super::LANES;
use super::packed::{PANEL, Packed};
use super::simd::Isa;
use crate::parallel::{for_each, worth};
use crate::scratch::Buffer;
use crate::shared::Shared;
use std::cell::RefCell;
use std::ops::Range;

use patches::{Patches, Place, Region};
use products::{FewColumns, Product};
use strips::Later;
use transform::{Steps, Transform, apply};

/// Outputs of a tile on each axis.
const TILE: usize = 4;
/// The most points of a tile on each axis.
const POINTS: usize = 8;
/// From so many weights of a tap on they are not stored at the points.
const MANY: usize = 1 << 15;
/// Channels of a panel whose weights go to the points at a time; on the way back, panels and channels. Their points stay in
/// the second-level cache.
const CHANNELS: usize = 128;
const BACK_PANELS: usize = 2;
const BACK_CHANNELS: usize = 64;
/// So few vectors of tiles of a single image go the other way round, with stored weights: half of the last one may be empty.
const FEW: usize = 2;
/// Floats at the points of one block of tiles, of all channels before and after the products.
const BLOCK: usize = 1 << 19;

/// Room for a copied square.
type Square = [f32; POINTS * POINTS * PANEL];

thread_local! {
    static COPY: RefCell<Square> = const { RefCell::new([0.0; POINTS * POINTS * PANEL]) };
}

/// A convolution of one group by tiles.
#[derive(Clone, Debug)]
pub(crate) struct Winograd {
    rows: usize,
    channels: usize,
    /// Taps on each axis, 3 or 5.
    taps: usize,
    /// The weights at the points, `[points²][rows / 16][channels][16]`; where they are many, they are made anew each time, which
    /// takes less than to read them from memory.
    stored: Option<Vec<f32>>,
}

/// Where the windows of a convolution lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    /// Height and width of a plane of the input.
    pub(crate) input: [usize; 2],
    pub(crate) output: [usize; 2],
    /// Rows above and columns left of the input.
    pub(crate) pad: [usize; 2],
}

/// One way through the transforms: planes to points, products, points to planes.
struct Way<'a> {
    back: bool,
    /// Channels, squares and transform on the way to the points.
    from: (usize, Patches, Transform),
    /// The same on the way from them.
    to: (usize, Patches, Transform),
    bias: Option<&'a [f32]>,
}

/// One way, and the planes at its ends.
#[derive(Clone, Copy)]
struct Call<'a> {
    isa: Isa,
    parallel: bool,
    way: &'a Way<'a>,
    w: &'a Packed,
    x: &'a [f32],
    y: Shared<'a>,
}

impl Winograd {
    /// Of the weights `w`, [rows, taps² × channels] tap by tap; the same must be given to the other functions.
    pub(crate) fn new(isa: Isa, parallel: bool, taps: usize, w: &Packed) -> Self {
        let many = w.rows * w.depth >= MANY * taps * taps;
        let mut all = Self::not_stored(taps, w);
        all.stored = (!many).then(|| all.at_points(isa, parallel, w));
        all
    }

    fn not_stored(taps: usize, w: &Packed) -> Self {
        let (rows, channels) = (w.rows, w.depth / (taps * taps));
        Self { rows, channels, taps, stored: None }
    }

    /// The weights at the points, `[points²][rows / 16][channels][16]`.
    fn at_points(&self, isa: Isa, parallel: bool, w: &Packed) -> Vec<f32> {
        let panels = self.rows.div_ceil(PANEL);
        let point = panels * self.channels * PANEL;
        let mut all = vec![0.0; self.points() * self.points() * point];
        let to = Shared::new(&mut all);
        for_each(parallel, panels, |panel| {
            let at = panel * self.channels * PANEL;
            // SAFETY: a panel's points are written by this call alone.
            unsafe { self.panel(isa, w, panel, 0..self.channels, to, at, point) };
        });
        all
    }

    /// Some channels of one panel of weights to the points: channel after channel from `at` on, `point` floats from one point
    /// to the next.
    ///
    /// # Safety
    /// No one else touches these places meanwhile.
    #[allow(clippy::too_many_arguments, reason = "what, and where to")]
    unsafe fn panel(
        &self,
        isa: Isa,
        w: &Packed,
        panel: usize,
        channels: Range<usize>,
        to: Shared<'_>,
        at: usize,
        point: usize,
    ) {
        let from = w.panel(panel * PANEL);
        let tap = self.channels * PANEL;
        let taps = Steps { row: Some(self.taps * tap), column: tap };
        let points = Steps { row: Some(self.points() * point), column: point };
        let places: Vec<[usize; 2]> =
            channels.enumerate().map(|(n, c)| [c * PANEL, at + n * PANEL]).collect();
        // SAFETY: the caller's promise.
        unsafe {
            apply(isa, Transform::Weights, self.taps, (from, taps), 0.0, (to, points), &places);
        }
    }

    /// Points of a tile on each axis.
    fn points(&self) -> usize {
        self.taps + TILE - 1
    }

    /// `y = bias + W ∗ x` for one group of `lanes` (1 or 16) images.
    ///
    /// `x` is [channels, input, lanes], `y` is [rows, output, lanes].
    #[allow(clippy::too_many_arguments, reason = "the operands of a convolution")]
    pub(crate) fn forward(
        &self,
        isa: Isa,
        parallel: bool,
        field: &Field,
        w: &Packed,
        bias: Option<&[f32]>,
        lanes: usize,
        x: &[f32],
        y: &mut [f32],
    ) {
        let way = Way {
            back: false,
            from: (self.channels, field.windows(self.points(), lanes), Transform::Input),
            to: (self.rows, field.tiles(lanes), Transform::Output),
            bias,
        };
        self.run(&Call { isa, parallel, way: &way, w, x, y: Shared::new(y) });
    }

    /// `dx = Wᵀ ∗ g`, the adjoint of [`Winograd::forward`] without its bias.
    ///
    /// `g` is [rows, output, lanes], `dx` is [channels, input, lanes]; overwritten.
    #[allow(clippy::too_many_arguments, reason = "the operands of a convolution")]
    pub(crate) fn back(
        &self,
        isa: Isa,
        parallel: bool,
        field: &Field,
        w: &Packed,
        lanes: usize,
        g: &[f32],
        dx: &mut [f32],
    ) {
        let way = Way {
            back: true,
            from: (self.rows, field.tiles(lanes), Transform::OutputBack),
            to: (self.channels, field.windows(self.points(), lanes), Transform::InputBack),
            bias: None,
        };
        self.run(&Call { isa, parallel, way: &way, w, x: g, y: Shared::new(dx) });
    }

    /// All tiles, by strips where each thread can have one of its own.
    fn run(&self, call: &Call<'_>) {
        let Call { parallel, way, y, .. } = *call;
        let ((from, read, _), (to, written, _)) = (way.from, way.to);
        assert!(call.x.len() == from * read.floats() && way.bias.is_none_or(|b| b.len() == to));
        assert!(y.len() == to * written.floats());
        if let Some(strips) = self.strips(call) {
            return self.by_strip(call, &strips);
        }
        let places = read.count().div_ceil(LANES / read.lanes);
        let blocks = places.div_ceil((BLOCK / self.place_size(way)).max(4));
        let most = places.div_ceil(blocks.max(1));
        let worth = worth(self.points() * self.points() * from * to * most * PANEL / 8);
        let call = Call { parallel: parallel && worth, ..*call };
        if way.back {
            for_each(call.parallel, to, |channel| {
                // SAFETY: this plane is written by this call alone.
                unsafe { y.slice(channel * written.floats(), written.floats()) }.fill(0.0);
            });
        }
        for first in (0..places).step_by(most) {
            self.block(&call, first..places.min(first + most), None);
        }
    }

    /// Floats at the points of one place, of all channels before and after the products.
    fn place_size(&self, way: &Way<'_>) -> usize {
        self.points() * self.points() * (way.from.0 + way.to.0) * PANEL
    }

    /// One block of tiles: all channels to the points, one product a point, all results back, but for those of `later`.
    fn block(&self, call: &Call<'_>, places: Range<usize>, later: Option<(&Later, Shared<'_>)>) {
        let Call { isa, parallel, way, w, x, y } = *call;
        let ((from, read, there), (to, written, back)) = (way.from, way.to);
        let (x_plane, y_plane) = (read.floats(), written.floats());
        let points = self.points() * self.points();
        let (first, vectors) = (places.start, places.len());
        let placed = |patches: &Patches| -> Vec<Place> {
            places.clone().map(|v| patches.place(v)).collect()
        };
        let (read_places, written_places) = (placed(&read), placed(&written));
        // One vector behind each point: without it, all points of a place share few sets of the cache.
        let length = |channels: usize| (channels * vectors + 1) * PANEL;
        let (before_step, after_step) = (length(from), length(to));
        let mut before = Buffer::dirty(points * before_step);
        let mut after = Buffer::dirty(points * after_step);
        let at_points = |step: usize| Steps { row: Some(self.points() * step), column: step };
        let place = |channel: usize, v: usize| (channel * vectors + v) * PANEL;
        let (before_steps, after_steps) = (at_points(before_step), at_points(after_step));
        let points_of = Shared::new(&mut before);
        // Squares that need no copy: of single images none.
        let abreast = if read.lanes == LANES { vectors } else { 0 };
        let to_points = |channel: usize, copy: &mut Square| {
            let plane = &x[channel * x_plane..][..x_plane];
            let to = (points_of, before_steps);
            let mut whole = Vec::with_capacity(abreast);
            for (v, patch) in read_places.iter().enumerate() {
                let to_place = place(channel, v);
                if let Some(start) = read.whole(patch) {
                    whole.push([start, to_place]);
                    continue;
                }
                read.read(isa, plane, patch, copy);
                let source = (&copy[..], read.copied());
                // SAFETY: this channel's points are written by this call alone.
                unsafe { apply(isa, there, self.taps, source, 0.0, to, &[[0, to_place]]) };
            }
            // SAFETY: as above.
            unsafe { apply(isa, there, self.taps, (plane, read.steps()), 0.0, to, &whole) };
        };
        for_each(parallel, from, |channel| COPY.with_borrow_mut(|copy| to_points(channel, copy)));
        // Of a single image.
        let columns = (read.count() - first * LANES / read.lanes).min(vectors * PANEL);
        let job = Job {
            isa,
            parallel,
            back: way.back,
            w,
            before: &before,
            before_step,
            after_step,
            vectors,
            few: (read.lanes == 1 && vectors <= FEW).then_some(columns),
        };
        match &self.stored {
            Some(stored) => self.by_point(&job, stored, Shared::new(&mut after)),
            None => self.by_block(&job, Shared::new(&mut after)),
        }
        let after = &after[..];
        let from_points = |channel: usize, copy: &mut Square| {
            let start = way.bias.map_or(0.0, |b| b[channel]);
            let source = (after, after_steps);
            let mut whole = Vec::with_capacity(abreast);
            for (v, patch) in written_places.iter().enumerate() {
                let from_place = place(channel, v);
                if let Some(start) = written.whole(patch).filter(|_| !way.back) {
                    whole.push([from_place, channel * y_plane + start]);
                    continue;
                }
                let out = (Shared::new(copy), written.copied());
                // SAFETY: the copy is this call's own.
                unsafe { apply(isa, back, self.taps, source, start, out, &[[from_place, 0]]) };
                let now = match later {
                    // SAFETY: this square of this channel is kept by this call alone.
                    Some((later, kept)) => unsafe { later.keep(kept, first + v, channel, copy) },
                    None => Region::all(&written),
                };
                // SAFETY: this part of this channel's plane is written by this call alone.
                unsafe { written.write(isa, (y, channel * y_plane), patch, &now, copy, way.back) };
            }
            // SAFETY: as above.
            unsafe { apply(isa, back, self.taps, source, start, (y, written.steps()), &whole) };
        };
        for_each(parallel, to, |channel| COPY.with_borrow_mut(|copy| from_points(channel, copy)));
    }
}

/// The products of one block of tiles.
struct Job<'a> {
    isa: Isa,
    parallel: bool,
    back: bool,
    w: &'a Packed,
    /// `[points²][channels before the products][vectors][16]`, `before_step` from one point to the next.
    before: &'a [f32],
    before_step: usize,
    after_step: usize,
    vectors: usize,
    /// How many tiles there are, if they are few.
    few: Option<usize>,
}

impl Winograd {
    /// One product a point, with stored weights.
    fn by_point(&self, job: &Job<'_>, stored: &[f32], after: Shared<'_>) {
        let Job { isa, vectors, .. } = *job;
        let points = self.points() * self.points();
        let size = stored.len() / points;
        for_each(job.parallel, points, |point| {
            // SAFETY: a point's products are written by this call alone.
            let out = unsafe { after.slice(point * job.after_step, job.after_step) };
            let b = &job.before[point * job.before_step..][..job.before_step];
            let w = &stored[point * size..][..size];
            let (rows, channels) = (self.rows, self.channels);
            if let Some(columns) = job.few {
                let few = FewColumns { w, rows, channels, b, width: vectors * PANEL, columns };
                return if job.back { few.back(isa, out) } else { few.forward(isa, out) };
            }
            let back = job.back;
            Product { weights: w, rows, channels, back, b, vectors, adds: false }.run(isa, out);
        });
    }

    /// Blocks of weights to the points, and their share of the products of all points.
    fn by_block(&self, job: &Job<'_>, after: Shared<'_>) {
        let Job { isa, vectors, .. } = *job;
        let points = self.points() * self.points();
        // A task has rows of the result of its own: a panel of rows, or some channels.
        let (panels, channels) =
            if job.back { (BACK_PANELS, BACK_CHANNELS) } else { (1, CHANNELS) };
        let all_panels = self.rows.div_ceil(PANEL);
        let tasks = if job.back { self.channels.div_ceil(channels) } else { all_panels };
        for_each(job.parallel, tasks, |task| {
            // One vector behind each point, as above.
            let mut weights = Buffer::dirty(points * (panels * channels + 1) * PANEL);
            let pieces = if job.back {
                all_panels.div_ceil(panels)
            } else {
                self.channels.div_ceil(channels)
            };
            for piece in 0..pieces {
                let (p, c) = if job.back {
                    (piece * panels, task * channels)
                } else {
                    (task, piece * channels)
                };
                let channels = c..self.channels.min(c + channels);
                let panels = p..all_panels.min(p + panels);
                let rows = panels.start * PANEL..self.rows.min(panels.end * PANEL);
                let size = channels.len() * PANEL;
                let point_size = panels.len() * size;
                let step = point_size + PANEL;
                for (n, panel) in panels.enumerate() {
                    let to = Shared::new(&mut weights);
                    // SAFETY: the buffer is this call's own.
                    unsafe { self.panel(isa, job.w, panel, channels.clone(), to, n * size, step) };
                }
                let (from, to) = if job.back { (&rows, &channels) } else { (&channels, &rows) };
                let width = vectors * PANEL;
                for point in 0..points {
                    let b = &job.before[point * job.before_step..]
                        [from.start * width..from.end * width];
                    let at = point * job.after_step + to.start * width;
                    // SAFETY: a task's rows of the result are written by this call alone.
                    let out = unsafe { after.slice(at, to.len() * width) };
                    let product = Product {
                        weights: &weights[point * step..][..point_size],
                        rows: rows.len(),
                        channels: channels.len(),
                        back: job.back,
                        b,
                        vectors,
                        adds: piece > 0,
                    };
                    product.run(isa, out);
                }
            }
        });
    }
}

impl Field {
    /// The tiles of the output.
    fn tiles(&self, lanes: usize) -> Patches {
        let [down, across] = self.output.map(|n| n.div_ceil(TILE));
        Patches { plane: self.output, pad: [0, 0], side: TILE, down, across, lanes }
    }

    /// What each tile of the output sees of the input.
    fn windows(&self, side: usize, lanes: usize) -> Patches {
        Patches { plane: self.input, pad: self.pad, side, ..self.tiles(lanes) }
    }
}
