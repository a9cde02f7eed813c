//! PASS against OpenCV 5.0.0 and scikit-image; oracle: references/pass_reference.py, which makes the same images from the
//! same integer formulas and wrote data/pass_reference.csv.

#![allow(clippy::unwrap_used, reason = "helpers of a test")]

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use lots::{Alignment, Image, pass, ssim};

const FACES: [&str; 4] = ["biden", "obama", "obama2", "obama3"];
const AMPLITUDES: [i64; 5] = [10, 25, 40, 60, 100];

/// A pair counts as agreeing within this much.
const SCORE_TOLERANCE: f64 = 0.005;
const AGREEING_SHARE: f64 = 0.99;
const MEAN_TOLERANCE: f64 = 0.001;
/// Both compute SSIM in f64; the file keeps nine digits.
const SSIM_TOLERANCE: f64 = 1e-8;

fn data(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn mnist() -> Vec<Image> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../lots-mnist-test/data/t10k-images-idx3-ubyte.gz");
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).unwrap();
    flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    bytes[16..]
        .chunks_exact(28 * 28)
        .map(|digit| Image::new(28, 28, 1, digit.to_vec()).unwrap())
        .collect()
}

fn faces(suffix: &str) -> Vec<Image> {
    let read = |name: &&str| Image::read_png(&data(&format!("faces/{name}{suffix}.png"))).unwrap();
    FACES.iter().map(read).collect()
}

/// A 32-bit value for each index, as `noise` in the script.
fn noise(seed: u32, index: usize) -> i64 {
    let mut z = seed
        .wrapping_mul(0x9E37_79B9)
        .wrapping_add((index as u32).wrapping_mul(0x85EB_CA6B))
        .wrapping_add(0x1656_67B1);
    for (shift, factor) in [(15, 0x2C1B_3C6D), (12, 0x297A_2D39), (15, 1)] {
        z = (z ^ (z >> shift)).wrapping_mul(factor);
    }
    i64::from(z)
}

fn draw(seed: u32, index: usize, bound: i64) -> i64 {
    noise(seed, 10_000_000 + index) % (2 * bound + 1) - bound
}

/// The same image with other values: `value(x, y, channel)`.
fn remade(image: &Image, value: impl Fn(usize, usize, usize) -> i64) -> Image {
    let (width, height, channels) = (image.width(), image.height(), image.channels());
    let pixels = (0..width * height * channels)
        .map(|i| {
            let value = value(i / channels % width, i / channels / width, i % channels);
            value.clamp(0, 255) as u8
        })
        .collect();
    Image::new(width, height, channels, pixels).unwrap()
}

fn at(image: &Image, x: i64, y: i64, channel: usize) -> i64 {
    let (width, height) = (image.width(), image.height());
    match (usize::try_from(x), usize::try_from(y)) {
        (Ok(x), Ok(y)) if x < width && y < height => {
            i64::from(image.pixels()[(y * width + x) * image.channels() + channel])
        }
        _ => 0,
    }
}

fn warp(image: &Image, seed: u32, strength: i64) -> Image {
    let one = 1_i64 << 20;
    let width = image.width() as i64;
    let (linear, shift, bend) =
        (15000 * strength, strength * width * one / 60, 2800 * strength / width);
    let [a, b, c] = [one + draw(seed, 0, linear), draw(seed, 1, linear), draw(seed, 2, shift)];
    let [d, e, f] = [draw(seed, 3, linear), one + draw(seed, 4, linear), draw(seed, 5, shift)];
    let [g, h] = [draw(seed, 6, bend), draw(seed, 7, bend)];
    remade(image, |x, y, channel| {
        let (x, y) = (x as i64, y as i64);
        let below = one + g * x + h * y;
        let u = ((a * x + b * y + c) * 256).div_euclid(below);
        let v = ((d * x + e * y + f) * 256).div_euclid(below);
        let (column, row, fx, fy) = (u >> 8, v >> 8, u & 255, v & 255);
        let between = |row| {
            (256 - fx) * at(image, column, row, channel) + fx * at(image, column + 1, row, channel)
        };
        ((256 - fy) * between(row) + fy * between(row + 1) + 32768) >> 16
    })
}

fn perturb(images: &[Image], origin: usize, kind: &str, seed: u32) -> (Image, Image) {
    let image = &images[origin];
    let (width, channels) = (image.width(), image.channels());
    let amplitude = AMPLITUDES[seed as usize % 5];
    let value = |x: usize, y: usize, channel| noise(seed, (y * width + x) * channels + channel);
    let sign = |x, y, channel| if value(x, y, channel) & 1 == 1 { amplitude } else { -amplitude };
    let old = |x: usize, y: usize, channel| at(image, x as i64, y as i64, channel);
    let constant = || remade(image, |_, _, _| i64::from(seed % 256));
    let perturbed = match kind {
        "none" => image.clone(),
        "shift" => {
            let (right, down) = (i64::from(seed % 3), 1 + i64::from(seed / 3 % 2));
            remade(image, |x, y, c| at(image, x as i64 - right, y as i64 - down, c))
        }
        "small" => warp(image, seed, 1),
        "strong" => warp(image, seed, 6),
        "uniform" => {
            remade(image, |x, y, c| old(x, y, c) + value(x, y, c) % (2 * amplitude + 1) - amplitude)
        }
        "sign" => remade(image, |x, y, c| old(x, y, c) + sign(x, y, c)),
        "sparse" => remade(image, |x, y, c| {
            let value = value(x, y, c);
            let delta = if value & 256 != 0 { 2 * amplitude } else { -2 * amplitude };
            old(x, y, c) + if value % 16 == 0 { delta } else { 0 }
        }),
        "blobs" => remade(image, |x, y, c| {
            let block = noise(seed, y / 4 * width + x / 4);
            let delta = if block & 1 == 1 { amplitude } else { -amplitude };
            old(x, y, c) + if block & 2 != 0 { delta } else { 0 }
        }),
        "small_sign" => {
            let warped = warp(image, seed, 1);
            remade(image, |x, y, c| at(&warped, x as i64, y as i64, c) + sign(x, y, c))
        }
        "negative" => remade(image, |x, y, c| 255 - old(x, y, c) + sign(x, y, c).div_euclid(5)),
        "constant" => constant(),
        "from_constant" => return (constant(), image.clone()),
        "other" => images[(origin + 1 + seed as usize % (images.len() - 1)) % images.len()].clone(),
        kind => panic!("no kind of perturbation named {kind}"),
    };
    (image.clone(), perturbed)
}

