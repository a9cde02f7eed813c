//! Resize: nearest, linear and cubic, one axis at a time.

use super::{Keeper, Kept, Operator, Run};
use crate::kernels::{Isa, versioned};
use crate::scratch::Buffer;

/// How values between the input's places are made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mode {
    Nearest(Rounding),
    Linear,
    /// With its coefficient a; places outside of the input count as its edge, or not at all.
    Cubic {
        a: f64,
        exclude_outside: bool,
    },
}

/// Which of two neighbours is the nearest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    PreferFloor,
    PreferCeil,
    Floor,
    Ceil,
}

/// Where the places of the output lie in the input: `coordinate_transformation_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coordinates {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
}

/// One axis that is resized.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stretch {
    /// Elements before and after.
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// How many times longer the axis becomes, before its length is rounded down; `None`: as `to` says.
    pub(crate) scale: Option<f32>,
}

/// Weighted sums of the input's elements along each resized axis.
#[derive(Debug)]
pub(crate) struct Resize {
    passes: Vec<Pass>,
}

/// One axis, the middle of `[outer, axis, inner]`.
#[derive(Debug)]
struct Pass {
    outer: usize,
    inner: usize,
    from: usize,
    /// Taps of each output, as many as `size`.
    taps: Vec<Tap>,
    size: usize,
}

/// An element along the axis, and its weight.
#[derive(Clone, Copy, Debug)]
struct Tap {
    at: usize,
    weight: f32,
}

impl Mode {
    /// Taps behind one output.
    fn size(self) -> usize {
        match self {
            Self::Nearest(_) => 1,
            Self::Linear => 2,
            Self::Cubic { .. } => 4,
        }
    }

    /// Appends the taps of the output that lies at `x`.
    fn push_taps(self, x: f64, from: usize, taps: &mut Vec<Tap>) {
        let last = from as f64 - 1.0;
        let inside = |at: f64| at.clamp(0.0, last) as usize;
        let left = x.floor();
        let part = x - left;
        match self {
            Self::Nearest(rounding) => {
                let at = match rounding {
                    Rounding::PreferFloor => (x - 0.5).ceil(),
                    Rounding::PreferCeil => (x + 0.5).floor(),
                    Rounding::Floor => left,
                    Rounding::Ceil => x.ceil(),
                };
                taps.push(Tap { at: inside(at), weight: 1.0 });
            }
            Self::Linear => {
                taps.push(Tap { at: inside(left), weight: (1.0 - part) as f32 });
                taps.push(Tap { at: inside(left + 1.0), weight: part as f32 });
            }
            Self::Cubic { a, exclude_outside } => {
                let near = |d: f64| ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0;
                let far = |d: f64| ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a;
                let mut weights = [far(1.0 + part), near(part), near(1.0 - part), far(2.0 - part)];
                let place = |i: usize| left - 1.0 + i as f64;
                if exclude_outside {
                    for (i, weight) in weights.iter_mut().enumerate() {
                        if place(i) < 0.0 || place(i) > last {
                            *weight = 0.0;
                        }
                    }
                    let sum: f64 = weights.iter().sum();
                    weights = weights.map(|w| w / sum);
                }
                for (i, weight) in weights.into_iter().enumerate() {
                    taps.push(Tap { at: inside(place(i)), weight: weight as f32 });
                }
            }
        }
    }
}

impl Coordinates {
    /// Where output `at` lies in the input.
    ///
    /// With a scale, which of two elements is nearest depends on rounding: `round` is applied to each step.
    fn place(self, at: usize, s: Stretch, round: impl Fn(f64) -> f64) -> f64 {
        let (at, from, to) = (at as f64, s.from as f64, s.to as f64);
        let before = |at: f64| match s.scale {
            Some(scale) => round(at / f64::from(scale)),
            None => at * from / to,
        };
        let half_pixel = || round(before(at + 0.5) - 0.5);
        match self {
            Self::HalfPixel => half_pixel(),
            Self::HalfPixelSymmetric => {
                let length = s.scale.map_or(to, |scale| round(from * f64::from(scale)));
                round(from / 2.0 * round(1.0 - round(to / length))) + half_pixel()
            }
            Self::PytorchHalfPixel | Self::AlignCorners if s.to == 1 => 0.0,
            Self::PytorchHalfPixel => half_pixel(),
            Self::AlignCorners => at * (from - 1.0) / (to - 1.0),
            Self::Asymmetric => before(at),
        }
    }
}

