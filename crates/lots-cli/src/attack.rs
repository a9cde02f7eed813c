//! `lots attack`

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::Ordering;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum, value_parser};
use lots::attack::{
    Argmax, Attack, Attacked, Decision, Extent, Fgs, Fgv, Goal, HotCold, Lots, Magnify, Method,
    Reduce, Units, attack,
};
use lots::{Ending, L2, Linf, NamedImage, Record, Results, images_batch, open_image};
use lots_nn::{Graph, LayerId, LayerInfo, Network};

use crate::Outcome;
use crate::arguments::{Json, Layers, OutFolder, Threads};
use crate::output::{print, print_json, reader_left, table, tell};
use crate::progress::attacks as progress;
use crate::signal::stop_on_signal;

#[derive(Args)]
#[command(after_help = "\
Writes DIR/records.jsonl, a line of JSON for each result, and for each image
found a PNG of 8 bits and a PNG of the perturbation: grey where nothing changes,
black and white at the largest change. Without --linf the image is the smallest
one found on the ray that reaches the goal.

With --json, one object a line and result, as in records.jsonl, but with paths
as seen from here.
Exit code 0 if the goal was reached everywhere, 1 if somewhere not.

Examples, on a network that `lots train lenet --out lenet.onnx` has trained:
  lots attack lenet.onnx --origin mnist:test:4 --target mnist:test:9 --out found
  lots attack lenet.onnx --origin mnist:test:4 --method reduce --out reduced
  lots attack lenet.onnx --origin my.png --label 3 --method fgs --out fgs")]
pub(crate) struct Arguments {
    /// ONNX file of a classifier
    model: PathBuf,
    /// Image to start from: a PNG file, or one image of a data set such as mnist:test:17
    #[arg(long, value_name = "IMG")]
    origin: String,
    /// Image whose representation leads the way (lots), or whose class is the goal; repeat for one result each
    #[arg(long = "target", value_name = "IMG")]
    targets: Vec<String>,
    /// How to find a direction
    #[arg(long, value_enum, default_value_t = Name::Lots)]
    method: Name,
    #[command(flatten)]
    layers: Layers,
    /// Only these units of the layer (channels, where it has planes), from 0 and without the end, such as 3,7..12
    #[arg(long, value_name = "UNITS")]
    units: Option<Units>,
    /// Class to make hot, for hot-cold; all others by default, one result each
    #[arg(long, value_name = "CLASS|all")]
    hot: Option<Hot>,
    /// Class to reach: any other than the origin's, the target's, or this one
    #[arg(long, value_name = "any|target|CLASS", default_value = "any")]
    goal: GoalName,
    /// Instead of a search, scale the perturbation to this L∞ norm, in grey levels (less is left where pixels saturate);
    /// there is an image even where the goal is not reached ("not_found")
    #[arg(long, value_name = "N", value_parser = value_parser!(u8).range(1..))]
    linf: Option<u8>,
    /// True class of an image file; without it, what the network says
    #[arg(long, value_name = "CLASS")]
    label: Option<usize>,
    #[command(flatten)]
    out: OutFolder,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    json: Json,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    /// From what a layer sees in the origin towards what it sees in the target
    Lots,
    /// More of what a layer sees in the origin
    Magnify,
    /// Less of what a layer sees in the origin
    Reduce,
    /// Fast gradient sign, of the loss
    Fgs,
    /// Fast gradient value, of the loss
    Fgv,
    /// The logit of another class up, that of the origin's class down
    HotCold,
}

/// `--hot`
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hot {
    All,
    Class(usize),
}

impl FromStr for Hot {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            _ => text.parse().map(Self::Class).map_err(|_| "wanted a class or all".to_owned()),
        }
    }
}

/// `--goal`
#[derive(Clone, Copy)]
struct GoalName(Goal);

impl FromStr for GoalName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self(match text {
            "any" => Goal::Any,
            "target" => Goal::Target,
            _ => {
                let class = text.parse();
                Goal::Class(class.map_err(|_| "wanted any, target or a class".to_owned())?)
            }
        }))
    }
}

