//! Training against Caffe's update in f64, and its bytes: any number of threads, stopped and resumed.
//!
//! Source of the update: BVLC Caffe, `SGDSolver::ComputeUpdateValue` (momentum, L2 decay of every parameter, biases at
//! twice the rate) and `GetLearningRate` ("inv").

use super::compare::{FORWARD, TRAINING, report, same_bits};
use super::model::{Draw, to_model};
use super::naive::{Net, Op, Parameters, Window};
use super::networks::{conv, flatten, gemm, max_pool, relu, scale};
use super::operators::weights;
use crate::graph::Graph;
use crate::network::Network;
use crate::train::{Recipe, Trainer};
use ndarray::Array4;

const CLASSES: usize = 4;

fn network() -> (Net, Vec<u8>) {
    let mut draw = Draw::new(5);
    let mut net = Net::new(&[1, 8, 8]);
    let v = scale(&mut net, 0, 0.5);
    let v = conv(&mut net, &mut draw, v, 3, Window::new([3, 3]));
    let v = max_pool(&mut net, v, 2, 2, 0);
    let v = flatten(&mut net, v);
    let v = gemm(&mut net, &mut draw, v, 6);
    let v = relu(&mut net, v);
    gemm(&mut net, &mut draw, v, CLASSES);
    let bytes = to_model(&net, &mut draw).bytes();
    (net, bytes)
}

/// Convolutions in tiles, and matrices that lie the other way round.
fn tiles() -> Vec<u8> {
    let mut draw = Draw::new(6);
    let mut net = Net::new(&[1, 8, 8]);
    let window = Window { pads: [1; 4], ..Window::new([3, 3]) };
    let v = conv(&mut net, &mut draw, 0, 16, window);
    let v = conv(&mut net, &mut draw, v, 17, window);
    let v = max_pool(&mut net, v, 2, 2, 0);
    let v = flatten(&mut net, v);
    let weight = weights(&mut draw, &[17 * 16, 6], 17 * 16);
    let v = net.push(Op::MatMul, &[v], vec![weight]);
    let v = relu(&mut net, v);
    let weight = weights(&mut draw, &[6, CLASSES], 6);
    net.push(Op::Gemm { alpha: 0.5, beta: 1.0, transposed: false }, &[v], vec![weight]);
    to_model(&net, &mut draw).bytes()
}

fn batch(step: usize, count: usize) -> (Array4<f32>, Vec<u8>) {
    let mut draw = Draw::new(1000 + step as u64);
    let images =
        Array4::from_shape_vec((count, 1, 8, 8), draw.floats(count * 64, -2.0, 2.0)).unwrap();
    (images, (0..count).map(|_| draw.below(CLASSES) as u8).collect())
}

/// A fast recipe, so that every part of it shows within a few steps.
fn recipe() -> Recipe {
    Recipe { base_rate: 0.1, gamma: 0.3, weight_decay: 0.02, ..Recipe::default() }
}

fn trainer() -> Trainer {
    Trainer::new(Graph::from_onnx(&network().1, "tiny").unwrap(), recipe()).unwrap()
}

/// Mean cross-entropy of softmax.
fn loss(net: &Net, parameters: &Parameters, images: &[Vec<f64>], labels: &[u8]) -> f64 {
    let losses = images.iter().zip(labels).map(|(image, &label)| {
        let logits = net.run(parameters, image, net.steps.len()).values.pop().unwrap().data;
        let sum: f64 = logits.iter().map(|z| z.exp()).sum();
        sum.ln() - logits[usize::from(label)]
    });
    losses.sum::<f64>() / images.len() as f64
}

