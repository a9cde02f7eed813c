//! Networks that want other images than raw ones: what they take, and what comes back. Oracle: plain loops in f64.

use super::bad_nodes::right;
use super::compare::report;
use super::model::{Draw, Model};
use crate::error::Error;
use crate::graph::Graph;
use crate::network::{Cotangent, Network};
use crate::onnx::{self, StringEntry};
use crate::preprocessing::{ChannelOrder, Layout, OpenOptions, Preprocessing, ValueRange};
use ndarray::Array4;

/// Height and width.
const SIDES: [usize; 2] = [2, 3];

/// A network whose one node, "seen", is what it takes: [N, axes] times 1.
fn eye(axes: [usize; 3]) -> Model {
    Model::new(&axes.map(|n| n as i64))
        .floats("one", &[])
        .change(|m| {
            m.graph.as_mut().unwrap().initializer[0].raw_data = 1.0_f32.to_le_bytes().into()
        })
        .node("seen", "Mul", &["image", "one"], "y", vec![])
        .output("y")
}

fn open(model: &Model, options: &OpenOptions) -> Result<Graph, Error> {
    onnx::read(onnx::decode(&model.bytes(), "file.onnx")?, "file.onnx", None, options)
}

fn described(format: &str, range: &str) -> impl FnOnce(&mut onnx::ModelProto) {
    let entry = |key: &str, value: &str| StringEntry { key: key.into(), value: value.into() };
    // Keys are the same in any case.
    let entries =
        vec![entry("image.bitmapPixelFormat", format), entry("Image.NominalPixelRange", range)];
    move |m| m.metadata_props = entries
}

/// What the network is to take of raw [channels, height, width], and the slope of each number there: (value, slope, raw
/// position), in the order in which it takes them.
fn by_hand(raw: &[f32], channels: usize, wanted: &Preprocessing) -> Vec<(f64, f64, usize)> {
    let [height, width] = SIDES;
    let of = |numbers: &[f32], c: usize| {
        f64::from(if numbers.len() > 1 { numbers[c] } else { numbers[0] })
    };
    let (low, high) = (f64::from(wanted.range.low), f64::from(wanted.range.high));
    let at = |c: usize, y: usize, x: usize| {
        let from = if wanted.order == ChannelOrder::Bgr { channels - 1 - c } else { c };
        let place = (from * height + y) * width + x;
        let value = low + f64::from(raw[place]) / 255.0 * (high - low);
        let std = of(&wanted.std, c);
        ((value - of(&wanted.mean, c)) / std, (high - low) / 255.0 / std, place)
    };
    let mut all = Vec::new();
    match wanted.layout {
        Layout::Nchw => {
            for c in 0..channels {
                for y in 0..height {
                    all.extend((0..width).map(|x| at(c, y, x)));
                }
            }
        }
        Layout::Nhwc => {
            for y in 0..height {
                for x in 0..width {
                    all.extend((0..channels).map(|c| at(c, y, x)));
                }
            }
        }
    }
    all
}

/// Compares a network opened with preprocessing `wanted` with plain loops, on images enough for both of the engine's
/// layouts.
fn compare(network: &Graph, channels: usize, wanted: &Preprocessing) -> Vec<String> {
    let [height, width] = SIDES;
    let input = network.input();
    let mut wrong = Vec::new();
    if [input.channels, input.height, input.width] != [channels, height, width] {
        wrong.push(format!("takes {input:?}"));
        return wrong;
    }
    let seen = network.find_layers("seen").unwrap()[0];
    for count in [1, 18] {
        let pixels = channels * height * width;
        let raw: Vec<f32> =
            Draw::new(5).floats(count * pixels, 0.0, 255.0).iter().map(|x| x.round()).collect();
        let images = Array4::from_shape_vec((count, channels, height, width), raw.clone()).unwrap();
        let trace = network.trace(images.view(), &[seen]).unwrap();
        let found = trace.representation(seen).unwrap();
        let cotangent: Vec<f32> = (0..pixels).map(|i| 1.0 + i as f32).collect();
        let rows = [Cotangent { image: count - 1, layer: seen, values: &cotangent }];
        let back = trace.back_project(&rows).unwrap();
        for image in 0..count {
            let oracle = by_hand(&raw[image * pixels..][..pixels], channels, wanted);
            for (i, (value, slope, place)) in oracle.into_iter().enumerate() {
                // A product and a sum of f32, of numbers up to that of the largest grey level.
                let size = 255.0 * slope + value.abs();
                let found = f64::from(found[[image, i]]);
                if (found - value).abs() > 2e-7 * size {
                    wrong.push(format!("image {image} of {count}, {i}: {found} for {value}"));
                }
                let back = f64::from(back.as_slice().unwrap()[place]);
                let wanted = slope * f64::from(cotangent[i]);
                if image == count - 1 && (back - wanted).abs() > 2e-7 * wanted.abs() {
                    wrong.push(format!("slope of {count}, {place}: {back} for {wanted}"));
                }
            }
        }
    }
    wrong
}

