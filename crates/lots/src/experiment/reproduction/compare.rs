//! What the paper says of the samples themselves: that those of LOTS are diverse, and that samples by other methods get better
//! where they are targets of LOTS.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::data::Dataset;
use crate::error::{DataError, Error};
use crate::experiment::Spread;
use crate::image::Image;
use crate::set::{Facts, read_set_facts, read_set_images};

/// The samples of test digits on Basic, compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// How alike the perturbations of one origin are.
    pub diversity: Vec<Alike>,
    /// What becomes of samples as targets of LOTS.
    pub improved: Vec<Improved>,
}

/// How alike the perturbations of one origin by two ways are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alike {
    /// Two ways, or one twice: what makes perturbations differ.
    pub ways: String,
    /// Pairs of perturbations.
    pub pairs: usize,
    /// The mean cosine of the angle between them, −1 to 1; `null` where there are no pairs.
    pub cosine: Option<f64>,
}

/// PASS of samples by one method, and of LOTS with these samples as targets, of the same origins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Improved {
    /// The samples' method, as users call it.
    pub method: String,
    /// The layer of LOTS.
    pub layer: String,
    /// Samples.
    pub samples: usize,
    /// Those towards which LOTS changes the class too.
    pub found: usize,
    /// PASS of these samples.
    pub before: Option<Spread>,
    /// PASS of what LOTS makes towards them.
    pub after: Option<Spread>,
    /// Of the latter, those with the higher PASS of the two, 0–1.
    pub share: Option<f64>,
}

/// One perturbation of an origin.
struct One {
    /// Method, layer of LOTS, and class that it is led to.
    way: (String, String, Option<usize>),
    /// Of unit length.
    direction: Vec<f32>,
}

/// A sum of cosines.
#[derive(Default)]
struct Sum {
    pairs: usize,
    cosines: f64,
}

/// Compares the perturbations of each origin in the set in `folder`, which was made of `data`.
pub(super) fn diversity(folder: &Path, data: &Dataset) -> Result<Vec<Alike>, Error> {
    let mut sums: BTreeMap<&'static str, Sum> = BTreeMap::new();
    let (mut origin, mut ones): (Option<usize>, Vec<One>) = (None, Vec::new());
    for (facts, images) in read_set_facts(folder)?.zip(read_set_images(folder)?) {
        for (facts, image) in facts?.into_iter().zip(images?) {
            // The rows of an origin follow each other.
            if origin != Some(facts.origin) {
                add_pairs(&ones, &mut sums);
                ones.clear();
                origin = Some(facts.origin);
            }
            ones.extend(One::new(facts, &image, data)?);
        }
    }
    add_pairs(&ones, &mut sums);
    let alike = KINDS.iter().map(|&ways| {
        let Sum { pairs, cosines } = sums.remove(ways).unwrap_or_default();
        let cosine = (pairs > 0).then(|| cosines / pairs as f64);
        Alike { ways: ways.to_owned(), pairs, cosine }
    });
    Ok(alike.collect())
}

/// The kinds of pairs, in the order in which they are told.
const KINDS: [&str; 7] = [
    "FGS and FGV",
    "hot/cold, two classes",
    "LOTS, two targets at one layer",
    "LOTS, one target at two layers",
    "LOTS, two targets at two layers",
    "LOTS and hot/cold",
    "LOTS and FGV",
];

impl One {
    fn new(facts: Facts, image: &Image, data: &Dataset) -> Result<Option<Self>, DataError> {
        if facts.origin >= data.len() {
            let problem = format!("has no image {}, from which a sample was made", facts.origin);
            return Err(DataError::content(data.name(), problem));
        }
        let pairs = image.pixels().iter().zip(data.pixels(facts.origin));
        let difference: Vec<f32> = pairs.map(|(a, b)| f32::from(*a) - f32::from(*b)).collect();
        let length = difference.iter().map(|d| d * d).sum::<f32>().sqrt();
        if length == 0.0 {
            return Ok(None);
        }
        let direction = difference.into_iter().map(|d| d / length).collect();
        let layer = if facts.method == "lots" { facts.layer } else { String::new() };
        Ok(Some(Self { way: (facts.method, layer, facts.target_label), direction }))
    }

    /// Of which kind the pair with another one is, if of any.
    fn kind(&self, other: &Self) -> Option<&'static str> {
        let ((method, layer, class), (method2, layer2, class2)) = (&self.way, &other.way);
        let kind = match (method.as_str(), method2.as_str()) {
            ("fgs", "fgv") => 0,
            ("hot-cold", "hot-cold") => 1,
            ("lots", "lots") if layer == layer2 => 2,
            ("lots", "lots") if class == class2 => 3,
            ("lots", "lots") => 4,
            ("hot-cold", "lots") => 5,
            ("fgv", "lots") => 6,
            _ => return None,
        };
        Some(KINDS[kind])
    }
}

