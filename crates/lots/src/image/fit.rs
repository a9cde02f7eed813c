//! Images made to fit a network that takes another size.

use image::ImageBuffer;
use image::imageops::{FilterType, resize};

use super::Image;

/// What may be done to an image of another size than a network takes; nothing unless asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fit {
    /// Scale it; the ratio of its sides is kept only with `center_crop`.
    pub resize: bool,
    /// Cut out its middle; with `resize`, as much of it as there is.
    pub center_crop: bool,
}

impl Fit {
    /// `image` at `height` × `width` as far as this allows, else as it is or as near as it gets.
    ///
    /// Scaling is by the triangle filter, which is linear upwards and takes all pixels in downwards: as torchvision's
    /// `Resize` and PIL's `BILINEAR`, up to one grey level. An odd row or column more is cut at the end.
    pub fn apply(self, image: &Image, height: usize, width: usize) -> Image {
        let cropped = |image: &Image| match self.center_crop {
            true => crop(image, height.min(image.height), width.min(image.width)),
            false => image.clone(),
        };
        if !self.resize {
            return cropped(image);
        }
        let (mut scaled_height, mut scaled_width) = (height, width);
        let strip;
        let mut image = image;
        if self.center_crop {
            // The ends of a strip go before it is scaled, which would make it huge.
            let most = |side: usize, wanted: usize, other: usize, other_wanted: usize| {
                let kept = 4 * (wanted * other).div_ceil(other_wanted) + 16;
                if side > kept { kept + (side - kept) % 2 } else { side }
            };
            let kept_width = most(image.width, width, image.height, height);
            let kept_height = most(image.height, height, image.width, width);
            if (kept_height, kept_width) != (image.height, image.width) {
                strip = crop(image, kept_height, kept_width);
                image = &strip;
            }
            // The side that is nearer to its wish is scaled to it, and the other keeps the ratio.
            if height * image.width > width * image.height {
                scaled_width = rounded(image.width * height, image.height).max(width);
            } else {
                scaled_height = rounded(image.height * width, image.width).max(height);
            }
        }
        cropped(&scale(image, scaled_height, scaled_width))
    }
}

/// The quotient, to the nearest.
fn rounded(product: usize, by: usize) -> usize {
    (product + by / 2) / by
}

/// The middle of `image`, which is at least so large.
fn crop(image: &Image, height: usize, width: usize) -> Image {
    let (top, left) = ((image.height - height) / 2, (image.width - width) / 2);
    let rows = (top..top + height).flat_map(|y| {
        let row = (y * image.width + left) * image.channels;
        &image.pixels[row..][..width * image.channels]
    });
    Image::of_checked([height, width, image.channels], rows.copied().collect())
}

