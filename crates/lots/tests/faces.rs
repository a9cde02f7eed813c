//! The attack on a face recogniser that only extracts features, on the bundled network and portraits.

#![allow(clippy::unwrap_used, reason = "helpers of a test")]

use lots::attack::{
    Arrival, Attack, Attacked, Decision, Distance, Extent, Gallery, Goal, IterativeLots, Lots,
    Outcome, Target, Walk, attack,
};
use lots::{Identity, Image, NamedImage, Representation, measure, represent};
use lots_faces::{DESCRIPTOR, PORTRAITS};
use lots_nn::{Graph, LayerId};

/// Two faces within it are the same person's.
const THRESHOLD: f32 = 0.6;

/// Nearer than portraits of one person need to be.
const NEAR: f32 = 0.5;

fn network() -> Graph {
    Graph::from_onnx(DESCRIPTOR, "face_descriptor.onnx").unwrap()
}

/// biden, obama, obama2, obama3.
fn portraits() -> Vec<NamedImage> {
    let open = |portrait: &lots_faces::Portrait| NamedImage {
        image: Image::from_png(portrait.png, portrait.file).unwrap(),
        name: portrait.file.to_owned(),
        label: None,
    };
    PORTRAITS.iter().map(open).collect()
}

fn gallery(network: &Graph, portraits: &[NamedImage]) -> Gallery {
    let person = |name: &str, images: &[NamedImage]| Identity {
        name: name.to_owned(),
        images: images.to_vec(),
    };
    let identities = [person("obama", &portraits[1..]), person("biden", &portraits[..1])];
    let layer = network.output();
    Gallery::new(network, layer, &identities, Distance::Euclidean, Some(THRESHOLD)).unwrap()
}

fn layer(network: &Graph, name: &str) -> LayerId {
    network.find_layers(name).unwrap()[0]
}

/// Euclidean distances between one image and some others, computed alone and in f64.
fn distances(network: &Graph, image: &Image, others: &[NamedImage]) -> Vec<f64> {
    let named = NamedImage { image: image.clone(), name: "image".to_owned(), label: None };
    let own = represent(network, &[named], network.output()).unwrap();
    let others = represent(network, others, network.output()).unwrap();
    let apart = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
    others.outer_iter().map(|other| own.iter().zip(other).map(apart).sum::<f64>().sqrt()).collect()
}

/// The same to biden and to the mean of obama, obama2 and obama3.
fn to_people(network: &Graph, image: &Image, portraits: &[NamedImage]) -> [f64; 2] {
    let named = NamedImage { image: image.clone(), name: "image".to_owned(), label: None };
    let own = represent(network, &[named], network.output()).unwrap().mapv(f64::from);
    let others = represent(network, portraits, network.output()).unwrap().mapv(f64::from);
    let to = |mean: &dyn Fn(usize) -> f64| {
        own.iter().enumerate().map(|(i, x)| (x - mean(i)).powi(2)).sum::<f64>().sqrt()
    };
    let obama = |i| (others[[1, i]] + others[[2, i]] + others[[3, i]]) / 3.0;
    [to(&|i| others[[0, i]]), to(&obama)]
}

/// Oracle: the distances that the project's facts give for these portraits, found with ONNX Runtime.
#[test]
fn portraits_of_one_person_are_near() {
    let (network, portraits) = (network(), portraits());
    let same = distances(&network, &portraits[1].image, &portraits[2..]);
    assert!(same.iter().all(|d| (0.33..0.43).contains(d)), "{same:?}");
    let other = distances(&network, &portraits[0].image, &portraits[1..]);
    assert!(other.iter().all(|d| (0.80..0.87).contains(d)), "{other:?}");
    let gallery = gallery(&network, &portraits);
    assert_eq!(gallery.names(), ["biden", "obama", "unknown"]);
    let seen = represent(&network, &portraits, gallery.layer()).unwrap();
    let classes: Vec<_> = seen.outer_iter().map(|row| gallery.decide(&row.to_vec())).collect();
    assert_eq!(classes, [Some(0), Some(1), Some(1), Some(1)]);
    let black = Image::new(150, 150, 3, vec![0; 67_500]).unwrap();
    let nobody = NamedImage { image: black, name: "black".to_owned(), label: None };
    let seen = represent(&network, &[nobody], gallery.layer()).unwrap();
    assert_eq!(gallery.decide(seen.as_slice().unwrap()), Some(2));
}

