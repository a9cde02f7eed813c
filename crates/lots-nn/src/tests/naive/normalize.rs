//! Normalisations.

use super::Array;

/// Least standard deviation, or norm, that is divided by: below, rounding of f32 shows. As a margin, it counts so much
/// less.
const SPREAD: f64 = 5e-4;

/// How near `spread` is to what f32 cannot resolve; exactly zero is no neighbour of anything.
fn margin(spread: f64) -> f64 {
    if spread > 0.0 { SPREAD * spread } else { f64::INFINITY }
}

/// `axis` as the file says it, that of images being 0, as an axis of one image.
fn image_axis(axis: i64, rank: usize) -> usize {
    (if axis < 0 { axis + rank as i64 } else { axis - 1 }) as usize
}

/// Scale, bias, mean and variance of each channel.
pub(super) fn batch(x: &Array, epsilon: f32, p: &[Vec<f64>]) -> Array {
    let plane: usize = x.shape[1..].iter().product();
    let number = |(i, x): (usize, &f64)| {
        let c = i / plane;
        p[0][c] * (x - p[2][c]) / (p[3][c] + f64::from(epsilon)).sqrt() + p[1][c]
    };
    Array { shape: x.shape.clone(), data: x.data.iter().enumerate().map(number).collect() }
}

/// Each `size` neighbouring numbers less their mean, if `centred`, over their root mean square, less `epsilon`.
fn standardized(x: &[f64], size: usize, centred: bool, epsilon: f32) -> (Vec<f64>, f64) {
    let (mut data, mut near) = (Vec::new(), f64::INFINITY);
    for part in x.chunks(size) {
        let mean = if centred { part.iter().sum::<f64>() / size as f64 } else { 0.0 };
        let variance = part.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / size as f64;
        let deviation = (variance + f64::from(epsilon)).sqrt();
        data.extend(part.iter().map(|x| (x - mean) / deviation));
        near = near.min(margin(variance.sqrt()));
    }
    (data, near)
}

/// GroupNormalization, with numbers for channels or groups; InstanceNormalization has as many groups as channels.
pub(super) fn groups(x: &Array, groups: usize, epsilon: f32, p: &[Vec<f64>]) -> (Array, f64) {
    let plane: usize = x.shape[1..].iter().product();
    let size = x.data.len() / groups;
    let (mut data, near) = standardized(&x.data, size, true, epsilon);
    for (i, y) in data.iter_mut().enumerate() {
        let at = if p[0].len() == groups { i / size } else { i / plane };
        *y = p[0][at] * *y + p[1][at];
    }
    (Array { shape: x.shape.clone(), data }, near)
}

/// LayerNormalization, or not centred RMSNormalization: scale and perhaps bias, of the last axes' shapes or of fewer,
/// or of one number.
pub(super) fn layer(
    x: &Array,
    axis: i64,
    epsilon: f32,
    centred: bool,
    p: &[Vec<f64>],
) -> (Array, f64) {
    let size = x.shape[image_axis(axis, x.shape.len())..].iter().product();
    let (mut data, near) = standardized(&x.data, size, centred, epsilon);
    for (i, y) in data.iter_mut().enumerate() {
        *y = p[0][i % p[0].len()] * *y + p.get(1).map_or(0.0, |b| b[i % b.len()]);
    }
    (Array { shape: x.shape.clone(), data }, near)
}

/// Over the p-norm along an axis.
pub(super) fn lp(x: &Array, axis: i64, p: i64) -> (Array, f64) {
    let axis = image_axis(axis, x.shape.len());
    let inner: usize = x.shape[axis + 1..].iter().product();
    let along = x.shape[axis];
    let (mut data, mut near) = (vec![0.0; x.data.len()], f64::INFINITY);
    for first in (0..x.data.len()).filter(|at| (at / inner).is_multiple_of(along)) {
        let places = || (0..along).map(|k| first + k * inner);
        let sum: f64 = places().map(|at| x.data[at].abs().powi(p as i32)).sum();
        let norm = sum.powf(1.0 / p as f64);
        places().for_each(|at| data[at] = x.data[at] / norm);
        near = near.min(margin(norm));
        if p == 1 {
            near = places().map(|at| x.data[at].abs()).fold(near, f64::min);
        }
    }
    (Array { shape: x.shape.clone(), data }, near)
}

/// Local response normalisation over `size` channels.
pub(super) fn lrn(x: &Array, size: usize, [alpha, beta, bias]: [f32; 3]) -> Array {
    let [alpha, beta, bias] = [alpha, beta, bias].map(f64::from);
    let plane: usize = x.shape[1..].iter().product();
    let channels = x.shape[0] as i64;
    let number = |(i, value): (usize, &f64)| {
        let (c, at) = ((i / plane) as i64, i % plane);
        // The operator's text: max(0, c - floor((size-1)/2)) to min(C-1, c + ceil((size-1)/2)).
        let (before, behind) = ((size as i64 - 1) / 2, size as i64 / 2);
        let squares = (0.max(c - before)..=(channels - 1).min(c + behind))
            .map(|c| x.data[c as usize * plane + at].powi(2));
        value / (bias + alpha / size as f64 * squares.sum::<f64>()).powf(beta)
    };
    Array { shape: x.shape.clone(), data: x.data.iter().enumerate().map(number).collect() }
}
