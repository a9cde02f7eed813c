//! What VGG Face is: its layers with their shapes, and the graph around them.
//!
//! Source: O. M. Parkhi, A. Vedaldi, A. Zisserman, Deep Face Recognition, BMVC 2015, configuration D; the authors'
//! VGG_FACE_deploy.prototxt for names and order.

use std::fmt;

use crate::onnx::build::{self, halve, int, ints, node, value, weighted};
use crate::onnx::{GraphProto, LAYERS_KEY, ModelProto, float_tensor, int_tensor};
use crate::tensor::Tensor;

/// Key of the class names in the metadata of a file, one a line.
const CLASS_NAMES_KEY: &str = "lots.class_names";

/// Convolutions of each block; a block ends by halving height and width.
const CONVOLUTIONS: [usize; 5] = [2, 2, 3, 3, 3];

/// The layer that gives the logits.
const OUTPUT: &str = "fc8";

/// Mean of the training images, red, green, blue, of 0–255.
const MEAN: [f32; 3] = [129.1863, 104.7624, 93.5940];

/// How wide the network is. There is one published width; tests take narrower ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Widths {
    /// Height and width of an image, a multiple of 32.
    pub(super) image: usize,
    /// Channels in each block.
    pub(super) blocks: [usize; 5],
    /// Numbers that fc6 and fc7 give.
    pub(super) hidden: [usize; 2],
    pub(super) classes: usize,
}

/// VGG Face as it is published.
///
/// Paper: section 4, the VGG face recognition network.
pub(super) const PUBLISHED: Widths =
    Widths { image: 224, blocks: [64, 128, 256, 512, 512], hidden: [4096, 4096], classes: 2622 };

/// In which order a file's network takes the channels of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channels {
    Rgb,
    Bgr,
}

/// A layer with weights.
struct Layer {
    name: String,
    /// A convolution, or a matrix product.
    convolution: bool,
    /// Channels in, before they are flattened.
    inputs: usize,
    /// Height and width of the kernel, or of what is flattened.
    kernel: usize,
    outputs: usize,
    /// The pooling behind it.
    pool: Option<String>,
}

/// Weights or biases of a layer.
#[derive(Clone, Debug)]
pub(super) struct Parameter {
    pub(super) layer: String,
    pub(super) part: Part,
    /// As ONNX has it: [outputs, inputs, height, width], [outputs, inputs] or [outputs].
    pub(super) shape: Vec<usize>,
    /// As Keras has it: [height, width, inputs, outputs] or [outputs].
    pub(super) keras_shape: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Weight,
    Bias,
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = match self.part {
            Part::Weight => "weight",
            Part::Bias => "bias",
        };
        write!(f, "{}.{part}", self.layer)
    }
}

impl Parameter {
    pub(super) fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

impl Widths {
    /// The layers with weights from input to output: conv1_1 … conv5_3, fc6, fc7, fc8.
    fn layers(&self) -> Vec<Layer> {
        let mut layers = Vec::new();
        let mut inputs = MEAN.len();
        for (block, (&count, &outputs)) in (1..).zip(CONVOLUTIONS.iter().zip(&self.blocks)) {
            for at in 1..=count {
                let name = format!("conv{block}_{at}");
                let pool = (at == count).then(|| format!("pool{block}"));
                layers.push(Layer { name, convolution: true, inputs, kernel: 3, outputs, pool });
                inputs = outputs;
            }
        }
        let mut kernel = self.image >> CONVOLUTIONS.len();
        let [fc6, fc7] = self.hidden;
        for (name, outputs) in [("fc6", fc6), ("fc7", fc7), (OUTPUT, self.classes)] {
            let (name, pool) = (name.to_owned(), None);
            layers.push(Layer { name, convolution: false, inputs, kernel, outputs, pool });
            (inputs, kernel) = (outputs, 1);
        }
        layers
    }

    /// Weights and biases of all layers, in this order.
    pub(super) fn parameters(&self) -> Vec<Parameter> {
        let both = |Layer { name, convolution, inputs, kernel, outputs, .. }: Layer| {
            let shape = match convolution {
                true => vec![outputs, inputs, kernel, kernel],
                false => vec![outputs, inputs * kernel * kernel],
            };
            let weight = Parameter {
                layer: name.clone(),
                part: Part::Weight,
                shape,
                keras_shape: vec![kernel, kernel, inputs, outputs],
            };
            let bias = Parameter {
                layer: name,
                part: Part::Bias,
                shape: vec![outputs],
                keras_shape: vec![outputs],
            };
            [weight, bias]
        };
        self.layers().into_iter().flat_map(both).collect()
    }

    /// The network as an ONNX file, less the parameters. It takes red, green and blue of 0–255 and gives the logits `fc8`;
    /// a layer with a ReLU has its name from there, as Caffe's blobs do.
    pub(super) fn model(&self, channels: Channels, class_names: Option<&[String]>) -> ModelProto {
        let mut nodes = Vec::new();
        let mut initializer = Vec::new();
        let mut from = "image".to_owned();
        let mut mean = MEAN;
        if channels == Channels::Bgr {
            nodes.push(node("bgr", "Gather", &[&from, "bgr_order"], "bgr", vec![int("axis", 1)]));
            initializer.push(int_tensor("bgr_order", &[2, 1, 0]));
            from = "bgr".into();
            mean.reverse();
        }
        nodes.push(node("centered", "Sub", &[&from, "mean"], "centered", vec![]));
        let mean = Tensor::new(vec![mean.len(), 1, 1], mean.into());
        initializer.extend(mean.map(|mean| float_tensor("mean", &mean)));
        from = "centered".into();

        let layers = self.layers();
        for Layer { name, convolution, pool, .. } in &layers {
            let window = || vec![ints("kernel_shape", &[3, 3]), ints("pads", &[1, 1, 1, 1])];
            let (operator, attributes) = match convolution {
                true => ("Conv", window()),
                false => ("Gemm", vec![int("transB", 1)]),
            };
            if name == OUTPUT {
                nodes.push(weighted(name, operator, &from, name, name, attributes));
                break;
            }
            let linear = format!("{name}_linear");
            nodes.push(weighted(&linear, operator, &from, name, &linear, attributes));
            nodes.push(node(name, "Relu", &[&linear], name, vec![]));
            from.clone_from(name);
            if let Some(pool) = pool {
                nodes.push(halve(pool, &from, pool));
                from.clone_from(pool);
            }
            if pool.as_deref() == Some("pool5") {
                nodes.push(node("flatten", "Flatten", &[&from], "flatten", vec![]));
                from = "flatten".into();
            }
        }

        let names: Vec<&str> = layers.iter().map(|l| l.name.as_str()).collect();
        let mut metadata = vec![(LAYERS_KEY, names.join("\n"))];
        metadata.extend(class_names.map(|names| (CLASS_NAMES_KEY, names.join("\n"))));
        let graph = GraphProto {
            node: nodes,
            name: "vgg_face".into(),
            initializer,
            input: vec![value("image", &[MEAN.len(), self.image, self.image])],
            output: vec![value(OUTPUT, &[self.classes])],
            ..GraphProto::default()
        };
        build::model(graph, "Rgb8", &metadata)
    }
}
