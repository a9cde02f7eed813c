//! Plots as SVG: curves, and ranges side by side. Nothing here knows what the numbers mean.
//!
//! A plot is one `<svg class="plot" role="img">` with a title, scales with its box, and keeps text as text. It has no background.
//! Colours are attributes, so a page's style may replace them: text and axes have [`INK`], lines of the grid [`GRID`].
//! Series have a colour and a dash each, so that they are told apart without colours, too.

mod axis;
mod canvas;
mod curves;
mod ranges;

pub use axis::{Axis, Scale};
pub use canvas::{GRID, INK};
pub use curves::{Curves, Panel, Series, Shape};
pub use ranges::{Range, Ranges};

/// Why there is no plot: a number in it is not finite.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot plot {plot:?}: {problem}")]
pub struct PlotError {
    /// The plot's title.
    plot: String,
    problem: String,
}
