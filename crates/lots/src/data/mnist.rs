//! MNIST, carried inside the library when the feature `mnist` is on.

use super::dataset::Dataset;
use super::reference::Split;
use crate::error::DataError;

/// The digits of one split, unpacked once a process.
///
/// Paper: section 5.1, MNIST.
#[cfg(feature = "mnist")]
pub(super) fn mnist(split: Split) -> Result<&'static Dataset, DataError> {
    use std::sync::OnceLock;

    use super::dataset::DEFAULT_CLASSES;
    use super::idx::parse_idx;

    static TRAIN: OnceLock<Result<Dataset, DataError>> = OnceLock::new();
    static TEST: OnceLock<Result<Dataset, DataError>> = OnceLock::new();

    let (cell, images, labels) = match split {
        Split::Train => (&TRAIN, lots_mnist_train::IMAGES, lots_mnist_train::LABELS),
        Split::Test => (&TEST, lots_mnist_test::IMAGES, lots_mnist_test::LABELS),
    };
    let name = format!("mnist:{split}");
    cell.get_or_init(|| {
        let images = parse_idx(images, &format!("{name} images"))?;
        let labels = parse_idx(labels, &format!("{name} labels"))?;
        Dataset::from_idx(name, images, Some(labels), DEFAULT_CLASSES)
    })
    .as_ref()
    .map_err(Clone::clone)
}

/// Without the feature there is no MNIST, and the error says so.
#[cfg(not(feature = "mnist"))]
pub(super) fn mnist(_: Split) -> Result<&'static Dataset, DataError> {
    Err(DataError::NoMnist)
}

#[cfg(all(test, feature = "mnist"))]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use md5::{Digest, Md5};

    use super::*;

    /// Oracle: the published sums of the four unpacked files of the original MNIST distribution.
    #[test]
    fn the_four_files_are_the_published_ones() {
        let files = [
            ("train images", lots_mnist_train::IMAGES, "6bbc9ace898e44ae57da46a324031adb"),
            ("train labels", lots_mnist_train::LABELS, "a25bea736e30d166cdddb491f175f624"),
            ("test images", lots_mnist_test::IMAGES, "2646ac647ad5339dbf082846283269ea"),
            ("test labels", lots_mnist_test::LABELS, "27ae3e4e09519cfbb04c329615203637"),
        ];
        let failures: Vec<String> = files
            .into_iter()
            .filter_map(|(file, packed, wanted)| {
                let mut bytes = Vec::new();
                GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
                let sum: String = Md5::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
                (sum != wanted).then(|| format!("{file}: wanted {wanted}, found {sum}"))
            })
            .collect();
        assert!(failures.is_empty(), "{failures:#?}");
    }

    #[test]
    fn the_digits_are_unpacked_once() {
        let (train, test) = (mnist(Split::Train).unwrap(), mnist(Split::Test).unwrap());
        assert_eq!((train.len(), test.len()), (60_000, 10_000));
        assert_eq!((train.shape(), test.shape()), ([28, 28, 1], [28, 28, 1]));
        // The first labels of both files are well known: 5 0 4 1 9 and 7 2 1 0 4.
        assert_eq!(train.labels().unwrap()[..5], [5, 0, 4, 1, 9]);
        assert_eq!(test.labels().unwrap()[..5], [7, 2, 1, 0, 4]);
        assert!(std::ptr::eq(test, mnist(Split::Test).unwrap()));
    }
}
