//! Figures: what stands in them, pixel by pixel where it is an image.

#![allow(clippy::unwrap_used, reason = "helpers of a test")]

use std::fs;
use std::path::{Path, PathBuf};

use lots::attack::{Argmax, Attack, Extent, Goal, Magnify, Method, Reduce, attack};
use lots::figure::{Cell, Grid, Theme, rasterize};
use lots::report::{Exhibit, read_exhibits};
use lots::{Image, NamedImage, Record, Results, linf, perturbation};
use lots_nn::{Network, lenet};
use serde_json::{Value, json};
use tempfile::tempdir;

const SIDE: usize = 6;

fn image(seed: usize, channels: usize) -> Image {
    let pixels = (0..SIDE * SIDE * channels).map(|i| (i * 37 + seed * 5) as u8).collect();
    Image::new(SIDE, SIDE, channels, pixels).unwrap()
}

fn named(channels: usize) -> NamedImage {
    NamedImage { image: image(0, channels), name: "mnist:test:4".to_owned(), label: Some(4) }
}

/// The caption of the paper's figure 3 (c); what `changes` names is different.
fn exhibit(image: Option<Image>, changes: &Value) -> Exhibit {
    let mut all = json!({
        "model": "lenet.onnx", "origin": "mnist:test:4", "origin_label": 4, "origin_name": "4",
        "origin_class": 4, "method": "lots", "layer": "conv1", "layer_index": 1, "units": null,
        "target": "mnist:test:9", "target_label": 9, "hot": null, "goal": "any", "fixed_linf": null,
        "outcome": "adversarial", "label": 9, "label_name": "9", "step": 59.0, "missed": 58.99,
        "l2": 283.4, "linf": 59, "pass": 0.951_44, "alignment": null, "image": "0001.png",
        "perturbation": null, "perturbation_scale": null,
    });
    for (name, value) in changes.as_object().unwrap() {
        all[name] = value.clone();
    }
    Exhibit { record: serde_json::from_value(all).unwrap(), image }
}

/// A figure with all that a figure can have.
fn full(channels: usize) -> Grid {
    let origin = named(channels);
    let missing = json!({ "outcome": "not_found", "image": null, "label": null, "label_name": null, "pass": null, "l2": null, "linf": null });
    let result = |exhibit: &Exhibit| Cell::result(&origin.image, exhibit).unwrap();
    let found = exhibit(Some(image(3, channels)), &json!({}));
    let fixed = json!({ "method": "magnify", "fixed_linf": 128, "layer": "a layer of a very long name, which is broken between its words, and where it-has-one-word-that-is-longer-than-all-of-the-line" });
    let fixed = exhibit(Some(image(7, channels)), &fixed);
    Grid {
        title: "What a layer sees".to_owned(),
        text: "A paragraph below the title that is long enough for more than one line. ".repeat(4),
        origin: Some(Cell::given("Origin", "4", &origin)),
        columns: vec!["origin".to_owned(), "towards a 9".to_owned(), "magnified".to_owned()],
        rows: vec![
            vec![Cell::given("Origin", "4", &origin).lettered('a'), result(&found).lettered('b')],
            vec![result(&exhibit(None, &missing)), result(&fixed).without_note(), result(&found)],
        ],
        notes: vec!["A note.".to_owned(), "Another one. ".repeat(40)],
    }
}

fn drawn(grid: &Grid, theme: Theme) -> (String, Image) {
    let svg = grid.svg(theme).unwrap();
    let image = Image::from_png(&rasterize(&svg, 1.0).unwrap(), "the figure").unwrap();
    (svg, image)
}

/// The number that an attribute holds.
fn attribute(element: &str, name: &str) -> usize {
    let value = element.split(&format!(" {name}=\"")).nth(1).unwrap().split('"').next().unwrap();
    value.parse().unwrap()
}

