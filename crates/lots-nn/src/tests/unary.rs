//! Functions of each number, alone; their attributes, shapes and batches drawn at random.
//!
//! Oracle: `naive`, and central differences of it.

use super::check::check_drawn;
use super::compare::{cases, report};
use super::model::Draw;
use super::naive::{Net, Op, Parameter, UNARY};
use super::operators::{batches, single};
use crate::graph::Graph;
use crate::network::{Cotangent, Network};
use ndarray::Array4;
use proptest::prelude::*;

/// Attributes other than the defaults, in the order of [`UNARY`].
fn draw_numbers(name: &str, draw: &mut Draw) -> Vec<f32> {
    match name {
        "Clip" => {
            let bounds = [draw.float(-1.5, 0.5), draw.float(0.0, 1.5)];
            let none = [f32::NEG_INFINITY, f32::INFINITY];
            let given =
                |at: usize, draw: &mut Draw| if draw.coin() { bounds[at] } else { none[at] };
            vec![given(0, draw), given(1, draw)]
        }
        "HardSigmoid" => vec![draw.divisors(1)[0], draw.float(-1.0, 1.0)],
        "Selu" => vec![draw.float(0.5, 2.0), draw.float(0.5, 2.0)],
        "Celu" => draw.floats(1, 0.3, 2.0),
        "Swish" => draw.divisors(1),
        name => {
            let (_, attributes) = UNARY.iter().find(|(n, _)| *n == name).unwrap();
            draw.floats(attributes.len(), -1.0, 2.0)
        }
    }
}

proptest! {
    #![proptest_config(cases(320))]

    #[test]
    fn functions(
        (name, _) in proptest::sample::select(UNARY.to_vec()),
        input in proptest::collection::vec(1..=6usize, 1..=3),
        (defaults, wide) in (any::<bool>(), 0..=3usize),
        batch in batches(),
        seed: u64,
    ) {
        let mut draw = Draw::new(seed);
        let op = if defaults {
            Op::unary(name)
        } else {
            Op::Unary { name, numbers: draw_numbers(name, &mut draw) }
        };
        let mut net = Net::new(&input);
        let mut from = 0;
        if matches!(name, "Log" | "Reciprocal" | "Sqrt") {
            // Of numbers away from zero: x² + 0.5.
            from = net.push(Op::Binary { kind: "Mul", constant: None }, &[0, 0], vec![]);
            let half = Parameter { shape: vec![], data: vec![0.5] };
            from = net.push(Op::Binary { kind: "Add", constant: Some(1) }, &[from], vec![half]);
        } else if wide == 0 && name != "Exp" {
            // ±128: far beyond where they become flat or straight. A power of two, so that nothing is rounded.
            let scale = Parameter { shape: vec![1], data: vec![64.0] };
            from = net.push(Op::Binary { kind: "Mul", constant: Some(1) }, &[0], vec![scale]);
        }
        net.push(op, &[from], vec![]);
        check_drawn(&net, batch, seed)?;
    }
}

/// Values and slopes where functions have a kink, an end or no bound.
///
/// Oracle: PyTorch 2.15's autograd of the function in `torch.nn.functional` (ReLU6 for Clip), and IEEE for the values.
#[test]
fn kinks_and_ends() {
    let inf = f32::INFINITY;
    let cases: [(&str, &[f32], f32, f32, f32); 29] = [
        ("Abs", &[], 0.0, 0.0, 0.0),
        ("Celu", &[2.0], 0.0, 0.0, 1.0),
        ("Clip", &[0.0, 6.0], 0.0, 0.0, 0.0),
        ("Clip", &[0.0, 6.0], 6.0, 6.0, 0.0),
        ("Clip", &[0.0, 6.0], 3.0, 3.0, 1.0),
        ("Clip", &[3.0, 1.0], 2.0, 1.0, 0.0),
        ("Clip", &[1.0, 1.0], 1.0, 1.0, 0.0),
        ("Elu", &[2.0], 0.0, 0.0, 2.0),
        ("Exp", &[], -200.0, 0.0, 0.0),
        ("Exp", &[], 100.0, inf, inf),
        ("HardSigmoid", &[0.5, 0.5], -1.0, 0.0, 0.0),
        ("HardSigmoid", &[0.5, 0.5], 1.0, 1.0, 0.0),
        ("HardSwish", &[], -3.0, 0.0, 0.0),
        ("HardSwish", &[], 3.0, 3.0, 1.0),
        ("LeakyRelu", &[0.1], 0.0, 0.0, 0.1),
        ("Log", &[], 0.0, -inf, inf),
        ("Log", &[], 1.0, 0.0, 1.0),
        ("Mish", &[], 1e30, 1e30, 1.0),
        ("Mish", &[], -1e30, -0.0, 0.0),
        ("GeluTanh", &[], 1e30, 1e30, 1.0),
        ("GeluTanh", &[], -1e30, -0.0, 0.0),
        ("Relu", &[], 0.0, 0.0, 0.0),
        ("Round", &[], 2.5, 2.0, 0.0),
        ("Softplus", &[], 100.0, 100.0, 1.0),
        ("Softplus", &[], -100.0, 3.8e-44, 3.8e-44),
        ("Softsign", &[], 0.0, 0.0, 1.0),
        ("Sqrt", &[], 0.0, 0.0, inf),
        ("ThresholdedRelu", &[1.0], 1.0, 0.0, 0.0),
        ("Tanh", &[], -100.0, -1.0, 0.0),
    ];
    let mut wrong = Vec::new();
    for (name, numbers, x, value, slope) in cases {
        let name = UNARY.iter().find(|(n, _)| *n == name).unwrap().0;
        let net = single(&[1], Op::Unary { name, numbers: numbers.to_vec() }, vec![]);
        let bytes = super::model::to_model(&net, &mut Draw::new(1)).bytes();
        let graph = Graph::from_onnx(&bytes, "test").unwrap();
        let layer = graph.layers()[0].id;
        let image = Array4::from_elem((1, 1, 1, 1), x);
        let trace = graph.trace(image.view(), &[layer]).unwrap();
        let got = trace.representation(layer).unwrap()[[0, 0]];
        let row = Cotangent { image: 0, layer, values: &[1.0] };
        let back = trace.back_project(&[row]).unwrap()[[0, 0, 0, 0]];
        let same = |a: f32, b: f32| a.to_bits() == b.to_bits() || (a - b).abs() <= 1e-6 * b.abs();
        if !same(got, value) || !same(back, slope) {
            wrong.push(format!(
                "{name} {numbers:?} at {x}: {got}, slope {back}; wanted {value}, {slope}"
            ));
        }
    }
    report(&wrong);
}
