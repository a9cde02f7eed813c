//! Add, Sub, Mul, Div, Pow and PRelu of two activations, or of one and a constant, with broadcasting.

use super::broadcast::{Operand, PIECE, Piece, Plan, Tiles, Values};
use super::{Keeper, Keeps, Kept, Operator, Parameter, Run};
use crate::kernels::versioned;
use std::borrow::Cow;

/// A function of two numbers, a and b.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Add,
    Sub,
    Mul,
    Div,
    /// `a^b`. Slopes at a = 0 are PyTorch's: in a infinite for 0 < b < 1, and 0 for b = 0; in b 0 for b ≥ 0.
    Pow,
    /// `a` above zero, `a·b` elsewhere; its slope at a = 0 is b.
    PRelu,
}

impl Kind {
    /// Which of a and b the slope in operand `side` depends on.
    fn slope_needs(self, side: usize) -> [bool; 2] {
        match (self, side) {
            (Self::Add | Self::Sub, _) => [false, false],
            (Self::Mul, 0) | (Self::Div, 0) => [false, true],
            (Self::Mul, _) | (Self::PRelu, 1) => [true, false],
            (Self::Div | Self::Pow | Self::PRelu, _) => [true, true],
        }
    }
}

/// `kind(a, b)`, element by element.
#[derive(Debug)]
pub(crate) struct Binary {
    kind: Kind,
    operands: [Operand; 2],
    plan: Plan<2>,
    /// Elements of the output.
    output: usize,
    /// Whether back-projection reads an operand that is an activation.
    kept: [bool; 2],
}

impl Binary {
    /// The operator over operands of `shapes`, which broadcast to `output`.
    pub(crate) fn new(
        kind: Kind,
        operands: [Operand; 2],
        shapes: [&[usize]; 2],
        output: &[usize],
    ) -> Self {
        let kept = std::array::from_fn(|n| {
            let needed = |side: usize| operands[side].is_activation() && kind.slope_needs(side)[n];
            operands[n].is_activation() && (needed(0) || needed(1))
        });
        let plan = Plan::new(shapes, output);
        Self { kind, operands, plan, output: output.iter().product(), kept }
    }

    /// The numbers of both operands, those of activations from `inputs`.
    fn values<'a>(&'a self, inputs: &[&'a [f32]]) -> [Values<'a>; 2] {
        let mut activations = inputs.iter().copied();
        self.operands.each_ref().map(|operand| match operand {
            Operand::Constant(c) => Values::Constant(c.data()),
            Operand::Activation(_) => Values::Activation(activations.next().unwrap_or(&[])),
        })
    }

    /// The operands that are cut where the operator is.
    fn cut(&self) -> [bool; 2] {
        self.operands.each_ref().map(Operand::is_activation)
    }

    /// The one number that a sum or product takes of a constant for a whole piece: the scale or shift of a channel.
    fn number(&self, values: Values<'_>, piece: &Piece<2>) -> Option<f32> {
        match (self.kind, values) {
            (Kind::Add | Kind::Mul, Values::Constant(c)) if piece.repeated[1] => {
                Some(c[piece.firsts[1]])
            }
            _ => None,
        }
    }

    /// What was kept of each operand, an activation, or nothing.
    fn kept_values<'a>(&'a self, kept: &'a [f32], lanes: usize) -> [Values<'a>; 2] {
        let mut rest = kept;
        std::array::from_fn(|n| match &self.operands[n] {
            Operand::Constant(c) => Values::Constant(c.data()),
            Operand::Activation(elements) => {
                let own = match (self.kept[n], self.kept) {
                    (false, _) => 0,
                    (true, [true, true]) => elements * lanes,
                    // All there is: of some elements only, where the operator is cut.
                    (true, _) => rest.len(),
                };
                let (now, later) = rest.split_at(own);
                rest = later;
                Values::Activation(now)
            }
        })
    }

    /// `cotangent · slope in operand side` of the elements of one piece, in place or in one of `tiles`.
    fn slopes<'t>(
        &self,
        run: Run,
        side: usize,
        values: [Values<'t>; 2],
        cotangent: &'t [f32],
        piece: Piece<2>,
        tiles: &'t mut Tiles,
    ) -> &'t [f32] {
        let g = &cotangent[piece.range(run.lanes)];
        if matches!((self.kind, side), (Kind::Add, _) | (Kind::Sub, 0)) {
            return g;
        }
        let needs = self.kind.slope_needs(side);
        let [a, b, dx] = tiles.all();
        let a = if needs[0] { piece.take(run, 0, values[0], a) } else { g };
        let b = if needs[1] { piece.take(run, 1, values[1], b) } else { g };
        let dx = &mut dx[..g.len()];
        slopes(run.isa, self.kind, side, g, a, b, dx);
        dx
    }
}

