//! Networks of other people: what images they want, what their classes are called, what to warn of. They and ONNX Runtime's
//! results are written by `references/make_wishes.py`.

use std::fs;
use std::path::{Path, PathBuf};

use lots::Image;
use serde_json::Value;
use tempfile::TempDir;

use crate::{done, lots, not_the_error, write_idx};

const SIDE: usize = 8;
const IMAGES: usize = 12;

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// Pixels of image `i`, as in `references/make_wishes.py`.
fn pixels(i: usize) -> Vec<u8> {
    (0..SIDE * SIDE * 3).map(|p| ((i * 7919 + p * 31 + p * p % 97) % 256) as u8).collect()
}

/// A folder with the networks, `all`, IDX files of the images, `first.png` and `second.png`.
fn workplace() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in ["colour.onnx", "outside.onnx", "outside.data", "long.onnx"] {
        fs::copy(data().join(file), dir.path().join(file)).unwrap();
    }
    let all = dir.path().join("all");
    fs::create_dir(&all).unwrap();
    let sizes = [IMAGES, SIDE, SIDE, 3].map(|n| n as u32);
    let content: Vec<u8> = (0..IMAGES).flat_map(pixels).collect();
    write_idx(&all.join("test-images-idx4-ubyte"), &sizes, &content);
    write_idx(&all.join("test-labels-idx1-ubyte"), &sizes[..1], &[0; IMAGES]);
    for (name, i) in [("first.png", 0), ("second.png", 1)] {
        let image = Image::new(SIDE, SIDE, 3, pixels(i)).unwrap();
        image.write_png(&dir.path().join(name)).unwrap();
    }
    dir
}

fn floats(path: &Path) -> Vec<f32> {
    let bytes = fs::read(path).unwrap();
    bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
}

/// By metadata, by options over none, and with weights in another file.
#[test]
fn images_go_in_as_the_network_wants_them() {
    let dir = workplace();
    let wanted = floats(&data().join("colour.f32"));
    assert_eq!(wanted.len(), IMAGES * 3);
    let probabilities = |line: &str| {
        let name = format!("{}.f32", line.len());
        done(&dir, &format!("evaluate {line} --data all --logits {name}"));
        floats(&dir.path().join(name))
    };
    for line in [
        "colour.onnx --nhwc",
        "outside.onnx --nhwc --bgr --range 0..1",
        // The same by other words.
        "outside.onnx --nhwc --bgr --std 255",
        "outside.onnx --nhwc --bgr --range -1..1 --mean -1 --std 2,2,2",
    ] {
        let found = probabilities(line);
        let off: Vec<_> =
            found.iter().zip(&wanted).filter(|(a, b)| (*a - *b).abs() > 1e-5).collect();
        assert!(found.len() == wanted.len() && off.is_empty(), "{line}: {off:?}");
    }
    // Options win over metadata.
    let other = probabilities("colour.onnx --nhwc --preset raw");
    assert!(other.iter().zip(&wanted).any(|(a, b)| (a - b).abs() > 1e-2));
}

#[test]
fn what_is_taken_for_granted_is_told() {
    let dir = workplace();
    let told = |line: &str| lots(&dir, &format!("layers {line}")).stderr;
    assert_eq!(
        told("long.onnx"),
        "long.onnx does not say what images it wants; taking RGB or grey, 0 to 255 (see --preset, --range, \
         --mean, --std)\n"
    );
    assert_eq!(told("colour.onnx --nhwc"), "colour.onnx gets images as BGR, NHWC, 0 to 1\n");
    assert_eq!(
        told("long.onnx --preset mnist"),
        "long.onnx gets images as RGB or grey, 0 to 1, mean 0.1307, std 0.3081\n"
    );
    // A preset's numbers are those of red, green and blue, whatever their order.
    assert_eq!(
        told("outside.onnx --nhwc --preset imagenet --bgr"),
        "outside.onnx gets images as BGR, NHWC, 0 to 1, mean 0.406 0.456 0.485, std 0.225 0.224 0.229\n"
    );
    assert_eq!(told("long.onnx --preset raw"), "");
    assert_eq!(told("long.onnx --range 0..255"), "");
}

