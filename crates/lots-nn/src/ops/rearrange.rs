//! Operators that only move numbers: each output is one element of an input, or a constant.

use super::{Keeper, Kept, Operator, Run};
use crate::kernels::versioned;

/// Transpose, Slice, Split, Gather, Concat, Expand, Pad and their like.
#[derive(Debug)]
pub(crate) struct Rearrange {
    /// Elements of each activation.
    sizes: Vec<usize>,
    /// What outputs take that come from no activation.
    constants: Vec<f32>,
    /// Outputs in order, as arithmetic progressions of places in all activations and then the constants.
    runs: Vec<Progression>,
}

/// Places `first`, `first + step`, … of `count` outputs that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Progression {
    first: u32,
    step: i32,
    count: u32,
}

impl Rearrange {
    /// Output i is element `places[i]` of the activations, whose `sizes` are given, one behind the other, and of the
    /// `constants` behind them.
    pub(crate) fn new(sizes: Vec<usize>, constants: Vec<f32>, places: &[u32]) -> Self {
        let mut borders = vec![0];
        for size in &sizes {
            borders.push(borders[borders.len() - 1] + size);
        }
        // Which activation a place lies in: a progression stays in one.
        let home = |place: u32| borders.partition_point(|&b| b <= place as usize);
        let mut runs: Vec<Progression> = Vec::new();
        for &place in places {
            if let Some(last) = runs.last_mut() {
                let end = i64::from(last.first) + i64::from(last.step) * i64::from(last.count - 1);
                let step = i64::from(place) - end;
                let fits = last.count == 1 || step == i64::from(last.step);
                if let (true, Ok(step)) = (fits && home(place) == home(last.first), step.try_into())
                {
                    (last.step, last.count) = (step, last.count + 1);
                    continue;
                }
            }
            runs.push(Progression { first: place, step: 0, count: 1 });
        }
        Self { sizes, constants, runs }
    }

    /// Where input number `input` begins among all places.
    fn base(&self, input: usize) -> usize {
        self.sizes[..input].iter().sum()
    }

    /// The activation that `place` lies in, and where it begins; `None` for constants.
    fn home(&self, place: usize) -> Option<(usize, usize)> {
        let mut base = 0;
        for (input, size) in self.sizes.iter().enumerate() {
            if place < base + size {
                return Some((input, base));
            }
            base += size;
        }
        None
    }
}

impl Operator for Rearrange {
    fn name(&self) -> &'static str {
        "Rearrange"
    }

    fn forward(
        &self,
        run: Run,
        inputs: &[&[f32]],
        output: &mut [f32],
        _keeper: Option<Keeper<'_>>,
    ) {
        let lanes = run.lanes;
        let mut rest = output;
        for p in &self.runs {
            let (out, later) = rest.split_at_mut(p.count as usize * lanes);
            rest = later;
            let first = p.first as usize;
            match self.home(first) {
                Some((input, base)) => {
                    take(run.isa, inputs[input], first - base, p.step as isize, lanes, out);
                }
                None => {
                    let constants = &self.constants;
                    let mut at = first - self.base(self.sizes.len());
                    for out in out.chunks_exact_mut(lanes) {
                        out.fill(constants[at]);
                        at = at.wrapping_add_signed(p.step as isize);
                    }
                }
            }
        }
    }

    fn vjp(
        &self,
        run: Run,
        input: usize,
        _kept: Kept<'_>,
        cotangent: &[f32],
        gradient: &mut [f32],
    ) {
        gradient.fill(0.0);
        let lanes = run.lanes;
        let mut rest = cotangent;
        for p in &self.runs {
            let (g, later) = rest.split_at(p.count as usize * lanes);
            rest = later;
            if let Some((own, base)) = self.home(p.first as usize)
                && own == input
            {
                give(run.isa, g, p.first as usize - base, p.step as isize, lanes, gradient);
            }
        }
    }
}

versioned! {
    /// Elements `first`, `first + step`, … of `x` to `out`.
    fn take(x: &[f32], first: usize, step: isize, lanes: usize, out: &mut [f32]) {
        if step == 1 {
            out.copy_from_slice(&x[first * lanes..][..out.len()]);
            return;
        }
        let mut at = first;
        for out in out.chunks_exact_mut(lanes) {
            out.copy_from_slice(&x[at * lanes..][..lanes]);
            at = at.wrapping_add_signed(step);
        }
    }
}

versioned! {
    /// Adds `g` to elements `first`, `first + step`, … of `dx`.
    fn give(g: &[f32], first: usize, step: isize, lanes: usize, dx: &mut [f32]) {
        if step == 1 {
            dx[first * lanes..][..g.len()].iter_mut().zip(g).for_each(|(dx, g)| *dx += g);
            return;
        }
        let mut at = first;
        for g in g.chunks_exact(lanes) {
            dx[at * lanes..][..lanes].iter_mut().zip(g).for_each(|(dx, g)| *dx += g);
            at = at.wrapping_add_signed(step);
        }
    }
}
