//! 8-bit images as networks take them.

use lots_nn::InputSpec;
use ndarray::Array4;

use crate::data::{Dataset, NamedImage};
use crate::error::DataError;
use crate::image::Image;

/// The images of `data` at `positions` as `input` takes them: [N, channels, height, width], raw 0–255.
///
/// # Errors
/// When the images are not of the network's shape.
///
/// # Panics
/// When a position is not below the number of images, as for a slice.
pub fn batch(
    input: &InputSpec,
    data: &Dataset,
    positions: impl IntoIterator<Item = usize>,
) -> Result<Array4<f32>, DataError> {
    fill(input, positions.into_iter().map(|i| (data.shape(), data.pixels(i))), |_| {
        data.name().to_owned()
    })
}

/// `images` as `input` takes them: [N, channels, height, width], raw 0–255.
///
/// # Errors
/// When an image is not of the network's shape.
pub fn images_batch(input: &InputSpec, images: &[Image]) -> Result<Array4<f32>, DataError> {
    let parts = images.iter().map(|i| ([i.height(), i.width(), i.channels()], i.pixels()));
    fill(input, parts, |i| format!("image {i}"))
}

/// As [`images_batch`], with messages that name the image.
pub(crate) fn batch_of(
    input: &InputSpec,
    images: &[&NamedImage],
) -> Result<Array4<f32>, DataError> {
    let parts = images.iter().map(|i| &i.image);
    let parts = parts.map(|i| ([i.height(), i.width(), i.channels()], i.pixels()));
    fill(input, parts, |i| images[i].name.clone())
}

/// Whether the network takes `image`.
///
/// # Errors
/// When it does not.
pub(crate) fn check_fits(input: &InputSpec, image: &NamedImage) -> Result<(), DataError> {
    let shape = [image.image.height(), image.image.width(), image.image.channels()];
    check_shape(input, shape, || image.name.clone())
}

fn check_shape(
    input: &InputSpec,
    shape: [usize; 3],
    name: impl FnOnce() -> String,
) -> Result<(), DataError> {
    let InputSpec { channels, height, width, .. } = *input;
    if shape == [height, width, channels] {
        return Ok(());
    }
    let [h, w, c] = shape;
    let problem = format!(
        "has {h}×{w}×{c} (height × width × channels), the network takes \
         {height}×{width}×{channels}; give images of that shape"
    );
    Err(DataError::content(name(), problem))
}

fn fill<'a>(
    input: &InputSpec,
    images: impl Iterator<Item = ([usize; 3], &'a [u8])>,
    name: impl Fn(usize) -> String,
) -> Result<Array4<f32>, DataError> {
    let InputSpec { channels, height, width, .. } = *input;
    let mut values = Vec::new();
    let mut count = 0;
    for (shape, pixels) in images {
        check_shape(input, shape, || name(count))?;
        for channel in 0..channels {
            values.extend(pixels.iter().skip(channel).step_by(channels).map(|&p| f32::from(p)));
        }
        count += 1;
    }
    Array4::from_shape_vec([count, channels, height, width], values)
        .map_err(|e| DataError::content("batch", e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(channels: usize) -> InputSpec {
        InputSpec { name: "image".to_owned(), channels, height: 1, width: 2 }
    }

    #[test]
    fn channels_come_apart_and_values_stay_raw() {
        let pixels = vec![0, 1, 2, 253, 254, 255, 10, 11, 12, 13, 14, 15];
        let set = Dataset::new("set", [1, 2, 3], pixels, None, 10).unwrap();
        let second = [10.0, 13.0, 11.0, 14.0, 12.0, 15.0];
        let first = [0.0, 253.0, 1.0, 254.0, 2.0, 255.0];
        let both = batch(&input(3), &set, [1, 0]).unwrap();
        assert_eq!(both.shape(), [2, 3, 1, 2]);
        assert_eq!(both.as_slice().unwrap(), [second, first].concat());
        let images = [set.image(1), set.image(0)];
        assert_eq!(images_batch(&input(3), &images).unwrap(), both);
    }

    #[test]
    fn images_of_another_shape_are_named() {
        let set = Dataset::new("set", [2, 1, 1], vec![0; 4], None, 10).unwrap();
        let wanted =
            "(height × width × channels), the network takes 1×2×1; give images of that shape";
        let message = batch(&input(1), &set, [0]).unwrap_err().to_string();
        assert_eq!(message, format!("set has 2×1×1 {wanted}"));
        let images = [Image::new(2, 1, 1, vec![0; 2]).unwrap(), set.image(0)];
        let message = images_batch(&input(1), &images).unwrap_err().to_string();
        assert_eq!(message, format!("image 1 has 2×1×1 {wanted}"));
    }
}
