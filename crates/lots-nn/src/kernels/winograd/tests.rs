//! How exact the filtering is, beside the plain convolution, on the shapes of real layers.
//!
//! Oracle: the plain convolution in f64. `cargo test -p lots-nn --lib winograd -- --nocapture` prints the table.

use super::{Field, Winograd};
use crate::kernels::{ConvShape, Isa, Packed, conv_valid};

/// Name, channels, rows, taps, height and width of the output: LeNet's, VGG-16's, ResNet-50's, the face descriptor's.
const LAYERS: [(&str, usize, usize, usize, usize); 9] = [
    ("LeNet conv2", 20, 50, 5, 8),
    ("VGG conv1_2", 64, 64, 3, 56),
    ("VGG conv2_2", 128, 128, 3, 56),
    ("VGG conv3_2", 256, 256, 3, 28),
    ("VGG conv4_2", 512, 512, 3, 14),
    ("ResNet-50 layer1", 64, 64, 3, 28),
    ("ResNet-50 layer3", 256, 256, 3, 14),
    ("faces 32", 32, 32, 3, 35),
    ("faces 128", 128, 128, 3, 12),
];

/// At most this many rows are compared: each is made alike.
const ROWS: usize = 8;

/// How many times the plain convolution's error may be reached.
const LIMIT: f64 = 10.0;

struct Draw(u64);

impl Draw {
    /// From −1 to 1.
    fn next(&mut self) -> f32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.next()).collect()
    }
}

/// Root mean square and maximum of the difference, relative to the same of the exact numbers.
fn errors(got: &[f32], exact: &[f64]) -> [f64; 2] {
    let pairs = || got.iter().zip(exact).map(|(g, e)| f64::from(*g) - e);
    let squares = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let largest = |x: &mut dyn Iterator<Item = f64>| x.fold(0.0, |m: f64, x| m.max(x.abs()));
    [
        squares(&mut pairs()) / squares(&mut exact.iter().copied()),
        largest(&mut pairs()) / largest(&mut exact.iter().copied()),
    ]
}

/// One layer: errors of the plain and of the fast convolution, forward and back.
fn measure(channels: usize, rows: usize, taps: usize, side: usize) -> [[f64; 2]; 4] {
    let mut draw = Draw(1);
    let (isa, wide) = (Isa::best(), side + taps - 1);
    // As behind a ReLU.
    let x: Vec<f32> = draw.floats(channels * wide * wide).iter().map(|x| x.max(0.0)).collect();
    let scale = (3.0 / (channels * taps * taps) as f32).sqrt();
    let w: Vec<f32> =
        draw.floats(rows * channels * taps * taps).iter().map(|x| x * scale).collect();
    let g = draw.floats(rows * side * side);
    let at =
        |row: usize, channel: usize, tap: usize| w[(row * channels + channel) * taps * taps + tap];
    let packed = Packed::new(false, rows, channels * taps * taps, |row, k| {
        at(row, k % channels, k / channels)
    });
    let fast = Winograd::new(isa, false, taps, &packed);

    let field = Field { input: [wide; 2], output: [side; 2], pad: [0, 0] };
    let mut exact = vec![0.0; ROWS * side * side];
    for (i, sum) in exact.iter_mut().enumerate() {
        let (row, y, x0) = (i / side / side, i / side % side, i % side);
        for channel in 0..channels {
            for tap in 0..taps * taps {
                let place = (channel * wide + y + tap / taps) * wide + x0 + tap % taps;
                *sum += f64::from(at(row, channel, tap)) * f64::from(x[place]);
            }
        }
    }
    let shape = |channels, rows, input: usize, output: usize| ConvShape {
        groups: 1,
        channels,
        rows,
        kernel: [taps; 2],
        stride: [1, 1],
        dilation: [1, 1],
        input: [input; 2],
        output: [output; 2],
    };
    let (mut plain, mut tiled) = (vec![0.0; rows * side * side], vec![0.0; rows * side * side]);
    let s = shape(channels, rows, wide, side);
    conv_valid(isa, false, &s, std::slice::from_ref(&packed), None, 1, &x, &mut plain);
    fast.forward(isa, false, &field, &packed, None, 1, &x, &mut tiled);
    let forward = [plain, tiled].map(|y| errors(&y[..exact.len()], &exact));

    // Back: the plain one is a convolution of the padded cotangent with turned weights.
    let far = side + 2 * (taps - 1);
    let mut padded = vec![0.0; rows * far * far];
    for (i, &g) in g.iter().enumerate() {
        let (row, y, x0) = (i / side / side, i / side % side, i % side);
        padded[(row * far + y + taps - 1) * far + x0 + taps - 1] = g;
    }
    let mut exact = vec![0.0; ROWS * wide * wide];
    for (i, sum) in exact.iter_mut().enumerate() {
        let (channel, y, x0) = (i / wide / wide, i / wide % wide, i % wide);
        for row in 0..rows {
            for tap in 0..taps * taps {
                let place = (row * far + y + tap / taps) * far + x0 + tap % taps;
                let turned = at(row, channel, taps * taps - 1 - tap);
                *sum += f64::from(turned) * f64::from(padded[place]);
            }
        }
    }
    let (mut plain, mut tiled) =
        (vec![0.0; channels * wide * wide], vec![0.0; channels * wide * wide]);
    let turned = Packed::new(false, channels, rows * taps * taps, |channel, k| {
        at(k % rows, channel, taps * taps - 1 - k / rows)
    });
    let s = shape(rows, channels, far, wide);
    conv_valid(isa, false, &s, &[turned], None, 1, &padded, &mut plain);
    fast.back(isa, false, &field, &packed, 1, &g, &mut tiled);
    let [plain, tiled] = [plain, tiled].map(|x| errors(&x[..exact.len()], &exact));
    [forward[0], forward[1], plain, tiled]
}

#[test]
fn errors_are_at_most_ten_times_those_of_the_plain_convolution() {
    println!("relative error against f64, root mean square and largest: plain, in tiles, ratio");
    let mut wrong = Vec::new();
    for (name, channels, rows, taps, side) in LAYERS {
        let [plain, tiled, plain_back, tiled_back] = measure(channels, rows, taps, side);
        for (way, plain, tiled) in [("forward", plain, tiled), ("back", plain_back, tiled_back)] {
            let ratios = [tiled[0] / plain[0], tiled[1] / plain[1]];
            println!(
                "{name:<17} {way:<8} {:.1e} {:.1e}   {:.1e} {:.1e}   {:>4.1} {:>4.1}",
                plain[0], plain[1], tiled[0], tiled[1], ratios[0], ratios[1]
            );
            if ratios.iter().any(|r| r.is_nan() || *r > LIMIT) {
                wrong.push(format!("{name} {way}: {ratios:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
