//! Every method towards every goal on toy networks, by logits and by galleries: what is claimed is looked at again, from the
//! 8-bit image alone, by a judge that shares nothing with the decision.

use lots::attack::{
    Argmax, Attack, Attacked, Decision, Distance, Extent, Fgs, Fgv, Gallery, Goal, HotCold, Lots,
    Magnify, Method, Outcome, Reduce, Units, attack,
};
use lots::{Ending, Identity, Image, Linf, NamedImage, linf};
use lots_nn::{LayerId, Network, lenet};

use super::networks::{
    Draw, Plain, Stage, class, digits, represent, small_rgb, smallest, trained, unlabelled,
};

/// Random weights with a ReLU and biases that balance the classes on grey images.
fn plain(seed: u64, shape: [usize; 3], relu: bool) -> Plain {
    let mut draw = Draw::new(seed);
    let pixels = shape.iter().product();
    let hidden = draw.matrix(9, pixels, 5);
    let mut first = Stage { relu, ..Stage::linear(hidden) };
    for (bias, row) in first.bias.iter_mut().zip(&first.weights) {
        *bias = -128.0 * row.iter().sum::<f64>();
    }
    Plain::new(shape, vec![first, Stage::linear(draw.matrix(3, 9, 5))])
}

/// What the class of an image is.
type Judge<'j> = &'j dyn Fn(&Image) -> usize;

/// Random images; of the first four the second has a wrong label, the third none.
fn noise(network: &dyn Network, judge: Judge<'_>, seed: u64) -> Vec<NamedImage> {
    let input = network.input();
    let mut draw = Draw::new(seed);
    let mut images: Vec<NamedImage> = (0..40)
        .map(|i| {
            unlabelled(
                &format!("noise {i}"),
                draw.image([input.channels, input.height, input.width]),
            )
        })
        .collect();
    // Two classes at least come first.
    let class = |image: &NamedImage| judge(&image.image);
    let first = class(&images[0]);
    if let Some(other) = images.iter().position(|image| class(image) != first) {
        images.swap(3, other);
    }
    images.truncate(4);
    images[0].label = Some(first);
    images[1].label = Some((class(&images[1]) + 1) % 3);
    images[3].label = Some(class(&images[3]));
    images
}

fn methods(network: &dyn Network) -> Vec<Box<dyn Method>> {
    let mut methods: Vec<Box<dyn Method>> = vec![Box::new(Fgv), Box::new(Fgs)];
    for layer in network.layers() {
        methods.push(Box::new(Lots(layer.id)));
        methods.push(Box::new(Magnify(layer.id)));
        methods.push(Box::new(Reduce(layer.id)));
    }
    methods.extend((0..3).map(|hot| Box::new(HotCold { hot }) as Box<dyn Method>));
    methods
}

/// What is wrong with a result, looked at from outside.
fn problem(
    judge: Judge<'_>,
    images: &[NamedImage],
    attack: &Attack<'_>,
    attacked: &Attacked,
) -> Option<&'static str> {
    let NamedImage { image: origin, label, .. } = &images[attack.origin];
    let before = judge(origin);
    if attacked.origin_class != before {
        return Some("another class of the origin");
    }
    let is_misclassified = label.is_some_and(|label| label != before);
    if is_misclassified != (attacked.outcome == Outcome::OriginMisclassified) {
        return Some("the origin's label");
    }
    // Towards an image that looks the same there is no way.
    let target = attack.target.and_then(|target| target.image());
    let is_at_target = attack.method.name() == "lots" && target == Some(attack.origin);
    if is_at_target && !is_misclassified && attacked.outcome != Outcome::NoDirection {
        return Some("a way to nowhere");
    }
    let Some(found) = attacked.outcome.image() else {
        let is_told = match attacked.outcome.ending() {
            Ending::NotFound => attack.extent == Extent::Smallest,
            Ending::OriginMisclassified | Ending::NoDirection => true,
            Ending::Adversarial => false,
        };
        return (!is_told).then_some("no image");
    };
    let after = judge(&found.image);
    if found.class != after {
        return Some("another class from the image alone");
    }
    let is_met = match attack.goal {
        Goal::Any => after != before,
        Goal::Class(class) => after == class,
        Goal::Target => {
            let target = &images[target.unwrap()];
            after == target.label.unwrap_or_else(|| judge(&target.image))
        }
    };
    if is_met != (attacked.outcome.ending() == Ending::Adversarial) {
        return Some("the goal");
    }
    if is_met && found.image == *origin {
        return Some("the image is the origin");
    }
    let Linf(change) = linf(origin, &found.image).unwrap();
    match attack.extent {
        Extent::Linf(bound) => {
            let is_told = (found.step - f32::from(bound)).abs() <= 0.0 && found.missed.is_none();
            (change > bound || !is_told).then_some("the fixed norm")
        }
        Extent::Smallest => {
            let is_told = found.missed.is_some_and(|missed| {
                (found.step - missed - 1.0 / 64.0).abs() <= 0.0
                    && missed >= 0.0
                    && found.step <= 4096.0
            });
            (!is_told || f32::from(change) > found.step + 0.5).then_some("the step")
        }
        Extent::Beyond(_) => {
            let is_told = found.missed.is_none() && found.step <= 1.5 * 4096.0;
            (!is_told || f32::from(change) > found.step + 0.5).then_some("the step beyond")
        }
    }
}

