//! What the search for an alignment sees: an image through a homography, summed for a step.

use super::ecc::GreyImage;
use super::lanes::{Corner, LANES, Lanes, TILE, TileRow, VECTORS, Wide, column_sums};
use super::smooth::{mirror, smoothed};
use super::warp::{Homography, Places, Ringed, Samples};

/// Position of the product of two factors in [`Sums::pairs`].
pub(super) const PAIR: [[usize; 3]; 3] = [[0, 1, 2], [1, 3, 4], [2, 4, 5]];

/// Everything that a step needs, summed over the template. Both images are less their means over the pixels inside;
/// outside, the template is 0, and the input fades out within a pixel.
pub(super) struct Sums {
    pub(super) correlation: f64,
    pub(super) input_norm: f64,
    pub(super) template_norm: f64,
    /// Products of two factors (pp, pq, pr, qq, qr, rr), each times 1, x, x², y, xy and y².
    pub(super) pairs: [[f64; 6]; 6],
    /// Each factor times the input, times 1, x and y.
    pub(super) factor_input: [[f64; 3]; 3],
    /// Each factor times the template, likewise.
    pub(super) factor_template: [[f64; 3]; 3],
}

/// Both images made ready.
pub(super) struct Scene {
    width: usize,
    height: usize,
    /// Smoothed template less its level, in rows of full tiles.
    template: Vec<TileRow>,
    /// Smoothed input and its derivatives along x and y.
    input: Ringed,
    input_level: f32,
    tile: Tile,
}

/// The planes of a tile, row by row.
struct Tile {
    places: Vec<Places>,
    samples: Vec<Samples>,
    /// Less its level, 0 outside.
    template: Vec<TileRow>,
    /// Less its level inside.
    input: Vec<TileRow>,
    /// 1 where the nearest pixel lies in the input, else 0.
    inside: Vec<TileRow>,
    /// The three factors of the Jacobian, whose columns are (p·x, q·x, r·x, p·y, q·y, r·y, p, q): derivatives over the
    /// denominator, p along x and q along y, and r = −(p·x′ + q·y′), (x′, y′) being the place in the input.
    factors: [Vec<TileRow>; 3],
}

impl Scene {
    #[inline(always)]
    pub(super) fn new(template: &GreyImage, input: &GreyImage) -> Self {
        let (width, height) = (template.width, template.height);
        let tiles = width.div_ceil(TILE);
        let mut rows = smoothed(&template.values, width);
        let template_level = level(&rows, width);
        for value in rows.as_flattened_mut() {
            *value -= template_level;
        }
        let smooth = smoothed(&input.values, width);
        let mut ringed = Ringed::new(width, height);
        for (y, to) in ringed.rows_mut().enumerate() {
            let row =
                |by| &smooth[mirror(y, by, height) * tiles..][..tiles].as_flattened()[..width];
            let (above, here, below) = (row(-1), row(0), row(1));
            for (x, to) in to.iter_mut().enumerate() {
                *to = [here[x], 0.0, (below[x] - above[x]) * 0.5, 0.0];
            }
            // At the borders the mirrored neighbours are equal: no slope.
            for (to, around) in to.iter_mut().skip(1).zip(here.windows(3)) {
                to[1] = (around[2] - around[0]) * 0.5;
            }
        }
        Self {
            width,
            height,
            template: rows,
            input_level: level(&smooth, width),
            input: ringed,
            tile: Tile::new(),
        }
    }

    /// What a step needs to know when the input is seen through a homography.
    #[inline(always)]
    pub(super) fn sums(&mut self, homography: &Homography) -> Sums {
        let tiles = self.width.div_ceil(TILE);
        let mut sums = WideSums::ZERO;
        for top in (0..self.height).step_by(TILE) {
            let rows = TILE.min(self.height - top);
            for left in 0..tiles {
                let template = self.template[top * tiles + left..].iter().step_by(tiles);
                let window = Window {
                    left: left * TILE,
                    top,
                    width: TILE.min(self.width - left * TILE),
                    height: rows,
                };
                self.tile.look(&self.input, homography, window);
                self.tile.finish(template, self.input_level, [self.width, self.height], window);
                sums.add(&self.tile, window);
            }
        }
        sums.total()
    }
}

