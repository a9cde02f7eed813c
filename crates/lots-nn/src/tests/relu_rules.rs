//! Deconvolution and guided back-propagation: other rules at ReLUs.
//!
//! Oracle: each step of `naive` sent back alone, by central differences of its outputs; ReLUs by the rule's own words.

use super::check::draw_images;
use super::compare::{BACKWARD, cases, report, same_bits};
use super::exact::networks;
use super::model::{Draw, to_model};
use super::naive::{Net, Op, Pass, Window};
use super::networks::{binary, conv, flatten, gemm, max_pool, relu};
use super::operators::{batches, single};
use crate::graph::Graph;
use crate::kernels::Isa;
use crate::network::{Cotangent, LayerId, Network, ReluRule};
use ndarray::{Array4, Axis};
use proptest::prelude::*;

const RULES: [ReluRule; 3] = [ReluRule::Slope, ReluRule::Deconvolution, ReluRule::Guided];
/// Of central differences, and by how much each number in front of a max pool is lowered below the one before, so that of equal
/// ones, such as zeros behind a ReLU, the first wins. Both are far below the distance that images keep from kinks; between
/// kinks all steps here are straight lines, and f64 leaves an error of about 1e-7.
const STEP: f64 = 1e-9;
const LOWERED: f64 = 1e-8;

/// `min(max(x, 0), high)`.
fn relu_up_to(net: &mut Net, from: usize, high: f32) -> usize {
    net.push(Op::Unary { name: "Clip", numbers: vec![0.0, high] }, &[from], vec![])
}

/// A cotangent at the output of step `last`, sent back to the image step by step.
fn sent_back(net: &Net, pass: &Pass, last: usize, values: &[f32], rule: ReluRule) -> Vec<f64> {
    let parameters = net.parameters();
    let mut cotangents: Vec<Vec<f64>> =
        pass.values.iter().map(|value| vec![0.0; value.data.len()]).collect();
    cotangents[last + 1] = values.iter().map(|&x| f64::from(x)).collect();
    for (s, step) in net.steps[..=last].iter().enumerate().rev() {
        let g = cotangents[s + 1].clone();
        let high = match &step.op {
            Op::Unary { name: "Relu", .. } => Some(f64::INFINITY),
            Op::Unary { name: "Clip", numbers } => Some(f64::from(numbers[1])),
            _ => None,
        };
        let mut inputs = step.inputs.clone();
        inputs.sort_unstable();
        inputs.dedup();
        for v in inputs {
            for at in 0..pass.values[v].data.len() {
                let x = pass.values[v].data[at];
                cotangents[v][at] += if let Some(high) = high {
                    let (slope, positive) = (x > 0.0 && x < high, g[at] > 0.0);
                    let passes = match rule {
                        ReluRule::Slope => slope,
                        ReluRule::Deconvolution => positive,
                        ReluRule::Guided => slope && positive,
                    };
                    if passes { g[at] } else { 0.0 }
                } else {
                    let side = |by: f64| {
                        let mut known = pass.values[..=s].to_vec();
                        if matches!(step.op, Op::MaxPool { .. }) {
                            let numbers = known[v].data.iter_mut().enumerate();
                            numbers.for_each(|(i, x)| *x -= LOWERED * i as f64);
                        }
                        known[v].data[at] += by;
                        net.go_on(&parameters, known, s + 1).values.swap_remove(s + 1).data
                    };
                    let sides = side(STEP).into_iter().zip(side(-STEP));
                    sides.zip(&g).map(|((a, b), g)| (a - b) / (2.0 * STEP) * g).sum::<f64>()
                };
            }
        }
    }
    cotangents.swap_remove(0)
}

