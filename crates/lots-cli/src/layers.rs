//! `lots layers`

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use lots_nn::{Graph, LayerInfo, Network};
use serde::Serialize;

use crate::Outcome;
use crate::arguments::{Json, Layers};
use crate::output::{print, print_json, table};

#[derive(Args)]
#[command(after_help = "Example:\n  lots layers lenet.onnx --layer all")]
pub(crate) struct Arguments {
    /// ONNX file
    model: PathBuf,
    #[command(flatten)]
    layers: Layers,
    #[command(flatten)]
    json: Json,
}

#[derive(Serialize)]
struct Row<'a> {
    /// `null` for layers without weights.
    index: Option<usize>,
    name: &'a str,
    operator: &'a str,
    shape: &'a [usize],
    parameters: usize,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let network = Graph::open(&arguments.model)?;
    let wanted = arguments.layers.of(&network)?;
    let rows: Vec<Row<'_>> = network
        .layers()
        .iter()
        .filter(|layer| wanted.as_ref().is_none_or(|wanted| wanted.contains(&layer.id)))
        .map(|LayerInfo { index, name, operator, shape, parameters, .. }| Row {
            index: *index,
            name,
            operator,
            shape,
            parameters: *parameters,
        })
        .collect();
    if arguments.json.on {
        print_json(&rows)?;
    } else {
        print(&text(&rows))?;
    }
    Ok(Outcome::Done)
}

fn text(rows: &[Row<'_>]) -> String {
    let mut cells =
        vec![["index", "name", "operator", "shape", "parameters"].map(String::from).to_vec()];
    cells.extend(rows.iter().map(|row| {
        vec![
            row.index.map(|i| i.to_string()).unwrap_or_default(),
            row.name.escape_debug().to_string(),
            row.operator.to_owned(),
            row.shape.iter().map(usize::to_string).collect::<Vec<_>>().join("×"),
            row.parameters.to_string(),
        ]
    }));
    let total: usize = rows.iter().map(|row| row.parameters).sum();
    let blank = String::new;
    cells.push(vec![blank(), "total".to_owned(), blank(), blank(), total.to_string()]);
    table(&cells, &[true, false, false, false, true])
}