/// Every pixel of an image is a square of the figure, in its very colour: nothing is smoothed, shifted or covered.
#[test]
fn images_stand_in_the_figure_pixel_by_pixel() {
    for channels in [1, 3] {
        let (svg, figure) = drawn(&full(channels), Theme::Light);
        let origin = image(0, channels);
        let pair = |seed| {
            let perturbed = image(seed, channels);
            [perturbation(&origin, &perturbed).0, perturbed]
        };
        let ([p3, i3], [p7, i7]) = (pair(3), pair(7));
        let wanted = [&origin, &origin, &i3, &p3, &i7, &p7, &i3, &p3];
        let elements: Vec<&str> = svg.split("<image").skip(1).collect();
        assert_eq!(elements.len(), wanted.len());
        for (n, (element, wanted)) in elements.into_iter().zip(wanted).enumerate() {
            let [x, y, width, height] =
                ["x", "y", "width", "height"].map(|a| attribute(element, a));
            let factor = width / SIDE;
            assert!(factor > 10 && (width, height) == (SIDE * factor, SIDE * factor), "{width}");
            for row in 0..height {
                for column in 0..width {
                    let at = ((y + row) * figure.width() + x + column) * 3;
                    let of = (row / factor * SIDE + column / factor) * channels;
                    let pixel = |i: usize| wanted.pixels()[of + i.min(channels - 1)];
                    let found = &figure.pixels()[at..at + 3];
                    assert_eq!(found, [0, 1, 2].map(pixel), "image {n} at {column}, {row}");
                }
            }
        }
    }
}

#[test]
fn captions_are_the_papers() {
    let (svg, _) = drawn(&full(1), Theme::Light);
    let texts: Vec<&str> = svg
        .split("<text")
        .skip(1)
        .map(|text| text.split('>').nth(1).unwrap().split('<').next().unwrap())
        .collect();
    for wanted in [
        "What a layer sees",
        "(a) Origin",
        "(b) conv1 (1): 9",
        "conv1 (1): 9",
        "0.9514 | 283 | 59",
        "Towards the target, until the class changes.",
        "conv1 (1)",
        "No step in this direction changes the class.",
    ] {
        assert!(texts.contains(&wanted), "{wanted} in {texts:?}");
    }
    // The scale of each perturbation is its largest change.
    for seed in [3, 7] {
        let reach = linf(&image(0, 1), &image(seed, 1)).unwrap().0;
        for end in [format!("−{reach}"), format!("+{reach}")] {
            assert!(texts.contains(&end.as_str()), "{end} in {texts:?}");
        }
    }
}

