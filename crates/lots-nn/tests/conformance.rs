//! The node tests of the ONNX project, as networks.
//!
//! Oracle: the outputs that the tests state. `references/make_conformance.py` writes the networks and says which forms a
//! case has.

#![allow(clippy::unwrap_used, reason = "a test")]

use lots_nn::{Graph, Network};
use ndarray::{Array4, ArrayView4, Axis};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Relative and absolute: sums of tens of numbers in f32, in another order. The ONNX project's own runner allows 1e-3.
const TOLERANCE: (f32, f32) = (2e-5, 2e-7);

/// The last digit of a case that states four digits, of what goes in as of what comes out.
const FOUR_DIGITS: (&str, f32) = ("test_averagepool_2d_ceil_last_window_starts_on_pad/", 1e-4);

/// What Lots refuses by design: part of the message, and why. The table in docs/operators.md says so for users.
const LIMITS: &[(&str, &str)] = &[
    (
        "this operator is not supported",
        "Of some operators only integers that are constant are computed: sizes.",
    ),
    ("Lots reduces lists of integers only", "Sizes are lists."),
    ("(Range): input 0 (\"start\") holds floats", "Places are integers."),
    ("weights must be finite numbers", "So are those of any trained network."),
    ("block_size is not supported", "Blocks along an axis are a format of language models."),
    ("(2-D) or [N, channels, width]", "Windows slide over one or two axes of one image."),
    (
        "wanted [N, channels, ...], found",
        "A network is that of one image; the same cases pass with images of their own.",
    ),
    ("(Pow): input 0 (\"x\") holds integers", "Powers of integers are not what sizes are made of."),
    (
        "(Pow): Lots does not compute it with integers",
        "Powers of integers are not what sizes are made of.",
    ),
    ("(Gemm): input 0 (\"a\") is a constant", "MatMul multiplies by a constant from the left."),
    ("(Gemm): transA = 1", "Rows are images."),
    ("(Gemm): input 1 (\"b\") is not a constant", "MatMul multiplies activations."),
    ("(Gemm): bias", "A bias of its own for each row would be one for each image."),
    ("is \"tf_crop_and_resize\"", "Its crop is no resizing of an image."),
    ("antialias = 1", "Networks are resized inside without it."),
    ("attribute keep_aspect_ratio_policy", "Sizes say what they mean; exporters write them so."),
    ("make no whole number", "ONNX Runtime takes another number of elements than ONNX there."),
];

/// One network: a case in one of its forms.
struct Form {
    name: String,
    operator: String,
    model: Vec<u8>,
    /// The first axis is that of images, here and in `outputs`.
    images: Numbers,
    outputs: Numbers,
}

struct Numbers {
    shape: Vec<usize>,
    data: Vec<f32>,
}

/// Reads the pieces of `networks.bin.gz`.
struct Pieces<'b>(&'b [u8]);

impl<'b> Pieces<'b> {
    fn take(&mut self, n: usize) -> &'b [u8] {
        let (piece, rest) = self.0.split_at(n);
        self.0 = rest;
        piece
    }

    fn size(&mut self) -> usize {
        u32::from_le_bytes(self.take(4).try_into().unwrap()) as usize
    }

    fn bytes(&mut self) -> Vec<u8> {
        let n = self.size();
        self.take(n).to_vec()
    }

    fn text(&mut self) -> String {
        String::from_utf8(self.bytes()).unwrap()
    }

    fn numbers(&mut self) -> Numbers {
        let rank = self.size();
        let shape: Vec<usize> = (0..rank).map(|_| self.size()).collect();
        let bytes = self.take(4 * shape.iter().product::<usize>());
        let data = bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
        Numbers { shape, data }
    }
}

/// The page that says which operators Lots reads.
const TABLE: &str = "docs/operators.md";

fn page() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::fs::read_to_string(root.join(TABLE)).unwrap()
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/conformance")
}

fn forms() -> Vec<Form> {
    let packed = std::fs::read(data().join("networks.bin.gz")).unwrap();
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut bytes).unwrap();
    let mut pieces = Pieces(&bytes);
    let mut all = Vec::new();
    while !pieces.0.is_empty() {
        all.push(Form {
            name: pieces.text(),
            operator: pieces.text(),
            model: pieces.bytes(),
            images: pieces.numbers(),
            outputs: pieces.numbers(),
        });
    }
    all
}

/// What became of a network.
enum Outcome {
    Passed,
    /// Refused at load, with this message.
    Refused(String),
    /// Other numbers than the case states.
    Wrong(String),
}

