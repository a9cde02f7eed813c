//! Normalisations.

use super::super::array::Array;
use super::super::attributes::Attributes;
use super::super::proto::NodeProto;
use super::super::read::{Made, Reader, axis};
use crate::graph::Action;
use crate::ops::broadcast::broadcast;
use crate::ops::lrn::Lrn;
use crate::ops::normalize::{Affine, BatchNorm, LpNorm, Power, Standardize};
use crate::tensor::{Tensor, show_shape};

/// Channels and elements of each channel of one image.
fn channels(shape: &[usize]) -> Result<(usize, usize), String> {
    match shape {
        [1, channels, plane @ ..] => Ok((*channels, plane.iter().product())),
        _ => Err(format!("wanted [N, channels, ...], found {} (of one image)", show_shape(shape))),
    }
}

/// Refuses `t` unless it holds `wanted` numbers on one axis.
fn check_list(what: &str, t: &Tensor, wanted: usize) -> Result<(), String> {
    if t.shape() == [wanted] {
        return Ok(());
    }
    Err(format!("its {what} {} does not fit {wanted} channels", show_shape(t.shape())))
}

fn epsilon(a: &Attributes<'_>) -> Result<f32, String> {
    let epsilon = a.float("epsilon", 1e-5)?;
    if epsilon >= 0.0 {
        return Ok(epsilon);
    }
    Err(format!("attribute epsilon is {epsilon}; wanted one that is not negative"))
}

/// The precision of the mean and the variance, which are in f64 here and better than any that can be asked for.
fn stash_type(a: &Attributes<'_>) -> Result<(), String> {
    match a.int("stash_type", 1)? {
        1 => Ok(()),
        other => Err(format!("attribute stash_type is {other}; Lots wants 1 (float32)")),
    }
}

fn affines(scale: &[f32], shift: &[f32]) -> Vec<Affine> {
    scale.iter().zip(shift).map(|(&scale, &shift)| Affine { scale, shift }).collect()
}

pub(super) fn batch(
    reader: &Reader<'_>,
    node: &NodeProto,
    a: &Attributes<'_>,
) -> Result<Made, String> {
    let (v, shape) = reader.activation(node, 0)?;
    let (channels, plane) = channels(&shape)?;
    if a.int("training_mode", 0)? != 0 {
        return Err(
            "training_mode = 1 would mix images; export for inference (model.eval())".into()
        );
    }
    // Only says how training changes the mean and the variance.
    a.float("momentum", 0.9)?;
    let epsilon = f64::from(epsilon(a)?);
    let mut lists = Vec::new();
    for (at, what) in (1..).zip(["scale", "bias", "mean", "variance"]) {
        let list = reader.weights(node, at)?;
        check_list(what, &list, channels)?;
        lists.push(list);
    }
    let number = |list: usize, c: usize| f64::from(lists[list].data()[c]);
    let affine = |c: usize| {
        let factor = number(0, c) / (number(3, c) + epsilon).sqrt();
        let shift = number(1, c) - number(2, c) * factor;
        Affine { scale: factor as f32, shift: shift as f32 }
    };
    let channels: Vec<Affine> = (0..channels).map(affine).collect();
    if let Some(c) = channels.iter().position(|c| !c.scale.is_finite() || !c.shift.is_finite()) {
        return Err(format!(
            "the variance of channel {c} is {}; wanted a positive one: train or export again",
            lists[3].data()[c]
        ));
    }
    Ok(Made { inputs: vec![v], shape, action: Action::run(BatchNorm { channels, plane }) })
}

