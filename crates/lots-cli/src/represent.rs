//! `lots represent`

use anyhow::Result;
use clap::Args;
use lots::{npy, represent, write_file};
use serde::Serialize;

use crate::Outcome;
use crate::arguments::{Json, Out, Threads, one_layer};
use crate::images::open;
use crate::model::{Fit, Model};
use crate::output::{print, print_json};

#[derive(Args)]
#[command(after_help = "\
FILE is NumPy's .npy: float32 of shape images × elements, one row an image in
the order given. `lots attack --target-representation FILE` goes towards it
without the image.

Example:
  lots represent face_descriptor.onnx obama.png --layer descriptor --out f.npy")]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: Model,
    /// PNG files, images of data sets such as mnist:test:17, or folders laid out as a gallery
    #[arg(value_name = "IMG", required = true)]
    images: Vec<String>,
    /// The one layer that sees them: name, or index of a layer with weights (from 1 at the input)
    #[arg(long, value_name = "LAYER")]
    layer: String,
    #[command(flatten)]
    fit: Fit,
    #[command(flatten)]
    out: Out,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    json: Json,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    model: &'a str,
    layer: String,
    file: String,
    /// By row.
    images: Vec<String>,
    /// Of each row.
    elements: usize,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    arguments.out.check()?;
    arguments.threads.start()?;
    let network = arguments.model.open()?;
    // Not shown here, but wrong ones are told.
    arguments.model.names(&network)?;
    let layer = one_layer(&network, "--layer", &arguments.layer)?;
    let images = open(&arguments.images, &arguments.fit, &network, &[])?;
    let rows = represent(&network, &images, layer)?;
    write_file(&arguments.out.path, &npy(rows.view())?)?;
    let report = Report {
        model: network.name(),
        layer: crate::attack::layer(&network, layer)?.name.clone(),
        file: arguments.out.path.display().to_string(),
        images: images.into_iter().map(|image| image.name).collect(),
        elements: rows.ncols(),
    };
    if arguments.json.on {
        print_json(&report)?;
    } else {
        let Report { file, layer, model, elements, images } = &report;
        let count = images.len();
        print(&format!("{file}: {count}×{elements} float32, {layer} of {model}\n"))?;
    }
    Ok(Outcome::Done)
}
