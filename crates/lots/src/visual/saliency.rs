//! Gradient saliency.

use lots_nn::ReluRule;

use super::picture::brightness;
use super::unit::Driven;
use crate::error::Error;
use crate::image::Image;

/// Which pixels each unit depends on most: the magnitude of its slope, the largest of a pixel's channels; a grey image a
/// layer, black where it does not depend on the pixel at all. For the logit of a class this is the class's saliency.
///
/// Source: Simonyan, Vedaldi and Zisserman 2014, "Deep inside convolutional networks", section 3.
///
/// # Errors
/// When the network refuses.
pub fn saliency(driven: &Driven<'_>) -> Result<Vec<Image>, Error> {
    Ok(driven.sent_back(ReluRule::Slope)?.outer_iter().map(brightness).collect())
}

#[cfg(test)]
mod tests {
    use lots_nn::{LayerId, Network};
    use ndarray::{Array4, Axis};

    use super::*;
    use crate::batch::batch_of;
    use crate::data::NamedImage;

    /// Oracle: differences of what the network makes of the image moved by half a grey level, at each pixel. Behind the max
    /// pools there are kinks within that step, so that some differences are off; without any, f32's rounding remains.
    #[test]
    fn slopes_are_those_of_differences() {
        const STEP: f32 = 0.5;
        let network = lots_nn::lenet(3);
        let pixels = (0..784).map(|i| 1 + (i * 7919 % 251) as u8).collect();
        let image = Image::new(28, 28, 1, pixels).unwrap();
        let image = NamedImage { image, name: "image".to_owned(), label: None };
        let layers: Vec<LayerId> = network.find_layers("all").unwrap();
        let driven = Driven::new(&network, &image, &layers, None).unwrap();
        let slopes = driven.sent_back(ReluRule::Slope).unwrap();
        let batch = batch_of(network.input(), &[&image]).unwrap();
        // All pixels, ahead and behind, as one batch.
        let moved = Array4::from_shape_fn((2 * 784, 1, 28, 28), |(n, _, y, x)| {
            let by = if n % 2 == 0 { STEP } else { -STEP };
            batch[[0, 0, y, x]] + if n / 2 == y * 28 + x { by } else { 0.0 }
        });
        for ((i, unit), most) in driven.units().iter().enumerate().zip([2e-3, 5e-2, 5e-2, 5e-2]) {
            let name = &network.layers().iter().find(|l| l.id == unit.layer).unwrap().name;
            let values = network.represent(moved.view(), unit.layer).unwrap();
            let value = |row: usize| -> f64 {
                let weighted = values.row(row).into_iter().zip(&driven.cotangents[i]);
                weighted.map(|(&x, &weight)| f64::from(x) * f64::from(weight)).sum()
            };
            let (mut off, mut all) = (0.0, 0.0);
            for (pixel, &slope) in slopes.index_axis(Axis(0), i).iter().enumerate() {
                let wanted = (value(2 * pixel) - value(2 * pixel + 1)) / (2.0 * f64::from(STEP));
                off += (f64::from(slope) - wanted).powi(2);
                all += wanted * wanted;
            }
            assert!(all > 0.0 && (off / all).sqrt() < most, "{name}: {}", (off / all).sqrt());
        }
    }
}
