use std::fs;

use serde_json::Value;

use crate::attack::workplace;
use crate::{done, lots, not_the_error};

/// What a run says is what its records say, and its text fits a terminal.
#[test]
fn a_table_of_records() {
    let dir = workplace();
    let line = "compare lenet.onnx --data mnist:test:0..40 --methods fgv,lots,iterative-lots,pgd-l2,pgd-linf,deepfool,hot-cold --layer ip1";
    let json = done(&dir, &format!("{line} --out a --json"));
    let told: Value = serde_json::from_str(&json).unwrap();
    let saved = fs::read(dir.path().join("a/comparison.json")).unwrap();
    assert_eq!(told, serde_json::from_slice::<Value>(&saved).unwrap());
    let records = lots::read_records(&dir.path().join("a")).unwrap();
    let contenders = told["contenders"].as_array().unwrap();
    assert_eq!((contenders.len(), records.len()), (7, 7 * 40));
    for (one, some) in contenders.iter().zip(records.chunks(40)) {
        let tried: Vec<_> =
            some.iter().filter(|r| r.outcome != lots::Ending::OriginMisclassified).collect();
        let found: Vec<f64> = tried
            .iter()
            .filter(|r| r.outcome == lots::Ending::Adversarial)
            .map(|r| r.l2.unwrap().0)
            .collect();
        assert_eq!(one["attempts"], tried.len(), "{one}");
        assert_eq!(one["found"], found.len(), "{one}");
        let mean = found.iter().sum::<f64>() / found.len() as f64;
        assert!((one["means"]["l2"].as_f64().unwrap() - mean).abs() < 1e-6, "{one}");
        let backward: u32 = tried.iter().map(|r| r.passes.unwrap().backward).sum();
        let mean = f64::from(backward) / tried.len() as f64;
        assert!((one["backward"].as_f64().unwrap() - mean).abs() < 1e-9, "{one}");
        assert!(some.iter().all(|r| r.image.is_none()));
    }
    let svg = fs::read_to_string(dir.path().join("a/success-l2.svg")).unwrap();
    for text in ["iterative-lots", "without a layer", "ip1"] {
        assert!(svg.contains(text), "{text}: {svg}");
    }

    let text = done(&dir, &format!("{line} --out b --images"));
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.contains("\nhot-cold        -      "), "{text}");
    let images = lots::read_records(&dir.path().join("b")).unwrap();
    assert!(images.iter().filter(|r| r.image.is_some()).count() > 100);
}

/// Minimisations: what is near the target's representation, and how near, is that of their own images.
#[test]
fn minima_are_compared_too() {
    let dir = workplace();
    let line = "compare lenet.onnx --data mnist:test:0..8 --methods lots,lbfgs,feature-adversary,fgv --boxes 10,200 --layer ip1";
    let json = done(&dir, &format!("{line} --images --out a --json"));
    let told: Value = serde_json::from_str(&json).unwrap();
    let one = |method: &str| -> Value {
        let contenders = told["contenders"].as_array().unwrap();
        contenders.iter().find(|one| one["method"] == method).unwrap().clone()
    };
    let l2 = |method: &str| one(method)["means"]["l2"].as_f64().unwrap();
    assert!(l2("lbfgs") < l2("fgv"), "{json}");
    assert!(one("lbfgs")["distance"].is_null() && one("fgv")["distance"].is_null(), "{json}");
    let near = |method: &str| one(method)["distance"].as_f64().unwrap();
    let boxes = ["feature-adversary L∞ 10", "feature-adversary L∞ 200"].map(near);
    assert!(boxes[1] < 0.5 * boxes[0] && boxes[0] < 1.0, "{json}");

    let network = lots_nn::Graph::open(dir.path().join("lenet.onnx")).unwrap();
    let layer = network.find_layers("ip1").unwrap()[0];
    let seen = |image: &lots::Image| -> Vec<f32> {
        let input = lots_nn::Network::input(&network);
        let batch = lots::images_batch(input, std::slice::from_ref(image)).unwrap();
        lots_nn::Network::represent(&network, batch.view(), layer).unwrap().into_iter().collect()
    };
    let far =
        |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
    let records = lots::read_records(&dir.path().join("a")).unwrap();
    let wide =
        records.iter().filter(|r| r.walk.as_ref().is_some_and(|w| w.ends_with("L∞ at most 200")));
    let shares: Vec<f64> = wide
        .map(|record| {
            let [origin, target] = [&record.origin, record.target.as_ref().unwrap()]
                .map(|name| seen(&lots::open_image(name).unwrap().image));
            let made = record.image.as_ref().unwrap();
            let made = seen(
                &lots::open_image(dir.path().join("a").join(made).to_str().unwrap()).unwrap().image,
            );
            (far(&made, &target) / far(&origin, &target)).sqrt()
        })
        .collect();
    assert_eq!(shares.len(), 8);
    assert!((shares.iter().sum::<f64>() / 8.0 - boxes[1]).abs() < 1e-6, "{shares:?} {json}");
}

#[test]
fn what_makes_no_sense_is_told_in_one_line() {
    let dir = workplace();
    let cases = [
        ("--methods fly", "invalid value 'fly' for '--methods <METHODS>'"),
        ("--methods pgd-l2 --l2 0", "a step of pgd has to be above 0 grey levels, found 0"),
        ("--methods lots --layer conv3", "no layer \"conv3\" in lenet.onnx; layers: "),
        ("--data nothing", "nothing"),
        ("--methods fgv --boxes 10", "--boxes are for feature-adversary, found other methods only"),
        ("--boxes 10,0", "invalid value '0' for '--boxes <N>'"),
    ];
    for (line, wanted) in cases {
        let ran = lots(&dir, &format!("compare lenet.onnx {line} --out o --force"));
        assert_eq!(not_the_error(&ran, wanted), None, "{line}");
    }
}
