//! Several f32 side by side, and sums over tiles of them.

use std::ops::{Add, Mul};

/// Values side by side: a vector of AVX-512, two of AVX2.
pub(super) const LANES: usize = 16;

/// Rows and columns of a tile. The planes of one stay in the first cache, and its columns are summed in f32 before the
/// sums go on in f64.
pub(super) const TILE: usize = 32;

/// Vectors of a row of a tile.
pub(super) const VECTORS: usize = TILE / LANES;

/// A row of a tile.
pub(super) type TileRow = [f32; TILE];

/// Values that are computed side by side.
#[derive(Clone, Copy)]
pub(super) struct Lanes(pub(super) [f32; LANES]);

macro_rules! lanewise {
    ($operator:ident, $method:ident, $assign:tt) => {
        impl $operator for Lanes {
            type Output = Self;

            #[inline(always)]
            fn $method(mut self, other: Self) -> Self {
                for (value, other) in self.0.iter_mut().zip(other.0) {
                    *value $assign other;
                }
                self
            }
        }
    };
}

lanewise!(Add, add, +=);
lanewise!(Mul, mul, *=);

/// Sums of the products a·b of each of `pairs`, times 1, y, y², … `POWERS` of them, down a column of vectors of a tile.
///
/// y counts the rows of the tile.
#[inline(always)]
pub(super) fn column_sums<const PRODUCTS: usize, const POWERS: usize>(
    pairs: [[&[TileRow]; 2]; PRODUCTS],
    column: usize,
) -> [[Lanes; POWERS]; PRODUCTS] {
    let mut sums = [[Lanes([0.0; LANES]); POWERS]; PRODUCTS];
    let rows = pairs[0][0].len();
    let pairs = pairs.map(|pair| pair.map(|plane| &plane[..rows]));
    let mut height = 0.0;
    for y in 0..rows {
        for (sums, [a, b]) in sums.iter_mut().zip(pairs) {
            let mut product = Lanes(a[y].as_chunks().0[column]) * Lanes(b[y].as_chunks().0[column]);
            for (power, sum) in sums.iter_mut().enumerate() {
                if power > 0 {
                    product = product * Lanes([height; LANES]);
                }
                *sum = *sum + product;
            }
        }
        height += 1.0;
    }
    sums
}

/// Sums over an image, in f64 and still side by side, of what [`column_sums`] found, times powers of x.
#[derive(Clone, Copy)]
pub(super) struct Wide<const SUMS: usize>([[f64; LANES]; SUMS]);

impl<const SUMS: usize> Wide<SUMS> {
    pub(super) const ZERO: Self = Self([[0.0; LANES]; SUMS]);

    /// The sums.
    #[inline(always)]
    pub(super) fn total(self) -> [f64; SUMS] {
        self.0.map(|mut lanes| {
            let mut half = LANES / 2;
            while half > 0 {
                for i in 0..half {
                    lanes[i] += lanes[i + half];
                }
                half /= 2;
            }
            lanes[0]
        })
    }
}

/// Where a column of vectors lies in the image: its first pixel.
#[derive(Clone, Copy)]
pub(super) struct Corner {
    pub(super) x: f64,
    pub(super) y: f64,
}

impl Wide<1> {
    /// Adds the sum.
    #[inline(always)]
    pub(super) fn add(&mut self, [one]: &[Lanes; 1]) {
        for (sum, &one) in self.0[0].iter_mut().zip(&one.0) {
            *sum += f64::from(one);
        }
    }
}

impl Wide<3> {
    /// Adds the sums times 1, x and y.
    #[inline(always)]
    pub(super) fn add(&mut self, [one, by_y]: &[Lanes; 2], corner: Corner) {
        let [sum, sum_x, sum_y] = &mut self.0;
        for i in 0..LANES {
            let x = corner.x + i as f64;
            let one = f64::from(one.0[i]);
            sum[i] += one;
            sum_x[i] += x * one;
            sum_y[i] += f64::from(by_y.0[i]) + corner.y * one;
        }
    }
}

impl Wide<6> {
    /// Adds the sums times 1, x, x², y, xy and y².
    #[inline(always)]
    pub(super) fn add(&mut self, [one, by_y, by_yy]: &[Lanes; 3], corner: Corner) {
        let [sum, sum_x, sum_xx, sum_y, sum_xy, sum_yy] = &mut self.0;
        for i in 0..LANES {
            let x = corner.x + i as f64;
            let one = f64::from(one.0[i]);
            let inner = f64::from(by_y.0[i]);
            let y = inner + corner.y * one;
            sum[i] += one;
            sum_x[i] += x * one;
            sum_xx[i] += x * x * one;
            sum_y[i] += y;
            sum_xy[i] += x * y;
            sum_yy[i] += f64::from(by_yy.0[i]) + corner.y * (inner + y);
        }
    }
}
