//! Galleries and representations, on LeNet's layers.

use std::fs;

use lots::{Image, NamedImage, open_image, read_records, represent};
use lots_nn::Graph;
use serde_json::Value;
use tempfile::TempDir;

use crate::attack::workplace;
use crate::{done, lots, not_the_error};

/// As [`workplace`], with a gallery in `people`: two fours, a nine and a zero; the nine is a file.
fn with_people() -> TempDir {
    let dir = workplace();
    let people = dir.path().join("people");
    for (path, digit) in [("four/a.png", 4), ("four/b.png", 6), ("nine.png", 9), ("zero/z.png", 3)]
    {
        let path = people.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        open_image(&format!("mnist:test:{digit}")).unwrap().image.write_png(&path).unwrap();
    }
    dir
}

/// The identity whose mean at `layer` is nearest to `file`, and how far it is; by plain loops.
fn nearest(dir: &TempDir, layer: &str, file: &str) -> (String, f64) {
    let network = Graph::open(dir.path().join("lenet.onnx")).unwrap();
    let layer = network.find_layers(layer).unwrap()[0];
    let see = |files: &[&str]| -> Vec<f64> {
        let open = |file: &&str| NamedImage {
            image: Image::read_png(&dir.path().join(file)).unwrap(),
            name: (*file).to_owned(),
            label: None,
        };
        let images: Vec<NamedImage> = files.iter().map(open).collect();
        let rows = represent(&network, &images, layer).unwrap().mapv(f64::from);
        rows.columns().into_iter().map(|c| c.sum() / files.len() as f64).collect()
    };
    let own = see(&[file]);
    let people: [(&str, &[&str]); 3] = [
        ("four", &["people/four/a.png", "people/four/b.png"]),
        ("nine", &["people/nine.png"]),
        ("zero", &["people/zero/z.png"]),
    ];
    let apart = |(name, files): (&str, &[&str])| {
        let squares = see(files).iter().zip(&own).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        (name.to_owned(), squares.sqrt())
    };
    people.into_iter().map(apart).min_by(|a, b| a.1.total_cmp(&b.1)).unwrap()
}

fn records(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn identities_are_the_classes() {
    let dir = with_people();
    let cases = [
        ("--target people/nine.png --layer conv2 --layer ip1", 2),
        ("--target people/nine.png --goal target --layer ip1", 1),
        ("--target people/nine.png --goal nine --layer ip1", 1),
        ("--target people/nine.png --goal class:nine --layer ip1", 1),
        ("--method reduce --layer ip1 --linf 64", 1),
        ("--method fgv", 1),
        ("--method fgs --label four", 1),
        ("--method hot-cold", 2),
        ("--method hot-cold --hot zero --goal zero", 1),
    ];
    for (i, (line, count)) in cases.into_iter().enumerate() {
        let line = format!(
            "attack lenet.onnx --gallery people --gallery-layer ip1 --origin people/four/a.png {line} --json --out {i}"
        );
        let ran = lots(&dir, &line);
        assert!(ran.code < 2, "{line}: {}", ran.stderr);
        let records = records(&ran.stdout);
        assert_eq!(records.len(), count, "{line}");
        for record in records {
            assert_eq!(
                (&record["origin_name"], &record["own"]["identity"]),
                (&"four".into(), &"four".into())
            );
            let Some(image) = record["image"].as_str() else { continue };
            let (name, distance) = nearest(&dir, "ip1", image);
            assert_eq!(record["label_name"], name.as_str(), "{line}");
            assert_eq!(record["other"]["identity"], name.as_str(), "{line}");
            // Means are kept in single precision.
            let told = record["other"]["after"].as_f64().unwrap();
            assert!((told - distance).abs() < 1e-5 * distance.max(1.0), "{told} for {distance}");
            if line.contains("--goal") && record["outcome"] == "adversarial" {
                let goal = if line.contains("zero") { "zero" } else { "nine" };
                assert_eq!(record["label_name"], goal, "{line}");
            }
        }
        assert_eq!(
            ran.code == 0,
            ran.stdout.matches("\"outcome\":\"adversarial\"").count() == count
        );
    }
}

/// The folder of one identity labels its images by its own name, and of several origins those whose class is the goal or
/// hot are left out.
#[test]
fn folders_tell_who_is_who_and_goals_leave_out_their_own() {
    let dir = with_people();
    // A nine in the folder of fours is misread.
    let misplaced = dir.path().join("wrong/four");
    fs::create_dir_all(&misplaced).unwrap();
    fs::copy(dir.path().join("people/nine.png"), misplaced.join("nine.png")).unwrap();
    let line = "attack lenet.onnx --gallery people --gallery-layer ip1 --json";
    let ran = lots(&dir, &format!("{line} --origin wrong/four --method fgv --out a"));
    let misread = &records(&ran.stdout)[0];
    assert_eq!(misread["outcome"], "origin_misclassified");
    assert_eq!(
        (&misread["origin_name"], &misread["origin_class_name"]),
        (&"four".into(), &"nine".into())
    );
    assert_eq!(misread["own"]["identity"], "four");
    for (i, way) in
        ["--method fgv --goal four", "--method hot-cold --hot four"].into_iter().enumerate()
    {
        let ran = lots(&dir, &format!("{line} --origin people {way} --out {i}"));
        assert!(ran.code < 2, "{way}: {}", ran.stderr);
        let all = records(&ran.stdout);
        let origins: Vec<&str> = all.iter().map(|r| r["origin_name"].as_str().unwrap()).collect();
        assert_eq!(origins, ["nine", "zero"], "{way}");
    }
    // What an unlabelled target is read as is the goal, and the record says so.
    let goal =
        "--origin people/four/a.png --target people/nine.png --goal target --layer ip1 --out t";
    let ran = lots(&dir, &format!("{line} {goal}"));
    assert_eq!(records(&ran.stdout)[0]["target_name"], "nine");
}

#[test]
fn what_is_far_from_everybody_is_unknown() {
    let dir = with_people();
    let line = "attack lenet.onnx --gallery people --gallery-layer ip2 --origin people/four/a.png --method reduce --layer ip2";
    // A four that is reduced far enough is nobody.
    let (_, near) = nearest(&dir, "ip2", "people/four/a.png");
    let text = done(&dir, &format!("{line} --threshold {} --goal unknown --out o", near * 1.01));
    assert!(text.contains(" unknown "), "{text}");
    let record = &read_records(&dir.path().join("o")).unwrap()[0];
    assert_eq!((record.label, record.other.as_ref()), (Some(3), None));
    let own = record.own.as_ref().unwrap();
    assert!((own.before - near).abs() < 1e-4 && own.after.unwrap() > near * 1.01);
    // Where it is nobody from the start, it is not what its label says.
    let ran = lots(&dir, &format!("{line} --threshold {} --label four --out p", near * 0.9));
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stdout.contains("misread as unknown"), "{}", ran.stdout);
}

