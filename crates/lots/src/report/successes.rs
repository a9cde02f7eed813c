//! Curves of success against the size of the change.

use super::card::{layer, method};
use super::records::Plot;
use super::run::Run;
use super::tally::distinct;
use crate::plot::{Axis, Curves, Panel, PlotError, Series, Shape};
use crate::record::{Ending, Record};

/// More steps than these are not told apart on a screen.
const STEPS: usize = 200;
/// More curves than these are not told apart in one panel.
const CURVES: usize = 8;
/// The letters of a panel's title that have room.
const TITLE: usize = 26;

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
/// method alone: against each size, a curve for each layer. Runs have panels of their own.
pub(super) fn plots(runs: &[Run]) -> Result<Vec<Plot>, PlotError> {
    let methods = distinct(runs.iter().flat_map(|run| &run.records), method);
    let mut plots = Vec::new();
    let of_method = |title: &str, size: &Size| {
        let is_it = |record: &Record| method(record) == title;
        plot(runs, format!("{title} by layer"), size, |record| is_it(record).then(|| layer(record)))
    };
    match &methods[..] {
        [] => (),
        [method] => {
            for size in &SIZES {
                plots.extend(of_method(method, size)?);
            }
        }
        methods => {
            for size in &SIZES {
                let name = |record: &Record| Some(method(record));
                plots.extend(plot(runs, "All methods".to_owned(), size, name)?);
            }
            for title in methods {
                let all = || runs.iter().flat_map(|run| &run.records);
                let here = all().filter(|record| method(record) == *title);
                if distinct(here, layer).len() > 1 {
                    plots.extend(of_method(title, &SIZES[0])?);
                }
            }
        }
    }
    Ok(plots)
}

/// Success against `size`, a panel for each run; `None` where nothing succeeds. A curve is what shares a `name`; what has none is
/// left out.
fn plot(
    runs: &[Run],
    title: String,
    size: &Size,
    name: impl Fn(&Record) -> Option<String>,
) -> Result<Option<Plot>, PlotError> {
    let (mut panels, mut left_out) = (Vec::new(), 0);
    for run in runs {
        let mut series = Vec::new();
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
            if !sizes.is_empty() {
                let points = climb(sizes, attempts.len());
                series.push(Series { name: here.clone(), shape: Shape::Step, points });
            }
        }
        left_out += series.len().saturating_sub(CURVES);
        series.truncate(CURVES);
        if !series.is_empty() {
            let title = if runs.len() > 1 { shortened(&run.name) } else { String::new() };
            panels.push(Panel { title, series });
        }
    }
    if panels.is_empty() {
        return Ok(None);
    }
    let mut caption = format!("Successes by {}: {}.", size.name, size.meaning);
    if left_out > 0 {
        let curves = if left_out == 1 { "curve" } else { "curves" };
        caption +=
            &format!(" {left_out} {curves} more would not be told apart; the table has all.");
    }
    let x = Axis::new(size.name, size.unit);
    let y = Axis::new("successes", "%").between(0.0, 100.0);
    let title = format!("{title}: {}", size.name);
    let svg = Curves { title, x, y, panels }.svg()?;
    Ok(Some(Plot { svg, caption }))
}

/// The end of a name that is too long for a panel: it is where paths differ.
fn shortened(name: &str) -> String {
    match name.chars().count().checked_sub(TITLE) {
        None | Some(0) => name.to_owned(),
        Some(over) => "…".chars().chain(name.chars().skip(over + 1)).collect(),
    }
}

/// From a size to the percentage of `attempts` with a size no larger, from 0 on.
fn climb(mut sizes: Vec<f64>, attempts: usize) -> Vec<(f64, f64)> {
    sizes.sort_by(f64::total_cmp);
    let n = sizes.len();
    let steps = n.min(STEPS);
    let step = |rank: usize| (sizes[rank - 1], 100.0 * rank as f64 / attempts as f64);
    let none = (sizes[0].min(0.0), 0.0);
    // The smallest is a step of its own.
    let ranks = (1..=steps).map(|i| i * n / steps).filter(|&rank| rank > 1);
    [none].into_iter().chain([1].into_iter().chain(ranks).map(step)).collect()
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
        assert_eq!(many[..3], [(0.0, 0.0), (0.0, 0.05), (4.0, 0.25)]);
        assert_eq!((many.len(), many[STEPS + 1]), (STEPS + 2, (999.0, 50.0)));
    }

    #[test]
    fn long_names_keep_their_ends() {
        assert_eq!(shortened("found"), "found");
        assert_eq!(shortened("exactly-twenty-six-letters"), "exactly-twenty-six-letters");
        assert_eq!(shortened("a/little-more-than-so-many-letters"), "…more-than-so-many-letters");
    }
}
