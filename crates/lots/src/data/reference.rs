//! Data references: how users name data sets, parts of them, and single images.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::dataset::{DEFAULT_CLASSES, Dataset, check_labels};
use super::folder::open_folder;
use super::infimnist::{InfiMnist, TEST};
use super::mnist::mnist;
use crate::error::{DataError, shown};
use crate::image::Image;

/// The part of a data set that is for training, or the one for testing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// `train`: files named `train-…`.
    Train,
    /// `test`: files named `t10k-…` or `test-…`.
    Test,
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Test => "test",
        })
    }
}

/// Opens the data set that `spec` names, with labels 0–9.
///
/// A reference is `SET[:train|:test][:POSITION|:START..END]`: `mnist:test`, `mnist:train:0..100`, `mnist:test:17`,
/// `digits`, `digits:test:17`. Positions count from 0, and `END` is not included.
///
/// `SET` is `mnist`, the set inside the library, or a folder of IDX files named `<prefix>-images-idx3-ubyte` and
/// `<prefix>-labels-idx1-ubyte`, raw or with `.gz`, also with a dot before `idx`, and with `idx4` for RGB. The word before
/// `-images` tells the split: `train`, `t10k` or `test`. Without `:train` or `:test`, a folder with one set means that
/// one; of several, and of `mnist`, the split is `prefer`. A folder without labels gives a set without labels.
///
/// `infimnist:START..END` are digits of the endless set [`InfiMnist`] with seed 0, by their numbers: 0–9,999 are MNIST's test digits,
/// which a set for training (`prefer`) may not touch, 10,000–69,999 its training digits, all others deformed ones.
/// `infimnist@DIR:START..END` are the authors' own, with their files in the folder `DIR` (see [`InfiMnist::of_authors`]).
///
/// A path that exists wins over this syntax, even with `:` in it; only the bare words `mnist` and `infimnist` are always
/// the sets inside the library (`./mnist` is the folder).
///
/// # Errors
/// When nothing of that name exists, the files are not as they should be, the range reaches behind the last image,
/// or `mnist` is asked for in a build without the feature `mnist`.
pub fn open_dataset(spec: &str, prefer: Split) -> Result<Dataset, DataError> {
    open_dataset_with_classes(spec, prefer, DEFAULT_CLASSES)
}

/// Opens the data set that `spec` names as [`open_dataset`] does, with labels 0 … `classes` − 1.
///
/// # Errors
/// For the reasons of [`open_dataset`], and when `classes` is not 1–256.
pub fn open_dataset_with_classes(
    spec: &str,
    prefer: Split,
    classes: usize,
) -> Result<Dataset, DataError> {
    let reference = Reference::parse(spec).ok_or_else(|| DataError::Reference {
        wanted: "data set",
        spec: spec.to_owned(),
        remedy: match spec.strip_prefix(AUTHORS) {
            Some(_) => format!("wanted the folder of InfiMNIST's files behind {AUTHORS}"),
            None => format!("known: {KNOWN}; a part of one: …:17 or …:0..100"),
        },
    })?;
    reference.open(prefer, classes)
}

/// The labelled test images of the set that `spec` names a part of, with labels 0 … `classes` − 1: `mnist:test` for
/// `mnist:train:0..640`. `None` where `spec` names test images itself, or no such test images can be opened.
pub fn open_test_split(spec: &str, classes: usize) -> Option<Dataset> {
    let Reference { base, split, .. } = Reference::parse(spec)?;
    if split == Some(Split::Test) {
        return None;
    }
    let base = if matches!(base, Base::InfiMnist(_)) { Base::Mnist } else { base };
    let test = Reference { base, split: Some(Split::Test), range: None };
    test.open(Split::Test, classes).ok().filter(|set| set.labels().is_some())
}

/// One image with what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedImage {
    /// The pixels.
    pub image: Image,
    /// The reference that opens it: `mnist:test:17`, `photo.png`.
    pub name: String,
    /// Its class, counted from 0, where the data set has labels; `None` for an image file.
    pub label: Option<usize>,
}

