//! Convolutions without padding, over lane-blocked or single images; padding is the caller's copy.

use super::matmul::row_tiles;
use super::packed::{PANEL, Packed};
use super::simd::Isa;
use super::single::{Weights, few_pixels, has_few_pixels, single};
use super::tile::{DOT, Dot, Start, Tap, Taps, Tile};
use super::{LANES, versioned};
use crate::parallel::{TASKS, for_each, share, worth};
use crate::scratch::Buffer;
use crate::shared::Shared;
use std::ops::Range;

/// Weights of sixteen rows from which on convolutions go tap by tap: they would come from the second-level cache.
const DEEP: usize = 1 << 13;

/// A convolution over an input that is already padded: every tap of every output lies inside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConvShape {
    /// Convolution groups, with their own channels and rows.
    pub(crate) groups: usize,
    /// Input channels of one convolution group.
    pub(crate) channels: usize,
    /// Output channels of one convolution group.
    pub(crate) rows: usize,
    /// Height and width of the kernel.
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) dilation: [usize; 2],
    /// Height and width of the padded input.
    pub(crate) input: [usize; 2],
    /// The first row of it that is no padding and the end of those, and the same of columns: [`ConvShape::seen`].
    pub(crate) inside: [[usize; 2]; 2],
    /// Height and width of the output.
    pub(crate) output: [usize; 2],
}

impl ConvShape {
    /// Taps of the kernel.
    pub(crate) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Length of the chain behind one output: taps × channels, tap by tap.
    pub(crate) fn depth(&self) -> usize {
        self.taps() * self.channels
    }

    pub(crate) fn plane(&self) -> usize {
        self.input[0] * self.input[1]
    }

