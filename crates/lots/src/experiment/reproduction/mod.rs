//! Table 1, whole: its networks, the sets that they learn from, and the attacks on them, in a folder that can be gone on with.

mod attacks;
mod claims;
mod compare;
mod models;
mod paper;
mod steps;
mod tally;
mod training;
mod work;

pub use claims::{Claim, claims};
pub use compare::{Alike, Comparison, Improved};
pub use models::{Model, SetName, Source, Subject};
pub use paper::{PublishedRow, published};
pub use steps::{Scale, Step};
pub use tally::{METHODS, Tally};
pub use work::{Ended, Progress, Reproduction};
