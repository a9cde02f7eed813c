//! Opening the images that commands are given.

use std::path::Path;

use anyhow::{Result, bail};
use lots::{NamedImage, open_identities, open_image};
use lots_nn::{Graph, Network};

/// The images that `specs` name, of the size that `network` takes. A folder, laid out as a gallery is, stands for all images
/// in it; those of an identity that is one of `names` get its position as their label.
pub(crate) fn open(specs: &[String], network: &Graph, names: &[String]) -> Result<Vec<NamedImage>> {
    let mut images = Vec::new();
    for spec in specs {
        let path = Path::new(spec);
        if !path.is_dir() {
            images.push(open_image(spec)?);
            continue;
        }
        for identity in open_identities(path)? {
            let label = names.iter().position(|name| *name == identity.name);
            images.extend(identity.images.into_iter().map(|image| NamedImage { label, ..image }));
        }
    }
    check_sizes(network, &images)?;
    Ok(images)
}

/// Refuses images of another size than `network` takes.
pub(crate) fn check_sizes(network: &Graph, images: &[NamedImage]) -> Result<()> {
    let input = network.input();
    let (channels, height, width) = (input.channels, input.height, input.width);
    for NamedImage { image, name, .. } in images {
        let (c, h, w) = (image.channels(), image.height(), image.width());
        if (c, h, w) != (channels, height, width) {
            let remedy = if (h, w) == (height, width) {
                "convert it to grey or colour first"
            } else {
                "scale or crop it first"
            };
            bail!(
                "{name} has {h}×{w}×{c} (height × width × channels), {} takes \
                 {height}×{width}×{channels}; {remedy}",
                network.name()
            );
        }
    }
    Ok(())
}
