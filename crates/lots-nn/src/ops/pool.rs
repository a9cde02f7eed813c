//! MaxPool and AveragePool.

use super::{Keeper, Keeps, Kept, Operator, Run, Window};
use crate::kernels::{LANES, versioned};

/// The largest value of each window, planes on their own; of equal ones the first in row order.
#[derive(Debug)]
pub(crate) struct MaxPool {
    planes: usize,
    window: Window,
    /// Where each output's taps lie: `[output][tap]`, `u32::MAX` = padding.
    taps: Vec<u32>,
}

impl MaxPool {
    /// Max pooling over [`planes`, `window.input`].
    pub(crate) fn new(planes: usize, window: Window) -> Self {
        let mut taps = Vec::new();
        for_each_tap(&window, |at| taps.push(at.map_or(u32::MAX, |at| at as u32)));
        Self { planes, window, taps }
    }

    fn size(&self) -> usize {
        self.window.kernel[0] * self.window.kernel[1]
    }

    /// Bytes that name a tap: one for windows of up to 256 taps, else two or more.
    fn digits(&self) -> usize {
        let mut digits = 1;
        while self.size() > 1 << (8 * digits) {
            digits += 1;
        }
        digits
    }

    /// Whether the windows are 2 × 2 and lie side by side, without padding: the common case has loops of its own.
    fn halves(&self) -> bool {
        let w = &self.window;
        let inside = (0..2).all(|a| 2 * w.output[a] <= w.input[a]);
        w.kernel == [2, 2]
            && w.stride == [2, 2]
            && w.dilation == [1, 1]
            && w.pad == [0, 0]
            && inside
    }

    /// Calls `f(plane, place in the input plane, cotangent)` for the winner of each window of image `lane`.
    pub(crate) fn winners(
        &self,
        kept: &[u8],
        cotangent: &[f32],
        lanes: usize,
        lane: usize,
        mut f: impl FnMut(usize, usize, f32),
    ) {
        let outputs = self.window.output[0] * self.window.output[1];
        let (size, digits) = (self.size(), self.digits());
        let all = self.planes * outputs * lanes;
        for plane in 0..self.planes {
            let first = plane * outputs * lanes + lane;
            let cotangents = cotangent[first..].iter().step_by(lanes);
            for (o, (&g, taps)) in cotangents.zip(self.taps.chunks_exact(size)).enumerate() {
                let at = first + o * lanes;
                let mut tap = usize::from(kept[at]);
                for d in 1..digits {
                    tap |= usize::from(kept[d * all + at]) << (8 * d);
                }
                f(plane, taps[tap] as usize, g);
            }
        }
    }
}

fn for_each_tap(w: &Window, mut f: impl FnMut(Option<usize>)) {
    for y in 0..w.output[0] {
        for x in 0..w.output[1] {
            for ky in 0..w.kernel[0] {
                for kx in 0..w.kernel[1] {
                    f(w.at(y, x, ky, kx));
                }
            }
        }
    }
}

impl Operator for MaxPool {
    fn name(&self) -> &'static str {
        "MaxPool"
    }

    fn keeps(&self) -> Keeps {
        Keeps {
            bytes: self.planes * self.window.output[0] * self.window.output[1] * self.digits(),
            floats: 0,
        }
    }

    /// Planes; not where several bytes name a tap, as those of all planes lie together.
    fn parts(&self) -> usize {
        if self.digits() == 1 { self.planes } else { 1 }
    }

    fn forward(&self, run: Run, inputs: &[&[f32]], output: &mut [f32], keeper: Option<Keeper<'_>>) {
        let plane = self.window.input[0] * self.window.input[1];
        let (isa, x, taps, size) = (run.isa, inputs[0], &self.taps[..], self.size());
        if self.halves() {
            let (input, to) = (self.window.input, self.window.output);
            return match (run.lanes, keeper.map(|k| k.bytes)) {
                (LANES, Some(kept)) => halve_forward::<LANES>(isa, x, input, to, output, kept),
                (_, Some(kept)) => halve_forward::<1>(isa, x, input, to, output, kept),
                (LANES, None) => halve_values::<LANES>(isa, x, input, to, output),
                (_, None) => halve_values::<1>(isa, x, input, to, output),
            };
        }
        if run.lanes == 1 && self.digits() == 1 {
            return row_forward(isa, x, &self.window, output, keeper.map(|k| k.bytes));
        }
        match (run.lanes, keeper.map(|k| k.bytes)) {
            (LANES, Some(kept)) => max_forward::<LANES>(isa, x, plane, taps, size, output, kept),
            (_, Some(kept)) => max_forward::<1>(isa, x, plane, taps, size, output, kept),
            (LANES, None) => max_values::<LANES>(isa, x, plane, taps, size, output),
            (_, None) => max_values::<1>(isa, x, plane, taps, size, output),
        }
    }

    fn vjp(
        &self,
        run: Run,
        _input: usize,
        kept: Kept<'_>,
        cotangent: &[f32],
        gradient: &mut [f32],
    ) {
        let Window { input, output, .. } = self.window;
        if !self.halves() || input != output.map(|n| 2 * n) {
            gradient.fill(0.0);
        }
        if self.halves() {
            return match run.lanes {
                LANES => {
                    halve_back::<LANES>(run.isa, kept.bytes, cotangent, input, output, gradient)
                }
                _ => halve_back::<1>(run.isa, kept.bytes, cotangent, input, output, gradient),
            };
        }
        let plane = input[0] * input[1];
        if run.lanes == LANES {
            max_back::<LANES>(
                run.isa,
                kept.bytes,
                cotangent,
                plane,
                &self.taps,
                self.size(),
                gradient,
            );
        } else {
            max_back::<1>(run.isa, kept.bytes, cotangent, plane, &self.taps, self.size(), gradient);
        }
    }

    fn as_max_pool(&self) -> Option<&MaxPool> {
        Some(self)
    }
}

