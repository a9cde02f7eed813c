//! Perturbations as pictures.

use super::Image;

/// The difference between two images of one shape as an image: 128 where nothing changes, lighter where `perturbed` is,
/// the largest change at 1 or 255. Also returns how many grey levels of the perturbation one grey level of it stands for.
///
/// # Panics
/// When the shapes differ.
pub fn perturbation(origin: &Image, perturbed: &Image) -> (Image, f64) {
    let shape = |image: &Image| [image.height(), image.width(), image.channels()];
    assert_eq!(shape(origin), shape(perturbed), "images of one shape");
    let pairs = || origin.pixels().iter().zip(perturbed.pixels());
    let largest = pairs().map(|(o, p)| o.abs_diff(*p)).max().unwrap_or(0).max(1);
    let scale = f64::from(largest) / 127.0;
    let grey = |(&o, &p): (&u8, &u8)| (128.0 + (f64::from(p) - f64::from(o)) / scale).round() as u8;
    (Image::of_checked(shape(origin), pairs().map(grey).collect()), scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_grey_and_the_largest_change_is_at_the_end() {
        let image = |pixels: [u8; 4]| Image::new(4, 1, 1, pixels.to_vec()).unwrap();
        let cases = [
            ([0, 10, 20, 30], [0, 10, 20, 30], [128, 128, 128, 128], 1.0 / 127.0),
            ([0, 0, 9, 255], [0, 255, 8, 0], [128, 255, 128, 1], 255.0 / 127.0),
            ([5, 5, 5, 5], [5, 6, 4, 5], [128, 255, 1, 128], 1.0 / 127.0),
            ([0, 0, 0, 100], [0, 40, 20, 60], [128, 255, 192, 1], 40.0 / 127.0),
        ];
        for (origin, perturbed, wanted, wanted_scale) in cases {
            let (found, scale) = perturbation(&image(origin), &image(perturbed));
            assert_eq!(found.pixels(), wanted, "{origin:?} {perturbed:?}");
            assert!((scale - wanted_scale).abs() < 1e-12);
        }
    }
}
