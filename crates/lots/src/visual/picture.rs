//! Numbers at pixels as 8-bit images.

use ndarray::ArrayView3;

use crate::image::Image;

/// So many of a thousand magnitudes lie below the one that is shown as white; without this, a few would leave the others dark.
const SHOWN: usize = 995;

/// Magnitudes as grey levels: the largest of each pixel's channels, black where it is zero.
pub(super) fn brightness(values: ArrayView3<'_, f32>) -> Image {
    let (_, height, width) = values.dim();
    let mut largest = vec![0.0_f32; height * width];
    for plane in values.outer_iter() {
        largest.iter_mut().zip(plane).for_each(|(most, x)| *most = most.max(x.abs()));
    }
    let white = scale(&largest);
    let pixels = largest.iter().map(|x| level(255.0 * x / white)).collect();
    Image::of_checked([height, width, 1], pixels)
}

/// Numbers around mid grey, 128: lighter above zero, darker below.
pub(super) fn around_grey(values: ArrayView3<'_, f32>) -> Image {
    let (channels, height, width) = values.dim();
    let magnitudes: Vec<f32> = values.iter().map(|x| x.abs()).collect();
    let white = scale(&magnitudes);
    let pixels =
        interleaved(values).map(|x| level(128.0 + (127.0 * x / white).clamp(-127.0, 127.0)));
    Image::of_checked([height, width, channels], pixels.collect())
}

/// Pixels, 0–255, to the nearest grey levels.
pub(super) fn rounded(values: ArrayView3<'_, f32>) -> Image {
    let (channels, height, width) = values.dim();
    let pixels = interleaved(values).map(level).collect();
    Image::of_checked([height, width, channels], pixels)
}

/// The numbers in the order of an [`Image`]: row by row, channels of a pixel side by side.
fn interleaved(values: ArrayView3<'_, f32>) -> impl Iterator<Item = f32> {
    values.permuted_axes([1, 2, 0]).into_iter().copied()
}

/// The magnitude that is shown as the end of the scale; above zero.
fn scale(magnitudes: &[f32]) -> f32 {
    let mut sorted = magnitudes.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let at = |share: usize| sorted.get((sorted.len() * share / 1000).min(sorted.len() - 1));
    // Where only a few pixels are reached, these are all that is to be seen.
    let found = [SHOWN, 1000].into_iter().filter_map(at).find(|x| **x > 0.0);
    found.copied().unwrap_or(1.0)
}

fn level(x: f32) -> u8 {
    x.round_ties_even() as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array3;

    fn values(shape: [usize; 3], values: &[f32]) -> Array3<f32> {
        Array3::from_shape_vec(shape, values.to_vec()).unwrap()
    }

    #[test]
    fn pictures_by_hand() {
        // Two channels, one row of three pixels.
        let two = values([3, 1, 2], &[0.0, -2.0, 1.0, 0.5, 0.0, -1.0]);
        let found = brightness(two.view());
        assert_eq!((found.channels(), found.pixels()), (1, &[128, 255][..]));
        let found = around_grey(two.view());
        assert_eq!((found.channels(), found.pixels()), (3, &[128, 192, 128, 1, 160, 64][..]));
        let found = rounded(values([1, 1, 4], &[0.4, 0.6, 254.5, 300.0]).view());
        assert_eq!(found.pixels(), [0, 1, 254, 255]);
    }

    #[test]
    fn nothing_is_black_or_grey_and_a_few_are_seen() {
        let mut many = vec![0.0; 1000];
        let picture = |values_: &[f32]| brightness(values([1, 20, 50], values_).view());
        assert!(picture(&many).pixels().iter().all(|&x| x == 0));
        let grey = around_grey(values([1, 20, 50], &many).view());
        assert!(grey.pixels().iter().all(|&x| x == 128));
        // One pixel of a thousand is beyond what would be white, and yet it is all that is there.
        many[7] = -3.0;
        assert_eq!(picture(&many).pixels().iter().map(|&x| u32::from(x)).sum::<u32>(), 255);
        // Where there is more, it does not leave that dark.
        many.iter_mut().for_each(|x| *x = x.abs().max(0.5));
        many[8] = 1.0;
        assert_eq!(picture(&many).pixels()[..9], [255; 9]);
    }
}
