//! On a linear network every direction is a closed formula: with z = Wx + b, what comes back from a cotangent c is Wᵀc.
//!
//! Oracle: the formulas in f64, here, pixel by pixel. Weights are small whole numbers, so that the network's f32 are exact.

use lots::attack::{
    Argmax, Attack, Distance, Extent, Fgs, Fgv, Gallery, Goal, HotCold, Lots, Magnify, Method,
    Outcome, Reduce, Target, Units, attack,
};
use lots::{Identity, Image, NamedImage, Representation};
use lots_nn::{Network, lenet};

use super::networks::{Draw, Plain, Stage, class, planes, run, smallest, unlabelled};

const SHAPE: [usize; 3] = [3, 2, 4];
const PIXELS: usize = 24;
const HIDDEN: usize = 6;
const CLASSES: usize = 4;

/// Wx + b, and Wᵀc.
struct Linear {
    weights: Vec<Vec<f64>>,
    bias: Vec<f64>,
}

impl Linear {
    fn at(&self, image: &Image) -> Vec<f64> {
        let x = planes(image);
        let dot = |row: &Vec<f64>| row.iter().zip(&x).map(|(w, x)| w * x).sum::<f64>();
        self.weights.iter().zip(&self.bias).map(|(row, b)| dot(row) + b).collect()
    }

    fn back(&self, cotangent: &[f64]) -> Vec<f64> {
        let column = |i: usize| self.weights.iter().zip(cotangent).map(|(row, c)| row[i] * c).sum();
        (0..PIXELS).map(column).collect()
    }
}

/// Two linear stages, also as one matrix each from the pixels.
fn network(seed: u64) -> (Plain, Linear, Linear) {
    let mut draw = Draw::new(seed);
    let mut first = draw.matrix(HIDDEN, PIXELS, 3);
    // A pixel that nothing looks at never changes.
    first.iter_mut().for_each(|row| row[5] = 0.0);
    let bias = draw.matrix(1, HIDDEN, 50).remove(0);
    // Logits of a few units, so that the softmax is far from 0 and 1.
    let divided = |rows: Vec<Vec<f64>>| -> Vec<Vec<f64>> {
        rows.into_iter().map(|row| row.into_iter().map(|w| w / 1024.0).collect()).collect()
    };
    let second = divided(draw.matrix(CLASSES, HIDDEN, 2));
    let last_bias = divided(draw.matrix(1, CLASSES, 1000)).remove(0);
    let stages = vec![
        Stage::new(first.clone(), bias.clone()),
        Stage::new(second.clone(), last_bias.clone()),
    ];
    let product = |row: &Vec<f64>| -> Vec<f64> {
        (0..PIXELS).map(|i| row.iter().zip(&first).map(|(w, f)| w * f[i]).sum()).collect()
    };
    let through =
        |(row, b): (&Vec<f64>, &f64)| b + row.iter().zip(&bias).map(|(w, b)| w * b).sum::<f64>();
    let whole = Linear {
        weights: second.iter().map(product).collect(),
        bias: second.iter().zip(&last_bias).map(through).collect(),
    };
    (Plain::new(SHAPE, stages), Linear { weights: first, bias }, whole)
}

