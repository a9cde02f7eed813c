//! Table 1, whole, beside the paper's: for a terminal, as Markdown, CSV and JSON, and as a page.

use std::fmt::Write;

use askama::Template;
use serde::Serialize;

use super::card::Picture;
use super::table1::{Line, Value, count, is_far, lines, percent};
use crate::error::DataError;
use crate::experiment::reproduction::{
    Alike, Claim, Comparison, Improved, METHODS, Model, PublishedRow, Subject, Tally, published,
};
use crate::experiment::{Column, Published, Spread};
use crate::image::Image;
use crate::names::method_title;

/// The table and all that is told with it.
#[derive(Clone, Copy, Debug)]
pub struct WholeTable<'a> {
    /// All that is known of its networks, with all seeds.
    pub tallies: &'a [(Subject, Tally)],
    /// What is missing, in words; empty for a table that is whole.
    pub missing: &'a [String],
    /// What the paper says of the networks.
    pub claims: &'a [Claim],
    /// The samples compared, if they were.
    pub comparison: Option<&'a Comparison>,
    /// How it was made, in a few words.
    pub how: &'a str,
}

/// `table1.json`.
#[derive(Serialize)]
struct Json<'a> {
    how: &'a str,
    /// The version of the program's source, where it is known.
    commit: Option<&'a str>,
    missing: &'a [String],
    models: Vec<JsonModel<'a>>,
    claims: &'a [Claim],
    comparison: Option<&'a Comparison>,
}

#[derive(Serialize)]
struct JsonModel<'a> {
    /// The name in the paper's table.
    name: &'a str,
    model: &'a str,
    seed: u64,
    /// The MD5 of its file.
    md5: &'a str,
    /// Of the 10,000 test digits, 0–1.
    error: f64,
    /// Digits attacked, those of them that it misclassifies, and others whose loss is zero.
    images: usize,
    misclassified: usize,
    zero_loss: usize,
    methods: Vec<JsonMethod<'a>>,
    paper_error: Option<f64>,
}

#[derive(Serialize)]
struct JsonMethod<'a> {
    #[serde(flatten)]
    column: &'a Column,
    /// 0–1.
    success: f64,
    /// Over all attacks, not found counting as infinite; `null` where it is infinite, and under the zero-loss rule.
    median_l2: Option<f64>,
}

