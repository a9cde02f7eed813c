//! A robustness as plots.

use super::tally::{Robustness, Strength};
use super::words::{percent, title};
use crate::plot::{Axis, Curves, Panel, PlotError, Range, Ranges, Series, Shape};

impl Robustness {
    /// The share of attempts that succeed within an L2, a panel for each method, a curve for each layer; as SVG.
    ///
    /// # Errors
    /// When a size is not finite.
    pub fn success_by_l2_svg(&self) -> Result<String, PlotError> {
        let axis = Axis::new("L2 of the perturbation", "grey levels");
        self.success("Attempts that succeed within an L2", axis, |strength| &strength.success_by_l2)
    }

    /// The same for L∞.
    ///
    /// # Errors
    /// When a size is not finite.
    pub fn success_by_linf_svg(&self) -> Result<String, PlotError> {
        let axis = Axis::new("L∞ of the perturbation", "grey levels").between(0.0, 255.0);
        let title = "Attempts that succeed within an L∞";
        self.success(title, axis, |strength| &strength.success_by_linf)
    }

    fn success(
        &self,
        name: &str,
        x: Axis,
        points: impl Fn(&Strength) -> &[(f64, f64)],
    ) -> Result<String, PlotError> {
        let strengths = self.layers.iter().flat_map(|layer| &layer.methods);
        let largest = strengths.filter_map(|strength| Some(points(strength).last()?.0));
        let end = x.ends.map_or(largest.fold(0.0, f64::max), |(_, end)| end);
        let panel = |method: &str| Panel {
            title: method.to_owned(),
            series: (self.layers.iter())
                .flat_map(|layer| {
                    let name = title(&layer.name, layer.index);
                    let strengths = layer.methods.iter().filter(|one| one.method == method);
                    strengths.map(move |strength| (name.clone(), strength))
                })
                .map(|(name, strength)| {
                    let points =
                        points(strength).iter().map(|&(size, share)| (size, 100.0 * share));
                    let mut points: Vec<_> = std::iter::once((0.0, 0.0)).chain(points).collect();
                    // It stays as it is to the end.
                    points.extend(points.last().map(|&(_, share)| (end, share)));
                    Series { name, shape: Shape::Step, points }
                })
                .collect(),
        };
        let y = Axis::new("of all attempts", "%").between(0.0, 100.0);
        let panels = self.methods().into_iter().map(panel).collect();
        Curves { title: name.to_owned(), x, y, panels }.svg()
    }

    /// The layers from the one that gives way first, with the quartiles of what it takes; as SVG.
    ///
    /// # Errors
    /// When a size is not finite.
    pub fn ranking_svg(&self) -> Result<String, PlotError> {
        let known = self.ranking.iter().flat_map(|rank| rank.l2).flatten();
        let end = known.fold(0.0, f64::max);
        let ranges = self.ranking.iter().map(|rank| {
            let [low, middle, high] = rank.l2;
            let note = match middle {
                Some(half) => format!("{half:.0}"),
                None => {
                    format!("{} of the images change class", percent(rank.reached, self.images))
                }
            };
            Range {
                name: title(&rank.layer, rank.index),
                // A quartile that is beyond what changes any class lies at the end.
                values: low.zip(middle).map(|(low, middle)| [low, middle, high.unwrap_or(end)]),
                note,
            }
        });
        Ranges {
            title: "Which layer gives way first".to_owned(),
            x: Axis::new(
                "L2 for a quarter, half (dot) and three quarters of the images",
                "grey levels",
            ),
            ranges: ranges.collect(),
        }
        .svg()
    }
}