    pub(crate) fn pixels(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Where the top left tap of output `pixel` lies in a plane of the input.
    pub(crate) fn corner(&self, pixel: usize) -> usize {
        let (y, x) = (pixel / self.output[1], pixel % self.output[1]);
        y * self.stride[0] * self.input[1] + x * self.stride[1]
    }

    /// Which taps of the output at `at` on `axis` see more than padding.
    fn seen(&self, axis: usize, at: usize) -> Range<usize> {
        let [first, end] = self.inside[axis];
        let (place, dilation) = (at * self.stride[axis], self.dilation[axis]);
        let before = |limit: usize| limit.saturating_sub(place).div_ceil(dilation);
        let end = before(end).min(self.kernel[axis]);
        before(first).min(end)..end
    }

    /// Whether the weights of sixteen rows are too many for the first-level cache, but those of one tap are not.
    fn is_deep(&self) -> bool {
        self.channels > 1 && self.channels * PANEL <= DEEP && self.depth() * PANEL > DEEP
    }

    /// Where tap (`y`, `x`) finds its weights and its pixels, of images that lie abreast.
    fn tap(&self, y: usize, x: usize) -> Tap {
        let tap = y * self.kernel[1] + x;
        Tap { a: tap * self.channels * PANEL, b: self.reach(tap) * LANES }
    }

    /// How far `tap` lies behind the top left one.
    pub(crate) fn reach(&self, tap: usize) -> usize {
        let (y, x) = (tap / self.kernel[1], tap % self.kernel[1]);
        y * self.dilation[0] * self.input[1] + x * self.dilation[1]
    }
}

/// `y = bias + W ∗ x` for one group of `lanes` (1 or 16) images.
///
/// `w` holds one packed matrix [rows, taps × channels] for each convolution group, `x` is
/// [groups × channels, input, lanes], `y` is [groups × rows, output, lanes].
#[allow(clippy::too_many_arguments, reason = "the operands of a convolution")]
pub(crate) fn conv_valid(
    isa: Isa,
    parallel: bool,
    s: &ConvShape,
    w: &[Packed],
    bias: Option<&[f32]>,
    lanes: usize,
    x: &[f32],
    y: &mut [f32],
) {
    assert!(x.len() == s.groups * s.channels * s.plane() * lanes);
    assert!(y.len() == s.groups * s.rows * s.pixels() * lanes);
    assert!(w.len() == s.groups && bias.is_none_or(|b| b.len() == s.groups * s.rows));
    let alike = if lanes == LANES { Alike::all(s) } else { Vec::new() };
    for (g, w) in w.iter().enumerate() {
        let x = &x[g * s.channels * s.plane() * lanes..][..s.channels * s.plane() * lanes];
        let y = &mut y[g * s.rows * s.pixels() * lanes..][..s.rows * s.pixels() * lanes];
        let bias = bias.map(|b| &b[g * s.rows..][..s.rows]);
        if lanes == LANES {
            lane_blocked(isa, parallel, s, &alike, w, bias, x, y)
        } else {
            single(isa, parallel, s, w, bias, x, y)
        }
    }
}

/// Whether [`conv_of_adjoint`] takes the convolution `s`, of images that lie `lanes` abreast.
pub(crate) fn takes_adjoint(s: &ConvShape, lanes: usize) -> bool {
    lanes == 1 && has_few_pixels(s) && s.channels.is_multiple_of(PANEL)
}

/// [`conv_valid`] without weights of its own: `w` are those of the convolution whose adjoint this one is, [channels, taps × rows], and
/// `taps` says which of its taps each tap of this one is.
pub(crate) fn conv_of_adjoint(
    isa: Isa,
    parallel: bool,
    s: &ConvShape,
    (w, taps): (&[Packed], &[usize]),
    x: &[f32],
    y: &mut [f32],
) {
    assert!(takes_adjoint(s, 1) && w.len() == s.groups && taps.len() == s.taps());
    let (x_size, y_size) = (s.channels * s.plane(), s.rows * s.pixels());
    assert!(x.len() == s.groups * x_size && y.len() == s.groups * y_size);
    let groups = x.chunks_exact(x_size).zip(y.chunks_exact_mut(y_size));
    for (w, (x, y)) in w.iter().zip(groups) {
        few_pixels(isa, parallel, s, &Weights::OfAdjoint(w, taps), None, x, y);
    }
}

#[allow(clippy::too_many_arguments, reason = "the operands of a convolution")]
fn lane_blocked(
    isa: Isa,
    parallel: bool,
    s: &ConvShape,
    alike: &[Alike],
    w: &Packed,
    bias: Option<&[f32]>,
    x: &[f32],
    y: &mut [f32],
) {
    let b_step = if s.channels == 1 { s.dilation[1] } else { s.plane() };
    let y = Shared::new(y);
    let parallel = parallel && worth(s.rows * s.depth() * s.pixels() * LANES / 8);
    let panels = s.rows.div_ceil(PANEL);
    let parts = if parallel { TASKS.div_ceil(panels) } else { 1 };
    // What is larger, pixels or weights, each thread reads only some of.
    let by_pixels = x.len() > s.rows * s.depth();
    let (pixels, deep) = (s.pixels() * LANES, s.is_deep());
    for_each(parallel, panels * parts, |task| {
        let (panel, part) =
            if by_pixels { (task % panels, task / panels) } else { (task / parts, task % parts) };
        let panel = panel * PANEL;
        let packed = w.panel(panel);
        let rows = panel..s.rows.min(panel + PANEL);
        let mine = share(s.pixels(), part, parts);
        if deep {
            for row in rows.clone() {
                // SAFETY: these rows of these pixels are written by this call alone.
                let y = unsafe { y.slice(row * pixels + mine.start * LANES, mine.len() * LANES) };
                // A negative zero counts as zero, as in `Start::Rows`.
                y.fill(bias.map_or(0.0, |b| b[row] + 0.0));
            }
        }
        for Alike { taps, depth, corners, places } in alike {
            let own = if deep {
                let before = |pixel: usize| places.partition_point(|p| *p < pixel * LANES);
                before(mine.start)..before(mine.end)
            } else {
                share(places.len(), part, parts)
            };
            for (m, count) in row_tiles(rows.len(), isa.tile_rows()) {
                let row = panel + m;
                let most = isa.tile_vectors(count);
                let start = match bias {
                    _ if deep => Start::Output,
                    Some(bias) => Start::Rows(&bias[row..]),
                    None => Start::Zero,
                };
                let corners = corners[own.clone()].chunks(most);
                for (b_vectors, c_vectors) in corners.zip(places[own.clone()].chunks(most)) {
                    let tile = Tile {
                        taps,
                        depth: *depth,
                        a: &packed[m..],
                        a_row: 1,
                        a_step: PANEL,
                        b: x,
                        b_step: b_step * LANES,
                        b_vectors,
                        start,
                        rows: count,
                    };
                    // SAFETY: these rows of these pixels are written by this call alone.
                    unsafe { tile.run(isa, y, row * pixels, pixels, c_vectors) };
                }
            }
        }
    });
}

/// Pixels of the output that are computed alike: their windows meet the padding alike, or, where there are many weights, they see
/// the one tap.
struct Alike {
    /// The taps that see more than padding, the others would add zeros; or one of them.
    taps: Taps,
    depth: usize,
    /// Where each pixel's top left tap lies in a plane, and the pixel itself, in order.
    corners: Vec<usize>,
    places: Vec<usize>,
}

impl Alike {
    fn all(s: &ConvShape) -> Vec<Self> {
        if s.is_deep() {
            let tap = |y: usize| (0..s.kernel[1]).map(move |x| (y, x));
            let taps = (0..s.kernel[0]).flat_map(tap);
            return taps.map(|(y, x)| Self::of_tap(s, y, x)).collect();
        }
        // Rows, and columns, that see the same taps.
        let classes = |axis: usize| {
            let mut all: Vec<(Range<usize>, Vec<usize>)> = Vec::new();
            for at in 0..s.output[axis] {
                let seen = s.seen(axis, at);
                match all.iter_mut().find(|(others, _)| *others == seen) {
                    Some((_, places)) => places.push(at),
                    None => all.push((seen, vec![at])),
                }
            }
            all
        };
        let (rows, columns) = (classes(0), classes(1));
        let both = |rows| columns.iter().map(move |columns| Self::of_windows(s, rows, columns));
        rows.iter().flat_map(both).collect()
    }