impl Operator for Binary {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Add => "Add",
            Kind::Sub => "Sub",
            Kind::Mul => "Mul",
            Kind::Div => "Div",
            Kind::Pow => "Pow",
            Kind::PRelu => "PRelu",
        }
    }

    fn has_slope_only(&self) -> bool {
        self.kind == Kind::PRelu
    }

    fn keeps(&self) -> Keeps {
        let size = |n: usize| if self.kept[n] { self.operands[n].activation_size() } else { 0 };
        Keeps { bytes: 0, floats: size(0) + size(1) }
    }

    fn parts(&self) -> usize {
        let whole = |n: usize| !self.operands[n].is_activation() || self.plan.is_whole(n);
        if whole(0) && whole(1) && self.kept != [true; 2] { self.output } else { 1 }
    }

    fn forward(&self, run: Run, inputs: &[&[f32]], output: &mut [f32], keeper: Option<Keeper<'_>>) {
        let values = self.values(inputs);
        self.plan.each(run, self.cut(), output, |tiles, piece, output| {
            if let Some(number) = self.number(values[1], &piece)
                && let (Values::Activation(x), true) = (values[0], self.plan.is_whole(0))
            {
                return with_number(run.isa, self.kind, &x[piece.range(run.lanes)], number, output);
            }
            let [a, b, _] = tiles.all();
            let a = piece.take(run, 0, values[0], a);
            let b = piece.take(run, 1, values[1], b);
            combine(run.isa, self.kind, a, b, output);
        });
        if let Some(keeper) = keeper {
            let mut rest = keeper.floats;
            for (values, _) in values.iter().zip(self.kept).filter(|(_, kept)| *kept) {
                if let Values::Activation(x) = values {
                    let (now, later) = rest.split_at_mut(x.len());
                    now.copy_from_slice(x);
                    rest = later;
                }
            }
        }
    }

    fn vjp(&self, run: Run, input: usize, kept: Kept<'_>, cotangent: &[f32], gradient: &mut [f32]) {
        // Input 0 is the only activation, or the first of two.
        let side = if self.operands[0].is_activation() { input } else { 1 };
        let values = self.kept_values(kept.floats, run.lanes);
        if self.plan.is_whole(side) {
            self.plan.each(run, self.cut(), gradient, |tiles, piece, gradient| {
                if let (Kind::Mul, 0, Some(b)) = (self.kind, side, self.number(values[1], &piece)) {
                    let g = &cotangent[piece.range(run.lanes)];
                    return with_number(run.isa, self.kind, g, b, gradient);
                }
                gradient.copy_from_slice(self.slopes(run, side, values, cotangent, piece, tiles));
            });
        } else {
            gradient.fill(0.0);
            let mut tiles = Tiles::default();
            self.plan.pieces(PIECE, |piece| {
                let dx = self.slopes(run, side, values, cotangent, piece, &mut tiles);
                piece.give(run, side, dx, gradient);
            });
        }
    }

    fn parameters(&self) -> Vec<Parameter<'_>> {
        let role = match self.kind {
            Kind::Add | Kind::Mul => "constant",
            Kind::PRelu => "slope",
            Kind::Sub | Kind::Div | Kind::Pow => return Vec::new(),
        };
        let constants = self.operands.iter().filter_map(|operand| match operand {
            Operand::Constant(value) => Some(Parameter { role, shape: value.shape() }),
            Operand::Activation(_) => None,
        });
        constants.collect()
    }

    fn parameter(&self, _at: usize) -> Cow<'_, [f32]> {
        let constant = self.operands.iter().find_map(|operand| match operand {
            Operand::Constant(value) => Some(value.data()),
            Operand::Activation(_) => None,
        });
        constant.unwrap_or_default().into()
    }

    fn parameter_mut(&mut self, _at: usize) -> &mut [f32] {
        let constant = self.operands.iter_mut().find_map(|operand| match operand {
            Operand::Constant(value) => Some(value.data_mut()),
            Operand::Activation(_) => None,
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
        let Some(side) = self.operands.iter().position(|operand| !operand.is_activation()) else {
            return;
        };
        let size = self.operands[1 - side].activation_size() * run.lanes;
        let groups = inputs[0].chunks_exact(size);
        let mut tiles = Tiles::default();
        for (x, g) in groups.zip(cotangent.chunks_exact(self.output * run.lanes)) {
            self.plan.pieces(PIECE, |piece| {
                let dx = self.slopes(run, side, self.values(&[x]), g, piece, &mut tiles);
                piece.give_constant(run.lanes, side, dx, &mut gradients[0]);
            });
        }
    }
}

versioned! {
    fn combine(kind: Kind, a: &[f32], b: &[f32], y: &mut [f32]) {
        let all = y.iter_mut().zip(a.iter().zip(b));
        match kind {
            Kind::Add => all.for_each(|(y, (a, b))| *y = a + b),
            Kind::Sub => all.for_each(|(y, (a, b))| *y = a - b),
            Kind::Mul => all.for_each(|(y, (a, b))| *y = a * b),
            Kind::Div => all.for_each(|(y, (a, b))| *y = a / b),
            Kind::Pow => all.for_each(|(y, (&a, &b))| *y = power(a, b)),
            Kind::PRelu => all.for_each(|(y, (&a, &b))| *y = if a > 0.0 { a } else { a * b }),
        }
    }
}

versioned! {
    /// [`combine`] with the same number everywhere, for sums and products.
    fn with_number(kind: Kind, a: &[f32], b: f32, y: &mut [f32]) {
        let all = y.iter_mut().zip(a);
        if kind == Kind::Add { all.for_each(|(y, a)| *y = a + b) } else { all.for_each(|(y, a)| *y = a * b) }
    }
}

versioned! {
    /// `g · slope` in operand `side`.
    fn slopes(kind: Kind, side: usize, g: &[f32], a: &[f32], b: &[f32], dx: &mut [f32]) {
        let all = dx.iter_mut().zip(g).zip(a.iter().zip(b)).map(|((dx, &g), (&a, &b))| (dx, g, a, b));
        match (kind, side) {
            (Kind::Add, _) | (Kind::Sub, 0) => all.for_each(|(dx, g, _, _)| *dx = g),
            (Kind::Sub, _) => all.for_each(|(dx, g, _, _)| *dx = -g),
            (Kind::Mul, 0) => all.for_each(|(dx, g, _, b)| *dx = g * b),
            (Kind::Mul, _) => all.for_each(|(dx, g, a, _)| *dx = g * a),
            (Kind::Div, 0) => all.for_each(|(dx, g, _, b)| *dx = g / b),
            (Kind::Div, _) => all.for_each(|(dx, g, a, b)| *dx = -g * a / (b * b)),
            (Kind::Pow, 0) => all.for_each(|(dx, g, a, b)| {
                *dx = if b == 0.0 { 0.0 } else { g * (b * power(a, b - 1.0)) };
            }),
            (Kind::Pow, _) => all.for_each(|(dx, g, a, b)| {
                *dx = if a == 0.0 && b >= 0.0 { 0.0 } else { g * (power(a, b) * a.ln()) };
            }),
            (Kind::PRelu, 0) => {
                all.for_each(|(dx, g, a, b)| *dx = if a > 0.0 { g } else { g * b });
            }
            (Kind::PRelu, _) => {
                all.for_each(|(dx, g, a, _)| *dx = if a > 0.0 { 0.0 } else { g * a });
            }
        }
    }
}

/// `a^b`; squares and what their slopes take without a power function.
#[inline(always)]
fn power(a: f32, b: f32) -> f32 {
    match b.to_bits() {
        ONE => a,
        TWO => a * a,
        _ => a.powf(b),
    }
}

const ONE: u32 = 1f32.to_bits();
const TWO: u32 = 2f32.to_bits();
