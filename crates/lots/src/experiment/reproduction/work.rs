//! Doing it: a folder with networks, sets and tallies.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::compare::Comparison;
use super::models::{Model, SetName, Subject};
use super::steps::{Scale, Step, Stock, steps};
use super::tally::{METHODS, Tally};
use super::training::Loaded;
use crate::error::{DataError, Error, shown};
use crate::file::write_file;
use crate::set::{Facts, Sample, read_set_facts, read_set_images};

/// A run in a folder.
///
/// Paper: Table 1.
#[derive(Debug)]
pub struct Reproduction {
    pub(super) folder: PathBuf,
    pub(super) scale: Scale,
    models: Vec<Model>,
    seeds: u64,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// There is nothing left to do.
    Done,
    /// As whoever watched it wanted.
    Stopped,
}

/// How far a run has come.
#[derive(Clone, Debug)]
pub struct Progress {
    /// What is being done.
    pub title: String,
    /// Its number, from 1, and how many steps there are in this run.
    pub step: [usize; 2],
    /// How far the step is, and how far it goes, in `unit`s.
    pub done: [u64; 2],
    /// What is counted.
    pub unit: &'static str,
    /// How far the run is, 0–1, by what its steps usually take.
    pub share: f64,
}

impl Progress {
    /// How long the rest takes, if it goes on as in the `elapsed` time since the run began; `None` at the very beginning.
    pub fn left(&self, elapsed: Duration) -> Option<Duration> {
        let seconds = elapsed.as_secs_f64() * (1.0 - self.share) / self.share;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

/// What a step tells: how far it is, how far it goes, and what is counted. It says whether to go on.
pub(super) type Tell<'t> = dyn FnMut(u64, u64, &'static str) -> bool + 't;

/// What watches a run: it is told how far things are, and says whether to go on.
type Watch<'w> = dyn FnMut(&Progress) -> bool + 'w;

impl Stock for Reproduction {
    fn has_tally(&self, subject: Subject) -> bool {
        self.tally_file(subject).exists()
    }

    fn has_network(&self, subject: Subject) -> bool {
        self.network_file(subject).exists()
    }

    fn has_set(&self, set: SetName) -> bool {
        self.set_folder(set).join(WHOLE).exists()
    }

    fn has_comparison(&self) -> bool {
        self.comparison_file().exists()
    }

    fn has_cells(&self, subject: Subject) -> bool {
        self.cell_folder(subject).join(WHOLE).exists()
    }
}

/// How much is done.
const RUN: &str = "run.json";
/// Stands beside the shards of a set that is complete.
pub(super) const WHOLE: &str = "_complete";

impl Reproduction {
    /// In `folder`, of `models`, with the seeds below `seeds` where they are fine-tuned.
    pub fn new(folder: &Path, scale: Scale, models: &[Model], seeds: u64) -> Self {
        Self { folder: folder.to_owned(), scale, models: models.to_vec(), seeds }
    }

    /// What is left to do.
    pub fn steps(&self) -> Vec<Step> {
        steps(&self.models, self.seeds, self)
    }

    /// Whether the folder holds something of a run.
    pub fn is_begun(&self) -> bool {
        self.folder.join(RUN).exists()
    }

    /// The networks that have no tally yet.
    pub fn missing(&self) -> Vec<Subject> {
        let step = |step| match step {
            Step::Measure(subject) if !self.has_tally(subject) => Some(subject),
            _ => None,
        };
        self.steps().into_iter().filter_map(step).collect()
    }

