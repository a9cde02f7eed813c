//! The paper's figures 1 to 4: what is done at which layer, and what their captions say.

use lots_nn::{Graph, LayerId};
use serde::Serialize;

use crate::attack::{Extent, Goal, Lots, Magnify, Method, Reduce};

/// A figure of the paper: attacks on one origin.
#[derive(Debug)]
pub struct PaperFigure {
    /// 1 to 4.
    pub number: u8,
    /// A few words.
    pub title: &'static str,
    /// The network.
    pub network: &'static str,
    /// How many of the network's layers carry the paper's indices; in figures 2 and 4, all but that of the classes.
    pub depth: usize,
    /// What the origin shows, and the target, where there is one.
    pub given: &'static [&'static str],
    /// Cells in a row.
    pub columns: usize,
    /// In the paper's order. Origin and target stand before them, with letters of their own.
    pub subfigures: &'static [Subfigure],
}

/// One subfigure: what was done, and its caption.
#[derive(Debug, PartialEq, Serialize)]
pub struct Subfigure {
    /// Magnified, reduced or towards the target.
    #[serde(skip)]
    pub way: Way,
    /// How far.
    #[serde(skip)]
    pub extent: Extent,
    /// As the caption calls it.
    pub layer: &'static str,
    /// From 1 at the input.
    pub index: usize,
    /// What the paper's network says of the image.
    pub class: &'static str,
    /// Between origin and image.
    pub pass: f64,
    /// In grey levels.
    pub l2: u32,
    /// In grey levels.
    pub linf: u8,
}

/// In which direction a representation goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// More of it.
    Magnify,
    /// Less of it.
    Reduce,
    /// Towards the target's.
    Towards,
}

impl Way {
    /// The method that goes this way, at `layer`.
    pub fn at(self, layer: LayerId) -> Box<dyn Method> {
        match self {
            Self::Magnify => Box::new(Magnify(layer)),
            Self::Reduce => Box::new(Reduce(layer)),
            Self::Towards => Box::new(Lots(layer)),
        }
    }

    /// What counts as a success.
    pub fn goal(self) -> Goal {
        match self {
            Self::Magnify | Self::Reduce => Goal::Any,
            Self::Towards => Goal::Target,
        }
    }
}

