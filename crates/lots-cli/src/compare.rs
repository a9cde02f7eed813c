//! `lots compare`

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum, value_parser};
use lots::attack::{
    Attack, Budget, Decision, DeepFool, FeatureAdversary, Fgs, Fgv, HotCold, IterativeLots, Lbfgs,
    Lots, Method, Pgd, Target, Walk, attack,
};
use lots::data::{DEFAULT_CLASSES, open_dataset_with_classes};
use lots::experiment::first_of_each_class;
use lots::robustness::percent;
use lots::{
    Comparison, Contender, Image, NamedImage, Results, Split, doubts, images_batch, open_dataset,
    write_file,
};
use lots_nn::{Graph, LayerId, LayerInfo, Network};

use crate::Outcome;
use crate::arguments::{Json, Layers, Limit, OutFolder, TestData, Threads};
use crate::attack::{layer, record};
use crate::model::{Fit, Model};
use crate::output::{narrow, print, print_json, table, tell};
use crate::progress::attacks as progress;
use crate::signal::stop_on_signal;

#[derive(Args)]
#[command(after_help = "\
Every method attacks the same images, to another class. Those that want a target
(lots, iterative-lots, feature-adversary, hot-cold) go towards the class after
the image's own: for MNIST its first training image, else the first image in the
data. The first three are run at each layer.

found is the share that changes the class. L2, L∞ and PASS are means over these
images; of feature-adversary, which makes an image in any case, over all. near is
their distance to what the layer sees in the target, 100 % at the origin. ms and
passes (of single images, forward or backward) are per attack. pgd and
feature-adversary use all of their budgets; the others look for small
perturbations.

Writes to DIR: comparison.json, success-l2.svg, and records.jsonl, a line for
each attack, as `lots attack` writes them. Exit code 1 if stopped.

Example, on a network that `lots train lenet --out lenet.onnx` has trained:
  lots compare lenet.onnx --data mnist:test --limit 200 --layer ip1 \\
    --methods lots,iterative-lots,deepfool,lbfgs --out compared")]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: Model,
    #[command(flatten)]
    data: TestData,
    #[command(flatten)]
    limit: Limit,
    /// Which ones, with commas between them [default: all]
    #[arg(long, value_enum, value_name = "METHODS", value_delimiter = ',')]
    methods: Vec<Name>,
    #[command(flatten)]
    layers: Layers,
    /// Budget of pgd-linf, in grey levels of each value
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = value_parser!(u8).range(1..))]
    linf: u8,
    /// Budget of pgd-l2, in grey levels
    #[arg(long, value_name = "GREY", default_value_t = 500.0)]
    l2: f32,
    /// Boxes of feature-adversary, in grey levels of each value, with commas between them; its authors' is 10 [default: 10,64]
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = value_parser!(u8).range(1..))]
    boxes: Vec<u8>,
    #[command(flatten)]
    fit: Fit,
    #[command(flatten)]
    out: OutFolder,
    /// Also save each image found, and its perturbation, as PNG
    #[arg(long)]
    images: bool,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    json: Json,
}

/// Boxes of feature adversaries: their authors', and that of pgd.
const BOXES: [u8; 2] = [FeatureAdversary::LINF, 64];

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Name {
    /// Fast gradient sign
    Fgs,
    /// Fast gradient value
    Fgv,
    /// Hot/cold
    HotCold,
    /// LOTS along one direction
    Lots,
    /// LOTS step by step
    IterativeLots,
    /// Projected gradient descent inside an L∞ ball
    PgdLinf,
    /// Projected gradient descent inside an L2 ball
    PgdL2,
    /// DeepFool
    Deepfool,
    /// L-BFGS on the loss and the size (Szegedy et al. 2014)
    Lbfgs,
    /// L-BFGS on the representation in an L∞ box (Sabour et al. 2016)
    FeatureAdversary,
}

impl Name {
    /// Whether a layer's representation of a target leads the way.
    fn is_led(self) -> bool {
        matches!(self, Self::Lots | Self::IterativeLots | Self::FeatureAdversary)
    }
}