versioned! {
    /// The values of [`max_forward`] alone: no branch depends on them, and nothing is kept.
    fn max_values<const L: usize>(
        x: &[f32], plane: usize, taps: &[u32], size: usize, y: &mut [f32],
    ) {
        let outputs = taps.len() / size;
        let (x, _) = x.as_chunks::<L>();
        let (y, _) = y.as_chunks_mut::<L>();
        for (x, y) in x.chunks_exact(plane).zip(y.chunks_exact_mut(outputs)) {
            for (taps, y) in taps.chunks_exact(size).zip(y) {
                let mut best = [f32::NEG_INFINITY; L];
                for &at in taps {
                    if at == u32::MAX {
                        continue;
                    }
                    let v = &x[at as usize];
                    for l in 0..L {
                        // Not a number wins, to be seen.
                        best[l] = if (v[l] > best[l]) | v[l].is_nan() { v[l] } else { best[l] };
                    }
                }
                *y = best;
            }
        }
    }
}

versioned! {
    fn max_forward<const L: usize>(
        x: &[f32], plane: usize, taps: &[u32], size: usize, y: &mut [f32], kept: &mut [u8],
    ) {
        let outputs = taps.len() / size;
        let all = y.len();
        for (p, (x, y)) in x.chunks_exact(plane * L).zip(y.chunks_exact_mut(outputs * L)).enumerate() {
            for (o, (taps, y)) in taps.chunks_exact(size).zip(y.chunks_exact_mut(L)).enumerate() {
                // The first tap wins without a contest, so that padding never does.
                let mut inside = taps.iter().enumerate().filter(|(_, at)| **at != u32::MAX);
                let mut best = [f32::NEG_INFINITY; L];
                let mut winner = [0u32; L];
                if let Some((t, &at)) = inside.next() {
                    best.copy_from_slice(&x[at as usize * L..][..L]);
                    winner = [t as u32; L];
                }
                for (t, &at) in inside {
                    let mut v = [0.0; L];
                    v.copy_from_slice(&x[at as usize * L..][..L]);
                    for l in 0..L {
                        let (larger, wins) = larger(best[l], v[l]);
                        best[l] = larger;
                        winner[l] = if wins { t as u32 } else { winner[l] };
                    }
                }
                y.copy_from_slice(&best);
                for (digit, kept) in kept.chunks_exact_mut(all).enumerate() {
                    for (k, w) in kept[(p * outputs + o) * L..][..L].iter_mut().zip(winner) {
                        *k = (w >> (8 * digit)) as u8;
                    }
                }
            }
        }
    }
}

