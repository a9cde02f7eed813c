//! What the paper says of the networks, checked.

use std::collections::BTreeMap;

use serde::Serialize;

use super::models::{Model, Subject};
use super::tally::{METHODS, Tally};
use crate::experiment::Spread;
use crate::names::method_title;

/// A claim of the paper, with what was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Claim {
    /// The claim, in a sentence.
    pub claim: String,
    /// Whether it holds here; `null` where something is missing to tell.
    pub holds: Option<bool>,
    /// The numbers behind it, a line each.
    pub found: Vec<String>,
}

impl Claim {
    /// Whether it holds, in words.
    pub fn verdict(&self) -> &'static str {
        match self.holds {
            Some(true) => "Holds",
            Some(false) => "Does not hold",
            None => "Not yet to be told",
        }
    }
}

/// The error rate that the paper's LOTS model has, 0–1.
///
/// Paper: Table 1.
const PAPER_LOTS: f64 = 0.0065;

/// The claims about networks, checked on all `tallies`: on the means over seeds, whose spread is told. Fine-tuned networks are
/// wanted with all of `seeds` seeds.
///
/// Paper: section 5.1.
pub fn claims(tallies: &[(Subject, Tally)], seeds: u64) -> Vec<Claim> {
    let models = Models::of(tallies, seeds);
    let mut claims = vec![models.lowest_error(), models.low_error()];
    claims.extend((0..METHODS.len()).map(|method| models.hardest(method)));
    claims.extend((0..METHODS.len()).map(|method| models.higher_layers(method)));
    claims.push(models.no_benefit());
    claims
}

/// The tallies of each model, seed by seed.
struct Models<'a> {
    tallies: BTreeMap<Model, Vec<&'a Tally>>,
    seeds: u64,
}

impl<'a> Models<'a> {
    fn of(tallies: &'a [(Subject, Tally)], seeds: u64) -> Self {
        let mut models: BTreeMap<Model, Vec<&Tally>> = BTreeMap::new();
        for (subject, tally) in tallies {
            models.entry(subject.model).or_default().push(tally);
        }
        Self { tallies: models, seeds }
    }

    /// Whether all seeds of all of `models` are there.
    fn are_there(&self, models: &[Model]) -> bool {
        let wanted = |model: &Model| if model.is_tuned() { self.seeds as usize } else { 1 };
        models.iter().all(|model| self.tallies.get(model).is_some_and(|t| t.len() >= wanted(model)))
    }

    /// Mean and deviation of `value` over the seeds of `model`; `None` where one has none.
    fn over_seeds(&self, model: Model, value: impl Fn(&Tally) -> Option<f64>) -> Option<Spread> {
        let values = self.tallies.get(&model)?.iter().map(|tally| value(tally));
        Spread::of(&values.collect::<Option<Vec<f64>>>()?)
    }

    fn error(&self, model: Model) -> Option<Spread> {
        self.over_seeds(model, |tally| Some(100.0 * tally.error_rate))
    }

    /// A line for each of `models`, and whether `better(LOTS, other)` for all others; `None` where one is missing.
    fn compare(
        &self,
        models: &[Model],
        value: impl Fn(Model) -> Option<Spread>,
        decimals: usize,
        unit: &str,
        better: impl Fn(f64, f64) -> bool,
    ) -> (Option<bool>, Vec<String>) {
        let values: Vec<Option<Spread>> = models.iter().map(|&model| value(model)).collect();
        let both = models.iter().zip(&values);
        let line = |(model, value): (&Model, &Option<Spread>)| {
            let seeds = self.tallies.get(model).map_or(0, Vec::len);
            let value = match value {
                Some(Spread { mean, std }) if seeds > 1 => {
                    format!("{mean:.decimals$} ± {std:.decimals$}{unit} over {seeds} seeds")
                }
                Some(Spread { mean, .. }) => format!("{mean:.decimals$}{unit}"),
                None if seeds == 0 => "missing".to_owned(),
                None => "infinite, as with some seed half of the attacks or more find nothing"
                    .to_owned(),
            };
            format!("{}: {value}", model.title())
        };
        let lines = both.map(line).collect();
        let is_there = self.are_there(models);
        let of = |spread: Option<Spread>| spread.map_or(f64::INFINITY, |spread| spread.mean);
        let lots = models.iter().position(|model| *model == Model::Lots);
        let holds = lots.filter(|_| is_there).map(|lots| {
            let others = (0..models.len()).filter(|i| *i != lots);
            others.into_iter().all(|i| better(of(values[lots]), of(values[i])))
        });
        (holds, lines)
    }