/// A method as it is compared.
struct Entry {
    name: String,
    layer: Option<LayerInfo>,
    /// One for each class that is headed for, or the same for all.
    methods: Vec<Box<dyn Method>>,
    has_target: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    arguments.threads.start()?;
    let network = arguments.model.open()?;
    let decision = &arguments.model.decision(&network)?;
    let classes = decision.names().len();
    let (images, targets) = arguments.images(&network, classes)?;
    let entries = arguments.entries(&network, classes)?;
    for doubt in doubts(&network, decision.layer(), &images[targets].image)? {
        tell(&format!("warning: {doubt}"));
    }
    let mut results = Results::create(&arguments.out.path, arguments.out.force)?;
    let stop = stop_on_signal()?;
    let bar = progress(entries.len() * (images.len() - targets));
    let mut comparison = Comparison {
        model: network.name().to_owned(),
        data: arguments.data.reference.clone(),
        contenders: Vec::new(),
    };
    for entry in &entries {
        let attacks = entry.attacks(&images, targets);
        let clock = Instant::now();
        let mut attacked = Vec::new();
        for one in attack(&network, decision, &images, &attacks) {
            attacked.push(one.inspect_err(|_| bar.finish_and_clear())?);
            bar.inc(1);
            if stop.load(Ordering::Relaxed) {
                bar.finish_and_clear();
                tell(&format!(
                    "stopped in {}; records are in {}",
                    entry.name,
                    results.folder().display()
                ));
                return Ok(Outcome::Incomplete);
            }
        }
        let seconds = clock.elapsed().as_secs_f64();
        let (mut records, mut distances) = (Vec::new(), Vec::new());
        for (attack, attacked) in attacks.iter().zip(&attacked) {
            let mut record = record(&network, decision, &images, attack, attacked)?;
            let found = attacked.outcome.image().filter(|_| arguments.images);
            let origin = &images[attack.origin].image;
            results.add(&mut record, origin, found.map(|found| &found.image))?;
            records.push(record);
            if let (Some(layer), Some(Target::Image(target)), Some(made)) =
                (&entry.layer, attack.target, attacked.outcome.image())
            {
                let three = [origin, &images[target].image, &made.image];
                distances.extend(distance(&network, layer.id, three.map(Image::clone))?);
            }
        }
        let layer = entry.layer.as_ref().map(|layer| layer.name.as_str());
        let contender = Contender::new(&entry.name, layer, &records, &distances, seconds);
        comparison.contenders.push(contender);
    }
    bar.finish_and_clear();
    let folder = &arguments.out.path;
    write_file(&folder.join("comparison.json"), &(serde_json::to_vec_pretty(&comparison)?))?;
    write_file(&folder.join("success-l2.svg"), comparison.svg()?.as_bytes())?;
    if arguments.json.on {
        print_json(&comparison)?;
    } else {
        print(&text(&comparison, folder))?;
    }
    Ok(Outcome::Done)
}

/// How far what `layer` sees in an image is from what it sees in the target, as a share of that between origin and target; `None` if
/// that is nothing.
fn distance(
    network: &Graph,
    layer: LayerId,
    [origin, target, made]: [Image; 3],
) -> Result<Option<f64>> {
    let batch = images_batch(network.input(), &[origin, target, made])?;
    let seen = network.represent(batch.view(), layer)?;
    let between = |a: usize, b: usize| {
        let pairs = seen.row(a).into_iter().zip(seen.row(b));
        pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
    };
    let whole = between(0, 1);
    Ok((whole > 0.0).then(|| between(2, 1) / whole))
}

impl Entry {
    /// On all images but the first `targets`, which lead the way.
    fn attacks<'a>(&'a self, images: &[NamedImage], targets: usize) -> Vec<Attack<'a>> {
        let attacks = (targets..images.len()).map(|origin| {
            let label = images[origin].label.unwrap_or_default();
            let aim = images[..targets].iter().position(|target| target.label > Some(label));
            // After the last class comes the first.
            let aim = aim.unwrap_or(0);
            let class = images[aim].label.unwrap_or_default();
            let method = self.methods.get(class).unwrap_or(&self.methods[0]);
            Attack::smallest(origin, self.has_target.then_some(Target::Image(aim)), &**method)
        });
        attacks.collect()
    }
}

impl Arguments {
    /// One image of each class, by class, and then the origins; and how many targets there are.
    fn images(&self, network: &Graph, classes: usize) -> Result<(Vec<NamedImage>, usize)> {
        let reference = &self.data.reference;
        let data = open_dataset_with_classes(reference, Split::Test, classes.min(256))?;
        data.labels_below(classes)?;
        let first = if data.name().starts_with("mnist:") {
            first_of_each_class(&open_dataset("mnist:train", Split::Train)?, DEFAULT_CLASSES)?
        } else {
            first_of_each_class(&data, classes)?
        };
        let fit = |image| self.fit.apply(image, network);
        let mut images = first.into_iter().map(fit).collect::<Result<Vec<_>>>()?;
        let targets = images.len();
        if targets < 2 {
            bail!(
                "methods are compared on images of two classes at least, found {targets} in {reference}"
            );
        }
        // By the names that open them.
        for i in self.limit.positions(data.len()) {
            images.push(fit(data.named(i))?);
        }
        Ok((images, targets))
    }

