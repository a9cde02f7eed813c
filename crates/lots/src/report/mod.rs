//! Pages and tables made of records: nothing here runs a network.
//!
//! A page is one HTML file that asks for nothing else: pictures, style and script lie inside it. The templates are in
//! `templates/`; what a record looks like in words and numbers is decided in one place, its card.

pub(crate) mod card;
mod gallery;
mod link;
mod page;
mod records;
mod run;
#[cfg(feature = "plot")]
mod successes;
mod table1;
mod tally;
#[cfg(feature = "sets")]
mod whole_table;

pub use page::{DemoPage, Exhibit, Figure, read_exhibits};
pub use records::ReportPage;
pub use run::Run;
pub use table1::{count, table1_text};
#[cfg(feature = "sets")]
pub use whole_table::{Examples, WholeTable};