#[test]
fn what_does_not_fit_is_refused() {
    let dir = workplace();
    fs::write(dir.path().join("two.txt"), "cat\ndog\n").unwrap();
    fs::write(dir.path().join("hole.txt"), "cat\n\ndog\n").unwrap();
    fs::create_dir(dir.path().join("alone")).unwrap();
    fs::copy(dir.path().join("outside.onnx"), dir.path().join("alone/outside.onnx")).unwrap();
    let cases = [
        (
            "layers colour.onnx",
            "say Image.BitmapPixelFormat Bgr8, but its input has 8 channel(s); give the order",
        ),
        ("layers long.onnx --bgr", "long.onnx: BGR wants three channels, the input has 1"),
        (
            "layers long.onnx --mean .1,.2",
            "long.onnx: mean has 2 numbers, but the input has 1 channel(s)",
        ),
        ("layers long.onnx --mean x", "invalid value 'x' for '--mean <A,B,C>'"),
        ("layers long.onnx --std 0", "long.onnx: std 0 is not above 0"),
        (
            "layers long.onnx --range 1..0",
            "the range of values is 1 to 0; wanted two numbers, the smaller",
        ),
        ("layers long.onnx --range 1", "wanted two numbers such as 0..1 or -1..1"),
        ("layers long.onnx --preset vgg", "invalid value 'vgg' for '--preset <PRESET>'"),
        ("layers alone/outside.onnx", "lies in \"outside.data\", which cannot be read: "),
    ];
    let mut failures: Vec<String> = cases
        .iter()
        .filter_map(|(line, wanted)| {
            Some(format!("{line}: {}", not_the_error(&lots(&dir, line), wanted)?))
        })
        .collect();
    for (names, wanted) in [
        (
            "two.txt",
            "error: two.txt: the network has 3 classes, found 2 names; give one name a class",
        ),
        ("hole.txt", "error: hole.txt has no name in line 2; wanted names of classes, one a line"),
        ("none.txt", "error: cannot read none.txt: "),
    ] {
        let ran = lots(&dir, &format!("evaluate colour.onnx --nhwc --data all --names {names}"));
        let last = ran.stderr.lines().last().unwrap_or_default();
        if ran.code != 2 || !last.starts_with(wanted) || !ran.stdout.is_empty() {
            failures.push(format!("{names}: {}", ran.stderr));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// The class of image `i` by ONNX Runtime.
fn class(i: usize) -> usize {
    let all = floats(&data().join("colour.f32"));
    let row = &all[i * 3..][..3];
    (0..3).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap()
}

const NAMES: [&str; 3] = ["cat", "dog", "red panda"];

/// Images of two classes, as PNG files.
fn pair(dir: &TempDir) -> [usize; 2] {
    let second = (1..IMAGES).find(|&i| class(i) != class(0)).unwrap();
    for (name, i) in [("first.png", 0), ("second.png", second)] {
        let image = Image::new(SIDE, SIDE, 3, pixels(i)).unwrap();
        image.write_png(&dir.path().join(name)).unwrap();
    }
    [class(0), class(second)]
}

#[test]
fn names_stand_wherever_a_class_is_shown() {
    let dir = workplace();
    let [first, second] = pair(&dir);
    let (from, to) = (NAMES[first], NAMES[second]);
    let attack = "attack colour.onnx --nhwc --origin first.png";
    let text =
        lots(&dir, &format!("{attack} --target second.png --goal target --layer fc --out a"));
    assert!(
        text.stdout.starts_with(&format!("lots on first.png (class {from}) with")),
        "{}",
        text.stdout
    );
    assert!(text.stdout.contains(&format!("second.png  {to} ")), "{}", text.stdout);

    let text = lots(&dir, &format!("{attack} --method hot-cold --json --out b")).stdout;
    let records: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 2);
    for record in &records {
        assert_eq!(record["origin_name"], from, "{record}");
        let hot = record["hot"].as_u64().unwrap() as usize;
        assert_eq!(record["hot_name"], NAMES[hot], "{record}");
        let label = record["label"].as_u64().unwrap() as usize;
        assert_eq!(record["label_name"], NAMES[label], "{record}");
    }

    let report = done(&dir, "evaluate colour.onnx --nhwc --data all --json");
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["class_names"], serde_json::json!(NAMES));
    let text = done(&dir, "evaluate colour.onnx --nhwc --data all");
    assert!(text.contains("\n    2  .  .  .  red panda\n"), "{text}");
    // Other names, from a file.
    fs::write(dir.path().join("names.txt"), "a\nb\nc\n").unwrap();
    let text = done(&dir, "evaluate colour.onnx --nhwc --data all --names names.txt");
    assert!(text.contains("\n    2  .  .  .  c\n"), "{text}");
}

/// Names and numbers do the same; what is neither is told.
#[test]
fn classes_are_given_by_name() {
    let dir = workplace();
    let [first, second] = pair(&dir);
    let run = |line: &str| {
        let line =
            format!("attack colour.onnx --nhwc --origin first.png {line} --json --out o --force");
        let ran = std::process::Command::new(env!("CARGO_BIN_EXE_lots"))
            .current_dir(&dir)
            .args(line.split_whitespace().map(|word| word.replace('_', " ")))
            .output()
            .unwrap();
        [ran.stdout, ran.stderr].map(|text| String::from_utf8(text).unwrap())
    };
    let name = |class: usize| NAMES[class].replace(' ', "_");
    for option in ["--method fgv --goal", "--method hot-cold --hot"] {
        let [by_name, _] = run(&format!("{option} {}", name(second)));
        let [by_number, _] = run(&format!("{option} {second}"));
        assert!(by_name == by_number && by_name.contains("\"outcome\""), "{option}: {by_name}");
    }
    let [labelled, _] = run(&format!("--method fgv --label {}", name(second)));
    assert!(labelled.contains("\"outcome\":\"origin_misclassified\""), "{labelled}");
    assert!(
        labelled.contains(&format!("\"origin_class_name\":\"{}\"", NAMES[first])),
        "{labelled}"
    );
    for option in ["--goal", "--method hot-cold --hot", "--label"] {
        let [_, told] = run(&format!("--method fgv {option} bird").replacen(
            "--method fgv --method",
            "--method",
            1,
        ));
        let wanted = "no class \"bird\"; classes are cat to red panda (0–2)";
        assert!(told.lines().last().unwrap().ends_with(wanted), "{option}: {told}");
    }
}

#[test]
fn logits_are_taken_from_before_the_softmax() {
    let dir = workplace();
    let ran =
        lots(&dir, "attack colour.onnx --nhwc --origin first.png --method fgv --json --out o");
    assert!(ran.code < 2, "{}", ran.stderr);
    let wanted = "warning: colour.onnx ends in Softmax, which saturates; taking the values before it (fc) as logits";
    assert_eq!(ran.stderr.lines().filter(|line| *line == wanted).count(), 1, "{}", ran.stderr);
    let record: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&record["layer"], &record["outcome"]), (&"fc".into(), &"adversarial".into()));
}

