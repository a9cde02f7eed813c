//! Runs attacks, whatever their methods: many at a time, each image judged as the 8-bit image it will be.

use std::collections::{BTreeSet, VecDeque};

use lots_nn::{Cotangent, InputSpec, LayerId, LayerInfo, Network, Trace};
use ndarray::{Array2, Array4, ArrayView4, Axis};

use super::decision::{Decision, Wanted};
use super::method::Seen;
use super::ray::Ray;
use super::search::{Answer, Found, Search};
use super::{Attack, Attacked, Extent, Goal, Outcome, Perturbed};
use crate::batch::{batch_of, images_batch};
use crate::data::NamedImage;
use crate::error::Error;
use crate::parallel;

/// Pixel values of all images that are perturbed at a time.
const RAY_VALUES: usize = 1 << 21;
/// Numbers of all representations that are kept at a time.
const SEEN_VALUES: usize = 1 << 26;

/// Runs `attacks` on `images`, and yields a result for each, in order, as soon as its neighbours are done too.
///
/// Neighbours are computed together: attacks on one origin share its forward pass if they follow each other. Memory
/// does not grow with the number of attacks. No result depends on its neighbours.
///
/// ```
/// use lots::attack::{Argmax, Attack, Extent, Goal, Lots, Outcome, attack};
/// use lots::{measure, open_image};
/// use lots_nn::lenet;
///
/// let network = lenet(0); // untrained; take a trained one: Graph::open("lenet.onnx")?
/// let images = [open_image("mnist:test:4")?, open_image("mnist:test:9")?];
/// let images = images.map(|image| lots::NamedImage { label: None, ..image });
/// let decision = Argmax::of(&network)?;
/// let methods: Vec<Lots> = network.find_layers("all")?.into_iter().map(Lots).collect();
/// let attacks: Vec<Attack> = methods
///     .iter()
///     .map(|method| Attack {
///         origin: 0,
///         target: Some(1),
///         method,
///         goal: Goal::Any,
///         extent: Extent::Smallest,
///         units: None,
///     })
///     .collect();
/// for result in attack(&network, &decision, &images, &attacks) {
///     if let Outcome::Adversarial(found) = result?.outcome {
///         let measures = measure(&images[0].image, &found.image)?;
///         println!("class {} at step {}, PASS {}", found.class, found.step, measures.pass.score);
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The results before the error are yielded; after it, there are no more. Attacks fail when images do not fit the
/// network, a position is not that of an image, the method wants a target and has none, the goal is the origin's own
/// class, units or classes do not exist, or the network's output is not finite or changes from call to call.
pub fn attack<'a>(
    network: &'a dyn Network,
    decision: &'a dyn Decision,
    images: &'a [NamedImage],
    attacks: &'a [Attack<'a>],
) -> Attacks<'a> {
    Attacks { network, decision, images, attacks, ready: VecDeque::new() }
}

/// The results of [`attack()`].
pub struct Attacks<'a> {
    network: &'a dyn Network,
    decision: &'a dyn Decision,
    images: &'a [NamedImage],
    /// Those not yet run.
    attacks: &'a [Attack<'a>],
    ready: VecDeque<Attacked>,
}

impl Iterator for Attacks<'_> {
    type Item = Result<Attacked, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.is_empty() && !self.attacks.is_empty() {
            match self.run_some() {
                Ok(results) => self.ready = results,
                Err(e) => {
                    self.attacks = &[];
                    return Some(Err(e));
                }
            }
        }
        self.ready.pop_front().map(Ok)
    }
}

/// How far an attack has come.
enum Progress {
    /// To its end.
    Ended(Outcome),
    /// It has a direction to go.
    Underway(Box<Underway>),
}

struct Underway {
    ray: Ray,
    /// The origin's class.
    class: usize,
    wanted: Wanted,
    search: Search,
    found: Option<Found>,
}