    /// Does all that is left. `watch` is told now and then how far it is.
    ///
    /// # Errors
    /// When the folder holds a run of another scale, a file cannot be read or written, or training diverges.
    pub fn run(&self, watch: &mut Watch<'_>) -> Result<Ended, Error> {
        let run = self.folder.join(RUN);
        if self.is_begun() {
            let begun: Scale = read_json(&run)?;
            if begun != self.scale {
                let [begun, wanted] = [&begun, &self.scale].map(Scale::words);
                let problem = format!("holds a run of {begun}, found {wanted}; give another --out");
                return Err(DataError::content(shown(&self.folder), problem).into());
            }
        }
        fs::create_dir_all(&self.folder).map_err(|e| DataError::write(shown(&self.folder), e))?;
        write_json(&run, &self.scale)?;
        for folder in ["models", "sets", "cells", "tallies"].map(|name| self.folder.join(name)) {
            fs::create_dir_all(&folder).map_err(|e| DataError::write(shown(&folder), e))?;
        }
        let steps = self.steps();
        let costs: Vec<f64> = steps.iter().map(|step| step.cost(&self.scale)).collect();
        let total: f64 = costs.iter().sum();
        let mut before = 0.0;
        let mut loaded = Loaded::default();
        for (i, (step, cost)) in steps.iter().zip(&costs).enumerate() {
            let title = step.title();
            let mut tell = |done: u64, of: u64, unit: &'static str| {
                let share = (before + cost * done as f64 / of.max(1) as f64) / total;
                let (title, step) = (title.clone(), [i + 1, steps.len()]);
                watch(&Progress { title, step, done: [done, of], unit, share })
            };
            let ended = match *step {
                Step::Train(subject) => self.train(subject, &mut loaded, &mut tell)?,
                Step::Make(set) => self.make(set, &mut tell)?,
                Step::Measure(subject) => self.measure(subject, &mut tell)?,
                Step::Compare => self.compare(&mut tell)?,
            };
            if ended == Ended::Stopped {
                return Ok(ended);
            }
            before += cost;
        }
        Ok(Ended::Done)
    }

    /// The tallies that there are, in the order of the table, and then of the seeds.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn tallies(&self) -> Result<Vec<(Subject, Tally)>, DataError> {
        let mut tallies = Vec::new();
        for seed in 0..self.seeds {
            for &model in &self.models {
                let subject = Subject { model, seed };
                if self.has_tally(subject) {
                    tallies.push((subject, read_json(&self.tally_file(subject))?));
                }
            }
        }
        Ok(tallies)
    }

    /// What the samples on Basic come to, if they have been compared.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn comparison(&self) -> Result<Option<Comparison>, DataError> {
        if !self.has_comparison() {
            return Ok(None);
        }
        read_json(&self.comparison_file()).map(Some)
    }

    pub(super) fn comparison_file(&self) -> PathBuf {
        self.folder.join("tallies").join("comparison.json")
    }

    /// Some of what was found in the attacks on a network: `each` images of each method, evenly spread. None where they are not
    /// there, as in a run that was gone on with on another machine.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn examples(&self, subject: Subject, each: usize) -> Result<Vec<Sample>, DataError> {
        let mut examples = Vec::new();
        if !self.has_cells(subject) {
            return Ok(examples);
        }
        let folder = self.cell_folder(subject);
        let facts = facts_of(&folder)?;
        let mut picked: Vec<usize> = Vec::new();
        for (method, _) in METHODS {
            let rows: Vec<usize> =
                (0..facts.len()).filter(|&row| facts[row].method == method).collect();
            let count = each.min(rows.len());
            picked.extend((0..count).map(|i| rows[i * rows.len() / count]));
        }
        let mut first = 0;
        let mut images = BTreeMap::new();
        for shard in read_set_images(&folder)? {
            let shard = shard?;
            for &row in picked.iter().filter(|row| (first..first + shard.len()).contains(row)) {
                images.insert(row, shard[row - first].clone());
            }
            first += shard.len();
        }
        for row in picked {
            if let Some(image) = images.remove(&row) {
                examples.push(Sample { image, facts: facts[row].clone() });
            }
        }
        Ok(examples)
    }

    /// The file of a network.
    pub fn network_file(&self, subject: Subject) -> PathBuf {
        self.folder.join("models").join(subject.key() + ".onnx")
    }

    /// The file of a tally.
    pub fn tally_file(&self, subject: Subject) -> PathBuf {
        self.folder.join("tallies").join(subject.key() + ".json")
    }

    /// The folder of a set.
    pub fn set_folder(&self, set: SetName) -> PathBuf {
        self.folder.join("sets").join(set.key())
    }

    /// The folder of what was found in the attacks on a network.
    pub fn cell_folder(&self, subject: Subject) -> PathBuf {
        self.folder.join("cells").join(subject.key())
    }
}

/// All that is known of a set's images.
pub(super) fn facts_of(folder: &Path) -> Result<Vec<Facts>, DataError> {
    let shards = read_set_facts(folder)?.collect::<Result<Vec<_>, _>>()?;
    Ok(shards.into_iter().flatten().collect())
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, DataError> {
    let text = fs::read(path).map_err(|e| DataError::read(shown(path), e))?;
    serde_json::from_slice(&text).map_err(|e| {
        DataError::content(shown(path), format!("cannot be understood: {e}; remove it"))
    })
}

pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), DataError> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| DataError::write(shown(path), e.to_string()))?;
    write_file(path, (text + "\n").as_bytes())
}