/// All methods and goals, extents and units in turn; `most` attacks of them, in no order.
fn check(
    name: &str,
    network: &dyn Network,
    decision: &dyn Decision,
    judge: Judge<'_>,
    images: &[NamedImage],
    most: usize,
) -> [usize; 4] {
    let classes: Vec<usize> = images.iter().map(|image| judge(&image.image)).collect();
    let meant = |i: usize| images[i].label.unwrap_or(classes[i]);
    let extents = [0, 0, 1, 64, 255, 150].map(|number| match number {
        0 => Extent::Smallest,
        150 => Extent::Beyond(number),
        linf => Extent::Linf(linf as u8),
    });
    let some_units: Units = "1..3,0".parse().unwrap();
    let methods = methods(network);
    let mut draw = Draw::new(1);
    let mut attacks = Vec::new();
    for method in &methods {
        let layer = method.layer().unwrap_or(decision.layer());
        let units = network.layers().iter().find(|info| info.id == layer).unwrap().shape[0];
        for (origin, &before) in classes.iter().enumerate() {
            let others: Vec<usize> = (0..images.len()).filter(|&i| meant(i) != before).collect();
            let other = others.get(draw.below(others.len().max(1) as u64) as usize).copied();
            for goal in [Goal::Any, Goal::Target, Goal::Class((before + 1) % 3)] {
                // An image is a target of its own, too: there is no direction then.
                let is_own = goal != Goal::Target && draw.below(8) == 0;
                let target = if is_own { Some(origin) } else { other };
                let needs_target = goal == Goal::Target || method.name() == "lots";
                if needs_target && target.is_none() || method.hot() == Some(before) {
                    continue;
                }
                let extent = extents[draw.below(5) as usize];
                let units = (units > 2 && draw.below(4) == 0).then_some(&some_units);
                attacks.push(Attack { goal, extent, units, ..smallest(origin, target, &**method) });
            }
        }
    }
    for i in (1..attacks.len()).rev() {
        attacks.swap(i, draw.below(i as u64 + 1) as usize);
    }
    attacks.truncate(most);
    let results: Vec<Attacked> =
        attack(network, decision, images, &attacks).map(Result::unwrap).collect();
    assert_eq!(results.len(), attacks.len());
    let mut counts = [0; 4];
    let mut wrong = Vec::new();
    for (attack, attacked) in attacks.iter().zip(&results) {
        counts[attacked.outcome.ending() as usize] += 1;
        let problem = problem(judge, images, attack, attacked);
        wrong.extend(problem.map(|problem| format!("{problem}: {attack:?} gives {attacked:?}")));
    }
    assert!(
        wrong.is_empty(),
        "{name}: {} of {} wrong:\n{}",
        wrong.len(),
        attacks.len(),
        wrong[..wrong.len().min(9)].join("\n")
    );
    counts
}

#[test]
fn every_result_is_what_it_says() {
    let (linear, deep) = (plain(1, [1, 3, 4], false), plain(2, [3, 4, 2], true));
    let (untrained, rgb, taught) = (lenet(3), small_rgb(), trained());
    let mut named = digits(7);
    named[2].label = None;
    named[4].label = Some(3);
    // Images, or the seed of noise.
    let by_logits =
        |name: &str, network: &dyn Network, images: Result<&[NamedImage], u64>, most| {
            let judge = |image: &Image| class(network, image);
            let decision = Argmax::of(network).unwrap();
            let images = images.map_or_else(|seed| noise(network, &judge, seed), <[_]>::to_vec);
            check(name, network, &decision, &judge, &images, most)
        };
    let counts = [
        by_logits("linear", &linear, Err(3), usize::MAX),
        by_logits("ReLU", &deep, Err(4), usize::MAX),
        by_logits("small RGB", &rgb, Err(5), usize::MAX),
        by_logits("untrained", &untrained, Err(6), 300),
        by_logits("trained", taught, Ok(&named), 300),
    ];
    println!("adversarial, not found, misclassified, no direction: {counts:?}");
    for ending in 0..4 {
        let total: usize = counts.iter().map(|c| c[ending]).sum();
        assert!(total >= 10, "ending {ending} came {total} times only: {counts:?}");
    }
}