versioned! {
    fn max_back<const L: usize>(
        kept: &[u8], g: &[f32], plane: usize, taps: &[u32], size: usize, dx: &mut [f32],
    ) {
        let outputs = taps.len() / size;
        let all = g.len() / L;
        let (g, _) = g.as_chunks::<L>();
        let (kept, _) = kept.as_chunks::<L>();
        let (dx, _) = dx.as_chunks_mut::<L>();
        for (p, (g, dx)) in g.chunks_exact(outputs).zip(dx.chunks_exact_mut(plane)).enumerate() {
            for (o, (taps, g)) in taps.chunks_exact(size).zip(g).enumerate() {
                let mut winner = [0u32; L];
                for (digit, kept) in kept.chunks_exact(all).enumerate() {
                    for (w, &k) in winner.iter_mut().zip(&kept[p * outputs + o]) {
                        *w |= u32::from(k) << (8 * digit);
                    }
                }
                if size > 16 || L == 1 {
                    // Wide windows, single images: straight to the winners.
                    for l in 0..L {
                        dx[taps[winner[l] as usize] as usize][l] += g[l];
                    }
                    continue;
                }
                for (t, &at) in taps.iter().enumerate() {
                    if at == u32::MAX {
                        continue;
                    }
                    // Masks, not branches: adds the cotangent or zero to all lanes at once.
                    let mut part = [0f32; L];
                    for l in 0..L {
                        let mask = u32::from(winner[l] == t as u32).wrapping_neg();
                        part[l] = f32::from_bits(g[l].to_bits() & mask);
                    }
                    for (dx, part) in dx[at as usize].iter_mut().zip(part) {
                        *dx += part;
                    }
                }
            }
        }
    }
}

versioned! {
    /// [`max_forward`] of a single image, of windows of at most 256 taps: row by row of the output, tap by tap, all columns
    /// abreast. The winners go to `kept`, if it is given.
    fn row_forward(x: &[f32], w: &Window, y: &mut [f32], kept: Option<&mut [u8]>) {
        let width = w.output[1];
        let mut winners = vec![0u32; width];
        let mut kept = kept.map(|kept| kept.chunks_exact_mut(width));
        for (row, y) in y.chunks_exact_mut(width).enumerate() {
            let (plane, oy) = (row / w.output[0], row % w.output[0]);
            let x = &x[plane * w.input[0] * w.input[1]..][..w.input[0] * w.input[1]];
            y.fill(f32::NEG_INFINITY);
            winners.fill(u32::MAX);
            for ky in 0..w.kernel[0] {
                let above = oy * w.stride[0] + ky * w.dilation[0];
                let Some(line) = above.checked_sub(w.pad[0]).filter(|&line| line < w.input[0]) else {
                    continue;
                };
                let line = &x[line * w.input[1]..][..w.input[1]];
                for kx in 0..w.kernel[1] {
                    // The columns whose tap is not padding, and where the first one's lies.
                    let tap = kx * w.dilation[1];
                    let first = w.pad[1].saturating_sub(tap).div_ceil(w.stride[1]);
                    let end = (w.input[1] + w.pad[1]).saturating_sub(tap).div_ceil(w.stride[1]);
                    let end = end.min(width);
                    if first >= end {
                        continue;
                    }
                    let line = &line[first * w.stride[1] + tap - w.pad[1]..];
                    let number = (ky * w.kernel[1] + kx) as u32;
                    let (y, winners) = (&mut y[first..end], &mut winners[first..end]);
                    match w.stride[1] {
                        1 => contest::<1>(line, number, y, winners),
                        2 => contest::<2>(line, number, y, winners),
                        stride => {
                            let values = line.iter().step_by(stride);
                            let all = y.iter_mut().zip(winners).zip(values);
                            all.for_each(|((y, winner), x)| tap_wins(*x, number, y, winner));
                        }
                    }
                }
            }
            if let Some(kept) = kept.as_mut().and_then(Iterator::next) {
                kept.iter_mut().zip(&winners).for_each(|(kept, winner)| *kept = *winner as u8);
            }
        }
    }
}

/// The next tap of a window: the first one wins without a contest, so that padding never does; not a number wins, to be seen.
#[inline(always)]
fn tap_wins(x: f32, tap: u32, best: &mut f32, winner: &mut u32) {
    let wins = (*winner == u32::MAX) | (x > *best) | x.is_nan();
    *best = if wins { x } else { *best };
    *winner = if wins { tap } else { *winner };
}

/// [`tap_wins`] for columns whose taps lie `S` apart.
#[inline(always)]
fn contest<const S: usize>(x: &[f32], tap: u32, best: &mut [f32], winners: &mut [u32]) {
    let (whole, rest) = x.as_chunks::<S>();
    let (now, later) = best.split_at_mut(best.len().min(whole.len()));
    let (now_winners, later_winners) = winners.split_at_mut(now.len());
    for ((best, winner), x) in now.iter_mut().zip(now_winners).zip(whole) {
        tap_wins(x[0], tap, best, winner);
    }
    // Behind the last whole chunk there may be one more.
    for ((best, winner), x) in later.iter_mut().zip(later_winners).zip(rest) {
        tap_wins(*x, tap, best, winner);
    }
}

/// The larger of two, the first if they are equal; not a number wins, to be seen. And whether the second won.
#[inline(always)]
fn larger(a: f32, b: f32) -> (f32, bool) {
    let wins = (b > a) | b.is_nan();
    (if wins { b } else { a }, wins)
}