/// The parameters' gradient by central differences, the update as Caffe writes it.
#[test]
fn steps_are_caffes_steps() {
    let (net, _) = network();
    let mut trainer = trainer();
    let mut weights = net.parameters();
    let mut speeds: Parameters =
        weights.iter().map(|s| s.iter().map(|p| vec![0.0; p.len()]).collect()).collect();
    let mut wrong = Vec::new();
    for step in 0..4 {
        let (images, labels) = batch(step, [20, 3, 16, 33][step]);
        let rows: Vec<Vec<f64>> = images
            .outer_iter()
            .map(|image| image.iter().map(|&x| f64::from(x)).collect())
            .collect();
        let wanted_loss = loss(&net, &weights, &rows, &labels);
        // Source: lr_policy "inv", rate = base_lr · (1 + gamma · iter)^(−power).
        let rate = 0.1 * (1.0 + 0.3 * step as f64).powf(-0.75);
        let mut moved = weights.clone();
        for s in 0..net.steps.len() {
            // The scale in front is no weight.
            if !matches!(net.steps[s].op.name(), "Conv" | "Gemm") {
                continue;
            }
            for p in 0..weights[s].len() {
                let local = if p == 1 { 2.0 * rate } else { rate };
                for i in 0..weights[s][p].len() {
                    let mut side = |d: f64| {
                        let old = weights[s][p][i];
                        weights[s][p][i] = old + d;
                        let loss = loss(&net, &weights, &rows, &labels);
                        weights[s][p][i] = old;
                        loss
                    };
                    let slope = (side(1e-6) - side(-1e-6)) / 2e-6;
                    let speed = &mut speeds[s][p][i];
                    *speed = 0.9 * *speed + local * (slope + 0.02 * weights[s][p][i]);
                    moved[s][p][i] -= *speed;
                }
            }
        }
        weights = moved;
        let report = trainer.step(images.view(), &labels).unwrap();
        wrong.extend(
            FORWARD.check(&format!("loss of step {step}"), &[report.loss], &[wanted_loss]).err(),
        );
        if (report.rate - rate).abs() > 1e-15 {
            wrong.push(format!("rate {} of step {step} for {rate}", report.rate));
        }
        let nodes = trainer.network().nodes();
        for (s, node) in nodes.iter().enumerate() {
            let crate::graph::Action::Run(op) = &node.action else { continue };
            for (p, parameter) in op.parameters().iter().enumerate() {
                let what = format!("{} {} after step {step}", node.name, parameter.role);
                wrong.extend(TRAINING.check(&what, &op.parameter(p), &weights[s][p]).err());
            }
        }
    }
    assert_eq!(trainer.iteration(), 4);
    report(&wrong);
}

/// The weights' bytes after some steps, inside pools of several sizes.
#[cfg(feature = "parallel")]
#[test]
fn the_number_of_threads_does_not_change_training() {
    let train = |network: &[u8], count: usize| {
        let graph = Graph::from_onnx(network, "tiny").unwrap();
        let mut trainer = Trainer::new(graph, recipe()).unwrap();
        let mut losses = Vec::new();
        for step in 0..4 {
            let (images, labels) = batch(step, count);
            losses.push(trainer.step(images.view(), &labels).unwrap().loss);
        }
        (trainer.finished(&[]), losses)
    };
    let mut wrong = Vec::new();
    let networks = [network().1, tiles()];
    for (network, count) in networks.iter().flat_map(|n| [1, 20, 64].map(|count| (n, count))) {
        let mut all = [1, 2, 5].map(|n| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
            pool.install(|| train(network, count))
        });
        let [one, others @ ..] = &mut all;
        for (at, other) in others.iter().enumerate() {
            wrong.extend(
                same_bits(&format!("losses, pool {at}, {count} images"), &other.1, &one.1).err(),
            );
            if other.0 != one.0 {
                wrong.push(format!("pool {at}, {count} images: other bytes"));
            }
        }
    }
    report(&wrong);
}