proptest! {
    #![proptest_config(cases(24))]

    /// Convolutions, max pools in front of ReLUs and behind, a residual branch, ReLU6, matrix products.
    #[test]
    fn rules_agree_with_the_oracle(
        (channels, height, width) in (1..=3usize, 4..=7usize, 4..=7usize),
        rows in (1..=8usize, 1..=4usize),
        (pool_first, six, residual) in (any::<bool>(), any::<bool>(), any::<bool>()),
        batch in batches(),
        seed: u64,
    ) {
        let mut draw = Draw::new(seed);
        let mut net = Net::new(&[channels, height, width]);
        let v = conv(&mut net, &mut draw, 0, rows.0, Window::new([2, 3]));
        let v = if pool_first {
            let pooled = max_pool(&mut net, v, 2, 1, 0);
            relu(&mut net, pooled)
        } else {
            let positive = if six { relu_up_to(&mut net, v, 0.5) } else { relu(&mut net, v) };
            max_pool(&mut net, positive, 2, 1, 0)
        };
        let same = Window { auto_pad: "SAME_UPPER", ..Window::new([3, 2]) };
        let mut v = conv(&mut net, &mut draw, v, rows.1, same);
        if residual {
            let inner = relu(&mut net, v);
            let inner = conv(&mut net, &mut draw, inner, rows.1, same);
            v = binary(&mut net, "Add", v, inner);
            v = relu(&mut net, v);
        }
        let v = flatten(&mut net, v);
        let v = gemm(&mut net, &mut draw, v, 9);
        let v = relu(&mut net, v);
        gemm(&mut net, &mut draw, v, 4);

        let images = draw_images(&net, batch, &mut draw).map_err(TestCaseError::reject)?;
        let bytes = to_model(&net, &mut draw).bytes();
        let last = net.steps.len() - 1;
        let sent: Vec<(usize, usize, Vec<f32>)> = [(batch - 1, last), (0, last / 2)]
            .into_iter()
            .map(|(image, step)| {
                let elements = images.passes[image].values[step + 1].data.len();
                (image, step, draw.floats(elements, -1.0, 1.0))
            })
            .collect();
        let wanted = RULES.map(|rule| {
            let back = |(image, step, values): &(usize, usize, Vec<f32>)| {
                sent_back(&net, &images.passes[*image], *step, values, rule)
            };
            sent.iter().map(back).collect::<Vec<_>>()
        });
        for isa in Isa::available() {
            let graph = Graph::from_onnx(&bytes, "test").unwrap().with_isa(isa);
            let layers: Vec<LayerId> = graph.layers().iter().map(|layer| layer.id).collect();
            let trace = graph.trace(images.batch.view(), &layers).unwrap();
            let rows: Vec<Cotangent<'_>> = sent
                .iter()
                .map(|(image, step, values)| Cotangent { image: *image, layer: layers[*step], values })
                .collect();
            for (rule, wanted) in RULES.into_iter().zip(&wanted) {
                let back = trace.back_project_by(rule, &rows).unwrap();
                for ((got, wanted), (image, step, _)) in back.outer_iter().zip(wanted).zip(&sent) {
                    let got: Vec<f32> = got.iter().copied().collect();
                    let what = format!("{isa:?} {rule:?}, image {image} of {batch} from n{step}");
                    BACKWARD.check(&what, &got, wanted).map_err(TestCaseError::fail)?;
                }
            }
        }
    }
}

#[test]
fn what_passes_by_hand() {
    let (images, sent) =
        ([-1.0, -1.0, 2.0, 2.0, 7.0, 7.0, 0.0], [-3.0, 4.0, -5.0, 6.0, -8.0, 9.0, 1.0]);
    let mut wrong = Vec::new();
    for (high, wanted) in [
        (
            f32::INFINITY,
            [
                [0.0, 0.0, -5.0, 6.0, -8.0, 9.0, 0.0],
                [0.0, 4.0, 0.0, 6.0, 0.0, 9.0, 1.0],
                [0.0, 0.0, 0.0, 6.0, 0.0, 9.0, 0.0],
            ],
        ),
        (
            6.0,
            [
                [0.0, 0.0, -5.0, 6.0, 0.0, 0.0, 0.0],
                [0.0, 4.0, 0.0, 6.0, 0.0, 9.0, 1.0],
                [0.0, 0.0, 0.0, 6.0, 0.0, 0.0, 0.0],
            ],
        ),
    ] {
        let mut net = Net::new(&[7]);
        if high.is_finite() {
            relu_up_to(&mut net, 0, high)
        } else {
            relu(&mut net, 0)
        };
        let graph = Graph::from_onnx(&to_model(&net, &mut Draw::new(0)).bytes(), "one").unwrap();
        for batch in [1, 20] {
            let batch = Array4::from_shape_fn((batch, 1, 1, 7), |(_, _, _, i)| images[i]);
            let trace = graph.trace(batch.view(), &[graph.output()]).unwrap();
            let row = Cotangent { image: 0, layer: graph.output(), values: &sent };
            for (rule, wanted) in RULES.into_iter().zip(wanted) {
                let got = trace.back_project_by(rule, &[row]).unwrap();
                let got: Vec<f32> = got.into_iter().map(|x| x + 0.0).collect();
                wrong.extend(same_bits(&format!("{rule:?} up to {high}"), &got, &wanted).err());
            }
        }
    }
    report(&wrong);
}

