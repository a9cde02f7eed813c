//! Records, and the folder that they are kept in.

#![allow(clippy::unwrap_used, reason = "helpers of a test")]

use std::fs;
use std::path::Path;

use lots::attack::{
    Argmax, Attack, Attacked, Extent, Fgv, Goal, HotCold, Lots, Outcome, Passes, Perturbed, Target,
    Units, attack,
};
use lots::{
    Ending, Image, NamedImage, Record, Results, breadth, focus, measure, open_image, read_records,
};
use lots_nn::{LayerInfo, Network, lenet};
use tempfile::tempdir;

fn image(seed: usize) -> Image {
    Image::new(28, 28, 1, (0..784).map(|i| ((i * seed) % 251) as u8).collect()).unwrap()
}

fn named(name: &str, seed: usize, label: Option<usize>) -> NamedImage {
    NamedImage { image: image(seed), name: name.to_owned(), label }
}

fn layer(name: &str) -> LayerInfo {
    let network = lenet(0);
    let info = network.layers().iter().find(|info| info.name == name);
    info.unwrap_or_else(|| panic!("no layer {name}")).clone()
}

/// An attack on the first of `images`, the second being its target.
fn on(method: &dyn lots::attack::Method) -> Attack<'_> {
    Attack {
        origin: 0,
        target: None,
        method,
        goal: Goal::Any,
        extent: Extent::Smallest,
        units: None,
    }
}

fn perturbed(seed: usize) -> Perturbed {
    Perturbed {
        image: image(seed),
        class: 4,
        scores: vec![0.0; 10],
        step: 2.515_625,
        missed: Some(2.5),
    }
}

fn digits() -> Argmax {
    Argmax::of(&lenet(0)).unwrap()
}

fn attacked(origin_class: usize, outcome: Outcome) -> Attacked {
    let passes = Passes { forward: 7, backward: 2 };
    Attacked { passes, origin_class, origin_scores: vec![0.0; 10], outcome }
}

/// A record with an image, and the two images.
fn record(layer_name: &str) -> (Record, Image, Image) {
    let images = [named("mnist:test:7", 3, Some(9))];
    let attacked = attacked(9, Outcome::Adversarial(perturbed(5)));
    let info = LayerInfo { name: layer_name.to_owned(), ..layer("conv2") };
    let record =
        Record::new("model", &info, &digits(), &images, &on(&Lots(info.id)), &attacked).unwrap();
    (record, image(3), image(5))
}

fn lines(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("records.jsonl")).unwrap();
    text.lines().map(ToOwned::to_owned).collect()
}

