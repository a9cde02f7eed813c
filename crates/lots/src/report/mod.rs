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

pub use page::{DemoPage, Exhibit, Figure, read_exhibits};
pub use records::ReportPage;
pub use run::Run;
pub use table1::{count, table1_text};

/// What a method, as users call it, is called in a text.
fn method_title(method: &str) -> &str {
    match method {
        "fgs" => "FGS",
        "fgv" => "FGV",
        "hot-cold" => "hot/cold",
        "lots" => "LOTS",
        other => other,
    }
}
