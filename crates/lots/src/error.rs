//! What can go wrong: with images and data sets, and with the work of networks on them.

use std::path::Path;

/// Why a network cannot be trained, evaluated or attacked. Every message is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The images are at fault.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The network is at fault.
    #[error(transparent)]
    Network(#[from] lots_nn::Error),
    /// Two images cannot be compared.
    #[error(transparent)]
    Measure(#[from] crate::measure::MeasureError),
    /// The network is no classifier.
    #[error("the network's output for one image has shape {shape:?}; wanted one row of logits")]
    NoLogits {
        /// Of one image.
        shape: Vec<usize>,
    },
    /// The network gives no number for an image.
    #[error("the network's output for image {position} of {data} is not finite; train it again")]
    Output {
        /// Where, counted from 0.
        position: usize,
        /// The data set.
        data: String,
    },
    /// Training leads nowhere.
    #[error(
        "training diverges: the loss of iteration {iteration} is {loss}; check images and labels of {data}"
    )]
    Diverged {
        /// Counted from 0.
        iteration: u64,
        /// Infinite, or not a number.
        loss: f32,
        /// The data set.
        data: String,
    },
    /// An attack that makes no sense.
    #[error("{0}")]
    Attack(String),
    /// A checkpoint of other settings than those given.
    #[error("{checkpoint} was made with {setting} {made}, found {setting} {found}")]
    Resume {
        /// The checkpoint's file.
        checkpoint: String,
        /// Which setting differs.
        setting: &'static str,
        /// Its value when the checkpoint was made.
        made: String,
        /// Its value now.
        found: String,
    },
}

/// Why an image or a data set cannot be read or written. Every message is one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The system refuses to read.
    #[error("cannot read {name}: {reason}")]
    Read {
        /// File or folder.
        name: String,
        /// What the system says.
        reason: String,
    },
    /// The system refuses to write.
    #[error("cannot write {name}: {reason}")]
    Write {
        /// File.
        name: String,
        /// What the system says.
        reason: String,
    },
    /// The content is not what it has to be.
    #[error("{name} {problem}")]
    Content {
        /// File, folder or data set.
        name: String,
        /// What was found, what was wanted, and the remedy.
        problem: String,
    },
    /// A label beyond the classes.
    #[error("label {label} at position {position} of {name}; labels must be 0–{last}")]
    Label {
        /// The label found.
        label: u8,
        /// Where, counted from 0.
        position: usize,
        /// File or data set.
        name: String,
        /// The largest label allowed.
        last: usize,
    },
    /// A range that the data set does not hold.
    #[error("{set} has {len} {kind}, 0–{last}; found {wanted}", last = len.saturating_sub(1))]
    Position {
        /// The data set.
        set: String,
        /// What it holds: "images", "test images" or "train images".
        kind: String,
        /// How many it holds.
        len: usize,
        /// What was asked for.
        wanted: String,
    },
    /// A reference that leads to no data set or image.
    #[error("no {wanted} {spec:?}; {remedy}")]
    Reference {
        /// "data set" or "image".
        wanted: &'static str,
        /// What was asked for.
        spec: String,
        /// What exists.
        remedy: String,
    },
    /// MNIST was asked for, but left out when the crate was built.
    #[error(
        "the data set mnist needs the feature \"mnist\" of the crate lots, which this build lacks; \
         build with it or give a folder of IDX files"
    )]
    NoMnist,
}

impl DataError {
    pub(crate) fn read(name: impl Into<String>, reason: impl ToString) -> Self {
        Self::Read { name: name.into(), reason: reason.to_string() }
    }

    pub(crate) fn write(name: impl Into<String>, reason: impl ToString) -> Self {
        Self::Write { name: name.into(), reason: reason.to_string() }
    }

    pub(crate) fn content(name: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Content { name: name.into(), problem: problem.into() }
    }
}

/// The path as messages show it: on one line, whatever the file is called.
pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string().replace(char::is_control, "?")
}
