//! Reductions, products, transposed convolutions and resizing that are refused: one line that names node and operator.

use super::bad_nodes::{one, refused};
use super::compare::report;
use super::model::{Model, float, int, ints, tensor, text};
use crate::onnx::{AttributeProto, TensorProto, float_tensor, int_tensor};

/// Node "bad" over [1, 2, 6, 6] with `inputs` behind the image; those without a type are left out.
fn node(op: &str, inputs: Vec<TensorProto>, attributes: Vec<AttributeProto>) -> Model {
    let name = |(i, t): (usize, &TensorProto)| match t.data_type {
        0 => String::new(),
        _ => format!("i{i}"),
    };
    let names: Vec<String> = inputs.iter().enumerate().map(name).collect();
    let all: Vec<&str> = std::iter::once("image").chain(names.iter().map(String::as_str)).collect();
    let mut model = one(op, &all, attributes);
    for (name, t) in names.iter().zip(inputs).filter(|(name, _)| !name.is_empty()) {
        model = model.constant(TensorProto { name: name.clone(), ..t });
    }
    model
}

fn floats(shape: &[usize]) -> TensorProto {
    let n = shape.iter().product();
    float_tensor("", &tensor(shape, vec![0.5; n]))
}

fn scales(list: &[f32]) -> Vec<TensorProto> {
    let t = float_tensor("", &tensor(&[list.len()], list.to_vec()));
    vec![TensorProto::default(), t]
}

fn sizes(list: &[i64]) -> Vec<TensorProto> {
    vec![TensorProto::default(), TensorProto::default(), int_tensor("", list)]
}

fn mode(attribute: &str, value: &str) -> Vec<AttributeProto> {
    vec![text(attribute, value)]
}

type Cases = Vec<(&'static str, Vec<TensorProto>, Vec<AttributeProto>, &'static str)>;

fn reductions() -> Cases {
    let axes = |list: &[i64]| vec![int_tensor("", list)];
    vec![
        ("ReduceMean", axes(&[4]), vec![], "axis 4 does not exist in 4 axes"),
        ("ReduceSum", axes(&[i64::MIN]), vec![], "does not exist in 4 axes"),
        ("ReduceMax", axes(&[1, -3]), vec![], "axis -3 is there twice in [1, -3]"),
        ("ReduceMin", axes(&[1]), vec![ints("axes", &[1])], "given twice"),
        ("ReduceL1", vec![floats(&[1])], vec![], "holds floats; wanted integers"),
        ("ReduceL2", vec![], vec![text("axes", "1")], "attribute axes has the wrong type"),
        ("ReduceProd", vec![], vec![int("fancy", 1)], "attribute fancy is not supported"),
        ("ReduceSumSquare", vec![], vec![float("keepdims", 1.0)], "wrong type"),
        ("GlobalMaxPool", vec![], vec![int("p", 1)], "attribute p is not supported"),
    ]
}

fn products() -> Cases {
    let fit = "do not fit for a product";
    vec![
        ("MatMul", vec![floats(&[5, 3])], vec![], "[1, 2, 6, 6] and [5, 3] (of one image)"),
        ("MatMul", vec![floats(&[3, 6, 2])], vec![], fit),
        ("MatMul", vec![floats(&[2])], vec![], fit),
        ("MatMul", vec![floats(&[])], vec![], fit),
        ("MatMul", vec![int_tensor("", &[1; 6])], vec![], "holds integers"),
        ("MatMul", vec![], vec![], "wanted two inputs"),
        ("MatMul", vec![floats(&[6, 2]), floats(&[6, 2])], vec![], "wanted two inputs"),
        ("MatMul", vec![floats(&[0, 1, 6, 2])], vec![], "impossible shape"),
    ]
}

fn transposed() -> Cases {
    let weight = || vec![floats(&[2, 3, 3, 3])];
    let far = 1 << 20;
    vec![
        ("ConvTranspose", vec![], vec![], "input 1 (its weights) is missing"),
        ("ConvTranspose", vec![floats(&[3, 2, 3, 3])], vec![], "do not fit an input of 2 channels"),
        ("ConvTranspose", vec![floats(&[2, 3, 3])], vec![], "do not fit a 2-D input"),
        ("ConvTranspose", vec![floats(&[2, 0, 3, 3])], vec![], "do not fit an input"),
        ("ConvTranspose", vec![floats(&[2, 3, 0, 3])], vec![], "its kernel is empty"),
        ("ConvTranspose", weight(), vec![int("group", 3)], "do not fit an input of 2 channels"),
        (
            "ConvTranspose",
            vec![floats(&[2, 3, 3, 3]), floats(&[2])],
            vec![],
            "bias [2] does not fit 3 output channels",
        ),
        (
            "ConvTranspose",
            weight(),
            vec![ints("kernel_shape", &[3, 2])],
            "differs from its weights' 3×3",
        ),
        ("ConvTranspose", weight(), vec![ints("strides", &[0, 1])], "attribute strides is [0, 1]"),
        ("ConvTranspose", weight(), vec![ints("pads", &[1, 1, 1])], "wanted four sizes"),
        ("ConvTranspose", weight(), vec![ints("pads", &[0, 0, 0, -1])], "that are not negative"),
        (
            "ConvTranspose",
            weight(),
            vec![ints("pads", &[4, 0, 4, 0])],
            "pads 4 and 4 leave nothing",
        ),
        (
            "ConvTranspose",
            weight(),
            vec![ints("output_padding", &[0, 1])],
            "output_padding 1 is too large for stride 1 and dilation 1; wanted 0 at most",
        ),
        ("ConvTranspose", weight(), vec![ints("output_padding", &[-1, 0])], "wanted 2 sizes"),
        (
            "ConvTranspose",
            weight(),
            vec![ints("output_shape", &[0, 8])],
            "wanted two positive sizes",
        ),
        (
            "ConvTranspose",
            weight(),
            vec![ints("output_shape", &[9, 8])],
            "its output of 8 cannot be padded to 9",
        ),
        (
            "ConvTranspose",
            vec![floats(&[2, 3, 1, 1])],
            vec![text("auto_pad", "SAME_UPPER"), ints("strides", &[2, 2])],
            "its output of 11 cannot be padded to 12; give pads and output_padding",
        ),
        ("ConvTranspose", weight(), mode("auto_pad", "SAME"), "attribute auto_pad is \"SAME\""),
        (
            "ConvTranspose",
            weight(),
            vec![ints("strides", &[far, far])],
            "its padded output [2, 5242886, 5242886] is too large",
        ),
    ]
}

