//! `lots reproduce`

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use lots::attack::{Argmax, Attack, Decision, Goal, Method, Target, UNKNOWN};
use lots::experiment::{FIGURE1, FIGURE2, FIGURE3, FIGURE4, PaperFigure, Subfigure};
use lots::figure::{Cell, Grid};
use lots::report::{Exhibit, read_exhibits};
use lots::{NamedImage, Record, Results, Split, open_dataset, open_identities, open_image};
use lots_nn::{Graph, LayerId};
use serde::Serialize;

use crate::Outcome;
use crate::arguments::{Json, Threads};
use crate::attack::{carry_out, classes, layer, plain, printed, was_stopped};
use crate::digits::{Digits, check, lenet_of};
use crate::faces;
use crate::figure::{CLIPPED, LEGEND, Theme, file_name, measures, way};
use crate::gallery::GalleryArguments;
use crate::model::{Fit, Model};
use crate::output::{narrow, paragraph, print, print_json, table};
use crate::table1;

const HELP: &str = "\
DIR/figure.png and DIR/figure.svg are the figure, arranged as in the paper, with
our numbers; beside them lie the single images and records, as `lots attack`
writes them. What differs from the paper stands below the figure and below the
table on the terminal, which has the paper's captions beside ours.";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Visualisation on LeNet: a 4, magnified and reduced at its layers
    #[command(mut_arg("model", |model| model.required(false)))]
    #[command(after_help = format!("{HELP}\n\nExample:\n  lots reproduce figure1"))]
    Figure1(DigitArguments),
    /// Visualisation on faces: a face reduced and magnified at layers of all depths
    #[command(mut_arg("model", |model| model.required(false)))]
    #[command(after_help = format!("{HELP}\n\nExamples:\n  lots reproduce figure2\n  \
        lots reproduce figure2 vgg_face.onnx --names names.txt --origin face.png"))]
    Figure2(Box<FaceArguments>),
    /// Adversarial perturbations on LeNet: a 4 on its way to a 9
    #[command(mut_arg("model", |model| model.required(false)))]
    #[command(after_help = format!("{HELP}\n\nExample:\n  lots reproduce figure3"))]
    Figure3(DigitArguments),
    /// Adversarial perturbations on faces: one person taken for another
    #[command(mut_arg("model", |model| model.required(false)))]
    #[command(after_help = format!("{HELP}\n\nExamples:\n  lots reproduce figure4\n  \
        lots reproduce figure4 vgg_face.onnx --names names.txt \\\n    --origin one.png --target other.png"))]
    Figure4(Box<PairArguments>),
    /// Train and attack the ten networks of Table 1, and check what the paper says of them
    Table1(table1::Arguments),
}

/// Figures 1 and 3.
///
/// The network is `MODEL`; else a lenet.onnx in the current folder; else one that is trained first, as `lots demo` does.
#[derive(Args)]
pub(crate) struct DigitArguments {
    #[command(flatten)]
    model: Model,
    #[command(flatten)]
    drawing: Drawing,
}

#[derive(Args)]
pub(crate) struct FaceArguments {
    #[command(flatten)]
    model: Model,
    /// Face to start from: a PNG file [default: a portrait that the program carries]
    #[arg(long, value_name = "IMG")]
    origin: Option<String>,
    #[command(flatten)]
    fit: Fit,
    #[command(flatten)]
    gallery: GalleryArguments,
    #[command(flatten)]
    drawing: Drawing,
}

#[derive(Args)]
pub(crate) struct PairArguments {
    #[command(flatten)]
    faces: FaceArguments,
    /// Face of the person to be taken for: a PNG file [default: a portrait that the program carries]
    #[arg(long, value_name = "IMG")]
    target: Option<String>,
}

/// Where the figure goes, and how.
#[derive(Args)]
struct Drawing {
    /// Folder for the figure; it is made, and must be empty [default: lots-figure1, and so on]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Take a folder that is not empty; files of the same names are replaced
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    theme: Theme,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    json: Json,
}

