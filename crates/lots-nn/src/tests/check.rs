//! The engine against the oracle on one network.

use super::compare::{ADJOINT, BACKWARD, FORWARD, Tolerance, WEIGHTS, same_bits};
use super::model::{Draw, to_model};
use super::naive::{Net, Op, Parameters, Pass};
use crate::exec::{ForwardAll, weight_gradients};
use crate::graph::Graph;
use crate::kernels::{Isa, LANES};
use crate::network::{Cotangent, LayerId, Network};
use crate::scratch::Buffer;
use ndarray::Array4;
use proptest::test_runner::TestCaseError;

/// Step of central differences in f64: their rounding is about 1e-16/1e-7, their truncation about 1e-14.
const STEP: f64 = 1e-7;
/// Least distance from a kink: above what f32 rounding (5e-6 at most, see `compare`) and the step (1e-7 in every input
/// at once) move a number.
const MARGIN: f64 = 5e-5;
/// What is said of weights so small that every image comes near a kink: the case is no use.
pub(super) const KINKS: &str = "every image comes near a kink";
/// Places of one input or parameter whose derivative is checked one by one.
const PLACES: usize = 60;
const WEIGHT_PLACES: usize = 3;

/// Images of a network, none of them near a kink, with their oracle passes.
pub(super) struct Images {
    pub(super) batch: Array4<f32>,
    pub(super) rows: Vec<Vec<f64>>,
    pub(super) passes: Vec<Pass>,
}

/// Draws `count` images within ±2 that keep their distance from kinks.
pub(super) fn draw_images(net: &Net, count: usize, draw: &mut Draw) -> Result<Images, String> {
    let elements: usize = net.input.iter().product();
    let parameters = net.parameters();
    let (mut flat, mut rows, mut passes) = (Vec::new(), Vec::new(), Vec::new());
    while rows.len() < count {
        let drawn = (0..1000).find_map(|_| {
            let image = draw.floats(elements, -2.0, 2.0);
            let wide: Vec<f64> = image.iter().map(|&x| f64::from(x)).collect();
            let pass = net.run(&parameters, &wide, net.steps.len());
            (pass.margin >= MARGIN).then_some((image, wide, pass))
        });
        let (image, wide, pass) = drawn.ok_or(KINKS)?;
        flat.extend(image);
        rows.push(wide);
        passes.push(pass);
    }
    let mut shape = [count, 1, 1, 1];
    shape[4 - net.input.len()..].copy_from_slice(&net.input);
    let batch = Array4::from_shape_vec(shape, flat).map_err(|e| e.to_string())?;
    Ok(Images { batch, rows, passes })
}

/// A cotangent at the output of `step`.
pub(super) struct Row {
    pub(super) image: usize,
    pub(super) step: usize,
    pub(super) values: Vec<f32>,
}

