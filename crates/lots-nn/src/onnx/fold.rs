//! Nodes that do not depend on the image: computed once, when the file is read.
//!
//! Exporters write shapes as small computations over the batch; with one image all of them are numbers.

use super::array::Array;
use super::attributes::Attributes;
use super::operators::{Output, arrange, arranges, build, floats};
use super::proto::{NodeProto, data_type};
use super::read::{Reader, Side, axis, check_table, possible};
use super::tensors::{Constant, constant};
use crate::graph::Action;
use crate::kernels::Isa;
use crate::network::ReluRule;
use crate::ops::Run;
use crate::ops::broadcast::broadcast;
use crate::tensor::Tensor;

/// The constants that `node` makes, or `None` if it depends on the image.
pub(super) fn fold(
    reader: &mut Reader<'_>,
    node: &NodeProto,
    a: &Attributes<'_>,
) -> Result<Option<Vec<Constant>>, String> {
    let op = node.op_type.as_str();
    // Shapes are known even of what depends on the image.
    if matches!(op, "Shape" | "Size") {
        return shape_of(reader, node, a).map(|c| Some(vec![c]));
    }
    let mut given = node.input.iter().filter(|n| !n.is_empty()).peekable();
    if given.peek().is_none() || !given.all(|n| reader.is_constant(n)) {
        return Ok(None);
    }
    if arranges(op) {
        let outputs = arrange(reader, node, a)?.into_iter().map(|o| match o {
            Output::Constant(c) => Ok(c),
            Output::Value(_) => Err("its inputs are not all constants".to_owned()),
        });
        return outputs.collect::<Result<_, _>>().map(Some);
    }
    let folded = match op {
        "Cast" => cast(reader, node, a)?,
        "ConstantOfShape" => filled(reader, node, a)?,
        "Range" => range(reader, node)?,
        "DequantizeLinear" => dequantized(reader, node, a)?,
        "Not" => {
            let x = reader.ints(node, 0)?.ok_or("its input is missing")?;
            let data = x.data.iter().map(|&x| i64::from(x == 0)).collect();
            Constant::Ints(Array { shape: x.shape, data })
        }
        _ => match integers(reader, node, a)? {
            Some(c) => c,
            None => computed(reader, node, a)?,
        },
    };
    Ok(Some(vec![folded]))
}

