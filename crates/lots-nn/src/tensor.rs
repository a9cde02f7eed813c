//! Constant arrays: weights, biases, scales.

/// A dense array of f32 in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Vec<f32>,
}

impl Tensor {
    /// An array of `shape`, or `None` when the number of elements differs.
    pub fn new(shape: Vec<usize>, data: Vec<f32>) -> Option<Self> {
        let wanted = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
        (wanted == data.len()).then_some(Self { shape, data })
    }

    /// An array of `shape` filled with zeros.
    pub fn zeros(shape: Vec<usize>) -> Self {
        let data = vec![0.0; shape.iter().product()];
        Self { shape, data }
    }

    /// Sizes of the axes; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements, row by row.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    pub(crate) fn into_data(self) -> Vec<f32> {
        self.data
    }

    pub(crate) fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }
}

/// `[N, 1, 28, 28]`-like text of a shape.
pub(crate) fn show_shape(shape: &[usize]) -> String {
    format!("[{}]", shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
}