fn add_pairs(ones: &[One], sums: &mut BTreeMap<&'static str, Sum>) {
    for (i, one) in ones.iter().enumerate() {
        for other in &ones[i + 1..] {
            let Some(kind) = one.kind(other).or_else(|| other.kind(one)) else { continue };
            let both = one.direction.iter().zip(&other.direction);
            let sum = sums.entry(kind).or_default();
            sum.pairs += 1;
            sum.cosines += f64::from(both.map(|(a, b)| a * b).sum::<f32>());
        }
    }
}

/// PASS of samples and of what LOTS made towards them: `samples` are all of a set, in its order, and `made` those of a set whose
/// targets they are.
pub(super) fn improved(
    method: &str,
    layers: &[String],
    samples: &[Facts],
    made: &[Facts],
) -> Vec<Improved> {
    let of_method = samples.iter().filter(|facts| facts.method == method).count();
    let line = |layer: &String| {
        let pairs: Vec<(f64, f64)> = made
            .iter()
            .filter(|facts| facts.layer == *layer)
            .filter_map(|facts| {
                let sample = samples.get(facts.target?)?;
                (sample.method == method).then_some(())?;
                Some((sample.pass?, facts.pass?))
            })
            .collect();
        let (before, after): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
        let better = pairs.iter().filter(|(before, after)| after > before).count();
        Improved {
            method: method.to_owned(),
            layer: layer.clone(),
            samples: of_method,
            found: pairs.len(),
            before: Spread::of(&before),
            after: Spread::of(&after),
            share: (!pairs.is_empty()).then(|| better as f64 / pairs.len() as f64),
        }
    };
    layers.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(method: &str, layer: &str, class: usize, direction: [f32; 2]) -> One {
        let way = (method.to_owned(), layer.to_owned(), Some(class));
        One { way, direction: direction.to_vec() }
    }

    #[test]
    fn cosines_by_hand() {
        let ones = [
            one("fgs", "", 0, [1.0, 0.0]),
            one("fgv", "", 0, [0.6, 0.8]),
            one("hot-cold", "", 1, [0.0, 1.0]),
            one("hot-cold", "", 2, [1.0, 0.0]),
            one("lots", "conv1", 1, [0.0, -1.0]),
            one("lots", "conv1", 2, [0.8, 0.6]),
            one("lots", "ip2", 1, [1.0, 0.0]),
        ];
        let mut sums = BTreeMap::new();
        add_pairs(&ones, &mut sums);
        let wanted: [(f64, usize); 7] = [
            (0.6, 1),
            (0.0, 1),
            (-0.6, 1),
            (0.0, 1),
            (0.8, 1),
            (-1.0 + 0.6 + 0.0 + 0.0 + 0.8 + 1.0, 6),
            (-0.8 + 0.96 + 0.6, 3),
        ];
        for (kind, (cosines, pairs)) in KINDS.iter().zip(wanted) {
            let sum = &sums[kind];
            assert_eq!(sum.pairs, pairs, "{kind}");
            assert!((sum.cosines - cosines).abs() < 1e-6, "{kind}: {} {cosines}", sum.cosines);
        }
    }

    fn facts(method: &str, layer: &str, target: Option<usize>, pass: f64) -> Facts {
        Facts {
            label: 0,
            adversarial_label: 1,
            origin: 0,
            target,
            target_label: None,
            layer: layer.to_owned(),
            method: method.to_owned(),
            step: 1.0,
            percent: 100,
            l2: 1.0,
            linf: 1,
            pass: Some(pass),
            zero_loss: false,
        }
    }

    #[test]
    fn improvements_by_hand() {
        let samples = [
            facts("fgv", "ip2", None, 0.5),
            facts("hot-cold", "ip2", None, 0.9),
            facts("fgv", "ip2", None, 0.7),
        ];
        let made = [
            facts("lots", "conv1", Some(0), 0.6),
            facts("lots", "conv1", Some(1), 0.1),
            facts("lots", "conv1", Some(2), 0.6),
            facts("lots", "ip2", Some(2), 0.8),
        ];
        let layers = ["conv1".to_owned(), "ip2".to_owned(), "none".to_owned()];
        let found = improved("fgv", &layers, &samples, &made);
        let numbers: Vec<_> = found
            .iter()
            .map(|i| (i.samples, i.found, i.after.map(|after| after.mean), i.share))
            .collect();
        assert_eq!(
            numbers,
            [(2, 2, Some(0.6), Some(0.5)), (2, 1, Some(0.8), Some(1.0)), (2, 0, None, None)]
        );
        assert_eq!(found[0].before, Spread::of(&[0.5, 0.7]));
    }
}
