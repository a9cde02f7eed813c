//! `lots evaluate`

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use lots::data::open_dataset_with_classes;
use lots::{Evaluation, Split, classes, evaluate, write_file};
use lots_nn::Graph;
use serde::Serialize;

use crate::Outcome;
use crate::arguments::{Json, Limit, TestData, Threads};
use crate::model::Model;
use crate::output::{COLUMNS, narrow, print, print_json, table};
use crate::progress::images;

#[derive(Args)]
#[command(after_help = "Example:\n  lots evaluate lenet.onnx --data mnist:test --json")]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: Model,
    #[command(flatten)]
    data: TestData,
    #[command(flatten)]
    limit: Limit,
    /// Also write the logits: little-endian f32, images × classes; FILE must be new
    #[arg(long, value_name = "FILE")]
    logits: Option<PathBuf>,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    json: Json,
}

#[derive(Serialize)]
struct Report<'a> {
    model: &'a str,
    data: &'a str,
    images: usize,
    errors: u64,
    /// 0–1.
    error_rate: f64,
    /// By label and class.
    confusion: &'a [Vec<u64>],
    /// By class, where they have names other than their numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    class_names: Option<&'a [String]>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    arguments.threads.start()?;
    let network = arguments.model.open()?;
    let names = arguments.model.names(&network)?;
    let reference = &arguments.data.reference;
    let data = open_dataset_with_classes(reference, Split::Test, label_classes(&network)?)?;
    let data = arguments.limit.of(data)?;
    if let Some(path) = arguments.logits.as_ref().filter(|path| path.exists()) {
        bail!("{} exists; give another --logits, or remove it first", path.display());
    }

    let bar = images(data.len());
    let mut logits = Vec::new();
    let evaluation = evaluate(&network, &data, |rows| {
        if arguments.logits.is_some() {
            logits.extend(rows.iter().flat_map(|x| x.to_le_bytes()));
        }
        bar.inc(rows.nrows() as u64);
    });
    bar.finish_and_clear();
    let Evaluation { images, errors, error_rate, confusion } = evaluation?;
    if let Some(path) = &arguments.logits {
        write_file(path, &logits)?;
    }
    let report = Report {
        model: network.name(),
        data: data.name(),
        images,
        errors,
        error_rate,
        confusion: &confusion,
        class_names: names.as_deref(),
    };
    if arguments.json.on {
        print_json(&report)?;
    } else {
        print(&text(&report))?;
    }
    Ok(Outcome::Done)
}

/// Classes of the network that labels, single bytes, can name.
pub(crate) fn label_classes(network: &Graph) -> Result<usize> {
    Ok(classes(network)?.clamp(1, 256))
}

/// An error rate as the paper writes it.
pub(crate) fn percent(rate: f64) -> String {
    format!("{:.2} %", 100.0 * rate)
}

fn text(report: &Report<'_>) -> String {
    let Report { model, data, images, errors, .. } = report;
    let rate = percent(report.error_rate);
    let matrix = matrix(report.confusion, report.class_names.unwrap_or_default());
    format!("{model} on {data}\nerror rate {rate} ({errors} of {images} images)\n\n{matrix}")
}

/// Labels down, classes across; names, if any, behind the labels.
fn matrix(confusion: &[Vec<u64>], names: &[String]) -> String {
    let classes = confusion.len();
    let mut rows = vec![vec!["label".to_owned()]];
    rows[0].extend((0..classes).map(|class| class.to_string()));
    rows[0].extend((!names.is_empty()).then(String::new));
    for (label, counts) in confusion.iter().enumerate() {
        let mut row = vec![label.to_string()];
        row.extend(counts.iter().map(|&n| if n == 0 { ".".to_owned() } else { n.to_string() }));
        row.extend(names.get(label).map(|name| name.escape_debug().to_string()));
        rows.push(row);
    }
    let mut right = vec![true; classes + 1];
    right.extend((!names.is_empty()).then_some(false));
    if !names.is_empty() {
        narrow(&mut rows, &[classes + 1]);
    }
    let text = table(&rows, &right);
    if text.lines().any(|line| line.chars().count() > COLUMNS) {
        return format!("confusion of {classes} classes: too wide to print; see --json\n");
    }
    format!("images by label (row) and class given (column)\n{text}")
}