/// InstanceNormalization and GroupNormalization.
pub(super) fn groups(
    reader: &Reader<'_>,
    node: &NodeProto,
    a: &Attributes<'_>,
) -> Result<Made, String> {
    let (v, shape) = reader.activation(node, 0)?;
    let (channels, plane) = channels(&shape)?;
    let (mut scale, mut shift) = (reader.weights(node, 1)?, reader.weights(node, 2)?);
    let (name, groups) = if node.op_type == "GroupNormalization" {
        stash_type(a)?;
        let groups = a
            .positive("num_groups", 0)
            .map_err(|e| format!("{e}; wanted a positive number of groups"))?;
        if !channels.is_multiple_of(groups) {
            return Err(format!("{channels} channels do not make {groups} equal groups"));
        }
        // Until operator set 20 there was a number for each group.
        for list in [&mut scale, &mut shift] {
            if list.shape() == [groups] {
                let each = channels / groups;
                let data = list.data().iter().flat_map(|&x| std::iter::repeat_n(x, each)).collect();
                *list = Tensor::new(vec![channels], data).ok_or("its scale is damaged")?;
            }
        }
        ("GroupNormalization", groups)
    } else {
        ("InstanceNormalization", channels)
    };
    check_list("scale", &scale, channels)?;
    check_list("bias", &shift, channels)?;
    let op = Standardize {
        name,
        parts: groups,
        size: channels / groups * plane,
        epsilon: epsilon(a)?,
        centred: true,
        channels: affines(scale.data(), shift.data()),
        plane,
    };
    Ok(Made { inputs: vec![v], shape, action: Action::run(op) })
}

/// LayerNormalization and RMSNormalization.
pub(super) fn layer(
    reader: &Reader<'_>,
    node: &NodeProto,
    a: &Attributes<'_>,
) -> Result<Made, String> {
    let (v, shape) = reader.activation(node, 0)?;
    let (outer, inner) = shape.split_at(axis(a.int("axis", -1)?, shape.len())?);
    stash_type(a)?;
    let centred = node.op_type == "LayerNormalization";
    let size = inner.iter().product();
    let expanded = |t: Tensor| -> Result<Vec<f32>, String> {
        if broadcast(t.shape(), inner).as_deref() != Some(inner) {
            return Err(format!(
                "its scale or bias {} does not broadcast to {}",
                show_shape(t.shape()),
                show_shape(inner)
            ));
        }
        Ok(Array { shape: t.shape().to_vec(), data: t.data().to_vec() }.expand(inner).data)
    };
    let scale = expanded(reader.weights(node, 1)?)?;
    let shift = match reader.floats(node, 2)? {
        Some(bias) if centred => expanded(bias)?,
        Some(_) => return Err("it has a third input; wanted two".into()),
        None => vec![0.0; size],
    };
    let op = Standardize {
        name: if centred { "LayerNormalization" } else { "RMSNormalization" },
        parts: outer.iter().product(),
        size,
        epsilon: epsilon(a)?,
        centred,
        channels: affines(&scale, &shift),
        plane: 1,
    };
    Ok(Made { inputs: vec![v], shape, action: Action::run(op) })
}

pub(super) fn lp(
    reader: &Reader<'_>,
    node: &NodeProto,
    a: &Attributes<'_>,
) -> Result<Made, String> {
    let (v, shape) = reader.activation(node, 0)?;
    let axis = axis(a.int("axis", -1)?, shape.len())?;
    let p = match a.int("p", 2)? {
        1 => Power::One,
        2 => Power::Two,
        p => return Err(format!("attribute p is {p}; wanted 1 or 2")),
    };
    let op = LpNorm {
        p,
        outer: shape[..axis].iter().product(),
        axis: shape[axis],
        inner: shape[axis + 1..].iter().product(),
    };
    Ok(Made { inputs: vec![v], shape, action: Action::run(op) })
}

pub(super) fn lrn(
    reader: &Reader<'_>,
    node: &NodeProto,
    a: &Attributes<'_>,
) -> Result<Made, String> {
    let (v, shape) = reader.activation(node, 0)?;
    let (channels, plane) = channels(&shape)?;
    let op = Lrn {
        channels,
        plane,
        size: a
            .positive("size", 0)
            .map_err(|e| format!("{e}; wanted a positive number of channels"))?,
        alpha: a.float("alpha", 1e-4)?,
        beta: a.float("beta", 0.75)?,
        bias: a.float("bias", 1.0)?,
    };
    Ok(Made { inputs: vec![v], shape, action: Action::run(op) })
}
