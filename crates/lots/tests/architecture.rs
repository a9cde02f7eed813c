//! ARCHITECTURE.md is true: its files exist, and so do the names and tests of its paper map, which holds every file with a
//! `Paper:` tag.

#![allow(clippy::unwrap_used, reason = "helpers of a test")]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A file with the names that follow it in a cell: `` `file`: `name`, `name` ``.
struct Named<'p> {
    file: &'p str,
    names: Vec<&'p str>,
}

/// The files of a cell; names before the first one belong to no file.
fn named<'p>(cell: &'p str, wrong: &mut Vec<String>) -> Vec<Named<'p>> {
    let mut all: Vec<Named<'p>> = Vec::new();
    for piece in cell.split('`').skip(1).step_by(2) {
        match all.last_mut() {
            _ if piece.contains('/') => all.push(Named { file: piece, names: Vec::new() }),
            Some(last) => last.names.push(piece),
            None => wrong.push(format!("`{piece}` follows no file")),
        }
    }
    all
}

/// Lines of code that bring `name` into being, by number.
fn definitions(source: &str, name: &str) -> Vec<usize> {
    let name = name.rsplit("::").next().unwrap_or(name);
    let defines = |line: &str| {
        ["fn ", "struct ", "enum ", "trait ", "const ", "type "].iter().any(|keyword| {
            let word = line.split(keyword).nth(1).unwrap_or_default();
            let rest = word.strip_prefix(name);
            rest.is_some_and(|r| !r.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
        })
    };
    let code = |line: &str| !line.trim_start().starts_with("//");
    let lines = source.lines().enumerate();
    lines.filter(|(_, line)| code(line) && defines(line)).map(|(i, _)| i).collect()
}

/// Whether the function at `line` is a test that runs: what stands right above it says so.
fn is_test(source: &str, line: usize) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).take(line).collect();
    let above = lines.iter().rev().take_while(|l| l.starts_with("#[") || l.starts_with("//"));
    let above: Vec<&&str> = above.collect();
    above.contains(&&"#[test]") && !above.iter().any(|l| l.starts_with("#[ignore"))
}

/// Every line with a `Paper:` tag under `folder`: (path from `root`, line number, line).
fn tags(root: &Path, folder: &Path, found: &mut Vec<(String, usize, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tags(root, &path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let parts = path.strip_prefix(root).unwrap().iter();
            let name = parts.map(|p| p.to_string_lossy()).collect::<Vec<_>>().join("/");
            for (i, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
                let line = line.trim();
                if line.starts_with("//") && line.contains("Paper:") {
                    found.push((name.clone(), i + 1, line.to_owned()));
                }
            }
        }
    }
}

/// Whether `text` names something of this repository from its root.
fn is_path(text: &str) -> bool {
    ["crates/", "bench/", "references/", ".ci/"].iter().any(|start| text.starts_with(start))
}