#[test]
fn folders_stand_for_all_pairs_of_different_identities() {
    let dir = with_people();
    let line = "attack lenet.onnx --gallery people --gallery-layer ip1 --origin people --target people --goal target --layer ip1 --out o";
    let ran = lots(&dir, line);
    assert!(ran.code < 2, "{}", ran.stderr);
    let records = read_records(&dir.path().join("o")).unwrap();
    let pairs: Vec<(&str, &str)> = records
        .iter()
        .map(|r| (r.origin_name.as_str(), r.target_name.as_deref().unwrap()))
        .collect();
    // Of four images, two are of one identity.
    assert_eq!(pairs.len(), 10);
    assert!(pairs.iter().all(|(origin, target)| origin != target), "{pairs:?}");
    assert_eq!(ran.stdout.matches("lots on people/").count(), 4, "{}", ran.stdout);
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80), "{}", ran.stdout);
    assert!(ran.stdout.contains(" → "), "{}", ran.stdout);
}

#[test]
fn a_representation_is_as_good_as_its_image() {
    let dir = with_people();
    let told =
        done(&dir, "represent lenet.onnx people/nine.png mnist:test:3 --layer conv2 --out f.npy");
    assert_eq!(told, "f.npy: 2×3200 float32, conv2 of lenet.onnx\n");
    let again = lots(&dir, "represent lenet.onnx people/nine.png --layer 2 --out f.npy");
    assert_eq!(not_the_error(&again, "f.npy exists; give another --out, or --force"), None);
    for (gallery, i) in [("", 0), ("--gallery people --gallery-layer ip2", 1)] {
        let line = format!("attack lenet.onnx --origin four.png --layer conv2 {gallery} --json");
        let with = lots(
            &dir,
            &format!("{line} --target people/nine.png --target mnist:test:3 --out with{i}"),
        );
        let without = lots(&dir, &format!("{line} --target-representation f.npy --out without{i}"));
        let (with, without) = (records(&with.stdout), records(&without.stdout));
        assert_eq!((with.len(), without.len()), (2, 2));
        for (row, (with, without)) in with.iter().zip(&without).enumerate() {
            assert_eq!(without["target"], format!("f.npy#{row}"));
            assert_eq!((&with["label"], &with["step"]), (&without["label"], &without["step"]));
            let bytes = |record: &Value| {
                record["image"].as_str().map(|file| fs::read(dir.path().join(file)).unwrap())
            };
            assert!(bytes(with) == bytes(without), "{row}");
        }
    }
    let told = done(&dir, "represent lenet.onnx people --layer ip2 --out g.npy --json");
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["elements"], &told["layer"]), (&10.into(), &"ip2".into()));
    assert_eq!(told["images"].as_array().unwrap().len(), 4);
}

