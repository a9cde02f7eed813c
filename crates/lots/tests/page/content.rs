use std::collections::BTreeSet;
use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lots::Image;
use serde_json::json;

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
