//! Resize in all its modes.
//!
//! Oracle: the formulas of the ONNX operator, all axes at once.

use super::check::{check, check_drawn};
use super::compare::cases;
use super::model::{Draw, float, int, ints, tensor, text};
use super::naive::{Op, Written};
use super::operators::{batches, single};
use crate::onnx::{TensorProto, float_tensor, int_tensor};
use proptest::prelude::*;

const COORDINATES: [&str; 5] =
    ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric"];

/// Scales that f32 holds exactly, and some that it does not.
const SCALES: [f32; 9] = [1.0, 2.0, 3.0, 0.5, 1.5, 2.5, 0.75, 1.3, 0.6];

/// How one axis is resized.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) scale: Option<f32>,
}

/// The attributes of one node.
#[derive(Clone, Copy, Debug)]
pub(super) struct How {
    mode: &'static str,
    coordinates: &'static str,
    nearest: &'static str,
    a: f32,
    exclude_outside: bool,
}

/// `mode`, and all else at its default.
pub(super) fn by(mode: &'static str) -> How {
    let (coordinates, nearest) = ("half_pixel", "round_prefer_floor");
    How { mode, coordinates, nearest, a: -0.75, exclude_outside: false }
}

impl How {
    /// Where output `at` lies in the input, by ONNX's formulas.
    fn original(&self, at: usize, axis: Axis) -> f64 {
        let (x, from, to) = (at as f64, axis.from as f64, axis.to as f64);
        let scale = axis.scale.map_or(to / from, f64::from);
        let half_pixel = (x + 0.5) / scale - 0.5;
        match self.coordinates {
            "half_pixel" => half_pixel,
            "half_pixel_symmetric" => from / 2.0 * (1.0 - to / (scale * from)) + half_pixel,
            "pytorch_half_pixel" => {
                if axis.to > 1 {
                    half_pixel
                } else {
                    0.0
                }
            }
            "align_corners" => {
                if axis.to > 1 {
                    x * (from - 1.0) / (to - 1.0)
                } else {
                    0.0
                }
            }
            "asymmetric" => x / scale,
            other => panic!("no {other}"),
        }
    }

    /// The weights of the input's elements along one axis, and how near another element is to be the nearest.
    fn weights(&self, at: usize, axis: Axis) -> (Vec<(usize, f64)>, f64) {
        let x = self.original(at, axis);
        let last = axis.from as i64 - 1;
        let inside = |p: i64| p.clamp(0, last) as usize;
        let to_tie = |x: f64| (x - x.round()).abs();
        match self.mode {
            "nearest" => {
                let (at, tie) = match self.nearest {
                    "floor" => (x.floor(), to_tie(x)),
                    "ceil" => (x.ceil(), to_tie(x)),
                    "round_prefer_floor" => ((x - 0.5).ceil(), to_tie(x + 0.5)),
                    _ => ((x + 0.5).floor(), to_tie(x + 0.5)),
                };
                (vec![(inside(at as i64), 1.0)], tie)
            }
            "linear" => {
                let (low, part) = (x.floor() as i64, x - x.floor());
                (vec![(inside(low), 1.0 - part), (inside(low + 1), part)], 1.0)
            }
            _ => {
                let a = f64::from(self.a);
                let weight = |p: i64| {
                    let d = (x - p as f64).abs();
                    let weight = if d <= 1.0 {
                        (a + 2.0) * d.powi(3) - (a + 3.0) * d.powi(2) + 1.0
                    } else {
                        a * d.powi(3) - 5.0 * a * d.powi(2) + 8.0 * a * d - 4.0 * a
                    };
                    if self.exclude_outside && !(0..=last).contains(&p) { 0.0 } else { weight }
                };
                let low = x.floor() as i64;
                let all: Vec<(usize, f64)> =
                    (low - 1..=low + 2).map(|p| (inside(p), weight(p))).collect();
                let sum: f64 = all.iter().map(|t| t.1).sum();
                let sum = if self.exclude_outside { sum } else { 1.0 };
                (all.into_iter().map(|(p, w)| (p, w / sum)).collect(), 1.0)
            }
        }
    }

    /// The weighted sums behind the output of all axes, and the least distance from a tie that scales decide.
    fn terms(&self, axes: &[Axis]) -> (Vec<Vec<(usize, f64)>>, f64) {
        let mut nearest = f64::INFINITY;
        let mut all = vec![vec![(0, 1.0)]];
        for &axis in axes {
            let along: Vec<_> = (0..axis.to).map(|at| self.weights(at, axis)).collect();
            // Given sizes, or a scale and thirds of it that f32 holds, ties are exact.
            let rounds = self.coordinates == "half_pixel_symmetric";
            if axis.scale.is_some_and(|s| rounds || s.fract() % 0.25 != 0.0) {
                nearest = along.iter().fold(nearest, |n, (_, tie)| n.min(*tie));
            }
            let mut next = Vec::new();
            for terms in &all {
                for (weights, _) in &along {
                    let both = terms.iter().flat_map(|(at, w)| {
                        weights.iter().map(move |(p, v)| (at * axis.from + p, w * v))
                    });
                    next.push(both.collect());
                }
            }
            all = next;
        }
        (all, nearest)
    }

