//! What the commands that draw figures have in common.

use std::path::Path;

use anyhow::Result;
use clap::{Args, ValueEnum};
use lots::figure::{Grid, rasterize};
use lots::{L2, Linf, Record, write_file};

/// How `method` leaves a representation, and how far it went, in the words of figures and tables.
pub(crate) fn way(method: &str, fixed_linf: Option<u8>) -> String {
    let way = match method {
        "magnify" => "magnified",
        "reduce" => "reduced",
        _ => "towards the target",
    };
    fixed_linf.map_or_else(|| way.to_owned(), |linf| format!("{way}, L∞ {linf}"))
}

/// What every figure says at its foot.
pub(crate) const LEGEND: &str = "Captions: layer (index): class, PASS | L2 | L∞ between origin and perturbed image. \
    Perturbations: grey where nothing changes, black and white where a value changes most, by the grey levels below.";
/// Likewise where L∞ is fixed.
pub(crate) const CLIPPED: &str =
    "Where L∞ is fixed, less of it may be left: no value leaves 0–255.";

/// `--theme`
#[derive(Args)]
pub(crate) struct Theme {
    /// Colours of the figure
    #[arg(long, value_enum, default_value_t = ThemeName::Light)]
    theme: ThemeName,
}

#[derive(Clone, Copy, ValueEnum)]
enum ThemeName {
    /// Dark on white, for papers
    Light,
    /// Light on black, for slides
    Dark,
}

impl Theme {
    /// Writes `grid` to `folder`, as STEM.svg and STEM.png.
    pub(crate) fn write(&self, grid: &Grid, folder: &Path, stem: &str) -> Result<()> {
        let theme = match self.theme {
            ThemeName::Light => lots::figure::Theme::Light,
            ThemeName::Dark => lots::figure::Theme::Dark,
        };
        let svg = grid.svg(theme)?;
        write_file(&folder.join(format!("{stem}.svg")), svg.as_bytes())?;
        Ok(write_file(&folder.join(format!("{stem}.png")), &rasterize(&svg, 1.0)?)?)
    }
}

/// PASS, L2 and L∞ of a record, as tables have them.
pub(crate) fn measures(record: &Record) -> [String; 3] {
    let number = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
    };
    [
        number(record.pass, 4),
        number(record.l2.map(|L2(l2)| l2), 0),
        number(record.linf.map(|Linf(linf)| linf.into()), 0),
    ]
}

/// The last part of a path, which is what a network is called within a figure.
pub(crate) fn file_name(path: &str) -> &str {
    Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or(path)
}
