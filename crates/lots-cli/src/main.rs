//! The command line of Lots.

mod arguments;
mod attack;
mod compare;
mod convert;
mod demo;
mod digits;
mod evaluate;
mod faces;
mod figure;
mod gallery;
mod generate;
mod images;
mod layers;
mod measure;
mod model;
mod output;
mod progress;
mod report;
mod represent;
mod reproduce;
mod robustness;
mod signal;
mod table1;
mod train;
mod views;
mod visualize;
mod walk;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Study, attack and harden deep networks by layerwise origin-target synthesis
#[derive(Parser)]
#[command(
    name = "lots",
    version,
    max_term_width = 80,
    after_help = "\
Examples: all of it on digits, in one command; and step by step:
  lots demo
  lots train lenet --out lenet.onnx
  lots attack lenet.onnx --origin mnist:test:4 --target mnist:test:9 --out found

Exit codes: 0 done, 1 not all of it (stopped, or not found), 2 error."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// See the whole thing: LeNet on MNIST, attacked at every layer, in a page
    Demo(demo::Arguments),
    /// Train a network
    #[command(subcommand, after_help = "Example:\n  lots train lenet --out lenet.onnx")]
    Train(train::Command),
    /// Count the images that a network classifies wrongly
    Evaluate(evaluate::Arguments),
    /// Find the smallest change of an image that changes its class
    Attack(Box<attack::Arguments>),
    /// Make a set of perturbed images, as large as you like, in Parquet files
    Generate(Box<generate::Arguments>),
    /// Compare methods: success, size, visibility and cost on the same images
    Compare(Box<compare::Arguments>),
    /// Measure how large a perturbation each layer takes before the class changes
    Robustness(Box<robustness::Arguments>),
    /// Draw what each layer sees in an image, magnified and reduced
    Visualize(Box<visualize::Arguments>),
    /// Make a figure of the paper again, with its numbers beside ours
    #[command(subcommand, after_help = "Example:\n  lots reproduce figure1")]
    Reproduce(reproduce::Command),
    /// Write what a layer sees in images to a file
    Represent(represent::Arguments),
    /// Make a page of results: pictures, curves and tables
    Report(report::Arguments),
    /// Compare two images: L2, L∞ and PASS
    Measure(measure::Arguments),
    /// List the layers of a network
    Layers(layers::Arguments),
    /// Make an ONNX file of VGG Face as it is published for Caffe, PyTorch or Keras
    Convert(convert::Arguments),
}

/// What a command that ran without error came to.
enum Outcome {
    /// All that was promised.
    Done,
    /// Less: the user stopped it, or something was not found.
    Incomplete,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(e) => return output::usage(&e),
    };
    let outcome = match arguments.command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Train(command) => train::run(&command),
        Command::Evaluate(arguments) => evaluate::run(&arguments),
        Command::Attack(arguments) => attack::run(&arguments),
        Command::Generate(arguments) => generate::run(&arguments),
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Robustness(arguments) => robustness::run(&arguments),
        Command::Visualize(arguments) => visualize::run(&arguments),
        Command::Reproduce(command) => reproduce::run(&command),
        Command::Represent(arguments) => represent::run(&arguments),
        Command::Measure(arguments) => measure::run(&arguments),
        Command::Layers(arguments) => layers::run(&arguments),
        Command::Convert(arguments) => convert::run(&arguments),
    };
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Incomplete) => ExitCode::from(1),
        Err(e) => output::failure(&e),
    }
}
