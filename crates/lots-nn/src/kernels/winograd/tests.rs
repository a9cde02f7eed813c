//! How exact the filtering is, beside the plain convolution, on the shapes of real layers.
//!
//! Oracle: the plain convolution in f64. `cargo test -p lots-nn --lib winograd -- --nocapture` prints the table.

use super::{Field, Winograd};
use crate::kernels::{ConvShape, Isa, LANES, Packed, conv_valid, conv_weight_gradient};

/// Name, channels, rows, taps, height and width of the output: LeNet's, VGG-16's, ResNet-50's, the face descriptor's.
const LAYERS: [(&str, usize, usize, usize, usize); 10] = [
    ("LeNet conv2", 20, 50, 5, 8),
    ("VGG conv1_2", 64, 64, 3, 56),
    ("VGG conv2_2", 128, 128, 3, 56),
    ("VGG conv3_2", 256, 256, 3, 28),
    ("VGG conv4_2", 512, 512, 3, 14),
    ("ResNet-50 layer1", 64, 64, 3, 28),
    ("ResNet-50 layer3", 256, 256, 3, 14),
    ("faces 32", 32, 32, 3, 35),
    ("faces 128", 128, 128, 3, 12),
    ("of odd sizes", 150, 230, 3, 13),
];

/// So many rows or channels are compared, evenly spread.
const ROWS: usize = 8;

/// Relative difference of a gradient by tiles from the plain one: ten times what was seen for LeNet's second convolution.
const GRADIENT: f64 = 5e-6;

/// How many times the plain convolution's error may be reached.
const LIMIT: f64 = 10.0;

/// Row `i` of [`ROWS`] out of `all`.
fn picked(i: usize, all: usize) -> usize {
    i * (all - 1) / (ROWS - 1)
}

/// The compared rows of `all`.
fn compared(x: &[f32], all: usize) -> Vec<f32> {
    let size = x.len() / all;
    (0..ROWS).flat_map(|i| x[picked(i, all) * size..][..size].to_vec()).collect()
}

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
        let (row, y, x0) = (picked(i / side / side, rows), i / side % side, i % side);
        for channel in 0..channels {
            for tap in 0..taps * taps {
                let place = (channel * wide + y + tap / taps) * wide + x0 + tap % taps;
                *sum += f64::from(at(row, channel, tap)) * f64::from(x[place]);
            }
        }
    }
    let (mut plain, mut tiled) = (vec![0.0; rows * side * side], vec![0.0; rows * side * side]);
    let s = shape(channels, rows, taps, side);
    conv_valid(isa, false, &s, std::slice::from_ref(&packed), None, 1, &x, &mut plain);
    fast.forward(isa, false, &field, &packed, None, 1, &x, &mut tiled);
    let forward = [plain, tiled].map(|y| errors(&compared(&y, rows), &exact));

    // Back: the plain one is a convolution of the padded cotangent with turned weights.
    let far = side + 2 * (taps - 1);
    let mut padded = vec![0.0; rows * far * far];
    for (i, &g) in g.iter().enumerate() {
        let (row, y, x0) = (i / side / side, i / side % side, i % side);
        padded[(row * far + y + taps - 1) * far + x0 + taps - 1] = g;
    }
    let mut exact = vec![0.0; ROWS * wide * wide];
    for (i, sum) in exact.iter_mut().enumerate() {
        let (channel, y, x0) = (picked(i / wide / wide, channels), i / wide % wide, i % wide);
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
    let s = shape(rows, channels, taps, wide);
    conv_valid(isa, false, &s, &[turned], None, 1, &padded, &mut plain);
    fast.back(isa, false, &field, &packed, 1, &g, &mut tiled);
    let [plain, tiled] = [plain, tiled].map(|x| errors(&compared(&x, channels), &exact));
    [forward[0], forward[1], plain, tiled]
}

