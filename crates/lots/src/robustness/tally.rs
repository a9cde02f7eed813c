//! From records to numbers.

use serde::{Deserialize, Serialize};

use super::quantiles::Quantiles;
use crate::measure::{Breadth, Focus, L2, Linf};
use crate::record::{Ending, Record};

/// How large a perturbation each layer of a network takes before the class changes.
///
/// Paper: section 3, last sentence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Robustness {
    /// Images attacked.
    pub images: usize,
    /// How many others the network misclassifies; they are not attacked.
    pub misclassified: usize,
    /// From input to output.
    pub layers: Vec<Layer>,
    /// From the layer that gives way first.
    pub ranking: Vec<Rank>,
}

/// A layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// Its name.
    pub name: String,
    /// Its index, from 1 at the input; `null` for layers without weights.
    pub index: Option<usize>,
    /// What the methods do at it.
    pub methods: Vec<Strength>,
}

/// A method at a layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Strength {
    /// The method, as users call it.
    pub method: String,
    /// Of all images.
    pub all: Sizes,
    /// Of the images of each class, ascending.
    pub classes: Vec<Class>,
    /// Which share of all attempts, 0–1, succeeds with at most which L2: pairs (L2, share), ascending, at most 201.
    pub success_by_l2: Vec<(f64, f64)>,
    /// The same for L∞.
    pub success_by_linf: Vec<(f64, f64)>,
}

/// The images of a class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Class {
    /// The class.
    pub class: usize,
    /// What it is called.
    pub name: String,
    /// Of its images.
    #[serde(flatten)]
    pub sizes: Sizes,
}

/// How many attempts succeed, and how large the perturbations of these are; `null` where none does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sizes {
    /// Attacks on correctly classified images.
    pub attempts: usize,
    /// Those that changed the class.
    pub found: usize,
    /// Euclidean norm of the perturbation, in grey levels.
    pub l2: Option<Quantiles>,
    /// Largest change of one value, in grey levels.
    pub linf: Option<Quantiles>,
    /// Perceptual similarity to the origin, −1 to 1.
    pub pass: Option<Quantiles>,
    /// How much the perturbation keeps to what the origin shows, 0–1.
    pub focus: Option<Quantiles>,
    /// The share of the pixels that hold half of the perturbation's energy.
    pub breadth: Option<Quantiles>,
}

impl Sizes {
    /// `found` / `attempts`, 0–1; 0 of none.
    pub fn success(&self) -> f64 {
        self.found as f64 / self.attempts.max(1) as f64
    }
}

/// How soon a layer gives way: by the smallest perturbation of each image, in L2, of all methods and targets at this layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rank {
    /// The layer's name.
    pub layer: String,
    /// Its index, from 1 at the input; `null` for layers without weights.
    pub index: Option<usize>,
    /// Images whose class changes at all.
    pub reached: usize,
    /// Images whose smallest perturbation of all layers is this layer's (of equal ones, the layer nearest to the input).
    pub first: usize,
    /// The smallest L2 within which at least 25, 50 and 75 % of all images change class; `null` where fewer ever do.
    pub l2: [Option<f64>; 3],
}

/// Gathers records, whatever their number, into a [`Robustness`].
#[derive(Clone, Debug, Default)]
pub struct Tally {
    images: usize,
    misclassified: usize,
    /// The name of the last record's origin; the records of an origin follow each other.
    origin: Option<String>,
    /// Whether it was attacked, not misclassified.
    is_attacked: bool,
    layers: Vec<LayerTally>,
}

#[derive(Clone, Debug)]
struct LayerTally {
    name: String,
    index: Option<usize>,
    methods: Vec<MethodTally>,
    /// The smallest L2 of the origin in work, and those of the others; infinite where none is found.
    current: f64,
    smallest: Vec<f64>,
}

#[derive(Clone, Debug)]
struct MethodTally {
    method: String,
    /// By class.
    classes: Vec<ClassTally>,
}

#[derive(Clone, Debug)]
struct ClassTally {
    class: usize,
    name: String,
    attempts: usize,
    found: Vec<Found>,
}

/// The measures of an image that was found.
#[derive(Clone, Copy, Debug)]
struct Found {
    l2: f64,
    linf: f64,
    pass: f64,
    /// Not a number in records that do not say.
    focus: f64,
    breadth: f64,
}

impl Tally {
    /// Adds a record. Those of one origin must follow each other; methods at no particular layer do not belong here.
    pub fn add(&mut self, record: &Record) {
        let is_misclassified = record.outcome == Ending::OriginMisclassified;
        if self.origin.as_deref() != Some(record.origin.as_str()) {
            self.end_origin();
            self.origin = Some(record.origin.clone());
            self.is_attacked = !is_misclassified;
            if is_misclassified {
                self.misclassified += 1;
            } else {
                self.images += 1;
            }
        }
        let ended = self.images - usize::from(self.is_attacked);
        let layer = place(
            &mut self.layers,
            |layer| layer.name == record.layer,
            || LayerTally {
                name: record.layer.clone(),
                index: record.layer_index,
                methods: Vec::new(),
                current: f64::INFINITY,
                smallest: vec![f64::INFINITY; ended],
            },
        );
        let method = place(
            &mut layer.methods,
            |m| m.method == record.method,
            || MethodTally { method: record.method.clone(), classes: Vec::new() },
        );
        if is_misclassified {
            return;
        }
        let class = place(
            &mut method.classes,
            |c| c.class == record.origin_label,
            || ClassTally {
                class: record.origin_label,
                name: record.origin_name.clone(),
                attempts: 0,
                found: Vec::new(),
            },
        );
        class.attempts += 1;
        if let (Ending::Adversarial, Some(L2(l2)), Some(Linf(linf)), Some(pass)) =
            (record.outcome, record.l2, record.linf, record.pass)
        {
            class.found.push(Found {
                l2,
                linf: linf.into(),
                pass,
                focus: record.focus.map_or(f64::NAN, |Focus(focus)| focus),
                breadth: record.breadth.map_or(f64::NAN, |Breadth(breadth)| breadth),
            });
            layer.current = layer.current.min(l2);
        }
    }

