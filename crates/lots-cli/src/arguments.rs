//! The one vocabulary of all commands: an option of a name means the same everywhere.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use clap::{Args, value_parser};
use lots::{DataError, Dataset};
use lots_nn::{Graph, LayerId, Network};

use crate::output::tell;

/// More are a slip of the keyboard.
const MAX_THREADS: i64 = 1024;

/// `--layer`
#[derive(Args)]
pub(crate) struct Layers {
    /// Name, index of a layer with weights (from 1 at the input), glob such as 'conv*', or all (those with weights);
    /// repeat for more. By default all with weights where they are at most 8; else the outputs of blocks (where branches
    /// come together), the last layers before changes of height and width, and the layers behind those
    #[arg(id = "layer", long, value_name = "LAYER")]
    patterns: Vec<String>,
}

impl Layers {
    pub(crate) fn is_given(&self) -> bool {
        !self.patterns.is_empty()
    }

    /// The layers asked for, each once, from input to output; `None` where none was.
    pub(crate) fn of(&self, network: &Graph) -> Result<Option<Vec<LayerId>>> {
        let mut found = Vec::new();
        for pattern in &self.patterns {
            found.extend(network.find_layers(pattern)?);
        }
        found.sort_unstable();
        found.dedup();
        Ok((!self.patterns.is_empty()).then_some(found))
    }

    /// The layers asked for, or else those that sum the network up. Says which, unless they are all with weights.
    pub(crate) fn of_or_default(&self, network: &Graph) -> Result<Vec<LayerId>> {
        if let Some(found) = self.of(network)? {
            return Ok(found);
        }
        let all = network.find_layers("all")?;
        let found = network.landmarks();
        if found != all {
            tell(&format!(
                "taking {} layers of {} ({} with weights); `lots layers` marks them with *, --layer takes others",
                found.len(),
                network.layers().len(),
                all.len()
            ));
        }
        Ok(found)
    }
}

/// The one layer that the `option` of a command means by `pattern`.
pub(crate) fn one_layer(network: &Graph, option: &str, pattern: &str) -> Result<LayerId> {
    match network.find_layers(pattern)?[..] {
        [layer] => Ok(layer),
        ref layers => bail!(
            "{option} {pattern} means {} layers of {}, wanted one; `lots layers` tells their names",
            layers.len(),
            network.name()
        ),
    }
}

/// `--out`, `--force`
#[derive(Args)]
pub(crate) struct Out {
    /// File to write
    #[arg(id = "out", long, value_name = "FILE")]
    pub(crate) path: PathBuf,
    /// Replace files that exist
    #[arg(long)]
    pub(crate) force: bool,
}

impl Out {
    /// Refuses to replace what exists, unless forced.
    pub(crate) fn check(&self) -> Result<()> {
        let path = self.path.display();
        if self.path.is_dir() {
            bail!("cannot write {path}: it is a folder, wanted a file name");
        }
        if self.path.exists() && !self.force {
            bail!("{path} exists; give another --out, or --force to replace it");
        }
        Ok(())
    }
}

/// `--out`, `--force`, for results that are many files
#[derive(Args)]
pub(crate) struct OutFolder {
    /// Folder for the results; it is made, and must be empty
    #[arg(id = "out", long, value_name = "DIR")]
    pub(crate) path: PathBuf,
    /// Take a folder that is not empty; files of the same names are replaced
    #[arg(long)]
    pub(crate) force: bool,
}

/// `--data`, by default what networks learn from, and `--mix`
#[derive(Args)]
pub(crate) struct TrainData {
    /// Images with labels: mnist:train, infimnist:70000..170000 (deformed digits; infimnist@DIR:… with the authors' files in DIR), a folder of IDX or Parquet files such as
    /// `lots generate` writes, or a part such as mnist:train:0..640; repeat for a mixture
    #[arg(id = "data", long, value_name = "DATA", default_value = "mnist:train")]
    pub(crate) references: Vec<String>,
    /// Of several --data, how many images of each a batch has for those of the others, such as 1:1 or 3:1
    #[arg(long, value_name = "A:B")]
    mix: Option<Mix>,
}

/// `--mix`
#[derive(Clone)]
struct Mix(Vec<u32>);

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let weight = |text: &str| text.parse().ok().filter(|weight| *weight > 0);
        let weights = text.split(':').map(weight).collect::<Option<Vec<u32>>>();
        weights
            .map(Self)
            .ok_or_else(|| "wanted whole numbers above 0, such as 1:1 or 3:1".to_owned())
    }
}

impl TrainData {
    /// How much of each a batch has.
    pub(crate) fn weights(&self) -> Result<Vec<u32>> {
        let count = self.references.len();
        match &self.mix {
            None if count == 1 => Ok(vec![1]),
            None => bail!(
                "{count} --data are mixed in every batch, found no --mix; say in which proportions, such as {}",
                vec!["1"; count].join(":")
            ),
            Some(Mix(weights)) if weights.len() == count => Ok(weights.clone()),
            Some(Mix(weights)) => {
                bail!(
                    "--mix has {} numbers, found {count} --data; give one for each",
                    weights.len()
                )
            }
        }
    }
}

/// `--data`, by default what networks are tested on.
#[derive(Args)]
pub(crate) struct TestData {
    /// Images with labels: mnist:test, a folder of IDX files, or a part such as mnist:test:0..100
    #[arg(id = "data", long, value_name = "DATA", default_value = "mnist:test")]
    pub(crate) reference: String,
}

/// `--limit`
#[derive(Args)]
pub(crate) struct Limit {
    /// Use at most N images, evenly spread over the data
    #[arg(id = "limit", long, value_name = "N")]
    count: Option<NonZeroUsize>,
}

impl Limit {
    pub(crate) fn of(&self, data: Dataset) -> Result<Dataset, DataError> {
        match self.count {
            Some(count) => data.limit(count.get()),
            None => Ok(data),
        }
    }

    /// Positions of the images that it leaves of so many.
    pub(crate) fn positions(&self, all: usize) -> impl Iterator<Item = usize> {
        let count = self.count.map_or(all, |count| count.get().min(all));
        (0..count).map(move |i| i * all / count)
    }
}

/// `--seed`
#[derive(Args)]
pub(crate) struct Seed {
    /// Decides all random choices; the same seed gives the same bytes
    #[arg(id = "seed", long, value_name = "N", default_value_t = 0)]
    pub(crate) value: u64,
}

/// `--threads`
#[derive(Args)]
pub(crate) struct Threads {
    /// Threads to compute with, 0 for all cores; no result depends on it
    #[arg(id = "threads", long, value_name = "N", default_value_t = 0)]
    #[arg(value_parser = value_parser!(u16).range(..=MAX_THREADS))]
    count: u16,
}

impl Threads {
    /// Makes it so, for the whole process.
    pub(crate) fn start(&self) -> Result<()> {
        rayon::ThreadPoolBuilder::new()
            .num_threads(self.count.into())
            .build_global()
            .with_context(|| format!("cannot start {} threads; give fewer", self.count))
    }
}

/// `--resume`
#[derive(Args)]
pub(crate) struct Resume {
    /// Continue where an interrupted run stopped, to the same result
    #[arg(id = "resume", long)]
    pub(crate) on: bool,
}

/// `--json`
#[derive(Args)]
pub(crate) struct Json {
    /// Print JSON instead of text
    #[arg(id = "json", long)]
    pub(crate) on: bool,
}
