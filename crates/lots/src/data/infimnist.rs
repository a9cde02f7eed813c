//! Any number of digits out of MNIST's, by small deformations: InfiMNIST's way.
//!
//! Source: Loosli, Canu and Bottou, *Training Invariant Support Vector Machines using Selective Sampling*, 2007, for numbering and
//! formula. Their fields of displacements are a file of their own; these here are made from a seed as Simard, Steinkraus and Platt
//! make theirs (2003: uniform noise, smoothed by a Gaussian of 4 pixels, times 34), so images are of the same kind but not the same.

use std::fs;
use std::ops::Range;
use std::path::Path;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::dataset::Dataset;
use crate::error::{DataError, shown};
use crate::parallel::map;

/// Height and width of a digit, and its pixels.
const SIDE: usize = 28;
const PIXELS: usize = SIDE * SIDE;
/// Numbers below this are test digits.
pub(super) const TEST: usize = 10_000;
/// Training digits: they have the numbers behind the test digits, and each deformed digit comes from one of them.
const TRAIN: usize = 60_000;
/// One behind the largest number.
const END: u64 = 1 << 32;
/// Displacement fields.
const FIELDS: usize = 1522;
/// Width of the Gaussian that smooths displacements, and what its result is multiplied by, in pixels.
const FIELD_WIDTH: f64 = 4.0;
const FIELD_SCALE: f32 = 34.0;
/// Width of the Gaussian that smooths a digit before its slopes are taken, in pixels.
const DIGIT_WIDTH: f64 = 0.9;
/// Digits that one task makes.
const CHUNK: usize = 1 << 10;

/// The endless set: MNIST's digits, and deformed ones for every number behind them.
#[derive(Debug)]
pub struct InfiMnist<'d> {
    train: &'d Dataset,
    test: &'d Dataset,
    /// [`FIELDS`] × [`PIXELS`] displacements, in pixels.
    fields: Vec<f32>,
    /// [`TRAIN`] × 2 × [`PIXELS`] slopes of the training digits; `None` where they are computed.
    slopes: Option<Vec<f32>>,
}

/// The authors' files: displacements, and slopes of the training digits. Both are numbers of 4 bytes, the least significant first, one
/// behind the other.
const FIELDS_FILE: &str = "fields_float_1522x28x28.bin";
const SLOPES_FILE: &str = "tangVec_float_60000x28x28.bin";

impl<'d> InfiMnist<'d> {
    /// The set that follows from MNIST's two parts and `seed`.
    ///
    /// # Errors
    /// When the parts are not MNIST's in number and shape, or have no labels.
    pub fn new(train: &'d Dataset, test: &'d Dataset, seed: u64) -> Result<Self, DataError> {
        check(train, test)?;
        let fields = map((0..FIELDS).collect(), |number| field(seed, number)).concat();
        Ok(Self { train, test, fields, slopes: None })
    }

    /// The set that follows from MNIST's two parts and the authors' files in `folder`: displacements from
    /// `fields_float_1522x28x28.bin`, and slopes from `tangVec_float_60000x28x28.bin`, where that lies beside it; else they are
    /// computed.
    ///
    /// # Errors
    /// As [`new`](Self::new), and when a file cannot be read, is not of its size or holds numbers that are not finite.
    pub fn of_authors(
        train: &'d Dataset,
        test: &'d Dataset,
        folder: &Path,
    ) -> Result<Self, DataError> {
        check(train, test)?;
        let fields = read_floats(&folder.join(FIELDS_FILE), FIELDS * PIXELS)?;
        let slopes = folder.join(SLOPES_FILE);
        let slopes =
            slopes.exists().then(|| read_floats(&slopes, TRAIN * 2 * PIXELS)).transpose()?;
        Ok(Self { train, test, fields, slopes })
    }

    /// The slopes of training digit `at`: to the right, and downwards.
    fn slopes(&self, at: usize) -> [Vec<f32>; 2] {
        match &self.slopes {
            Some(all) => [2 * at, 2 * at + 1].map(|i| all[i * PIXELS..][..PIXELS].to_vec()),
            None => slopes(self.train.pixels(at)),
        }
    }

