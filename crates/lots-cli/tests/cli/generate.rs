use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use assert_cmd::cargo::cargo_bin;
use lots::{Split, Training, open_dataset};
use lots_nn::lenet;
use serde_json::Value;
use tempfile::TempDir;

use crate::{done, lots, not_the_error, workplace};

/// A workplace whose lenet.onnx reads some digits right.
fn trained() -> TempDir {
    let dir = workplace();
    let data = open_dataset("mnist:train:0..2000", Split::Train).unwrap();
    let mut training = Training::start(lenet(0), &data, 0).unwrap();
    for _ in 0..80 {
        training.step().unwrap();
    }
    fs::write(dir.path().join("lenet.onnx"), training.finished()).unwrap();
    dir
}

fn files(dir: &TempDir, folder: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir.path().join(folder)).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect()
}

fn report(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_set_is_told_and_evaluated_and_learnt_from() {
    let dir = trained();
    let line = "generate lenet.onnx --data mnist:train --limit 12 --method fgv --method lots --beyond 1.5 --pass --out set";
    let text = done(&dir, line);
    assert!(text.starts_with("set: ") && text.contains(" on 12 origins, "), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let made = report(&done(&dir, &format!("{line} --resume --json")));
    assert_eq!(
        (&made["made"], &made["files"], &made["finished"]),
        (&0.into(), &1.into(), &true.into())
    );
    let correct = made["origins"].as_u64().unwrap() - made["misclassified"].as_u64().unwrap();
    assert_eq!(made["attempts"].as_u64().unwrap(), correct * 2 * (1 + 36));
    let found = made["found"].as_u64().unwrap();
    assert!(found > correct && found <= made["attempts"].as_u64().unwrap(), "{found}");

    // All are read wrong as they are. Learnt, fewer are.
    let rate = |model: &str| {
        let tested = report(&done(&dir, &format!("evaluate {model} --data set --json")));
        assert_eq!(tested["images"].as_u64().unwrap(), found);
        tested["error_rate"].as_f64().unwrap()
    };
    assert_eq!(rate("lenet.onnx"), 1.0);
    let line = "train lenet --init lenet.onnx --data set --data digits --mix 3:1 --iterations 60 --out hard.onnx --json";
    let trained = report(&done(&dir, line));
    assert_eq!((&trained["finished"], &trained["test"]["images"]), (&true.into(), &60.into()));
    assert!(rate("hard.onnx") < 0.7, "{}", rate("hard.onnx"));

    // The samples of a set lead from the same origins.
    let line = "generate lenet.onnx --data mnist:train --limit 12 --layer ip1 --target set --out improved --json";
    let improved = report(&done(&dir, line));
    assert_eq!(improved["attempts"].as_u64().unwrap(), found);
}

#[test]
fn parts_and_threads_make_the_same_bytes() {
    let dir = trained();
    let line = "generate lenet.onnx --data mnist:train --limit 130 --per-class 40 --random-targets --seed 3 --layer ip2";
    done(&dir, &format!("{line} --out whole"));
    let whole = files(&dir, "whole");
    assert!(whole.len() > 2, "{:?}", whole.keys());
    for part in [2, 1] {
        done(&dir, &format!("{line} --out parts --shard {part}/2 --resume --threads 1"));
    }
    assert!(whole == files(&dir, "parts"), "shards apart");
}

/// A kill is a power failure without the power coming back: nothing is done on the way out.
#[test]
fn killed_at_any_moment_and_resumed_it_is_the_same() {
    let dir = trained();
    let line =
        "generate lenet.onnx --data mnist:train --limit 500 --per-class 12 --layer ip2 --resume";
    done(&dir, &format!("{line} --out whole"));
    let mut kills = 0;
    for moment in 0..10 {
        let mut child = Command::new(cargo_bin!("lots"))
            .current_dir(&dir)
            .args(line.split(' '))
            .args(["--out", "killed"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Spread over what one to three files take.
        sleep(Duration::from_millis(150 + 137 * (moment * 7 % 10)));
        kills += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(kills > 3, "{kills}");
    done(&dir, &format!("{line} --out killed"));
    let mut killed = files(&dir, "killed");
    // What a file in work had been called.
    killed.retain(|name, _| !name.starts_with(".lots-"));
    assert!(killed == files(&dir, "whole"), "bytes differ after {kills} kills");
    // Such leftovers are no part of the set.
    let of = |set: &str| {
        report(&done(&dir, &format!("evaluate lenet.onnx --data {set} --json")))["images"].clone()
    };
    assert_eq!(of("killed"), of("whole"));
}

#[test]
fn what_makes_no_sense_is_told() {
    let dir = workplace();
    let generate = "generate lenet.onnx --data digits --out out";
    let cases = [
        ("generate lenet.onnx --out out", "required arguments were not provided: --data <DATA>"),
        (
            &*format!("{generate} --method fgs --target digits"),
            "--target is for lots, found other methods only",
        ),
        (
            &*format!("{generate} --method fgs --layer ip1"),
            "--layer is for lots, magnify and reduce",
        ),
        (
            &*format!("{generate} --method feature-adversary"),
            "--method feature-adversary goes to the end of a budget rather than to the smallest",
        ),
        (
            &*format!("{generate} --method lbfgs --beyond 1.5"),
            "--beyond goes on along a direction, found --method lbfgs, which has no single one; leave",
        ),
        (
            &*format!("{generate} --resume --force"),
            "--resume goes on with what --force throws away",
        ),
        (&*format!("{generate} --shard 3/2"), "wanted a part and how many there are, such as 2/4"),
        (&*format!("{generate} --shard 0/2"), "wanted a part and how many there are, such as 2/4"),
        (&*format!("{generate} --beyond 1"), "wanted a factor from 1.01 to 100, such as 1.2"),
        (&*format!("{generate} --beyond nan"), "wanted a factor from 1.01 to 100, such as 1.2"),
        (&*format!("{generate} --layer ip9"), "no layer \"ip9\""),
        (&*format!("{generate} --target nowhere"), "no data set \"nowhere\""),
        ("generate lenet.onnx --data nowhere --out out", "no data set \"nowhere\""),
        (
            "generate lenet.onnx --data mnist:train:0..9 --out digits",
            "digits is not empty and holds no set",
        ),
        (
            "generate lenet.onnx --data mnist:train:0..9 --out digits --force",
            "digits is not empty and holds no set",
        ),
        (
            "train lenet --data digits --data digits --out x",
            "2 --data are mixed in every batch, found no --mix",
        ),
        (
            "train lenet --data digits --mix 1:2 --out x",
            "--mix has 2 numbers, found 1 --data; give one for each",
        ),
        (
            "train lenet --data digits --mix 0 --out x",
            "wanted whole numbers above 0, such as 1:1 or 3:1",
        ),
    ];
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|(line, wanted)| {
            let failure = not_the_error(&lots(&dir, line), wanted)?;
            Some(format!("{line}: {failure}"))
        })
        .collect();
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(!dir.path().join("out").exists());
}
