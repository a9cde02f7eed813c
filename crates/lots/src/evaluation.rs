//! How many images a network classifies wrongly, and as what.

use lots_nn::Network;
use ndarray::ArrayView2;

use crate::attack::first_largest;
use crate::batch::batch;
use crate::data::Dataset;
use crate::error::Error;

/// Pixel values that go through the network at a time.
const BATCH_VALUES: usize = 1 << 20;

/// What a network makes of labelled images.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Number of images.
    pub images: usize,
    /// Images whose class is not their label.
    pub errors: u64,
    /// `errors` / `images`, 0–1.
    pub error_rate: f64,
    /// Number of images by label and class: `confusion[label][class]`.
    pub confusion: Vec<Vec<u64>>,
}

/// Classifies all images of `data`; after each batch, `each` is given its logits [images, classes].
///
/// Paper: the error rate of Table 1.
///
/// # Errors
/// When the images do not fit the network, have no labels or labels beyond its classes, or a logit is not finite.
pub fn evaluate(
    network: &dyn Network,
    data: &Dataset,
    mut each: impl FnMut(ArrayView2<'_, f32>),
) -> Result<Evaluation, Error> {
    let classes = classes(network)?;
    let labels = data.labels_below(classes)?;
    let size = (BATCH_VALUES / data.pixels(0).len()).max(1);
    let mut confusion = vec![vec![0; classes]; classes];
    for first in (0..data.len()).step_by(size) {
        let positions = first..data.len().min(first + size);
        let images = batch(network.input(), data, positions.clone())?;
        let logits = network.represent(images.view(), network.output())?;
        for (position, row) in positions.zip(logits.rows()) {
            if !row.iter().all(|x| x.is_finite()) {
                return Err(Error::Output { position, data: data.name().to_owned() });
            }
            confusion[usize::from(labels[position])][first_largest(row)] += 1;
        }
        each(logits.view());
    }
    let hits: u64 = (0..classes).map(|class| confusion[class][class]).sum();
    let errors = data.len() as u64 - hits;
    let error_rate = errors as f64 / data.len() as f64;
    Ok(Evaluation { images: data.len(), errors, error_rate, confusion })
}

/// How many classes a classifier tells apart: its number of logits.
///
/// # Errors
/// When the network's output is not one row of numbers an image; axes of size 1 do not matter.
pub fn classes(network: &dyn Network) -> Result<usize, Error> {
    let output = network.layers().iter().find(|layer| layer.id == network.output());
    let shape = output.map(|layer| layer.shape.as_slice()).unwrap_or_default();
    if shape.is_empty() || shape.iter().filter(|&&size| size > 1).count() > 1 {
        return Err(Error::NoLogits { shape: shape.to_vec() });
    }
    Ok(shape.iter().product())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lots_nn::lenet;

    fn digits(count: usize, labels: Option<Vec<u8>>) -> Dataset {
        let pixels = (0..count * 784).map(|i| (i * 31 % 251) as u8).collect();
        Dataset::new("digits", [28, 28, 1], pixels, labels, 256).unwrap()
    }

    #[test]
    fn a_network_of_planes_is_no_classifier() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../lots-nn/tests/data/max_pool.onnx");
        let network = lots_nn::Graph::open(file).unwrap();
        let refused = classes(&network).unwrap_err().to_string();
        assert!(refused.ends_with("; wanted one row of logits"), "{refused}");
        assert_eq!(classes(&lenet(0)).unwrap(), 10);
    }

    #[test]
    fn counts_agree_with_the_logits() {
        let network = lenet(3);
        let count = BATCH_VALUES / 784 + 9;
        let labels: Vec<u8> = (0..count).map(|i| (i % 10) as u8).collect();
        let data = digits(count, Some(labels.clone()));
        let mut logits = Vec::new();
        let found = evaluate(&network, &data, |rows| logits.extend(rows.iter().copied())).unwrap();
        let mut confusion = vec![vec![0; 10]; 10];
        for (row, &label) in logits.chunks(10).zip(&labels) {
            confusion[usize::from(label)][first_largest(row)] += 1;
        }
        assert_eq!((found.images, logits.len()), (count, 10 * count));
        assert_eq!(found.confusion, confusion);
        let hits: u64 = (0..10).map(|c| confusion[c][c]).sum();
        assert_eq!(found.errors, count as u64 - hits);
        assert!((found.error_rate * count as f64 - found.errors as f64).abs() < 1e-9);
    }

    #[test]
    fn unusable_data_are_named() {
        let small = Dataset::new("small", [2, 2, 1], vec![0; 4], Some(vec![0]), 10).unwrap();
        let cases = [
            (digits(2, None), "digits has no labels, wanted one an image; add a file of labels"),
            (digits(2, Some(vec![9, 10])), "label 10 at position 1 of digits; labels must be 0–9"),
            (
                small,
                "small has 2×2×1 (height × width × channels), the network takes 28×28×1; give images of that shape",
            ),
        ];
        for (data, wanted) in cases {
            let found = evaluate(&lenet(0), &data, |_| ()).unwrap_err().to_string();
            assert_eq!(found, wanted);
        }
    }
}
