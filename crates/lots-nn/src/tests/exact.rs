//! Results that must be the same bytes: whatever else is in the batch, whatever the number of threads, whatever the
//! instruction set (of those with fused multiply-adds).

use super::compare::{PORTABLE, report, same_bits};
use super::model::{Draw, to_model};
use super::naive::{Net, Op, Parameter, Window};
use super::networks::{binary, conv, flatten, gemm, max_pool, relu, scale};
use super::operators::weights;
use super::reduce::reduction;
use super::resize::{self, by, resize};
use crate::graph::Graph;
use crate::kernels::Isa;
use crate::network::{Cotangent, LayerId, Network, ReluRule};
use crate::ops::conv::Conv;
use crate::ops::pool::MaxPool;
use crate::ops::{self, Keeper, Operator, Run};
use crate::tensor::Tensor;
use ndarray::{Array4, Axis};

/// Batches in which an image is asked for again, and its places in them.
const BATCHES: [usize; 6] = [2, 7, 16, 17, 64, 130];

/// A network like LeNet whose second convolution takes winners and whose first does not.
fn chain(draw: &mut Draw) -> Net {
    let mut net = Net::new(&[1, 14, 14]);
    let v = scale(&mut net, 0, 0.5);
    let v = conv(&mut net, draw, v, 9, Window::new([3, 3]));
    let v = max_pool(&mut net, v, 2, 2, 0);
    let v = conv(&mut net, draw, v, 18, Window { pads: [1; 4], ..Window::new([4, 4]) });
    let v = max_pool(&mut net, v, 2, 2, 0);
    let v = flatten(&mut net, v);
    let v = gemm(&mut net, draw, v, 70);
    let v = relu(&mut net, v);
    gemm(&mut net, draw, v, 10);
    net
}

/// Convolutions in tiles, of both sizes, before max pooling and alone.
fn tiles(draw: &mut Draw) -> Net {
    let mut net = Net::new(&[1, 40, 37]);
    let v = conv(&mut net, draw, 0, 16, Window { pads: [2; 4], ..Window::new([5, 5]) });
    let v = conv(&mut net, draw, v, 18, Window { pads: [1; 4], ..Window::new([3, 3]) });
    let v = max_pool(&mut net, v, 2, 2, 0);
    let v = relu(&mut net, v);
    let v = conv(&mut net, draw, v, 21, Window { pads: [1, 0, 2, 3], ..Window::new([5, 5]) });
    let v = max_pool(&mut net, v, 2, 2, 0);
    let v = flatten(&mut net, v);
    gemm(&mut net, draw, v, 10);
    net
}

/// Groups, dilation, branches, means, quotients.
fn branches(draw: &mut Draw) -> Net {
    let mut net = Net::new(&[3, 12, 11]);
    let window =
        Window { stride: [1, 2], dilation: [2, 1], pads: [1, 2, 1, 0], ..Window::new([3, 3]) };
    let weight = weights(draw, &[12, 1, 3, 3], 9);
    let v = net.push(Op::Conv { window, groups: 3 }, &[0], vec![weight]);
    let r = relu(&mut net, v);
    let same = Window { auto_pad: "SAME_LOWER", ..Window::new([2, 3]) };
    let c = conv(&mut net, draw, r, 12, same);
    let sum = binary(&mut net, "Add", v, c);
    let p = max_pool(&mut net, sum, 3, 1, 1);
    let window = Window { stride: [2, 2], ..Window::new([3, 2]) };
    let op = Op::AveragePool { window, ceil: true, count_padding: true };
    let a = net.push(op, &[p], vec![]);
    let mean = net.push(Op::GlobalAveragePool, &[a], vec![]);
    let square = binary(&mut net, "Mul", mean, mean);
    let one = Parameter { shape: vec![12, 1, 1], data: draw.floats(12, 1.0, 2.0) };
    let d = net.push(Op::Binary { kind: "Add", constant: Some(1) }, &[square], vec![one]);
    let q = binary(&mut net, "Div", a, d);
    let n = net.shape(q);
    let rows = net.push(Op::Reshape { shape: vec![0, n[0] as i64, -1] }, &[q], vec![]);
    let weight = weights(draw, &[n[1] * n[2], 5], n[1] * n[2]);
    let m = net.push(Op::MatMul, &[rows], vec![weight]);
    let s = net.push(Op::Softmax { axis: 1 }, &[m], vec![]);
    let f = flatten(&mut net, s);
    gemm(&mut net, draw, f, 6);
    net
}

