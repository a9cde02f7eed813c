//! `lots train`

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, Subcommand};
use lots::data::{open_dataset_with_classes, open_test_split};
use lots::{Dataset, Evaluation, Split, Training, evaluate, write_file};
use lots_nn::{Graph, lenet};
use serde::Serialize;

use crate::Outcome;
use crate::arguments::{Json, Out, Resume, Seed, Threads, TrainData};
use crate::evaluate::{label_classes, percent};
use crate::output::{print, print_json, tell};
use crate::progress::TrainingProgress;
use crate::signal::stop_on_signal;

/// Iterations between two checkpoints.
const CHECKPOINTS: u64 = 1000;
/// Paper: Table 1, error rate of Basic LeNet, trained on all of mnist:train.
const PAPER: &str = " (paper: 0.91 %)";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Train LeNet by Caffe's recipe: on MNIST, the paper's Basic LeNet
    Lenet(Arguments),
}

#[derive(Args)]
#[command(after_help = "\
Ctrl-C stops after the current iteration and leaves OUT.checkpoint, a network
as it is and the state to --resume from; it is also written every 1000
iterations, and removed at the end. Exit code 1 if stopped.

With several --data, a batch has images of all of them, in the proportions of
--mix, and each has epochs of its own.

Examples:
  lots train lenet --out lenet.onnx --seed 1
  lots train lenet --init lenet.onnx --data samples --data mnist:train \\
    --mix 1:1 --iterations 50000 --out hardened.onnx")]
pub(crate) struct Arguments {
    #[command(flatten)]
    out: Out,
    /// Steps of 64 images each
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    iterations: u64,
    #[command(flatten)]
    seed: Seed,
    #[command(flatten)]
    data: TrainData,
    /// Start from the weights of this ONNX file instead of fresh ones
    #[arg(long, value_name = "MODEL")]
    init: Option<PathBuf>,
    #[command(flatten)]
    resume: Resume,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    json: Json,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    /// The file written: the trained network, or the checkpoint where training was stopped.
    model: String,
    finished: bool,
    iterations: u64,
    /// Iterations that an earlier run had done.
    resumed_at: u64,
    /// Of this run.
    seconds: f64,
    /// `null` without test images.
    test: Option<Test>,
}

#[derive(Serialize)]
struct Test {
    data: String,
    images: usize,
    errors: u64,
    /// 0–1.
    error_rate: f64,
}

pub(crate) fn run(command: &Command) -> Result<Outcome> {
    let Command::Lenet(arguments) = command;
    arguments.threads.start()?;
    let checkpoint = checkpoint_of(&arguments.out.path);
    arguments.check_files(&checkpoint)?;
    let start =
        arguments.init.as_ref().map_or_else(|| Ok(lenet(arguments.seed.value)), Graph::open)?;
    let classes = label_classes(&start)?;
    let weights = arguments.data.weights()?;
    let open = |reference: &String| open_dataset_with_classes(reference, Split::Train, classes);
    let data = arguments.data.references.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let mixture: Vec<(&Dataset, u32)> = data.iter().zip(weights).collect();
    let mut training = arguments.training(start, &mixture, &checkpoint)?;

    let stop = stop_on_signal()?;
    let (first, clock) = (training.iteration(), Instant::now());
    // Also shows that the folder can be written to, before the work is done.
    write_file(&checkpoint, &training.checkpoint())?;
    let progress = TrainingProgress::new(first, arguments.iterations);
    while training.iteration() < arguments.iterations && !stop.load(Ordering::Relaxed) {
        let report = training.step().inspect_err(|_| {
            progress.end();
            if first == 0 {
                // From here it would only fail again.
                let _ = std::fs::remove_file(&checkpoint);
            }
        })?;
        progress.step(training.iteration(), report);
        if training.iteration().is_multiple_of(CHECKPOINTS) {
            write_file(&checkpoint, &training.checkpoint())?;
        }
    }
    progress.end();

    let finished = training.iteration() >= arguments.iterations;
    let file = if finished { &arguments.out.path } else { &checkpoint };
    let model = file.display().to_string();
    let network = if finished {
        Some(arguments.finish(&training, &checkpoint)?)
    } else {
        write_file(&checkpoint, &training.checkpoint())?;
        None
    };
    let seconds = clock.elapsed().as_secs_f64();
    let iterations = training.iteration();
    let test = network.map_or(Ok(None), |network| arguments.test(&network, &data))?;
    let report = Report { model, finished, iterations, resumed_at: first, seconds, test };
    if !finished {
        let Report { model, .. } = &report;
        let wanted = arguments.iterations;
        tell(&format!(
            "stopped after {iterations} of {wanted} iterations; --resume continues from {model}"
        ));
    }
    if arguments.json.on {
        print_json(&report)?;
    } else if finished {
        print(&report.text(arguments, &data))?;
    }
    Ok(if finished { Outcome::Done } else { Outcome::Incomplete })
}

