//! The page of `lots report`.

use std::collections::BTreeSet;
use std::path::Path;

use askama::Template;

use super::card::{called, layer, method, rounded};
use super::gallery::{Gallery, Pictures, url};
use super::run::Run;
use super::table1::{count, percent};
use super::tally::{Tally, distinct};
use crate::error::DataError;
use crate::names::method_title;
use crate::record::{Ending, Record};

/// Reasons that are told of images that are not to be had; the rest are counted.
const REASONS: usize = 3;

/// A page of records: counts, curves, pictures and tables, of one run or of several side by side.
#[derive(Clone, Copy, Debug)]
pub struct ReportPage<'a> {
    /// Its headline; `None` for one that says of which networks the records are.
    pub title: Option<&'a str>,
    /// In the order in which they are shown.
    pub runs: &'a [Run],
    /// Where the page will lie; images are linked as seen from there.
    pub folder: &'a Path,
}

impl ReportPage<'_> {
    /// The page, an HTML file that needs no other. Where results are many, an even sample of them is shown in pictures;
    /// numbers and tables are of all. Images that are named but not to be had are told in the page.
    ///
    /// # Errors
    /// When the folder is not there, or a picture or plot cannot be made.
    pub fn html(&self) -> Result<String, DataError> {
        let (folder, runs) = (self.folder, self.runs);
        let folder = folder.canonicalize().map_err(|e| DataError::write("the page", e))?;
        let pictures = Pictures::of(runs, &folder)?;
        let records = || runs.iter().flat_map(|run| &run.records);
        let view = ReportView {
            title: self.title.map_or_else(|| title(runs), str::to_owned),
            lead: lead(runs),
            runs: runs.iter().map(|run| run.name.as_str()).collect(),
            facts: facts(runs),
            notes: notes(runs, &pictures.lost),
            plots: plots(runs)?,
            groups: (records().count() > 0).then(|| groups(runs)),
            shown: shown(pictures.shown),
            galleries: pictures.galleries,
            layers: pictures.layers,
            results: (records().count() > 0).then(|| results(runs, &folder)),
            version: env!("CARGO_PKG_VERSION"),
        };
        view.render().map_err(|e| DataError::write("the page", e))
    }
}

#[derive(Template)]
#[template(path = "report.html")]
struct ReportView<'a> {
    title: String,
    lead: String,
    runs: Vec<&'a str>,
    facts: Vec<Fact>,
    notes: Vec<String>,
    plots: Vec<Plot>,
    groups: Option<Table>,
    shown: String,
    galleries: Vec<Gallery>,
    layers: Vec<String>,
    results: Option<Table>,
    version: &'static str,
}

/// A plot, where the feature `plot` is on.
pub(super) struct Plot {
    /// An element of HTML.
    pub(super) svg: String,
    pub(super) caption: String,
}

#[cfg(feature = "plot")]
fn plots(runs: &[Run]) -> Result<Vec<Plot>, DataError> {
    super::successes::plots(runs).map_err(|e| DataError::write("the page", e))
}

#[cfg(not(feature = "plot"))]
fn plots(_: &[Run]) -> Result<Vec<Plot>, DataError> {
    Ok(Vec::new())
}

/// What there is to say of each run.
struct Fact {
    name: &'static str,
    values: Vec<String>,
}

/// A table that can be sorted.
struct Table {
    id: &'static str,
    caption: &'static str,
    heads: Vec<Head>,
    rows: Vec<Vec<Cell>>,
}

struct Head {
    text: &'static str,
    /// `word` where cells are no numbers; `falling` where the largest is wanted first.
    class: &'static str,
}

impl Head {
    fn is_word(&self) -> bool {
        self.class == "word"
    }
}

struct Cell {
    text: String,
    url: Option<String>,
}

impl Cell {
    fn of(text: impl Into<String>) -> Self {
        Self { text: text.into(), url: None }
    }
}

/// The networks of some runs.
fn networks(runs: &[Run]) -> Vec<&str> {
    distinct(runs.iter().flat_map(|run| &run.records), |record| record.model.as_str())
}

fn title(runs: &[Run]) -> String {
    let named = |name: &&str| name.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
    let names: Vec<String> = networks(runs).iter().map(named).collect();
    match &names[..] {
        [] => "No results".to_owned(),
        [one] => format!("What it takes to mislead {one}"),
        [one, other] => format!("What it takes to mislead {one} and {other}"),
        all => format!("What it takes to mislead {} networks", all.len()),
    }
}

