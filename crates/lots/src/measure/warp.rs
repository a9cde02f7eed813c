//! Bilinear sampling through a homography.

/// A projective map of the plane: (x, y) goes to ((m₀·(x, y, 1))/d, (m₁·(x, y, 1))/d), d = m₂·(x, y, 1).
///
/// Coordinates count pixels from the centre of the first one. The last entry of the matrix is 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Homography(pub(super) [[f32; 3]; 3]);

impl Homography {
    pub(super) const IDENTITY: Self = Self([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]);

    /// Maps the pixels `0..` of row `y`; the three slices have one length.
    pub(super) fn map_row(&self, y: usize, place: RowOfPlaces<'_>) {
        let y = y as f32;
        let [[x0, xy, x1], [y0, yy, y1], [d0, dy, d1]] = self.0;
        let (x1, y1, d1) = (y * xy + x1, y * yy + y1, y * dy + d1);
        let RowOfPlaces { x: to_x, y: to_y, denominator } = place;
        let out = to_x.iter_mut().zip(to_y).zip(denominator);
        for (i, ((to_x, to_y), denominator)) in (0_i32..).zip(out) {
            let x = i as f32;
            *denominator = x * d0 + d1;
            *to_x = (x * x0 + x1) / *denominator;
            *to_y = (x * y0 + y1) / *denominator;
        }
    }
}

/// Where the pixels of one row go: places and the denominators that led to them.
pub(super) struct RowOfPlaces<'a> {
    pub(super) x: &'a mut [f32],
    pub(super) y: &'a mut [f32],
    pub(super) denominator: &'a mut [f32],
}

/// Width of the ring of zeros: one pixel for places next to the image, one for all that lie further out.
const RING: usize = 2;

/// Up to four values a pixel side by side, and zeros around the image, so that sampling has no border case.
pub(super) struct Ringed {
    width: usize,
    height: usize,
    stride: usize,
    values: Vec<[f32; 4]>,
}

impl Ringed {
    /// `fill(y, row)` writes the pixels of row `y`.
    pub(super) fn new(width: usize, height: usize, fill: impl Fn(usize, &mut [[f32; 4]])) -> Self {
        let stride = width + 2 * RING;
        let mut ringed = vec![[0.0; 4]; stride * (height + 2 * RING)];
        for y in 0..height {
            fill(y, &mut ringed[(y + RING) * stride + RING..][..width]);
        }
        Self { width, height, stride, values: ringed }
    }

    /// The values at the places of one row, bilinear between the four nearest pixels; outside the image everything is 0.
    pub(super) fn sample_row(&self, x: &[f32], y: &[f32], to: &mut SampledRow) {
        split(x, self.width, &mut to.column, &mut to.x);
        split(y, self.height, &mut to.row, &mut to.y);
        let places = to.column.iter().zip(&to.row).zip(to.x.iter().zip(&to.y));
        for (to, ((&column, &row), (&x, &y))) in to.values.iter_mut().zip(places) {
            let above = row as usize * self.stride + column as usize;
            let below = above + self.stride;
            let (above, below) = (&self.values[above..above + 2], &self.values[below..below + 2]);
            *to = between(between(above[0], above[1], x), between(below[0], below[1], x), y);
        }
    }
}

/// The values `part` of the way from `a` to `b`.
#[inline(always)]
fn between(a: [f32; 4], b: [f32; 4], part: f32) -> [f32; 4] {
    let mut out = a;
    for i in 0..4 {
        out[i] += part * (b[i] - a[i]);
    }
    out
}

/// The samples of one row, and where they were taken: the pixels above and left of the places, counted inside the ring,
/// and how far the places lie behind them.
pub(super) struct SampledRow {
    column: Vec<u32>,
    row: Vec<u32>,
    x: Vec<f32>,
    y: Vec<f32>,
    values: Vec<[f32; 4]>,
}

impl SampledRow {
    pub(super) fn new(width: usize) -> Self {
        Self {
            column: vec![0; width],
            row: vec![0; width],
            x: vec![0.0; width],
            y: vec![0.0; width],
            values: vec![[0.0; 4]; width],
        }
    }

    /// What [`Ringed::sample_row`] found.
    pub(super) fn values(&self) -> &[[f32; 4]] {
        &self.values
    }
}

/// Splits places along one axis into the pixel before, counted inside the ring, and the distance behind it.
///
/// Far and undefined places fall onto the ring. A place on or within rounding of a pixel may count as the end of the
/// stretch before it, at a distance of 1, or lie a rounding before its pixel; the interpolated value is the same.
fn split(places: &[f32], length: usize, pixels: &mut [u32], distances: &mut [f32]) {
    /// From here to twice as far, f32 holds whole numbers only, and the low bits count them.
    const WHOLE: f32 = 8_388_608.0;
    let (low, high) = (-(RING as f32), length as f32);
    for ((pixel, distance), &place) in pixels.iter_mut().zip(distances).zip(places) {
        let place = if place > low { place } else { low };
        let place = if place < high { place } else { high };
        let inside = place - low;
        let rounded = (inside - 0.5).max(0.0) + WHOLE;
        *pixel = rounded.to_bits() - WHOLE.to_bits();
        *distance = inside - (rounded - WHOLE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_between_pixels_and_zero_outside() {
        let ringed = Ringed::new(2, 2, |y, row| {
            for (x, to) in row.iter_mut().enumerate() {
                *to = [(10 * x + 100 * y + 40) as f32, 8.0, 0.0, 0.0];
            }
        });
        let cases = [
            (0.0, 0.0, 40.0),
            (1.0, 1.0, 150.0),
            (0.5, 0.0, 45.0),
            (0.25, 0.5, 92.5),
            (-0.5, 0.0, 20.0),
            (1.75, 1.0, 37.5),
            (0.0, 1.5, 70.0),
            (-1.0, 0.0, 0.0),
            (2.0, 0.5, 0.0),
            (1e9, 0.0, 0.0),
            (0.0, f32::NEG_INFINITY, 0.0),
            (f32::NAN, 0.0, 0.0),
        ];
        for (x, y, wanted) in cases {
            let mut samples = SampledRow::new(1);
            ringed.sample_row(&[x], &[y], &mut samples);
            let [found] = samples.values() else { panic!("one sample") };
            assert!((found[0] - wanted).abs() < 1e-4, "({x}, {y}): {found:?}, wanted {wanted}");
        }
    }
}
