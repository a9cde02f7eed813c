//! `lots visualize`

use anyhow::Result;
use clap::{Args, value_parser};
use lots::attack::{Attack, Decision, Extent, Goal, Magnify, Method, Reduce, Units};
use lots::figure::{Cell, Grid};
use lots::report::{Exhibit, read_exhibits};
use lots::{Ending, NamedImage, Record, Results, doubts};
use lots_nn::{Graph, Network};

use crate::Outcome;
use crate::arguments::{Json, Layers, OutFolder, Threads};
use crate::attack::{carry_out, classes, plain, was_stopped};
use crate::figure::{CLIPPED, LEGEND, Theme, file_name, measures, way};
use crate::gallery::GalleryArguments;
use crate::images::open;
use crate::model::{Fit, Model};
use crate::output::{narrow, print, table, tell};
use crate::views::{self, Subject, View, ViewArguments};

/// Results at each layer: a row of the figure.
const COLUMNS: usize = 4;

#[derive(Args)]
#[command(after_help = "\
At each layer, what the network has captured of the image is magnified and
reduced, and sent back to the pixels (the paper's equation 4): once to a fixed
L∞ norm, to be looked at, and once to the smallest step that changes the class.
DIR/figure.png and DIR/figure.svg show all of it, ready for a paper or a slide;
beside them lie the single images and records, as `lots attack` writes them. Of
several origins, each has a figure: figure-1.png, figure-2.png …

--with METHOD adds what other methods show of the same layers. Three of them,
and maximise, look at the unit that the image drives most: a channel where the
layer has planes. DIR/comparison.png and .svg show LOTS beside them, view-*.png
are the single pictures, and views.jsonl says what they are.

With --json, one object a line and result, as in records.jsonl, then one a line
and picture, as in views.jsonl, but with paths as seen from here.
Exit code 0 if the figure is there, also where no step changes the class; 1 if
stopped before.

Examples:
  lots visualize lenet.onnx --origin mnist:test:4 --out seen
  lots visualize vgg_face.onnx --names names.txt --origin face.png --resize \\
    --layer conv1_1 --layer conv5_1 --layer fc7 --out seen
  lots visualize lenet.onnx --origin mnist:test:4 --out seen \\
    --with saliency,deconvolution,guided,maximise,invert")]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: Model,
    /// Image to look at: a PNG file, one image of a data set such as mnist:test:17, or a folder; repeat for more
    #[arg(long = "origin", value_name = "IMG", required = true)]
    origins: Vec<String>,
    #[command(flatten)]
    layers: Layers,
    /// Only these units of the layer (channels, where it has planes), from 0 and without the end, such as 3,7..12
    #[arg(long, value_name = "UNITS")]
    units: Option<Units>,
    #[command(flatten)]
    views: ViewArguments,
    /// L∞ norm of the perturbations that only serve to be looked at, in grey levels [default: 128 for grey images and 64
    /// for colour, as in the paper's figures 1 and 2]
    #[arg(long, value_name = "N", value_parser = value_parser!(u8).range(1..))]
    linf: Option<u8>,
    #[command(flatten)]
    theme: Theme,
    #[command(flatten)]
    fit: Fit,
    #[command(flatten)]
    gallery: GalleryArguments,
    #[command(flatten)]
    out: OutFolder,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    json: Json,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    arguments.threads.start()?;
    let network = arguments.model.open()?;
    let decision = &*arguments.gallery.decision(&arguments.model, &arguments.fit, &network)?;
    let images = arguments.images(&network, decision)?;
    let layers = arguments.layers.of_or_default(&network)?;
    let mut methods: Vec<Box<dyn Method>> = Vec::new();
    for &layer in &layers {
        methods.push(Box::new(Magnify(layer)));
        methods.push(Box::new(Reduce(layer)));
    }
    let linf = arguments.linf.unwrap_or(if network.input().channels == 1 { 128 } else { 64 });
    let mut attacks = Vec::new();
    for origin in 0..images.len() {
        for method in &methods {
            for extent in [Extent::Linf(linf), Extent::Smallest] {
                let (goal, units) = (Goal::Any, arguments.units.as_ref());
                let method = &**method;
                attacks.push(Attack { origin, target: None, method, goal, extent, units });
            }
        }
    }
    for doubt in doubts(&network, decision.layer(), &images[0].image)? {
        tell(&format!("warning: {doubt}"));
    }
    let subject = Subject {
        network: &network,
        images: &images,
        layers: &layers,
        units: arguments.units.as_ref(),
    };
    let looks = arguments.views.look(&subject)?;
    let mut results = Results::create(&arguments.out.path, arguments.out.force)?;
    let records =
        carry_out(&mut results, &network, decision, &images, &attacks, arguments.json.on)?;
    if was_stopped(&records, &attacks, &results) {
        return Ok(Outcome::Incomplete);
    }

    let exhibits = read_exhibits(results.folder())?;
    let some = exhibits.chunks(attacks.len() / images.len());
    for (i, (origin, exhibits)) in images.iter().zip(some).enumerate() {
        let figure = figure(origin, exhibits, linf)?;
        arguments.theme.write(&figure, results.folder(), &stem("figure", i, images.len()))?;
    }
    if !arguments.json.on {
        print(&text(&records, images.len(), &results))?;
    }
    let folder = results.folder();
    let Some(views) = looks.carry_out(folder, arguments.json.on)? else {
        tell(&format!("stopped; what was found until then is in {}", folder.display()));
        return Ok(Outcome::Incomplete);
    };
    if views.is_empty() {
        return Ok(Outcome::Done);
    }
    let some = exhibits.chunks(attacks.len() / images.len());
    for (i, (origin, exhibits)) in images.iter().zip(some).enumerate() {
        let lots: Vec<&Exhibit> = exhibits.chunks(COLUMNS).map(|row| &row[0]).collect();
        let views: Vec<&View> = views.iter().filter(|view| view.is_of(i)).collect();
        let figure = views::comparison(origin, &lots, &views, decision)?;
        arguments.theme.write(&figure, folder, &stem("comparison", i, images.len()))?;
        if !arguments.json.on {
            print(&format!("\n{}, by other methods\n\n{}", origin.name, views::text(&views)))?;
        }
    }
    if !arguments.json.on {
        let files = figures("comparison", images.len());
        print(&format!("\n{files} in {}: LOTS beside them\n", folder.display()))?;
    }
    Ok(Outcome::Done)
}

