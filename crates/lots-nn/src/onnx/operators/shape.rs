//! Operators that reshape and rearrange: Reshape, Transpose, Slice, Concat and their like, of activations and of constants.

use super::super::array::{Array, whole};
use super::super::attributes::Attributes;
use super::super::proto::NodeProto;
use super::super::read::{Made, Reader, Side, axis, check_table, possible};
use super::super::tensors::Constant;
use crate::graph::Action;
use crate::ops::rearrange::Rearrange;
use crate::tensor::{Tensor, show_shape};

/// What a node makes.
pub(in crate::onnx) enum Output {
    Value(Made),
    Constant(Constant),
}

/// The inputs of a node, and where each begins among all places: activations first, then constants, then the fill.
struct Sources {
    sides: Vec<Side>,
    bases: Vec<usize>,
    fill: u32,
}

impl Sources {
    fn new(reader: &Reader<'_>, names: &[String]) -> Result<Self, String> {
        let sides: Vec<Side> = names.iter().map(|n| reader.side(n)).collect::<Result<_, _>>()?;
        let mut bases = vec![0; sides.len()];
        let mut next = 0;
        for constants in [false, true] {
            for (side, base) in sides.iter().zip(&mut bases) {
                if matches!(side, Side::Constant(_)) == constants {
                    *base = next;
                    let shape = side.shape()?;
                    // Lists of integers may be empty.
                    next += if shape.contains(&0) { 0 } else { possible(&shape)? };
                }
            }
        }
        let fill = u32::try_from(next).map_err(|_| "its inputs are too large".to_owned())?;
        Ok(Self { sides, bases, fill })
    }

    /// The places of input `at`.
    fn places(&self, at: usize) -> Result<Array<u32>, String> {
        let shape = self.sides[at].shape()?;
        check_table("its input's elements", &shape)?;
        let (base, n) = (self.bases[at], shape.iter().product::<usize>());
        Ok(Array { shape, data: (base..base + n).map(|place| place as u32).collect() })
    }

    /// The output that takes `places`; `fill` is the number behind them all.
    fn output(&self, places: Array<u32>, fill: f32) -> Result<Output, String> {
        let inputs: Vec<usize> = self.sides.iter().filter_map(Side::value).collect();
        if inputs.is_empty() {
            return self.constant(places, fill).map(Output::Constant);
        }
        let mut sizes = Vec::new();
        let mut constants = Vec::new();
        for side in &self.sides {
            match side {
                Side::Value(_, shape) => sizes.push(shape.iter().product()),
                Side::Constant(Constant::Floats(t)) => constants.extend_from_slice(t.data()),
                Side::Constant(Constant::Ints(_)) => {
                    return Err("one input holds integers; wanted floats".into());
                }
                Side::Constant(Constant::Other(why)) => return Err(why.clone()),
            }
        }
        constants.push(fill);
        let same =
            |n: usize| places.data.iter().enumerate().all(|(i, &p)| p as usize == i && i < n);
        let action = if sizes.len() == 1 && places.data.len() == sizes[0] && same(sizes[0]) {
            Action::View
        } else {
            Action::run(Rearrange::new(sizes, constants, &places.data))
        };
        Ok(Output::Value(Made { inputs, shape: places.shape, action }))
    }

    fn constant(&self, places: Array<u32>, fill: f32) -> Result<Constant, String> {
        let ints = self.sides.iter().all(|s| matches!(s, Side::Constant(Constant::Ints(_))));
        if ints {
            let mut all: Vec<i64> = Vec::new();
            for side in &self.sides {
                if let Side::Constant(Constant::Ints(a)) = side {
                    all.extend(&a.data);
                }
            }
            all.push(fill as i64);
            let data = places.data.iter().map(|&p| all[p as usize]).collect();
            return Ok(Constant::Ints(Array { shape: places.shape, data }));
        }
        let mut all: Vec<f32> = Vec::new();
        for side in &self.sides {
            match side {
                Side::Constant(Constant::Floats(t)) => all.extend_from_slice(t.data()),
                Side::Constant(Constant::Other(why)) => return Err(why.clone()),
                _ => return Err("its inputs are of different types".into()),
            }
        }
        all.push(fill);
        floats(places.shape, places.data.iter().map(|&p| all[p as usize]).collect())
    }
}