impl Name {
    fn text(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Whether the user chooses the layer; else it is that of the logits.
    fn has_layer(self) -> bool {
        matches!(self, Self::Lots | Self::Magnify | Self::Reduce)
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    arguments.check()?;
    arguments.threads.start()?;
    let network = Graph::open(&arguments.model)?;
    let decision = Argmax::of(&network)?;
    let images = arguments.images(&network)?;
    let methods = arguments.methods(&network, &decision, &images[0])?;
    let attacks = arguments.attacks(&methods, &images);
    let mut results = Results::create(&arguments.out.path, arguments.out.force)?;

    let stop = stop_on_signal()?;
    let bar = progress(attacks.len());
    let (mut records, mut listening) = (Vec::new(), true);
    let mut found = attack(&network, &decision, &images, &attacks);
    for attack in &attacks {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let Some(attacked) = found.next() else { break };
        let attacked = attacked.inspect_err(|_| bar.finish_and_clear())?;
        let record = keep(&mut results, &network, &decision, &images, attack, &attacked)?;
        bar.inc(1);
        if arguments.json.on && listening {
            let printed = bar.suspend(|| print_json(&printed(&record, &results)));
            listening = !reader_left(printed)?;
        }
        records.push(record);
    }
    bar.finish_and_clear();

    if !arguments.json.on {
        print(&text(&records, &results))?;
    }
    if records.len() < attacks.len() {
        let (done, all, folder) = (records.len(), attacks.len(), results.folder().display());
        tell(&format!("stopped after {done} of {all} attacks; these are in {folder}"));
        return Ok(Outcome::Incomplete);
    }
    let all = records.iter().all(|record| record.outcome == Ending::Adversarial);
    Ok(if all { Outcome::Done } else { Outcome::Incomplete })
}

impl Arguments {
    /// Refuses options that do not go together.
    fn check(&self) -> Result<()> {
        let method = self.method.text();
        if self.method == Name::Lots && self.targets.is_empty() {
            bail!(
                "lots goes from an origin towards a target, found no --target; give an image with \
                 --target, or take --method magnify or reduce"
            );
        }
        if !self.method.has_layer() {
            let (option, rest) = if self.layers.is_given() {
                ("--layer", "it starts from the logits")
            } else if self.units.is_some() {
                ("--units", "it is for lots, magnify and reduce")
            } else {
                ("", "")
            };
            if !option.is_empty() {
                bail!("--method {method} takes no {option}: {rest}; leave {option} away");
            }
        }
        if self.method != Name::HotCold && self.hot.is_some() {
            bail!("--method {method} takes no --hot: it is for hot-cold; leave --hot away");
        }
        let GoalName(goal) = self.goal;
        if goal == Goal::Target && self.targets.is_empty() {
            bail!(
                "--goal target needs a target, found no --target; give one, or a class as --goal"
            );
        }
        if self.method != Name::Lots && goal != Goal::Target && !self.targets.is_empty() {
            bail!(
                "--method {method} takes no --target, unless its class is the goal; leave --target \
                 away, or add --goal target"
            );
        }
        Ok(())
    }

    /// The origin and then the targets, of the network's shape.
    fn images(&self, network: &Graph) -> Result<Vec<NamedImage>> {
        let specs = [&self.origin].into_iter().chain(&self.targets);
        let mut images = specs.map(|spec| open_image(spec)).collect::<Result<Vec<_>, _>>()?;
        let input = network.input();
        let (channels, height, width) = (input.channels, input.height, input.width);
        for NamedImage { image, name, .. } in &images {
            let (c, h, w) = (image.channels(), image.height(), image.width());
            if (c, h, w) != (channels, height, width) {
                let remedy = if (h, w) == (height, width) {
                    "convert it to grey or colour first"
                } else {
                    "scale or crop it first"
                };
                bail!(
                    "{name} has {h}×{w}×{c} (height × width × channels), {} takes \
                     {height}×{width}×{channels}; {remedy}",
                    network.name()
                );
            }
        }
        if let Some(label) = self.label {
            let classes = lots::classes(network)?;
            let origin = &mut images[0];
            if label >= classes {
                bail!(
                    "--label {label} is no class of {}; classes are 0–{}",
                    network.name(),
                    classes - 1
                );
            }
            if let Some(carried) = origin.label.filter(|&carried| carried != label) {
                bail!(
                    "{} has label {carried}, found --label {label}; leave --label away",
                    origin.name
                );
            }
            origin.label = Some(label);
        }
        Ok(images)
    }

    /// One for each layer, or each hot class.
    fn methods(
        &self,
        network: &Graph,
        decision: &Argmax,
        origin: &NamedImage,
    ) -> Result<Vec<Box<dyn Method>>> {
        if !self.method.has_layer() {
            let output = layer(network, decision.layer())?;
            if output.operator == "Softmax" {
                bail!(
                    "--method {} starts from logits, but {} ends in Softmax; export it without",
                    self.method.text(),
                    network.name()
                );
            }
        }
        let layers = || -> Result<Vec<LayerId>> {
            Ok(self.layers.of(network)?.map_or_else(|| network.find_layers("all"), Ok)?)
        };
        Ok(match self.method {
            Name::Lots => layers()?.into_iter().map(|id| Box::new(Lots(id)) as _).collect(),
            Name::Magnify => layers()?.into_iter().map(|id| Box::new(Magnify(id)) as _).collect(),
            Name::Reduce => layers()?.into_iter().map(|id| Box::new(Reduce(id)) as _).collect(),
            Name::Fgs => vec![Box::new(Fgs)],
            Name::Fgv => vec![Box::new(Fgv)],
            Name::HotCold => {
                let hot = match self.hot {
                    Some(Hot::Class(class)) => vec![class],
                    Some(Hot::All) | None => others(network, decision, origin)?,
                };
                hot.into_iter().map(|hot| Box::new(HotCold { hot }) as _).collect()
            }
        })
    }

    fn attacks<'a>(
        &'a self,
        methods: &'a [Box<dyn Method>],
        images: &[NamedImage],
    ) -> Vec<Attack<'a>> {
        let targets: Vec<Option<usize>> =
            if images.len() > 1 { (1..images.len()).map(Some).collect() } else { vec![None] };
        let GoalName(goal) = self.goal;
        let extent = self.linf.map_or(Extent::Smallest, Extent::Linf);
        let units = self.units.as_ref();
        let methods = methods.iter().map(|method| &**method);
        let pairs = methods.flat_map(|method| targets.iter().map(move |&target| (method, target)));
        pairs
            .map(|(method, target)| Attack { origin: 0, target, method, goal, extent, units })
            .collect()
    }
}