    /// Puts away the smallest perturbations of the origin in work, unless it was misclassified.
    fn end_origin(&mut self) {
        for layer in &mut self.layers {
            let smallest = std::mem::replace(&mut layer.current, f64::INFINITY);
            if self.is_attacked {
                layer.smallest.push(smallest);
            }
        }
    }

    /// What the records come to.
    pub fn finish(mut self) -> Robustness {
        self.end_origin();
        let ranking = ranking(&self.layers, self.images);
        let (images, misclassified) = (self.images, self.misclassified);
        let layers = self.layers.into_iter().map(|layer| Layer {
            name: layer.name,
            index: layer.index,
            methods: layer.methods.into_iter().map(strength).collect(),
        });
        Robustness { images, misclassified, layers: layers.collect(), ranking }
    }
}

/// The item that `is_it`, which comes in by `new` where it is not there yet.
fn place<T>(items: &mut Vec<T>, is_it: impl Fn(&T) -> bool, new: impl FnOnce() -> T) -> &mut T {
    let at = items.iter().position(is_it).unwrap_or(items.len());
    if at == items.len() {
        items.push(new());
    }
    &mut items[at]
}

fn strength(tally: MethodTally) -> Strength {
    let MethodTally { method, mut classes } = tally;
    classes.sort_by_key(|class| class.class);
    let attempts = classes.iter().map(|class| class.attempts).sum();
    let all: Vec<Found> = classes.iter().flat_map(|class| &class.found).copied().collect();
    let curve = |size: fn(&Found) -> f64| curve(all.iter().map(size).collect(), attempts);
    Strength {
        method,
        success_by_l2: curve(|found| found.l2),
        success_by_linf: curve(|found| found.linf),
        all: sizes(attempts, &all),
        classes: classes
            .into_iter()
            .map(|class| Class {
                class: class.class,
                name: class.name,
                sizes: sizes(class.attempts, &class.found),
            })
            .collect(),
    }
}

fn sizes(attempts: usize, found: &[Found]) -> Sizes {
    let quantiles = |value: fn(&Found) -> f64| {
        Quantiles::of(found.iter().map(value).filter(|value| !value.is_nan()).collect())
    };
    Sizes {
        attempts,
        found: found.len(),
        l2: quantiles(|found| found.l2),
        linf: quantiles(|found| found.linf),
        pass: quantiles(|found| found.pass),
        focus: quantiles(|found| found.focus),
        breadth: quantiles(|found| found.breadth),
    }
}

/// Points of a curve.
const POINTS: usize = 201;

/// Sizes with the share of `attempts` that succeeds within them. Equal sizes are one point; of more than [`POINTS`] sizes,
/// as many are kept at places that are evenly spread, the first and the last among them.
fn curve(mut sizes: Vec<f64>, attempts: usize) -> Vec<(f64, f64)> {
    sizes.sort_unstable_by(f64::total_cmp);
    let share = |(i, &size): (usize, &f64)| (size, (i + 1) as f64 / attempts as f64);
    let is_last = |(i, size): &(usize, &f64)| sizes.get(i + 1) != Some(size);
    let points: Vec<(f64, f64)> = sizes.iter().enumerate().filter(is_last).map(share).collect();
    if points.len() <= POINTS {
        return points;
    }
    (0..POINTS).map(|i| points[i * (points.len() - 1) / (POINTS - 1)]).collect()
}

fn ranking(layers: &[LayerTally], images: usize) -> Vec<Rank> {
    let mut first = vec![0; layers.len()];
    for image in 0..images {
        let sizes = layers.iter().map(|layer| layer.smallest[image]).enumerate();
        let smallest = sizes.min_by(|a, b| a.1.total_cmp(&b.1)).filter(|(_, l2)| l2.is_finite());
        if let Some((layer, _)) = smallest {
            first[layer] += 1;
        }
    }
    let rank = |(layer, first): (&LayerTally, usize)| {
        let mut sorted = layer.smallest.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let within = |quarters: usize| {
            let needed = (images * quarters).div_ceil(4);
            let l2 = sorted.get(needed.checked_sub(1)?).copied();
            l2.filter(|l2| l2.is_finite())
        };
        Rank {
            layer: layer.name.clone(),
            index: layer.index,
            reached: sorted.iter().filter(|l2| l2.is_finite()).count(),
            first,
            l2: [within(1), within(2), within(3)],
        }
    };
    let mut ranks: Vec<Rank> = layers.iter().zip(first).map(rank).collect();
    // Median, then lower quartile; where fewer change class, that counts.
    let key = |rank: &Rank| {
        let [quarter, half, _] = rank.l2.map(|l2| l2.unwrap_or(f64::INFINITY));
        (half, quarter, rank.reached)
    };
    ranks.sort_by(|a, b| {
        let (a, b) = (key(a), key(b));
        a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)).then(b.2.cmp(&a.2))
    });
    ranks
}
