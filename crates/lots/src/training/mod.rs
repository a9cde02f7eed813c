//! Training by Caffe's recipe for LeNet, exactly resumable.

mod batches;

use lots_nn::{Graph, Network, Recipe, StepReport, Trainer};
use md5::{Digest, Md5};
use ndarray::{Axis, concatenate};

pub use self::batches::Batches;
use crate::batch::batch;
use crate::data::Dataset;
use crate::error::{DataError, Error};
use crate::evaluation::classes;
use crate::hex::hex;

/// The key of how many steps a trained network has taken.
pub(crate) const ITERATIONS: &str = "lots.training.iterations";
/// Keys of what a checkpoint says of its training.
pub(crate) const SEED: &str = "lots.training.seed";
const DATA: &str = "lots.training.data";
const DATA_MD5: &str = "lots.training.data.md5";
pub(crate) const START_MD5: &str = "lots.training.start.md5";

/// A training under way: a network, its optimiser and the images that it learns.
///
/// The result is the weights of the last iteration. It follows from the initial network, the images and the seed alone:
/// neither a stop in between nor the number of threads changes a byte.
///
/// Paper: section 5.1, Basic LeNet. Source: BVLC Caffe, examples/mnist.
#[derive(Debug)]
pub struct Training<'d> {
    trainer: Trainer,
    parts: Vec<Part<'d>>,
    settings: Settings,
}

/// One of the data sets that a batch is mixed of.
#[derive(Debug)]
struct Part<'d> {
    data: &'d Dataset,
    labels: &'d [u8],
    batches: Batches,
}

/// What decides the result, as text.
#[derive(Debug)]
struct Settings {
    seed: String,
    data: String,
    data_md5: String,
    start_md5: String,
}

impl<'d> Training<'d> {
    /// Starts from the weights of `start`, at iteration 0; `seed` orders the images.
    ///
    /// # Errors
    /// When `start` is no classifier of such images, or `data` has no labels or labels beyond its classes.
    pub fn start(start: Graph, data: &'d Dataset, seed: u64) -> Result<Self, Error> {
        Self::start_mixed(start, &[(data, 1)], seed)
    }