impl Report {
    fn text(&self, arguments: &Arguments, data: &[Dataset]) -> String {
        let Self { model, iterations, resumed_at, seconds, test, .. } = self;
        let resumed = match resumed_at {
            0 => String::new(),
            first => format!(" (resumed at {first})"),
        };
        let is_digits = data.len() == 1 && data[0].name() == "mnist:train";
        let is_papers = is_digits && arguments.init.is_none();
        let paper = if is_papers { PAPER } else { "" };
        let tested = test.as_ref().map_or_else(String::new, |test| {
            format!("; test error {}{paper}", percent(test.error_rate))
        });
        format!("{model}: {iterations} iterations{resumed} in {seconds:.0} s{tested}\n")
    }
}

impl Arguments {
    /// Refuses to lose files that exist.
    fn check_files(&self, checkpoint: &Path) -> Result<()> {
        self.out.check()?;
        let file = checkpoint.display();
        match (checkpoint.exists(), self.resume.on) {
            (false, true) => bail!("no {file} to resume from; start without --resume"),
            (true, false) if !self.out.force => {
                bail!("{file} exists; continue it with --resume, or start anew with --force")
            }
            _ => Ok(()),
        }
    }

    fn training<'d>(
        &self,
        start: Graph,
        data: &[(&'d Dataset, u32)],
        checkpoint: &Path,
    ) -> Result<Training<'d>> {
        let seed = self.seed.value;
        if !self.resume.on {
            return Ok(Training::start_mixed(start, data, seed)?);
        }
        let found = Graph::open(checkpoint)?;
        let training = Training::resume(found, &start, data, seed).map_err(|e| match e {
            lots::Error::Resume { .. } => {
                anyhow!("{e}; give the same, or start anew with --force and without --resume")
            }
            e => e.into(),
        })?;
        let (done, wanted) = (training.iteration(), self.iterations);
        if done > wanted {
            let file = checkpoint.display();
            bail!("{file} has {done} iterations, found --iterations {wanted}; give more");
        }
        Ok(training)
    }

    /// Writes the trained network, and gives it as it is read back.
    fn finish(&self, training: &Training<'_>, checkpoint: &Path) -> Result<Graph> {
        let out = &self.out.path;
        let bytes = training.finished();
        // What cannot be read back is not worth a file.
        let network = Graph::from_onnx(&bytes, &out.display().to_string())?;
        write_file(out, &bytes)?;
        fs::remove_file(checkpoint)
            .with_context(|| format!("cannot remove {}", checkpoint.display()))?;
        Ok(network)
    }

    /// The error on the test images that belong to the training images, or the first of them, if there are such.
    fn test(&self, network: &Graph, data: &[Dataset]) -> Result<Option<Test>> {
        let classes = label_classes(network)?;
        let both = self.data.references.iter().zip(data);
        let mut test = both.filter_map(|(reference, data)| {
            open_test_split(reference, classes).filter(|test| test.shape() == data.shape())
        });
        let Some(test) = test.next() else { return Ok(None) };
        let Evaluation { images, errors, error_rate, .. } = evaluate(network, &test, |_| ())?;
        Ok(Some(Test { data: test.name().to_owned(), images, errors, error_rate }))
    }
}

/// Where a training into `out` keeps its state.
fn checkpoint_of(out: &Path) -> PathBuf {
    let mut name = OsString::from(out);
    name.push(".checkpoint");
    name.into()
}