fn files(folder: &Path) -> Vec<String> {
    let names =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn a_record_says_all_there_is_to_say() {
    let images =
        [named("a.png", 3, Some(9)), named("mnist:train:5", 7, Some(2)), named("c.png", 2, None)];
    let units: Units = "3,7..12".parse().unwrap();
    let (conv2, relu, ip2) = (layer("conv2"), layer("relu1"), layer("ip2"));
    let lots = Lots(conv2.id);
    let towards = Attack {
        target: Some(Target::Image(1)),
        goal: Goal::Target,
        units: Some(&units),
        ..on(&lots)
    };
    let found = attacked(9, Outcome::Adversarial(perturbed(5)));
    let record = Record::new("lenet", &conv2, &digits(), &images, &towards, &found).unwrap();
    let measures = measure(&images[0].image, &image(5)).unwrap();
    let wanted = Record {
        model: "lenet".to_owned(),
        origin: "a.png".to_owned(),
        origin_label: 9,
        origin_name: "9".to_owned(),
        origin_class: 9,
        origin_class_name: Some("9".to_owned()),
        method: "lots".to_owned(),
        layer: "conv2".to_owned(),
        layer_index: Some(2),
        units: Some("3,7..12".to_owned()),
        target: Some("mnist:train:5".to_owned()),
        target_label: Some(2),
        target_name: Some("2".to_owned()),
        hot: None,
        hot_name: None,
        goal: "target".to_owned(),
        fixed_linf: None,
        walk: None,
        passes: Some(Passes { forward: 7, backward: 2 }),
        outcome: Ending::Adversarial,
        label: Some(4),
        label_name: Some("4".to_owned()),
        own: None,
        other: None,
        step: Some(2.515_625),
        missed: Some(2.5),
        l2: Some(measures.l2),
        linf: Some(measures.linf),
        pass: Some(measures.pass.score),
        alignment: Some(measures.pass.alignment),
        focus: Some(focus(&images[0].image, &image(5)).unwrap()),
        breadth: Some(breadth(&images[0].image, &image(5)).unwrap()),
        image: None,
        perturbation: None,
        perturbation_scale: None,
    };
    assert_eq!(record, wanted);

    // Without a label the network's class stands in; a target may be without one, too.
    let hot = HotCold { hot: 1 };
    let fixed = Attack {
        origin: 2,
        target: Some(Target::Image(2)),
        goal: Goal::Class(8),
        extent: Extent::Linf(64),
        ..on(&hot)
    };
    let missed = Outcome::NotFound(Some(Perturbed { missed: None, ..perturbed(6) }));
    let record = Record::new("m", &ip2, &digits(), &images, &fixed, &attacked(5, missed)).unwrap();
    assert_eq!(
        (record.origin_label, record.origin_name.as_str(), record.origin_class),
        (5, "5", 5)
    );
    assert_eq!(
        (record.target.as_deref(), record.target_label, record.hot),
        (Some("c.png"), None, Some(1))
    );
    assert_eq!(
        (record.method.as_str(), record.goal.as_str(), record.fixed_linf),
        ("hot-cold", "8", Some(64))
    );
    assert_eq!((record.outcome, record.label, record.missed), (Ending::NotFound, Some(4), None));
    assert!(record.l2.is_some() && record.pass.is_some());

    for (outcome, wanted) in [
        (Outcome::NotFound(None), Ending::NotFound),
        (Outcome::OriginMisclassified, Ending::OriginMisclassified),
        (Outcome::NoDirection, Ending::NoDirection),
    ] {
        let record =
            Record::new("m", &relu, &digits(), &images, &on(&Fgv), &attacked(1, outcome)).unwrap();
        assert_eq!(
            (record.outcome, record.layer_index, record.goal.as_str()),
            (wanted, None, "any")
        );
        assert_eq!((record.origin_label, record.origin_class), (9, 1));
        assert!(
            record.label.is_none()
                && record.step.is_none()
                && record.l2.is_none()
                && record.alignment.is_none()
        );
    }
}

#[test]
fn the_keys_of_a_line_are_these() {
    let (record, ..) = record("conv2");
    let json = serde_json::to_value(&record).unwrap();
    let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let mut wanted = vec![
        "model",
        "origin",
        "origin_label",
        "origin_name",
        "origin_class",
        "origin_class_name",
        "method",
        "layer",
        "layer_index",
        "units",
        "walk",
        "passes",
        "target",
        "target_label",
        "target_name",
        "hot",
        "hot_name",
        "goal",
        "fixed_linf",
        "focus",
        "outcome",
        "label",
        "label_name",
        "own",
        "other",
        "step",
        "missed",
        "l2",
        "linf",
        "pass",
        "alignment",
        "breadth",
        "image",
        "perturbation",
        "perturbation_scale",
    ];
    wanted.sort_unstable();
    let mut sorted = keys;
    sorted.sort_unstable();
    assert_eq!(sorted, wanted);
    assert_eq!(json["outcome"], "adversarial");
    assert!(
        json["l2"].is_f64()
            && json["linf"].is_u64()
            && json["pass"].is_f64()
            && json["units"].is_null()
    );
    for (ending, wanted) in [
        (Ending::NotFound, "not_found"),
        (Ending::OriginMisclassified, "origin_misclassified"),
        (Ending::NoDirection, "no_direction"),
    ] {
        assert_eq!(serde_json::to_value(ending).unwrap(), wanted);
    }
}

/// Real attacks, through a folder and back, to the last bit.
#[test]
fn what_is_written_is_read_again() {
    let folder = tempdir().unwrap();
    let folder = folder.path().join("made/with those above");
    let network = lenet(3);
    let decision = Argmax::of(&network).unwrap();
    let info = network.layers().iter().find(|info| info.name == "ip1").unwrap();
    let images = [named("a.png", 3, None), named("b.png", 7, None), named("c.png", 11, Some(99))];
    let lots = Lots(info.id);
    let linf =
        |linf| Attack { extent: Extent::Linf(linf), target: Some(Target::Image(1)), ..on(&lots) };
    let attacks = [
        Attack { target: Some(Target::Image(1)), ..on(&lots) },
        linf(3),
        Attack { target: Some(Target::Image(0)), ..on(&lots) },
        Attack { origin: 2, target: Some(Target::Image(1)), ..on(&lots) },
        linf(200),
    ];
    let mut results = Results::create(&folder, false).unwrap();
    assert_eq!(results.folder(), folder);
    // A run that comes to nothing leaves nothing.
    assert_eq!(files(&folder), [""; 0]);
    let mut written = Vec::new();
    for (attack, attacked) in attacks.iter().zip(attack(&network, &decision, &images, &attacks)) {
        let attacked = attacked.unwrap();
        let mut record =
            Record::new("ümläut", info, &decision, &images, attack, &attacked).unwrap();
        let found = attacked.outcome.image().map(|found| &found.image);
        results.add(&mut record, &images[attack.origin].image, found).unwrap();
        assert_eq!(record.image.is_some(), found.is_some());
        if let (Some(name), Some(found)) = (&record.image, found) {
            let again = open_image(folder.join(name).to_str().unwrap()).unwrap().image;
            assert_eq!(again, *found);
            let name = record.perturbation.as_ref().unwrap();
            let (picture, scale) = lots::perturbation(&images[attack.origin].image, found);
            assert_eq!(open_image(folder.join(name).to_str().unwrap()).unwrap().image, picture);
            assert_eq!(record.perturbation_scale, Some(scale));
        }
        written.push(record);
        // What stands there is whole at any time.
        assert_eq!(read_records(&folder).unwrap(), written);
    }
    let endings: Vec<Ending> = written.iter().map(|record| record.outcome).collect();
    assert!(
        endings.contains(&Ending::NoDirection) && endings.contains(&Ending::OriginMisclassified),
        "{endings:?}"
    );
    assert!(written.iter().filter(|record| record.image.is_some()).count() >= 2);
    drop(results);
    assert_eq!(read_records(&folder).unwrap(), written);
}

#[test]
fn names_of_files_tell_results_apart_and_stay_inside() {
    let outer = tempdir().unwrap();
    let folder = outer.path().join("results");
    let mut results = Results::create(&folder, false).unwrap();
    let long = "long/".repeat(200);
    let names = [
        "conv2",
        "conv2",
        "/features/conv.1/Conv",
        "../../escape",
        "with space",
        "C:\\x",
        "a\0b\nc",
        "Слой",
        "",
        ".",
        long.as_str(),
    ];
    let mut written = Vec::new();
    for (i, name) in names.iter().enumerate() {
        let (mut record, origin, perturbed) = record(name);
        record.hot = (i == 1).then_some(3);
        results.add(&mut record, &origin, Some(&perturbed)).unwrap();
        written.push(record);
    }
    let images: Vec<&str> = written.iter().map(|record| record.image.as_deref().unwrap()).collect();
    assert_eq!(
        images[..5],
        [
            "0001-lots-conv2.png",
            "0002-lots-conv2-3.png",
            "0003-lots-_features_conv_1_Conv.png",
            "0004-lots-______escape.png",
            "0005-lots-with_space.png"
        ]
    );
    assert_eq!(
        written[2].perturbation.as_deref(),
        Some("0003-lots-_features_conv_1_Conv-perturbation.png")
    );
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    assert!(images.iter().all(|name| name.len() < 120 && name.chars().all(allowed)), "{images:?}");
    // Nothing but images and records, and nothing outside.
    assert_eq!(files(&folder).len(), 2 * names.len() + 1, "{:?}", files(&folder));
    assert_eq!(files(outer.path()), ["results"]);
    // Names are as they were in the records, one line each.
    assert_eq!(read_records(&folder).unwrap(), written);
    assert_eq!(lines(&folder).len(), names.len());
}

/// Wherever a stop cuts the last line, what is added afterwards comes behind whole lines, and images keep their numbers.
#[test]
fn a_cut_folder_is_gone_on_with() {
    let (first, origin, perturbed) = record("conv1");
    let whole = tempfile::tempdir().unwrap();
    let mut results = Results::resume(whole.path()).unwrap();
    for _ in 0..3 {
        results.add(&mut first.clone(), &origin, Some(&perturbed)).unwrap();
    }
    let (text, names) =
        (fs::read(whole.path().join("records.jsonl")).unwrap(), files(whole.path()));
    let last = text.len() / 3 * 2;
    for end in (last..text.len()).step_by(97).chain([0, 5, text.len() - 1, text.len()]) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("records.jsonl"), &text[..end]).unwrap();
        let there = text[..end].iter().filter(|&&b| b == b'\n').count();
        let mut results = Results::resume(folder.path()).unwrap();
        for _ in there..3 {
            results.add(&mut first.clone(), &origin, Some(&perturbed)).unwrap();
        }
        assert_eq!(fs::read(folder.path().join("records.jsonl")).unwrap(), text, "cut at {end}");
        let added =
            |name: &&String| !name.starts_with("000") || **name > format!("{:04}", there + 1);
        assert_eq!(files(folder.path()), names.iter().filter(added).cloned().collect::<Vec<_>>());
    }
}

