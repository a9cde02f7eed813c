//! Records: what is kept of an attack, enough for every report.

use lots_nn::LayerInfo;
use serde::{Deserialize, Serialize};

use crate::attack::{
    Attack, Attacked, Decision, Extent, Goal, Method, Minimise, Outcome, Passes, Perturbed, Target,
    UNKNOWN, Units, Walk,
};
use crate::data::NamedImage;
use crate::measure::{Alignment, Breadth, Focus, L2, Linf, MeasureError, breadth, focus, measure};

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
    /// What that class is called.
    #[serde(default)]
    pub origin_class_name: Option<String>,
    /// The method, as users call it.
    pub method: String,
    /// The layer at which the cotangent lies.
    pub layer: String,
    /// Its index, from 1 at the input; `null` for layers without weights.
    pub layer_index: Option<usize>,
    /// The units of the layer that the cotangent keeps; `null` for all.
    pub units: Option<String>,
    /// The reference that opens the target, for methods with one; of a representation, the file and the row.
    pub target: Option<String>,
    /// The target's label, where it has one.
    pub target_label: Option<usize>,
    /// What that class is called.
    #[serde(default)]
    pub target_name: Option<String>,
    /// The hot class of hot/cold.
    pub hot: Option<usize>,
    /// What that class is called.
    #[serde(default)]
    pub hot_name: Option<String>,
    /// What counts as a success: `any`, `target`, or what a class is called; `near` where a distance of representations does.
    pub goal: String,
    /// The L∞ norm that was fixed instead of a search, in grey levels.
    pub fixed_linf: Option<u8>,
    /// How a method went that walks or minimises; `null` for a search along one direction.
    #[serde(default)]
    pub walk: Option<String>,
    /// Forward and backward passes of single images that it took; `null` in records of older versions.
    #[serde(default)]
    pub passes: Option<Passes>,
    /// What came of it.
    pub outcome: Ending,
    /// What the network says of the image.
    pub label: Option<usize>,
    /// What that class is called.
    pub label_name: Option<String>,
    /// Where a gallery decides: how far it is to the origin's identity; `null` where that is "unknown".
    #[serde(default)]
    pub own: Option<Approach>,
    /// Likewise to the identity that the image is taken for, or, without an image, that is the goal.
    #[serde(default)]
    pub other: Option<Approach>,
    /// How far along the direction, in grey levels of the pixel that changes most; of a walk, the steps that it
    /// took; of a minimisation, how often the optimiser had looked.
    pub step: Option<f64>,
    /// The largest step below that is known to miss; `null` where L∞ was fixed, of a walk and of a minimisation.
    pub missed: Option<f64>,
    /// Euclidean norm of the perturbation, in grey levels.
    pub l2: Option<L2>,
    /// Largest change of one value, in grey levels.
    pub linf: Option<Linf>,
    /// Perceptual similarity to the origin, −1 to 1.
    pub pass: Option<f64>,
    /// What became of the alignment that PASS starts with.
    pub alignment: Option<Alignment>,
    /// How much the perturbation keeps to what the origin shows, 0–1.
    #[serde(default)]
    pub focus: Option<Focus>,
    /// The share of the pixels that hold half of the perturbation's energy.
    #[serde(default)]
    pub breadth: Option<Breadth>,
    /// The image, a PNG; its path is relative to the file that holds the record.
    pub image: Option<String>,
    /// The perturbation, a PNG with zero at grey level 128; its path likewise.
    pub perturbation: Option<String>,
    /// Grey levels of the perturbation that one grey level of that PNG stands for.
    pub perturbation_scale: Option<f64>,
}

/// How a method went that did not search along one direction.
fn way(method: &dyn Method) -> Option<String> {
    let minimise = || method.minimise().map(Minimise::to_string);
    method.walk().map(Walk::to_string).or_else(minimise)
}

/// The goal of a walk that ends at a distance of representations.
pub(crate) const NEAR: &str = "near";

