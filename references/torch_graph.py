"""Runs an ONNX graph in PyTorch, in float64, node by node: the oracle of make_operators.py.

Written from the ONNX operator specification and independent of any loader, because loaders lag behind the opsets and
keep float32 constants. Covers only the operators that the reference models use and raises on everything else.
Attributes that would be ignored raise as well.
"""

import math

import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper


class Margins:
    """How near the graph came to a kink: the smallest distance of a ReLU's input from zero and between the two largest
    values of a max-pool window, relative to the largest value of that node's input."""

    def __init__(self):
        self.smallest = math.inf

    def add(self, distances, values):
        if distances.numel():
            self.smallest = min(self.smallest, float(distances.min() / values.abs().max()))


def run(model, inputs, margins=None):
    """The value of the graph's only output; `inputs` maps input names to float64 tensors."""
    margins = margins or Margins()
    graph = model.graph
    values = {name: tensor.double() for name, tensor in inputs.items()}
    for initializer in graph.initializer:
        values[initializer.name] = constant(initializer)
    for node in graph.node:
        if node.domain not in ("", "ai.onnx"):
            raise NotImplementedError(f"{node.name}: domain {node.domain}")
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        arguments = [values[name] if name else None for name in node.input]
        if node.op_type not in OPERATORS:
            raise NotImplementedError(f"{node.name}: {node.op_type}")
        values[node.output[0]] = OPERATORS[node.op_type](arguments, attributes, margins)
        if attributes:
            raise NotImplementedError(f"{node.name}: {node.op_type} with {sorted(attributes)}")
    return values[graph.output[0].name]


def constant(tensor):
    value = torch.from_numpy(numpy_helper.to_array(tensor).copy())
    return value.double() if value.is_floating_point() else value