/// Opens the one image that `spec` names: a PNG file, or an image of a data set as in [`open_dataset`]
/// (`mnist:test:17`; `test` where the split is left open).
///
/// # Errors
/// When nothing of that name exists, it is more than one image, or the file or data set is not as it should be (see
/// [`Image::from_png`] and [`open_dataset`]).
pub fn open_image(spec: &str) -> Result<NamedImage, DataError> {
    let reference = Reference::parse(spec).ok_or_else(|| DataError::Reference {
        wanted: "image",
        spec: spec.to_owned(),
        remedy: format!("wanted a PNG file or one image of a data set (…:17); known: {KNOWN}"),
    })?;
    if let Reference { base: Base::Path(path), split: None, range: None } = &reference
        && !path.is_dir()
    {
        return Ok(NamedImage { image: Image::read_png(path)?, name: shown(path), label: None });
    }
    let set = reference.open(Split::Test, DEFAULT_CLASSES)?;
    if set.len() > 1 || reference.range.is_none() {
        let problem = format!(
            "is a data set ({} image(s)), wanted one image; add its position, as in :17",
            set.len()
        );
        return Err(DataError::content(set.name(), problem));
    }
    Ok(NamedImage { image: set.image(0), name: set.name().to_owned(), label: set.label(0) })
}

#[cfg(feature = "mnist")]
const KNOWN: &str = "mnist:test, mnist:train, infimnist:70000..80000, a folder of IDX files";
#[cfg(not(feature = "mnist"))]
const KNOWN: &str = "a folder of IDX files (this build lacks the feature \"mnist\")";

/// What comes before the folder of InfiMNIST's own files.
const AUTHORS: &str = "infimnist@";

/// A reference taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Reference {
    base: Base,
    split: Option<Split>,
    range: Option<Range<usize>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Base {
    Mnist,
    /// With the folder of the authors' files, if one is named.
    InfiMnist(Option<PathBuf>),
    /// Exists.
    Path(PathBuf),
}

impl Reference {
    /// Takes parts off the end until what is left is `mnist` or a path that exists.
    fn parse(spec: &str) -> Option<Self> {
        let (mut rest, mut range, mut split) = (spec, None, None);
        if let (None, Some((head, last))) = (base(rest), rest.rsplit_once(':'))
            && let Some(found) = parse_range(last)
        {
            (rest, range) = (head, Some(found));
        }
        if let (None, Some((head, last))) = (base(rest), rest.rsplit_once(':')) {
            split = [Split::Train, Split::Test].into_iter().find(|s| s.to_string() == last);
            if split.is_some() {
                rest = head;
            }
        }
        Some(Self { base: base(rest)?, split, range })
    }

    fn open(&self, prefer: Split, classes: usize) -> Result<Dataset, DataError> {
        let (set, split, base) = match &self.base {
            Base::Mnist => {
                let split = self.split.unwrap_or(prefer);
                let set = mnist(split)?;
                check_labels(set.name(), set.labels().unwrap_or_default(), classes)?;
                (Cow::Borrowed(set), Some(split), "mnist".to_owned())
            }
            Base::InfiMnist(folder) => {
                return self.open_infimnist(folder.as_deref(), prefer, classes);
            }
            Base::Path(path) if path.is_dir() => {
                let (set, split) = open_folder(path, self.split, prefer, classes)?;
                (Cow::Owned(set), split, shown(path))
            }
            Base::Path(path) => {
                let problem = format!("is a file, wanted a data set: {KNOWN}");
                return Err(DataError::content(shown(path), problem));
            }
        };
        let Some(range) = self.range.clone() else { return Ok(set.into_owned()) };
        set.range(range).map_err(|e| match (e, split) {
            // The user wrote the set and the split apart; so does the message.
            (DataError::Position { len, wanted, .. }, Some(split)) => {
                DataError::Position { set: base, kind: format!("{split} images"), len, wanted }
            }
            (e, _) => e,
        })
    }