#[test]
fn images_of_another_size_are_made_to_fit_only_if_asked() {
    let dir = workplace();
    let large =
        Image::new(16, 8, 3, (0..16 * 8 * 3).map(|i| (i * 5 % 256) as u8).collect()).unwrap();
    large.write_png(&dir.path().join("large.png")).unwrap();
    let grey = Image::new(8, 8, 1, vec![9; 64]).unwrap();
    grey.write_png(&dir.path().join("grey.png")).unwrap();
    let attack = |line: &str| {
        lots(&dir, &format!("attack colour.onnx --nhwc --method fgv --force --out o {line}"))
    };
    let refused = [
        (
            "--origin large.png",
            "large.png has 8×16×3 (height × width × channels), colour.onnx takes 8×8×3; scale it with --resize, or \
             cut out its middle with --center-crop; with both, its sides keep their ratio",
        ),
        (
            "--origin grey.png --resize",
            "grey.png has 8×8×1 (height × width × channels), colour.onnx takes 8×8×3; convert",
        ),
    ];
    for (line, wanted) in refused {
        let ran = attack(line);
        assert!(
            ran.code == 2 && ran.stderr.lines().last().unwrap().contains(wanted),
            "{}",
            ran.stderr
        );
    }
    for (options, fit) in [
        ("--resize", lots::Fit { resize: true, center_crop: false }),
        ("--center-crop", lots::Fit { resize: false, center_crop: true }),
        ("--resize --center-crop", lots::Fit { resize: true, center_crop: true }),
    ] {
        let fixed = attack(&format!("--origin large.png --linf 1 --json {options}"));
        assert!(fixed.code < 2, "{options}: {}", fixed.stderr);
        let record: Value = serde_json::from_str(&fixed.stdout).unwrap();
        let image = Image::read_png(&dir.path().join(record["image"].as_str().unwrap())).unwrap();
        // No further than one grey level from what was to be made of the image.
        let wanted = fit.apply(&large, 8, 8);
        let near = image.pixels().iter().zip(wanted.pixels()).all(|(a, b)| a.abs_diff(*b) <= 1);
        assert!(near && image.pixels().len() == wanted.pixels().len(), "{options}");
    }
}