/// A count with its noun.
fn some(n: usize, one: &str, many: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { many })
}

/// All in a few sentences.
fn lead(runs: &[Run]) -> String {
    let records = || runs.iter().flat_map(|run| &run.records);
    let tally = Tally::of(records());
    if tally.results == 0 {
        return "The run holds no results: it was stopped before its first, or nothing was asked for."
            .to_owned();
    }
    let origins: BTreeSet<&str> = records().map(|record| record.origin.as_str()).collect();
    let methods = distinct(records(), |record| record.method.as_str());
    let layers = distinct(records(), |record| record.layer.as_str());
    let mut text = format!(
        "{} from {} by {} at {}.",
        some(tally.results, "result", "results"),
        some(origins.len(), "origin", "origins"),
        match methods[..] {
            [one] => method_title(one).to_owned(),
            ref all => some(all.len(), "method", "methods"),
        },
        match layers[..] {
            [one] => one.to_owned(),
            ref all => some(all.len(), "layer", "layers"),
        },
    );
    if let Some(rate) = tally.success() {
        text += &format!(
            " {} of {} reached their goal, {}",
            count(tally.found),
            some(tally.attempts(), "attempt", "attempts"),
            percent(rate)
        );
        if let (Some(l2), Some(pass)) = (tally.l2, tally.pass) {
            text += &format!("; their median L2 is {l2:.0}, their median PASS {pass:.2}");
        }
        text.push('.');
    }
    text
}

fn facts(runs: &[Run]) -> Vec<Fact> {
    let fact = |name, value: &dyn Fn(&Run, &Tally) -> String| Fact {
        name,
        values: runs.iter().map(|run| value(run, &Tally::of(&run.records))).collect(),
    };
    let list = |words: Vec<String>| match words.len() {
        0 => "–".to_owned(),
        1..=6 => words.join(", "),
        n => format!("{}: {}, … {}", count(n), words[..3].join(", "), words[n - 1]),
    };
    vec![
        fact("network", &|run, _| list(distinct(&run.records, |record| record.model.clone()))),
        fact("results", &|_, tally| count(tally.results)),
        fact("origins", &|run, _| {
            let all: BTreeSet<&str> = run.records.iter().map(|r| r.origin.as_str()).collect();
            count(all.len())
        }),
        fact("methods", &|run, _| {
            list(distinct(&run.records, |record| method_title(&record.method).to_owned()))
        }),
        fact("layers", &|run, _| list(distinct(&run.records, layer))),
        fact("origins that are misread", &|run, _| {
            let misread = |record: &&Record| record.outcome == Ending::OriginMisclassified;
            let all: BTreeSet<&str> =
                run.records.iter().filter(misread).map(|r| r.origin.as_str()).collect();
            count(all.len())
        }),
        fact("no direction", &|_, tally| count(tally.no_direction)),
        fact("successes", &|_, tally| match tally.success() {
            Some(rate) => {
                format!("{} of {}, {}", count(tally.found), count(tally.attempts()), percent(rate))
            }
            None => "–".to_owned(),
        }),
        fact("median L2 of successes", &|_, tally| rounded(tally.l2, 1)),
        fact("median L∞ of successes", &|_, tally| rounded(tally.linf, 1)),
        fact("median PASS of successes", &|_, tally| rounded(tally.pass, 4)),
    ]
}

/// What there is to say against the records, and the images that are not to be had.
fn notes(runs: &[Run], lost: &[String]) -> Vec<String> {
    let named = |run: &Run, note: &str| match runs.len() {
        1 => note.to_owned(),
        _ => format!("{}: {note}", run.name),
    };
    let mut notes: Vec<String> =
        runs.iter().flat_map(|run| run.notes.iter().map(|note| named(run, note))).collect();
    for run in runs.iter().filter(|run| run.records.is_empty()) {
        notes.push(format!("{} holds no results.", run.name));
    }
    if !lost.is_empty() {
        let told: Vec<&str> = lost.iter().map(String::as_str).take(REASONS).collect();
        let more = lost.len() - told.len();
        let more = if more > 0 { format!("; and {} more", count(more)) } else { String::new() };
        let images = some(lost.len(), "image that records name is", "images that records name are");
        notes.push(format!("{images} not to be had: {}{more}.", told.join("; ")));
    }
    notes
}

