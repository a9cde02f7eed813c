//! LeNet as Caffe has it.
//!
//! Source: BVLC Caffe, examples/mnist. The paper's layers CONV1 (1), CONV2 (2), IP1 (3), IP2 (4).

use crate::graph::Graph;
use crate::onnx::build::{self, halve, int, ints, node, value, weighted};
use crate::onnx::{GraphProto, ModelProto, TensorProto, float_tensor};
use crate::tensor::Tensor;
use prost::Message;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// LeNet with fresh weights: raw 28×28 grey images 0–255 in, ten logits out.
///
/// x/256 → `conv1` 20@5×5 → max 2/2 → `conv2` 50@5×5 → max 2/2 → `ip1` 500 → ReLU → `ip2` 10. Weights are uniform
/// within ±√(3 / fan-in), biases zero; the same seed gives the same weights everywhere.
///
/// Paper: section 4, LeNet.
#[allow(clippy::missing_panics_doc, reason = "the network is fixed and tested")]
#[allow(clippy::expect_used, reason = "the network is fixed and tested")]
pub fn lenet(seed: u64) -> Graph {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut constants = vec![float_tensor("scale", &tensor(vec![], vec![1.0 / 256.0]))];
    let mut layer = |name: &str, shape: &[usize]| {
        let fan_in: usize = shape[1..].iter().product();
        let bound = (3.0 / fan_in as f64).sqrt();
        let n = shape.iter().product();
        let weight =
            (0..n).map(|_| ((random.random::<f64>() * 2.0 - 1.0) * bound) as f32).collect();
        constants.push(float_tensor(&format!("{name}.weight"), &tensor(shape.to_vec(), weight)));
        constants.push(float_tensor(&format!("{name}.bias"), &Tensor::zeros(vec![shape[0]])));
    };
    layer("conv1", &[20, 1, 5, 5]);
    layer("conv2", &[50, 20, 5, 5]);
    layer("ip1", &[500, 800]);
    layer("ip2", &[10, 500]);
    let model = model(constants);
    Graph::from_onnx(&model.encode_to_vec(), "lenet").expect("LeNet is a network that Lots reads")
}

#[allow(clippy::expect_used, reason = "shapes and numbers are made together")]
fn tensor(shape: Vec<usize>, data: Vec<f32>) -> Tensor {
    Tensor::new(shape, data).expect("as many numbers as the shape says")
}

fn model(initializer: Vec<TensorProto>) -> ModelProto {
    let conv = |name: &str, from: &str, to: &str| {
        weighted(name, "Conv", from, name, to, vec![ints("kernel_shape", &[5, 5])])
    };
    let gemm = |name: &str, from: &str, to: &str| {
        weighted(name, "Gemm", from, name, to, vec![int("transB", 1)])
    };
    let graph = GraphProto {
        node: vec![
            node("scale", "Mul", &["image", "scale"], "scaled", vec![]),
            conv("conv1", "scaled", "conv1_out"),
            halve("pool1", "conv1_out", "pool1_out"),
            conv("conv2", "pool1_out", "conv2_out"),
            halve("pool2", "conv2_out", "pool2_out"),
            node("flatten", "Flatten", &["pool2_out"], "features", vec![]),
            gemm("ip1", "features", "ip1_out"),
            node("relu1", "Relu", &["ip1_out"], "relu1_out", vec![]),
            gemm("ip2", "relu1_out", "logits"),
        ],
        name: "lenet".into(),
        initializer,
        input: vec![value("image", &[1, 28, 28])],
        output: vec![value("logits", &[10])],
        ..GraphProto::default()
    };
    build::model(graph, "Gray8", &[])
}

#[cfg(test)]
mod tests {
    use super::lenet;
    use crate::graph::Action;
    use crate::network::Network;

    /// Oracle: BVLC Caffe, examples/mnist/lenet.prototxt; its shapes and counts by hand.
    #[test]
    fn the_layers_are_caffes() {
        let network = lenet(0);
        let layers = network.layers();
        let operators: Vec<&str> = layers.iter().map(|l| l.operator.as_str()).collect();
        let wanted =
            ["Mul", "Conv", "MaxPool", "Conv", "MaxPool", "Flatten", "Gemm", "Relu", "Gemm"];
        assert_eq!(operators, wanted);
        let indexed: Vec<_> = layers
            .iter()
            .filter_map(|l| Some((l.index?, l.name.as_str(), l.shape.as_slice(), l.parameters)))
            .collect();
        let wanted = [
            (1, "conv1", &[20, 24, 24][..], 520),
            (2, "conv2", &[50, 8, 8], 25_050),
            (3, "ip1", &[500], 400_500),
            (4, "ip2", &[10], 5_010),
        ];
        assert_eq!(indexed, wanted);
    }

    /// Oracle: Caffe's "xavier" filler, uniform within ±√(3 / fan-in), whose variance is 1 / fan-in.
    #[test]
    fn weights_start_as_caffes() {
        let network = lenet(0);
        for (name, fan_in) in [("conv1", 25.0), ("conv2", 500.0), ("ip1", 800.0), ("ip2", 500.0)] {
            let node = network.nodes().iter().find(|n| n.name == name).unwrap();
            let Action::Run(op) = &node.action else { panic!("{name} is a view") };
            assert_eq!(op.parameters().len(), 2, "{name} lacks a parameter");
            assert!(op.parameter(1).iter().all(|&b| b == 0.0), "{name}: biases");
            let weights: Vec<f64> = op.parameter(0).iter().map(|&w| w.into()).collect();
            let bound = (3.0f64 / fan_in).sqrt();
            let largest = weights.iter().fold(0.0f64, |m, w| m.max(w.abs()));
            assert!(largest < bound * 1.000_001 && largest > 0.98 * bound, "{name}: {largest}");
            let variance = weights.iter().map(|w| w * w).sum::<f64>() / weights.len() as f64;
            // Five standard deviations of the estimate: √(4/5 / n) of the variance each.
            let spread = 5.0 * (0.8 / weights.len() as f64).sqrt();
            assert!((variance * fan_in - 1.0).abs() < spread, "{name}: variance {variance}");
        }
        assert!(network.to_onnx() == lenet(0).to_onnx(), "the same seed gives other bytes");
        assert!(network.to_onnx() != lenet(1).to_onnx(), "another seed gives the same bytes");
    }
}
