//! Whole networks, as PyTorch's exporters write them, against PyTorch in f64.
//!
//! Oracle: `references/make_networks.py`, which writes `tests/networks` and says there what the numbers mean. The files
//! have no weights: a formula that both sides compute to the same bits gives them, and everything else that is drawn.

use super::compare::report;
use crate::graph::Graph;
use crate::network::{Cotangent, LayerId, Network};
use crate::onnx::{ModelProto, StringEntry, TensorProto};
use ndarray::{Array4, s};
use prost::Message;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// How far from f64 a value or a gradient may be, relative to the largest, and a product with a vector of variance one,
/// relative to the norm. A chain of n fused multiply-adds of random terms errs by about u·√(n/6) of the sum, u = 6e-8: through
/// the convolutions of VGG-16 together by 5e-6. The most seen is 6.6e-6, where PyTorch's own float32 is 4.9e-6 off (`float32`
/// in `networks.json`). No image is near enough to a kink for single precision to decide otherwise.
const TOLERANCE: f64 = 1e-5;

/// splitmix64: the words of stream `seed`.
fn words(seed: u64) -> impl Iterator<Item = u64> {
    (1..).map(move |i: u64| {
        let mut z = seed.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    })
}

/// Numbers in center ± spread.
fn formula(seed: u64, center: f64, spread: f64, count: usize) -> Vec<f32> {
    let unit = |word: u64| (2 * (word >> 40) + 1) as f64 / f64::from(1 << 24) - 1.0;
    words(seed).take(count).map(|word| (center + spread * unit(word)) as f32).collect()
}

/// Numbers of variance one.
fn uniform(seed: u64, count: usize) -> Vec<f32> {
    formula(seed, 0.0, 1.732, count)
}

fn entry<'a>(entries: &'a [StringEntry], key: &str) -> Option<&'a str> {
    entries.iter().find(|e| e.key == key).map(|e| e.value.as_str())
}

/// Computes the weights of `tensor`, if it says how, and puts them where the exporter had them: into the tensor, or into
/// the file that it names, whose bytes are `outside`.
fn fill(tensor: &mut TensorProto, outside: &mut BTreeMap<String, Vec<u8>>) {
    let entries = std::mem::take(&mut tensor.external_data);
    let Some(seed) = entry(&entries, "seed") else { return };
    let number = |key| entry(&entries, key).unwrap().parse().unwrap();
    let dims: Vec<usize> = tensor.dims.iter().map(|&d| d as usize).collect();
    let count = dims.iter().product();
    let mut numbers = formula(seed.parse().unwrap(), number("center"), number("spread"), count);
    if entry(&entries, "transposed").is_some() {
        let [rows, columns] = dims[..] else { panic!("{}: {dims:?}", tensor.name) };
        let place = |i: usize| i % columns * rows + i / columns;
        numbers = (0..count).map(|i| numbers[place(i)]).collect();
    }
    let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
    let Some(location) = entry(&entries, "location") else {
        tensor.raw_data = bytes;
        tensor.data_location = 0;
        return;
    };
    let [start, length] = ["offset", "length"].map(|key| entry(&entries, key).unwrap());
    let place: usize = start.parse().unwrap();
    assert_eq!(length, bytes.len().to_string(), "{}", tensor.name);
    let file = outside.entry(location.to_owned()).or_default();
    file.resize(file.len().max(place + bytes.len()), 0);
    file[place..place + bytes.len()].copy_from_slice(&bytes);
    let ours = ["seed", "center", "spread", "transposed"];
    tensor.external_data = entries;
    tensor.external_data.retain(|e| !ours.contains(&e.key.as_str()));
}