/// The distance to an identity of a gallery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Approach {
    /// Who it is.
    pub identity: String,
    /// From the origin.
    pub before: f64,
    /// From the image; `null` where there is none.
    pub after: Option<f64>,
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
    /// where the cotangent lies, and `decision` what made the classes. The image files are still to be named.
    ///
    /// # Errors
    /// When origin and image cannot be compared.
    ///
    /// # Panics
    /// When the attack is not one on `images`, or what came of it is not by `decision`.
    pub fn new(
        model: &str,
        layer: &LayerInfo,
        decision: &dyn Decision,
        images: &[NamedImage],
        attack: &Attack<'_>,
        attacked: &Attacked,
    ) -> Result<Self, MeasureError> {
        let origin = &images[attack.origin];
        let target = attack.target.and_then(|target| target.image()).map(|target| &images[target]);
        let name = |class| name_of(decision, class);
        let origin_label = origin.label.unwrap_or(attacked.origin_class);
        // A label may be none of the decision's.
        let is_class = origin_label < decision.names().len();
        let own = if is_class { origin_label } else { attacked.origin_class };
        let found = attacked.outcome.image();
        let ends_near = attack.method.walk().is_some_and(Walk::ends_near);
        let goal = match attack.goal {
            _ if ends_near => None,
            Goal::Any => None,
            Goal::Target => target.and_then(|target| target.label),
            Goal::Class(class) => Some(class),
        };
        let other = found.map(|found| found.class).or(goal);
        let measures = found.map(|found| measure(&origin.image, &found.image)).transpose()?;
        Ok(Self {
            model: model.to_owned(),
            origin: origin.name.clone(),
            origin_label,
            origin_name: name(origin_label),
            origin_class: attacked.origin_class,
            origin_class_name: Some(name(attacked.origin_class)),
            method: attack.method.name().to_owned(),
            layer: layer.name.clone(),
            layer_index: layer.index,
            units: attack.units.map(Units::to_string),
            target: attack.target.map(|target| match target {
                Target::Image(position) => images[position].name.clone(),
                Target::Representation(stolen) => stolen.name.clone(),
            }),
            target_label: target.and_then(|target| target.label),
            target_name: target.and_then(|target| target.label).map(name),
            hot: attack.method.hot(),
            hot_name: attack.method.hot().map(name),
            goal: match attack.goal {
                _ if ends_near => NEAR.to_owned(),
                Goal::Any => "any".to_owned(),
                Goal::Target => "target".to_owned(),
                Goal::Class(class) => name(class),
            },
            fixed_linf: match attack.extent {
                Extent::Smallest | Extent::Beyond(_) => None,
                Extent::Linf(linf) => Some(linf),
            },
            walk: way(attack.method),
            passes: Some(attacked.passes),
            outcome: attacked.outcome.ending(),
            label: found.map(|found| found.class),
            label_name: found.map(|found| name(found.class)),
            own: approach(decision, attacked, own),
            other: other.and_then(|other| approach(decision, attacked, other)),
            step: found.map(|found| found.step.into()),
            missed: found.and_then(|found| found.missed).map(f64::from),
            l2: measures.map(|m| m.l2),
            linf: measures.map(|m| m.linf),
            pass: measures.map(|m| m.pass.score),
            alignment: measures.map(|m| m.pass.alignment),
            focus: found.map(|found| focus(&origin.image, &found.image)).transpose()?,
            breadth: found.map(|found| breadth(&origin.image, &found.image)).transpose()?,
            image: None,
            perturbation: None,
            perturbation_scale: None,
        })
    }
}

/// What a class is called; a label may be none of the decision's.
fn name_of(decision: &dyn Decision, class: usize) -> String {
    decision.names().get(class).cloned().unwrap_or_else(|| class.to_string())
}

/// What became of the distance to the identity `class`; `None` where logits decide, and for what is no identity.
fn approach(decision: &dyn Decision, attacked: &Attacked, class: usize) -> Option<Approach> {
    decision.measured()?;
    let identity = name_of(decision, class);
    if identity == UNKNOWN {
        return None;
    }
    let distance = |scores: &[f32]| -f64::from(scores[class]);
    let after = attacked.outcome.image().map(|found| distance(&found.scores));
    Some(Approach { identity, before: distance(&attacked.origin_scores), after })
}
