//! Records: what is kept of an attack, enough for every report.

use lots_nn::LayerInfo;
use serde::{Deserialize, Serialize};

use crate::attack::{Attack, Attacked, Extent, Goal, Outcome, Perturbed, Units};
use crate::data::NamedImage;
use crate::measure::{Alignment, L2, Linf, MeasureError, measure};

/// All that is known of one attack; a line of `records.jsonl` is one of them as JSON.
///
/// Numbers are as they were computed. What depends on an image is `null` where there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What the network is called.
    pub model: String,
    /// The reference that opens the origin.
    pub origin: String,
    /// The origin's class: its label, or what the network says where it has none.
    pub origin_label: usize,
    /// What that class is called.
    pub origin_name: String,
    /// What the network says of the origin.
    pub origin_class: usize,
    /// The method, as users call it.
    pub method: String,
    /// The layer at which the cotangent lies.
    pub layer: String,
    /// Its index, from 1 at the input; `null` for layers without weights.
    pub layer_index: Option<usize>,
    /// The units of the layer that the cotangent keeps; `null` for all.
    pub units: Option<String>,
    /// The reference that opens the target, for methods with one.
    pub target: Option<String>,
    /// The target's label, where it has one.
    pub target_label: Option<usize>,
    /// The hot class of hot/cold.
    pub hot: Option<usize>,
    /// What counts as a success: `any`, `target`, or a class.
    pub goal: String,
    /// The L∞ norm that was fixed instead of a search, in grey levels.
    pub fixed_linf: Option<u8>,
    /// What came of it.
    pub outcome: Ending,
    /// What the network says of the image.
    pub label: Option<usize>,
    /// What that class is called.
    pub label_name: Option<String>,
    /// How far along the direction, in grey levels of the pixel that changes most.
    pub step: Option<f64>,
    /// The largest step below that is known to miss; `null` where L∞ was fixed.
    pub missed: Option<f64>,
    /// Euclidean norm of the perturbation, in grey levels.
    pub l2: Option<L2>,
    /// Largest change of one value, in grey levels.
    pub linf: Option<Linf>,
    /// Perceptual similarity to the origin, −1 to 1.
    pub pass: Option<f64>,
    /// What became of the alignment that PASS starts with.
    pub alignment: Option<Alignment>,
    /// The image, a PNG; its path is relative to the file that holds the record.
    pub image: Option<String>,
    /// The perturbation, a PNG with zero at grey level 128; its path likewise.
    pub perturbation: Option<String>,
    /// Grey levels of the perturbation that one grey level of that PNG stands for.
    pub perturbation_scale: Option<f64>,
}

/// The kinds of [`Outcome`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// An image reaches the goal.
    Adversarial,
    /// None does.
    NotFound,
    /// The origin's class is not its label.
    OriginMisclassified,
    /// There is no direction to go.
    NoDirection,
}

impl Outcome {
    /// The image, if there is one.
    pub fn image(&self) -> Option<&Perturbed> {
        match self {
            Self::Adversarial(found) | Self::NotFound(Some(found)) => Some(found),
            _ => None,
        }
    }

    /// Which kind of result it is.
    pub fn ending(&self) -> Ending {
        match self {
            Self::Adversarial(_) => Ending::Adversarial,
            Self::NotFound(_) => Ending::NotFound,
            Self::OriginMisclassified => Ending::OriginMisclassified,
            Self::NoDirection => Ending::NoDirection,
        }
    }
}

impl Record {
    /// The record of what came of `attack` on `images`, its measures included. `model` is what the network is called, `layer`
    /// where the cotangent lies. The image files are still to be named.
    ///
    /// # Errors
    /// When origin and image cannot be compared.
    ///
    /// # Panics
    /// When the attack is not one on `images`.
    pub fn new(
        model: &str,
        layer: &LayerInfo,
        images: &[NamedImage],
        attack: &Attack<'_>,
        attacked: &Attacked,
    ) -> Result<Self, MeasureError> {
        let origin = &images[attack.origin];
        let target = attack.target.map(|target| &images[target]);
        let origin_label = origin.label.unwrap_or(attacked.origin_class);
        let found = attacked.outcome.image();
        let measures = found.map(|found| measure(&origin.image, &found.image)).transpose()?;
        Ok(Self {
            model: model.to_owned(),
            origin: origin.name.clone(),
            origin_label,
            origin_name: class_name(origin_label),
            origin_class: attacked.origin_class,
            method: attack.method.name().to_owned(),
            layer: layer.name.clone(),
            layer_index: layer.index,
            units: attack.units.map(Units::to_string),
            target: target.map(|target| target.name.clone()),
            target_label: target.and_then(|target| target.label),
            hot: attack.method.hot(),
            goal: match attack.goal {
                Goal::Any => "any".to_owned(),
                Goal::Target => "target".to_owned(),
                Goal::Class(class) => class.to_string(),
            },
            fixed_linf: match attack.extent {
                Extent::Smallest => None,
                Extent::Linf(linf) => Some(linf),
            },
            outcome: attacked.outcome.ending(),
            label: found.map(|found| found.class),
            label_name: found.map(|found| class_name(found.class)),
            step: found.map(|found| found.step.into()),
            missed: found.and_then(|found| found.missed).map(f64::from),
            l2: measures.map(|m| m.l2),
            linf: measures.map(|m| m.linf),
            pass: measures.map(|m| m.pass.score),
            alignment: measures.map(|m| m.pass.alignment),
            image: None,
            perturbation: None,
            perturbation_scale: None,
        })
    }
}

/// What a class is called where nobody has given it a name.
fn class_name(class: usize) -> String {
    class.to_string()
}
