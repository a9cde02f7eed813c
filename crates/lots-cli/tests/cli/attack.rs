use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::sync::OnceLock;

use lots::{Image, Split, Training, images_batch, l2, linf, open_dataset, open_image, pass};
use lots_nn::{Graph, Network, lenet};
use png::{BitDepth, ColorType, Encoder};
use serde_json::Value;
use tempfile::TempDir;

use crate::{done, lots, not_the_error};

/// A LeNet of some iterations, as ONNX.
fn network() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let data = open_dataset("mnist:train:0..6400", Split::Train).unwrap();
        let mut training = Training::start(lenet(0), &data, 0).unwrap();
        for _ in 0..100 {
            training.step().unwrap();
        }
        training.finished()
    })
}

/// A folder with `lenet.onnx`, trained a little, and `four.png`, which it reads as a 4.
pub(crate) fn workplace() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("lenet.onnx"), network()).unwrap();
    open_image("mnist:test:4").unwrap().image.write_png(&dir.path().join("four.png")).unwrap();
    dir
}

/// What `lots attack lenet.onnx LINE --json` prints, and its exit code.
fn attack(dir: &TempDir, line: &str) -> (Vec<Value>, i32) {
    let ran = lots(dir, &format!("attack lenet.onnx {line} --json"));
    assert!(ran.code < 2 && ran.stderr.is_empty(), "{line}: {}", ran.stderr);
    let records = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (records, ran.code)
}

/// What the network says of a PNG file.
fn class(dir: &TempDir, file: &str) -> u64 {
    let network = Graph::from_onnx(network(), "lenet.onnx").unwrap();
    let image = Image::read_png(&dir.path().join(file)).unwrap();
    let logits = network
        .represent(images_batch(network.input(), &[image]).unwrap().view(), network.output());
    let logits = logits.unwrap();
    let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
    best.0 as u64
}

/// Keys whose value is null where there is no image.
const OF_AN_IMAGE: [&str; 7] = ["label", "step", "l2", "linf", "pass", "image", "perturbation"];

/// Looks at everything that a record with an image says, from its files alone.
fn check_image(dir: &TempDir, record: &Value) {
    let text = |key: &str| record[key].as_str().unwrap();
    assert_eq!(record["label"].as_u64().unwrap(), class(dir, text("image")), "{record}");
    let open = |file: &str| Image::read_png(&dir.path().join(file)).unwrap();
    let (image, difference) = (open(text("image")), open(text("perturbation")));
    let origin = open_image(&text("origin").replace("four.png", "mnist:test:4")).unwrap().image;
    assert_eq!(record["l2"].as_f64().unwrap(), l2(&origin, &image).unwrap().0);
    assert_eq!(record["linf"].as_u64().unwrap(), u64::from(linf(&origin, &image).unwrap().0));
    assert_eq!(record["pass"].as_f64().unwrap(), pass(&origin, &image).unwrap().score);
    let scale = record["perturbation_scale"].as_f64().unwrap();
    for ((&o, &p), &d) in origin.pixels().iter().zip(image.pixels()).zip(difference.pixels()) {
        let shown = (f64::from(d) - 128.0) * scale;
        assert!((shown - (f64::from(p) - f64::from(o))).abs() <= scale / 2.0 + 1e-9, "{record}");
    }
}

