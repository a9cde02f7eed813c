//! Sets of perturbed images: as many as there are origins, targets, layers and methods, in a folder of Parquet files.
//!
//! A [`Plan`] says which attacks; it is cut into shards of some origins each, and a shard is a file of its own. What a shard
//! holds follows from the plan alone, so shards may be made in any order, by any number of processes, and made again.

mod folder;
mod plan;
mod sample;
mod shard;

pub use folder::{SetFolder, is_set, read_set_facts, read_set_images, set_settings};
pub use plan::{Choice, Leader, Origins, Picked, Plan, leaders_of_set};
pub use sample::{Counts, Facts, Sample};
pub use shard::Common;
