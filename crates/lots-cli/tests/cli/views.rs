//! `lots visualize --with`.

use std::collections::BTreeSet;
use std::fs;

use lots::{Image, open_image};
use serde_json::Value;
use tempfile::TempDir;

use crate::{done, lots, not_the_error, workplace};

const ALL: [&str; 5] = ["saliency", "deconvolution", "guided", "maximise", "invert"];
const LAYERS: [&str; 4] = ["conv1", "conv2", "ip1", "ip2"];

/// The lines of `views.jsonl`.
fn views(dir: &TempDir, folder: &str) -> Vec<Value> {
    let lines = fs::read_to_string(dir.path().join(folder).join("views.jsonl")).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What the caption of a view says.
fn caption(view: &Value) -> Vec<String> {
    let number = |name: &str| view[name].as_f64().map(|x| format!("{x:.2}"));
    let mut lines: Vec<String> =
        view["unit"].as_u64().map(|u| format!("unit {u}")).into_iter().collect();
    if let Some(after) = number("response_after") {
        lines.push(format!("{} → {after}", number("response").unwrap()));
    }
    lines.extend(number("distance").map(|distance| format!("distance {distance}")));
    lines
}

/// A digit by all methods: a view for each method and layer, its picture, its caption, its line in the table; the same bytes
/// again, on one thread too.
#[test]
fn every_method_is_shown_beside_lots() {
    let dir = workplace();
    let line = "visualize lenet.onnx --origin mnist:test:4 --with guided,saliency,invert --with maximise,deconvolution";
    let text = done(&dir, &format!("{line} --out seen"));
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(
        text.contains(
            "\nmnist:test:4, by other methods\n\nlayer  unit  response  maximised  inverted\n"
        ),
        "{text}"
    );
    assert!(
        text.ends_with("\ncomparison.png and comparison.svg in seen: LOTS beside them\n"),
        "{text}"
    );
    let found = views(&dir, "seen");
    let kinds: BTreeSet<(&str, &str)> = found
        .iter()
        .map(|view| (view["with"].as_str().unwrap(), view["layer"].as_str().unwrap()))
        .collect();
    let wanted = ALL.into_iter().flat_map(|with| LAYERS.map(|layer| (with, layer)));
    assert_eq!((found.len(), kinds), (20, wanted.collect()));

    let svg = fs::read_to_string(dir.path().join("seen/comparison.svg")).unwrap();
    let png = Image::read_png(&dir.path().join("seen/comparison.png")).unwrap();
    assert!(svg.contains(&format!(r#"width="{}" height="{}""#, png.width(), png.height())));
    for heading in ["LOTS, magnified to L∞ = 128", "gradient saliency", "representation inverted"]
    {
        // Headings may be broken into lines.
        assert!(heading.split(' ').all(|word| svg.contains(word)), "{heading}");
    }
    // The origin, LOTS in two pictures a layer, and the views.
    assert_eq!(svg.matches("<image").count(), 1 + 2 * 4 + 20);
    for view in &found {
        for line in caption(view) {
            assert!(svg.contains(&format!(">{line}<")), "no {line} in the figure");
        }
        let picture =
            Image::read_png(&dir.path().join("seen").join(view["image"].as_str().unwrap()))
                .unwrap();
        assert_eq!((picture.width(), picture.height(), picture.channels()), (28, 28, 1));
        assert!(picture.pixels().iter().any(|x| x != &picture.pixels()[0]), "{view}");
        if view["with"] == "maximise" {
            assert!(view["response_after"].as_f64() > view["response"].as_f64(), "{view}");
        }
        if view["with"] == "invert" {
            assert!(view["unit"].is_null() && view["distance"].as_f64() < Some(0.5), "{view}");
        }
    }

    done(&dir, &format!("{line} --out again --threads 1"));
    let bytes = |name: &str| fs::read(dir.path().join(name)).unwrap();
    for name in ["comparison.png", "views.jsonl", "figure.png"] {
        assert!(bytes(&format!("again/{name}")) == bytes(&format!("seen/{name}")), "{name}");
    }
    // The seed decides the noise, which only climbs begin with; some of them end elsewhere, then.
    done(&dir, &format!("{line} --out other --seed 1"));
    let mut moved = 0;
    for (one, other) in found.iter().zip(views(&dir, "other")) {
        let picture = |folder: &str, view: &Value| {
            bytes(&format!("{folder}/{}", view["image"].as_str().unwrap()))
        };
        let differs = picture("seen", one) != picture("other", &other);
        let climbs = one["with"] == "maximise" || one["with"] == "invert";
        assert!(climbs || !differs, "{one}");
        moved += usize::from(differs);
    }
    assert!(moved > 0);
}

#[test]
fn several_origins_units_and_programs() {
    let dir = workplace();
    let line = "visualize lenet.onnx --origin mnist:test:4 --origin mnist:test:0 --layer conv1 --layer ip2 \
                --units 1..4 --with maximise,saliency";
    let text = done(&dir, &format!("{line} --out o --json"));
    let printed: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let found = views(&dir, "o");
    assert_eq!((printed.len(), found.len()), (2 * 2 * 4 + 8, 8));
    for (printed, view) in printed[16..].iter().zip(&found) {
        assert_eq!(printed["image"], format!("o/{}", view["image"].as_str().unwrap()));
        assert!(dir.path().join(printed["image"].as_str().unwrap()).exists());
        assert_eq!(view["units"], "1..4");
        assert!((1..4).contains(&view["unit"].as_u64().unwrap()), "{view}");
    }
    for stem in ["figure-1", "comparison-1", "comparison-2"] {
        assert!(dir.path().join(format!("o/{stem}.png")).exists(), "{stem}");
    }
    let text = done(&dir, &format!("{line} --out p"));
    assert!(
        text.ends_with("\ncomparison-1.png to comparison-2.png, and .svg in p: LOTS beside them\n"),
        "{text}"
    );
}

/// What is asked for in vain is told before anything is done.
#[test]
fn what_cannot_be_shown_is_told_at_once() {
    let dir = workplace();
    open_image("mnist:test:4").unwrap().image.write_png(&dir.path().join("four.png")).unwrap();
    // Names of as many letters: what else the file says stays true.
    let mut bytes = lots_nn::lenet(0).to_onnx();
    let relu = bytes.windows(4).position(|name| name == b"Relu").unwrap();
    bytes[relu..relu + 4].copy_from_slice(b"Tanh");
    fs::write(dir.path().join("tanh.onnx"), bytes).unwrap();
    let start = "--origin four.png --out o --with";
    let refused = "guided back-propagation are defined for ReLUs only; Tanh \"relu1\" lies between layer \"ip2\" of tanh.onnx and \
                   the image; take the gradient, or a layer in front of \"relu1\"";
    let wrong: Vec<String> = [
        (
            "lenet.onnx --layer ip2 --units 10",
            "saliency",
            "no unit 10 in layer ip2; its units are 0–9",
        ),
        ("tanh.onnx", "guided", refused),
        ("tanh.onnx", "invert,deconvolution", refused),
    ]
    .into_iter()
    .filter_map(|(what, with, wanted)| {
        not_the_error(&lots(&dir, &format!("visualize {what} {start} {with}")), wanted)
    })
    .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    // Before the operator, and by other methods, nothing is wrong.
    done(&dir, &format!("visualize tanh.onnx {start} guided --layer ip1"));
    done(&dir, &format!("visualize tanh.onnx {start} saliency,invert --force"));
    fs::remove_dir_all(dir.path().join("o")).unwrap();
    let ran = lots(&dir, &format!("visualize lenet.onnx {start} lime"));
    assert_eq!(ran.code, 2);
    let wanted = "saliency, deconvolution, guided, maximise, invert";
    assert!(ran.stderr.contains("'lime'") && ran.stderr.contains(wanted), "{}", ran.stderr);
    assert!(!dir.path().join("o").exists());
}
