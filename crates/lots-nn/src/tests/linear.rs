//! Exact oracles: on a linear network the direction of LOTS is Wᵀ W (x_t − x_o), whatever the images.

use super::compare::{BACKWARD, report};
use super::model::{Draw, to_model};
use super::naive::{Net, Op};
use super::operators::weights;
use crate::graph::Graph;
use crate::network::{Cotangent, Network};
use ndarray::Array4;

/// Oracle: Wᵀ W (x_t − x_o) in f64.
#[test]
fn the_direction_of_a_linear_network_is_wtw_times_the_difference() {
    let mut wrong = Vec::new();
    for (inputs, outputs, op) in [
        (60, 10, "Gemm"),
        (33, 50, "Gemm transposed"),
        (60, 10, "MatMul"),
        (1, 1, "Gemm"),
        (700, 17, "Gemm transposed"),
    ] {
        let mut draw = Draw::new(inputs as u64);
        let transposed = op == "Gemm transposed";
        let shape = if transposed { [outputs, inputs] } else { [inputs, outputs] };
        let mut parameters = vec![weights(&mut draw, &shape, inputs)];
        let w: Vec<f64> = parameters[0].data.iter().map(|&x| f64::from(x)).collect();
        let w = |o: usize, i: usize| w[if transposed { o * inputs + i } else { i * outputs + o }];
        let mut net = Net::new(&[inputs]);
        if op == "MatMul" {
            net.push(Op::MatMul, &[0], parameters);
        } else {
            // A bias cancels out of the difference.
            parameters.push(weights(&mut draw, &[outputs], 3));
            net.push(Op::Gemm { alpha: 1.0, beta: 1.0, transposed }, &[0], parameters);
        }
        let graph = Graph::from_onnx(&to_model(&net, &mut draw).bytes(), op).unwrap();
        for pairs in [1, 3, 20] {
            // Origins first, then targets.
            let numbers = draw.floats(2 * pairs * inputs, -2.0, 2.0);
            let images = Array4::from_shape_vec((2 * pairs, 1, 1, inputs), numbers).unwrap();
            let layer = graph.output();
            let trace = graph.trace(images.view(), &[layer]).unwrap();
            let f = trace.representation(layer).unwrap();
            let cotangents: Vec<Vec<f32>> =
                (0..pairs).map(|p| (&f.row(pairs + p) - &f.row(p)).to_vec()).collect();
            let rows: Vec<Cotangent<'_>> = cotangents
                .iter()
                .enumerate()
                .map(|(image, values)| Cotangent { image, layer, values })
                .collect();
            let directions = trace.back_project(&rows).unwrap();
            for p in 0..pairs {
                let x = |image: usize, i: usize| f64::from(images[[image, 0, 0, i]]);
                let difference: Vec<f64> = (0..inputs).map(|i| x(pairs + p, i) - x(p, i)).collect();
                let along: Vec<f64> = (0..outputs)
                    .map(|o| difference.iter().enumerate().map(|(i, d)| w(o, i) * d).sum())
                    .collect();
                let wanted: Vec<f64> = (0..inputs)
                    .map(|i| along.iter().enumerate().map(|(o, a)| w(o, i) * a).sum())
                    .collect();
                let got = directions.index_axis(ndarray::Axis(0), p);
                let got: Vec<f32> = got.iter().copied().collect();
                let what = format!("{op} {inputs}→{outputs}, pair {p} of {pairs}");
                wrong.extend(BACKWARD.check(&what, &got, &wanted).err());
            }
        }
    }
    report(&wrong);
}