fn minus(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn largest(row: &[f64]) -> usize {
    (0..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
}

/// softmax(z) − onehot(class)
fn slope(z: &[f64], class: usize) -> Vec<f64> {
    let sum: f64 = z.iter().map(|z| z.exp()).sum();
    z.iter().enumerate().map(|(i, z)| z.exp() / sum - f64::from(u8::from(i == class))).collect()
}

/// What is wrong with `found` as the image at `step` from `origin` along `direction`. A pixel whose value is within 1e-3 of
/// a tie may be rounded either way: the network sends f32 back.
fn difference(origin: &Image, direction: &[f64], step: f64, found: &Image) -> Option<String> {
    let most = direction.iter().fold(0.0f64, |m, d| m.max(d.abs()));
    let exact = |(x, d): (f64, &f64)| (x + step * d / most).clamp(0.0, 255.0);
    let exact: Vec<f64> = planes(origin).into_iter().zip(direction).map(exact).collect();
    let found = planes(found);
    let wrong = (0..PIXELS).find(|&i| (found[i] - exact[i]).abs() > 0.501);
    wrong.map(|i| format!("value {i}: wanted {}, found {}", exact[i], found[i]))
}

/// What must come back, from origin and target.
type Formula = Box<dyn Fn(&Image, &Image) -> Vec<f64>>;

/// A method on a network with what it must send back, from origin and target.
struct Case {
    name: String,
    method: Box<dyn Method>,
    units: Option<Units>,
    direction: Formula,
}

fn cases(network: &Plain, seed: u64) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut push = |method: Box<dyn Method>, units: Option<&str>, direction: Formula| {
        let name = format!("{method:?} units {units:?}");
        let units = units.map(|units| units.parse().unwrap());
        cases.push(Case { name, method, units, direction });
    };
    // The formulas own their matrices.
    let layers = || {
        let (_, first, whole) = self::network(seed);
        [first, whole]
    };
    for index in [1, 2] {
        let at = network.layer(index);
        let layer = || layers().into_iter().nth(index - 1).unwrap();
        let f = layer();
        push(Box::new(Lots(at)), None, Box::new(move |o, t| f.back(&minus(&f.at(t), &f.at(o)))));
        let f = layer();
        push(Box::new(Magnify(at)), None, Box::new(move |o, _| f.back(&f.at(o))));
        let f = layer();
        let reduced = move |o: &Image| f.at(o).iter().map(|x| -x).collect::<Vec<_>>();
        let f = layer();
        push(Box::new(Reduce(at)), None, Box::new(move |o, _| f.back(&reduced(o))));
        let f = layer();
        let kept = move |o: &Image, t: &Image| {
            let mut cotangent = minus(&f.at(t), &f.at(o));
            cotangent
                .iter_mut()
                .enumerate()
                .filter(|(i, _)| ![0, 2].contains(i))
                .for_each(|(_, c)| *c = 0.0);
            f.back(&cotangent)
        };
        push(Box::new(Lots(at)), Some("0,2"), Box::new(kept));
    }
    let [_, f] = layers();
    let fgv = move |o: &Image, _: &Image| f.back(&slope(&f.at(o), largest(&f.at(o))));
    push(Box::new(Fgv), None, Box::new(fgv));
    let [_, f] = layers();
    let fgs = move |o: &Image, _: &Image| -> Vec<f64> {
        let back = f.back(&slope(&f.at(o), largest(&f.at(o))));
        // Of whole weights with common divisors 0 comes back as some 1e-17.
        back.iter().map(|&x| if x.abs() < 1e-12 { 0.0 } else { x.signum() }).collect()
    };
    push(Box::new(Fgs), None, Box::new(fgs));
    for hot in 0..CLASSES {
        let [_, f] = layers();
        let direction = move |o: &Image, _: &Image| {
            let z = f.at(o);
            let mut cotangent = vec![0.0; CLASSES];
            cotangent[hot] = z[hot].abs();
            cotangent[largest(&z)] = -z[largest(&z)];
            f.back(&cotangent)
        };
        push(Box::new(HotCold { hot }), None, Box::new(direction));
    }
    cases
}

fn images(seed: u64) -> Vec<NamedImage> {
    let mut draw = Draw::new(seed ^ 0xABCD);
    (0..5).map(|i| unlabelled(&format!("image {i}"), draw.image(SHAPE))).collect()
}

#[test]
fn at_a_fixed_norm_each_image_is_its_formula() {
    let mut wrong = Vec::new();
    let (mut count, mut hits) = (0, 0);
    for seed in 0..8 {
        let (network, _, whole) = network(seed);
        let (images, cases) = (images(seed), cases(&network, seed));
        let mut attacks: Vec<(Attack<'_>, &Case, u8)> = Vec::new();
        // Origins and targets in no order, so that rows of a batch cannot be mixed up unseen.
        for (k, case) in cases.iter().cycle().take(4 * cases.len()).enumerate() {
            let (origin, target) = (k * 3 % 5, (k * 3 + 1 + k % 4) % 5);
            if case.method.hot() == Some(class(&network, &images[origin].image)) {
                continue;
            }
            let linf = [1, 2, 40, 255][k * 7 % 4];
            let attack = Attack {
                extent: Extent::Linf(linf),
                units: case.units.as_ref(),
                ..smallest(origin, Some(target), &*case.method)
            };
            attacks.push((attack, case, linf));
        }
        let requests: Vec<Attack<'_>> = attacks.iter().map(|(attack, ..)| *attack).collect();
        for ((attack, case, linf), attacked) in
            attacks.iter().zip(run(&network, &images, &requests))
        {
            let name = &case.name;
            let (origin, target) = (
                &images[attack.origin].image,
                &images[attack.target.and_then(|t| t.image()).unwrap()].image,
            );
            let direction = (case.direction)(origin, target);
            let before = largest(&whole.at(origin));
            let Some(found) = attacked.outcome.image() else {
                wrong.push(format!("{name}: {:?}", attacked.outcome));
                continue;
            };
            let step = f64::from(*linf);
            wrong.extend(
                difference(origin, &direction, step, &found.image).map(|d| format!("{name}: {d}")),
            );
            let after = largest(&whole.at(&found.image));
            let is_hit = matches!(attacked.outcome, Outcome::Adversarial(_));
            let is_told =
                (attacked.origin_class, found.class, is_hit) == (before, after, before != after);
            if !is_told || (f64::from(found.step) - step).abs() > 0.0 || found.missed.is_some() {
                wrong.push(format!("{name}: {before} becomes {after}, found {attacked:?}"));
            }
            count += 1;
            hits += usize::from(is_hit);
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {count} wrong:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(20)].join("\n")
    );
    assert!(count > 300 && hits > 50 && hits < count - 50, "{hits} of {count} change the class");
}

/// Oracle: with W of 1s and 0s by hand. LOTS at the first stage goes WᵀW(target − origin).
#[test]
fn lots_by_hand() {
    let first = Stage::linear(vec![vec![1.0, 1.0, 0.0], vec![0.0, 1.0, 0.0]]);
    let last = Stage::linear(vec![vec![1.0, 0.0], vec![0.0, 1.0]]);
    let network = Plain::new([1, 1, 3], vec![first, last]);
    let image = |pixels: [u8; 3]| Image::new(3, 1, 1, pixels.to_vec()).unwrap();
    // Differences (20, −30, 7) become (−10, −30), and those (−10, −40, 0).
    let images =
        [unlabelled("origin", image([100, 100, 100])), unlabelled("target", image([120, 70, 107]))];
    let lots = Lots(network.layer(1));
    let attack = Attack { extent: Extent::Linf(8), ..smallest(0, Some(1), &lots) };
    let found = run(&network, &images, &[attack]);
    assert_eq!(found[0].outcome.image().unwrap().image.pixels(), [98, 92, 100]);
}

/// What FGS does not see stays, however small the rest: its steps are all alike.
#[test]
fn the_signs_of_small_and_large_slopes_weigh_the_same() {
    let weights = vec![vec![0.0; 4], vec![1e-3, -1e-9, 0.0, 1e3]];
    let network = Plain::new([1, 2, 2], vec![Stage::new(weights, vec![0.0, -1e6])]);
    let images = [unlabelled("origin", Image::new(2, 2, 1, vec![10, 250, 77, 0]).unwrap())];
    let fixed = |method, linf| Attack { extent: Extent::Linf(linf), ..smallest(0, None, method) };
    let found = run(&network, &images, &[fixed(&Fgs, 9), fixed(&Fgv, 9), fixed(&Fgs, 255)]);
    let pixels: Vec<_> = found.iter().map(|f| f.outcome.image().unwrap().image.pixels()).collect();
    assert_eq!(pixels, [[19, 241, 77, 9], [10, 250, 77, 9], [255, 0, 77, 255]]);
    assert_eq!(network.output(), network.layer(1));
}

/// Two pixels seen as they are, and galleries of two places on the first axis: the place where the class changes is known.
#[test]
fn steps_to_an_identity_by_hand() {
    let network = Plain::new([1, 1, 2], vec![Stage::linear(vec![vec![1.0, 0.0], vec![0.0, 1.0]])]);
    let image = |x: u8| unlabelled(&format!("at {x}"), Image::new(2, 1, 1, vec![x, 0]).unwrap());
    let identity = |name: &str, at: &[u8]| Identity {
        name: name.to_owned(),
        images: at.iter().map(|&x| image(x)).collect(),
    };
    // The mean of b is at 200.
    let identities = [identity("b", &[190, 195, 215]), identity("a", &[0])];
    let images = [image(20), image(200)];
    let lots = Lots(network.layer(1));
    // Nearer to 200 than to 0 is 101; 50 away from 200 is 150, but not clear of rounding; not within 40 of 0 is 41.
    let cases = [
        (None, Goal::Class(1), 101, 80.0 + 33.0 / 64.0),
        (None, Goal::Any, 101, 80.0 + 33.0 / 64.0),
        (Some(50.0), Goal::Target, 151, 130.0 + 33.0 / 64.0),
        (Some(50.5), Goal::Class(1), 150, 129.5),
        (Some(40.0), Goal::Any, 41, 20.0 + 33.0 / 64.0),
        (Some(40.0), Goal::Class(2), 41, 20.0 + 33.0 / 64.0),
    ];
    for (threshold, goal, x, step) in cases {
        let gallery =
            Gallery::new(&network, network.layer(1), &identities, Distance::Euclidean, threshold);
        let gallery = gallery.unwrap();
        let attacks = [Attack { goal, ..smallest(0, Some(1), &lots) }];
        let mut found = attack(&network, &gallery, &images, &attacks);
        let attacked = found.next().unwrap().unwrap();
        let perturbed = attacked.outcome.image().unwrap();
        assert_eq!(perturbed.image.pixels(), [x, 0], "{threshold:?} {goal:?}");
        assert_eq!((perturbed.step, perturbed.missed), (step, Some(step - 1.0 / 64.0)));
        assert_eq!(attacked.origin_scores[..2], [-20.0, -180.0]);
        assert_eq!(perturbed.scores[..2], [-f32::from(x), f32::from(x) - 200.0]);
        // Hot/cold leads the same way: away from a, towards b.
        if goal != Goal::Target {
            let hot = HotCold { hot: 1 };
            let attacks = [Attack { goal, ..smallest(0, None, &hot) }];
            let again = attack(&network, &gallery, &images, &attacks).next().unwrap().unwrap();
            assert_eq!(again.outcome, attacked.outcome);
        }
    }
}

/// A representation leads the way as the image does from which it was taken, and needs no image.
#[test]
fn a_stolen_representation_is_as_good_as_the_image() {
    let network = lenet(5);
    let decision = Argmax::of(&network).unwrap();
    let mut draw = Draw::new(31);
    let images = [
        unlabelled("origin", draw.image([1, 28, 28])),
        unlabelled("target", draw.image([1, 28, 28])),
    ];
    for layer in network.layers() {
        let rows = lots::represent(&network, &images[1..], layer.id).unwrap();
        let values = rows.iter().copied().collect();
        let stolen = Representation { name: "stolen.npy#0".to_owned(), values };
        let lots = Lots(layer.id);
        let with = Attack { extent: Extent::Linf(9), ..smallest(0, Some(1), &lots) };
        let without = Attack { target: Some(Target::Representation(&stolen)), ..with };
        let run = |images, attack_: &Attack<'_>| {
            attack(&network, &decision, images, &[*attack_]).next().unwrap().unwrap()
        };
        assert_eq!(run(&images[..], &with), run(&images[..1], &without), "{}", layer.name);
    }
}
