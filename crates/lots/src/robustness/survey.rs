//! Attacks at every layer.

use std::fmt;

use lots_nn::{LayerId, LayerInfo, Network};

use crate::attack::{Attack, Decision, Lots, Magnify, Method, Reduce, Target, attack};
use crate::data::NamedImage;
use crate::error::Error;
use crate::image::Image;
use crate::parallel;
use crate::record::Record;

/// How a layer's representation is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Less of it.
    Reduce,
    /// More of it.
    Magnify,
    /// Towards that of an image of every other class.
    Lots,
}

impl Way {
    /// What users call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reduce => "reduce",
            Self::Magnify => "magnify",
            Self::Lots => "lots",
        }
    }

    fn at(self, layer: LayerId) -> Box<dyn Method> {
        match self {
            Self::Reduce => Box::new(Reduce(layer)),
            Self::Magnify => Box::new(Magnify(layer)),
            Self::Lots => Box::new(Lots(layer)),
        }
    }
}

/// What is done to each origin: every way at every layer, to the smallest perturbation that changes the class.
pub struct Survey<'a> {
    network: &'a dyn Network,
    model: &'a str,
    decision: &'a dyn Decision,
    targets: Vec<NamedImage>,
    /// Layer by layer.
    methods: Vec<(&'a LayerInfo, Way, Box<dyn Method>)>,
}

/// What tells an attack of a survey from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    /// The origin's name.
    pub origin: &'a str,
    /// The method, as users call it.
    pub method: &'a str,
    /// The layer's name.
    pub layer: &'a str,
    /// The target's name.
    pub target: Option<&'a str>,
}

impl<'a> Key<'a> {
    /// That of the attack that `record` is of.
    pub fn of(record: &'a Record) -> Self {
        let Record { origin, method, layer, target, .. } = record;
        Self { origin, method, layer, target: target.as_deref() }
    }
}

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} at {}", self.method, self.origin, self.layer)?;
        self.target.map_or(Ok(()), |target| write!(f, " towards {target}"))
    }
}

/// Origins whose attacks are listed together.
const ORIGINS: usize = 64;
/// Results that are measured together.
const RESULTS: usize = 256;

impl<'a> Survey<'a> {
    /// Of `network`, called `model`, whose classes `decision` makes: each of `ways` at each of `layers`, towards each of
    /// `targets` that has another label than the origin.
    ///
    /// # Errors
    /// When a layer is not the network's, or a target has no label.
    pub fn new(
        network: &'a dyn Network,
        model: &'a str,
        decision: &'a dyn Decision,
        targets: Vec<NamedImage>,
        layers: &[LayerId],
        ways: &[Way],
    ) -> Result<Self, Error> {
        targets.iter().try_for_each(|target| label(target).map(|_| ()))?;
        let mut methods = Vec::new();
        for &id in layers {
            let info = network.layers().iter().find(|info| info.id == id).ok_or_else(|| {
                Error::Attack("a layer of the survey is not one of this network's".to_owned())
            })?;
            methods.extend(ways.iter().map(|&way| (info, way, way.at(id))));
        }
        Ok(Self { network, model, decision, targets, methods })
    }

    /// What is done to `origins`, in the order in which [`run`](Self::run) does it. Origins without a label have nothing.
    pub fn keys<'k>(&'k self, origins: &'k [NamedImage]) -> impl Iterator<Item = Key<'k>> {
        origins.iter().flat_map(move |origin| {
            self.of(origin.label).map(move |(layer, method, target)| Key {
                origin: &origin.name,
                method: method.name(),
                layer: &layer.name,
                target: target.map(|target| self.targets[target].name.as_str()),
            })
        })
    }

    /// Layer, method and target of each attack on an origin with this label.
    fn of(
        &self,
        label: Option<usize>,
    ) -> impl Iterator<Item = (&'a LayerInfo, &dyn Method, Option<usize>)> {
        let methods = self.methods.iter().filter(move |_| label.is_some());
        methods.flat_map(move |(layer, way, method)| {
            let targets: Vec<Option<usize>> = match way {
                Way::Reduce | Way::Magnify => vec![None],
                Way::Lots => {
                    let all = self.targets.iter().enumerate();
                    all.filter(|(_, target)| target.label != label).map(|(i, _)| Some(i)).collect()
                }
            };
            targets.into_iter().map(move |target| (*layer, &**method, target))
        })
    }

    /// Attacks `origins`, leaving out the first `done` attacks; `each` is given the record of each attack, its origin and the
    /// image that was found, in order, and says whether to go on. Memory grows with the number of origins only.
    ///
    /// # Errors
    /// When an origin has no label, an image does not fit the network, or the network's output is not finite; and those of
    /// `each`.
    pub fn run<E: From<Error>>(
        &self,
        origins: &[NamedImage],
        mut done: usize,
        mut each: impl FnMut(Record, &Image, Option<&Image>) -> Result<bool, E>,
    ) -> Result<(), E> {
        for origins in origins.chunks(ORIGINS) {
            let first = self.targets.len();
            let mut listed = Vec::new();
            for (origin, image) in (first..).zip(origins) {
                let label = Some(label(image)?);
                listed.extend(self.of(label).map(|(layer, method, target)| {
                    (layer, Attack::smallest(origin, target.map(Target::Image), method))
                }));
            }
            let skipped = done.min(listed.len());
            done -= skipped;
            let (layers, attacks): (Vec<_>, Vec<_>) = listed.drain(skipped..).unzip();
            let images: Vec<NamedImage> = self.targets.iter().chain(origins).cloned().collect();
            let mut results = attack(self.network, self.decision, &images, &attacks);
            for (layers, attacks) in layers.chunks(RESULTS).zip(attacks.chunks(RESULTS)) {
                let results =
                    results.by_ref().take(attacks.len()).collect::<Result<Vec<_>, _>>()?;
                let three = layers.iter().zip(attacks).zip(&results).collect();
                let records = parallel::map(three, |((layer, attack), result)| {
                    Record::new(self.model, layer, self.decision, &images, attack, result)
                });
                for ((record, attack), result) in records.into_iter().zip(attacks).zip(&results) {
                    let record = record.map_err(Error::from)?;
                    let found = result.outcome.image().map(|found| &found.image);
                    if !each(record, &images[attack.origin].image, found)? {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }
}

/// The label that an image must have.
fn label(image: &NamedImage) -> Result<usize, Error> {
    image.label.ok_or_else(|| {
        let problem = format!("{} has no label, wanted the class of each image", image.name);
        Error::Attack(problem)
    })
}
