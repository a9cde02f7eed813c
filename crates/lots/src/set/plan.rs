//! Which attacks a set consists of.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use lots_nn::{LayerInfo, Network};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::folder::{read_set_facts, read_set_images};
use super::sample::{Counts, Facts, Sample};
use crate::attack::{
    Attack, Attacked, Decision, Extent, Goal, Method, Outcome, Target, attack, has_zero_loss,
};
use crate::batch::batch_of;
use crate::data::{Dataset, NamedImage};
use crate::error::{DataError, Error, shown};
use crate::measure::{l2, linf, pass};
use crate::parallel;

/// Attacks, at most, on the origins of one shard.
const ATTACKS: usize = 1 << 14;
/// Pixel values, at most, of the images that they may find.
const VALUES: usize = 1 << 25;
/// Results that are measured together.
const RESULTS: usize = 1024;

/// An image that leads the way.
#[derive(Clone, Debug)]
pub struct Leader {
    /// The image; its label is the class that it leads to.
    pub image: NamedImage,
    /// Its position in its data set, or its row in its set.
    pub index: usize,
}

impl Leader {
    /// The first image of each of `classes` classes: the targets of Table 1.
    ///
    /// # Errors
    /// When the data have no labels, or a class has no image.
    pub fn first_of_each_class(data: &Dataset, classes: usize) -> Result<Vec<Self>, Error> {
        let first = data.first_of_each_class(classes)?.into_iter();
        Ok(first.map(|i| Self { image: data.named(i), index: data.position(i) }).collect())
    }
}

/// Which of the leaders lead an origin.
#[derive(Clone, Debug)]
pub enum Choice {
    /// The first `count` of each class but the origin's.
    First {
        /// The leaders of each class.
        classes: BTreeMap<usize, Vec<usize>>,
        /// As many, where there are as many.
        count: usize,
    },
    /// `count` of each class but the origin's, drawn anew for each origin.
    Random {
        /// The leaders of each class.
        classes: BTreeMap<usize, Vec<usize>>,
        /// As many, where there are as many.
        count: usize,
    },
    /// Those listed for the origin's position: perturbed images of that origin.
    Own(BTreeMap<usize, Vec<usize>>),
}

impl Choice {
    /// The leaders of each class, as the first two want them. Those without a label lead nowhere.
    pub fn classes(leaders: &[Leader]) -> BTreeMap<usize, Vec<usize>> {
        let mut classes: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (i, leader) in leaders.iter().enumerate() {
            if let Some(label) = leader.image.label {
                classes.entry(label).or_default().push(i);
            }
        }
        classes
    }
}

/// Where origins come from, image by image, so that memory need not hold them all.
pub trait Origins: Sync {
    /// How many there are.
    fn count(&self) -> usize;

    /// The label of origin `i`, which every origin must have.
    fn label(&self, i: usize) -> Option<usize>;

    /// The position of origin `i` in its data set.
    fn position(&self, i: usize) -> usize;

    /// Origin `i` with its label, as the network takes it.
    ///
    /// # Errors
    /// When it does not fit.
    fn image(&self, i: usize) -> Result<NamedImage, Error>;
}

/// Images of a data set as origins.
#[derive(Clone, Debug)]
pub struct Picked<'a> {
    /// The data set.
    pub data: &'a Dataset,
    /// Which of its images.
    pub picks: Vec<usize>,
}

impl Origins for Picked<'_> {
    fn count(&self) -> usize {
        self.picks.len()
    }

    fn label(&self, i: usize) -> Option<usize> {
        self.data.label(self.picks[i])
    }

    fn position(&self, i: usize) -> usize {
        self.data.position(self.picks[i])
    }

    fn image(&self, i: usize) -> Result<NamedImage, Error> {
        Ok(self.data.named(self.picks[i]))
    }
}

/// All attacks of a set: on each origin by each method, and by each method with a target towards each of its leaders.
pub struct Plan<'a> {
    /// The network.
    pub network: &'a dyn Network,
    /// What makes its classes.
    pub decision: &'a dyn Decision,
    /// What is attacked.
    pub origins: &'a dyn Origins,
    /// Methods without a target.
    pub free: &'a [Box<dyn Method>],
    /// Methods with one.
    pub led: &'a [Box<dyn Method>],
    /// All that may lead the latter.
    pub leaders: &'a [Leader],
    /// Which of them do.
    pub choice: &'a Choice,
    /// How far perturbations go, in percent of the smallest step found: 100, or more.
    pub percents: &'a [u16],
    /// Decides which leaders are drawn.
    pub seed: u64,
    /// Whether PASS is measured, which takes longer than the attack.
    pub measures_pass: bool,
}

/// One attack: which method, which leader, how far.
struct Step<'p> {
    method: &'p dyn Method,
    leader: Option<usize>,
    percent: u16,
}

