//! Opening the images that commands are given.

use std::path::Path;

use anyhow::Result;
use lots::{NamedImage, find_class, open_identities, open_image};
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
        // The folder of one identity holds images of that one, whatever they are called.
        let own = path.canonicalize().ok().and_then(|p| Some(p.file_name()?.to_str()?.to_owned()));
        let own = own.filter(|own| names.contains(own) && !has_folders(path));
        for identity in open_identities(path)? {
            let name = own.as_ref().unwrap_or(&identity.name);
            let label = match names.iter().filter(|one| *one == name).count() {
                0 => None,
                _ => Some(find_class(names, name).map_err(anyhow::Error::msg)?),
            };
            for image in identity.images {
                images.push(fit.apply(NamedImage { label, ..image }, network)?);
            }
        }
    }
    Ok(images)
}

fn has_folders(path: &Path) -> bool {
    path.read_dir().is_ok_and(|entries| entries.flatten().any(|entry| entry.path().is_dir()))
}
