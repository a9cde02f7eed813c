//! Arrays of integers: constants that say shapes and places, and the places that an operator takes its output from.

/// A dense array in row-major order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Array<T> {
    pub(super) shape: Vec<usize>,
    pub(super) data: Vec<T>,
}

impl<T: Copy> Array<T> {
    /// The array whose axis a takes the elements that `axes[a]` lists; `None` lists `fill`.
    pub(super) fn pick(&self, axes: &[Vec<Option<usize>>], fill: T) -> Self {
        // Places fit 32 bits; the last number stands for `fill`.
        let mut places = vec![0];
        for (axis, &size) in axes.iter().zip(&self.shape) {
            let mut next = Vec::with_capacity(places.len() * axis.len());
            for base in places {
                next.extend(axis.iter().map(|at| match at {
                    Some(at) if base != u32::MAX => base * size as u32 + *at as u32,
                    _ => u32::MAX,
                }));
            }
            places = next;
        }
        let element = |at: u32| if at == u32::MAX { fill } else { self.data[at as usize] };
        Self {
            shape: axes.iter().map(Vec::len).collect(),
            data: places.into_iter().map(element).collect(),
        }
    }

    /// The array whose axis a is axis `order[a]` of this one.
    pub(super) fn transpose(&self, order: &[usize]) -> Self {
        let steps = steps(&self.shape);
        let shape: Vec<usize> = order.iter().map(|&a| self.shape[a]).collect();
        let mut places = vec![0];
        for &axis in order {
            let along = |base: usize| (0..self.shape[axis]).map(move |i| (base, i));
            places = places.into_iter().flat_map(along).map(|(b, i)| b + i * steps[axis]).collect();
        }
        Self { shape, data: places.into_iter().map(|at| self.data[at]).collect() }
    }

    /// The array repeated along axes of one element until it has `shape`, which it broadcasts to.
    pub(super) fn expand(&self, shape: &[usize]) -> Self {
        let own = [vec![1; shape.len() - self.shape.len()], self.shape.clone()].concat();
        let axes: Vec<Vec<Option<usize>>> = shape
            .iter()
            .zip(&own)
            .map(|(&to, &from)| (0..to).map(|i| Some(if from == 1 { 0 } else { i })).collect())
            .collect();
        let full = Self { shape: own, data: self.data.clone() };
        match self.data.first() {
            Some(&fill) => full.pick(&axes, fill),
            None => full,
        }
    }

    /// Arrays of equal shapes but for `axis`, one behind the other along it.
    pub(super) fn concat(arrays: &[Self], axis: usize) -> Self {
        let mut shape = arrays[0].shape.clone();
        shape[axis] = arrays.iter().map(|a| a.shape[axis]).sum();
        let outer: usize = shape[..axis].iter().product();
        let inner: usize = shape[axis + 1..].iter().product();
        let mut data = Vec::new();
        for o in 0..outer {
            for a in arrays {
                let size = a.shape[axis] * inner;
                data.extend_from_slice(&a.data[o * size..][..size]);
            }
        }
        Self { shape, data }
    }
}

/// How many elements one step along each axis of `shape` passes.
fn steps(shape: &[usize]) -> Vec<usize> {
    let mut steps = vec![1; shape.len()];
    for a in (1..shape.len()).rev() {
        steps[a - 1] = steps[a] * shape[a];
    }
    steps
}

/// Every element of an axis of `size`.
pub(super) fn whole(size: usize) -> Vec<Option<usize>> {
    (0..size).map(Some).collect()
}
