//! Alignment by the enhanced correlation coefficient (ECC).
//!
//! Source: Evangelidis & Psarakis, "Parametric Image Alignment Using Enhanced Correlation Coefficient Maximization",
//! PAMI 2008, the forward additive iteration for a homography; details that the article leaves open (smoothing, borders,
//! which pixels count, rounding to f32, what counts as failure) as OpenCV 5.0.0 behaves.

use multiversion::multiversion;

use super::scene::{PAIR, Scene, Sums};
use super::warp::Homography;

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
    let mut scene = scene(template, input);
    let mut homography = Homography::IDENTITY;
    let mut before = -EPSILON;
    let mut correlation = -1.0;
    for _ in 0..ITERATIONS {
        if settled(before, correlation) {
            break;
        }
        before = correlation;
        correlation = step(&sums(&mut scene, &homography), &mut homography)?;
    }
    Ok(Found { homography, settled: settled(before, correlation) })
}

/// [`Scene::new`] in the best instructions of the machine.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
pub(super) fn scene(template: &GreyImage, input: &GreyImage) -> Scene {
    Scene::new(template, input)
}

/// [`Scene::sums`], likewise. Nothing is fused, so that all instructions give the same bits.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
pub(super) fn sums(scene: &mut Scene, homography: &Homography) -> Sums {
    scene.sums(homography)
}

fn settled(before: f64, after: f64) -> bool {
    let change = (after - before).abs();
    change < EPSILON || change.is_nan()
}

/// Moves the homography by one step and returns the correlation from which the step started.
fn step(sums: &Sums, homography: &mut Homography) -> Result<f64, EccError> {
    let &Sums { correlation, input_norm, template_norm, .. } = sums;
    let norms = input_norm * template_norm;
    if norms.is_nan() || norms <= 0.0 {
        return Err(EccError::Undefined);
    }
    let coefficient = correlation / norms;
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

/// Jᵀ·J, from [`Sums::pairs`].
fn hessian(pairs: &[[f64; 6]; 6]) -> Square {
    /// Position of 1, x, x², y, xy, y² for two of x (0), y (1) and 1 (2).
    const MONOMIAL: [[usize; 3]; 3] = [[2, 4, 1], [4, 5, 3], [1, 3, 0]];
    std::array::from_fn(|k| {
        std::array::from_fn(|l| pairs[PAIR[k % 3][l % 3]][MONOMIAL[k / 3][l / 3]] as f32)
    })
}

/// Jᵀ times an image, from the sums of the factors times it.
fn projection(sums: &[[f64; 3]; 3]) -> [f64; PARAMETERS] {
    /// Position of x, y and 1.
    const POWER: [usize; 3] = [1, 2, 0];
    std::array::from_fn(|k| sums[k % 3][POWER[k / 3]])
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
