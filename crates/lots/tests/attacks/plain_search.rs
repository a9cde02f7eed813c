//! The search of the library against doubling and bisection in plain loops.

use std::collections::BTreeMap;
use std::fmt;

use lots::attack::{Attack, Fgs, Fgv, Goal, HotCold, Lots, Method, Outcome, Perturbed};
use lots::{Image, NamedImage, Split, open_dataset};
use lots_nn::{Cotangent, LayerId, Network};
use ndarray::Array4;

use super::networks::{argmax, class, digits, planes, represent, run, smallest, trained};

/// What a method sends back, by its formula.
#[derive(Clone, Copy, Debug)]
enum Formula {
    Lots(LayerId),
    Fgv,
    Fgs,
    HotCold(usize),
}

/// One attack, as the library and as the loops take it.
struct Case {
    formula: Formula,
    method: Box<dyn Method>,
    origin: usize,
    target: Option<usize>,
    goal: Goal,
    /// Whether a class is the goal.
    wanted: Box<dyn Fn(usize) -> bool + Sync>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, origin, target, goal, .. } = self;
        write!(f, "{method:?} on {origin} to {target:?} with goal {goal:?}")
    }
}

impl Case {
    /// Method, layer, and whether the goal is where it heads for.
    fn kind(&self, network: &dyn Network) -> String {
        let layer = match self.formula {
            Formula::Lots(layer) => {
                &*network.layers().iter().find(|info| info.id == layer).unwrap().name
            }
            _ => "",
        };
        let goal = if self.goal == Goal::Any { "any" } else { "headed for" };
        format!("{} {layer} {goal}", self.method.name())
    }
}

/// The image as the network takes it.
fn input(image: &NamedImage) -> Vec<f32> {
    planes(&image.image).iter().map(|&x| x as f32).collect()
}

/// η / max|η|, from an image alone.
fn direction(network: &dyn Network, case: &Case, images: &[NamedImage]) -> Option<Vec<f32>> {
    let (layer, output) = match case.formula {
        Formula::Lots(layer) => (layer, false),
        _ => (network.output(), true),
    };
    let at_origin = represent(network, &images[case.origin].image, layer);
    let class = if output { argmax(&at_origin) } else { 0 };
    let cotangent: Vec<f32> = match case.formula {
        Formula::Lots(_) => {
            let at_target = represent(network, &images[case.target.unwrap()].image, layer);
            at_target.iter().zip(&at_origin).map(|(t, o)| t - o).collect()
        }
        Formula::Fgv | Formula::Fgs => {
            let powers: Vec<f64> = at_origin.iter().map(|&z| f64::from(z).exp()).collect();
            let others: f64 = (0..powers.len()).filter(|&i| i != class).map(|i| powers[i]).sum();
            let slope = |i: usize| if i == class { -others } else { powers[i] };
            // As a multiple of the loss's slope, so that a sure class does not end in subnormal numbers.
            (0..powers.len()).map(|i| (slope(i) / others) as f32).collect()
        }
        Formula::HotCold(hot) => {
            let entry = |(i, &z): (usize, &f32)| match i {
                i if i == hot => z.abs(),
                i if i == class => -z,
                _ => 0.0,
            };
            at_origin.iter().enumerate().map(entry).collect()
        }
    };
    let pixels = Array4::from_shape_vec((1, 1, 28, 28), input(&images[case.origin])).unwrap();
    let trace = network.trace(pixels.view(), &[layer]).unwrap();
    let row = Cotangent { image: 0, layer, values: &cotangent };
    let mut eta: Vec<f32> = trace.back_project(&[row]).unwrap().into_iter().collect();
    if matches!(case.formula, Formula::Fgs) {
        eta.iter_mut().filter(|x| **x != 0.0).for_each(|x| *x = x.signum());
    }
    let largest = eta.iter().fold(0.0f32, |m, x| m.max(x.abs()));
    (largest > 0.0).then(|| eta.iter().map(|x| x / largest).collect())
}

