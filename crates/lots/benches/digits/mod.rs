//! The work of Table 1: LOTS at every layer of a LeNet, from test digits towards all other classes.

#![allow(dead_code, reason = "no benchmark uses all of it")]

use lots::attack::{Attack, Extent, Goal, Lots, Target};
use lots::experiment::first_of_each_class;
use lots::{NamedImage, Split, Training, open_dataset};
use lots_nn::{Graph, lenet};

const CLASSES: usize = 10;

/// LeNet after so many iterations of Caffe's recipe, as ONNX.
pub(crate) fn trained(iterations: u64) -> Vec<u8> {
    let train = open_dataset("mnist:train", Split::Train).unwrap();
    let mut training = Training::start(lenet(0), &train, 0).unwrap();
    while training.iteration() < iterations {
        training.step().unwrap();
    }
    training.finished()
}

/// The first training digit of each class, then `count` test digits, evenly spread.
pub(crate) fn images(count: usize) -> Vec<NamedImage> {
    let train = open_dataset("mnist:train", Split::Train).unwrap();
    let test = open_dataset("mnist:test", Split::Test).unwrap().limit(count).unwrap();
    let mut images = first_of_each_class(&train, CLASSES).unwrap();
    images.extend((0..test.len()).map(|i| NamedImage {
        image: test.image(i),
        name: i.to_string(),
        label: test.label(i),
    }));
    images
}

/// LOTS at all layers that have an index.
pub(crate) fn layers(network: &Graph) -> Vec<Lots> {
    network.find_layers("all").unwrap().into_iter().map(Lots).collect()
}

/// Attacks at all `layers` on each of `images` but the first ten, which are their targets.
pub(crate) fn attacks<'a>(images: &[NamedImage], layers: &'a [Lots]) -> Vec<Attack<'a>> {
    let mut attacks = Vec::new();
    for (origin, image) in images.iter().enumerate().skip(CLASSES) {
        for method in layers {
            for target in (0..CLASSES).filter(|&class| image.label != Some(class)) {
                attacks.push(Attack {
                    origin,
                    target: Some(Target::Image(target)),
                    method,
                    goal: Goal::Any,
                    extent: Extent::Smallest,
                    units: None,
                });
            }
        }
    }
    attacks
}