/// A tile's pixels in the image.
#[derive(Clone, Copy)]
struct Window {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

/// The mean of an image in padded rows, rounded: that keeps the values less it exact.
#[inline(always)]
fn level(rows: &[TileRow], width: usize) -> f32 {
    let padded = width.next_multiple_of(TILE);
    // Values are multiples of 1/256 below 256: exact in f64 in any order.
    let mut sums = [0.0; TILE];
    for row in rows.as_flattened().chunks_exact(padded) {
        for values in row[..width].chunks(TILE) {
            for (sum, &value) in sums.iter_mut().zip(values) {
                *sum += f64::from(value);
            }
        }
    }
    let count = rows.as_flattened().len() / padded * width;
    (sums.iter().sum::<f64>() / count as f64).round() as f32
}

impl Tile {
    fn new() -> Self {
        let plane = || vec![[0.0; TILE]; TILE];
        Self {
            places: vec![Places::default(); TILE],
            samples: vec![[[0.0; 4]; TILE]; TILE],
            template: plane(),
            input: plane(),
            inside: plane(),
            factors: [plane(), plane(), plane()],
        }
    }

    /// Looks at a window of the template through a homography.
    ///
    /// What is sampled here is read as vectors by [`Tile::finish`], when it has long reached the cache.
    #[inline(always)]
    fn look(&mut self, input: &Ringed, homography: &Homography, window: Window) {
        let rows = self.places.iter_mut().zip(&mut self.samples).take(window.height);
        for (y, (places, samples)) in (window.top..).zip(rows) {
            *places = homography.map(window.left, window.width, y);
            input.sample(places, window.width, samples);
        }
    }

    /// Makes the planes of what was sampled.
    #[inline(always)]
    fn finish<'a>(
        &mut self,
        template: impl Iterator<Item = &'a TileRow>,
        level: f32,
        [width, height]: [usize; 2],
        window: Window,
    ) {
        let (last_x, last_y) = (behind_last(width), behind_last(height));
        let [p, q, r] = &mut self.factors;
        // A loop over all rows at once: over one the compiler unrolls it and takes the values one by one.
        let samples = self.samples[..window.height].as_flattened();
        let to = p.as_flattened_mut().iter_mut().zip(q.as_flattened_mut());
        for ((to, (p, q)), sample) in self.input.as_flattened_mut().iter_mut().zip(to).zip(samples)
        {
            [*to, *p, *q, _] = *sample;
        }
        for (row, template) in (0..window.height).zip(template) {
            let places = &self.places[row];
            let inside = &mut self.inside[row];
            for (i, inside) in inside.iter_mut().enumerate() {
                let (x, y) = (places.x[i], places.y[i]);
                let within = (x >= -0.5) & (x < last_x) & (y >= -0.5) & (y < last_y);
                *inside = if within { 1.0 } else { 0.0 };
            }
            inside[window.width..].fill(0.0);
            let (p, q, r) = (&mut p[row], &mut q[row], &mut r[row]);
            let (to_template, input) = (&mut self.template[row], &mut self.input[row]);
            for i in 0..TILE {
                to_template[i] = template[i] * inside[i];
                input[i] -= level * inside[i];
                p[i] *= places.scale[i];
                q[i] *= places.scale[i];
                r[i] = -(p[i] * places.x[i] + q[i] * places.y[i]);
            }
        }
    }
}

/// The upper bound of places whose nearest pixel, ties to even, is one of `0..length`.
fn behind_last(length: usize) -> f32 {
    let half = length as f32 - 0.5;
    if length.is_multiple_of(2) { half } else { half.next_up() }
}

/// [`Sums`] on the way, the images less their levels instead of their means.
struct WideSums {
    pairs: [Wide<6>; 6],
    /// Each factor times the template, the input and 1 inside.
    factors: [[Wide<3>; 3]; 3],
    correlation: Wide<1>,
    /// Pixels inside, the sums of template and input over them, and of their squares.
    inside: Wide<1>,
    means: [Wide<1>; 2],
    squares: [[f64; LANES]; 2],
}

impl WideSums {
    const ZERO: Self = Self {
        pairs: [Wide::ZERO; 6],
        factors: [[Wide::ZERO; 3]; 3],
        correlation: Wide::ZERO,
        inside: Wide::ZERO,
        means: [Wide::ZERO; 2],
        squares: [[0.0; LANES]; 2],
    };