/// Wherever a stop cuts the last line, within a character too, what was finished before is there.
#[test]
fn a_last_line_that_was_cut_is_passed_over() {
    let folder = tempdir().unwrap();
    let mut results = Results::create(folder.path(), false).unwrap();
    let mut written = Vec::new();
    for name in ["conv1", "conv2", "Слой ✓"] {
        let (mut record, origin, perturbed) = record(name);
        results.add(&mut record, &origin, Some(&perturbed)).unwrap();
        written.push(record);
    }
    let path = folder.path().join("records.jsonl");
    let whole = fs::read(&path).unwrap();
    let last = whole[..whole.len() - 1].iter().rposition(|&b| b == b'\n').unwrap() + 1;
    for end in last..whole.len() {
        fs::write(&path, &whole[..end]).unwrap();
        let found = read_records(folder.path());
        assert_eq!(found.as_deref(), Ok(&written[..2]), "cut at byte {} of the line", end - last);
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(read_records(folder.path()).unwrap(), written);
}

#[test]
fn a_damaged_line_is_named() {
    let folder = tempdir().unwrap();
    let mut results = Results::create(folder.path(), false).unwrap();
    for _ in 0..3 {
        let (mut record, origin, perturbed) = record("conv2");
        results.add(&mut record, &origin, Some(&perturbed)).unwrap();
    }
    let path = folder.path().join("records.jsonl");
    let lines = lines(folder.path());
    let without = lines[1].replacen("\"method\"", "\"way\"", 1);
    for damaged in
        ["", "{}", &lines[1][..50], &lines[1].replace("adversarial", "splendid"), &without, "[1]"]
    {
        let text = format!("{}\n{damaged}\n{}\n", lines[0], lines[2]);
        fs::write(&path, text).unwrap();
        let error = read_records(folder.path()).unwrap_err().to_string();
        let wanted = format!("{} holds no record in line 2: ", path.display());
        assert!(
            error.starts_with(&wanted) && error.len() > wanted.len() && !error.contains('\n'),
            "{error}"
        );
    }
    fs::write(&path, [b"\xff\xfe\n".as_slice(), lines[0].as_bytes(), b"\n"].concat()).unwrap();
    let error = read_records(folder.path()).unwrap_err().to_string();
    assert!(error.contains("holds no record in line 1: "), "{error}");
}

#[test]
fn folders_that_cannot_be_taken_are_refused() {
    let outer = tempdir().unwrap();
    let (full, file) = (outer.path().join("full"), outer.path().join("file"));
    fs::create_dir(&full).unwrap();
    fs::write(full.join("thesis.tex"), "important").unwrap();
    fs::write(&file, "important").unwrap();
    let below = file.join("below");
    let cases = [
        (
            &full,
            false,
            format!(
                "{} is not empty; give another folder, or --force to replace what has the same name",
                full.display()
            ),
        ),
        (
            &file,
            false,
            format!("{} is a file, wanted a folder for the results; give another", file.display()),
        ),
        (
            &file,
            true,
            format!("{} is a file, wanted a folder for the results; give another", file.display()),
        ),
        (&below, false, format!("cannot write {}: ", below.display())),
    ];
    for (folder, replace, wanted) in cases {
        let error = Results::create(folder, replace).unwrap_err().to_string();
        assert!(
            error.starts_with(&wanted) && !error.contains('\n'),
            "wanted {wanted}\nfound  {error}"
        );
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "important");
    assert_eq!(files(&full), ["thesis.tex"]);
    let error = read_records(&full).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("cannot read {}: ", full.join("records.jsonl").display())),
        "{error}"
    );
}

