//! Runs attacks, whatever their methods: many at a time, each image judged as the 8-bit image it will be.

use std::collections::{BTreeSet, VecDeque};

use lots_nn::{Cotangent, LayerId, LayerInfo, Network, Trace};
use ndarray::{Array2, Array4, ArrayView1, ArrayView3, Axis};

use super::aim::{Aim, Arrival};
use super::decision::{Decision, Wanted};
use super::descent::Descent;
use super::follow::{cotangents, follow};
use super::lanes::{descend, lanes};
use super::method::cotangent;
use super::minimise::{Cost, Minimise, Objective};
use super::pursuit::{Judged, Pursuit, check_count, pursue, whole_rows};
use super::ray::{Ray, scale};
use super::search::{Found, Search};
use super::walk::{Place, Row, Walker};
use super::{Attack, Attacked, Extent, Goal, Outcome, Passes, Perturbed, Target};
use crate::batch::{batch_of, check_fits, images_batch};
use crate::data::NamedImage;
use crate::error::Error;
use crate::image::Image;
use crate::parallel;
use crate::represent::Representation;

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
/// use lots::attack::{Argmax, Attack, Extent, Goal, Lots, Outcome, Target, attack};
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
///         target: Some(Target::Image(1)),
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
/// The results before an attack that makes no sense are yielded; after an error, there are no more. Attacks fail when images
/// do not fit the network, a position is not that of an image, the method wants a target and has none, a representation does
/// not fit the method's layer, the goal is the origin's own class, units or classes do not exist, an L∞ norm of 0 is asked
/// for, the network's output for an origin or target is not finite, or what the network says changes from call to call.
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
    /// An error is the last of them.
    ready: VecDeque<Result<Attacked, Error>>,
}

impl Iterator for Attacks<'_> {
    type Item = Result<Attacked, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.is_empty() && !self.attacks.is_empty() {
            self.ready = parallel::inside(|| self.run_some()).unwrap_or_else(|e| [Err(e)].into());
        }
        let next = self.ready.pop_front();
        if matches!(next, Some(Err(_))) {
            self.attacks = &[];
            self.ready.clear();
        }
        next
    }
}

/// How far an attack has come.
enum Progress<'f> {
    /// To its end.
    Ended(Attacked),
    /// It has a direction to go.
    Underway(Box<Underway<'f>>),
}

/// What an attack is about to do: what it sends back from its origin, and for what.
struct Plan<'f> {
    rows: Vec<Row>,
    purpose: Purpose<'f>,
}

/// What directions are for.
enum Purpose<'f> {
    /// To search along it for what is wanted.
    Ray(Wanted),
    /// To take a first step.
    Walk(Box<Walker<'f>>),
    /// To know that there is any.
    Descent(Box<Descent<'f>>),
}

/// An attack that has a direction.
struct Underway<'f> {
    origin_class: usize,
    origin_scores: Vec<f32>,
    way: Way<'f>,
}

/// Where an attack goes.
enum Way<'f> {
    Ray(Pursuit),
    Walk(Walker<'f>),
    Descent(Descent<'f>),
}

/// The images of some attacks, forward to every layer that matters.
struct Forward<'a> {
    /// Positions of the images in the list, ascending.
    positions: Vec<usize>,
    pixels: Array4<f32>,
    trace: Box<dyn Trace + 'a>,
    /// Ascending by layer.
    seen: Vec<(LayerId, Array2<f32>)>,
    /// One for each of `positions`, if the network gives it one.
    classes: Vec<Option<usize>>,
}

