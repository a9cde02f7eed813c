//! Pictures of what layers see: images that climb from noise, and what is sent back from units.
//!
//! Oracle: the network itself, asked again about the 8-bit images.

#![allow(clippy::unwrap_used, reason = "a test")]

use lots::attack::Units;
use lots::visual::{Driven, Inversion, Maximisation, Unit, deconvolution, guided, saliency};
use lots::{Image, NamedImage, images_batch, open_image};
use lots_nn::{Graph, LayerId, Network};

/// What a layer sees in one image.
fn seen(network: &dyn Network, image: &Image, layer: LayerId) -> Vec<f32> {
    let batch = images_batch(network.input(), std::slice::from_ref(image)).unwrap();
    network.represent(batch.view(), layer).unwrap().into_iter().collect()
}

fn digits() -> [NamedImage; 3] {
    ["mnist:test:4", "mnist:test:0", "mnist:test:18"].map(|name| open_image(name).unwrap())
}

fn weighted(network: &Graph) -> Vec<LayerId> {
    network.find_layers("all").unwrap()
}

fn name(network: &Graph, layer: LayerId) -> &str {
    &network.layers().iter().find(|info| info.id == layer).unwrap().name
}

fn inverted(
    network: &dyn Network,
    layer: LayerId,
    images: &[&NamedImage],
    steps: usize,
) -> Vec<lots::visual::Inverted> {
    let mut inversion = Inversion::start(network, layer, images, None, 3).unwrap();
    (0..steps).for_each(|_| inversion.step().unwrap());
    inversion.finished().unwrap()
}

/// The distance of representations falls at least to a third of what it is from noise, smooth as the image has to stay; and what is told of the 8-bit image is
/// true.
#[test]
fn inversion_comes_near() {
    let network = lots_nn::lenet(1);
    let [digit, ..] = digits();
    for layer in weighted(&network) {
        let start = &inverted(&network, layer, &[&digit], 0)[0];
        let end = &inverted(&network, layer, &[&digit], Inversion::steps())[0];
        let name = name(&network, layer);
        assert!(
            end.distance < start.distance / 3.0,
            "{name}: {} of {}",
            end.distance,
            start.distance
        );
        let wanted = seen(&network, &digit.image, layer);
        for inverted in [start, end] {
            let found = seen(&network, &inverted.image, layer);
            let length = |rows: &mut dyn Iterator<Item = f32>| -> f64 {
                rows.map(|x| f64::from(x).powi(2)).sum::<f64>().sqrt()
            };
            let far = length(&mut found.iter().zip(&wanted).map(|(a, b)| a - b));
            let far = far / length(&mut wanted.iter().copied());
            // The library rounds to f32.
            assert!((far - f64::from(inverted.distance)).abs() < 1e-6, "{name}: {far}");
        }
    }
}

/// With some units only, the others do not matter: conv1 has more channels than an inversion of one needs.
#[test]
fn inversion_of_some_units_looks_at_these_only() {
    let network = lots_nn::lenet(1);
    let [digit, ..] = digits();
    let layer = weighted(&network)[0];
    let units: Units = "3,5".parse().unwrap();
    let mut inversion = Inversion::start(&network, layer, &[&digit], Some(&units), 0).unwrap();
    (0..Inversion::steps()).for_each(|_| inversion.step().unwrap());
    let found = &inversion.finished().unwrap()[0];
    let (wanted, found_seen) =
        (seen(&network, &digit.image, layer), seen(&network, &found.image, layer));
    let plane = wanted.len() / 20;
    let (mut square, mut size) = (0.0, 0.0);
    for unit in [3, 5] {
        for at in unit * plane..(unit + 1) * plane {
            square += f64::from(found_seen[at] - wanted[at]).powi(2);
            size += f64::from(wanted[at]).powi(2);
        }
    }
    assert!(((square / size).sqrt() - f64::from(found.distance)).abs() < 1e-6);
    assert!(found.distance < 0.2, "{}", found.distance);
    let beyond: Units = "20".parse().unwrap();
    let refused = Inversion::start(&network, layer, &[&digit], Some(&beyond), 0).err().unwrap();
    assert_eq!(refused.to_string(), "no unit 20 in layer conv1; its units are 0–19");
}

/// A unit of each layer responds more than to the origin, and than to the noise; and what is told of the 8-bit image is true.
#[test]
fn maximisation_raises_the_unit() {
    let network = lots_nn::lenet(1);
    let [digit, ..] = digits();
    for layer in weighted(&network) {
        let unit = Driven::new(&network, &digit, &[layer], None).unwrap().units()[0];
        let climb = |steps: usize| {
            let mut climb = Maximisation::start(&network, &[unit], &[&digit], 0).unwrap();
            (0..steps).for_each(|_| climb.step().unwrap());
            climb.finished().unwrap().swap_remove(0)
        };
        let (start, end) = (climb(0), climb(Maximisation::steps()));
        let name = name(&network, layer);
        let best = unit.response.max(start.response);
        assert!(end.response > best + 0.5 * best.abs(), "{name}: {} from {best}", end.response);
        let info = network.layers().iter().find(|info| info.id == layer).unwrap();
        let places = info.shape[1..].iter().product::<usize>();
        for found in [&start, &end] {
            let plane = &seen(&network, &found.image, layer)[unit.number * places..][..places];
            let mean = plane.iter().sum::<f32>() / places as f32;
            assert!((mean - found.response).abs() <= 1e-5 * mean.abs().max(1.0), "{name}");
        }
    }
}

