//! `lots convert`

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use lots::{read_class_names, write_file_with};
use lots_nn::VggFace;
use serde::Serialize;

use crate::Outcome;
use crate::arguments::{Json, Out};
use crate::output::{print, print_json};
use crate::progress;

/// The list of classes in the archives in which VGG Face is published.
const NAMES: &str = "names.txt";

#[derive(Args)]
#[command(after_help = "\
VGG Face: the face recognition network of Parkhi, Vedaldi and Zisserman (2015),
2622 identities. FILE is one of these, whatever its name:
  VGG_FACE.caffemodel    Caffe
  vgg_face_dag.pth       PyTorch, saved before 1.6 or since
  vgg_face_weights.h5    Keras 2; fully connected layers are convolutions there
vgg_face.mat of MatConvNet is not read: take one of the others, all have the
same weights.

The network that is written takes red, green and blue of 0-255, 224×224 pixels,
and gives the logits: order of channels and mean are nodes of it. Layers are
conv1_1 (1) to conv5_3 (13), fc6 (14), fc7 (15) and fc8 (16), those with a ReLU
after it.

Example:
  lots convert VGG_FACE.caffemodel --names names.txt --out vgg_face.onnx")]
pub(crate) struct Arguments {
    /// VGG Face as it is published for Caffe, PyTorch or Keras
    file: PathBuf,
    #[command(flatten)]
    out: Out,
    /// Names of the 2622 classes, one a line [default: names.txt beside FILE, if
    /// it is there]
    #[arg(long, value_name = "FILE")]
    names: Option<PathBuf>,
    #[command(flatten)]
    json: Json,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    file: String,
    format: &'static str,
    /// Bytes of the file.
    size: u64,
    model: String,
    /// Bytes of the model.
    model_size: u64,
    parameters: usize,
    classes: usize,
    /// The file with the class names; `null` without one.
    names: Option<String>,
    seconds: f64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let Arguments { file, out, .. } = arguments;
    out.check()?;
    let clock = Instant::now();
    let mut network = VggFace::open(file)?;
    let names = arguments.names();
    if let Some(path) = &names {
        network
            .name_classes(read_class_names(path)?)
            .map_err(|e| anyhow!("{}: {e}; give another file with --names", path.display()))?;
    }
    let model = out.path.display().to_string();
    let number = size_of::<f32>() as u64;
    let bar = progress::bytes(network.parameters() as u64 * number);
    write_file_with(&out.path, |to| -> Result<()> {
        let mut written = |parameters| bar.set_position(parameters as u64 * number);
        Ok(network.write_onnx(to, &model, &mut written)?)
    })?;
    bar.finish_and_clear();
    let size = |path: &Path| -> Result<u64> {
        let about =
            fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(about.len())
    };
    let report = Report {
        file: file.display().to_string(),
        format: network.format(),
        size: size(file)?,
        model,
        model_size: size(&out.path)?,
        parameters: network.parameters(),
        classes: network.classes(),
        names: names.map(|path| path.display().to_string()),
        seconds: clock.elapsed().as_secs_f64(),
    };
    if arguments.json.on {
        print_json(&report)?;
    } else {
        print(&report.text())?;
    }
    Ok(Outcome::Done)
}

impl Arguments {
    /// The file with class names: the one asked for, or one in its usual place.
    fn names(&self) -> Option<PathBuf> {
        let beside = || Some(self.file.with_file_name(NAMES)).filter(|path| path.is_file());
        self.names.clone().or_else(beside)
    }
}

impl Report {
    fn text(&self) -> String {
        let Self { file, format, size, model, model_size, parameters, classes, names, seconds } =
            self;
        let megabytes = |bytes: &u64| format!("{:.1} MB", *bytes as f64 / 1e6);
        let named = match names {
            Some(names) => format!("named by {names}"),
            None => "without names".to_owned(),
        };
        format!(
            "{file} ({format}, {})\n\
             {model} ({}): VGG Face, {parameters} parameters, {classes} classes {named}; in {seconds:.1} s\n\
             next: lots layers {model}\n",
            megabytes(size),
            megabytes(model_size)
        )
    }
}