/// A convolution without padding, of `output` × `output` outputs.
fn shape(channels: usize, rows: usize, taps: usize, output: usize) -> ConvShape {
    ConvShape {
        groups: 1,
        channels,
        rows,
        kernel: [taps; 2],
        stride: [1, 1],
        dilation: [1, 1],
        input: [output + taps - 1; 2],
        inside: [[0, output + taps - 1]; 2],
        output: [output; 2],
    }
}

/// The weights' gradient of sixteen images in one layer: errors of the plain and of the fast one.
fn measure_gradient(channels: usize, rows: usize, taps: usize, side: usize) -> [[f64; 2]; 2] {
    let mut draw = Draw(2);
    let (isa, wide, all_taps) = (Isa::best(), side + taps - 1, taps * taps);
    let fast = Winograd::new(isa, false, taps, &drawn(&mut draw, [rows, channels, taps]));
    let x =
        draw.floats(channels * wide * wide * LANES).iter().map(|x| x.max(0.0)).collect::<Vec<_>>();
    let g = draw.floats(rows * side * side * LANES);
    let mut exact = vec![0.0; ROWS * ROWS * all_taps];
    for (i, sum) in exact.iter_mut().enumerate() {
        let (row, tap) = (picked(i / all_taps / ROWS, rows), i % all_taps);
        let channel = picked(i / all_taps % ROWS, channels);
        for y in 0..side {
            let g = &g[(row * side + y) * side * LANES..][..side * LANES];
            let x = &x[((channel * wide + y + tap / taps) * wide + tap % taps) * LANES..];
            *sum += g.iter().zip(x).map(|(g, x)| f64::from(*g) * f64::from(*x)).sum::<f64>();
        }
    }
    let compared = |dw: &[f32]| -> Vec<f32> {
        let rows = compared(dw, rows);
        rows.chunks_exact(channels * all_taps).flat_map(|row| compared(row, channels)).collect()
    };
    let (mut plain, mut tiled) =
        (vec![0.0; rows * channels * all_taps], vec![0.0; rows * channels * all_taps]);
    conv_weight_gradient(isa, false, &shape(channels, rows, taps, side), &x, &g, &mut plain);
    let field = Field { input: [wide; 2], output: [side; 2], pad: [0, 0] };
    fast.weight_gradient(isa, &field, &x, &g, &mut tiled);
    [plain, tiled].map(|dw| errors(&compared(&dw), &exact))
}

