//! The operators, one file a family: forward, back-projection and weight gradient side by side.

pub(crate) mod activation;
pub(crate) mod binary;
pub(crate) mod broadcast;
mod columns;
pub(crate) mod conv;
pub(crate) mod conv_transpose;
mod flipped;
pub(crate) mod linear;
pub(crate) mod lrn;
mod math;
pub(crate) mod normalize;
mod padded;
pub(crate) mod piecewise;
pub(crate) mod pool;
pub(crate) mod product;
pub(crate) mod rearrange;
pub(crate) mod reduce;
pub(crate) mod resize;
pub(crate) mod unary;
pub(crate) mod variadic;

use crate::kernels::Isa;
use crate::network::ReluRule;
use crate::tensor::Tensor;
use std::borrow::Cow;

/// How a block of images is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) isa: Isa,
    /// Split the work of one operator over threads.
    pub(crate) parallel: bool,
    /// Images side by side: 1 or [`LANES`](crate::kernels::LANES).
    pub(crate) lanes: usize,
    /// What ReLUs let through on the way back.
    pub(crate) relu: ReluRule,
    /// Where an operator is cut: the first of its [`Operator::parts`] that this call computes.
    pub(crate) first: usize,
}

/// What an operator keeps of one image for back-projection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Keeps {
    pub(crate) bytes: usize,
    pub(crate) floats: usize,
}

/// What an operator kept of a group of images, `[item][lane]`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kept<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) floats: &'a [f32],
}

/// Where an operator keeps what its back-projection needs.
#[derive(Debug, Default)]
pub(crate) struct Keeper<'a> {
    pub(crate) bytes: &'a mut [u8],
    pub(crate) floats: &'a mut [f32],
}

/// One node of a graph, with its constants inside.
///
/// Values are lane-blocked: `[element][lane]` for one group of images, `[group][element][lane]` for joint operators.
pub(crate) trait Operator: Send + Sync + std::fmt::Debug {
    /// The ONNX name.
    fn name(&self) -> &'static str;

    /// Whether all groups of a block are handed over at once (matrix products), not one at a time.
    fn joint(&self) -> bool {
        false
    }

    /// What back-projection needs of each image.
    fn keeps(&self) -> Keeps {
        Keeps::default()
    }

    /// Into how many equal parts all inputs, the output and what is kept may be cut so that the operator computes each by
    /// itself, and as it would compute the whole. As many as the output has elements: it works element by element.
    fn parts(&self) -> usize {
        1
    }

    /// The output; where `keeper` is given, also what [`Operator::keeps`] announced.
    fn forward(&self, run: Run, inputs: &[&[f32]], output: &mut [f32], keeper: Option<Keeper<'_>>);

    /// `gradient = Jᵀ · cotangent` for input number `input`; overwrites.
    fn vjp(&self, run: Run, input: usize, kept: Kept<'_>, cotangent: &[f32], gradient: &mut [f32]);

    /// The constants that training may change.
    fn parameters(&self) -> Vec<Parameter<'_>> {
        Vec::new()
    }

    /// The values of constant number `at` of [`Operator::parameters`], in the file's order.
    fn parameter(&self, at: usize) -> Cow<'_, [f32]> {
        unreachable!("parameter {at} of {}", self.name())
    }

    /// The same, to change in place; [`Operator::refresh`] makes it count.
    fn parameter_mut(&mut self, at: usize) -> &mut [f32] {
        unreachable!("parameter {at} of {}", self.name())
    }

    /// Prepares changed constants for use.
    fn refresh(&mut self, _parallel: bool) {}

    /// The gradient of each parameter, summed over the images of all groups, into `gradients`, which are zero before.
    ///
    /// Images are lane-blocked by sixteen; `inputs` and `cotangent` hold all groups.
    fn weight_gradients(
        &self,
        _run: Run,
        _inputs: &[&[f32]],
        _cotangent: &[f32],
        _gradients: &mut [Vec<f32>],
    ) {
    }

    /// Whether it is an activation function that no [`ReluRule`] but the slope is defined for.
    fn has_slope_only(&self) -> bool {
        false
    }

    /// This operator as the convolution that it is, where it is one.
    fn as_conv(&self) -> Option<&conv::Conv> {
        None
    }

    /// This operator as the max pooling that it is, where it is one.
    fn as_max_pool(&self) -> Option<&pool::MaxPool> {
        None
    }
}

/// A constant of an operator that training may change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameter<'a> {
    /// "weight", "bias" or "constant".
    pub(crate) role: &'static str,
    pub(crate) shape: &'a [usize],
}

impl Parameter<'_> {
    pub(crate) fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// The parameters of an operator with weights of `shape` and perhaps a bias, in the order of its inputs.
fn weight_and_bias<'a>(shape: &'a [usize], bias: Option<&'a Tensor>) -> Vec<Parameter<'a>> {
    let mut all = vec![Parameter { role: "weight", shape }];
    all.extend(bias.map(|bias| Parameter { role: "bias", shape: bias.shape() }));
    all
}

/// A sliding window over two axes, with its padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) dilation: [usize; 2],
    /// Rows above and columns left of the input; behind it, what `output` asks for.
    pub(crate) pad: [usize; 2],
    /// Padding below and to the right, as declared.
    pub(crate) pad_end: [usize; 2],
    /// Height and width of the input.
    pub(crate) input: [usize; 2],
    /// Height and width of the output.
    pub(crate) output: [usize; 2],
}

impl Window {
    /// Rows or columns from the first to behind the last tap.
    pub(crate) fn extent(&self, axis: usize) -> usize {
        (self.kernel[axis] - 1) * self.dilation[axis] + 1
    }

    /// Where tap (ky, kx) of output (y, x) lies in the input, if it is not padding.
    pub(crate) fn at(&self, y: usize, x: usize, ky: usize, kx: usize) -> Option<usize> {
        let row = (y * self.stride[0] + ky * self.dilation[0]).checked_sub(self.pad[0])?;
        let column = (x * self.stride[1] + kx * self.dilation[1]).checked_sub(self.pad[1])?;
        (row < self.input[0] && column < self.input[1]).then_some(row * self.input[1] + column)
    }
}