    /// Digit number `number`, below 2³²: 28 × 28 pixels, and its label. 0–9,999 are the test digits and 10,000–69,999 the training
    /// digits, as they are.
    ///
    /// # Panics
    /// When `number` is 2³² or more.
    pub fn digit(&self, number: usize) -> (Vec<u8>, u8) {
        assert!((number as u64) < END, "digit {number} of 2^32");
        if number < TEST {
            return (self.test.pixels(number).to_vec(), self.label(number));
        }
        let at = (number - TEST) % TRAIN;
        let pixels = self.train.pixels(at);
        if number < TEST + TRAIN {
            return (pixels.to_vec(), self.label(number));
        }
        // The first product wraps at 32 bits, as the authors' does.
        let k1 = (number as u32).wrapping_mul(131_071) as usize % (FIELDS - 1);
        let k2 = ((k1 as u64 + 1 + 2 * number as u64) % FIELDS as u64) as usize;
        let sign = if (k1 + k2).is_multiple_of(2) { 1.0 } else { -1.0 };
        let [across, down] = self.slopes(at);
        let of = |k: usize| &self.fields[k * PIXELS..][..PIXELS];
        let moves = of(k1).iter().zip(&across).zip(of(k2).iter().zip(&down));
        let deformed = pixels.iter().zip(moves).map(|(&x, ((f1, across), (f2, down)))| {
            // Clamped to 0–255, and truncated.
            (f32::from(x) + sign * (f1 * across - f2 * down)) as u8
        });
        (shifted(&deformed.collect::<Vec<u8>>(), k1 % 9), self.label(number))
    }

    fn label(&self, number: usize) -> u8 {
        let (set, at) = match number.checked_sub(TEST) {
            None => (self.test, number),
            Some(at) => (self.train, at % TRAIN),
        };
        set.label(at).unwrap_or_default() as u8
    }

    /// The digits of `range` as a data set called `name`.
    ///
    /// # Errors
    /// When the range is empty, reaches beyond 2³², or is too large for this machine's memory.
    pub fn range(&self, range: Range<usize>, name: &str) -> Result<Dataset, DataError> {
        if range.is_empty() || range.end as u64 > END {
            return Err(DataError::Position {
                set: "infimnist".to_owned(),
                kind: "images".to_owned(),
                len: usize::try_from(END).unwrap_or(usize::MAX),
                wanted: format!("{}..{}", range.start, range.end),
            });
        }
        let too_large = |_| {
            let problem = format!(
                "has {} images, {} MB, more than this machine's memory takes; ask for fewer",
                range.len(),
                range.len() * PIXELS / 1_000_000
            );
            DataError::content(name, problem)
        };
        let mut images = Vec::new();
        images.try_reserve_exact(range.len() * PIXELS).map_err(too_large)?;
        images.resize(range.len() * PIXELS, 0);
        let parts: Vec<(usize, &mut [u8])> =
            images.chunks_mut(CHUNK * PIXELS).enumerate().collect();
        map(parts, |(chunk, images)| {
            for (i, image) in images.chunks_exact_mut(PIXELS).enumerate() {
                image.copy_from_slice(&self.digit(range.start + chunk * CHUNK + i).0);
            }
        });
        let labels = range.map(|number| self.label(number)).collect();
        Dataset::new(name, [SIDE, SIDE, 1], images, Some(labels), 10)
    }
}

/// Refuses what is not MNIST.
fn check(train: &Dataset, test: &Dataset) -> Result<(), DataError> {
    for (set, wanted) in [(train, TRAIN), (test, TEST)] {
        if set.len() != wanted || set.shape() != [SIDE, SIDE, 1] || set.labels().is_none() {
            let [h, w, c] = set.shape();
            let problem = format!(
                "has {} images of {h}×{w}×{c}, wanted {wanted} labelled ones of {SIDE}×{SIDE}×1: MNIST's",
                set.len()
            );
            return Err(DataError::content(set.name(), problem));
        }
    }
    Ok(())
}

/// A file of `count` numbers.
fn read_floats(path: &Path, count: usize) -> Result<Vec<f32>, DataError> {
    let name = shown(path);
    let length = fs::metadata(path).map_err(|e| DataError::read(&name, e))?.len();
    if length != 4 * count as u64 {
        let problem = format!("has {length} bytes, wanted {}: InfiMNIST's own file", 4 * count);
        return Err(DataError::content(name, problem));
    }
    let bytes = fs::read(path).map_err(|e| DataError::read(&name, e))?;
    let numbers: Vec<f32> = bytes
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        .collect();
    match numbers.iter().position(|x| !x.is_finite()) {
        None if numbers.len() == count => Ok(numbers),
        None => Err(DataError::content(name, "changes while it is read; try again")),
        Some(at) => {
            let problem = format!("holds {} as number {at}, wanted finite ones", numbers[at]);
            Err(DataError::content(name, problem))
        }
    }
}