/// A constant of floats.
pub(in crate::onnx) fn floats(shape: Vec<usize>, data: Vec<f32>) -> Result<Constant, String> {
    let n = data.len();
    Tensor::new(shape, data)
        .map(Constant::Floats)
        .ok_or_else(|| format!("it makes {n} numbers, which do not fit its shape"))
}

/// Whether this file reads operator `op`.
pub(in crate::onnx) fn arranges(op: &str) -> bool {
    matches!(
        op,
        "Reshape"
            | "Flatten"
            | "Squeeze"
            | "Unsqueeze"
            | "Dropout"
            | "Identity"
            | "Transpose"
            | "Slice"
            | "Split"
            | "Gather"
            | "Concat"
            | "Expand"
            | "Pad"
            | "Tile"
            | "Where"
            | "DepthToSpace"
            | "SpaceToDepth"
    )
}

/// Builds a node that [`arranges`].
pub(in crate::onnx) fn arrange(
    reader: &Reader<'_>,
    node: &NodeProto,
    a: &Attributes<'_>,
) -> Result<Vec<Output>, String> {
    let first = node.input.get(..1).unwrap_or(&[]);
    match node.op_type.as_str() {
        "Concat" => return concat(reader, node, a).map(|o| vec![o]),
        "Where" => return choose(reader, node).map(|o| vec![o]),
        _ if first.is_empty() => return Err("its input is missing".into()),
        _ => {}
    }
    let sources = Sources::new(reader, first)?;
    let from = sources.sides[0].shape()?;
    if let Some(shape) = reshaped(reader, node, a, &from)? {
        let output = match &sources.sides[0] {
            Side::Value(v, _) => {
                Output::Value(Made { inputs: vec![*v], shape, action: Action::View })
            }
            Side::Constant(Constant::Ints(x)) => {
                Output::Constant(Constant::Ints(Array { shape, data: x.data.clone() }))
            }
            Side::Constant(Constant::Floats(t)) => {
                Output::Constant(floats(shape, t.data().to_vec())?)
            }
            Side::Constant(Constant::Other(why)) => return Err(why.clone()),
        };
        return Ok(vec![output]);
    }
    possible(&from)?;
    let places = sources.places(0)?;
    let rank = from.len();
    let mut fill = 0.0;
    let made = match node.op_type.as_str() {
        "Transpose" => vec![places.transpose(&order(a, rank)?)],
        "Slice" => {
            let kept = slice(reader, node, &from)?;
            let empty = kept.iter().position(Vec::is_empty);
            if let (Some(at), Some(_)) = (empty, sources.sides[0].value()) {
                return Err(format!("nothing is left of axis {at}, whose size is {}", from[at]));
            }
            vec![places.pick(&kept, sources.fill)]
        }
        "Split" => {
            let at = axis(a.int("axis", 0)?, rank)?;
            let mut begin = 0;
            let mut parts = Vec::new();
            for size in split_sizes(reader, node, a, from[at])? {
                let mut axes: Vec<_> = from.iter().map(|&d| whole(d)).collect();
                axes[at] = (begin..begin + size).map(Some).collect();
                begin += size;
                parts.push(places.pick(&axes, sources.fill));
            }
            parts
        }
        "Gather" => vec![gather(reader, node, a, &places, sources.fill)?],
        "Expand" => {
            let wanted = sizes(reader, node, 1, "shape")?;
            let shape = crate::ops::broadcast::broadcast(&from, &wanted).ok_or_else(|| {
                format!("shape {} does not broadcast to {}", show_shape(&from), show_shape(&wanted))
            })?;
            check_table("its output's elements", &shape)?;
            vec![places.expand(&shape)]
        }
        "Tile" => {
            let repeats = sizes(reader, node, 1, "repeats")?;
            if repeats.len() != rank {
                return Err(format!("its repeats {repeats:?} are not one for each of {rank} axes"));
            }
            let shape: Option<Vec<usize>> =
                from.iter().zip(&repeats).map(|(&d, &r)| d.checked_mul(r)).collect();
            let shape = shape.ok_or("its output is too large")?;
            check_table("its output's elements", &shape)?;
            let axes: Vec<_> = from
                .iter()
                .zip(&shape)
                .map(|(&d, &n)| (0..n).map(|i| Some(i % d)).collect())
                .collect();
            vec![places.pick(&axes, sources.fill)]
        }
        "Pad" => {
            if let Some(value) = reader.floats(node, 2)? {
                fill = value.data().first().copied().unwrap_or(0.0);
            }
            vec![places.pick(&pad(reader, node, a, &from)?, sources.fill)]
        }
        _ => vec![blocks(node, a, &places)?],
    };
    made.into_iter().map(|places| sources.output(places, fill)).collect()
}