impl Resize {
    /// Stretches each axis of `shape` that `axes` holds something for.
    pub(crate) fn new(
        shape: &[usize],
        axes: &[Option<Stretch>],
        mode: Mode,
        coordinates: Coordinates,
    ) -> Self {
        // As other runtimes round.
        let single = |x: f64| f64::from(x as f32);
        let exact = |x: f64| x;
        let mut shape = shape.to_vec();
        let mut passes = Vec::new();
        for (axis, stretch) in axes.iter().enumerate() {
            let Some(s) = *stretch else { continue };
            let mut taps = Vec::with_capacity(s.to * mode.size());
            for at in 0..s.to {
                let x = match mode {
                    Mode::Nearest(_) => coordinates.place(at, s, single),
                    _ => coordinates.place(at, s, exact),
                };
                mode.push_taps(x, s.from, &mut taps);
            }
            passes.push(Pass {
                outer: shape[..axis].iter().product(),
                inner: shape[axis + 1..].iter().product(),
                from: s.from,
                taps,
                size: mode.size(),
            });
            shape[axis] = s.to;
        }
        Self { passes }
    }
}

impl Pass {
    fn to(&self) -> usize {
        self.taps.len() / self.size
    }

    fn inputs(&self) -> usize {
        self.outer * self.from * self.inner
    }

    fn outputs(&self) -> usize {
        self.outer * self.to() * self.inner
    }

    fn forward(&self, isa: Isa, lanes: usize, x: &[f32], y: &mut [f32]) {
        let inner = self.inner * lanes;
        let blocks = y.chunks_exact_mut(self.to() * inner);
        for (x, y) in x.chunks_exact(self.from * inner).zip(blocks) {
            weigh(isa, &self.taps, self.size, inner, x, y);
        }
    }

    fn back(&self, isa: Isa, lanes: usize, g: &[f32], dx: &mut [f32]) {
        let inner = self.inner * lanes;
        dx.fill(0.0);
        let blocks = dx.chunks_exact_mut(self.from * inner);
        for (g, dx) in g.chunks_exact(self.to() * inner).zip(blocks) {
            weigh_back(isa, &self.taps, self.size, inner, g, dx);
        }
    }
}

versioned! {
    fn weigh(taps: &[Tap], size: usize, inner: usize, x: &[f32], y: &mut [f32]) {
        for (taps, y) in taps.chunks_exact(size).zip(y.chunks_exact_mut(inner)) {
            for (i, tap) in taps.iter().enumerate() {
                for (y, x) in y.iter_mut().zip(&x[tap.at * inner..][..inner]) {
                    *y = if i == 0 { tap.weight * x } else { *y + tap.weight * x };
                }
            }
        }
    }
}

versioned! {
    fn weigh_back(taps: &[Tap], size: usize, inner: usize, g: &[f32], dx: &mut [f32]) {
        for (taps, g) in taps.chunks_exact(size).zip(g.chunks_exact(inner)) {
            for tap in taps {
                for (dx, g) in dx[tap.at * inner..][..inner].iter_mut().zip(g) {
                    *dx += tap.weight * g;
                }
            }
        }
    }
}

impl Operator for Resize {
    fn name(&self) -> &'static str {
        "Resize"
    }

    fn forward(
        &self,
        run: Run,
        inputs: &[&[f32]],
        output: &mut [f32],
        _keeper: Option<Keeper<'_>>,
    ) {
        let Some((last, first)) = self.passes.split_last() else {
            return output.copy_from_slice(inputs[0]);
        };
        let mut between: Option<Buffer> = None;
        for pass in first {
            let mut y = Buffer::dirty(pass.outputs() * run.lanes);
            pass.forward(run.isa, run.lanes, between.as_deref().unwrap_or(inputs[0]), &mut y);
            between = Some(y);
        }
        last.forward(run.isa, run.lanes, between.as_deref().unwrap_or(inputs[0]), output);
    }

    fn vjp(
        &self,
        run: Run,
        _input: usize,
        _kept: Kept<'_>,
        cotangent: &[f32],
        gradient: &mut [f32],
    ) {
        let Some((first, rest)) = self.passes.split_first() else {
            return gradient.copy_from_slice(cotangent);
        };
        let mut between: Option<Buffer> = None;
        for pass in rest.iter().rev() {
            let mut dx = Buffer::dirty(pass.inputs() * run.lanes);
            pass.back(run.isa, run.lanes, between.as_deref().unwrap_or(cotangent), &mut dx);
            between = Some(dx);
        }
        first.back(run.isa, run.lanes, between.as_deref().unwrap_or(cotangent), gradient);
    }
}
