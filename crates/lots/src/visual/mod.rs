//! What other methods show of a layer, to be seen beside LOTS: gradient saliency, deconvolution, guided back-propagation,
//! activation maximisation, and the inversion of a representation.
//!
//! The first three send a cotangent of one unit back over one forward pass, and show what arrives: [`saliency`],
//! [`deconvolution`], [`guided`]. The last two climb step by step from noise to an image: [`Maximisation`], [`Inversion`].

mod deconvolution;
mod descent;
mod inversion;
mod maximisation;
mod picture;
mod priors;
mod saliency;
mod unit;

pub use deconvolution::{deconvolution, guided};
pub use inversion::{Inversion, Inverted};
pub use maximisation::{Maximisation, Maximised};
pub use saliency::saliency;
pub use unit::{Driven, Unit};
