//! Walks: what is claimed is looked at again from the 8-bit image alone, and steps are those of plain loops.

use lots::attack::{
    Argmax, Arrival, Attack, Attacked, Budget, Distance, Extent, Goal, IterativeLots, Lots,
    Outcome, Perturbed, Target, Walk, attack,
};
use lots::{Ending, Image, NamedImage, Representation, l2, linf};
use lots_nn::{Cotangent, LayerId, Network};
use ndarray::Array4;

use super::networks::{
    Draw, Plain, Stage, class, digits, planes, represent, run, small_rgb, smallest, trained,
    unlabelled,
};

/// Class 1 from 100 on at the first pixel.
fn two_pixels() -> Plain {
    let pixels = Stage::linear(vec![vec![1.0, 0.0], vec![0.0, 1.0]]);
    let weights = vec![vec![0.0, 0.0], vec![1.0, 0.0]];
    Plain::new([1, 1, 2], vec![pixels, Stage::new(weights, vec![0.0, -99.5])])
}

fn two(name: &str, pixels: [u8; 2]) -> NamedImage {
    unlabelled(name, Image::new(2, 1, 1, pixels.to_vec()).unwrap())
}

fn found(attacked: &Attacked) -> &Perturbed {
    match &attacked.outcome {
        Outcome::Adversarial(found) => found,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_walk_by_hand() {
    let network = two_pixels();
    let images = [two("a", [0, 10]), two("b", [200, 210]), two("c", [200, 10])];
    let walk = |walk: Walk| IterativeLots { layer: network.layer(1), walk };
    let plain = Walk { size: 16.0, back: 0, ..Walk::default() };
    let near = |distance, within| Arrival::Near { distance, within };
    let euclidean = |within| near(Distance::Euclidean, within);
    // A target, a walk, the pixels that come out and the steps that were taken.
    let cases = [
        // Both pixels have 200 to go, so both take every step in full.
        (1, plain.clone(), Some([112, 122]), 7.0),
        (1, Walk { size: 3.5, ..plain.clone() }, Some([102, 112]), 29.0),
        (1, Walk { size: 2.5, ..plain.clone() }, Some([100, 110]), 40.0),
        (2, plain.clone(), Some([112, 10]), 7.0),
        (1, Walk { steps: 6, ..plain.clone() }, None, 0.0),
        (1, Walk { steps: 7, ..plain.clone() }, Some([112, 122]), 7.0),
        // What the class does not need goes back.
        (1, Walk { back: 20, ..plain.clone() }, Some([100, 10]), 7.0),
        (2, Walk { back: 20, ..plain.clone() }, Some([100, 10]), 7.0),
        (1, Walk { budget: Some(Budget::Linf(99)), ..plain.clone() }, None, 0.0),
        (1, Walk { budget: Some(Budget::Linf(100)), ..plain.clone() }, Some([100, 110]), 7.0),
        (1, Walk { budget: Some(Budget::L2(141.0)), ..plain.clone() }, None, 0.0),
        (1, Walk { budget: Some(Budget::L2(141.5)), ..plain.clone() }, Some([100, 110]), 7.0),
        // 200√2 = 282.8 away at first, 16√2 = 22.6 a step nearer.
        (1, Walk { arrival: euclidean(283.0), ..plain.clone() }, Some([0, 10]), 0.0),
        (1, Walk { arrival: euclidean(215.0), ..plain.clone() }, Some([48, 58]), 3.0),
        (1, Walk { arrival: near(Distance::Cosine, 0.1), ..plain.clone() }, Some([16, 26]), 1.0),
    ];
    let mut wrong = Vec::new();
    for (target, how, wanted, steps) in cases {
        let method = walk(how);
        let attacked = run(&network, &images, &[smallest(0, Some(target), &method)]).remove(0);
        let image =
            attacked.outcome.image().map(|found| (found.image.pixels().to_vec(), found.step));
        let wanted = wanted.map(|pixels| (pixels.to_vec(), steps));
        if image != wanted {
            wrong.push(format!("{method:?}: {image:?}, wanted {wanted:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Oracle: one step of the walk is the ray at the fixed L∞ norm of its length.
#[test]
fn the_first_step_is_on_the_ray() {
    let network = trained();
    let images: Vec<NamedImage> =
        digits(12).into_iter().map(|image| unlabelled(&image.name, image.image)).collect();
    let mut hits = 0;
    for layer in network.find_layers("all").unwrap() {
        let lots = Lots(layer);
        for size in [64, 160] {
            let walk = Walk { steps: 1, size: f32::from(size), back: 0, ..Walk::default() };
            let walk = IterativeLots { layer, walk };
            for origin in 0..images.len() {
                let target = Some((origin + 1) % images.len());
                let ray = Attack { extent: Extent::Linf(size), ..smallest(origin, target, &lots) };
                let both = run(network, &images, &[ray, smallest(origin, target, &walk)]);
                let hit = both[0].outcome.ending() == Ending::Adversarial;
                hits += usize::from(hit);
                let (ray, walk) = (both[0].outcome.image().unwrap(), both[1].outcome.image());
                assert_eq!(walk.is_some(), hit, "{origin} {size}");
                let Some(walk) = walk else { continue };
                assert_eq!((&walk.image, &walk.scores), (&ray.image, &ray.scores), "{origin}");
                assert!((walk.step - 1.0).abs() <= 0.0 && walk.missed.is_none());
            }
        }
    }
    assert!(hits > 10, "{hits}");
}

/// The direction at one image by plain loops in f64: `Σ weight · Jᵀ(f(target) − f(image)) / |f(target) − f(origin)|²`.
fn direction(
    network: &Plain,
    [origin, image, target]: [&Image; 3],
    layers: &[(LayerId, f64)],
) -> Vec<f64> {
    let pixels = planes(image).iter().map(|&x| x as f32).collect();
    let input = network.input();
    let one =
        Array4::from_shape_vec((1, input.channels, input.height, input.width), pixels).unwrap();
    let ids: Vec<LayerId> = layers.iter().map(|&(layer, _)| layer).collect();
    let trace = network.trace(one.view(), &ids).unwrap();
    let mut sum = vec![0.0; planes(image).len()];
    for &(layer, weight) in layers {
        let [origin, image, target] =
            [origin, image, target].map(|image| represent(network, image, layer));
        let values: Vec<f32> = target.iter().zip(&image).map(|(t, x)| t - x).collect();
        let square: f64 = target.iter().zip(&origin).map(|(t, o)| f64::from(t - o).powi(2)).sum();
        let back = trace.back_project(&[Cotangent { image: 0, layer, values: &values }]).unwrap();
        sum.iter_mut().zip(&back).for_each(|(sum, x)| *sum += weight * f64::from(*x) / square);
    }
    sum
}

/// Oracle: step and adjust by plain loops in f64, with one layer and with two.
#[test]
fn steps_are_those_of_plain_loops() {
    let mut draw = Draw::new(8);
    let shape = [3, 4, 2];
    let mut first = Stage { relu: true, ..Stage::linear(draw.matrix(9, 24, 5)) };
    for (bias, row) in first.bias.iter_mut().zip(&first.weights) {
        *bias = -128.0 * row.iter().sum::<f64>();
    }
    let network = Plain::new(shape, vec![first, Stage::linear(draw.matrix(3, 9, 5))]);
    let images: Vec<NamedImage> =
        (0..12).map(|i| unlabelled(&format!("{i}"), draw.image(shape))).collect();
    let (mut hits, mut misses) = (0, 0);
    for also in [None, Some(0.5_f32)] {
        let layers: Vec<(LayerId, f64)> = [(network.layer(1), 1.0)]
            .into_iter()
            .chain(also.map(|weight| (network.layer(2), weight.into())))
            .collect();
        let also = also.map(|weight| (network.layer(2), weight)).into_iter().collect();
        let walk = Walk { steps: 9, size: 7.0, back: 0, also, ..Walk::default() };
        let method = IterativeLots { layer: network.layer(1), walk };
        for origin in 0..12 {
            let target = (origin + 1) % 12;
            let start = &images[origin].image;
            let mut at = planes(start);
            let mut wanted = None;
            for step in 0..=9 {
                let mut pixels = vec![0; 24];
                let rounded: Vec<u8> = at.iter().map(|x| x.round_ties_even() as u8).collect();
                for (i, &x) in rounded.iter().enumerate() {
                    pixels[i % 8 * 3 + i / 8] = x;
                }
                let image = Image::new(2, 4, 3, pixels).unwrap();
                if class(&network, &image) != class(&network, start) {
                    wanted = Some(image);
                    break;
                }
                if step == 9 {
                    break;
                }
                let d = direction(&network, [start, &image, &images[target].image], &layers);
                let largest = d.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
                at.iter_mut()
                    .zip(&d)
                    .for_each(|(x, d)| *x = (*x + 7.0 * d / largest).clamp(0.0, 255.0));
            }
            let attacked =
                run(&network, &images, &[smallest(origin, Some(target), &method)]).remove(0);
            let image = attacked.outcome.image().map(|found| &found.image);
            assert_eq!(image, wanted.as_ref(), "{origin} {:?}", method.walk);
            *if wanted.is_some() { &mut hits } else { &mut misses } += 1;
        }
    }
    assert!(hits > 3 && misses > 0, "{hits} {misses}");
}

/// What is wrong with the result of a walk, looked at from outside.
fn problem(
    network: &dyn Network,
    images: &[NamedImage],
    one: &Attack<'_>,
    walk: &Walk,
    attacked: &Attacked,
) -> Option<&'static str> {
    let origin = &images[one.origin].image;
    let Some(Target::Image(target)) = one.target else { return Some("no target") };
    let target = &images[target].image;
    let found = match &attacked.outcome {
        Outcome::Adversarial(found) => found,
        Outcome::NotFound(None) | Outcome::NoDirection => return None,
        _ => return Some("another outcome"),
    };
    if found.class != class(network, &found.image) {
        return Some("another class from the image alone");
    }
    let (before, after) = (class(network, origin), found.class);
    let is_met = match (walk.arrival, one.goal) {
        (Arrival::Near { distance, within }, _) => {
            let layer = one.method.layer()?;
            let [a, b] = [&found.image, target].map(|image| represent(network, image, layer));
            let pairs = || a.iter().zip(&b).map(|(a, b)| (f64::from(*a), f64::from(*b)));
            let far = match distance {
                Distance::Euclidean => pairs().map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt(),
                Distance::Cosine => {
                    let squares = pairs().fold([0.0; 2], |[x, y], (a, b)| [x + a * a, y + b * b]);
                    1.0 - pairs().map(|(a, b)| a * b).sum::<f64>()
                        / (squares[0] * squares[1]).sqrt()
                }
            };
            far <= f64::from(within)
        }
        (Arrival::End, _) => return Some("another arrival"),
        (Arrival::Goal, Goal::Any) => after != before,
        (Arrival::Goal, Goal::Target) => after == class(network, target),
        (Arrival::Goal, Goal::Class(class)) => after == class,
    };
    if !is_met {
        return Some("the goal");
    }
    if walk.arrival == Arrival::Goal && found.image == *origin {
        return Some("the image is the origin");
    }
    let is_within = match walk.budget {
        None => true,
        Some(Budget::Linf(most)) => linf(origin, &found.image).unwrap().0 <= most,
        Some(Budget::L2(most)) => l2(origin, &found.image).unwrap().0 <= f64::from(most),
    };
    if !is_within {
        return Some("the budget");
    }
    let is_told = found.missed.is_none() && (0.0..=walk.steps as f32).contains(&found.step);
    (!is_told).then_some("the steps")
}

#[test]
fn every_walk_ends_where_it_says() {
    let (linear, rgb) = (two_pixels(), small_rgb());
    let noise = |shape: [usize; 3]| -> Vec<NamedImage> {
        let mut draw = Draw::new(3);
        (0..6).map(|i| unlabelled(&format!("{i}"), draw.image(shape))).collect()
    };
    let colours = noise([rgb.input().channels, rgb.input().height, rgb.input().width]);
    let grey: Vec<NamedImage> =
        digits(6).into_iter().map(|image| unlabelled(&image.name, image.image)).collect();
    let networks: [(&dyn Network, Vec<NamedImage>); 3] =
        [(&linear, noise([1, 1, 2])), (&rgb, colours), (trained(), grey)];
    let budgets = [None, Some(Budget::Linf(90)), Some(Budget::L2(700.0)), Some(Budget::L2(40.0))];
    let mut counts = [0; 4];
    let mut wrong = Vec::new();
    for (network, images) in &networks {
        let layers: Vec<LayerId> = network
            .layers()
            .iter()
            .filter(|info| info.index.is_some())
            .map(|info| info.id)
            .collect();
        let mut methods = Vec::new();
        for (i, &layer) in layers.iter().enumerate() {
            for (k, budget) in budgets.into_iter().enumerate() {
                for back in [0, 9] {
                    let apart = |distance| {
                        let seen = |image: &NamedImage| represent(*network, &image.image, layer);
                        let [a, b] = [seen(&images[0]), seen(&images[1])];
                        let square = a.iter().zip(&b).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
                        Arrival::Near {
                            distance,
                            within: if distance == Distance::Cosine {
                                0.05
                            } else {
                                0.7 * square.sqrt()
                            },
                        }
                    };
                    let arrival = match (i + k) % 4 {
                        2 => apart(Distance::Euclidean),
                        3 => apart(Distance::Cosine),
                        _ => Arrival::Goal,
                    };
                    let also = if k == 0 { vec![(layers[0], 0.3)] } else { Vec::new() };
                    let walk = Walk {
                        steps: 30,
                        size: 11.0,
                        arrival,
                        budget,
                        back,
                        also,
                        ..Walk::default()
                    };
                    methods.push(IterativeLots { layer, walk });
                }
            }
        }
        let decision = Argmax::of(*network).unwrap();
        for method in &methods {
            for origin in 0..images.len() {
                let target = (origin + 1) % images.len();
                let classes = [origin, target].map(|i| class(*network, &images[i].image));
                let goal = if classes[0] == classes[1] { Goal::Any } else { Goal::Target };
                let one = Attack { goal, ..smallest(origin, Some(target), method) };
                let attacked = attack(*network, &decision, images, &[one]).next().unwrap().unwrap();
                counts[attacked.outcome.ending() as usize] += 1;
                let problem = problem(*network, images, &one, &method.walk, &attacked);
                wrong.extend(
                    problem.map(|problem| format!("{problem}: {one:?} gives {attacked:?}")),
                );
            }
        }
    }
    let first = &wrong[..wrong.len().min(5)];
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), first.join("\n"));
    assert!(counts[0] > 100 && counts[1] > 50, "{counts:?}");
}

/// The search back ends no further from the origin than where the walk arrived, and mostly much nearer.
#[test]
fn the_way_back_leads_nearer() {
    let network = trained();
    let images: Vec<NamedImage> =
        digits(20).into_iter().map(|image| unlabelled(&image.name, image.image)).collect();
    for layer in network.find_layers("all").unwrap() {
        let lengths = [0, 20].map(|back| {
            let method = IterativeLots { layer, walk: Walk { back, ..Walk::default() } };
            let attacks: Vec<Attack<'_>> =
                (0..20).map(|i| smallest(i, Some((i + 1) % 20), &method)).collect();
            let results = run(network, &images, &attacks);
            let length = |(i, attacked): (usize, &Attacked)| {
                l2(&images[i].image, &found(attacked).image).unwrap().0
            };
            results.iter().enumerate().map(length).collect::<Vec<f64>>()
        });
        assert!(lengths[1].iter().zip(&lengths[0]).all(|(near, far)| near <= far), "{lengths:?}");
        let [far, near] = lengths.map(|lengths| lengths.iter().sum::<f64>());
        assert!(near < 0.9 * far, "{near} {far}");
    }
}

#[test]
fn walks_without_sense_are_told_so() {
    let network = two_pixels();
    let images = [two("a", [0, 10]), two("b", [200, 210])];
    let decision = Argmax::of(&network).unwrap();
    let stolen = Representation { name: "stolen.npy#0".to_owned(), values: vec![1.0, 2.0] };
    let (image, representation) = (Target::Image(1), Target::Representation(&stolen));
    let units = "0".parse().unwrap();
    let also = |weight| vec![(network.layer(2), weight)];
    let near = |within| Arrival::Near { distance: Distance::Euclidean, within };
    let base = Walk::default();
    let cases = [
        (Walk { steps: 0, ..base.clone() }, "iterative-lots takes at least 1 step, found 0"),
        (
            Walk { size: -1.0, ..base.clone() },
            "a step of iterative-lots has to be above 0 grey levels, found -1",
        ),
        (
            Walk { size: f32::NAN, ..base.clone() },
            "a step of iterative-lots has to be above 0 grey levels, found NaN",
        ),
        (
            Walk { budget: Some(Budget::L2(0.0)), ..base.clone() },
            "a budget of iterative-lots has to be above 0 grey levels, found 0",
        ),
        (
            Walk { budget: Some(Budget::Linf(0)), ..base.clone() },
            "a budget of iterative-lots has to be 1–255 grey levels, found 0",
        ),
        (
            Walk { arrival: near(f32::INFINITY), ..base.clone() },
            "a distance to come within has to be above 0, found inf",
        ),
        (
            Walk { also: also(0.0), ..base.clone() },
            "the weight of a layer has to be above 0, found 0",
        ),
        (
            Walk { also: vec![(lots_nn::lenet(0).output(), 1.0)], ..base.clone() },
            "the method's layer is not one of this network's",
        ),
    ];
    let methods =
        cases.map(|(walk, wanted)| (IterativeLots { layer: network.layer(1), walk }, wanted));
    let several =
        IterativeLots { layer: network.layer(1), walk: Walk { also: also(1.0), ..base.clone() } };
    let plain = IterativeLots { layer: network.layer(1), walk: base };
    let mut attacks: Vec<(Attack<'_>, &str)> =
        methods.iter().map(|(method, wanted)| (smallest(0, Some(1), method), *wanted)).collect();
    attacks.extend([
        (
            Attack { extent: Extent::Linf(9), ..smallest(0, Some(1), &plain) },
            "iterative-lots has no fixed L∞ norm, found one; give it a budget instead",
        ),
        (
            Attack { target: Some(representation), ..smallest(0, None, &several) },
            "a representation is that of one layer, found further layers; give an image as the target",
        ),
        (
            Attack { target: Some(image), units: Some(&units), ..smallest(0, None, &several) },
            "units are those of one layer, found further layers for iterative-lots; leave one of them away",
        ),
        (
            smallest(0, None, &plain),
            "lots goes from an origin to a target, found no target; give one, or use magnify or reduce",
        ),
    ]);
    for (one, wanted) in attacks {
        let message = attack(&network, &decision, &images, &[one]).next().unwrap().unwrap_err();
        assert_eq!(message.to_string(), wanted);
    }
}
