//! What the attacks on one network come to: the cells of a row.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::steps::Scale;
use crate::error::DataError;
use crate::experiment::{Column, Row, Spread};
use crate::set::{Counts, Facts, read_set_facts};

/// The methods of the table, as users call them, and the attacks on each origin.
pub const METHODS: [(&str, usize); 4] = [("fgs", 1), ("fgv", 1), ("hot-cold", 9), ("lots", 36)];

/// A row of the table, with what else is known of its network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// The network's key.
    pub model: String,
    /// What its training followed from.
    pub seed: u64,
    /// What was done: that of the run.
    pub scale: Scale,
    /// The MD5 of its file.
    pub md5: String,
    /// Images of the whole test set that it misclassifies, as a part of all, 0–1.
    pub error_rate: f64,
    /// The attacks.
    pub row: Row,
    /// The median L2 norm over all attacks by each of [`METHODS`], in grey levels; `null` where half of the attacks found nothing:
    /// not found counts as infinite.
    pub median_l2: Vec<Option<f64>>,
}

/// Sums the set in `folder` up, whose shards come to `counts`. `data` is what was attacked.
///
/// # Errors
/// When the set cannot be read.
pub(super) fn columns(
    folder: &Path,
    counts: &Counts,
    model: &str,
    data: &str,
) -> Result<(Row, Vec<Option<f64>>), DataError> {
    let mut found: [Found; 4] = Default::default();
    for shard in read_set_facts(folder)? {
        for facts in shard? {
            let method = METHODS.iter().position(|(method, _)| facts.method == *method);
            if let Some(method) = method {
                found[method].add(&facts);
            }
        }
    }
    let correct = counts.origins - counts.misclassified;
    let both = METHODS.iter().zip(&found);
    let median = both.map(|((_, each), found)| median(&found.l2, correct * each)).collect();
    let ways = [(0, true), (1, true), (0, false), (1, false), (2, false), (3, false)];
    let columns = ways.into_iter().map(|(method, rule)| {
        let (name, each) = METHODS[method];
        found[method].column(name, rule, correct * each)
    });
    let row = Row {
        model: model.to_owned(),
        data: data.to_owned(),
        images: counts.origins,
        misclassified: counts.misclassified,
        zero_loss: counts.zero_loss,
        columns: columns.collect(),
    };
    Ok((row, median))
}

/// What was found by one method.
#[derive(Default)]
struct Found {
    l2: Vec<f64>,
    linf: Vec<f64>,
    pass: Vec<Option<f64>>,
    zero_loss: Vec<bool>,
}

impl Found {
    fn add(&mut self, facts: &Facts) {
        self.l2.push(facts.l2);
        self.linf.push(facts.linf as f64);
        self.pass.push(facts.pass);
        self.zero_loss.push(facts.zero_loss);
    }

    fn column(&self, method: &str, rule: bool, attempts: usize) -> Column {
        let counts = |i: &usize| !(rule && self.zero_loss[*i]);
        let kept: Vec<usize> = (0..self.l2.len()).filter(counts).collect();
        let spread =
            |values: &[f64]| Spread::of(&kept.iter().map(|&i| values[i]).collect::<Vec<_>>());
        let pass: Vec<f64> = kept.iter().filter_map(|&i| self.pass[i]).collect();
        Column {
            method: method.to_owned(),
            zero_loss_rule: rule,
            attempts,
            found: kept.len(),
            pass: Spread::of(&pass),
            l2: spread(&self.l2),
            linf: spread(&self.linf),
        }
    }
}

/// The median of `found` and as many infinite ones as are missing to `attempts`; `None` where it is infinite, or of nothing. Of an
/// even number, the mean of the two in the middle.
fn median(found: &[f64], attempts: usize) -> Option<f64> {
    let mut sorted = found.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = [attempts.checked_sub(1)? / 2, attempts / 2];
    let [low, high] = middle.map(|i| sorted.get(i).copied());
    Some((low? + high?) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_by_hand() {
        let cases: [(&[f64], usize, Option<f64>); 7] = [
            (&[], 0, None),
            (&[], 1, None),
            (&[3.0], 1, Some(3.0)),
            (&[5.0, 1.0], 2, Some(3.0)),
            (&[5.0, 1.0], 3, Some(5.0)),
            (&[5.0, 1.0], 4, None),
            (&[4.0, 1.0, 2.0], 3, Some(2.0)),
        ];
        for (found, attempts, wanted) in cases {
            assert_eq!(median(found, attempts), wanted, "{found:?} of {attempts}");
        }
    }
}