/// Normalisations, broadcasting and extremes: what sums over elements of an image, more than one piece of them.
fn sums(draw: &mut Draw) -> Net {
    let mut net = Net::new(&[4, 13, 12]);
    let affine = |draw: &mut Draw, n: usize| {
        let data = [draw.floats(n, 0.5, 2.0), draw.floats(n, -1.0, 1.0)];
        data.map(|data| Parameter { shape: vec![n], data }).to_vec()
    };
    let op = Op::InstanceNormalization { epsilon: 1e-5 };
    let v = net.push(op, &[0], affine(draw, 4));
    let gelu = net.push(Op::unary("Gelu"), &[v], vec![]);
    let op = Op::GroupNormalization { groups: 2, epsilon: 1e-5 };
    let group = net.push(op, &[gelu], affine(draw, 4));
    let mean = net.push(Op::GlobalAveragePool, &[group], vec![]);
    let gate = net.push(Op::unary("Sigmoid"), &[mean], vec![]);
    let gated = binary(&mut net, "Mul", gelu, gate);
    let lrn = net.push(Op::Lrn { size: 3, numbers: [0.5, 0.6, 1.0] }, &[gated], vec![]);
    let slope = Parameter { shape: vec![4, 1, 1], data: draw.floats(4, 0.1, 0.5) };
    let slope_at = Op::Binary { kind: "PRelu", constant: Some(1) };
    let prelu = net.push(slope_at, &[lrn], vec![slope]);
    let rows = net.push(Op::Reshape { shape: vec![0, 4, -1] }, &[prelu], vec![]);
    let layer =
        net.push(Op::LayerNormalization { axis: -1, epsilon: 1e-5 }, &[rows], affine(draw, 156));
    let soft = net.push(Op::Softmax { axis: 1 }, &[layer], vec![]);
    let log = net.push(Op::LogSoftmax { axis: -1 }, &[layer], vec![]);
    let unit = net.push(Op::LpNormalization { axis: 2, p: 2 }, &[rows], vec![]);
    let across = net.push(Op::LpNormalization { axis: 1, p: 1 }, &[rows], vec![]);
    let one = net.push(Op::Reshape { shape: vec![0, -1, 1] }, &[mean], vec![]);
    let op = Op::Variadic { kind: "Max", constants: vec![false; 4] };
    let most = net.push(op, &[soft, unit, across, one], vec![]);
    let op = Op::Variadic { kind: "Mean", constants: vec![false; 3] };
    let last = net.push(op, &[most, log, one], vec![]);
    net.push(
        Op::RmsNormalization { axis: 1, epsilon: 0.1 },
        &[last],
        affine(draw, 156)[..1].to_vec(),
    );
    net
}

/// Transposed convolution, resizing, products of two activations, reductions of neighbours and across them.
fn axes(draw: &mut Draw) -> Net {
    let mut net = Net::new(&[2, 9, 7]);
    let window = Window { stride: [2, 2], ..Window::new([3, 3]) };
    let op = Op::ConvTranspose { window, groups: 1, output_padding: [0, 0], output_shape: None };
    let wide = net.push(op, &[0], vec![weights(draw, &[2, 5, 3, 3], 5)]);
    let to = [(5, 5), (19, 12), (15, 10)].map(|(from, to)| resize::Axis { from, to, scale: None });
    let small = net.push(resize(by("cubic"), &to, draw).unwrap(), &[wide], vec![]);
    let turned = net.push(Op::Reshape { shape: vec![0, 5, 10, 12] }, &[small], vec![]);
    let shapes = [vec![1, 5, 12, 10], vec![1, 5, 10, 12]];
    let product = net.push(Op::Product { constant: None, shapes }, &[small, turned], vec![]);
    let [across, mean, most] =
        [("ReduceL2", &[1][..]), ("ReduceMean", &[2, 3]), ("ReduceMax", &[1, 2, 3])]
            .map(|(name, axes)| net.push(reduction(name, 4, axes, true, draw), &[product], vec![]));
    let sum = binary(&mut net, "Add", across, mean);
    let sum = binary(&mut net, "Mul", sum, most);
    net.push(reduction("ReduceSum", 4, &[0, 3], false, draw), &[sum], vec![]);
    net
}

