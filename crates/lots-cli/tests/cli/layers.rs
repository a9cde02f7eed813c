use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{done, workplace};

#[test]
fn the_table_of_lenet() {
    let dir = workplace();
    insta::assert_snapshot!(done(&dir, "layers lenet.onnx"), @r"
    index  name     operator  shape     parameters
           scale    Mul       1×28×28            1
        1  conv1    Conv      20×24×24         520
           pool1    MaxPool   20×12×12           0
        2  conv2    Conv      50×8×8         25050
           pool2    MaxPool   50×4×4             0
           flatten  Flatten   800                0
        3  ip1      Gemm      500           400500
           relu1    Relu      500                0
        4  ip2      Gemm      10              5010
           total                            431081
    ");
}

#[test]
fn layers_are_chosen_by_name_index_glob_and_all() {
    let dir = workplace();
    let cases = [
        ("--layer ip1", &["ip1"][..]),
        ("--layer 2", &["conv2"]),
        ("--layer conv*", &["conv1", "conv2"]),
        ("--layer all", &["conv1", "conv2", "ip1", "ip2"]),
        ("--layer ip2 --layer conv? --layer 1", &["conv1", "conv2", "ip2"]),
        ("--layer pool1", &["pool1"]),
        ("--layer logits", &["ip2"]),
    ];
    for (options, wanted) in cases {
        let json = done(&dir, &format!("layers lenet.onnx --json {options}"));
        let rows: Vec<Value> = serde_json::from_str(&json).unwrap();
        let names: Vec<&str> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
        assert_eq!(names, wanted, "{options}");
    }
}

#[test]
fn json_is_an_array_with_null_for_no_index() {
    let dir = workplace();
    let json = done(&dir, "layers lenet.onnx --json --layer conv1 --layer relu1");
    insta::assert_snapshot!(json, @r#"[{"index":1,"name":"conv1","operator":"Conv","shape":[20,24,24],"parameters":520},{"index":null,"name":"relu1","operator":"Relu","shape":[500],"parameters":0}]"#);
}

#[test]
fn a_reader_who_leaves_is_no_error() {
    let dir = workplace();
    let mut child = Command::new(env!("CARGO_BIN_EXE_lots"))
        .current_dir(&dir)
        .args(["layers", "lenet.onnx"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success(), "{}", output.status);
}