/// Displacements of field `number`: smooth, of about 1.4 pixels.
fn field(seed: u64, number: usize) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(number as u64);
    // With a margin, so that the smoothing sees noise everywhere.
    let taps = gaussian(FIELD_WIDTH);
    let wide = SIDE + taps.len() - 1;
    let noise: Vec<f32> =
        (0..wide * wide).map(|_| FIELD_SCALE * random.random_range(-1.0..=1.0)).collect();
    let rows = filtered(&noise, wide, &taps);
    let columns = filtered(&turned(&rows, SIDE), wide, &taps);
    turned(&columns, SIDE)
}

/// The slopes of a smoothed digit, in grey levels a pixel: to the right, and downwards.
fn slopes(digit: &[u8]) -> [Vec<f32>; 2] {
    let taps = gaussian(DIGIT_WIDTH);
    let margin = taps.len() / 2 + 1;
    let wide = SIDE + 2 * margin;
    let mut padded = vec![0.0; wide * wide];
    for (row, from) in padded.chunks_exact_mut(wide).skip(margin).zip(digit.chunks_exact(SIDE)) {
        row[margin..margin + SIDE].iter_mut().zip(from).for_each(|(to, &x)| *to = f32::from(x));
    }
    // One pixel more on each side than the digit has.
    let rows = filtered(&padded, wide, &taps);
    let smooth = turned(&filtered(&turned(&rows, SIDE + 2), wide, &taps), SIDE + 2);
    let at = |y: usize, x: usize| smooth[y * (SIDE + 2) + x];
    let half = |a: f32, b: f32| (a - b) / 2.0;
    let places = || (1..=SIDE).flat_map(|y| (1..=SIDE).map(move |x| (y, x)));
    [
        places().map(|(y, x)| half(at(y, x + 1), at(y, x - 1))).collect(),
        places().map(|(y, x)| half(at(y + 1, x), at(y - 1, x))).collect(),
    ]
}

/// A Gaussian of `width` pixels to three widths on each side; its sum is 1.
fn gaussian(width: f64) -> Vec<f32> {
    let reach = (3.0 * width).ceil() as i32;
    let raw: Vec<f64> =
        (-reach..=reach).map(|i| (-0.5 * (f64::from(i) / width).powi(2)).exp()).collect();
    let sum: f64 = raw.iter().sum();
    raw.into_iter().map(|x| (x / sum) as f32).collect()
}

/// Rows of `width` numbers, each filtered where all taps lie inside.
fn filtered(rows: &[f32], width: usize, taps: &[f32]) -> Vec<f32> {
    let row = |row: &[f32]| -> Vec<f32> {
        row.windows(taps.len()).map(|x| x.iter().zip(taps).map(|(x, t)| x * t).sum()).collect()
    };
    rows.chunks_exact(width).flat_map(row).collect()
}

/// Rows of `width` numbers as columns.
fn turned(rows: &[f32], width: usize) -> Vec<f32> {
    (0..width).flat_map(|x| rows.iter().skip(x).step_by(width).copied()).collect()
}

/// The digit a pixel away, zeros following: up, down, left, right, up left, up right, down left, down right, or not at all.
fn shifted(digit: &[u8], way: usize) -> Vec<u8> {
    const WAYS: [[isize; 2]; 9] =
        [[-1, 0], [1, 0], [0, -1], [0, 1], [-1, -1], [-1, 1], [1, -1], [1, 1], [0, 0]];
    let [down, right] = WAYS[way % WAYS.len()];
    let mut out = vec![0; PIXELS];
    for (i, to) in out.iter_mut().enumerate() {
        let from = |at: usize, by: isize| at.checked_add_signed(-by).filter(|at| *at < SIDE);
        if let (Some(y), Some(x)) = (from(i / SIDE, down), from(i % SIDE, right)) {
            *to = digit[y * SIDE + x];
        }
    }
    out
}

