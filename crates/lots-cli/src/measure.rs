//! `lots measure`

use anyhow::Result;
use clap::Args;
use lots::{Alignment, L2, Linf, NamedImage, measure, open_image};
use serde::Serialize;

use crate::Outcome;
use crate::arguments::Json;
use crate::output::{print, print_json};

#[derive(Args)]
#[command(after_help = "\
PASS lays the second image onto the first before it compares them; 1 is perfect
similarity. L2 and L∞ are in grey levels, 0-255, over all pixels and channels.

Example:
  lots measure origin.png perturbed.png --json")]
pub(crate) struct Arguments {
    /// The origin: a PNG file, or one image of a data set such as mnist:test:17
    origin: String,
    /// The image to compare with it
    perturbed: String,
    #[command(flatten)]
    json: Json,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    origin: String,
    perturbed: String,
    l2: L2,
    linf: Linf,
    pass: f64,
    alignment: Alignment,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let [origin, perturbed]: [NamedImage; 2] =
        [open_image(&arguments.origin)?, open_image(&arguments.perturbed)?];
    let measures = measure(&origin.image, &perturbed.image)?;
    let report = Report {
        origin: origin.name,
        perturbed: perturbed.name,
        l2: measures.l2,
        linf: measures.linf,
        pass: measures.pass.score,
        alignment: measures.pass.alignment,
    };
    if arguments.json.on {
        print_json(&report)?;
    } else {
        print(&text(&report))?;
    }
    Ok(Outcome::Done)
}

fn text(report: &Report) -> String {
    let Report { l2: L2(l2), linf: Linf(linf), pass, .. } = report;
    let note = match report.alignment {
        Alignment::Aligned => "",
        Alignment::IterationLimit => "  (alignment still moving after 50 iterations)",
        Alignment::Identity => "  (compared as they lie: no alignment found)",
    };
    format!("L2    {l2:.2}\nL∞    {linf}\nPASS  {pass:.4}{note}\n")
}
