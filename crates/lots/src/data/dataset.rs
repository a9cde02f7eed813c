//! Images of one shape with their labels.

use std::fmt;
use std::ops::Range;

use super::idx::Idx;
use super::reference::NamedImage;
use crate::error::DataError;
use crate::image::Image;

/// Classes of MNIST and of the data sets made like it.
pub const DEFAULT_CLASSES: usize = 10;

/// 8-bit images of one shape, with labels or without; never empty.
#[derive(Clone, PartialEq, Eq)]
pub struct Dataset {
    name: String,
    /// The set that this is a part of, and the position of the first image there.
    whole: (String, usize),
    /// Height, width, channels.
    shape: [usize; 3],
    images: Vec<u8>,
    labels: Option<Vec<u8>>,
}

impl Dataset {
    /// Images of `shape` (height, width, channels: 1 or 3), one behind the other in `images`, each row by row with the
    /// channels of a pixel side by side; one label (0 … `classes` − 1) an image, if any; `name` stands for the set in
    /// messages.
    ///
    /// # Errors
    /// When `images` is not a positive number of whole images, the labels are not as many or reach beyond `classes`, or
    /// `classes` is not 1–256.
    pub fn new(
        name: impl Into<String>,
        shape: [usize; 3],
        images: Vec<u8>,
        labels: Option<Vec<u8>>,
        classes: usize,
    ) -> Result<Self, DataError> {
        let name = name.into();
        let [height, width, channels] = shape;
        let size = height.saturating_mul(width).saturating_mul(channels);
        if size == 0 || (channels != 1 && channels != 3) {
            let problem = format!(
                "has images of {height}×{width}×{channels}, wanted height, width, 1 or 3 channels"
            );
            return Err(DataError::content(name, problem));
        }
        if images.is_empty() || !images.len().is_multiple_of(size) {
            let problem = format!(
                "has {} bytes, wanted a positive multiple of {size}, one image",
                images.len()
            );
            return Err(DataError::content(name, problem));
        }
        let count = images.len() / size;
        if let Some(labels) = &labels {
            if labels.len() != count {
                let problem =
                    format!("has {count} images but {} labels, wanted one each", labels.len());
                return Err(DataError::content(name, problem));
            }
            check_labels(&name, labels, classes)?;
        }
        let whole = (name.clone(), 0);
        Ok(Self { name, whole, shape, images, labels })
    }

    /// The data set of an IDX file of images (grey, or RGB where it has four dimensions) and one of labels.
    ///
    /// # Errors
    /// When a file is of the other kind, the labels are not as many as the images or reach beyond `classes`, or
    /// `classes` is not 1–256.
    pub fn from_idx(
        name: impl Into<String>,
        images: Idx,
        labels: Option<Idx>,
        classes: usize,
    ) -> Result<Self, DataError> {
        let (count, shape) = match images.shape[..] {
            [count, height, width] => (count, [height, width, 1]),
            [count, height, width, channels] => (count, [height, width, channels]),
            _ => {
                let problem = "holds labels (1 dimension), wanted images (3 or 4 dimensions)";
                return Err(DataError::content(images.name, problem));
            }
        };
        if let Some(labels) = &labels {
            if labels.shape.len() != 1 {
                let rank = labels.shape.len();
                let problem =
                    format!("holds images ({rank} dimensions), wanted labels (1 dimension)");
                return Err(DataError::content(&labels.name, problem));
            }
            if labels.bytes.len() != count {
                let problem = format!(
                    "has {} labels, but {} has {count} images; wanted one label an image",
                    labels.bytes.len(),
                    images.name
                );
                return Err(DataError::content(&labels.name, problem));
            }
            check_labels(&labels.name, &labels.bytes, classes)?;
        }
        Self::new(name, shape, images.bytes, labels.map(|l| l.bytes), classes)
    }

    /// What the set is called in messages. Sets that were opened, and ranges of them, carry the reference that opens them.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Height, width and channels (1 grey, 3 RGB) of every image.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Number of images, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a data set is never empty")]
    pub fn len(&self) -> usize {
        self.images.len() / self.size()
    }

    /// All images, one behind the other: N × height × width × channels, 0–255.
    pub fn images(&self) -> &[u8] {
        &self.images
    }

