//! Normalisations.

use super::super::model::{Model, float, int, tensor};
use super::{Case, one};
use crate::onnx::{AttributeProto, float_tensor};

/// Node "bad" over the image [N, 2, 6, 6], with constants "two" [2], "three" [3] and "negative" [2].
fn with_lists(op: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> Model {
    let negative = float_tensor("negative", &tensor(&[2], vec![1.0, -0.5]));
    one(op, inputs, attributes).floats("two", &[2]).floats("three", &[3]).constant(negative)
}

pub(super) fn cases() -> Vec<Case> {
    let mut all: Vec<Case> = Vec::new();
    let mut add = |what, model, says: &[&'static str]| all.push((what, model, says.to_vec()));
    let five = ["image", "two", "two", "two", "two"];
    let batch = |inputs: &[&str], a| with_lists("BatchNormalization", inputs, a);
    add(
        "training",
        batch(&five, vec![int("training_mode", 1)]),
        &["BatchNormalization", "training_mode = 1 would mix images", "export for inference"],
    );
    add(
        "epsilon below zero",
        batch(&five, vec![float("epsilon", -1.0)]),
        &["BatchNormalization", "epsilon is -1; wanted one that is not negative"],
    );
    add("no variance", batch(&five[..4], vec![]), &["BatchNormalization", "input 4", "missing"]);
    add(
        "statistics of other channels",
        batch(&["image", "two", "two", "three", "two"], vec![]),
        &["BatchNormalization", "its mean [3] does not fit 2 channels"],
    );
    add(
        "a variance below zero",
        batch(&["image", "two", "two", "two", "negative"], vec![]),
        &["BatchNormalization", "the variance of channel 1 is -0.5; wanted a positive one"],
    );
    add(
        "scale that is no constant",
        batch(&["image", "image", "two", "two", "two"], vec![]),
        &["BatchNormalization", "input 1 (\"image\") is not a constant"],
    );
    add(
        "several images in one",
        Model::new(&[2, 6, 6])
            .ints("s", &[2, 1, 6, 6])
            .floats("l", &[1])
            .node("r", "Reshape", &["image", "s"], "r", vec![])
            .node("bad", "BatchNormalization", &["r", "l", "l", "l", "l"], "y", vec![])
            .output("y"),
        &["BatchNormalization", "wanted [N, channels, ...], found [2, 1, 6, 6] (of one image)"],
    );
    add(
        "no bias",
        with_lists("InstanceNormalization", &["image", "two"], vec![]),
        &["InstanceNormalization", "input 2", "missing"],
    );
    add(
        "bias of other channels",
        with_lists("InstanceNormalization", &["image", "two", "three"], vec![]),
        &["InstanceNormalization", "its bias [3] does not fit 2 channels"],
    );
    let group = |scale, a| with_lists("GroupNormalization", &["image", scale, "two"], a);
    add("no groups", group("two", vec![]), &["GroupNormalization", "num_groups is 0; wanted"]);
    add(
        "groups of unequal size",
        group("two", vec![int("num_groups", 3)]),
        &["GroupNormalization", "2 channels do not make 3 equal groups"],
    );
    add(
        "scale of other channels",
        group("three", vec![int("num_groups", 2)]),
        &["GroupNormalization", "its scale [3] does not fit 2 channels"],
    );
    for op in ["GroupNormalization", "LayerNormalization", "RMSNormalization"] {
        let inputs = ["image", "one", "one"];
        let inputs = if op == "RMSNormalization" { &inputs[..2] } else { &inputs };
        let mut attributes = vec![int("stash_type", 10)];
        if op == "GroupNormalization" {
            attributes.push(int("num_groups", 1));
        }
        add(
            "another precision",
            with_lists(op, inputs, attributes).floats("one", &[1]),
            &[op, "stash_type is 10; Lots wants 1"],
        );
    }
    for axis in [4, -5] {
        add(
            "an axis that is not there",
            with_lists("LayerNormalization", &["image", "two"], vec![int("axis", axis)]),
            &["LayerNormalization", "does not exist in 4 axes"],
        );
    }
    add(
        "scale of another size",
        with_lists("LayerNormalization", &["image", "two"], vec![]),
        &["LayerNormalization", "[2] does not broadcast to [6]"],
    );
    add(
        "the mean as an output",
        with_lists("LayerNormalization", &["image", "one"], vec![]).floats("one", &[1]).change(
            |m| {
                let graph = m.graph.as_mut().unwrap();
                graph.node[0].output.push("mean".into());
                graph.output[0].name = "mean".into();
            },
        ),
        &["LayerNormalization", "output \"mean\" is not supported"],
    );
    add(
        "a bias",
        with_lists("RMSNormalization", &["image", "one", "one"], vec![]).floats("one", &[1]),
        &["RMSNormalization", "third input; wanted two"],
    );
    for p in [0, 3] {
        add(
            "another norm",
            one("LpNormalization", &["image"], vec![int("p", p)]),
            &["LpNormalization", "wanted 1 or 2"],
        );
    }
    for size in [0, -3] {
        add(
            "no channels",
            one("LRN", &["image"], vec![int("size", size)]),
            &["LRN", "attribute size is", "wanted a positive number of channels"],
        );
    }
    add(
        "size missing",
        one("LRN", &["image"], vec![]),
        &["LRN", "wanted a positive number of channels"],
    );
    all
}