#[test]
fn errors_are_at_most_ten_times_those_of_the_plain_convolution() {
    println!("relative error against f64, root mean square and largest: plain, in tiles, ratio");
    let mut wrong = Vec::new();
    for (name, channels, rows, taps, side) in LAYERS {
        let [plain, tiled, plain_back, tiled_back] = measure(channels, rows, taps, side);
        let [plain_weights, tiled_weights] = measure_gradient(channels, rows, taps, side);
        let ways = [
            ("forward", plain, tiled),
            ("back", plain_back, tiled_back),
            ("weights", plain_weights, tiled_weights),
        ];
        for (way, plain, tiled) in ways {
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

/// Packed weights [rows, taps² × channels].
fn drawn(draw: &mut Draw, [rows, channels, taps]: [usize; 3]) -> Packed {
    let w = draw.floats(rows * channels * taps * taps);
    Packed::new(false, rows, channels * taps * taps, |row, k| w[row * channels * taps * taps + k])
}

/// Weights at the points are the same whether they are stored or made anew, in every instruction set, and so are results.
#[test]
fn weights_made_anew_are_the_stored_ones() {
    let mut draw = Draw(3);
    for shape @ [rows, channels, taps] in [[37, 20, 3], [230, 150, 3], [50, 70, 5], [16, 130, 5]] {
        let w = drawn(&mut draw, shape);
        // Two vectors of tiles of a single image, and nine.
        for side in [18, 45] {
            let field = Field { input: [side; 2], output: [side - taps + 3; 2], pad: [1, 1] };
            for (isa, lanes) in Isa::available().into_iter().flat_map(|i| [(i, 1), (i, LANES)]) {
                let anew = Winograd::not_stored(taps, &w);
                let mut stored = anew.clone();
                stored.stored = Some(stored.at_points(isa, true, &w));
                let x = draw.floats(channels * side * side * lanes);
                let g = draw.floats(rows * field.output[0] * field.output[1] * lanes);
                let answers = [anew, stored].map(|way| {
                    let (mut y, mut dx) = (vec![0.0; g.len()], vec![0.0; x.len()]);
                    way.forward(isa, true, &field, &w, None, lanes, &x, &mut y);
                    way.back(isa, true, &field, &w, lanes, &g, &mut dx);
                    [y, dx].map(|x| x.into_iter().map(f32::to_bits).collect::<Vec<_>>())
                });
                assert!(answers[0] == answers[1], "{isa:?}, {lanes} lanes, {shape:?}, {side}");
            }
        }
    }
}

/// Instruction sets with fused multiply-adds take weights to the same points.
#[test]
fn instruction_sets_agree_on_weights() {
    let mut draw = Draw(4);
    for shape in [[37, 20, 3], [50, 70, 5]] {
        let w = drawn(&mut draw, shape);
        let points: Vec<Vec<f32>> = Isa::available()
            .into_iter()
            .map(|isa| Winograd::new(isa, false, shape[2], &w).stored.unwrap())
            .collect();
        for (isa, other) in Isa::available().into_iter().zip(&points) {
            for (&x, &y) in points[0].iter().zip(other) {
                let near = (x - y).abs() <= 1e-5;
                assert!(if isa == Isa::Portable { near } else { x.to_bits() == y.to_bits() });
            }
        }
    }
}

/// A cotangent at one output comes back to the window that it saw; around it, in the tile, there may be rounding.
#[test]
fn what_an_output_does_not_see_gets_rounding_at_most() {
    let mut draw = Draw(5);
    for taps in [3, 5] {
        let (rows, channels, side) = (16, 16, 20);
        let w = drawn(&mut draw, [rows, channels, taps]);
        let out = side - taps + 1;
        let field = Field { input: [side; 2], output: [out; 2], pad: [0, 0] };
        let (isa, way) = (Isa::best(), Winograd::new(Isa::best(), false, taps, &w));
        let mut g = vec![0.0; rows * out * out];
        g[5 * out + 6] = 1.0;
        let mut dx = vec![0.0; channels * side * side];
        way.back(isa, false, &field, &w, 1, &g, &mut dx);
        for (at, x) in dx.iter().enumerate() {
            let (y, column) = (at / side % side, at % side);
            let seen = (5..5 + taps).contains(&y) && (6..6 + taps).contains(&column);
            let tile = (4..4 + taps + 3).contains(&y) && (4..4 + taps + 3).contains(&column);
            assert!(
                seen || x.abs() <= 5e-6 && (tile || x.abs() == 0.0),
                "{taps}: {x} at {y}, {column}"
            );
        }
    }
}

/// Oracle: the plain gradient, on sizes that leave tiles, panels and blocks of tiles unfilled, with padding, in every
/// instruction set; and what was there stays and is added to.
#[test]
fn weight_gradients_by_tiles_are_the_plain_ones() {
    let mut draw = Draw(6);
    for (rows, channels, taps, output, pad) in [
        (50, 20, 5, [8, 8], 0),
        (17, 16, 3, [9, 5], 1),
        (16, 33, 5, [1, 2], 2),
        (70, 40, 3, [19, 30], 1),
        (16, 16, 5, [9, 9], 5),
    ] {
        let input = output.map(|n| n + taps - 1 - 2 * pad);
        let field = Field { input, output, pad: [pad; 2] };
        let w = drawn(&mut draw, [rows, channels, taps]);
        let x = draw.floats(channels * input[0] * input[1] * LANES);
        let g = draw.floats(rows * output[0] * output[1] * LANES);
        let before = draw.floats(rows * channels * taps * taps);
        let padded = output.map(|n| n + taps - 1);
        let mut wide = vec![0.0; channels * padded[0] * padded[1] * LANES];
        for (i, row) in x.chunks_exact(input[1] * LANES).enumerate() {
            let (channel, y) = (i / input[0], i % input[0]);
            let to = ((channel * padded[0] + y + pad) * padded[1] + pad) * LANES;
            wide[to..to + row.len()].copy_from_slice(row);
        }
        for isa in Isa::available() {
            let s = ConvShape {
                input: padded,
                inside: padded.map(|n| [0, n]),
                output,
                ..shape(channels, rows, taps, 1)
            };
            let (mut plain, mut tiled) = (before.clone(), before.clone());
            conv_weight_gradient(isa, false, &s, &wide, &g, &mut plain);
            let fast = Winograd::new(isa, false, taps, &w);
            fast.weight_gradient(isa, &field, &x, &g, &mut tiled);
            let exact: Vec<f64> = plain.iter().map(|&x| f64::from(x)).collect();
            // Not a number is no small error.
            let errors = errors(&tiled, &exact);
            assert!(
                errors.iter().all(|e| *e < GRADIENT) && !tiled.iter().any(|x| x.is_nan()),
                "{isa:?}, {rows} rows, {channels} channels: {errors:?}"
            );
        }
    }
}

/// Oracle: one thread. Strips begin within rows of tiles and at their starts, and with a last column of tiles that is cut short.
#[cfg(feature = "parallel")]
#[test]
fn strips_of_tiles_make_the_same_numbers() {
    use super::{Call, Transform, Way};
    let mut draw = Draw(7);
    let isa = Isa::best();
    let mut taken = 0;
    for (rows, channels, taps, input, pad, output) in [
        (32, 32, 3, [35, 35], [1, 1], [35, 35]),
        (37, 20, 3, [17, 18], [1, 1], [17, 18]),
        (48, 33, 5, [26, 19], [2, 2], [26, 19]),
        (64, 50, 5, [44, 13], [0, 0], [40, 9]),
        (16, 60, 3, [7, 39], [2, 2], [9, 41]),
        (16, 16, 3, [30, 13], [0, 0], [33, 13]),
        (20, 30, 5, [33, 12], [2, 3], [33, 13]),
    ] {
        let field = Field { input, output, pad };
        let w = drawn(&mut draw, [rows, channels, taps]);
        let fast = Winograd::new(isa, false, taps, &w);
        let x = draw.floats(channels * input[0] * input[1] * LANES);
        let g = draw.floats(rows * output[0] * output[1] * LANES);
        let bias = draw.floats(rows);
        let mut run = |threads: usize| {
            let (mut y, mut dx) = (vec![f32::NAN; g.len()], vec![f32::NAN; x.len()]);
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let parallel = threads > 1;
                let from = (rows, field.tiles(LANES), Transform::OutputBack);
                let to = (channels, field.windows(fast.points(), LANES), Transform::InputBack);
                let way = Way { back: true, from, to, bias: None };
                let y_shared = crate::shared::Shared::new(&mut dx);
                let call = Call { isa, parallel, way: &way, w: &w, x: &g, y: y_shared };
                taken += usize::from(fast.strips(&call).is_some());
                fast.forward(isa, parallel, &field, &w, Some(&bias), LANES, &x, &mut y);
                fast.back(isa, parallel, &field, &w, LANES, &g, &mut dx);
            });
            [y, dx].map(|x| x.into_iter().map(f32::to_bits).collect::<Vec<_>>())
        };
        let wanted = run(1);
        for threads in [2, 3, 4] {
            assert!(run(threads) == wanted, "{rows} rows, {taps} taps, {threads} threads");
        }
    }
    assert!(taken >= 12, "{taken} shapes went by strips");
}
