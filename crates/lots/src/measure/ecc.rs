//! Alignment by the enhanced correlation coefficient (ECC).
//!
//! Source: Evangelidis & Psarakis, "Parametric Image Alignment Using Enhanced Correlation Coefficient Maximization",
//! PAMI 2008, the forward additive iteration for a homography; details that the article leaves open (smoothing, borders,
//! which pixels count, rounding to f32, what counts as failure) as OpenCV 5.0.0 behaves.

use super::lanes::{BLOCK, LANES, Lanes, PlaneSums, lanes, lanes_mut};
use super::warp::{Homography, Ringed, RowOfPlaces, SampledRow};

const ITERATIONS: usize = 50;
/// The search ends when the correlation changes by less.
const EPSILON: f64 = 1e-3;
const PARAMETERS: usize = 8;
/// A pivot below makes the Hessian singular.
const SMALLEST_PIVOT: f32 = 10.0 * f32::EPSILON;

/// Grey values 0–255, row by row.
pub(super) struct GreyImage {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) values: Vec<f32>,
}

/// Where the search ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Found {
    /// Takes a pixel of the template to its place in the input.
    pub(super) homography: Homography,
    /// Whether the correlation settled before the iterations ran out.
    pub(super) settled: bool,
}

/// Why there is no alignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EccError {
    /// The correlation is not a number: one of the images is constant where they overlap, or nothing overlaps.
    Undefined,
    /// The next step would lower the correlation.
    Decreasing,
}

/// The homography that lays `input` onto `template`, searched from the identity. Both have the same size.
pub(super) fn align(template: &GreyImage, input: &GreyImage) -> Result<Found, EccError> {
    let mut scene = Scene::new(template, input);
    let mut homography = Homography::IDENTITY;
    let mut before = -EPSILON;
    let mut correlation = -1.0;
    for _ in 0..ITERATIONS {
        if settled(before, correlation) {
            break;
        }
        before = correlation;
        scene.look(&homography);
        correlation = step(&scene.sums(), &mut homography)?;
    }
    Ok(Found { homography, settled: settled(before, correlation) })
}

fn settled(before: f64, after: f64) -> bool {
    let change = (after - before).abs();
    change < EPSILON || change.is_nan()
}

/// Moves the homography by one step and returns the correlation from which the step started.
fn step(sums: &Sums, homography: &mut Homography) -> Result<f64, EccError> {
    let &Sums { correlation, input_norm, template_norm, .. } = sums;
    let coefficient = correlation / (input_norm * template_norm);
    if coefficient.is_nan() {
        return Err(EccError::Undefined);
    }
    // A singular Hessian stops the search where it stands: its inverse is taken as 0.
    let inverse = invert(hessian(&sums.pairs)).unwrap_or([[0.0; PARAMETERS]; PARAMETERS]);
    let (input, template) = (projection(&sums.factor_input), projection(&sums.factor_template));
    let (input_f32, template_f32) = (input.map(|v| v as f32), template.map(|v| v as f32));
    let weighted = product(&inverse, &input_f32);
    let above = input_norm * input_norm - dot(&input_f32, &weighted);
    let below = correlation - dot(&template_f32, &weighted);
    if below <= 0.0 {
        return Err(EccError::Decreasing);
    }
    let lambda = above / below;
    let error = std::array::from_fn(|k| (lambda * template[k] - input[k]) as f32);
    let update = product(&inverse, &error);
    for (k, delta) in update.into_iter().enumerate() {
        homography.0[k % 3][k / 3] += delta;
    }
    Ok(coefficient)
}

