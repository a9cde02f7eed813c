use std::process::Command;
use std::{env, fs};

use serde_json::json;

use crate::browser::Browser;
use crate::{page, record, some_records, write};

/// Finds what readers of a page would miss: names of pictures and fields, captions, headings in order, and text that is too
/// faint on its ground (WCAG 2.2, level AA: 4.5, and 3 for large letters).
const AUDIT: &str = r"(() => {
  const found = [];
  const tell = (what, e) => found.push(`${what}: ${e.outerHTML.slice(0, 120)}`);
  for (const e of document.querySelectorAll('img')) if (!(e.alt.length > 5)) tell('no text', e);
  for (const e of document.querySelectorAll('[role=img], [role=region]')) {
    if (!e.ariaLabel && !e.querySelector('title') && !document.getElementById(e.getAttribute('aria-labelledby'))) tell('no name', e);
  }
  for (const e of document.querySelectorAll('input, select')) if (!e.labels.length) tell('no label', e);
  for (const e of document.querySelectorAll('table')) if (!e.caption?.textContent.trim()) tell('no caption', e);
  for (const e of document.querySelectorAll('thead th, tbody th')) if (!e.scope) tell('no scope', e);
  let level = 0;
  for (const e of document.querySelectorAll('h1, h2, h3, h4')) {
    const next = Number(e.tagName[1]);
    if (next > level + 1) tell('a level is left out', e);
    level = next;
  }
  if (document.querySelectorAll('h1').length !== 1) found.push('not one h1');

  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const bytes = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (rgb) => rgb.slice(0, 3).map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const color = bytes(getComputedStyle(e).backgroundColor);
      if (color[3] === 255) return color;
    }
    return [255, 255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = new Set();
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || seen.has(e) || e.closest('script, style, title, option, .hidden')) continue;
    seen.add(e);
    const style = getComputedStyle(e);
    const [a, b] = [light(bytes(e.closest('svg') ? style.fill : style.color)), light(ground(e))].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < (Number.parseFloat(style.fontSize) >= 24 ? 3 : 4.5)) tell(`contrast ${contrast.toFixed(2)}`, e);
  }
  if (seen.size < 50) found.push(`only ${seen.size} texts were looked at`);
  return found;
})()";

const BACKGROUND: &str = "getComputedStyle(document.body).backgroundColor";
const ORIGIN: &str = "getComputedStyle(document.querySelector('.swap .under')).visibility";
/// What stands in a column of the last table, from 0.
const L2: &str = "[...document.querySelectorAll('.rows')].at(-1).querySelectorAll('tbody tr')";

#[test]
fn a_page_can_be_read_and_used() {
    let Some(mut browser) = Browser::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    write(&first, some_records());
    write(&second, some_records().into_iter().take(4));
    page(&[&first, &second]);
    let path = dir.path().join("report.html");

    for width in [390, 1440] {
        browser.prefer("light");
        browser.open(&path, width);
        let root = "document.documentElement";
        let over = browser.eval(&format!("{root}.scrollWidth - {root}.clientWidth"));
        assert_eq!(over, 0, "the page is wider than its window of {width} pixels");
        for colors in ["light", "dark"] {
            browser.prefer(colors);
            assert_eq!(browser.eval(AUDIT), json!([]), "{width} pixels, {colors}");
        }
        assert_eq!(browser.problems(), [""; 0]);
    }

    // The colours follow the system, unless they are chosen.
    browser.prefer("light");
    let light = browser.eval(BACKGROUND);
    browser.prefer("dark");
    let dark = browser.eval(BACKGROUND);
    assert_ne!(light, dark);
    browser.click("#light");
    browser.expect(BACKGROUND, light.clone());
    browser.prefer("light");
    browser.click("#dark");
    browser.expect(BACKGROUND, dark);
    // By keyboard, from there to the left.
    browser.press("ArrowLeft", "ArrowLeft", "", 37);
    browser.expect(BACKGROUND, light);

    // By mouse, once up and once down; by keyboard again. What has no size comes last.
    let column = "[...[...document.querySelectorAll('.rows')].at(-1).tHead.rows[0].cells].findIndex((c) => c.textContent === 'L2')";
    let column = browser.eval(column).as_u64().unwrap();
    let sizes = format!("[...{L2}].map((row) => row.cells[{column}].textContent)");
    let header = format!("main section:last-child .rows th:nth-child({})", column + 1);
    let sorted = |browser: &mut Browser, way: &str| {
        browser.expect(&format!("document.querySelector('{header}').ariaSort"), way);
        let sizes = browser.eval(&sizes);
        let sizes: Vec<&str> =
            sizes.as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect();
        let (numbers, rest) = sizes.split_at(sizes.iter().position(|&size| size == "–").unwrap());
        assert!(rest.iter().all(|&size| size == "–") && rest.len() == 3, "{sizes:?}");
        let numbers: Vec<f64> = numbers.iter().map(|size| size.parse().unwrap()).collect();
        assert_eq!(numbers.len(), 11);
        let falls = way == "descending";
        assert!(numbers.is_sorted_by(|a, b| if falls { a >= b } else { a <= b }), "{sizes:?}");
    };
    browser.click(&format!("{header} button"));
    sorted(&mut browser, "ascending");
    browser.click(&format!("{header} button"));
    sorted(&mut browser, "descending");
    browser.eval(&format!("document.querySelector('{header} button').focus()"));
    browser.press("Enter", "Enter", "\r", 13);
    sorted(&mut browser, "ascending");
    browser.press(" ", "Space", " ", 32);
    sorted(&mut browser, "descending");

    // The origin is there while the mouse is, or once the space bar asks for it.
    browser.point("h1");
    browser.expect(ORIGIN, "hidden");
    browser.point(".swap");
    browser.expect(ORIGIN, "visible");
    browser.point("h1");
    browser.expect(ORIGIN, "hidden");
    browser.eval("document.querySelector('.swap input').focus()");
    browser.press(" ", "Space", " ", 32);
    browser.expect(ORIGIN, "visible");
    let outline = browser.eval("getComputedStyle(document.querySelector('.swap')).outlineStyle");
    assert_eq!(outline, "solid", "the focus is seen");
    browser.press(" ", "Space", " ", 32);
    browser.expect(ORIGIN, "hidden");

    // Perturbations go to lie on their images, and back.
    let apart = "(() => { const [a, b] = document.querySelectorAll('.result .frame'); return b.getBoundingClientRect().y - a.getBoundingClientRect().y; })()";
    let below = browser.eval(apart).as_f64().unwrap();
    assert!(below > 50.0);
    browser.eval("document.querySelector('#overlay').focus()");
    browser.press(" ", "Space", " ", 32);
    browser.expect(apart, json!(0));
    browser.click("#overlay");
    browser.expect(apart, below);

    // One layer alone; rows without it go.
    browser.eval("document.querySelector('#layer').focus()");
    browser.press("i", "KeyI", "i", 73);
    browser.expect("document.querySelector('#layer').value", "ip1");
    for (selector, count) in [(".result", 3), (".row-group .plates", 3)] {
        let all = format!("[...document.querySelectorAll('{selector}')]");
        browser.expect(&format!("{all}.filter((e) => e.checkVisibility()).length"), count);
    }

    assert_eq!(browser.problems(), [""; 0]);
}