/// Values so large that one group of images is split over threads: by elements, planes, pieces, rows and pixels.
#[cfg(feature = "parallel")]
fn large(draw: &mut Draw) -> Net {
    let mut net = Net::new(&[3, 96, 90]);
    let v = conv(&mut net, draw, 0, 24, Window { pads: [2; 4], ..Window::new([5, 5]) });
    let gain = Parameter { shape: vec![24, 1, 1], data: draw.floats(24, 0.5, 2.0) };
    let g = net.push(Op::Binary { kind: "Mul", constant: Some(1) }, &[v], vec![gain]);
    let r = relu(&mut net, g);
    let v = binary(&mut net, "Add", r, g);
    let v = max_pool(&mut net, v, 3, 2, 1);
    // In tiles; behind the strided one with weights that are not stored at the points.
    let v = conv(&mut net, draw, v, 24, Window { pads: [2; 4], ..Window::new([5, 5]) });
    let v = conv(&mut net, draw, v, 120, Window::new([1, 1]));
    let window = Window { stride: [2, 3], pads: [1; 4], ..Window::new([3, 3]) };
    let v = conv(&mut net, draw, v, 150, window);
    let v = conv(&mut net, draw, v, 230, Window { pads: [1; 4], ..Window::new([3, 3]) });
    let v = conv(&mut net, draw, v, 33, Window { stride: [2, 2], ..Window::new([1, 1]) });
    let v = flatten(&mut net, v);
    gemm(&mut net, draw, v, 40);
    net
}

#[cfg(feature = "parallel")]
#[test]
fn the_number_of_threads_changes_nothing_inside_one_group() {
    let mut draw = Draw::new(5);
    let net = large(&mut draw);
    let graph = Graph::from_onnx(&to_model(&net, &mut draw).bytes(), "large").unwrap();
    let images = draw.floats(16 * 3 * 96 * 90, -2.0, 2.0);
    let images = Array4::from_shape_vec((16, 3, 96, 90), images).unwrap();
    let mut wrong = Vec::new();
    for batch in [1, 16] {
        let images = first_images(&images, batch);
        assert_eq!(crate::exec::blocks(&graph, batch).len(), 1, "it must be one group");
        let ask = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let rows: Vec<Row> =
                    (0..batch).map(|image| row(&graph, image, graph.output(), image)).collect();
                let output = graph.represent(images.view(), graph.output()).unwrap();
                (output.into_raw_vec_and_offset().0, send(&graph, &images, &rows).concat())
            })
        };
        let (alone, together) = (ask(1), ask(3));
        let what = |part: &str| format!("{part} of {batch} images on three threads");
        wrong.extend(same_bits(&what("output"), &together.0, &alone.0).err());
        wrong.extend(same_bits(&what("gradient"), &together.1, &alone.1).err());
        // And each image as it is alone.
        let one = first_images(&images, 1);
        let output = graph.represent(one.view(), graph.output()).unwrap().row(0).to_vec();
        wrong.extend(same_bits(&what("the first"), &together.0[..output.len()], &output).err());
    }
    report(&wrong);
}