impl Plan<'_> {
    /// Origins of each shard but the last, which may have fewer.
    pub fn origins_per_shard(&self) -> usize {
        let classes = self.decision.names().len().max(2) - 1;
        let leaders = match self.choice {
            Choice::First { count, .. } | Choice::Random { count, .. } => classes * count,
            Choice::Own(own) => own.values().map(Vec::len).max().unwrap_or(1),
        };
        let (hot, free): (Vec<_>, Vec<_>) = self.free.iter().partition(|m| m.hot().is_some());
        let ways = free.len() + hot.len().min(classes) + self.led.len() * leaders;
        let input = self.network.input();
        let values = input.channels * input.height * input.width;
        let attacks = ATTACKS.min(VALUES / values.max(1));
        (attacks / (ways * self.percents.len()).max(1)).max(1)
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.origins.count().div_ceil(self.origins_per_shard())
    }

    /// The origins of a shard.
    pub fn origins_of(&self, shard: usize) -> Range<usize> {
        let each = self.origins_per_shard();
        (shard * each).min(self.origins.count())..((shard + 1) * each).min(self.origins.count())
    }

    /// Attacks on all origins, as many as there are if none is misclassified.
    pub fn attempts(&self) -> usize {
        let hot = |origin: usize| {
            let label = self.origins.label(origin);
            self.free.iter().filter(|m| m.hot().is_some() && m.hot() == label).count()
        };
        let ways =
            |origin| self.free.len() - hot(origin) + self.led.len() * self.leader_count(origin);
        self.percents.len() * (0..self.origins.count()).map(ways).sum::<usize>()
    }

    /// Makes a shard: what was found, origin by origin, and what is to be counted.
    ///
    /// # Errors
    /// When an origin has no label, an image does not fit the network, the network's output is not finite, or a method makes no
    /// sense for it.
    pub fn make(&self, shard: usize) -> Result<(Vec<Sample>, Counts), Error> {
        let range = self.origins_of(shard);
        let mut counts = Counts { origins: range.len(), ..Counts::default() };
        let mut listed: Vec<(usize, Step<'_>)> = Vec::new();
        let mut silent = Vec::new();
        let input = self.network.input();
        let origins = range.clone().map(|origin| self.origins.image(origin));
        let origins: Vec<NamedImage> = origins.collect::<Result<_, _>>()?;
        let pixels = batch_of(input, &origins.iter().collect::<Vec<_>>())?;
        let rows = self.network.represent(pixels.view(), self.decision.layer())?;
        for (origin, seen) in range.clone().zip(rows.outer_iter()) {
            let image = &origins[origin - range.start];
            let label = label(image)?;
            let seen = seen.to_vec();
            let class = self.decision.decide(&seen).ok_or_else(|| {
                let problem = format!(
                    "the network gives no class for {}: its output is not finite",
                    image.name
                );
                Error::Attack(problem)
            })?;
            // Distances have no such loss.
            let is_silent = self.decision.measured().is_none() && has_zero_loss(&seen, label);
            silent.push(is_silent);
            if class == label {
                counts.zero_loss += usize::from(is_silent);
                listed.extend(self.steps(origin).into_iter().map(|step| (origin, step)));
            } else {
                counts.misclassified += 1;
            }
        }
        counts.attempts = listed.len();
        // Leaders that this shard needs, each once, and then the origins.
        let mut needed: Vec<usize> = listed.iter().filter_map(|(_, step)| step.leader).collect();
        needed.sort_unstable();
        needed.dedup();
        let leaders = needed.iter().map(|&leader| self.leaders[leader].image.clone());
        let images: Vec<NamedImage> = leaders.chain(origins).collect();
        let place = |leader: usize| needed.partition_point(|&one| one < leader);
        let attacks: Vec<Attack<'_>> = listed
            .iter()
            .map(|(origin, step)| Attack {
                origin: needed.len() + origin - range.start,
                target: step.leader.map(|leader| Target::Image(place(leader))),
                method: step.method,
                goal: Goal::Any,
                extent: if step.percent > 100 {
                    Extent::Beyond(step.percent)
                } else {
                    Extent::Smallest
                },
                units: None,
            })
            .collect();
        let mut results = attack(self.network, self.decision, &images, &attacks);
        let mut samples = Vec::new();
        for listed in listed.chunks(RESULTS) {
            let results = results.by_ref().take(listed.len()).collect::<Result<Vec<_>, _>>()?;
            let pairs = listed.iter().zip(results).collect();
            let made = parallel::map(pairs, |((origin, step), result)| {
                let from = &images[needed.len() + origin - range.start];
                self.sample((*origin, from), step, silent[origin - range.start], result)
            });
            for sample in made {
                samples.extend(sample?);
            }
        }
        counts.found = samples.len();
        Ok((samples, counts))
    }

    fn sample(
        &self,
        (origin, from): (usize, &NamedImage),
        step: &Step<'_>,
        zero_loss: bool,
        attacked: Attacked,
    ) -> Result<Option<Sample>, Error> {
        let Outcome::Adversarial(found) = attacked.outcome else { return Ok(None) };
        let leader = step.leader.map(|leader| &self.leaders[leader]);
        let pass =
            if self.measures_pass { Some(pass(&from.image, &found.image)?.score) } else { None };
        let facts = Facts {
            label: label(from)?,
            adversarial_label: found.class,
            origin: self.origins.position(origin),
            target: leader.map(|leader| leader.index),
            target_label: leader.map_or(step.method.hot(), |leader| leader.image.label),
            layer: self.layer(step.method)?.name.clone(),
            method: step.method.name().to_owned(),
            step: found.step.into(),
            percent: step.percent.into(),
            l2: l2(&from.image, &found.image)?.0,
            linf: linf(&from.image, &found.image)?.0.into(),
            pass,
            zero_loss,
        };
        Ok(Some(Sample { image: found.image, facts }))
    }

    /// What is done to an origin, in order.
    fn steps(&self, origin: usize) -> Vec<Step<'_>> {
        let label = self.origins.label(origin);
        let other = |class: Option<usize>| class.is_none() || class != label;
        let leaders = self.leaders_of(origin);
        let free = self.free.iter().filter(|m| other(m.hot())).map(|m| (m, None));
        let led =
            self.led.iter().flat_map(|m| leaders.iter().map(move |&leader| (m, Some(leader))));
        let ways = free.chain(led);
        ways.flat_map(|(method, leader)| {
            let step = move |&percent: &u16| Step { method: &**method, leader, percent };
            self.percents.iter().map(step)
        })
        .collect()
    }

    fn leader_count(&self, origin: usize) -> usize {
        match self.choice {
            Choice::Own(own) => own.get(&self.origins.position(origin)).map_or(0, Vec::len),
            Choice::First { classes, count } | Choice::Random { classes, count } => {
                let label = self.origins.label(origin);
                let other = classes.iter().filter(|(class, _)| Some(**class) != label);
                other.map(|(_, leaders)| leaders.len().min(*count)).sum()
            }
        }
    }

    /// The leaders of an origin, class by class.
    fn leaders_of(&self, origin: usize) -> Vec<usize> {
        let position = self.origins.position(origin);
        let label = self.origins.label(origin);
        let others = |classes: &BTreeMap<usize, Vec<usize>>| -> Vec<Vec<usize>> {
            let other = classes.iter().filter(|(class, _)| Some(**class) != label);
            other.map(|(_, leaders)| leaders.clone()).collect()
        };
        match self.choice {
            Choice::Own(own) => own.get(&position).cloned().unwrap_or_default(),
            Choice::First { classes, count } => {
                let others = others(classes).into_iter();
                others.flat_map(|of_class| of_class.into_iter().take(*count)).collect()
            }
            Choice::Random { classes, count } => {
                let mut random = ChaCha8Rng::seed_from_u64(self.seed);
                random.set_stream(position as u64);
                let others = others(classes).into_iter();
                others.flat_map(|of_class| drawn(of_class, *count, &mut random)).collect()
            }
        }
    }

    fn layer(&self, method: &dyn Method) -> Result<&LayerInfo, Error> {
        let id = method.layer().unwrap_or(self.decision.layer());
        let found = self.network.layers().iter().find(|info| info.id == id);
        found.ok_or_else(|| {
            Error::Attack("the method's layer is not one of this network's".to_owned())
        })
    }
}