/// Stopped and resumed, twice, is as if never stopped; checkpoints too are the same bytes.
#[test]
fn resumed_is_uninterrupted() {
    let steps = |trainer: &mut Trainer, range: std::ops::Range<usize>| {
        for step in range {
            let (images, labels) = batch(step, 20);
            trainer.step(images.view(), &labels).unwrap();
        }
    };
    let about = [("seed".to_owned(), "5".to_owned())];
    let start = |bytes: &[u8]| Trainer::new(Graph::from_onnx(bytes, "it").unwrap(), recipe());
    let (mut whole, mut parts) = (start(&tiles()).unwrap(), start(&tiles()).unwrap());
    steps(&mut whole, 0..2);
    steps(&mut parts, 0..2);
    let file = parts.checkpoint(&about);
    let mut parts = Trainer::resume(Graph::from_onnx(&file, "it").unwrap(), recipe()).unwrap();
    steps(&mut whole, 2..4);
    steps(&mut parts, 2..4);
    assert!(parts.finished(&about) == whole.finished(&about), "tiles: other bytes");

    let mut whole = trainer();
    let mut parts = trainer();
    for part in 0..3 {
        let range = 2 * part..2 * part + 2;
        steps(&mut whole, range.clone());
        steps(&mut parts, range);
        let file = parts.checkpoint(&about);
        assert!(file == whole.checkpoint(&about), "checkpoint {part} has other bytes");
        let graph = Graph::from_onnx(&file, "checkpoint").unwrap();
        parts = Trainer::resume(graph, recipe()).unwrap();
        assert_eq!(parts.iteration(), whole.iteration());
    }
    steps(&mut whole, 6..8);
    steps(&mut parts, 6..8);
    assert!(
        parts.finished(&about) == whole.finished(&about),
        "the finished network has other bytes"
    );
    // What is finished carries no state of training, and says what it was told.
    let finished = Graph::from_onnx(&parts.finished(&about), "finished").unwrap();
    assert!(finished.metadata().any(|m| m == ("seed", "5")));
    assert!(finished.spare_constant("lots.momentum.n1.p0").is_none());
    let (images, _) = batch(9, 5);
    let layer = finished.output();
    let [a, b] = [&finished, whole.network()]
        .map(|n| n.represent(images.view(), layer).unwrap().into_raw_vec_and_offset().0);
    same_bits("logits of the finished network", &a, &b).unwrap();
}

/// What cannot be trained or resumed is an error, and so are batches that do not fit.
#[test]
fn wrong_training_is_an_error() {
    let (images, labels) = batch(0, 4);
    let mut wrong = Vec::new();
    let mut trainer = trainer();
    let mut case = |got: crate::error::Result<()>, wanted: &str| match got {
        Ok(()) => wrong.push(format!("no error; wanted \"{wanted}\"")),
        Err(e) if !e.to_string().contains(wanted) || e.to_string().contains('\n') => {
            wrong.push(format!("\"{e}\" does not say \"{wanted}\""));
        }
        Err(_) => {}
    };
    let mut step =
        |images: &Array4<f32>, labels: &[u8]| trainer.step(images.view(), labels).map(drop);
    case(step(&images, &labels[1..]), "4 images with 3 labels");
    case(step(&Array4::zeros((0, 1, 8, 8)), &[]), "0 images with 0 labels");
    case(step(&images, &[0, 1, 4, 0]), "label 4, but tiny has 4 classes");
    case(step(&Array4::zeros((4, 1, 8, 9)), &labels), "wanted [1, 8, 8], found [1, 8, 9]");
    let graph = Graph::from_onnx(&network().1, "tiny").unwrap();
    case(Trainer::resume(graph, recipe()).map(drop), "no iteration is recorded");
    let mut net = Net::new(&[2, 4, 4]);
    relu(&mut net, 0);
    let graph = Graph::from_onnx(&to_model(&net, &mut Draw::new(0)).bytes(), "relu").unwrap();
    case(Trainer::new(graph, recipe()).map(drop), "no Conv, Gemm or MatMul");
    let mut net = Net::new(&[2, 4, 4]);
    conv(&mut net, &mut Draw::new(0), 0, 3, Window::new([2, 2]));
    let graph = Graph::from_onnx(&to_model(&net, &mut Draw::new(0)).bytes(), "conv").unwrap();
    case(Trainer::new(graph, recipe()).map(drop), "not one row of logits");
    report(&wrong);
}
