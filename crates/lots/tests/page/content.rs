use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lots::{Image, Results};
use serde_json::{Value, json};

use crate::{page, record, some_records, write};

/// The text between two others.
fn between<'p>(page: &'p str, start: &str, end: &str) -> &'p str {
    let (_, rest) = page.split_once(start).unwrap_or_else(|| panic!("no {start}"));
    rest.split_once(end).unwrap().0
}

/// The page with its pictures replaced by their sizes and a digest of their pixels.
fn with_digests(page: &str) -> String {
    let mut parts = page.split("data:image/png;base64,");
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        let end = part.find(['"', ')']).unwrap();
        let image = Image::from_png(&STANDARD.decode(&part[..end]).unwrap(), "x").unwrap();
        // FNV-1a, which needs no crate.
        let digest = image.pixels().iter().fold(0xcbf2_9ce4_8422_2325_u64, |digest, &byte| {
            (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        text += &format!("{image:?} {digest:016x}{}", &part[end..]);
    }
    text
}

#[test]
fn the_page_is_this() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    write(&run, some_records());
    let page = with_digests(&page(&[&run]));
    // Style and script are files of their own.
    let (style, script) =
        (between(&page, "<style>", "</style>"), between(&page, "<script>", "</script>"));
    let page = page.replace(style, "…").replace(script, "…");
    let page = page.replace(concat!("lots ", env!("CARGO_PKG_VERSION")), "lots …");
    insta::assert_snapshot!(page);
}

#[test]
fn numbers_are_those_of_the_records() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    write(&run, some_records());
    let page = page(&[&run]);
    // Seven of nine attempts: one origin is misread, and of the rest one is not found and one has no direction.
    assert!(page.contains("10 results from 2 origins by 2 methods at 4 layers. 7 of 9 attempts reached their goal, 77.78 %"), "{page}");
    let facts = between(&page, "<table class=\"facing\">", "</table>");
    for (name, value) in [
        ("results", "10"),
        ("origins", "2"),
        ("methods", "LOTS, FGS"),
        ("layers", "conv1 (1), conv2 (2), ip1 (3), ip2 (4)"),
        ("origins that are misread", "1"),
        ("no direction", "1"),
        ("successes", "7 of 9, 77.78 %"),
        // Of 197, 498.5, 548.75, 699.5, 900.5 twice and 1234.5.
        ("median L2 of successes", "699.5"),
    ] {
        let wanted = format!("<th scope=\"row\">{name}</th><td>{value}</td>");
        assert!(facts.contains(&wanted), "{wanted}: {facts}");
    }
    let groups = between(&page, "id=\"groups\"", "</table>");
    let cells = |words: &[&str]| {
        let cell = |(i, word): (usize, &&str)| match i {
            0 | 1 => format!("<td class=\"word\">{word}</td>"),
            _ => format!("<td>{word}</td>"),
        };
        words.iter().enumerate().map(cell).collect::<String>()
    };
    for row in [
        ["LOTS", "conv1 (1)", "2", "2", "100.00 %", "900.5", "56.5", "0.5000"],
        ["LOTS", "ip2 (4)", "1", "0", "0.00 %", "–", "–", "–"],
        ["FGS", "ip2 (4)", "1", "1", "100.00 %", "1234.5", "59.0", "0.9514"],
        ["FGS", "conv1 (1)", "1", "0", "0.00 %", "–", "–", "–"],
    ] {
        assert!(groups.contains(&cells(&row)), "{row:?}: {groups}");
    }
    assert_eq!(between(&page, "id=\"results\"", "</table>").matches("<tr>").count(), 11);
    assert!(page.contains("All 7 results with an image are here."));
    assert_eq!(page.matches("class=\"result\"").count(), 10, "those that left nothing, too");
    // Two images and a link to each, for each result; an origin for each row.
    assert_eq!(page.matches("<img ").count(), 14);
    assert_eq!(page.matches("--origin: url(").count(), 3);
    assert_eq!(page.matches("href=\"./run/").count(), 14 + 7);
    // Of all methods three, and one by layer for each of both.
    assert_eq!(page.matches("class=\"plot\"").count(), 5);
}