    /// Pixels on some rows and columns, with the taps that they see.
    fn of_windows(
        s: &ConvShape,
        rows: &(Range<usize>, Vec<usize>),
        columns: &(Range<usize>, Vec<usize>),
    ) -> Self {
        let [down, across] = [rows.0.clone(), columns.0.clone()];
        // A chain runs over the channels of a tap; where there is only one, over the taps of a row.
        let (taps, depth) = match s.channels {
            1 if across.is_empty() => (Taps::default(), 0),
            1 => (down.map(|y| s.tap(y, across.start)).collect(), across.len()),
            _ => {
                let row = |y: usize| across.clone().map(move |x| s.tap(y, x));
                (down.flat_map(row).collect(), s.channels)
            }
        };
        Self::of_pixels(s, taps, depth, &rows.1, &columns.1)
    }

    /// All pixels that see tap (`y`, `x`).
    fn of_tap(s: &ConvShape, y: usize, x: usize) -> Self {
        let see = |axis: usize, tap: usize| -> Vec<usize> {
            (0..s.output[axis]).filter(|&at| s.seen(axis, at).contains(&tap)).collect()
        };
        let taps = std::iter::once(s.tap(y, x)).collect();
        Self::of_pixels(s, taps, s.channels, &see(0, y), &see(1, x))
    }

