//! Doing it: a folder with networks, sets and tallies.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use lots_nn::Graph;
use md5::{Digest, Md5};

use super::attacks::md5;
use super::compare::Comparison;
use super::models::{BASIC, Model, SetName, Subject};
use super::steps::{Scale, Step, Stock, steps};
use super::tally::{METHODS, Tally};
use super::training::Loaded;
use crate::error::{DataError, Error, shown};
use crate::file::write_file;
use crate::hex::hex;
use crate::set::{Facts, Sample, read_set_facts, read_set_images, set_settings};
use crate::training::{ITERATIONS, SEED, START_MD5};

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
    /// What of that was there already when it came to it.
    pub found: f64,
}

impl Progress {
    /// How long the rest takes, if it goes on as in the `elapsed` time since the run began; `None` at the very beginning.
    pub fn left(&self, elapsed: Duration) -> Option<Duration> {
        let seconds = elapsed.as_secs_f64() * (1.0 - self.share) / (self.share - self.found);
        Duration::try_from_secs_f64(seconds).ok()
    }
}

/// What a step tells: how far it is, how far it goes, and what is counted. It says whether to go on.
pub(super) type Tell<'t> = dyn FnMut(u64, u64, &'static str) -> bool + 't;

/// What watches a run: it is told how far things are, and says whether to go on.
type Watch<'w> = dyn FnMut(&Progress) -> bool + 'w;

impl Stock for Reproduction {
    /// One of this scale, and of the network that is there, if it is.
    fn has_tally(&self, subject: Subject) -> bool {
        let file = self.tally_file(subject);
        let tally = file.exists().then(|| read_json::<Tally>(&file).ok()).flatten();
        tally.is_some_and(|tally| {
            let is_its = |file: &Path| md5(file).is_ok_and(|md5| md5 == tally.md5);
            let network = self.network_file(subject);
            tally.scale == self.scale && (!network.exists() || is_its(&network))
        })
    }

    /// One that was trained as this run would; Basic may be any.
    fn has_network(&self, subject: Subject) -> bool {
        let file = self.network_file(subject);
        file.exists() && (subject == BASIC || self.is_trained_so(subject, &file))
    }

    /// One that is complete, and was made on the Basic that is there.
    fn has_set(&self, set: SetName) -> bool {
        let folder = self.set_folder(set);
        let basic = md5(&self.network_file(BASIC)).ok();
        let made = set_settings(&folder).ok().flatten();
        let is_its = basic.zip(made).is_some_and(|(basic, made)| made.contains(&basic));
        folder.join(WHOLE).exists() && is_its
    }

    fn has_comparison(&self) -> bool {
        self.comparison_file().exists()
    }

    fn has_cells(&self, subject: Subject) -> bool {
        self.cell_folder(subject).join(WHOLE).exists()
    }
}

impl Reproduction {
    /// Whether the network in `file` says that it was trained for as long, with this seed, and from the Basic that is there.
    fn is_trained_so(&self, subject: Subject, file: &Path) -> bool {
        let Ok(network) = Graph::open(file) else { return false };
        let says = |key: &str, wanted: &str| {
            network.metadata().any(|(found, value)| found == key && value == wanted)
        };
        let starts_so = !subject.model.is_tuned()
            || Graph::open(self.network_file(BASIC))
                .is_ok_and(|basic| says(START_MD5, &hex(&Md5::digest(basic.to_onnx()))));
        says(ITERATIONS, &self.scale.iterations(subject.model).to_string())
            && says(SEED, &subject.seed.to_string())
            && starts_so
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

    /// Whether the folder holds what no run has written.
    fn is_foreign(&self) -> Result<bool, DataError> {
        if !self.folder.exists() {
            return Ok(false);
        }
        let entries =
            self.folder.read_dir().map_err(|e| DataError::read(shown(&self.folder), e))?;
        let names = entries.flatten().map(|entry| entry.file_name());
        Ok(names.into_iter().any(|name| {
            let is_temporary = name.to_string_lossy().starts_with(".lots-");
            name != "models" && name != "tallies" && !is_temporary
        }))
    }

    /// The networks that have no tally yet: those of this run, and others of the paper's table.
    pub fn missing(&self) -> Vec<Subject> {
        let step = |step| match step {
            Step::Measure(subject) if !self.has_tally(subject) => Some(subject),
            _ => None,
        };
        let rows = Model::ALL[..Model::ROWS].iter().map(|&model| Subject { model, seed: 0 });
        let others = rows.filter(|row| !self.models.contains(&row.model) && !self.has_tally(*row));
        self.steps().into_iter().filter_map(step).chain(others).collect()
    }

    /// Does all that is left. `watch` is told now and then how far it is.
    ///
    /// # Errors
    /// When the folder holds a run of another scale, a file cannot be read or written, or training diverges.
    pub fn run(&self, watch: &mut Watch<'_>) -> Result<Ended, Error> {
        let run = self.folder.join(RUN);
        if !self.is_begun() && self.is_foreign()? {
            let problem =
                "holds other things than networks and tallies of Table 1; give another --out";
            return Err(DataError::content(shown(&self.folder), problem).into());
        }
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
        let (mut before, mut found) = (0.0, 0.0);
        let mut loaded = Loaded::default();
        for (i, (step, cost)) in steps.iter().zip(&costs).enumerate() {
            let title = step.title();
            let mut begun = None;
            let mut tell = |done: u64, of: u64, unit: &'static str| {
                let part = cost * done as f64 / of.max(1) as f64;
                let there = *begun.get_or_insert(part);
                let (title, step) = (title.clone(), [i + 1, steps.len()]);
                let [share, found] = [before + part, found + there].map(|cost| cost / total);
                watch(&Progress { title, step, done: [done, of], unit, share, found })
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
            found += begun.unwrap_or(0.0);
        }
        Ok(Ended::Done)
    }

    /// All tallies that there are, of networks that this run is not of, too; in the order of the table, and then of the seeds.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn tallies(&self) -> Result<Vec<(Subject, Tally)>, DataError> {
        let mut tallies = Vec::new();
        for seed in 0..self.seeds {
            for model in Model::ALL {
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
