//! Functions of each number, and operators that go element by element.

use super::super::model::{float, int, tensor, text};
use super::{Case, one};
use crate::onnx::float_tensor;

pub(super) fn cases() -> Vec<Case> {
    let mut all: Vec<Case> = Vec::new();
    let mut add = |what, model, says: &[&'static str]| all.push((what, model, says.to_vec()));
    for op in ["Abs", "Exp", "Floor", "HardSwish", "Log", "Mish", "Neg", "Round", "Sqrt", "Tanh"] {
        add(
            "attribute",
            one(op, &["image"], vec![float("alpha", 1.0)]),
            &[op, "attribute alpha is not supported"],
        );
        add("of nothing", one(op, &[], vec![]), &[op, "nothing makes its input \"\""]);
    }
    for op in ["Celu", "Elu", "HardSigmoid", "LeakyRelu", "Selu", "Swish", "ThresholdedRelu"] {
        add(
            "alpha NaN",
            one(op, &["image"], vec![float("alpha", f32::NAN)]),
            &[op, "attribute alpha is NaN"],
        );
        add(
            "alpha of another type",
            one(op, &["image"], vec![int("alpha", 1)]),
            &[op, "attribute alpha has the wrong type"],
        );
    }
    for (alpha, says) in
        [(0.0, "alpha is 0; wanted a positive"), (-1.0, "alpha is -1; wanted a positive")]
    {
        add("alpha", one("Celu", &["image"], vec![float("alpha", alpha)]), &["Celu", says]);
    }
    add(
        "another approximation",
        one("Gelu", &["image"], vec![text("approximate", "sigmoid")]),
        &["Gelu", "approximate is \"sigmoid\"; wanted \"none\" or \"tanh\""],
    );
    add(
        "bounds as attributes, as before operator set 11",
        one("Clip", &["image"], vec![float("min", 0.0)]),
        &["Clip", "attribute min is not supported"],
    );
    add(
        "a bound for each channel",
        one("Clip", &["image", "b"], vec![]),
        &["Clip", "its bound (input 1) holds 3 numbers; wanted one"],
    );
    add(
        "a bound that is no constant",
        one("Clip", &["image", "", "image"], vec![]),
        &["Clip", "input 2 (\"image\") is not a constant"],
    );
    add(
        "a bound of integers",
        one("Clip", &["image", "i"], vec![]).ints("i", &[1]),
        &["Clip", "holds integers; wanted floats"],
    );
    for op in ["Pow", "PRelu"] {
        add("no broadcast", one(op, &["image", "b"], vec![]), &[op, "do not broadcast"]);
        add("three inputs", one(op, &["image", "b", "b"], vec![]), &[op, "two inputs"]);
        add("one input", one(op, &["image"], vec![]), &[op, "two inputs"]);
    }
    add(
        "a slope that is larger than the image",
        one("PRelu", &["image", "s"], vec![])
            .constant(float_tensor("s", &tensor(&[3, 1, 1, 1], vec![0.1; 3]))),
        &["PRelu", "its slope [3, 1, 1, 1] does not broadcast to its input [1, 2, 6, 6]"],
    );
    for op in ["Min", "Max", "Sum", "Mean"] {
        add("no inputs", one(op, &[], vec![]), &[op, "its inputs are missing"]);
        add("no broadcast", one(op, &["image", "image", "b"], vec![]), &[op, "do not broadcast"]);
        add(
            "integers",
            one(op, &["image", "i"], vec![]).ints("i", &[1]),
            &[op, "holds integers; wanted floats"],
        );
        add("attribute", one(op, &["image"], vec![int("axis", 1)]), &[op, "attribute axis"]);
    }
    for axis in [4, -5] {
        add(
            "an axis that is not there",
            one("LogSoftmax", &["image"], vec![int("axis", axis)]),
            &["LogSoftmax", "does not exist in 4 axes"],
        );
    }
    all
}
