//! The statistics of robustness, by hand, and surveys of a network.

#![allow(clippy::unwrap_used, reason = "tests may panic")]
#![allow(clippy::float_cmp, reason = "what is compared has to be the same number")]

use lots::attack::{Argmax, Attack, Lots, Magnify, Method, Reduce, Target, attack};
use lots::robustness::{Key, Robustness, Survey, Tally, Way};
use lots::{NamedImage, Record, open_image};
use lots_nn::{Network, lenet};
use serde_json::json;

/// A record with what statistics ask for; without an L2, nothing was found.
fn record(
    origin: &str,
    class: usize,
    layer: (&str, usize),
    method: &str,
    l2: Option<f64>,
) -> Record {
    let outcome = if l2.is_some() { "adversarial" } else { "not_found" };
    let linf = l2.map(|l2| (l2 / 10.0) as u8);
    let record = json!({
        "model": "m", "origin": origin, "origin_label": class, "origin_name": format!("class {class}"),
        "origin_class": class, "method": method, "layer": layer.0, "layer_index": layer.1,
        "goal": "any", "outcome": outcome, "l2": l2, "linf": linf,
        "pass": l2.map(|l2| 1.0 - l2 / 1000.0), "focus": l2.map(|_| 0.75), "breadth": l2.map(|_| 0.25),
    });
    serde_json::from_value(record).unwrap()
}

const LOWER: (&str, usize) = ("lower", 1);
const UPPER: (&str, usize) = ("upper, last", 2);

/// Four images of two classes, one of them misclassified, at two layers.
fn robustness() -> Robustness {
    let mut tally = Tally::default();
    // For each image: reduce at the lower layer, two targets there; the same at the upper one.
    let images: [(&str, usize, [Option<f64>; 6]); 3] = [
        ("a", 1, [Some(100.0), Some(80.0), None, Some(60.0), Some(90.0), Some(70.0)]),
        ("b", 0, [Some(300.0), None, None, Some(50.0), None, Some(400.0)]),
        ("c", 1, [None, None, Some(40.0), None, None, None]),
    ];
    for (origin, class, [reduce, one, two, upper, upper_one, upper_two]) in images {
        let all = [
            (LOWER, "reduce", reduce),
            (LOWER, "lots", one),
            (LOWER, "lots", two),
            (UPPER, "reduce", upper),
            (UPPER, "lots", upper_one),
            (UPPER, "lots", upper_two),
        ];
        for (layer, method, l2) in all {
            tally.add(&record(origin, class, layer, method, l2));
        }
        // Between others, so that nothing of it is taken for a neighbour's.
        if origin == "b" {
            for (layer, method, _) in all {
                let misread = record("wrong", 1, layer, method, None);
                tally.add(&Record { outcome: lots::Ending::OriginMisclassified, ..misread });
            }
        }
    }
    tally.finish()
}

#[test]
fn sizes_by_hand() {
    let found = robustness();
    assert_eq!((found.images, found.misclassified), (3, 1));
    let layers: Vec<_> =
        found.layers.iter().map(|layer| (layer.name.as_str(), layer.index)).collect();
    assert_eq!(layers, [("lower", Some(1)), ("upper, last", Some(2))]);
    let lower = &found.layers[0].methods;
    assert_eq!(lower.iter().map(|m| m.method.as_str()).collect::<Vec<_>>(), ["reduce", "lots"]);
    let reduce = &lower[0];
    assert_eq!((reduce.all.attempts, reduce.all.found), (3, 2));
    // 100 and 300: place p·(2 − 1).
    assert_eq!(reduce.all.l2.unwrap().all(), [110.0, 150.0, 200.0, 250.0, 290.0]);
    assert_eq!(reduce.all.linf.unwrap().all(), [11.0, 15.0, 20.0, 25.0, 29.0]);
    // Up to rounding.
    assert!((reduce.all.pass.unwrap().p50 - 0.8).abs() < 1e-12);
    assert_eq!((reduce.all.focus.unwrap().p50, reduce.all.breadth.unwrap().p05), (0.75, 0.25));
    let third = 1.0 / 3.0;
    assert_eq!(reduce.success_by_l2, [(100.0, third), (300.0, 2.0 * third)]);
    assert_eq!(reduce.success_by_linf, [(10.0, third), (30.0, 2.0 * third)]);
    let classes: Vec<_> = (reduce.classes.iter())
        .map(|one| (one.class, one.name.as_str(), one.sizes.attempts, one.sizes.found))
        .collect();
    assert_eq!(classes, [(0, "class 0", 1, 1), (1, "class 1", 2, 1)]);
    assert_eq!(reduce.classes[1].sizes.l2.unwrap().all(), [100.0; 5]);
    let lots = &lower[1].all;
    assert_eq!((lots.attempts, lots.found), (6, 2));
    assert_eq!(found.layers[1].methods[0].classes[1].sizes.found, 1);
}

