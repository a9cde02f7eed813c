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
    /// Of the images that there are; `None` without any.
    pub means: Option<Means>,
    /// For methods with a target: the Euclidean distance between what the layer sees in the image and in the target, as a share of
    /// that between origin and target. A mean over all images that there are, found or not; `None` without any.
    #[serde(default)]
    pub distance: Option<f64>,
    /// The share of the attempts that succeed within an L2: steps (L2, share), ascending.
    pub success_by_l2: Vec<(f64, f64)>,
    /// Wall-clock seconds for all of them together, measures not included.
    pub seconds: f64,
    /// Forward passes of single images an attempt, as a mean over all attempts.
    pub forward: f64,
    /// Back-projections an attempt, likewise.
    pub backward: f64,
}

/// Means over the images that reached the goal, or, where there is an image in any case, over all.
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
    /// Of `records`, which took `seconds` altogether, and whose images, at the layer, are at `distances` from their targets.
    /// Misclassified origins do not count.
    pub fn new(
        method: &str,
        layer: Option<&str>,
        records: &[Record],
        distances: &[f64],
        seconds: f64,
    ) -> Self {
        let attempts = || records.iter().filter(|r| r.outcome != Ending::OriginMisclassified);
        let found: Vec<&Record> = attempts().filter(|r| r.outcome == Ending::Adversarial).collect();
        let count = attempts().count();
        let mean = |of: &dyn Fn(&Record) -> f64, all: &[&Record]| {
            all.iter().map(|record| of(record)).sum::<f64>() / all.len() as f64
        };
        let l2 = |record: &Record| record.l2.map_or(f64::NAN, |l2| l2.0);
        let made: Vec<&Record> = attempts().filter(|record| record.l2.is_some()).collect();
        let means = (!made.is_empty()).then(|| Means {
            l2: mean(&l2, &made),
            linf: mean(&|record| record.linf.map_or(f64::NAN, |linf| linf.0.into()), &made),
            pass: mean(&|record| record.pass.unwrap_or(f64::NAN), &made),
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
            distance: (!distances.is_empty())
                .then(|| distances.iter().sum::<f64>() / distances.len() as f64),
            success_by_l2: sizes.into_iter().enumerate().map(share).collect(),
            seconds,
            forward: passes(&|record| record.passes.map_or(0.0, |passes| passes.forward.into())),
            backward: passes(&|record| record.passes.map_or(0.0, |passes| passes.backward.into())),
        }
    }
}

#[cfg(feature = "plot")]
impl Comparison {
    /// The share of attempts that succeed within an L2, a curve for each method and a panel for each layer; as SVG.
    ///
    /// # Errors
    /// When a size is not finite.
    pub fn svg(&self) -> Result<String, PlotError> {
        let largest = self.contenders.iter().filter_map(|one| Some(one.success_by_l2.last()?.0));
        let end = largest.fold(0.0, f64::max);
        let mut panels: Vec<Panel> = Vec::new();
        for one in &self.contenders {
            let title = one.layer.as_deref().unwrap_or("without a layer");
            let at = panels.iter().position(|panel| panel.title == title);
            let at = at.unwrap_or_else(|| {
                panels.push(Panel { title: title.to_owned(), series: Vec::new() });
                panels.len() - 1
            });
            let steps = one.success_by_l2.iter().map(|&(size, share)| (size, 100.0 * share));
            let mut points: Vec<_> = std::iter::once((0.0, 0.0)).chain(steps).collect();
            // It stays as it is to the end.
            points.extend(points.last().map(|&(_, share)| (end, share)));
            let series = Series { name: one.method.clone(), shape: Shape::Step, points };
            panels[at].series.push(series);
        }
        let title = format!("Attempts that succeed within an L2, {}", self.data);
        let x = Axis::new("L2 of the perturbation", "grey levels");
        let y = Axis::new("of all attempts", "%").between(0.0, 100.0);
        Curves { title, x, y, panels }.svg()
    }
}
