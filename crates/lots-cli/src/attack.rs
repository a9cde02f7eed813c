//! `lots attack`

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum, value_parser};
use lots::attack::{
    Attack, Attacked, Decision, DeepFool, Extent, FeatureAdversary, Fgs, Fgv, Goal, HotCold,
    IterativeLots, Lbfgs, Lots, Magnify, Method, Reduce, Target, Units, attack,
};
use lots::{
    Ending, L2, Linf, NamedImage, Record, Representation, Results, doubts, find_class,
    images_batch, read_representations,
};
use lots_nn::{Graph, LayerId, LayerInfo, Network};

use crate::Outcome;
use crate::arguments::{Json, Layers, OutFolder, Threads};
use crate::gallery::GalleryArguments;
use crate::images::open;
use crate::model::{Fit, Model};
use crate::output::{narrow, print, print_json, reader_left, table, tell};
use crate::progress::attacks as progress;
use crate::signal::stop_on_signal;
use crate::walk::WalkArguments;

#[derive(Args)]
#[command(after_help = "\
Writes DIR/records.jsonl, a line of JSON for each result, and for each image
found a PNG of 8 bits and a PNG of the perturbation: grey where nothing changes,
black and white at the largest change. Without --linf the image is the smallest
one found on the ray that reaches the goal.

iterative-lots leaves the ray: it computes the direction anew after every step,
and where it has arrived it searches back towards the origin. Its perturbations
are smaller; its step counts steps. lbfgs and feature-adversary leave the way
to an optimiser; their step counts its looks. A feature adversary is kept
even where the goal is not reached.

With --json, one object a line and result, as in records.jsonl, but with paths
as seen from here.
Exit code 0 if the goal was reached everywhere, 1 if somewhere not.

A folder as --origin or --target stands for all images in it, laid out as a
gallery is; each is then taken to show the identity whose folder it lies in. Of
several origins, each goes towards each target of another class.

Examples, on a network that `lots train lenet --out lenet.onnx` has trained:
  lots attack lenet.onnx --origin mnist:test:4 --target mnist:test:9 --out found
  lots attack lenet.onnx --origin mnist:test:4 --method reduce --out reduced
  lots attack lenet.onnx --origin my.png --label 3 --method fgs --out fgs
  lots attack lenet.onnx --origin mnist:test:4 --target mnist:test:9 \
    --goal target --method iterative-lots --layer ip1 --out walked

And on a network that only extracts features, such as the demo's:
  lots attack face_descriptor.onnx --gallery people --threshold 0.6 \\
    --origin people/biden --target people/obama/obama.png --goal target \\
    --layer descriptor --out found")]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: Model,
    /// Image to start from: a PNG file, one image of a data set such as mnist:test:17, or a folder; repeat for more
    #[arg(long = "origin", value_name = "IMG", required = true)]
    origins: Vec<String>,
    /// Image whose representation leads the way (lots, iterative-lots, feature-adversary), or whose class is the goal; repeat for one result each
    #[arg(long = "target", value_name = "IMG")]
    targets: Vec<String>,
    /// Instead of targets, what the layer sees in them, as `lots represent` writes it; each row is a target
    #[arg(long = "target-representation", value_name = "NPY", conflicts_with = "targets")]
    representations: Vec<PathBuf>,
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
    hot: Option<String>,
    /// Class to reach: any other than the origin's, the target's, or this one, by name or number (class:NAME, should it
    /// be called any or target)
    #[arg(long, value_name = "any|target|CLASS", default_value = "any")]
    goal: String,
    /// Instead of a search, scale the perturbation to this L∞ norm, in grey levels (less is left where pixels saturate);
    /// there is an image even where the goal is not reached ("not_found"). For iterative-lots, pgd and feature-adversary
    /// (there 10 by default), the most that a value may change
    #[arg(long, value_name = "N", value_parser = value_parser!(u8).range(1..))]
    linf: Option<u8>,
    /// True class of an image file; without it, what the network says
    #[arg(long, value_name = "CLASS")]
    label: Option<String>,
    #[command(flatten)]
    fit: Fit,
    #[command(flatten)]
    gallery: GalleryArguments,
    #[command(flatten)]
    walk: WalkArguments,
    #[command(flatten)]
    out: OutFolder,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    json: Json,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// From what a layer sees in the origin towards what it sees in the target
    Lots,
    /// As lots, with a direction that is computed anew after every step
    IterativeLots,
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
    /// Projected gradient descent inside --linf or --l2, to the end of its steps
    Pgd,
    /// Again and again to the nearest boundary
    Deepfool,
    /// The loss and the size of the perturbation, minimised together by L-BFGS-B (Szegedy et al. 2014)
    Lbfgs,
    /// As near to what a layer sees in the target as --linf allows, by L-BFGS-B (Sabour et al. 2016)
    FeatureAdversary,
}

