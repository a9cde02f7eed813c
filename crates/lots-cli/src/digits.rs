//! The network and the digits of figures 1 and 3.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use lots::attack::Decision;
use lots::{
    Dataset, Evaluation, NamedImage, Split, Training, evaluate, l2, open_dataset, write_file,
};
use lots_nn::{Graph, Network, lenet};

use crate::output::tell;
use crate::progress::TrainingProgress;

/// What a LeNet's file is called where none is named.
pub(crate) const MODEL: &str = "lenet.onnx";
/// Iterations of a training on the way; Caffe's recipe has 10,000, but these do.
const ITERATIONS: u64 = 5000;
/// The digit of figures 1 and 3, and what its target shows.
const ORIGIN: usize = 4;
pub(crate) const TARGET: usize = 9;

/// A LeNet, and how it came about: the `lenet.onnx` in `folder`, or here; or trained now, into `folder`.
pub(crate) fn lenet_of(folder: &Path) -> Result<(Graph, String)> {
    let file = folder.join(MODEL);
    for path in [&file, &PathBuf::from(MODEL)] {
        if path.exists() {
            let network = Graph::open(path)?;
            check(&network, "move it, or give another --out")?;
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
    write_file(&file, &training.finished())?;
    let how = format!(
        "trained for this page, with {ITERATIONS} iterations of Caffe's recipe, half as many as the paper's"
    );
    Ok((Graph::open(&file)?, how))
}

/// Refuses networks that do not read the digits of MNIST.
pub(crate) fn check(network: &Graph, remedy: &str) -> Result<()> {
    let input = network.input();
    let shape = [input.channels, input.height, input.width];
    if shape != [1, 28, 28] || lots::classes(network)? != 10 {
        let name = network.name();
        bail!("{name} takes no digits of MNIST (28×28, grey, 10 classes); {remedy}");
    }
    Ok(())
}

/// The origin and the target of the figures.
pub(crate) struct Digits(pub(crate) [NamedImage; 2]);

impl Digits {
    /// The first test digit that is, and is read as, a 4; and of the 9s, likewise, the one that is nearest to it. Also what
    /// the network makes of all test digits.
    pub(crate) fn choose(
        network: &Graph,
        decision: &dyn Decision,
        test: &Dataset,
    ) -> Result<(Self, Evaluation)> {
        let mut classes = Vec::new();
        let evaluation = evaluate(network, test, |logits| {
            classes.extend(logits.outer_iter().map(|row| decision.decide(&row.to_vec())));
        })?;
        let read_as = |digit: usize| {
            let is = |&i: &usize| test.label(i) == Some(digit) && classes[i] == Some(digit);
            let named = |i| NamedImage {
                image: test.image(i),
                name: format!("{}:{i}", test.name()),
                label: Some(digit),
            };
            (0..test.len()).filter(is).map(named).collect::<Vec<_>>()
        };
        let origin = read_as(ORIGIN).into_iter().next();
        let distance = |image: &NamedImage| {
            origin.as_ref().and_then(|origin| l2(&origin.image, &image.image).ok()).map(|l2| l2.0)
        };
        let target = read_as(TARGET).into_iter().min_by(|a, b| {
            distance(a).partial_cmp(&distance(b)).unwrap_or(std::cmp::Ordering::Equal)
        });
        match (origin, target) {
            (Some(origin), Some(target)) => Ok((Self([origin, target]), evaluation)),
            _ => bail!("the network reads no 4 or no 9 of mnist:test right; train it again"),
        }
    }
}