#[test]
fn every_method_writes_what_it_says() {
    let dir = workplace();
    let cases = [
        ("--method lots --target mnist:test:9 --target mnist:train:0 --layer all", 8),
        ("--target mnist:test:9 --layer 2 --layer ip1", 2),
        ("--target mnist:test:9 --layer pool1 --units 3,7..12", 1),
        ("--target mnist:test:9 --goal target --layer ip2", 1),
        ("--target mnist:test:9 --goal 7 --layer ip2", 1),
        ("--method iterative-lots --target mnist:test:9 --layer all", 4),
        ("--method iterative-lots --target mnist:test:9 --goal target --layer ip1 --also conv2", 1),
        ("--method iterative-lots --target mnist:test:9 --layer ip1 --units 3..400 --back 2", 1),
        ("--method magnify --linf 128", 4),
        ("--method reduce", 4),
        ("--method fgs", 1),
        ("--method fgv --label 4", 1),
        ("--method fgv --goal target --target mnist:test:9", 1),
        ("--method pgd --l2 1500", 1),
        ("--method lbfgs", 1),
        ("--method lbfgs --steps 50 --goal 9", 1),
        (
            "--method feature-adversary --linf 200 --layer ip1 --target mnist:test:9 --goal target",
            1,
        ),
        ("--method pgd --l2 1500 --steps 20 --step-size 90 --goal target --target mnist:test:9", 1),
        ("--method deepfool", 1),
        ("--method deepfool --steps 3", 1),
        ("--method hot-cold", 9),
        ("--method hot-cold --hot all", 9),
        ("--method hot-cold --hot 9 --goal 9", 1),
    ];
    for (i, (line, count)) in cases.into_iter().enumerate() {
        for origin in ["four.png", "mnist:test:4"] {
            let out = format!("deep/down/{i}-{}", origin.len());
            let (records, code) = attack(&dir, &format!("--origin {origin} {line} --out {out}"));
            assert_eq!(records.len(), count, "{line}");
            let adversarial = records.iter().filter(|r| r["outcome"] == "adversarial").count();
            assert_eq!(code, i32::from(adversarial < count), "{line}");
            let written = fs::read_to_string(dir.path().join(&out).join("records.jsonl")).unwrap();
            assert_eq!(written.lines().count(), count, "{line}");
            for (record, written) in records.iter().zip(written.lines()) {
                let mut written: Value = serde_json::from_str(written).unwrap();
                for key in ["image", "perturbation"] {
                    if let Some(name) = written[key].as_str() {
                        written[key] = format!("{out}/{name}").into();
                    }
                }
                assert_eq!(*record, written, "{line}");
                assert_eq!(
                    (&record["origin_label"], &record["origin"]),
                    (&4.into(), &origin.into())
                );
                let fixed = line.contains("--linf");
                let is_adversarial = record["outcome"] == "adversarial";
                assert!(is_adversarial || record["outcome"] == "not_found", "{line} {record}");
                if is_adversarial || fixed {
                    check_image(&dir, record);
                    assert_eq!(is_adversarial, record["label"] != 4, "{line} {record}");
                } else {
                    assert!(OF_AN_IMAGE.iter().all(|key| record[key].is_null()), "{line} {record}");
                }
                if line.contains("--goal") && is_adversarial {
                    let goal = if line.contains("--goal 7") { 7 } else { 9 };
                    assert_eq!(record["label"], goal, "{line}");
                }
            }
            // Nothing else lies in the folder.
            let images = records.iter().filter(|r| !r["image"].is_null()).count();
            let files = fs::read_dir(dir.path().join(&out)).unwrap().count();
            assert_eq!(files, 1 + 2 * images, "{line}");
        }
    }
}