/// biden towards obama and back, at the descriptor and at a convolution: taken for the other person, who is then nearer
/// than oneself, with next to no visible change.
#[test]
fn one_person_is_taken_for_another() {
    let (network, portraits) = (network(), portraits());
    let gallery = gallery(&network, &portraits);
    // Layers, and PASS at least.
    let cases = [("descriptor", 0.97), ("conv256_2", 0.95)];
    for (name, least) in cases {
        let lots = Lots(layer(&network, name));
        for (origin, target, person) in [(0, 1, 1), (1, 0, 0)] {
            let one = Attack {
                origin,
                target: Some(Target::Image(target)),
                method: &lots,
                goal: Goal::Class(person),
                extent: Extent::Smallest,
                units: None,
            };
            let attacked = attack(&network, &gallery, &portraits, &[one]).next().unwrap().unwrap();
            assert_eq!(attacked.origin_class, 1 - person);
            let Outcome::Adversarial(found) = attacked.outcome else { panic!("{name} {origin}") };
            let [biden, obama] = to_people(&network, &found.image, &portraits);
            let (own, other) = if person == 1 { (biden, obama) } else { (obama, biden) };
            assert!(other < f64::from(THRESHOLD) && other < own, "{name}: {biden} {obama}");
            let measures = measure(&portraits[origin].image, &found.image).unwrap();
            assert!(measures.pass.score > least, "{name} {origin}: {:?}", measures.pass);
        }
    }
}

/// The adversary has a representation only, and gets the very image that its owner's portrait gives.
#[test]
fn a_stolen_representation_is_enough() {
    let (network, portraits) = (network(), portraits());
    let gallery = gallery(&network, &portraits);
    let run = |images: &[NamedImage], target: Target<'_>, method: &Lots| -> Attacked {
        let one = Attack {
            origin: 0,
            target: Some(target),
            method,
            goal: Goal::Class(1),
            extent: Extent::Smallest,
            units: None,
        };
        attack(&network, &gallery, images, &[one]).next().unwrap().unwrap()
    };
    for name in ["descriptor", "conv128_2"] {
        let lots = Lots(layer(&network, name));
        let rows = represent(&network, &portraits[2..3], lots.0).unwrap();
        let stolen = Representation {
            name: "stolen.npy#0".to_owned(),
            values: rows.iter().copied().collect(),
        };
        let found = run(&portraits[..1], Target::Representation(&stolen), &lots);
        assert!(matches!(found.outcome, Outcome::Adversarial(_)), "{name}");
        assert_eq!(found, run(&portraits, Target::Image(2), &lots), "{name}");
    }
}

/// Every portrait of one person towards every one of another: nearer than portraits of one person are, and next to nothing to
/// see.
#[test]
fn step_by_step_anyone_is_anyone() {
    let (network, portraits) = (network(), portraits());
    let gallery = gallery(&network, &portraits);
    let arrival = Arrival::Near { distance: Distance::Euclidean, within: NEAR };
    let walk = Walk { arrival, size: 1.0, ..Walk::default() };
    let method = IterativeLots { layer: network.output(), walk };
    let pairs = [(0, 1), (0, 2), (0, 3), (1, 0), (2, 0), (3, 0)];
    let attacks = pairs.map(|(origin, target)| Attack {
        origin,
        target: Some(Target::Image(target)),
        method: &method,
        goal: Goal::Any,
        extent: Extent::Smallest,
        units: None,
    });
    let results = attack(&network, &gallery, &portraits, &attacks);
    for (attacked, (origin, target)) in results.zip(pairs) {
        let Outcome::Adversarial(found) = attacked.unwrap().outcome else {
            panic!("{origin} {target}")
        };
        let far = distances(&network, &found.image, &portraits[target..=target])[0];
        let measures = measure(&portraits[origin].image, &found.image).unwrap();
        println!("{origin} → {target}: {far} {measures:?}");
        assert!(far < f64::from(NEAR), "{origin} {target}: {far}");
        assert!(measures.pass.score >= 0.98, "{origin} {target}: {:?}", measures.pass);
    }
}