/// The new shape, if the node is one that moves nothing.
fn reshaped(
    reader: &Reader<'_>,
    node: &NodeProto,
    a: &Attributes<'_>,
    from: &[usize],
) -> Result<Option<Vec<usize>>, String> {
    let rank = from.len();
    Ok(Some(match node.op_type.as_str() {
        "Identity" => from.to_vec(),
        "Dropout" => {
            let training = node.input.get(2).filter(|n| !n.is_empty());
            let off = |ints: Option<Array<i64>>| ints.is_some_and(|x| x.data == [0]);
            if let Some(name) = training
                && !off(reader.ints(node, 2)?)
            {
                return Err(format!(
                    "its training_mode (\"{name}\") is not supported; export for inference"
                ));
            }
            a.int("seed", 0)?;
            from.to_vec()
        }
        "Flatten" => {
            let at = a.int("axis", 1)?;
            let at = if at == rank as i64 { rank } else { axis(at, rank)? };
            vec![from[..at].iter().product(), from[at..].iter().product()]
        }
        "Reshape" => {
            let allow_zero = a.int("allowzero", 0)? != 0;
            let name = node.input.get(1).map_or("", String::as_str);
            let Some(wanted) = reader.ints(node, 1)? else {
                return Err(format!("its shape (\"{name}\") is not constant integers"));
            };
            reshape(from, &wanted.data, allow_zero)?
        }
        "Unsqueeze" => {
            let Some(axes) = reader.ints(node, 1)? else {
                return Err("its axes are missing".into());
            };
            let all = rank + axes.data.len();
            let mut is_new = vec![false; all];
            for &at in &axes.data {
                is_new[axis(at, all)?] = true;
            }
            if is_new.iter().filter(|&&n| n).count() != axes.data.len() {
                return Err(format!("its axes {:?} name one twice", axes.data));
            }
            let mut old = from.iter();
            is_new.iter().map(|&n| if n { 1 } else { *old.next().unwrap_or(&1) }).collect()
        }
        "Squeeze" => {
            let gone: Vec<usize> = match reader.ints(node, 1)? {
                Some(axes) => {
                    axes.data.iter().map(|&at| axis(at, rank)).collect::<Result<_, _>>()?
                }
                None => (0..rank).filter(|&i| from[i] == 1).collect(),
            };
            if let Some(&at) = gone.iter().find(|&&at| from[at] != 1) {
                return Err(format!("axis {at} of {} is not 1", show_shape(from)));
            }
            (0..rank).filter(|i| !gone.contains(i)).map(|i| from[i]).collect()
        }
        _ => return Ok(None),
    }))
}

/// The shape that Reshape makes of `from`.
fn reshape(from: &[usize], wanted: &[i64], allow_zero: bool) -> Result<Vec<usize>, String> {
    let elements: usize = from.iter().product();
    let refuse = || {
        format!(
            "shape {wanted:?} does not fit its input {} (of one image); export with a batch of one or a free batch",
            show_shape(from)
        )
    };
    let mut open = None;
    let mut sizes = Vec::new();
    for (i, &d) in wanted.iter().enumerate() {
        sizes.push(match d {
            0 if !allow_zero => *from.get(i).ok_or_else(refuse)?,
            -1 if open.is_none() => {
                open = Some(i);
                1
            }
            d => usize::try_from(d).ok().filter(|&d| d > 0).ok_or_else(refuse)?,
        });
    }
    let known = sizes.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).ok_or_else(refuse)?;
    if let Some(open) = open {
        sizes[open] = elements.checked_div(known).ok_or_else(refuse)?;
    }
    let all = sizes.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    if all == Some(elements) { Ok(sizes) } else { Err(refuse()) }
}

