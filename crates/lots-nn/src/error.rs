//! What can go wrong with a network.

use crate::tensor::show_shape;

/// `text` on one line: names come from files, and may hold control characters.
fn one_line(text: &str) -> String {
    let shown = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.into() };
    text.chars().map(shown).collect()
}

/// Why a network cannot be loaded, asked or trained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read or written.
    #[error("cannot {action} {path}: {reason}")]
    File {
        /// "read" or "write".
        action: &'static str,
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// A file is not a network that Lots can run.
    #[error("{network}: {}", one_line(.what))]
    Model {
        /// The network's file or name.
        network: String,
        /// What was wanted, what was found, and the remedy.
        what: String,
    },
    /// A node of the graph cannot be run.
    #[error("{network}: node \"{}\" ({}): {}", one_line(.node), one_line(.operator), one_line(.what))]
    Node {
        /// The network's file or name.
        network: String,
        /// The node's name, or that of its first output.
        node: String,
        /// The ONNX operator.
        operator: String,
        /// What was wanted, what was found, and the remedy.
        what: String,
    },
    /// No layer has this name, index or pattern.
    #[error("no layer \"{}\" in {network}; layers: {}", one_line(.asked), one_line(.layers))]
    NoLayer {
        /// What was asked for.
        asked: String,
        /// The network's file or name.
        network: String,
        /// The layers that there are.
        layers: String,
    },
    /// Numbers of another shape than the network or layer has.
    #[error("{}: wanted {}, found {}", one_line(.what), show_shape(.wanted), show_shape(.found))]
    Shape {
        /// Which numbers.
        what: String,
        /// The shape that fits.
        wanted: Vec<usize>,
        /// The shape that was given.
        found: Vec<usize>,
    },
    /// A request that makes no sense for this network or trace.
    #[error("{}", one_line(.0))]
    Request(String),
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
