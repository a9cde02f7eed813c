//! Operators and attributes that are not supported: one line that names node and operator, never a panic.

mod elementwise;
mod normalize;

use super::compare::report;
use super::model::{Model, float, int, ints, tensor, text};
use crate::graph::Graph;
use crate::onnx::{AttributeProto, NodeProto, TensorProto, float_tensor, int_tensor};

/// One case: what it is, the file, and what the error must say.
pub(super) type Case = (&'static str, Model, Vec<&'static str>);

/// What is wrong with a refusal, if anything.
pub(super) fn refused(bytes: &[u8], says: &[&str]) -> Result<(), String> {
    match Graph::from_onnx(bytes, "file.onnx") {
        Ok(_) => Err("was accepted".into()),
        Err(e) => {
            let e = e.to_string();
            let missing: Vec<_> = says.iter().filter(|s| !e.contains(**s)).collect();
            if missing.is_empty() && e.starts_with("file.onnx: ") && !e.contains('\n') {
                return Ok(());
            }
            Err(format!("does not say {missing:?}: {e}"))
        }
    }
}

/// Node "bad" with operator `op` over the image, and two constants to use: "w" [3, 2, 3, 3] and "b" [3].
pub(super) fn one(op: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> Model {
    Model::new(&[2, 6, 6])
        .floats("w", &[3, 2, 3, 3])
        .floats("b", &[3])
        .node("bad", op, inputs, "y", attributes)
        .output("y")
}

fn conv_with(attribute: AttributeProto) -> Model {
    one("Conv", &["image", "w", "b"], vec![attribute])
}

fn pool_with(op: &str, attribute: AttributeProto) -> Model {
    one(op, &["image"], vec![ints("kernel_shape", &[2, 2]), attribute])
}

/// Node "bad", a Gemm over an input [N, 4].
fn gemm_with(inputs: &[&str], attributes: Vec<AttributeProto>) -> Model {
    Model::new(&[4])
        .floats("w", &[4, 3])
        .floats("b2", &[2])
        .floats("b43", &[4, 3])
        .floats("b113", &[1, 1, 3])
        .node("bad", "Gemm", inputs, "y", attributes)
        .output("y")
}

/// Node "bad", a Reshape to `shape`.
fn reshape(shape: &[i64]) -> Model {
    Model::new(&[2, 6, 6])
        .ints("shape", shape)
        .node("bad", "Reshape", &["image", "shape"], "y", vec![])
        .output("y")
}

/// A network that is right: conv, ReLU.
pub(super) fn right() -> Model {
    Model::new(&[2, 6, 6])
        .floats("w", &[3, 2, 3, 3])
        .node("c", "Conv", &["image", "w"], "c", vec![])
        .node("r", "Relu", &["c"], "y", vec![])
        .output("y")
}

/// Node "bad" over the image [2, 6, 6], which becomes [1, 2, 6, 6], with lists of integers behind it.
fn moves(op: &str, lists: &[&[i64]], attributes: Vec<AttributeProto>) -> Model {
    let names: Vec<String> = (0..lists.len()).map(|i| format!("i{i}")).collect();
    let inputs: Vec<&str> =
        std::iter::once("image").chain(names.iter().map(String::as_str)).collect();
    let mut model = one(op, &inputs, attributes);
    for (name, list) in names.iter().zip(lists) {
        model = model.ints(name, list);
    }
    model
}

/// Operator, lists, attributes, and what the error must say.
type Moved = (&'static str, &'static [&'static [i64]], Vec<AttributeProto>, &'static str);

/// Operators that move numbers, with what does not fit.
fn moved() -> Vec<Case> {
    const FAR: i64 = i64::MAX;
    let cases: [Moved; 34] = [
        ("Transpose", &[], vec![ints("perm", &[0, 1, 2])], "wanted each of 4 axes once"),
        ("Transpose", &[], vec![ints("perm", &[0, 1, 1, 2])], "wanted each of 4 axes once"),
        ("Transpose", &[], vec![ints("perm", &[0, 1, 2, -1])], "wanted each of 4 axes once"),
        ("Slice", &[&[0]], vec![], "starts or ends are missing"),
        ("Slice", &[&[0], &[1, 1]], vec![], "not equally many"),
        ("Slice", &[&[0], &[1], &[4]], vec![], "axis 4 does not exist"),
        ("Slice", &[&[0], &[1], &[1], &[0]], vec![], "a step is 0"),
        ("Slice", &[&[5], &[5], &[2]], vec![], "nothing is left of axis 2"),
        ("Slice", &[&[FAR], &[FAR], &[2], &[FAR]], vec![], "nothing is left of axis 2"),
        ("Slice", &[&[0, 0], &[1, 1], &[1, -3]], vec![], "do not fit 2 sizes"),
        ("Gather", &[], vec![], "indices are missing"),
        ("Gather", &[&[2]], vec![int("axis", 1)], "not one of an axis of 2"),
        ("Gather", &[&[-3]], vec![int("axis", 1)], "not one of an axis of 2"),
        ("Gather", &[&[i64::MIN]], vec![int("axis", 1)], "not one of an axis of 2"),
        ("Gather", &[&[]], vec![int("axis", 1)], "no indices"),
        ("Gather", &[&[0]], vec![int("axis", 4)], "axis 4 does not exist"),
        ("Expand", &[&[3, 6, 6]], vec![], "does not broadcast"),
        ("Expand", &[&[0]], vec![], "wanted positive sizes"),
        ("Expand", &[&[1 << 20, 1 << 20, 1, 1, 1, 1]], vec![], "too large"),
        ("Tile", &[&[1, 1]], vec![], "not one for each of 4 axes"),
        ("Tile", &[&[FAR, FAR, 1, 1]], vec![], "too large"),
        ("Tile", &[&[1 << 30, 1, 1, 1]], vec![], "too large"),
        ("Pad", &[], vec![], "pads are missing"),
        ("Pad", &[&[1, 1, 1]], vec![], "two for each axis"),
        ("Pad", &[&[0, 0, 0, -7, 0, 0, 0, 0]], vec![], "nothing is left of axis 3"),
        ("Pad", &[&[0, 0, 0, FAR, 0, 0, 0, 0]], vec![], "two for each axis"),
        ("Pad", &[&[1 << 20; 8]], vec![], "too large"),
        ("Pad", &[&[0; 8]], vec![text("mode", "mirror")], "attribute mode is \"mirror\""),
        ("Squeeze", &[&[1]], vec![], "axis 1 of [1, 2, 6, 6] is not 1"),
        ("Unsqueeze", &[], vec![], "axes are missing"),
        ("Unsqueeze", &[&[0, 0]], vec![], "name one twice"),
        ("SpaceToDepth", &[], vec![int("blocksize", 4)], "blocksize 4 does not fit"),
        ("DepthToSpace", &[], vec![int("blocksize", 2)], "blocksize 2 does not fit"),
        ("DepthToSpace", &[], vec![int("blocksize", 0)], "attribute blocksize is 0"),
    ];
    let case =
        |(op, lists, attributes, says)| ("moved", moves(op, lists, attributes), vec![op, says]);
    let mut all: Vec<Case> = cases.into_iter().map(case).collect();
    let split = |attributes: Vec<AttributeProto>, lists: &[&[i64]], outputs: &[&str]| {
        moves("Split", lists, attributes).change(|m| {
            let node = &mut m.graph.as_mut().unwrap().node[0];
            node.output = outputs.iter().map(ToString::to_string).collect();
        })
    };
    let axis = || vec![int("axis", 2)];
    for (lists, outputs) in [
        (&[&[3, 2][..]][..], &["y", "z"][..]),
        (&[&[6]], &["y", "z"]),
        (&[&[6, 6]], &["y", "z"]),
        (&[], &["y", "z", "a", "b", "c", "d", "e"]),
    ] {
        all.push((
            "split",
            split(axis(), lists, outputs),
            vec!["Split", "do not make up an axis of 6"],
        ));
    }
    all.push(("split twice", split(axis(), &[], &["y", "y"]), vec!["Split", "made twice"]));
    all.push((
        "concat of other sizes",
        moves("Concat", &[], vec![int("axis", 1)]).change(|m| {
            let graph = m.graph.as_mut().unwrap();
            graph.node[0].input.push("w".into());
        }),
        vec!["Concat", "[1, 2, 6, 6] and [3, 2, 3, 3] (of one image) differ beside axis 1"],
    ));
    all.push((
        "concat of integers",
        moves("Concat", &[&[1]], vec![int("axis", 0)])
            .change(|m| {
                let graph = m.graph.as_mut().unwrap();
                graph.initializer.iter_mut().for_each(|t| {
                    if t.name == "i0" {
                        t.dims = vec![1, 1, 1, 1];
                    }
                });
                graph.node[0].input[0] = "s".into();
                let squeezed = NodeProto {
                    name: "mean".into(),
                    op_type: "Slice".into(),
                    input: ["image", "zero", "one", "axes"].map(String::from).to_vec(),
                    output: vec!["s".into()],
                    ..NodeProto::default()
                };
                graph.node.insert(0, squeezed);
            })
            .ints("zero", &[0, 0, 0])
            .ints("one", &[1, 1, 1])
            .ints("axes", &[1, 2, 3]),
        vec!["Concat", "holds integers"],
    ));
    all
}

/// Constants that are small in the file and large or empty once computed, by node "bad".
fn constants() -> Vec<Case> {
    let empty = || float_tensor("e", &tensor(&[2, 0], vec![]));
    let huge = || TensorProto { dims: vec![1 << 40, 0], ..int_tensor("h", &[]) };
    let of = |op: &str, inputs: &[&str], attributes: Vec<AttributeProto>| {
        one(op, inputs, attributes).constant(empty()).constant(huge()).ints("s", &[1 << 27])
    };
    let mut all: Vec<Case> = Vec::new();
    for op in ["Softmax", "LogSoftmax", "LpNormalization", "Relu", "ReduceMean", "ReduceMax"] {
        all.push(("empty", of(op, &["e"], vec![]), vec![op, "impossible shape"]));
    }
    for op in ["Add", "Equal"] {
        all.push(("huge and empty", of(op, &["h", "s"], vec![]), vec![op, "too large"]));
    }
    let joined = of("Concat", &["h", "h"], vec![int("axis", 1)]);
    all.push(("huge and empty", joined, vec!["Concat", "too large"]));
    let split = of("Split", &["image"], vec![int("axis", 1), int("num_outputs", i64::MAX)]);
    all.push((
        "many parts",
        split,
        vec!["Split", "num_outputs is 9223372036854775807, but it has 1"],
    ));
    let pads = one("Pad", &["image", "p"], vec![]).ints("p", &[i64::MIN; 8]);
    all.push(("least pads", pads, vec!["Pad", "two for each axis"]));
    let narrow = one("Cast", &["n"], vec![int("to", 6)]).ints("n", &[1 << 32]);
    all.push(("beyond 32 bits", narrow, vec!["Cast", "do not fit 32 bits"]));
    let mut many = of("Relu", &["image"], vec![]);
    for i in 0..3 {
        many = many.node("bad", "ConstantOfShape", &["s"], &format!("c{i}"), vec![]);
    }
    all.push(("much of little", many, vec!["ConstantOfShape", "far larger than the file"]));
    all
}

/// Operators and attributes that are not supported: each error names the node and the operator.
fn nodes() -> Vec<Case> {
    let mut all: Vec<Case> = Vec::new();
    let mut add =
        |what, model: Model, says: &[&'static str]| all.push((what, model, says.to_vec()));
    let says = &["LSTM", "this operator is not supported"];
    add("operator", one("LSTM", &["image"], vec![]), says);
    for op in ["RandomNormalLike", "RandomUniform", "Bernoulli", "Multinomial"] {
        add("random numbers", one(op, &["image"], vec![]), &[op, "export for inference"]);
    }
    let conv: [(&str, AttributeProto, &str); 16] = [
        ("unknown attribute", int("fancy", 1), "attribute fancy is not supported"),
        ("group 0", int("group", 0), "attribute group is 0"),
        ("group below zero", int("group", -2), "attribute group is -2"),
        ("group that does not divide", int("group", 2), "do not fit an input of 2 channels"),
        ("group as floats", float("group", 1.0), "attribute group has the wrong type"),
        ("stride 0", ints("strides", &[0, 1]), "attribute strides is [0, 1]"),
        ("stride below zero", ints("strides", &[1, -1]), "attribute strides is [1, -1]"),
        ("three strides", ints("strides", &[1, 1, 1]), "wanted two positive sizes"),
        ("strides as one number", int("strides", 2), "attribute strides has the wrong type"),
        ("dilation 0", ints("dilations", &[0, 0]), "attribute dilations is [0, 0]"),
        ("pads below zero", ints("pads", &[0, -1, 0, 0]), "not negative"),
        ("two pads", ints("pads", &[1, 1]), "wanted four sizes"),
        ("auto_pad", text("auto_pad", "SAME"), "attribute auto_pad is \"SAME\""),
        ("kernel_shape", ints("kernel_shape", &[3, 2]), "kernel_shape [3, 2] differs"),
        ("kernel beyond the input", ints("dilations", &[3, 3]), "its kernel reaches over 7"),
        ("huge pads", ints("pads", &[i64::MAX; 4]), "wanted four sizes"),
    ];
    for (what, attribute, says) in conv {
        add(what, conv_with(attribute), &["Conv", says]);
    }
    add("weights missing", one("Conv", &["image"], vec![]), &["Conv", "weights", "missing"]);
    add(
        "weights of three axes",
        Model::new(&[2, 6, 6])
            .floats("w", &[3, 2, 3])
            .node("bad", "Conv", &["image", "w"], "y", vec![])
            .output("y"),
        &["Conv", "do not fit a 2-D input"],
    );
    add(
        "several images in one",
        Model::new(&[2, 6, 6])
            .floats("w", &[3, 1, 3, 3])
            .ints("s", &[2, 1, 6, 6])
            .node("r", "Reshape", &["image", "s"], "r", vec![])
            .node("bad", "Conv", &["r", "w"], "y", vec![])
            .output("y"),
        &["Conv", "found [2, 1, 6, 6] (of one image)"],
    );
    add(
        "weights that are no constant",
        one("Conv", &["image", "image"], vec![]),
        &["Conv", "is not a constant"],
    );
    add(
        "bias of another size",
        one("Conv", &["image", "w", "w"], vec![]),
        &["Conv", "does not fit 3 output channels"],
    );
    for op in ["MaxPool", "AveragePool"] {
        add("no kernel_shape", one(op, &["image"], vec![]), &[op, "wanted kernel_shape"]);
        add(
            "kernel_shape of one",
            one(op, &["image"], vec![ints("kernel_shape", &[2])]),
            &[op, "2-D"],
        );
        add(
            "kernel_shape 0",
            one(op, &["image"], vec![ints("kernel_shape", &[0, 2])]),
            &[op, "kernel_shape"],
        );
        add(
            "kernel too large",
            one(op, &["image"], vec![ints("kernel_shape", &[7, 2])]),
            &[op, "its kernel reaches over 7"],
        );
        add("unknown attribute", pool_with(op, int("p", 2)), &[op, "attribute p is not supported"]);
        add(
            "pads of a text",
            pool_with(op, text("pads", "1")),
            &[op, "attribute pads has the wrong type"],
        );
    }
    add(
        "count_include_pad of MaxPool",
        pool_with("MaxPool", int("count_include_pad", 1)),
        &["MaxPool", "count_include_pad is not supported"],
    );
    add(
        "windows in the padding",
        pool_with("MaxPool", ints("pads", &[2, 2, 2, 2])),
        &["MaxPool", "wholly in the padding"],
    );
    add(
        "pool of a row",
        gemm_with(&["image", "w"], vec![]).change(|m| {
            let node = &mut m.graph.as_mut().unwrap().node[0];
            node.op_type = "GlobalAveragePool".into();
            node.input.truncate(1);
        }),
        &["GlobalAveragePool", "at least one more axis, found [1, 4]"],
    );
    add(
        "indices of MaxPool",
        pool_with("MaxPool", ints("strides", &[2, 2])).change(|m| {
            let graph = m.graph.as_mut().unwrap();
            graph.node[0].output.push("indices".into());
            graph.output[0].name = "indices".into();
        }),
        &["MaxPool", "output \"indices\" is not supported"],
    );
    add("transA", gemm_with(&["image", "w"], vec![int("transA", 1)]), &["Gemm", "transA"]);
    add(
        "transB that does not fit",
        gemm_with(&["image", "w"], vec![int("transB", 1)]),
        &["Gemm", "wanted [N, 3]"],
    );
    add(
        "alpha NaN",
        gemm_with(&["image", "w"], vec![float("alpha", f32::NAN)]),
        &["Gemm", "alpha is NaN"],
    );
    add(
        "beta inf",
        gemm_with(&["image", "w"], vec![float("beta", f32::INFINITY)]),
        &["Gemm", "beta is inf"],
    );
    for bias in ["b2", "b43", "b113"] {
        add("bias", gemm_with(&["image", "w", bias], vec![]), &["Gemm", "does not fit 3 outputs"]);
    }
    add(
        "Gemm of an image",
        one("Gemm", &["image", "b"], vec![]),
        &["Gemm", "wanted a matrix of weights"],
    );
    for (op, name) in [("Add", "Add"), ("Sub", "Sub"), ("Mul", "Mul"), ("Div", "Div")] {
        add("no broadcast", one(op, &["image", "b"], vec![]), &[name, "do not broadcast"]);
        add("three inputs", one(op, &["image", "b", "b"], vec![]), &[name, "two inputs"]);
        add("one input", one(op, &["image"], vec![]), &[name, "two inputs"]);
        add(
            "integers",
            one(op, &["image", "i"], vec![]).ints("i", &[1]),
            &[name, "holds integers"],
        );
        add(
            "doubles",
            one(op, &["image", "d"], vec![]).constant(TensorProto {
                name: "d".into(),
                data_type: 11,
                ..TensorProto::default()
            }),
            &[name, "holds double"],
        );
    }
    add(
        "division by zero",
        Model::new(&[2])
            .constant(float_tensor("z", &tensor(&[2], vec![1.0, 0.0])))
            .node("bad", "Div", &["image", "z"], "y", vec![])
            .output("y"),
        &["Div", "constant zero"],
    );
    add(
        "ranks that differ",
        Model::new(&[4])
            .ints("s", &[0, 2, 2])
            .node("r", "Reshape", &["image", "s"], "r", vec![])
            .node("bad", "Add", &["image", "r"], "y", vec![])
            .output("y"),
        &["Add", "do not broadcast"],
    );
    for axis in [4, -5, i64::MIN, i64::MAX] {
        add(
            "softmax axis",
            one("Softmax", &["image"], vec![int("axis", axis)]),
            &["Softmax", "does not exist"],
        );
    }
    for axis in [5, -5, i64::MIN, i64::MAX] {
        add(
            "flatten axis",
            one("Flatten", &["image"], vec![int("axis", axis)]),
            &["Flatten", "does not exist"],
        );
    }
    for shape in [
        &[][..],
        &[71],
        &[5, -1],
        &[-1, -1],
        &[0, -1, -1],
        &[0, 71],
        &[0, 0, 0, 0, 0],
        &[0, -2, 36],
        &[0, 7, -1],
        &[0, i64::MAX, 2],
        &[i64::MAX, i64::MAX],
    ] {
        add("reshape", reshape(shape), &["Reshape", "does not fit its input [1, 2, 6, 6]"]);
    }
    add(
        "reshape to floats",
        one("Reshape", &["image", "b"], vec![]),
        &["Reshape", "holds floats; wanted integers"],
    );
    add(
        "reshape to nothing",
        one("Reshape", &["image"], vec![]),
        &["Reshape", "not constant integers"],
    );
    add(
        "dropout that trains",
        one("Dropout", &["image", "", "on"], vec![]).constant(TensorProto {
            name: "on".into(),
            data_type: 9,
            int32_data: vec![1],
            ..TensorProto::default()
        }),
        &["Dropout", "training_mode"],
    );
    add(
        "dropout ratio of old",
        one("Dropout", &["image"], vec![float("ratio", 0.5)]),
        &["Dropout", "ratio is not supported"],
    );
    add(
        "relu attribute",
        one("Relu", &["image"], vec![int("x", 0)]),
        &["Relu", "attribute x is not supported"],
    );
    add("relu of nothing", one("Relu", &[], vec![]), &["Relu", "nothing makes its input \"\""]);
    add(
        "undefined input",
        one("Relu", &["ghost"], vec![]),
        &["Relu", "nothing makes its input \"ghost\""],
    );
    add("a cycle", one("Add", &["image", "y"], vec![]), &["Add", "nothing makes its input \"y\""]);
    add(
        "a longer cycle",
        one("Relu", &["z"], vec![]).node("back", "Relu", &["y"], "z", vec![]),
        &["Relu", "nothing makes its input \"z\""],
    );
    add(
        "made twice",
        one("Relu", &["image"], vec![]).node("bad", "Relu", &["y"], "y", vec![]),
        &["Relu", "made twice"],
    );
    add(
        "makes a constant",
        one("Relu", &["image"], vec![]).node("bad", "Relu", &["y"], "w", vec![]),
        &["Relu", "made twice"],
    );
    add(
        "makes the image",
        one("Relu", &["image"], vec![]).node("bad", "Relu", &["y"], "image", vec![]),
        &["Relu", "made twice"],
    );
    add(
        "no output",
        one("Relu", &["image"], vec![])
            .change(|m| m.graph.as_mut().unwrap().node[0].output.clear()),
        &["Relu", "no output"],
    );
    add(
        "another domain",
        one("Relu", &["image"], vec![])
            .change(|m| m.graph.as_mut().unwrap().node[0].domain = "com.microsoft".into()),
        &["Relu", "com.microsoft"],
    );
    add(
        "constant text",
        right().change(|m| {
            let node = NodeProto {
                name: "bad".into(),
                op_type: "Constant".into(),
                output: vec!["k".into()],
                attribute: vec![text("value_string", "x")],
                ..NodeProto::default()
            };
            m.graph.as_mut().unwrap().node.push(node);
        }),
        &["Constant", "floats or integers"],
    );
    // Small files that ask for much memory or time.
    let huge = 1 << 20;
    for op in ["MaxPool", "AveragePool"] {
        add(
            "windows of 2^40 taps",
            one(
                op,
                &["image"],
                vec![ints("kernel_shape", &[huge, huge]), ints("pads", &[huge - 1; 4])],
            ),
            &[op, "too large"],
        );
        add(
            "2^30 windows",
            Model::new(&[1, 1 << 15, 1 << 15])
                .node("bad", op, &["image"], "y", vec![ints("kernel_shape", &[2, 2])])
                .output("y"),
            &[op, "too large"],
        );
    }
    add(
        "a padded input of 2^42",
        one(
            "Conv",
            &["image", "w"],
            vec![ints("pads", &[huge; 4]), ints("strides", &[huge, huge])],
        ),
        &["Conv", "too large"],
    );
    add(
        "broadcast to 2^40",
        Model::new(&[1 << 20, 1])
            .floats("c", &[1, 1 << 20])
            .node("bad", "Add", &["image", "c"], "y", vec![])
            .output("y"),
        &["Add", "impossible shape"],
    );
    all.extend(elementwise::cases());
    all.extend(normalize::cases());
    all
}

#[test]
fn what_is_not_supported_is_refused_by_node_and_operator() {
    let mut wrong = Vec::new();
    for (what, model, says) in nodes().into_iter().chain(moved()).chain(constants()) {
        let named = if says[0] == "Relu" && what == "a longer cycle" { "" } else { "node \"" };
        let op = format!("({})", says[0]);
        let says = [&[named, &op], &says[1..]].concat();
        wrong.extend(refused(&model.bytes(), &says).err().map(|e| format!("{what} ({op}): {e}")));
    }
    report(&wrong);
}
