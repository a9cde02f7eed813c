//! The attributes of a node.

use super::proto::{AttributeProto, NodeProto, TensorProto};
use crate::ops::Window;

/// Largest size of a kernel, stride, dilation or padding: more is a damaged file.
const MOST: i64 = 1 << 20;

fn positive_sizes(axes: usize) -> &'static str {
    if axes == 2 { "two positive sizes (2-D)" } else { "one positive size (1-D)" }
}

/// A node's attributes; those that nobody asked for are refused, so that nothing is ignored silently.
pub(super) struct Attributes<'a> {
    all: &'a [AttributeProto],
    asked: std::cell::RefCell<Vec<&'static str>>,
}

impl<'a> Attributes<'a> {
    pub(super) fn new(node: &'a NodeProto) -> Self {
        Self { all: &node.attribute, asked: std::cell::RefCell::default() }
    }

    pub(super) fn get(
        &self,
        name: &'static str,
        kind: i32,
    ) -> Result<Option<&'a AttributeProto>, String> {
        self.asked.borrow_mut().push(name);
        let Some(found) = self.all.iter().find(|a| a.name == name) else { return Ok(None) };
        // Kind 0: files older than the field.
        if found.kind != kind && found.kind != 0 {
            return Err(format!("attribute {name} has the wrong type"));
        }
        Ok(Some(found))
    }

    pub(super) fn float(&self, name: &'static str, default: f32) -> Result<f32, String> {
        let value = self.get(name, 1)?.map_or(default, |a| a.f);
        if value.is_finite() { Ok(value) } else { Err(format!("attribute {name} is {value}")) }
    }

    pub(super) fn int(&self, name: &'static str, default: i64) -> Result<i64, String> {
        Ok(self.get(name, 2)?.map_or(default, |a| a.i))
    }

    pub(super) fn positive(&self, name: &'static str, default: i64) -> Result<usize, String> {
        let value = self.int(name, default)?;
        usize::try_from(value)
            .ok()
            .filter(|&v| v > 0)
            .ok_or_else(|| format!("attribute {name} is {value}"))
    }

    pub(super) fn ints(&self, name: &'static str) -> Result<Option<Vec<i64>>, String> {
        Ok(self.get(name, 7)?.map(|a| a.ints.clone()))
    }

    pub(super) fn tensor(&self, name: &'static str) -> Result<Option<&'a TensorProto>, String> {
        Ok(self.get(name, 4)?.and_then(|a| a.t.as_ref()))
    }

    pub(super) fn text(&self, name: &'static str) -> Result<String, String> {
        Ok(self
            .get(name, 3)?
            .map_or_else(String::new, |a| String::from_utf8_lossy(&a.s).into_owned()))
    }

    /// A positive size for each of `axes` axes; of one axis, the other is 1.
    pub(super) fn pair(&self, name: &'static str, axes: usize) -> Result<[usize; 2], String> {
        let Some(sizes) = self.ints(name)? else { return Ok([1, 1]) };
        match *sizes.as_slice() {
            [a, b] if axes == 2 && [a, b].iter().all(|d| (1..=MOST).contains(d)) => {
                Ok([a as usize, b as usize])
            }
            [b] if axes == 1 && (1..=MOST).contains(&b) => Ok([1, b as usize]),
            _ => Err(format!("attribute {name} is {sizes:?}; wanted {}", positive_sizes(axes))),
        }
    }

    /// The kernel of a pooling.
    pub(super) fn kernel(&self, axes: usize) -> Result<[usize; 2], String> {
        if self.ints("kernel_shape")?.is_none() {
            return Err("wanted kernel_shape, found none".into());
        }
        self.pair("kernel_shape", axes)
    }

    /// Checks kernel_shape, where it is given, against the kernel of the weights.
    pub(super) fn kernel_shape(&self, kernel: [usize; 2], axes: usize) -> Result<(), String> {
        let own = &kernel[2 - axes..];
        match self.ints("kernel_shape")? {
            Some(k) if !k.iter().copied().eq(own.iter().map(|&d| d as i64)) => {
                let own: Vec<String> = own.iter().map(ToString::to_string).collect();
                Err(format!("kernel_shape {k:?} differs from its weights' {}", own.join("×")))
            }
            _ => Ok(()),
        }
    }

    /// Padding above, left, below and right, as `pads` says it.
    pub(super) fn pads(&self, axes: usize) -> Result<[usize; 4], String> {
        let Some(pads) = self.ints("pads")? else { return Ok([0; 4]) };
        let [a, b, c, d] = match *pads.as_slice() {
            [begin, end] if axes == 1 => [0, begin, 0, end],
            [a, b, c, d] if axes == 2 => [a, b, c, d],
            _ => [-1; 4],
        };
        if [a, b, c, d].iter().all(|p| (0..=MOST).contains(p)) {
            return Ok([a, b, c, d].map(|p| p as usize));
        }
        let count = if axes == 2 { "four" } else { "two" };
        Err(format!("attribute pads is {pads:?}; wanted {count} sizes that are not negative"))
    }

    /// Rows and columns that a transposed convolution adds behind its output.
    pub(super) fn output_padding(&self, axes: usize) -> Result<[usize; 2], String> {
        let Some(sizes) = self.ints("output_padding")? else { return Ok([0, 0]) };
        let all = sizes.iter().map(|&d| usize::try_from(d)).collect::<Result<Vec<_>, _>>();
        match all.as_deref() {
            Ok(&[a, b]) if axes == 2 => Ok([a, b]),
            Ok(&[b]) if axes == 1 => Ok([0, b]),
            _ => Err(format!("attribute output_padding is {sizes:?}; wanted {axes} sizes")),
        }
    }

    /// The sliding window of strides, dilations, pads and auto_pad over an input of `axes` axes (of one, the height is 1).
    pub(super) fn window(
        &self,
        kernel: [usize; 2],
        input: [usize; 2],
        axes: usize,
        ceil: bool,
    ) -> Result<Window, String> {
        let (stride, dilation) = (self.pair("strides", axes)?, self.pair("dilations", axes)?);
        let pads = self.pads(axes)?;
        let auto = self.text("auto_pad")?;
        let mut window = Window {
            kernel,
            stride,
            dilation,
            pad: [0, 0],
            pad_end: [0, 0],
            input,
            output: [0, 0],
        };
        if kernel.iter().any(|&k| k == 0 || k as i64 > MOST) {
            return Err(format!("its kernel is {}×{}", kernel[0], kernel[1]));
        }
        let pads = match auto.as_str() {
            "" | "NOTSET" => pads,
            "VALID" => [0; 4],
            "SAME_UPPER" | "SAME_LOWER" => {
                let total = |a: usize| {
                    let wanted = (input[a].div_ceil(stride[a]) - 1) * stride[a] + window.extent(a);
                    wanted.saturating_sub(input[a])
                };
                let small = |a: usize| {
                    if auto == "SAME_UPPER" { total(a) / 2 } else { total(a).div_ceil(2) }
                };
                [small(0), small(1), total(0) - small(0), total(1) - small(1)]
            }
            other => return Err(format!("attribute auto_pad is \"{other}\"")),
        };
        for axis in 0..2 {
            let (begin, end) = (pads[axis], pads[axis + 2]);
            let room =
                (begin + input[axis] + end).checked_sub(window.extent(axis)).ok_or_else(|| {
                    format!(
                        "its kernel reaches over {} rows or columns of {}",
                        window.extent(axis),
                        begin + input[axis] + end
                    )
                })?;
            let mut steps = if ceil { room.div_ceil(stride[axis]) } else { room / stride[axis] };
            // A window that would start in the padding behind the input is left out.
            if ceil && steps * stride[axis] >= begin + input[axis] {
                steps -= 1;
            }
            window.pad[axis] = begin;
            window.pad_end[axis] = end;
            window.output[axis] = steps + 1;
        }
        Ok(window)
    }

    pub(super) fn finish(&self) -> Result<(), String> {
        let asked = self.asked.borrow();
        match self.all.iter().find(|a| !asked.contains(&a.name.as_str())) {
            Some(a) => Err(format!("attribute {} is not supported", a.name)),
            None => Ok(()),
        }
    }
}
