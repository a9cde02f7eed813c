//! Bilinear sampling through a homography.

use super::lanes::{TILE, TileRow};

/// A projective map of the plane: (x, y) goes to ((m₀·(x, y, 1))/d, (m₁·(x, y, 1))/d), d = m₂·(x, y, 1).
///
/// Coordinates count pixels from the centre of the first one. The last entry of the matrix is 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Homography(pub(super) [[f32; 3]; 3]);

impl Homography {
    pub(super) const IDENTITY: Self = Self([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]);

    /// Maps `count` pixels of row `y`, from column `first` on. The last place is repeated: columns behind it may go to
    /// infinity.
    #[inline(always)]
    pub(super) fn map(&self, first: usize, count: usize, y: usize) -> Places {
        let (first, last, y) = (first as f32, (first + count - 1) as f32, y as f32);
        let [[x0, xy, x1], [y0, yy, y1], [d0, dy, d1]] = self.0;
        let (x1, y1, d1) = (y * xy + x1, y * yy + y1, y * dy + d1);
        let mut to = Places { x: [0.0; TILE], y: [0.0; TILE], scale: [0.0; TILE] };
        for i in 0..TILE {
            let x = (first + i as f32).min(last);
            let scale = 1.0 / (x * d0 + d1);
            to.x[i] = (x * x0 + x1) * scale;
            to.y[i] = (x * y0 + y1) * scale;
            to.scale[i] = scale;
        }
        to
    }
}

/// Where pixels side by side go: places and one over the denominators that led to them.
#[derive(Clone, Default)]
pub(super) struct Places {
    pub(super) x: TileRow,
    pub(super) y: TileRow,
    pub(super) scale: TileRow,
}

/// Width of the ring of zeros: one pixel for places next to the image, one for all that lie further out.
const RING: usize = 2;

/// Up to four values a pixel side by side, and zeros around the image, so that sampling has no border case.
pub(super) struct Ringed {
    width: u32,
    height: u32,
    stride: u32,
    values: Vec<[f32; 4]>,
}

impl Ringed {
    pub(super) fn new(width: usize, height: usize) -> Self {
        let stride = width + 2 * RING;
        let values = vec![[0.0; 4]; stride * (height + 2 * RING)];
        Self { width: width as u32, height: height as u32, stride: stride as u32, values }
    }

    /// The pixels, row by row, to be written.
    #[inline(always)]
    pub(super) fn rows_mut(&mut self) -> impl Iterator<Item = &mut [[f32; 4]]> {
        let (width, height) = (self.width as usize, self.height as usize);
        let rows = self.values.chunks_exact_mut(width + 2 * RING).skip(RING).take(height);
        rows.map(move |row| &mut row[RING..][..width])
    }

    /// The values at the first `count` places, bilinear between the four nearest pixels; outside the image everything is
    /// 0, and so are the other samples.
    #[inline(always)]
    pub(super) fn sample(&self, places: &Places, count: usize, samples: &mut Samples) {
        let (columns, across) = split(&places.x, self.width as usize);
        let (rows, down) = split(&places.y, self.height as usize);
        // Images with more pixels than 32 bits count are out of reach of f32 places.
        let mut corners = [0; TILE];
        for (i, corner) in corners.iter_mut().enumerate() {
            *corner = rows[i].wrapping_mul(self.stride).wrapping_add(columns[i]);
        }
        for (i, to) in samples[..count].iter_mut().enumerate() {
            let above = corners[i] as usize;
            let below = above + self.stride as usize;
            let above = self.values[above..above + 2].as_flattened();
            let below = self.values[below..below + 2].as_flattened();
            // Downwards for both columns at once, then across.
            let mut pair = [0.0; 8];
            for (k, value) in pair.iter_mut().enumerate() {
                *value = above[k] + down[i] * (below[k] - above[k]);
            }
            for (k, value) in to.iter_mut().enumerate() {
                *value = pair[k] + across[i] * (pair[k + 4] - pair[k]);
            }
        }
        samples[count..].fill([0.0; 4]);
    }
}

/// Values of pixels side by side.
pub(super) type Samples = [[f32; 4]; TILE];

/// Splits places along one axis into the pixel before, counted inside the ring, and the distance behind it.
///
/// Far and undefined places fall onto the ring. A place on or within rounding of a pixel may count as the end of the
/// stretch before it, at a distance of 1, or lie a rounding before its pixel; the interpolated value is the same.
#[inline(always)]
fn split(places: &TileRow, length: usize) -> ([u32; TILE], TileRow) {
    /// From here to twice as far, f32 holds whole numbers only, and the low bits count them.
    const WHOLE: f32 = 8_388_608.0;
    let (low, high) = (-(RING as f32), length as f32);
    let (mut pixels, mut distances) = ([0; TILE], [0.0; TILE]);
    for i in 0..TILE {
        let place = places[i];
        let place = if place > low { place } else { low };
        let place = if place < high { place } else { high };
        let inside = place - low;
        let rounded = (inside - 0.5).max(0.0) + WHOLE;
        pixels[i] = rounded.to_bits() - WHOLE.to_bits();
        distances[i] = inside - (rounded - WHOLE);
    }
    (pixels, distances)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_end_with_the_last_pixel() {
        // The denominator vanishes in column 4.
        let map = Homography([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-0.25, 0.0, 1.0]]);
        let places = map.map(1, 3, 2);
        for (i, x) in [1.0, 2.0, 3.0, 3.0, 3.0].into_iter().enumerate() {
            let wanted = [x / (1.0 - x / 4.0), 2.0 / (1.0 - x / 4.0), 1.0 / (1.0 - x / 4.0)];
            let found = [places.x[i], places.y[i], places.scale[i]];
            for (found, wanted) in found.into_iter().zip(wanted) {
                assert!(
                    (found - wanted).abs() < 1e-5,
                    "column {}: {found}, wanted {wanted}",
                    1 + i
                );
            }
        }
    }

    #[test]
    fn samples_between_pixels_and_zero_outside() {
        let mut ringed = Ringed::new(2, 2);
        for (y, row) in ringed.rows_mut().enumerate() {
            for (x, to) in row.iter_mut().enumerate() {
                *to = [8.0, 8.0, (10 * x + 100 * y + 40) as f32, 0.0];
            }
        }
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
            let places = Places { x: [x; TILE], y: [y; TILE], scale: [1.0; TILE] };
            for count in [0, 5, TILE] {
                let mut found = [[7.0; 4]; TILE];
                ringed.sample(&places, count, &mut found);
                for (i, found) in found.into_iter().enumerate() {
                    let wanted = if i < count { wanted } else { 0.0 };
                    assert!(
                        (found[2] - wanted).abs() < 1e-4,
                        "({x}, {y}): {found:?}, wanted {wanted}"
                    );
                }
            }
        }
    }
}