#[test]
fn replacing_takes_the_records_and_leaves_the_rest() {
    let outer = tempdir().unwrap();
    let add = |results: &mut Results, count| {
        for _ in 0..count {
            let (mut record, origin, perturbed) = record("conv2");
            results.add(&mut record, &origin, Some(&perturbed)).unwrap();
        }
    };
    add(&mut Results::create(outer.path(), false).unwrap(), 3);
    fs::write(outer.path().join("notes.txt"), "mine").unwrap();
    assert!(Results::create(outer.path(), false).is_err());
    assert_eq!(read_records(outer.path()).unwrap().len(), 3);
    add(&mut Results::create(outer.path(), true).unwrap(), 1);
    assert_eq!(read_records(outer.path()).unwrap().len(), 1);
    assert_eq!(fs::read_to_string(outer.path().join("notes.txt")).unwrap(), "mine");
}

#[test]
fn what_cannot_be_written_is_told_and_what_was_stays() {
    let outer = tempdir().unwrap();
    let mut results = Results::create(outer.path(), false).unwrap();
    let (mut first, origin, perturbed) = record("conv2");
    results.add(&mut first, &origin, Some(&perturbed)).unwrap();
    // A folder stands where the next image belongs.
    fs::create_dir_all(outer.path().join("0002-lots-conv2.png/x")).unwrap();
    let (mut second, ..) = record("conv2");
    let error = results.add(&mut second, &origin, Some(&perturbed)).unwrap_err().to_string();
    assert!(error.starts_with("cannot write ") && error.contains("0002-lots-conv2.png"), "{error}");
    assert_eq!(read_records(outer.path()).unwrap(), [first.clone()]);
    let (mut third, ..) = record("conv2");
    results.add(&mut third, &origin, Some(&perturbed)).unwrap();
    assert_eq!(read_records(outer.path()).unwrap(), [first, third]);
}

#[test]
fn images_that_cannot_be_compared_make_no_record() {
    let images = [named("a.png", 3, None)];
    let small = Perturbed { image: Image::new(2, 2, 1, vec![0; 4]).unwrap(), ..perturbed(1) };
    let attacked = attacked(0, Outcome::Adversarial(small));
    let refused =
        Record::new("m", &layer("ip2"), &digits(), &images, &on(&Fgv), &attacked).unwrap_err();
    assert!(refused.to_string().starts_with("measures need two images of one size"), "{refused}");
}
