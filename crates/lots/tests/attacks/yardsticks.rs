//! PGD and DeepFool: by hand, by plain loops in f64, and what they promise.

use lots::attack::{
    Argmax, Attack, Attacked, Budget, Decision, DeepFool, Extent, Fgv, Method, Outcome, Passes,
    Pgd, attack,
};
use lots::{Ending, Image, NamedImage, l2, linf};
use lots_nn::{Cotangent, Network};
use ndarray::Array4;

use super::networks::{
    Draw, Plain, Stage, class, digits, planes, represent, run, smallest, trained, unlabelled,
};

/// Class 1 from 100 on at the first pixel.
fn two_pixels() -> Plain {
    let weights = vec![vec![0.0, 0.0], vec![1.0, 0.0]];
    Plain::new([1, 1, 2], vec![Stage::new(weights, vec![0.0, -99.5])])
}

#[test]
fn images_by_hand() {
    let network = two_pixels();
    let images = [unlabelled("a", Image::new(2, 1, 1, vec![0, 10]).unwrap())];
    let pgd = |budget| Pgd::new(budget);
    // Only the first pixel has a slope. DeepFool goes 99.5 · 1.02 = 101.5, in one step.
    type Case<'c> = (&'c dyn Method, Option<([u8; 2], f32)>, Passes);
    let cases: [Case<'_>; 6] = [
        (&pgd(Budget::Linf(120)), Some(([120, 10], 40.0)), Passes { forward: 41, backward: 40 }),
        (&pgd(Budget::Linf(99)), None, Passes { forward: 41, backward: 40 }),
        (&pgd(Budget::L2(150.0)), Some(([150, 10], 50.0)), Passes { forward: 51, backward: 50 }),
        (
            &pgd(Budget::Linf(120)).with_steps(11, 9.5),
            Some(([104, 10], 11.0)),
            Passes { forward: 12, backward: 11 },
        ),
        (&DeepFool::default(), Some(([101, 10], 1.0)), Passes { forward: 2, backward: 1 }),
        (&DeepFool::new(1), Some(([101, 10], 1.0)), Passes { forward: 2, backward: 1 }),
    ];
    for (method, wanted, passes) in cases {
        let attacked = run(&network, &images, &[smallest(0, None, method)]).remove(0);
        let image = attacked.outcome.image();
        let image = image.map(|found| (found.image.pixels().to_vec(), found.step));
        let wanted = wanted.map(|(pixels, steps)| (pixels.to_vec(), steps));
        assert_eq!((image, attacked.passes), (wanted, passes), "{method:?}");
    }
}

/// The slope of `cotangent`, at the logits of pixels that are no whole numbers, by the network's own plain loops.
fn slope(network: &Plain, at: &[f64], cotangent: &[f32]) -> Vec<f64> {
    let input = network.input();
    let pixels = at.iter().map(|&x| x as f32).collect();
    let one = Array4::from_shape_vec((1, input.channels, input.height, input.width), pixels);
    let trace = network.trace(one.unwrap().view(), &[network.output()]).unwrap();
    let row = Cotangent { image: 0, layer: network.output(), values: cotangent };
    trace.back_project(&[row]).unwrap().iter().map(|&x| x.into()).collect()
}

/// Whole numbers in [channels, height, width] as an image.
fn image(network: &Plain, at: &[f64]) -> Image {
    let input = network.input();
    let mut pixels = vec![0; at.len()];
    let size = input.height * input.width;
    for (i, x) in at.iter().enumerate() {
        pixels[i % size * input.channels + i / size] = x.clamp(0.0, 255.0).round_ties_even() as u8;
    }
    Image::new(input.width, input.height, input.channels, pixels).unwrap()
}