/// The networks, with as many images as the largest batch.
pub(super) fn networks() -> Vec<(&'static str, Graph, Array4<f32>)> {
    let mut draw = Draw::new(11);
    let mut all = Vec::new();
    for (name, make) in [
        ("chain", chain as fn(&mut Draw) -> Net),
        ("tiles", tiles),
        ("branches", branches),
        ("sums", sums),
        ("axes", axes),
    ] {
        let net = make(&mut draw);
        let graph = Graph::from_onnx(&to_model(&net, &mut draw).bytes(), name).unwrap();
        all.push((name, graph));
    }
    all.push(("lenet", crate::lenet(3)));
    let with_images = all.into_iter().map(|(name, graph)| {
        let s = graph.input().clone();
        let shape = (130, s.channels, s.height, s.width);
        let top = if name == "lenet" { 255.0 } else { 2.0 };
        let numbers = draw.floats(shape.0 * shape.1 * shape.2 * shape.3, 0.0, top);
        (name, graph, Array4::from_shape_vec(shape, numbers).unwrap())
    });
    with_images.collect()
}

fn layers(graph: &Graph) -> Vec<LayerId> {
    graph.layers().iter().map(|l| l.id).collect()
}

/// A cotangent with its own numbers.
struct Row {
    image: usize,
    layer: LayerId,
    values: Vec<f32>,
}

fn row(graph: &Graph, image: usize, layer: LayerId, seed: usize) -> Row {
    let n = graph.layers()[layer.0].shape.iter().product();
    Row { image, layer, values: Draw::new(seed as u64).floats(n, -1.0, 1.0) }
}

/// Rows sent back together; one array of numbers each.
fn send(graph: &Graph, images: &Array4<f32>, rows: &[Row]) -> Vec<Vec<f32>> {
    let trace = graph.trace(images.view(), &layers(graph)).unwrap();
    let rows: Vec<Cotangent<'_>> = rows
        .iter()
        .map(|r| Cotangent { image: r.image, layer: r.layer, values: &r.values })
        .collect();
    let back = trace.back_project(&rows).unwrap();
    back.axis_iter(Axis(0)).map(|row| row.iter().copied().collect()).collect()
}

fn first_images(images: &Array4<f32>, n: usize) -> Array4<f32> {
    images.slice_axis(Axis(0), (..n).into()).to_owned()
}

#[test]
fn an_image_alone_is_the_image_in_a_batch() {
    let mut wrong = Vec::new();
    for (name, graph, images) in networks() {
        let all = layers(&graph);
        for batch in BATCHES {
            let many = first_images(&images, batch);
            for image in [0, batch / 2, batch - 1] {
                let one = images.slice_axis(Axis(0), (image..=image).into()).to_owned();
                let what = |layer: LayerId| {
                    format!("{name}: image {image} of {batch} at {}", graph.layers()[layer.0].name)
                };
                let trace = graph.trace(many.view(), &all).unwrap();
                for &layer in &all {
                    let alone = graph.represent(one.view(), layer).unwrap().row(0).to_vec();
                    let among = graph.represent(many.view(), layer).unwrap();
                    let traced = trace.representation(layer).unwrap();
                    for among in [among, traced] {
                        let among = among.row(image).to_vec();
                        wrong.extend(same_bits(&what(layer), &among, &alone).err());
                    }
                }
                // Every image sends a row back; this one's is compared.
                let layer = all[all.len() - 1 - image % 3];
                let rows: Vec<Row> = (0..batch).map(|i| row(&graph, i, layer, i)).collect();
                let among = send(&graph, &many, &rows);
                let alone = send(&graph, &one, &[row(&graph, 0, layer, image)]);
                let what = format!("{}, sent back", what(layer));
                wrong.extend(same_bits(&what, &among[image], &alone[0]).err());
            }
        }
    }
    report(&wrong);
}

