//! Table 1: what it takes to change the class, method by method.

use std::collections::BTreeSet;

use lots_nn::{LayerInfo, Network};
use serde::{Deserialize, Serialize};

use crate::attack::{
    Argmax, Attack, Decision, Fgs, Fgv, HotCold, Lots, Target, attack, has_zero_loss,
};
use crate::batch::batch;
use crate::data::{Dataset, NamedImage};
use crate::error::Error;
use crate::evaluation::classes;
use crate::measure::{MeasureError, Measures, measure};
use crate::parallel;

/// A row of the table: one network and all methods.
///
/// Paper: Table 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What the network is called.
    pub model: String,
    /// The images attacked.
    pub data: String,
    /// How many they are.
    pub images: usize,
    /// How many of them the network misclassifies; they are not attacked.
    pub misclassified: usize,
    /// Origins among the others whose single-precision loss is zero (see [`has_zero_loss`]).
    pub zero_loss: usize,
    /// FGS and FGV under the zero-loss rule, the same without it, hot/cold, LOTS.
    pub columns: Vec<Column>,
}

/// One method on one network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// The method, as users call it.
    pub method: String,
    /// Whether origins with zero loss count as not found.
    pub zero_loss_rule: bool,
    /// Attacks on correctly classified origins.
    pub attempts: usize,
    /// Those that changed the class.
    pub found: usize,
    /// Similarity of what was found to its origin, −1 to 1; `null` where nothing was found, as the norms.
    pub pass: Option<Spread>,
    /// Euclidean norm of the perturbation, in grey levels.
    pub l2: Option<Spread>,
    /// Largest change of one pixel, in grey levels.
    pub linf: Option<Spread>,
}

impl Column {
    /// `found` / `attempts`, 0–1.
    pub fn success(&self) -> f64 {
        self.found as f64 / self.attempts as f64
    }
}

/// Mean and standard deviation, of the values as they are (not an estimate for others).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub std: f64,
}

impl Spread {
    /// Of `values`; `None` of none.
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
        Some(Self { mean, std: variance.sqrt() })
    }
}

/// A column of the paper's row for Basic LeNet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Published {
    /// The method, as users call it here.
    pub method: &'static str,
    /// Success rate, 0–1.
    pub success: f64,
    /// As in [`Column`].
    pub pass: Spread,
    /// As in [`Column`].
    pub l2: Spread,
    /// As in [`Column`].
    pub linf: Spread,
}

/// What the paper has for Basic LeNet, whose error rate is 0.91 %, on the 10,000 test digits. The success rates of FGS and
/// FGV seem to count origins with zero loss as failures.
///
/// Paper: Table 1, first row.
pub const PAPER_BASIC: [Published; 4] = [
    published("fgs", 0.8537, [0.4303, 0.1098], [718.8, 281.2], [34.6, 13.2]),
    published("fgv", 0.8537, [0.7753, 0.1050], [435.3, 187.9], [94.4, 38.7]),
    published("hot-cold", 0.9992, [0.7269, 0.1102], [596.0, 275.5], [117.5, 47.2]),
    published("lots", 0.9956, [0.6561, 0.1245], [1004.0, 456.8], [170.0, 52.4]),
];

const fn published(
    method: &'static str,
    success: f64,
    pass: [f64; 2],
    l2: [f64; 2],
    linf: [f64; 2],
) -> Published {
    let [pass, l2, linf] = [spread(pass), spread(l2), spread(linf)];
    Published { method, success, pass, l2, linf }
}

const fn spread([mean, std]: [f64; 2]) -> Spread {
    Spread { mean, std }
}

/// The first image of each of `classes` classes: the targets of Table 1.
///
/// # Errors
/// When the data have no labels, or a class has no image.
pub fn first_of_each_class(data: &Dataset, classes: usize) -> Result<Vec<NamedImage>, Error> {
    let first = data.first_of_each_class(classes)?.into_iter();
    Ok(first.map(|position| data.named(position)).collect())
}

/// Origins whose attacks are run together.
const ORIGINS: usize = 100;

