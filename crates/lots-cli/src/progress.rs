//! Progress on stderr: a bar on a terminal, else a line now and then.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressStyle};
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