/// All classes but the origin's.
fn others(network: &Graph, decision: &Argmax, origin: &NamedImage) -> Result<Vec<usize>> {
    let image = images_batch(network.input(), std::slice::from_ref(&origin.image))?;
    let logits = network.represent(image.view(), decision.layer())?;
    let class =
        origin.label.or_else(|| decision.decide(&logits.iter().copied().collect::<Vec<_>>()));
    Ok((0..logits.ncols()).filter(|&other| Some(other) != class).collect())
}

/// Adds what came of `attack` to `results`; its record.
pub(crate) fn keep(
    results: &mut Results,
    network: &Graph,
    decision: &Argmax,
    images: &[NamedImage],
    attack: &Attack<'_>,
    attacked: &Attacked,
) -> Result<Record> {
    let layer = layer(network, attack.method.layer(decision))?;
    let mut record = Record::new(network.name(), layer, images, attack, attacked)?;
    let image = attacked.outcome.image().map(|found| &found.image);
    results.add(&mut record, &images[attack.origin].image, image)?;
    Ok(record)
}

/// What the network knows of a layer.
fn layer(network: &Graph, id: LayerId) -> Result<&LayerInfo> {
    let found = network.layers().iter().find(|layer| layer.id == id);
    found.ok_or_else(|| anyhow::anyhow!("no such layer in {}", network.name()))
}

/// The record as it is printed: paths as they are seen from here.
fn printed(record: &Record, results: &Results) -> Record {
    let path = |name: &Option<String>| {
        name.as_ref().map(|name| results.folder().join(name).display().to_string())
    };
    Record {
        image: path(&record.image),
        perturbation: path(&record.perturbation),
        ..record.clone()
    }
}

/// Columns for the name of a target.
const TOWARDS: usize = 22;

fn text(records: &[Record], results: &Results) -> String {
    let Some(first) = records.first() else { return String::new() };
    let Record { model, origin, origin_name, method, .. } = first;
    let mut rows = vec![
        ["#", "layer", "towards", "class", "step", "L2", "L∞", "PASS", "scale"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for (i, record) in records.iter().enumerate() {
        let towards = record.hot.map(|hot| format!("class {hot}"));
        let towards = towards.or_else(|| record.target.as_deref().map(short));
        let class = match (record.outcome, &record.label_name) {
            (Ending::Adversarial, Some(name)) => name.clone(),
            (Ending::NotFound, Some(name)) => format!("{name} (still)"),
            (Ending::OriginMisclassified, _) => format!("misread as {}", record.origin_class),
            (Ending::NoDirection, _) => "no direction".to_owned(),
            _ => "not found".to_owned(),
        };
        let number = |value: Option<f64>, digits| {
            value.map_or_else(|| "-".to_owned(), |value: f64| format!("{value:.digits$}"))
        };
        rows.push(vec![
            format!("{:04}", i + 1),
            short(&record.layer),
            towards.unwrap_or_else(|| "-".to_owned()),
            class,
            number(record.step, 2),
            number(record.l2.map(|L2(l2)| l2), 1),
            number(record.linf.map(|Linf(linf)| linf.into()), 0),
            number(record.pass, 4),
            number(record.perturbation_scale, 2),
        ]);
    }
    let right = [false, false, false, false, true, true, true, true, true];
    let count = records.iter().filter(|r| r.outcome == Ending::Adversarial).count();
    let folder = results.folder().display();
    let files = if records.iter().any(|record| record.image.is_some()) {
        format!(
            "images in {folder}, named by #\n\
             scale: grey levels of the perturbation per grey level of its PNG"
        )
    } else {
        format!("records in {folder}")
    };
    format!(
        "{method} on {origin} (class {origin_name}) with {model}\n\n{}\n\
         {count} of {} adversarial; {files}\n",
        table(&rows, &right),
        records.len(),
    )
}

/// The end of a long name, which tells more than its beginning.
fn short(name: &str) -> String {
    let name = name.replace(char::is_control, "?");
    let length = name.chars().count();
    if length <= TOWARDS {
        return name;
    }
    name.chars()
        .skip(length - TOWARDS + 1)
        .fold("…".to_owned(), |text, c| text + c.encode_utf8(&mut [0; 4]))
}
