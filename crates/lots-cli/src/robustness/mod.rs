//! `lots robustness`

mod folder;
mod text;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use lots::attack::Decision;
use lots::data::DEFAULT_CLASSES;
use lots::experiment::first_of_each_class;
use lots::robustness::{Survey, Way, sample};
use lots::{NamedImage, Split, doubts, open_dataset};
use lots_nn::{Graph, LayerId};

use self::folder::{Folder, Settings};
use crate::Outcome;
use crate::arguments::{Json, Layers, Seed, Threads};
use crate::attack::layer;
use crate::gallery::GalleryArguments;
use crate::images::{images_md5, is_mnist, labelled};
use crate::model::{Fit, Model};
use crate::output::{print, print_json, tell};
use crate::progress::attacks as progress;
use crate::signal::stop_on_signal;

#[derive(Args)]
#[command(after_help = "\
Every image that the network classifies correctly is attacked at every layer by
every method, up to the smallest perturbation that changes its class; lots goes
towards an image of each other class: for MNIST the first training image, else
the first image in the data.

Writes to DIR: robustness.json and robustness.csv (success and quantiles for
each layer, method and class), success-l2.svg, success-linf.svg, ranking.svg,
records.jsonl (a line for each attack, as `lots attack` writes them) and
run.json (what was asked for). Ctrl-C, or whatever else stops it, loses
nothing: the same command goes on where it stopped, to the same files. Exit
code 1 if stopped.

Examples, on a network that `lots train lenet --out lenet.onnx` has trained, and
on one that extracts features, such as the demo's:
  lots robustness lenet.onnx --data mnist:test --limit 500
  lots robustness face_descriptor.onnx --data people --gallery people \\
    --threshold 0.6")]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: Model,
    /// Images with classes: mnist:test, a folder of IDX files, a part such as mnist:test:0..100, or a folder that holds a
    /// folder of PNG files for each class or identity
    #[arg(long, value_name = "DATA", default_value = "mnist:test")]
    data: String,
    /// Use at most N images, from all classes alike
    #[arg(long, value_name = "N")]
    limit: Option<NonZeroUsize>,
    #[command(flatten)]
    seed: Seed,
    /// How to change what a layer sees; repeat for more [default: all three]
    #[arg(long = "method", value_enum, value_name = "METHOD")]
    methods: Vec<Name>,
    #[command(flatten)]
    layers: Layers,
    #[command(flatten)]
    fit: Fit,
    #[command(flatten)]
    gallery: GalleryArguments,
    /// Folder for the results; new, empty, or that of the same run
    #[arg(long, value_name = "DIR", default_value = "lots-robustness")]
    out: PathBuf,
    /// Start anew in a folder that is not empty; files of the same names are replaced
    #[arg(long)]
    force: bool,
    /// Also save each image found, and its perturbation, as PNG
    #[arg(long)]
    images: bool,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    json: Json,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Name {
    /// Less of what a layer sees in the image
    Reduce,
    /// More of it
    Magnify,
    /// Towards what it sees in an image of each other class
    Lots,
}