/// What the loops walk along.
struct Ray<'r> {
    network: &'r dyn Network,
    origin: Vec<f32>,
    direction: Vec<f32>,
    wanted: &'r (dyn Fn(usize) -> bool + Sync),
}

impl<'r> Ray<'r> {
    fn new(network: &'r dyn Network, case: &'r Case, images: &[NamedImage]) -> Option<Self> {
        let direction = direction(network, case, images)?;
        Some(Self {
            network,
            origin: input(&images[case.origin]),
            direction,
            wanted: &*case.wanted,
        })
    }

    fn pixels(&self, step: f32) -> impl Iterator<Item = f32> {
        let moved = self.origin.iter().zip(&self.direction);
        moved.map(move |(x, d)| (x + step * d).clamp(0.0, 255.0).round_ties_even())
    }

    fn logits(&self, step: f32) -> Vec<f32> {
        let pixels = self.pixels(step).collect();
        let image = Array4::from_shape_vec((1, 1, 28, 28), pixels).unwrap();
        let logits = self.network.represent(image.view(), self.network.output()).unwrap();
        logits.into_iter().collect()
    }

    fn hits(&self, step: f32) -> bool {
        (self.wanted)(argmax(&self.logits(step)))
    }

    /// Whether it hits by more than other programs' rounding could undo: 2e-6 of the largest logit.
    fn hits_clearly(&self, step: f32) -> bool {
        let mut logits = self.logits(step);
        let hits = (self.wanted)(argmax(&logits));
        let size = logits.iter().fold(0.0f32, |most, z| most.max(z.abs()));
        logits.sort_by(|a, b| b.total_cmp(a));
        hits && logits[0] - logits[1] > 2e-6 * size
    }

    /// The step that doubling from 1 to 4096 and bisection to 1/64 find; one image at a time.
    fn search(&self) -> Option<f32> {
        let mut high = 1.0;
        while !self.hits(high) {
            if high >= 4096.0 {
                return None;
            }
            high *= 2.0;
        }
        let mut low = if high > 1.0 { high / 2.0 } else { 0.0 };
        while high - low > 1.0 / 64.0 {
            let middle = f32::midpoint(low, high);
            if self.hits(middle) {
                high = middle;
            } else {
                low = middle;
            }
        }
        Some(high)
    }
}

/// All attacks of Table 1 on `any` correctly classified digits, and on the first `headed` of them also with the goal that
/// each heads for.
fn cases(network: &dyn Network, any: usize, headed: usize) -> (Vec<NamedImage>, Vec<Case>) {
    let set = open_dataset("mnist:train:0..1000", Split::Train).unwrap();
    let mut images: Vec<NamedImage> = (0..10)
        .map(|class| {
            let i = (0..set.len()).find(|&i| set.label(i) == Some(class)).unwrap();
            NamedImage { image: set.image(i), name: format!("target {class}"), label: Some(class) }
        })
        .collect();
    let weighted = network.layers().iter().filter(|layer| layer.index.is_some());
    let layers: Vec<LayerId> = weighted.map(|layer| layer.id).collect();
    let is_correct = |image: &NamedImage| image.label == Some(class(network, &image.image));
    images.extend(digits(1000).into_iter().filter(is_correct).take(any));
    let mut cases = Vec::new();
    for (origin, image) in images.iter().enumerate().skip(10) {
        let y = image.label.unwrap();
        let mut push = |formula, method: Box<dyn Method>, target, goal: Goal| {
            let wanted: Box<dyn Fn(usize) -> bool + Sync> = match goal {
                Goal::Any => Box::new(move |class| class != y),
                Goal::Target => Box::new(move |class| Some(class) == target),
                Goal::Class(goal) => Box::new(move |class| class == goal),
            };
            cases.push(Case { formula, method, origin, target, goal, wanted });
        };
        push(Formula::Fgs, Box::new(Fgs), None, Goal::Any);
        push(Formula::Fgv, Box::new(Fgv), None, Goal::Any);
        for hot in (0..10).filter(|&hot| hot != y) {
            let goals = [Goal::Any, Goal::Class(hot)];
            for goal in goals.into_iter().take(if origin < 10 + headed { 2 } else { 1 }) {
                push(Formula::HotCold(hot), Box::new(HotCold { hot }), None, goal);
                for &layer in &layers {
                    // Targets are in the list by their class.
                    let goal = if goal == Goal::Any { goal } else { Goal::Target };
                    push(Formula::Lots(layer), Box::new(Lots(layer)), Some(hot), goal);
                }
            }
        }
    }
    (images, cases)
}

