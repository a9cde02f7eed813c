//! Doing it: a folder with networks, sets and tallies.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lots_nn::{Graph, LayerId, Network, lenet};
use md5::{Digest, Md5};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::compare::{Comparison, diversity, improved};
use super::models::{BASIC, Model, SetName, Source, Subject};
use super::steps::{COMPARED, Scale, Step, Stock, steps};
use super::tally::{METHODS, Tally, columns};
use crate::attack::{Argmax, Fgs, Fgv, HotCold, Lots, Method};
use crate::data::parquet::open_parquet;
use crate::data::{DEFAULT_CLASSES, Dataset, NamedImage, Split, open_dataset};
use crate::error::{DataError, Error, shown};
use crate::evaluation::evaluate;
use crate::file::write_file;
use crate::hex::hex;
use crate::set::{
    Choice, Common, Counts, Facts, Leader, Plan, Sample, SetFolder, leaders_of_set, read_set_facts,
    read_set_images,
};
use crate::training::Training;

/// Iterations between two checkpoints.
const CHECKPOINTS: u64 = 1000;
/// Iterations between two looks at whether to go on.
const LOOKS: u64 = 50;

/// A run in a folder.
///
/// Paper: Table 1.
#[derive(Debug)]
pub struct Reproduction {
    folder: PathBuf,
    scale: Scale,
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
const WHOLE: &str = "_complete";

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

