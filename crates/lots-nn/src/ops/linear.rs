//! Gemm and MatMul with constant weights.

use super::{Keeper, Kept, Operator, Parameter, Run, weight_and_bias};
use crate::kernels::{
    LANES, Packed, matmul, matmul_back, matmul_weight_gradient, transpose_lanes, versioned,
};
use crate::parallel::{for_each_chunk, worth};
use crate::scratch::Buffer;
use crate::tensor::Tensor;
use std::borrow::Cow;

/// `y = scale · W x + bias` for each row of the input: one in Gemm, as many as there are in MatMul.
///
/// `scale` and the bias' factor are Gemm's alpha and beta. Rows of one image lie one behind the other, so that for the
/// product they are more groups of images.
#[derive(Debug)]
pub(crate) struct Linear {
    name: &'static str,
    /// Shape of the weights in the file: [outputs, inputs] when `transposed` (Gemm, transB = 1), else [inputs, outputs].
    shape: [usize; 2],
    transposed: bool,
    /// `None`: one.
    scale: Option<f32>,
    bias: Option<Tensor>,
    bias_scale: f32,
    /// The bias of each output, scaled.
    full_bias: Option<Vec<f32>>,
    /// The weights [outputs, inputs], scaled: all that forward and back-projection need.
    packed: Packed,
    /// The weights as the file has them, where they are not to be had from `packed`: scaled ones, and what training changes.
    stored: Option<Vec<f32>>,
}

/// What Gemm's attributes say of its product.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GemmScales {
    pub(crate) alpha: f32,
    pub(crate) beta: f32,
    pub(crate) transposed: bool,
}

impl Linear {
    /// Gemm with a constant matrix and a bias of one number or one for each output.
    pub(crate) fn gemm(weight: Tensor, bias: Option<Tensor>, s: GemmScales) -> Self {
        Self::new("Gemm", weight, s.transposed, s.alpha, bias, s.beta)
    }

    /// MatMul of rows of activations with a constant matrix [inputs, outputs].
    pub(crate) fn matmul(weight: Tensor) -> Self {
        Self::new("MatMul", weight, false, 1.0, None, 1.0)
    }

    fn new(
        name: &'static str,
        weight: Tensor,
        transposed: bool,
        scale: f32,
        bias: Option<Tensor>,
        bias_scale: f32,
    ) -> Self {
        let shape = [0, 1].map(|a| weight.shape()[a]);
        let scale = (scale.to_bits() != 1f32.to_bits()).then_some(scale);
        let data = weight.into_data();
        let stored = scale.map(|_| data.clone());
        let [outputs, inputs] = if transposed { shape } else { [shape[1], shape[0]] };
        let packed = if transposed {
            Packed::from_rows(true, outputs, inputs, data)
        } else {
            let mut packed = Packed { rows: outputs, depth: inputs, ..Packed::default() };
            packed.fill_columns(true, &data);
            packed
        };
        let mut op = Self {
            name,
            shape,
            transposed,
            scale,
            bias,
            bias_scale,
            full_bias: None,
            packed,
            stored,
        };
        op.finish();
        op
    }

    fn outputs(&self) -> usize {
        self.packed.rows
    }

    fn inputs(&self) -> usize {
        self.packed.depth
    }

    /// Scales what was just packed, and the bias.
    fn finish(&mut self) {
        if let Some(scale) = self.scale {
            self.packed.data.iter_mut().for_each(|x| *x *= scale);
        }
        let outputs = self.outputs();
        self.full_bias = self.bias.as_ref().map(|b| {
            let b = b.data();
            (0..outputs).map(|o| self.bias_scale * b[if b.len() == 1 { 0 } else { o }]).collect()
        });
    }

    /// The weights in the file's order.
    fn weight(&self) -> Cow<'_, [f32]> {
        match &self.stored {
            Some(stored) => stored.into(),
            None if self.transposed => self.packed.to_rows().into(),
            None => self.packed.to_columns().into(),
        }
    }
}

