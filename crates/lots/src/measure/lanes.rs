//! Several f32 side by side, and sums over whole images of such rows.

/// Values side by side; rows are padded with zeros to a multiple of it.
pub(super) const LANES: usize = 8;

/// Rows whose products are summed in f32 before the sum goes on in f64.
pub(super) const BLOCK: usize = 32;

/// A padded row in full lanes.
pub(super) fn lanes(row: &[f32]) -> &[[f32; LANES]] {
    row.as_chunks().0
}

pub(super) fn lanes_mut(row: &mut [f32]) -> &mut [[f32; LANES]] {
    row.as_chunks_mut().0
}

/// Values that are computed side by side.
#[derive(Clone, Copy)]
pub(super) struct Lanes(pub(super) [f32; LANES]);

impl Lanes {
    #[inline(always)]
    pub(super) fn times(mut self, other: Self) -> Self {
        for (value, other) in self.0.iter_mut().zip(other.0) {
            *value *= other;
        }
        self
    }

    #[inline(always)]
    pub(super) fn over(mut self, other: Self) -> Self {
        for (value, other) in self.0.iter_mut().zip(other.0) {
            *value /= other;
        }
        self
    }

    #[inline(always)]
    pub(super) fn plus(mut self, other: Self) -> Self {
        for (value, other) in self.0.iter_mut().zip(other.0) {
            *value += other;
        }
        self
    }

    #[inline(always)]
    pub(super) fn minus(mut self, other: Self) -> Self {
        for (value, other) in self.0.iter_mut().zip(other.0) {
            *value -= other;
        }
        self
    }
}

/// Sums over an image of a·b, times 1, x, x², y, xy and y².
///
/// Columns are summed downwards, a block of rows at a time: that needs no sums across lanes until the end.
#[derive(Clone, Copy, Default)]
pub(super) struct PlaneSums([[f64; LANES]; 6]);

impl PlaneSums {
    /// Adds the products of a block of rows, the first of which is row `first` of the image.
    pub(super) fn add(&mut self, a: &[f32], b: &[f32], width: usize, first: usize) {
        let columns = width / LANES;
        let (a, b) = (lanes(a), lanes(b));
        for column in 0..columns {
            let [zeroth, first_power, second_power] =
                column_sums(&a[column..], &b[column..], columns, first);
            let [one, x1, x2, y1, xy, y2] = &mut self.0;
            for i in 0..LANES {
                let x = (column * LANES + i) as f64;
                let [zeroth, first, second] =
                    [zeroth[i], first_power[i], second_power[i]].map(f64::from);
                one[i] += zeroth;
                x1[i] += x * zeroth;
                x2[i] += x * x * zeroth;
                y1[i] += first;
                xy[i] += x * first;
                y2[i] += second;
            }
        }
    }

    /// The six sums.
    pub(super) fn total(&self) -> [f64; 6] {
        self.0.map(|lanes| lanes.iter().sum())
    }
}

/// Sums of a·b, a·b·y and a·b·y² over every `step`-th entry, y counting up from `first`.
///
/// A call of its own: merged with the widening to f64 that follows, the compiler halves the width of its vectors.
#[inline(never)]
fn column_sums(
    a: &[[f32; LANES]],
    b: &[[f32; LANES]],
    step: usize,
    first: usize,
) -> [[f32; LANES]; 3] {
    let [mut zeroth, mut first_power, mut second_power] = [Lanes([0.0; LANES]); 3];
    let mut y = first as f32;
    for (&a, &b) in a.iter().step_by(step).zip(b.iter().step_by(step)) {
        let factor = Lanes([y; LANES]);
        let product = Lanes(a).times(Lanes(b));
        let by_y = product.times(factor);
        zeroth = zeroth.plus(product);
        first_power = first_power.plus(by_y);
        second_power = second_power.plus(by_y.times(factor));
        y += 1.0;
    }
    [zeroth.0, first_power.0, second_power.0]
}