fn dot(a: &[f32; PARAMETERS], b: &[f32; PARAMETERS]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

fn product(matrix: &Square, vector: &[f32; PARAMETERS]) -> [f32; PARAMETERS] {
    std::array::from_fn(|row| dot(&matrix[row], vector) as f32)
}

type Square = [[f32; PARAMETERS]; PARAMETERS];

/// The inverse in f32 by elimination with partial pivoting; `None` when a pivot vanishes.
///
/// f32 on purpose: the Hessian is ill-conditioned, and which directions count as singular depends on the precision.
fn invert(mut matrix: Square) -> Option<Square> {
    let mut inverse: Square =
        std::array::from_fn(|i| std::array::from_fn(|j| if i == j { 1.0 } else { 0.0 }));
    for i in 0..PARAMETERS {
        let mut pivot = i;
        for row in i + 1..PARAMETERS {
            if matrix[row][i].abs() > matrix[pivot][i].abs() {
                pivot = row;
            }
        }
        if matrix[pivot][i].abs() < SMALLEST_PIVOT {
            return None;
        }
        matrix.swap(i, pivot);
        inverse.swap(i, pivot);
        let scale = -1.0 / matrix[i][i];
        let (pivot_row, pivot_inverse) = (matrix[i], inverse[i]);
        for row in i + 1..PARAMETERS {
            let factor = matrix[row][i] * scale;
            for k in i + 1..PARAMETERS {
                matrix[row][k] += factor * pivot_row[k];
            }
            for k in 0..PARAMETERS {
                inverse[row][k] += factor * pivot_inverse[k];
            }
        }
    }
    for i in (0..PARAMETERS).rev() {
        let mut row = inverse[i];
        for k in i + 1..PARAMETERS {
            let solved = inverse[k];
            for (value, solved) in row.iter_mut().zip(solved) {
                *value -= matrix[i][k] * solved;
            }
        }
        inverse[i] = row.map(|value| value / matrix[i][i]);
    }
    Some(inverse)
}

/// Both images made ready, and what the template's pixels see of the input. All rows are padded to full lanes.
struct Scene {
    width: usize,
    height: usize,
    padded: usize,
    /// Smoothed template.
    template: Vec<f32>,
    /// Smoothed input and its derivatives along x and y.
    input: Ringed,
    /// 1 where the nearest pixel lies in the input, else 0.
    inside: Vec<f32>,
    /// Warped input.
    warped: Vec<f32>,
    /// The three factors of the Jacobian, whose columns are (p·x, q·x, r·x, p·y, q·y, r·y, p, q): derivatives over the
    /// denominator, p along x and q along y, and r = −(p·x′ + q·y′), (x′, y′) being the place in the input.
    factors: [Vec<f32>; 3],
    row: Row,
    block: Block,
}

/// Buffers of one row.
struct Row {
    x: Vec<f32>,
    y: Vec<f32>,
    denominator: Vec<f32>,
    samples: SampledRow,
}

/// Buffers of a block of rows.
struct Block {
    /// Less its mean inside, 0 outside.
    template: Vec<f32>,
    /// Less its mean inside, as it is outside, where it fades out within a pixel.
    input: Vec<f32>,
}

impl Scene {
    fn new(template: &GreyImage, input: &GreyImage) -> Self {
        let (width, height) = (template.width, template.height);
        let padded = width.next_multiple_of(LANES);
        let image = || vec![0.0; padded * height];
        let mut rows = image();
        let smooth = smoothed(template);
        for (to, from) in rows.chunks_exact_mut(padded).zip(smooth.chunks_exact(width)) {
            to[..width].copy_from_slice(from);
        }
        let smooth = smoothed(input);
        let ringed = Ringed::new(width, height, |y, to| {
            let row = |by| &smooth[mirror(y, by, height) * width..][..width];
            let [above, here, below] = [row(-1), row(0), row(1)];
            for (x, to) in to.iter_mut().enumerate() {
                // At the borders the mirrored neighbours are equal: no slope.
                let slope_x =
                    if x == 0 || x + 1 == width { 0.0 } else { here[x + 1] - here[x - 1] };
                *to = [here[x], slope_x * 0.5, (below[x] - above[x]) * 0.5, 0.0];
            }
        });
        let buffer = || vec![0.0; padded];
        Self {
            width,
            height,
            padded,
            template: rows,
            input: ringed,
            inside: image(),
            warped: image(),
            factors: [image(), image(), image()],
            row: Row {
                x: buffer(),
                y: buffer(),
                denominator: vec![1.0; padded],
                samples: SampledRow::new(width),
            },
            block: Block { template: vec![0.0; padded * BLOCK], input: vec![0.0; padded * BLOCK] },
        }
    }

    /// Looks at the input through a homography.
    fn look(&mut self, homography: &Homography) {
        let width = self.width;
        let (last_x, last_y) = (behind_last(width), behind_last(self.height));
        for y in 0..self.height {
            let row = &mut self.row;
            let [to_x, to_y, denominator] =
                [&mut row.x, &mut row.y, &mut row.denominator].map(|buffer| &mut buffer[..width]);
            homography.map_row(y, RowOfPlaces { x: to_x, y: to_y, denominator });
            let start = y * self.padded;
            let inside = &mut self.inside[start..][..width];
            let warped = &mut self.warped[start..][..width];
            let [p, q, _] = self.factors.each_mut().map(|factor| &mut factor[start..][..width]);
            for i in 0..width {
                let (x, y) = (to_x[i], to_y[i]);
                let within = (x >= -0.5) & (x < last_x) & (y >= -0.5) & (y < last_y);
                inside[i] = if within { 1.0 } else { 0.0 };
            }
            self.input.sample_row(to_x, to_y, &mut row.samples);
            for (to, sample) in warped.iter_mut().zip(row.samples.values()) {
                *to = sample[0];
            }
            let slopes = p.iter_mut().zip(q).zip(row.samples.values());
            for ((to_p, to_q), &[_, slope_x, slope_y, _]) in slopes {
                *to_p = slope_x;
                *to_q = slope_y;
            }
            self.divide_slopes(y);
        }
    }

    /// Makes the factors of the Jacobian from the slopes in `factors[0]` and `factors[1]`.
    fn divide_slopes(&mut self, y: usize) {
        let row = y * self.padded..(y + 1) * self.padded;
        let [p, q, r] = self.factors.each_mut().map(|factor| lanes_mut(&mut factor[row.clone()]));
        let places = lanes(&self.row.x).iter().zip(lanes(&self.row.y));
        let places = places.zip(lanes(&self.row.denominator));
        for (((p, q), r), ((&x, &y), &denominator)) in p.iter_mut().zip(q).zip(r).zip(places) {
            let denominator = Lanes(denominator);
            let (over_p, over_q) = (Lanes(*p).over(denominator), Lanes(*q).over(denominator));
            *p = over_p.0;
            *q = over_q.0;
            *r = Lanes([0.0; LANES]).minus(over_p.times(Lanes(x)).plus(over_q.times(Lanes(y)))).0;
        }
    }

    /// What a step needs of the last look.
    fn sums(&mut self) -> Sums {
        let template = Spread::of(&self.template, &self.inside);
        let input = Spread::of(&self.warped, &self.inside);
        let template_mean = Lanes([template.mean as f32; LANES]);
        let input_mean = Lanes([input.mean as f32; LANES]);
        let mut pairs = [PlaneSums::default(); 6];
        let [mut factor_input, mut factor_template] = [[PlaneSums::default(); 3]; 2];
        let mut correlation = PlaneSums::default();
        for first in (0..self.height).step_by(BLOCK) {
            let rows = self.padded * first..self.padded * (first + BLOCK).min(self.height);
            let inside = &self.inside[rows.clone()];
            let (template, warped) = (&self.template[rows.clone()], &self.warped[rows.clone()]);
            let block = &mut self.block;
            let from = lanes(template).iter().zip(lanes(warped)).zip(lanes(inside));
            let to = lanes_mut(&mut block.template).iter_mut().zip(lanes_mut(&mut block.input));
            for ((to_template, to_input), ((&template, &warped), &inside)) in to.zip(from) {
                let inside = Lanes(inside);
                *to_template = Lanes(template).minus(template_mean).times(inside).0;
                *to_input = Lanes(warped).minus(input_mean.times(inside)).0;
            }
            let template = &block.template[..rows.len()];
            let input = &block.input[..rows.len()];
            let factors = self.factors.each_ref().map(|factor| &factor[rows.clone()]);
            for i in 0..3 {
                for j in i..3 {
                    pairs[PAIR[i][j]].add(factors[i], factors[j], self.padded, first);
                }
                factor_input[i].add(factors[i], input, self.padded, first);
                factor_template[i].add(factors[i], template, self.padded, first);
            }
            correlation.add(template, input, self.padded, first);
        }
        Sums {
            correlation: correlation.total()[0],
            input_norm: input.norm,
            template_norm: template.norm,
            pairs: pairs.map(|sums| sums.total()),
            factor_input: factor_input.map(|sums| sums.total()),
            factor_template: factor_template.map(|sums| sums.total()),
        }
    }
}

/// Mean and norm less the mean, over the pixels inside.
struct Spread {
    mean: f64,
    norm: f64,
}

impl Spread {
    fn of(values: &[f32], inside: &[f32]) -> Self {
        let mut sums = [[0.0_f64; LANES]; 3];
        for (values, inside) in lanes(values).iter().zip(lanes(inside)) {
            for i in 0..LANES {
                let (value, inside) = (f64::from(values[i]), f64::from(inside[i]));
                sums[0][i] += inside;
                sums[1][i] += inside * value;
                sums[2][i] += inside * value * value;
            }
        }
        let [count, sum, squares] = sums.map(|lanes| lanes.iter().sum::<f64>());
        let mean = sum / count;
        let variance = (squares / count - mean * mean).max(0.0);
        Self { mean, norm: (count * variance).sqrt() }
    }
}

/// Everything that a step needs, summed over the template. Both images are less their means.
struct Sums {
    correlation: f64,
    input_norm: f64,
    template_norm: f64,
    /// Products of two factors (pp, pq, pr, qq, qr, rr), each times 1, x, x², y, xy and y².
    pairs: [[f64; 6]; 6],
    /// Each factor times the input, times 1, x, x², y, xy and y².
    factor_input: [[f64; 6]; 3],
    /// Each factor times the template, likewise.
    factor_template: [[f64; 6]; 3],
}

/// Where a pair of factors stands in [`Sums::pairs`].
const PAIR: [[usize; 3]; 3] = [[0, 1, 2], [1, 3, 4], [2, 4, 5]];

/// Jᵀ·J, from [`Sums::pairs`].
fn hessian(pairs: &[[f64; 6]; 6]) -> Square {
    /// Position of 1, x, x², y, xy, y² for two of x (0), y (1) and 1 (2).
    const MONOMIAL: [[usize; 3]; 3] = [[2, 4, 1], [4, 5, 3], [1, 3, 0]];
    std::array::from_fn(|k| {
        std::array::from_fn(|l| pairs[PAIR[k % 3][l % 3]][MONOMIAL[k / 3][l / 3]] as f32)
    })
}

/// Jᵀ times an image, from the sums of the factors times it.
fn projection(sums: &[[f64; 6]; 3]) -> [f64; PARAMETERS] {
    /// Position of x, y and 1.
    const POWER: [usize; 3] = [1, 3, 0];
    std::array::from_fn(|k| sums[k % 3][POWER[k / 3]])
}

/// The upper bound of places whose nearest pixel, ties to even, is one of `0..length`.
fn behind_last(length: usize) -> f32 {
    let half = length as f32 - 0.5;
    if length.is_multiple_of(2) { half } else { half.next_up() }
}

/// Binomial smoothing, 1 4 6 4 1 over 16 along both axes, borders mirrored without repeating the edge.
///
/// These are the weights of OpenCV's Gaussian of 5 pixels; on 8-bit values the result is exact in f32.
fn smoothed(image: &GreyImage) -> Vec<f32> {
    let (width, height) = (image.width, image.height);
    let mut along_x = vec![0.0; width * height];
    let mut line = vec![0.0; width + 4];
    for (to, from) in along_x.chunks_exact_mut(width).zip(image.values.chunks_exact(width)) {
        line[2..width + 2].copy_from_slice(from);
        for (at, by) in [(0, -2), (1, -1)] {
            line[at] = from[mirror(0, by, width)];
            line[width + 3 - at] = from[mirror(width - 1, -by, width)];
        }
        weigh(std::array::from_fn(|tap| &line[tap..]), to);
    }
    let mut both = vec![0.0; width * height];
    for (y, to) in both.chunks_exact_mut(width).enumerate() {
        let row = |tap| &along_x[mirror(y, tap as isize - 2, height) * width..];
        weigh(std::array::from_fn(row), to);
    }
    both
}

/// The weighted sum of five rows.
fn weigh(rows: [&[f32]; 5], out: &mut [f32]) {
    let [a, b, c, d, e] = rows.map(|row| &row[..out.len()]);
    for (x, out) in out.iter_mut().enumerate() {
        *out = 0.375 * c[x] + 0.25 * (b[x] + d[x]) + 0.0625 * (a[x] + e[x]);
    }
}

/// The place inside `0..length` that stands for `at + by` when the line is mirrored without repeating its edge.
fn mirror(at: usize, by: isize, length: usize) -> usize {
    let place = at as isize + by;
    if (0..length as isize).contains(&place) {
        return place as usize;
    }
    let period = 2 * (length as isize - 1);
    if period == 0 {
        return 0;
    }
    let folded = place.rem_euclid(period);
    folded.min(period - folded) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(width: usize, height: usize, value: impl Fn(f32, f32) -> f32) -> GreyImage {
        let values =
            (0..width * height).map(|i| value((i % width) as f32, (i / width) as f32)).collect();
        GreyImage { width, height, values }
    }

    /// Waves in several directions, so that there is a slope everywhere.
    fn landscape(x: f32, y: f32) -> f32 {
        120.0 + 40.0 * (x / 3.0).sin() + 40.0 * (y / 3.5).sin() + 30.0 * ((x + 2.0 * y) / 7.0).cos()
    }

    /// Oracle: where cv2.findTransformECC 5.0.0 sends four points on the same two f32 images; it is itself up to .17 pixels
    /// from the true homography here.
    #[test]
    fn finds_what_opencv_finds() {
        let truth = [[1.02, 0.01, -0.8], [-0.02, 0.99, 0.6], [2e-4, -1e-4, 1.0]];
        let map = |m: [[f32; 3]; 3], x: f32, y: f32| {
            let d = m[2][0] * x + m[2][1] * y + m[2][2];
            [0, 1].map(|row: usize| (m[row][0] * x + m[row][1] * y + m[row][2]) / d)
        };
        let template = grey(40, 36, |x, y| {
            let [x, y] = map(truth, x, y);
            landscape(x, y)
        });
        let found = align(&template, &grey(40, 36, landscape)).unwrap();
        assert!(found.settled);
        for (x, y, wanted) in [
            (5.0, 5.0, [4.295_307, 5.425_569]),
            (35.0, 5.0, [34.759_61, 4.810_106]),
            (5.0, 30.0, [4.521_523, 30.405_63]),
            (35.0, 30.0, [35.005_92, 29.439_71]),
        ] {
            let place = map(found.homography.0, x, y);
            let distance = (place[0] - wanted[0]).hypot(place[1] - wanted[1]);
            assert!(distance < 1e-3, "({x}, {y}) goes to {place:?}, wanted {wanted:?}");
        }
    }

    /// Oracle: cv2.findTransformECC 5.0.0 raises "NaN encountered" for constant images and "The algorithm stopped before
    /// its convergence" for a negative; stripes make the Hessian singular, and it returns the identity.
    #[test]
    fn fails_where_opencv_raises() {
        let flat = grey(9, 7, |_, _| 90.0);
        let scene = grey(40, 36, landscape);
        let flat_scene = grey(40, 36, |_, _| 3.0);
        let negative = grey(40, 36, |x, y| 255.0 - landscape(x, y));
        assert_eq!(align(&flat, &flat), Err(EccError::Undefined));
        assert_eq!(align(&scene, &flat_scene), Err(EccError::Undefined));
        assert_eq!(align(&flat_scene, &scene), Err(EccError::Undefined));
        assert_eq!(align(&scene, &negative), Err(EccError::Decreasing));
        let stripes = |shift: f32| grey(9, 7, |x, _| 100.0 + 20.0 * (x + shift).sin());
        let still = Found { homography: Homography::IDENTITY, settled: true };
        assert_eq!(align(&stripes(0.0), &stripes(0.5)), Ok(still));
    }

    #[test]
    fn smoothing_and_mirrors() {
        let spike = grey(5, 1, |x, _| if x.to_bits() == 0 { 16.0 } else { 0.0 });
        let found = smoothed(&spike);
        // 1 4 6 4 1 over 16; the mirror does not repeat the edge, so the spike counts once.
        for (found, wanted) in found.iter().zip([6.0, 4.0, 1.0, 0.0, 0.0]) {
            assert!((found - wanted).abs() < 1e-6, "{found}, wanted {wanted}");
        }
        let found: Vec<_> = (-2..=2).map(|by| mirror(0, by, 2)).collect();
        assert_eq!(found, [0, 1, 0, 1, 0]);
        assert_eq!(mirror(0, -2, 1), 0);
    }

    #[test]
    fn inverts() {
        let matrix: Square = std::array::from_fn(|i| {
            std::array::from_fn(|j| if i == j { 3.0 } else { 1.0 / (1 + 2 * i + j) as f32 })
        });
        let inverse = invert(matrix).unwrap();
        for (i, row) in matrix.iter().enumerate() {
            let found = product(&std::array::from_fn(|j| inverse.map(|row| row[j])), row);
            for (j, found) in found.into_iter().enumerate() {
                let wanted = if i == j { 1.0 } else { 0.0 };
                assert!((found - wanted).abs() < 1e-5, "({i}, {j}): {found}");
            }
        }
        assert_eq!(invert([[1.0; PARAMETERS]; PARAMETERS]), None);
    }
}