pub(crate) fn run(command: &Command) -> Result<Outcome> {
    match command {
        Command::Figure1(arguments) => arguments.run(&FIGURE1),
        Command::Figure2(arguments) => arguments.run(&FIGURE2, None),
        Command::Figure3(arguments) => arguments.run(&FIGURE3),
        Command::Table1(arguments) => table1::run(arguments),
        Command::Figure4(arguments) => arguments.faces.run(&FIGURE4, Some(&arguments.target)),
    }
}

impl DigitArguments {
    fn run(&self, figure: &PaperFigure) -> Result<Outcome> {
        self.drawing.threads.start()?;
        let given = self.model.is_given().then(|| self.model.open()).transpose()?;
        given.iter().try_for_each(|network| check(network, "give another"))?;
        let results = self.drawing.start(figure)?;
        let network = given.map_or_else(|| Ok(lenet_of(results.folder())?.0), anyhow::Ok)?;
        let decision = Argmax::of(&network)?;
        let test = open_dataset("mnist:test", Split::Test)?;
        let (Digits(images), _) = Digits::choose(&network, &decision, &test)?;
        let model = file_name(network.name());
        let nearest = match figure.given.len() {
            1 => "",
            _ => ", and of the 9s the one nearest to it in L2",
        };
        let differences = vec![
            format!(
                "Network: {model} instead of the paper's LeNet, of which no file is published."
            ),
            format!(
                "Digits: the first 4 of mnist:test that is read right{nearest}; the paper does not say which it took."
            ),
        ];
        let (images, last) = (images.into(), decision.layer());
        Reproduction { figure, network: &network, decision: &decision, images, last, differences }
            .run(results, &self.drawing)
    }
}

impl FaceArguments {
    /// `target` is `None` in figures without one.
    fn run(&self, figure: &PaperFigure, target: Option<&Option<String>>) -> Result<Outcome> {
        let needs_target = target.is_some_and(Option::is_none);
        let is_own = self.model.is_given() || self.gallery.is_given();
        if is_own && (self.origin.is_none() || needs_target) {
            let wanted = if self.origin.is_none() { "--origin" } else { "--target" };
            bail!(
                "another network or gallery needs faces of its own, found no {wanted}; give one, or leave MODEL and \
                 --gallery away"
            );
        }
        self.drawing.threads.start()?;
        let network = if self.model.is_given() { self.model.open()? } else { faces::recogniser()? };
        let open = |given: &Option<String>| {
            given.as_ref().map(|given| self.fit.apply(open_image(given)?, &network)).transpose()
        };
        // Figure 2 has one face, figure 4 another on its way to it.
        let own = if target.is_some() { "biden/biden.png" } else { "obama/obama.png" };
        let mut images = vec![(open(&self.origin)?, own)];
        if let Some(target) = target {
            images.push((open(target)?, "obama/obama.png"));
        }
        let (results, decision) = if is_own {
            let decision = self.gallery.decision(&self.model, &self.fit, &network)?;
            (self.drawing.start(figure)?, decision)
        } else {
            let results = self.drawing.start(figure)?;
            let people = faces::lay_out(results.folder())?;
            for (image, own) in &mut images {
                if image.is_none() {
                    *image = Some(open_image(&people.join(own).display().to_string())?);
                }
            }
            let gallery = faces::gallery(&network, &open_identities(&people)?)?;
            (results, Box::new(gallery) as Box<dyn Decision>)
        };
        let images: Vec<NamedImage> = images.into_iter().filter_map(|(image, _)| image).collect();
        let is_recognised = decision.measured().is_some();
        let last = match network.landmarks()[..] {
            // Without the layer of the classes, which the paper's figures do not have.
            [.., last, output] if !is_recognised && output == decision.layer() => last,
            _ => decision.layer(),
        };
        let model = file_name(network.name());
        let mut differences = vec![format!("Network: {model} instead of VGG Face.")];
        if is_recognised {
            let names = decision.names().iter().filter(|name| *name != UNKNOWN);
            let known: Vec<&str> = names.map(String::as_str).collect();
            let count = known.len();
            differences.push(format!(
                "Classes: the nearest of {count} identities in a gallery, or unknown, instead of 2622 people."
            ));
        }
        let faces = if is_own { "those given" } else { "portraits in the public domain" };
        differences.push(format!("Faces: {faces}, instead of the VGG Face Dataset's."));
        Reproduction { figure, network: &network, decision: &*decision, images, last, differences }
            .run(results, &self.drawing)
    }
}