/// The images of some attacks, forward to every layer that matters.
struct Forward<'a> {
    /// Positions of the images in the list, ascending.
    positions: Vec<usize>,
    pixels: Array4<f32>,
    trace: Box<dyn Trace + 'a>,
    /// Ascending by layer.
    seen: Vec<(LayerId, Array2<f32>)>,
    /// One for each of `positions`.
    classes: Vec<usize>,
}

impl Forward<'_> {
    fn row(&self, position: usize) -> usize {
        self.positions.partition_point(|&p| p < position)
    }

    fn class(&self, position: usize) -> usize {
        self.classes[self.row(position)]
    }

    fn seen(&self, layer: LayerId, position: usize) -> &[f32] {
        let rows = &self.seen[self.seen.partition_point(|(id, _)| *id < layer)].1;
        let length = rows.ncols();
        let row = self.row(position);
        &rows.as_slice().unwrap_or_default()[row * length..][..length]
    }
}

impl<'a> Attacks<'a> {
    /// Takes off the attacks that are run together.
    fn take_some(&mut self) -> Result<&'a [Attack<'a>], Error> {
        let input = self.network.input();
        let pixels = input.channels * input.height * input.width;
        let size = |layer| self.info(layer).map(|info| info.shape.iter().product::<usize>());
        let (mut layers, mut images) = (BTreeSet::from([self.decision.layer()]), BTreeSet::new());
        let mut numbers = size(self.decision.layer())?;
        let mut end = 0;
        for (i, attack) in self.attacks.iter().enumerate() {
            let layer = attack.method.layer(self.decision);
            if layers.insert(layer) {
                numbers += size(layer)?;
            }
            images.insert(attack.origin);
            images.extend(attack.target);
            if i > 0 && ((i + 1) * pixels > RAY_VALUES || numbers * images.len() > SEEN_VALUES) {
                end = if end == 0 { i } else { end };
                break;
            }
            // Rather between two origins than within one.
            let next = self.attacks.get(i + 1);
            if end == 0 || next.is_none_or(|next| next.origin != attack.origin) {
                end = i + 1;
            }
        }
        let (some, rest) = self.attacks.split_at(end);
        self.attacks = rest;
        Ok(some)
    }

    fn run_some(&mut self) -> Result<VecDeque<Attacked>, Error> {
        let attacks = self.take_some()?;
        let forward = self.forward(attacks)?;
        let mut progress = self.start(&forward, attacks)?;
        self.search(&mut progress)?;
        let ends = attacks.iter().zip(progress).collect();
        let ended = parallel::map(ends, |(attack, progress)| {
            let outcome = match progress {
                Progress::Ended(outcome) => outcome,
                Progress::Underway(underway) => self.end(*underway, attack)?,
            };
            Ok(Attacked { origin_class: forward.class(attack.origin), outcome })
        });
        ended.into_iter().collect()
    }

    /// One forward pass for each image.
    fn forward(&self, attacks: &[Attack<'_>]) -> Result<Forward<'a>, Error> {
        let positions: BTreeSet<usize> = attacks
            .iter()
            .flat_map(|attack| [Some(attack.origin), attack.target])
            .flatten()
            .collect();
        let positions: Vec<usize> = positions.into_iter().collect();
        let images = positions.iter().map(|&position| {
            self.images.get(position).ok_or_else(|| {
                let count = self.images.len();
                Error::Attack(format!("no image {position} to attack; there are {count}"))
            })
        });
        let images = images.collect::<Result<Vec<_>, _>>()?;
        let pixels = batch_of(self.network.input(), &images)?;
        let layers: BTreeSet<LayerId> = attacks
            .iter()
            .map(|attack| attack.method.layer(self.decision))
            .chain([self.decision.layer()])
            .collect();
        let layers: Vec<LayerId> = layers.into_iter().collect();
        let trace = self.network.trace(pixels.view(), &layers)?;
        let seen = layers.iter().map(|&layer| Ok((layer, trace.representation(layer)?)));
        let seen = seen.collect::<Result<Vec<_>, Error>>()?;
        let decided = trace.representation(self.decision.layer())?;
        let classes = decided.outer_iter().zip(&images).map(|(row, image)| {
            let class = row.as_slice().and_then(|row| self.decision.decide(row));
            class.ok_or_else(|| {
                Error::Attack(format!(
                    "the network gives no class for {}: its output is not finite",
                    image.name
                ))
            })
        });
        let classes = classes.collect::<Result<_, _>>()?;
        Ok(Forward { positions, pixels, trace, seen, classes })
    }

    /// Sends the cotangents of all attacks back.
    fn start(&self, forward: &Forward<'_>, attacks: &[Attack<'_>]) -> Result<Vec<Progress>, Error> {
        let mut cotangents: Vec<Option<(LayerId, Wanted, Vec<f32>)>> = Vec::new();
        for attack in attacks {
            let class = forward.class(attack.origin);
            let label = self.images[attack.origin].label;
            cotangents.push(if label.is_some_and(|label| label != class) {
                None
            } else {
                let layer = attack.method.layer(self.decision);
                let wanted = self.wanted(forward, attack)?;
                Some((layer, wanted, self.cotangent(forward, attack, layer)?))
            });
        }
        let rows: Vec<Cotangent<'_>> = cotangents
            .iter()
            .zip(attacks)
            .filter_map(|(cotangent, attack)| {
                let (layer, _, values) = cotangent.as_ref()?;
                Some(Cotangent { image: forward.row(attack.origin), layer: *layer, values })
            })
            .collect();
        let directions = forward.trace.back_project(&rows)?;
        let mut directions = directions.outer_iter();
        let mut progress = Vec::new();
        for (cotangent, attack) in cotangents.iter().zip(attacks) {
            let Some((_, wanted, _)) = cotangent else {
                progress.push(Progress::Ended(Outcome::OriginMisclassified));
                continue;
            };
            let direction =
                directions.next().map(|d| d.iter().copied().collect()).unwrap_or_default();
            let origin = forward.pixels.index_axis(Axis(0), forward.row(attack.origin));
            let origin = origin.iter().copied().collect();
            progress.push(match Ray::new(origin, direction, attack.method) {
                None => Progress::Ended(Outcome::NoDirection),
                Some(ray) => {
                    let seen = forward.seen(self.decision.layer(), attack.origin);
                    let search = Search::new(self.decision.distance(seen, *wanted));
                    // A fixed step needs no search.
                    let found = (attack.extent != Extent::Smallest).then_some(Found::Nothing);
                    let (class, wanted) = (forward.class(attack.origin), *wanted);
                    Progress::Underway(Box::new(Underway { ray, class, wanted, search, found }))
                }
            });
        }
        Ok(progress)
    }

    fn wanted(&self, forward: &Forward<'_>, attack: &Attack<'_>) -> Result<Wanted, Error> {
        let origin = forward.class(attack.origin);
        let class = match attack.goal {
            Goal::Any => return Ok(Wanted::Not(origin)),
            Goal::Class(class) => {
                let classes = forward.seen(self.decision.layer(), attack.origin).len();
                if class >= classes {
                    let last = classes - 1;
                    return Err(Error::Attack(format!(
                        "no class {class} as goal; classes are 0–{last}"
                    )));
                }
                class
            }
            Goal::Target => {
                let Some(target) = attack.target else {
                    return Err(Error::Attack(
                        "the goal is the target's class, found no target; give one, or another goal"
                            .to_owned(),
                    ));
                };
                self.images[target].label.unwrap_or_else(|| forward.class(target))
            }
        };
        if class == origin {
            let name = &self.images[attack.origin].name;
            return Err(Error::Attack(format!(
                "the goal, class {class}, is what {name} is already; give another goal or another target"
            )));
        }
        Ok(Wanted::Class(class))
    }

    fn cotangent(
        &self,
        forward: &Forward<'_>,
        attack: &Attack<'_>,
        layer: LayerId,
    ) -> Result<Vec<f32>, Error> {
        let mut cotangent = attack.method.cotangent(&Seen {
            origin: forward.seen(layer, attack.origin),
            target: attack.target.map(|target| forward.seen(layer, target)),
            class: forward.class(attack.origin),
        })?;
        if let Some(units) = attack.units {
            let info = self.info(layer)?;
            let count = info.shape.first().copied().unwrap_or(1);
            if units.last() >= count {
                let (name, last) = (&info.name, count - 1);
                return Err(Error::Attack(format!(
                    "no unit {} in layer {name}; its units are 0–{last}",
                    units.last()
                )));
            }
            units.keep(&mut cotangent, count);
        }
        Ok(cotangent)
    }

    fn info(&self, layer: LayerId) -> Result<&LayerInfo, Error> {
        let found = self.network.layers().iter().find(|info| info.id == layer);
        found.ok_or_else(|| {
            Error::Attack("the method's layer is not one of this network's".to_owned())
        })
    }

    /// Searches along all rays at once; in each round, those that are not at their end are judged again.
    fn search(&self, progress: &mut [Progress]) -> Result<(), Error> {
        let InputSpec { channels, height, width, .. } = *self.network.input();
        let size = channels * height * width;
        let mut open: Vec<&mut Underway> = progress
            .iter_mut()
            .filter_map(|one| match one {
                Progress::Underway(underway) if underway.found.is_none() => Some(&mut **underway),
                _ => None,
            })
            .collect();
        let mut pixels = Vec::new();
        loop {
            let asked = parallel::map(open, |underway| {
                let asked = underway.search.next(&underway.ray);
                (underway, asked)
            });
            let (mut rays, mut steps) = (Vec::new(), Vec::new());
            for (underway, asked) in asked {
                match asked {
                    Ok(step) => {
                        rays.push(underway);
                        steps.push(step);
                    }
                    Err(found) => underway.found = Some(found),
                }
            }
            open = rays;
            if open.is_empty() {
                return Ok(());
            }
            pixels.resize(open.len() * size, 0.0);
            let images = pixels.chunks_mut(size).zip(&open).zip(&steps).collect();
            parallel::map(images, |((image, underway), &step)| underway.ray.render(step, image));
            let shape = [open.len(), channels, height, width];
            let batch = ArrayView4::from_shape(shape, &pixels);
            let batch = batch.map_err(|e| Error::Attack(e.to_string()))?;
            let rows = self.network.represent(batch, self.decision.layer())?;
            for (underway, row) in open.iter_mut().zip(rows.outer_iter()) {
                let row = row.as_slice().unwrap_or_default();
                let answer = match self.decision.decide(row) {
                    class if underway.wanted.is_met(class) => Answer::Hit,
                    class if class == Some(underway.class) => Answer::Origin,
                    _ => Answer::Other,
                };
                underway.search.tell(answer, self.decision.distance(row, underway.wanted));
            }
        }
    }

    /// Judges what was found again: from its 8-bit pixels, alone.
    fn end(&self, underway: Underway, attack: &Attack<'_>) -> Result<Outcome, Error> {
        let Underway { ray, wanted, found, .. } = underway;
        let input = self.network.input();
        let (step, missed) = match (attack.extent, found) {
            (Extent::Linf(linf), _) => (f32::from(linf), None),
            (Extent::Smallest, Some(Found::Step { hit, miss })) => (hit, Some(miss)),
            (Extent::Smallest, _) => return Ok(Outcome::NotFound(None)),
        };
        let image = ray.image(step, input);
        let alone = images_batch(input, std::slice::from_ref(&image))?;
        let row = self.network.represent(alone.view(), self.decision.layer())?;
        let class = self.decision.decide(row.as_slice().unwrap_or_default());
        let is_met = wanted.is_met(class);
        if attack.extent == Extent::Smallest && !is_met {
            return Err(Error::Attack(
                "the network gives another class to an image alone than in a batch; its results cannot be trusted"
                    .to_owned(),
            ));
        }
        let Some(class) = class else { return Ok(Outcome::NotFound(None)) };
        let perturbed = Perturbed { image, class, step, missed };
        Ok(if is_met {
            Outcome::Adversarial(perturbed)
        } else {
            Outcome::NotFound(Some(perturbed))
        })
    }
}
