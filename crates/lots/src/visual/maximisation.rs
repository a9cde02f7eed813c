//! Activation maximisation.

use lots_nn::{Cotangent, Network};
use ndarray::{Array4, Axis};

use super::descent::{mean_colour, noise};
use super::picture::rounded;
use super::priors::{Shape, blur, clip_small};
use super::unit::{Unit, check_finite, count, info, places};
use crate::batch::{check_fits, images_batch};
use crate::data::NamedImage;
use crate::error::Error;
use crate::image::Image;

/// Steps in all.
const STEPS: usize = 160;
/// Length of a step, in grey levels: the root of the mean over pixels of its square.
const RATE: f32 = 8.0;
/// How much of the way from its centre a pixel loses at each step.
const DECAY: f32 = 0.01;
/// Steps from one blur, and one clipping of small pixels, to the next.
const EVERY: usize = 4;
/// Of the blur, in pixels.
const RADIUS: f32 = 0.7;
/// Of pixels that are clipped.
const CLIPPED: f32 = 0.05;

/// Images that make units respond as much as possible, on their way up from noise. Every few steps they are held back: what
/// is far from the centre decays, sharp edges are blurred, and small pixels are set to the centre.
///
/// A unit's response is the mean over its places. All units of one call go up together; none depends on the others.
///
/// Source: Erhan et al. 2009, "Visualizing higher-layer features of a deep network"; what holds back, Yosinski et al. 2015,
/// "Understanding neural networks through deep visualization", section 3.
pub struct Maximisation<'n> {
    network: &'n dyn Network,
    units: Vec<Unit>,
    cotangents: Vec<Vec<f32>>,
    /// What pixels decay to.
    centres: Vec<Vec<f32>>,
    images: Array4<f32>,
    done: usize,
}

/// Where a [`Maximisation`] has led to.
#[derive(Clone, Debug, PartialEq)]
pub struct Maximised {
    /// The image, 8-bit, as it was judged.
    pub image: Image,
    /// The unit's response to it, the mean over its places.
    pub response: f32,
}

impl<'n> Maximisation<'n> {
    /// A climb for each of `units`, all of one layer. The mean colour of the image beside it in `around` is the centre: the
    /// colour that stands for nothing.
    ///
    /// # Errors
    /// When a unit is none of the network's, they are not of one layer, or an image does not fit the network.
    pub fn start(
        network: &'n dyn Network,
        units: &[Unit],
        around: &[&NamedImage],
        seed: u64,
    ) -> Result<Self, Error> {
        let input = network.input();
        let refuse = |problem: &str| Err(Error::Attack(problem.to_owned()));
        if units.iter().any(|unit| unit.layer != units[0].layer) {
            return refuse("maximisation takes units of one layer at a time");
        }
        if around.len() != units.len() {
            let (images, units) = (around.len(), units.len());
            return refuse(&format!(
                "maximisation takes an image for each unit, found {images} for {units}"
            ));
        }
        around.iter().try_for_each(|image| check_fits(input, image))?;
        let centres: Vec<Vec<f32>> = around.iter().map(|image| mean_colour(&image.image)).collect();
        let mut cotangents = Vec::new();
        for unit in units {
            let info = info(network, unit.layer)?;
            let (count, places) = (count(info), places(info));
            if unit.number >= count {
                let (number, name, last) = (unit.number, &info.name, count - 1);
                return refuse(&format!(
                    "no unit {number} in layer {name}; its units are 0–{last}"
                ));
            }
            let mut cotangent = vec![0.0; count * places];
            cotangent[unit.number * places..][..places].fill(1.0 / places as f32);
            cotangents.push(cotangent);
        }
        let plane = input.height * input.width;
        let pixels = centres.iter().flat_map(|centre| noise(seed, centre, plane)).collect();
        let shape = (units.len(), input.channels, input.height, input.width);
        let images =
            Array4::from_shape_vec(shape, pixels).map_err(|e| Error::Attack(e.to_string()))?;
        Ok(Self { network, units: units.to_vec(), cotangents, centres, images, done: 0 })
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
        let Some(first) = self.units.first() else { return Ok(()) };
        let trace = self.network.trace(self.images.view(), &[first.layer])?;
        let rows = self.units.iter().zip(&self.cotangents).enumerate();
        let rows =
            rows.map(|(image, (unit, values))| Cotangent { image, layer: unit.layer, values });
        let slopes = trace.back_project(&rows.collect::<Vec<_>>())?;
        check_finite(&slopes, || "what comes back to the pixels".to_owned())?;
        self.done += 1;
        let holds_back = self.done.is_multiple_of(EVERY) && self.done < STEPS;
        let (_, channels, height, width) = self.images.dim();
        let shape = Shape { channels, height, width };
        let all = self.images.axis_iter_mut(Axis(0)).zip(slopes.outer_iter());
        for ((mut image, slope), centre) in all.zip(&self.centres) {
            let Some(image) = image.as_slice_mut() else { continue };
            climb(image, &slope.iter().copied().collect::<Vec<_>>(), shape, centre);
            if holds_back {
                blur(shape, RADIUS, image);
                clip_small(shape, CLIPPED, centre, image);
            }
            image.iter_mut().for_each(|x| *x = x.clamp(0.0, 255.0));
        }
        Ok(())
    }

    /// The images as they are now.
    ///
    /// # Errors
    /// When the network refuses.
    pub fn finished(&self) -> Result<Vec<Maximised>, Error> {
        let Some(first) = self.units.first() else { return Ok(Vec::new()) };
        let images: Vec<Image> = self.images.outer_iter().map(rounded).collect();
        let batch = images_batch(self.network.input(), &images)?;
        let seen = self.network.represent(batch.view(), first.layer)?;
        let rows = images.into_iter().zip(seen.outer_iter()).zip(&self.cotangents);
        let maximised = rows.map(|((image, seen), weights)| {
            let response = seen.iter().zip(weights).map(|(x, weight)| x * weight).sum();
            Maximised { image, response }
        });
        Ok(maximised.collect())
    }
}

/// One step up the slope, and the decay.
fn climb(image: &mut [f32], slope: &[f32], shape: Shape, centre: &[f32]) {
    let square: f64 = slope.iter().map(|x| f64::from(*x).powi(2)).sum();
    let size = (square / slope.len() as f64).sqrt();
    // Nowhere to go where no slope is left: a unit that is off.
    let rate = if size > 0.0 { f64::from(RATE) / size } else { 0.0 };
    let plane = shape.plane();
    let planes = image.chunks_exact_mut(plane).zip(slope.chunks_exact(plane));
    for ((image, slope), mean) in planes.zip(centre) {
        for (x, slope) in image.iter_mut().zip(slope) {
            *x = mean + (*x + (rate * f64::from(*slope)) as f32 - mean) * (1.0 - DECAY);
        }
    }
}