impl Name {
    pub(crate) fn text(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Whether the user chooses the layer; else it is that of the logits.
    pub(crate) fn has_layer(self) -> bool {
        self.is_led() || matches!(self, Self::Magnify | Self::Reduce)
    }

    /// What it takes of how a walk goes.
    fn walk_options(self) -> &'static [&'static str] {
        match self {
            Self::IterativeLots => {
                &["--steps", "--step-size", "--back", "--l2", "--within", "--also"]
            }
            Self::Pgd => &["--steps", "--step-size", "--l2"],
            Self::Deepfool | Self::Lbfgs | Self::FeatureAdversary => &["--steps"],
            _ => &[],
        }
    }

    /// Whether a target's representation leads the way.
    pub(crate) fn is_led(self) -> bool {
        matches!(self, Self::Lots | Self::IterativeLots | Self::FeatureAdversary)
    }

    /// One for each of `layers`, or each `hot` class, or one.
    pub(crate) fn methods(
        self,
        layers: &[LayerId],
        hot: impl IntoIterator<Item = usize>,
    ) -> Vec<Box<dyn Method>> {
        let at =
            |method: fn(LayerId) -> Box<dyn Method>| layers.iter().copied().map(method).collect();
        match self {
            Self::Lots => at(|layer| Box::new(Lots(layer))),
            Self::IterativeLots => at(|layer| Box::new(IterativeLots::new(layer))),
            Self::Magnify => at(|layer| Box::new(Magnify(layer))),
            Self::Reduce => at(|layer| Box::new(Reduce(layer))),
            // It wants a budget.
            Self::Pgd => Vec::new(),
            Self::FeatureAdversary => {
                at(|layer| Box::new(FeatureAdversary::new(layer, FeatureAdversary::LINF)))
            }
            Self::Lbfgs => vec![Box::new(Lbfgs::default())],
            Self::Deepfool => vec![Box::new(DeepFool::default())],
            Self::Fgs => vec![Box::new(Fgs)],
            Self::Fgv => vec![Box::new(Fgv)],
            Self::HotCold => hot.into_iter().map(|hot| Box::new(HotCold { hot }) as _).collect(),
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    arguments.check()?;
    arguments.threads.start()?;
    let network = arguments.model.open()?;
    let decision = &*arguments.gallery.decision(&arguments.model, &arguments.fit, &network)?;
    let goal = arguments.goal(decision)?;
    let (mut images, origins) = arguments.images(&network, decision)?;
    let stolen = arguments.stolen()?;
    let methods = arguments.methods(&network, decision)?;
    let classes = classes(&network, decision, &images)?;
    if goal == Goal::Target {
        // Records say what the goal was.
        let targets = images.iter_mut().zip(&classes).skip(origins);
        targets.for_each(|(target, class)| target.label = *class);
    }
    let attacks = arguments.attacks(goal, &methods, &classes, origins, &stolen)?;
    for doubt in doubts(&network, decision.layer(), &images[0].image)? {
        tell(&format!("warning: {doubt}"));
    }
    let mut results = Results::create(&arguments.out.path, arguments.out.force)?;

    let records =
        carry_out(&mut results, &network, decision, &images, &attacks, arguments.json.on)?;
    if !arguments.json.on {
        print(&text(&records, &results))?;
    }
    if was_stopped(&records, &attacks, &results) {
        return Ok(Outcome::Incomplete);
    }
    let all = records.iter().all(|record| record.outcome == Ending::Adversarial);
    Ok(if all { Outcome::Done } else { Outcome::Incomplete })
}

impl Arguments {
    /// Refuses options that do not go together.
    fn check(&self) -> Result<()> {
        let method = self.method.text();
        let is_led = !self.targets.is_empty() || !self.representations.is_empty();
        if self.method.is_led() && !is_led {
            bail!(
                "{method} goes from an origin towards a target, found no --target; give an image with \
                 --target, or take --method magnify or reduce"
            );
        }
        if !self.method.is_led() && !self.representations.is_empty() {
            bail!(
                "--method {method} takes no --target-representation: it is for lots, iterative-lots and \
                 feature-adversary; leave it away"
            );
        }
        if let Some(option) = self.walk.given_beside(self.method.walk_options()) {
            bail!("--method {method} takes no {option}: it is for iterative-lots; leave it away");
        }
        if matches!(self.method, Name::Deepfool | Name::Lbfgs) && self.linf.is_some() {
            bail!("--method {method} takes no --linf: it has no budget; leave --linf away");
        }
        if self.method == Name::FeatureAdversary && self.units.is_some() {
            bail!(
                "--method {method} takes no --units: it works with all of them; leave --units away"
            );
        }
        if !self.method.has_layer() {
            let (option, rest) = if self.layers.is_given() {
                ("--layer", "it starts from the logits")
            } else if self.units.is_some() {
                ("--units", "it is for lots, iterative-lots, magnify and reduce")
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
        let is_target = self.goal == "target";
        if is_target && self.targets.is_empty() {
            bail!(
                "--goal target needs a target, found no --target; give one, or a class as --goal"
            );
        }
        if !self.method.is_led() && !is_target && !self.targets.is_empty() {
            bail!(
                "--method {method} takes no --target, unless its class is the goal; leave --target \
                 away, or add --goal target"
            );
        }
        Ok(())
    }

    /// What counts as a success.
    fn goal(&self, decision: &dyn Decision) -> Result<Goal> {
        Ok(match self.goal.as_str() {
            "any" => Goal::Any,
            "target" => Goal::Target,
            class => {
                let class = class.strip_prefix("class:").unwrap_or(class);
                let class = self::class(decision, class);
                Goal::Class(class.context("--goal: wanted any, target or a class")?)
            }
        })
    }

    /// The origins and then the targets, of the network's shape; and how many origins there are.
    fn images(&self, network: &Graph, decision: &dyn Decision) -> Result<(Vec<NamedImage>, usize)> {
        let names = decision.names();
        let mut images = open(&self.origins, &self.fit, network, names)?;
        let origins = images.len();
        if let Some(label) = &self.label {
            let class = class(decision, label).context("--label")?;
            if class >= names.len() {
                let (model, last) = (network.name(), names.len() - 1);
                bail!("--label {label} is no class of {model}; classes are 0–{last}");
            }
            for origin in &mut images {
                if let Some(carried) = origin.label.filter(|&carried| carried != class) {
                    // Of a data set, whose labels may be none of these classes.
                    let carried = names.get(carried).cloned().unwrap_or(carried.to_string());
                    let name = &origin.name;
                    bail!("{name} has label {carried}, found --label {label}; leave --label away");
                }
                origin.label = Some(class);
            }
        }
        images.extend(open(&self.targets, &self.fit, network, names)?);
        Ok((images, origins))
    }

    /// The rows of all `--target-representation`.
    fn stolen(&self) -> Result<Vec<Representation>> {
        let read = |path: &PathBuf| read_representations(path);
        let rows = self.representations.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        Ok(rows.into_iter().flatten().collect())
    }

    /// One for each layer, or each hot class.
    fn methods(&self, network: &Graph, decision: &dyn Decision) -> Result<Vec<Box<dyn Method>>> {
        let layers = || -> Result<Vec<LayerId>> {
            let Some(path) = self.representations.first() else {
                return self.layers.of_or_default(network);
            };
            match self.layers.of(network)? {
                Some(layers) if layers.len() == 1 => Ok(layers),
                _ => bail!("{} comes from one layer; give that one as --layer", path.display()),
            }
        };
        let layers = if self.method.has_layer() { layers()? } else { Vec::new() };
        let hot = match self.hot.as_deref() {
            Some("all") | None => (0..decision.names().len()).collect(),
            Some(name) => vec![class(decision, name).context("--hot: wanted a class or all")?],
        };
        if self.method == Name::IterativeLots {
            let walk = self.walk.walk(self.linf, network)?;
            let method = |layer| Box::new(IterativeLots { layer, walk: walk.clone() }) as _;
            return Ok(layers.into_iter().map(method).collect());
        }
        if self.method == Name::FeatureAdversary {
            let method = |layer| Box::new(self.walk.feature_adversary(layer, self.linf)) as _;
            return Ok(layers.into_iter().map(method).collect());
        }
        Ok(match self.method {
            Name::Pgd => vec![Box::new(self.walk.pgd(self.linf)?)],
            Name::Deepfool => vec![Box::new(self.walk.deepfool())],
            Name::Lbfgs => vec![Box::new(self.walk.lbfgs())],
            method => method.methods(&layers, hot),
        })
    }

    /// From each origin, the first `origins` of the images, by each method towards each target.
    fn attacks<'a>(
        &'a self,
        goal: Goal,
        methods: &'a [Box<dyn Method>],
        classes: &[Option<usize>],
        origins: usize,
        stolen: &'a [Representation],
    ) -> Result<Vec<Attack<'a>>> {
        let targets = (origins..classes.len()).map(Target::Image);
        let targets = targets.chain(stolen.iter().map(Target::Representation)).map(Some);
        let mut targets: Vec<Option<Target<'_>>> = targets.collect();
        if targets.is_empty() {
            targets.push(None);
        }
        // A walk has it as its budget.
        let fixed = self.linf.filter(|_| self.method.walk_options().is_empty());
        let extent = fixed.map_or(Extent::Smallest, Extent::Linf);
        let units = self.units.as_ref();
        let is_every_hot = self.hot.as_deref().is_none_or(|hot| hot == "all");
        let mut attacks = Vec::new();
        for origin in 0..origins {
            for method in methods {
                if is_every_hot && method.hot().is_some() && method.hot() == classes[origin] {
                    continue;
                }
                for &target in &targets {
                    let class = match goal {
                        Goal::Class(class) => Some(class),
                        _ => target.and_then(|target| classes[target.image()?]),
                    };
                    let ways = [class, method.hot()];
                    let is_own = !self.walk.ends_near()
                        && ways.iter().any(|way| way.is_some() && *way == classes[origin]);
                    // Of one origin, whatever is asked for is tried.
                    if origins == 1 || !is_own {
                        attacks.push(Attack {
                            origin,
                            target,
                            method: &**method,
                            goal,
                            extent,
                            units,
                        });
                    }
                }
            }
        }
        if attacks.is_empty() {
            bail!("all origins are of the class that is the goal, or their targets'; give others");
        }
        Ok(attacks)
    }
}

/// The class that a user means by `text`.
fn class(decision: &dyn Decision, text: &str) -> Result<usize> {
    find_class(decision.names(), text).map_err(anyhow::Error::msg)
}

/// The class of each image: its label, or what the network says.
pub(crate) fn classes(
    network: &Graph,
    decision: &dyn Decision,
    images: &[NamedImage],
) -> Result<Vec<Option<usize>>> {
    let class = |NamedImage { image, label, .. }: &NamedImage| {
        if label.is_some() {
            return Ok(*label);
        }
        let image = images_batch(network.input(), std::slice::from_ref(image))?;
        let seen = network.represent(image.view(), decision.layer())?;
        Ok(decision.decide(&seen.into_iter().collect::<Vec<_>>()))
    };
    images.iter().map(class).collect()
}

/// Carries out `attacks`, keeps what comes of each as soon as it is there, and, if asked to, prints its record as JSON. There
/// are fewer records than attacks where the user stopped it.
pub(crate) fn carry_out(
    results: &mut Results,
    network: &Graph,
    decision: &dyn Decision,
    images: &[NamedImage],
    attacks: &[Attack<'_>],
    prints_json: bool,
) -> Result<Vec<Record>> {
    let stop = stop_on_signal()?;
    let bar = progress(attacks.len());
    let (mut records, mut listening) = (Vec::new(), true);
    let mut found = attack(network, decision, images, attacks);
    for attack in attacks {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let Some(attacked) = found.next() else { break };
        let attacked = attacked.inspect_err(|_| bar.finish_and_clear())?;
        let record = keep(results, network, decision, images, attack, &attacked)?;
        bar.inc(1);
        if prints_json && listening {
            let printed = bar.suspend(|| print_json(&printed(&record, results)));
            listening = !reader_left(printed)?;
        }
        records.push(record);
    }
    bar.finish_and_clear();
    Ok(records)
}

/// Whether the user stopped the attacks before they were all done; says so.
pub(crate) fn was_stopped(records: &[Record], attacks: &[Attack<'_>], results: &Results) -> bool {
    let was_stopped = records.len() < attacks.len();
    if was_stopped {
        let (done, all, folder) = (records.len(), attacks.len(), results.folder().display());
        tell(&format!("stopped after {done} of {all} attacks; these are in {folder}"));
    }
    was_stopped
}

/// Adds what came of `attack` to `results`; its record.
pub(crate) fn keep(
    results: &mut Results,
    network: &Graph,
    decision: &dyn Decision,
    images: &[NamedImage],
    attack: &Attack<'_>,
    attacked: &Attacked,
) -> Result<Record> {
    let mut record = record(network, decision, images, attack, attacked)?;
    let image = attacked.outcome.image().map(|found| &found.image);
    results.add(&mut record, &images[attack.origin].image, image)?;
    Ok(record)
}

/// The record of what came of `attack`.
pub(crate) fn record(
    network: &Graph,
    decision: &dyn Decision,
    images: &[NamedImage],
    attack: &Attack<'_>,
    attacked: &Attacked,
) -> Result<Record> {
    let layer = layer(network, attack.method.layer().unwrap_or(decision.layer()))?;
    let mut record = Record::new(network.name(), layer, decision, images, attack, attacked)?;
    for (also, weight) in attack.method.walk().into_iter().flat_map(|walk| &walk.also) {
        let name = &self::layer(network, *also)?.name;
        record.layer += &format!(" + {weight} {name}");
        record.layer_index = None;
    }
    Ok(record)
}

/// What the network knows of a layer.
pub(crate) fn layer(network: &Graph, id: LayerId) -> Result<&LayerInfo> {
    let found = network.layers().iter().find(|layer| layer.id == id);
    found.ok_or_else(|| anyhow::anyhow!("no such layer in {}", network.name()))
}

/// The record as it is printed: paths as they are seen from here.
pub(crate) fn printed(record: &Record, results: &Results) -> Record {
    let path = |name: &Option<String>| {
        name.as_ref().map(|name| results.folder().join(name).display().to_string())
    };
    Record {
        image: path(&record.image),
        perturbation: path(&record.perturbation),
        ..record.clone()
    }
}

/// What may be the reason, and what may help.
const NO_DIRECTION: &str = "\
no direction: nothing comes back at the pixels. Origin and target may look alike
to that layer, or units that are off (ReLU) or saturated (Sigmoid) let nothing
through. Try another --layer, --target, --units or --method.
";

fn text(records: &[Record], results: &Results) -> String {
    let is_recognised = records.iter().any(is_recognised);
    let mut text = String::new();
    let mut number = 0;
    for some in records.chunk_by(|a, b| a.origin == b.origin) {
        let Record { model, origin, origin_name, method, .. } = &some[0];
        text += &format!("{method} on {origin} (class {origin_name}) with {model}\n\n");
        text += &rows(some, number, is_recognised);
        text.push('\n');
        number += some.len();
    }
    let count = records.iter().filter(|r| r.outcome == Ending::Adversarial).count();
    let folder = results.folder().display();
    let scale = if is_recognised {
        "distance: to the identity that the image is taken for, or was to be"
    } else {
        "scale: grey levels of the perturbation per grey level of its PNG"
    };
    let files = if records.iter().any(|record| record.image.is_some()) {
        format!("images in {folder}, named by #\n{scale}")
    } else {
        format!("records in {folder}")
    };
    let stuck =
        if records.iter().any(|r| r.outcome == Ending::NoDirection) { NO_DIRECTION } else { "" };
    text + &format!("{count} of {} adversarial; {files}\n{stuck}", records.len())
}

/// Whether a gallery decided.
fn is_recognised(record: &Record) -> bool {
    record.own.is_some() || record.other.is_some()
}

/// Columns for the name of a target: the table fits a terminal with all others full.
const TOWARDS: usize = 18;

/// A table of records, with distances where a gallery decided; `first` others stand before them.
pub(crate) fn rows(records: &[Record], first: usize, is_recognised: bool) -> String {
    let mut header = vec!["#", "layer", "towards", "class"];
    header.extend(if is_recognised {
        ["distance", "L2", "L∞", "PASS"].as_slice()
    } else {
        &["step", "L2", "L∞", "PASS", "scale"]
    });
    let mut rows = vec![header.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()];
    for (i, record) in records.iter().enumerate() {
        let towards = record.hot.map(|hot| called(&record.hot_name, hot));
        let towards = towards.or_else(|| record.target.as_deref().map(ending));
        let misread = record.origin_class_name.clone();
        let class = match (record.outcome, &record.label_name) {
            (Ending::Adversarial, Some(name)) => name.clone(),
            (Ending::NotFound, Some(name)) => format!("{name} (still)"),
            (Ending::OriginMisclassified, _) => {
                format!("misread as {}", misread.unwrap_or_else(|| record.origin_class.to_string()))
            }
            (Ending::NoDirection, _) => "no direction".to_owned(),
            _ => "not found".to_owned(),
        };
        let number = |value: Option<f64>, digits: usize| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
        };
        let mut row = vec![
            format!("{:04}", first + i + 1),
            plain(&record.layer),
            towards.unwrap_or_else(|| "-".to_owned()),
            class,
        ];
        let measures = [
            number(record.l2.map(|L2(l2)| l2), 1),
            number(record.linf.map(|Linf(linf)| linf.into()), 0),
            number(record.pass, 4),
        ];
        if is_recognised {
            let distance = record.other.as_ref().map_or_else(
                || "-".to_owned(),
                |other| format!("{} → {}", number(Some(other.before), 3), number(other.after, 3)),
            );
            row.push(distance);
            row.extend(measures);
        } else {
            row.push(number(record.step, 2));
            row.extend(measures);
            row.push(number(record.perturbation_scale, 2));
        }
        rows.push(row);
    }
    // Layer, towards, class.
    narrow(&mut rows, &[1, 2, 3]);
    let right: Vec<bool> = (0..header.len()).map(|column| column > 3).collect();
    table(&rows, &right)
}

/// A class as a way to go.
fn called(name: &Option<String>, class: usize) -> String {
    match name {
        Some(name) if *name != class.to_string() => name.clone(),
        _ => format!("class {class}"),
    }
}

/// A name as a terminal can show it.
pub(crate) fn plain(name: &str) -> String {
    name.replace(char::is_control, "?")
}

/// The end of a long name, which tells more of a path than its beginning.
fn ending(name: &str) -> String {
    let name = plain(name);
    let length = name.chars().count();
    if length <= TOWARDS {
        return name;
    }
    std::iter::once('…').chain(name.chars().skip(length - TOWARDS + 1)).collect()
}
