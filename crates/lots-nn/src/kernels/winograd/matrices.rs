//! The matrices of Winograd's minimal filtering, made from the points at which polynomials are evaluated.
//!
//! A tile of `M` outputs of a filter of `R` taps is `A (G w ⊙ B d)` with `N = M + R − 1` products. All entries of `A` and `B` are
//! sums of few powers of two, exact in f32; those of `G` are rounded. Source: Winograd 1980; Lavin and Gray 2016; the points of [`THREE`] after
//! Barabasz et al. 2018, whose errors are the smallest of those that were tried (docs/performance.md).

/// The points of F(4, 3); infinity is the last one.
pub(super) const THREE: [f64; 5] = [0.0, 1.0, -1.0, 0.5, -2.0];
/// The points of F(4, 5); infinity is the last one.
pub(super) const FIVE: [f64; 7] = [0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5];

/// Coefficients of Π (x − p) over the points but number `but`.
const fn product<const N: usize>(points: &[f64], but: usize) -> [f64; N] {
    let mut c = [0.0; N];
    c[0] = 1.0;
    let (mut i, mut degree) = (0, 0);
    while i < points.len() {
        if i != but {
            degree += 1;
            let mut k = degree;
            while k > 0 {
                c[k] = c[k - 1] - points[i] * c[k];
                k -= 1;
            }
            c[0] *= -points[i];
        }
        i += 1;
    }
    c
}

/// `B`, [points][place in the input].
pub(super) const fn input<const N: usize>(points: &[f64]) -> [[f32; N]; N] {
    let mut b = [[0.0; N]; N];
    let mut i = 0;
    while i < N {
        // The last one is the point at infinity: no factor is left out.
        let c: [f64; N] = product(points, i);
        let mut k = 0;
        while k < N {
            b[i][k] = c[k] as f32;
            k += 1;
        }
        i += 1;
    }
    b
}

/// `A`, [place in the output][points].
pub(super) const fn output<const N: usize, const M: usize>(points: &[f64]) -> [[f32; N]; M] {
    let mut a = [[0.0; N]; M];
    let mut i = 0;
    while i < N - 1 {
        let (mut k, mut power) = (0, 1.0);
        while k < M {
            a[k][i] = power as f32;
            power *= points[i];
            k += 1;
        }
        i += 1;
    }
    a[M - 1][N - 1] = 1.0;
    a
}

/// The transposed matrix.
pub(super) const fn transposed<const R: usize, const C: usize>(m: &[[f32; C]; R]) -> [[f32; R]; C] {
    let mut t = [[0.0; R]; C];
    let mut i = 0;
    while i < R {
        let mut k = 0;
        while k < C {
            t[k][i] = m[i][k];
            k += 1;
        }
        i += 1;
    }
    t
}

/// `G`, [points][tap], rounded to f32.
pub(super) const fn filter<const N: usize, const R: usize>(points: &[f64]) -> [[f32; R]; N] {
    let mut g = [[0.0; R]; N];
    let mut i = 0;
    while i < N - 1 {
        let (mut scale, mut j) = (1.0, 0);
        while j < N - 1 {
            if j != i {
                scale *= points[i] - points[j];
            }
            j += 1;
        }
        let (mut k, mut power) = (0, 1.0);
        while k < R {
            g[i][k] = (power / scale) as f32;
            power *= points[i];
            k += 1;
        }
        i += 1;
    }
    g[N - 1][R - 1] = 1.0;
    g
}