impl Operator for Linear {
    fn name(&self) -> &'static str {
        self.name
    }

    fn joint(&self) -> bool {
        true
    }

    fn forward(
        &self,
        run: Run,
        inputs: &[&[f32]],
        output: &mut [f32],
        _keeper: Option<Keeper<'_>>,
    ) {
        matmul(
            run.isa,
            run.parallel,
            &self.packed,
            self.full_bias.as_deref(),
            run.lanes,
            inputs[0],
            output,
        );
    }

    fn vjp(
        &self,
        run: Run,
        _input: usize,
        _kept: Kept<'_>,
        cotangent: &[f32],
        gradient: &mut [f32],
    ) {
        matmul_back(run.isa, run.parallel, &self.packed, run.lanes, cotangent, gradient);
    }

    fn parameters(&self) -> Vec<Parameter<'_>> {
        weight_and_bias(&self.shape, self.bias.as_ref())
    }

    fn parameter(&self, at: usize) -> Cow<'_, [f32]> {
        match (at, &self.bias) {
            (1, Some(bias)) => bias.data().into(),
            _ => self.weight(),
        }
    }

    fn parameter_mut(&mut self, at: usize) -> &mut [f32] {
        if at == 0 && self.stored.is_none() {
            self.stored = Some(self.weight().into_owned());
        }
        match (at, &mut self.bias, &mut self.stored) {
            (1, Some(bias), _) => bias.data_mut(),
            (_, _, stored) => stored.as_deref_mut().unwrap_or_default(),
        }
    }

    fn refresh(&mut self, parallel: bool) {
        match &self.stored {
            Some(stored) if self.transposed => self.packed.fill_rows(parallel, stored),
            Some(stored) => self.packed.fill_columns(parallel, stored),
            None => {}
        }
        self.finish();
    }

    fn weight_gradients(
        &self,
        run: Run,
        inputs: &[&[f32]],
        cotangent: &[f32],
        gradients: &mut [Vec<f32>],
    ) {
        let (outs, ins) = (self.outputs(), self.inputs());
        let groups = cotangent.len() / (outs * LANES);
        let (x, g, dw) = (inputs[0], cotangent, &mut gradients[0]);
        let mut rows = Buffer::dirty(groups * LANES * if self.transposed { ins } else { outs });
        if self.transposed {
            transpose_lanes(run.isa, x, ins, &mut rows);
            matmul_weight_gradient(run.isa, run.parallel, outs, ins, g, &rows, dw);
        } else {
            transpose_lanes(run.isa, g, outs, &mut rows);
            matmul_weight_gradient(run.isa, run.parallel, ins, outs, x, &rows, dw);
        }
        if let Some(scale) = self.scale {
            dw.iter_mut().for_each(|x| *x *= scale);
        }
        if let Some(bias) = &self.bias {
            let mut sums = vec![0.0; outs];
            add_row_sums(run, cotangent, outs, LANES, &mut sums);
            for (o, sum) in sums.into_iter().enumerate() {
                gradients[1][if bias.data().len() == 1 { 0 } else { o }] += self.bias_scale * sum;
            }
        }
    }
}

/// `sums[row] += Σ` over groups and `length` numbers of `x`, `[group][row][length]`; sixty-four partial sums each.
pub(crate) fn add_row_sums(run: Run, x: &[f32], rows: usize, length: usize, sums: &mut [f32]) {
    // Sixteen rows to a task; small sums stay on one thread.
    for_each_chunk(run.parallel && worth(x.len()), sums, 16, |task, sums| {
        for (i, sum) in sums.iter_mut().enumerate() {
            for group in x.chunks_exact(rows * length) {
                *sum += lane_sum(run.isa, &group[(task * 16 + i) * length..][..length]);
            }
        }
    });
}

versioned! {
    /// The sum of whole vectors: four of them side by side, so that none waits for another.
    fn lane_sum(x: &[f32]) -> f32 {
        let mut parts = [0.0f32; 4 * LANES];
        let (fours, rest) = x.as_chunks::<{ 4 * LANES }>();
        for x in fours {
            for i in 0..4 * LANES {
                parts[i] += x[i];
            }
        }
        for (part, x) in parts.iter_mut().zip(rest) {
            *part += x;
        }
        let mut half = 2 * LANES;
        while half > 0 {
            for i in 0..half {
                parts[i] += parts[i + half];
            }
            half /= 2;
        }
        parts[0]
    }
}
