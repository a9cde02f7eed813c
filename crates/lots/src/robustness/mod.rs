//! How large a perturbation each layer takes before the class changes.
//!
//! A [`Survey`] attacks many origins at every layer; a [`Tally`] of its records becomes a [`Robustness`]: numbers for each
//! layer and method, and which layer gives way first.

#[cfg(feature = "plot")]
mod plots;
mod quantiles;
mod sample;
mod survey;
mod table;
mod tally;
mod words;

pub use quantiles::Quantiles;
pub use sample::sample;
pub use survey::{Key, Survey, Way};
pub use tally::{Class, Layer, Rank, Robustness, Sizes, Strength, Tally};
pub use words::percent;
