//! Records, counted.

use crate::record::{Ending, Record};

/// What came of some attacks, in numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tally {
    pub(super) results: usize,
    /// Origins that the network misreads; the rest are attempts.
    pub(super) misread: usize,
    pub(super) no_direction: usize,
    /// Attempts that reached their goal.
    pub(super) found: usize,
    /// Medians over what was found; `None` where nothing was.
    pub(super) l2: Option<f64>,
    pub(super) linf: Option<f64>,
    pub(super) pass: Option<f64>,
}

impl Tally {
    pub(super) fn of<'a>(records: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut tally = Self::default();
        let (mut l2, mut linf, mut pass) = (Vec::new(), Vec::new(), Vec::new());
        for record in records {
            tally.results += 1;
            match record.outcome {
                Ending::OriginMisclassified => tally.misread += 1,
                Ending::NoDirection => tally.no_direction += 1,
                Ending::NotFound => (),
                Ending::Adversarial => {
                    tally.found += 1;
                    l2.extend(record.l2.map(|l2| l2.0));
                    linf.extend(record.linf.map(|linf| f64::from(linf.0)));
                    pass.extend(record.pass);
                }
            }
        }
        [tally.l2, tally.linf, tally.pass] = [l2, linf, pass].map(median);
        tally
    }

    pub(super) fn attempts(&self) -> usize {
        self.results - self.misread
    }

    /// Found of the attempts, 0–1; `None` of none.
    pub(super) fn success(&self) -> Option<f64> {
        (self.attempts() > 0).then(|| self.found as f64 / self.attempts() as f64)
    }
}

/// The middle of `values`, or the mean of the two in the middle.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some(lower + (upper - lower) / 2.0)
}

/// What `key` says of `items`, each once, in the order in which it comes first.
pub(super) fn distinct<'a, T, K: PartialEq>(
    items: impl IntoIterator<Item = &'a T>,
    key: impl Fn(&'a T) -> K,
) -> Vec<K>
where
    T: 'a,
{
    let mut found: Vec<K> = Vec::new();
    for item in items {
        let key = key(item);
        if !found.contains(&key) {
            found.push(key);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_by_hand() {
        let cases = [
            (vec![], None),
            (vec![3.0], Some(3.0)),
            (vec![4.0, 1.0], Some(2.5)),
            (vec![9.0, 1.0, 2.0], Some(2.0)),
            (vec![f64::MAX, f64::MAX], Some(f64::MAX)),
        ];
        for (values, wanted) in cases {
            assert_eq!(median(values.clone()), wanted, "{values:?}");
        }
    }
}
