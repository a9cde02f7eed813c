//! Recognisers made of features: the class is the nearest identity of a gallery.

use std::borrow::Cow;

use lots_nn::{LayerId, Network};

use super::decision::Decision;
use crate::data::Identity;
use crate::error::Error;
use crate::represent::represent;

/// How far apart two representations are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Distance {
    /// The length of their difference, 0 or more.
    #[default]
    Euclidean,
    /// 1 less the cosine of the angle between them, 0 to 2. Zero is at 1 from everything.
    Cosine,
}

impl Distance {
    /// From one representation to another.
    pub(super) fn between(self, a: &[f32], b: &[f32]) -> f64 {
        match self {
            Self::Euclidean => span(a, b),
            Self::Cosine => 1.0 - cosine(a, b),
        }
    }

    /// Adds `factor` times the slope of the distance from `centre`, with regard to `representation`, to `slope`. Where it
    /// has none, at the centre itself or for the cosine with zero, it counts as flat.
    pub(super) fn add_slope(
        self,
        centre: &[f32],
        representation: &[f32],
        factor: f64,
        slope: &mut [f64],
    ) {
        // The slope is `to` times the centre plus `from` times the representation.
        let (to, from) = match self {
            Self::Euclidean => {
                let span = span(centre, representation);
                (-1.0 / span, 1.0 / span)
            }
            Self::Cosine => {
                let (length, cosine) = (length(representation), cosine(centre, representation));
                // The slope at the centre itself is nothing but rounding.
                let to = if cosine > 1.0 - 1e-14 { f64::NAN } else { -1.0 / self::length(centre) };
                (to / length, cosine / (length * length))
            }
        };
        if to.is_finite() && from.is_finite() {
            let (to, from) = (factor * to, factor * from);
            for ((slope, &centre), &x) in slope.iter_mut().zip(centre).zip(representation) {
                *slope += to * f64::from(centre) + from * f64::from(x);
            }
        }
    }

    /// By how much a distance may change where sums are rounded otherwise, if no representation is longer than `reach`. One
    /// that is off by a share of its length moves a distance by no more than that, and a cosine by no more than that share.
    fn rounding(self, representation: &[f32], reach: f64) -> f64 {
        match self {
            Self::Euclidean => ROUNDING * (length(representation) + reach),
            Self::Cosine => 2.0 * ROUNDING,
        }
    }

    /// As [`rounding`](Self::rounding), of the distance between the two.
    pub(super) fn rounding_between(self, a: &[f32], b: &[f32]) -> f64 {
        self.rounding(a, length(b))
    }
}

/// What is called none of the identities.
pub const UNKNOWN: &str = "unknown";

/// Other programs' representations differ from ours by less than this share of their length: at most 7.5e-7 between ONNX
/// Runtime's descriptors and ours, of the bundled portraits and 24 images made of them.
const ROUNDING: f64 = 2e-6;

/// Identities, each by the mean of its representations at one layer, which may be any layer of any network. The class is
/// the nearest identity; with a threshold, one class more says that none is within it.
///
/// The score of an identity is its distance with a minus sign, that of "unknown" the threshold with a minus sign. So an
/// identity at just the threshold is still within it, and of identities that are equally near, the first counts.
///
/// Paper: section 5.2, where the last layer's values are stored as the representation of a face.
#[derive(Clone, Debug, PartialEq)]
pub struct Gallery {
    layer: LayerId,
    distance: Distance,
    /// Of the identities, in the order of their names; then "unknown" if there is a threshold.
    names: Vec<String>,
    /// One an identity.
    centres: Vec<Vec<f32>>,
    threshold: Option<f32>,
    /// The length of the longest centre.
    reach: f64,
}

impl Gallery {
    /// What `network` sees of `identities` at `layer`. Classes are numbered in the order of the identities' names, "unknown"
    /// comes last. The largest distance at which an identity counts is `threshold`.
    ///
    /// # Errors
    /// When there are fewer than two classes, two identities have one name, the threshold is not a positive number, images
    /// are missing or do not fit the network, or a representation is not finite (or, where cosines are compared, a mean
    /// is zero).
    pub fn new(
        network: &dyn Network,
        layer: LayerId,
        identities: &[Identity],
        distance: Distance,
        threshold: Option<f32>,
    ) -> Result<Self, Error> {
        let refuse = |problem: String| Err(Error::Attack(problem));
        if let Some(threshold) = threshold.filter(|t| !(t.is_finite() && *t > 0.0)) {
            return refuse(format!("a threshold has to be above 0, found {threshold}"));
        }
        let mut identities: Vec<&Identity> = identities.iter().collect();
        identities.sort_by(|a, b| a.name.cmp(&b.name));
        let mut names: Vec<String> = identities.iter().map(|one| one.name.clone()).collect();
        if names.iter().any(|name| name == UNKNOWN) {
            return refuse(format!(
                "an identity of the gallery is called {UNKNOWN:?}, as what is none of them; rename it"
            ));
        }
        if let Some(i) = (0..names.len()).find(|&i| names[..i].contains(&names[i])) {
            let name = &names[i];
            return refuse(format!("the gallery has two classes called {name:?}; rename one"));
        }
        names.extend(threshold.map(|_| UNKNOWN.to_owned()));
        if names.len() < 2 {
            return refuse(format!(
                "the gallery tells no classes apart: it holds {} identities; wanted two, or one and \
                 a threshold",
                names.len()
            ));
        }
        let centre = |identity: &&Identity| centre(network, layer, identity);
        let centres = identities.iter().map(centre).collect::<Result<Vec<_>, _>>()?;
        let lengths: Vec<f64> = centres.iter().map(|centre| length(centre)).collect();
        if let Some(zero) = lengths.iter().position(|&l| l <= 0.0 && distance == Distance::Cosine) {
            return refuse(format!(
                "{} has no direction at this layer: its mean is zero; compare by euclidean distance, \
                 or at another layer",
                names[zero]
            ));
        }
        let reach = lengths.into_iter().fold(0.0, f64::max);
        Ok(Self { layer, distance, names, centres, threshold, reach })
    }
}

