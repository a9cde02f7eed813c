//! The work that is measured, alone and against PyTorch (`bench/peers/lenet.py` does the same).

use lots_nn::{Cotangent, Graph, LayerId, Network, Recipe, Trainer, lenet};
use ndarray::Array4;

/// One of three jobs on LeNet, ready to run.
pub(crate) enum Job {
    /// Logits of 1000 images.
    Forward(Graph, LayerId, Array4<f32>),
    /// The same, then one cotangent an image from `ip2` back to the input.
    Vjp(Graph, LayerId, Array4<f32>, Vec<Vec<f32>>),
    /// One step of Caffe's recipe at batch 64.
    Train(Box<Trainer>, Array4<f32>, Vec<u8>),
}

/// Names of the jobs, as the PyTorch peer knows them.
pub(crate) const JOBS: [&str; 3] = ["forward", "vjp", "train"];

impl Job {
    /// The job called `name`, with fixed pseudo-random images.
    pub(crate) fn new(name: &str) -> Self {
        let network = lenet(0);
        let ip2 = network.find_layers("ip2").unwrap()[0];
        let mut state = 1u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1u32 << 24) as f32
        };
        let count = if name == "train" { 64 } else { 1000 };
        let images = Array4::from_shape_simple_fn((count, 1, 28, 28), || random() * 255.0);
        match name {
            "forward" => Self::Forward(network, ip2, images),
            "vjp" => {
                let cotangents =
                    (0..count).map(|_| (0..10).map(|_| random() - 0.5).collect()).collect();
                Self::Vjp(network, ip2, images, cotangents)
            }
            _ => {
                let labels = (0..count).map(|_| (random() * 10.0) as u8).collect();
                Self::Train(
                    Box::new(Trainer::new(network, Recipe::default()).unwrap()),
                    images,
                    labels,
                )
            }
        }
    }

    /// Does the work once.
    pub(crate) fn run(&mut self) {
        match self {
            Self::Forward(network, layer, images) => {
                std::hint::black_box(network.represent(images.view(), *layer).unwrap());
            }
            Self::Vjp(network, layer, images, cotangents) => {
                let trace = network.trace(images.view(), &[*layer]).unwrap();
                let rows: Vec<Cotangent<'_>> = cotangents
                    .iter()
                    .enumerate()
                    .map(|(image, values)| Cotangent { image, layer: *layer, values })
                    .collect();
                std::hint::black_box(trace.back_project(&rows).unwrap());
            }
            Self::Train(trainer, images, labels) => {
                std::hint::black_box(trainer.step(images.view(), labels).unwrap());
            }
        }
    }
}