/// The axes of Transpose; all of them backwards unless it says otherwise.
fn order(a: &Attributes<'_>, rank: usize) -> Result<Vec<usize>, String> {
    let Some(perm) = a.ints("perm")? else { return Ok((0..rank).rev().collect()) };
    let order: Vec<usize> = perm.iter().filter_map(|&p| usize::try_from(p).ok()).collect();
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if perm.len() == rank && sorted.iter().copied().eq(0..rank) {
        return Ok(order);
    }
    Err(format!("attribute perm is {perm:?}; wanted each of {rank} axes once"))
}

/// Input `at` as sizes.
fn sizes(
    reader: &Reader<'_>,
    node: &NodeProto,
    at: usize,
    what: &str,
) -> Result<Vec<usize>, String> {
    let given = reader.ints(node, at)?.ok_or_else(|| format!("its {what} is missing"))?;
    let sizes: Option<Vec<usize>> =
        given.data.iter().map(|&d| usize::try_from(d).ok().filter(|&d| d > 0)).collect();
    sizes.ok_or_else(|| format!("its {what} is {:?}; wanted positive sizes", given.data))
}

/// The axes of one image that input `at` names: all of `rank` if it is left out.
fn axes_input(
    reader: &Reader<'_>,
    node: &NodeProto,
    at: usize,
    rank: usize,
    count: usize,
) -> Result<Vec<usize>, String> {
    let axes: Vec<usize> = match reader.ints(node, at)? {
        Some(axes) => axes.data.iter().map(|&x| axis(x, rank)).collect::<Result<_, _>>()?,
        None => (0..count.min(rank)).collect(),
    };
    let mut sorted = axes.clone();
    sorted.sort_unstable();
    sorted.dedup();
    if sorted.len() != count {
        return Err(format!("its axes {axes:?} do not fit {count} sizes of {rank} axes"));
    }
    Ok(axes)
}

