//! Networks and images of the tests.

use std::sync::OnceLock;

use lots::attack::{Argmax, Attack, Attacked, Extent, Goal, Method, Target, attack};
use lots::{Image, NamedImage, Split, Training, open_dataset};
use lots_nn::{Cotangent, Error, Graph, InputSpec, LayerId, LayerInfo, Network, Trace, lenet};
use ndarray::{Array2, Array4, ArrayView4};

/// A stage of a [`Plain`] network: a matrix, a bias, and perhaps a ReLU.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    /// One row for each output.
    pub(crate) weights: Vec<Vec<f64>>,
    pub(crate) bias: Vec<f64>,
    pub(crate) relu: bool,
}

impl Stage {
    pub(crate) fn new(weights: Vec<Vec<f64>>, bias: Vec<f64>) -> Self {
        Self { weights, bias, relu: false }
    }

    /// Without biases.
    pub(crate) fn linear(weights: Vec<Vec<f64>>) -> Self {
        let bias = vec![0.0; weights.len()];
        Self { weights, bias, relu: false }
    }
}

/// A network of plain loops in f64, one image at a time; every stage is a layer. It shares nothing with the engine but the trait.
#[derive(Debug)]
pub(crate) struct Plain {
    input: InputSpec,
    layers: Vec<LayerInfo>,
    stages: Vec<Stage>,
}

impl Plain {
    /// `shape` is channels, height, width.
    pub(crate) fn new(shape: [usize; 3], stages: Vec<Stage>) -> Self {
        let [channels, height, width] = shape;
        let layer = |(i, stage): (usize, &Stage)| LayerInfo {
            id: LayerId::new(i),
            index: Some(i + 1),
            name: format!("stage{}", i + 1),
            operator: "Gemm".to_owned(),
            shape: vec![stage.bias.len()],
            parameters: stage.weights.len() * stage.weights[0].len(),
        };
        let layers = stages.iter().enumerate().map(layer).collect();
        let input = InputSpec { name: "image".to_owned(), channels, height, width };
        Self { input, layers, stages }
    }

    /// The layer of a stage, counted from 1.
    pub(crate) fn layer(&self, index: usize) -> LayerId {
        self.layers[index - 1].id
    }

    /// What comes out of each stage, the pixels first.
    fn forward(&self, pixels: Vec<f64>) -> Vec<Vec<f64>> {
        let mut values = vec![pixels];
        for stage in &self.stages {
            let x = &values[values.len() - 1];
            let out = stage.weights.iter().zip(&stage.bias).map(|(row, bias)| {
                let z = bias + row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
                if stage.relu { z.max(0.0) } else { z }
            });
            values.push(out.collect());
        }
        values
    }

    fn depth(&self, layer: LayerId) -> usize {
        1 + self.layers.iter().position(|info| info.id == layer).unwrap()
    }
}

struct PlainTrace<'p> {
    network: &'p Plain,
    /// image → stage → values
    values: Vec<Vec<Vec<f64>>>,
}

impl Network for Plain {
    fn input(&self) -> &InputSpec {
        &self.input
    }

    fn layers(&self) -> &[LayerInfo] {
        &self.layers
    }

    fn output(&self) -> LayerId {
        self.layers[self.layers.len() - 1].id
    }

    fn represent(&self, images: ArrayView4<'_, f32>, layer: LayerId) -> Result<Array2<f32>, Error> {
        self.trace(images, &[layer])?.representation(layer)
    }

    fn trace<'n>(
        &'n self,
        images: ArrayView4<'_, f32>,
        _: &[LayerId],
    ) -> Result<Box<dyn Trace + 'n>, Error> {
        let values = images.outer_iter();
        let values =
            values.map(|image| self.forward(image.iter().map(|&x| f64::from(x)).collect()));
        Ok(Box::new(PlainTrace { network: self, values: values.collect() }))
    }
}

impl Trace for PlainTrace<'_> {
    fn representation(&self, layer: LayerId) -> Result<Array2<f32>, Error> {
        let depth = self.network.depth(layer);
        let rows: Vec<f32> =
            self.values.iter().flat_map(|v| &v[depth]).map(|&x| x as f32).collect();
        let length = self.network.stages[depth - 1].bias.len();
        Ok(Array2::from_shape_vec((self.values.len(), length), rows).unwrap())
    }

    fn back_project(&self, rows: &[Cotangent<'_>]) -> Result<Array4<f32>, Error> {
        let InputSpec { channels, height, width, .. } = self.network.input;
        let mut all = Vec::new();
        for row in rows {
            let mut cotangent: Vec<f64> = row.values.iter().map(|&x| x.into()).collect();
            for depth in (1..=self.network.depth(row.layer)).rev() {
                let stage = &self.network.stages[depth - 1];
                let out = &self.values[row.image][depth];
                let mut below = vec![0.0; self.values[row.image][depth - 1].len()];
                for ((weights, c), &out) in stage.weights.iter().zip(&cotangent).zip(out) {
                    if !stage.relu || out > 0.0 {
                        below.iter_mut().zip(weights).for_each(|(b, w)| *b += w * c);
                    }
                }
                cotangent = below;
            }
            all.extend(cotangent.iter().map(|&x| x as f32));
        }
        Ok(Array4::from_shape_vec((rows.len(), channels, height, width), all).unwrap())
    }
}