/// Budgets, distances and further layers of walks, as records tell them.
#[test]
fn walks_keep_to_what_is_asked_for() {
    let dir = workplace();
    let base = "--origin four.png --target mnist:test:9 --method iterative-lots --layer ip1";
    // What it was to do in words, and L∞, L2 and steps at most.
    let cases = [
        ("--linf 110", "at most 100 steps of 64 and 16 back, L∞ at most 110", 110.0, 1e9, 100.0),
        (
            "--l2 1100.5 --steps 40",
            "at most 40 steps of 64 and 16 back, L2 at most 1100.5",
            255.0,
            1100.5,
            40.0,
        ),
        ("--step-size 2.5 --back 0", "at most 100 steps of 2.5", 250.0, 1e9, 100.0),
    ];
    for (i, (line, walk, linf, l2, steps)) in cases.into_iter().enumerate() {
        let (records, code) = attack(&dir, &format!("{base} {line} --out {i}"));
        assert_eq!((records.len(), code), (1, 0), "{line}");
        let record = &records[0];
        check_image(&dir, record);
        assert_eq!(record["walk"], walk, "{line}");
        assert!(record["missed"].is_null() && record["fixed_linf"].is_null(), "{record}");
        for (key, most) in [("linf", linf), ("l2", l2), ("step", steps)] {
            assert!(record[key].as_f64().unwrap() <= most, "{line} {record}");
        }
    }
    let cases = [
        ("lbfgs", "10 minima, each at most 100 iterations"),
        ("lbfgs --steps 50", "10 minima, each at most 50 iterations"),
        ("feature-adversary --layer ip1", "at most 100 iterations, L∞ at most 10"),
        ("feature-adversary --layer ip1 --linf 9 --steps 7", "at most 7 iterations, L∞ at most 9"),
    ];
    for (i, (line, way)) in cases.into_iter().enumerate() {
        let target = if line.starts_with("lbfgs") { "" } else { "--target mnist:test:9" };
        let line = format!("--origin four.png {target} --method {line} --out way{i}");
        let (records, code) = attack(&dir, &line);
        check_image(&dir, &records[0]);
        assert_eq!(records[0]["walk"], way, "{line}");
        if line.contains("feature") {
            // There is an image all the same.
            assert_eq!((&records[0]["outcome"], code), (&"not_found".into(), 1), "{line}");
            assert!(records[0]["linf"].as_u64().unwrap() <= 10, "{line}");
        }
    }
    let (records, code) = attack(&dir, &format!("{base} --linf 1 --out tight"));
    assert_eq!((&records[0]["outcome"], code), (&"not_found".into(), 1));

    // The distance of representations that is left, by this side's own sums.
    let network = Graph::from_onnx(network(), "lenet.onnx").unwrap();
    let layer = network.find_layers("ip1").unwrap()[0];
    let see = |image: Image| -> Vec<f64> {
        let batch = images_batch(network.input(), &[image]).unwrap();
        network.represent(batch.view(), layer).unwrap().iter().map(|&x| x.into()).collect()
    };
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let target = see(open_image("mnist:test:9").unwrap().image);
    let origin = see(open_image("mnist:test:4").unwrap().image);
    let euclidean = |a: &[f64]| (dot(a, a) - 2.0 * dot(a, &target) + dot(&target, &target)).sqrt();
    let cosine = |a: &[f64]| 1.0 - dot(a, &target) / (dot(a, a) * dot(&target, &target)).sqrt();
    let (far, wide) = (0.5 * euclidean(&origin), 0.3 * cosine(&origin));
    let near = |within: String| {
        let line = format!("{base} --within {within} --out {} --force", within.replace(':', "-"));
        let (records, code) = attack(&dir, &line);
        assert_eq!((&records[0]["goal"], code), (&"near".into(), 0), "{line}");
        check_image(&dir, &records[0]);
        see(Image::read_png(&dir.path().join(records[0]["image"].as_str().unwrap())).unwrap())
    };
    assert!(euclidean(&near(far.to_string())) <= far + 1e-6);
    assert!(cosine(&near(format!("cosine:{wide}"))) <= wide + 1e-6);
    let (records, _) = attack(&dir, &format!("{base} --also conv1:0.25 --also 4 --out also"));
    assert_eq!(records[0]["layer"], "ip1 + 0.25 conv1 + 1 ip2");
    assert!(records[0]["layer_index"].is_null());
}

#[test]
fn a_record_has_these_keys() {
    let dir = workplace();
    let (records, code) =
        attack(&dir, "--origin mnist:test:4 --target mnist:test:9 --layer conv2 --out o");
    assert_eq!((records.len(), code), (1, 0));
    let record = records[0].as_object().unwrap();
    for key in OF_AN_IMAGE.into_iter().chain([
        "outcome",
        "method",
        "layer",
        "layer_index",
        "origin_label",
        "origin_name",
        "label_name",
    ]) {
        assert!(record.contains_key(key), "{key} in {record:?}");
    }
    let value = |key: &str| &record[key];
    assert_eq!((value("method"), value("layer")), (&"lots".into(), &"conv2".into()));
    assert_eq!((value("layer_index"), value("target_label")), (&2.into(), &9.into()));
    assert_eq!((value("origin_name"), value("target")), (&"4".into(), &"mnist:test:9".into()));
    assert_eq!(value("image"), "o/0001-lots-conv2.png");
    let (step, missed) = (value("step").as_f64().unwrap(), value("missed").as_f64().unwrap());
    assert!(missed < step && step <= missed + 1.0 / 64.0, "{missed} {step}");
    let (records, _) =
        attack(&dir, "--origin mnist:test:4 --target mnist:test:9 --layer pool1 --out p");
    assert!(records[0]["layer_index"].is_null());
}