#[test]
fn origins_come_back_out_of_what_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let records = [record(&json!({}))];
    write(&run, records);
    let page = page(&[&run]);
    let png = STANDARD.decode(between(&page, "--origin: url(data:image/png;base64,", ")")).unwrap();
    let found = Image::from_png(&png, "x").unwrap();
    let wanted = crate::image("mnist:test:4".len() + 4);
    let pairs = found.pixels().iter().zip(wanted.pixels());
    assert!(pairs.clone().all(|(f, w)| f.abs_diff(*w) <= 1), "{found:?}");
}

#[test]
fn whatever_records_say_is_text() {
    let evil = "</style><script>alert('x')</script>\"&<b>";
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("a <b> & \"c\"");
    let changes = json!({
        "model": evil, "origin": evil, "origin_name": evil, "method": evil, "layer": evil, "target": evil,
        "target_name": evil, "goal": evil, "label_name": evil, "units": evil, "hot": 3, "hot_name": evil,
    });
    let other = record(&json!({ "layer": evil }));
    write(&run, [record(&changes), record(&changes), other]);
    let page = page(&[&run]);
    let outside = page.replacen("<script>", "", 1);
    assert!(!outside.contains("<script>") && !page.contains("<b>&"), "a tag got in");
    assert_eq!((page.matches("</script>").count(), page.matches("</style>").count()), (1, 1));
    assert!(page.matches("&#60;script&#62;").count() > 15);
    // The plots' own way of escaping.
    assert!(page.contains("&lt;script&gt;"));
    assert!(page.contains("href=\"./a%20%3Cb%3E%20%26%20%22c%22/0001-"), "{page}");
}

#[test]
fn many_results_are_sampled_and_counted_whole() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    write(&run, [record(&json!({}))]);
    // All share the files of the first.
    let layers = ["conv1", "conv2", "ip1", "ip2"];
    let lines = (0..2400).map(|i| {
        let record = record(&json!({
            "layer": layers[i % 4], "origin": format!("mnist:test:{}", i / 4), "l2": i,
            "image": "0001-lots-conv1.png", "perturbation": "0001-lots-conv1-perturbation.png",
            "perturbation_scale": 1.0,
        }));
        serde_json::to_string(&record).unwrap() + "\n"
    });
    fs::write(run.join("records.jsonl"), lines.collect::<String>()).unwrap();
    let html = page(&[&run]);
    assert!(html.contains("Of 2,400 results with an image, 1,000 are here, evenly spread"));
    assert_eq!(html.matches("class=\"result\"").count(), 1000);
    assert_eq!(between(&html, "id=\"results\"", "</table>").matches("<tr>").count(), 2401);
    // Whole rows, from both ends of the file.
    let numbers = html.split("<p class=\"note\">mnist:test:").skip(1);
    let rows: BTreeSet<usize> =
        numbers.map(|rest| rest.split('<').next().unwrap().parse().unwrap()).collect();
    assert_eq!(rows.len(), 250);
    assert!(rows.first() < Some(&3) && rows.last() > Some(&596), "{rows:?}");
    assert!(html.len() < 5_000_000, "{} bytes", html.len());
    assert_eq!(page(&[&run]), html, "the same records make the same page");
}

/// A run of `records`, each naming the images of the first.
fn write_many(folder: &Path, changes: impl IntoIterator<Item = Value>) {
    let mut results = Results::create(folder, false).unwrap();
    let noise = |mut state: u32| {
        let byte = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        Image::new(96, 96, 3, std::iter::repeat_with(byte).take(96 * 96 * 3).collect()).unwrap()
    };
    let mut first = record(&json!({}));
    results.add(&mut first, &noise(1), Some(&noise(2))).unwrap();
    let lines = changes.into_iter().map(|changes| {
        let mut line = serde_json::to_value(&first).unwrap();
        line.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        line.to_string() + "\n"
    });
    fs::write(folder.join("records.jsonl"), lines.collect::<String>()).unwrap();
}

