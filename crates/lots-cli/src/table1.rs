//! `lots reproduce table1`

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;
use lots::experiment::reproduction::{Claim, Ended, Model, Reproduction, Scale, Subject, claims};
use lots::report::{Examples, WholeTable};
use lots::set::{Facts, Sample};
use lots::{method_title, write_file};

use crate::Outcome;
use crate::arguments::{Json, Resume, Threads};
use crate::output::{paragraph, print, tell};
use crate::progress::PlanProgress;
use crate::signal::stop_on_signal;

/// Examples of what each method finds, in the page.
const EXAMPLES: usize = 6;

#[derive(Args)]
#[command(after_help = "\
Trains or makes whatever is missing in DIR, attacks every network by FGS, FGV,
hot/cold and LOTS, and writes the table beside the paper's: table1.json,
table1.md, table1.csv and index.html. Beside it lie the networks (DIR/models),
the sets that they learn from (DIR/sets), what was found in the attacks on them
(DIR/cells; pandas opens each folder) and what they come to (DIR/tallies).

Whenever it stops, --resume goes on. It needs the networks and tallies only: all
else is made again where it is missing. Exit code 1 if stopped. The networks
beside the table: clean is Basic, fine-tuned on the training digits; mixed on
digits and LOTS samples; improved-fgv and improved-hot-cold on LOTS samples
whose targets are FGV and hot/cold samples.

Examples:
  lots reproduce table1 --quick
  lots reproduce table1 --models basic,fgs --seeds 1 --limit 1000 --out small
  lots reproduce table1 --resume")]
pub(crate) struct Arguments {
    /// Folder for networks, samples, results and the table
    #[arg(long, value_name = "DIR", default_value = "lots-table1")]
    out: PathBuf,
    /// Test digits to attack, evenly spread over all 10,000
    #[arg(long, value_name = "N")]
    limit: Option<NonZeroUsize>,
    /// Only these networks (and what they need): basic, infimnist, fgs, fgv, hot-cold, lots, lots-conv1, lots-conv2, lots-ip1,
    /// lots-ip2; and beside the table: clean, mixed, improved-fgv, improved-hot-cold
    #[arg(long, value_name = "MODEL", value_delimiter = ',')]
    models: Vec<String>,
    /// Train each fine-tuned network as often, to tell what is chance [default: 3, with --quick 1]
    #[arg(long, value_name = "N")]
    seeds: Option<NonZeroU64>,
    /// A small version within ten minutes: a twentieth of samples and iterations, 200 test digits, one seed
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    resume: Resume,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    json: Json,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    arguments.threads.start()?;
    let scale = arguments.scale();
    let models: Vec<Model> = if arguments.models.is_empty() {
        Model::ALL.to_vec()
    } else {
        let find = |key: &String| Model::find(key);
        let models = arguments.models.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        Model::ALL.into_iter().filter(|model| models.contains(model)).collect()
    };
    let seeds = arguments.seeds();
    let out = &arguments.out;
    let reproduction = Reproduction::new(out, scale, &models, seeds);
    if reproduction.is_begun() && !arguments.resume.on {
        bail!("{} holds a run; go on with --resume, or give another --out", out.display());
    }
    let stop = stop_on_signal()?;
    let clock = Instant::now();
    let bar = PlanProgress::new();
    let ended = reproduction.run(&mut |progress| {
        bar.show(progress, clock.elapsed());
        !stop.load(Ordering::Relaxed)
    });
    bar.end();
    let ended = ended?;
    arguments.write(&reproduction, &scale)?;
    if ended == Ended::Stopped {
        let left = reproduction.steps().len();
        tell(&format!("stopped, {left} steps left; --resume goes on in {}", out.display()));
        return Ok(Outcome::Incomplete);
    }
    Ok(Outcome::Done)
}

impl Arguments {
    fn seeds(&self) -> u64 {
        self.seeds.map_or(if self.quick { 1 } else { 3 }, NonZeroU64::get)
    }

    fn scale(&self) -> Scale {
        let scale = if self.quick { Scale::QUICK } else { Scale::FULL };
        let limit = self.limit.map_or(scale.limit, NonZeroUsize::get);
        Scale { limit: limit.min(Scale::FULL.limit), ..scale }
    }

    /// Writes the table of what there is, in all its forms, and prints it.
    fn write(&self, reproduction: &Reproduction, scale: &Scale) -> Result<()> {
        let tallies = reproduction.tallies()?;
        let claims = claims(&tallies, self.seeds());
        let comparison = reproduction.comparison()?;
        let missing: Vec<String> = reproduction.missing().into_iter().map(Subject::key).collect();
        let how = format!("`lots reproduce table1`: {}.", scale.words());
        let table = WholeTable {
            tallies: &tallies,
            missing: &missing,
            claims: &claims,
            comparison: comparison.as_ref(),
            how: &how,
        };
        let mut examples = Vec::new();
        for (subject, _) in tallies.iter().filter(|(subject, _)| subject.seed == 0) {
            let words = |Sample { image, facts }: Sample| {
                let way = method_title(&facts.method);
                let layer = if facts.method == "lots" {
                    format!(" {}", facts.layer)
                } else {
                    String::new()
                };
                let Facts { label, adversarial_label, .. } = facts;
                (image, format!("{way}{layer}: {label} read as {adversarial_label}"))
            };
            let found = reproduction.examples(*subject, EXAMPLES)?;
            examples.push(Examples {
                model: subject.model,
                images: found.into_iter().map(words).collect(),
            });
        }
        let commit = Some(env!("LOTS_COMMIT")).filter(|commit| !commit.is_empty());
        let json = table.json(commit)?;
        let path = |name: &str| self.out.join(name);
        write_file(&path("table1.json"), &json)?;
        write_file(&path("table1.md"), table.markdown().as_bytes())?;
        write_file(&path("table1.csv"), &table.csv()?)?;
        write_file(&path("index.html"), table.html(&examples)?.as_bytes())?;
        if self.json.on {
            return print(&String::from_utf8_lossy(&json));
        }
        let missing = match missing.is_empty() {
            true => String::new(),
            false => {
                let words = format!("Not yet the full table; missing: {}", missing.join(", "));
                "\n".to_owned() + &paragraph([0, 4], &words)
            }
        };
        let claim =
            |claim: &Claim| paragraph([0, 4], &format!("{}: {}", claim.verdict(), claim.claim));
        let claims: String = claims.iter().map(claim).collect();
        let group = |(line, details): (String, Vec<String>)| {
            let details = details.iter().map(|detail| paragraph([4, 8], detail));
            paragraph([0, 4], &line) + &details.collect::<String>()
        };
        let compared: String = table.compared().into_iter().map(group).collect();
        print(&format!(
            "{}{missing}\nWhat the paper says of them (the numbers behind it are in table1.md)\n{claims}{compared}\n\
             table1.json, table1.md, table1.csv and index.html in {}\n",
            table.text(),
            self.out.display()
        ))
    }
}