    fn entries(&self, network: &Graph, classes: usize) -> Result<Vec<Entry>> {
        let mut names = self.methods.clone();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            names = Name::value_variants().to_vec();
        }
        if !self.boxes.is_empty() && !names.contains(&Name::FeatureAdversary) {
            bail!("--boxes are for feature-adversary, found other methods only; leave them away");
        }
        let mut boxes = self.boxes.clone();
        boxes.sort_unstable();
        boxes.dedup();
        if boxes.is_empty() {
            boxes = BOXES.to_vec();
        }
        let with_layers = names.iter().any(|name| name.is_led());
        let layers = if with_layers { self.layers.of_or_default(network)? } else { Vec::new() };
        let plain = |method: Box<dyn Method>, has_target| Entry {
            name: method.name().to_owned(),
            layer: None,
            methods: vec![method],
            has_target,
        };
        let mut entries = Vec::new();
        for name in names {
            match name {
                Name::Fgs => entries.push(plain(Box::new(Fgs), false)),
                Name::Fgv => entries.push(plain(Box::new(Fgv), false)),
                Name::HotCold => entries.push(Entry {
                    methods: (0..classes).map(|hot| Box::new(HotCold { hot }) as _).collect(),
                    ..plain(Box::new(HotCold { hot: 0 }), false)
                }),
                Name::Deepfool => entries.push(plain(Box::<DeepFool>::default(), false)),
                Name::Lbfgs => entries.push(plain(Box::<Lbfgs>::default(), false)),
                Name::PgdLinf | Name::PgdL2 => {
                    let (budget, words) = match name {
                        Name::PgdLinf => (Budget::Linf(self.linf), format!("L∞ {}", self.linf)),
                        _ => (Budget::L2(self.l2), format!("L2 {}", self.l2)),
                    };
                    let entry = plain(Box::new(Pgd::new(budget)), false);
                    entries.push(Entry { name: format!("{} {words}", entry.name), ..entry });
                }
                Name::Lots | Name::IterativeLots => {
                    for &id in &layers {
                        let method: Box<dyn Method> = match name {
                            Name::Lots => Box::new(Lots(id)),
                            _ => Box::new(IterativeLots { layer: id, walk: Walk::default() }),
                        };
                        let layer = Some(layer(network, id)?.clone());
                        entries.push(Entry { layer, ..plain(method, true) });
                    }
                }
                Name::FeatureAdversary => {
                    for &id in &layers {
                        let layer = layer(network, id)?;
                        entries.extend(boxes.iter().map(|&linf| {
                            let entry = plain(Box::new(FeatureAdversary::new(id, linf)), true);
                            let name = format!("{} L∞ {linf}", entry.name);
                            Entry { name, layer: Some(layer.clone()), ..entry }
                        }));
                    }
                }
            }
        }
        Ok(entries)
    }
}

fn text(comparison: &Comparison, folder: &Path) -> String {
    let header = ["method", "layer", "found", "L2", "L∞", "PASS", "near", "ms", "passes"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let number = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
    };
    for one in &comparison.contenders {
        let attempts = one.attempts.max(1) as f64;
        rows.push(vec![
            one.method.clone(),
            one.layer.clone().unwrap_or_else(|| "-".to_owned()),
            percent(one.found, one.attempts),
            number(one.means.map(|means| means.l2), 0),
            number(one.means.map(|means| means.linf), 0),
            number(one.means.map(|means| means.pass), 3),
            one.distance.map_or_else(|| "-".to_owned(), |near| format!("{:.0} %", 100.0 * near)),
            number(Some(1000.0 * one.seconds / attempts), 2),
            number(Some(one.forward + one.backward), 0),
        ]);
    }
    narrow(&mut rows, &[0, 1]);
    let table = table(&rows, &[false, false, true, true, true, true, true, true, true]);
    let attempts = comparison.contenders.first().map_or(0, |one| one.attempts);
    format!(
        "{} on {}: {attempts} images that it classifies correctly\n\n{table}\nnumbers, plot and records in {}\n",
        comparison.model,
        comparison.data,
        folder.display()
    )
}
