//! LOTS: differences of internal representations, at any layer.

use lots_nn::LayerId;

use super::method::{Method, Seen};
use crate::error::Error;

/// From what a layer sees in the origin towards what it sees in the target: `f(target) − f(origin)`.
///
/// Paper: Eq. 3.
#[derive(Clone, Copy, Debug)]
pub struct Lots(pub LayerId);

impl Method for Lots {
    fn name(&self) -> &'static str {
        "lots"
    }

    fn layer(&self) -> Option<LayerId> {
        Some(self.0)
    }

    fn cotangent(&self, seen: &Seen<'_>) -> Result<Vec<f32>, Error> {
        let target = seen.target.ok_or_else(|| {
            Error::Attack(
                "lots goes from an origin to a target, found no target; give one, or use magnify or reduce"
                    .to_owned(),
            )
        })?;
        Ok(target.iter().zip(seen.origin).map(|(target, origin)| target - origin).collect())
    }
}

/// More of what a layer sees in the origin: `+f(origin)`.
///
/// Paper: Eq. 4, positive sign.
#[derive(Clone, Copy, Debug)]
pub struct Magnify(pub LayerId);

impl Method for Magnify {
    fn name(&self) -> &'static str {
        "magnify"
    }

    fn layer(&self) -> Option<LayerId> {
        Some(self.0)
    }

    fn cotangent(&self, seen: &Seen<'_>) -> Result<Vec<f32>, Error> {
        Ok(seen.origin.to_vec())
    }
}

/// Less of what a layer sees in the origin: `−f(origin)`.
///
/// Paper: Eq. 4, negative sign.
#[derive(Clone, Copy, Debug)]
pub struct Reduce(pub LayerId);

impl Method for Reduce {
    fn name(&self) -> &'static str {
        "reduce"
    }

    fn layer(&self) -> Option<LayerId> {
        Some(self.0)
    }

    fn cotangent(&self, seen: &Seen<'_>) -> Result<Vec<f32>, Error> {
        Ok(seen.origin.iter().map(|x| -x).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cotangents_by_hand() {
        let layer = lots_nn::lenet(0).output();
        let target = Some(&[4.0, 3.0, 0.5][..]);
        let seen = Seen { origin: &[1.0, -2.0, 0.0], target, class: 0, measured: None };
        let cases: [(&dyn Method, [f32; 3]); 3] = [
            (&Lots(layer), [3.0, 5.0, 0.5]),
            (&Magnify(layer), [1.0, -2.0, 0.0]),
            (&Reduce(layer), [-1.0, 2.0, 0.0]),
        ];
        for (method, wanted) in cases {
            assert_eq!(method.cotangent(&seen).unwrap(), wanted, "{method:?}");
        }
    }
}