    fn open_infimnist(
        &self,
        folder: Option<&Path>,
        prefer: Split,
        classes: usize,
    ) -> Result<Dataset, DataError> {
        let set = folder
            .map_or_else(|| "infimnist".to_owned(), |folder| format!("{AUTHORS}{}", shown(folder)));
        let refuse = |problem: String| Err(DataError::content("infimnist", problem));
        let (None, Some(range)) = (self.split, self.range.clone()) else {
            return refuse(
                "is an endless set without parts, wanted numbers of its digits, as in infimnist:70000..80000"
                    .to_owned(),
            );
        };
        let name = match range.len() {
            1 => format!("{set}:{}", range.start),
            _ => format!("{set}:{}..{}", range.start, range.end),
        };
        if prefer == Split::Train && range.start < TEST {
            return refuse(format!(
                "has the test digits at 0–{}, wanted training images, found {name}; begin at {TEST}",
                TEST - 1
            ));
        }
        let (train, test) = (mnist(Split::Train)?, mnist(Split::Test)?);
        let set = match folder {
            Some(folder) => InfiMnist::of_authors(train, test, folder)?,
            None => InfiMnist::new(train, test, 0)?,
        };
        let set = set.range(range, &name)?;
        check_labels(set.name(), set.labels().unwrap_or_default(), classes)?;
        Ok(set)
    }
}

fn base(text: &str) -> Option<Base> {
    match text {
        "mnist" => return Some(Base::Mnist),
        "infimnist" => return Some(Base::InfiMnist(None)),
        _ => {}
    }
    if let Some(folder) = text.strip_prefix(AUTHORS).map(Path::new).filter(|path| path.is_dir()) {
        return Some(Base::InfiMnist(Some(folder.to_owned())));
    }
    let path = Path::new(text);
    path.exists().then(|| Base::Path(path.to_owned()))
}