    /// As [`start`](Self::start), with images of several data sets in each batch, as many of each as its weight says, at least
    /// one. Each data set has epochs of its own.
    ///
    /// # Errors
    /// As [`start`](Self::start), and when there is no data set, more than a batch has images, or a weight of 0.
    pub fn start_mixed(
        start: Graph,
        data: &[(&'d Dataset, u32)],
        seed: u64,
    ) -> Result<Self, Error> {
        let settings = Settings::new(&start, data, seed);
        Self::with(start, data, seed, settings, Trainer::new)
    }

    /// Continues from `checkpoint`, whose training began with the same `start`, `data` and `seed`.
    ///
    /// # Errors
    /// As [`start_mixed`](Self::start_mixed), when `checkpoint` is none, or was made with other settings.
    pub fn resume(
        checkpoint: Graph,
        start: &Graph,
        data: &[(&'d Dataset, u32)],
        seed: u64,
    ) -> Result<Self, Error> {
        let settings = Settings::new(start, data, seed);
        settings.check(&checkpoint)?;
        Self::with(checkpoint, data, seed, settings, Trainer::resume)
    }

    fn with(
        network: Graph,
        data: &[(&'d Dataset, u32)],
        seed: u64,
        settings: Settings,
        trainer: impl Fn(Graph, Recipe) -> lots_nn::Result<Trainer>,
    ) -> Result<Self, Error> {
        let recipe = Recipe::default();
        let classes = classes(&network)?;
        let weights: Vec<u32> = data.iter().map(|(_, weight)| *weight).collect();
        let mut parts = Vec::new();
        for ((part, &(data, _)), images) in (0..).zip(data).zip(shares(&weights, recipe.batch)?) {
            let labels = data.labels_below(classes)?;
            // Wrong images are found before the first step.
            batch(network.input(), data, [0])?;
            let batches = Batches::new(data.len(), images, seed).of_part(part);
            parts.push(Part { data, labels, batches });
        }
        Ok(Self { trainer: trainer(network, recipe)?, parts, settings })
    }

    /// Iterations done.
    pub fn iteration(&self) -> u64 {
        self.trainer.iteration()
    }

    /// One iteration.
    ///
    /// # Errors
    /// When the loss is no longer finite.
    pub fn step(&mut self) -> Result<StepReport, Error> {
        let iteration = self.iteration();
        let (mut images, mut labels) = (Vec::new(), Vec::new());
        for part in &mut self.parts {
            let positions = part.batches.at(iteration);
            labels.extend(positions.iter().map(|&i| part.labels[i]));
            images.push(batch(self.trainer.network().input(), part.data, positions)?);
        }
        let report = match &images[..] {
            [images] => self.trainer.step(images.view(), &labels)?,
            parts => {
                let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
                let images = concatenate(Axis(0), &views).map_err(|e| {
                    // All have the network's shape.
                    DataError::content(&self.settings.data, format!("cannot be mixed: {e}"))
                })?;
                self.trainer.step(images.view(), &labels)?
            }
        };
        if report.loss.is_finite() {
            return Ok(report);
        }
        Err(Error::Diverged { iteration, loss: report.loss, data: self.settings.data.clone() })
    }

    /// The network and the state of its training, as an ONNX file.
    pub fn checkpoint(&self) -> Vec<u8> {
        let Settings { seed, data, data_md5, start_md5 } = &self.settings;
        self.trainer.checkpoint(&own([
            (SEED, seed),
            (DATA, data),
            (DATA_MD5, data_md5),
            (START_MD5, start_md5),
        ]))
    }

    /// The trained network as an ONNX file, which says what it was made from, but not where or when.
    pub fn finished(&self) -> Vec<u8> {
        let Settings { seed, data_md5, start_md5, .. } = &self.settings;
        self.trainer.finished(&own([
            (ITERATIONS, &self.iteration().to_string()),
            (SEED, seed),
            (DATA_MD5, data_md5),
            (START_MD5, start_md5),
        ]))
    }
}

impl Settings {
    fn new(start: &Graph, data: &[(&Dataset, u32)], seed: u64) -> Self {
        let mut content = Md5::new();
        for (set, weight) in data {
            if data.len() > 1 {
                content.update(weight.to_le_bytes());
            }
            for size in set.shape() {
                content.update((size as u64).to_le_bytes());
            }
            content.update(set.images());
            content.update(set.labels().unwrap_or_default());
        }
        let name = |(set, weight): &(&Dataset, u32)| match data.len() {
            1 => set.name().to_owned(),
            _ => format!("{weight} × {}", set.name()),
        };
        Self {
            seed: seed.to_string(),
            data: data.iter().map(name).collect::<Vec<_>>().join(" + "),
            data_md5: hex(&content.finalize()),
            start_md5: hex(&Md5::digest(start.to_onnx())),
        }
    }

    /// Refuses a checkpoint of other settings.
    fn check(&self, checkpoint: &Graph) -> Result<(), Error> {
        let made = |key: &str| {
            let entry = checkpoint.metadata().find(|(k, _)| *k == key);
            entry.map(|(_, value)| value.to_owned()).ok_or_else(|| {
                let what = format!("it does not say {key}: it is not a checkpoint of training");
                let network = checkpoint.name().to_owned();
                Error::Network(lots_nn::Error::Model { network, what })
            })
        };
        let differs = |setting, made, found| {
            let checkpoint = checkpoint.name().to_owned();
            Err(Error::Resume { checkpoint, setting, made, found })
        };
        let seed = made(SEED)?;
        if seed != self.seed {
            return differs("seed", seed, self.seed.clone());
        }
        // The md5 alone decides: the same images may go by another name.
        let md5 = made(DATA_MD5)?;
        if md5 != self.data_md5 {
            let named = |name: &str, md5: &str| format!("{name} (md5 {md5})");
            return differs("data", named(&made(DATA)?, &md5), named(&self.data, &self.data_md5));
        }
        let md5 = made(START_MD5)?;
        if md5 != self.start_md5 {
            return differs("initial weights of md5", md5, self.start_md5.clone());
        }
        Ok(())
    }
}

/// How many of `batch` images each of the data sets gives: by weight, rounded so that the sum is right, at least one.
fn shares(weights: &[u32], batch: usize) -> Result<Vec<usize>, Error> {
    let refuse = |problem: String| Err(DataError::content("the mixture", problem).into());
    if weights.is_empty() || weights.len() > batch {
        return refuse(format!("has {} data sets, wanted 1–{batch}", weights.len()));
    }
    if weights.contains(&0) {
        return refuse("has a data set of weight 0, wanted more; leave it away".to_owned());
    }
    let total: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
    let whole = |weight: u32| batch as u64 * u64::from(weight);
    let part = |&weight: &u32| ((whole(weight) / total) as usize).max(1);
    let mut shares: Vec<usize> = weights.iter().map(part).collect();
    // What is left goes where most was cut off; what was given to those below one is taken from the largest.
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(whole(weights[i]) % total));
    let missing = batch.saturating_sub(shares.iter().sum());
    order.iter().take(missing).for_each(|&i| shares[i] += 1);
    for _ in 0..shares.iter().sum::<usize>().saturating_sub(batch) {
        if let Some(largest) = shares.iter_mut().max() {
            *largest -= 1;
        }
    }
    Ok(shares)
}

fn own<const N: usize>(entries: [(&str, &str); N]) -> Vec<(String, String)> {
    entries.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lots_nn::lenet;

    fn digits(name: &str, count: usize) -> Dataset {
        let pixels = (0..count * 784).map(|i| (i * i % 241) as u8).collect();
        let labels = (0..count).map(|i| (i % 10) as u8).collect();
        Dataset::new(name, [28, 28, 1], pixels, Some(labels), 10).unwrap()
    }

    fn steps(training: &mut Training<'_>, count: usize) {
        for _ in 0..count {
            training.step().unwrap();
        }
    }

    #[test]
    fn interrupted_and_resumed_is_uninterrupted() {
        let data = digits("digits", 100);
        let mut whole = Training::start(lenet(1), &data, 1).unwrap();
        steps(&mut whole, 5);
        let mut half = Training::start(lenet(1), &data, 1).unwrap();
        steps(&mut half, 3);
        let read = |bytes: &[u8]| Graph::from_onnx(bytes, "half").unwrap();
        let renamed = digits("the same images", 100);
        let mut rest =
            Training::resume(read(&half.checkpoint()), &lenet(1), &[(&renamed, 1)], 1).unwrap();
        assert_eq!(rest.iteration(), 3);
        steps(&mut rest, 2);
        assert!(rest.finished() == whole.finished(), "finished");
        let (whole, rest) = (read(&whole.checkpoint()), read(&rest.checkpoint()));
        assert!(whole.to_onnx().len() > 3_400_000, "momentum is kept");
        let others = |graph: &Graph| -> Vec<_> {
            graph.metadata().filter(|(k, _)| *k != DATA).map(|(k, v)| format!("{k} {v}")).collect()
        };
        assert_eq!(others(&whole), others(&rest));
    }

    #[test]
    fn shares_by_hand() {
        let cases: [(&[u32], &[usize]); 9] = [
            (&[1], &[64]),
            (&[1, 1], &[32, 32]),
            (&[3, 1], &[48, 16]),
            (&[1, 1, 1], &[22, 21, 21]),
            (&[1000, 1], &[63, 1]),
            (&[1, 1000], &[1, 63]),
            (&[1, 3], &[16, 48]),
            (&[1, 7], &[8, 56]),
            (&[1, 1, 1000], &[1, 1, 62]),
        ];
        for (weights, wanted) in cases {
            assert_eq!(shares(weights, 64).unwrap(), wanted, "{weights:?}");
        }
    }

    #[test]
    fn other_settings_are_refused_by_name() {
        let data = digits("digits", 100);
        let other = digits("others", 101);
        let checkpoint = || {
            let bytes = Training::start(lenet(0), &data, 0).unwrap().checkpoint();
            Graph::from_onnx(&bytes, "file").unwrap()
        };
        let cases = [
            (checkpoint(), 0, &data, 1, "file was made with seed 0, found seed 1"),
            (checkpoint(), 0, &other, 0, "file was made with data digits (md5 "),
            (checkpoint(), 1, &data, 0, "file was made with initial weights of md5 "),
            (
                lenet(0),
                0,
                &data,
                0,
                "lenet: it does not say lots.training.seed: it is not a checkpoint",
            ),
        ];
        for (checkpoint, start, data, seed, wanted) in cases {
            let found = Training::resume(checkpoint, &lenet(start), &[(data, 1)], seed);
            let message = found.unwrap_err().to_string();
            assert!(message.starts_with(wanted), "wanted {wanted}, found {message}");
        }
    }
}