#[test]
fn without_an_image_there_is_null() {
    let dir = workplace();
    let cases = [
        // The origin is its own target.
        ("--origin four.png --target four.png --layer ip1", "no_direction"),
        ("--origin four.png --label 5 --method fgs", "origin_misclassified"),
        ("--origin four.png --label 5 --target mnist:test:9 --layer 1", "origin_misclassified"),
        // A 4 magnified where it is brightest stays a 4.
        ("--origin four.png --method magnify --layer conv1", "not_found"),
    ];
    for (i, (line, outcome)) in cases.into_iter().enumerate() {
        let (records, code) = attack(&dir, &format!("{line} --out {i}"));
        assert_eq!((records.len(), code), (1, 1), "{line}");
        assert_eq!(records[0]["outcome"], outcome, "{line}");
        assert!(OF_AN_IMAGE.iter().all(|key| records[0][key].is_null()), "{line} {}", records[0]);
    }
}

#[test]
fn hot_is_every_class_but_the_origins() {
    let dir = workplace();
    let (records, _) = attack(&dir, "--origin four.png --method hot-cold --out o");
    let hot: BTreeSet<u64> = records.iter().map(|r| r["hot"].as_u64().unwrap()).collect();
    assert_eq!(hot, (0..10).filter(|&class| class != 4).collect());
}

#[test]
fn text_fits_a_terminal_and_says_where() {
    let dir = workplace();
    let line = "attack lenet.onnx --origin four.png --target mnist:train:0 --method lots --out o";
    let text = done(&dir, line);
    assert!(text.starts_with("lots on four.png (class 4) with lenet.onnx\n"), "{text}");
    assert!(text.contains("\n4 of 4 adversarial; images in o, named by #\n"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let ran = lots(&dir, "attack lenet.onnx --origin four.png --label 5 --method fgv --out p");
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("\n0001  ip2    -        misread as 4 "), "{}", ran.stdout);
}

#[cfg(unix)]
#[test]
fn whoever_reads_no_further_gets_all_files() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    let dir = workplace();
    let line = "attack lenet.onnx --origin four.png --method hot-cold --out o --json";
    let mut child = Command::new(env!("CARGO_BIN_EXE_lots"))
        .current_dir(&dir)
        .args(line.split_whitespace())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(child.wait().unwrap().code().unwrap() < 2);
    assert_eq!(lots::read_records(&dir.path().join("o")).unwrap().len(), 9);
}

#[test]
fn no_result_depends_on_the_threads() {
    let dir = workplace();
    let run = |threads: usize| {
        let line = "--origin four.png --target mnist:test:9 --target mnist:test:0";
        let (records, _) = attack(&dir, &format!("{line} --threads {threads} --out o --force"));
        let images: Vec<Vec<u8>> = records
            .iter()
            .map(|r| fs::read(dir.path().join(r["image"].as_str().unwrap())).unwrap())
            .collect();
        (records, images)
    };
    assert!(run(1) == run(3));
}

#[test]
fn nothing_is_overwritten_unasked() {
    let dir = workplace();
    let line = "attack lenet.onnx --origin four.png --method fgs --out";
    done(&dir, &format!("{line} o"));
    let before = fs::read(dir.path().join("o/records.jsonl")).unwrap();
    let ran = lots(&dir, &format!("{line} o"));
    assert_eq!(not_the_error(&ran, "o is not empty; give another folder, or --force"), None);
    assert_eq!(before, fs::read(dir.path().join("o/records.jsonl")).unwrap());
    done(&dir, &format!("{line} o --force"));
    assert_eq!(before, fs::read(dir.path().join("o/records.jsonl")).unwrap());
    fs::create_dir(dir.path().join("empty")).unwrap();
    done(&dir, &format!("{line} empty"));
    for (out, wanted) in [
        ("four.png", "four.png is a file, wanted a folder for the results; give another"),
        ("four.png/o", "cannot write four.png/o: "),
        ("/proc/o", "cannot write /proc/o: "),
    ] {
        let ran = lots(&dir, &format!("{line} {out}"));
        assert_eq!(not_the_error(&ran, wanted), None, "{out}");
    }
}