    fn comparison_file(&self) -> PathBuf {
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

    fn train(
        &self,
        subject: Subject,
        loaded: &mut Loaded,
        tell: &mut dyn FnMut(u64, u64, &'static str) -> bool,
    ) -> Result<Ended, Error> {
        let Subject { model, seed } = subject;
        let iterations = self.scale.iterations(model);
        if !tell(0, iterations, "iterations") {
            return Ok(Ended::Stopped);
        }
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

    fn make(
        &self,
        set: SetName,
        tell: &mut dyn FnMut(u64, u64, &'static str) -> bool,
    ) -> Result<Ended, Error> {
        let network = Graph::open(self.network_file(BASIC))?;
        let decision = Argmax::of(&network)?;
        let (free, led) = match set {
            SetName::Fgs => (vec![Box::new(Fgs) as Box<dyn Method>], Vec::new()),
            SetName::Fgv => (vec![Box::new(Fgv) as _], Vec::new()),
            SetName::HotCold => (hot_cold(), Vec::new()),
            SetName::Lots | SetName::ImprovedFgv | SetName::ImprovedHotCold => {
                (Vec::new(), lots(&network)?)
            }
        };
        let (leaders, choice) = match set.leaders() {
            Some(leaders) => leaders_of_set(&self.set_folder(leaders))?,
            None => first_leaders()?,
        };
        let data = open_dataset("mnist:train", Split::Train)?;
        let (origins, positions) = spread(&data, self.scale.origins);
        let plan = Plan {
            network: &network,
            decision: &decision,
            origins: &origins,
            positions: &positions,
            free: &free,
            led: &led,
            leaders: &leaders,
            choice: &choice,
            percents: &[100],
            seed: 0,
            measures_pass: false,
        };
        let folder = self.set_folder(set);
        let about = json!({
            "version": 1,
            "model_md5": md5(&self.network_file(BASIC))?,
            "set": set.key(),
            "data": data.name(),
            "origins": origins.len(),
            "pass": false,
        });
        if run_plan(&plan, &folder, about, "samples", tell)?.is_none() {
            return Ok(Ended::Stopped);
        }
        write_file(&folder.join(WHOLE), b"")?;
        Ok(Ended::Done)
    }

    fn measure(
        &self,
        subject: Subject,
        tell: &mut dyn FnMut(u64, u64, &'static str) -> bool,
    ) -> Result<Ended, Error> {
        let file = self.network_file(subject);
        let network = Graph::open(&file)?;
        let decision = Argmax::of(&network)?;
        let (free, led) = (
            [Box::new(Fgs) as Box<dyn Method>, Box::new(Fgv)].into_iter().chain(hot_cold()),
            lots(&network)?,
        );
        let free: Vec<Box<dyn Method>> = free.collect();
        let (leaders, choice) = first_leaders()?;
        let data = open_dataset("mnist:test", Split::Test)?;
        let (origins, positions) = spread(&data, self.scale.limit);
        // Those of other seeds tell how certain the claims are, for which errors and L2 do.
        let measures_pass = subject.seed == 0;
        let plan = Plan {
            network: &network,
            decision: &decision,
            origins: &origins,
            positions: &positions,
            free: &free,
            led: &led,
            leaders: &leaders,
            choice: &choice,
            percents: &[100],
            seed: 0,
            measures_pass,
        };
        let folder = self.cell_folder(subject);
        let md5 = md5(&file)?;
        let about = json!({
            "version": 1,
            "model_md5": md5,
            "set": METHODS.map(|(method, _)| method),
            "data": data.name(),
            "origins": origins.len(),
            "pass": measures_pass,
        });
        let Some(counts) = run_plan(&plan, &folder, about, "attacks", tell)? else {
            return Ok(Ended::Stopped);
        };
        let attacked = match origins.len() {
            count if count == data.len() => data.name().to_owned(),
            count => format!("{} ({count} of {}, evenly spread)", data.name(), data.len()),
        };
        let (row, median_l2) = columns(&folder, &counts, subject.model.title(), &attacked)?;
        let tally = Tally {
            model: subject.model.key().to_owned(),
            seed: subject.seed,
            md5,
            error_rate: evaluate(&network, &data, |_| ())?.error_rate,
            row,
            median_l2,
        };
        write_json(&self.tally_file(subject), &tally)?;
        if measures_pass {
            write_file(&folder.join(WHOLE), b"")?;
        } else {
            // As large as those of the table, and nobody looks at them.
            fs::remove_dir_all(&folder).map_err(|e| DataError::write(shown(&folder), e))?;
        }
        Ok(Ended::Done)
    }

    /// Compares what was found in the attacks on Basic, and makes it targets of LOTS.
    fn compare(
        &self,
        tell: &mut dyn FnMut(u64, u64, &'static str) -> bool,
    ) -> Result<Ended, Error> {
        let network = Graph::open(self.network_file(BASIC))?;
        let decision = Argmax::of(&network)?;
        let data = open_dataset("mnist:test", Split::Test)?;
        let cells = self.cell_folder(BASIC);
        let (leaders, choice) = leaders_of_set(&cells)?;
        let samples: Vec<Facts> = facts_of(&cells)?;
        let choice = match choice {
            // Samples by LOTS lead nowhere new.
            Choice::Own(mut own) => {
                let is_other =
                    |&i: &usize| ["fgv", "hot-cold"].contains(&samples[i].method.as_str());
                own.values_mut().for_each(|leaders| leaders.retain(is_other));
                Choice::Own(own)
            }
            other => other,
        };
        let (attacked, all) = spread(&data, self.scale.limit);
        let count = COMPARED.min(all.len());
        let picks = (0..count).map(|i| i * all.len() / count);
        let (origins, positions): (Vec<NamedImage>, Vec<usize>) =
            picks.map(|i| (attacked[i].clone(), all[i])).unzip();
        let led = lots(&network)?;
        let plan = Plan {
            network: &network,
            decision: &decision,
            origins: &origins,
            positions: &positions,
            free: &[],
            led: &led,
            leaders: &leaders,
            choice: &choice,
            percents: &[100],
            seed: 0,
            measures_pass: true,
        };
        let folder = self.folder.join("cells").join("improved-on-basic");
        let about = json!({
            "version": 1,
            "model_md5": md5(&self.network_file(BASIC))?,
            "set": "lots towards samples by fgv and hot-cold",
            "data": data.name(),
            "origins": origins.len(),
            "pass": true,
        });
        if run_plan(&plan, &folder, about, "attacks", tell)?.is_none() {
            return Ok(Ended::Stopped);
        }
        let made = facts_of(&folder)?;
        let mut compared = Vec::new();
        let weighted = network.layers().iter().filter(|layer| layer.index.is_some());
        let layers: Vec<String> = weighted.map(|layer| layer.name.clone()).collect();
        let samples: Vec<Facts> = samples
            .into_iter()
            .map(|facts| {
                // Those of other origins had no chance.
                let method = match positions.binary_search(&facts.origin) {
                    Ok(_) => facts.method,
                    Err(_) => String::new(),
                };
                Facts { method, ..facts }
            })
            .collect();
        for method in ["fgv", "hot-cold"] {
            compared.extend(improved(method, &layers, &samples, &made));
        }
        let comparison = Comparison { diversity: diversity(&cells, &data)?, improved: compared };
        write_json(&self.comparison_file(), &comparison)?;
        Ok(Ended::Done)
    }
}

/// All that is known of a set's images.
fn facts_of(folder: &Path) -> Result<Vec<Facts>, DataError> {
    let shards = read_set_facts(folder)?.collect::<Result<Vec<_>, _>>()?;
    Ok(shards.into_iter().flatten().collect())
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, DataError> {
    let text = fs::read(path).map_err(|e| DataError::read(shown(path), e))?;
    serde_json::from_slice(&text).map_err(|e| {
        DataError::content(shown(path), format!("cannot be understood: {e}; remove it"))
    })
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), DataError> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| DataError::write(shown(path), e.to_string()))?;
    write_file(path, (text + "\n").as_bytes())
}

/// The data sets of the last training: the next one often has the same.
#[derive(Default)]
struct Loaded(Vec<(Source, Dataset)>);

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

/// Makes the shards that `folder` lacks; what all of them come to, or `None` where it was stopped.
fn run_plan(
    plan: &Plan<'_>,
    folder: &Path,
    about: serde_json::Value,
    unit: &'static str,
    tell: &mut dyn FnMut(u64, u64, &'static str) -> bool,
) -> Result<Option<Counts>, Error> {
    let model = about.get("model_md5").and_then(|md5| md5.as_str()).unwrap_or_default().to_owned();
    let classes = plan.decision.names().to_vec();
    let common = Common { classes, seed: plan.seed, model, settings: about.to_string() };
    let shards = plan.shards();
    let set = SetFolder::open(folder, common, shards, true, false)?;
    let attempts = plan.attempts() as u64;
    let (mut counts, mut done) = (Counts::default(), 0);
    for shard in 0..shards {
        if !tell(done, attempts, unit) {
            return Ok(None);
        }
        let made = match set.counts(shard)? {
            Some(made) => made,
            None => set.make(plan, shard)?,
        };
        counts.add(&made);
        done = attempts * (shard as u64 + 1) / shards as u64;
    }
    Ok(Some(counts))
}

/// The first training digit of each class.
fn first_leaders() -> Result<(Vec<Leader>, Choice), Error> {
    let data = open_dataset("mnist:train", Split::Train)?;
    let leaders = Leader::first_of_each_class(&data, DEFAULT_CLASSES)?;
    let choice = Choice::First { classes: Choice::classes(&leaders), count: 1 };
    Ok((leaders, choice))
}

fn hot_cold() -> Vec<Box<dyn Method>> {
    (0..DEFAULT_CLASSES).map(|hot| Box::new(HotCold { hot }) as _).collect()
}

/// At every layer with weights.
fn lots(network: &Graph) -> Result<Vec<Box<dyn Method>>, Error> {
    let layers: Vec<LayerId> = network.find_layers("all")?;
    Ok(layers.into_iter().map(|layer| Box::new(Lots(layer)) as _).collect())
}

/// At most `count` images, evenly spread, with their positions.
fn spread(data: &Dataset, count: usize) -> (Vec<NamedImage>, Vec<usize>) {
    let positions: Vec<usize> = data.spread(count).collect();
    (positions.iter().map(|&i| data.named(i)).collect(), positions)
}

/// The samples of a set as a data set.
fn open_set(folder: &Path, set: SetName, layer: Option<&str>) -> Result<Dataset, DataError> {
    let name = match layer {
        Some(layer) => format!("{} samples of {layer}", set.key()),
        None => format!("{} samples", set.key()),
    };
    open_parquet(folder, &name, DEFAULT_CLASSES, layer)
}

/// The MD5 of a file.
fn md5(path: &Path) -> Result<String, DataError> {
    let bytes = fs::read(path).map_err(|e| DataError::read(shown(path), e))?;
    Ok(hex(&Md5::digest(bytes)))
}