/// The network of `file` with its weights.
fn load(file: &Path) -> Result<Graph, String> {
    let mut model = ModelProto::decode(&*std::fs::read(file).unwrap()).unwrap();
    let mut outside = BTreeMap::new();
    for tensor in &mut model.graph.as_mut().unwrap().initializer {
        fill(tensor, &mut outside);
    }
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in outside {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let path = folder.path().join(file.file_name().unwrap());
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    Graph::open(path).map_err(|e| e.to_string())
}

/// What a network says of one image: representations at output and middle, and a gradient from each.
struct Answers([Vec<f32>; 4]);

const NAMES: [&str; 4] = ["output", "middle", "gradient", "middle gradient"];

/// Asks about the last of `images`.
fn ask(graph: &Graph, images: &Array4<f32>, middle: LayerId, seed: u64) -> Result<Answers, String> {
    let layers = [graph.output(), middle];
    let trace = graph.trace(images.view(), &layers).map_err(|e| e.to_string())?;
    let image = images.dim().0 - 1;
    let mut values = Vec::new();
    for layer in layers {
        let all = trace.representation(layer).map_err(|e| e.to_string())?;
        values.push(all.row(image).to_vec());
    }
    let cotangents = [uniform(seed + 1, values[0].len()), uniform(seed + 2, values[1].len())];
    let rows: Vec<Cotangent<'_>> = layers
        .iter()
        .zip(&cotangents)
        .map(|(&layer, values)| Cotangent { image, layer, values })
        .collect();
    let back = trace.back_project(&rows).map_err(|e| e.to_string())?;
    let gradient = |row| back.slice(s![row, .., .., ..]).iter().copied().collect();
    let [output, middle] = values.try_into().unwrap();
    Ok(Answers([output, middle, gradient(0), gradient(1)]))
}

/// Compares `got` with the summary of a reference.
fn check(got: &[f32], summary: &Value, seed: u64) -> Result<(), String> {
    if summary["elements"] != got.len() {
        return Err(format!("{} numbers; wanted {}", got.len(), summary["elements"]));
    }
    let list = |key: &str| -> Vec<f64> {
        summary[key].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
    };
    let places = words(seed + 3).map(|word| (word % got.len() as u64) as usize);
    let largest = summary["largest"].as_f64().unwrap();
    let sample = places.zip(list("sample"));
    let sample = sample.map(|(at, wanted)| (f64::from(got[at]) - wanted).abs() / largest);
    let norm = summary["norm"].as_f64().unwrap();
    let products = (seed + 4..).zip(list("projections")).map(|(stream, wanted)| {
        let vector = uniform(stream, got.len());
        let terms = vector.iter().zip(got).map(|(&v, &x)| f64::from(v) * f64::from(x));
        (terms.sum::<f64>() - wanted).abs() / norm
    });
    let off: Vec<f64> = sample.chain(products).collect();
    let wrong = off.iter().filter(|&&x| x.is_nan() || x > TOLERANCE).count();
    let worst = off.iter().copied().fold(0.0, f64::max);
    if wrong == 0 {
        return Ok(());
    }
    Err(format!(
        "{wrong} of {} numbers are off, by {worst:.1e} at most; wanted {TOLERANCE:.0e}",
        off.len()
    ))
}

/// Compares one file with its network's reference; `abreast` also among other images.
fn compare(folder: &Path, network: &Value, file: &Value, abreast: bool) -> Result<(), String> {
    let graph = load(&folder.join(file["file"].as_str().unwrap()))?;
    let seed = network["seed"].as_u64().unwrap();
    let middle = graph.find_layers(file["middle"].as_str().unwrap()).map_err(|e| e.to_string())?;
    let spec = graph.input();
    let images = |count: u64| {
        let elements = spec.channels * spec.height * spec.width;
        // The last one is the reference's.
        let all = (0..count).rev().flat_map(|i| uniform(seed + 1000 * i, elements)).collect();
        Array4::from_shape_vec((count as usize, spec.channels, spec.height, spec.width), all)
    };
    let alone = ask(&graph, &images(1).unwrap(), middle[0], seed)?;
    for (name, got) in NAMES.iter().zip(&alone.0) {
        check(got, &network[name], seed).map_err(|e| format!("{name}: {e}"))?;
    }
    if abreast {
        let among = ask(&graph, &images(5).unwrap(), middle[0], seed)?;
        for ((name, alone), among) in NAMES.iter().zip(&alone.0).zip(&among.0) {
            let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            if bits(alone) != bits(among) {
                return Err(format!("{name}: other bits among other images than alone"));
            }
        }
    }
    Ok(())
}

#[test]
fn networks_agree_with_pytorch() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/networks");
    let index = std::fs::read(folder.join("networks.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let networks = index["networks"].as_array().unwrap();
    let mut wrong = Vec::new();
    for network in networks {
        for (at, file) in network["files"].as_array().unwrap().iter().enumerate() {
            if let Err(e) = compare(&folder, network, file, at == 0) {
                wrong.push(format!("{}: {e}", file["file"]));
            }
        }
    }
    report(&wrong);
    assert!(networks.len() >= 11, "found only {}", networks.len());
}
