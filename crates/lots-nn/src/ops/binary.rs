//! Add, Sub, Mul and Div of two activations, or of one and a constant, with broadcasting.

use super::{Keeper, Keeps, Kept, Operator, Parameter, Run};
use crate::tensor::Tensor;

/// Which of the four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Add,
    Sub,
    Mul,
    Div,
}

/// One side of the operator.
#[derive(Debug)]
enum Side {
    Activation,
    Constant(Tensor),
}

/// `a ∘ b`, element by element.
#[derive(Debug)]
pub(crate) struct Binary {
    kind: Kind,
    sides: [Side; 2],
    /// Elements of one image on each side (of a constant: all of them).
    sizes: [usize; 2],
    output: usize,
    /// Which element of a side each output takes, unless it is the same one.
    maps: [Option<Vec<u32>>; 2],
}

/// Sizes of both sides aligned to the output's, or `None` where they do not broadcast.
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let dim = |s: &[usize], i: usize| (i + s.len()).checked_sub(rank).map_or(1, |i| s[i]);
    (0..rank)
        .map(|i| match (dim(a, i), dim(b, i)) {
            (1, d) | (d, 1) => Some(d),
            (d, e) => (d == e).then_some(d),
        })
        .collect()
}

/// Which element of an array of shape `from` each element of shape `to` takes, unless it is the same one.
pub(crate) fn element_map(from: &[usize], to: &[usize]) -> Option<Vec<u32>> {
    if from.iter().product::<usize>() == to.iter().product() {
        return None;
    }
    let mut strides = vec![0; to.len()];
    let mut step = 1;
    for (i, &d) in from.iter().enumerate().rev() {
        strides[i + to.len() - from.len()] = if d == 1 { 0 } else { step };
        step *= d;
    }
    let mut map = vec![0u32];
    for (&d, &stride) in to.iter().zip(&strides) {
        map =
            map.iter().flat_map(|&base| (0..d).map(move |i| base + (i * stride) as u32)).collect();
    }
    Some(map)
}

impl Binary {
    /// The operator over per-image shapes `a` and `b`; a side with a constant holds its values, its shape without
    /// the axis of images.
    pub(crate) fn new(
        kind: Kind,
        shapes: [&[usize]; 2],
        output: &[usize],
        constants: [Option<Tensor>; 2],
    ) -> Self {
        Self {
            kind,
            sides: constants.map(|c| c.map_or(Side::Activation, Side::Constant)),
            sizes: shapes.map(|s| s.iter().product()),
            output: output.iter().product(),
            maps: shapes.map(|s| element_map(s, output)),
        }
    }

    fn place(&self, side: usize, output: usize) -> usize {
        self.maps[side].as_ref().map_or(output, |map| map[output] as usize)
    }

    /// Whether back-projection reads the values of the activations.
    fn needs_values(&self) -> bool {
        let constant = self.sides.iter().any(|s| matches!(s, Side::Constant(_)));
        match self.kind {
            Kind::Add | Kind::Sub => false,
            Kind::Mul => !constant,
            // A quotient's slope in the divisor needs both sides; in the dividend, only the divisor.
            Kind::Div => matches!(self.sides[1], Side::Activation),
        }
    }

    /// The values of `side`, out of what was kept of both activations.
    fn kept_side<'a>(&self, side: usize, kept: &'a [f32], lanes: usize) -> &'a [f32] {
        let first = if side == 1 && matches!(self.sides[0], Side::Activation) {
            self.sizes[0] * lanes
        } else {
            0
        };
        &kept[first..][..self.sizes[side] * lanes]
    }
}

/// Values of one side: [element][lane], or one number for all lanes.
#[derive(Clone, Copy)]
struct Values<'a> {
    data: &'a [f32],
    constant: bool,
}

impl Values<'_> {
    fn get(&self, element: usize, lane: usize, lanes: usize) -> f32 {
        if self.constant { self.data[element] } else { self.data[element * lanes + lane] }
    }
}