impl Forward<'_> {
    /// What `layer` sees in an attack's target.
    fn target<'f>(&'f self, attack: &Attack<'f>, layer: LayerId) -> Option<&'f [f32]> {
        Some(match attack.target? {
            Target::Image(position) => self.seen(layer, position),
            Target::Representation(stolen) => stolen.values.as_slice(),
        })
    }

    fn row(&self, position: usize) -> usize {
        self.positions.partition_point(|&p| p < position)
    }

    /// The pixels of an attack's origin.
    fn origin(&self, attack: &Attack<'_>) -> Vec<f32> {
        flat(self.pixels.index_axis(Axis(0), self.row(attack.origin)))
    }

    fn class(&self, position: usize) -> Option<usize> {
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
        let (mut end, mut descents) = (0, 0);
        for (i, attack) in self.attacks.iter().enumerate() {
            let added = self.layers(attack).filter(|&layer| layers.insert(layer)).map(size);
            match added.sum::<Result<usize, Error>>() {
                Ok(added) => numbers += added,
                // Those before it are run all the same.
                Err(_) if i > 0 => {
                    end = if end == 0 { i } else { end };
                    break;
                }
                Err(e) => return Err(e),
            }
            images.insert(attack.origin);
            images.extend(target_image(attack));
            if i > 0 && ((i + 1) * pixels > RAY_VALUES || numbers * images.len() > SEEN_VALUES) {
                end = if end == 0 { i } else { end };
                break;
            }
            // They take long, and nobody waits longer than he must.
            descents += usize::from(attack.method.minimise().is_some());
            if descents == lanes(pixels) {
                end = i + 1;
                break;
            }
            // Rather between two origins than within one.
            let next = self.attacks.get(i + 1);
            if next.is_none_or(|next| next.origin != attack.origin) {
                end = i + 1;
            }
        }
        let (some, rest) = self.attacks.split_at(end);
        self.attacks = rest;
        Ok(some)
    }

    /// Results of some attacks; where one of them makes no sense, of those before it, and the error.
    fn run_some(&mut self) -> Result<VecDeque<Result<Attacked, Error>>, Error> {
        let attacks = self.take_some()?;
        let unfit = attacks.iter().enumerate().find_map(|(i, a)| Some((i, self.check(a).err()?)));
        let (count, mut refused) = unfit.map_or((attacks.len(), None), |(i, e)| (i, Some(e)));
        let attacks = &attacks[..count];
        let mut ended = VecDeque::new();
        if !attacks.is_empty() {
            let forward = self.forward(attacks)?;
            let (mut progress, error) = self.start(&forward, attacks)?;
            refused = error.or(refused);
            let (mut rays, mut walks, mut descents) = (Vec::new(), Vec::new(), Vec::new());
            for one in &mut progress {
                let Progress::Underway(underway) = one else { continue };
                match &mut underway.way {
                    // A fixed step needs no search.
                    Way::Ray(pursuit) if pursuit.found.is_none() => rays.push(pursuit),
                    Way::Ray(_) => {}
                    Way::Walk(walker) => walks.push(walker),
                    Way::Descent(descent) => descents.push(descent),
                }
            }
            pursue(self.network, self.decision, rays)?;
            follow(self.network, self.decision, walks)?;
            descend(self.network, self.decision, descents)?;
            let ends = attacks.iter().zip(progress).collect();
            ended = parallel::map(ends, |(attack, progress)| match progress {
                Progress::Ended(attacked) => Ok(attacked),
                Progress::Underway(underway) => {
                    let Underway { origin_class, origin_scores, way } = *underway;
                    let passes = match &way {
                        Way::Ray(pursuit) => pursuit.passes,
                        Way::Walk(walker) => walker.passes,
                        Way::Descent(descent) => descent.passes,
                    };
                    let outcome = match way {
                        Way::Ray(pursuit) => self.end(pursuit, attack)?,
                        Way::Walk(walker) => self.end_walk(walker)?,
                        Way::Descent(descent) => self.end_descent(&descent)?,
                    };
                    Ok(Attacked { passes, origin_class, origin_scores, outcome })
                }
            })
            .into();
        }
        ended.extend(refused.map(Err));
        Ok(ended)
    }

    /// What can be said against an attack before anything is computed.
    fn check(&self, attack: &Attack<'_>) -> Result<(), Error> {
        if attack.extent == Extent::Linf(0) {
            let problem = "an L∞ norm of 0 leaves the origin as it is; give 1–255 grey levels";
            return Err(Error::Attack(problem.to_owned()));
        }
        if let Extent::Beyond(percent @ ..=100) = attack.extent {
            let problem = format!(
                "{percent} % of the smallest step do not lead beyond it; give more than 100"
            );
            return Err(Error::Attack(problem));
        }
        if let Some(walk) = attack.method.walk() {
            walk.check(attack)?;
        }
        if let Some(minimise) = attack.method.minimise() {
            minimise.check(attack)?;
        }
        if let Some(Target::Representation(stolen)) = attack.target {
            self.check_representation(attack, stolen)?;
        }
        for position in [Some(attack.origin), target_image(attack)].into_iter().flatten() {
            let image = self.images.get(position).ok_or_else(|| {
                let count = self.images.len();
                Error::Attack(format!("no image {position} to attack; there are {count}"))
            })?;
            check_fits(self.network.input(), image)?;
        }
        Ok(())
    }

    /// One forward pass for each image.
    fn forward(&self, attacks: &[Attack<'_>]) -> Result<Forward<'a>, Error> {
        let positions: BTreeSet<usize> = attacks
            .iter()
            .flat_map(|attack| [Some(attack.origin), target_image(attack)])
            .flatten()
            .collect();
        let positions: Vec<usize> = positions.into_iter().collect();
        let images: Vec<&NamedImage> = positions.iter().map(|&i| &self.images[i]).collect();
        let pixels = batch_of(self.network.input(), &images)?;
        let layers: BTreeSet<LayerId> = attacks
            .iter()
            .flat_map(|attack| self.layers(attack))
            .chain([self.decision.layer()])
            .collect();
        let layers: Vec<LayerId> = layers.into_iter().collect();
        let trace = self.network.trace(pixels.view(), &layers)?;
        let rows = |layer| whole_rows(trace.representation(layer)?, positions.len());
        let seen = layers.iter().map(|&layer| Ok((layer, rows(layer)?)));
        let seen = seen.collect::<Result<Vec<_>, Error>>()?;
        let decided = rows(self.decision.layer())?;
        let decide = |row: ArrayView1<'_, f32>| self.decision.decide(row.as_slice()?);
        let classes = decided.outer_iter().map(decide).collect();
        Ok(Forward { positions, pixels, trace, seen, classes })
    }

    /// Sends the cotangents of all attacks back, or of those before the first that makes no sense.
    fn start<'f>(
        &self,
        forward: &'f Forward<'_>,
        attacks: &'f [Attack<'_>],
    ) -> Result<(Vec<Progress<'f>>, Option<Error>), Error> {
        let mut planned = Vec::new();
        let mut refused = None;
        for plan in parallel::map(attacks.iter().collect(), |attack| self.plan(forward, attack)) {
            match plan {
                Ok(plan) => planned.push(plan),
                Err(e) => {
                    refused = Some(e);
                    break;
                }
            }
        }
        let rows: Vec<Cotangent<'_>> = planned
            .iter()
            .zip(attacks)
            .filter_map(|((_, plan), attack)| Some((plan.as_ref()?, attack)))
            .flat_map(|(plan, attack)| cotangents(forward.row(attack.origin), &plan.rows))
            .collect();
        let directions = forward.trace.back_project(&rows)?;
        check_count(directions.len_of(Axis(0)), rows.len(), "directions for", "cotangents")?;
        let mut directions = directions.outer_iter();
        let starts = planned.into_iter().zip(attacks).map(|((class, plan), attack)| {
            let start = plan.map(|Plan { rows, purpose }| {
                let own: Vec<_> = directions.by_ref().take(rows.len()).collect();
                (purpose, own)
            });
            (class, start, attack)
        });
        let progress = parallel::map(starts.collect(), |(class, start, attack)| {
            let seen = forward.seen(self.decision.layer(), attack.origin);
            let origin_scores = self.decision.scores(seen).into_owned();
            let ended = |origin_scores, backward, outcome| {
                let passes = Passes { forward: 1, backward };
                Progress::Ended(Attacked { passes, origin_class: class, origin_scores, outcome })
            };
            let Some((purpose, directions)) = start else {
                return ended(origin_scores, 0, Outcome::OriginMisclassified);
            };
            let sent = directions.len() as u32;
            let mut directions: Vec<Vec<f32>> = directions.into_iter().map(flat).collect();
            let way = match purpose {
                Purpose::Ray(wanted) => {
                    let direction = directions.pop().unwrap_or_default();
                    let Some(ray) = Ray::new(forward.origin(attack), direction, attack.method)
                    else {
                        return ended(origin_scores, sent, Outcome::NoDirection);
                    };
                    let search = Search::new(self.decision.distance(seen, wanted));
                    let found = (!attack.extent.searches()).then_some(Found::Nothing);
                    // The image at a fixed norm is judged at the end.
                    let passes = Passes { forward: 1 + u32::from(found.is_some()), backward: 1 };
                    Way::Ray(Pursuit { ray, class, wanted, search, passes, judged: None, found })
                }
                Purpose::Walk(mut walker) => {
                    if !walker.go(directions) && walker.best.is_none() {
                        return ended(origin_scores, sent, Outcome::NoDirection);
                    }
                    Way::Walk(*walker)
                }
                Purpose::Descent(mut descent) => {
                    let mut direction = directions.pop().unwrap_or_default();
                    if !scale(&mut direction, attack.method) {
                        return ended(origin_scores, sent, Outcome::NoDirection);
                    }
                    descent.passes = Passes { forward: 1, backward: sent };
                    Way::Descent(*descent)
                }
            };
            Progress::Underway(Box::new(Underway { origin_class: class, origin_scores, way }))
        });
        Ok((progress, refused))
    }

    /// The origin's class, and what to do unless that is not its label.
    fn plan<'f>(
        &self,
        forward: &'f Forward<'_>,
        attack: &'f Attack<'_>,
    ) -> Result<(usize, Option<Plan<'f>>), Error> {
        let no_class = |position: usize| {
            let name = &self.images[position].name;
            let problem =
                format!("the network gives no class for {name}: its output is not finite");
            Error::Attack(problem)
        };
        let class = forward.class(attack.origin).ok_or_else(|| no_class(attack.origin))?;
        let target = target_image(attack).map(|i| forward.class(i).ok_or_else(|| no_class(i)));
        let target = target.transpose()?;
        if self.images[attack.origin].label.is_some_and(|label| label != class) {
            return Ok((class, None));
        }
        let wanted = self.wanted(attack, class, target)?;
        // Whatever is wrong with the attack shows here.
        let cotangent = self.cotangent(forward, attack, class)?;
        if attack.method.walk().is_some() {
            let mut walker = self.walker(forward, attack, class, wanted)?;
            let rows = walker.look(self.decision, |layer| forward.seen(layer, attack.origin));
            return Ok((class, Some(Plan { rows, purpose: Purpose::Walk(Box::new(walker)) })));
        }
        if let Some(minimise) = attack.method.minimise() {
            let descent = self.descent(forward, attack, wanted, minimise)?;
            let layer = descent.cost.layer(self.decision);
            let slope = descent.cost.slope(self.decision, forward.seen(layer, attack.origin));
            let rows = vec![Row { layer, cotangent: slope }];
            return Ok((class, Some(Plan { rows, purpose: Purpose::Descent(Box::new(descent)) })));
        }
        let rows = vec![Row { layer: self.layer(attack), cotangent }];
        Ok((class, Some(Plan { rows, purpose: Purpose::Ray(wanted) })))
    }

    /// A walk that stands at its origin.
    fn walker<'f>(
        &self,
        forward: &'f Forward<'_>,
        attack: &'f Attack<'_>,
        class: usize,
        wanted: Wanted,
    ) -> Result<Walker<'f>, Error> {
        let missing = || Error::Attack("this method walks, found no way to".to_owned());
        let walk = attack.method.walk().ok_or_else(missing)?;
        let target = |layer| forward.target(attack, layer);
        let layer = self.layer(attack);
        let aim = match (walk.arrival, target(layer)) {
            (Arrival::Goal | Arrival::End, _) => Aim::Class(wanted),
            (Arrival::Near { distance, within }, Some(target)) => {
                Aim::Near { layer, target, distance, within }
            }
            (Arrival::Near { .. }, None) => return Err(missing()),
        };
        let layers = [(layer, 1.0)].into_iter().chain(walk.also.iter().copied());
        let places =
            layers.map(|(layer, weight)| Place { layer, weight, target: target(layer) }).collect();
        let units = attack.units.map(|units| Ok::<_, Error>((units, self.units(layer)?)));
        let origin = forward.origin(attack);
        Ok(Walker::new(attack.method, walk, units.transpose()?, class, aim, places, origin))
    }

    /// A minimisation that stands at its origin.
    fn descent<'f>(
        &self,
        forward: &'f Forward<'_>,
        attack: &'f Attack<'_>,
        wanted: Wanted,
        minimise: &'f Minimise,
    ) -> Result<Descent<'f>, Error> {
        let layer = self.layer(attack);
        let cost = match (minimise.objective, forward.target(attack, layer)) {
            (Objective::LossAndSize { .. }, _) => Cost::Loss(wanted),
            (Objective::Distance { .. }, Some(target)) => {
                Cost::distance(layer, forward.seen(layer, attack.origin), target)
            }
            (Objective::Distance { .. }, None) => {
                let problem = "this method goes near a target, found none; give one";
                return Err(Error::Attack(problem.to_owned()));
            }
        };
        let (origin, passes) = (forward.origin(attack), Passes::default());
        Ok(Descent { minimise, wanted, cost, origin, passes, found: None })
    }

    /// What to reach from the class `origin`; the network says `target` of the target.
    fn wanted(
        &self,
        attack: &Attack<'_>,
        origin: usize,
        target: Option<usize>,
    ) -> Result<Wanted, Error> {
        let class = match attack.goal {
            Goal::Any => return Ok(Wanted::Not(origin)),
            Goal::Class(class) => class,
            Goal::Target => {
                let label = target_image(attack).and_then(|target| self.images[target].label);
                label.or(target).ok_or_else(|| {
                    Error::Attack(
                        "the goal is the target's class, found no target image; give one, or another goal"
                            .to_owned(),
                    )
                })?
            }
        };
        let Some(called) = self.decision.names().get(class) else {
            let last = self.decision.names().len().saturating_sub(1);
            let problem = format!("no class {class} as goal; classes are 0–{last}");
            return Err(Error::Attack(problem));
        };
        if class == origin {
            let name = &self.images[attack.origin].name;
            return Err(Error::Attack(format!(
                "the goal, class {called}, is what {name} is already; give another goal or another target"
            )));
        }
        Ok(Wanted::Class(class))
    }

    fn cotangent(
        &self,
        forward: &Forward<'_>,
        attack: &Attack<'_>,
        class: usize,
    ) -> Result<Vec<f32>, Error> {
        let layer = self.layer(attack);
        let origin = forward.seen(layer, attack.origin);
        let target = forward.target(attack, layer);
        let mut cotangent = cotangent(attack.method, self.decision, origin, target, class)?;
        if let Some(units) = attack.units {
            units.keep_of(&mut cotangent, self.info(layer)?)?;
        }
        Ok(cotangent)
    }

    /// Where the cotangent of an attack lies.
    fn layer(&self, attack: &Attack<'_>) -> LayerId {
        attack.method.layer().unwrap_or(self.decision.layer())
    }

    /// The same, and the further layers of a walk.
    fn layers<'m>(&self, attack: &Attack<'m>) -> impl Iterator<Item = LayerId> + use<'m> {
        let also = attack.method.walk().into_iter().flat_map(|walk| &walk.also);
        [self.layer(attack)].into_iter().chain(also.map(|&(layer, _)| layer))
    }

    /// How many units a layer has.
    fn units(&self, layer: LayerId) -> Result<usize, Error> {
        Ok(self.info(layer)?.shape.first().copied().unwrap_or(1))
    }

    fn check_representation(
        &self,
        attack: &Attack<'_>,
        stolen: &Representation,
    ) -> Result<(), Error> {
        let Representation { name, values } = stolen;
        let info = self.info(self.layer(attack))?;
        let wanted: usize = info.shape.iter().product();
        let (layer, found) = (&info.name, values.len());
        if found == wanted {
            return Ok(());
        }
        Err(Error::Attack(format!(
            "{name} has {found} numbers, layer {layer} has {wanted}; give what this layer sees, or the \
             layer that it comes from"
        )))
    }

    fn info(&self, layer: LayerId) -> Result<&LayerInfo, Error> {
        let found = self.network.layers().iter().find(|info| info.id == layer);
        found.ok_or_else(|| {
            Error::Attack("the method's layer is not one of this network's".to_owned())
        })
    }

    /// The outcome, with the image that was found as 8-bit pixels.
    fn end(&self, pursuit: Pursuit, attack: &Attack<'_>) -> Result<Outcome, Error> {
        let Pursuit { ray, wanted, judged, found, .. } = pursuit;
        let (step, missed) = match (attack.extent, found) {
            (Extent::Linf(linf), _) => (f32::from(linf), None),
            (Extent::Smallest, Some(Found::Step { hit, miss })) => (hit, Some(miss)),
            (Extent::Beyond(percent), Some(Found::Step { hit, .. })) => {
                (hit * f32::from(percent) / 100.0, None)
            }
            (Extent::Smallest | Extent::Beyond(_), _) => return Ok(Outcome::NotFound(None)),
        };
        let image = ray.image(step, self.network.input());
        let judged = match judged {
            Some(judged)
                if self.network.is_exact_in_batches() && attack.extent == Extent::Smallest =>
            {
                Some(judged)
            }
            _ => self.judge_alone(&image)?,
        };
        let is_met = wanted.is_met(judged.as_ref().map(|judged| judged.class));
        if attack.extent == Extent::Smallest && !is_met {
            return Err(other_alone());
        }
        let Some(Judged { class, scores }) = judged else { return Ok(Outcome::NotFound(None)) };
        let perturbed = Perturbed { image, class, scores, step, missed };
        Ok(if is_met {
            Outcome::Adversarial(perturbed)
        } else {
            Outcome::NotFound(Some(perturbed))
        })
    }

    /// The outcome of a walk that is at its end.
    fn end_walk(&self, walker: Walker<'_>) -> Result<Outcome, Error> {
        let Walker { best, aim, .. } = walker;
        let Some(best) = best else { return Ok(Outcome::NotFound(None)) };
        let (image, step) = (best.image(self.network.input()), best.steps as f32);
        let Judged { class, scores } = if self.network.is_exact_in_batches() {
            best.judged
        } else {
            let seen = self.represent_alone(&image, aim.layer(self.decision))?;
            let judged = self.judge_alone(&image)?;
            let is_met = aim.is_met(self.decision, &seen);
            judged.filter(|_| is_met).ok_or_else(other_alone)?
        };
        Ok(Outcome::Adversarial(Perturbed { image, class, scores, step, missed: None }))
    }

    /// The outcome of a minimisation that is at its end.
    fn end_descent(&self, descent: &Descent<'_>) -> Result<Outcome, Error> {
        let Some(found) = &descent.found else { return Ok(Outcome::NotFound(None)) };
        let image = found.image(self.network.input());
        let judged = match self.network.is_exact_in_batches() {
            true => Some(found.judged.clone()),
            false => self.judge_alone(&image)?,
        };
        if found.is_met && !descent.wanted.is_met(judged.as_ref().map(|judged| judged.class)) {
            return Err(other_alone());
        }
        let Some(Judged { class, scores }) = judged else { return Ok(Outcome::NotFound(None)) };
        let step = found.looks as f32;
        let perturbed = Perturbed { image, class, scores, step, missed: None };
        Ok(if found.is_met {
            Outcome::Adversarial(perturbed)
        } else {
            Outcome::NotFound(Some(perturbed))
        })
    }

    fn judge_alone(&self, image: &Image) -> Result<Option<Judged>, Error> {
        Ok(Judged::of(self.decision, &self.represent_alone(image, self.decision.layer())?))
    }

    fn represent_alone(&self, image: &Image, layer: LayerId) -> Result<Vec<f32>, Error> {
        let alone = images_batch(self.network.input(), std::slice::from_ref(image))?;
        let row = whole_rows(self.network.represent(alone.view(), layer)?, 1)?;
        Ok(row.into_iter().collect())
    }
}

fn other_alone() -> Error {
    let problem = "the network gives another class to an image alone than in a batch; its results cannot be trusted";
    Error::Attack(problem.to_owned())
}

/// A direction, number by number.
pub(super) fn flat(direction: ArrayView3<'_, f32>) -> Vec<f32> {
    direction.iter().copied().collect()
}

/// The position of the target, if it is an image.
fn target_image(attack: &Attack<'_>) -> Option<usize> {
    attack.target.and_then(|target| target.image())
}
