//! `lots report`

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use lots::report::{ReportPage, Run};
use lots::write_file;

use crate::Outcome;
use crate::output::{print, tell};

/// The page, where no other name is given.
const PAGE: &str = "report.html";

#[derive(Args)]
#[command(after_help = "\
One self-contained HTML page: counts and medians, curves of success against
size, pictures with their origins, and tables that can be sorted. Several runs
stand side by side. Images of more than some hundred pixels are shown smaller,
and of very many results an even sample; the page links to the full images where
they lie, so leave page and runs where they are to each other.

Records of other versions, cut lines and missing images are told in the page.

Examples:
  lots attack lenet.onnx --origin mnist:test:4 --target mnist:test:9 --out found
  lots report found
  lots report found reduced --title \"A four\" --out both.html")]
pub(crate) struct Arguments {
    /// Folder of results, or file of records; repeat for runs side by side
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// File to write; by default report.html, in the folder of a single run, else here
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace files that exist
    #[arg(long)]
    force: bool,
    /// Headline; by default the names of the networks
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let runs = arguments.runs.iter().map(|path| Run::open(path)).collect::<Result<Vec<_>, _>>()?;
    let runs = distinguished(runs, &arguments.runs);
    let out = match (&arguments.out, &runs[..]) {
        (Some(out), _) => out.clone(),
        (None, [run]) => run.folder.join(PAGE),
        (None, _) => PathBuf::from(PAGE),
    };
    let shown = out.display();
    if out.is_dir() {
        bail!("cannot write {shown}: it is a folder, wanted a file name");
    }
    if out.exists() && !arguments.force {
        bail!("{shown} exists; give another --out, or --force to replace it");
    }
    let folder = match out.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        bail!("cannot write {shown}: there is no folder {}; make it first", folder.display());
    }
    for run in &runs {
        for note in &run.notes {
            tell(&format!("{}: {note}", run.name));
        }
    }
    let page = ReportPage { title: arguments.title.as_deref(), runs: &runs, folder };
    let html = page.html()?;
    write_file(&out, html.as_bytes()).context("no page")?;
    let results: usize = runs.iter().map(|run| run.records.len()).sum();
    let results = if results == 1 { "1 result".to_owned() } else { format!("{results} results") };
    print(&format!("{shown}: {results}, {:.1} MB\n", html.len() as f64 / 1e6))?;
    Ok(Outcome::Done)
}

/// Runs of one name are called as they were given, and numbered where that is the same, too.
fn distinguished(mut runs: Vec<Run>, given: &[PathBuf]) -> Vec<Run> {
    let names: Vec<String> = runs.iter().map(|run| run.name.clone()).collect();
    for (run, path) in runs.iter_mut().zip(given) {
        if names.iter().filter(|&name| *name == run.name).count() > 1 {
            run.name = path.display().to_string().replace(char::is_control, "?");
        }
    }
    let mut taken = BTreeSet::new();
    for run in &mut runs {
        let plain = run.name.clone();
        let mut number = 1;
        while !taken.insert(run.name.clone()) {
            number += 1;
            run.name = format!("{plain} ({number})");
        }
    }
    runs
}