/// What a table tells of a column: its mean and deviation, and the paper's.
type Measure = (&'static str, fn(&Column) -> Option<Spread>, fn(&Published) -> Spread, usize);

/// The measures, each a table of its own.
const MEASURES: [Measure; 4] = [
    ("Success rate, %", success, published_success, 2),
    ("PASS", |c| c.pass, |p| p.pass, 4),
    ("L2", |c| c.l2, |p| p.l2, 1),
    ("L∞", |c| c.linf, |p| p.linf, 1),
];

fn success(column: &Column) -> Option<Spread> {
    (column.attempts > 0).then(|| Spread { mean: 100.0 * column.success(), std: 0.0 })
}

fn published_success(paper: &Published) -> Spread {
    Spread { mean: 100.0 * paper.success, std: 0.0 }
}

impl WholeTable<'_> {
    /// The networks of the table, and those beside it, with the first seed.
    fn rows(&self) -> impl Iterator<Item = (Model, &Tally, Option<PublishedRow>)> {
        let first = self.tallies.iter().filter(|(subject, _)| subject.seed == 0);
        first.map(|(subject, tally)| (subject.model, tally, published(subject.model)))
    }

    /// For a terminal: a table for each measure, at most 80 columns wide.
    pub fn text(&self) -> String {
        let mut text = String::from("Table 1\n");
        for (title, here, there, decimals) in MEASURES {
            text += &format!("\n{title}\n");
            let head = ["", "error", "FGS", "", "FGV", "", "HC", "LOTS"];
            let rules = ["", "%", "ruled", "", "ruled", "", "", ""];
            let mut rows = vec![head.map(str::to_owned), rules.map(str::to_owned)];
            for (model, tally, paper) in self.rows() {
                let error = 100.0 * tally.error_rate;
                let star = |here, there| if is_far(here, there) { "*" } else { "" };
                let mark = star(Some(error), paper.map(|paper| 100.0 * paper.error_rate));
                let mut row = vec![model.title().to_owned(), format!("{error:.2}{mark}")];
                row.extend(places(&tally.row.columns).map(|column| {
                    let mean = column.and_then(here).map(|spread| spread.mean);
                    let wanted =
                        column.and_then(|column| method_of(paper, column)).as_ref().map(there);
                    let mark = star(mean, wanted.map(|spread| spread.mean));
                    mean.map_or_else(|| "–".to_owned(), |mean| format!("{mean:.decimals$}{mark}"))
                }));
                rows.extend(<[String; 8]>::try_from(row));
                let Some(paper) = paper else { continue };
                let [fgs, fgv, hot, lots] =
                    paper.methods.map(|method| format!("{:.decimals$} ", there(&method).mean));
                let error = format!("{:.2} ", 100.0 * paper.error_rate);
                let none = String::new;
                rows.push(["  paper".to_owned(), error, fgs, none(), fgv, none(), hot, lots]);
            }
            for row in rows {
                let [name, cells @ ..] = &row;
                let mut line = format!("{name:<16}");
                for (cell, width) in cells.iter().zip([7, 9, 9, 9, 9, 9, 9]) {
                    // A place for the mark, so that points stand below each other.
                    let cell =
                        if cell.ends_with(['*', ' ']) { cell.clone() } else { format!("{cell} ") };
                    let _ = write!(line, "{cell:>width$}");
                }
                text += line.trim_end();
                text.push('\n');
            }
        }
        text += "\n* more than 12 % from the paper's; ruled: digits with zero loss are not found\n";
        text
    }

    /// What the samples come to: sentences, each with its details.
    pub fn compared(&self) -> Vec<(String, Vec<String>)> {
        self.comparison.map_or_else(Vec::new, |comparison| {
            vec![diversity(&comparison.diversity), improved(&comparison.improved)]
        })
    }

    fn missing_text(&self) -> String {
        if self.missing.is_empty() {
            return String::new();
        }
        format!("\nNot yet the full table; missing: {}\n", self.missing.join(", "))
    }

    /// As Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "# Table 1\n\n{}\n\nMeans and standard deviations (±); norms in grey levels. In bold what is more than 12 % from the \
             paper's mean. *Ruled*: digits whose single-precision loss is zero count as not found, as the paper's success rates \
             suggest.\n",
            self.how
        );
        text += &self.missing_text();
        for (title, here, there, decimals) in MEASURES {
            let _ = write!(
                text,
                "\n## {title}\n\n| Model | Error, % | FGS, ruled | FGS | FGV, ruled | FGV | HC | LOTS |\n\
                 |---|---:|---:|---:|---:|---:|---:|---:|\n"
            );
            let cell = |spread: Option<Spread>| match spread {
                None => "–".to_owned(),
                Some(Spread { mean, .. }) if title.starts_with("Success") => {
                    format!("{mean:.decimals$}")
                }
                Some(Spread { mean, std }) => format!("{mean:.decimals$} ± {std:.decimals$}"),
            };
            for (model, tally, paper) in self.rows() {
                let bold = |text: String, here: Option<f64>, there: Option<f64>| {
                    if is_far(here, there) { format!("**{text}**") } else { text }
                };
                let error = 100.0 * tally.error_rate;
                let wanted = paper.map(|paper| 100.0 * paper.error_rate);
                let shown = bold(format!("{error:.2}"), Some(error), wanted);
                let _ = write!(text, "| {} | {shown} |", model.title());
                for column in places(&tally.row.columns) {
                    let spread = column.and_then(here);
                    let wanted =
                        column.and_then(|column| method_of(paper, column)).as_ref().map(there);
                    let means = [spread, wanted].map(|spread| spread.map(|spread| spread.mean));
                    let _ = write!(text, " {} |", bold(cell(spread), means[0], means[1]));
                }
                text.push('\n');
                if let Some(paper) = paper {
                    let [fgs, fgv, hot, lots] =
                        paper.methods.map(|method| cell(Some(there(&method))));
                    let error = 100.0 * paper.error_rate;
                    let _ = writeln!(
                        text,
                        "| *paper* | {error:.2} | {fgs} |  | {fgv} |  | {hot} | {lots} |"
                    );
                }
            }
        }
        text += "\n## What the paper says of them\n\n";
        for claim in self.claims {
            let _ = writeln!(text, "- **{}**: {}.", claim.verdict(), claim.claim);
            claim.found.iter().for_each(|line| text += &format!("  - {line}\n"));
        }
        for (line, details) in self.compared() {
            text += &format!("- {line}.\n");
            details.iter().for_each(|detail| text += &format!("  - {detail}\n"));
        }
        text
    }

    /// As CSV, a line for each network, seed, method and way of counting.
    ///
    /// # Errors
    /// When it cannot be written, which memory always can.
    pub fn csv(&self) -> Result<Vec<u8>, DataError> {
        let refuse = |e: csv::Error| DataError::write("table1.csv", e.to_string());
        let mut out = csv::Writer::from_writer(Vec::new());
        let measures = ["pass", "l2", "linf"];
        let mut head: Vec<String> = [
            "model",
            "seed",
            "error",
            "paper_error",
            "method",
            "zero_loss_rule",
            "attempts",
            "found",
        ]
        .map(str::to_owned)
        .to_vec();
        head.extend(["success", "paper_success", "median_l2"].map(str::to_owned));
        for measure in measures {
            head.extend(
                ["mean", "std", "paper_mean", "paper_std", "difference"]
                    .map(|part| format!("{measure}_{part}")),
            );
        }
        out.write_record(&head).map_err(refuse)?;
        let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
        for (subject, tally) in self.tallies {
            let paper = published(subject.model);
            for column in &tally.row.columns {
                let method = method_of(paper, column);
                let mut line = vec![
                    tally.model.clone(),
                    tally.seed.to_string(),
                    tally.error_rate.to_string(),
                    number(paper.map(|paper| paper.error_rate)),
                    column.method.clone(),
                    column.zero_loss_rule.to_string(),
                    column.attempts.to_string(),
                    column.found.to_string(),
                    column.success().to_string(),
                    number(method.map(|method| method.success)),
                    number(median_of(tally, column)),
                ];
                for (_, here, there, _) in &MEASURES[1..] {
                    let (here, there) = (here(column), method.as_ref().map(there));
                    let means = [here, there].map(|spread| spread.map(|spread| spread.mean));
                    let stds = [here, there].map(|spread| spread.map(|spread| spread.std));
                    line.extend([
                        number(means[0]),
                        number(stds[0]),
                        number(means[1]),
                        number(stds[1]),
                    ]);
                    let both = means[0].zip(means[1]);
                    line.push(number(both.map(|(here, there)| here / there - 1.0)));
                }
                out.write_record(&line).map_err(refuse)?;
            }
        }
        out.into_inner().map_err(|e| DataError::write("table1.csv", e.to_string()))
    }

    /// As JSON. `commit` is the version of the program's source.
    ///
    /// # Errors
    /// When it cannot be written, which memory always can.
    pub fn json(&self, commit: Option<&str>) -> Result<Vec<u8>, DataError> {
        let models = self.tallies.iter().map(|(subject, tally)| JsonModel {
            name: subject.model.title(),
            model: &tally.model,
            seed: tally.seed,
            md5: &tally.md5,
            error: tally.error_rate,
            images: tally.row.images,
            misclassified: tally.row.misclassified,
            zero_loss: tally.row.zero_loss,
            methods: tally
                .row
                .columns
                .iter()
                .map(|column| JsonMethod {
                    column,
                    success: column.success(),
                    median_l2: median_of(tally, column),
                })
                .collect(),
            paper_error: published(subject.model).map(|paper| paper.error_rate),
        });
        let json = Json {
            how: self.how,
            commit,
            missing: self.missing,
            models: models.collect(),
            claims: self.claims,
            comparison: self.comparison,
        };
        let text = serde_json::to_string_pretty(&json)
            .map_err(|e| DataError::write("table1.json", e.to_string()))?;
        Ok((text + "\n").into_bytes())
    }

    /// As a page, an HTML file that needs no other. `pictures` are examples of what was found in the attacks on each network.
    ///
    /// # Errors
    /// When a picture cannot be made.
    pub fn html(&self, pictures: &[Examples]) -> Result<String, DataError> {
        let row = |(model, tally, paper): (Model, &Tally, Option<PublishedRow>)| {
            let examples = pictures.iter().find(|examples| examples.model == model);
            let row = RowView {
                title: model.title(),
                error: percent(tally.error_rate),
                paper_error: paper.map(|paper| percent(paper.error_rate)),
                attacked: count(tally.row.images),
                misclassified: count(tally.row.misclassified),
                lines: lines(&tally.row, paper.as_ref().map_or(&[], |paper| &paper.methods)),
                examples: examples.map_or_else(|| Ok(Vec::new()), ExampleView::of)?,
            };
            Ok(row)
        };
        let view = TableView {
            how: self.how.replace('`', ""),
            missing: self.missing,
            rows: self.rows().map(row).collect::<Result<Vec<_>, DataError>>()?,
            claims: self.claims.iter().map(|claim| (claim.verdict(), claim)).collect(),
            comparison: self.compared(),
            version: env!("CARGO_PKG_VERSION"),
        };
        view.render().map_err(|e| DataError::write("the page", e.to_string()))
    }
}