    fn lowest_error(&self) -> Claim {
        let models: Vec<Model> = Model::ALL[..Model::ROWS]
            .iter()
            .copied()
            .filter(|model| model.is_adversarial())
            .collect();
        let (holds, found) =
            self.compare(&models, |model| self.error(model), 3, " %", |lots, other| lots < other);
        let claim = "LOTS has the lowest error of the models trained on adversarial images";
        Claim { claim: claim.to_owned(), holds, found }
    }

    fn low_error(&self) -> Claim {
        let models = [Model::Lots, Model::Mixed, Model::Clean, Model::Basic];
        let (_, found) = self.compare(&models, |model| self.error(model), 3, " %", |_, _| true);
        let error = self.error(Model::Lots).map(|error| error.mean);
        Claim {
            claim: format!("The error of LOTS is at most {} %", 100.0 * PAPER_LOTS),
            // In hundredths of a percent, as the paper counts.
            holds: error
                .filter(|_| self.are_there(&[Model::Lots]))
                .map(|error| error <= 100.0 * PAPER_LOTS + 1e-9),
            found,
        }
    }

    fn median(&self, model: Model, method: usize) -> Option<Spread> {
        self.over_seeds(model, |tally| *tally.median_l2.get(method)?)
    }

    fn hardest(&self, method: usize) -> Claim {
        let models = &Model::ALL[..Model::ROWS];
        let median = |model| self.median(model, method);
        let (holds, mut found) = self.compare(models, median, 1, "", |lots, other| lots > other);
        let beside = [Model::Clean, Model::Mixed];
        found.extend(self.compare(&beside, median, 1, "", |_, _| true).1);
        let claim = format!(
            "LOTS is the hardest to attack by {}: the median L2 over all attacks, without the zero-loss rule",
            method_title(METHODS[method].0)
        );
        Claim { claim, holds, found }
    }

    fn higher_layers(&self, method: usize) -> Claim {
        let models = [1, 2, 3, 4].map(Model::LotsAt);
        let name = METHODS[method].0;
        let column = |tally: &Tally| {
            tally.row.columns.iter().find(|c| c.method == name && !c.zero_loss_rule).cloned()
        };
        // PASS is measured with the first seed only.
        let values = models.map(|model| {
            let first = self.tallies.get(&model)?.iter().find(|tally| tally.seed == 0)?;
            let column = column(first)?;
            Some((column.l2?.mean, column.pass?.mean))
        });
        let found = models.iter().zip(&values).map(|(model, value)| match value {
            Some((l2, pass)) => format!("{}: L2 {l2:.1}, PASS {pass:.4}", model.title()),
            None => format!("{}: missing", model.title()),
        });
        let ascends = |values: &[(f64, f64)]| {
            values.windows(2).all(|pair| pair[1].0 > pair[0].0 && pair[1].1 < pair[0].1)
        };
        let all: Option<Vec<(f64, f64)>> = values.iter().copied().collect();
        let claim = format!(
            "Models fine-tuned on higher layers need larger perturbations of lower PASS by {}",
            method_title(name)
        );
        Claim { claim, holds: all.map(|all| ascends(&all)), found: found.collect() }
    }

    /// Whether neither error nor any median L2 is better than that of the models trained on what the samples were made from,
    /// or on LOTS.
    fn no_benefit(&self) -> Claim {
        let models =
            [Model::Fgv, Model::ImprovedFgv, Model::HotCold, Model::ImprovedHotCold, Model::Lots];
        let (_, mut found) =
            self.compare(&models, |model| self.error(model), 3, " % error", |_, _| true);
        for (method, (name, _)) in METHODS.iter().enumerate() {
            let unit = format!(" median L2 by {}", method_title(name));
            let (_, lines) =
                self.compare(&models, |model| self.median(model, method), 1, &unit, |_, _| true);
            found.extend(lines);
        }
        let of = |spread: Option<Spread>| spread.map_or(f64::INFINITY, |spread| spread.mean);
        let is_there = self.are_there(&models);
        let is_better = |improved: Model| {
            let error = of(self.error(improved)) < of(self.error(Model::Lots));
            let harder =
                |method| of(self.median(improved, method)) > of(self.median(Model::Lots, method));
            error && (0..METHODS.len()).all(harder)
        };
        let improved = [Model::ImprovedFgv, Model::ImprovedHotCold];
        Claim {
            claim: "LOTS samples with FGV or hot/cold samples as targets are no better to train on: neither model has a \
                    lower error than LOTS and is harder to attack by all methods"
                .to_owned(),
            holds: is_there.then(|| !improved.into_iter().any(is_better)),
            found,
        }
    }
}
