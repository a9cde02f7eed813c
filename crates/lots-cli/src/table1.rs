//! `lots reproduce table1`

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use lots::experiment::reproduction::{Ended, Model, Reproduction, Scale};

use crate::Outcome;
use crate::arguments::{Json, Resume, Threads};
use crate::output::tell;
use crate::progress::PlanProgress;
use crate::signal::stop_on_signal;

#[derive(Args)]
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
    /// Train each fine-tuned network as often, to tell what is chance
    #[arg(long, value_name = "N", default_value = "3")]
    seeds: NonZeroUsize,
    /// A small version in ten minutes: a twentieth of samples and iterations, 200 test digits, one seed
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
    let mut scale = if arguments.quick { Scale::QUICK } else { Scale::FULL };
    if let Some(limit) = arguments.limit {
        scale.limit = limit.get();
    }
    let models: Vec<Model> = if arguments.models.is_empty() {
        Model::ALL.to_vec()
    } else {
        arguments.models.iter().map(|key| Model::find(key)).collect::<Result<_, _>>()?
    };
    let seeds = if arguments.quick { 1 } else { arguments.seeds.get() as u64 };
    let reproduction = Reproduction::new(&arguments.out, scale, &models, seeds);
    let stop = stop_on_signal()?;
    let clock = Instant::now();
    let bar = PlanProgress::new();
    let ended = reproduction.run(&mut |progress| {
        bar.show(progress, clock.elapsed());
        !stop.load(Ordering::Relaxed)
    });
    bar.end();
    if ended? == Ended::Stopped {
        tell("stopped");
        return Ok(Outcome::Incomplete);
    }
    Ok(Outcome::Done)
}
