//! Data sets: the IDX format, images with labels, and the references by which users name them.

mod dataset;
mod folder;
mod identities;
pub mod idx;
mod infimnist;
mod mnist;
#[cfg(feature = "sets")]
pub(crate) mod parquet;
mod reference;

pub use dataset::{DEFAULT_CLASSES, Dataset, spread};
pub use identities::{Identity, open_identities};
pub use infimnist::InfiMnist;
pub use reference::{
    NamedImage, Split, open_dataset, open_dataset_with_classes, open_image, open_test_split,
};
