//! Opening the images that commands are given.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use lots::attack::Decision;
use lots::data::open_dataset_with_classes;
use lots::{NamedImage, Split, find_class, hex, open_identities, open_image};
use lots_nn::Graph;
use md5::{Digest, Md5};

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

/// Images with their classes.
pub(crate) struct Labelled {
    /// At least one.
    pub(crate) images: Vec<NamedImage>,
    /// The position of the first in its data set; 0 in a folder of images.
    pub(crate) first: usize,
}

/// The images that `data` names, a data set or a folder that holds a folder of images for each class, at the size that `network`
/// takes. Each has a label that is a class of `decision`.
pub(crate) fn labelled(
    data: &str,
    prefer: Split,
    fit: &Fit,
    network: &Graph,
    decision: &dyn Decision,
) -> Result<Labelled> {
    let names = decision.names();
    if !holds_images(Path::new(data)) {
        let data = open_dataset_with_classes(data, prefer, names.len().min(256))?;
        data.labels_below(names.len())?;
        let fit = |i| fit.apply(data.named(i), network);
        let images = (0..data.len()).map(fit).collect::<Result<Vec<_>>>()?;
        return Ok(Labelled { images, first: data.position(0) });
    }
    let images = open(&[data.to_owned()], fit, network, names)?;
    if let Some(NamedImage { name, .. }) = images.iter().find(|image| image.label.is_none()) {
        bail!(
            "{name} is in a folder whose name is no class of {}; rename the folder, or take it out of {data}, or give the \
             identities with --gallery",
            network.name()
        );
    }
    Ok(Labelled { images, first: 0 })
}

/// Whether `data` are digits of MNIST as they are.
pub(crate) fn is_mnist(data: &str) -> bool {
    data == "mnist" || data.starts_with("mnist:")
}

/// Whether a folder holds images, or folders of them, and not a data set in files of its own.
fn holds_images(path: &Path) -> bool {
    let is_image = |path: PathBuf| {
        path.is_dir() || path.extension().is_some_and(|end| end.eq_ignore_ascii_case("png"))
    };
    path.read_dir().is_ok_and(|entries| entries.flatten().any(|entry| is_image(entry.path())))
}

/// The MD5 of the names, labels and pixels of images.
pub(crate) fn images_md5<'i>(images: impl Iterator<Item = &'i NamedImage>) -> String {
    let mut md5 = Md5::new();
    for NamedImage { image, name, label } in images {
        md5.update(format!("{name}\n{label:?} {}×{}\n", image.width(), image.height()));
        md5.update(image.pixels());
    }
    hex(&md5.finalize())
}

fn has_folders(path: &Path) -> bool {
    path.read_dir().is_ok_and(|entries| entries.flatten().any(|entry| entry.path().is_dir()))
}
