//! Some units of a layer, as users write them.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use lots_nn::LayerInfo;

use crate::error::Error;

/// Units of a layer: channels where it has planes, single numbers where it has none.
///
/// Written as numbers from 0 and ranges without their end: `3,7..12` are 3, 7, 8, 9, 10 and 11.
///
/// Paper: section 3, "any layer or any neuron".
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Units(Vec<Range<usize>>);

impl Units {
    /// The largest unit named.
    pub fn last(&self) -> usize {
        self.0.iter().map(|range| range.end - 1).max().unwrap_or(0)
    }

    /// Sets everything else in `values`, a row of as many numbers for each unit of `layer`, to zero.
    ///
    /// # Errors
    /// When the layer has fewer units.
    pub(crate) fn keep_of(&self, values: &mut [f32], layer: &LayerInfo) -> Result<(), Error> {
        let count = layer.shape.first().copied().unwrap_or(1);
        if self.last() >= count {
            let (unit, name, last) = (self.last(), &layer.name, count - 1);
            let problem = format!("no unit {unit} in layer {name}; its units are 0–{last}");
            return Err(Error::Attack(problem));
        }
        self.keep(values, count);
        Ok(())
    }

    /// Sets everything else in `cotangent`, a row for a layer of `units` units, to zero.
    pub(super) fn keep(&self, cotangent: &mut [f32], units: usize) {
        let size = (cotangent.len() / units.max(1)).max(1);
        for (unit, values) in cotangent.chunks_mut(size).enumerate() {
            if !self.0.iter().any(|range| range.contains(&unit)) {
                values.fill(0.0);
            }
        }
    }
}

impl FromStr for Units {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |digits: &str| {
            // `parse` alone would take "+1".
            let plain = digits.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| digits.parse::<usize>().ok()).flatten()
        };
        let part = |part: &str| {
            let range = match part.split_once("..") {
                Some((start, end)) => number(start)?..number(end)?,
                None => number(part).and_then(|n| Some(n..n.checked_add(1)?))?,
            };
            (!range.is_empty()).then_some(range)
        };
        let ranges = text.split(',').map(str::trim).map(part).collect::<Option<Vec<_>>>();
        ranges.map(Self).ok_or_else(|| {
            format!("wanted units such as 3,7..12 (from 0, without the end), found {text:?}")
        })
    }
}

impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Range { start, end }) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            if end - start == 1 {
                write!(f, "{comma}{start}")?;
            } else {
                write!(f, "{comma}{start}..{end}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ranges() {
        for text in ["3,7..12", "0", "0..2,1..3", "5..6"] {
            let units: Units = text.parse().unwrap();
            let again: Units = units.to_string().parse().unwrap();
            assert_eq!(units, again, "{text}");
        }
        let units: Units = "3, 7..12".parse().unwrap();
        assert_eq!((units.to_string().as_str(), units.last()), ("3,7..12", 11));
        for text in ["", "a", "3,", "3..3", "5..2", "-1", "+1", "1..", "..", "99999999999999999999"]
        {
            let refused = text.parse::<Units>().unwrap_err();
            assert!(refused.ends_with(&format!("found {text:?}")), "{refused}");
        }
    }

    #[test]
    fn channels_and_single_numbers_are_kept() {
        let units: Units = "1,3..4".parse().unwrap();
        let mut flat = [1.0, 2.0, 3.0, 4.0];
        units.keep(&mut flat, 4);
        assert_eq!(flat.map(|x| x as i32), [0, 2, 0, 4]);
        let mut planes: Vec<f32> = (1..=8).map(|i| i as f32).collect();
        units.keep(&mut planes, 4);
        assert_eq!(planes.iter().map(|&x| x as i32).collect::<Vec<_>>(), [0, 0, 3, 4, 0, 0, 7, 8]);
    }
}