class Window:
    """Kernel, stride, dilation and paddings of a two-dimensional convolution or pooling node."""

    def __init__(self, size, kernel, attributes):
        self.size = size
        self.kernel = kernel
        self.strides = attributes.pop("strides", [1, 1])
        self.dilations = attributes.pop("dilations", [1, 1])
        pads = attributes.pop("pads", [0, 0, 0, 0])
        self.begin, self.end = list(pads[:2]), list(pads[2:])
        auto_pad = attributes.pop("auto_pad", b"NOTSET").decode()
        ceil_mode = attributes.pop("ceil_mode", 0)
        # Cells past the end padding that a rounded-up output size reaches into; never counted by an average.
        self.beyond = [0, 0]
        for axis in range(2):
            reach = (kernel[axis] - 1) * self.dilations[axis] + 1
            stride = self.strides[axis]
            if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
                wanted = -(-size[axis] // stride)
                total = max((wanted - 1) * stride + reach - size[axis], 0)
                small, large = total // 2, total - total // 2
                self.begin[axis], self.end[axis] = (small, large) if auto_pad == "SAME_UPPER" else (large, small)
            elif auto_pad not in ("NOTSET", "VALID"):
                raise NotImplementedError(f"auto_pad {auto_pad}")
            if ceil_mode:
                padded = size[axis] + self.begin[axis] + self.end[axis]
                last = -(-(padded - reach) // stride)
                if last * stride >= size[axis] + self.begin[axis]:
                    last -= 1  # a window that would start in the end padding is left out
                self.beyond[axis] = max(last * stride + reach - padded, 0)

    def pad(self, x, value, beyond=True):
        extra = self.beyond if beyond else [0, 0]
        return F.pad(x, (self.begin[1], self.end[1] + extra[1], self.begin[0], self.end[0] + extra[0]), value=value)

    def pad_beyond(self, x):
        return F.pad(x, (0, self.beyond[1], 0, self.beyond[0]))


def conv(arguments, attributes, _):
    x, weight, *bias = arguments
    kernel = list(weight.shape[2:])
    if attributes.pop("kernel_shape", kernel) != kernel:
        raise ValueError("kernel_shape is not the weight's")
    window = Window(x.shape[2:], kernel, attributes)
    return F.conv2d(window.pad(x, 0.0), weight, bias[0] if bias else None, window.strides, 0, window.dilations,
                    attributes.pop("group", 1))


def max_pool(arguments, attributes, margins):
    (x,) = arguments
    kernel = attributes.pop("kernel_shape")
    attributes.pop("storage_order", None)  # only shapes the second output
    window = Window(x.shape[2:], kernel, attributes)
    padded = window.pad(x, -math.inf)
    with torch.no_grad():
        rows = unfold(padded, window)
        if rows.shape[-1] > 1:
            top = rows.topk(2, -1).values
            gap = top[..., 0] - top[..., 1]
            # Windows of zeros lie behind a ReLU: whoever wins, nothing goes back.
            margins.add(gap[top[..., 0] != 0], x)
    return F.max_pool2d(padded, kernel, window.strides, 0, window.dilations)


def unfold(padded, window):
    """The values of every window in the last dimension."""
    (kh, kw), (sh, sw), (dh, dw) = window.kernel, window.strides, window.dilations
    rows = padded.unfold(2, (kh - 1) * dh + 1, sh).unfold(3, (kw - 1) * dw + 1, sw)
    return rows[..., ::dh, ::dw].flatten(-2)


def average_pool(arguments, attributes, _):
    (x,) = arguments
    kernel = attributes.pop("kernel_shape")
    include_padding = attributes.pop("count_include_pad", 0)
    window = Window(x.shape[2:], kernel, attributes)
    one = torch.ones_like(x[:1, :1])
    counted = window.pad(one, 1.0 if include_padding else 0.0, beyond=False)
    count = unfold(window.pad_beyond(counted), window).sum(-1)
    return unfold(window.pad(x, 0.0), window).sum(-1) / count


def global_average_pool(arguments, _, __):
    return arguments[0].mean((2, 3), keepdim=True)


def conv_transpose(arguments, attributes, _):
    x, weight, *bias = arguments
    kernel = list(weight.shape[2:])
    strides = attributes.pop("strides", [1, 1])
    dilations = attributes.pop("dilations", [1, 1])
    more = attributes.pop("output_padding", [0, 0])
    pads = attributes.pop("pads", [0, 0, 0, 0])
    wanted = attributes.pop("output_shape", None)
    auto_pad = attributes.pop("auto_pad", b"NOTSET").decode()
    if auto_pad in ("SAME_UPPER", "SAME_LOWER") and wanted is None:
        wanted = [x.shape[axis + 2] * strides[axis] for axis in range(2)]
    # The whole output, from which the pads are cut.
    y = F.conv_transpose2d(x, weight, bias[0] if bias else None, strides, 0, 0, attributes.pop("group", 1), dilations)
    for axis in range(2):
        begin, end = pads[axis] if auto_pad == "NOTSET" else 0, None
        whole = y.shape[axis + 2] + more[axis]
        if wanted is not None:
            total = whole - wanted[axis]
            begin = total // 2 if auto_pad == "SAME_UPPER" else total - total // 2
            end = begin + wanted[axis]
        else:
            end = whole - (pads[axis + 2] if auto_pad == "NOTSET" else 0)
        if begin < 0 or end > y.shape[axis + 2]:
            # What output_padding adds lies behind all windows: the bias alone.
            extra = [0] * 4
            extra[2 * (1 - axis) + 1] = end - y.shape[axis + 2]
            y = F.pad(y - bias[0][:, None, None], extra) + bias[0][:, None, None] if bias else F.pad(y, extra)
        y = y.narrow(axis + 2, begin, end - begin)
    return y


def resize(arguments, attributes, _):
    x, _, *sizes = arguments
    scales, sizes = (*sizes, None)[:2]
    axes = [axis % x.ndim for axis in attributes.pop("axes", range(x.ndim))]
    mode = attributes.pop("mode", b"nearest").decode()
    coordinates = attributes.pop("coordinate_transformation_mode", b"half_pixel").decode()
    nearest = attributes.pop("nearest_mode", b"round_prefer_floor").decode()
    if mode == "nearest" and (nearest, coordinates) != ("floor", "asymmetric"):
        raise NotImplementedError(f"{nearest} {coordinates}")
    a, exclude = attributes.pop("cubic_coeff_a", -0.75), attributes.pop("exclude_outside", 0)
    for i, axis in enumerate(axes):
        length = x.shape[axis]
        target = int(sizes[i]) if scales is None else math.floor(length * float(scales[i]))
        scale = target / length if scales is None else float(scales[i])
        matrix = torch.zeros((target, length), dtype=torch.float64)
        for at in range(target):
            place = {
                "half_pixel": (at + 0.5) / scale - 0.5,
                "pytorch_half_pixel": (at + 0.5) / scale - 0.5 if target > 1 else 0.0,
                "align_corners": at * (length - 1) / (target - 1) if target > 1 else 0.0,
                "asymmetric": at / scale,
            }[coordinates]
            for other, weight in taps(mode, place, a, exclude and length):
                matrix[at, min(max(other, 0), length - 1)] += weight
        x = torch.movedim(torch.tensordot(x, matrix, ([axis], [1])), -1, axis)
    return x


def taps(mode, place, a, length):
    """Elements around a place and their weights; elements outside of a given length have none."""
    left = math.floor(place)
    if mode == "nearest":
        return [(left, 1.0)]
    if mode == "linear":
        return [(left, 1 - (place - left)), (left + 1, place - left)]
    weights = []
    for other in range(left - 1, left + 3):
        d = abs(place - other)
        weight = (a + 2) * d**3 - (a + 3) * d**2 + 1 if d <= 1 else a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
        weights.append((other, 0.0 if length and not 0 <= other < length else weight))
    total = sum(weight for _, weight in weights) if length else 1.0
    return [(other, weight / total) for other, weight in weights]


def global_max_pool(arguments, _, margins):
    (x,) = arguments
    add_lead(x.flatten(2), margins)
    return x.amax((2, 3), keepdim=True)


def add_lead(rows, margins):
    """The margin of the largest value along the last axis."""
    with torch.no_grad():
        top = rows.topk(2, -1).values
        margins.add(top[..., 0] - top[..., 1], rows)


def reduce(f):
    """A reduction by `f(x, axes, keepdim)`."""

    def run(arguments, attributes, margins):
        x, *axes = arguments
        axes = axes[0].tolist() if axes else attributes.pop("axes", [])
        if not axes:
            axes = [] if attributes.pop("noop_with_empty_axes", 0) else list(range(x.ndim))
        attributes.pop("noop_with_empty_axes", None)
        return f(x, axes, bool(attributes.pop("keepdims", 1)), margins) if axes else x

    return run


def extreme(sign):
    def run(x, axes, keep, margins):
        axes = sorted(axis % x.ndim for axis in axes)
        rows = torch.movedim(sign * x, axes, list(range(-len(axes), 0))).flatten(-len(axes))
        add_lead(rows, margins)
        return sign * (sign * x).amax(axes, keepdim=keep)

    return run


def norm1(x, axes, keep, margins):
    margins.add(x.detach().abs(), x.detach())
    return x.abs().sum(axes, keepdim=keep)


def product(x, axes, keep, _):
    for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


def gemm(arguments, attributes, _):
    a, b, *c = arguments
    if attributes.pop("transA", 0):
        a = a.T
    if attributes.pop("transB", 0):
        b = b.T
    # Attributes are float32 in the file, and so they stay.
    y = attributes.pop("alpha", 1.0) * (a @ b)
    beta = attributes.pop("beta", 1.0)
    return y + beta * c[0] if c and c[0] is not None else y


def relu(arguments, _, margins):
    (x,) = arguments
    margins.add(x.detach().abs(), x.detach())
    return F.relu(x)


def flatten(arguments, attributes, _):
    axis = attributes.pop("axis", 1)
    (x,) = arguments
    return x.reshape(math.prod(x.shape[:axis]), -1)


def reshape(arguments, attributes, _):
    x, shape = arguments
    sizes = shape.tolist()
    if not attributes.pop("allowzero", 0):
        sizes = [x.shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    return x.reshape(sizes)


def dropout(arguments, attributes, _):
    attributes.pop("seed", None)
    if len(arguments) > 2 and arguments[2] is not None and bool(arguments[2]):
        raise NotImplementedError("Dropout in training mode")
    return arguments[0]


def softmax(arguments, attributes, _):
    return F.softmax(arguments[0], attributes.pop("axis", -1))


OPERATORS = {
    "Add": lambda v, _, __: v[0] + v[1],
    "AveragePool": average_pool,
    "Constant": lambda _, attributes, __: constant(attributes.pop("value")),
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Div": lambda v, _, __: v[0] / v[1],
    "Dropout": dropout,
    "Flatten": flatten,
    "Gemm": gemm,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "Identity": lambda v, _, __: v[0],
    "MatMul": lambda v, _, __: v[0] @ v[1],
    "MaxPool": max_pool,
    "Mul": lambda v, _, __: v[0] * v[1],
    "ReduceL1": reduce(norm1),
    "ReduceL2": reduce(lambda x, axes, keep, _: x.square().sum(axes, keepdim=keep).sqrt()),
    "ReduceMax": reduce(extreme(1)),
    "ReduceMean": reduce(lambda x, axes, keep, _: x.mean(axes, keepdim=keep)),
    "ReduceMin": reduce(extreme(-1)),
    "ReduceProd": reduce(product),
    "ReduceSum": reduce(lambda x, axes, keep, _: x.sum(axes, keepdim=keep)),
    "ReduceSumSquare": reduce(lambda x, axes, keep, _: x.square().sum(axes, keepdim=keep)),
    "Relu": relu,
    "Reshape": reshape,
    "Resize": resize,
    "Softmax": softmax,
    "Sub": lambda v, _, __: v[0] - v[1],
    "Transpose": lambda v, attributes, _: v[0].permute(attributes.pop("perm")),
}
