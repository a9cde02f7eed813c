//! Whether a network is what attacks expect of it.

use std::fmt;

use lots_nn::{LayerId, Network};

use crate::batch::images_batch;
use crate::error::Error;
use crate::image::Image;

/// How far from 1 probabilities may add up in single precision.
const SUM: f32 = 1e-3;

/// What makes the results of attacks doubtful.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The same image gives other numbers at a second call.
    Changing,
    /// What should be logits are numbers from 0 to 1 that add up to 1.
    Probabilities,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Changing => {
                "the network gives other numbers for the same image at a second call, so nothing found can be \
                 relied on; export it for inference"
            }
            Self::Probabilities => {
                "the network's outputs look like probabilities: where they saturate, slopes vanish; export it \
                 without what makes them add up to 1"
            }
        })
    }
}

/// What is to be doubted of `network`, whose layer `logits` decides, on `image`.
///
/// # Errors
/// When the image does not fit the network.
pub fn doubts(network: &dyn Network, logits: LayerId, image: &Image) -> Result<Vec<Doubt>, Error> {
    let batch = images_batch(network.input(), std::slice::from_ref(image))?;
    let see = || network.represent(batch.view(), logits);
    let (first, second) = (see()?, see()?);
    let changing = first.iter().zip(&second).any(|(a, b)| a.to_bits() != b.to_bits());
    let between = first.iter().all(|x| (0.0..=1.0).contains(x));
    let probabilities = first.len() > 1 && between && (first.sum() - 1.0).abs() < SUM;
    let found = [(changing, Doubt::Changing), (probabilities, Doubt::Probabilities)];
    Ok(found.into_iter().filter(|(is, _)| *is).map(|(_, doubt)| doubt).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use lots_nn::{InputSpec, LayerInfo, Trace, lenet};
    use ndarray::{Array2, ArrayView4};

    use super::*;

    /// LeNet's input, and at each call the next of these rows; the last one stays.
    struct Rows {
        input: InputSpec,
        rows: Vec<Vec<f32>>,
        calls: AtomicU32,
    }

    impl Network for Rows {
        fn input(&self) -> &InputSpec {
            &self.input
        }

        fn layers(&self) -> &[LayerInfo] {
            &[]
        }

        fn output(&self) -> LayerId {
            LayerId::new(0)
        }

        fn represent(&self, _: ArrayView4<'_, f32>, _: LayerId) -> lots_nn::Result<Array2<f32>> {
            let call = self.calls.fetch_add(1, Ordering::Relaxed) as usize;
            let row = &self.rows[call.min(self.rows.len() - 1)];
            Ok(Array2::from_shape_vec((1, row.len()), row.clone()).unwrap())
        }

        fn trace<'n>(
            &'n self,
            _: ArrayView4<'_, f32>,
            _: &[LayerId],
        ) -> lots_nn::Result<Box<dyn Trace + 'n>> {
            Err(lots_nn::Error::Request("not asked for".to_owned()))
        }
    }

    #[test]
    fn doubts_by_hand() {
        let image = Image::new(28, 28, 1, vec![100; 784]).unwrap();
        let cases: [(&[&[f32]], &[Doubt]); 9] = [
            (&[&[1.5, -2.0, 0.5]], &[]),
            (&[&[0.25, 0.5, 0.25]], &[Doubt::Probabilities]),
            (&[&[1.0, 0.0]], &[Doubt::Probabilities]),
            (&[&[0.25, 0.5, 0.3]], &[]),
            (&[&[1.25, -0.25]], &[]),
            (&[&[1.0]], &[]),
            (&[&[f32::NAN, 1.0]], &[]),
            (&[&[1.5, -2.0], &[1.5, -2.1]], &[Doubt::Changing]),
            (&[&[0.5, 0.5], &[0.25, 0.75]], &[Doubt::Changing, Doubt::Probabilities]),
        ];
        for (rows, wanted) in cases {
            let rows: Vec<Vec<f32>> = rows.iter().map(|row| row.to_vec()).collect();
            let input = lenet(0).input().clone();
            let network = Rows { input, rows: rows.clone(), calls: AtomicU32::new(0) };
            assert_eq!(doubts(&network, network.output(), &image).unwrap(), wanted, "{rows:?}");
        }
        let network = lenet(0);
        assert_eq!(doubts(&network, network.output(), &image).unwrap(), []);
    }
}
