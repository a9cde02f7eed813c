//! `lots visualize` and `lots reproduce`.

use std::collections::BTreeSet;
use std::fs;

use lots::experiment::{FIGURE1, FIGURE2, FIGURE3, FIGURE4};
use lots::{Ending, Image, Record, open_image, read_records};
use serde_json::Value;
use tempfile::TempDir;

use crate::attack::workplace;
use crate::{done, lots, not_the_error};

fn files(dir: &TempDir, folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(dir.path().join(folder)).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn records(dir: &TempDir, folder: &str) -> Vec<Record> {
    read_records(&dir.path().join(folder)).unwrap()
}

/// The figure, and that it is one: a caption for each of `records`, PNG and SVG of one size.
fn figure(dir: &TempDir, stem: &str, records: &[Record]) -> (String, Image) {
    let svg = fs::read_to_string(dir.path().join(format!("{stem}.svg"))).unwrap();
    let png = Image::read_png(&dir.path().join(format!("{stem}.png"))).unwrap();
    assert!(svg.contains(&format!(r#"width="{}" height="{}""#, png.width(), png.height())));
    for record in records {
        let Some(pass) = record.pass else { continue };
        let (l2, linf) = (record.l2.unwrap().0, record.linf.unwrap().0);
        let caption = format!(">{pass:.4} | {l2:.0} | {linf}<");
        assert!(svg.contains(&caption), "no {caption} in {stem}.svg");
    }
    (svg, png)
}

#[test]
fn every_layer_is_shown_in_four_ways() {
    let dir = workplace();
    let text = done(&dir, "visualize lenet.onnx --origin four.png --out deep/seen");
    assert!(
        text.starts_with("four.png (class 4) with lenet.onnx\n\n#     layer  representation"),
        "{text}"
    );
    assert!(
        text.ends_with("\nfigure.png and figure.svg in deep/seen, with the images, named by #\n"),
        "{text}"
    );
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let found = records(&dir, "deep/seen");
    assert_eq!(found.len(), 16);
    let layers = ["conv1", "conv2", "ip1", "ip2"];
    let ways = [("magnify", Some(128)), ("magnify", None), ("reduce", Some(128)), ("reduce", None)];
    let origin = open_image("mnist:test:4").unwrap().image;
    for (i, record) in found.iter().enumerate() {
        assert_eq!(record.layer, layers[i / 4]);
        assert_eq!((record.method.as_str(), record.fixed_linf), ways[i % 4]);
        let is_there = record.fixed_linf.is_some() || record.outcome == Ending::Adversarial;
        assert_eq!(record.image.is_some(), is_there, "{}", i + 1);
        if record.fixed_linf.is_none() && is_there {
            assert_ne!(record.label, Some(4));
        }
        let Some(name) = &record.image else { continue };
        let image = Image::read_png(&dir.path().join("deep/seen").join(name)).unwrap();
        assert_eq!(lots::l2(&origin, &image).unwrap(), record.l2.unwrap());
    }
    let (svg, png) = figure(&dir, "deep/seen/figure", &found);
    assert!((2000..2700).contains(&png.width()), "{}", png.width());
    assert!(svg.contains("What lenet.onnx sees in four.png") && svg.contains(">conv2 (2): 4<"));
    let images = 2 * found.iter().filter(|record| record.image.is_some()).count();
    assert_eq!(svg.matches("<image").count(), images + 1);
    assert_eq!(files(&dir, "deep/seen").len(), images + 3);

    // Again: byte for byte the same, on one thread too; dark, it is as large.
    let line = "visualize lenet.onnx --origin four.png --threads 1 --out again";
    done(&dir, line);
    let bytes = |name: &str| fs::read(dir.path().join(name)).unwrap();
    for name in ["figure.png", "figure.svg", "records.jsonl"] {
        assert!(bytes(&format!("again/{name}")) == bytes(&format!("deep/seen/{name}")), "{name}");
    }
    done(&dir, &format!("{line} --force --theme dark"));
    let (_, dark) = figure(&dir, "again/figure", &found);
    assert_eq!((dark.width(), dark.height()), (png.width(), png.height()));
    assert!(dark.pixels()[0] < 40 && png.pixels()[0] == 255);
}

#[test]
fn layers_units_and_norms_are_those_asked_for() {
    let dir = workplace();
    let line = "visualize lenet.onnx --origin mnist:test:4 --layer conv1 --units 0,3 --linf 30";
    let text = done(&dir, &format!("{line} --out o --json"));
    let printed: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(printed.len(), 4);
    for record in printed {
        assert_eq!((&record["layer"], &record["units"]), (&"conv1".into(), &"0,3".into()));
        if let Some(image) = record["image"].as_str() {
            assert!(image.starts_with("o/") && dir.path().join(image).exists(), "{image}");
        }
    }
    let found = records(&dir, "o");
    let (svg, _) = figure(&dir, "o/figure", &found);
    assert!(svg.contains("magnified to L∞ = 30") && svg.contains("(units 0,3 only)"));
    assert!(found[0].linf.unwrap().0 <= 30);
}

#[test]
fn several_origins_have_a_figure_each() {
    let dir = workplace();
    // A label that is not what the network says is told, and no reason not to look.
    let network = "visualize lenet.onnx --layer ip1";
    let ran = lots(&dir, &format!("{network} --origin mnist:test:4 --origin mnist:test:9 --out o"));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(
        ran.stdout.contains("mnist:test:9 (class ") && ran.stdout.contains("\n0008  ip1 "),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout.ends_with(
            "figure-1.png to figure-2.png, and .svg in o, with the images, named by #\n"
        )
    );
    let found = records(&dir, "o");
    assert_eq!(found.len(), 8);
    figure(&dir, "o/figure-1", &found[..4]);
    figure(&dir, "o/figure-2", &found[4..]);
    let misread = (0..10_000).map(|i| format!("mnist:test:{i}")).find(|name| {
        let line = format!("{network} --origin {name} --out m --force");
        let ran = lots(&dir, &line);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran.stderr.contains(&format!("warning: {name} has label "))
    });
    assert!(misread.is_some());
}

/// Figures 1 and 3: a 4, and the 9 nearest to it, by the network that lies here.
#[test]
fn figures_of_digits() {
    let dir = workplace();
    for (number, paper, letter) in [(1, &FIGURE1, 'b'), (3, &FIGURE3, 'c')] {
        let ran = lots(&dir, &format!("reproduce figure{number}"));
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert_eq!(ran.stderr, "taking the network lenet.onnx\n");
        let text = ran.stdout;
        assert!(
            text.starts_with(&format!("figure {number} with lenet.onnx\norigin: mnist:test:4\n")),
            "{text}"
        );
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert_eq!(text.matches(" here  ").count(), 4);
        assert!(
            text.contains(&format!("({letter}) "))
                && text.contains("Network: lenet.onnx instead of")
        );
        let found = records(&dir, &format!("lots-figure{number}"));
        let (svg, _) = figure(&dir, &format!("lots-figure{number}/figure"), &found);
        assert!(svg.contains(&format!("Figure {number}: ")) && svg.contains(">(a) Origin<"));
        assert_eq!(svg.contains(">(b) Target<"), number == 3);
        for (record, sub) in found.iter().zip(paper.subfigures) {
            assert_eq!(record.layer.to_uppercase(), sub.layer);
            assert_eq!(record.layer_index, Some(sub.index));
            assert_eq!(record.origin, "mnist:test:4");
            let numbers = [format!("{:.4}", sub.pass), sub.l2.to_string(), sub.linf.to_string()];
            assert!(numbers.iter().all(|number| text.contains(number)), "{numbers:?} in {text}");
        }
        assert_eq!(found.len(), paper.subfigures.len());
        if number == 3 {
            assert!(found.iter().all(|r| r.outcome == Ending::Adversarial && r.label == Some(9)));
        }
    }
    let fixed: Vec<_> = records(&dir, "lots-figure1").iter().map(|r| r.fixed_linf).collect();
    assert_eq!(fixed, [Some(128), Some(128), None, None]);
}

#[test]
fn a_figure_for_programs() {
    let dir = workplace();
    let text = done(&dir, "reproduce figure3 lenet.onnx --out o --theme dark --json");
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&report["figure"], &report["png"]), (&"figure3".into(), &"o/figure.png".into()));
    let subfigures = report["subfigures"].as_array().unwrap();
    assert_eq!(subfigures.len(), 4);
    assert_eq!(subfigures[0]["letter"], "c");
    assert_eq!(subfigures[0]["paper"]["l2"], 283);
    assert_eq!(subfigures[0]["here"]["layer"], "conv1");
    assert!(dir.path().join(subfigures[3]["here"]["image"].as_str().unwrap()).exists());
    assert!(report["differences"].as_array().unwrap().len() > 1);
}

/// Figures 2 and 4, with what the program carries.
#[test]
fn figures_of_faces() {
    let dir = workplace();
    for (number, paper) in [(2, &FIGURE2), (4, &FIGURE4)] {
        let text = done(&dir, &format!("reproduce figure{number} --out {number}"));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("instead of VGG Face.") && text.contains(" for "), "{text}");
        let found = records(&dir, &number.to_string());
        assert_eq!(found.len(), paper.subfigures.len());
        // Magnified at its first layer, a face stays who it is.
        let missing: Vec<usize> = (0..found.len()).filter(|&i| found[i].image.is_none()).collect();
        assert_eq!(missing, if number == 2 { vec![6] } else { vec![] }, "{text}");
        figure(&dir, &format!("{number}/figure"), &found);
        for (record, sub) in found.iter().zip(paper.subfigures) {
            if record.fixed_linf.is_none() {
                assert_ne!(record.label_name.as_ref(), Some(&record.origin_name), "{}", sub.layer);
            }
        }
    }
    let found = records(&dir, "4");
    assert!(
        found.iter().all(|r| r.origin_name == "biden" && r.label_name.as_deref() == Some("obama"))
    );
    // The same, with all of it given.
    let line = "reproduce figure4 --gallery 4/people --threshold 0.6 --origin 4/people/biden/biden.png \
                --target 4/people/obama/obama.png --out own";
    done(&dir, line);
    let own = records(&dir, "own");
    assert_eq!(
        own.iter().map(|r| r.l2).collect::<Vec<_>>(),
        found.iter().map(|r| r.l2).collect::<Vec<_>>()
    );
}

/// Another network's layers are those that are as far along it.
#[test]
fn figures_of_another_network() {
    let dir = workplace();
    let line = "reproduce figure4 lenet.onnx --origin four.png --target mnist:test:9 --out o";
    let text = done(&dir, line);
    assert!(
        text.contains("Layers, at the same share of the depth: ip1 for FC6, ip1 for FC7."),
        "{text}"
    );
    let layers: Vec<String> = records(&dir, "o").into_iter().map(|r| r.layer).collect();
    assert_eq!(layers, ["ip1", "ip1"]);
}

#[test]
fn what_makes_no_figure_is_told_in_one_line() {
    let dir = workplace();
    fs::create_dir(dir.path().join("full")).unwrap();
    fs::write(dir.path().join("full/mine.txt"), "mine").unwrap();
    fs::write(dir.path().join("text.png"), "no image").unwrap();
    let small = Image::new(27, 27, 1, vec![0; 729]).unwrap();
    small.write_png(&dir.path().join("small.png")).unwrap();
    let face = concat!(env!("CARGO_MANIFEST_DIR"), "/../lots-faces/data/face_descriptor.onnx");
    let visualize = "visualize lenet.onnx";
    let four = "visualize lenet.onnx --origin four.png";
    let cases = [
        (format!("{visualize} --out o"), "required arguments were not provided: --origin <IMG>"),
        ("visualize --origin four.png --out o".to_owned(), "were not provided: <MODEL>"),
        (four.to_owned(), "required arguments were not provided: --out <DIR>"),
        (format!("{four} --layer conv3 --out o"), "no layer \"conv3\" in lenet.onnx; layers: "),
        (format!("{four} --layer ip2 --units 10 --out o"), "no unit 10 in layer ip2; its units"),
        (format!("{four} --linf 0 --out o"), "invalid value '0' for '--linf <N>'"),
        (format!("{four} --theme blue --out o"), "invalid value 'blue' for '--theme <THEME>'"),
        (format!("{four} --out full"), "full is not empty; give another folder, or --force"),
        (format!("{four} --out four.png"), "four.png is a file, wanted a folder for the results"),
        (
            format!("{visualize} --origin small.png --out o"),
            "small.png has 27×27×1 (height × width × channels), lenet.onnx takes 28×28×1; scale",
        ),
        (format!("{visualize} --origin text.png --out o"), "text.png is not a PNG"),
        (format!("{visualize} --origin none.png --out o"), "no image \"none.png\"; "),
        (
            format!("{visualize} --origin mnist:test --out o"),
            "is a data set (10000 image(s)), wanted",
        ),
        ("reproduce figure5".to_owned(), "unrecognized subcommand 'figure5'"),
        (
            "reproduce figure1 --out full".to_owned(),
            "full is not empty; give another folder, or --force",
        ),
        (
            format!("reproduce figure1 {face} --out o"),
            "face_descriptor.onnx takes no digits of MNIST (28×28, grey, 10 classes); give another",
        ),
        ("reproduce figure1 none.onnx --out o".to_owned(), "none.onnx"),
        (
            "reproduce figure2 lenet.onnx --out o".to_owned(),
            "another network or gallery needs faces of its own, found no --origin; give one",
        ),
        (
            "reproduce figure4 --gallery full --origin four.png --out o".to_owned(),
            "faces of its own, found no --target; give one",
        ),
        (
            "reproduce figure4 --origin small.png --out o".to_owned(),
            "small.png has 27×27×1 (height × width × channels), face_descriptor.onnx takes",
        ),
    ];
    let mut failures = Vec::new();
    for (line, wanted) in cases {
        failures.extend(not_the_error(&lots(&dir, &line), wanted).map(|f| format!("{line}: {f}")));
        let _ = fs::remove_dir_all(dir.path().join("o"));
    }
    assert!(failures.is_empty(), "{failures:#?}");
    assert_eq!(files(&dir, "full"), ["mine.txt".to_owned()].into());
}
