use std::fs;

use tempfile::TempDir;

use crate::attack::workplace;
use crate::{lots, not_the_error};

/// A folder with a run of real attacks.
fn attacked() -> TempDir {
    let dir = workplace();
    let attack = "attack lenet.onnx --origin four.png --target mnist:test:9 --linf 40 --out found";
    assert!(lots(&dir, attack).code < 2);
    dir
}

#[test]
fn a_page_in_its_place() {
    let dir = attacked();
    let ran = lots(&dir, "report found");
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(ran.stdout.starts_with("found/report.html: 4 results, 0."), "{}", ran.stdout);
    let page = fs::read_to_string(dir.path().join("found/report.html")).unwrap();
    assert!(page.contains("<title>What it takes to mislead lenet.onnx</title>"));
    assert!(page.contains("href=\"./0001-lots-conv1.png\""));
    // Again, and elsewhere.
    let refused = "found/report.html exists; give another --out, or --force to replace it";
    assert_eq!(not_the_error(&lots(&dir, "report found"), refused), None);
    assert_eq!(lots(&dir, "report found --force").code, 0);
    assert_eq!(fs::read_to_string(dir.path().join("found/report.html")).unwrap(), page);
    fs::create_dir(dir.path().join("deep")).unwrap();
    assert_eq!(lots(&dir, "report found/records.jsonl --title A&B --out deep/a.html").code, 0);
    let page = fs::read_to_string(dir.path().join("deep/a.html")).unwrap();
    assert!(page.contains("<h1>A&#38;B</h1>"));
    assert!(page.contains("href=\"./../found/0001-lots-conv1.png\""));
}

#[test]
fn runs_side_by_side() {
    let dir = attacked();
    let ran = lots(&dir, "report found found");
    assert!(ran.stdout.starts_with("report.html: 8 results"), "{}", ran.stdout);
    let page = fs::read_to_string(dir.path().join("report.html")).unwrap();
    assert!(page.contains("<th scope=\"col\">found</th><th scope=\"col\">found (2)</th>"));
    fs::create_dir(dir.path().join("other")).unwrap();
    fs::rename(dir.path().join("found"), dir.path().join("other/found")).unwrap();
    let again = "attack lenet.onnx --origin four.png --method fgs --linf 9 --out found";
    assert!(lots(&dir, again).code < 2);
    let ran = lots(&dir, "report found other/found --force");
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let page = fs::read_to_string(dir.path().join("report.html")).unwrap();
    // Names that are the same do not tell them apart.
    assert!(page.contains("<th scope=\"col\">found</th><th scope=\"col\">other/found</th>"));
}

#[test]
fn no_page_or_a_whole_one() {
    let dir = attacked();
    fs::create_dir(dir.path().join("empty")).unwrap();
    for (line, wanted) in [
        ("report", "required"),
        ("report none", "cannot read none: "),
        ("report empty", "empty is no run: there is no records.jsonl in it; give a folder that"),
        ("report lenet.onnx", "lenet.onnx holds no record that lots "),
        ("report found empty", "empty is no run"),
        ("report found --out empty", "cannot write empty: it is a folder, wanted a file name"),
        ("report found --out none/a.html", "there is no folder none; make it first"),
    ] {
        assert_eq!(not_the_error(&lots(&dir, line), wanted), None, "{line}");
    }
    assert!(!dir.path().join("found/report.html").exists());

    // A run that was stopped, of which an image is gone.
    let records = dir.path().join("found/records.jsonl");
    let text = fs::read(&records).unwrap();
    fs::write(&records, &text[..text.len() - 30]).unwrap();
    fs::remove_file(dir.path().join("found/0002-lots-conv2.png")).unwrap();
    let ran = lots(&dir, "report found");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(
        ran.stderr.starts_with("found: The last line is cut") && ran.stderr.lines().count() == 1
    );
    let page = fs::read_to_string(dir.path().join("found/report.html")).unwrap();
    assert!(page.contains("1 image that records name is not to be had"));
    assert!(page.ends_with("</html>\n") || page.ends_with("</html>"), "half a page");
}