/// Distances to the means of some images at a layer, by plain loops in f64.
struct Nearest<'n> {
    network: &'n dyn Network,
    layer: LayerId,
    distance: Distance,
    centres: Vec<Vec<f64>>,
    threshold: Option<f64>,
}

impl Nearest<'_> {
    fn distances(&self, image: &Image) -> Vec<f64> {
        let seen = represent(self.network, image, self.layer);
        let seen: Vec<f64> = seen.iter().map(|&x| x.into()).collect();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let distance = |centre: &Vec<f64>| match self.distance {
            Distance::Euclidean => {
                let apart: Vec<f64> = centre.iter().zip(&seen).map(|(c, x)| c - x).collect();
                dot(&apart, &apart).sqrt()
            }
            Distance::Cosine => {
                1.0 - dot(centre, &seen) / (dot(centre, centre) * dot(&seen, &seen)).sqrt()
            }
        };
        self.centres.iter().map(distance).collect()
    }

    fn class(&self, image: &Image) -> usize {
        let distances = self.distances(image);
        let nearest = (0..distances.len()).min_by(|&a, &b| distances[a].total_cmp(&distances[b]));
        let nearest = nearest.unwrap();
        let is_far = self.threshold.is_some_and(|threshold| distances[nearest] > threshold);
        if is_far { distances.len() } else { nearest }
    }
}

/// Two or three identities of one or two random images each; with a threshold between what is near and what is far.
fn by_gallery(
    name: &str,
    network: &dyn Network,
    layer: LayerId,
    distance: Distance,
    is_open: bool,
) -> [usize; 4] {
    let input = network.input();
    let shape = [input.channels, input.height, input.width];
    let mut draw = Draw::new(21);
    let count = if is_open { 2 } else { 3 };
    let identities: Vec<Identity> = (0..count)
        .map(|i| Identity {
            name: format!("identity {i}"),
            images: (0..=i % 2).map(|_| unlabelled("someone", draw.image(shape))).collect(),
        })
        .collect();
    let centre = |identity: &Identity| -> Vec<f64> {
        let seen = identity.images.iter().map(|image| represent(network, &image.image, layer));
        let seen: Vec<Vec<f32>> = seen.collect();
        let mean = |i| seen.iter().map(|row| f64::from(row[i])).sum::<f64>() / seen.len() as f64;
        (0..seen[0].len()).map(mean).collect()
    };
    let centres = identities.iter().map(centre).collect();
    let mut nearest = Nearest { network, layer, distance, centres, threshold: None };
    let threshold = is_open.then(|| {
        let mut distances: Vec<f64> = (0..21)
            .map(|_| nearest.distances(&draw.image(shape)).into_iter().fold(f64::MAX, f64::min))
            .collect();
        distances.sort_by(f64::total_cmp);
        distances[10] as f32
    });
    nearest.threshold = threshold.map(f64::from);
    let gallery = Gallery::new(network, layer, &identities, distance, threshold).unwrap();
    assert_eq!(gallery.names().len(), 3);
    let judge = |image: &Image| nearest.class(image);
    let mut images = noise(network, &judge, 22);
    // One is its own identity's only image: there its distance has no slope.
    images[2] = identities[0].images[0].clone();
    check(name, network, &gallery, &judge, &images, 200)
}

#[test]
fn galleries_of_any_layer_are_attacked_likewise() {
    let (linear, deep) = (plain(1, [1, 3, 4], false), plain(2, [3, 4, 2], true));
    let (rgb, taught) = (small_rgb(), trained());
    let pool = taught.find_layers("pool2").unwrap()[0];
    let (euclidean, cosine) = (Distance::Euclidean, Distance::Cosine);
    let counts = [
        by_gallery("linear", &linear, linear.layer(1), euclidean, false),
        by_gallery("linear, open", &linear, linear.layer(2), euclidean, true),
        by_gallery("linear, cosine", &linear, linear.layer(1), cosine, true),
        by_gallery("ReLU", &deep, deep.layer(1), euclidean, true),
        by_gallery("ReLU, cosine", &deep, deep.layer(2), cosine, false),
        by_gallery("small RGB", &rgb, rgb.output(), euclidean, true),
        by_gallery("LeNet", taught, pool, euclidean, true),
        by_gallery("LeNet, cosine", taught, taught.output(), cosine, false),
    ];
    println!("adversarial, not found, misclassified, no direction: {counts:?}");
    for ending in 0..4 {
        let total: usize = counts.iter().map(|c| c[ending]).sum();
        assert!(total >= 10, "ending {ending} came {total} times only: {counts:?}");
    }
}
