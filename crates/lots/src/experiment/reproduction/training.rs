//! The trainings of Table 1's networks.

use std::fs;
use std::path::Path;

use lots_nn::{Graph, Network, lenet};

use super::models::{BASIC, SetName, Source, Subject};
use super::work::{Ended, Reproduction, Tell};
use crate::data::parquet::open_parquet;
use crate::data::{DEFAULT_CLASSES, Dataset, Split, open_dataset};
use crate::error::{DataError, Error, shown};
use crate::file::write_file;
use crate::training::Training;

/// Iterations between two checkpoints.
const CHECKPOINTS: u64 = 1000;
/// Iterations between two looks at whether to go on.
const LOOKS: u64 = 50;

impl Reproduction {
    pub(super) fn train(
        &self,
        subject: Subject,
        loaded: &mut Loaded,
        tell: &mut Tell<'_>,
    ) -> Result<Ended, Error> {
        let Subject { model, seed } = subject;
        let iterations = self.scale.iterations(model);
        let start =
            if model.is_tuned() { Graph::open(self.network_file(BASIC))? } else { lenet(seed) };
        let sources = model.sources();
        loaded.take(&sources, |source| self.open(source, &start))?;
        let parts: Vec<(&Dataset, u32)> = loaded.0.iter().map(|(_, data)| (data, 1)).collect();
        let out = self.network_file(subject);
        let checkpoint = out.with_extension("checkpoint");
        let mut training = if checkpoint.exists() {
            Training::resume(Graph::open(&checkpoint)?, &start, &parts, seed)?
        } else {
            Training::start_mixed(start, &parts, seed)?
        };
        if !tell(training.iteration(), iterations, "iterations") {
            return Ok(Ended::Stopped);
        }
        while training.iteration() < iterations {
            training.step()?;
            let done = training.iteration();
            if done.is_multiple_of(CHECKPOINTS) {
                write_file(&checkpoint, &training.checkpoint())?;
            }
            if done.is_multiple_of(LOOKS) && !tell(done, iterations, "iterations") {
                write_file(&checkpoint, &training.checkpoint())?;
                return Ok(Ended::Stopped);
            }
        }
        write_file(&out, &training.finished())?;
        if checkpoint.exists() {
            fs::remove_file(&checkpoint).map_err(|e| DataError::write(shown(&checkpoint), e))?;
        }
        Ok(Ended::Done)
    }

    fn open(&self, source: Source, start: &Graph) -> Result<Dataset, Error> {
        Ok(match source {
            Source::Digits => open_dataset("mnist:train", Split::Train)?,
            Source::Deformed => {
                let end = 70_000 + self.scale.deformed;
                open_dataset(&format!("infimnist:70000..{end}"), Split::Train)?
            }
            Source::Set(set) => open_set(&self.set_folder(set), set, None)?,
            Source::SetAt(set, index) => {
                let layer = start.layers().iter().find(|layer| layer.index == Some(index));
                let name = layer.map(|layer| layer.name.as_str());
                open_set(&self.set_folder(set), set, name)?
            }
        })
    }
}

/// The data sets of the last training: the next one often has the same.
#[derive(Default)]
pub(super) struct Loaded(Vec<(Source, Dataset)>);

impl Loaded {
    /// Has these and no others.
    fn take(
        &mut self,
        wanted: &[Source],
        open: impl Fn(Source) -> Result<Dataset, Error>,
    ) -> Result<(), Error> {
        self.0.retain(|(source, _)| wanted.contains(source));
        for &source in wanted {
            if self.0.iter().all(|(one, _)| *one != source) {
                self.0.push((source, open(source)?));
            }
        }
        let place = |source: &Source| wanted.iter().position(|one| one == source);
        self.0.sort_by_key(|(source, _)| place(source));
        Ok(())
    }
}

/// The samples of a set as a data set.
fn open_set(folder: &Path, set: SetName, layer: Option<&str>) -> Result<Dataset, DataError> {
    let name = match layer {
        Some(layer) => format!("{} samples of {layer}", set.key()),
        None => format!("{} samples", set.key()),
    };
    open_parquet(folder, &name, DEFAULT_CLASSES, layer)
}
