//! Quantiles.

use serde::{Deserialize, Serialize};

/// Five quantiles. Between two values they are interpolated: of n values in order, x₀ … xₙ₋₁, the quantile p lies at place
/// p·(n − 1), a share of the way from one value to the next (NumPy's `linear`, Hyndman and Fan's type 7).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// 5 % of the values are below.
    pub p05: f64,
    /// The lower quartile.
    pub p25: f64,
    /// The median.
    pub p50: f64,
    /// The upper quartile.
    pub p75: f64,
    /// 95 % of the values are below.
    pub p95: f64,
}

impl Quantiles {
    /// Of `values`, in any order; `None` of none.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_unstable_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        // In hundredths, so that places that are whole are so exactly.
        let at = |percent: usize| {
            let (below, rest) = (last * percent / 100, last * percent % 100);
            let above = (below + 1).min(last);
            values[below] + (values[above] - values[below]) * rest as f64 / 100.0
        };
        Some(Self { p05: at(5), p25: at(25), p50: at(50), p75: at(75), p95: at(95) })
    }

    /// All five, ascending.
    pub fn all(&self) -> [f64; 5] {
        let Self { p05, p25, p50, p75, p95 } = *self;
        [p05, p25, p50, p75, p95]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "places that are whole are the values themselves")]
    fn quantiles_by_hand() {
        let cases: [(&[f64], Option<[f64; 5]>); 5] = [
            (&[], None),
            (&[3.0], Some([3.0; 5])),
            (&[10.0, 0.0], Some([0.5, 2.5, 5.0, 7.5, 9.5])),
            (&[4.0, 1.0, 3.0, 2.0], Some([1.15, 1.75, 2.5, 3.25, 3.85])),
            // numpy.quantile([5, 1, 7, 7, 2, 40], [.05, .25, .5, .75, .95])
            (&[5.0, 1.0, 7.0, 7.0, 2.0, 40.0], Some([1.25, 2.75, 6.0, 7.0, 31.75])),
        ];
        for (values, wanted) in cases {
            let found = Quantiles::of(values.to_vec()).map(|quantiles| quantiles.all());
            let is_near = match (found, wanted) {
                (Some(found), Some(wanted)) => {
                    found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12)
                }
                (found, wanted) => found == wanted,
            };
            assert!(is_near, "{values:?}: {found:?}, wanted {wanted:?}");
        }
        let hundred = Quantiles::of((0..=100).rev().map(f64::from).collect());
        assert_eq!(hundred.unwrap().all(), [5.0, 25.0, 50.0, 75.0, 95.0]);
    }
}