    /// All labels, one an image, if the set has labels.
    pub fn labels(&self) -> Option<&[u8]> {
        self.labels.as_deref()
    }

    /// Image `i`.
    ///
    /// # Panics
    /// When `i` is not below [`len`](Self::len), as for a slice.
    pub fn image(&self, i: usize) -> Image {
        Image::of_checked(self.shape, self.pixels(i).to_vec())
    }

    /// The pixels of image `i`: row by row, the channels of a pixel side by side, 0–255.
    ///
    /// # Panics
    /// When `i` is not below [`len`](Self::len), as for a slice.
    pub fn pixels(&self, i: usize) -> &[u8] {
        &self.images[i * self.size()..][..self.size()]
    }

    /// The class of image `i`, counted from 0, if the set has labels.
    ///
    /// # Panics
    /// When the set has labels and `i` is not below [`len`](Self::len), as for a slice.
    pub fn label(&self, i: usize) -> Option<usize> {
        self.labels.as_ref().map(|labels| usize::from(labels[i]))
    }

    /// Image `i` with its label. Of sets that were opened, and ranges of them, its name is the reference that opens it.
    ///
    /// # Panics
    /// When `i` is not below [`len`](Self::len), as for a slice.
    pub fn named(&self, i: usize) -> NamedImage {
        let (whole, first) = &self.whole;
        NamedImage {
            image: self.image(i),
            name: format!("{whole}:{}", first + i),
            label: self.label(i),
        }
    }

    /// All labels, checked to be classes of `classes`.
    ///
    /// # Errors
    /// When the set has no labels, or one is not below `classes`.
    pub fn labels_below(&self, classes: usize) -> Result<&[u8], DataError> {
        let Some(labels) = self.labels() else {
            let problem = "has no labels, wanted one an image; add a file of labels";
            return Err(DataError::content(&self.name, problem));
        };
        check_labels(&self.name, labels, classes.min(256))?;
        Ok(labels)
    }

    /// The images at `range`, named `name:start..end` (`name:start` where it is one image).
    ///
    /// # Errors
    /// When the range is empty or ends behind the last image.
    pub fn range(&self, range: Range<usize>) -> Result<Self, DataError> {
        let Range { start, end } = range;
        let wanted = if end.checked_sub(start) == Some(1) {
            start.to_string()
        } else {
            format!("{start}..{end}")
        };
        if start >= end || end > self.len() {
            let (set, kind) = (self.name.clone(), "images".to_owned());
            return Err(DataError::Position { set, kind, len: self.len(), wanted });
        }
        let size = self.size();
        Ok(Self {
            name: format!("{}:{wanted}", self.name),
            whole: (self.whole.0.clone(), self.whole.1 + start),
            shape: self.shape,
            images: self.images[start * size..end * size].to_vec(),
            labels: self.labels.as_ref().map(|labels| labels[start..end].to_vec()),
        })
    }

    /// At most `count` images, evenly spread over the set: image `i` of the result is image ⌊i · len / count⌋ of this one.
    /// The halves of a data set differ (the second half of MNIST's test digits is the harder one), so the first images
    /// would not stand for it; for those take [`range`](Self::range). A set with no more than `count` images comes back whole.
    ///
    /// # Errors
    /// When `count` is 0.
    pub fn limit(&self, count: usize) -> Result<Self, DataError> {
        if count == 0 {
            return Err(DataError::content(
                &self.name,
                "cannot be limited to 0 images, wanted at least 1",
            ));
        }
        let len = self.len();
        if count >= len {
            return Ok(self.clone());
        }
        let picks = self.spread(count);
        let name = format!("{} ({count} of {len}, evenly spread)", self.name);
        Ok(Self {
            whole: (name.clone(), 0),
            name,
            shape: self.shape,
            images: picks.clone().flat_map(|i| self.pixels(i)).copied().collect(),
            labels: self.labels.as_ref().map(|labels| picks.map(|i| labels[i]).collect()),
        })
    }

    /// The position of the first image of each of `classes` classes.
    ///
    /// # Errors
    /// When the set has no labels, one is not below `classes`, or a class has no image.
    pub fn first_of_each_class(&self, classes: usize) -> Result<Vec<usize>, DataError> {
        let labels = self.labels_below(classes)?;
        let first = |class| {
            let position = labels.iter().position(|&label| usize::from(label) == class);
            position.ok_or_else(|| {
                let problem = format!("has no image of class {class}, wanted one a class");
                DataError::content(&self.name, problem)
            })
        };
        (0..classes).map(first).collect()
    }

