//! `lots demo`

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;
use lots::attack::{
    Argmax, Attack, Decision, Extent, Fgs, Fgv, Goal, HotCold, Lots, Magnify, Method, Reduce,
    Target, attack,
};
use lots::experiment::{Row, first_of_each_class, row};
use lots::report::{DemoPage, Exhibit, Figure, read_exhibits, table1_text};
use lots::{Dataset, NamedImage, Results, Split, Training, evaluate, l2, open_dataset, write_file};
use lots_nn::{Graph, Network, lenet};

use crate::Outcome;
use crate::arguments::Threads;
use crate::attack::keep;
use crate::faces::{self, Faces};
use crate::output::{print, tell};
use crate::progress::{TrainingProgress, images};

/// Iterations of the demo's own training; Caffe's recipe has 10,000, but these do.
const ITERATIONS: u64 = 5000;
/// Everything that a demo writes to its folder.
const FILES: [&str; 4] = [MODEL, "results", "table1.json", "index.html"];
const MODEL: &str = "lenet.onnx";
/// The digit of figures 1 and 3, and what its target shows.
const ORIGIN: usize = 4;
const TARGET: usize = 9;
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
    let (network, training) = folder.network()?;
    let decision = Argmax::of(&network)?;

    let test = open_dataset("mnist:test", Split::Test)?;
    let mut classes = Vec::new();
    let evaluation = evaluate(&network, &test, |logits| {
        classes.extend(logits.outer_iter().map(|row| decision.decide(&row.to_vec())));
    })?;

    tell("attacking one digit at every layer");
    let digits = Digits::choose(&test, &classes)?;
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

    /// A LeNet, and how it came about: from this folder, from here, or trained now.
    fn network(&self) -> Result<(Graph, String)> {
        for path in [self.path(MODEL), PathBuf::from(MODEL)] {
            if path.exists() {
                let network = Graph::open(&path)?;
                let input = network.input();
                let shape = [input.channels, input.height, input.width];
                if shape != [1, 28, 28] || lots::classes(&network)? != 10 {
                    bail!(
                        "{} takes no digits of MNIST (28×28, grey, 10 classes); move it, or give another --out",
                        path.display()
                    );
                }
                tell(&format!("taking the network {}", path.display()));
                return Ok((network, format!("taken as it was in {}", path.display())));
            }
        }
        let data = open_dataset("mnist:train", Split::Train)?;
        tell(&format!("training LeNet on MNIST, {ITERATIONS} iterations"));
        let mut training = Training::start(lenet(0), &data, 0)?;
        let progress = TrainingProgress::new(0, ITERATIONS);
        while training.iteration() < ITERATIONS {
            let report = training.step().inspect_err(|_| progress.end())?;
            progress.step(training.iteration(), report);
        }
        progress.end();
        let (bytes, path) = (training.finished(), self.path(MODEL));
        write_file(&path, &bytes)?;
        Ok((
            Graph::open(&path)?,
            format!(
                "trained for this page, with {ITERATIONS} iterations of Caffe's recipe, half as many as the paper's"
            ),
        ))
    }
}

/// The origin and the target of the figures.
struct Digits([NamedImage; 2]);

impl Digits {
    /// The first test digit that is, and is read as, a 4; and of the 9s, likewise, the one that is nearest to it.
    fn choose(test: &Dataset, classes: &[Option<usize>]) -> Result<Self> {
        let read_as = |digit: usize| {
            let is = move |&i: &usize| test.label(i) == Some(digit) && classes[i] == Some(digit);
            (0..test.len()).filter(is).map(move |i| NamedImage {
                image: test.image(i),
                name: format!("{}:{i}", test.name()),
                label: Some(digit),
            })
        };
        let origin = read_as(ORIGIN).next();
        let distance = |image: &NamedImage| {
            origin.as_ref().and_then(|origin| l2(&origin.image, &image.image).ok()).map(|l2| l2.0)
        };
        let target = read_as(TARGET).min_by(|a, b| {
            distance(a).partial_cmp(&distance(b)).unwrap_or(std::cmp::Ordering::Equal)
        });
        match (origin, target) {
            (Some(origin), Some(target)) => Ok(Self([origin, target])),
            _ => bail!("the network reads no 4 or no 9 of mnist:test right; train it again"),
        }
    }

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