fn range(low: f32, high: f32) -> ValueRange {
    ValueRange { low, high }
}

#[test]
fn what_goes_in_is_what_plain_loops_give() {
    let raw = Preprocessing::raw;
    let bgr = ChannelOrder::Bgr;
    let cases = [
        (3, raw()),
        (1, raw()),
        (3, Preprocessing::imagenet()),
        (1, Preprocessing::mnist()),
        (3, Preprocessing::mnist()),
        (3, Preprocessing { range: range(-1.0, 1.0), ..raw() }),
        (3, Preprocessing { mean: vec![129.1863, 104.7624, 93.594], ..raw() }),
        (3, Preprocessing { std: vec![58.4, 57.1, 57.4], ..raw() }),
        (3, Preprocessing { order: bgr, ..Preprocessing::imagenet() }),
        (3, Preprocessing { layout: Layout::Nhwc, ..Preprocessing::imagenet() }),
        (1, Preprocessing { layout: Layout::Nhwc, ..Preprocessing::mnist() }),
        (3, Preprocessing { order: bgr, layout: Layout::Nhwc, ..Preprocessing::imagenet() }),
        (3, Preprocessing { order: bgr, layout: Layout::Nhwc, ..raw() }),
    ];
    let mut wrong = Vec::new();
    for (channels, wanted) in cases {
        let [height, width] = SIDES;
        let axes = match wanted.layout {
            Layout::Nchw => [channels, height, width],
            Layout::Nhwc => [height, width, channels],
        };
        let network = open(&eye(axes), &wanted.clone().into()).unwrap();
        let name = format!("{channels} of {wanted}");
        assert_eq!(network.preprocessing(), Some(&wanted), "{name}");
        assert!(network.layers().iter().all(|l| l.index.is_none()), "{name}");
        wrong.extend(compare(&network, channels, &wanted).iter().map(|e| format!("{name}: {e}")));
        // What is written takes raw images, and says so.
        let again = Graph::from_onnx(&network.to_onnx(), "again").unwrap();
        let changed = wanted != raw();
        assert_eq!(again.preprocessing(), changed.then(raw).as_ref(), "{name}");
        wrong.extend(
            compare(&again, channels, &wanted).iter().map(|e| format!("{name}, again: {e}")),
        );
    }
    report(&wrong);
}

#[test]
fn metadata_say_what_is_wanted_unless_options_do() {
    let bgr = || eye([3, 2, 3]).change(described("BGR8", "normalized_1_1"));
    let rgb = |range| eye([3, 2, 3]).change(described("Rgb8", range));
    let grey = || eye([1, 2, 3]).change(described("Gray8", "Normalized_0_1"));
    let none = OpenOptions::default;
    let raw = Preprocessing::raw;
    let mean = |mean: &[f32]| OpenOptions { mean: Some(mean.to_vec()), ..none() };
    let cases = [
        (eye([3, 2, 3]), none(), None),
        (rgb("NominalRange_0_255"), none(), Some(raw())),
        (rgb("Normalized_0_1"), none(), Some(Preprocessing { range: range(0.0, 1.0), ..raw() })),
        (
            rgb("NominalRange_16_235"),
            none(),
            Some(Preprocessing { range: range(16.0, 235.0), ..raw() }),
        ),
        (grey(), none(), Some(Preprocessing { range: range(0.0, 1.0), ..raw() })),
        (
            grey(),
            mean(&[0.5]),
            Some(Preprocessing { range: range(0.0, 1.0), mean: vec![0.5], ..raw() }),
        ),
        (grey(), raw().into(), Some(raw())),
        (
            bgr(),
            none(),
            Some(Preprocessing { order: ChannelOrder::Bgr, range: range(-1.0, 1.0), ..raw() }),
        ),
        (bgr(), Preprocessing::imagenet().into(), Some(Preprocessing::imagenet())),
        // What is overridden need not be understood.
        (eye([3, 2, 3]).change(described("Yuv", "wide")), raw().into(), Some(raw())),
    ];
    for (model, options, wanted) in cases {
        let network = open(&model, &options).unwrap();
        let channels = network.input().channels;
        assert_eq!(network.preprocessing(), wanted.as_ref());
        let wrong = compare(&network, channels, &wanted.unwrap_or_else(raw));
        assert!(wrong.is_empty(), "{options:?}: {wrong:?}");
    }
}