pub(super) fn draw_row(images: &Images, image: usize, step: usize, draw: &mut Draw) -> Row {
    let n = images.passes[image].values[step + 1].data.len();
    Row { image, step, values: draw.floats(n, -1.0, 1.0) }
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The slope of ⟨outputs, cotangent⟩ from the outputs one step ahead and one behind. Differences come before the sum:
/// the sum's own rounding, divided by the step, would be large.
fn difference(ahead: &[f64], behind: &[f64], cotangent: &[f64]) -> f64 {
    let differences: Vec<f64> = ahead.iter().zip(behind).map(|(a, b)| a - b).collect();
    dot(&differences, cotangent) / (2.0 * STEP)
}

/// Derivatives of one row by central differences.
struct Differences {
    /// Some places of the input, with the derivative there.
    places: Vec<(usize, f64)>,
    /// A direction, and the derivative along it.
    along: (Vec<f64>, f64),
}

fn differences(
    net: &Net,
    parameters: &Parameters,
    image: &[f64],
    row: &Row,
    places: usize,
    draw: &mut Draw,
) -> Differences {
    let cotangent = wide(&row.values);
    let slope = |direction: &dyn Fn(usize) -> f64| {
        let side = |sign: f64| {
            let moved: Vec<f64> =
                image.iter().enumerate().map(|(i, x)| x + sign * STEP * direction(i)).collect();
            net.run(parameters, &moved, row.step + 1).values.swap_remove(row.step + 1).data
        };
        difference(&side(1.0), &side(-1.0), &cotangent)
    };
    let mut all: Vec<usize> = (0..image.len()).collect();
    draw.shuffle(&mut all);
    all.truncate(places);
    let places = all.into_iter().map(|at| (at, slope(&|i| f64::from(u8::from(i == at)))));
    let places = places.collect();
    let v = wide(&draw.floats(image.len(), -1.0, 1.0));
    let jv = slope(&|i| v[i]);
    Differences { places, along: (v, jv) }
}

/// Derivatives of Σ ⟨outputs, cotangents⟩ in the parameters: (step, parameter, differences).
fn weight_differences(
    net: &Net,
    images: &Images,
    cotangents: &[Vec<f32>],
    draw: &mut Draw,
) -> Vec<(usize, usize, Differences)> {
    let cotangents: Vec<Vec<f64>> = cotangents.iter().map(|c| wide(c)).collect();
    let last = net.steps.len();
    let mut all = Vec::new();
    for (s, step) in net.steps.iter().enumerate().filter(|(_, step)| step.op.trains()) {
        for (p, parameter) in step.parameters.iter().enumerate() {
            let slope = |direction: &dyn Fn(usize) -> f64| {
                let [more, less] = [1.0, -1.0].map(|sign| {
                    let mut moved = net.parameters();
                    for (i, x) in moved[s][p].iter_mut().enumerate() {
                        *x += sign * STEP * direction(i);
                    }
                    moved
                });
                let output = |moved: &Parameters, pass: &Pass| {
                    let known = pass.values[..=s].to_vec();
                    net.go_on(moved, known, last).values.swap_remove(last).data
                };
                let images = images.passes.iter().zip(&cotangents);
                images
                    .map(|(pass, c)| difference(&output(&more, pass), &output(&less, pass), c))
                    .sum::<f64>()
            };
            let n = parameter.data.len();
            let mut places: Vec<usize> = (0..n).collect();
            draw.shuffle(&mut places);
            places.truncate(WEIGHT_PLACES);
            let places =
                places.into_iter().map(|at| (at, slope(&|i| f64::from(u8::from(i == at)))));
            let places = places.collect();
            // So long a step as one of a single weight: it must not reach a kink.
            let v = wide(&draw.floats(n, -1.0, 1.0));
            let v: Vec<f64> = v.into_iter().map(|x| x / (n as f64).sqrt()).collect();
            let along = slope(&|i| v[i]);
            all.push((s, p, Differences { places, along: (v, along) }));
        }
    }
    all
}

impl Differences {
    /// Compares a gradient of the engine, whose numbers are sums of usual size `size`.
    fn check(
        &self,
        what: &str,
        tolerance: Tolerance,
        got: &[f32],
        size: f64,
    ) -> Result<(), String> {
        let (v, slope) = &self.along;
        if v.len() != got.len() {
            return Err(format!("{what}: {} numbers; wanted {}", got.len(), v.len()));
        }
        // Places that were not differentiated count as right.
        let (mut picked, mut wanted) = (vec![0.0; v.len()], vec![0.0; v.len()]);
        for &(at, slope) in &self.places {
            (picked[at], wanted[at]) = (got[at], slope);
        }
        tolerance.check_sums(what, &picked, &wanted, size)?;
        let got = wide(got);
        let scale = v.iter().zip(&got).map(|(v, g)| (v * g).abs()).sum::<f64>().max(size);
        ADJOINT.check_one(&format!("{what}, ⟨Jv, w⟩ = ⟨v, Jᵀw⟩"), dot(v, &got), *slope, scale)
    }
}

/// Usual size of a weight gradient at `step`: √n for n terms of order one, a term for each image and each output that a
/// weight has a part in.
fn sum_size(net: &Net, images: &Images, step: usize) -> f64 {
    let step_outputs = &images.passes[0].values[step + 1];
    let outputs = step_outputs.data.len();
    let each = match net.steps[step].op {
        Op::Conv { .. } | Op::ConvTranspose { .. } => outputs / step_outputs.shape[0],
        Op::MatMul => outputs / step_outputs.shape[step_outputs.shape.len() - 1],
        Op::Binary { .. } => outputs / net.steps[step].parameters[0].data.len(),
        _ => 1,
    };
    ((images.rows.len() * each.max(1)) as f64).sqrt()
}

/// Everything that the engine says of one network, in one order.
struct Answers {
    /// By step, image by image.
    outputs: Vec<Vec<f32>>,
    /// By row.
    gradients: Vec<Vec<f32>>,
    /// By step and parameter.
    weights: Vec<Vec<Vec<f32>>>,
}

/// The weight gradients of a whole batch, the cotangents lying at the network's output.
pub(super) fn engine_weight_gradients(
    graph: &Graph,
    batch: &Array4<f32>,
    cotangents: &[Vec<f32>],
) -> Vec<Vec<Vec<f32>>> {
    let all = ForwardAll::new(graph, &batch.view());
    let n = cotangents[0].len();
    let mut laid = Buffer::zeroed(cotangents.len().next_multiple_of(LANES) * n);
    for (image, values) in cotangents.iter().enumerate() {
        for (e, &x) in values.iter().enumerate() {
            laid[(image / LANES * n + e) * LANES + image % LANES] = x;
        }
    }
    weight_gradients(graph, &all, laid, |i| !graph.nodes()[i].parameters.is_empty())
}

fn ask(
    graph: &Graph,
    images: &Images,
    rows: &[Row],
    cotangents: &[Vec<f32>],
) -> crate::error::Result<Answers> {
    let layers: Vec<LayerId> = graph.layers().iter().map(|l| l.id).collect();
    let trace = graph.trace(images.batch.view(), &layers)?;
    let mut outputs = Vec::new();
    for &layer in &layers {
        outputs.push(trace.representation(layer)?.into_raw_vec_and_offset().0);
    }
    let sent: Vec<Cotangent<'_>> = rows
        .iter()
        .map(|r| Cotangent { image: r.image, layer: layers[r.step], values: &r.values })
        .collect();
    let back = trace.back_project(&sent)?;
    let elements = back.len() / rows.len();
    let back = back.into_raw_vec_and_offset().0;
    Ok(Answers {
        outputs,
        gradients: back.chunks(elements).map(<[f32]>::to_vec).collect(),
        weights: engine_weight_gradients(graph, &images.batch, cotangents),
    })
}

/// [`check`] for property tests.
pub(super) fn check_drawn(net: &Net, batch: usize, seed: u64) -> Result<(), TestCaseError> {
    check(net, batch, seed)
        .map_err(|e| if e == KINKS { TestCaseError::reject(e) } else { TestCaseError::fail(e) })
}

/// Checks a network whole, in every instruction set of this machine: each layer's output, rows sent back from the
/// output of every image and from other layers, and the gradients of all weights.
pub(super) fn check(net: &Net, batch: usize, seed: u64) -> Result<(), String> {
    check_within(net, batch, seed, [FORWARD, BACKWARD])
}

/// [`check`] with other tolerances of outputs and of rows sent back.
pub(super) fn check_within(
    net: &Net,
    batch: usize,
    seed: u64,
    [forward, backward]: [Tolerance; 2],
) -> Result<(), String> {
    let mut draw = Draw::new(seed);
    let bytes = to_model(net, &mut draw).bytes();
    let images = draw_images(net, batch, &mut draw)?;
    let last = net.steps.len() - 1;
    let cotangents: Vec<Vec<f32>> =
        (0..batch).map(|i| draw_row(&images, i, last, &mut draw).values).collect();
    let mut rows: Vec<Row> = cotangents
        .iter()
        .enumerate()
        .map(|(image, values)| Row { image, step: last, values: values.clone() })
        .collect();
    for _ in 0..2 * last.min(6) {
        let (image, step) = (draw.below(batch), draw.below(last + 1));
        rows.push(draw_row(&images, image, step, &mut draw));
    }
    draw.shuffle(&mut rows);
    let parameters = net.parameters();
    let wanted: Vec<Differences> = rows
        .iter()
        .enumerate()
        .map(|(at, row)| {
            let places = if at < 4 { PLACES } else { 0 };
            differences(net, &parameters, &images.rows[row.image], row, places, &mut draw)
        })
        .collect();
    let wanted_weights = weight_differences(net, &images, &cotangents, &mut draw);

    let mut first: Option<Answers> = None;
    for isa in Isa::available() {
        let graph = Graph::from_onnx(&bytes, "test").map_err(|e| e.to_string())?.with_isa(isa);
        let answers = ask(&graph, &images, &rows, &cotangents).map_err(|e| e.to_string())?;
        for (s, step) in net.steps.iter().enumerate() {
            let shape = &images.passes[0].values[s + 1].shape;
            let info = &graph.layers()[s];
            if info.shape != *shape {
                return Err(format!("{} has shape {:?}; wanted {shape:?}", info.name, info.shape));
            }
            let oracle: Vec<f64> =
                images.passes.iter().flat_map(|p| p.values[s + 1].data.clone()).collect();
            forward.check(
                &format!("{isa:?}: n{s} {}", step.op.name()),
                &answers.outputs[s],
                &oracle,
            )?;
            let alone = graph.represent(images.batch.view(), info.id).map_err(|e| e.to_string())?;
            let alone = alone.into_raw_vec_and_offset().0;
            same_bits(&format!("{isa:?}: n{s}, represent and trace"), &alone, &answers.outputs[s])?;
        }
        for ((row, got), wanted) in rows.iter().zip(&answers.gradients).zip(&wanted) {
            let what = format!("{isa:?}: image {} from n{}", row.image, row.step);
            wanted.check(&what, backward, got, 1.0)?;
        }
        for (s, p, wanted) in &wanted_weights {
            let what = format!("{isa:?}: parameter {p} of n{s}");
            // Nothing comes back to a node that the output does not depend on.
            let nothing = vec![0.0; net.steps[*s].parameters[*p].data.len()];
            let got = answers.weights[*s].get(*p).unwrap_or(&nothing);
            wanted.check(&what, WEIGHTS, got, sum_size(net, &images, *s))?;
        }
        // Instruction sets with fused multiply-adds give the same bytes.
        match &first {
            Some(best) if isa != Isa::Portable => {
                same_answers(&format!("{isa:?}"), &answers, best)?
            }
            Some(_) => {}
            None => first = Some(answers),
        }
    }
    Ok(())
}

fn same_answers(what: &str, got: &Answers, wanted: &Answers) -> Result<(), String> {
    for (s, (got, wanted)) in got.outputs.iter().zip(&wanted.outputs).enumerate() {
        same_bits(&format!("{what}: outputs of n{s}"), got, wanted)?;
    }
    for (r, (got, wanted)) in got.gradients.iter().zip(&wanted.gradients).enumerate() {
        same_bits(&format!("{what}: row {r}"), got, wanted)?;
    }
    for (s, (got, wanted)) in got.weights.iter().zip(&wanted.weights).enumerate() {
        same_bits(&format!("{what}: weights of n{s}"), &got.concat(), &wanted.concat())?;
    }
    Ok(())
}
