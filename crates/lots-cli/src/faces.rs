//! The faces of `lots demo`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use lots::attack::{Attack, Distance, Extent, Gallery, Goal, Lots, Target, attack};
use lots::report::{Exhibit, Figure, read_exhibits};
use lots::{Identity, NamedImage, Record, Results, open_identities, write_file};
use lots_faces::{DESCRIPTOR, PORTRAITS};
use lots_nn::Graph;

use crate::arguments::one_layer;
use crate::attack::{keep, rows};

/// What it writes to the demo's folder: the network, the gallery, and what came of the attacks.
pub(crate) const FILES: [&str; 3] = [MODEL, PEOPLE, "faces"];
const MODEL: &str = "face_descriptor.onnx";
const PEOPLE: &str = "people";
/// Two faces within it are the same person's, as dlib has it.
const THRESHOLD: f32 = 0.6;
/// From where the pixels still see patterns to what identifies.
const LAYERS: [&str; 4] = ["conv64_3", "conv128_2", "conv256_2", "descriptor"];

/// The face recogniser that the program carries.
pub(crate) fn recogniser() -> Result<Graph> {
    Ok(Graph::from_onnx(DESCRIPTOR, MODEL)?)
}

/// Lays out the portraits that the program carries in `folder`, as a gallery; where that is.
pub(crate) fn lay_out(folder: &Path) -> Result<PathBuf> {
    let people = folder.join(PEOPLE);
    for portrait in &PORTRAITS {
        let person = people.join(portrait.person);
        fs::create_dir_all(&person)?;
        write_file(&person.join(portrait.file), portrait.png)?;
    }
    Ok(people)
}

/// What the [`recogniser`] says of faces, as its makers have it.
pub(crate) fn gallery(network: &Graph, identities: &[Identity]) -> Result<Gallery> {
    let layer = one_layer(network, "--gallery-layer", "descriptor")?;
    Ok(Gallery::new(network, layer, identities, Distance::Euclidean, Some(THRESHOLD))?)
}

/// A portrait that is taken for another person.
pub(crate) struct Faces {
    origin: NamedImage,
    target: NamedImage,
    records: Vec<Record>,
    exhibits: Vec<Exhibit>,
}

impl Faces {
    /// Lays out network and gallery in `folder`, and attacks.
    pub(crate) fn attack(folder: &Path) -> Result<Self> {
        let people = lay_out(folder)?;
        write_file(&folder.join(MODEL), DESCRIPTOR)?;
        let network = recogniser()?;
        let identities = open_identities(&people)?;
        let gallery = gallery(&network, &identities)?;
        // The first portrait of the first person towards the first of the second.
        let images: Vec<NamedImage> = identities
            .iter()
            .enumerate()
            .filter_map(|(class, identity)| {
                let image = identity.images.first()?.clone();
                // As it is called from the folder, where the page lies.
                let name = Path::new(&image.name).strip_prefix(folder).ok()?.display().to_string();
                Some(NamedImage { label: Some(class), name, ..image })
            })
            .collect();
        let methods = LAYERS.map(|name| one_layer(&network, "--layer", name).map(Lots));
        let methods = methods.into_iter().collect::<Result<Vec<_>>>()?;
        let attacks: Vec<Attack<'_>> = methods
            .iter()
            .map(|method| Attack {
                origin: 0,
                target: Some(Target::Image(1)),
                method,
                goal: Goal::Target,
                extent: Extent::Smallest,
                units: None,
            })
            .collect();
        let folder = folder.join("faces");
        let mut results = Results::create(&folder, true)?;
        let mut records = Vec::new();
        for (one, attacked) in attacks.iter().zip(attack(&network, &gallery, &images, &attacks)) {
            records.push(keep(&mut results, &network, &gallery, &images, one, &attacked?)?);
        }
        let mut images = images.into_iter();
        let (Some(origin), Some(target)) = (images.next(), images.next()) else {
            anyhow::bail!("{} holds fewer than two people", people.display());
        };
        Ok(Self { origin, target, records, exhibits: read_exhibits(&folder)? })
    }

    pub(crate) fn figure(&self) -> Figure<'_> {
        Figure::faces(&self.origin, &self.target, &self.exhibits)
    }

    /// A few lines for the terminal.
    pub(crate) fn text(&self) -> String {
        let names =
            self.records.first().map(|r| (r.origin_name.as_str(), r.target_name.as_deref()));
        let (own, other) = names.unwrap_or_default();
        let other = other.unwrap_or_default();
        format!("faces: {own} towards {other}\n\n{}", rows(&self.records, 0, true))
    }
}
