//! Table 1 beside the paper's: for a page, and for a terminal.

use std::fmt::Write;

use crate::experiment::{Column, PAPER_BASIC, Published, Row, Spread};
use crate::names::method_title;

/// A method with its values, here and in the paper.
pub(super) struct Line {
    pub(super) method: String,
    /// Which way of counting, for the methods that have two.
    pub(super) rule: Option<&'static str>,
    /// Success, PASS, L2, L∞.
    pub(super) pairs: [Pair; 4],
}

/// A value here and in the paper, rounded as there.
pub(super) struct Pair {
    pub(super) here: Value,
    pub(super) paper: Value,
    /// From the paper's mean to that here, as a part of the paper's.
    pub(super) difference: String,
    /// Whether that is much.
    #[cfg_attr(
        not(feature = "sets"),
        expect(dead_code, reason = "only the page of the whole table marks it")
    )]
    pub(super) is_far: bool,
}

/// A mean further than this from the paper's, as a part of the paper's, is marked.
const FAR: f64 = 0.12;

/// Whether a mean here is far from the paper's.
pub(super) fn is_far(here: Option<f64>, paper: Option<f64>) -> bool {
    here.zip(paper).is_some_and(|(here, paper)| (here / paper - 1.0).abs() > FAR)
}

/// A mean with what it spreads, if it does.
pub(super) struct Value {
    pub(super) mean: String,
    pub(super) std: Option<String>,
}

impl Value {
    fn none() -> Self {
        Self { mean: "–".to_owned(), std: None }
    }

    pub(super) fn spread(spread: Option<Spread>, decimals: usize) -> Self {
        spread.map_or_else(Self::none, |Spread { mean, std }| Self {
            mean: format!("{mean:.decimals$}"),
            std: Some(format!("± {std:.decimals$}")),
        })
    }

    fn rate(rate: Option<f64>) -> Self {
        rate.map_or_else(Self::none, |rate| Self { mean: percent(rate), std: None })
    }

    pub(super) fn text(&self) -> String {
        match &self.std {
            Some(std) => format!("{} {std}", self.mean),
            None => self.mean.clone(),
        }
    }
}

/// The methods of `row` in its order, beside those of the `paper`.
pub(super) fn lines(row: &Row, paper: &[Published]) -> Vec<Line> {
    row.columns.iter().map(|column| line(row, paper, column)).collect()
}

fn line(row: &Row, paper: &[Published], column: &Column) -> Line {
    let paper = paper.iter().find(|paper| paper.method == column.method);
    let twice = row.columns.iter().filter(|other| other.method == column.method).count() > 1;
    let rule = if column.zero_loss_rule { "zero-loss rule" } else { "without the rule" };
    let spread = |here: Option<Spread>, there: fn(&Published) -> Spread, decimals| {
        let there = paper.map(there);
        Pair {
            here: Value::spread(here, decimals),
            paper: Value::spread(there, decimals),
            difference: difference(here.map(|x| x.mean), there.map(|x| x.mean)),
            is_far: is_far(here.map(|x| x.mean), there.map(|x| x.mean)),
        }
    };
    let (here, there) =
        ((column.attempts > 0).then(|| column.success()), paper.map(|paper| paper.success));
    let success = Pair {
        here: Value::rate(here),
        paper: Value::rate(there),
        difference: difference(here, there),
        is_far: is_far(here, there),
    };
    Line {
        method: method_title(&column.method).to_owned(),
        rule: twice.then_some(rule),
        pairs: [
            success,
            spread(column.pass, |paper| paper.pass, 4),
            spread(column.l2, |paper| paper.l2, 1),
            spread(column.linf, |paper| paper.linf, 1),
        ],
    }
}

/// How far `here` is from `paper`, as a part of `paper`.
fn difference(here: Option<f64>, paper: Option<f64>) -> String {
    let (Some(here), Some(paper)) = (here, paper) else { return "–".to_owned() };
    let percent = (here / paper - 1.0) * 100.0;
    let size = format!("{:.1}", percent.abs());
    let sign = if size == "0.0" {
        ""
    } else if percent < 0.0 {
        "−"
    } else {
        "+"
    };
    format!("{sign}{size} %")
}

/// A rate, 0–1, as the paper prints it.
pub(super) fn percent(rate: f64) -> String {
    format!("{:.2} %", rate * 100.0)
}

