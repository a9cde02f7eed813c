//! `lots generate`

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::str::FromStr;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;
use lots::attack::{Decision, Method, UNKNOWN};
use lots::data::spread;
use lots::report::count;
use lots::set::{Choice, Common, Counts, Leader, Origins, Plan, SetFolder, is_set, leaders_of_set};
use lots::{NamedImage, Split, doubts};
use lots_nn::Graph;
use serde::Serialize;
use serde_json::json;

use crate::Outcome;
use crate::arguments::{Json, Layers, OutFolder, Resume, Seed, Threads};
use crate::attack::{Name, plain};
use crate::evaluate::percent;
use crate::gallery::GalleryArguments;
use crate::images::{Labelled, images_md5, is_mnist, labelled};
use crate::model::{Fit, Model};
use crate::output::{print, print_json, tell};
use crate::progress::attacks as progress;
use crate::signal::stop_on_signal;

/// Of the form of a set.
const VERSION: u32 = 1;
/// Largest factor of --beyond.
const BEYOND: f64 = 100.0;

#[derive(Args)]
#[command(after_help = "\
Writes DIR/train-00000-of-N.parquet and so on, each with the images found from
some of the origins, and DIR/_set.json, which says what was asked for. pandas,
polars and Hugging Face's datasets open the folder as it is; --data of `lots
train` and `lots evaluate` takes it too. Columns: image (PNG), label (the
origin's), adversarial_label, origin and target (positions in their data),
target_label, layer, method, step, percent, l2, linf, pass, zero_loss, seed,
model (MD5 of its file).

What the network misclassifies is not attacked, and what is not found is not
written. The same command gives the same bytes, on any number of threads, in one
go or stopped and gone on with --resume, in one process or several with --shard.
A stop loses at most the file in work. Exit code 1 if stopped.

Examples, on a network that `lots train lenet --out lenet.onnx` has trained:
  lots generate lenet.onnx --data mnist:train --out samples
  lots generate lenet.onnx --data mnist:train --method hot-cold --out hot-cold
  lots generate lenet.onnx --data mnist:train --layer ip1 --target hot-cold \\
    --out improved
  lots train lenet --init lenet.onnx --data samples --data mnist:train \\
    --mix 1:1 --out hardened.onnx")]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: Model,
    /// Images to start from, with classes: mnist:train, a folder of IDX or Parquet files, a part such as mnist:train:0..100, or
    /// a folder that holds a folder of PNG files for each class
    #[arg(long, value_name = "DATA")]
    data: String,
    /// Use at most N images, evenly spread over the data
    #[arg(long, value_name = "N")]
    limit: Option<NonZeroUsize>,
    /// How to find directions; repeat for more
    #[arg(long = "method", value_enum, value_name = "METHOD", default_value = "lots")]
    methods: Vec<Name>,
    #[command(flatten)]
    layers: Layers,
    /// Images that lead the way of lots, with classes, as --data; or the folder of a set, whose images each lead the origin that
    /// they were made from [default: mnist:train for digits of MNIST, else --data]
    #[arg(long, value_name = "DATA|SET")]
    target: Option<String>,
    /// Targets of each other class
    #[arg(long, value_name = "N", default_value = "1")]
    per_class: NonZeroUsize,
    /// Draw targets anew for each origin (see --seed), instead of the first of each class
    #[arg(long)]
    random_targets: bool,
    /// Also go on to this multiple of the smallest step found, such as 1.2; repeat for more
    #[arg(long, value_name = "FACTOR")]
    beyond: Vec<Factor>,
    /// Measure PASS, which takes longer than the attack
    #[arg(long)]
    pass: bool,
    #[command(flatten)]
    seed: Seed,
    /// Make only each N-th of the files, from the I-th on, such as 2/4; processes with other I make the others
    #[arg(long, value_name = "I/N")]
    shard: Option<Part>,
    #[command(flatten)]
    fit: Fit,
    #[command(flatten)]
    gallery: GalleryArguments,
    #[command(flatten)]
    out: OutFolder,
    #[command(flatten)]
    resume: Resume,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    json: Json,
}

/// `--beyond`, in percent.
#[derive(Clone, Copy)]
struct Factor(u16);

impl FromStr for Factor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let percent = text.parse::<f64>().ok().filter(|factor| *factor <= BEYOND);
        let percent = percent.map(|factor| (factor * 100.0).round() as u16);
        percent
            .filter(|percent| *percent > 100)
            .map(Self)
            .ok_or_else(|| format!("wanted a factor from 1.01 to {BEYOND}, such as 1.2"))
    }
}

/// `--shard`
#[derive(Clone, Copy)]
struct Part {
    /// From 0.
    index: usize,
    count: usize,
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(i, n)| {
            let (i, count) = (i.parse::<usize>().ok()?, n.parse::<usize>().ok()?);
            Some(Self { index: i.checked_sub(1)?, count })
        });
        parts
            .filter(|part| part.index < part.count)
            .ok_or_else(|| "wanted a part and how many there are, such as 2/4".to_owned())
    }
}

/// The origins.
struct Chosen<'a> {
    from: &'a Labelled,
    picks: Vec<usize>,
    fit: &'a Fit,
    network: &'a Graph,
}

impl Origins for Chosen<'_> {
    fn count(&self) -> usize {
        self.picks.len()
    }

    fn label(&self, i: usize) -> Option<usize> {
        self.from.label(self.picks[i])
    }

    fn position(&self, i: usize) -> usize {
        self.from.position(self.picks[i])
    }

    fn image(&self, i: usize) -> Result<NamedImage, lots::Error> {
        let image = self.from.image(self.picks[i], self.fit, self.network);
        image.map_err(|e| lots::Error::Attack(format!("{e:#}")))
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    set: String,
    finished: bool,
    /// Of the whole set, and those that this run has made.
    files: usize,
    made: usize,
    #[serde(flatten)]
    counts: &'a Counts,
    /// Of all files.
    bytes: u64,
    bytes_per_image: Option<f64>,
    /// Of this run.
    seconds: f64,
    /// Images found by this run.
    images_per_second: Option<f64>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    arguments.check()?;
    arguments.threads.start()?;
    let network = arguments.model.open()?;
    let decision = &*arguments.gallery.decision(&arguments.model, &arguments.fit, &network)?;
    let all = labelled(&arguments.data, Split::Train, &arguments.fit, &network, decision)?;
    let count = arguments.limit.map_or(all.count(), NonZeroUsize::get);
    let origins = Chosen {
        from: &all,
        picks: spread(all.count(), count).collect(),
        fit: &arguments.fit,
        network: &network,
    };
    let (free, led) = arguments.methods(&network, decision)?;
    let (leaders, choice) = arguments.leaders(&led, &origins, decision)?;
    for doubt in doubts(&network, decision.layer(), &origins.image(0)?.image)? {
        tell(&format!("warning: {doubt}"));
    }
    let percents = arguments.percents();
    let plan = Plan {
        network: &network,
        decision,
        origins: &origins,
        free: &free,
        led: &led,
        leaders: &leaders,
        choice: &choice,
        percents: &percents,
        seed: arguments.seed.value,
        measures_pass: arguments.pass,
    };
    if plan.attempts() == 0 {
        bail!(
            "there is nothing to do: no origin has a target of another class; give other targets"
        );
    }
    let common = Common {
        classes: decision.names().to_vec(),
        seed: arguments.seed.value,
        model: arguments.model.md5()?,
        settings: arguments.settings(&network, &plan, decision)?,
    };
    let out = &arguments.out;
    // Other parts may have begun.
    let goes_on = arguments.resume.on || arguments.shard.is_some();
    let set = SetFolder::open(&out.path, common, plan.shards(), goes_on, out.force)?;
    arguments.make(&plan, &set)
}

impl Arguments {
    /// Refuses options that do not go together.
    fn check(&self) -> Result<()> {
        let is_led = self.methods.iter().any(|method| method.is_led());
        let options = [
            ("--target", self.target.is_some()),
            ("--per-class", self.per_class.get() > 1),
            ("--random-targets", self.random_targets),
        ];
        if let Some((option, _)) = options.iter().find(|(_, given)| *given && !is_led) {
            bail!(
                "{option} is for lots, found other methods only; add --method lots, or leave it away"
            );
        }
        let fills = |name: &&Name| matches!(name, Name::Pgd | Name::FeatureAdversary);
        if let Some(name) = self.methods.iter().find(fills) {
            bail!(
                "--method {} goes to the end of a budget rather than to the smallest perturbation; take another, or lots attack",
                name.text()
            );
        }
        let winds =
            |name: &&Name| matches!(name, Name::IterativeLots | Name::Deepfool | Name::Lbfgs);
        if let Some(name) = self.methods.iter().find(winds)
            && !self.beyond.is_empty()
        {
            bail!(
                "--beyond goes on along a direction, found --method {}, which has no single one; leave one of them away",
                name.text()
            );
        }
        if self.layers.is_given() && !self.methods.iter().any(|method| method.has_layer()) {
            bail!(
                "--layer is for lots, magnify and reduce; the other methods start from the logits; leave it away"
            );
        }
        if self.resume.on && self.out.force {
            bail!("--resume goes on with what --force throws away; give one of them");
        }
        if self.shard.is_some() && self.out.force {
            bail!("--force would throw away what other --shard have made; remove the folder first");
        }
        let same = |other: &str| {
            let [other, out] = [Path::new(other), &self.out.path].map(Path::canonicalize);
            other.ok().zip(out.ok()).is_some_and(|(other, out)| other == out)
        };
        if [Some(&self.data), self.target.as_ref()].into_iter().flatten().any(|data| same(data)) {
            bail!("--out {} is where images come from; give another", self.out.path.display());
        }
        Ok(())
    }

    /// Those without a target, and those with one; in the order in which they are given, each once.
    #[expect(clippy::type_complexity, reason = "two lists of one kind")]
    fn methods(
        &self,
        network: &Graph,
        decision: &dyn Decision,
    ) -> Result<(Vec<Box<dyn Method>>, Vec<Box<dyn Method>>)> {
        let (mut free, mut led) = (Vec::new(), Vec::new());
        for (i, &name) in self.methods.iter().enumerate() {
            if self.methods[..i].contains(&name) {
                continue;
            }
            let layers = match name.has_layer() {
                true => self.layers.of_or_default(network)?,
                false => Vec::new(),
            };
            let hot = 0..decision.names().len();
            let methods = name.methods(&layers, hot);
            if name.is_led() { led.extend(methods) } else { free.extend(methods) }
        }
        Ok((free, led))
    }

    /// All that may lead, and what leads which origin.
    fn leaders(
        &self,
        led: &[Box<dyn Method>],
        origins: &Chosen<'_>,
        decision: &dyn Decision,
    ) -> Result<(Vec<Leader>, Choice)> {
        if led.is_empty() {
            return Ok((Vec::new(), Choice::Own(BTreeMap::new())));
        }
        let (network, count) = (origins.network, self.per_class.get());
        let given = self.target.as_deref();
        let default = is_mnist(&self.data).then_some("mnist:train");
        let own;
        let from = match given.or(default) {
            Some(set) if is_set(Path::new(set)) => {
                if self.random_targets || count > 1 {
                    bail!(
                        "the images of a set lead the origins that they were made from; leave --per-class and --random-targets away"
                    );
                }
                return Ok(leaders_of_set(Path::new(set), origins)?);
            }
            Some(data) => {
                own = labelled(data, Split::Train, &self.fit, network, decision)?;
                &own
            }
            None => origins.from,
        };
        let mut seen: BTreeMap<usize, usize> = BTreeMap::new();
        let mut leaders = Vec::new();
        for i in 0..from.count() {
            let seen = seen.entry(from.label(i).unwrap_or_default()).or_default();
            *seen += 1;
            // Those that never lead need no place.
            if self.random_targets || *seen <= count {
                let image = from.image(i, &self.fit, network)?;
                leaders.push(Leader { image, index: from.position(i) });
            }
        }
        let names = decision.names();
        let missing: Vec<&str> = (0..names.len())
            .filter(|class| !seen.contains_key(class) && names[*class] != UNKNOWN)
            .map(|class| names[class].as_str())
            .collect();
        if !missing.is_empty() {
            let more = if missing.len() > 10 { ", …" } else { "" };
            let shown = missing[..missing.len().min(10)].join(", ");
            tell(&format!(
                "warning: nothing leads to {} classes: {shown}{more}; --target takes other images",
                missing.len()
            ));
        }
        let classes = Choice::classes(&leaders);
        let choice = match self.random_targets {
            true => Choice::Random { classes, count },
            false => Choice::First { classes, count },
        };
        Ok((leaders, choice))
    }

    /// The smallest step, and those beyond, ascending.
    fn percents(&self) -> Vec<u16> {
        let beyond = self.beyond.iter().map(|Factor(percent)| *percent);
        let mut percents: Vec<u16> = std::iter::once(100).chain(beyond).collect();
        percents.sort_unstable();
        percents.dedup();
        percents
    }

    /// What the set depends on, as JSON. Names are those of the options.
    fn settings(
        &self,
        network: &Graph,
        plan: &Plan<'_>,
        decision: &dyn Decision,
    ) -> Result<String> {
        let methods = || plan.free.iter().chain(plan.led);
        let mut layers: Vec<&str> = Vec::new();
        for id in methods().filter_map(|method| method.layer()) {
            let name = &crate::attack::layer(network, id)?.name;
            if !layers.contains(&name.as_str()) {
                layers.push(name);
            }
        }
        let mut names: Vec<&str> = methods().map(|method| method.name()).collect();
        names.dedup();
        let origins = (0..plan.origins.count()).map(|i| plan.origins.image(i));
        let leaders = plan.leaders.iter().map(|leader| Ok(leader.image.clone()));
        let mut broken = None;
        let images =
            origins.chain(leaders).map_while(|image| image.map_err(|e| broken = Some(e)).ok());
        let data_md5 = images_md5(images);
        broken.map_or(Ok(()), Err)?;
        let settings = json!({
            "version": VERSION,
            "model_md5": self.model.md5()?,
            "preprocessing": network.preprocessing().map(ToString::to_string),
            "data": self.data,
            "data_md5": data_md5,
            "limit": self.limit,
            "method": names,
            "layer": layers,
            "target": self.target,
            "per_class": self.per_class,
            "random_targets": self.random_targets,
            "beyond": plan.percents.iter().map(|p| f64::from(*p) / 100.0).collect::<Vec<_>>(),
            "pass": self.pass,
            "seed": self.seed.value,
            "classes": decision.names(),
            "gallery": self.gallery.description(),
            "gallery_md5": self.gallery.md5()?,
        });
        Ok(serde_json::to_string_pretty(&settings)? + "\n")
    }

    /// Makes the files that are not there yet.
    fn make(&self, plan: &Plan<'_>, set: &SetFolder) -> Result<Outcome> {
        let stop = stop_on_signal()?;
        let clock = Instant::now();
        let attempts = plan.attempts();
        let bar = progress(attempts);
        let (mut counts, mut made, mut new) = (Counts::default(), 0, 0);
        let shards = plan.shards();
        let part = self.shard.unwrap_or(Part { index: 0, count: 1 });
        let mut finished = true;
        for shard in (part.index..shards).step_by(part.count) {
            if stop.load(Ordering::Relaxed) {
                finished = false;
                break;
            }
            match set.counts(shard)? {
                Some(there) => {
                    counts.add(&there);
                    bar.set_position((attempts * (shard + 1) / shards) as u64);
                    bar.reset_eta();
                }
                None => {
                    let found = set.make(plan, shard).inspect_err(|_| bar.finish_and_clear())?;
                    made += 1;
                    new += found.found;
                    counts.add(&found);
                    bar.set_position((attempts * (shard + 1) / shards) as u64);
                }
            }
        }
        bar.finish_and_clear();
        let (seconds, bytes) = (clock.elapsed().as_secs_f64(), set.bytes()?);
        let report = Report {
            set: self.out.path.display().to_string(),
            finished,
            files: shards,
            made,
            counts: &counts,
            bytes,
            bytes_per_image: (counts.found > 0 && part.count == 1)
                .then(|| bytes as f64 / counts.found as f64),
            seconds,
            images_per_second: (new > 0).then(|| new as f64 / seconds),
        };
        if self.json.on {
            print_json(&report)?;
        } else {
            print(&report.text())?;
        }
        if finished && counts.attempts == 0 && counts.origins > 0 {
            tell("no origin could be attacked: the network misclassifies them all");
            return Ok(Outcome::Incomplete);
        }
        if finished {
            return Ok(Outcome::Done);
        }
        tell(&format!("stopped; --resume goes on in {}", report.set));
        Ok(Outcome::Incomplete)
    }
}

impl Report<'_> {
    fn text(&self) -> String {
        let Self { set, files, made, counts, bytes, seconds, .. } = self;
        let Counts { origins, misclassified, attempts, found, .. } = counts;
        let share = if *attempts > 0 { *found as f64 / *attempts as f64 } else { 0.0 };
        let rate = self
            .images_per_second
            .map_or_else(String::new, |rate| format!(", {} images a second", count(rate as usize)));
        let each = self
            .bytes_per_image
            .map_or_else(String::new, |bytes| format!(", {bytes:.0} bytes an image"));
        format!(
            "{}: {} images of {} attacks ({}) on {} origins, {} of them misclassified\n\
             {made} of {files} files in {seconds:.1} s{rate}; {:.1} MB{each}\n",
            plain(set),
            count(*found),
            count(*attempts),
            percent(share),
            count(*origins),
            count(*misclassified),
            *bytes as f64 / 1e6,
        )
    }
}
