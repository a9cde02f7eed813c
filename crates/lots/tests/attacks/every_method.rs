//! Every method towards every goal on toy networks: what is claimed is looked at again, from the 8-bit image alone.

use lots::attack::{
    Argmax, Attack, Attacked, Extent, Fgs, Fgv, Goal, HotCold, Lots, Magnify, Method, Outcome,
    Reduce, Units,
};
use lots::{Ending, Linf, NamedImage, linf};
use lots_nn::{Network, lenet};

use super::networks::{
    Draw, Plain, Stage, class, digits, run, small_rgb, smallest, trained, unlabelled,
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

/// Random images; of the first four the second has a wrong label, the third none.
fn noise(network: &dyn Network, seed: u64) -> Vec<NamedImage> {
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
    let class = |image: &NamedImage| class(network, &image.image);
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
    network: &dyn Network,
    images: &[NamedImage],
    attack: &Attack<'_>,
    attacked: &Attacked,
) -> Option<&'static str> {
    let NamedImage { image: origin, label, .. } = &images[attack.origin];
    let before = class(network, origin);
    if attacked.origin_class != before {
        return Some("another class of the origin");
    }
    let is_misclassified = label.is_some_and(|label| label != before);
    if is_misclassified != (attacked.outcome == Outcome::OriginMisclassified) {
        return Some("the origin's label");
    }
    // Towards an image that looks the same there is no way.
    let is_at_target = attack.method.name() == "lots" && attack.target == Some(attack.origin);
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
    let after = class(network, &found.image);
    if found.class != after {
        return Some("another class from the image alone");
    }
    let is_met = match attack.goal {
        Goal::Any => after != before,
        Goal::Class(class) => after == class,
        Goal::Target => {
            let target = &images[attack.target.unwrap()];
            after == target.label.unwrap_or_else(|| class(network, &target.image))
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
    }
}

/// All methods and goals, extents and units in turn; `most` attacks of them, in no order.
fn check(name: &str, network: &dyn Network, images: &[NamedImage], most: usize) -> [usize; 4] {
    let decision = Argmax::of(network).unwrap();
    let classes: Vec<usize> = images.iter().map(|image| class(network, &image.image)).collect();
    let meant = |i: usize| images[i].label.unwrap_or(classes[i]);
    let extents = [0, 0, 1, 64, 255].map(|linf| match linf {
        0 => Extent::Smallest,
        linf => Extent::Linf(linf),
    });
    let some_units: Units = "1..3,0".parse().unwrap();
    let methods = methods(network);
    let mut draw = Draw::new(1);
    let mut attacks = Vec::new();
    for method in &methods {
        let layer = method.layer(&decision);
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
    let results = run(network, images, &attacks);
    assert_eq!(results.len(), attacks.len());
    let mut counts = [0; 4];
    let mut wrong = Vec::new();
    for (attack, attacked) in attacks.iter().zip(&results) {
        counts[attacked.outcome.ending() as usize] += 1;
        let problem = problem(network, images, attack, attacked);
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
    let counts = [
        check("linear", &linear, &noise(&linear, 3), usize::MAX),
        check("ReLU", &deep, &noise(&deep, 4), usize::MAX),
        check("small RGB", &rgb, &noise(&rgb, 5), usize::MAX),
        check("untrained", &untrained, &noise(&untrained, 6), 300),
        check("trained", taught, &named, 300),
    ];
    println!("adversarial, not found, misclassified, no direction: {counts:?}");
    for ending in 0..4 {
        let total: usize = counts.iter().map(|c| c[ending]).sum();
        assert!(total >= 10, "ending {ending} came {total} times only: {counts:?}");
    }
}