/// A count with its thousands apart.
pub fn count(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The row beside the paper's for Basic LeNet, for a terminal: at most 80 columns wide but for long names.
pub fn table1_text(row: &Row) -> String {
    let mut text = format!(
        "{} on {}\n{} images, {} misclassified, {} with zero loss\n\n",
        row.model,
        row.data,
        count(row.images),
        count(row.misclassified),
        count(row.zero_loss)
    );
    let mut add = |name: &str, cells: [String; 4]| {
        let [success, pass, l2, linf] = cells;
        // A string takes what is written to it.
        let _ = writeln!(text, "{name:<14}{success:>9}{pass:>18}{l2:>18}{linf:>16}");
    };
    add("", ["success", "PASS", "L2", "L∞"].map(str::to_owned));
    for Line { method, rule, pairs } in lines(row, &PAPER_BASIC) {
        match rule {
            Some(rule) => add(&format!("{method}, {rule}"), Default::default()),
            None => add(&method, Default::default()),
        }
        add("  here", pairs.each_ref().map(|pair| pair.here.text()));
        add("  paper", pairs.each_ref().map(|pair| pair.paper.text()));
        add("  difference", pairs.map(|pair| pair.difference));
    }
    // Rows of names alone end in nothing.
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n") + "\n"
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn column(method: &str, zero_loss_rule: bool, found: usize) -> Column {
        let spread = |mean, std| (found > 0).then_some(Spread { mean, std });
        Column {
            method: method.to_owned(),
            zero_loss_rule,
            attempts: 9909,
            found,
            pass: spread(0.434_567, 0.109_83),
            l2: spread(1004.04, 456.78),
            linf: spread(169.96, 52.44),
        }
    }

    /// A row with all that can happen.
    pub(in crate::report) fn row() -> Row {
        Row {
            model: "lenet.onnx".to_owned(),
            data: "mnist:test".to_owned(),
            images: 10_000,
            misclassified: 91,
            zero_loss: 1234,
            columns: vec![
                column("fgs", true, 8459),
                column("fgs", false, 9909),
                column("hot-cold", false, 0),
                column("lots", false, 9865),
                column("mine", false, 1),
            ],
        }
    }

    #[test]
    fn text_of_a_row() {
        let text = table1_text(&row());
        insta::assert_snapshot!(text, @"
        lenet.onnx on mnist:test
        10,000 images, 91 misclassified, 1,234 with zero loss

                        success              PASS                L2              L∞
        FGS, zero-loss rule
          here          85.37 %   0.4346 ± 0.1098    1004.0 ± 456.8    170.0 ± 52.4
          paper         85.37 %   0.4303 ± 0.1098     718.8 ± 281.2     34.6 ± 13.2
          difference      0.0 %            +1.0 %           +39.7 %        +391.2 %
        FGS, without the rule
          here         100.00 %   0.4346 ± 0.1098    1004.0 ± 456.8    170.0 ± 52.4
          paper         85.37 %   0.4303 ± 0.1098     718.8 ± 281.2     34.6 ± 13.2
          difference    +17.1 %            +1.0 %           +39.7 %        +391.2 %
        hot/cold
          here           0.00 %                 –                 –               –
          paper         99.92 %   0.7269 ± 0.1102     596.0 ± 275.5    117.5 ± 47.2
          difference   −100.0 %                 –                 –               –
        LOTS
          here          99.56 %   0.4346 ± 0.1098    1004.0 ± 456.8    170.0 ± 52.4
          paper         99.56 %   0.6561 ± 0.1245    1004.0 ± 456.8    170.0 ± 52.4
          difference      0.0 %           −33.8 %             0.0 %           0.0 %
        mine
          here           0.01 %   0.4346 ± 0.1098    1004.0 ± 456.8    170.0 ± 52.4
          paper               –                 –                 –               –
          difference          –                 –                 –               –
        ");
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{widest:?}");
    }

    #[test]
    fn nothing_attacked_is_no_rate() {
        let row =
            Row { columns: vec![Column { attempts: 0, ..column("lots", false, 0) }], ..row() };
        let [success, ..] = &lines(&row, &PAPER_BASIC)[0].pairs;
        assert_eq!([&success.here.mean, &success.difference], ["–", "–"]);
    }

    #[test]
    fn differences_are_relative_to_the_paper() {
        let cases = [
            (Some(1.1), Some(1.0), "+10.0 %"),
            (Some(0.5), Some(2.0), "−75.0 %"),
            (Some(0.9999), Some(1.0), "0.0 %"),
            (Some(1.0001), Some(1.0), "0.0 %"),
            (None, Some(1.0), "–"),
            (Some(1.0), None, "–"),
        ];
        for (here, paper, wanted) in cases {
            assert_eq!(difference(here, paper), wanted, "{here:?} {paper:?}");
        }
    }

    #[test]
    fn thousands_are_apart() {
        let cases =
            [(0, "0"), (999, "999"), (1000, "1,000"), (9909, "9,909"), (1_234_567, "1,234,567")];
        for (n, wanted) in cases {
            assert_eq!(count(n), wanted);
        }
    }
}