impl Arguments {
    /// The origins, as the network reads them: what a data set says of them does not matter here, but is told where it
    /// differs.
    fn images(&self, network: &Graph, decision: &dyn Decision) -> Result<Vec<NamedImage>> {
        let names = decision.names();
        let labelled = open(&self.origins, &self.fit, network, names)?;
        let images: Vec<NamedImage> =
            labelled.iter().map(|image| NamedImage { label: None, ..image.clone() }).collect();
        let name = |class: usize| names.get(class).cloned().unwrap_or_else(|| class.to_string());
        for (image, class) in labelled.iter().zip(classes(network, decision, &images)?) {
            if let (Some(label), Some(class)) = (image.label, class)
                && label != class
            {
                let (image, label, class) = (&image.name, name(label), name(class));
                tell(&format!("warning: {image} has label {label}, and is read as {class}"));
            }
        }
        Ok(images)
    }
}

/// One origin: layers from top to bottom, and what became of their representations from left to right.
fn figure(origin: &NamedImage, exhibits: &[Exhibit], linf: u8) -> Result<Grid> {
    let record = exhibits.first().map(|exhibit| &exhibit.record);
    let (model, class) = record.map_or(("", ""), |r| (file_name(&r.model), r.origin_name.as_str()));
    let units = record.and_then(|record| record.units.as_ref());
    let cell = |exhibit| Ok(Cell::result(&origin.image, exhibit)?.without_note());
    let rows = exhibits.chunks(COLUMNS).map(|row| row.iter().map(cell).collect());
    let until = |way: &str| format!("{way} until the class changes");
    let fixed = |way: &str| format!("{way} to L∞ = {linf}");
    Ok(Grid {
        title: format!("What {model} sees in {}", file_name(&origin.name)),
        text: format!(
            "What each layer{} has captured of the image, magnified and reduced, and sent back to the pixels (LOTS). \
             On the left of each pair the perturbed image, on the right the perturbation.",
            units.map_or_else(String::new, |units| format!(" (units {units} only)"))
        ),
        origin: Some(Cell::given("Origin", class, origin).without_note()),
        columns: vec![fixed("magnified"), until("magnified"), fixed("reduced"), until("reduced")],
        rows: rows.collect::<Result<_>>()?,
        notes: vec![format!("{LEGEND} {CLIPPED}")],
    })
}

/// What the figure of an origin is called, one of so many.
fn stem(name: &str, origin: usize, origins: usize) -> String {
    match origins {
        1 => name.to_owned(),
        _ => format!("{name}-{}", origin + 1),
    }
}

/// The files of such figures.
fn figures(name: &str, origins: usize) -> String {
    match origins {
        1 => format!("{name}.png and {name}.svg"),
        _ => format!("{name}-1.png to {name}-{origins}.png, and .svg"),
    }
}

/// For each origin a table.
fn text(records: &[Record], origins: usize, results: &Results) -> String {
    let mut text = String::new();
    let count = records.len() / origins;
    for (i, records) in records.chunks(count).enumerate() {
        let Record { model, origin, origin_name, .. } = &records[0];
        text += &format!("{origin} (class {origin_name}) with {model}\n\n");
        let header = ["#", "layer", "representation", "class", "PASS", "L2", "L∞"];
        let mut rows = vec![header.map(str::to_owned).to_vec()];
        for (j, record) in records.iter().enumerate() {
            let class = match (record.outcome, &record.label_name) {
                (Ending::NoDirection, _) => "no direction".to_owned(),
                (_, Some(name)) => plain(name),
                _ => "not found".to_owned(),
            };
            let mut row = vec![
                format!("{:04}", i * count + j + 1),
                plain(&record.layer),
                way(&record.method, record.fixed_linf),
                class,
            ];
            row.extend(measures(record));
            rows.push(row);
        }
        narrow(&mut rows, &[1, 3]);
        text += &table(&rows, &[false, false, false, false, true, true, true]);
        text.push('\n');
    }
    let folder = results.folder().display();
    let figures = figures("figure", origins);
    text + &format!("{figures} in {folder}, with the images, named by #\n")
}