#[test]
fn layers_of_any_name_are_chosen() {
    let Some(mut browser) = Browser::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let layers = ["a  b", "", "a b", " "];
    write(&run, layers.map(|layer| record(&json!({ "layer": layer, "layer_index": null }))));
    page(&[&run]);
    browser.open(&dir.path().join("report.html"), 800);
    let choose = |i: usize| {
        format!(
            "(() => {{ const s = document.querySelector('#layer'); s.selectedIndex = {i}; s.dispatchEvent(new Event('change')); \
             return [...document.querySelectorAll('.result')].filter((e) => e.checkVisibility()).map((e) => e.dataset.layer); }})()"
        )
    };
    for (i, layer) in layers.iter().enumerate() {
        assert_eq!(browser.eval(&choose(i + 1)), json!([layer]));
    }
    assert_eq!(browser.eval(&choose(0)), json!(layers));
    let texts = browser.eval("[...document.querySelectorAll('#layer option')].map((e) => e.label)");
    assert_eq!(texts, json!(["all", "a b", "without a name", "a b", "without a name"]));
}

/// What a test prints that passes is kept back, but not this.
#[test]
fn a_test_without_a_browser_says_so() {
    let ran = Command::new(env::current_exe().unwrap())
        .args(["--exact", "usage::a_page_can_be_read_and_used"])
        .env("PATH", "")
        .env_remove("LOTS_CHROMIUM")
        .env_remove("CI")
        .output()
        .unwrap();
    assert!(ran.status.success());
    let said = String::from_utf8(ran.stderr).unwrap();
    assert!(said.starts_with("skipped: no Chromium on the path"), "{said}");
}

/// The checks above would see what must not be.
#[test]
fn what_must_not_be_is_seen() {
    let Some(mut browser) = Browser::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    write(&run, some_records());
    let html = page(&[&run]);
    let path = dir.path().join("report.html");
    let cases = [
        ("<script>console.error('oh')</script>", "oh"),
        ("<script>throw new Error('oh no')</script>", "oh no"),
        ("<img src='http://localhost:9/x.png' alt='nothing there'>", "Content Security Policy"),
        ("<img src='run/0001-lots-conv1.png' alt='beside the page'>", "Content Security Policy"),
        ("<img src='FILE' alt='beside the page'>", "Content Security Policy"),
        ("<style>@import 'http://localhost:9/x.css';</style>", "Content Security Policy"),
    ];
    let file = format!("file://{}", run.join("0001-lots-conv1.png").display());
    for (evil, wanted) in cases {
        let evil = evil.replace("FILE", &file);
        fs::write(&path, html.replace("</main>", &format!("{evil}</main>"))).unwrap();
        browser.open(&path, 800);
        let problems = browser.problems();
        assert!(problems.iter().any(|problem| problem.contains(wanted)), "{evil}: {problems:?}");
    }
    // Without the policy, the request itself is what is seen.
    let open = html.replace("Content-Security-Policy", "x").replace("</main>", cases[2].0);
    fs::write(&path, open).unwrap();
    browser.open(&path, 800);
    let problems = browser.problems();
    assert!(
        problems.iter().any(|p| p.starts_with("a request to http://localhost:9/x.png")),
        "{problems:?}"
    );

    let faint = "<p style='color: #999'>faint</p><img src='data:,' alt=''><h4>deep</h4><input>";
    fs::write(&path, html.replace("</main>", faint)).unwrap();
    browser.open(&path, 800);
    let found = browser.eval(AUDIT).to_string();
    for wanted in ["contrast 2.", "no text", "a level is left out", "no label"] {
        assert!(found.contains(wanted), "{wanted}: {found}");
    }
}