/// Examples of what was found in the attacks on a network.
#[derive(Clone, Debug)]
pub struct Examples {
    /// Which network.
    pub model: Model,
    /// Images with a few words on each.
    pub images: Vec<(Image, String)>,
}

#[derive(Template)]
#[template(path = "whole_table.html")]
struct TableView<'a> {
    how: String,
    missing: &'a [String],
    rows: Vec<RowView>,
    claims: Vec<(&'static str, &'a Claim)>,
    comparison: Vec<(String, Vec<String>)>,
    version: &'static str,
}

struct RowView {
    title: &'static str,
    error: String,
    paper_error: Option<String>,
    attacked: String,
    misclassified: String,
    lines: Vec<Line>,
    examples: Vec<ExampleView>,
}

struct ExampleView {
    picture: Picture,
}

impl ExampleView {
    fn of(examples: &Examples) -> Result<Vec<Self>, DataError> {
        let view = |(image, words): &(Image, String)| {
            Picture::new(image, words.clone()).map(|picture| Self { picture })
        };
        examples.images.iter().map(view).collect()
    }
}

/// FGS and FGV, each under the rule and without it, hot/cold, LOTS.
fn places(columns: &[Column]) -> impl Iterator<Item = Option<&Column>> {
    let order = [
        ("fgs", true),
        ("fgs", false),
        ("fgv", true),
        ("fgv", false),
        ("hot-cold", false),
        ("lots", false),
    ];
    order.into_iter().map(move |(method, rule)| {
        columns.iter().find(|column| column.method == method && column.zero_loss_rule == rule)
    })
}