#[cfg(feature = "mnist")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::mnist::mnist;
    use crate::data::reference::Split;

    fn set(seed: u64) -> InfiMnist<'static> {
        InfiMnist::new(mnist(Split::Train).unwrap(), mnist(Split::Test).unwrap(), seed).unwrap()
    }

    #[test]
    fn the_first_numbers_are_mnist() {
        let (set, train) = (set(0), mnist(Split::Train).unwrap());
        let test = mnist(Split::Test).unwrap();
        for (number, from, at) in
            [(0, test, 0), (9_999, test, 9_999), (10_000, train, 0), (69_999, train, 59_999)]
        {
            let wanted = (from.pixels(at).to_vec(), from.labels().unwrap()[at]);
            assert!(set.digit(number) == wanted, "{number}");
        }
    }

    #[test]
    fn deformed_digits_keep_label_and_shape() {
        let (set, train) = (set(0), mnist(Split::Train).unwrap());
        let mut changes = Vec::new();
        for number in (70_000..4_000_000_000).step_by(39_999_901) {
            let (pixels, label) = set.digit(number);
            let origin = (number - TEST) % TRAIN;
            assert_eq!(label, train.labels().unwrap()[origin]);
            // Compared with the shift taken back: what is left is the deformation.
            let k1 = (number as u32).wrapping_mul(131_071) as usize % (FIELDS - 1);
            let back = [1, 0, 3, 2, 7, 6, 5, 4, 8][k1 % 9];
            let pixels = shifted(&pixels, back);
            let origin = train.pixels(origin);
            let product = |a: &[u8], b: &[u8]| -> f64 {
                a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
            };
            let cosine = product(&pixels, origin)
                / (product(&pixels, &pixels) * product(origin, origin)).sqrt();
            changes.push(cosine);
        }
        let mean = changes.iter().sum::<f64>() / changes.len() as f64;
        let least = changes.iter().copied().fold(1.0, f64::min);
        // Changed visibly, and still the same digit.
        assert!((0.80..0.97).contains(&mean) && least > 0.5, "mean {mean}, least {least}");
    }

    /// Oracle: a mean of 0 and the deviation of smoothed uniform noise, 34 / √3 / (2 √π 4) = 1.38 pixels; neighbours differ by a
    /// quarter of a width at most, since a Gaussian's correlation at one pixel is exp(−1/64).
    #[test]
    fn displacements_are_small_and_smooth() {
        let set = set(0);
        let n = set.fields.len() as f64;
        let mean = set.fields.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        let variance = set.fields.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / n;
        assert!(mean.abs() < 0.05, "{mean}");
        assert!((variance.sqrt() - 1.38).abs() < 0.06, "{}", variance.sqrt());
        let steps = set.fields.chunks_exact(SIDE).flat_map(|row| row.windows(2));
        let steps: Vec<f64> = steps.map(|p| f64::from(p[1] - p[0]).powi(2)).collect();
        let step = (steps.iter().sum::<f64>() / steps.len() as f64).sqrt();
        let wanted = 1.38 * (2.0 * (1.0 - (-1.0f64 / 64.0).exp())).sqrt();
        assert!((step - wanted).abs() < 0.1 * wanted, "{step}, wanted {wanted}");
    }

    /// A field of one pixel moves a ramp by its slope: slopes are central differences of the smoothed digit.
    #[test]
    fn slopes_of_a_ramp() {
        let ramp: Vec<u8> = (0..PIXELS).map(|i| (4 * (i % SIDE) + i / SIDE) as u8).collect();
        let [across, down] = slopes(&ramp);
        for (i, (a, d)) in across.iter().zip(&down).enumerate() {
            let inside = |at: usize| (5..SIDE - 5).contains(&at);
            if inside(i / SIDE) && inside(i % SIDE) {
                assert!((a - 4.0).abs() < 1e-4 && (d - 1.0).abs() < 1e-4, "{i}: {a}, {d}");
            }
        }
    }

    #[test]
    fn shifts_by_one_pixel() {
        let mut digit = vec![0; PIXELS];
        digit[10 * SIDE + 20] = 7;
        let places = [(9, 20), (11, 20), (10, 19), (10, 21), (9, 19), (9, 21), (11, 19), (11, 21)];
        for (way, (y, x)) in places.into_iter().chain([(10, 20)]).enumerate() {
            let found = shifted(&digit, way);
            assert_eq!(found.iter().position(|p| *p == 7), Some(y * SIDE + x), "{way}");
        }
    }

    #[test]
    fn ranges_are_the_digits_and_follow_from_the_seed() {
        let set_0 = set(0);
        let part = set_0.range(69_998..72_100, "part").unwrap();
        assert_eq!((part.len(), part.name()), (2_102, "part"));
        for number in [69_998, 70_000, 71_021, 71_023, 72_099] {
            let (pixels, label) = set_0.digit(number);
            let at = number - 69_998;
            assert!(part.pixels(at) == pixels && part.label(at) == Some(label.into()), "{number}");
        }
        assert!(set(1).digit(70_000) != set_0.digit(70_000), "another seed");
        for (range, wanted) in [
            (5..5, "infimnist has 4294967296 images, 0–4294967295; found 5..5"),
            (0..1 << 33, "infimnist has 4294967296 images, 0–4294967295; found 0..8589934592"),
        ] {
            assert_eq!(set_0.range(range, "x").unwrap_err().to_string(), wanted);
        }
    }

    /// Oracle: our own fields and slopes, written as the authors' files are; and constant fields, which move by the slopes.
    #[test]
    fn the_authors_files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let (train, test) = (mnist(Split::Train).unwrap(), mnist(Split::Test).unwrap());
        let of = || InfiMnist::of_authors(train, test, dir.path());
        let write = |file: &str, numbers: &mut dyn Iterator<Item = f32>| {
            let bytes: Vec<u8> = numbers.flat_map(f32::to_le_bytes).collect();
            fs::write(dir.path().join(file), bytes).unwrap();
        };
        let message = of().unwrap_err().to_string();
        assert!(message.starts_with("cannot read ") && message.contains(FIELDS_FILE), "{message}");
        let own = set(0);
        write(FIELDS_FILE, &mut own.fields.iter().copied());
        let read = of().unwrap();
        for number in [17, 10_017, 70_000, 1_234_567] {
            assert!(read.digit(number) == own.digit(number), "{number}");
        }
        // Slopes of 8 to the right and 0 downwards, displacements of one pixel: 8 grey levels more or less.
        write(FIELDS_FILE, &mut std::iter::repeat_n(1.0, FIELDS * PIXELS));
        let digits = 20;
        let slopes =
            (0..digits * 2).flat_map(|i| std::iter::repeat_n(8.0 * ((i + 1) % 2) as f32, PIXELS));
        write(SLOPES_FILE, &mut { slopes });
        // The others are zero: a hole, since the whole file is 376 MB.
        let whole = fs::File::options().append(true).open(dir.path().join(SLOPES_FILE)).unwrap();
        whole.set_len((TRAIN * 2 * PIXELS * 4) as u64).unwrap();
        let moved = of().unwrap();
        for number in 70_000..70_000 + digits {
            let k1 = (number as u32).wrapping_mul(131_071) as usize % (FIELDS - 1);
            let k2 = (k1 + 1 + 2 * number) % FIELDS;
            let by = if (k1 + k2).is_multiple_of(2) { 8 } else { -8 };
            let origin: Vec<u8> = train
                .pixels(number - 70_000)
                .iter()
                .map(|&x| (i16::from(x) + by).clamp(0, 255) as u8)
                .collect();
            assert!(moved.digit(number).0 == shifted(&origin, k1 % 9), "{number}");
        }
        write(FIELDS_FILE, &mut std::iter::repeat_n(1.0, 7));
        let message = of().unwrap_err().to_string();
        assert!(
            message.contains("has 28 bytes, wanted 4772992: InfiMNIST's own file"),
            "{message}"
        );
        write(FIELDS_FILE, &mut std::iter::repeat_n(f32::NAN, FIELDS * PIXELS));
        let message = of().unwrap_err().to_string();
        assert!(message.contains("holds NaN as number 0, wanted finite ones"), "{message}");
    }

    /// The digits decide what networks learn: a change of them belongs in the CHANGELOG.
    #[test]
    fn digits_are_the_same_everywhere() {
        let sum = |number| set(0).digit(number).0.iter().map(|&p| u64::from(p)).sum::<u64>();
        assert_eq!([70_000, 1_234_567, 4_294_967_295].map(sum), [31_538, 18_136, 28_081]);
    }
}