    /// The positions of at most `count` images, evenly spread: those that [`limit`](Self::limit) takes.
    pub fn spread(&self, count: usize) -> impl Iterator<Item = usize> + Clone + use<> {
        spread(self.len(), count)
    }

    /// The position of image `i` in the set that this is a part of.
    pub fn position(&self, i: usize) -> usize {
        self.whole.1 + i
    }

    /// Bytes of one image.
    fn size(&self) -> usize {
        self.shape.iter().product()
    }
}

/// At most `count` of the positions below `len`, evenly spread: ⌊i · len / count⌋.
pub fn spread(len: usize, count: usize) -> impl Iterator<Item = usize> + Clone + use<> {
    let count = count.min(len);
    // Wider than usize: the product may pass 2³² where addresses have 32 bits.
    (0..count as u64).map(move |i| (u128::from(i) * len as u128 / count as u128) as usize)
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([height, width, channels], labels) = (self.shape, self.labels.is_some());
        write!(f, "Dataset {:?} {}×{height}×{width}×{channels}", self.name, self.len())?;
        if labels { write!(f, " with labels") } else { Ok(()) }
    }
}

pub(super) fn check_labels(name: &str, labels: &[u8], classes: usize) -> Result<(), DataError> {
    if !(1..=256).contains(&classes) {
        return Err(DataError::content(
            name,
            format!("has byte labels, wanted 1–256 classes, found {classes}"),
        ));
    }
    match labels.iter().position(|&label| usize::from(label) >= classes) {
        None => Ok(()),
        Some(position) => Err(DataError::Label {
            label: labels[position],
            position,
            name: name.to_owned(),
            last: classes - 1,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn six() -> Dataset {
        Dataset::new("six", [1, 2, 1], (0..12).collect(), Some(vec![5, 4, 3, 2, 1, 0]), 10).unwrap()
    }

    fn file(name: &str, shape: &[usize]) -> Idx {
        let bytes = vec![3; shape.iter().product()];
        Idx { name: name.to_owned(), shape: shape.to_vec(), bytes }
    }

    #[test]
    fn gives_images_and_labels() {
        let set = six();
        assert_eq!((set.name(), set.len(), set.shape()), ("six", 6, [1, 2, 1]));
        assert_eq!((set.pixels(5), set.label(5)), (&[10, 11][..], Some(0)));
        assert_eq!(set.image(2), Image::new(2, 1, 1, vec![4, 5]).unwrap());
        assert_eq!(format!("{set:?}"), "Dataset \"six\" 6×1×2×1 with labels");
        let bare = Dataset::new("bare", [1, 2, 3], vec![9; 12], None, 10).unwrap();
        assert_eq!((bare.len(), bare.label(1), bare.image(1).channels()), (2, None, 3));
    }

    #[test]
    fn images_of_parts_are_named_by_the_whole() {
        let set = six();
        let part = set.range(2..6).unwrap().range(1..3).unwrap();
        for (named, position) in [(set.named(4), 4), (part.named(0), 3), (part.named(1), 4)] {
            let wanted = NamedImage {
                image: set.image(position),
                name: format!("six:{position}"),
                label: Some(5 - position),
            };
            assert_eq!(named, wanted);
        }
    }

    #[test]
    fn labels_are_there_and_within_the_classes() {
        let bare = Dataset::new("bare", [1, 2, 3], vec![9; 12], None, 10).unwrap();
        assert_eq!(six().labels_below(6).unwrap(), [5, 4, 3, 2, 1, 0]);
        assert_eq!(six().labels_below(2622).unwrap().len(), 6);
        let message = |found: Result<&[u8], DataError>| found.unwrap_err().to_string();
        assert_eq!(
            [message(six().labels_below(3)), message(bare.labels_below(10))],
            [
                "label 5 at position 0 of six; labels must be 0–2",
                "bare has no labels, wanted one an image; add a file of labels",
            ]
        );
    }

    #[test]
    fn subsets_keep_images_and_labels_together() {
        let set = six();
        let positions = |part: &Dataset| -> Vec<usize> {
            (0..part.len())
                .map(|i| {
                    let position = usize::from(part.pixels(i)[0] / 2);
                    assert_eq!(part.label(i), Some(5 - position), "{part:?} at {i}");
                    position
                })
                .collect()
        };
        let cases = [
            (set.range(0..6), "six:0..6", vec![0, 1, 2, 3, 4, 5]),
            (set.range(2..4), "six:2..4", vec![2, 3]),
            (set.range(5..6), "six:5", vec![5]),
            (set.limit(1), "six (1 of 6, evenly spread)", vec![0]),
            (set.limit(3), "six (3 of 6, evenly spread)", vec![0, 2, 4]),
            (set.limit(4), "six (4 of 6, evenly spread)", vec![0, 1, 3, 4]),
            (set.limit(6), "six", vec![0, 1, 2, 3, 4, 5]),
            (set.limit(usize::MAX), "six", vec![0, 1, 2, 3, 4, 5]),
        ];
        for (part, name, wanted) in cases {
            let part = part.unwrap();
            assert_eq!((part.name(), positions(&part)), (name, wanted));
        }
    }

    #[test]
    #[expect(clippy::reversed_empty_ranges, reason = "this is what is tested")]
    fn every_wrong_set_has_its_message() {
        let set = six();
        let new = |shape, bytes, labels| Dataset::new("x", shape, vec![0; bytes], labels, 10);
        let idx = |images: &[usize], labels: &[usize], classes| {
            Dataset::from_idx("x", file("I", images), Some(file("L", labels)), classes)
        };
        let late = Dataset::from_idx(
            "x",
            file("I", &[4, 1, 1]),
            Some(Idx { name: "L".to_owned(), shape: vec![4], bytes: vec![9, 0, 1, 11] }),
            10,
        );
        let cases = [
            (
                new([0, 2, 1], 4, None),
                "x has images of 0×2×1, wanted height, width, 1 or 3 channels",
            ),
            (
                new([1, 2, 2], 4, None),
                "x has images of 1×2×2, wanted height, width, 1 or 3 channels",
            ),
            (
                new([usize::MAX, 2, 3], 4, None),
                "x has 4 bytes, wanted a positive multiple of 18446744073709551615, one image",
            ),
            (new([2, 2, 1], 0, None), "x has 0 bytes, wanted a positive multiple of 4, one image"),
            (new([2, 2, 1], 7, None), "x has 7 bytes, wanted a positive multiple of 4, one image"),
            (new([2, 2, 1], 8, Some(vec![1])), "x has 2 images but 1 labels, wanted one each"),
            (
                new([2, 2, 1], 8, Some(vec![1, 10])),
                "label 10 at position 1 of x; labels must be 0–9",
            ),
            (late, "label 11 at position 3 of L; labels must be 0–9"),
            (idx(&[2, 1, 1], &[2], 3), "label 3 at position 0 of L; labels must be 0–2"),
            (idx(&[2, 1, 1], &[2], 0), "L has byte labels, wanted 1–256 classes, found 0"),
            (idx(&[2, 1, 1], &[2], 257), "L has byte labels, wanted 1–256 classes, found 257"),
            (
                idx(&[2], &[2], 10),
                "I holds labels (1 dimension), wanted images (3 or 4 dimensions)",
            ),
            (
                idx(&[2, 1, 1], &[2, 1, 1], 10),
                "L holds images (3 dimensions), wanted labels (1 dimension)",
            ),
            (
                idx(&[3, 1, 1], &[2], 10),
                "L has 2 labels, but I has 3 images; wanted one label an image",
            ),
            (set.limit(0), "six cannot be limited to 0 images, wanted at least 1"),
            (set.range(3..3), "six has 6 images, 0–5; found 3..3"),
            (set.range(4..3), "six has 6 images, 0–5; found 4..3"),
            (set.range(0..7), "six has 6 images, 0–5; found 0..7"),
            (set.range(6..7), "six has 6 images, 0–5; found 6"),
        ];
        let failures: Vec<String> = cases
            .into_iter()
            .filter_map(|(found, wanted)| {
                let found = found.map_or_else(|e| e.to_string(), |set| format!("{set:?}"));
                (found != wanted).then(|| format!("wanted {wanted:?}, found {found:?}"))
            })
            .collect();
        assert!(failures.is_empty(), "{failures:#?}");
    }
}