impl Operator for Binary {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Add => "Add",
            Kind::Sub => "Sub",
            Kind::Mul => "Mul",
            Kind::Div => "Div",
        }
    }

    fn keeps(&self) -> Keeps {
        let active =
            |s: usize| if matches!(self.sides[s], Side::Activation) { self.sizes[s] } else { 0 };
        Keeps { bytes: 0, floats: if self.needs_values() { active(0) + active(1) } else { 0 } }
    }

    fn forward(&self, run: Run, inputs: &[&[f32]], output: &mut [f32], keeper: Option<Keeper<'_>>) {
        let lanes = run.lanes;
        let mut inputs_left = inputs.iter();
        let sides: [Values<'_>; 2] = std::array::from_fn(|s| match &self.sides[s] {
            Side::Constant(c) => Values { data: c.data(), constant: true },
            Side::Activation => {
                Values { data: inputs_left.next().copied().unwrap_or(&[]), constant: false }
            }
        });
        for (o, out) in output.chunks_exact_mut(lanes).enumerate() {
            let (a, b) = (self.place(0, o), self.place(1, o));
            for (l, out) in out.iter_mut().enumerate() {
                let (a, b) = (sides[0].get(a, l, lanes), sides[1].get(b, l, lanes));
                *out = match self.kind {
                    Kind::Add => a + b,
                    Kind::Sub => a - b,
                    Kind::Mul => a * b,
                    Kind::Div => a / b,
                };
            }
        }
        if let (Some(keeper), true) = (keeper, self.needs_values()) {
            let mut rest = keeper.floats;
            for x in inputs {
                let (now, later) = rest.split_at_mut(x.len());
                now.copy_from_slice(x);
                rest = later;
            }
        }
    }

    fn vjp(&self, run: Run, input: usize, kept: Kept<'_>, cotangent: &[f32], gradient: &mut [f32]) {
        let lanes = run.lanes;
        // Input 0 is the only activation, or the first of two.
        let side = if matches!(self.sides[0], Side::Activation) { input } else { 1 };
        let values = |s: usize| match &self.sides[s] {
            Side::Constant(c) => Values { data: c.data(), constant: true },
            Side::Activation if self.needs_values() => {
                Values { data: self.kept_side(s, kept.floats, lanes), constant: false }
            }
            Side::Activation => Values { data: &[], constant: false },
        };
        let (a, b) = (values(0), values(1));
        let direct = self.maps[side].is_none();
        if !direct {
            gradient.fill(0.0);
        }
        for o in 0..self.output {
            let (pa, pb) = (self.place(0, o), self.place(1, o));
            let at = if side == 0 { pa } else { pb } * lanes;
            for l in 0..lanes {
                let g = cotangent[o * lanes + l];
                let dx = match (self.kind, side) {
                    (Kind::Add, _) | (Kind::Sub, 0) => g,
                    (Kind::Sub, _) => -g,
                    (Kind::Mul, 0) => g * b.get(pb, l, lanes),
                    (Kind::Mul, _) => g * a.get(pa, l, lanes),
                    (Kind::Div, 0) => g / b.get(pb, l, lanes),
                    (Kind::Div, _) => {
                        let divisor = b.get(pb, l, lanes);
                        -g * a.get(pa, l, lanes) / (divisor * divisor)
                    }
                };
                if direct {
                    gradient[at + l] = dx;
                } else {
                    gradient[at + l] += dx;
                }
            }
        }
    }

    fn parameters(&self) -> Vec<Parameter<'_>> {
        if !matches!(self.kind, Kind::Add | Kind::Mul) {
            return Vec::new();
        }
        let constants = self.sides.iter().filter_map(|s| match s {
            Side::Constant(value) => Some(Parameter { role: "constant", value }),
            Side::Activation => None,
        });
        constants.collect()
    }

    fn parameter_mut(&mut self, _at: usize) -> &mut [f32] {
        let constant = self.sides.iter_mut().find_map(|s| match s {
            Side::Constant(value) => Some(value.data_mut()),
            Side::Activation => None,
        });
        constant.unwrap_or_default()
    }

    fn weight_gradients(
        &self,
        run: Run,
        inputs: &[&[f32]],
        cotangent: &[f32],
        gradients: &mut [Vec<f32>],
    ) {
        let Some(side) = self.sides.iter().position(|s| matches!(s, Side::Constant(_))) else {
            return;
        };
        let (lanes, x) = (run.lanes, inputs[0]);
        let x_size = self.sizes[1 - side] * lanes;
        for (group, g) in cotangent.chunks_exact(self.output * lanes).enumerate() {
            let x = &x[group * x_size..][..x_size];
            for (o, g) in g.chunks_exact(lanes).enumerate() {
                let sum: f32 = match self.kind {
                    Kind::Mul => {
                        let x = &x[self.place(1 - side, o) * lanes..][..lanes];
                        g.iter().zip(x).map(|(g, x)| g * x).sum()
                    }
                    _ => g.iter().sum(),
                };
                gradients[0][self.place(side, o)] += sum;
            }
        }
    }
}