/// The mean of what `network` sees of the images of `identity` at `layer`.
fn centre(network: &dyn Network, layer: LayerId, identity: &Identity) -> Result<Vec<f32>, Error> {
    let rows = represent(network, &identity.images, layer)?;
    let Some(sum) = rows.outer_iter().map(|row| row.mapv(f64::from)).reduce(|a, b| a + b) else {
        let problem =
            format!("{} has no images in the gallery; wanted at least one", identity.name);
        return Err(Error::Attack(problem));
    };
    Ok(sum.into_iter().map(|x| (x / rows.nrows() as f64) as f32).collect())
}

impl Decision for Gallery {
    fn layer(&self) -> LayerId {
        self.layer
    }

    fn names(&self) -> &[String] {
        &self.names
    }

    fn scores<'r>(&self, representation: &'r [f32]) -> Cow<'r, [f32]> {
        let score = |centre: &Vec<f32>| -self.distance.between(centre, representation) as f32;
        let unknown = self.threshold.map(|threshold| -threshold);
        self.centres.iter().map(score).chain(unknown).collect()
    }

    /// The threshold counts as flat.
    fn scores_vjp(&self, representation: &[f32], cotangent: Vec<f32>) -> Vec<f32> {
        let mut slope = vec![0.0_f64; representation.len()];
        for (centre, c) in self.centres.iter().zip(cotangent) {
            self.distance.add_slope(centre, representation, -f64::from(c), &mut slope);
        }
        slope.into_iter().map(|x| x as f32).collect()
    }

    /// Two scores differ by twice what each may be off.
    fn rounding(&self, representation: &[f32]) -> f32 {
        (2.0 * self.distance.rounding(representation, self.reach)) as f32
    }

    fn measured(&self) -> Option<Distance> {
        Some(self.distance)
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

fn length(a: &[f32]) -> f64 {
    dot(a, a).sqrt()
}

/// The length of the difference.
fn span(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum::<f64>().sqrt()
}

/// Of the angle between them; 0 if one of them is zero.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let product = length(a) * length(b);
    if product > 0.0 { (dot(a, b) / product).clamp(-1.0, 1.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::attack::Wanted;

    fn gallery(distance: Distance, centres: &[&[f32]], threshold: Option<f32>) -> Gallery {
        let mut names: Vec<String> = (0..centres.len()).map(|i| format!("identity {i}")).collect();
        names.extend(threshold.map(|_| UNKNOWN.to_owned()));
        let centres: Vec<Vec<f32>> = centres.iter().map(|centre| centre.to_vec()).collect();
        let reach = centres.iter().map(|centre| length(centre)).fold(0.0, f64::max);
        let layer = lots_nn::lenet(0).output();
        Gallery { layer, distance, names, centres, threshold, reach }
    }

    #[test]
    fn scores_and_classes_by_hand() {
        let near = gallery(Distance::Euclidean, &[&[0.0, 0.0], &[6.0, 8.0]], None);
        let open = gallery(Distance::Euclidean, &[&[0.0, 0.0], &[6.0, 8.0]], Some(4.0));
        let angle = gallery(Distance::Cosine, &[&[2.0, 0.0], &[0.0, 3.0]], Some(0.5));
        let cases: [(&Gallery, [f32; 2], &[f32], usize); 9] = [
            (&near, [0.0, 0.0], &[0.0, -10.0], 0),
            (&near, [6.0, 0.0], &[-6.0, -8.0], 0),
            // Equally near: the first.
            (&near, [3.0, 4.0], &[-5.0, -5.0], 0),
            (&open, [3.0, 4.0], &[-5.0, -5.0, -4.0], 2),
            // At the threshold is within it.
            (&open, [4.0, 0.0], &[-4.0, -(68.0_f32).sqrt(), -4.0], 0),
            (&open, [6.0, 4.0], &[-(52.0_f32).sqrt(), -4.0, -4.0], 1),
            (&angle, [5.0, 0.0], &[0.0, -1.0, -0.5], 0),
            (&angle, [-1.0, -1.0], &[-1.707_106_8, -1.707_106_8, -0.5], 2),
            (&angle, [0.0, 0.0], &[-1.0, -1.0, -0.5], 2),
        ];
        for (gallery, representation, wanted, class) in cases {
            let found = gallery.scores(&representation);
            let near = found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6);
            assert!(near && found.len() == wanted.len(), "{representation:?}: {found:?}");
            assert_eq!(gallery.decide(&representation), Some(class), "{representation:?}");
        }
        assert_eq!(near.decide(&[f32::NAN, 0.0]), None);
        assert_eq!(near.decide(&[f32::MAX, f32::MAX]), None, "a distance beyond f32");
    }

    /// How far it is to the goal, and whether a class is clear of other programs' rounding.
    #[test]
    fn margins_by_hand() {
        let open = gallery(Distance::Euclidean, &[&[0.0, 0.0], &[6.0, 8.0]], Some(4.0));
        let cases = [
            ([3.0, 4.0], Wanted::Class(0), 1.0),
            ([3.0, 0.0], Wanted::Class(0), -1.0),
            ([3.0, 0.0], Wanted::Not(0), 1.0),
            ([3.0, 4.0], Wanted::Not(2), 1.0),
            ([6.0, 3.0], Wanted::Class(1), 1.0),
        ];
        for (representation, wanted, distance) in cases {
            let found = open.distance(&representation, wanted);
            assert!((found - distance).abs() < 1e-6, "{representation:?} {wanted:?}: {found}");
        }
        // Lengths of 4 and 10 by 2e-6, twice.
        for (x, wanted) in [(4.0, false), (3.999_97, false), (3.999_9, true), (4.000_1, true)] {
            assert_eq!(open.is_clear(&[x, 0.0]), wanted, "{x}");
        }
        let angle = gallery(Distance::Cosine, &[&[2.0, 0.0], &[0.0, 3.0]], None);
        for (y, wanted) in [(1.0, false), (1.000_005, false), (1.000_1, true)] {
            assert_eq!(angle.is_clear(&[1.0, y]), wanted, "{y}");
        }
    }

    #[test]
    fn no_slope_where_there_is_none() {
        let centres: &[&[f32]] = &[&[1.0, 2.0, 2.0], &[0.0, 1.0, 0.0]];
        for distance in [Distance::Euclidean, Distance::Cosine] {
            let gallery = gallery(distance, centres, Some(0.1));
            let flat = gallery.scores_vjp(&[1.0, 2.0, 2.0], vec![1.0, 0.0, 5.0]);
            assert_eq!(flat, [0.0; 3], "{distance:?}");
        }
        let gallery = gallery(Distance::Cosine, centres, None);
        assert_eq!(gallery.scores_vjp(&[0.0; 3], vec![1.0, 1.0]), [0.0; 3]);
    }

    /// As [`Gallery::scores`], on f64.
    fn plain_scores(gallery: &Gallery, x: &[f64]) -> Vec<f64> {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let score = |centre: &Vec<f32>| {
            let c: Vec<f64> = centre.iter().map(|&c| c.into()).collect();
            match gallery.distance {
                Distance::Euclidean => {
                    -c.iter().zip(x).map(|(c, x)| (c - x).powi(2)).sum::<f64>().sqrt()
                }
                Distance::Cosine => dot(&c, x) / (dot(&c, &c) * dot(x, x)).sqrt() - 1.0,
            }
        };
        let unknown = gallery.threshold.map(|threshold| -f64::from(threshold));
        gallery.centres.iter().map(score).chain(unknown).collect()
    }

    proptest! {
        /// Oracle: central differences in f64.
        #[test]
        fn slopes_are_those_of_differences(
            values in prop::collection::vec(-8.0_f32..8.0, 20), cotangent in prop::collection::vec(-2.0_f32..2.0, 4),
        ) {
            let rows: Vec<&[f32]> = values.chunks(5).collect();
            let (x, centres) = (rows[0], &rows[1..]);
            prop_assume!(centres.iter().all(|c| span(c, x) > 0.1) && rows.iter().all(|r| length(r) > 0.1));
            for distance in [Distance::Euclidean, Distance::Cosine] {
                let gallery = gallery(distance, centres, Some(1.0));
                let scores = gallery.scores(x);
                let x64: Vec<f64> = x.iter().map(|&x| x.into()).collect();
                for (found, wanted) in scores.iter().zip(plain_scores(&gallery, &x64)) {
                    prop_assert!((f64::from(*found) - wanted).abs() < 1e-5, "{:?}", distance);
                }
                let found = gallery.scores_vjp(x, cotangent.clone());
                for (i, found) in found.iter().enumerate() {
                    let at = |step: f64| {
                        let mut moved = x64.clone();
                        moved[i] += step;
                        let scores = plain_scores(&gallery, &moved);
                        scores.iter().zip(&cotangent).map(|(s, &c)| s * f64::from(c)).sum::<f64>()
                    };
                    let step = 1e-5;
                    let wanted = (at(step) - at(-step)) / (2.0 * step);
                    // What differences of that step leave out grows as 1 / span².
                    prop_assert!((f64::from(*found) - wanted).abs() < 1e-4 * (1.0 + wanted.abs()), "{:?}", distance);
                }
            }
        }
    }
}
