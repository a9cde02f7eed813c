//! Units: what one method of visualisation looks at.

use lots_nn::{Cotangent, LayerId, LayerInfo, Network, ReluRule, Trace};
use ndarray::Array4;

use crate::attack::{Units, first_largest};
use crate::batch::batch_of;
use crate::data::NamedImage;
use crate::error::Error;

/// A unit of a layer: a channel where the layer has planes, one number where it has none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unit {
    /// Its layer.
    pub layer: LayerId,
    /// Which of the layer's units it is, from 0.
    pub number: usize,
    /// What it makes of an image: the mean over its places.
    pub response: f32,
}

/// The unit of each layer that drives most of what is there: it holds the largest number that the layer makes of an image.
pub struct Driven<'n> {
    trace: Box<dyn Trace + 'n>,
    units: Vec<Unit>,
    /// What each unit sends back.
    pub(super) cotangents: Vec<Vec<f32>>,
}

impl<'n> Driven<'n> {
    /// Runs `image` forward, and picks a unit of each of `layers`, among the units that are named, if any are.
    ///
    /// # Errors
    /// When the image does not fit the network, a layer is not one of its own or has no such units, or a representation is
    /// not finite.
    pub fn new(
        network: &'n dyn Network,
        image: &NamedImage,
        layers: &[LayerId],
        among: Option<&Units>,
    ) -> Result<Self, Error> {
        let trace = network.trace(batch_of(network.input(), &[image])?.view(), layers)?;
        let (mut units, mut cotangents) = (Vec::new(), Vec::new());
        for &layer in layers {
            let info = info(network, layer)?;
            let mut seen: Vec<f32> = trace.representation(layer)?.into_iter().collect();
            check_finite(&seen, || format!("what layer {} sees in {}", info.name, image.name))?;
            let places = places(info);
            let allowed = allowed(info, among)?;
            let tops = seen.chunks(places).zip(&allowed).map(|(plane, allowed)| match allowed {
                true => plane.iter().copied().fold(f32::NEG_INFINITY, f32::max),
                false => f32::NEG_INFINITY,
            });
            let number = first_largest(&tops.collect::<Vec<_>>());
            let own = number * places..(number + 1) * places;
            let plane = &seen[own.clone()];
            let response = plane.iter().sum::<f32>() / places as f32;
            let weights = weights(plane);
            seen.fill(0.0);
            seen[own].copy_from_slice(&weights);
            units.push(Unit { layer, number, response });
            cotangents.push(seen);
        }
        Ok(Self { trace, units, cotangents })
    }

    /// The units, one a layer, in the order of the layers.
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// What arrives at the pixels when each unit sends back its own [`weights`], [layers, channels, height, width].
    pub(super) fn sent_back(&self, rule: ReluRule) -> Result<Array4<f32>, Error> {
        let rows = self.units.iter().zip(&self.cotangents);
        let rows = rows.map(|(unit, values)| Cotangent { image: 0, layer: unit.layer, values });
        Ok(self.trace.back_project_by(rule, &rows.collect::<Vec<_>>())?)
    }
}

/// How much each place of a unit counts: as much as it responds, where it does so above zero, the largest being 1. For one
/// number that is 1, whatever its sign.
fn weights(plane: &[f32]) -> Vec<f32> {
    let top = first_largest(plane);
    if plane[top] > 0.0 {
        return plane.iter().map(|x| x.max(0.0) / plane[top]).collect();
    }
    let mut weights = vec![0.0; plane.len()];
    weights[top] = 1.0;
    weights
}

/// What `network` knows of `layer`.
pub(super) fn info(network: &dyn Network, layer: LayerId) -> Result<&LayerInfo, Error> {
    let found = network.layers().iter().find(|info| info.id == layer);
    found.ok_or_else(|| Error::Attack("the layer is none of this network's".to_owned()))
}

/// Refuses numbers that are not finite; `what` they are.
pub(super) fn check_finite<'a>(
    values: impl IntoIterator<Item = &'a f32>,
    what: impl FnOnce() -> String,
) -> Result<(), Error> {
    if values.into_iter().all(|x| x.is_finite()) {
        return Ok(());
    }
    Err(Error::Attack(format!("{} is not finite; train the network again", what())))
}

/// How many units a layer has.
pub(super) fn count(info: &LayerInfo) -> usize {
    info.shape.first().copied().unwrap_or(1)
}

/// How many numbers each unit of a layer has.
pub(super) fn places(info: &LayerInfo) -> usize {
    info.shape.iter().skip(1).product()
}

/// Which units of a layer count.
fn allowed(info: &LayerInfo, among: Option<&Units>) -> Result<Vec<bool>, Error> {
    let mut allowed = vec![1.0; count(info)];
    if let Some(units) = among {
        units.keep_of(&mut allowed, info)?;
    }
    Ok(allowed.into_iter().map(|one| one > 0.0).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Image;

    #[test]
    fn weights_by_hand() {
        let cases = [
            (&[3.0][..], &[1.0][..]),
            (&[-3.0], &[1.0]),
            (&[-1.0, 2.0, 4.0], &[0.0, 0.5, 1.0]),
            (&[-3.0, -1.0, 0.0], &[0.0, 0.0, 1.0]),
        ];
        for (plane, wanted) in cases {
            assert_eq!(weights(plane), wanted, "{plane:?}");
        }
    }

    /// Oracle: the largest number of each layer, found anew among all, or among the units named.
    #[test]
    fn the_unit_with_the_largest_number_is_picked() {
        let network = lots_nn::lenet(2);
        let pixels = (0..784).map(|i| (i * 37 % 256) as u8).collect();
        let image = Image::new(28, 28, 1, pixels).unwrap();
        let image = NamedImage { image, name: "image".to_owned(), label: None };
        let layers: Vec<LayerId> = network.layers().iter().map(|layer| layer.id).collect();
        let batch = batch_of(network.input(), &[&image]).unwrap();
        for among in [None, Some("0..1"), Some("0")] {
            let among: Option<Units> = among.map(|units| units.parse().unwrap());
            let driven = Driven::new(&network, &image, &layers, among.as_ref()).unwrap();
            for (unit, info) in driven.units().iter().zip(network.layers()) {
                let seen = network.represent(batch.view(), info.id).unwrap();
                let size = seen.len() / info.shape[0];
                let largest = first_largest(seen.iter());
                let wanted = if among.is_some() { 0 } else { largest / size };
                assert_eq!(unit.number, wanted, "{}", info.name);
                let mean = seen.iter().skip(wanted * size).take(size).sum::<f32>() / size as f32;
                assert!((unit.response - mean).abs() <= 1e-5 * mean.abs(), "{}", info.name);
            }
        }
        let beyond: Units = "3,10".parse().unwrap();
        let refused = Driven::new(&network, &image, &[network.output()], Some(&beyond));
        let refused = refused.err().map(|e| e.to_string());
        assert_eq!(refused.as_deref(), Some("no unit 10 in layer ip2; its units are 0–9"));
    }
}
