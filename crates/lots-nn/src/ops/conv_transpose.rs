//! ConvTranspose.

use super::conv::Conv;
use super::linear::add_row_sums;
use super::{Keeper, Kept, Operator, Parameter, Run};
use crate::tensor::Tensor;
use std::borrow::Cow;

/// The back-projection of a convolution, and a bias: the convolution takes the output to the input.
#[derive(Debug)]
pub(crate) struct ConvTranspose {
    /// Its rows are the input's channels, its channels the output's.
    conv: Conv,
    bias: Option<Tensor>,
    /// Elements of one channel of the output.
    plane: usize,
}

impl ConvTranspose {
    /// The transpose of `conv`, which has no bias, and whose inputs have `plane` elements in each channel.
    pub(crate) fn new(conv: Conv, bias: Option<Tensor>, plane: usize) -> Self {
        Self { conv, bias, plane }
    }
}

impl Operator for ConvTranspose {
    fn name(&self) -> &'static str {
        "ConvTranspose"
    }

    fn forward(
        &self,
        run: Run,
        inputs: &[&[f32]],
        output: &mut [f32],
        _keeper: Option<Keeper<'_>>,
    ) {
        self.conv.vjp(run, 0, Kept::default(), inputs[0], output);
        if let Some(bias) = &self.bias {
            for (y, bias) in output.chunks_exact_mut(self.plane * run.lanes).zip(bias.data()) {
                y.iter_mut().for_each(|y| *y += bias);
            }
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
        self.conv.forward(run, &[cotangent], gradient, None);
    }

    fn parameters(&self) -> Vec<Parameter<'_>> {
        let bias = self.bias.as_ref().map(|b| Parameter { role: "bias", shape: b.shape() });
        self.conv.parameters().into_iter().chain(bias).collect()
    }

    fn parameter(&self, at: usize) -> Cow<'_, [f32]> {
        match (at, &self.bias) {
            (1, Some(bias)) => bias.data().into(),
            _ => self.conv.parameter(0),
        }
    }

    fn parameter_mut(&mut self, at: usize) -> &mut [f32] {
        match (at, &mut self.bias) {
            (1, Some(bias)) => bias.data_mut(),
            _ => self.conv.parameter_mut(0),
        }
    }

    fn refresh(&mut self, parallel: bool) {
        self.conv.refresh(parallel);
    }

    fn weight_gradients(
        &self,
        run: Run,
        inputs: &[&[f32]],
        cotangent: &[f32],
        gradients: &mut [Vec<f32>],
    ) {
        // The convolution's inputs are the outputs here: what multiplies what is the same.
        self.conv.weight_gradients(run, &[cotangent], inputs[0], gradients);
        if let Some(bias) = &self.bias {
            let length = self.plane * run.lanes;
            add_row_sums(run, cotangent, bias.data().len(), length, &mut gradients[1]);
        }
    }
}