#[test]
fn what_makes_no_sense_is_told_in_one_line() {
    let dir = workplace();
    let cases = [
        ("four.png", "lots goes from an origin towards a target, found no --target; give an image"),
        ("four.png --method fgs --layer conv1", "--method fgs takes no --layer: it starts from"),
        ("four.png --method fgv --layer all", "--method fgv takes no --layer: it starts from"),
        ("four.png --method hot-cold --layer 1", "--method hot-cold takes no --layer: it starts"),
        ("four.png --method fgs --units 1", "--method fgs takes no --units: it is for lots,"),
        ("four.png --method fgs --hot 1", "--method fgs takes no --hot: it is for hot-cold"),
        ("four.png --method fgs --target four.png", "--method fgs takes no --target, unless"),
        ("four.png --method fgs --goal target", "--goal target needs a target, found no --target"),
        ("four.png --method fgs --goal 4", "the goal, class 4, is what four.png is already; give"),
        ("four.png --method fgs --goal 10", "no class 10 as goal; classes are 0–9"),
        ("four.png --method fgs --goal most", "wanted any, target or a class"),
        ("four.png --target four.png --goal target", "the goal, class 4, is what four.png is"),
        ("four.png --target mnist:test:6 --goal target", "the goal, class 4, is what four.png is"),
        ("four.png --method hot-cold --hot 4", "class 4 cannot be hot: it is the origin's own;"),
        ("four.png --method hot-cold --hot 10", "no class 10 to make hot; classes are 0–9"),
        ("four.png --method hot-cold --hot x", "wanted a class or all"),
        ("four.png --method fgs --label 10", "--label 10 is no class of lenet.onnx; classes are"),
        ("mnist:test:4 --method fgs --label 5", "mnist:test:4 has label 4, found --label 5; leave"),
        ("four.png --method fgs --linf 0", "invalid value '0' for '--linf <N>'"),
        ("four.png --method fgs --linf 256", "invalid value '256' for '--linf <N>'"),
        ("four.png --method reduce --layer conv3", "no layer \"conv3\" in lenet.onnx; layers: "),
        ("four.png --method reduce --layer ip2 --units 10", "no unit 10 in layer ip2; its units"),
        ("four.png --method reduce --units 3..3", "wanted units such as 3,7..12"),
        ("four.png --method fly", "invalid value 'fly' for '--method <METHOD>'"),
        ("none.png --method fgs", "no image \"none.png\"; wanted a PNG file or one image of"),
        ("mnist:test --method fgs", "is a data set (10000 image(s)), wanted one image; add its"),
        ("four.png --target none.png", "no image \"none.png\"; "),
        (
            "four.png --method iterative-lots",
            "iterative-lots goes from an origin towards a target,",
        ),
        ("four.png --target four.png --steps 3", "--method lots takes no --steps: it is for iter"),
        ("four.png --method fgs --within 3", "--method fgs takes no --within: it is for iterative"),
        ("four.png --method pgd", "pgd stays inside a budget, found none; give --linf or --l2"),
        ("four.png --method pgd --linf 9 --back 3", "--method pgd takes no --back: it is for iter"),
        (
            "four.png --method lbfgs --linf 9",
            "--method lbfgs takes no --linf: it has no budget; lea",
        ),
        ("four.png --method lbfgs --back 3", "--method lbfgs takes no --back: it is for iter"),
        (
            "four.png --method feature-adversary",
            "feature-adversary goes from an origin towards a target, found no --target; give",
        ),
        (
            "four.png --method feature-adversary --target mnist:test:9 --units 3",
            "--method feature-adversary takes no --units: it works with all of them; leave",
        ),
        ("four.png --method pgd --l2 0", "a step of pgd has to be above 0 grey levels, found 0"),
        ("four.png --method pgd --linf 9 --layer ip1", "--method pgd takes no --layer: it starts"),
        ("four.png --method deepfool --linf 9", "--method deepfool takes no --linf: it has no"),
        ("four.png --method iterative-lots --steps 0", "invalid value '0' for '--steps <N>'"),
        (
            "four.png --method iterative-lots --target mnist:test:9 --within cosine:x",
            "wanted a distance above 0, such as 0.5 or cosine:0.1",
        ),
        (
            "four.png --method iterative-lots --target mnist:test:9 --also conv2:x",
            "--also conv2:x: wanted a number as weight, found \"x\"",
        ),
        (
            "four.png --method iterative-lots --target mnist:test:9 --also conv2:-1",
            "the weight of a layer has to be above 0, found -1",
        ),
        (
            "four.png --method iterative-lots --target mnist:test:9 --also conv3",
            "no layer \"conv3\" in lenet.onnx; layers: ",
        ),
        (
            "four.png --method iterative-lots --target mnist:test:9 --step-size 0",
            "a step of iterative-lots has to be above 0 grey levels, found 0",
        ),
    ];
    let mut failures = Vec::new();
    for (line, wanted) in cases {
        let ran = lots(&dir, &format!("attack lenet.onnx --origin {line} --out o"));
        failures.extend(not_the_error(&ran, wanted).map(|f| format!("{line}: {f}")));
        // A folder that was made is empty, so that the next try may use it.
        let made = dir.path().join("o");
        assert!(!made.exists() || fs::read_dir(made).unwrap().next().is_none(), "{line}");
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// A black PNG file of any kind.
fn write_png(
    path: &Path,
    side: u32,
    colour: ColorType,
    depth: BitDepth,
    set: impl FnOnce(&mut Encoder<'_, File>),
) {
    let mut encoder = Encoder::new(File::create(path).unwrap(), side, side);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    set(&mut encoder);
    let mut writer = encoder.write_header().unwrap();
    let bytes = (side * side) as usize * colour.samples() * depth as usize / 8;
    writer.write_image_data(&vec![0; bytes]).unwrap();
    writer.finish().unwrap();
}

#[test]
fn images_that_do_not_fit_are_named_with_a_remedy() {
    let dir = workplace();
    let path = |name: &str| dir.path().join(name);
    let (grey, rgb, eight) = (ColorType::Grayscale, ColorType::Rgb, BitDepth::Eight);
    write_png(&path("small.png"), 27, grey, eight, |_| ());
    write_png(&path("colour.png"), 28, rgb, eight, |_| ());
    write_png(&path("deep.png"), 28, grey, BitDepth::Sixteen, |_| ());
    write_png(&path("clear.png"), 28, ColorType::GrayscaleAlpha, eight, |_| ());
    write_png(&path("palette.png"), 28, ColorType::Indexed, eight, |e| {
        e.set_palette(vec![7, 8, 9])
    });
    write_png(&path("moving.png"), 28, grey, eight, |e| e.set_animated(1, 0).unwrap());
    let whole = fs::read(path("four.png")).unwrap();
    fs::write(path("cut.png"), &whole[..whole.len() - 20]).unwrap();
    fs::write(path("text.png"), "no image").unwrap();
    fs::write(path("empty.png"), "").unwrap();
    let cases = [
        (
            "small.png",
            "small.png has 27×27×1 (height × width × channels), lenet.onnx takes 28×28×1; scale",
        ),
        (
            "colour.png",
            "colour.png has 28×28×3 (height × width × channels), lenet.onnx takes 28×28×1; convert",
        ),
        ("palette.png", "palette.png has 28×28×3 (height × width × channels), lenet.onnx takes"),
        ("deep.png", "deep.png has 16 bits"),
        ("clear.png", "clear.png has transparen"),
        ("moving.png", "moving.png is an animated PNG, wanted one image; save"),
        ("cut.png", "cut.png is truncated"),
        ("text.png", "text.png is not a PNG"),
        ("empty.png", "empty.png is "),
    ];
    let mut failures = Vec::new();
    for (name, wanted) in cases {
        for line in [
            format!("attack lenet.onnx --origin {name} --method reduce --out o"),
            format!("attack lenet.onnx --origin four.png --target {name} --out o"),
        ] {
            failures
                .extend(not_the_error(&lots(&dir, &line), wanted).map(|f| format!("{line}: {f}")));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(!dir.path().join("o").exists());
}

#[cfg(unix)]
#[test]
fn what_is_finished_when_stopped_stays_readable() {
    use std::process::{Command, Stdio};
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    let dir = workplace();
    let mut line = "attack lenet.onnx --origin four.png --out o".to_owned();
    for i in 0..3000 {
        line += &format!(" --target mnist:test:{i}");
    }
    let child = Command::new(env!("CARGO_BIN_EXE_lots"))
        .current_dir(&dir)
        .args(line.split_whitespace())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let records = dir.path().join("o/records.jsonl");
    let clock = Instant::now();
    while !fs::metadata(&records).is_ok_and(|file| file.len() > 0) {
        assert!(clock.elapsed() < Duration::from_secs(120), "no records");
        sleep(Duration::from_millis(2));
    }
    assert!(
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success()
    );
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let records = lots::read_records(&dir.path().join("o")).unwrap();
    let count = records.len();
    assert!(count > 0 && count < 12000, "{count}");
    assert_eq!(stderr, format!("stopped after {count} of 12000 attacks; these are in o\n"));
    for record in records {
        for file in [record.image, record.perturbation].into_iter().flatten() {
            Image::read_png(&dir.path().join("o").join(file)).unwrap();
        }
    }
}
