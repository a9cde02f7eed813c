//! How numbers are compared.

use proptest::test_runner::{Config, RngSeed};

/// How far f32 may be from f64: absolutely where the numbers are around one, relative to the largest of them above.
///
/// Inputs, cotangents and outputs of the tests are of order one: weights are scaled by 1/√fan-in.
#[derive(Clone, Copy)]
pub(super) struct Tolerance {
    name: &'static str,
    value: f64,
}

/// Forward. A chain of n multiply-adds whose partial sums are of order s errs by about u·√n·s, u = 6e-8: for n ≤ 1100
/// and sums of order one, 2e-6; the most seen is 1.3e-6.
pub(super) const FORWARD: Tolerance = Tolerance { name: "forward", value: 5e-6 };
/// Back-projection: chains as long as forward, against central differences in f64, whose own error is below 1e-7. The
/// most seen is 7e-7.
pub(super) const BACKWARD: Tolerance = Tolerance { name: "back-projection", value: 5e-6 };
/// Forward and back-projection of convolutions in tiles: four times the tolerance of a plain chain. Their error is up to six
/// times a plain chain's on real layers, which `kernels::winograd::tests` checks one by one.
pub(super) const TILES: Tolerance = Tolerance { name: "tiles", value: 2e-5 };
/// Weight gradients, relative to √n for n terms (all images and pixels): the same argument. The most seen is 8e-7.
pub(super) const WEIGHTS: Tolerance = Tolerance { name: "weight gradient", value: 5e-6 };
/// ⟨Jv, w⟩ against ⟨v, Jᵀw⟩, relative to Σ|v|·|Jᵀw|: what holds for each number holds for their mean. The most seen is
/// 6e-7.
pub(super) const ADJOINT: Tolerance = Tolerance { name: "adjoint", value: 5e-6 };
/// Weights after a few steps of training: a step is a rate of 0.1 times a weight gradient. The most seen is 1e-7.
pub(super) const TRAINING: Tolerance = Tolerance { name: "training", value: 1e-6 };
/// Portable loops against fused multiply-adds: each product is rounded once more, so the same argument as `FORWARD`.
/// The most seen is 9e-7.
pub(super) const PORTABLE: Tolerance = Tolerance { name: "portable", value: 5e-6 };

impl Tolerance {
    /// Whether `got` agrees with `wanted`; else how many do not, and the first places.
    pub(super) fn check(self, what: &str, got: &[f32], wanted: &[f64]) -> Result<(), String> {
        self.check_sums(what, got, wanted, 1.0)
    }

    /// [`Tolerance::check`] of sums of terms of order one, whose usual size is `size`: relative to at least that.
    pub(super) fn check_sums(
        self,
        what: &str,
        got: &[f32],
        wanted: &[f64],
        size: f64,
    ) -> Result<(), String> {
        if got.len() != wanted.len() {
            return Err(format!("{what}: {} numbers; wanted {}", got.len(), wanted.len()));
        }
        let limit = self.value * wanted.iter().fold(size, |m, x| m.max(x.abs()));
        // NaN is far from everything.
        let near = |g: f32, w: f64| (f64::from(g) - w).abs() <= limit;
        let far = |(g, w): (&f32, &f64)| !near(*g, *w);
        let places: Vec<usize> =
            got.iter().zip(wanted).enumerate().filter(|(_, x)| far(*x)).map(|x| x.0).collect();
        if places.is_empty() {
            return Ok(());
        }
        let shown: Vec<String> =
            places.iter().take(4).map(|&i| format!("[{i}] {} for {}", got[i], wanted[i])).collect();
        Err(format!(
            "{what}: {} of {} beyond the {} tolerance {limit:.1e}: {}",
            places.len(),
            got.len(),
            self.name,
            shown.join(", ")
        ))
    }

    /// [`Tolerance::check`] of one number, relative to `scale`, at least one.
    pub(super) fn check_one(
        self,
        what: &str,
        got: f64,
        wanted: f64,
        scale: f64,
    ) -> Result<(), String> {
        if (got - wanted).abs() <= self.value * scale.max(1.0) {
            return Ok(());
        }
        Err(format!("{what}: {got} for {wanted}, beyond the {} tolerance", self.name))
    }
}

/// Whether the same bytes came out; else how many differ, and the first place.
pub(super) fn same_bits(what: &str, got: &[f32], wanted: &[f32]) -> Result<(), String> {
    if got.len() != wanted.len() {
        return Err(format!("{what}: {} numbers; wanted {}", got.len(), wanted.len()));
    }
    let differ = |(g, w): (&f32, &f32)| g.to_bits() != w.to_bits();
    let count = got.iter().zip(wanted).filter(|x| differ(*x)).count();
    match got.iter().zip(wanted).position(differ) {
        None => Ok(()),
        Some(at) => Err(format!(
            "{what}: {count} of {} differ in their bits, first [{at}]: {:e} for {:e}",
            got.len(),
            got[at],
            wanted[at]
        )),
    }
}

/// Fails with every line of `wrong`.
pub(super) fn report(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// A property test of `cases` cases (PROPTEST_CASES asks for another number), the same ones each time unless
/// PROPTEST_RNG_SEED asks for others.
pub(super) fn cases(cases: u32) -> Config {
    let mut config = Config::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    if matches!(config.rng_seed, RngSeed::Random) {
        config.rng_seed = RngSeed::Fixed(0);
    }
    config
}
