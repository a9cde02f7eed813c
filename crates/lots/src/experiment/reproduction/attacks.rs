//! The attacks behind Table 1: sets of training digits to learn from, and the test digits that networks are measured by.

use std::fs;
use std::path::Path;

use lots_nn::{Graph, LayerId, Network};
use md5::{Digest, Md5};
use serde_json::json;

use super::compare::{Comparison, diversity, improved};
use super::models::{BASIC, SetName, Subject};
use super::steps::COMPARED;
use super::tally::{METHODS, Tally, columns};
use super::work::{Ended, Reproduction, Tell, WHOLE, facts_of, write_json};
use crate::attack::{Argmax, Fgs, Fgv, HotCold, Lots, Method};
use crate::data::{self, DEFAULT_CLASSES, Dataset, Split, open_dataset};
use crate::error::{DataError, Error, shown};
use crate::evaluation::evaluate;
use crate::file::write_file;
use crate::hex::hex;
use crate::set::{
    Choice, Common, Counts, Facts, Leader, Origins, Picked, Plan, SetFolder, leaders_of_set,
    set_settings,
};

impl Reproduction {
    pub(super) fn make(&self, set: SetName, tell: &mut Tell<'_>) -> Result<Ended, Error> {
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
        let data = open_dataset("mnist:train", Split::Train)?;
        let origins = spread(&data, self.scale.origins);
        let (leaders, choice) = match set.leaders() {
            Some(leaders) => leaders_of_set(&self.set_folder(leaders), &origins)?,
            None => first_leaders()?,
        };
        let way = Ways { free: &free, led: &led, leaders: &leaders, choice: &choice };
        let plan = way.plan(&network, &decision, &origins, false);
        let folder = self.set_folder(set);
        let about = json!({
            "version": 1,
            "model_md5": md5(&self.network_file(BASIC))?,
            "set": set.key(),
            "data": data.name(),
            "origins": origins.count(),
            "pass": false,
        });
        if run_plan(&plan, &folder, about, "samples", tell)?.is_none() {
            return Ok(Ended::Stopped);
        }
        write_file(&folder.join(WHOLE), b"")?;
        Ok(Ended::Done)
    }

    pub(super) fn measure(&self, subject: Subject, tell: &mut Tell<'_>) -> Result<Ended, Error> {
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
        let origins = spread(&data, self.scale.limit);
        // Those of other seeds tell how certain the claims are, for which errors and L2 do.
        let measures_pass = subject.seed == 0;
        let way = Ways { free: &free, led: &led, leaders: &leaders, choice: &choice };
        let plan = way.plan(&network, &decision, &origins, measures_pass);
        let folder = self.cell_folder(subject);
        let md5 = md5(&file)?;
        let about = json!({
            "version": 1,
            "model_md5": md5,
            "set": METHODS.map(|(method, _)| method),
            "data": data.name(),
            "origins": origins.count(),
            "pass": measures_pass,
        });
        let Some(counts) = run_plan(&plan, &folder, about, "attacks", tell)? else {
            return Ok(Ended::Stopped);
        };
        let attacked = match origins.count() {
            count if count == data.len() => data.name().to_owned(),
            count => format!("{} ({count} of {}, evenly spread)", data.name(), data.len()),
        };
        let (row, median_l2) = columns(&folder, &counts, subject.model.title(), &attacked)?;
        let tally = Tally {
            model: subject.model.key().to_owned(),
            seed: subject.seed,
            scale: self.scale,
            md5,
            error_rate: evaluate(&network, &data, |_| ())?.error_rate,
            row,
            median_l2,
        };
        if measures_pass {
            write_file(&folder.join(WHOLE), b"")?;
        }
        write_json(&self.tally_file(subject), &tally)?;
        if !measures_pass {
            // As large as those of the table, and nobody looks at them.
            fs::remove_dir_all(&folder).map_err(|e| DataError::write(shown(&folder), e))?;
        }
        Ok(Ended::Done)
    }

    /// Compares what was found in the attacks on Basic, and makes it targets of LOTS.
    pub(super) fn compare(&self, tell: &mut Tell<'_>) -> Result<Ended, Error> {
        let network = Graph::open(self.network_file(BASIC))?;
        let decision = Argmax::of(&network)?;
        let data = open_dataset("mnist:test", Split::Test)?;
        let cells = self.cell_folder(BASIC);
        let all = spread(&data, self.scale.limit);
        let (leaders, choice) = leaders_of_set(&cells, &all)?;
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
        let picks = data::spread(all.count(), COMPARED).map(|i| all.picks[i]).collect();
        let origins = Picked { data: &data, picks };
        let led = lots(&network)?;
        let way = Ways { free: &[], led: &led, leaders: &leaders, choice: &choice };
        let plan = way.plan(&network, &decision, &origins, true);
        let folder = self.folder.join("cells").join("improved-on-basic");
        let about = json!({
            "version": 1,
            "model_md5": md5(&self.network_file(BASIC))?,
            "set": "lots towards samples by fgv and hot-cold",
            "data": data.name(),
            "origins": origins.count(),
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
                let method = match origins.picks.binary_search(&facts.origin) {
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

/// How images are attacked, and what leads the way.
struct Ways<'a> {
    free: &'a [Box<dyn Method>],
    led: &'a [Box<dyn Method>],
    leaders: &'a [Leader],
    choice: &'a Choice,
}

impl<'a> Ways<'a> {
    /// All of them on each of `origins`, to the smallest step found.
    fn plan(
        &self,
        network: &'a Graph,
        decision: &'a Argmax,
        origins: &'a Picked<'a>,
        measures_pass: bool,
    ) -> Plan<'a> {
        let Self { free, led, leaders, choice } = *self;
        let (percents, seed) = (&[100], 0);
        Plan {
            network,
            decision,
            origins,
            free,
            led,
            leaders,
            choice,
            percents,
            seed,
            measures_pass,
        }
    }
}

/// Makes the shards that `folder` lacks; what all of them come to, or `None` where it was stopped.
fn run_plan(
    plan: &Plan<'_>,
    folder: &Path,
    about: serde_json::Value,
    unit: &'static str,
    tell: &mut Tell<'_>,
) -> Result<Option<Counts>, Error> {
    // What was made on another network, or of other digits, is of no use.
    let settings = about.to_string();
    if set_settings(folder)?.is_some_and(|made| made != settings) {
        fs::remove_dir_all(folder).map_err(|e| DataError::write(shown(folder), e))?;
    }
    let model = about.get("model_md5").and_then(|md5| md5.as_str()).unwrap_or_default().to_owned();
    let classes = plan.decision.names().to_vec();
    let common = Common { classes, seed: plan.seed, model, settings };
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

/// At most `count` images, evenly spread.
fn spread(data: &Dataset, count: usize) -> Picked<'_> {
    Picked { data, picks: data.spread(count).collect() }
}

/// The MD5 of a file.
pub(super) fn md5(path: &Path) -> Result<String, DataError> {
    let bytes = fs::read(path).map_err(|e| DataError::read(shown(path), e))?;
    Ok(hex(&Md5::digest(bytes)))
}