/// `17` or `0..100`.
fn parse_range(text: &str) -> Option<Range<usize>> {
    let number = |digits: &str| -> Option<usize> {
        // `parse` alone would take "+1".
        if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok() } else { None }
    };
    if let Some((start, end)) = text.split_once("..") {
        return Some(number(start)?..number(end)?);
    }
    let position = number(text)?;
    Some(position..position.checked_add(1)?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::data::idx::tests::{gzip, idx};
    use crate::image::tests::grey_png;

    /// A folder with the given files: images are 3 of 2×2 (rank 3) or 2×2×3 (rank 4), labels are 0, 1, 2.
    fn folder(parent: &Path, name: &str, files: &[&str]) -> String {
        let dir = parent.join(name);
        fs::create_dir(&dir).unwrap();
        for file in files {
            let sizes: &[u32] = match file {
                f if f.contains("idx1") => &[3],
                f if f.contains("idx3") => &[3, 2, 2],
                _ => &[3, 2, 2, 3],
            };
            let content: Vec<u8> = (0..sizes.iter().product::<u32>() as u8).collect();
            let bytes = idx(8, sizes, &content);
            fs::write(dir.join(file), if file.ends_with(".gz") { gzip(&bytes) } else { bytes })
                .unwrap();
        }
        dir.to_str().unwrap().to_owned()
    }

    /// Opens every spec with its preference and compares name, shape and labels, or the message; `T` stands for the folder.
    fn check(temp: &Path, cases: &[(&str, Split, &str)]) {
        let temp = temp.to_str().unwrap();
        let failures: Vec<String> = cases
            .iter()
            .filter_map(|&(spec, prefer, wanted)| {
                let found = open_dataset(&spec.replace("T/", &format!("{temp}/")), prefer)
                    .map_or_else(|e| e.to_string(), |set| format!("{set:?}"))
                    .replace(&format!("{temp}/"), "T/");
                (found != wanted).then(|| format!("{spec}:\n  wanted {wanted}\n  found  {found}"))
            })
            .collect();
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }

    #[test]
    fn folders_of_idx_files() {
        use Split::{Test, Train};
        let temp = tempfile::tempdir().unwrap();
        let t = temp.path();
        let both = [
            "train-images-idx3-ubyte.gz",
            "train-labels-idx1-ubyte.gz",
            "t10k-images-idx3-ubyte",
            "t10k-labels-idx1-ubyte",
        ];
        folder(t, "both", &both);
        folder(t, "one", &["my-images.idx3-ubyte", "my-labels.idx1-ubyte.gz", "notes.txt"]);
        folder(t, "train", &["train-images-idx3-ubyte", "train-labels-idx1-ubyte"]);
        folder(t, "rgb", &["test-images-idx4-ubyte", "test-labels-idx1-ubyte"]);
        folder(
            t,
            "twice",
            &["a-images-idx3-ubyte", "a-images-idx3-ubyte.gz", "a-labels-idx1-ubyte"],
        );
        folder(t, "bare", &["a-images-idx3-ubyte"]);
        folder(t, "with:test", &["a-images-idx3-ubyte"]);
        folder(t, "with:5", &["a-images-idx3-ubyte", "a-labels-idx1-ubyte"]);
        folder(t, "empty", &["images-idx3-ubyte", "x-images-idx2-ubyte"]);
        folder(t, "orphans", &["a-images-idx3-ubyte", "b-labels-idx1-ubyte"]);
        folder(t, "several", &["a-images-idx3-ubyte", "b-images-idx3-ubyte"]);
        folder(t, "ambiguous", &["a-train-images-idx3-ubyte", "b-train-images-idx3-ubyte"]);
        folder(t, "clash", &["a-images-idx3-ubyte", "a-images.idx3-ubyte"]);
        fs::write(t.join("file"), "x").unwrap();
        check(
            t,
            &[
                ("T/both", Train, "Dataset \"T/both:train\" 3×2×2×1 with labels"),
                ("T/both", Test, "Dataset \"T/both:test\" 3×2×2×1 with labels"),
                ("T/both:train", Test, "Dataset \"T/both:train\" 3×2×2×1 with labels"),
                ("T/both:test:1", Train, "Dataset \"T/both:test:1\" 1×2×2×1 with labels"),
                ("T/both:0..2", Test, "Dataset \"T/both:test:0..2\" 2×2×2×1 with labels"),
                ("T/one", Test, "Dataset \"T/one\" 3×2×2×1 with labels"),
                ("T/one:2", Test, "Dataset \"T/one:2\" 1×2×2×1 with labels"),
                ("T/train", Test, "Dataset \"T/train:train\" 3×2×2×1 with labels"),
                ("T/rgb:test", Train, "Dataset \"T/rgb:test\" 3×2×2×3 with labels"),
                ("T/twice", Train, "Dataset \"T/twice\" 3×2×2×1 with labels"),
                ("T/bare", Train, "Dataset \"T/bare\" 3×2×2×1"),
                ("T/with:test", Train, "Dataset \"T/with:test\" 3×2×2×1"),
                ("T/with:test:1", Train, "Dataset \"T/with:test:1\" 1×2×2×1"),
                ("T/with:5", Train, "Dataset \"T/with:5\" 3×2×2×1 with labels"),
                ("T/with:5:2", Train, "Dataset \"T/with:5:2\" 1×2×2×1 with labels"),
                ("T/both:test:3", Test, "T/both has 3 test images, 0–2; found 3"),
                ("T/both:train:2..9", Test, "T/both has 3 train images, 0–2; found 2..9"),
                ("T/one:2..2", Test, "T/one has 3 images, 0–2; found 2..2"),
                ("T/one:test", Test, "T/one holds no test images; it holds: my"),
                ("T/train:test", Test, "T/train holds no test images; it holds: train"),
                (
                    "T/empty",
                    Test,
                    "T/empty holds no IDX images; wanted files named \
                     <prefix>-images-idx3-ubyte[.gz] and <prefix>-labels-idx1-ubyte[.gz], or *.parquet",
                ),
                (
                    "T/orphans",
                    Test,
                    "T/orphans holds no labels for a, but labels without images (b-labels-idx1-ubyte); name them after a",
                ),
                ("T/several", Test, "T/several holds no test images; it holds: a, b"),
                (
                    "T/ambiguous",
                    Train,
                    "T/ambiguous holds several sets of images (a-train, b-train), wanted one; give each its own folder",
                ),
                (
                    "T/clash",
                    Train,
                    "T/clash holds both a-images-idx3-ubyte and a-images.idx3-ubyte, wanted one; remove the other",
                ),
            ],
        );
        let file = format!("T/file is a file, wanted a data set: {KNOWN}");
        check(t, &[("T/file", Test, &file), ("T/file:3", Test, &file)]);
    }

    #[test]
    fn single_images() {
        let temp = tempfile::tempdir().unwrap();
        let t = temp.path();
        folder(
            t,
            "both",
            &["train-images-idx3-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"],
        );
        folder(t, "bare", &["a-images-idx3-ubyte"]);
        fs::write(t.join("a.png"), grey_png()).unwrap();
        fs::write(t.join("b:3"), grey_png()).unwrap();
        fs::write(t.join("c.jpg"), [0xff, 0xd8, 0xff]).unwrap();
        let several = |n| {
            format!("is a data set ({n} image(s)), wanted one image; add its position, as in :17")
        };
        let nothing =
            format!("wanted a PNG file or one image of a data set (…:17); known: {KNOWN}");
        let cases = [
            ("T/a.png", "T/a.png None [1, 2, 3, 4]".to_owned()),
            ("T/b:3", "T/b:3 None [1, 2, 3, 4]".to_owned()),
            ("T/both:train:2", "T/both:train:2 None [8, 9, 10, 11]".to_owned()),
            ("T/both:1", "T/both:test:1 Some(1) [4, 5, 6, 7]".to_owned()),
            ("T/both:test:0..1", "T/both:test:0 Some(0) [0, 1, 2, 3]".to_owned()),
            ("T/bare:0", "T/bare:0 None [0, 1, 2, 3]".to_owned()),
            ("T/both", format!("T/both:test {}", several(3))),
            ("T/bare", format!("T/bare {}", several(3))),
            ("T/both:train:0..2", format!("T/both:train:0..2 {}", several(2))),
            ("T/both:train:3", "T/both has 3 train images, 0–2; found 3".to_owned()),
            ("T/a.png:0", format!("T/a.png is a file, wanted a data set: {KNOWN}")),
            ("T/none.png", format!("no image \"T/none.png\"; {nothing}")),
            ("", format!("no image \"\"; {nothing}")),
            (
                "T/c.jpg",
                "T/c.jpg is not a PNG file: it starts with ff d8 ff, wanted 89 50 4e 47 0d 0a 1a 0a; convert it to PNG".to_owned(),
            ),
        ];
        let root = format!("{}/", t.display());
        let failures: Vec<String> = cases
            .into_iter()
            .filter_map(|(spec, wanted)| {
                let found = open_image(&spec.replace("T/", &root))
                    .map_or_else(
                        |e| e.to_string(),
                        |found| {
                            format!("{} {:?} {:?}", found.name, found.label, found.image.pixels())
                        },
                    )
                    .replace(&root, "T/");
                (found != wanted).then(|| format!("{spec}:\n  wanted {wanted}\n  found  {found}"))
            })
            .collect();
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }

    #[cfg(feature = "mnist")]
    #[test]
    fn digits_of_the_endless_set() {
        let open = |spec: &str, prefer| {
            open_dataset(spec, prefer).map_or_else(|e| e.to_string(), |set| format!("{set:?}"))
        };
        let endless = "infimnist is an endless set without parts, wanted numbers of its digits, as in infimnist:70000..80000";
        for (spec, prefer, wanted) in [
            (
                "infimnist:9999..10001",
                Split::Test,
                "Dataset \"infimnist:9999..10001\" 2×28×28×1 with labels",
            ),
            ("infimnist:70000", Split::Train, "Dataset \"infimnist:70000\" 1×28×28×1 with labels"),
            ("infimnist", Split::Test, endless),
            ("infimnist:train:70000..70002", Split::Train, endless),
            (
                "infimnist:9999..10001",
                Split::Train,
                "infimnist has the test digits at 0–9999, wanted training images, found infimnist:9999..10001; begin at 10000",
            ),
        ] {
            assert_eq!(open(spec, prefer), wanted, "{spec}");
        }
        assert_eq!(open_image("infimnist:70017").unwrap().name, "infimnist:70017");
        // The authors' files are looked for in the folder that is named.
        let temp = tempfile::tempdir().unwrap();
        let spec = format!("infimnist@{}:70000..70002", temp.path().display());
        let message = open(&spec, Split::Train);
        assert!(message.contains("fields_float_1522x28x28.bin"), "{message}");
        let test = open_test_split("infimnist:70000..70002", 10).unwrap();
        assert_eq!(test.name(), "mnist:test");
    }

    #[test]
    fn the_test_images_of_a_training_set() {
        let temp = tempfile::tempdir().unwrap();
        let train = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"];
        let test = ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];
        let both = folder(temp.path(), "both", &[train, test].concat());
        let bare = folder(temp.path(), "bare", &[&train[..], &test[..1]].concat());
        let train = folder(temp.path(), "train", &train);
        let found = |spec: &str, classes| {
            open_test_split(spec, classes).map(|set| set.name().replace(&both, "both"))
        };
        let name = Some("both:test".to_owned());
        assert_eq!(found(&both, 10), name);
        assert_eq!(found(&format!("{both}:train:0..2"), 10), name);
        for spec in [&format!("{both}:test"), &bare, &train, "nowhere"] {
            assert_eq!(found(spec, 10), None, "{spec}");
        }
        assert_eq!(found(&both, 2), None, "labels beyond the classes");
    }

    #[test]
    fn labels_beyond_the_classes_and_other_numbers_of_classes() {
        let temp = tempfile::tempdir().unwrap();
        let dir = folder(temp.path(), "d", &["a-images-idx3-ubyte", "a-labels-idx1-ubyte"]);
        let message = open_dataset_with_classes(&dir, Split::Test, 2).unwrap_err().to_string();
        let wanted =
            format!("label 2 at position 2 of {dir}/a-labels-idx1-ubyte; labels must be 0–1");
        assert_eq!(message, wanted);
        assert!(open_dataset_with_classes(&dir, Split::Test, 3).is_ok());
    }

    #[test]
    fn a_spec_that_names_nothing_lists_what_exists() {
        let specs = [
            "",
            ":",
            "foo:",
            "foo",
            "foo:test",
            "foo:3",
            "foo:test:3",
            "mnist:",
            "mnist:tests",
            "mnist:test:",
            "mnist:test:x",
            "mnist:test:-1",
            "mnist:test:+1",
            "mnist:test:0..",
            "mnist:test:..3",
            "mnist:test:0..x",
            "mnist:test:0..1..2",
            "mnist:3:test",
            "mnist:test:train",
            "mnist:test:1:2",
            "mnist:test:99999999999999999999999",
            "foo\nbar",
        ];
        let failures: Vec<String> = specs
            .into_iter()
            .filter_map(|spec| {
                let found = open_dataset(spec, Split::Test)
                    .map_or_else(|e| e.to_string(), |set| format!("{set:?}"));
                let wanted = format!(
                    "no data set {spec:?}; known: {KNOWN}; a part of one: …:17 or …:0..100"
                );
                (found != wanted).then(|| format!("wanted {wanted}, found {found}"))
            })
            .collect();
        assert!(failures.is_empty(), "{failures:#?}");
    }

    #[cfg(feature = "mnist")]
    #[test]
    fn mnist_references() {
        use Split::{Test, Train};
        let temp = tempfile::tempdir().unwrap();
        check(
            temp.path(),
            &[
                ("mnist", Train, "Dataset \"mnist:train\" 60000×28×28×1 with labels"),
                ("mnist", Test, "Dataset \"mnist:test\" 10000×28×28×1 with labels"),
                ("mnist:train", Test, "Dataset \"mnist:train\" 60000×28×28×1 with labels"),
                (
                    "mnist:test:0..100",
                    Train,
                    "Dataset \"mnist:test:0..100\" 100×28×28×1 with labels",
                ),
                ("mnist:test:17", Train, "Dataset \"mnist:test:17\" 1×28×28×1 with labels"),
                ("mnist:17", Train, "Dataset \"mnist:train:17\" 1×28×28×1 with labels"),
                ("mnist:test:10000", Train, "mnist has 10000 test images, 0–9999; found 10000"),
                (
                    "mnist:test:9990..10001",
                    Train,
                    "mnist has 10000 test images, 0–9999; found 9990..10001",
                ),
                ("mnist:test:7..3", Train, "mnist has 10000 test images, 0–9999; found 7..3"),
            ],
        );
        let digit = open_image("mnist:test:17").unwrap();
        assert_eq!((digit.name.as_str(), digit.label), ("mnist:test:17", Some(7)));
        assert_eq!(digit.image, open_dataset("mnist:test", Test).unwrap().image(17));
        let message = open_dataset_with_classes("mnist", Test, 5).unwrap_err().to_string();
        assert_eq!(message, "label 7 at position 0 of mnist:test; labels must be 0–4");
    }

    #[cfg(not(feature = "mnist"))]
    #[test]
    fn without_the_feature_mnist_is_refused() {
        for spec in ["mnist", "mnist:test", "mnist:train:3"] {
            let message = open_dataset(spec, Split::Test).unwrap_err().to_string();
            assert!(message.contains("the feature \"mnist\" of the crate lots"), "{message}");
        }
    }
}