fn resized() -> Cases {
    let twice = || scales(&[1.0, 1.0, 2.0, 2.0]);
    let coordinates = "coordinate_transformation_mode";
    vec![
        ("Resize", vec![], vec![], "wanted either scales or sizes"),
        ("Resize", [twice(), sizes(&[1, 2, 3, 3])[2..].to_vec()].concat(), vec![], "either"),
        ("Resize", scales(&[2.0, 2.0]), vec![], "2 scales or sizes do not fit 4 axes"),
        (
            "Resize",
            sizes(&[2, 2, 2]),
            vec![ints("axes", &[2, 3])],
            "3 scales or sizes do not fit 2",
        ),
        ("Resize", sizes(&[2, 3]), vec![ints("axes", &[2, -2])], "axis 2 is there twice"),
        ("Resize", sizes(&[2]), vec![ints("axes", &[4])], "axis 4 does not exist"),
        ("Resize", sizes(&[1, 2, 0, 3]), vec![], "axis 2 of [1, 2, 6, 6] would have no elements"),
        ("Resize", sizes(&[1, 2, -4, 3]), vec![], "would have no elements"),
        ("Resize", scales(&[1.0, 1.0, -1.0, 1.0]), vec![], "would have no elements"),
        ("Resize", scales(&[1.0, 1.0, 0.1, 1.0]), vec![], "would have no elements"),
        ("Resize", scales(&[1.0, 1.0, 1e30, 1.0]), vec![], "impossible shape"),
        ("Resize", sizes(&[1, 1, 1 << 30, 1]), vec![], "too large"),
        ("Resize", twice(), mode("mode", "bilinear"), "attribute mode is \"bilinear\""),
        ("Resize", twice(), mode("nearest_mode", "round"), "attribute nearest_mode is \"round\""),
        ("Resize", twice(), mode(coordinates, "tf_crop_and_resize"), "Lots supports half_pixel"),
        (
            "Resize",
            scales(&[1.0, 1.0, 1.3, 1.0]),
            mode(coordinates, "align_corners"),
            "6 elements times 1.3 make no whole number",
        ),
        (
            "Resize",
            twice(),
            mode("keep_aspect_ratio_policy", "not_larger"),
            "Lots supports stretch",
        ),
        ("Resize", twice(), vec![int("antialias", 1)], "antialias = 1 is not supported"),
        ("Resize", twice(), vec![float("cubic_coeff_a", f32::NAN)], "cubic_coeff_a is NaN"),
    ]
}

fn pools() -> Cases {
    let window = |more: Vec<AttributeProto>| [vec![ints("kernel_shape", &[2, 2])], more].concat();
    vec![
        (
            "AveragePool",
            vec![],
            window(vec![ints("pads", &[0, 2, 0, 0])]),
            "some of its windows lie wholly in the padding",
        ),
        (
            "AveragePool",
            vec![],
            window(vec![ints("dilations", &[7, 1]), ints("pads", &[1, 0, 1, 0])]),
            "lie wholly in the padding",
        ),
    ]
}

#[test]
fn what_does_not_fit_is_refused_by_node_and_operator() {
    let mut wrong = Vec::new();
    let all = [reductions(), products(), transposed(), resized(), pools()];
    for (op, inputs, attributes, says) in all.into_iter().flatten() {
        let bytes = node(op, inputs, attributes).bytes();
        let named = format!("node \"bad\" ({op}): ");
        wrong.extend(refused(&bytes, &[&named, says]).err().map(|e| format!("{op}: {e}")));
    }
    report(&wrong);
}

/// Rows and columns of zeros count where padding counts.
#[test]
fn windows_of_counted_padding_are_zero() {
    use crate::graph::Graph;
    use crate::network::Network;
    let attributes = vec![
        ints("kernel_shape", &[2, 2]),
        ints("pads", &[0, 2, 0, 0]),
        int("count_include_pad", 1),
    ];
    let model = node("AveragePool", vec![], attributes);
    let graph = Graph::from_onnx(&model.bytes(), "test").unwrap();
    let ones = ndarray::Array4::from_elem((1, 2, 6, 6), 1.0);
    let y = graph.represent(ones.view(), graph.output()).unwrap();
    assert_eq!(&y.as_slice().unwrap()[..4], [0.0, 0.5, 1.0, 1.0]);
}