    #[inline(always)]
    fn add(&mut self, tile: &Tile, window: Window) {
        let rows = window.height;
        let [template, input, inside] =
            [&tile.template, &tile.input, &tile.inside].map(|plane| &plane[..rows]);
        let [p, q, r] = tile.factors.each_ref().map(|factor| &factor[..rows]);
        for column in 0..VECTORS {
            let corner = Corner { x: (window.left + column * LANES) as f64, y: window.top as f64 };
            // Two products at a time fill the registers of AVX2.
            for (at, pairs) in
                [[[p, p], [p, q]], [[p, r], [q, q]], [[q, r], [r, r]]].into_iter().enumerate()
            {
                let found = column_sums::<2, 3>(pairs, column);
                self.pairs[2 * at].add(&found[0], corner);
                self.pairs[2 * at + 1].add(&found[1], corner);
            }
            for (sums, factor) in self.factors.iter_mut().zip([p, q, r]) {
                let found = column_sums::<3, 2>(
                    [[factor, template], [factor, input], [factor, inside]],
                    column,
                );
                for (sum, found) in sums.iter_mut().zip(&found) {
                    sum.add(found, corner);
                }
            }
            let [correlation, count, first, second] = column_sums::<4, 1>(
                [[template, input], [inside, inside], [template, inside], [input, inside]],
                column,
            );
            self.correlation.add(&correlation);
            self.inside.add(&count);
            self.means[0].add(&first);
            self.means[1].add(&second);
            let [mut template_squares, mut input_squares] = self.squares;
            for row in 0..rows {
                let lanes = |plane: &[TileRow]| Lanes(plane[row].as_chunks().0[column]);
                let (template, input) = (lanes(template), lanes(input) * lanes(inside));
                for i in 0..LANES {
                    let [template, input] = [template.0[i], input.0[i]].map(f64::from);
                    template_squares[i] += template * template;
                    input_squares[i] += input * input;
                }
            }
            self.squares = [template_squares, input_squares];
        }
    }

