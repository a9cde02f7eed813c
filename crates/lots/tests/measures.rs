//! Exact oracles and properties of the measures.

#![allow(clippy::unwrap_used, reason = "helpers of a test")]

use lots::{Alignment, Image, L2, Linf, MeasureError, Measures, measure, pass, ssim};
use proptest::prelude::*;

fn image(width: usize, height: usize, channels: usize, pixels: Vec<u8>) -> Image {
    Image::new(width, height, channels, pixels).unwrap()
}

/// Soft spots on black, the whole shifted by whole pixels.
fn spots(size: usize, channels: usize, right: i32, down: i32) -> Image {
    let pixel = |i: usize| {
        let x = (i / channels % size) as i32 - right;
        let y = (i / channels / size) as i32 - down;
        let third = size as i32 / 3;
        let spot = |cx: i32, cy: i32| {
            (200 - 1600 * ((x - cx).pow(2) + (y - cy).pow(2)) / (third * third)).max(0)
        };
        (spot(third + 1, third) + spot(2 * third, third + 2) + spot(third + 3, 2 * third)).min(255)
            as u8
    };
    image(size, size, channels, (0..size * size * channels).map(pixel).collect())
}

#[test]
fn other_sizes_and_channels_are_errors() {
    let small = image(2, 3, 1, vec![0; 6]);
    let large = image(3, 2, 1, vec![0; 6]);
    let colour = image(2, 3, 3, vec![0; 18]);
    let error = measure(&small, &large).unwrap_err();
    assert_eq!(
        error.to_string(),
        "measures need two images of one size: the origin has 2×3 pixels, the perturbed image 3×2"
    );
    let error = measure(&small, &colour).unwrap_err();
    assert_eq!(error, MeasureError::Channels { origin: 1, perturbed: 3 });
    assert_eq!(
        error.to_string(),
        "measures need two grey or two RGB images: the origin has 1 channel(s), the perturbed image 3"
    );
}

#[test]
fn moved_images_are_similar_once_aligned() {
    for (size, channels) in [(28, 1), (48, 3)] {
        let origin = spots(size, channels, 0, 0);
        for (right, down) in [(1, 0), (0, -1), (2, 1), (-1, 1)] {
            let moved = spots(size, channels, right, down);
            let unaligned = ssim(&origin, &moved).unwrap();
            let found = pass(&origin, &moved).unwrap();
            let what =
                format!("{size} pixels moved by ({right}, {down}): {found:?}, SSIM {unaligned}");
            assert_eq!(found.alignment, Alignment::Aligned, "{what}");
            assert!(found.score > 0.99 && unaligned < found.score - 0.01, "{what}");
        }
    }
}

#[test]
fn constant_images_are_compared_as_they_lie() {
    // Oracle: without variance SSIM is (2·50·60 + C1)/(50² + 60² + C1), C1 = 6.5025.
    let (a, b) = (image(6, 5, 1, vec![50; 30]), image(6, 5, 1, vec![60; 30]));
    let found = pass(&a, &b).unwrap();
    assert_eq!(found.alignment, Alignment::Identity);
    assert!((found.score - 6006.5025 / 6106.5025).abs() < 1e-9, "{}", found.score);
}

#[test]
fn measures_are_plain_numbers_in_json() {
    let origin = spots(28, 1, 0, 0);
    let measures = measure(&origin, &spots(28, 1, 1, 0)).unwrap();
    let json = serde_json::to_value(measures).unwrap();
    assert!(
        json["l2"].is_number() && json["linf"].is_number() && json["pass"]["score"].is_number()
    );
    assert_eq!(json["pass"]["alignment"], "aligned");
    assert_eq!(serde_json::from_value::<Measures>(json).unwrap(), measures);
}

fn pairs() -> impl Strategy<Value = (Image, Image)> {
    // Few of two tiles of the alignment and two strips of SSIM.
    let length = || prop_oneof![9 => 1_usize..14, 1 => 31_usize..36];
    (length(), length(), prop_oneof![Just(1_usize), Just(3)]).prop_flat_map(
        |(width, height, channels)| {
            let pixels = || {
                let length = width * height * channels;
                prop_oneof![
                    prop::collection::vec(any::<u8>(), length),
                    any::<u8>().prop_map(move |value| vec![value; length]),
                    // Slopes and stripes: singular and nearly singular Hessians.
                    (0_usize..9, 0_usize..9, 1_usize..40).prop_map(move |(a, b, scale)| {
                        let value = |i: usize| {
                            (a * (i / channels % width) + b * (i / channels / width)) * scale
                        };
                        (0..length).map(|i| (value(i) % 256) as u8).collect()
                    }),
                ]
            };
            let shape = move |pixels| image(width, height, channels, pixels);
            (pixels().prop_map(shape), pixels().prop_map(shape))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_two_images_have_measures((a, b) in pairs()) {
        let Measures { l2: L2(l2), linf: Linf(linf), pass } = measure(&a, &b).unwrap();
        prop_assert!(pass.score.is_finite() && (-1.0..=1.0).contains(&pass.score), "{pass:?}");
        prop_assert!(f64::from(linf) <= l2 + 1e-9);
        prop_assert!(l2 <= f64::from(linf) * (a.pixels().len() as f64).sqrt() + 1e-9);
        let (forth, back) = (ssim(&a, &b).unwrap(), ssim(&b, &a).unwrap());
        prop_assert!((forth - back).abs() < 1e-12, "{forth} and {back}");
    }

    #[test]
    fn an_image_is_like_itself((a, _) in pairs()) {
        let Measures { l2: L2(l2), linf, pass } = measure(&a, &a).unwrap();
        prop_assert!(l2.abs() < 1e-12 && linf == Linf(0));
        prop_assert!((pass.score - 1.0).abs() < 1e-12, "{pass:?}");
        prop_assert!((ssim(&a, &a).unwrap() - 1.0).abs() < 1e-12);
    }
}