impl From<Name> for Way {
    fn from(name: Name) -> Self {
        match name {
            Name::Reduce => Self::Reduce,
            Name::Magnify => Self::Magnify,
            Name::Lots => Self::Lots,
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    arguments.threads.start()?;
    let network = arguments.model.open()?;
    let decision = &*arguments.gallery.decision(&arguments.model, &arguments.fit, &network)?;
    let Images { origins, targets } = arguments.images(&network, decision)?;
    let layers = arguments.layers.of_or_default(&network)?;
    let ways = arguments.ways();
    if ways.contains(&Way::Lots) && targets.len() < 2 {
        bail!(
            "lots goes towards images of other classes, found {} in {}; give more --data, or \
             --method reduce and --method magnify",
            if targets.is_empty() { "none" } else { "one class" },
            arguments.data
        );
    }
    for doubt in doubts(&network, decision.layer(), &origins[0].image)? {
        tell(&format!("warning: {doubt}"));
    }
    let settings = arguments.settings(&network, &origins, &targets, &layers)?;
    let survey = Survey::new(&network, network.name(), decision, targets, &layers, &ways)?;
    let stop = stop_on_signal()?;
    let attacks = survey.keys(&origins).count();
    let Folder { mut results, mut tally, done } =
        Folder::open(&arguments.out, arguments.force, &settings, survey.keys(&origins))?;
    if done > 0 {
        tell(&format!("going on in {} after {done} of {attacks} attacks", arguments.out.display()));
    }

    let bar = progress(attacks);
    bar.set_position(done as u64);
    bar.reset_eta();
    let mut ended = done;
    let surveyed = survey.run(&origins, done, |mut record, origin, found| {
        let image = found.filter(|_| arguments.images);
        results.add(&mut record, origin, image)?;
        tally.add(&record);
        ended += 1;
        bar.inc(1);
        anyhow::Ok(!stop.load(Ordering::Relaxed))
    });
    bar.finish_and_clear();
    surveyed?;
    if ended < attacks {
        let folder = arguments.out.display();
        tell(&format!(
            "stopped after {ended} of {attacks} attacks; the same command goes on in {folder}"
        ));
        return Ok(Outcome::Incomplete);
    }

    let report = folder::Report { settings: &settings, robustness: &tally.finish() };
    report.write(&arguments.out)?;
    if arguments.json.on {
        print_json(&report)?;
    } else {
        print(&text::text(&report, &arguments.out))?;
    }
    Ok(Outcome::Done)
}

/// What is attacked, and what leads the way.
struct Images {
    /// At least one.
    origins: Vec<NamedImage>,
    /// One of each class that there is.
    targets: Vec<NamedImage>,
}

impl Arguments {
    fn ways(&self) -> Vec<Way> {
        let mut names = self.methods.clone();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            names = Name::value_variants().to_vec();
        }
        names.into_iter().map(Way::from).collect()
    }

    fn images(&self, network: &Graph, decision: &dyn Decision) -> Result<Images> {
        let all = labelled(&self.data, Split::Test, &self.fit, network, decision)?;
        let image = |i| all.image(i, &self.fit, network);
        let all = (0..all.count()).map(image).collect::<Result<Vec<_>>>()?;
        let targets = if is_mnist(&self.data) {
            let train = open_dataset("mnist:train", Split::Train)?;
            let first = first_of_each_class(&train, DEFAULT_CLASSES)?.into_iter();
            first.map(|target| self.fit.apply(target, network)).collect::<Result<_>>()?
        } else {
            first_of_each(&all)
        };
        let classes: Vec<usize> = all.iter().map(|image| image.label.unwrap_or_default()).collect();
        let count = self.limit.map_or(usize::MAX, NonZeroUsize::get);
        let chosen = sample(&classes, count, self.seed.value);
        Ok(Images { origins: chosen.into_iter().map(|i| all[i].clone()).collect(), targets })
    }

    fn settings(
        &self,
        network: &Graph,
        origins: &[NamedImage],
        targets: &[NamedImage],
        layers: &[LayerId],
    ) -> Result<Settings> {
        let names = layers.iter().map(|&id| Ok(layer(network, id)?.name.clone()));
        Ok(Settings {
            model: network.name().to_owned(),
            model_md5: self.model.md5()?,
            preprocessing: network.preprocessing().map(ToString::to_string),
            data: self.data.clone(),
            data_md5: images_md5(origins.iter().chain(targets)),
            limit: self.limit.map(NonZeroUsize::get),
            seed: self.seed.value,
            method: self.ways().iter().map(|way| way.name().to_owned()).collect(),
            layer: names.collect::<Result<_>>()?,
            gallery: self.gallery.description(),
            images: self.images,
        })
    }
}

/// The first image of each class that there is, by class.
fn first_of_each(images: &[NamedImage]) -> Vec<NamedImage> {
    let mut first: Vec<NamedImage> = Vec::new();
    for image in images {
        if !first.iter().any(|one| one.label == image.label) {
            first.push(image.clone());
        }
    }
    first.sort_by_key(|image| image.label);
    first
}
