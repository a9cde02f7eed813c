//! Inversion of a representation.

use lots_nn::{Cotangent, LayerId, Network};
use ndarray::{Array2, Array4, Axis};

use super::descent::{Adam, mean_colour, noise};
use super::picture::rounded;
use super::priors::{Shape, add_alpha_slope, add_variation_slope};
use super::unit::{check_finite, info};
use crate::attack::Units;
use crate::batch::{batch_of, images_batch};
use crate::data::NamedImage;
use crate::error::Error;
use crate::image::Image;

/// Steps in all.
const STEPS: usize = 200;
/// Length of the first step, in grey levels; later ones are shorter, to a twentieth of it.
const RATE: f32 = 8.0;
const LAST_RATE: f32 = 0.05 * RATE;
/// Of the α-norm and of the total variation, beside the squared distance of the representations, which is 1 where nothing
/// is alike.
const ALPHA_WEIGHT: f32 = 1e-3;
const VARIATION_WEIGHT: f32 = 5e-2;

/// Images whose representation at a layer is to be that of given ones, on their way down from noise: what the layer has kept of
/// an image. What it has lost is filled by what natural images are like.
///
/// All images of one call go down together; none depends on the others.
///
/// Source: Mahendran and Vedaldi 2015, "Understanding deep image representations by inverting them", with the step sizes of Adam.
pub struct Inversion<'n> {
    network: &'n dyn Network,
    layer: LayerId,
    units: Option<Units>,
    /// What is to be reached, and the square of its length.
    wanted: Array2<f32>,
    sizes: Vec<f64>,
    images: Array4<f32>,
    state: Vec<Adam>,
    done: usize,
}

/// Where an [`Inversion`] has led to.
#[derive(Clone, Debug, PartialEq)]
pub struct Inverted {
    /// The image, 8-bit, as it was judged.
    pub image: Image,
    /// How far its representation is from the wanted one, in lengths of that; absolute where that is zero.
    pub distance: f32,
}

impl<'n> Inversion<'n> {
    /// A descent for each of `images`, to what `layer` sees of it; of `units` only, where they are named.
    ///
    /// # Errors
    /// When an image does not fit the network, the layer is not one of its own or has no such units, or a representation is
    /// not finite.
    pub fn start(
        network: &'n dyn Network,
        layer: LayerId,
        images: &[&NamedImage],
        units: Option<&Units>,
        seed: u64,
    ) -> Result<Self, Error> {
        let (input, info) = (network.input(), info(network, layer)?);
        let mut wanted = network.represent(batch_of(input, images)?.view(), layer)?;
        let mut sizes = Vec::new();
        for (mut row, image) in wanted.outer_iter_mut().zip(images) {
            if let (Some(units), Some(row)) = (units, row.as_slice_mut()) {
                units.keep_of(row, info)?;
            }
            check_finite(&row, || format!("what layer {} sees in {}", info.name, image.name))?;
            let size = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
            sizes.push(if size > 0.0 { size } else { 1.0 });
        }
        let plane = input.height * input.width;
        let start = |image: &&NamedImage| noise(seed, &mean_colour(&image.image), plane);
        let shape = (images.len(), input.channels, input.height, input.width);
        let pixels = images.iter().flat_map(start).collect();
        Ok(Self {
            network,
            layer,
            units: units.cloned(),
            wanted,
            sizes,
            images: Array4::from_shape_vec(shape, pixels)
                .map_err(|e| Error::Attack(e.to_string()))?,
            state: vec![Adam::new(input.channels * plane); images.len()],
            done: 0,
        })
    }

    /// Steps in all.
    pub const fn steps() -> usize {
        STEPS
    }

    /// One step of all images.
    ///
    /// # Errors
    /// When the network refuses.
    pub fn step(&mut self) -> Result<(), Error> {
        let trace = self.network.trace(self.images.view(), &[self.layer])?;
        let mut differences = self.differences(trace.representation(self.layer)?)?;
        for (mut row, size) in differences.outer_iter_mut().zip(&self.sizes) {
            row.mapv_inplace(|x| (2.0 * f64::from(x) / size) as f32);
        }
        let rows = differences.outer_iter().map(|row| row.to_vec()).collect::<Vec<_>>();
        let layer = self.layer;
        let rows: Vec<Cotangent<'_>> = rows
            .iter()
            .enumerate()
            .map(|(image, values)| Cotangent { image, layer, values })
            .collect();
        let slopes = trace.back_project(&rows)?;
        check_finite(&slopes, || "what comes back to the pixels".to_owned())?;
        let left = 1.0 - self.done as f32 / STEPS as f32;
        let rate = LAST_RATE + (RATE - LAST_RATE) * left.max(0.0);
        let (_, channels, height, width) = self.images.dim();
        let shape = Shape { channels, height, width };
        let all = self.images.axis_iter_mut(Axis(0)).zip(slopes.outer_iter());
        for ((mut image, slope), state) in all.zip(&mut self.state) {
            let Some(image) = image.as_slice_mut() else { continue };
            let mut slope: Vec<f32> = slope.iter().copied().collect();
            add_alpha_slope(shape, ALPHA_WEIGHT, image, &mut slope);
            add_variation_slope(shape, VARIATION_WEIGHT, image, &mut slope);
            state.descend(rate, &slope, image);
        }
        self.done += 1;
        Ok(())
    }

    /// The images as they are now.
    ///
    /// # Errors
    /// When the network refuses.
    pub fn finished(&self) -> Result<Vec<Inverted>, Error> {
        let images: Vec<Image> = self.images.outer_iter().map(rounded).collect();
        let batch = images_batch(self.network.input(), &images)?;
        let differences = self.differences(self.network.represent(batch.view(), self.layer)?)?;
        let distances = differences.outer_iter().zip(&self.sizes).map(|(row, size)| {
            let square = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
            (square / size).sqrt() as f32
        });
        let inverted = images.into_iter().zip(distances);
        Ok(inverted.map(|(image, distance)| Inverted { image, distance }).collect())
    }

    /// How far representations are from the wanted ones.
    fn differences(&self, mut seen: Array2<f32>) -> Result<Array2<f32>, Error> {
        let info = info(self.network, self.layer)?;
        seen -= &self.wanted;
        if let Some(units) = &self.units {
            for mut row in seen.outer_iter_mut() {
                if let Some(row) = row.as_slice_mut() {
                    // What is wanted of the others is zero, and so is what is seen.
                    units.keep_of(row, info)?;
                }
            }
        }
        Ok(seen)
    }
}
