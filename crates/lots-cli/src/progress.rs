//! Progress on stderr: a bar on a terminal, else a line now and then.

use std::cell::RefCell;
use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use lots::experiment::reproduction::Progress;
use lots_nn::StepReport;

use crate::output::tell;

/// Iterations between two lines where there is no terminal.
const LINES: u64 = 1000;

/// Progress of a training.
pub(crate) struct TrainingProgress {
    /// `None` where there is no terminal.
    bar: Option<ProgressBar>,
    iterations: u64,
}

impl TrainingProgress {
    pub(crate) fn new(first: u64, iterations: u64) -> Self {
        Self {
            bar: bar(first, iterations, "{wide_bar} {pos}/{len}  {msg}  {eta} left"),
            iterations,
        }
    }

    /// `done` iterations are done.
    pub(crate) fn step(&self, done: u64, StepReport { loss, rate }: StepReport) {
        let state = || format!("loss {loss:.4}, rate {rate:.6}");
        if let Some(bar) = &self.bar {
            bar.set_message(state());
            bar.inc(1);
        } else if done.is_multiple_of(LINES) {
            tell(&format!("iteration {done} of {}: {}", self.iterations, state()));
        }
    }

    pub(crate) fn end(&self) {
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
    }
}

/// A bar over `count` images; hidden where there is no terminal.
pub(crate) fn images(count: usize) -> ProgressBar {
    bar(0, count as u64, "{wide_bar} {pos}/{len} images  {eta} left")
        .unwrap_or_else(ProgressBar::hidden)
}

/// A bar over `count` attacks; hidden where there is no terminal.
pub(crate) fn attacks(count: usize) -> ProgressBar {
    bar(0, count as u64, "{wide_bar} {pos}/{len} attacks  {eta} left")
        .unwrap_or_else(ProgressBar::hidden)
}

/// A bar over `count` steps; hidden where there is no terminal.
pub(crate) fn steps(count: usize) -> ProgressBar {
    bar(0, count as u64, "{wide_bar} {pos}/{len} steps  {eta} left")
        .unwrap_or_else(ProgressBar::hidden)
}

/// A bar over `count` bytes; hidden where there is no terminal.
pub(crate) fn bytes(count: u64) -> ProgressBar {
    bar(0, count, "{wide_bar} {bytes}/{total_bytes}  {eta} left")
        .unwrap_or_else(ProgressBar::hidden)
}

fn bar(first: u64, count: u64, template: &str) -> Option<ProgressBar> {
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(count).with_style(style).with_position(first);
    bar.reset_eta();
    io::stderr().is_terminal().then_some(bar)
}

/// Seconds between two lines where there is no terminal.
const PAUSE: Duration = Duration::from_secs(30);

/// Progress of a plan of many steps: its share of the whole plan, the time left for it, and the step that is being done.
pub(crate) struct PlanProgress {
    /// `None` where there is no terminal.
    bar: Option<ProgressBar>,
    /// What was told last, and when.
    told: RefCell<Option<(usize, Duration)>>,
}

/// Parts of a plan's bar.
const PARTS: u64 = 10_000;

impl PlanProgress {
    pub(crate) fn new() -> Self {
        Self { bar: bar(0, PARTS, "{wide_bar} {percent} %  {msg}"), told: RefCell::default() }
    }

    pub(crate) fn show(&self, progress: &Progress, elapsed: Duration) {
        let Progress { title, step: [step, steps], done: [done, of], unit, share, .. } = progress;
        let left = progress.left(elapsed).map_or_else(String::new, |left| {
            format!(", {} left", HumanDuration(Duration::from_secs(left.as_secs())))
        });
        if let Some(bar) = &self.bar {
            bar.set_position((share * PARTS as f64) as u64);
            let part = if *of > 0 { done * 100 / of } else { 100 };
            bar.set_message(format!("{step}/{steps} {title} {part} %{left}"));
            return;
        }
        let mut told = self.told.borrow_mut();
        let is_due =
            told.is_none_or(|(last, when)| last != *step || elapsed.saturating_sub(when) > PAUSE);
        if is_due {
            tell(&format!("step {step} of {steps}, {title}: {done} of {of} {unit}{left}"));
            *told = Some((*step, elapsed));
        }
    }

    pub(crate) fn end(&self) {
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
    }
}
