//! Methods side by side: how often each finds something, how large it is, how visible, and what it costs.

use serde::{Deserialize, Serialize};

#[cfg(feature = "plot")]
use crate::plot::{Axis, Curves, Panel, PlotError, Series, Shape};
use crate::record::{Ending, Record};

/// What several methods came to on the same origins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// What the network is called.
    pub model: String,
    /// The reference that opens the origins.
    pub data: String,
    /// One for each method and layer.
    pub contenders: Vec<Contender>,
}

/// What one method came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contender {
    /// The method, with what was chosen for it.
    pub method: String,
    /// The layer, for methods that work at one.
    pub layer: Option<String>,
    /// Attacks on origins that the network classifies correctly.
    pub attempts: usize,
    /// Those of them that reached the goal.
    pub found: usize,
    /// Of what was found; `None` where nothing was.
    pub means: Option<Means>,
    /// The share of the attempts that succeed within an L2: steps (L2, share), ascending.
    pub success_by_l2: Vec<(f64, f64)>,
    /// Wall-clock seconds for all of them together, measures not included.
    pub seconds: f64,
    /// Forward passes of single images an attempt, as a mean over all attempts.
    pub forward: f64,
    /// Back-projections an attempt, likewise.
    pub backward: f64,
}

/// Means over the images that reached the goal.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Means {
    /// Euclidean norm of the perturbation, in grey levels.
    pub l2: f64,
    /// Largest change of a value, in grey levels.
    pub linf: f64,
    /// Perceptual similarity to the origin.
    pub pass: f64,
}

impl Contender {
    /// Of `records`, which took `seconds` altogether. Misclassified origins do not count.
    pub fn new(method: &str, layer: Option<&str>, records: &[Record], seconds: f64) -> Self {
        let attempts = || records.iter().filter(|r| r.outcome != Ending::OriginMisclassified);
        let found: Vec<&Record> = attempts().filter(|r| r.outcome == Ending::Adversarial).collect();
        let count = attempts().count();
        let mean = |of: &dyn Fn(&Record) -> f64, all: &[&Record]| {
            all.iter().map(|record| of(record)).sum::<f64>() / all.len() as f64
        };
        let l2 = |record: &Record| record.l2.map_or(f64::NAN, |l2| l2.0);
        let means = (!found.is_empty()).then(|| Means {
            l2: mean(&l2, &found),
            linf: mean(&|record| record.linf.map_or(f64::NAN, |linf| linf.0.into()), &found),
            pass: mean(&|record| record.pass.unwrap_or(f64::NAN), &found),
        });
        let mut sizes: Vec<f64> = found.iter().map(|record| l2(record)).collect();
        sizes.sort_unstable_by(f64::total_cmp);
        let share = |(i, size)| (size, (i + 1) as f64 / count as f64);
        let passes = |of: &dyn Fn(&Record) -> f64| {
            if count == 0 { 0.0 } else { mean(of, &attempts().collect::<Vec<_>>()) }
        };
        Self {
            method: method.to_owned(),
            layer: layer.map(str::to_owned),
            attempts: count,
            found: found.len(),
            means,
            success_by_l2: sizes.into_iter().enumerate().map(share).collect(),
            seconds,
            forward: passes(&|record| record.passes.map_or(0.0, |passes| passes.forward.into())),
            backward: passes(&|record| record.passes.map_or(0.0, |passes| passes.backward.into())),
        }
    }

    /// The method, and its layer if it has one.
    pub fn title(&self) -> String {
        let Self { method, layer, .. } = self;
        layer.as_ref().map_or_else(|| method.clone(), |layer| format!("{method} {layer}"))
    }
}

#[cfg(feature = "plot")]
impl Comparison {
    /// The share of attempts that succeed within an L2, a curve for each method; as SVG.
    ///
    /// # Errors
    /// When a size is not finite.
    pub fn svg(&self) -> Result<String, PlotError> {
        let largest = self.contenders.iter().filter_map(|one| Some(one.success_by_l2.last()?.0));
        let end = largest.fold(0.0, f64::max);
        let series = self.contenders.iter().map(|one| {
            let steps = one.success_by_l2.iter().map(|&(size, share)| (size, 100.0 * share));
            let mut points: Vec<_> = std::iter::once((0.0, 0.0)).chain(steps).collect();
            // It stays as it is to the end.
            points.extend(points.last().map(|&(_, share)| (end, share)));
            Series { name: one.title(), shape: Shape::Step, points }
        });
        let title = "Attempts that succeed within an L2".to_owned();
        let x = Axis::new("L2 of the perturbation", "grey levels");
        let y = Axis::new("of all attempts", "%").between(0.0, 100.0);
        let panels = vec![Panel { title: self.data.clone(), series: series.collect() }];
        Curves { title, x, y, panels }.svg()
    }
}