/// `count` of `all`, each at most once.
fn drawn(mut all: Vec<usize>, count: usize, random: &mut ChaCha8Rng) -> Vec<usize> {
    let count = count.min(all.len());
    for i in 0..count {
        let other = random.random_range(i..all.len());
        all.swap(i, other);
    }
    all.truncate(count);
    all
}

/// The label that an origin must have.
fn label(image: &NamedImage) -> Result<usize, Error> {
    image.label.ok_or_else(|| {
        let problem = format!("{} has no label, wanted the class of each image", image.name);
        Error::Attack(problem)
    })
}

/// The images of the set in `folder` as leaders, and which of them lead which of `origins`: those that were made from it.
///
/// # Errors
/// When the folder holds no set, it cannot be read, or the set was made from other images: a label differs.
pub fn leaders_of_set(
    folder: &Path,
    origins: &dyn Origins,
) -> Result<(Vec<Leader>, Choice), DataError> {
    let labels: BTreeMap<usize, Option<usize>> =
        (0..origins.count()).map(|i| (origins.position(i), origins.label(i))).collect();
    let (mut leaders, mut own) = (Vec::new(), BTreeMap::<usize, Vec<usize>>::new());
    for (facts, images) in read_set_facts(folder)?.zip(read_set_images(folder)?) {
        for (facts, image) in facts?.into_iter().zip(images?) {
            let label = labels.get(&facts.origin).copied().flatten();
            if let Some(label) = label.filter(|label| *label != facts.label) {
                let problem = format!(
                    "has label {} for image {}, which has label {label} in the data: it was made from other images; give the \
                     data that it was made from",
                    facts.label, facts.origin
                );
                return Err(DataError::content(shown(folder), problem));
            }
            let index = leaders.len();
            let name = format!("{}:{index}", shown(folder));
            own.entry(facts.origin).or_default().push(index);
            let image = NamedImage { image, name, label: Some(facts.adversarial_label) };
            leaders.push(Leader { image, index });
        }
    }
    if leaders.is_empty() {
        let problem = "holds no set of perturbed images; make one with lots generate";
        return Err(DataError::content(shown(folder), problem));
    }
    Ok((leaders, Choice::Own(own)))
}