    fn of_pixels(
        s: &ConvShape,
        taps: Taps,
        depth: usize,
        rows: &[usize],
        columns: &[usize],
    ) -> Self {
        let row = |&y: &usize| columns.iter().map(move |x| y * s.output[1] + x);
        let pixels: Vec<usize> = rows.iter().flat_map(row).collect();
        let corners = pixels.iter().map(|&p| s.corner(p) * LANES).collect();
        let places = pixels.iter().map(|p| p * LANES).collect();
        Self { taps, depth, corners, places }
    }
}

/// `dw[row][channel][tap] += Σ over images and pixels of g · x` for lane-blocked images.
///
/// `x` is [image groups, groups × channels, input, 16], `g` is [image groups, groups × rows, output, 16],
/// `dw` is [groups × rows, channels, taps].
pub(crate) fn conv_weight_gradient(
    isa: Isa,
    parallel: bool,
    s: &ConvShape,
    x: &[f32],
    g: &[f32],
    dw: &mut [f32],
) {
    let (x_group, g_group) =
        (s.groups * s.channels * s.plane() * LANES, s.groups * s.rows * s.pixels() * LANES);
    let image_groups = x.len() / x_group.max(1);
    assert!(x.len() == image_groups * x_group && g.len() == image_groups * g_group);
    assert!(dw.len() == s.groups * s.rows * s.depth());
    let taps: Taps = (0..image_groups)
        .flat_map(|i| (0..s.output[0]).map(move |y| (i, y)))
        .map(|(i, y)| Tap {
            a: i * g_group + y * s.output[1] * LANES,
            b: i * x_group + y * s.stride[0] * s.input[1] * LANES,
        })
        .collect();
    let tiles: Vec<(usize, usize, usize)> = (0..s.groups)
        .flat_map(|group| row_tiles(s.rows, DOT.0).map(move |(row, count)| (group, row, count)))
        .collect();
    let columns: Vec<usize> = (0..s.channels)
        .flat_map(|c| (0..s.taps()).map(move |t| (c, t)))
        .map(|(c, t)| (c * s.plane() + s.reach(t)) * LANES)
        .collect();
    let out = Shared::new(dw);
    for_each(parallel, tiles.len(), |t| {
        let (group, row, count) = tiles[t];
        let a_rows: [usize; DOT.0] = std::array::from_fn(|m| m * s.pixels() * LANES);
        // SAFETY: these rows are written by this call alone.
        let dst = unsafe { out.slice((group * s.rows + row) * s.depth(), count * s.depth()) };
        for (j, b_rows) in columns.chunks(DOT.1).enumerate() {
            let dot = Dot {
                taps: &taps,
                depth: s.output[1],
                a: &g[(group * s.rows + row) * s.pixels() * LANES..],
                a_rows: &a_rows[..count],
                a_step: LANES,
                b: &x[group * s.channels * s.plane() * LANES..],
                b_rows,
                b_step: s.stride[1] * LANES,
            };
            let sums = dot.run(isa);
            for (m, sums) in sums[..count].iter().enumerate() {
                for (n, sum) in sums[..b_rows.len()].iter().enumerate() {
                    dst[m * s.depth() + j * DOT.1 + n] += sum;
                }
            }
        }
    });
}

/// `dx = Wᵀ ∗ g` for one group of `lanes` images: the products of all kernel columns for one row of `dx` at a time, then
/// added where they lie.
///
/// Pays where there are few input channels: one row's products stay in the first-level cache. `w` holds one packed
/// matrix [kernel columns × channels, kernel rows × rows] for each convolution group, `g` is [groups × rows, output,
/// lanes], `dx` is [groups × channels, input, lanes] over the padded input; overwritten.
pub(crate) fn conv_columns_back(
    isa: Isa,
    parallel: bool,
    s: &ConvShape,
    w: &[Packed],
    lanes: usize,
    g: &[f32],
    dx: &mut [f32],
) {
    assert!(dx.len() == s.groups * s.channels * s.plane() * lanes);
    assert!(g.len() == s.groups * s.rows * s.pixels() * lanes && w.len() == s.groups);
    dx.fill(0.0);
    let width = s.output[1];
    // Vectors of one row of products: an image's lanes, or sixteen pixels of a single image.
    let wide = if lanes == LANES { width } else { width.div_ceil(PANEL) };
    let places: Vec<usize> = (0..wide).map(|v| v * PANEL).collect();
    let outputs = s.kernel[1] * s.channels;
    let parallel = parallel && worth(s.rows * s.depth() * s.pixels() * lanes / 8);
    let tasks = if parallel { TASKS.min(s.input[0]) } else { 1 };
    // A single image's rows, each with room for whole vectors.
    let mut padded =
        Buffer::zeroed(if lanes == LANES { 0 } else { s.rows * s.output[0] * wide * PANEL });
    for (group, w) in w.iter().enumerate() {
        let g = &g[group * s.rows * s.pixels() * lanes..][..s.rows * s.pixels() * lanes];
        let dx =
            &mut dx[group * s.channels * s.plane() * lanes..][..s.channels * s.plane() * lanes];
        if lanes != LANES {
            for (to, from) in padded.chunks_exact_mut(wide * PANEL).zip(g.chunks_exact(width)) {
                to[..width].copy_from_slice(from);
            }
        }
        let g = if lanes == LANES { g } else { &padded[..] };
        let dx = Shared::new(dx);
        for_each(parallel, tasks, |task| {
            let mut products = Buffer::dirty(outputs * wide * PANEL);
            for y in share(s.input[0], task, tasks) {
                // The rows of the output that see this one, by kernel row.
                let seen = |ky: usize| {
                    let above = y.checked_sub(ky * s.dilation[0])?;
                    let row = above / s.stride[0];
                    (above % s.stride[0] == 0 && row < s.output[0]).then_some(row)
                };
                let taps: Taps = (0..s.kernel[0])
                    .filter_map(|ky| Some((ky, seen(ky)?)))
                    .map(|(ky, row)| Tap { a: ky * s.rows * PANEL, b: row * wide * PANEL })
                    .collect();
                if taps.is_empty() {
                    continue;
                }
                for panel in (0..outputs).step_by(PANEL) {
                    for (m, count) in row_tiles(PANEL.min(outputs - panel), isa.tile_rows()) {
                        for vectors in places.chunks(isa.tile_vectors(count)) {
                            let tile = Tile {
                                taps: &taps,
                                depth: s.rows,
                                a: &w.panel(panel)[m..],
                                a_row: 1,
                                a_step: PANEL,
                                b: g,
                                b_step: s.output[0] * wide * PANEL,
                                b_vectors: vectors,
                                start: Start::Zero,
                                rows: count,
                            };
                            let (start, step) = ((panel + m) * wide * PANEL, wide * PANEL);
                            // SAFETY: `products` is this call's own.
                            unsafe {
                                tile.run(isa, Shared::new(&mut products), start, step, vectors)
                            };
                        }
                    }
                }
                for (k, products) in products.chunks_exact(wide * PANEL).enumerate() {
                    let (kx, channel) = (k / s.channels, k % s.channels);
                    let place = channel * s.plane() + y * s.input[1] + kx * s.dilation[1];
                    let length = (width - 1) * s.stride[1] + 1;
                    // SAFETY: these rows are written by this call alone.
                    let dx = unsafe { dx.slice(place * lanes, length * lanes) };
                    match (s.stride[1], lanes) {
                        (1, _) => add(isa, &products[..width * lanes], dx),
                        (step, LANES) => add_apart::<LANES>(isa, products, step, dx),
                        (step, _) => add_apart::<1>(isa, products, step, dx),
                    }
                }
            }
        });
    }
}

versioned! {
    /// Adds pieces of `L` floats to those that lie `step` pieces apart, as many as there are in `y`.
    fn add_apart<const L: usize>(x: &[f32], step: usize, y: &mut [f32]) {
        let (x, y) = (x.as_chunks::<L>().0, y.as_chunks_mut::<L>().0);
        for (y, x) in y.iter_mut().step_by(step).zip(x) {
            for l in 0..L {
                y[l] += x[l];
            }
        }
    }
}

versioned! {
    /// `y += x`, as far as `x` goes.
    pub(crate) fn add(x: &[f32], y: &mut [f32]) {
        y.iter_mut().zip(x).for_each(|(y, x)| *y += x);
    }
}