fn fnv(pixels: &[u8]) -> u32 {
    pixels
        .iter()
        .fold(0x811C_9DC5, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn name(alignment: Alignment) -> &'static str {
    match alignment {
        Alignment::Aligned => "aligned",
        Alignment::IterationLimit => "iteration_limit",
        Alignment::Identity => "identity",
    }
}

#[test]
fn pass_agrees_with_opencv() {
    let sets =
        BTreeMap::from([("mnist", mnist()), ("face150", faces("")), ("face224", faces("_224"))]);
    let csv = std::fs::read_to_string(data("pass_reference.csv")).unwrap();
    let mut differences = Vec::new();
    let mut alignments: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut failures = Vec::new();
    for line in csv.lines().skip(1) {
        let fields: Vec<_> = line.split(',').collect();
        let [set, origin, kind, seed, wanted, wanted_ssim, alignment, hash] = fields[..] else {
            panic!("not a line of eight fields: {line}");
        };
        let (origin, perturbed) =
            perturb(&sets[set], origin.parse().unwrap(), kind, seed.parse().unwrap());
        assert_eq!(
            format!("{:08x}", fnv(perturbed.pixels())),
            hash,
            "other pixels than in: {line}"
        );
        let found = pass(&origin, &perturbed).unwrap();
        let unaligned = ssim(&origin, &perturbed).unwrap();
        if (unaligned - wanted_ssim.parse::<f64>().unwrap()).abs() > SSIM_TOLERANCE {
            failures.push(format!("SSIM {unaligned:.9}: {line}"));
        }
        let difference = found.score - wanted.parse::<f64>().unwrap();
        differences.push((difference, found, line));
        *alignments.entry((alignment, name(found.alignment))).or_default() += 1;
    }

    let count = differences.len();
    assert!(count >= 500, "only {count} pairs");
    let mean = differences.iter().map(|&(difference, ..)| difference).sum::<f64>() / count as f64;
    let agreeing = |limit: f64| differences.iter().filter(|(d, ..)| d.abs() <= limit).count();
    println!("{count} pairs, mean difference {mean:+.2e}");
    for limit in [1e-8, 1e-6, 1e-5, 1e-4, 1e-3, SCORE_TOLERANCE, 0.02, 0.1] {
        println!("  within {limit:e}: {}", agreeing(limit));
    }
    println!("alignment (OpenCV, ours): {alignments:?}");
    let agreed: usize = alignments.iter().filter(|((a, b), _)| a == b).map(|(_, n)| n).sum();
    for &(difference, found, line) in &differences {
        let other = !line.split(',').any(|field| field == name(found.alignment));
        if difference.abs() > SCORE_TOLERANCE || other {
            println!("  {difference:+.5} {}: {line}", name(found.alignment));
        }
    }
    assert!(
        failures.is_empty(),
        "{} SSIMs differ: {:#?}",
        failures.len(),
        &failures[..failures.len().min(5)]
    );
    assert!(agreeing(SCORE_TOLERANCE) as f64 >= AGREEING_SHARE * count as f64);
    assert!(mean.abs() <= MEAN_TOLERANCE, "mean difference {mean}");
    assert!(
        agreed as f64 >= AGREEING_SHARE * count as f64,
        "{agreed} of {count} alignments ended alike"
    );
}

/// Pairs a second on one thread; `--time` of the script does the same pairs with OpenCV.
///
/// cargo test --release -p lots --test pass_reference -- --ignored --nocapture
#[test]
#[ignore = "prints speeds, checks nothing"]
fn speed() {
    for (name, images, count) in
        [("mnist", mnist(), 400), ("face150", faces(""), 32), ("face224", faces("_224"), 16)]
    {
        let pairs: Vec<_> = (0..count)
            .map(|i| {
                let kind = ["sign", "small"][i / 4 % 2];
                perturb(&images, i % images.len(), kind, i as u32)
            })
            .collect();
        let best = (0..5).map(|_| {
            let start = std::time::Instant::now();
            for (origin, perturbed) in &pairs {
                std::hint::black_box(pass(origin, perturbed).unwrap());
            }
            start.elapsed().as_secs_f64()
        });
        let best = best.fold(f64::INFINITY, f64::min);
        println!("{name:8} {:9.1} pairs/s", count as f64 / best);
    }
}