/// What Slice keeps of each axis.
fn slice(
    reader: &Reader<'_>,
    node: &NodeProto,
    from: &[usize],
) -> Result<Vec<Vec<Option<usize>>>, String> {
    let list = |at: usize| reader.ints(node, at).map(|x| x.map(|x| x.data));
    let (Some(starts), Some(ends)) = (list(1)?, list(2)?) else {
        return Err("its starts or ends are missing".into());
    };
    let steps = list(4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if ends.len() != starts.len() || steps.len() != starts.len() {
        return Err("its starts, ends and steps are not equally many".into());
    }
    let axes = axes_input(reader, node, 3, from.len(), starts.len())?;
    let mut kept: Vec<Vec<Option<usize>>> = from.iter().map(|&d| whole(d)).collect();
    for (i, &at) in axes.iter().enumerate() {
        let (size, step) = (from[at] as i64, steps[i]);
        if step == 0 {
            return Err("a step is 0".into());
        }
        let from_end = |x: i64| if x < 0 { x.saturating_add(size) } else { x };
        let (low, high) = if step > 0 { (0, size) } else { (-1, size - 1) };
        let first = from_end(starts[i]).clamp(low.max(0), high);
        let last = from_end(ends[i]).clamp(low, high);
        kept[at] = std::iter::successors(Some(first), |x| x.checked_add(step))
            .take_while(|&x| if step > 0 { x < last } else { x > last })
            .map(|x| Some(x as usize))
            .collect();
    }
    Ok(kept)
}

/// The sizes of Split's parts of an axis of `size`.
fn split_sizes(
    reader: &Reader<'_>,
    node: &NodeProto,
    a: &Attributes<'_>,
    size: usize,
) -> Result<Vec<usize>, String> {
    let parts = a.positive("num_outputs", node.output.len() as i64)?;
    let sizes = match node.input.get(1).filter(|n| !n.is_empty()) {
        Some(_) => sizes(reader, node, 1, "split")?,
        None if parts != node.output.len() => {
            return Err(format!("num_outputs is {parts}, but it has {}", node.output.len()));
        }
        None => {
            let each = size.div_ceil(parts);
            (0..parts).map(|i| each.min(size.saturating_sub(i * each))).collect()
        }
    };
    if sizes.len() != node.output.len() || sizes.iter().sum::<usize>() != size || sizes.contains(&0)
    {
        return Err(format!(
            "its {} outputs of sizes {sizes:?} do not make up an axis of {size}",
            node.output.len()
        ));
    }
    Ok(sizes)
}

/// Elements of one axis by constant indices of any shape.
fn gather(
    reader: &Reader<'_>,
    node: &NodeProto,
    a: &Attributes<'_>,
    places: &Array<u32>,
    fill: u32,
) -> Result<Array<u32>, String> {
    let rank = places.shape.len();
    let at = axis(a.int("axis", 0)?, rank)?;
    let Some(indices) = reader.ints(node, 1)? else {
        return Err("its indices are missing".into());
    };
    let size = places.shape[at] as i64;
    let index = |&i: &i64| {
        let positive = if i < 0 { i.saturating_add(size) } else { i };
        usize::try_from(positive).ok().filter(|_| positive < size).map(Some)
    };
    let list: Option<Vec<_>> = indices.data.iter().map(index).collect();
    let list = list.ok_or_else(|| format!("an index is not one of an axis of {size}"))?;
    if list.is_empty() {
        return Err("it has no indices".into());
    }
    let shape = [&places.shape[..at], &indices.shape, &places.shape[at + 1..]].concat();
    check_table("its output's elements", &shape)?;
    let mut axes: Vec<_> = places.shape.iter().map(|&d| whole(d)).collect();
    axes[at] = list;
    Ok(Array { shape, data: places.pick(&axes, fill).data })
}

/// What Pad takes along each axis: `None` is its constant.
fn pad(
    reader: &Reader<'_>,
    node: &NodeProto,
    a: &Attributes<'_>,
    from: &[usize],
) -> Result<Vec<Vec<Option<usize>>>, String> {
    let mode = a.text("mode")?;
    let Some(pads) = reader.ints(node, 1)? else { return Err("its pads are missing".into()) };
    let (begins, ends) = pads.data.split_at(pads.data.len() / 2);
    if begins.len() != ends.len() || pads.data.iter().any(|p| p.unsigned_abs() > 1 << 20) {
        return Err(format!("its pads are {:?}; wanted two for each axis", pads.data));
    }
    if mode == "wrap" && pads.data.iter().any(|&p| p < 0) {
        return Err("mode wrap with negative pads is not supported: runtimes differ".into());
    }
    let axes = axes_input(reader, node, 3, from.len(), begins.len())?;
    let mut sizes = from.to_vec();
    for (i, &at) in axes.iter().enumerate() {
        let size = from[at] as i64 + begins[i] + ends[i];
        sizes[at] = usize::try_from(size)
            .ok()
            .filter(|&s| s > 0)
            .ok_or_else(|| format!("nothing is left of axis {at}, whose size is {}", from[at]))?;
    }
    check_table("its output's elements", &sizes)?;
    let mut kept: Vec<Vec<Option<usize>>> = from.iter().map(|&d| whole(d)).collect();
    for (i, &at) in axes.iter().enumerate() {
        let size = from[at] as i64;
        let take = |place: i64| -> Result<Option<usize>, String> {
            let inside = match mode.as_str() {
                "" | "constant" => {
                    return Ok(usize::try_from(place).ok().filter(|_| place < size));
                }
                "edge" => place.clamp(0, size - 1),
                "wrap" => place.rem_euclid(size),
                "reflect" if size == 1 => 0,
                "reflect" => {
                    let period = place.rem_euclid(2 * size - 2);
                    period.min(2 * size - 2 - period)
                }
                other => return Err(format!("attribute mode is \"{other}\"")),
            };
            Ok(Some(inside as usize))
        };
        kept[at] =
            (-begins[i]..-begins[i] + sizes[at] as i64).map(take).collect::<Result<_, _>>()?;
    }
    Ok(kept)
}

fn concat(reader: &Reader<'_>, node: &NodeProto, a: &Attributes<'_>) -> Result<Output, String> {
    if node.input.is_empty() {
        return Err("its inputs are missing".into());
    }
    let sources = Sources::new(reader, &node.input)?;
    let parts: Vec<Array<u32>> =
        (0..node.input.len()).map(|at| sources.places(at)).collect::<Result<_, _>>()?;
    let first = &parts[0].shape;
    let at = axis(a.int("axis", 0)?, first.len())?;
    let fits = |p: &Array<u32>| {
        p.shape.len() == first.len()
            && p.shape.iter().zip(first).enumerate().all(|(i, (a, b))| i == at || a == b)
    };
    if let Some(other) = parts.iter().find(|p| !fits(p)) {
        return Err(format!(
            "its inputs {} and {} (of one image) differ beside axis {at}",
            show_shape(first),
            show_shape(&other.shape)
        ));
    }
    sources.output(Array::concat(&parts, at), 0.0)
}

/// Where with a constant condition.
fn choose(reader: &Reader<'_>, node: &NodeProto) -> Result<Output, String> {
    let [_, yes, no] = node.input.as_slice() else { return Err("wanted three inputs".into()) };
    let Some(condition) = reader.ints(node, 0)? else {
        return Err("its condition is missing".into());
    };
    let sources = Sources::new(reader, &[yes.clone(), no.clone()])?;
    let (yes, no) = (sources.places(0)?, sources.places(1)?);
    let broadcast = crate::ops::broadcast::broadcast;
    let shape = broadcast(&yes.shape, &no.shape)
        .and_then(|s| broadcast(&s, &condition.shape))
        .ok_or("its inputs do not broadcast")?;
    check_table("its output's elements", &shape)?;
    let (condition, yes, no) = (condition.expand(&shape), yes.expand(&shape), no.expand(&shape));
    let both = yes.data.iter().zip(&no.data).zip(&condition.data);
    let data = both.map(|((&yes, &no), &c)| if c != 0 { yes } else { no }).collect();
    sources.output(Array { shape, data }, 0.0)
}

/// DepthToSpace and SpaceToDepth.
fn blocks(node: &NodeProto, a: &Attributes<'_>, places: &Array<u32>) -> Result<Array<u32>, String> {
    let size = a.positive("blocksize", 0)?;
    let &[n, c, h, w] = places.shape.as_slice() else {
        return Err(format!("wanted four axes, found {}", show_shape(&places.shape)));
    };
    let refuse = || format!("blocksize {size} does not fit {}", show_shape(&places.shape));
    let square = size.checked_mul(size).ok_or_else(refuse)?;
    if node.op_type == "SpaceToDepth" {
        if !h.is_multiple_of(size) || !w.is_multiple_of(size) {
            return Err(refuse());
        }
        let cut = vec![n, c, h / size, size, w / size, size];
        let order = match a.text("mode")?.as_str() {
            "" | "DCR" => [0, 3, 5, 1, 2, 4],
            "CRD" => [0, 1, 3, 5, 2, 4],
            other => return Err(format!("attribute mode is \"{other}\"")),
        };
        let moved = Array { shape: cut, data: places.data.clone() }.transpose(&order);
        return Ok(Array { shape: vec![n, c * square, h / size, w / size], data: moved.data });
    }
    if !c.is_multiple_of(square) {
        return Err(refuse());
    }
    let mode = a.text("mode")?;
    let (cut, order) = match mode.as_str() {
        "" | "DCR" => (vec![n, size, size, c / square, h, w], [0, 3, 4, 1, 5, 2]),
        "CRD" => (vec![n, c / square, size, size, h, w], [0, 1, 4, 2, 5, 3]),
        other => return Err(format!("attribute mode is \"{other}\"")),
    };
    let moved = Array { shape: cut, data: places.data.clone() }.transpose(&order);
    Ok(Array { shape: vec![n, c / square, h * size, w * size], data: moved.data })
}
