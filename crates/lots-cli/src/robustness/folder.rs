//! The folder of a run: what was asked for, the attacks that are done, and what they come to.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, bail};
use lots::robustness::{Key, Robustness, Tally};
use lots::{Results, records, write_file};
use serde::Serialize;
use serde_json::{Map, Value};

/// What was asked for.
const RUN: &str = "run.json";
const RECORDS: &str = "records.jsonl";
/// What the attacks come to; made anew by each run that ends.
const SUMMARIES: [&str; 5] =
    ["robustness.json", "robustness.csv", "success-l2.svg", "success-linf.svg", "ranking.svg"];
const REMEDY: &str = "give another --out, or --force to start anew";
/// Of the form of these files.
const VERSION: u32 = 1;

/// What a run was asked for: all that its results depend on. Names are those of the options.
#[derive(Serialize)]
pub(super) struct Settings {
    pub(super) model: String,
    /// Of its file.
    pub(super) model_md5: String,
    /// What images the network is taken to want; `null` where nothing says.
    pub(super) preprocessing: Option<String>,
    pub(super) data: String,
    /// Of the images attacked, and the targets.
    pub(super) data_md5: String,
    pub(super) limit: Option<usize>,
    pub(super) seed: u64,
    pub(super) method: Vec<String>,
    pub(super) layer: Vec<String>,
    /// What makes the classes; `null` for the largest logit.
    pub(super) gallery: Option<String>,
    /// Whether images are saved.
    pub(super) images: bool,
}

/// `robustness.json`.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    /// What was asked for.
    #[serde(rename = "run")]
    pub(super) settings: &'a Settings,
    /// What it came to.
    #[serde(flatten)]
    pub(super) robustness: &'a Robustness,
}

/// A run, begun or gone on with.
pub(super) struct Folder {
    pub(super) results: Results,
    /// Of what is done.
    pub(super) tally: Tally,
    pub(super) done: usize,
}

impl Settings {
    /// As `run.json` has them.
    fn entries(&self) -> Result<Map<String, Value>> {
        let mut entries = Map::from_iter([("version".to_owned(), VERSION.into())]);
        if let Value::Object(settings) = serde_json::to_value(self)? {
            entries.extend(settings);
        }
        Ok(entries)
    }
}

impl Folder {
    /// Begins a run in `path`, or goes on with the one that lies there if it has the same `settings`. `keys` are all attacks.
    pub(super) fn open<'k>(
        path: &Path,
        force: bool,
        settings: &Settings,
        mut keys: impl Iterator<Item = Key<'k>>,
    ) -> Result<Self> {
        let wanted = settings.entries()?;
        let run = path.join(RUN);
        let begun = match fs::read(&run) {
            _ if force => None,
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => None,
            bytes => Some(bytes.with_context(|| format!("cannot read {}", run.display()))?),
        };
        let Some(begun) = begun else {
            let results = Results::create(path, force)?;
            for old in SUMMARIES.iter().chain([&RECORDS]).map(|name| path.join(name)) {
                if let Err(e) = fs::remove_file(&old)
                    && e.kind() != ErrorKind::NotFound
                {
                    bail!("cannot replace {}: {e}", old.display());
                }
            }
            write_file(&run, &serde_json::to_vec_pretty(&wanted)?)?;
            return Ok(Self { results, tally: Tally::default(), done: 0 });
        };
        check(path, &begun, &wanted)?;
        let results = Results::resume(path)?;
        let (mut tally, mut done) = (Tally::default(), 0);
        if path.join(RECORDS).exists() {
            for record in records(path)? {
                let record = record.with_context(|| format!("cannot go on; {REMEDY}"))?;
                let (key, wanted) = (Key::of(&record), keys.next());
                if wanted != Some(key) {
                    let wanted = wanted.map_or("no more".to_owned(), |key| key.to_string());
                    bail!(
                        "{} has {key} in line {}, wanted {wanted}; it is of another run: {REMEDY}",
                        path.join(RECORDS).display(),
                        done + 1
                    );
                }
                tally.add(&record);
                done += 1;
            }
        }
        Ok(Self { results, tally, done })
    }
}

/// Refuses to go on with a run in `path` that was not asked for what is `wanted` now.
fn check(path: &Path, begun: &[u8], wanted: &Map<String, Value>) -> Result<()> {
    let shown = path.display();
    let Ok(begun) = serde_json::from_slice::<Map<String, Value>>(begun) else {
        bail!("{shown} holds a {RUN} that is no run of lots robustness; {REMEDY}");
    };
    let absent = Value::Null;
    let of =
        |entries: &Map<String, Value>, name: &str| entries.get(name).unwrap_or(&absent).to_string();
    let mut names: Vec<&String> = wanted.keys().chain(begun.keys()).collect();
    // What a user understands comes first: another --seed also gives other images.
    names.sort_by_key(|name| (*name != "version", name.ends_with("_md5")));
    for name in names {
        let (made, found) = (of(&begun, name), of(wanted, name));
        if made != found {
            bail!(
                "{shown} holds a run with {name} {made}, found {name} {found}; give the same, {REMEDY}"
            );
        }
    }
    Ok(())
}

impl Report<'_> {
    /// Writes what the attacks come to.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let robustness = self.robustness;
        let mut json = serde_json::to_vec(self)?;
        json.push(b'\n');
        let contents = [
            json,
            robustness.csv()?,
            robustness.success_by_l2_svg()?.into_bytes(),
            robustness.success_by_linf_svg()?.into_bytes(),
            robustness.ranking_svg()?.into_bytes(),
        ];
        for (name, content) in SUMMARIES.iter().zip(&contents) {
            write_file(&path.join(name), content)?;
        }
        Ok(())
    }
}