fn shape_of(reader: &Reader<'_>, node: &NodeProto, a: &Attributes<'_>) -> Result<Constant, String> {
    let shape = reader.side(node.input.first().map_or("", String::as_str))?.shape()?;
    let sizes: Vec<i64> = shape.iter().map(|&d| d as i64).collect();
    if node.op_type == "Size" {
        return Ok(Constant::Ints(Array { shape: vec![], data: vec![sizes.iter().product()] }));
    }
    let place = |at: i64| {
        let rank = sizes.len() as i64;
        (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize
    };
    let (start, end) = (place(a.int("start", 0)?), place(a.int("end", i64::MAX)?));
    let data = sizes.get(start..end).unwrap_or_default().to_vec();
    Ok(Constant::Ints(Array { shape: vec![data.len()], data }))
}

fn cast(reader: &Reader<'_>, node: &NodeProto, a: &Attributes<'_>) -> Result<Constant, String> {
    let to = i32::try_from(a.int("to", 0)?).unwrap_or_default();
    // Of 8-bit floats only, which are refused.
    a.int("saturate", 1)?;
    let bool = to == data_type::BOOL;
    let to_float = to == data_type::FLOAT;
    let to_int = bool || matches!(to, data_type::INT64 | data_type::INT32);
    let Side::Constant(from) = reader.side(&node.input[0])? else {
        return Err("its input is no constant".into());
    };
    let fits = |x: &i64| to != data_type::INT32 || i32::try_from(*x).is_ok();
    match from {
        Constant::Ints(x) if to_int && !x.data.iter().all(fits) => {
            Err("its integers do not fit 32 bits".into())
        }
        Constant::Floats(t) if to_int => {
            let number = |&x: &f32| if bool { i64::from(x != 0.0) } else { x as i64 };
            let data = t.data().iter().map(number).collect();
            Ok(Constant::Ints(Array { shape: t.shape().to_vec(), data }))
        }
        Constant::Ints(x) if to_float => {
            floats(x.shape, x.data.iter().map(|&x| x as f32).collect())
        }
        Constant::Ints(x) if bool => {
            let data = x.data.iter().map(|&x| i64::from(x != 0)).collect();
            Ok(Constant::Ints(Array { shape: x.shape, data }))
        }
        same @ Constant::Floats(_) if to_float => Ok(same),
        same @ Constant::Ints(_) if to_int => Ok(same),
        Constant::Other(why) => Err(why),
        _ => Err(format!("it makes {}, which Lots does not compute with", data_type::name(to))),
    }
}

/// ConstantOfShape.
fn filled(reader: &Reader<'_>, node: &NodeProto, a: &Attributes<'_>) -> Result<Constant, String> {
    let wanted = reader.ints(node, 0)?.ok_or("its shape is missing")?;
    let shape: Option<Vec<usize>> = wanted.data.iter().map(|&d| usize::try_from(d).ok()).collect();
    let shape = shape.ok_or_else(|| format!("its shape is {:?}", wanted.data))?;
    check_table("its elements", &shape)?;
    let n = shape.iter().product();
    let value = match a.tensor("value")? {
        Some(t) => constant(t, None)?,
        None => return floats(shape, vec![0.0; n]),
    };
    match value {
        Constant::Floats(t) => floats(shape, vec![t.data().first().copied().unwrap_or(0.0); n]),
        Constant::Ints(x) => {
            let data = vec![x.data.first().copied().unwrap_or(0); n];
            Ok(Constant::Ints(Array { shape, data }))
        }
        Constant::Other(why) => Err(why),
    }
}

fn range(reader: &Reader<'_>, node: &NodeProto) -> Result<Constant, String> {
    let number = |at: usize| -> Result<i64, String> {
        let x = reader.ints(node, at)?.ok_or("an input is missing")?;
        x.data.first().copied().ok_or_else(|| "an input is empty".to_owned())
    };
    let (start, limit, step) = (number(0)?, number(1)?, number(2)?);
    let distance = i128::from(limit) - i128::from(start);
    let count = match i128::from(step) {
        0 => return Err("its step is 0".into()),
        step => usize::try_from((distance + step - step.signum()) / step).unwrap_or(0),
    };
    check_table("its elements", &[count])?;
    let data: Vec<i64> = (0..count as i64).map(|i| start + i * step).collect();
    Ok(Constant::Ints(Array { shape: vec![count], data }))
}

/// Weights that were stored as integers: `(x − zero) · scale`, by one number or by one for each place of an axis.
fn dequantized(
    reader: &Reader<'_>,
    node: &NodeProto,
    a: &Attributes<'_>,
) -> Result<Constant, String> {
    let x = reader.ints(node, 0)?.ok_or("its input is missing")?;
    let scale = reader.weights(node, 1)?;
    let zero = reader.ints(node, 2)?;
    let at = a.int("axis", 1)?;
    if a.int("block_size", 0)? != 0 {
        return Err("block_size is not supported: quantize by tensor or by axis".into());
    }
    let n = scale.data().len();
    let (axis_size, inner) = if scale.shape().is_empty() || n == 1 {
        (1, x.data.len().max(1))
    } else {
        let at = axis(at, x.shape.len())?;
        (x.shape[at], x.shape[at + 1..].iter().product())
    };
    let zeros = zero.map_or_else(|| vec![0; n], |z| z.data);
    if n != axis_size || zeros.len() != n {
        return Err(format!(
            "{n} scales and {} zero points do not fit an axis of {axis_size}",
            zeros.len()
        ));
    }
    let number = |(i, &x): (usize, &i64)| {
        let k = i / inner % axis_size;
        x.saturating_sub(zeros[k]) as f32 * scale.data()[k]
    };
    floats(x.shape, x.data.iter().enumerate().map(number).collect())
}

/// Arithmetic and comparisons of integers; `None` when an input holds floats.
fn integers(
    reader: &Reader<'_>,
    node: &NodeProto,
    a: &Attributes<'_>,
) -> Result<Option<Constant>, String> {
    let mut sides = Vec::new();
    for name in &node.input {
        match reader.side(name)? {
            Side::Constant(Constant::Ints(x)) => sides.push(x),
            Side::Constant(Constant::Other(why)) => return Err(why),
            _ => return compared(reader, node),
        }
    }
    let bad = || "its integers are too large, or it divides by zero".to_owned();
    if let [x] = sides.as_slice() {
        let number: fn(i64) -> Option<i64> = match node.op_type.as_str() {
            "Neg" => i64::checked_neg,
            "Abs" => i64::checked_abs,
            "ReduceProd" | "ReduceSum" | "ReduceMax" | "ReduceMin" => {
                return reduced(node, a, x).map(Some);
            }
            _ => return Err("Lots does not compute it with integers".into()),
        };
        let data = x.data.iter().map(|&x| number(x)).collect::<Option<_>>().ok_or_else(bad)?;
        return Ok(Some(Constant::Ints(Array { shape: x.shape.clone(), data })));
    }
    let [x, y] = sides.as_slice() else {
        return Err("Lots does not compute it with integers".into());
    };
    let number: fn(i64, i64) -> Option<i64> = match node.op_type.as_str() {
        "Add" => i64::checked_add,
        "Sub" => i64::checked_sub,
        "Mul" => i64::checked_mul,
        "Div" => i64::checked_div,
        "Mod" if a.int("fmod", 0)? != 0 => i64::checked_rem,
        "Mod" => |a, b| {
            let rest = a.checked_rem(b)?;
            Some(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
        },
        "Min" => |a, b| Some(a.min(b)),
        "Max" => |a, b| Some(a.max(b)),
        "And" => |a, b| Some(i64::from(a != 0 && b != 0)),
        "Or" => |a, b| Some(i64::from(a != 0 || b != 0)),
        "Xor" => |a, b| Some(i64::from((a != 0) != (b != 0))),
        "Equal" => |a, b| Some(i64::from(a == b)),
        "Less" => |a, b| Some(i64::from(a < b)),
        "LessOrEqual" => |a, b| Some(i64::from(a <= b)),
        "Greater" => |a, b| Some(i64::from(a > b)),
        "GreaterOrEqual" => |a, b| Some(i64::from(a >= b)),
        "ReduceProd" | "ReduceSum" | "ReduceMax" | "ReduceMin" => {
            return reduced(node, a, x).map(Some);
        }
        _ => return Err("Lots does not compute it with integers".into()),
    };
    let [x, y] = aligned(x, y)?;
    let both = x.data.iter().zip(&y.data);
    let data = both.map(|(&x, &y)| number(x, y)).collect::<Option<_>>().ok_or_else(bad)?;
    Ok(Some(Constant::Ints(Array { shape: x.shape, data })))
}

/// Both sides repeated to their common shape.
fn aligned<T: Copy>(x: &Array<T>, y: &Array<T>) -> Result<[Array<T>; 2], String> {
    let shape = broadcast(&x.shape, &y.shape).ok_or("its inputs do not broadcast")?;
    check_table("its elements", &shape)?;
    Ok([x.expand(&shape), y.expand(&shape)])
}

/// Comparisons of floats; `None` for any other operator.
fn compared(reader: &Reader<'_>, node: &NodeProto) -> Result<Option<Constant>, String> {
    let holds: fn(f32, f32) -> bool = match node.op_type.as_str() {
        "Equal" => |a, b| (a - b).abs() <= 0.0,
        "Less" => |a, b| a < b,
        "LessOrEqual" => |a, b| a <= b,
        "Greater" => |a, b| a > b,
        "GreaterOrEqual" => |a, b| a >= b,
        _ => return Ok(None),
    };
    let array = |t: Tensor| Array { shape: t.shape().to_vec(), data: t.data().to_vec() };
    let (x, y) = (array(reader.weights(node, 0)?), array(reader.weights(node, 1)?));
    let [x, y] = aligned(&x, &y)?;
    let data = x.data.iter().zip(&y.data).map(|(&x, &y)| i64::from(holds(x, y))).collect();
    Ok(Some(Constant::Ints(Array { shape: x.shape, data })))
}

/// A reduction of a list of integers to one number.
fn reduced(node: &NodeProto, a: &Attributes<'_>, x: &Array<i64>) -> Result<Constant, String> {
    let keep = a.int("keepdims", 1)? != 0;
    if x.shape.len() > 1 {
        return Err("Lots reduces lists of integers only".into());
    }
    let axes = a.ints("axes")?;
    if a.int("noop_with_empty_axes", 0)? != 0 && node.input.len() < 2 && axes.is_none() {
        return Ok(Constant::Ints(x.clone()));
    }
    let result = match node.op_type.as_str() {
        "ReduceProd" => x.data.iter().try_fold(1i64, |p, &x| p.checked_mul(x)),
        "ReduceSum" => x.data.iter().try_fold(0i64, |s, &x| s.checked_add(x)),
        "ReduceMax" => x.data.iter().max().copied(),
        _ => x.data.iter().min().copied(),
    };
    let data = vec![result.ok_or("its integers are too large, or there are none")?];
    let shape = if keep && !x.shape.is_empty() { vec![1] } else { vec![] };
    Ok(Constant::Ints(Array { shape, data }))
}

/// Runs the operator of `node` once, its first input in the place of an activation.
fn computed(
    reader: &mut Reader<'_>,
    node: &NodeProto,
    a: &Attributes<'_>,
) -> Result<Constant, String> {
    let x = reader.weights(node, 0)?;
    possible(x.shape())?;
    let built = reader.with_activation(&node.input[0], x.shape(), |r| build(r, node, a))?;
    let Some(Output::Value(made)) = built.into_iter().next() else {
        return Err("it makes no floats".into());
    };
    check_table("its elements", &made.shape)?;
    let data = match &made.action {
        Action::View => x.data().to_vec(),
        Action::Run(op) => {
            let mut out = vec![0.0; made.shape.iter().product()];
            let inputs = vec![x.data(); made.inputs.len()];
            let run = Run {
                isa: Isa::best(),
                parallel: false,
                lanes: 1,
                relu: ReluRule::Slope,
                first: 0,
            };
            op.forward(run, &inputs, &mut out, None);
            out
        }
    };
    floats(made.shape, data)
}
