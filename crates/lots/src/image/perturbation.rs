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

/// The origin, out of a perturbed image and what [`perturbation`] has made of the two: exact where no value changed by more
/// than 127, and else within one grey level. `None` where the shapes differ.
pub(crate) fn unperturbed(perturbed: &Image, picture: &Image, scale: f64) -> Option<Image> {
    let shape = |image: &Image| [image.height(), image.width(), image.channels()];
    let pairs = perturbed.pixels().iter().zip(picture.pixels());
    let value = |(&p, &grey): (&u8, &u8)| {
        // A number that is none, or too large, ends as a grey level all the same.
        (f64::from(p) - ((f64::from(grey) - 128.0) * scale).round()) as u8
    };
    (shape(perturbed) == shape(picture))
        .then(|| Image::of_checked(shape(perturbed), pairs.map(value).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_come_back() {
        let grey = |pixels: Vec<u8>| Image::new(256, 256, 1, pixels).unwrap();
        // All pairs of values that differ by at most `most`.
        for (most, wanted) in [(1, 0), (90, 0), (127, 0), (128, 1), (255, 1)] {
            let origin = grey((0..=255).flat_map(|_| 0..=255).collect());
            let near = |(o, p): (u8, u8)| p.clamp(o.saturating_sub(most), o.saturating_add(most));
            let all = (0..=255).flat_map(|p| (0..=255).map(move |o| (o, p)));
            let perturbed = grey(all.map(near).collect());
            let (picture, scale) = perturbation(&origin, &perturbed);
            let found = unperturbed(&perturbed, &picture, scale).unwrap();
            let pairs = found.pixels().iter().zip(origin.pixels());
            let error = pairs.map(|(f, o)| f.abs_diff(*o)).max().unwrap();
            assert!(error <= wanted, "changes up to {most}: {error}");
        }
        let other = Image::new(1, 2, 1, vec![0; 2]).unwrap();
        assert_eq!(unperturbed(&other, &grey(vec![0; 65536]), 1.0), None);
        for scale in [f64::NAN, f64::INFINITY, -1e300] {
            assert!(unperturbed(&other, &other, scale).is_some());
        }
    }

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
