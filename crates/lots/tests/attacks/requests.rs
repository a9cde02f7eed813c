//! Attacks that make no sense are errors of one line; the results before them are there.

use lots::attack::{
    Argmax, Attack, Decision, Distance, Extent, Fgs, Fgv, Gallery, Goal, HotCold, Lots, Magnify,
    Outcome, Target, Units, attack,
};
use lots::{Identity, Image, NamedImage, Representation};
use lots_nn::lenet;

use super::networks::{Plain, Stage, smallest, unlabelled};

fn image(name: &str, pixels: [u8; 2]) -> NamedImage {
    unlabelled(name, Image::new(2, 1, 1, pixels.to_vec()).unwrap())
}

/// Class 1 from 100 on at the first pixel, class 2 from 121 on at the second.
fn network() -> Plain {
    let hidden = Stage::linear(vec![vec![1.0, 0.0], vec![0.0, 1.0], vec![1.0, 1.0]]);
    let weights = vec![vec![0.0; 3], vec![1.0, 0.0, 0.0], vec![0.0, 1.0, 0.0]];
    Plain::new([1, 1, 2], vec![hidden, Stage::new(weights, vec![0.0, -99.5, -120.5])])
}

#[test]
fn requests_without_sense_are_told_so() {
    let network = network();
    let decision = Argmax::of(&network).unwrap();
    let wide = unlabelled("wide.png", Image::new(3, 1, 1, vec![0; 3]).unwrap());
    let colour = unlabelled("colour.png", Image::new(2, 1, 3, vec![0; 6]).unwrap());
    let beyond = NamedImage { label: Some(3), ..image("beyond.png", [120, 0]) };
    let images = [image("a.png", [0, 0]), image("b.png", [120, 0]), wide, colour, beyond];
    let lots = Lots(network.layer(1));
    let lots = |target| smallest(0, target, &lots);
    let foreign = Magnify(lenet(0).output());
    let (far, near): (Units, Units) = ("0,3".parse().unwrap(), "0..3".parse().unwrap());
    let stolen = |values: &[f32]| Representation {
        name: "stolen.npy#0".to_owned(),
        values: values.to_vec(),
    };
    let (short, whole) = (stolen(&[1.0, 2.0]), stolen(&[1.0, 2.0, 3.0]));
    let [short, whole] = [&short, &whole].map(|one| Some(Target::Representation(one)));
    let (own, hot, last) = (HotCold { hot: 0 }, HotCold { hot: 3 }, HotCold { hot: 2 });
    let cases: Vec<(Attack<'_>, &str)> = vec![
        (
            lots(None),
            "lots goes from an origin to a target, found no target; give one, or use magnify or reduce",
        ),
        (
            Attack { goal: Goal::Target, ..smallest(0, None, &Fgv) },
            "the goal is the target's class, found no target image; give one, or another goal",
        ),
        (
            Attack { goal: Goal::Class(0), ..smallest(0, None, &Fgv) },
            "the goal, class 0, is what a.png is already; give another goal or another target",
        ),
        (
            Attack { goal: Goal::Target, ..lots(Some(0)) },
            "the goal, class 0, is what a.png is already; give another goal or another target",
        ),
        (
            Attack { goal: Goal::Class(3), ..smallest(0, None, &Fgs) },
            "no class 3 as goal; classes are 0–2",
        ),
        (Attack { goal: Goal::Target, ..lots(Some(4)) }, "no class 3 as goal; classes are 0–2"),
        (
            smallest(0, None, &own),
            "class 0 cannot be hot: it is the origin's own; give another class",
        ),
        (smallest(0, None, &hot), "no class 3 to make hot; classes are 0–2"),
        (
            Attack { units: Some(&far), ..lots(Some(1)) },
            "no unit 3 in layer stage1; its units are 0–2",
        ),
        (
            Attack { target: short, ..lots(None) },
            "stolen.npy#0 has 2 numbers, layer stage1 has 3; give what this layer sees, or the layer that it comes from",
        ),
        (
            Attack { target: whole, goal: Goal::Target, ..lots(None) },
            "the goal is the target's class, found no target image; give one, or another goal",
        ),
        (smallest(5, None, &Fgv), "no image 5 to attack; there are 5"),
        (lots(Some(7)), "no image 7 to attack; there are 5"),
        (
            smallest(2, None, &Fgv),
            "wide.png has 1×3×1 (height × width × channels), the network takes 1×2×1; give images of that shape",
        ),
        (
            lots(Some(3)),
            "colour.png has 1×2×3 (height × width × channels), the network takes 1×2×1; give images of that shape",
        ),
        (
            Attack { extent: Extent::Linf(0), ..smallest(0, None, &Fgv) },
            "an L∞ norm of 0 leaves the origin as it is; give 1–255 grey levels",
        ),
        (smallest(0, None, &foreign), "the method's layer is not one of this network's"),
    ];
    let good = [
        smallest(0, None, &Fgv),
        Attack { units: Some(&near), ..lots(Some(1)) },
        smallest(0, None, &last),
        Attack { extent: Extent::Linf(1), ..smallest(1, None, &Fgs) },
    ];
    let mut wrong = Vec::new();
    for (bad, wanted) in &cases {
        for before in [0, 1, 4] {
            // Behind it stand others that make no sense: the first is the one to tell.
            let others = cases.iter().map(|(other, _)| *other).collect::<Vec<_>>();
            let attacks = [&good[..before], std::slice::from_ref(bad), &good[..], &others].concat();
            let mut results = attack(&network, &decision, &images, &attacks);
            let told: Vec<_> =
                results.by_ref().take(before).map(|r| r.map(|a| a.outcome)).collect();
            if !told.iter().all(|r| matches!(r, Ok(Outcome::Adversarial(_) | Outcome::NotFound(_))))
            {
                wrong.push(format!("{bad:?} behind {before}: {told:?}"));
            }
            match results.next() {
                Some(Err(e)) if e.to_string() == *wanted => {}
                other => wrong.push(format!("{bad:?}:\n  wanted {wanted}\n  found  {other:?}")),
            }
            if results.next().is_some() {
                wrong.push(format!("{bad:?}: results after the error"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_attacks_have_no_results() {
    let network = network();
    let decision = Argmax::of(&network).unwrap();
    assert_eq!(attack(&network, &decision, &[], &[]).count(), 0);
}

/// A misclassified origin is a result whatever is asked of it.
#[test]
fn a_wrong_label_comes_first() {
    let network = network();
    let decision = Argmax::of(&network).unwrap();
    let images = [NamedImage { label: Some(2), ..image("a.png", [0, 0]) }];
    let attacks =
        [smallest(0, None, &Fgv), Attack { goal: Goal::Class(0), ..smallest(0, None, &Fgv) }];
    for result in attack(&network, &decision, &images, &attacks) {
        assert_eq!(result.unwrap().outcome, Outcome::OriginMisclassified);
    }
}

#[test]
fn an_output_that_is_not_finite_names_the_image() {
    let infinite =
        Plain::new([1, 1, 2], vec![Stage::linear(vec![vec![1e38, 0.0], vec![0.0, 1.0]])]);
    let undefined =
        Plain::new([1, 1, 2], vec![Stage::new(vec![vec![1.0, 0.0]; 2], vec![f64::NAN, 0.0])]);
    for (network, before) in [(infinite, 1), (undefined, 0)] {
        let decision = Argmax::of(&network).unwrap();
        let images = [image("dark.png", [0, 9]), image("bright.png", [200, 0])];
        let lots = Lots(network.layer(1));
        for bad in [smallest(1, None, &Fgv), smallest(0, Some(1), &lots)] {
            let results: Vec<_> =
                attack(&network, &decision, &images, &[smallest(0, None, &Fgv), bad]).collect();
            assert_eq!(results.len(), before + 1, "{results:?}");
            let error = results[before].as_ref().unwrap_err().to_string();
            let name = if before == 1 { "bright.png" } else { "dark.png" };
            assert_eq!(
                error,
                format!("the network gives no class for {name}: its output is not finite")
            );
        }
    }
}

#[test]
fn galleries_without_sense_are_told_so() {
    let network = network();
    let person = |name: &str, images: &[NamedImage]| Identity {
        name: name.to_owned(),
        images: images.to_vec(),
    };
    let (a, b) = (person("a", &[image("a.png", [0, 9])]), person("b", &[image("b.png", [9, 9])]));
    let dark = person("dark", &[image("dark.png", [0, 0])]);
    let wide = unlabelled("wide.png", Image::new(3, 1, 1, vec![0; 3]).unwrap());
    let (nobody, large) = (person("nobody", &[]), person("large", &[wide]));
    let unknown = person("unknown", &b.images);
    let (euclidean, cosine) = (Distance::Euclidean, Distance::Cosine);
    let layer = network.layer(1);
    let cases = [
        (
            vec![&a],
            euclidean,
            None,
            "the gallery tells no classes apart: it holds 1 identities; wanted two, or one and a threshold",
        ),
        (
            vec![],
            euclidean,
            None,
            "the gallery tells no classes apart: it holds 0 identities; wanted two, or one and a threshold",
        ),
        (vec![&a, &a], euclidean, None, "the gallery has two classes called \"a\"; rename one"),
        (
            vec![&a, &unknown],
            euclidean,
            None,
            "an identity of the gallery is called \"unknown\", as what is none of them; rename it",
        ),
        (
            vec![&a, &nobody],
            euclidean,
            None,
            "nobody has no images in the gallery; wanted at least one",
        ),
        (
            vec![&a, &large],
            euclidean,
            None,
            "wide.png has 1×3×1 (height × width × channels), the network takes 1×2×1; give images of that shape",
        ),
        (vec![&a, &b], euclidean, Some(-1.0), "a threshold has to be above 0, found -1"),
        (vec![&a, &b], euclidean, Some(f32::INFINITY), "a threshold has to be above 0, found inf"),
        (
            vec![&a, &dark],
            cosine,
            None,
            "dark has no direction at this layer: its mean is zero; compare by euclidean distance, or at another layer",
        ),
    ];
    for (people, distance, threshold, wanted) in cases {
        let people: Vec<Identity> = people.into_iter().cloned().collect();
        let refused = Gallery::new(&network, layer, &people, distance, threshold).unwrap_err();
        assert_eq!(refused.to_string(), wanted);
    }
    // One identity and a threshold tell two classes apart; names come in their order.
    let open = |people: &[Identity]| Gallery::new(&network, layer, people, euclidean, Some(1.0));
    assert_eq!(open(&[b.clone(), a.clone()]).unwrap().names(), ["a", "b", "unknown"]);
    assert_eq!(open(&[a]).unwrap().names(), ["a", "unknown"]);
    let infinite =
        Plain::new([1, 1, 2], vec![Stage::new(vec![vec![1.0, 0.0]; 2], vec![f64::NAN, 0.0])]);
    let refused = Gallery::new(&infinite, infinite.layer(1), &[b], euclidean, Some(1.0));
    let wanted = "the network's representation of b.png is not finite";
    assert_eq!(refused.unwrap_err().to_string(), wanted);
}
