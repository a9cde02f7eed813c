//! What each job is to reach, and what it reached: one table of all benchmarks that `run.sh` calls.

use std::fs::OpenOptions;
use std::io::Write;

/// How many times as fast two threads should be as one.
const THREADS: f64 = 1.8;

/// Whether a word of the command line is in the title of a job, or there are none.
#[allow(dead_code, reason = "benchmarks of one job do not choose")]
pub(crate) fn is_chosen(title: &str) -> bool {
    let mut words = std::env::args().skip(1).filter(|word| !word.starts_with('-')).peekable();
    words.peek().is_none() || words.any(|word| title.contains(&word))
}

/// What the second thread gained in each round, beside the time that a cache line took from one to the other.
#[allow(dead_code, reason = "not all benchmarks ask for it")]
pub(crate) fn print_gains(gains: &[f64], handovers: &[f64]) {
    println!("  1 to 2 in each round (a cache line from thread to thread, ns):");
    let rounds = gains.iter().zip(handovers);
    let rounds: Vec<_> = rounds.map(|(x, s)| format!("{x:.2} ({:.0})", s * 1e9)).collect();
    println!("    {}", rounds.join(", "));
}

/// One row. What is not measured is not shown.
pub(crate) struct Goal<'a> {
    pub(crate) job: &'a str,
    /// How many times as fast as the fastest peer, and what is wanted.
    pub(crate) ratio: f64,
    pub(crate) wanted: f64,
    /// Share of the measured multiply-add peak.
    pub(crate) share: Option<f64>,
    /// How many times as fast on two threads as on one.
    pub(crate) threads: Option<f64>,
    /// Bytes of Lots and of the peer.
    pub(crate) memory: Option<[f64; 2]>,
}

/// Adds rows to the file that `LOTS_PEERS_GOALS` names, or prints them.
pub(crate) fn report(goals: &[Goal<'_>]) {
    let heading = format!(
        "\n{:<31} {:>8} {:>6} {:>7} {:>7} {:>7} {:>7}\n",
        "job (* goal missed)", "ratio", "goal", "of peak", "1 to 2", "MB", "peer's"
    );
    let rows: String = goals.iter().map(row).collect();
    let Ok(path) = std::env::var("LOTS_PEERS_GOALS") else {
        return println!("{heading}{rows}");
    };
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    if file.metadata().unwrap().len() == 0 {
        file.write_all(heading.as_bytes()).unwrap();
    }
    file.write_all(rows.as_bytes()).unwrap();
}

fn row(goal: &Goal<'_>) -> String {
    let shown = |x: Option<String>| x.unwrap_or_default();
    let [ours, theirs] = goal.memory.map_or([None, None], |both| both.map(Some));
    let megabytes = |bytes: Option<f64>| shown(bytes.map(|x| format!("{:.1}", x / 1e6)));
    let missed = |missed: bool| if missed { "*" } else { " " };
    format!(
        "{:<31} {:>6.2}×{} {:>5}× {:>7} {:>6}{} {:>6}{} {:>7}\n",
        goal.job,
        goal.ratio,
        missed(goal.ratio < goal.wanted),
        goal.wanted,
        shown(goal.share.map(|x| format!("{:.1} %", 100.0 * x))),
        shown(goal.threads.map(|x| format!("{x:.2}×"))),
        missed(goal.threads.is_some_and(|x| x < THREADS)),
        megabytes(ours),
        missed(goal.memory.is_some_and(|[ours, theirs]| ours > theirs)),
        megabytes(theirs),
    )
}