impl Drawing {
    /// Makes the folder.
    fn start(&self, figure: &PaperFigure) -> Result<Results> {
        let own = || PathBuf::from(format!("lots-figure{}", figure.number));
        Ok(Results::create(&self.out.clone().unwrap_or_else(own), self.force)?)
    }
}

/// A figure of the paper, about to be made again.
struct Reproduction<'a> {
    figure: &'a PaperFigure,
    network: &'a Graph,
    decision: &'a dyn Decision,
    /// Origin, and target.
    images: Vec<NamedImage>,
    /// The last layer that counts as one.
    last: LayerId,
    /// From the paper, a sentence each.
    differences: Vec<String>,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    figure: String,
    png: String,
    svg: String,
    subfigures: Vec<Both<'a>>,
    differences: &'a [String],
}

#[derive(Serialize)]
struct Both<'a> {
    letter: char,
    here: Record,
    paper: &'a Subfigure,
}

impl Reproduction<'_> {
    fn run(mut self, mut results: Results, drawing: &Drawing) -> Result<Outcome> {
        let Self { figure, network, decision, .. } = self;
        let (layers, are_named) = figure.layers(network, self.last);
        if !are_named {
            self.differences.push(self.other_layers(&layers)?);
        }
        let images = self.labelled()?;
        let methods: Vec<Box<dyn Method>> =
            figure.subfigures.iter().zip(&layers).map(|(sub, &layer)| sub.way.at(layer)).collect();
        let attacks: Vec<Attack<'_>> = methods
            .iter()
            .zip(figure.subfigures)
            .map(|(method, sub)| {
                let (method, goal, extent) = (&**method, sub.way.goal(), sub.extent);
                let target = (goal == Goal::Target).then_some(Target::Image(1));
                Attack { origin: 0, target, method, goal, extent, units: None }
            })
            .collect();
        let records = carry_out(&mut results, network, decision, &images, &attacks, false)?;
        if was_stopped(&records, &attacks, &results) {
            return Ok(Outcome::Incomplete);
        }
        let exhibits = read_exhibits(results.folder())?;
        drawing.theme.write(&self.grid(&images, &exhibits)?, results.folder(), "figure")?;
        if drawing.json.on {
            print_json(&self.report(&records, &results))?;
        } else {
            print(&self.text(&records, &results))?;
        }
        Ok(Outcome::Done)
    }

    /// The images with their classes: their labels, or what the network says of them.
    fn labelled(&self) -> Result<Vec<NamedImage>> {
        let classes = classes(self.network, self.decision, &self.images)?;
        let labelled = |(image, label): (&NamedImage, _)| NamedImage { label, ..image.clone() };
        Ok(self.images.iter().zip(classes).map(labelled).collect())
    }

    /// Which layers stand for the paper's, each once.
    fn other_layers(&self, layers: &[LayerId]) -> Result<String> {
        let mut pairs = Vec::new();
        for (sub, &id) in self.figure.subfigures.iter().zip(layers) {
            let pair = format!("{} for {}", plain(&layer(self.network, id)?.name), sub.layer);
            if !pairs.contains(&pair) {
                pairs.push(pair);
            }
        }
        Ok(format!("Layers, at the same share of the depth: {}.", pairs.join(", ")))
    }

    fn grid(&self, images: &[NamedImage], exhibits: &[Exhibit]) -> Result<Grid> {
        let figure = self.figure;
        let names = self.decision.names();
        let mut cells = Vec::new();
        let roles = [("Origin", 'a'), ("Target", 'b')];
        for (image, (role, letter)) in images.iter().zip(roles).take(figure.given.len()) {
            let name =
                |class: usize| names.get(class).cloned().unwrap_or_else(|| class.to_string());
            let class = image.label.map_or_else(|| "–".to_owned(), name);
            let shown = NamedImage { name: file_name(&image.name).to_owned(), ..image.clone() };
            cells.push(Cell::given(role, &class, &shown).lettered(letter));
        }
        for (i, exhibit) in exhibits.iter().enumerate() {
            cells.push(Cell::result(&images[0].image, exhibit)?.lettered(figure.letter(i)));
        }
        let model = file_name(self.network.name());
        let differences = self.differences.join(" ");
        let is_clipped = exhibits.iter().any(|exhibit| exhibit.record.fixed_linf.is_some());
        let legend = if is_clipped { format!("{LEGEND} {CLIPPED}") } else { LEGEND.to_owned() };
        Ok(Grid {
            title: format!("Figure {}: {}", figure.number, figure.title),
            text: format!("Made again with {model}, arranged as in the paper."),
            rows: cells.chunks(figure.columns).map(<[Cell]>::to_vec).collect(),
            notes: vec![legend, format!("What differs from the paper. {differences}")],
            ..Grid::default()
        })
    }

    fn report(&self, records: &[Record], results: &Results) -> Report<'_> {
        let path = |name: &str| results.folder().join(name).display().to_string();
        let both = |(i, record): (usize, &Record)| Both {
            letter: self.figure.letter(i),
            here: printed(record, results),
            paper: &self.figure.subfigures[i],
        };
        Report {
            figure: format!("figure{}", self.figure.number),
            png: path("figure.png"),
            svg: path("figure.svg"),
            subfigures: records.iter().enumerate().map(both).collect(),
            differences: &self.differences,
        }
    }

    /// Two lines for each subfigure: ours, and the paper's.
    fn text(&self, records: &[Record], results: &Results) -> String {
        let figure = self.figure;
        let header = ["", "", "", "layer", "class", "PASS", "L2", "L∞"];
        let mut rows = vec![header.map(str::to_owned).to_vec()];
        for (i, (record, paper)) in records.iter().zip(figure.subfigures).enumerate() {
            let class = record.label_name.as_deref().map_or_else(|| "not found".to_owned(), plain);
            let mut here = vec![
                format!("({})", figure.letter(i)),
                way(&record.method, record.fixed_linf),
                "here".to_owned(),
                plain(&record.layer),
                class,
            ];
            here.extend(measures(record));
            rows.push(here);
            let Subfigure { layer, class, pass, l2, linf, .. } = paper;
            rows.push(vec![
                String::new(),
                String::new(),
                "paper".to_owned(),
                (*layer).to_owned(),
                (*class).to_owned(),
                format!("{pass:.4}"),
                l2.to_string(),
                linf.to_string(),
            ]);
        }
        narrow(&mut rows, &[3, 4]);
        let right = [false, false, false, false, false, true, true, true];
        let (number, model) = (figure.number, self.network.name());
        let origin = records.first().map_or("", |record| record.origin.as_str());
        let target = records.first().and_then(|record| record.target.as_deref());
        let target =
            target.map_or_else(String::new, |target| format!("\ntarget: {}", plain(target)));
        format!(
            "figure {number} with {model}\norigin: {}{target}\n\n{}\n",
            plain(origin),
            table(&rows, &right)
        ) + &self
            .differences
            .iter()
            .map(|difference| paragraph([0, 4], difference))
            .collect::<String>()
            + "\n"
            + &format!(
                "figure.png and figure.svg in {}, with the images\n",
                results.folder().display()
            )
    }
}