/// What is not a number stays so, whichever the rule: a network that overflows must be seen to.
#[test]
fn not_a_number_stays_so() {
    let mut net = Net::new(&[1]);
    relu(&mut net, 0);
    let graph = Graph::from_onnx(&to_model(&net, &mut Draw::new(0)).bytes(), "one").unwrap();
    let trace = graph.trace(Array4::ones((1, 1, 1, 1)).view(), &[graph.output()]).unwrap();
    let row = Cotangent { image: 0, layer: graph.output(), values: &[f32::NAN] };
    for rule in RULES {
        assert!(trace.back_project_by(rule, &[row]).unwrap()[[0, 0, 0, 0]].is_nan(), "{rule:?}");
    }
}

/// Alone, in a batch, on any number of threads, by any instruction set with fused multiply-adds: the same bits.
#[test]
fn rows_are_the_same_bits_everywhere() {
    let mut wrong = Vec::new();
    let known =
        networks().into_iter().filter(|(name, ..)| ["chain", "tiles", "lenet"].contains(name));
    for (name, mut graph, images) in known {
        let layer = graph.output();
        let outputs = graph.layers()[layer.0].shape.iter().product();
        let values = Draw::new(1).floats(outputs, -1.0, 1.0);
        for rule in [ReluRule::Deconvolution, ReluRule::Guided] {
            let send = |graph: &Graph, images: Array4<f32>, image: usize| -> Vec<f32> {
                let count = images.len_of(Axis(0));
                let trace = graph.trace(images.view(), &[layer]).unwrap();
                let row = |image| Cotangent { image, layer, values: &values };
                let back = trace.back_project_by(rule, &(0..count).map(row).collect::<Vec<_>>());
                back.unwrap().index_axis(Axis(0), image).iter().copied().collect()
            };
            let part =
                |range: std::ops::Range<usize>| images.slice_axis(Axis(0), range.into()).to_owned();
            let alone = send(&graph, part(6..7), 0);
            assert!(alone.iter().any(|x| *x != 0.0), "{name} {rule:?}: nothing comes back");
            for (count, place) in [(7, 6), (16, 6), (40, 6)] {
                let got = send(&graph, part(0..count), place);
                wrong.extend(same_bits(&format!("{name} {rule:?} of {count}"), &got, &alone).err());
            }
            for isa in Isa::available().into_iter().filter(|isa| *isa != Isa::Portable) {
                graph = graph.with_isa(isa);
                let got = send(&graph, part(0..20), 6);
                wrong.extend(same_bits(&format!("{name} {rule:?} {isa:?}"), &got, &alone).err());
            }
            graph = graph.with_isa(Isa::best());
            #[cfg(feature = "parallel")]
            for threads in [1, 3] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let got = pool.install(|| send(&graph, part(0..130), 6));
                wrong.extend(same_bits(&format!("{name} {rule:?} {threads}"), &got, &alone).err());
            }
        }
    }
    report(&wrong);
}

/// Which functions the rules are defined for, and what is said of the others; the slope is every one's.
#[test]
fn other_activations_are_refused_by_name() {
    let mut wrong = Vec::new();
    for (name, numbers, refused) in [
        ("Relu", vec![], false),
        ("Clip", vec![0.0, 6.0], false),
        ("Clip", vec![-1.0, 1.0], true),
        ("Sigmoid", vec![], true),
        ("Gelu", vec![], true),
        ("LeakyRelu", vec![0.1], true),
        ("Sqrt", vec![], false),
        ("Neg", vec![], false),
    ] {
        let net = single(&[3], Op::Unary { name, numbers }, vec![]);
        let graph = Graph::from_onnx(&to_model(&net, &mut Draw::new(0)).bytes(), "net").unwrap();
        let trace = graph.trace(Array4::ones((1, 1, 1, 3)).view(), &[graph.output()]).unwrap();
        let row = Cotangent { image: 0, layer: graph.output(), values: &[1.0; 3] };
        trace.back_project_by(ReluRule::Slope, &[row]).unwrap();
        for rule in [ReluRule::Deconvolution, ReluRule::Guided] {
            let found = trace.back_project_by(rule, &[row]).err().map(|e| e.to_string());
            let wanted = refused.then(|| {
                let at = &graph.layers()[0].name;
                format!(
                    "deconvolution and guided back-propagation are defined for ReLUs only; {name} \"{at}\" lies between \
                     layer \"{at}\" of net and the image; take the gradient, or a layer in front of \"{at}\""
                )
            });
            if found != wanted {
                wrong.push(format!("{name} {rule:?}: {found:?}"));
            }
        }
    }
    report(&wrong);
}