#[test]
fn what_makes_no_gallery_is_told_in_one_line() {
    let dir = with_people();
    let path = |name: &str| dir.path().join(name);
    let write = |name: &str, side: usize| {
        fs::create_dir_all(path(name).parent().unwrap()).unwrap();
        Image::new(side, side, 1, vec![9; side * side]).unwrap().write_png(&path(name)).unwrap();
    };
    write("lonely/only.png", 28);
    write("small/a.png", 28);
    write("small/b/b.png", 27);
    write("known/unknown.png", 28);
    write("known/b.png", 28);
    fs::create_dir_all(path("hollow/nobody")).unwrap();
    write("hollow/a.png", 28);
    fs::create_dir_all(path("empty")).unwrap();
    done(&dir, "represent lenet.onnx four.png --layer ip2 --out f.npy");
    fs::write(path("cut.npy"), &fs::read(path("f.npy")).unwrap()[..140]).unwrap();
    let cases = [
        ("--gallery none --method fgv", "cannot read none: "),
        (
            "--gallery empty --method fgv",
            "empty holds no identities; wanted a folder of PNG files, or",
        ),
        (
            "--gallery hollow --method fgv",
            "hollow/nobody is an empty folder, wanted PNG files of one",
        ),
        (
            "--gallery lonely --method fgv",
            "the gallery tells no classes apart: it holds 1 identities; wanted two, or",
        ),
        (
            "--gallery known --method fgv",
            "an identity of the gallery is called \"unknown\", as what is none of them; rename it",
        ),
        (
            "--gallery small --method fgv",
            "small/b/b.png has 27×27×1 (height × width × channels), lenet.onnx takes 28×28×1; scale",
        ),
        ("--gallery people --threshold 0 --method fgv", "a threshold has to be above 0, found 0"),
        (
            "--gallery people --threshold nan --method fgv",
            "a threshold has to be above 0, found NaN",
        ),
        ("--gallery people --gallery-layer conv9 --method fgv", "no layer \"conv9\" in lenet.onnx"),
        (
            "--gallery people --gallery-layer conv* --method fgv",
            "--gallery-layer conv* means 2 layers",
        ),
        (
            "--gallery people --method fgv --goal eve",
            "no class \"eve\"; classes are four to zero (0–2)",
        ),
        ("--gallery people --method fgv --goal 3", "no class 3 as goal; classes are 0–2"),
        (
            "--gallery people --method fgv --label 3",
            "--label 3 is no class of lenet.onnx; classes are 0–2",
        ),
        (
            "--gallery people --method fgv --origin mnist:test:0 --label zero",
            "mnist:test:0 has label 7, found --label zero; leave --label away",
        ),
        (
            "--gallery people --method fgv --goal four",
            "the goal, class four, is what four.png is already",
        ),
        ("--threshold 0.6 --method fgv", "required arguments were not provided: --gallery <DIR>"),
        ("--distance cosine --method fgv", "required arguments were not provided: --gallery <DIR>"),
        ("--target-representation f.npy", "f.npy comes from one layer; give that one as --layer"),
        (
            "--target-representation f.npy --layer all",
            "f.npy comes from one layer; give that one as --layer",
        ),
        (
            "--target-representation f.npy --layer ip1",
            "f.npy#0 has 10 numbers, layer ip1 has 500; give what",
        ),
        (
            "--target-representation cut.npy --layer ip2",
            "cut.npy is cut short or has an end of its own",
        ),
        ("--target-representation four.png --layer ip2", "four.png is no .npy file; write it with"),
        ("--target-representation none.npy --layer ip2", "cannot read none.npy: "),
        (
            "--target-representation f.npy --method fgv",
            "--method fgv takes no --target-representation: it",
        ),
        (
            "--target-representation f.npy --goal target --layer ip2",
            "--goal target needs a target, found no",
        ),
        ("--target-representation f.npy --target four.png", "cannot be used with"),
        (
            "--origin people/four/a.png --target people/four/b.png --layer ip2",
            "all origins are of the class that is the goal, or their targets'; give others",
        ),
    ];
    let mut failures = Vec::new();
    for (line, wanted) in cases {
        let ran = lots(&dir, &format!("attack lenet.onnx --origin four.png {line} --out o"));
        failures.extend(not_the_error(&ran, wanted).map(|f| format!("{line}: {f}")));
    }
    let cases = [
        ("four.png --layer all", "--layer all means 4 layers of lenet.onnx, wanted one;"),
        ("four.png --layer conv9", "no layer \"conv9\" in lenet.onnx"),
        (
            "small/b/b.png --layer ip2",
            "small/b/b.png has 27×27×1 (height × width × channels), lenet.onnx",
        ),
        ("none.png --layer ip2", "no image \"none.png\"; "),
        ("--layer ip2", "required arguments were not provided: <IMG>"),
    ];
    for (line, wanted) in cases {
        let ran = lots(&dir, &format!("represent lenet.onnx {line} --out g.npy"));
        failures.extend(not_the_error(&ran, wanted).map(|f| format!("{line}: {f}")));
    }
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(!path("g.npy").exists());
}
