//! A row of Table 1, by hand.
//!
//! The network has two classes; class 1 begins where the second pixel reaches 100 while the first is 255. Its only layer's
//! differences, the slope of the loss and hot/cold all lead the same way: up from class 0, until the second pixel is 100.

use lots::attack::has_zero_loss;
use lots::experiment::{Row, Spread, first_of_each_class, row};
use lots::{Dataset, Image, NamedImage, pass};
use lots_nn::Network;

use super::networks::{Plain, Stage, represent, unlabelled};

/// The logit of class 1 is this times 255 + x/32 less what it is halfway between 99 and 100.
const SLOPE: f64 = 8.0;

fn network() -> Plain {
    let weights = vec![vec![0.0, 0.0], vec![SLOPE, SLOPE / 32.0]];
    Plain::new([1, 1, 2], vec![Stage::new(weights, vec![0.0, -SLOPE * (255.0 + 99.5 / 32.0)])])
}

fn image(second: u8) -> Image {
    Image::new(2, 1, 1, vec![255, second]).unwrap()
}

fn data(seconds: &[u8], labels: &[u8]) -> Dataset {
    let pixels = seconds.iter().flat_map(|&x| [255, x]).collect();
    Dataset::new("pairs", [1, 2, 1], pixels, Some(labels.to_vec()), 10).unwrap()
}

fn targets() -> Vec<NamedImage> {
    vec![unlabelled("zero", image(0)), unlabelled("one", image(200))]
}

fn spread(values: &[f64]) -> Option<Spread> {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let variance = values.iter().map(|x| x * x).sum::<f64>() / values.len() as f64 - mean * mean;
    Some(Spread { mean, std: variance.max(0.0).sqrt() })
}

fn is_near(a: Option<Spread>, b: Option<Spread>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a.mean - b.mean).abs() < 1e-9 && (a.std - b.std).abs() < 1e-6,
        (a, b) => a.is_none() && b.is_none(),
    }
}

/// Oracle: logits differ by 8 · (99.5 − x)/32. From 66.6 grey levels below on the f32 softmax is exactly 1: 1/(1 + e⁻¹⁶·⁷).
#[test]
fn a_row_by_hand() {
    let seconds = [0, 30, 34, 60, 99, 98, 150, 0];
    // The last two are misclassified.
    let labels = [0, 0, 0, 0, 0, 0, 0, 1];
    let (sure, unsure) = ([100.0, 70.0], [66.0, 40.0, 1.0, 2.0]);
    let network = network();
    let mut done = Vec::new();
    let found = row(&network, "pairs of pixels", &data(&seconds, &labels), &targets(), |count| {
        done.push(count)
    })
    .unwrap();
    assert_eq!(done, [8]);
    let Row { model, data, images, misclassified, zero_loss, columns } = found;
    assert_eq!((model.as_str(), data.as_str()), ("pairs of pixels", "pairs"));
    assert_eq!((images, misclassified, zero_loss), (8, 2, 2));
    let all = [&sure[..], &unsure].concat();
    let similar = |changes: &[f64]| {
        let pass = |&change: &f64| pass(&image(100 - change as u8), &image(100)).unwrap().score;
        spread(&changes.iter().map(pass).collect::<Vec<_>>())
    };
    let wanted = [
        ("fgs", true, &unsure[..]),
        ("fgv", true, &unsure),
        ("fgs", false, &all),
        ("fgv", false, &all),
        ("hot-cold", false, &all),
        ("lots", false, &all),
    ];
    assert_eq!(columns.len(), wanted.len());
    for (column, (method, rule, changes)) in columns.iter().zip(wanted) {
        assert_eq!((column.method.as_str(), column.zero_loss_rule), (method, rule));
        assert_eq!((column.attempts, column.found), (6, changes.len()), "{method} {rule}");
        assert!((column.success() - changes.len() as f64 / 6.0).abs() < 1e-12);
        // One pixel changes: both norms are its change.
        assert!(is_near(column.l2, spread(changes)), "{method} {rule}: {:?}", column.l2);
        assert!(is_near(column.linf, spread(changes)), "{method} {rule}: {:?}", column.linf);
        assert!(is_near(column.pass, similar(changes)), "{method} {rule}: {:?}", column.pass);
    }
}

