//! Networks as graphs of ONNX operators: forward to any layer, back-projection of cotangents to the input, training.
//!
//! ```
//! use lots_nn::{Cotangent, Network, lenet};
//! use ndarray::Array4;
//!
//! let network = lenet(0);
//! let images = Array4::from_elem((2, 1, 28, 28), 128.0);
//! let layers = network.find_layers("ip2")?;
//! let trace = network.trace(images.view(), &layers)?;
//! let logits = trace.representation(layers[0])?;
//! let row = logits.row(1).to_vec();
//! let direction = trace.back_project(&[Cotangent { image: 1, layer: layers[0], values: &row }])?;
//! assert_eq!(direction.shape(), [1, 1, 28, 28]);
//! # Ok::<(), lots_nn::Error>(())
//! ```

#[cfg(feature = "convert")]
mod convert;
mod error;
mod exec;
mod graph;
mod kernels;
mod lenet;
mod network;
mod onnx;
mod ops;
mod outline;
mod parallel;
mod preprocessing;
mod scratch;
mod shared;
#[cfg(feature = "parallel")]
mod team;
mod tensor;
#[cfg(test)]
mod tests;
mod train;

#[cfg(feature = "convert")]
pub use convert::VggFace;
pub use error::{Error, Result};
pub use graph::Graph;
pub use lenet::lenet;
pub use network::{Cotangent, InputSpec, LayerId, LayerInfo, Network, ReluRule, Trace};
pub use preprocessing::{ChannelOrder, Layout, OpenOptions, Preprocessing, ValueRange};
pub use tensor::Tensor;
pub use train::{Recipe, StepReport, Trainer};
