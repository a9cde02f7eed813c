//! The network that a command works with: its file, what images it wants, what its classes are called.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use lots::attack::Argmax;
use lots::{NamedImage, class_names, hex, read_class_names};
use lots_nn::{ChannelOrder, Graph, Layout, Network, OpenOptions, Preprocessing, ValueRange};
use md5::{Digest, Md5};

use crate::output::tell;

/// The key of the metadata that holds the names of classes, one a line.
const CLASS_NAMES: &str = "lots.class_names";
/// Where the options stand in the help.
const HEADING: &str = "What the network wants (said by its file, or here, which wins)";

/// `MODEL`, and what may be said of it beside its file.
#[derive(Args)]
pub(crate) struct Model {
    /// ONNX file
    #[arg(id = "model", value_name = "MODEL", required = true)]
    path: Option<PathBuf>,
    /// All of the following at once; options beside it win
    #[arg(long, value_enum, help_heading = HEADING)]
    preset: Option<Preset>,
    /// Values of black and white, such as 0..1 or -1..1
    #[arg(long, value_name = "LO..HI", allow_hyphen_values = true, help_heading = HEADING)]
    range: Option<RangeName>,
    /// Mean to subtract, in units of the range: one number, or one a channel in the network's order, as in .5,.4,.3
    #[arg(long, value_name = "A,B,C", value_delimiter = ',', allow_hyphen_values = true, help_heading = HEADING)]
    mean: Option<Vec<f32>>,
    /// Standard deviation to divide by, likewise
    #[arg(long, value_name = "A,B,C", value_delimiter = ',', allow_hyphen_values = true, help_heading = HEADING)]
    std: Option<Vec<f32>>,
    /// Channels in the order blue, green, red
    #[arg(long, help_heading = HEADING)]
    bgr: bool,
    /// Axes in the order images, height, width, channels
    #[arg(long, help_heading = HEADING)]
    nhwc: bool,
    /// Text file with what the classes are called, one a line
    #[arg(id = "names", long = "names", value_name = "FILE", help_heading = HEADING)]
    names: Option<PathBuf>,
}

/// `--preset`
#[derive(Clone, Copy, ValueEnum)]
enum Preset {
    /// RGB, 0..1, mean .485,.456,.406, std .229,.224,.225
    Imagenet,
    /// 0..1, mean .1307, std .3081
    Mnist,
    /// RGB or grey, 0..255
    Raw,
}

/// `--range`
#[derive(Clone, Copy)]
struct RangeName(ValueRange);

impl FromStr for RangeName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let range = text.split_once("..").and_then(|(low, high)| {
            Some(ValueRange { low: low.parse().ok()?, high: high.parse().ok()? })
        });
        range.map(Self).ok_or_else(|| "wanted two numbers such as 0..1 or -1..1".to_owned())
    }
}

impl Model {
    fn options(&self) -> OpenOptions {
        let preset = self.preset.map(|preset| match preset {
            Preset::Imagenet => Preprocessing::imagenet(),
            Preset::Mnist => Preprocessing::mnist(),
            Preset::Raw => Preprocessing::raw(),
        });
        let preset = preset.map(|mut all| {
            if self.bgr {
                // A preset's numbers are those of red, green and blue.
                all.mean.reverse();
                all.std.reverse();
            }
            all
        });
        let preset = preset.map_or_else(OpenOptions::default, OpenOptions::from);
        OpenOptions {
            order: self.bgr.then_some(ChannelOrder::Bgr).or(preset.order),
            layout: self.nhwc.then_some(Layout::Nhwc).or(preset.layout),
            range: self.range.map(|RangeName(range)| range).or(preset.range),
            mean: self.mean.clone().or(preset.mean),
            std: self.std.clone().or(preset.std),
        }
    }

    /// Whether there is a `MODEL`. Commands that can do without one say so to clap.
    pub(crate) fn is_given(&self) -> bool {
        self.path.is_some()
    }

