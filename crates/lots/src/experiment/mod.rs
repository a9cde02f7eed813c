//! The paper's experiments.

mod figures;
#[cfg(feature = "sets")]
pub mod reproduction;
mod table1;

pub use figures::{FIGURE1, FIGURE2, FIGURE3, FIGURE4, PaperFigure, Subfigure, Way};
pub use table1::{Column, PAPER_BASIC, Published, Row, Spread, first_of_each_class, row};