    #[inline(always)]
    fn total(self) -> Sums {
        let one = |sums: Wide<1>| sums.total()[0];
        let count = one(self.inside);
        let [template_mean, input_mean] = self.means.map(|sum| one(sum) / count);
        let [template_squares, input_squares] = self.squares.map(|lanes| lanes.iter().sum::<f64>());
        let norm = |squares: f64, mean: f64| {
            let variance = (squares / count - mean * mean).max(0.0);
            (count * variance).sqrt()
        };
        let factors = self.factors.map(|sums| sums.map(Wide::total));
        let centred = |image: usize, mean: f64| {
            factors
                .map(|sums| std::array::from_fn(|power| sums[image][power] - mean * sums[2][power]))
        };
        Sums {
            correlation: one(self.correlation) - count * template_mean * input_mean,
            input_norm: norm(input_squares, input_mean),
            template_norm: norm(template_squares, template_mean),
            pairs: self.pairs.map(Wide::total),
            factor_input: centred(1, input_mean),
            factor_template: centred(0, template_mean),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ecc;
    use super::*;

    /// Below, at and above the size of a tile.
    const SIZES: [(usize, usize); 7] =
        [(2, 3), (9, 7), (28, 28), (32, 32), (33, 31), (40, 65), (97, 34)];

    fn grey(width: usize, height: usize, seed: f32) -> GreyImage {
        let value = |i: usize| {
            let (x, y) = ((i % width) as f32, (i / width) as f32);
            let waves = 60.0 * (x / 3.0 + seed).sin() + 50.0 * (y / 3.5 - seed * x / 20.0).cos();
            (120.0 + waves).round()
        };
        GreyImage { width, height, values: (0..width * height).map(value).collect() }
    }

    /// Moves, turns and bends a little, so that some pixels leave the image.
    fn homography(width: usize) -> Homography {
        let bend = 0.03 / width as f32;
        Homography([[1.021, 0.013, -0.83], [-0.017, 0.987, 0.61], [bend, -bend, 1.0]])
    }

    fn numbers(sums: &Sums) -> Vec<f64> {
        let mut all = vec![sums.correlation, sums.input_norm, sums.template_norm];
        all.extend(sums.pairs.as_flattened());
        all.extend(sums.factor_input.as_flattened());
        all.extend(sums.factor_template.as_flattened());
        all
    }

    /// The numbers of [`Sums`] pixel by pixel in f64, and the sums of the magnitudes that each is made of.
    fn plainly(template: &GreyImage, input: &GreyImage, map: &Homography) -> Vec<[f64; 2]> {
        let (width, height) = (template.width, template.height);
        let smooth = |image: &GreyImage| {
            let rows = smoothed(&image.values, width);
            let rows = rows.chunks(width.div_ceil(TILE)).map(|row| row.as_flattened());
            rows.map(|row| row[..width].iter().map(|&v| f64::from(v)).collect()).collect()
        };
        let (template, input): (Vec<Vec<f64>>, Vec<Vec<f64>>) = (smooth(template), smooth(input));
        let slope_x =
            |x, y: usize| (input[y][mirror(x, 1, width)] - input[y][mirror(x, -1, width)]) / 2.0;
        let slope_y =
            |x: usize, y| (input[mirror(y, 1, height)][x] - input[mirror(y, -1, height)][x]) / 2.0;
        let sample = |x: f64, y: f64, value: &dyn Fn(usize, usize) -> f64| {
            let mut sum = 0.0;
            for (row, column) in (0..height).flat_map(|row| (0..width).map(move |x| (row, x))) {
                let near = |at: usize, place: f64| (1.0 - (at as f64 - place).abs()).max(0.0);
                sum += near(column, x) * near(row, y) * value(column, row);
            }
            sum
        };
        let mut pixels = Vec::new();
        for (y, row) in template.iter().enumerate() {
            for (x, &template) in row.iter().enumerate() {
                let at = [x as f64, y as f64, 1.0];
                let [u, v, d] = map
                    .0
                    .map(|row| row.iter().zip(at).map(|(&m, at)| f64::from(m) * at).sum::<f64>());
                let (u, v) = (u / d, v / d);
                let within = |at: f64, length: usize| at >= -0.5 && at < length as f64 - 0.5;
                let inside = f64::from(u8::from(within(u, width) && within(v, height)));
                let (p, q) = (sample(u, v, &slope_x) / d, sample(u, v, &slope_y) / d);
                let warped = sample(u, v, &|x, y| input[y][x]);
                pixels.push((at, [p, q, -(p * u + q * v)], template, warped, inside));
            }
        }
        let count: f64 = pixels.iter().map(|pixel| pixel.4).sum();
        let mean = |value: &dyn Fn(usize) -> f64| {
            (0..pixels.len()).map(|i| pixels[i].4 * value(i)).sum::<f64>() / count
        };
        let means = [mean(&|i| pixels[i].2), mean(&|i| pixels[i].3)];
        let centred = |i: usize| {
            let (_, _, template, warped, inside) = pixels[i];
            [(template - means[0]) * inside, warped - means[1] * inside]
        };
        let sum = |value: &dyn Fn(usize) -> f64| {
            let mut sum = [0.0; 2];
            for i in 0..pixels.len() {
                sum[0] += value(i);
                sum[1] += value(i).abs();
            }
            sum
        };
        let norm = |image: usize| {
            let [squares, _] = sum(&|i| pixels[i].4 * centred(i)[image].powi(2));
            [squares.sqrt(); 2]
        };
        let mut wanted = vec![sum(&|i| centred(i)[0] * centred(i)[1]), norm(1), norm(0)];
        for (a, b) in [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)] {
            for (by_x, by_y) in [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (0, 2)] {
                wanted.push(sum(&|i| {
                    let ([x, y, _], factors, ..) = pixels[i];
                    factors[a] * factors[b] * x.powi(by_x) * y.powi(by_y)
                }));
            }
        }
        for image in [1, 0] {
            for factor in 0..3 {
                for (by_x, by_y) in [(0, 0), (1, 0), (0, 1)] {
                    wanted.push(sum(&|i| {
                        let ([x, y, _], factors, ..) = pixels[i];
                        factors[factor] * centred(i)[image] * x.powi(by_x) * y.powi(by_y)
                    }));
                }
            }
        }
        wanted
    }

    /// Tolerance: f32 keeps places to 4e-6 of a pixel here, and slopes times values reach a few times that.
    #[test]
    fn sums_are_those_of_the_definition() {
        for (width, height) in SIZES {
            let (template, input) = (grey(width, height, 0.3), grey(width, height, 0.7));
            for map in [Homography::IDENTITY, homography(width)] {
                let found = numbers(&Scene::new(&template, &input).sums(&map));
                let wanted = plainly(&template, &input, &map);
                assert_eq!(found.len(), wanted.len());
                for (i, (found, [wanted, size])) in found.into_iter().zip(wanted).enumerate() {
                    let off = (found - wanted).abs();
                    assert!(
                        off <= 2e-5 * size,
                        "{width}×{height}, number {i}: {found}, wanted {wanted} of {size}"
                    );
                }
            }
        }
    }

    /// Compiled for the vectors of this machine and for none, a look has the same bits.
    #[test]
    fn bits_do_not_depend_on_the_instruction_set() {
        for (width, height) in SIZES {
            let (template, input) = (grey(width, height, 0.3), grey(width, height, 0.7));
            let map = homography(width);
            let dispatched = ecc::sums(&mut ecc::scene(&template, &input), &map);
            let plain = Scene::new(&template, &input).sums(&map);
            let bits = |sums| numbers(sums).into_iter().map(f64::to_bits).collect::<Vec<_>>();
            assert_eq!(bits(&dispatched), bits(&plain), "{width}×{height}");
        }
    }
}
