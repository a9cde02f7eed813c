//! The convolutions of VGG-16, and a small matrix product behind them, as the bytes of an ONNX file. Weights are pseudo-random.

/// Height and width of an image, a multiple of 32.
pub(crate) const SIDE: usize = 224;
pub(crate) const CLASSES: usize = 100;
/// Convolutions of each block, and channels that they give.
const BLOCKS: [(usize, usize); 5] = [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)];

pub(crate) fn vgg() -> Vec<u8> {
    let mut file = File::default();
    let (mut channels, mut side) = (3, SIDE);
    for (convolutions, wide) in BLOCKS {
        for _ in 0..convolutions {
            let (kernel, pads) = (ints("kernel_shape", &[3, 3]), ints("pads", &[1, 1, 1, 1]));
            file.node("Conv", Some(&[wide, channels, 3, 3]), &[kernel, pads]);
            file.node("Relu", None, &[]);
            channels = wide;
        }
        let (kernel, strides) = (ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2]));
        file.node("MaxPool", None, &[kernel, strides]);
        side /= 2;
    }
    file.node("Flatten", None, &[]);
    file.node("Gemm", Some(&[CLASSES, channels * side * side]), &[int("transB", 1)]);
    file.finish()
}

/// A chain of nodes. A value is called by the number of nodes before it.
#[derive(Default)]
struct File {
    nodes: usize,
    graph: Vec<u8>,
    random: u32,
}

impl File {
    /// Adds a node, with weights of this shape and a bias if it has any.
    fn node(&mut self, operator: &str, weights: Option<&[usize]>, attributes: &[Vec<u8>]) {
        let at = self.nodes;
        let mut inputs = vec![at.to_string()];
        if let Some(shape) = weights {
            inputs.extend([format!("{at}.weight"), format!("{at}.bias")]);
            // What goes through many layers keeps its size.
            let spread = (6.0 / shape[1..].iter().product::<usize>() as f32).sqrt();
            self.constant(&inputs[1], shape, spread);
            self.constant(&inputs[2], &shape[..1], 0.1);
        }
        self.nodes += 1;
        let mut node = inputs.iter().flat_map(|name| bytes(1, name.as_bytes())).collect::<Vec<_>>();
        node.extend(bytes(2, self.nodes.to_string().as_bytes()));
        node.extend(bytes(4, operator.as_bytes()));
        node.extend(attributes.iter().flat_map(|attribute| bytes(5, attribute)));
        self.graph.extend(bytes(1, &node));
    }

    /// Adds numbers in ± `spread`.
    fn constant(&mut self, name: &str, shape: &[usize], spread: f32) {
        let mut number = || {
            self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            spread * ((self.random >> 8) as f32 / (1u32 << 23) as f32 - 1.0)
        };
        let numbers = 0..shape.iter().product();
        let numbers: Vec<u8> = numbers.flat_map(|_: usize| number().to_le_bytes()).collect();
        let mut tensor: Vec<u8> = shape.iter().flat_map(|&axis| varint(1, axis)).collect();
        tensor.extend(varint(2, 1));
        tensor.extend(bytes(8, name.as_bytes()));
        tensor.extend(bytes(9, &numbers));
        self.graph.extend(bytes(5, &tensor));
    }

    fn finish(mut self) -> Vec<u8> {
        self.graph.extend(bytes(2, b"vgg"));
        self.graph.extend(bytes(11, &value("0", &[1, 3, SIDE, SIDE])));
        self.graph.extend(bytes(12, &value(&self.nodes.to_string(), &[1, CLASSES])));
        let operators = varint(2, 18);
        [varint(1, 8), bytes(7, &self.graph), bytes(8, &operators)].concat()
    }
}

fn value(name: &str, shape: &[usize]) -> Vec<u8> {
    let axes: Vec<u8> = shape.iter().flat_map(|&axis| bytes(1, &varint(1, axis))).collect();
    let tensor = [varint(1, 1), bytes(2, &axes)].concat();
    [bytes(1, name.as_bytes()), bytes(2, &bytes(1, &tensor))].concat()
}

/// An attribute that is one integer.
fn int(name: &str, x: usize) -> Vec<u8> {
    [bytes(1, name.as_bytes()), varint(3, x), varint(20, 2)].concat()
}

/// An attribute that is a list of integers.
fn ints(name: &str, list: &[usize]) -> Vec<u8> {
    let list = list.iter().flat_map(|&x| varint(8, x)).collect();
    [bytes(1, name.as_bytes()), list, varint(20, 7)].concat()
}

/// A field of a message that is bytes, text or another message.
fn bytes(field: usize, content: &[u8]) -> Vec<u8> {
    [&digits(field << 3 | 2), &digits(content.len()), content].concat()
}

/// A field of a message that is an integer.
fn varint(field: usize, x: usize) -> Vec<u8> {
    [digits(field << 3), digits(x)].concat()
}

/// Seven bits a byte, the lowest first.
fn digits(mut x: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while x >= 128 {
        bytes.push(x as u8 | 128);
        x >>= 7;
    }
    bytes.push(x as u8);
    bytes
}