/// Numbers that look random, the same everywhere for one seed. Source: Knuth's MMIX generator.
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Uniform in `0..n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    /// Whole numbers from `-n` to `n`.
    pub(crate) fn matrix(&mut self, rows: usize, columns: usize, n: u64) -> Vec<Vec<f64>> {
        let mut row = |_| (0..columns).map(|_| self.below(2 * n + 1) as f64 - n as f64).collect();
        (0..rows).map(&mut row).collect()
    }

    /// An image of `shape`, channels, height, width.
    pub(crate) fn image(&mut self, [channels, height, width]: [usize; 3]) -> Image {
        let pixels = (0..channels * height * width).map(|_| self.below(256) as u8).collect();
        Image::new(width, height, channels, pixels).unwrap()
    }
}

/// `image` without a label.
pub(crate) fn unlabelled(name: &str, image: Image) -> NamedImage {
    NamedImage { image, name: name.to_owned(), label: None }
}

/// The pixels as networks take them, [channels, height, width].
pub(crate) fn planes(image: &Image) -> Vec<f64> {
    let channels = image.channels();
    let size = image.width() * image.height();
    let pixel = |i: usize| f64::from(image.pixels()[i % size * channels + i / size]);
    (0..channels * size).map(pixel).collect()
}

/// The representation of one 8-bit image, computed alone.
pub(crate) fn represent(network: &dyn Network, image: &Image, layer: LayerId) -> Vec<f32> {
    let InputSpec { channels, height, width, .. } = *network.input();
    let pixels = planes(image).iter().map(|&x| x as f32).collect();
    let one = Array4::from_shape_vec((1, channels, height, width), pixels).unwrap();
    network.represent(one.view(), layer).unwrap().into_iter().collect()
}

/// Where the first of the largest numbers stands.
pub(crate) fn argmax(logits: &[f32]) -> usize {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    logits.iter().position(|&z| z >= largest).unwrap()
}

/// The class of one 8-bit image, computed alone.
pub(crate) fn class(network: &dyn Network, image: &Image) -> usize {
    argmax(&represent(network, image, network.output()))
}

/// An attack from `origin` with goal `Any` and the smallest step; the rest is for the tests to change.
pub(crate) fn smallest(origin: usize, target: Option<usize>, method: &dyn Method) -> Attack<'_> {
    let target = target.map(Target::Image);
    Attack { origin, target, method, goal: Goal::Any, extent: Extent::Smallest, units: None }
}

/// Results of attacks that all make sense.
pub(crate) fn run(
    network: &dyn Network,
    images: &[NamedImage],
    attacks: &[Attack<'_>],
) -> Vec<Attacked> {
    let decision = Argmax::of(network).unwrap();
    attack(network, &decision, images, attacks).map(Result::unwrap).collect()
}

/// LeNet after some iterations on MNIST: about 4 % of test digits are misclassified.
pub(crate) fn trained() -> &'static Graph {
    static TRAINED: OnceLock<Graph> = OnceLock::new();
    TRAINED.get_or_init(|| {
        let digits = open_dataset("mnist:train:0..20000", Split::Train).unwrap();
        let mut training = Training::start(lenet(7), &digits, 7).unwrap();
        for _ in 0..200 {
            training.step().unwrap();
        }
        Graph::from_onnx(&training.finished(), "trained").unwrap()
    })
}

/// The first test digits, with their labels.
pub(crate) fn digits(count: usize) -> Vec<NamedImage> {
    let set = open_dataset(&format!("mnist:test:0..{count}"), Split::Test).unwrap();
    let named = |i| NamedImage {
        image: set.image(i),
        name: format!("mnist:test:{i}"),
        label: set.label(i),
    };
    (0..count).map(named).collect()
}

/// A small network with convolution, ReLU and pooling on RGB images, from the references of `lots-nn`.
pub(crate) fn small_rgb() -> Graph {
    Graph::open(reference("global_pool.onnx")).unwrap()
}

fn reference(name: &str) -> String {
    format!("{}/../lots-nn/tests/data/{name}", env!("CARGO_MANIFEST_DIR"))
}
