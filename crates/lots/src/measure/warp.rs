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
    /// `values(x, y)` gives the pixels.
    pub(super) fn new(
        width: usize,
        height: usize,
        values: impl Fn(usize, usize) -> [f32; 4],
    ) -> Self {
        let stride = width + 2 * RING;
        let mut ringed = vec![[0.0; 4]; stride * (height + 2 * RING)];
        for y in 0..height {
            let row = &mut ringed[(y + RING) * stride + RING..][..width];
            for (x, to) in row.iter_mut().enumerate() {
                *to = values(x, y);
            }
        }
        Self { width, height, stride, values: ringed }
    }

    /// The values at a place, bilinear between the four nearest pixels; outside the image everything is 0.
    #[inline]
    pub(super) fn sample(&self, x: f32, y: f32) -> [f32; 4] {
        let (column, x) = split(x, self.width);
        let (row, y) = split(y, self.height);
        let above = row * self.stride + column;
        let below = above + self.stride;
        let (above, below) = (&self.values[above..above + 2], &self.values[below..below + 2]);
        std::array::from_fn(|i| {
            let top = above[0][i] + x * (above[1][i] - above[0][i]);
            let bottom = below[0][i] + x * (below[1][i] - below[0][i]);
            top + y * (bottom - top)
        })
    }
}

/// The index of the pixel before a place, counted inside the ring, and how far the place lies behind it.
///
/// Far and undefined places fall onto the ring. Adding the ring's width may round a place just before a pixel onto that
/// pixel; its distance is then negative and tiny, which is as good.
#[inline]
fn split(place: f32, length: usize) -> (usize, f32) {
    let ring = RING as f32;
    let place = place.max(-ring).min(length as f32);
    let index = (place + ring) as i32;
    (index as usize, place - (index - RING as i32) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_between_pixels_and_zero_outside() {
        let ringed = Ringed::new(2, 2, |x, y| [(10 * x + 100 * y + 40) as f32, 8.0, 0.0, 0.0]);
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
            let found = ringed.sample(x, y);
            assert!((found[0] - wanted).abs() < 1e-4, "({x}, {y}): {found:?}, wanted {wanted}");
        }
    }
}