/// A subfigure in the order of its caption.
const fn sub(
    way: Way,
    extent: Extent,
    (layer, index): (&'static str, usize),
    class: &'static str,
    (pass, l2, linf): (f64, u32, u8),
) -> Subfigure {
    Subfigure { way, extent, layer, index, class, pass, l2, linf }
}

use Extent::{Linf, Smallest};
use Way::{Magnify as More, Reduce as Less, Towards};

/// Paper: figure 1.
pub const FIGURE1: PaperFigure = PaperFigure {
    number: 1,
    title: "Visualisation via LOTS on LeNet",
    network: "LeNet",
    depth: 4,
    given: &["4"],
    columns: 5,
    subfigures: &[
        sub(More, Linf(128), ("CONV1", 1), "4", (0.9821, 383, 76)),
        sub(More, Linf(128), ("CONV2", 2), "4", (0.8854, 280, 77)),
        sub(Less, Smallest, ("IP1", 3), "9", (0.7807, 361, 57)),
        sub(Less, Smallest, ("IP2", 4), "9", (0.8166, 306, 59)),
    ],
};

/// Paper: figure 2.
pub const FIGURE2: PaperFigure = PaperFigure {
    number: 2,
    title: "Visualisation via LOTS on faces",
    network: "VGG Face",
    depth: 15,
    given: &["Olivia Wilde"],
    columns: 3,
    subfigures: &[
        sub(Less, Smallest, ("CONV2_1", 3), "A Breckenridge", (0.6604, 8873, 130)),
        sub(Less, Smallest, ("CONV3_2", 6), "Alexa Davalos", (0.8127, 3545, 140)),
        sub(Less, Smallest, ("CONV4_3", 10), "Lindsay Price", (0.9242, 1809, 58)),
        sub(Less, Smallest, ("CONV5_3", 13), "Cherie Lunghi", (0.9630, 1387, 87)),
        sub(Less, Smallest, ("FC7", 15), "Maria G. Cucinotta", (0.9673, 1083, 37)),
        sub(More, Linf(64), ("CONV1_1", 1), "Olivia Wilde", (0.9550, 11635, 64)),
        sub(More, Smallest, ("CONV1_1", 1), "Sarah Bolger", (0.6091, 34904, 197)),
        sub(More, Smallest, ("CONV5_1", 11), "Serinda Swan", (0.8037, 3956, 169)),
    ],
};

/// Paper: figure 3.
pub const FIGURE3: PaperFigure = PaperFigure {
    number: 3,
    title: "Adversarial perturbations via LOTS on LeNet",
    network: "LeNet",
    depth: 4,
    given: &["4", "9"],
    columns: 6,
    subfigures: &[
        sub(Towards, Smallest, ("CONV1", 1), "9", (0.9514, 283, 59)),
        sub(Towards, Smallest, ("CONV2", 2), "9", (0.9301, 289, 56)),
        sub(Towards, Smallest, ("IP1", 3), "9", (0.8942, 173, 40)),
        sub(Towards, Smallest, ("IP2", 4), "9", (0.8750, 158, 31)),
    ],
};

/// Paper: figure 4.
pub const FIGURE4: PaperFigure = PaperFigure {
    number: 4,
    title: "Adversarial perturbations via LOTS on faces",
    network: "VGG Face",
    depth: 15,
    given: &["Hugh Laurie", "Sean Bean"],
    columns: 4,
    subfigures: &[
        sub(Towards, Smallest, ("FC6", 14), "Sean Bean", (0.9838, 976, 41)),
        sub(Towards, Smallest, ("FC7", 15), "Sean Bean", (0.9785, 1136, 48)),
    ],
};

impl PaperFigure {
    /// The letter of a subfigure's caption; origin and target have the first ones.
    pub fn letter(&self, position: usize) -> char {
        (b'a'..=b'z').nth(self.given.len() + position).map_or('?', char::from)
    }

    /// The layers of `network` for the subfigures: those of the paper's names, if it has them all; else the same share of
    /// the depth along the layers that sum the network up, up to `last`. Also says whether they have the paper's names.
    pub fn layers(&self, network: &Graph, last: LayerId) -> (Vec<LayerId>, bool) {
        let named = |subfigure: &Subfigure| {
            let found = network.find_layers(&subfigure.layer.to_lowercase()).ok()?;
            found.first().copied().filter(|_| found.len() == 1)
        };
        if let Some(layers) = self.subfigures.iter().map(named).collect() {
            return (layers, true);
        }
        let mut depth = network.landmarks();
        depth.retain(|&id| id <= last);
        if depth.is_empty() {
            depth.push(last);
        }
        let at = |subfigure: &Subfigure| depth[share(subfigure.index, self.depth, depth.len())];
        (self.subfigures.iter().map(at).collect(), false)
    }
}

/// The position, from 0, that is as far along `count` as `index`, from 1, is along `of`.
fn share(index: usize, of: usize, count: usize) -> usize {
    // Rounded half up.
    let place = (2 * index * count + of) / (2 * of);
    place.clamp(1, count) - 1
}

#[cfg(test)]
mod tests {
    use lots_nn::{Network, lenet};

    use super::*;

    #[test]
    fn shares_of_the_depth() {
        for index in 1..=15 {
            assert_eq!(share(index, 15, 15), index - 1);
        }
        let sixteen = [3, 6, 10, 13, 15, 1, 11, 14].map(|index| share(index, 15, 16) + 1);
        assert_eq!(sixteen, [3, 6, 11, 14, 16, 1, 12, 15]);
        assert_eq!([1, 2, 3, 4].map(|index| share(index, 4, 2)), [0, 0, 1, 1]);
        assert_eq!([1, 4].map(|index| share(index, 4, 1)), [0, 0]);
    }

    #[test]
    fn lenets_layers_have_the_papers_names_and_indices() {
        let network = lenet(0);
        for figure in [FIGURE1, FIGURE3] {
            let (layers, named) = figure.layers(&network, network.output());
            assert!(named);
            for (subfigure, id) in figure.subfigures.iter().zip(layers) {
                let layer = network.layers().iter().find(|layer| layer.id == id).unwrap();
                assert_eq!(layer.index, Some(subfigure.index));
                assert_eq!(layer.name.to_uppercase(), subfigure.layer);
            }
        }
        // Of a network without VGG's names, up to the representation.
        let of = |name: &str| network.find_layers(name).unwrap()[0];
        let (conv1, conv2, ip1) = (of("conv1"), of("conv2"), of("ip1"));
        assert_eq!(FIGURE4.layers(&network, ip1), (vec![ip1, ip1], false));
        let wanted = vec![conv1, conv1, conv2, ip1, ip1, conv1, conv1, conv2];
        assert_eq!(FIGURE2.layers(&network, ip1), (wanted, false));
        // Before the first layer that counts, there is but the last one itself.
        assert_eq!(FIGURE4.layers(&network, of("scale")), (vec![of("scale"); 2], false));
    }

    #[test]
    fn letters_go_on_behind_what_is_given() {
        let letters = |figure: &PaperFigure| {
            (0..figure.subfigures.len()).map(|i| figure.letter(i)).collect::<String>()
        };
        let found = [FIGURE1, FIGURE2, FIGURE3, FIGURE4].map(|figure| letters(&figure));
        assert_eq!(found, ["bcde", "bcdefghi", "cdef", "cd"]);
    }
}