/// Rows of several layers and images in any order, each compared with itself sent alone.
#[test]
fn a_row_alone_is_the_row_among_others() {
    let mut wrong = Vec::new();
    for (name, graph, images) in networks() {
        let all = layers(&graph);
        for (batch, count) in [(1, 9), (3, 4), (20, 33), (70, 150)] {
            let many = first_images(&images, batch);
            let mut draw = Draw::new(count as u64);
            let rows: Vec<Row> = (0..count)
                .map(|r| row(&graph, draw.below(batch), all[draw.below(all.len())], r))
                .collect();
            let together = send(&graph, &many, &rows);
            for (at, got) in together.iter().enumerate().step_by(1 + count / 30) {
                let alone = send(&graph, &many, &rows[at..=at]);
                let what = format!("{name}: row {at} of {count} over {batch} images");
                wrong.extend(same_bits(&what, got, &alone[0]).err());
            }
        }
    }
    report(&wrong);
}

#[cfg(feature = "parallel")]
#[test]
fn the_number_of_threads_changes_nothing() {
    let mut wrong = Vec::new();
    let pools = [1, 2, 5].map(|n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap());
    for (name, graph, images) in networks() {
        let all = layers(&graph);
        for batch in [1, 3, 20, 130] {
            let many = first_images(&images, batch);
            let rows: Vec<Row> = (0..2 * batch)
                .map(|r| row(&graph, r * 7 % batch, all[r * 5 % all.len()], r))
                .collect();
            let ask = || {
                let mut numbers = Vec::new();
                for &layer in &all {
                    let r = graph.represent(many.view(), layer).unwrap();
                    numbers.extend(r.into_raw_vec_and_offset().0);
                }
                numbers.extend(send(&graph, &many, &rows).concat());
                let outputs = graph.layers()[graph.output().0].shape.iter().product();
                let cotangents: Vec<Vec<f32>> =
                    (0..batch).map(|i| Draw::new(i as u64).floats(outputs, -1.0, 1.0)).collect();
                numbers.extend(
                    super::check::engine_weight_gradients(&graph, &many, &cotangents)
                        .concat()
                        .concat(),
                );
                numbers
            };
            let wanted = pools[0].install(ask);
            for pool in &pools[1..] {
                let threads = pool.current_num_threads();
                let what = format!("{name}: {batch} images on {threads} threads");
                wrong.extend(same_bits(&what, &pool.install(ask), &wanted).err());
            }
        }
    }
    report(&wrong);
}

/// Every instruction set with fused multiply-adds gives the same bytes, the portable loops nearly the same numbers.
#[test]
fn instruction_sets_agree() {
    let mut wrong = Vec::new();
    for (name, graph, images) in networks() {
        let all = layers(&graph);
        // Images of these networks come near no kink that rounding decides (else the tolerance says so).
        let many = first_images(&images, 20);
        let rows: Vec<Row> =
            (0..40).map(|r| row(&graph, r % 20, all[r * 3 % all.len()], r)).collect();
        let mut graph = graph;
        let mut first: Option<Vec<Vec<f32>>> = None;
        for isa in Isa::available() {
            graph = graph.with_isa(isa);
            let mut numbers = send(&graph, &many, &rows);
            for &layer in &all {
                let r = graph.represent(many.view(), layer).unwrap();
                numbers.push(r.into_raw_vec_and_offset().0);
            }
            let Some(first) = &first else {
                first = Some(numbers);
                continue;
            };
            for (at, (got, wanted)) in numbers.iter().zip(first).enumerate() {
                let what = format!("{name}: {isa:?}, array {at}");
                if isa == Isa::Portable {
                    let wanted: Vec<f64> = wanted.iter().map(|&x| f64::from(x)).collect();
                    wrong.extend(PORTABLE.check(&what, got, &wanted).err());
                } else {
                    wrong.extend(same_bits(&what, got, wanted).err());
                }
            }
        }
    }
    report(&wrong);
}