fn run(form: &Form) -> Outcome {
    let network = match Graph::from_onnx(&form.model, &form.name) {
        Ok(network) => network,
        Err(e) => return Outcome::Refused(e.to_string()),
    };
    let count = form.images.shape[0];
    let input = network.input();
    let shape = (count, input.channels, input.height, input.width);
    let Ok(images) = Array4::from_shape_vec(shape, form.images.data.clone()) else {
        return Outcome::Wrong(format!("takes images {shape:?}, wanted {:?}", form.images.shape));
    };
    // Of one image; a layer has at least one axis.
    let wanted = form.outputs.shape.get(1..).filter(|s| !s.is_empty()).unwrap_or(&[1]);
    let output = network.output();
    let mut shapes = network.layers().iter().filter(|l| l.id == output).map(|l| &l.shape);
    if let Some(shape) = shapes.find(|shape| *shape != wanted) {
        return Outcome::Wrong(format!("makes shape {shape:?}, wanted {wanted:?}"));
    }
    let tolerance = match FOUR_DIGITS {
        (case, digits) if form.name.starts_with(case) => (0.0, digits),
        _ => TOLERANCE,
    };
    // As they are, and repeated until sixteen lanes are used.
    for copies in [1, 17] {
        let batch: Vec<ArrayView4<'_, f32>> = (0..copies).map(|_| images.view()).collect();
        let batch = ndarray::concatenate(Axis(0), &batch).unwrap();
        let outputs = match network.represent(batch.view(), output) {
            Ok(outputs) => outputs,
            Err(e) => return Outcome::Wrong(e.to_string()),
        };
        for copy in outputs.axis_chunks_iter(Axis(0), count) {
            let found: Vec<f32> = copy.iter().copied().collect();
            if let Some(what) = difference(&found, &form.outputs, tolerance) {
                return Outcome::Wrong(format!("{what} (images: {count} × {copies})"));
            }
        }
    }
    Outcome::Passed
}

/// How many numbers are wrong, and the first of them.
fn difference(found: &[f32], wanted: &Numbers, (relative, absolute): (f32, f32)) -> Option<String> {
    if found.len() != wanted.data.len() {
        return Some(format!("{} numbers, wanted {:?}", found.len(), wanted.shape));
    }
    let wrong: Vec<(usize, f32, f32)> = std::iter::zip(found, &wanted.data)
        .enumerate()
        .filter(|(_, (f, w))| {
            let equal = f.to_bits() == w.to_bits() || (f.is_nan() && w.is_nan());
            let close = w.is_finite() && (*f - *w).abs() <= absolute + relative * w.abs();
            !equal && !close
        })
        .map(|(i, (&f, &w))| (i, f, w))
        .collect();
    let &(at, f, w) = wrong.first()?;
    Some(format!("{} of {} numbers, first at {at}: {f}, wanted {w}", wrong.len(), found.len()))
}

#[test]
fn differences_are_found() {
    let wanted = Numbers { shape: vec![1, 4], data: vec![1.0, f32::NAN, f32::INFINITY, 0.0] };
    let same = [1.0, -f32::NAN, f32::INFINITY, -0.0];
    assert_eq!(difference(&same, &wanted, TOLERANCE), None);
    assert_eq!(difference(&same[1..], &wanted, TOLERANCE).unwrap(), "3 numbers, wanted [1, 4]");
    for (at, other) in
        [(0, 1.0001), (0, f32::NAN), (1, 0.0), (2, f32::MAX), (2, -f32::INFINITY), (3, 1e-6)]
    {
        let mut found = same;
        found[at] = other;
        let what = difference(&found, &wanted, TOLERANCE)
            .unwrap_or_else(|| panic!("{other} at {at} is taken"));
        assert!(what.starts_with(&format!("1 of 4 numbers, first at {at}: ")), "{what}");
    }
}

/// The counts of an operator.
#[derive(Default)]
struct Counts {
    cases: usize,
    applicable: usize,
    networks: usize,
    passed: usize,
    refused: usize,
}

impl Counts {
    /// The cells of docs/operators.md.
    fn row(&self, operator: &str) -> String {
        let Self { cases, applicable, networks, passed, refused } = self;
        format!("| `{operator}` | {cases} | {applicable} | {networks} | {passed} | {refused} |")
    }
}

/// The operators in the table of docs/operators.md.
fn documented(page: &str) -> Vec<&str> {
    page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect()
}