versioned! {
    /// [`max_values`] of windows of 2 × 2 that lie side by side.
    fn halve_values<const L: usize>(
        x: &[f32], input: [usize; 2], output: [usize; 2], y: &mut [f32],
    ) {
        let (x, _) = x.as_chunks::<L>();
        let (y, _) = y.as_chunks_mut::<L>();
        let planes = y.chunks_exact_mut(output[0] * output[1]);
        for (x, y) in x.chunks_exact(input[0] * input[1]).zip(planes) {
            for (x, y) in x.chunks_exact(2 * input[1]).zip(y.chunks_exact_mut(output[1])) {
                let (above, _) = x[..input[1]].as_chunks::<2>();
                let (below, _) = x[input[1]..].as_chunks::<2>();
                for ((y, above), below) in y.iter_mut().zip(above).zip(below) {
                    for l in 0..L {
                        let (best, _) = larger(above[0][l], above[1][l]);
                        let (best, _) = larger(best, below[0][l]);
                        y[l] = larger(best, below[1][l]).0;
                    }
                }
            }
        }
    }
}

versioned! {
    /// [`max_forward`] of windows of 2 × 2 that lie side by side.
    fn halve_forward<const L: usize>(
        x: &[f32], input: [usize; 2], output: [usize; 2], y: &mut [f32], kept: &mut [u8],
    ) {
        let (x, _) = x.as_chunks::<L>();
        let (y, _) = y.as_chunks_mut::<L>();
        let (kept, _) = kept.as_chunks_mut::<L>();
        let size = output[0] * output[1];
        let planes = y.chunks_exact_mut(size).zip(kept.chunks_exact_mut(size));
        for (x, (y, kept)) in x.chunks_exact(input[0] * input[1]).zip(planes) {
            let rows = y.chunks_exact_mut(output[1]).zip(kept.chunks_exact_mut(output[1]));
            for (x, (y, kept)) in x.chunks_exact(2 * input[1]).zip(rows) {
                let (above, _) = x[..input[1]].as_chunks::<2>();
                let (below, _) = x[input[1]..].as_chunks::<2>();
                for (((y, kept), above), below) in y.iter_mut().zip(kept).zip(above).zip(below) {
                    for l in 0..L {
                        let (best, wins) = larger(above[0][l], above[1][l]);
                        let winner = u32::from(wins);
                        let (best, wins) = larger(best, below[0][l]);
                        let winner = if wins { 2 } else { winner };
                        let (best, wins) = larger(best, below[1][l]);
                        y[l] = best;
                        kept[l] = (if wins { 3 } else { winner }) as u8;
                    }
                }
            }
        }
    }
}

versioned! {
    /// [`max_back`] of windows of 2 × 2 that lie side by side: writes all places that a window covers.
    fn halve_back<const L: usize>(
        kept: &[u8], g: &[f32], input: [usize; 2], output: [usize; 2], dx: &mut [f32],
    ) {
        let (g, _) = g.as_chunks::<L>();
        let (kept, _) = kept.as_chunks::<L>();
        let (dx, _) = dx.as_chunks_mut::<L>();
        let size = output[0] * output[1];
        let planes = g.chunks_exact(size).zip(kept.chunks_exact(size));
        for (dx, (g, kept)) in dx.chunks_exact_mut(input[0] * input[1]).zip(planes) {
            let rows = g.chunks_exact(output[1]).zip(kept.chunks_exact(output[1]));
            for (dx, (g, kept)) in dx.chunks_exact_mut(2 * input[1]).zip(rows) {
                let (above, below) = dx.split_at_mut(input[1]);
                let pairs = above.as_chunks_mut::<2>().0.iter_mut().zip(below.as_chunks_mut::<2>().0);
                for (((above, below), g), kept) in pairs.zip(g).zip(kept) {
                    above[0] = won(g, kept, 0);
                    above[1] = won(g, kept, 1);
                    below[0] = won(g, kept, 2);
                    below[1] = won(g, kept, 3);
                }
            }
        }
    }
}

/// The cotangent where `tap` has won, else zero: a mask, not a branch; plus zero, as the sum in [`max_back`].
#[inline(always)]
fn won<const L: usize>(g: &[f32; L], kept: &[u8; L], tap: u8) -> [f32; L] {
    let mut part = [0.0; L];
    for l in 0..L {
        let mask = u32::from(kept[l] == tap).wrapping_neg();
        part[l] = f32::from_bits(g[l].to_bits() & mask) + 0.0;
    }
    part
}

