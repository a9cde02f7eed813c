use std::fs;

use lots::{Split, Training, open_dataset};
use lots_nn::lenet;
use serde_json::Value;

use crate::{done, lots, not_the_error};

/// Basic is there already, so that nothing is trained.
#[test]
fn a_part_of_the_table_is_made_and_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let data = open_dataset("mnist:train:0..2000", Split::Train).unwrap();
    let mut training = Training::start(lenet(0), &data, 0).unwrap();
    for _ in 0..80 {
        training.step().unwrap();
    }
    fs::create_dir_all(dir.path().join("t/models")).unwrap();
    fs::write(dir.path().join("t/models/basic.onnx"), training.finished()).unwrap();

    let line = "reproduce table1 --quick --limit 4 --models basic --out t";
    let text = done(&dir, line);
    assert!(
        text.contains("\nBasic LeNet ") && text.contains("\n  paper           0.91 "),
        "{text}"
    );
    assert!(text.ends_with("table1.json, table1.md, table1.csv and index.html in t\n"), "{text}");
    let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
    assert!(wide.is_empty(), "{wide:#?}");
    let read = |name: &str| fs::read_to_string(dir.path().join("t").join(name)).unwrap();
    let json: Value = serde_json::from_str(&read("table1.json")).unwrap();
    assert_eq!(json["models"][0]["name"], "Basic LeNet");
    assert_eq!(json["models"][0]["images"], 4);
    assert!(json["comparison"]["diversity"].as_array().unwrap().len() > 3);
    assert!(read("table1.md").starts_with("# Table 1\n"));
    assert!(read("table1.csv").starts_with("model,seed,error,"));
    assert!(read("index.html").contains("data:image/png;base64,"));

    // Nothing is left to do; the table is the same.
    let again = done(&dir, &format!("{line} --resume --json"));
    assert_eq!(serde_json::from_str::<Value>(&again).unwrap(), json);
    let cases = [
        (line, "t holds a run; go on with --resume, or give another --out"),
        (
            "reproduce table1 --models best",
            "no model of Table 1 \"best\"; models: basic, infimnist",
        ),
        (
            "reproduce table1 --quick --limit 5 --models basic --out t --resume",
            "4 test digits attacked, found a 20th of the iterations, sets of 3000 training digits",
        ),
    ];
    for (line, wanted) in cases {
        assert_eq!(not_the_error(&lots(&dir, line), wanted), None, "{line}");
    }
}
