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
    assert!(svg.contains("iterative-lots ip1"), "{svg}");

    let text = done(&dir, &format!("{line} --out b --images"));
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.contains("\nhot-cold        -      "), "{text}");
    let images = lots::read_records(&dir.path().join("b")).unwrap();
    assert!(images.iter().filter(|r| r.image.is_some()).count() > 100);
}

#[test]
fn what_makes_no_sense_is_told_in_one_line() {
    let dir = workplace();
    let cases = [
        ("--methods fly", "invalid value 'fly' for '--methods <METHODS>'"),
        ("--methods pgd-l2 --l2 0", "a step of pgd has to be above 0 grey levels, found 0"),
        ("--methods lots --layer conv3", "no layer \"conv3\" in lenet.onnx; layers: "),
        ("--data nothing", "nothing"),
    ];
    for (line, wanted) in cases {
        let ran = lots(&dir, &format!("compare lenet.onnx {line} --out o --force"));
        assert_eq!(not_the_error(&ran, wanted), None, "{line}");
    }
}