/// At kinks: of equal values in a window the first in row order wins, and the slope of ReLU at zero is zero.
#[test]
fn ties_go_to_the_first_and_relu_is_flat_at_zero() {
    let mut wrong = Vec::new();
    for (size, expected) in [(2, vec![1.0, 0.0, 1.0, 0.0]), (17, vec![1.0])] {
        // Windows of `size`×`size` over images of equal numbers, as many as fit side by side.
        let windows = if size == 2 { 2 } else { 1 };
        let mut net = Net::new(&[1, size, windows * size]);
        max_pool(&mut net, 0, size, size, 0);
        let graph = Graph::from_onnx(&to_model(&net, &mut Draw::new(0)).bytes(), "ties").unwrap();
        for batch in [1, 20] {
            let images = Array4::from_elem((batch, 1, size, windows * size), 3.0);
            let rows: Vec<Row> = (0..batch)
                .map(|image| Row { image, layer: graph.output(), values: vec![1.0; windows] })
                .collect();
            for back in send(&graph, &images, &rows) {
                let first = expected.iter().copied().chain(std::iter::repeat(0.0));
                let first: Vec<f32> = first.take(back.len()).collect();
                wrong.extend(same_bits(&format!("max pool {size}"), &back, &first).err());
            }
        }
    }
    let mut net = Net::new(&[3]);
    relu(&mut net, 0);
    let graph = Graph::from_onnx(&to_model(&net, &mut Draw::new(0)).bytes(), "relu").unwrap();
    let images = Array4::from_shape_vec((1, 1, 1, 3), vec![0.0, -0.0, f32::MIN_POSITIVE]).unwrap();
    let row = Row { image: 0, layer: graph.output(), values: vec![1.0; 3] };
    wrong.extend(same_bits("ReLU", &send(&graph, &images, &[row])[0], &[0.0, 0.0, 1.0]).err());
    report(&wrong);
}

/// No images and no rows are no error.
#[test]
fn nothing_gives_nothing() {
    let graph = crate::lenet(0);
    let none = Array4::zeros((0, 1, 28, 28));
    let layer = graph.output();
    assert_eq!(graph.represent(none.view(), layer).unwrap().shape(), [0, 10]);
    let trace = graph.trace(none.view(), &[layer]).unwrap();
    assert_eq!(trace.representation(layer).unwrap().shape(), [0, 10]);
    assert_eq!(trace.back_project(&[]).unwrap().shape(), [0, 1, 28, 28]);
}

/// Images that do not lie in row-major order are read alike.
#[test]
fn the_order_in_memory_changes_nothing() {
    let (_, graph, images) = networks().swap_remove(1);
    let mut turned = images.clone();
    turned.swap_axes(1, 3);
    let turned = turned.as_standard_layout().to_owned();
    let mut view = turned.view();
    view.swap_axes(1, 3);
    let layer = graph.output();
    let a = graph.represent(view, layer).unwrap().into_raw_vec_and_offset().0;
    let b = graph.represent(images.view(), layer).unwrap().into_raw_vec_and_offset().0;
    same_bits("turned", &a, &b).unwrap();
}

/// Requests that make no sense are errors that say what was wanted.
#[test]
fn wrong_requests_are_errors() {
    let graph = crate::lenet(0);
    let images = Array4::zeros((2, 1, 28, 28));
    let [ip1, ip2] = ["ip1", "ip2"].map(|n| graph.find_layers(n).unwrap()[0]);
    let trace = graph.trace(images.view(), &[ip2]).unwrap();
    let values = vec![0.0; 10];
    let send = |image, layer, values: &[f32]| {
        let e = trace.back_project(&[Cotangent { image, layer, values }]).unwrap_err();
        e.to_string()
    };
    let small = Array4::zeros((1, 3, 28, 28));
    let cases = [
        (send(2, ip2, &values), "image 2 was not traced; 2 were"),
        (send(0, ip1, &values), "layer \"ip1\" was not asked for"),
        (send(0, ip2, &values[1..]), "cotangent at \"ip2\": wanted [10], found [9]"),
        (trace.representation(ip1).unwrap_err().to_string(), "layer \"ip1\" was not asked for"),
        (
            graph.represent(small.view(), ip2).unwrap_err().to_string(),
            "images [channels, height, width]: wanted [1, 28, 28], found [3, 28, 28]",
        ),
        (
            graph.represent(images.view(), LayerId(99)).unwrap_err().to_string(),
            "layer 99 is not one of the 9 of lenet",
        ),
        (
            graph.find_layers("conv3").unwrap_err().to_string(),
            "no layer \"conv3\" in lenet; layers: conv1, conv2, ip1, ip2",
        ),
    ];
    let wrong: Vec<String> = cases
        .iter()
        .filter(|(got, wanted)| !got.contains(wanted) || got.contains('\n'))
        .map(|(got, wanted)| format!("\"{got}\" does not say \"{wanted}\""))
        .collect();
    report(&wrong);
}

