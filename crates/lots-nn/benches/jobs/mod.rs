//! The work on LeNet that is measured, alone and against PyTorch (`bench/peers/lenet.py` and `cotangents.py` do the same).

#![allow(dead_code, reason = "no benchmark uses all of it")]

use crate::peak::operations;
use lots_nn::{Cotangent, Graph, LayerId, Network, Recipe, Trainer, lenet};
use ndarray::Array4;
use std::hint::black_box;

/// Layers with weights, and cotangents at each of them for each image of [`Cotangents`].
pub(crate) const LAYERS: [&str; 4] = ["conv1", "conv2", "ip1", "ip2"];
const AT_EACH: usize = 9;

/// Work that is ready to run.
pub(crate) struct Job {
    /// Multiplications and additions, as [`operations`] counts them. A back-projection has as many as the way forward, a
    /// training step the weights' gradients besides but no gradient of the images.
    pub(crate) operations: f64,
    /// Does the work once.
    pub(crate) run: Box<dyn FnMut() + Send>,
}

impl Job {
    /// Logits of 1000 images.
    pub(crate) fn forward() -> Self {
        let (network, ip2) = (lenet(0), layer("ip2"));
        let images = images(1000, &mut random());
        Self {
            operations: 1000.0 * operations(&network, ip2),
            run: Box::new(move || {
                black_box(network.represent(images.view(), ip2).unwrap());
            }),
        }
    }

    /// Forward, then one cotangent an image from `ip2` back to the input.
    pub(crate) fn vjp() -> Self {
        let (network, ip2) = (lenet(0), layer("ip2"));
        let mut random = random();
        let images = images(1000, &mut random);
        let cotangents: Vec<Vec<f32>> =
            (0..1000).map(|_| (0..10).map(|_| random() - 0.5).collect()).collect();
        Self {
            operations: 1000.0 * 2.0 * operations(&network, ip2),
            run: Box::new(move || {
                let trace = network.trace(images.view(), &[ip2]).unwrap();
                let rows: Vec<Cotangent<'_>> = (0..)
                    .zip(&cotangents)
                    .map(|(image, values)| Cotangent { image, layer: ip2, values })
                    .collect();
                black_box(trace.back_project(&rows).unwrap());
            }),
        }
    }

    /// One step of Caffe's recipe at batch 64.
    pub(crate) fn train() -> Self {
        let network = lenet(0);
        let mut random = random();
        let images = images(64, &mut random);
        let labels: Vec<u8> = (0..64).map(|_| (random() * 10.0) as u8).collect();
        let all = operations(&network, layer("ip2"));
        let operations = 64.0 * (3.0 * all - operations(&network, layer("conv1")));
        let mut trainer = Trainer::new(network, Recipe::default()).unwrap();
        Self {
            operations,
            run: Box::new(move || {
                black_box(trainer.step(images.view(), &labels).unwrap());
            }),
        }
    }

    /// [`Cotangents::run`].
    pub(crate) fn cotangents() -> Self {
        let work = Cotangents::new();
        Self {
            operations: work.operations(),
            run: Box::new(move || {
                black_box(work.run());
            }),
        }
    }
}

/// 9 cotangents at each of 4 layers for each of 100 images, over one forward pass.
pub(crate) struct Cotangents {
    pub(crate) network: Graph,
    pub(crate) images: Array4<f32>,
    layers: Vec<LayerId>,
    /// Of each layer [100, 9, elements].
    pub(crate) values: Vec<Vec<f32>>,
}

impl Cotangents {
    pub(crate) fn new() -> Self {
        let network = lenet(0);
        let layers: Vec<LayerId> = LAYERS.map(layer).to_vec();
        let mut random = random();
        let images = images(100, &mut random);
        let elements = |id: &LayerId| {
            let info = network.layers().iter().find(|l| l.id == *id).unwrap();
            info.shape.iter().product::<usize>()
        };
        let rows = images.shape()[0] * AT_EACH;
        let values = layers
            .iter()
            .map(|id| (0..rows * elements(id)).map(|_| random() - 0.5).collect())
            .collect();
        Self { network, images, layers, values }
    }

    /// The rows [100 · 4 · 9, 1, 28, 28], those of an image together.
    pub(crate) fn run(&self) -> Array4<f32> {
        let trace = self.network.trace(self.images.view(), &self.layers).unwrap();
        let count = self.images.shape()[0];
        let mut rows = Vec::with_capacity(count * LAYERS.len() * AT_EACH);
        for image in 0..count {
            for (&layer, values) in self.layers.iter().zip(&self.values) {
                let elements = values.len() / (count * AT_EACH);
                let of_image = values.chunks_exact(elements).skip(image * AT_EACH);
                let rows_at =
                    of_image.take(AT_EACH).map(|values| Cotangent { image, layer, values });
                rows.extend(rows_at);
            }
        }
        trace.back_project(&rows).unwrap()
    }

    fn operations(&self) -> f64 {
        let to = |&layer: &LayerId| operations(&self.network, layer);
        let forward = to(self.layers.last().unwrap());
        let back = AT_EACH as f64 * self.layers.iter().map(to).sum::<f64>();
        self.images.shape()[0] as f64 * (forward + back)
    }
}

fn layer(name: &str) -> LayerId {
    lenet(0).find_layers(name).unwrap()[0]
}

/// Pixels from 0 to 255.
fn images(count: usize, random: &mut impl FnMut() -> f32) -> Array4<f32> {
    Array4::from_shape_simple_fn((count, 1, 28, 28), || random() * 255.0)
}

/// Numbers from 0 to 1 that are the same everywhere.
fn random() -> impl FnMut() -> f32 {
    let mut state = 1u32;
    move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1u32 << 24) as f32
    }
}
