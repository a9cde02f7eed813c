//! `exp`, `tanh`, `erf` and the logistic function without branches, so that loops over them become vector instructions.
//!
//! Every product and sum is rounded on its own: all platforms and instruction sets give the same bits.

use std::f32::consts::LOG2_E;

/// 1.5 · 2²³: the floats around it are the whole numbers.
const WHOLE: f32 = 12_582_912.0;

/// The whole number next to x, for |x| < 2²².
#[inline(always)]
fn whole(x: f32) -> f32 {
    (x + WHOLE) - WHOLE
}

/// `e^x` is `2^k · (1 + q)`: the whole number k as a float, and q, for |x| ≤ 104.
///
/// ln 2 is taken off in two parts, the first of which has few digits; q is a polynomial on ±ln 2 / 2. Coefficients:
/// Cephes, `expf`.
#[inline(always)]
fn exp_parts(x: f32) -> (f32, f32) {
    let k = whole(x * LOG2_E);
    let r = (x - k * 0.693_359_4) - k * -2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_66, 0.5] {
        p = p * r + c;
    }
    (k, r + p * (r * r))
}

/// `2^k` for whole k from -126 to 127.
#[inline(always)]
fn power_of_two(k: f32) -> f32 {
    // The exponent's bits out of those of a float that has k at its end.
    f32::from_bits((k + (WHOLE + 127.0)).to_bits() << 23)
}

/// `e^x` to 1.5 units in the last place; infinite above 88.7, and subnormal as f32 has it.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Not `clamp`: not a number stays so.
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -104.0 { -104.0 } else { x };
    let (k, q) = exp_parts(x);
    // In two steps, since 2^k alone may be no float.
    let half = whole(k * 0.5);
    (1.0 + q) * power_of_two(half) * power_of_two(k - half)
}

/// `e^x - 1` for x ≤ 0 to 2 units in the last place.
#[inline(always)]
pub(crate) fn exp_m1_below_zero(x: f32) -> f32 {
    let x = if x < -87.0 { -87.0 } else { x };
    let (k, q) = exp_parts(x);
    let power = power_of_two(k);
    power * q + (power - 1.0)
}

/// `1 / (1 + e^-x)` to 3 units in the last place.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    let e = exp(-x.abs());
    let above = 1.0 / (1.0 + e);
    if x < 0.0 { e * above } else { above }
}

/// The slope of [`sigmoid`], without the difference that would lose its digits where it is small.
#[inline(always)]
pub(crate) fn sigmoid_slope(x: f32) -> f32 {
    let e = exp(-x.abs());
    let d = 1.0 + e;
    e / (d * d)
}

/// The slope of [`tanh`].
#[inline(always)]
pub(crate) fn tanh_slope(x: f32) -> f32 {
    4.0 * sigmoid_slope(2.0 * x)
}

/// `tanh x` to 3 units in the last place.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let t = exp_m1_below_zero(-2.0 * x.abs());
    (-t / (t + 2.0)).copysign(x)
}

/// `erf x` to 2 units in the last place.
///
/// A polynomial near zero, `1 - e^polynomial` elsewhere. Coefficients: N. Juffa, "my_erff".
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    let mut near = -5.967_617e-4;
    for c in [4.991_194_2e-3, -2.676_813_5e-2, 0.112_819_925, -0.376_125_34, 0.128_379_17] {
        near = near * (x * x) + c;
    }
    // Beyond 4 the polynomial would turn round; erf is 1 there.
    let t = if x.abs() > 4.0 { 4.0 } else { x.abs() };
    let mut far = -1.728_534_7e-5 * t + 3.831_971_3e-4;
    far = far * (t * t) + (-3.883_964_4e-3 * t + 2.425_462_2e-2);
    for c in [-0.106_777_88, -0.634_846_7, -0.128_717_51] {
        far = far * t + c;
    }
    let far = 1.0 - exp(far * t - t);
    if t > 0.927_734_4 { far.copysign(x) } else { near * x + x }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The most units in the last place that `f` is away from `exact` (f64) over all floats that a step of 997 in their
    /// bits meets between `low` and `high`, of either sign.
    fn worst(f: Function, exact: Exact, low: f32, high: f32) -> (f64, f32) {
        let mut worst = (0.0, 0.0);
        for bits in (low.to_bits()..high.to_bits()).step_by(997) {
            for x in [f32::from_bits(bits), -f32::from_bits(bits)] {
                let wanted = exact(f64::from(x));
                let near = (wanted as f32).abs().max(f32::MIN_POSITIVE);
                let unit = f64::from(near.next_up()) - f64::from(near);
                let off = (f64::from(f(x)) - wanted).abs() / unit;
                if off > worst.0 {
                    worst = (off, x);
                }
            }
        }
        worst
    }

    type Function = fn(f32) -> f32;
    type Exact = fn(f64) -> f64;

    fn sigmoid64(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }

    /// Oracle: f64 of the platform, and libm's for `erf`.
    #[test]
    fn units_in_the_last_place() {
        let cases: [(&str, Function, Exact, f32, f64); 7] = [
            ("exp", exp, f64::exp, 88.0, 1.5),
            ("exp - 1", |x| exp_m1_below_zero(-x.abs()), |x| (-x.abs()).exp_m1(), 200.0, 2.0),
            ("sigmoid", sigmoid, sigmoid64, 200.0, 3.0),
            ("tanh", tanh, f64::tanh, 200.0, 3.0),
            ("slope of sigmoid", sigmoid_slope, |x| sigmoid64(x) * sigmoid64(-x), 200.0, 4.0),
            ("slope of tanh", tanh_slope, |x| x.cosh().powi(-2), 200.0, 4.0),
            ("erf", erf, libm::erf, 30.0, 2.0),
        ];
        for (name, f, exact, high, most) in cases {
            let (off, x) = worst(f, exact, 1e-20, high);
            assert!(off <= most, "{name}({x:e}) is {off} units away");
        }
    }

    #[test]
    fn ends() {
        let all = [exp, exp_m1_below_zero, sigmoid, tanh, erf];
        assert!(all.iter().all(|f| f(f32::NAN).is_nan()));
        let cases: [(Function, f32, f32); 15] = [
            (exp, 0.0, 1.0),
            (exp, f32::INFINITY, f32::INFINITY),
            (exp, 88.73, f32::INFINITY),
            (exp, f32::NEG_INFINITY, 0.0),
            (exp, -100.0, 3.8e-44),
            (exp_m1_below_zero, f32::NEG_INFINITY, -1.0),
            (exp_m1_below_zero, 0.0, 0.0),
            (sigmoid, f32::INFINITY, 1.0),
            (sigmoid, f32::NEG_INFINITY, 0.0),
            (sigmoid, -100.0, 3.8e-44),
            (tanh, f32::INFINITY, 1.0),
            (tanh, f32::NEG_INFINITY, -1.0),
            (tanh, 0.0, 0.0),
            (erf, f32::INFINITY, 1.0),
            (erf, f32::NEG_INFINITY, -1.0),
        ];
        for (at, (f, x, wanted)) in cases.into_iter().enumerate() {
            assert!(f(x).to_bits() == wanted.to_bits(), "case {at}: {}", f(x));
        }
    }
}