/// What galleries are called, and how many results each shows.
fn galleries(html: &str) -> Vec<(&str, usize)> {
    let galleries = html.split("<h3 class=\"gallery\">").skip(1);
    let title = |gallery: &'_ str| gallery.find("</h3>").unwrap();
    galleries
        .map(|gallery| (&gallery[..title(gallery)], gallery.matches("class=\"result\"").count()))
        .collect()
}

#[test]
fn a_page_of_noise_stays_small() {
    let dir = tempfile::tempdir().unwrap();
    // All of one origin; and of many methods, of which each has its place.
    for (methods, results) in [(1, 300), (1, 1000), (12, 25)] {
        let run = dir.path().join(format!("{methods} {results}"));
        let all = (0..methods * results)
            .map(|i| json!({ "method": format!("method {}", i % methods), "l2": i }));
        write_many(&run, all);
        let html = page(&[&run]);
        assert!(html.len() < 5_000_000, "{methods} methods: {} bytes", html.len());
        let galleries = galleries(&html);
        assert_eq!(galleries.len(), methods);
        assert!(galleries.iter().all(|&(_, shown)| shown > 0), "{galleries:?}");
        let shown: usize = galleries.iter().map(|&(_, shown)| shown).sum();
        assert!(shown >= 12, "{shown} of {methods} methods");
    }
}

#[test]
fn small_groups_are_shown_beside_large_ones() {
    let dir = tempfile::tempdir().unwrap();
    let (large, small) = (dir.path().join("large"), dir.path().join("small"));
    let records = (0..2003).map(|i| {
        let (method, origin) = if i % 1000 == 7 { ("fgs", i) } else { ("lots", i / 5) };
        json!({ "method": method, "origin": format!("mnist:test:{origin}") })
    });
    write_many(&large, records);
    write_many(&small, [json!({})]);
    let html = page(&[&large, &small]);
    let found = galleries(&html);
    let titles: Vec<&str> = found.iter().map(|gallery| gallery.0).collect();
    assert_eq!(titles, ["large: LOTS", "large: FGS", "small: LOTS"]);
    assert!(found.iter().all(|gallery| gallery.1 > 0), "{found:?}");
    assert!(html.len() < 5_000_000);
}

#[test]
fn networks_have_rows_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let models = ["a.onnx", "b.onnx", "a.onnx"];
    write(&run, models.map(|model| record(&json!({ "model": model }))));
    assert_eq!(page(&[&run]).matches("<div class=\"plates\"").count(), 2);
}

#[test]
fn every_run_has_its_curves() {
    let dir = tempfile::tempdir().unwrap();
    let runs = ["first", "second"].map(|name| dir.path().join(name));
    for (run, layers) in runs.iter().zip([10, 9]) {
        let layer = |i: i32| record(&json!({ "layer": format!("layer{i}"), "layer_index": i }));
        write(run, (0..layers).map(layer));
    }
    let page = page(&[&runs[0], &runs[1]]);
    let plots: Vec<&str> = page.split("<svg class=\"plot\"").skip(1).collect();
    assert_eq!(plots.len(), 3);
    for plot in plots {
        let plot = plot.split("</figure>").next().unwrap();
        for title in ["first", "second"] {
            assert!(plot.contains(&format!(">\n{title}\n</text>")), "{title}");
        }
        // Eight in each panel, and eight in the legend.
        assert_eq!(plot.matches("stroke-width=\"2\"").count(), 24, "{plot}");
        assert!(plot.contains(" 3 curves more would not be told apart; the table has all."));
    }
}
