//! Whole networks against ONNX Runtime (outputs) and PyTorch in f64 (back-projections).
//!
//! Oracle: `references/make_operators.py`, which states versions and seeds.

#![allow(clippy::unwrap_used, reason = "a test")]

use lots_nn::{Cotangent, Graph, Network, ReluRule};
use ndarray::{Array, Array4, ArrayD, Axis};
use std::path::{Path, PathBuf};

/// The arrays of a reference.
fn arrays(path: &Path) -> Vec<ArrayD<f32>> {
    let bytes = std::fs::read(path).unwrap();
    let mut words = bytes.as_chunks::<4>().0.iter();
    let mut word = || u32::from_le_bytes(*words.next().unwrap());
    let count = word();
    (0..count)
        .map(|_| {
            let shape: Vec<usize> = (0..word()).map(|_| word() as usize).collect();
            let data = (0..shape.iter().product()).map(|_| f32::from_bits(word())).collect();
            Array::from_shape_vec(shape, data).unwrap()
        })
        .collect()
}

fn models(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut all: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "onnx"))
        .collect();
    all.sort();
    all
}

/// Largest difference over the largest magnitude.
fn difference(ours: &[f32], reference: &[f32]) -> f32 {
    assert_eq!(ours.len(), reference.len());
    let scale = reference.iter().fold(0.0f32, |m, x| m.max(x.abs()));
    let off = ours.iter().zip(reference).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
    assert!(off.is_finite());
    off / scale
}

#[test]
fn outputs_and_back_projections_agree_with_the_references() {
    let mut wrong = Vec::new();
    let models = models("tests/data");
    assert!(models.len() >= 22, "found only {} references", models.len());
    for path in models {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let network = match Graph::open(&path) {
            Ok(network) => network,
            // An operator that Lots does not have yet is refused by name.
            Err(e) if name == "torch_residual_dynamo" => {
                assert!(e.to_string().contains("ReduceMean"), "{e}");
                continue;
            }
            Err(e) => {
                wrong.push(e.to_string());
                continue;
            }
        };
        let [input, output, cotangent, gradient] =
            arrays(&path.with_extension("bin")).try_into().unwrap();
        let count = input.len_of(Axis(0));
        let spec = network.input();
        let images: Array4<f32> =
            input.into_shape_with_order((count, spec.channels, spec.height, spec.width)).unwrap();
        let layer = network.output();
        // Alone, as given, and repeated until sixteen lanes and several groups are filled.
        for copies in [1, 2, 13, 30] {
            let many: Vec<_> = (0..copies).map(|_| images.view()).collect();
            let batch = ndarray::concatenate(Axis(0), &many).unwrap();
            let trace = network.trace(batch.view(), &[layer]).unwrap();
            let outputs = trace.representation(layer).unwrap();
            assert_eq!(
                outputs,
                network.represent(batch.view(), layer).unwrap(),
                "{name}: trace and represent"
            );
            let rows: Vec<Vec<f32>> =
                cotangent.axis_iter(Axis(0)).map(|row| row.iter().copied().collect()).collect();
            let rows: Vec<Cotangent<'_>> = (0..batch.len_of(Axis(0)))
                .map(|image| Cotangent { image, layer, values: &rows[image % count] })
                .collect();
            let gradients = trace.back_project(&rows).unwrap();
            for copy in 0..copies {
                let part = copy * count..(copy + 1) * count;
                let flat =
                    |a: ndarray::ArrayViewD<'_, f32>| a.iter().copied().collect::<Vec<f32>>();
                let ours = flat(outputs.slice_axis(Axis(0), part.clone().into()).into_dyn());
                let off = difference(&ours, &flat(output.view()));
                let ours = flat(gradients.slice_axis(Axis(0), part.into()).into_dyn());
                let back = difference(&ours, &flat(gradient.view()));
                // f32 chains of up to a few thousand terms against f32 and f64.
                if off > 5e-6 || back > 5e-6 {
                    wrong.push(format!(
                        "{name} ×{copies} #{copy}: outputs {off:e}, back-projection {back:e}"
                    ));
                    break;
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Oracle: `references/make_relu_rules.py`, hooks at PyTorch's ReLUs, in f64.
#[test]
fn other_rules_at_relus_agree_with_the_references() {
    let models = models("tests/data/relu_rules");
    assert_eq!(models.len(), 2);
    let mut wrong = Vec::new();
    for path in models {
        let network = Graph::open(&path).unwrap();
        let [input, cotangent, gradient, deconvolution, guided] =
            arrays(&path.with_extension("bin")).try_into().unwrap();
        let images: Array4<f32> = input.into_dimensionality().unwrap();
        let count = images.len_of(Axis(0));
        let layer = network.output();
        // As given, and repeated until sixteen lanes are filled.
        for copies in [1, 7] {
            let many: Vec<_> = (0..copies).map(|_| images.view()).collect();
            let batch = ndarray::concatenate(Axis(0), &many).unwrap();
            let trace = network.trace(batch.view(), &[layer]).unwrap();
            let rows: Vec<Vec<f32>> =
                cotangent.axis_iter(Axis(0)).map(|row| row.iter().copied().collect()).collect();
            let rows: Vec<Cotangent<'_>> = (0..copies * count)
                .map(|image| Cotangent { image, layer, values: &rows[image % count] })
                .collect();
            for (rule, wanted) in [
                (ReluRule::Slope, &gradient),
                (ReluRule::Deconvolution, &deconvolution),
                (ReluRule::Guided, &guided),
            ] {
                let got: Vec<f32> =
                    trace.back_project_by(rule, &rows).unwrap().into_iter().collect();
                let wanted: Vec<f32> = wanted.iter().copied().collect();
                for part in got.chunks(wanted.len()) {
                    // As above.
                    let off = difference(part, &wanted);
                    if off > 5e-6 {
                        wrong.push(format!("{} {rule:?} ×{copies}: {off:e}", path.display()));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