/// `op` on one image, alone and as one of sixteen that are alike.
fn alone_and_abreast(op: &dyn Operator, image: &[f32], outputs: usize) -> [Vec<f32>; 2] {
    [1, 16].map(|lanes| {
        let x: Vec<f32> = image.iter().flat_map(|x| vec![*x; lanes]).collect();
        let mut y = vec![f32::NAN; outputs * lanes];
        let run = Run { isa: Isa::best(), parallel: false, lanes, relu: ReluRule::Slope, first: 0 };
        op.forward(run, &[&x], &mut y, None);
        // Whether something is kept for the way back or not.
        let (mut again, mut bytes) = (vec![f32::NAN; y.len()], vec![0; op.keeps().bytes * lanes]);
        let keeper = Keeper { bytes: &mut bytes, floats: &mut [] };
        op.forward(run, &[&x], &mut again, Some(keeper));
        same_bits("kept", &again, &y).unwrap();
        y.into_iter().skip(lanes - 1).step_by(lanes).collect()
    })
}

/// Sixteen abreast, taps that see only padding are left out: with a bias of negative zero that must not show either.
#[test]
fn padding_leaves_no_trace_in_zeros() {
    let window = ops::Window {
        kernel: [3, 3],
        stride: [1, 2],
        dilation: [1, 1],
        pad: [4, 4],
        pad_end: [4, 4],
        input: [2, 3],
        output: [8, 5],
    };
    for (groups, channels, rows) in [(1, 2, 5), (4, 4, 8), (1, 1, 17)] {
        let mut draw = Draw::new(8);
        let per_group = channels / groups;
        let weights =
            Tensor::new(vec![rows, per_group, 3, 3], draw.floats(rows * per_group * 9, -1.0, 1.0));
        let bias = (0..rows).map(|row| if row % 2 == 0 { -0.0 } else { 0.5 }).collect();
        let bias = Tensor::new(vec![rows], bias);
        let conv = Conv::new(window, groups, channels, weights.unwrap(), bias);
        for image in [vec![0.0; channels * 6], draw.floats(channels * 6, -1.0, 1.0)] {
            let [alone, abreast] = alone_and_abreast(&conv, &image, rows * 40);
            same_bits(&format!("{groups} groups"), &abreast, &alone).unwrap();
        }
    }
}

/// Not a number wins its windows, wherever it lies in them: a network that makes one is to be noticed.
#[test]
fn pooling_does_not_lose_what_is_not_a_number() {
    let window = |kernel, stride, output| ops::Window {
        kernel: [kernel; 2],
        stride: [stride; 2],
        dilation: [1, 1],
        pad: [0, 0],
        pad_end: [0, 0],
        input: [6, 6],
        output: [output; 2],
    };
    for (kernel, stride, output) in [(2, 2, 3), (3, 1, 4), (3, 3, 2)] {
        let pool = MaxPool::new(1, window(kernel, stride, output));
        for at in 0..36 {
            let mut image: Vec<f32> = (0..36u8).map(f32::from).collect();
            image[at] = f32::NAN;
            let sees = |o: usize, place: usize| (stride * o..stride * o + kernel).contains(&place);
            for y in alone_and_abreast(&pool, &image, output * output) {
                for (o, y) in y.iter().enumerate() {
                    let seen = sees(o / output, at / 6) && sees(o % output, at % 6);
                    assert_eq!(y.is_nan(), seen, "{kernel}, {stride}: {at} in {o}");
                }
            }
        }
    }
}