#[test]
fn node_tests_pass() {
    let mut counts: BTreeMap<String, Counts> = BTreeMap::new();
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for line in std::fs::read_to_string(data().join("cases.txt")).unwrap().lines() {
        let (operator, case) = line.split_once(' ').unwrap();
        let count = counts.entry(operator.to_owned()).or_default();
        count.cases += 1;
        match case.split_once(" none: ") {
            Some((_, reason)) => *reasons.entry(reason.to_owned()).or_default() += 1,
            None => count.applicable += 1,
        }
    }
    let mut wrong = Vec::new();
    let mut used = vec![false; LIMITS.len()];
    for form in forms() {
        let count = counts.get_mut(&form.operator).unwrap();
        count.networks += 1;
        match run(&form) {
            Outcome::Passed => count.passed += 1,
            Outcome::Wrong(what) => wrong.push(format!("{}: {what}", form.name)),
            Outcome::Refused(what) => {
                count.refused += 1;
                let limits = LIMITS.iter().zip(&mut used);
                let mut fitting = limits.filter(|((part, _), _)| what.contains(part));
                match fitting.next() {
                    Some((_, used)) => *used = true,
                    None => wrong.push(what),
                }
            }
        }
    }
    println!("| operator | cases | with a form | networks | pass | refused |");
    counts.iter().for_each(|(operator, count)| println!("{}", count.row(operator)));
    println!("\nCases without a form:");
    reasons.iter().for_each(|(reason, n)| println!("{n:5}  {reason}"));
    let unused = LIMITS.iter().zip(&used).filter(|(_, used)| !**used);
    wrong.extend(unused.map(|((part, _), _)| format!("no network is refused as \"{part}\"")));
    let page = page();
    let rows = counts.iter().map(|(operator, count)| count.row(operator));
    wrong.extend(rows.filter(|row| !page.contains(row)).map(|row| format!("{TABLE} lacks {row}")));
    assert!(wrong.is_empty(), "{} problems:\n{}", wrong.len(), wrong.join("\n"));
}

/// One field of a protobuf message: text or another message.
fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let size = u8::try_from(bytes.len()).unwrap();
    assert!(size < 128, "longer sizes take two bytes");
    [&[tag << 3 | 2, size], bytes].concat()
}

/// A network of one node of `operator`, written by the numbers of onnx.proto. It may take the image, the float "f" and the
/// integer "i".
fn network_of(operator: &str, inputs: &[&str]) -> Vec<u8> {
    // TypeProto: a tensor of float (1) with shape [1, 1, 1, 1].
    let dim = field(1, &[1 << 3, 1]);
    let tensor = [vec![1 << 3, 1], field(2, &dim.repeat(4))].concat();
    let image = [field(1, b"image"), field(2, &field(1, &tensor))].concat();
    // TensorProto: shape [1], type float (1) or int64 (7), raw data.
    let constant = |name: &str, kind: u8, data: &[u8]| {
        let head = vec![1 << 3, 1, 2 << 3, kind];
        field(5, &[head, field(8, name.as_bytes()), field(9, data)].concat())
    };
    let constants = [constant("f", 1, &[0; 4]), constant("i", 7, &[0; 8])].concat();
    let inputs: Vec<u8> = inputs.iter().flat_map(|name| field(1, name.as_bytes())).collect();
    let node = [inputs, field(2, b"y"), field(4, operator.as_bytes())].concat();
    let output = field(12, &field(1, b"y"));
    let graph = [field(1, &node), constants, field(11, &image), output].concat();
    // ModelProto: the graph, and operator set 28.
    [field(7, &graph), field(8, &[2 << 3, 28])].concat()
}

#[test]
fn the_table_has_every_operator_that_lots_reads() {
    let names = std::fs::read_to_string(data().join("onnx_operators.txt")).unwrap();
    let known = |operator: &str, inputs: &[&str]| {
        let network = Graph::from_onnx(&network_of(operator, inputs), operator);
        let unknown = [
            "this operator is not supported",
            "does not compute it with integers",
            "draws random numbers",
        ];
        // Whatever else is wrong with the node or the network, the operator was read.
        !network.is_err_and(|e| unknown.iter().any(|what| e.to_string().contains(what)))
    };
    // Some are computed from constants only, and some of these from integers only.
    let inputs: [&[&str]; 4] = [&["image"], &["f"], &["i"], &["i", "i"]];
    let read = |name: &&str| inputs.iter().any(|inputs| known(name, inputs));
    let read: Vec<&str> = names.lines().filter(read).collect();
    assert_eq!(read, documented(&page()), "what Lots reads, and the table of {TABLE}");
}