    /// The network, which takes raw images from here on. Says what it takes them for, unless they are raw by its own word.
    pub(crate) fn open(&self) -> Result<Graph> {
        let network = Graph::open_with(self.file()?, &self.options())?;
        match network.preprocessing() {
            None => tell(&format!(
                "{} does not say what images it wants; taking {} (see --preset, --range, --mean, --std)",
                network.name(),
                Preprocessing::raw()
            )),
            Some(wanted) if *wanted != Preprocessing::raw() => {
                tell(&format!("{} gets images as {wanted}", network.name()));
            }
            Some(_) => {}
        }
        Ok(network)
    }

    fn file(&self) -> Result<&Path> {
        self.path.as_deref().context("no MODEL; give an ONNX file")
    }

    /// The MD5 of its file.
    pub(crate) fn md5(&self) -> Result<String> {
        let path = self.file()?;
        let refuse = || format!("cannot read {}", path.display());
        let mut file = File::open(path).with_context(refuse)?;
        let (mut md5, mut piece) = (Md5::new(), vec![0; 1 << 16]);
        loop {
            match file.read(&mut piece).with_context(refuse)? {
                0 => return Ok(hex(&md5.finalize())),
                length => md5.update(&piece[..length]),
            }
        }
    }

    /// What the classes of `network` are called, by `--names` or its metadata, if either says so.
    pub(crate) fn names(&self, network: &Graph) -> Result<Option<Vec<String>>> {
        let stored = network.metadata().find(|(key, _)| *key == CLASS_NAMES);
        let (names, source) = match (&self.names, stored) {
            (Some(path), _) => (read_class_names(path)?, path.display().to_string()),
            (None, Some((_, text))) => {
                let source = format!("{CLASS_NAMES} in {}", network.name());
                (class_names(text, &source)?, source)
            }
            (None, None) => return Ok(None),
        };
        Argmax::of(network)?.named(names.clone()).context(source)?;
        Ok(Some(names))
    }

    /// The largest logit decides; says so where a last Softmax hides them.
    pub(crate) fn decision(&self, network: &Graph) -> Result<Argmax> {
        let decision = Argmax::of(network)?;
        let decision = match self.names(network)? {
            Some(names) => decision.named(names)?,
            None => decision,
        };
        let Some((logits, squashed)) = network.squashed_output() else { return Ok(decision) };
        let layer = |id| network.layers().iter().find(move |layer| layer.id == id);
        if let (Some(logits), Some(squashed)) = (layer(logits), layer(squashed)) {
            tell(&format!(
                "warning: {} ends in {}, which saturates; taking the values before it ({}) as logits",
                network.name(),
                squashed.operator,
                logits.name
            ));
        }
        Ok(decision.at(logits))
    }
}

/// `--resize`, `--center-crop`
#[derive(Args)]
pub(crate) struct Fit {
    /// Scale images to the network's size (triangle filter, as torchvision and PIL's BILINEAR; see --center-crop)
    #[arg(long)]
    resize: bool,
    /// Cut out the middle of images; with --resize, scale them first so that the shorter side fits
    #[arg(long)]
    center_crop: bool,
}

impl Fit {
    /// `given` at the network's size; images of another size are refused unless an option says what to do.
    pub(crate) fn apply(&self, given: NamedImage, network: &Graph) -> Result<NamedImage> {
        let Self { resize, center_crop } = *self;
        let input = network.input();
        let fit = lots::Fit { resize, center_crop };
        let image = fit.apply(&given.image, input.height, input.width);
        let wanted = (input.height, input.width);
        let remedy = if (image.height(), image.width()) != wanted {
            "scale it with --resize, or cut out its middle with --center-crop; with both, its sides keep their ratio"
        } else if image.channels() != input.channels {
            "convert it to grey or colour first"
        } else {
            return Ok(NamedImage { image, ..given });
        };
        let NamedImage { image, name, .. } = given;
        anyhow::bail!(
            "{name} has {}×{}×{} (height × width × channels), {} takes {}×{}×{}; {remedy}",
            image.height(),
            image.width(),
            image.channels(),
            network.name(),
            input.height,
            input.width,
            input.channels
        );
    }
}
