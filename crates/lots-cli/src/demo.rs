//! `lots demo`

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;
use lots::attack::{
    Argmax, Attack, Extent, Fgs, Fgv, Goal, HotCold, Lots, Magnify, Method, Reduce, Target, attack,
};
use lots::experiment::{Row, first_of_each_class, row};
use lots::report::{DemoPage, Exhibit, Figure, read_exhibits, table1_text};
use lots::{Results, Split, open_dataset, write_file};
use lots_nn::Graph;

use crate::Outcome;
use crate::arguments::Threads;
use crate::attack::keep;
use crate::digits::{Digits, MODEL, TARGET, lenet_of};
use crate::faces::{self, Faces};
use crate::output::{print, tell};
use crate::progress::images;

/// Everything that a demo writes to its folder.
const FILES: [&str; 4] = [MODEL, "results", "table1.json", "index.html"];
/// The L∞ norm of figure 1's magnified images.
const LINF: u8 = 128;

#[derive(Args)]
#[command(after_help = "\
Trains LeNet on MNIST (or takes a lenet.onnx that is there), attacks digits at
every layer, measures them, and writes a page: DIR/index.html. Beside it are the
images and records (DIR/results), the table's numbers (DIR/table1.json) and, if
it was trained here, the network. Then it makes a face recogniser take one
person for another: network (DIR/face_descriptor.onnx), gallery (DIR/people) and
results (DIR/faces). A folder of an earlier demo is written anew.

Example:
  lots demo")]
pub(crate) struct Arguments {
    /// Folder for the page
    #[arg(long, value_name = "DIR", default_value = "lots-demo")]
    out: PathBuf,
    /// Test digits for the table, evenly spread over all 10,000
    #[arg(long, value_name = "N", default_value = "200")]
    limit: NonZeroUsize,
    #[command(flatten)]
    threads: Threads,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let clock = Instant::now();
    arguments.threads.start()?;
    let folder = Folder::make(&arguments.out)?;
    let (network, training) = lenet_of(&folder.0)?;
    let decision = Argmax::of(&network)?;

    let test = open_dataset("mnist:test", Split::Test)?;
    let (digits, evaluation) = Digits::choose(&network, &decision, &test)?;

    tell("attacking one digit at every layer");
    let exhibits = digits.attack(&network, &decision, &folder.path("results"))?;
    tell("attacking a face at four layers of a recogniser");
    let faces = Faces::attack(&folder.0)?;

    let targets = first_of_each_class(&open_dataset("mnist:train", Split::Train)?, 10)?;
    let sample = test.limit(arguments.limit.get())?;
    tell(&format!("attacking {} digits, 47 times each, for the columns of Table 1", sample.len()));
    let bar = images(sample.len());
    let table = row(&network, network.name(), &sample, &targets, |done| {
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let table: Row = table?;
    write_file(&folder.path("table1.json"), &serde_json::to_vec_pretty(&table)?)?;

    let page = DemoPage {
        model: network.name(),
        training: &training,
        error_rate: Some(evaluation.error_rate),
        figures: &digits.figures(&exhibits).into_iter().chain([faces.figure()]).collect::<Vec<_>>(),
        table: Some(&table),
    };
    write_file(&folder.path("index.html"), page.html()?.as_bytes())?;
    print(&format!(
        "{}\n{}\ndone in {:.0} s; look at {}\n",
        table1_text(&table),
        faces.text(),
        clock.elapsed().as_secs_f64(),
        folder.path("index.html").display()
    ))?;
    Ok(Outcome::Done)
}

/// Where a demo writes.
struct Folder(PathBuf);

impl Folder {
    /// Makes the folder, or takes it if nothing but a demo lies in it.
    fn make(path: &Path) -> Result<Self> {
        let shown = path.display();
        if let Err(e) = fs::create_dir_all(path) {
            bail!("cannot write {shown}: {e}; give another --out");
        }
        for entry in fs::read_dir(path)? {
            let name = entry?.file_name();
            if !FILES.iter().chain(&faces::FILES).any(|&file| name == file) {
                let name = name.display();
                bail!("{shown} holds {name}, which no demo has written; give another --out");
            }
        }
        Ok(Self(path.to_owned()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Digits {
    /// Attacks the origin in all ways, and reads the results back from `folder`.
    fn attack(&self, network: &Graph, decision: &Argmax, folder: &Path) -> Result<Vec<Exhibit>> {
        let layers = network.find_layers("all")?;
        let [lower @ .., upper1, upper2] = &layers[..] else {
            bail!("{} has fewer than two layers with weights", network.name());
        };
        let magnify: Vec<Magnify> = lower.iter().copied().map(Magnify).collect();
        let reduce = [upper1, upper2].map(|&layer| Reduce(layer));
        let lots: Vec<Lots> = layers.iter().copied().map(Lots).collect();
        let hot = HotCold { hot: TARGET };
        let one = |method, target, extent| Attack {
            origin: 0,
            target,
            method,
            goal: Goal::Any,
            extent,
            units: None,
        };
        let smallest = Extent::Smallest;
        let magnified = magnify.iter().map(|m| one(m as &dyn Method, None, Extent::Linf(LINF)));
        let reduced = reduce.iter().map(|m| one(m as &dyn Method, None, smallest));
        let towards = lots.iter().map(|m| one(m as &dyn Method, Some(Target::Image(1)), smallest));
        let others: [&dyn Method; 3] = [&Fgv, &Fgs, &hot];
        let others = others.into_iter().map(|m| one(m, None, smallest));
        let attacks: Vec<Attack<'_>> =
            magnified.chain(reduced).chain(towards).chain(others).collect();

        let mut results = Results::create(folder, true)?;
        let attacked = attack(network, decision, &self.0, &attacks);
        for (attack, attacked) in attacks.iter().zip(attacked) {
            keep(&mut results, network, decision, &self.0, attack, &attacked?)?;
        }
        Ok(read_exhibits(folder)?)
    }

    /// The figures of `exhibits`, in the order in which [`attack`](Self::attack) gives them.
    fn figures<'a>(&'a self, exhibits: &'a [Exhibit]) -> Vec<Figure<'a>> {
        let [origin, target] = &self.0;
        let first = |methods: &[&str]| {
            let other = |exhibit: &Exhibit| !methods.contains(&exhibit.record.method.as_str());
            exhibits.iter().position(other).unwrap_or(exhibits.len())
        };
        let (figure1, rest) = exhibits.split_at(first(&["magnify", "reduce"]));
        let (figure3, others) =
            rest.split_at(first(&["magnify", "reduce", "lots"]) - figure1.len());
        vec![
            Figure::representations(origin, figure1),
            Figure::towards(origin, target, figure3),
            Figure::methods(origin, others),
        ]
    }
}