/// The same bits alone and among others, on one thread and on three.
#[test]
fn images_climb_as_if_alone() {
    let network = lots_nn::lenet(1);
    let digits = digits();
    let all: Vec<&NamedImage> = digits.iter().chain(&digits).collect();
    for layer in weighted(&network) {
        let unit =
            |image: &NamedImage| Driven::new(&network, image, &[layer], None).unwrap().units()[0];
        let maximised = |images: &[&NamedImage]| {
            let units: Vec<Unit> = images.iter().map(|image| unit(image)).collect();
            let mut climb = Maximisation::start(&network, &units, images, 0).unwrap();
            (0..9).for_each(|_| climb.step().unwrap());
            climb.finished().unwrap()
        };
        let name = name(&network, layer);
        let (high, near) = (maximised(&all), inverted(&network, layer, &all, 9));
        for (i, image) in all.iter().enumerate() {
            assert_eq!(maximised(&[image])[0], high[i], "{name}");
            assert_eq!(inverted(&network, layer, &[image], 9)[0], near[i], "{name}");
        }
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let again = pool.install(|| (maximised(&all), inverted(&network, layer, &all, 9)));
            assert_eq!(again, (high.clone(), near.clone()), "{name} on {threads} threads");
        }
    }
}

/// The seed decides the noise, and nothing else.
#[test]
fn seeds_decide() {
    let network = lots_nn::lenet(1);
    let [digit, ..] = digits();
    let layer = network.output();
    let start = |seed: u64| {
        Inversion::start(&network, layer, &[&digit], None, seed).unwrap().finished().unwrap()
    };
    assert_eq!(start(1), start(1));
    assert_ne!(start(1), start(2));
}

/// What each method says by its picture: deconvolution and guided back-propagation differ from the gradient's sign pattern
/// behind a ReLU, and not in front of one.
#[test]
fn rules_matter_behind_relus_only() {
    let network = lots_nn::lenet(1);
    let [digit, ..] = digits();
    let layers: Vec<LayerId> = ["conv1", "ip1", "ip2"]
        .iter()
        .map(|layer| network.find_layers(layer).unwrap()[0])
        .collect();
    let driven = Driven::new(&network, &digit, &layers, None).unwrap();
    let (a, b) = (deconvolution(&driven).unwrap(), guided(&driven).unwrap());
    assert_eq!(a[..2], b[..2]);
    assert_ne!(a[2], b[2]);
    let shapes: Vec<usize> = saliency(&driven).unwrap().iter().map(Image::channels).collect();
    assert_eq!(shapes, [1, 1, 1]);
}

/// A unit that is off everywhere has no slope: what comes is an image all the same.
#[test]
fn what_is_off_stays_off() {
    let network = lots_nn::lenet(1);
    let black = Image::new(28, 28, 1, vec![0; 784]).unwrap();
    let black = NamedImage { image: black, name: "black".to_owned(), label: None };
    let relu = network.find_layers("relu1").unwrap()[0];
    let seen_there = seen(&network, &black.image, relu);
    let off = seen_there.iter().position(|x| *x <= 0.0).unwrap();
    let unit = Unit { layer: relu, number: off, response: 0.0 };
    let mut climb = Maximisation::start(&network, &[unit], &[&black], 0).unwrap();
    climb.step().unwrap();
    assert!(climb.finished().unwrap()[0].response >= 0.0);
}

#[test]
fn bad_requests_are_told_so() {
    let network = lots_nn::lenet(1);
    let [digit, ..] = digits();
    let layers = weighted(&network);
    let unit = |layer: usize, number: usize| Unit { layer: layers[layer], number, response: 0.0 };
    let small = Image::new(2, 2, 1, vec![0; 4]).unwrap();
    let small = NamedImage { image: small, name: "small".to_owned(), label: None };
    let start = |units: &[Unit], around: &[&NamedImage]| {
        Maximisation::start(&network, units, around, 0).err().unwrap().to_string()
    };
    let cases = [
        (start(&[unit(0, 20)], &[&digit]), "no unit 20 in layer conv1; its units are 0–19"),
        (
            start(&[unit(0, 1), unit(1, 1)], &[&digit; 2]),
            "maximisation takes units of one layer at a time",
        ),
        (start(&[unit(0, 1)], &[]), "maximisation takes an image for each unit, found 0 for 1"),
        (
            start(&[unit(0, 1)], &[&small]),
            "small has 2×2×1 (height × width × channels), the network takes 28×28×1",
        ),
        (
            Inversion::start(&network, layers[0], &[&small], None, 0).err().unwrap().to_string(),
            "small has 2×2×1 (height × width × channels), the network takes 28×28×1",
        ),
        (
            Inversion::start(&network, LayerId::new(99), &[&digit], None, 0)
                .err()
                .unwrap()
                .to_string(),
            "the layer is none of this network's",
        ),
    ];
    for (found, wanted) in cases {
        assert!(found.starts_with(wanted), "{found}");
    }
    // None of anything is no error.
    assert!(Maximisation::start(&network, &[], &[], 0).unwrap().finished().unwrap().is_empty());
    let mut none = Inversion::start(&network, layers[0], &[], None, 0).unwrap();
    none.step().unwrap();
    assert!(none.finished().unwrap().is_empty());
}
