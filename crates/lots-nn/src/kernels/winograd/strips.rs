//! A strip of tiles for each thread: what a thread has written it reads itself in the next step, and in the next convolution.
//!
//! Processors whose third-level caches differ exchange what the other one has written at the speed of memory. On the way back
//! squares overlap: where one lies over a square of an earlier strip, it is kept and added behind all strips, so that each
//! sum is made in the order in which one thread would make it.

use super::patches::{Patches, Region};
use super::{Call, LANES, TILE, Winograd};
use crate::kernels::simd::Isa;
use crate::parallel::{for_each, map, share, threads, worth};
use crate::scratch::Buffer;
use crate::shared::Shared;
use std::ops::Range;

/// Floats at the points of one block of tiles, of all channels before and after the products: they stay in a processor's own
/// cache.
const BLOCK: usize = 1 << 18;
/// Vectors that register tiles take abreast.
const ABREAST: usize = 4;

impl Winograd {
    /// A strip of tiles for each thread, if all can have one that is worth it. None if weights go to the points
    /// block by block: each thread would take all of them there.
    pub(super) fn strips(&self, call: &Call<'_>) -> Option<Vec<Range<usize>>> {
        let (patches, threads) = (&call.way.from.1, threads());
        let places = patches.count();
        let least = (2 * patches.across).max(2 * ABREAST);
        let work = self.place_size(call.way) * self.rows.min(self.channels);
        let strips = call.parallel
            && threads > 1
            && patches.lanes == LANES
            && self.stored.is_some()
            && places / threads >= least
            && worth(places * work / 8);
        strips.then(|| (0..threads).map(|t| share(places, t, threads)).collect())
    }

    /// All strips, each block by block on its thread.
    pub(super) fn by_strip(&self, call: &Call<'_>, strips: &[Range<usize>]) {
        let Call { isa, parallel, way, y, .. } = *call;
        let (channels, written, _) = way.to;
        let plane = written.floats();
        if way.back {
            for_each(parallel, strips.len(), |s| {
                let row = |strip: usize| strips.get(strip).map(|s| written.top(s.start));
                let (top, end) = (row(s).unwrap_or(0), row(s + 1).unwrap_or(written.plane[0]));
                let line = written.plane[1] * LANES;
                for channel in 0..channels {
                    // SAFETY: these rows are written by this call alone.
                    unsafe { y.slice(channel * plane + top * line, (end - top) * line) }.fill(0.0);
                }
            });
        }
        let most = (BLOCK / self.place_size(way) / ABREAST).max(1) * ABREAST;
        let mut later: Vec<(Later, Buffer)> = strips
            .iter()
            .map(|strip| {
                let later = Later::new(&written, channels, if way.back { strip.start } else { 0 });
                let kept = Buffer::dirty(later.floats());
                (later, kept)
            })
            .collect();
        let work = strips.iter().zip(&mut later).collect();
        map(parallel, work, |(strip, (later, kept)): (&Range<usize>, &mut (Later, Buffer))| {
            let alone = Call { parallel: false, ..*call };
            let blocks = (strip.len() / most).max(1);
            for block in 0..blocks {
                let part = share(strip.len(), block, blocks);
                let keep = way.back.then_some((&*later, Shared::new(kept)));
                self.block(&alone, strip.start + part.start..strip.start + part.end, keep);
            }
        });
        if way.back {
            for_each(parallel, channels, |channel| {
                for (later, kept) in &later {
                    // SAFETY: this plane is written by this call alone.
                    unsafe { later.add(isa, &written, channel, kept, (y, channel * plane)) };
                }
            });
        }
    }
}

/// The squares of a strip that lie over squares of earlier strips, and what of them is added later.
///
/// Once a square adds to a pixel later, all that come behind it and lie over that pixel do so too.
pub(super) struct Later {
    /// From the first square of the strip on.
    squares: Range<usize>,
    channels: usize,
    side: usize,
    /// Whether the first square lies over its neighbour on the left.
    left: bool,
}

impl Later {
    /// Of the strip that begins with square `first`.
    fn new(patches: &Patches, channels: usize, first: usize) -> Self {
        let (row, column) = (first / patches.across, first % patches.across);
        // The rest of its row, and the next one where squares of that lie over those in front of the strip.
        let rows = if column == 0 { row + 1 } else { row + 2 };
        let end = if first == 0 { 0 } else { patches.count().min(rows * patches.across) };
        Self { squares: first..end, channels, side: patches.side, left: column > 0 }
    }

    /// A square of sixteen images.
    fn size(&self) -> usize {
        self.side * self.side * LANES
    }

    fn floats(&self) -> usize {
        self.squares.len() * self.channels * self.size()
    }

    fn at(&self, square: usize, channel: usize) -> usize {
        ((square - self.squares.start) * self.channels + channel) * self.size()
    }

    /// The part of a square that is added at once.
    fn now(&self, square: usize) -> Region {
        let shared = |is_shared: bool| if is_shared { self.side - TILE } else { 0 };
        let rows = shared(self.squares.contains(&square))..self.side;
        let left = self.left && square == self.squares.start;
        Region { rows, columns: shared(left)..self.side }
    }

    /// Keeps a square if it takes part in this; gives the part of it that is added at once.
    ///
    /// # Safety
    /// No one else touches this square of this channel in `kept` meanwhile.
    pub(super) unsafe fn keep(
        &self,
        kept: Shared<'_>,
        square: usize,
        channel: usize,
        copy: &[f32],
    ) -> Region {
        if self.squares.contains(&square) {
            // SAFETY: the caller's promise.
            let to = unsafe { kept.slice(self.at(square, channel), self.size()) };
            to.copy_from_slice(&copy[..self.size()]);
        }
        self.now(square)
    }

    /// Adds what was kept of a channel to its plane, which begins at `plane.1`.
    ///
    /// # Safety
    /// No one else touches the plane meanwhile.
    unsafe fn add(
        &self,
        isa: Isa,
        patches: &Patches,
        channel: usize,
        kept: &[f32],
        plane: (Shared<'_>, usize),
    ) {
        for square in self.squares.clone() {
            let (place, from) = (patches.place(square), &kept[self.at(square, channel)..]);
            let now = self.now(square);
            let top = Region { rows: 0..now.rows.start, columns: 0..self.side };
            let left = Region { rows: now.rows, columns: 0..now.columns.start };
            for part in [top, left] {
                // SAFETY: the caller's promise.
                unsafe { patches.write(isa, plane, &place, &part, from, true) };
            }
        }
    }
}