/// Calls `f` for all of `items` on all cores.
fn spread<'s, T: Sync, R: Send>(items: &'s [T], f: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().unwrap().get();
    let part = items.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let f = &f;
        let work = |part: &'s [T]| scope.spawn(move || part.iter().map(f).collect::<Vec<R>>());
        let threads: Vec<_> = items.chunks(part).map(work).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// Where a search of the library ended.
enum Ours {
    Found { step: f32, missed: f32, image: Image, scores: Vec<f32> },
    Nothing,
}

/// Success along a ray is not monotone, and the library does not try every step of the loops: rarely it finds a later one.
/// The loops take any hit, the library those that are clear of rounding.
#[test]
fn steps_are_those_of_doubling_and_bisection() {
    let network = trained();
    let (images, cases) = cases(network, 60, 12);
    let requests = cases.iter().map(|case| Attack {
        goal: case.goal,
        ..smallest(case.origin, case.target, &*case.method)
    });
    let ours = run(network, &images, &requests.collect::<Vec<_>>());
    let ours = ours.into_iter().map(|attacked| match attacked.outcome {
        Outcome::Adversarial(Perturbed { step, missed, image, scores, .. }) => {
            Ours::Found { step, missed: missed.unwrap(), image, scores }
        }
        Outcome::NotFound(None) => Ours::Nothing,
        other => panic!("{other:?}"),
    });
    let pairs: Vec<(Case, Ours)> = cases.into_iter().zip(ours).collect();
    let plain = spread(&pairs, |(case, ours)| {
        let ray = Ray::new(network, case, &images)?;
        if let Ours::Found { step, missed, image, scores } = ours {
            // The ends of the search are what they are said to be.
            let ends = [*step, *missed].map(|step| ray.hits_clearly(step));
            assert!(ends == [true, false], "{case:?}: {step}, {missed}");
            assert!(
                planes(image) == ray.pixels(*step).map(f64::from).collect::<Vec<_>>(),
                "{case:?}"
            );
            // What was judged is the image as it is saved, to the last bit of what the network says of it alone.
            assert_eq!(*scores, represent(network, image, network.output()), "{case:?}");
        }
        ray.search()
    });
    let mut counts = BTreeMap::<String, Counts>::new();
    let mut all = Counts::default();
    for ((case, ours), plain) in pairs.iter().zip(plain) {
        let by = counts.entry(case.kind(network)).or_default();
        by.add(ours, plain);
        all.add(ours, plain);
    }
    for (kind, counts) in &counts {
        println!("{kind}: {counts:?}");
    }
    println!("all: {all:?}");
    let found = all.same + all.below + all.above;
    assert!(found > 3000, "{all:?}");
    assert!(100 * all.above <= found, "more than 1 % above: {all:?}");
}

/// How many of our steps are where, seen from the loops' steps: beside them (1/64), below, or above; or where neither finds any.
#[derive(Debug, Default)]
struct Counts {
    same: usize,
    below: usize,
    above: usize,
    none: usize,
}

impl Counts {
    fn add(&mut self, ours: &Ours, plain: Option<f32>) {
        let place = match (ours, plain) {
            (Ours::Nothing, None) => &mut self.none,
            (Ours::Nothing, Some(_)) => &mut self.above,
            (Ours::Found { .. }, None) => &mut self.below,
            (Ours::Found { step, .. }, Some(plain)) if step - plain > 1.0 / 64.0 => &mut self.above,
            (Ours::Found { step, .. }, Some(plain)) if plain - step > 1.0 / 64.0 => &mut self.below,
            _ => &mut self.same,
        };
        *place += 1;
    }
}
