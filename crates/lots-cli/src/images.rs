//! Opening the images that commands are given.

use std::path::Path;

use anyhow::Result;
use lots::{NamedImage, open_identities, open_image};
use lots_nn::Graph;

use crate::model::Fit;

/// The images that `specs` name, at the size that `network` takes. A folder, laid out as a gallery is, stands for all images
/// in it; those of an identity that is one of `names` get its position as their label.
pub(crate) fn open(
    specs: &[String],
    fit: &Fit,
    network: &Graph,
    names: &[String],
) -> Result<Vec<NamedImage>> {
    let mut images = Vec::new();
    for spec in specs {
        let path = Path::new(spec);
        if !path.is_dir() {
            images.push(fit.apply(open_image(spec)?, network)?);
            continue;
        }
        for identity in open_identities(path)? {
            let label = names.iter().position(|name| *name == identity.name);
            for image in identity.images {
                images.push(fit.apply(NamedImage { label, ..image }, network)?);
            }
        }
    }
    Ok(images)
}
