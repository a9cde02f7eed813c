//! What a run says on a terminal.

use std::path::Path;

use lots::robustness::{Quantiles, Strength, percent};

use super::folder::Report;
use crate::output::{narrow, paragraph, table};

pub(super) fn text(report: &Report<'_>, folder: &Path) -> String {
    let (run, found) = (report.settings, report.robustness);
    let misread = match found.misclassified {
        0 => String::new(),
        count => format!(", {count} others are misclassified"),
    };
    let mut text =
        format!("{} on {}: {} images attacked{misread}\n", run.model, run.data, found.images);
    if found.images > 0 {
        text += "of those found, quantiles of L2, and medians of L∞, PASS and focus\n\n";
        // One table, so that its columns stand below each other.
        let strengths = strengths(found.layers.iter().flat_map(|layer| &layer.methods));
        let mut lines = strengths.lines();
        let header = lines.next().unwrap_or_default();
        for layer in &found.layers {
            let rows = lines.by_ref().take(layer.methods.len());
            text += &format!("{}\n  {header}\n", title(&layer.name, layer.index));
            text.extend(rows.map(|row| format!("  {row}\n")));
            text.push('\n');
        }
        text += "which layer gives way first, by the smallest L2 for each image\n";
        text += &indented(&ranking(report));
        text.push('\n');
    }
    for sentence in found.words() {
        text += &paragraph([0, 0], &sentence);
    }
    text + &format!("\nnumbers, plots and records in {}\n", folder.display())
}

fn strengths<'s>(strengths: impl Iterator<Item = &'s Strength>) -> String {
    let header = [
        "method", "tried", "found", "L2 5 %", "25 %", "50 %", "75 %", "95 %", "L∞", "PASS", "focus",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for Strength { method, all, .. } in strengths {
        let mut row =
            vec![method.clone(), all.attempts.to_string(), percent(all.found, all.attempts)];
        let l2 = all.l2.map(|quantiles| quantiles.all());
        row.extend((0..5).map(|i| number(l2.map(|l2| l2[i]), 0)));
        let median = |quantiles: &Option<Quantiles>| quantiles.map(|quantiles| quantiles.p50);
        row.push(number(median(&all.linf), 0));
        row.push(number(median(&all.pass), 3));
        row.push(number(median(&all.focus), 3));
        rows.push(row);
    }
    table(&rows, &[false, true, true, true, true, true, true, true, true, true, true])
}

fn ranking(report: &Report<'_>) -> String {
    let header = ["", "layer", "L2 25 %", "50 %", "75 %", "first for", "changed at all"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let share = |count| percent(count, report.robustness.images);
    for (i, rank) in report.robustness.ranking.iter().enumerate() {
        let mut row = vec![format!("{}.", i + 1), title(&rank.layer, rank.index)];
        row.extend(rank.l2.map(|l2| number(l2, 0)));
        row.extend([share(rank.first), share(rank.reached)]);
        rows.push(row);
    }
    narrow(&mut rows, &[1]);
    table(&rows, &[true, false, true, true, true, true, true])
}

/// A layer: its name, and its index if it has one.
fn title(name: &str, index: Option<usize>) -> String {
    let name = name.replace(char::is_control, "?");
    index.map_or_else(|| name.clone(), |index| format!("{name} ({index})"))
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}
