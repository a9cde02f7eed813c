//! `lots layers`

use anyhow::Result;
use clap::Args;
use lots_nn::{LayerInfo, Network};
use serde::Serialize;

use crate::Outcome;
use crate::arguments::{Json, Layers};
use crate::model::Model;
use crate::output::{narrow, print, print_json, table};

#[derive(Args)]
#[command(after_help = "\
A * marks the layers that attacks take where no --layer is given, unless these
are all with weights (those with an index).

Examples:
  lots layers lenet.onnx --layer all
  lots layers resnet50.onnx --preset imagenet")]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: Model,
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
    /// Whether attacks take it where no layer is asked for, and others with weights not.
    #[serde(skip)]
    marked: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let network = arguments.model.open()?;
    // Not shown here, but wrong ones are told.
    arguments.model.names(&network)?;
    let wanted = arguments.layers.of(&network)?;
    let landmarks = network.landmarks();
    let few = network.layers().iter().all(|l| l.index.is_some() == landmarks.contains(&l.id));
    let rows: Vec<Row<'_>> = network
        .layers()
        .iter()
        .filter(|layer| wanted.as_ref().is_none_or(|wanted| wanted.contains(&layer.id)))
        .map(|LayerInfo { id, index, name, operator, shape, parameters }| Row {
            index: *index,
            name,
            operator,
            shape,
            parameters: *parameters,
            marked: !few && landmarks.contains(id),
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
    let total: usize = rows.iter().map(|row| row.parameters).sum();
    let line = |mark: &str, cells: [String; 5]| [vec![mark.to_owned()], cells.to_vec()].concat();
    let mut cells =
        vec![line("", ["index", "name", "operator", "shape", "parameters"].map(String::from))];
    cells.extend(rows.iter().map(|row| {
        let index = row.index.map(|i| i.to_string()).unwrap_or_default();
        let shape = row.shape.iter().map(usize::to_string).collect::<Vec<_>>().join("×");
        let name = row.name.escape_debug().to_string();
        let mark = if row.marked { "*" } else { "" };
        line(mark, [index, name, row.operator.to_owned(), shape, row.parameters.to_string()])
    }));
    cells.push(line("", ["", "total", "", "", &total.to_string()].map(String::from)));
    let mut right = vec![false, true, false, false, false, true];
    let marked = rows.iter().any(|row| row.marked);
    if !marked {
        // Without marks there is no column for them.
        right.remove(0);
        for row in &mut cells {
            row.remove(0);
        }
    }
    let name = right.len() - 4;
    narrow(&mut cells, &[name]);
    let note = if marked { "\n* taken by attacks without --layer\n" } else { "" };
    table(&cells, &right) + note
}