#[test]
fn preprocessing_comes_on_top_of_preprocessing() {
    let twice = OpenOptions { range: Some(range(0.0, 510.0)), ..OpenOptions::default() };
    let first = open(&eye([1, 2, 3]), &twice).unwrap();
    let second = onnx::decode(&first.to_onnx(), "second")
        .and_then(|model| onnx::read(model, "second", None, &twice))
        .unwrap();
    let wanted = Preprocessing { range: range(0.0, 1020.0), ..Preprocessing::raw() };
    report(&compare(&second, 1, &wanted));
    let names: Vec<&str> = second.layers().iter().map(|l| l.name.as_str()).collect();
    assert_eq!(names, ["preprocessing+/scale", "preprocessing/scale", "seen"]);
}

/// The nodes in front carry no weights: the paper's indices stay.
#[test]
fn indices_stay() {
    let network = open(&right(), &Preprocessing::mnist().into()).unwrap();
    let layers: Vec<_> = network.layers().iter().map(|l| (l.name.as_str(), l.index)).collect();
    let front = [("preprocessing/scale", None), ("preprocessing/offset", None)];
    assert_eq!(layers, [front[0], front[1], ("c", Some(1)), ("r", None)]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let none = OpenOptions::default;
    let mean = |mean: &[f32]| OpenOptions { mean: Some(mean.to_vec()), ..none() };
    let std = |std: &[f32]| OpenOptions { std: Some(std.to_vec()), ..none() };
    let order = OpenOptions { order: Some(ChannelOrder::Bgr), ..none() };
    let layout = OpenOptions { layout: Some(Layout::Nhwc), ..none() };
    let of = |low, high| OpenOptions { range: Some(range(low, high)), ..none() };
    let colour = || eye([3, 2, 3]);
    let flat = || Model::new(&[6]).node("r", "Relu", &["image"], "y", vec![]).output("y");
    let cases = [
        (
            colour(),
            mean(&[0.5, 0.5]),
            "mean has 2 numbers, but the input has 3 channel(s); give one",
        ),
        (colour(), mean(&[]), "mean has 0 numbers"),
        (colour(), std(&[1.0; 4]), "std has 4 numbers"),
        (flat(), std(&[1.0; 6]), "std has 6 numbers, but the input has 1 channel(s)"),
        (colour(), mean(&[f32::NAN]), "mean NaN is no finite number"),
        (colour(), std(&[0.0]), "std 0 is not above 0"),
        (colour(), std(&[1.0, -1.0, 1.0]), "std -1 is not above 0"),
        (colour(), std(&[1e-40]), "would be inf; check range, mean and std"),
        (colour(), of(1.0, 0.0), "the range of values is 1 to 0; wanted two numbers"),
        (colour(), of(0.0, f32::INFINITY), "the range of values is 0 to inf"),
        (eye([1, 2, 3]), order, "BGR wants three channels, the input has 1"),
        (flat(), layout, "has 2 axes; layout NHWC wants four: leave it away"),
        (
            colour().change(described("Gray8", "Normalized_0_1")),
            none(),
            "say Image.BitmapPixelFormat Gray8, but its input has 3 channel(s); give the order",
        ),
        (
            colour().change(described("Bgra8", "x")),
            none(),
            "BitmapPixelFormat Bgra8; Lots gives Gray8",
        ),
        (
            colour().change(described("Rgb8", "x")),
            none(),
            "NominalPixelRange x; Lots knows Nominal",
        ),
    ];
    for (model, options, wanted) in cases {
        let refused = open(&model, &options).unwrap_err().to_string();
        let whole = refused.starts_with("file.onnx: ") && !refused.contains('\n');
        assert!(whole && refused.contains(wanted), "{wanted}: {refused}");
    }
}