/// The smallest L2 of a, b, c: 80, 300, 40 at the lower layer, 60, 50 and none at the upper one.
#[test]
fn ranks_by_hand() {
    let ranks = robustness().ranking;
    let found: Vec<_> = (ranks.iter())
        .map(|rank| (rank.layer.as_str(), rank.reached, rank.first, rank.l2))
        .collect();
    let wanted = [
        ("upper, last", 2, 2, [Some(50.0), Some(60.0), None]),
        ("lower", 3, 1, [Some(40.0), Some(80.0), Some(300.0)]),
    ];
    assert_eq!(found, wanted);
}

#[test]
fn words_by_hand() {
    assert_eq!(
        robustness().words(),
        [
            "upper, last (2) gives way first: half of the 3 images change class within L2 60. For 66.7 % of the \
             images no other layer needs less.",
            "lower (1) holds longest: it takes L2 80 there, 1.3 times as much.",
            "reduce succeeds in 66.7 % of 3 attempts at every layer.",
            "lots succeeds in 33.3 % of 6 attempts at lower (1), in 50.0 % at upper, last (2).",
        ]
    );
}

#[test]
fn few_results_and_none() {
    let words = |records: &[Record]| {
        let mut tally = Tally::default();
        records.iter().for_each(|record| tally.add(record));
        let robustness = tally.finish();
        for svg in [
            robustness.success_by_l2_svg(),
            robustness.success_by_linf_svg(),
            robustness.ranking_svg(),
        ] {
            assert!(svg.unwrap().ends_with("</svg>\n"));
        }
        assert!(!robustness.csv().unwrap().is_empty());
        let json = serde_json::to_string(&robustness).unwrap();
        assert_eq!(serde_json::from_str::<Robustness>(&json).unwrap(), robustness);
        robustness.words().join(" ")
    };
    assert_eq!(words(&[]), "No image was attacked.");
    let missed = record("a", 0, LOWER, "magnify", None);
    let misread = Record { outcome: lots::Ending::OriginMisclassified, ..missed.clone() };
    assert_eq!(
        words(&[misread]),
        "The network misclassifies all 1 images, so there was nothing to attack."
    );
    assert_eq!(
        words(&[missed]),
        "No layer gives way: at none of them do half of the 1 images change class, however far it goes. \
         magnify succeeds in 0 % of 1 attempts at this layer."
    );
    // A layer that joins late, as in a mixture of runs, and measures that old records do not have.
    let late = record("b", 0, UPPER, "reduce", Some(9.0));
    let late = Record { focus: None, breadth: None, ..late };
    assert!(
        words(&[record("a", 0, LOWER, "reduce", Some(5.0)), late])
            .contains("lower (1) gives way first")
    );
}

/// Thousands of sizes are thinned out: evenly, with their ends, and no share is wrong.
#[test]
fn long_curves_are_thinned_out() {
    let mut tally = Tally::default();
    for i in 0..1000 {
        let l2 = (i % 4 != 0).then_some(f64::from(i));
        tally.add(&record(&i.to_string(), 0, LOWER, "reduce", l2));
    }
    let curve = tally.finish().layers.remove(0).methods.remove(0).success_by_l2;
    assert_eq!((curve.len(), curve[0], curve[200]), (201, (1.0, 0.001), (999.0, 0.75)));
    for (l2, share) in curve {
        let within = (0..=l2 as u32).filter(|i| i % 4 != 0).count();
        assert!((share - within as f64 / 1000.0).abs() < 1e-12, "{l2} {share}");
    }
}

#[test]
fn tables_hold_every_class() {
    let table = String::from_utf8(robustness().csv().unwrap()).unwrap();
    let lines: Vec<&str> = table.lines().collect();
    let start = "layer,layer_index,method,class,class_name,attempts,found,success,l2_05,l2_25,l2_50,l2_75,l2_95,linf_05,";
    assert!(lines[0].starts_with(start), "{}", lines[0]);
    assert!(lines[0].ends_with(",focus_95,breadth_05,breadth_25,breadth_50,breadth_75,breadth_95"));
    assert_eq!(lines.len(), 1 + 2 * 2 * 3);
    assert!(
        lines[1].starts_with("lower,1,reduce,,,3,2,0.6666666666666666,110,150,200,250,290,11,")
    );
    assert!(lines[2].starts_with("lower,1,reduce,0,class 0,1,1,1,300,"), "{}", lines[2]);
    assert!(lines[7].starts_with("\"upper, last\",2,reduce,,,3,2,"), "{}", lines[7]);
    // Nothing found.
    let nothing = lines.iter().find(|line| line.starts_with("lower,1,lots,0,")).unwrap();
    assert!(nothing.starts_with("lower,1,lots,0,class 0,2,0,0,,,,,"), "{nothing}");
    let columns = lines[0].split(',').count();
    assert_eq!((nothing.split(',').count(), columns), (33, 33));
}

