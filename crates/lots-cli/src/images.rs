//! Opening the images that commands are given.

use std::borrow::Borrow;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use lots::attack::Decision;
use lots::data::open_dataset_with_classes;
use lots::{Dataset, NamedImage, Split, find_class, hex, open_identities, open_image};
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
pub(crate) enum Labelled {
    /// Those of a data set.
    Data(Dataset),
    /// Those of a folder of images, at the network's size.
    Images(Vec<NamedImage>),
}

impl Labelled {
    /// At least 1.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            Self::Images(images) => images.len(),
        }
    }

    pub(crate) fn label(&self, i: usize) -> Option<usize> {
        match self {
            Self::Data(data) => data.label(i),
            Self::Images(images) => images[i].label,
        }
    }

    /// In the whole data set, or in the folder.
    pub(crate) fn position(&self, i: usize) -> usize {
        match self {
            Self::Data(data) => data.position(i),
            Self::Images(_) => i,
        }
    }

    /// Image `i` at the size that `network` takes.
    pub(crate) fn image(&self, i: usize, fit: &Fit, network: &Graph) -> Result<NamedImage> {
        match self {
            Self::Data(data) => fit.apply(data.named(i), network),
            Self::Images(images) => Ok(images[i].clone()),
        }
    }
}

/// The images that `data` names, a data set or a folder that holds a folder of images for each class. Each has a label that is a
/// class of `decision`; the first is one that `network` takes.
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
        let labelled = Labelled::Data(data);
        labelled.image(0, fit, network)?;
        return Ok(labelled);
    }
    let images = open(&[data.to_owned()], fit, network, names)?;
    if let Some(NamedImage { name, .. }) = images.iter().find(|image| image.label.is_none()) {
        bail!(
            "{name} is in a folder whose name is no class of {}; rename the folder, or take it out of {data}, or give the \
             identities with --gallery",
            network.name()
        );
    }
    Ok(Labelled::Images(images))
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
    let is_parquet =
        |path: PathBuf| path.extension().is_some_and(|end| end.eq_ignore_ascii_case("parquet"));
    let any = |is: &dyn Fn(PathBuf) -> bool| {
        path.read_dir().is_ok_and(|entries| entries.flatten().any(|entry| is(entry.path())))
    };
    any(&is_image) && !any(&is_parquet)
}

/// The MD5 of the names, labels and pixels of images.
pub(crate) fn images_md5<I: Borrow<NamedImage>>(images: impl Iterator<Item = I>) -> String {
    let mut md5 = Md5::new();
    for image in images {
        let NamedImage { image, name, label } = image.borrow();
        md5.update(format!("{name}\n{label:?} {}×{}\n", image.width(), image.height()));
        md5.update(image.pixels());
    }
    hex(&md5.finalize())
}

fn has_folders(path: &Path) -> bool {
    path.read_dir().is_ok_and(|entries| entries.flatten().any(|entry| entry.path().is_dir()))
}