#[test]
fn layers_of_large_networks_fit_a_terminal() {
    let dir = workplace();
    let text = done(&dir, "layers long.onnx --preset raw");
    let lines: Vec<&str> = text.lines().collect();
    let some = [&lines[..7], &lines[lines.len() - 6..]].concat();
    insta::assert_snapshot!(some.join("\n"), @r"
       index  name                            operator           shape    parameters
           1  node_stem_conv2d                Conv               4×28×28           4
              node_stem_relu                  Relu               4×28×28           0
           2  node_features_l…ame_0_conv2d_1  Conv               4×28×28          16
              node_features_l…_name_0_relu_1  Relu               4×28×28           0
           3  node_features_l…ame_0_conv2d_2  Conv               4×28×28          16
              node_features_l…ong_name_0_add  Add                4×28×28           0
              node_mean                       GlobalAveragePool  4×1×1             0
              node_view                       Flatten            4                 0
    *     14  node_linear                     Gemm               10               40
              total                                                              236

    * taken by attacks without --layer
    ");
    let marked: Vec<&str> = lines.into_iter().filter(|line| line.starts_with("*  ")).collect();
    assert_eq!(marked.len(), 7, "{marked:#?}");
    assert!(marked[..6].iter().all(|line| line.contains("_relu_2  Relu ")), "{marked:#?}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let line = "attack long.onnx --preset raw --origin mnist:test:4 --target mnist:test:9 --out o";
    let ran = lots(&dir, line);
    assert!(ran.code < 2, "{}", ran.stderr);
    let told = "taking 7 layers of 35 (14 with weights); `lots layers` marks them with *, --layer takes others\n";
    assert_eq!(ran.stderr, told);
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80), "{}", ran.stdout);
    assert_eq!(
        ran.stdout.lines().filter(|line| line.starts_with("000")).count(),
        7,
        "{}",
        ran.stdout
    );
}

/// The origin as its own target.
#[test]
fn a_zero_direction_is_explained() {
    let dir = workplace();
    let line = "attack colour.onnx --nhwc --origin first.png --target first.png --layer fc --out o";
    let ran = lots(&dir, line);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let wanted =
        "\nno direction: nothing comes back at the pixels. Origin and target may look alike\n";
    assert!(ran.stdout.contains(wanted), "{}", ran.stdout);
}