/// The mean of each window, planes on their own; of a window wholly in the padding zero.
#[derive(Debug)]
pub(crate) struct AveragePool {
    /// Elements of an input plane.
    plane: usize,
    windows: Vec<Mean>,
    /// Where the taps that are not padding lie, window by window.
    taps: Vec<u32>,
}

/// One window: how many of its taps are not padding, and one over what their sum is divided by.
#[derive(Clone, Copy, Debug)]
struct Mean {
    taps: usize,
    scale: f32,
}

impl AveragePool {
    /// Average pooling over planes of `window.input`; padding counts as zeros where `count_padding`.
    pub(crate) fn new(window: Window, count_padding: bool) -> Self {
        let (mut windows, mut taps) = (Vec::new(), Vec::new());
        for y in 0..window.output[0] {
            for x in 0..window.output[1] {
                let before = taps.len();
                for ky in 0..window.kernel[0] {
                    let row = (0..window.kernel[1]).filter_map(|kx| window.at(y, x, ky, kx));
                    taps.extend(row.map(|at| at as u32));
                }
                let count = window_count(&window, y, x, count_padding);
                windows.push(Mean { taps: taps.len() - before, scale: 1.0 / count as f32 });
            }
        }
        Self { plane: window.input[0] * window.input[1], windows, taps }
    }
}

/// What window (y, x) is divided by. Declared padding counts where asked; rows that only `ceil_mode` adds never do.
fn window_count(w: &Window, y: usize, x: usize, count_padding: bool) -> usize {
    let along = |a: usize, at: usize| {
        let taps = (0..w.kernel[a]).map(|k| at * w.stride[a] + k * w.dilation[a]);
        taps.filter(|&p| {
            if count_padding {
                p < w.pad[a] + w.input[a] + w.pad_end[a]
            } else {
                p >= w.pad[a] && p < w.pad[a] + w.input[a]
            }
        })
        .count()
    };
    (along(0, y) * along(1, x)).max(1)
}

impl Operator for AveragePool {
    fn name(&self) -> &'static str {
        "AveragePool"
    }

    fn forward(
        &self,
        run: Run,
        inputs: &[&[f32]],
        output: &mut [f32],
        _keeper: Option<Keeper<'_>>,
    ) {
        let (isa, plane, windows, taps) = (run.isa, self.plane, &self.windows, &self.taps);
        match run.lanes {
            LANES => average::<LANES>(isa, inputs[0], plane, windows, taps, output),
            _ => average::<1>(isa, inputs[0], plane, windows, taps, output),
        }
    }

    fn vjp(
        &self,
        run: Run,
        _input: usize,
        _kept: Kept<'_>,
        cotangent: &[f32],
        gradient: &mut [f32],
    ) {
        gradient.fill(0.0);
        let (isa, plane, windows, taps) = (run.isa, self.plane, &self.windows, &self.taps);
        match run.lanes {
            LANES => average_back::<LANES>(isa, cotangent, plane, windows, taps, gradient),
            _ => average_back::<1>(isa, cotangent, plane, windows, taps, gradient),
        }
    }
}

versioned! {
    fn average<const L: usize>(
        x: &[f32], plane: usize, windows: &[Mean], taps: &[u32], y: &mut [f32],
    ) {
        let (x, _) = x.as_chunks::<L>();
        let (y, _) = y.as_chunks_mut::<L>();
        for (x, y) in x.chunks_exact(plane).zip(y.chunks_exact_mut(windows.len())) {
            let mut rest = taps;
            for (window, y) in windows.iter().zip(y) {
                let (taps, behind) = rest.split_at(window.taps);
                rest = behind;
                let mut sum = [0.0; L];
                for &at in taps {
                    for (sum, x) in sum.iter_mut().zip(&x[at as usize]) {
                        *sum += x;
                    }
                }
                *y = sum.map(|sum| sum * window.scale);
            }
        }
    }
}

versioned! {
    fn average_back<const L: usize>(
        g: &[f32], plane: usize, windows: &[Mean], taps: &[u32], dx: &mut [f32],
    ) {
        let (g, _) = g.as_chunks::<L>();
        let (dx, _) = dx.as_chunks_mut::<L>();
        for (g, dx) in g.chunks_exact(windows.len()).zip(dx.chunks_exact_mut(plane)) {
            let mut rest = taps;
            for (window, g) in windows.iter().zip(g) {
                let (taps, behind) = rest.split_at(window.taps);
                rest = behind;
                let part = g.map(|g| g * window.scale);
                for &at in taps {
                    for (dx, part) in dx[at as usize].iter_mut().zip(part) {
                        *dx += part;
                    }
                }
            }
        }
    }
}
