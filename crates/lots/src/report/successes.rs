//! Curves of success against the size of the change.

use super::card::layer;
use super::method_title;
use super::records::Plot;
use super::run::Run;
use super::tally::distinct;
use crate::plot::{Axis, Curves, Panel, PlotError, Series, Shape};
use crate::record::{Ending, Record};

/// More steps than these are not told apart on a screen.
const STEPS: usize = 200;
/// More curves than these are not told apart in one plot.
const CURVES: usize = 8;

/// A size of a perturbation.
struct Size {
    name: &'static str,
    unit: &'static str,
    meaning: &'static str,
    of: fn(&Record) -> Option<f64>,
}

const SIZES: [Size; 3] = [
    Size {
        name: "L2",
        unit: "grey levels",
        meaning: "the length of the perturbation",
        of: |record| record.l2.map(|l2| l2.0),
    },
    Size {
        name: "L∞",
        unit: "grey levels",
        meaning: "the largest change of a pixel",
        of: |record| record.linf.map(|linf| f64::from(linf.0)),
    },
    Size {
        name: "1 − PASS",
        unit: "",
        meaning: "how unlike the two images look",
        of: |record| record.pass.map(|pass| 1.0 - pass),
    },
];

/// Success against each size, a curve for each method; and against the first, for each method, a curve for each layer. Of one
/// method alone: against each size, a curve for each layer. Runs have curves of their own.
pub(super) fn plots(runs: &[Run]) -> Result<Vec<Plot>, PlotError> {
    let methods = distinct(runs.iter().flat_map(|run| &run.records), |r| r.method.as_str());
    let mut plots = Vec::new();
    let of_method = |method: &str, size: &Size| {
        let title = format!("{} by layer", method_title(method));
        plot(runs, title, size, |record| (record.method == method).then(|| layer(record)))
    };
    match methods[..] {
        [] => (),
        [method] => {
            for size in &SIZES {
                plots.extend(of_method(method, size)?);
            }
        }
        ref methods => {
            for size in &SIZES {
                let name = |record: &Record| Some(method_title(&record.method).to_owned());
                plots.extend(plot(runs, "All methods".to_owned(), size, name)?);
            }
            for method in methods {
                let all = || runs.iter().flat_map(|run| &run.records);
                let here = all().filter(|record| record.method == *method);
                if distinct(here, layer).len() > 1 {
                    plots.extend(of_method(method, &SIZES[0])?);
                }
            }
        }
    }
    Ok(plots)
}

/// Success against `size`; `None` where nothing succeeds. A curve is what shares a run and a `name`; what has none is left out.
fn plot(
    runs: &[Run],
    title: String,
    size: &Size,
    name: impl Fn(&Record) -> Option<String>,
) -> Result<Option<Plot>, PlotError> {
    let mut series = Vec::new();
    for run in runs {
        let names: Vec<Option<String>> = run.records.iter().map(&name).collect();
        for here in distinct(&names, Option::as_ref).into_iter().flatten() {
            let records = run.records.iter().zip(&names);
            let records = records.filter(|(_, name)| name.as_ref() == Some(here));
            let attempts: Vec<&Record> = records
                .map(|(record, _)| record)
                .filter(|record| record.outcome != Ending::OriginMisclassified)
                .collect();
            let found = attempts.iter().filter(|record| record.outcome == Ending::Adversarial);
            // What no number tells has no place.
            let sizes = found.filter_map(|r| (size.of)(r)).filter(|x| x.is_finite());
            let sizes: Vec<f64> = sizes.collect();
            let name = match runs.len() {
                1 => here.clone(),
                _ => format!("{}: {here}", run.name),
            };
            if !sizes.is_empty() {
                let points = climb(sizes, attempts.len());
                series.push(Series { name, shape: Shape::Step, points });
            }
        }
    }
    if series.is_empty() {
        return Ok(None);
    }
    let left_out = series.len().saturating_sub(CURVES);
    series.truncate(CURVES);
    let mut caption = format!("Successes by {}: {}.", size.name, size.meaning);
    if left_out > 0 {
        caption += &format!(" {left_out} curves more would not be told apart; the table has all.");
    }
    let x = Axis::new(size.name, size.unit);
    let y = Axis::new("successes", "%").between(0.0, 100.0);
    let panels = vec![Panel { title: String::new(), series }];
    let title = format!("{title}: {}", size.name);
    let svg = Curves { title, x, y, panels }.svg()?;
    Ok(Some(Plot { svg, caption }))
}

/// From a size to the percentage of `attempts` with a size no larger, from 0 on.
fn climb(mut sizes: Vec<f64>, attempts: usize) -> Vec<(f64, f64)> {
    sizes.sort_by(f64::total_cmp);
    let n = sizes.len();
    let steps = n.min(STEPS);
    let step = |i: usize| {
        let rank = i * n / steps;
        (sizes[rank - 1], 100.0 * rank as f64 / attempts as f64)
    };
    let first = (sizes[0].min(0.0), 0.0);
    [first].into_iter().chain((1..=steps).map(step)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_climb_to_the_rate() {
        let cases = [
            (vec![3.0, 1.0], 4, vec![(0.0, 0.0), (1.0, 25.0), (3.0, 50.0)]),
            (vec![2.0], 1, vec![(0.0, 0.0), (2.0, 100.0)]),
            (vec![-0.5], 2, vec![(-0.5, 0.0), (-0.5, 50.0)]),
        ];
        for (sizes, attempts, wanted) in cases {
            assert_eq!(climb(sizes, attempts), wanted);
        }
        let many = climb((0..1000).map(f64::from).collect(), 2000);
        assert_eq!((many.len(), many[1], many[STEPS]), (201, (4.0, 0.25), (999.0, 50.0)));
    }
}