#[test]
fn themes_differ_in_colours_alone() {
    let [light, dark] = [Theme::Light, Theme::Dark].map(|theme| full(3).svg(theme).unwrap());
    assert_ne!(light, dark);
    let without_colours = |svg: &str| {
        let pieces = svg.split("fill=\"#").flat_map(|piece| piece.split("stroke=\"#"));
        pieces.map(|piece| piece.get(6..).unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(without_colours(&light), without_colours(&dark));
}

/// Whatever layers and classes are called, the figure can be read.
#[test]
fn names_may_be_anything() {
    let name = "<script>&amp;\"'\u{7}\n\u{ffff}字</svg>";
    let changes = json!({ "layer": name, "label_name": name });
    let origin = named(1);
    let result = exhibit(Some(image(3, 1)), &changes);
    let grid = Grid {
        title: name.to_owned(),
        columns: vec![name.to_owned()],
        rows: vec![vec![
            Cell::result(&origin.image, &result).unwrap(),
            Cell::given(name, "", &origin),
        ]],
        ..Grid::default()
    };
    let (svg, figure) = drawn(&grid, Theme::Dark);
    assert!(!svg.contains("<script") && svg.matches("</svg>").count() == 1, "{svg}");
    assert!(figure.width() > 100);
}

#[test]
fn nothing_to_show_is_a_figure_too() {
    let (_, figure) = drawn(&Grid::default(), Theme::Light);
    assert!(figure.pixels().iter().all(|&x| x == 255));
    let grid = Grid { rows: vec![vec![]], columns: vec!["none".to_owned()], ..Grid::default() };
    drawn(&grid, Theme::Light);
}

#[test]
fn images_of_another_shape_are_refused() {
    let e = Cell::result(&image(0, 1), &exhibit(Some(image(1, 3)), &json!({}))).unwrap_err();
    assert_eq!(
        e.to_string(),
        "0001.png is Image 6×6×3, wanted the shape of its origin, Image 6×6×1"
    );
}

/// From a network to a figure: the images are those of the records.
#[test]
fn a_networks_results_are_what_is_shown() {
    let network = lenet(0);
    let pixels = (0..784).map(|i| (i * 3 % 256) as u8).collect();
    let origin = Image::new(28, 28, 1, pixels).unwrap();
    let images = [NamedImage { image: origin.clone(), name: "pattern".to_owned(), label: None }];
    let conv1 = network.find_layers("conv1").unwrap()[0];
    let methods: [&dyn Method; 2] = [&Magnify(conv1), &Reduce(conv1)];
    let decision = Argmax::of(&network).unwrap();
    let dir = tempdir().unwrap();
    let mut results = Results::create(dir.path(), false).unwrap();
    let attacks = methods.map(|method| Attack {
        origin: 0,
        target: None,
        method,
        goal: Goal::Any,
        extent: Extent::Linf(40),
        units: None,
    });
    let info = network.layers().iter().find(|layer| layer.id == conv1).unwrap();
    for (one, attacked) in attacks.iter().zip(attack(&network, &decision, &images, &attacks)) {
        let attacked = attacked.unwrap();
        let mut record = Record::new("lenet", info, &decision, &images, one, &attacked).unwrap();
        let image = attacked.outcome.image().map(|found| &found.image);
        results.add(&mut record, &origin, image).unwrap();
    }
    let exhibits = read_exhibits(dir.path()).unwrap();
    let cells = exhibits.iter().map(|exhibit| Cell::result(&origin, exhibit).unwrap());
    let grid = Grid { rows: vec![cells.collect()], ..Grid::default() };
    let (svg, _) = drawn(&grid, Theme::Light);
    for (exhibit, done) in exhibits.iter().zip(["Magnified", "Reduced"]) {
        let record = &exhibit.record;
        let (pass, l2, linf) = (record.pass.unwrap(), record.l2.unwrap().0, record.linf.unwrap().0);
        let numbers = format!(">{pass:.4} | {l2:.0} | {linf}<");
        assert!(svg.contains(&numbers), "{numbers} in {svg}");
        assert!(svg.contains(&format!(">{done}, L∞ fixed at 40")));
    }
}

/// What a figure looks like. Oracle: the files, which somebody has looked at. Only edges of letters and lines may differ, by
/// rounding where another processor's instructions draw them: at most one pixel in 2,000 by more than 8 grey levels. A
/// caption that moves by a pixel changes ten times as many.
#[test]
fn figures_look_as_they_did() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    for (name, theme, channels) in [("light", Theme::Light, 1), ("dark", Theme::Dark, 3)] {
        let path = folder.join(format!("figure_{name}.png"));
        let (_, found) = drawn(&full(channels), theme);
        let got = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("figure_{name}.png"));
        found.write_png(&got).unwrap();
        let wanted = fs::read(&path).map(|png| Image::from_png(&png, "the snapshot").unwrap());
        let wanted =
            wanted.unwrap_or_else(|e| panic!("{}: {e}; got {}", path.display(), got.display()));
        let size = |image: &Image| [image.width(), image.height(), image.channels()];
        assert_eq!(size(&found), size(&wanted), "see {}", got.display());
        let pixels = found.pixels().chunks(3).zip(wanted.pixels().chunks(3));
        let differ = |(a, b): &(&[u8], &[u8])| a.iter().zip(*b).any(|(a, b)| a.abs_diff(*b) > 8);
        let off = pixels.filter(differ).count();
        let all = found.width() * found.height();
        assert!(off * 2000 <= all, "{off} of {all} pixels differ; see {}", got.display());
    }
}