/// Oracle: DeepFool as its authors have it, in f64, with every image rounded to 8 bits before it is looked at, and steps that are as
/// long as it takes to change it.
#[test]
fn deepfool_is_that_of_plain_loops() {
    let mut draw = Draw::new(11);
    let shape = [1, 4, 5];
    let mut first = Stage { relu: true, ..Stage::linear(draw.matrix(12, 20, 5)) };
    for (bias, row) in first.bias.iter_mut().zip(&first.weights) {
        *bias = -128.0 * row.iter().sum::<f64>();
    }
    let network = Plain::new(shape, vec![first, Stage::linear(draw.matrix(4, 12, 5))]);
    let images: Vec<NamedImage> =
        (0..30).map(|i| unlabelled(&format!("{i}"), draw.image(shape))).collect();
    let method = DeepFool::new(20);
    let (mut steps, mut found, mut longer) = (0.0, 0, 0);
    for (i, origin) in images.iter().enumerate() {
        let start = planes(&origin.image);
        let own = class(&network, &origin.image);
        let (mut at, mut seen) = (start.clone(), origin.image.clone());
        for _ in 0..20 {
            let logits = represent(&network, &seen, network.output());
            if class(&network, &seen) != own {
                break;
            }
            let far = |k: usize| f64::from(logits[own] - logits[k]);
            let ways = (0..4).filter(|&k| k != own).map(|k| {
                let cotangent: Vec<f32> =
                    (0..4).map(|j| f32::from(j == k) - f32::from(j == own)).collect();
                let slope = slope(&network, &planes(&seen), &cotangent);
                let square: f64 = slope.iter().map(|x| x * x).sum();
                (far(k) / square.sqrt(), far(k) / square, slope)
            });
            let (_, way, slope) = ways.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
            // As far as it takes to change the image.
            let (from, before) = (at.clone(), seen.clone());
            for doublings in 0..30 {
                let way = way * f64::from(1 << doublings);
                at = from.iter().zip(&slope).map(|(x, d)| x + way * d).collect();
                let beyond: Vec<f64> =
                    at.iter().zip(&start).map(|(x, o)| o + 1.02 * (x - o)).collect();
                seen = image(&network, &beyond);
                if seen != before {
                    longer += doublings;
                    break;
                }
            }
        }
        let attacked = run(&network, &images, &[smallest(i, None, &method)]).remove(0);
        let outcome = attacked.outcome.image().map(|one| &one.image);
        let wanted = (class(&network, &seen) != own).then_some(&seen);
        assert_eq!(outcome, wanted, "{i}");
        if let Outcome::Adversarial(one) = attacked.outcome {
            (steps, found) = (steps + one.step, found + 1);
        }
    }
    assert!(found > 15 && steps > found as f32, "{found} in {steps} steps");
    assert!(longer > 0);
}

/// Inside the budget, in the class that is told, and with the passes that the steps take.
#[test]
fn yardsticks_keep_their_promises() {
    let network = trained();
    let images: Vec<NamedImage> =
        digits(30).into_iter().map(|image| unlabelled(&image.name, image.image)).collect();
    let budgets = [Budget::Linf(20), Budget::Linf(90), Budget::L2(300.0), Budget::L2(1500.0)];
    let mut shares = Vec::new();
    for budget in budgets {
        let size = match budget {
            Budget::Linf(_) => 20.0,
            Budget::L2(most) => most / 10.0,
        };
        let method = Pgd::new(budget).with_steps(15, size);
        let mut count = 0;
        for origin in 0..images.len() {
            let attacked = run(network, &images, &[smallest(origin, None, &method)]).remove(0);
            assert_eq!(attacked.passes, Passes { forward: 16, backward: 15 });
            check(&images[origin], &attacked, Some(budget));
            count += usize::from(attacked.outcome.ending() == Ending::Adversarial);
        }
        shares.push(count);
    }
    assert!(shares[0] < 15 && shares[1] > 25 && shares[2] < 15 && shares[3] > 25, "{shares:?}");
    // Few walks from boundary to boundary do not end; those have taken every step.
    let method = DeepFool::default();
    let mut count = 0;
    for origin in 0..images.len() {
        let attacked = run(network, &images, &[smallest(origin, None, &method)]).remove(0);
        check(&images[origin], &attacked, None);
        let steps = attacked.outcome.image().map_or(50, |found| found.step as u32);
        assert_eq!(attacked.passes, Passes { forward: steps + 1, backward: 9 * steps });
        count += usize::from(attacked.outcome.ending() == Ending::Adversarial);
    }
    assert!(count > 25, "{count}");
}

fn check(origin: &NamedImage, attacked: &Attacked, budget: Option<Budget>) {
    let Some(found) = attacked.outcome.image() else { return };
    let after = class(trained(), &found.image);
    assert_eq!(found.class, after, "{}", origin.name);
    assert_ne!(after, class(trained(), &origin.image), "{}", origin.name);
    match budget {
        Some(Budget::Linf(most)) => assert!(linf(&origin.image, &found.image).unwrap().0 <= most),
        Some(Budget::L2(most)) => {
            assert!(l2(&origin.image, &found.image).unwrap().0 <= f64::from(most));
        }
        None => {}
    }
}

/// What a search along a ray costs: a pass of the origin and one for each image that is tried.
#[test]
fn passes_of_rays_are_counted() {
    let network = two_pixels();
    let decision = Argmax::of(&network).unwrap();
    assert_eq!(decision.names().len(), 2);
    let images = [unlabelled("a", Image::new(2, 1, 1, vec![0, 10]).unwrap())];
    let fixed = Attack { extent: Extent::Linf(3), ..smallest(0, None, &Fgv) };
    let searched = smallest(0, None, &Fgv);
    let results: Vec<Attacked> =
        attack(&network, &decision, &images, &[fixed, searched]).map(Result::unwrap).collect();
    assert_eq!(results[0].passes, Passes { forward: 2, backward: 1 });
    let Passes { forward, backward } = results[1].passes;
    assert!((3..20).contains(&forward) && (1..4).contains(&backward), "{forward} {backward}");
}
