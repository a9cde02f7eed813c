//! Hot/cold: one score up, that of the origin's class down.

use lots_nn::LayerId;

use super::method::{Method, Seen};
use crate::error::Error;

/// Towards the class `hot` and away from the origin's: at the logits z, `+|z|` of the hot class, `−z` of the origin's, 0
/// for all others.
///
/// The scores of a gallery are never above 0, so that `−z` would lead to the origin's class. There it is `−|z|`: our choice,
/// the source knows logits only.
///
/// Paper: HC, section 5.1. Source: Rozsa et al. 2016.
#[derive(Clone, Copy, Debug)]
pub struct HotCold {
    /// The class to go to, another than the origin's.
    pub hot: usize,
}

impl Method for HotCold {
    fn name(&self) -> &'static str {
        "hot-cold"
    }

    fn layer(&self) -> Option<LayerId> {
        None
    }

    fn hot(&self) -> Option<usize> {
        Some(self.hot)
    }

    fn cotangent(&self, seen: &Seen<'_>) -> Result<Vec<f32>, Error> {
        let &Seen { origin: scores, class, .. } = seen;
        let &hot = &self.hot;
        if hot >= scores.len() {
            let last = scores.len() - 1;
            return Err(Error::Attack(format!("no class {hot} to make hot; classes are 0–{last}")));
        }
        if hot == class {
            return Err(Error::Attack(format!(
                "class {hot} cannot be hot: it is the origin's own; give another class"
            )));
        }
        let mut cotangent = vec![0.0; scores.len()];
        cotangent[hot] = scores[hot].abs();
        cotangent[class] = match seen.measured {
            None => -scores[class],
            Some(_) => -scores[class].abs(),
        };
        Ok(cotangent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attack::Distance;

    #[test]
    fn cotangents_by_hand() {
        let cases: [([f32; 4], usize, usize, [f32; 4]); 3] = [
            ([1.0, 5.0, -3.0, 2.0], 1, 3, [0.0, -5.0, 0.0, 2.0]),
            ([1.0, 5.0, -3.0, 2.0], 1, 2, [0.0, -5.0, 3.0, 0.0]),
            // The class's own logit goes down even where it is negative: that is its sign, not its size.
            ([-4.0, -9.0, -2.0, -7.0], 2, 0, [4.0, 0.0, 2.0, 0.0]),
        ];
        for (logits, class, hot, wanted) in cases {
            let seen = Seen { origin: &logits, target: None, class, measured: None };
            assert_eq!(
                HotCold { hot }.cotangent(&seen).unwrap(),
                wanted,
                "{logits:?} {class} {hot}"
            );
        }
        let measured = Some(Distance::Euclidean);
        let seen = Seen { origin: &[-0.5, -2.0, -1.0], target: None, class: 0, measured };
        assert_eq!(HotCold { hot: 1 }.cotangent(&seen).unwrap(), [-0.5, 2.0, 0.0]);
        assert_eq!(HotCold { hot: 3 }.hot(), Some(3));
    }
}