fn scale(image: &Image, height: usize, width: usize) -> Image {
    // Neither side of an image that fits into memory, nor of one that a network takes, is longer than 2³².
    let [w, h, new_w, new_h] = [image.width, image.height, width, height].map(|n| n as u32);
    let pixels = image.pixels.clone();
    let scaled = if image.channels == 1 {
        let all = ImageBuffer::<image::Luma<u8>, _>::from_raw(w, h, pixels);
        all.map(|all| resize(&all, new_w, new_h, FilterType::Triangle).into_raw())
    } else {
        let all = ImageBuffer::<image::Rgb<u8>, _>::from_raw(w, h, pixels);
        all.map(|all| resize(&all, new_w, new_h, FilterType::Triangle).into_raw())
    };
    Image::of_checked([height, width, image.channels], scaled.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterned([height, width, channels]: [usize; 3]) -> Image {
        let pixel = |i: usize| ((i * 73 + i * i % 41 * 5) % 256) as u8;
        let pixels = (0..height * width * channels).map(pixel).collect();
        Image::new(width, height, channels, pixels).unwrap()
    }

    const RESIZE: Fit = Fit { resize: true, center_crop: false };
    const CROP: Fit = Fit { resize: false, center_crop: true };
    const BOTH: Fit = Fit { resize: true, center_crop: true };

    /// Oracle: Pillow 13.0.0, `resize(…, Image.BILINEAR)` on the same pixels; it rounds between rows and columns.
    /// Scaled as a whole it would have 1.35 billion pixels.
    #[test]
    fn strips_are_cut_before_they_are_scaled() {
        let fit = Fit { resize: true, center_crop: true };
        for (height, width) in [(1, 60_000), (60_000, 1)] {
            let mut pixels = vec![0; 60_000];
            pixels[29_990..30_010].fill(200);
            let strip = Image::new(height, width, 1, pixels).unwrap();
            let fitted = fit.apply(&strip, 150, 150);
            assert_eq!((fitted.height(), fitted.width()), (150, 150));
            assert!(fitted.pixels().iter().all(|&x| x == 200));
        }
    }

    #[test]
    fn scaling_is_pillows() {
        let cases: [([usize; 3], [usize; 2], &[u8]); 3] = [
            ([7, 5, 1], [3, 4], &[114, 123, 125, 117, 137, 196, 184, 126, 95, 151, 131, 177]),
            (
                [4, 6, 3],
                [6, 3],
                &[
                    19, 89, 198, 101, 74, 205, 177, 179, 198, 105, 104, 146, 123, 75, 193, 159,
                    148, 199, 183, 125, 96, 145, 82, 168, 150, 120, 177, 149, 148, 102, 143, 111,
                    116, 187, 130, 88, 136, 126, 107, 145, 123, 102, 153, 132, 45, 131, 97, 110,
                    146, 128, 101, 109, 131, 24,
                ],
            ),
            ([9, 8, 1], [2, 2], &[146, 132, 144, 110]),
        ];
        for (shape, [height, width], wanted) in cases {
            let found = RESIZE.apply(&patterned(shape), height, width);
            assert_eq!((found.height(), found.width()), (height, width));
            let off: Vec<_> =
                found.pixels().iter().zip(wanted).filter(|(a, b)| a.abs_diff(**b) > 1).collect();
            assert!(found.pixels().len() == wanted.len() && off.is_empty(), "{shape:?}: {off:?}");
        }
    }

    #[test]
    fn the_middle_is_cut_out() {
        for (shape, [height, width], [top, left]) in
            [([5, 7, 3], [2, 3], [1, 2]), ([4, 4, 1], [4, 2], [0, 1]), ([3, 3, 1], [2, 2], [0, 0])]
        {
            let image = patterned(shape);
            let found = CROP.apply(&image, height, width);
            assert_eq!((found.height(), found.width()), (height, width), "{shape:?}");
            for y in 0..height {
                let row = ((top + y) * shape[1] + left) * shape[2];
                let wanted = &image.pixels()[row..][..width * shape[2]];
                let found = &found.pixels()[y * width * shape[2]..][..width * shape[2]];
                assert_eq!(found, wanted, "{shape:?}, row {y}");
            }
        }
    }

    /// What is cut out of the scaled image is what the whole, scaled by the same factor, has in its middle.
    #[test]
    fn both_keep_the_ratio() {
        for (shape, [height, width], scaled) in [
            ([10, 20, 1], [5, 5], [5, 10]),
            ([20, 10, 3], [5, 5], [10, 5]),
            ([4, 4, 1], [8, 6], [8, 8]),
            ([6, 6, 1], [3, 3], [3, 3]),
        ] {
            let image = patterned(shape);
            let whole = RESIZE.apply(&image, scaled[0], scaled[1]);
            assert_eq!(
                BOTH.apply(&image, height, width),
                CROP.apply(&whole, height, width),
                "{shape:?}"
            );
        }
    }

    #[test]
    fn what_fits_or_is_not_asked_for_stays() {
        let image = patterned([4, 5, 3]);
        for fit in [RESIZE, CROP, BOTH, Fit::default()] {
            assert_eq!(fit.apply(&image, 4, 5), image, "{fit:?}");
        }
        assert_eq!(Fit::default().apply(&image, 2, 2), image);
        // Too small to be cut: as much as there is.
        assert_eq!(CROP.apply(&image, 8, 3), CROP.apply(&image, 4, 3));
    }
}