/// How many results have pictures.
fn shown((shown, all): (usize, usize)) -> String {
    if shown == all {
        return format!("All {} with an image are here.", some(all, "result", "results"));
    }
    format!(
        "Of {} with an image, {} are here, evenly spread, so that the page stays small; numbers, curves and tables are of all.",
        some(all, "result", "results"),
        count(shown)
    )
}

/// The columns of both tables begin with the run, where there are several.
fn heads(runs: &[Run], rest: &[(&'static str, &'static str)]) -> Vec<Head> {
    let run = (runs.len() > 1).then_some(("Run", "word"));
    let heads = run.into_iter().chain(rest.iter().copied());
    heads.map(|(text, class)| Head { text, class }).collect()
}

fn with_run(runs: &[Run], run: &Run, rest: impl IntoIterator<Item = Cell>) -> Vec<Cell> {
    let name = (runs.len() > 1).then(|| Cell::of(run.name.clone()));
    name.into_iter().chain(rest).collect()
}

/// A row for each method at each layer.
fn groups(runs: &[Run]) -> Table {
    let mut rows = Vec::new();
    for run in runs {
        for (title, place) in distinct(&run.records, |r| (method(r), layer(r))) {
            let here = |r: &&Record| method(r) == title && layer(r) == place;
            let tally = Tally::of(run.records.iter().filter(here));
            let cells = [
                title,
                place,
                count(tally.attempts()),
                count(tally.found),
                tally.success().map_or_else(|| "–".to_owned(), percent),
                rounded(tally.l2, 1),
                rounded(tally.linf, 1),
                rounded(tally.pass, 4),
            ];
            rows.push(with_run(runs, run, cells.map(Cell::of)));
        }
    }
    let heads = heads(
        runs,
        &[
            ("Method", "word"),
            ("Layer", "word"),
            ("Attempts", "falling"),
            ("Successes", "falling"),
            ("Rate", "falling"),
            ("L2", ""),
            ("L∞", ""),
            ("PASS", "falling"),
        ],
    );
    Table { id: "groups", caption: "Successes and medians by method and layer", heads, rows }
}

/// A row for each result.
fn results(runs: &[Run], folder: &Path) -> Table {
    let mut rows = Vec::new();
    for run in runs {
        for (i, record) in run.records.iter().enumerate() {
            let url = record.image.as_deref().and_then(|name| url(run, name, folder));
            let cells = [
                Cell { text: (i + 1).to_string(), url },
                Cell::of(method_title(&record.method)),
                Cell::of(layer(record)),
                Cell::of(record.origin.clone()),
                Cell::of(record.origin_name.clone()),
                Cell::of(goal(record)),
                Cell::of(record.label_name.clone().unwrap_or_else(|| "–".to_owned())),
                Cell::of(match record.outcome {
                    Ending::Adversarial => "success",
                    Ending::NotFound => "not found",
                    Ending::OriginMisclassified => "origin misread",
                    Ending::NoDirection => "no direction",
                }),
                Cell::of(rounded(record.step, 2)),
                Cell::of(rounded(record.l2.map(|l2| l2.0), 1)),
                Cell::of(rounded(record.linf.map(|linf| f64::from(linf.0)), 0)),
                Cell::of(rounded(record.pass, 4)),
            ];
            rows.push(with_run(runs, run, cells));
        }
    }
    let heads = heads(
        runs,
        &[
            ("#", ""),
            ("Method", "word"),
            ("Layer", "word"),
            ("Origin", "word"),
            ("Class", "word"),
            ("Towards", "word"),
            ("Read as", "word"),
            ("Outcome", "word"),
            ("Step", ""),
            ("L2", ""),
            ("L∞", ""),
            ("PASS", "falling"),
        ],
    );
    Table { id: "results", caption: "Every result", heads, rows }
}

/// The hot class, or what the target shows, or the class that is the goal.
fn goal(record: &Record) -> String {
    match (record.hot, record.target_label, &record.target) {
        (Some(hot), ..) => called(&record.hot_name, hot),
        (_, Some(label), _) => called(&record.target_name, label),
        (_, None, Some(target)) => target.clone(),
        _ if record.goal == "any" => "–".to_owned(),
        _ => record.goal.clone(),
    }
}
