use lots::open_image;
use serde_json::Value;

use crate::{done, lots, not_the_error};

#[test]
fn three_measures_of_two_images() {
    let dir = tempfile::tempdir().unwrap();
    let four = open_image("mnist:test:4").unwrap().image;
    four.write_png(&dir.path().join("four.png")).unwrap();
    assert_eq!(done(&dir, "measure mnist:test:4 four.png"), "L2    0.00\nL∞    0\nPASS  1.0000\n");
    let text = done(&dir, "measure four.png mnist:test:6 --json");
    let found: Value = serde_json::from_str(&text).unwrap();
    let other = open_image("mnist:test:6").unwrap().image;
    let wanted = lots::measure(&four, &other).unwrap();
    assert_eq!(found["l2"].as_f64().unwrap(), wanted.l2.0);
    assert_eq!(found["linf"].as_u64().unwrap(), u64::from(wanted.linf.0));
    assert_eq!(found["pass"].as_f64().unwrap(), wanted.pass.score);
    assert_eq!(
        (&found["origin"], &found["perturbed"]),
        (&"four.png".into(), &"mnist:test:6".into())
    );
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn what_cannot_be_compared_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let image = |name: &str, width, channels| {
        let pixels = vec![9; width * 28 * channels];
        let image = lots::Image::new(width, 28, channels, pixels).unwrap();
        image.write_png(&dir.path().join(name)).unwrap();
    };
    image("wide.png", 29, 1);
    image("colour.png", 28, 3);
    image("flat.png", 28, 1);
    let cases = [
        ("wide.png mnist:test:0", "the origin has 29×28 pixels, the perturbed image 28×28"),
        ("mnist:test:0 colour.png", "the origin has 1 channel(s), the perturbed image 3"),
        ("none.png mnist:test:0", "no image \"none.png\"; wanted a PNG file or one image of"),
        ("mnist:test mnist:test:0", "wanted one image; add its position"),
    ];
    for (line, wanted) in cases {
        assert_eq!(not_the_error(&lots(&dir, &format!("measure {line}")), wanted), None, "{line}");
    }
    let text = done(&dir, "measure flat.png mnist:test:0");
    assert!(text.ends_with("  (compared as they lie: no alignment found)\n"), "{text}");
}
