//! `--gallery`: recognisers made of features.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use lots::attack::{Decision, Distance, Gallery};
use lots::open_identities;
use lots_nn::Graph;

use crate::arguments::one_layer;
use crate::images::images_md5;
use crate::model::{Fit, Model};

/// `--gallery` and what belongs to it.
#[derive(Args)]
pub(crate) struct GalleryArguments {
    /// Recognise identities: the class is the one of this folder that is nearest. For each, it holds a folder of PNG
    /// files, of whose representations the mean counts, or one PNG file
    #[arg(long, value_name = "DIR", conflicts_with = "names")]
    #[arg(help_heading = "Networks that extract features")]
    gallery: Option<PathBuf>,
    /// Layer whose representations are compared [default: the output]
    #[arg(long, value_name = "LAYER", requires = "gallery")]
    #[arg(help_heading = "Networks that extract features")]
    gallery_layer: Option<String>,
    /// How far apart two representations are
    #[arg(long, value_enum, default_value_t = DistanceName::Euclidean, requires = "gallery")]
    #[arg(help_heading = "Networks that extract features")]
    distance: DistanceName,
    /// Largest distance at which an identity counts; what is farther from all of them is "unknown" [default: none, the
    /// nearest counts]
    #[arg(long, value_name = "T", requires = "gallery", allow_negative_numbers = true)]
    #[arg(help_heading = "Networks that extract features")]
    threshold: Option<f32>,
}

#[derive(Clone, Copy, ValueEnum)]
enum DistanceName {
    /// Length of the difference
    Euclidean,
    /// 1 − cosine of the angle
    Cosine,
}

impl GalleryArguments {
    /// What decides, in words; `None` without a gallery.
    pub(crate) fn description(&self) -> Option<String> {
        let folder = self.gallery.as_ref()?.display();
        let layer = self.gallery_layer.as_deref().unwrap_or("the output");
        let distance = match self.distance {
            DistanceName::Euclidean => "Euclidean",
            DistanceName::Cosine => "cosine",
        };
        let threshold = self.threshold.map(|threshold| format!(" within {threshold}"));
        let threshold = threshold.unwrap_or_default();
        Some(format!("{folder}, {distance} distance{threshold} at {layer}"))
    }

    /// The MD5 of its images; `None` without a gallery.
    pub(crate) fn md5(&self) -> Result<Option<String>> {
        let Some(folder) = &self.gallery else { return Ok(None) };
        let identities = open_identities(folder)?;
        Ok(Some(images_md5(identities.iter().flat_map(|identity| &identity.images))))
    }

    pub(crate) fn is_given(&self) -> bool {
        self.gallery.is_some()
    }

    /// By the gallery, if there is one; else by the largest logit of `model`.
    pub(crate) fn decision(
        &self,
        model: &Model,
        fit: &Fit,
        network: &Graph,
    ) -> Result<Box<dyn Decision>> {
        let Some(folder) = &self.gallery else { return Ok(Box::new(model.decision(network)?)) };
        let layer = match &self.gallery_layer {
            Some(pattern) => one_layer(network, "--gallery-layer", pattern)?,
            None => network.output(),
        };
        let mut identities = open_identities(folder)?;
        for identity in &mut identities {
            let images = std::mem::take(&mut identity.images).into_iter();
            identity.images =
                images.map(|image| fit.apply(image, network)).collect::<Result<_>>()?;
        }
        let distance = match self.distance {
            DistanceName::Euclidean => Distance::Euclidean,
            DistanceName::Cosine => Distance::Cosine,
        };
        Ok(Box::new(Gallery::new(network, layer, &identities, distance, self.threshold)?))
    }
}