/// All that is wrong with `page`.
fn problems(page: &str, root: &Path) -> Vec<String> {
    let mut wrong = Vec::new();
    for path in page.split('`').skip(1).step_by(2).filter(|p| is_path(p)) {
        if !root.join(path).exists() {
            wrong.push(format!("no file or folder {path}"));
        }
    }
    let section = page.split("\n## ").find_map(|s| s.strip_prefix("Paper map\n"));
    let Some(section) = section else {
        wrong.push("there is no section \"Paper map\"".to_owned());
        return wrong;
    };
    // Behind the heading and the ruler.
    let rows: Vec<&str> = section.lines().filter(|l| l.starts_with('|')).skip(2).collect();
    if rows.is_empty() {
        wrong.push("the paper map has no rows".to_owned());
    }
    // The first file of a row is the home of its concept, and says so by a tag.
    let (mut homes, mut mapped) = (Vec::new(), Vec::new());
    for row in rows {
        let mut at_row = Vec::new();
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let &[_, files, tests] = cells.as_slice() else {
            wrong.push(format!("not three cells: {row}"));
            continue;
        };
        for (cell, tested) in [(files, false), (tests, true)] {
            let all = named(cell, &mut at_row);
            if all.is_empty() {
                at_row.push(format!("no {}", if tested { "test" } else { "file" }));
            }
            if !tested {
                homes.extend(all.first().map(|named| named.file));
                mapped.extend(all.iter().map(|named| named.file));
            }
            for Named { file, names } in all {
                let Ok(source) = fs::read_to_string(root.join(file)) else {
                    at_row.push(format!("no file {file}"));
                    continue;
                };
                if tested && names.is_empty() {
                    at_row.push(format!("no test of {file} is named"));
                }
                for name in names {
                    let lines = definitions(&source, name);
                    if lines.is_empty() {
                        at_row.push(format!("no `{name}` in {file}"));
                    } else if tested && !lines.iter().any(|&line| is_test(&source, line)) {
                        at_row.push(format!("`{name}` in {file} is no test that runs"));
                    }
                }
            }
        }
        wrong.extend(at_row.into_iter().map(|what| format!("{what}; row: {row}")));
    }
    let mut tagged = Vec::new();
    for entry in fs::read_dir(root.join("crates")).unwrap() {
        let folder = entry.unwrap().path().join("src");
        if folder.is_dir() {
            tags(root, &folder, &mut tagged);
        }
    }
    tagged.sort();
    let unmapped = tagged.iter().filter(|(file, ..)| !mapped.contains(&file.as_str()));
    wrong.extend(unmapped.map(|(file, line, tag)| format!("no row names {file}:{line} {tag}")));
    for file in homes {
        if !tagged.iter().any(|(tagged, ..)| tagged == file) {
            wrong.push(format!("{file} has a row, but no tag"));
        }
    }
    wrong
}

#[test]
fn the_page_is_true() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let wrong = problems(&page, &root());
    assert!(wrong.is_empty(), "ARCHITECTURE.md:\n{}", wrong.join("\n"));
}

#[test]
fn wrong_rows_are_found() {
    let network = "`crates/lots-nn/src/network.rs`";
    let test = "`crates/lots/tests/measures.rs`: `moved_images_are_similar_once_aligned`";
    let good = format!("| B_l | {network}: `Trace::back_project` | {test} |");
    let cases = [
        (
            format!("| | `crates/lots-nn/src/net.rs` | {test} |"),
            "no file crates/lots-nn/src/net.rs",
        ),
        (format!("| | {network}: `Trace::send` | {test} |"), "no `Trace::send` in"),
        (format!("| | {network}: `back` | {test} |"), "no `back` in"),
        (format!("| | `represent` | {test} |"), "`represent` follows no file"),
        (format!("| | | {test} |"), "no file;"),
        (format!("| | {network} | |"), "no test;"),
        (
            format!("| | {network} | `crates/lots/tests/gone.rs`: `x` |"),
            "no file crates/lots/tests",
        ),
        (format!("| | {network} | `crates/lots/tests/measures.rs` |"), "is named"),
        (format!("| | {network} | {test}, `spot` |"), "no `spot` in crates/lots/tests/measures.rs"),
        (
            format!("| | {network} | {test}, `spots` |"),
            "`spots` in crates/lots/tests/measures.rs is no",
        ),
        (
            format!("| | {network} | `crates/lots/tests/pass_reference.rs`: `speed` |"),
            "`speed` in crates/lots/tests/pass_reference.rs is no test that runs",
        ),
        (format!("| {network} | {test} |"), "not three cells"),
        (format!("| | `crates/lots-nn/src/lib.rs` | {test} |"), "has a row, but no tag"),
        (String::new(), "the paper map has no rows"),
        (String::new(), "no row names crates/lots-nn/src/network.rs:"),
    ];
    let found = |row: &str| {
        problems(&format!("# Page\n\n## Paper map\n\n| | | |\n|-|-|-|\n{row}\n"), &root())
    };
    let others = |wrong: Vec<String>| {
        wrong.into_iter().filter(|w| !w.starts_with("no row names")).collect::<Vec<_>>()
    };
    assert_eq!(others(found(&good)), Vec::<String>::new(), "a good row");
    let missed: Vec<_> =
        cases.iter().filter(|(row, what)| !found(row).iter().any(|w| w.contains(what))).collect();
    assert!(missed.is_empty(), "not found: {missed:#?}");
    assert_eq!(
        problems("`crates/lots-nn/src/net` is no folder", &root()),
        ["no file or folder crates/lots-nn/src/net", "there is no section \"Paper map\""]
    );
}