/// What the paper has for a column: its FGS and FGV for those under the zero-loss rule.
fn method_of(paper: Option<PublishedRow>, column: &Column) -> Option<Published> {
    let has_rule = ["fgs", "fgv"].contains(&column.method.as_str());
    if has_rule != column.zero_loss_rule {
        return None;
    }
    paper?.methods.into_iter().find(|method| method.method == column.method)
}

fn median_of(tally: &Tally, column: &Column) -> Option<f64> {
    let method = METHODS.iter().position(|(name, _)| *name == column.method)?;
    if column.zero_loss_rule { None } else { *tally.median_l2.get(method)? }
}

/// How diverse samples are.
fn diversity(diversity: &[Alike]) -> (String, Vec<String>) {
    let line = "Diversity: the mean cosine of the angle between two perturbations of one digit on Basic LeNet (1: the same \
                direction)";
    let detail = |alike: &Alike| {
        let cosine = alike.cosine.map_or_else(|| "–".to_owned(), |cosine| format!("{cosine:.3}"));
        format!("{}: {cosine} ({} pairs)", alike.ways, count(alike.pairs))
    };
    (line.to_owned(), diversity.iter().map(detail).collect())
}

/// What becomes of samples as targets.
fn improved(improved: &[Improved]) -> (String, Vec<String>) {
    let is_better = |one: &&Improved| {
        let mean = |spread: Option<Spread>| spread.map(|spread| spread.mean);
        mean(one.after).zip(mean(one.before)).is_some_and(|(after, before)| after > before)
    };
    let line = format!(
        "Samples as targets of LOTS: the mean PASS is higher than that of the samples in {} of {} cases",
        improved.iter().filter(is_better).count(),
        improved.len()
    );
    let detail = |one: &Improved| {
        let mean = |spread: Option<Spread>| Value::spread(spread, 4).text();
        let share = one.share.map_or_else(|| "–".to_owned(), percent);
        format!(
            "{} samples, LOTS at {}: PASS {} to {}; higher for {share} of {}",
            method_title(&one.method),
            one.layer,
            mean(one.before),
            mean(one.after),
            count(one.found)
        )
    };
    (line, improved.iter().map(detail).collect())
}