/// Of more origins than are run together the counts add up, and nothing but the rule takes any away.
#[test]
fn rows_do_not_depend_on_how_many_are_run_together() {
    let network = network();
    let seconds: Vec<u8> = (0..230).map(|i| (i * 37 % 256) as u8).collect();
    let labels: Vec<u8> =
        seconds.iter().enumerate().map(|(i, &x)| u8::from((x >= 100) != (i % 11 == 0))).collect();
    let mut done = Vec::new();
    let whole =
        row(&network, "pairs", &data(&seconds, &labels), &targets(), |count| done.push(count))
            .unwrap();
    assert!(done.is_sorted() && done.last() == Some(&230), "{done:?}");
    let parts = [0..70, 70..71, 71..230].map(|part| {
        row(&network, "pairs", &data(&seconds[part.clone()], &labels[part]), &targets(), |_| ())
            .unwrap()
    });
    let sum = |value: fn(&Row) -> usize| parts.iter().map(value).sum::<usize>();
    assert_eq!((whole.images, whole.misclassified), (sum(|r| r.images), sum(|r| r.misclassified)));
    assert_eq!(whole.misclassified, 230_usize.div_ceil(11));
    let silent = |(&x, &label): (&u8, &u8)| {
        let logits = represent(&network, &image(x), network.output());
        usize::from(label) == usize::from(x >= 100) && has_zero_loss(&logits, label.into())
    };
    let zero_loss = seconds.iter().zip(&labels).filter(|&pair| silent(pair)).count();
    assert!(zero_loss > 20 && zero_loss < 200, "{zero_loss}");
    assert_eq!((whole.zero_loss, sum(|r| r.zero_loss)), (zero_loss, zero_loss));
    for (i, column) in whole.columns.iter().enumerate() {
        assert_eq!(column.attempts, 230 - whole.misclassified, "{}", column.method);
        let found: usize = parts.iter().map(|part| part.columns[i].found).sum();
        assert_eq!(column.found, found, "{}", column.method);
        let mean =
            |row: &Row| row.columns[i].l2.map_or(0.0, |l2| l2.mean * row.columns[i].found as f64);
        let sum: f64 = parts.iter().map(mean).sum();
        assert!((mean(&whole) - sum).abs() < 1e-6, "{}", column.method);
    }
    for i in [0, 1] {
        let [with, without] = [i, i + 2].map(|i| &whole.columns[i]);
        assert_eq!(
            (with.method.clone(), with.attempts),
            (without.method.clone(), without.attempts)
        );
        assert_eq!((with.found, without.found), (without.found - zero_loss, without.attempts));
    }
}

#[test]
fn rows_that_make_no_sense_are_errors() {
    let network = network();
    let nan = Plain::new([1, 1, 2], vec![Stage::linear(vec![vec![0.0, 0.0], vec![-1e36, 1e37]])]);
    let pairs = data(&[0, 30, 200], &[0, 0, 1]);
    let cases: [(&Plain, Dataset, usize, &str); 4] = [
        (&network, data(&[0], &[2]), 2, "label 2 at position 0 of pairs; labels must be 0–1"),
        (&network, pairs.clone(), 1, "Table 1 wants 2 targets, one a class, found 1"),
        (&network, pairs.clone(), 0, "Table 1 wants 2 targets, one a class, found 0"),
        (&nan, pairs, 2, "the network's output for image 2 of pairs is not finite; train it again"),
    ];
    for (network, data, count, wanted) in cases {
        let found = row(network, "x", &data, &targets()[..count], |_| ()).unwrap_err();
        assert_eq!(found.to_string(), wanted);
    }
}

#[test]
fn targets_are_the_first_of_their_class() {
    let pairs = data(&[1, 2, 3, 4, 5], &[1, 2, 1, 0, 2]);
    let found = first_of_each_class(&pairs, 3).unwrap();
    let names: Vec<_> =
        found.iter().map(|t| (t.name.as_str(), t.label, t.image.pixels()[1])).collect();
    let wanted = [("pairs:3", Some(0), 4), ("pairs:0", Some(1), 1), ("pairs:1", Some(2), 2)];
    assert_eq!(names, wanted);
    let missing = first_of_each_class(&pairs, 4).unwrap_err().to_string();
    assert_eq!(missing, "pairs has no image of class 3, wanted one a class");
}
