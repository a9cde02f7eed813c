//! Resize.

use super::super::attributes::Attributes;
use super::super::proto::NodeProto;
use super::super::read::{Made, Reader, axis, check_table, possible};
use crate::graph::Action;
use crate::ops::resize::{Coordinates, Mode, Resize, Rounding, Stretch};
use crate::tensor::show_shape;

pub(super) fn resize(
    reader: &Reader<'_>,
    node: &NodeProto,
    a: &Attributes<'_>,
) -> Result<Made, String> {
    let (v, shape) = reader.activation(node, 0)?;
    possible(&shape)?;
    let (mode, coordinates) = (mode(a)?, coordinates(a)?);
    if a.int("antialias", 0)? != 0 {
        return Err("antialias = 1 is not supported; export with antialias=False".into());
    }
    let policy = a.text("keep_aspect_ratio_policy")?;
    if !matches!(policy.as_str(), "" | "stretch") {
        return Err(format!(
            "attribute keep_aspect_ratio_policy is \"{policy}\"; Lots supports stretch"
        ));
    }
    // Of a coordinate_transformation_mode that is refused.
    a.get("extrapolation_value", 1)?;
    let stretches = stretches(reader, node, a, &shape)?;
    if coordinates == Coordinates::AlignCorners
        && let Some(s) = stretches.iter().flatten().find(|s| !whole(s))
    {
        return Err(format!(
            "{} elements times {} make no whole number; where corners are aligned, ONNX and ONNX Runtime then differ: export with sizes",
            s.from,
            s.scale.unwrap_or_default()
        ));
    }
    let output: Vec<usize> =
        shape.iter().zip(&stretches).map(|(&d, s)| s.map_or(d, |s| s.to)).collect();
    possible(&output)?;
    for s in stretches.iter().flatten() {
        check_table("places along a resized axis", &[s.to, 4])?;
    }
    let action = if stretches.iter().all(Option::is_none) {
        Action::View
    } else {
        Action::run(Resize::new(&shape, &stretches, mode, coordinates))
    };
    Ok(Made { inputs: vec![v], shape: output, action })
}

fn mode(a: &Attributes<'_>) -> Result<Mode, String> {
    let nearest = a.text("nearest_mode")?;
    let rounding = match nearest.as_str() {
        "" | "round_prefer_floor" => Rounding::PreferFloor,
        "round_prefer_ceil" => Rounding::PreferCeil,
        "floor" => Rounding::Floor,
        "ceil" => Rounding::Ceil,
        other => return Err(format!("attribute nearest_mode is \"{other}\"")),
    };
    let cubic = Mode::Cubic {
        a: f64::from(a.float("cubic_coeff_a", -0.75)?),
        exclude_outside: a.int("exclude_outside", 0)? != 0,
    };
    match a.text("mode")?.as_str() {
        "" | "nearest" => Ok(Mode::Nearest(rounding)),
        "linear" => Ok(Mode::Linear),
        "cubic" => Ok(cubic),
        other => Err(format!("attribute mode is \"{other}\"")),
    }
}

fn coordinates(a: &Attributes<'_>) -> Result<Coordinates, String> {
    match a.text("coordinate_transformation_mode")?.as_str() {
        "" | "half_pixel" => Ok(Coordinates::HalfPixel),
        "half_pixel_symmetric" => Ok(Coordinates::HalfPixelSymmetric),
        "pytorch_half_pixel" => Ok(Coordinates::PytorchHalfPixel),
        "align_corners" => Ok(Coordinates::AlignCorners),
        "asymmetric" => Ok(Coordinates::Asymmetric),
        other => Err(format!(
            "attribute coordinate_transformation_mode is \"{other}\"; Lots supports half_pixel, half_pixel_symmetric, pytorch_half_pixel, align_corners and asymmetric"
        )),
    }
}

/// Whether the scale, if there is one, makes a whole number of elements.
fn whole(s: &Stretch) -> bool {
    // A scale is rounded to f32: 0.6 of 5 elements are 3.
    s.scale.is_none_or(|scale| (s.from as f32 * scale - s.to as f32) < 1e-4 * s.to as f32)
}

/// What happens to each axis of `shape`; `None` where nothing does.
fn stretches(
    reader: &Reader<'_>,
    node: &NodeProto,
    a: &Attributes<'_>,
    shape: &[usize],
) -> Result<Vec<Option<Stretch>>, String> {
    let axes = match a.ints("axes")? {
        Some(axes) => axes.iter().map(|&at| axis(at, shape.len())).collect::<Result<_, _>>()?,
        None => (0..shape.len()).collect::<Vec<_>>(),
    };
    // Older exporters write an empty list for what is not given.
    let scales = reader.floats(node, 2)?.filter(|s| !s.data().is_empty());
    let sizes = reader.ints(node, 3)?.filter(|s| !s.data.is_empty());
    let wanted: Vec<(usize, Option<f32>)> = match (&scales, &sizes) {
        (Some(scales), None) => {
            let axes = axes.iter().zip(scales.data());
            axes.map(|(&at, &scale)| ((shape[at] as f32 * scale) as usize, Some(scale))).collect()
        }
        (None, Some(sizes)) => {
            sizes.data.iter().map(|&d| (usize::try_from(d).unwrap_or(0), None)).collect()
        }
        _ => return Err("wanted either scales or sizes".into()),
    };
    let given = scales.map_or(wanted.len(), |s| s.data().len());
    if given != axes.len() {
        return Err(format!("{given} scales or sizes do not fit {} axes", axes.len()));
    }
    let mut stretches = vec![None; shape.len()];
    for (&at, (to, scale)) in axes.iter().zip(wanted) {
        let from = shape[at];
        if to == 0 {
            return Err(format!("axis {at} of {} would have no elements", show_shape(shape)));
        }
        let same = to == from && scale.is_none_or(|s| s.to_bits() == 1f32.to_bits());
        let stretch = (!same).then_some(Stretch { from, to, scale });
        if std::mem::replace(&mut stretches[at], stretch).is_some() {
            return Err(format!("axis {at} is there twice"));
        }
    }
    Ok(stretches)
}