/// An untrained LeNet has classes, too; labels are what it says.
fn images(network: &dyn Network, positions: &[usize]) -> Vec<NamedImage> {
    let logits = |image: &NamedImage| {
        let pixels =
            lots::images_batch(network.input(), std::slice::from_ref(&image.image)).unwrap();
        network.represent(pixels.view(), network.output()).unwrap().into_iter().collect::<Vec<_>>()
    };
    let open = |&position: &usize| {
        let image = open_image(&format!("mnist:test:{position}")).unwrap();
        let best = logits(&image).iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
        NamedImage { label: Some(best), ..image }
    };
    positions.iter().map(open).collect()
}

/// Oracle: each attack alone.
#[test]
fn a_survey_does_each_attack_once() {
    let network = lenet(0);
    let decision = Argmax::of(&network).unwrap();
    let origins = images(&network, &[0, 1, 2, 3, 40]);
    // What matters of a target's label is whether it is the origin's.
    let targets = images(&network, &[4, 5, 6, 7, 8, 9, 10, 60, 61, 62]).into_iter().enumerate();
    let targets: Vec<NamedImage> =
        targets.map(|(label, image)| NamedImage { label: Some(label), ..image }).collect();
    let layers = network.find_layers("all").unwrap();
    let (lower, upper) = (layers[1], layers[3]);
    let ways = [Way::Reduce, Way::Magnify, Way::Lots];
    let survey =
        Survey::new(&network, "lenet", &decision, targets.clone(), &[lower, upper], &ways).unwrap();

    let run = |done| {
        let mut records = Vec::new();
        let each = |record: Record, origin: &lots::Image, found: Option<&lots::Image>| {
            let l2 = found.map(|found| lots::l2(origin, found).unwrap());
            assert_eq!(record.l2, l2);
            records.push(record);
            Ok::<_, lots::Error>(true)
        };
        survey.run(&origins, done, each).unwrap();
        records
    };
    let records = run(0);
    let keys: Vec<Key<'_>> = survey.keys(&origins).collect();
    assert_eq!(records.iter().map(Key::of).collect::<Vec<_>>(), keys);
    for done in [1, keys.len() / 2, keys.len() - 1, keys.len(), keys.len() + 9] {
        assert_eq!(run(done), records[done.min(keys.len())..], "after {done}");
    }

    let mut expected = Vec::new();
    for origin in &origins {
        for &layer in &[lower, upper] {
            let info = network.layers().iter().find(|info| info.id == layer).unwrap();
            let methods: [Box<dyn Method>; 3] =
                [Box::new(Reduce(layer)), Box::new(Magnify(layer)), Box::new(Lots(layer))];
            for method in &methods {
                let led = method.name() == "lots";
                let others = targets.iter().filter(|target| target.label != origin.label);
                let others = others.map(Some).filter(|_| led).chain((!led).then_some(None));
                for target in others {
                    let images: Vec<NamedImage> =
                        std::iter::once(origin).chain(target).cloned().collect();
                    let one = Attack::smallest(0, target.map(|_| Target::Image(1)), &**method);
                    let result = attack(&network, &decision, &images, &[one]).next().unwrap();
                    let record =
                        Record::new("lenet", info, &decision, &images, &one, &result.unwrap());
                    expected.push(record.unwrap());
                }
            }
        }
    }
    assert_eq!(records, expected);

    // It stops where it is told to.
    let mut count = 0;
    survey
        .run(&origins, 0, |_, _, _| {
            count += 1;
            Ok::<_, lots::Error>(count < 7)
        })
        .unwrap();
    assert_eq!(count, 7);
}

#[test]
fn images_without_labels_are_refused() {
    let network = lenet(0);
    let decision = Argmax::of(&network).unwrap();
    let bare = NamedImage { label: None, ..open_image("mnist:test:3").unwrap() };
    let layers = network.find_layers("ip2").unwrap();
    let survey =
        |targets| Survey::new(&network, "lenet", &decision, targets, &layers, &[Way::Reduce]);
    let refused = survey(vec![bare.clone()]).err().unwrap().to_string();
    assert!(refused.contains("mnist:test:3 has no label"), "{refused}");
    let survey = survey(Vec::new()).unwrap();
    let run = survey.run(std::slice::from_ref(&bare), 0, |_, _, _| Ok::<_, lots::Error>(true));
    assert!(run.unwrap_err().to_string().contains("mnist:test:3 has no label"));
}
