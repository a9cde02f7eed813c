//! Attacks as their users see them: exact oracles, properties that hold for every method and network, and the search
//! against plain loops.

#![allow(clippy::unwrap_used, reason = "helpers of a test")]

mod batches;
mod every_method;
mod exact;
mod minima;
mod networks;
mod other_networks;
mod plain_search;
mod requests;
mod table1;
mod threshold;
mod walks;
mod yardsticks;