    /// The node, written in one of the ways that mean this, for axes with that of images in front.
    fn write(&self, axes: &[Axis], draw: &mut Draw) -> Written {
        let mut attributes = Vec::new();
        let mut or_default = |keep: bool, a| {
            if keep || draw.coin() {
                attributes.push(a);
            }
        };
        or_default(self.mode != "nearest", text("mode", self.mode));
        let name = "coordinate_transformation_mode";
        or_default(self.coordinates != "half_pixel", text(name, self.coordinates));
        or_default(self.nearest != "round_prefer_floor", text("nearest_mode", self.nearest));
        or_default(self.a.to_bits() != (-0.75f32).to_bits(), float("cubic_coeff_a", self.a));
        or_default(self.exclude_outside, int("exclude_outside", i64::from(self.exclude_outside)));
        or_default(false, int("antialias", 0));
        or_default(false, float("extrapolation_value", 0.0));
        or_default(false, text("keep_aspect_ratio_policy", "stretch"));
        // Axes that stay as they are may be left out.
        let mut listed: Vec<usize> = (0..axes.len()).collect();
        if draw.coin() {
            let stays =
                |a: &Axis| a.from == a.to && a.scale.is_none_or(|s| s.to_bits() == 1f32.to_bits());
            listed.retain(|&a| !stays(&axes[a]) || a == axes.len() - 1);
            draw.shuffle(&mut listed);
            let rank = axes.len() as i64;
            let names: Vec<i64> =
                listed.iter().map(|&a| a as i64 - if draw.coin() { rank } else { 0 }).collect();
            attributes.push(ints("axes", &names));
        }
        let listed: Vec<Axis> = listed.into_iter().map(|a| axes[a]).collect();
        let none = TensorProto::default;
        let empty = || float_tensor("", &tensor(&[0], vec![]));
        let roi = if draw.coin() { none() } else { empty() };
        let inputs = if listed[0].scale.is_some() {
            let scales: Vec<f32> = listed.iter().filter_map(|a| a.scale).collect();
            vec![roi, float_tensor("", &tensor(&[scales.len()], scales))]
        } else {
            let sizes: Vec<i64> = listed.iter().map(|a| a.to as i64).collect();
            vec![roi, if draw.coin() { none() } else { empty() }, int_tensor("", &sizes)]
        };
        Written { attributes, inputs }
    }
}

fn how() -> impl Strategy<Value = How> {
    let modes = proptest::sample::select(&["nearest", "linear", "cubic"][..]);
    let nearest = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"];
    let a = prop_oneof![Just(-0.75f32), Just(-0.5f32)];
    let coordinates = proptest::sample::select(&COORDINATES[..]);
    (modes, coordinates, proptest::sample::select(nearest.to_vec()), a, any::<bool>()).prop_map(
        |(mode, coordinates, nearest, a, exclude_outside)| How {
            mode,
            coordinates,
            nearest,
            a,
            exclude_outside,
        },
    )
}

/// The operator over [1, input] resized to `axes`; ties that rounding decides are no case.
pub(super) fn resize(how: How, axes: &[Axis], draw: &mut Draw) -> Option<Op> {
    let images = Axis { from: 1, to: 1, scale: axes[0].scale.map(|_| 1.0) };
    let all = [&[images], axes].concat();
    let (terms, tie) = how.terms(&all);
    let shape = axes.iter().map(|a| a.to).collect();
    let written = how.write(&all, draw);
    (tie > 1e-4).then_some(Op::Sums { name: "Resize", written, shape, terms })
}

proptest! {
    #![proptest_config(cases(320))]

    #[test]
    fn resized(
        how in how(),
        sizes in proptest::collection::vec((1..=6usize, 1..=8usize), 1..=3),
        scales in proptest::collection::vec(proptest::sample::select(&SCALES[..]), 3),
        by_scale: bool,
        batch in batches(),
        seed: u64,
    ) {
        let axes: Vec<Axis> = sizes
            .iter()
            .zip(scales)
            .map(|(&(from, to), scale)| {
                // ONNX: the length is rounded down.
                let scaled = (from as f64 * f64::from(scale) + 1e-5) as usize;
                match by_scale {
                    true => Axis { from, to: scaled, scale: Some(scale) },
                    false => Axis { from, to, scale: None },
                }
            })
            .collect();
        prop_assume!(axes.iter().all(|a| a.to > 0));
        // Refused.
        let parts = |a: &Axis| a.scale.map_or(0.0, |s| a.from as f32 * s - a.to as f32);
        prop_assume!(how.coordinates != "align_corners" || axes.iter().all(|a| parts(a) < 1e-4));
        let input: Vec<usize> = axes.iter().map(|a| a.from).collect();
        let op = resize(how, &axes, &mut Draw::new(seed));
        prop_assume!(op.is_some());
        check_drawn(&single(&input, op.unwrap(), vec![]), batch, seed)?;
    }
}

/// Sizes whose quotients f32 rounds to the wrong side of an integer: 9 to 6, elements 0, 1, 3, 4, 6 and 7.
#[test]
fn places_of_given_sizes_are_exact() {
    let how = How { coordinates: "asymmetric", nearest: "floor", ..by("nearest") };
    for (from, to) in [(9, 6), (7, 49), (49, 7), (35, 25), (26, 39)] {
        let axes = [Axis { from, to, scale: None }];
        let Some(Op::Sums { name, written, shape, .. }) = resize(how, &axes, &mut Draw::new(1))
        else {
            panic!("a tie")
        };
        let terms = (0..to).map(|at| vec![(at * from / to, 1.0)]).collect();
        check(&single(&[from], Op::Sums { name, written, shape, terms }, vec![]), 3, 1).unwrap();
    }
}
