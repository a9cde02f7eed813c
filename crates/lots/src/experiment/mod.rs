//! The paper's experiments.

mod table1;

pub use table1::{Column, PAPER_BASIC, Published, Row, Spread, first_of_each_class, row};
