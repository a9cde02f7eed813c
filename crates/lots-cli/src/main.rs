//! The command line of Lots.

mod arguments;
mod evaluate;
mod layers;
mod output;
mod progress;
mod train;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Study, attack and harden deep networks by layerwise origin-target synthesis
#[derive(Parser)]
#[command(
    name = "lots",
    version,
    max_term_width = 80,
    after_help = "\
Example: a LeNet that reads digits, in two commands:
  lots train lenet --out lenet.onnx
  lots evaluate lenet.onnx

Exit codes: 0 done, 1 stopped before the end, 2 error."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train a network
    #[command(subcommand, after_help = "Example:\n  lots train lenet --out lenet.onnx")]
    Train(train::Command),
    /// Count the images that a network classifies wrongly
    Evaluate(evaluate::Arguments),
    /// List the layers of a network
    Layers(layers::Arguments),
}

/// What a command that ran without error came to.
enum Outcome {
    /// All that was promised.
    Done,
    /// Less: the user stopped it.
    Stopped,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(e) => return output::usage(&e),
    };
    let outcome = match arguments.command {
        Command::Train(command) => train::run(&command),
        Command::Evaluate(arguments) => evaluate::run(&arguments),
        Command::Layers(arguments) => layers::run(&arguments),
    };
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Stopped) => ExitCode::from(1),
        Err(e) => output::failure(&e),
    }
}