/// Attacks the images of `data` by FGS, FGV, hot/cold (towards every other class) and LOTS (at every layer with weights,
/// towards the image of every other class in `targets`, of which there is one a class). After some origins, `each` is given
/// how many are done.
///
/// Paper: Table 1.
///
/// # Errors
/// When images or labels do not fit the network, targets are not one a class, or the network's output is not finite.
pub fn row(
    network: &dyn Network,
    model: &str,
    data: &Dataset,
    targets: &[NamedImage],
    mut each: impl FnMut(usize),
) -> Result<Row, Error> {
    let classes = classes(network)?;
    let decision = Argmax::of(network)?;
    data.labels_below(classes)?;
    if targets.len() != classes {
        let found = targets.len();
        let problem = format!("Table 1 wants {classes} targets, one a class, found {found}");
        return Err(Error::Attack(problem));
    }
    let weighted = network.layers().iter().filter(|layer: &&LayerInfo| layer.index.is_some());
    let every_layer: Vec<Lots> = weighted.map(|layer| Lots(layer.id)).collect();
    let hot: Vec<HotCold> = (0..classes).map(|hot| HotCold { hot }).collect();

    let (mut misclassified, mut zero_loss) = (0, 0);
    let mut tallies = ["fgs", "fgv", "hot-cold", "lots"].map(Tally::new);
    for first in (0..data.len()).step_by(ORIGINS) {
        let positions = first..data.len().min(first + ORIGINS);
        let pixels = batch(network.input(), data, positions.clone())?;
        let logits = network.represent(pixels.view(), network.output())?;
        let origins = positions.clone().map(|position| data.named(position));
        let images: Vec<NamedImage> = targets.iter().cloned().chain(origins).collect();
        let mut attacks = [const { Vec::new() }; 4];
        let mut silent = BTreeSet::new();
        for (origin, logits) in (targets.len()..).zip(logits.outer_iter()) {
            let logits = logits.to_vec();
            let label = images[origin].label.unwrap_or_default();
            let Some(class) = decision.decide(&logits) else {
                let position = positions.start + origin - targets.len();
                return Err(Error::Output { position, data: data.name().to_owned() });
            };
            if class != label {
                misclassified += 1;
                continue;
            }
            if has_zero_loss(&logits, label) {
                silent.insert(origin);
            }
            let others = || (0..classes).filter(move |&class| class != label);
            let [fgs, fgv, hot_cold, lots] = &mut attacks;
            fgs.push(Attack::smallest(origin, None, &Fgs));
            fgv.push(Attack::smallest(origin, None, &Fgv));
            hot_cold.extend(others().map(|class| Attack::smallest(origin, None, &hot[class])));
            for method in &every_layer {
                lots.extend(
                    others()
                        .map(|class| Attack::smallest(origin, Some(Target::Image(class)), method)),
                );
            }
        }
        zero_loss += silent.len();
        for (tally, attacks) in tallies.iter_mut().zip(&attacks) {
            tally.run(network, &decision, &images, attacks, &silent)?;
        }
        each(positions.end);
    }
    let [fgs, fgv, hot_cold, lots] = &tallies;
    let columns =
        [(fgs, true), (fgv, true), (fgs, false), (fgv, false), (hot_cold, false), (lots, false)];
    Ok(Row {
        model: model.to_owned(),
        data: data.name().to_owned(),
        images: data.len(),
        misclassified,
        zero_loss,
        columns: columns.into_iter().map(|(tally, rule)| tally.column(rule)).collect(),
    })
}

/// What came of all attacks by one method.
struct Tally {
    method: &'static str,
    /// Whether the origin's loss is zero, and the measures of what was found.
    results: Vec<(bool, Option<Measures>)>,
}

impl Tally {
    fn new(method: &'static str) -> Self {
        Self { method, results: Vec::new() }
    }

    /// Runs `attacks`; the loss of `silent` origins is zero.
    fn run(
        &mut self,
        network: &dyn Network,
        decision: &Argmax,
        images: &[NamedImage],
        attacks: &[Attack<'_>],
        silent: &BTreeSet<usize>,
    ) -> Result<(), Error> {
        let attacked = attack(network, decision, images, attacks).collect::<Result<Vec<_>, _>>()?;
        let pairs = attacks.iter().zip(attacked).collect();
        let measured = parallel::map(pairs, |(attack, attacked)| {
            let origin = &images[attack.origin].image;
            let found = attacked.outcome.image();
            let measures = found.map(|found| measure(origin, &found.image)).transpose()?;
            Ok((silent.contains(&attack.origin), measures))
        });
        self.results.extend(measured.into_iter().collect::<Result<Vec<_>, MeasureError>>()?);
        Ok(())
    }

    fn column(&self, zero_loss_rule: bool) -> Column {
        let counted = self.results.iter().filter(|(silent, _)| !(zero_loss_rule && *silent));
        let found: Vec<Measures> = counted.filter_map(|(_, measures)| *measures).collect();
        let spread =
            |value: fn(&Measures) -> f64| Spread::of(&found.iter().map(value).collect::<Vec<_>>());
        Column {
            method: self.method.to_owned(),
            zero_loss_rule,
            attempts: self.results.len(),
            found: found.len(),
            pass: spread(|m| m.pass.score),
            l2: spread(|m| m.l2.0),
            linf: spread(|m| f64::from(m.linf.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_by_hand() {
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[3.0]), Some(Spread { mean: 3.0, std: 0.0 }));
        assert_eq!(
            Spread::of(&[1.0, 3.0, 5.0, 7.0]),
            Some(Spread { mean: 4.0, std: 5.0_f64.sqrt() })
        );
    }
}
