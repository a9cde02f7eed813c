"""Writes whole small networks with reference results for the tests of crates/lots-nn.

    python references/make_operators.py [--out DIR]        default: crates/lots-nn/tests/data

For each network NAME.onnx and NAME.bin, for a batch of three. NAME.bin is little-endian: u32 number of arrays (4), then
for each array u32 rank, u32 dimensions, f32 values. The arrays are

    0  input           pixels uniform in 0-255 or standard normal, see `pixels` below
    1  output          ONNX Runtime, float32
    2  cotangent       standard normal, the shape of the output
    3  input gradient  J^T cotangent, computed in float64 by PyTorch's autograd over torch_graph.py, rounded to float32

A network is written only if ONNX Runtime's output agrees with the float64 output within 1e-5 of its largest value and
no ReLU or max pool comes so near to a kink (1e-5 of its largest value) that float32 could decide otherwise. Of the exported
networks the float64 gradient must also be the one of the PyTorch module itself, in float64.

Weights and inputs come from numpy.random.default_rng([NAME's seed, n]), n = 0 weights, n = 1 input and cotangent; the seeds
stand in the tables below. The exporters' modules draw their weights from torch.manual_seed(seed).
"""

import argparse
import copy
import io
import math
import pathlib
import struct
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

import torch_graph

BATCH = 3
NEWEST_OPSET = min(onnx.defs.onnx_opset_version(), 28)  # of onnx 1.23.2; ONNX Runtime 1.32.0 runs it
TOLERANCE = 1e-5


class Builder:
    """A graph under construction; every operator returns the name of its output."""

    def __init__(self, seed, opset, shape):
        self.random = np.random.default_rng([seed, 0])
        self.opset = opset
        self.shape = shape
        self.nodes = []
        self.initializers = []

    def weight(self, *shape, scale=None, offset=0.0):
        """A float32 initializer, normal with variance 1 / fan_in (all axes but the first) or the standard deviation `scale`."""
        scale = scale if scale is not None else 1 / math.sqrt(max(math.prod(shape[1:]), 1))
        return self.initializer((offset + scale * self.random.standard_normal(shape)).astype(np.float32))

    def ints(self, *values):
        return self.initializer(np.array(values, np.int64))

    def initializer(self, array):
        name = f"constant{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def op(self, kind, *inputs, **attributes):
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [f"{name}_out"], name=name, **attributes))
        return f"{name}_out"

    def model(self, name, output):
        inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", *self.shape])]
        outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)]
        graph = helper.make_graph(self.nodes, name, inputs, outputs, self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)],
                                  producer_name="references/make_operators.py")
        model.ir_version = helper.find_min_ir_version_for(model.opset_import)
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        model.graph.output[0].CopyFrom(inferred.graph.output[0])
        return model


def conv_pads(g):
    """Strides, asymmetric pads, dilation; with and without bias."""
    x = g.op("Conv", "input", g.weight(5, 2, 3, 3), g.weight(5), strides=[2, 1], pads=[1, 0, 2, 3])
    x = g.op("Relu", x)
    x = g.op("Conv", x, g.weight(4, 5, 3, 2), dilations=[2, 3], kernel_shape=[3, 2], pads=[2, 1, 0, 1])
    x = g.op("Conv", x, g.weight(3, 4, 5, 1), g.weight(3), strides=[3, 2], pads=[2, 0, 2, 0])
    return g.op("Gemm", g.op("Flatten", x), g.weight(4, 30), g.weight(4), transB=1)


def conv_groups(g):
    """Two groups, depthwise, depthwise with a multiplier, pointwise."""
    x = g.op("Conv", "input", g.weight(6, 2, 3, 3), g.weight(6), group=2, pads=[1, 1, 1, 1])
    x = g.op("Relu", x)
    x = g.op("Conv", x, g.weight(6, 1, 3, 3), g.weight(6), group=6, strides=[2, 2], pads=[1, 1, 1, 1])
    x = g.op("Conv", x, g.weight(8, 6, 1, 1))
    x = g.op("Relu", x)
    x = g.op("Conv", x, g.weight(16, 1, 2, 3), group=8, pads=[0, 1, 0, 1])
    return g.op("Conv", x, g.weight(4, 4, 3, 3), g.weight(4), group=4, dilations=[1, 2], pads=[1, 2, 1, 2])


def auto_pad(g):
    """SAME_UPPER, SAME_LOWER and VALID with even kernels, where upper and lower differ."""
    x = g.op("Conv", "input", g.weight(4, 3, 4, 2), g.weight(4), auto_pad="SAME_UPPER", strides=[2, 1])
    x = g.op("Conv", x, g.weight(5, 4, 2, 4), g.weight(5), auto_pad="SAME_LOWER", strides=[1, 2])
    x = g.op("MaxPool", x, kernel_shape=[2, 2], auto_pad="SAME_UPPER")
    x = g.op("AveragePool", x, kernel_shape=[2, 2], auto_pad="SAME_LOWER")
    x = g.op("Conv", x, g.weight(5, 5, 3, 3), auto_pad="SAME_UPPER")
    x = g.op("MaxPool", x, kernel_shape=[2, 2], auto_pad="SAME_LOWER")
    x = g.op("AveragePool", x, kernel_shape=[4, 2], auto_pad="SAME_UPPER", strides=[1, 2])
    return g.op("Conv", x, g.weight(2, 5, 2, 3), auto_pad="VALID", strides=[2, 1])


def max_pool(g):
    """Overlapping and padded windows, asymmetric pads, ceil_mode, dilation. The convolutions between them break the ties of
    overlapping windows that share their largest value."""
    x = g.op("MaxPool", "input", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    x = g.op("Conv", x, g.weight(4, 2, 3, 3), pads=[1, 1, 1, 1])
    x = g.op("MaxPool", x, kernel_shape=[2, 3], strides=[1, 2], pads=[0, 1, 1, 0], ceil_mode=1)
    x = g.op("Conv", x, g.weight(4, 4, 3, 3), pads=[1, 1, 1, 1])
    x = g.op("MaxPool", x, kernel_shape=[2, 2], dilations=[3, 2])
    x = g.op("Conv", x, g.weight(4, 4, 3, 3), pads=[1, 1, 1, 1])
    return g.op("MaxPool", x, kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1)


def average_pool(g):
    """count_include_pad 0 and 1, padded and overlapping, whole windows only."""
    x = g.op("AveragePool", "input", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    x = g.op("Conv", x, g.weight(4, 2, 3, 3), g.weight(4))
    x = g.op("AveragePool", x, kernel_shape=[3, 2], pads=[1, 0, 2, 1], count_include_pad=1)
    x = g.op("Relu", x)
    return g.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])


def average_pool_ceil(g):
    """ceil_mode with and without pads, and both ways of counting: cells beyond the end padding are never counted."""
    x = g.op("AveragePool", "input", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    x = g.op("Conv", x, g.weight(3, 2, 1, 1))
    x = g.op("AveragePool", x, kernel_shape=[2, 3], strides=[2, 3], pads=[0, 1, 1, 1], ceil_mode=1)
    x = g.op("Conv", x, g.weight(3, 3, 1, 1))
    return g.op("AveragePool", x, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1, count_include_pad=1)


def global_pool(g):
    """GlobalAveragePool before a classifier."""
    x = g.op("Relu", g.op("Conv", "input", g.weight(6, 3, 3, 3), g.weight(6)))
    x = g.op("GlobalAveragePool", x)
    return g.op("Gemm", g.op("Flatten", x, axis=1), g.weight(5, 6), g.weight(5), transB=1)


def gemm(g):
    """transB 0 and 1, alpha, beta, biases of several shapes, no bias."""
    x = g.op("Gemm", "input", g.weight(7, 9, scale=0.3), g.weight(9), alpha=0.5, beta=2.0)
    x = g.op("Relu", x)
    x = g.op("Gemm", x, g.weight(8, 9), g.weight(1, 8), transB=1, alpha=1.5)
    x = g.op("Gemm", x, g.weight(6, 8), transB=1, transA=0)
    x = g.op("Relu", x)
    x = g.op("Gemm", x, g.weight(6, 5, scale=0.4), g.weight(1), beta=-0.25)
    return g.op("Gemm", x, g.weight(5, 4, scale=0.4), g.initializer(np.float32(0.75)))


def matmul(g):
    """Constant weights behind activations of rank 2 and 3."""
    x = g.op("MatMul", "input", g.weight(6, 8, scale=0.4))
    x = g.op("Relu", g.op("Add", x, g.weight(8)))
    x = g.op("MatMul", x, g.weight(8, 3, scale=0.4))
    x = g.op("Relu", g.op("Flatten", x))
    return g.op("Add", g.weight(7), g.op("MatMul", x, g.weight(15, 7, scale=0.3)))


def constants(g):
    """Add, Sub, Mul, Div with constants on either side, of every broadcast shape; one of them expands the activation."""
    x = g.op("Div", "input", g.initializer(np.float32(256)))
    x = g.op("Sub", x, g.weight(1, 1, 4, 5))
    x = g.op("Mul", g.weight(3, 1, 1, scale=0.5, offset=1.0), x)  # [N,1,4,5] becomes [N,3,4,5]
    x = g.op("Sub", g.weight(1, 3, 1, 1), x)
    x = g.op("Relu", x)
    x = g.op("Add", x, g.weight(5, scale=0.1, offset=2.0))
    x = g.op("Div", g.weight(3, 4, 1, scale=0.2, offset=3.0), x)
    x = g.op("Mul", x, g.weight(1, scale=0.1, offset=2.0))
    x = g.op("Flatten", g.op("Add", g.weight(1, 3, 4, 5), x))
    x = g.op("Reshape", x, g.ints(0, 1, 60))
    return g.op("Sub", x, g.weight(2, 60))  # [N,1,60] becomes [N,2,60]


def residual(g):
    """Sums and products of two activations, one value used three times, a value multiplied by itself."""
    stem = g.op("Relu", g.op("Conv", "input", g.weight(4, 2, 3, 3), g.weight(4), pads=[1, 1, 1, 1]))
    x = g.op("Conv", g.op("Relu", g.op("Conv", stem, g.weight(4, 4, 3, 3), pads=[1, 1, 1, 1])), g.weight(4, 4, 1, 1), g.weight(4))
    x = g.op("Relu", g.op("Add", x, stem))
    gate = g.op("Conv", g.op("GlobalAveragePool", stem), g.weight(4, 4, 1, 1), g.weight(4))  # [N,4,1,1]
    x = g.op("Mul", gate, x)
    x = g.op("Mul", x, x)
    x = g.op("Add", g.op("Conv", x, g.weight(4, 4, 2, 2), strides=[2, 2]), g.op("MaxPool", stem, kernel_shape=[2, 2], strides=[2, 2]))
    return g.op("Gemm", g.op("Flatten", x), g.weight(3, 36), g.weight(3), transB=1)


def shapes(g):
    """Reshape with 0 and -1, Flatten, Dropout (with and without ratio and mode), Identity."""
    x = g.op("Conv", "input", g.weight(4, 2, 3, 3), g.weight(4))
    x = g.op("Identity", x)
    x = g.op("Reshape", x, g.ints(0, 2, -1, 4))
    x = g.op("Dropout", x)
    x = g.op("MatMul", x, g.weight(4, 3))
    x = g.op("Reshape", x, g.ints(-1, 48))
    x = g.op("Dropout", g.op("Relu", x), g.initializer(np.float32(0.5)))
    x = g.op("Reshape", x, g.ints(0, 3, 16))
    x = g.op("Dropout", x, g.initializer(np.float32(0.3)), g.initializer(np.array(False)))
    x = g.op("Reshape", x, g.ints(0, 0, 2, -1))
    x = g.op("Flatten", x, axis=1)
    return g.op("Identity", g.op("Gemm", x, g.weight(4, 48), transB=1))


def softmax(g):
    """Softmax over axis 1 of a picture and over the last axis of logits."""
    x = g.op("Softmax", g.op("Conv", "input", g.weight(5, 2, 3, 3, scale=0.5), g.weight(5)), axis=1)
    x = g.op("Mul", x, g.weight(5, 1, 1, scale=4.0))
    x = g.op("Softmax", g.op("Gemm", g.op("Flatten", x), g.weight(6, 80, scale=0.4), g.weight(6), transB=1), axis=-1)
    return g.op("Softmax", g.op("Mul", x, g.initializer(np.float32(5))))


def conv_transpose(g):
    """Strides, pads, output_padding, output_shape, dilations, groups, auto_pad."""
    x = g.op("ConvTranspose", "input", g.weight(3, 4, 3, 2, scale=0.4), g.weight(4), strides=[2, 1], pads=[1, 0, 0, 1],
             output_padding=[1, 0])
    x = g.op("Relu", x)
    x = g.op("ConvTranspose", x, g.weight(4, 3, 2, 3, scale=0.4), g.weight(6), group=2, dilations=[2, 1], strides=[1, 3],
             output_shape=[8, 8])
    x = g.op("ConvTranspose", x, g.weight(6, 2, 4, 3, scale=0.3), strides=[1, 2], auto_pad="SAME_UPPER")
    return g.op("ConvTranspose", x, g.weight(2, 3, 1, 1, scale=0.6), g.weight(3), auto_pad="VALID")


def resize(g):
    """Linear, cubic and nearest; sizes and scales, of all axes or of two; between them convolutions, which mix."""
    x = g.op("Resize", "input", "", "", g.ints(9, 7), axes=[2, 3], mode="linear")
    x = g.op("Conv", x, g.weight(3, 2, 3, 3))
    x = g.op("Resize", x, "", g.initializer(np.array([1.5, 0.75], np.float32)), axes=[2, 3], mode="linear",
             coordinate_transformation_mode="asymmetric")
    x = g.op("Resize", x, "", "", g.ints(8, 9), axes=[-2, -1], mode="cubic", cubic_coeff_a=-0.5, exclude_outside=1,
             coordinate_transformation_mode="pytorch_half_pixel")
    x = g.op("Conv", x, g.weight(2, 3, 2, 3))
    x = g.op("Resize", x, "", g.initializer(np.array([1, 1, 2, 2], np.float32)), mode="nearest",
             coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    return g.op("Resize", x, "", "", g.ints(6, 5), axes=[2, 3], mode="linear", coordinate_transformation_mode="align_corners")


def reductions(g):
    """Every reduction, over the last, the first and scattered axes, kept or not."""
    x = g.op("Conv", "input", g.weight(6, 3, 3, 3), g.weight(6), pads=[1, 1, 1, 1])  # [N,6,5,4]
    parts = [
        g.op("ReduceMean", x, g.ints(2, -1)),  # [N,6,1,1]
        g.op("ReduceL2", x, g.ints(1), keepdims=1),  # [N,1,5,4]
        g.op("ReduceMax", x, g.ints(3)),  # [N,6,5,1]
        g.op("ReduceMin", x, g.ints(1, 3)),  # [N,1,5,1]
        g.op("ReduceL1", x, g.ints(2)),  # [N,6,1,4]
        g.op("ReduceSumSquare", x, g.ints(-3, -2)),  # [N,1,1,4]
        g.op("ReduceProd", x, g.ints(1)),  # [N,1,5,4]
        g.op("GlobalMaxPool", x),  # [N,6,1,1]
    ]
    for part in parts:
        x = g.op("Add", x, g.op("Mul", part, g.initializer(np.float32(0.1))))
    return g.op("ReduceSum", x, g.ints(2, 3), keepdims=0)


def attention(g):
    """Two heads over the rows of a picture, and what they see, mixed from the left by a constant."""
    x = g.op("Reshape", "input", g.ints(0, 7, 12))
    heads = []
    for _ in range(3):
        part = g.op("Reshape", g.op("MatMul", x, g.weight(12, 8, scale=0.3)), g.ints(0, 7, 2, 4))
        heads.append(g.op("Transpose", part, perm=[0, 2, 1, 3]))
    q, k, v = heads
    weights = g.op("Softmax", g.op("MatMul", q, g.op("Transpose", k, perm=[0, 1, 3, 2])), axis=-1)
    x = g.op("Transpose", g.op("MatMul", weights, v), perm=[0, 2, 1, 3])
    x = g.op("Reshape", x, g.ints(0, 7, 8))
    return g.op("MatMul", g.weight(5, 7, scale=0.4), x)


def lenet(g):
    """A small LeNet that takes raw pixels, as Lots writes it: the scale is a node."""
    x = g.op("Mul", "input", g.initializer(np.float32(1 / 256)))
    x = g.op("MaxPool", g.op("Conv", x, g.weight(4, 1, 5, 5), g.weight(4)), kernel_shape=[2, 2], strides=[2, 2])
    x = g.op("MaxPool", g.op("Conv", x, g.weight(6, 4, 5, 5), g.weight(6)), kernel_shape=[2, 2], strides=[2, 2])
    x = g.op("Relu", g.op("Gemm", g.op("Flatten", x), g.weight(20, 96), g.weight(20), transB=1))
    return g.op("Gemm", x, g.weight(10, 20), g.weight(10), transB=1)


# function, seed, opset, shape of one input, pixels 0-255 (else standard normal)
NETWORKS = (
    (conv_pads, 1, 13, (2, 12, 9), False),
    (conv_groups, 2, 17, (4, 9, 8), False),
    (auto_pad, 3, 15, (3, 11, 10), False),
    (max_pool, 31, 13, (2, 17, 16), False),
    (average_pool, 5, 14, (2, 13, 14), False),
    (average_pool_ceil, 6, 22, (2, 14, 16), False),
    (global_pool, 7, 21, (3, 8, 7), True),
    (gemm, 8, 18, (7,), False),
    (matmul, 9, 16, (5, 6), False),
    (constants, 10, 20, (1, 4, 5), True),
    (residual, 11, 22, (2, 6, 6), False),
    (shapes, 12, 25, (2, 6, 6), False),
    (softmax, 13, 13, (2, 6, 6), False),
    (conv_transpose, 15, 18, (3, 3, 3), False),
    (resize, 16, 19, (2, 5, 6), False),
    (reductions, 17, 20, (3, 5, 4), False),
    (attention, 18, 17, (3, 4, 7), False),
    (lenet, 14, NEWEST_OPSET, (1, 28, 28), True),
)


class TorchLeNet(torch.nn.Module):
    """LeNet as a user would write it."""

    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(1, 4, 5)
        self.conv2 = torch.nn.Conv2d(4, 6, 5)
        self.pool = torch.nn.MaxPool2d(2)
        self.dropout = torch.nn.Dropout(0.5)
        self.fc1 = torch.nn.Linear(96, 20)
        self.fc2 = torch.nn.Linear(20, 10)

    def forward(self, x):
        x = x / 255.0
        x = self.pool(torch.relu(self.conv1(x)))
        x = self.pool(torch.relu(self.conv2(x)))
        x = torch.flatten(x, 1)
        x = self.dropout(torch.relu(self.fc1(x)))
        return self.fc2(x)


class TorchBlock(torch.nn.Module):
    """Two convolutions around a shortcut."""

    def __init__(self, channels_in, channels, stride):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(channels_in, channels, 3, stride, 1)
        self.conv2 = torch.nn.Conv2d(channels, channels, 3, 1, 1)
        self.shortcut = torch.nn.Conv2d(channels_in, channels, 1, stride) if stride > 1 else torch.nn.Identity()

    def forward(self, x):
        y = self.conv2(torch.relu(self.conv1(x)))
        return torch.relu(y + self.shortcut(x))


class TorchResidual(torch.nn.Module):
    """A residual network with adaptive average pooling, which the exporters write differently (GlobalAveragePool, ReduceMean)."""

    def __init__(self):
        super().__init__()
        self.stem = torch.nn.Conv2d(3, 6, 3, padding=1)
        self.pool = torch.nn.MaxPool2d(3, 2, 1)
        self.block1 = TorchBlock(6, 6, 1)
        self.block2 = TorchBlock(6, 10, 2)
        self.average = torch.nn.AdaptiveAvgPool2d(1)
        self.head = torch.nn.Linear(10, 5)

    def forward(self, x):
        x = self.pool(torch.relu(self.stem(x)))
        x = self.average(self.block2(self.block1(x)))
        return self.head(torch.flatten(x, 1))


# module, name, seed, shape, pixels
MODULES = ((TorchLeNet, "lenet", 21, (1, 28, 28), True), (TorchResidual, "residual", 22, (3, 16, 16), False))


def export(module, shape, dynamo):
    """The model as torch.onnx.export writes it with its defaults and a dynamic batch."""
    example = torch.zeros((2, *shape))
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            torch.onnx.export(module, (example,), dynamo=True, input_names=["image"], output_names=["logits"],
                              dynamic_shapes=({0: torch.export.Dim("batch")},), verbose=False).save(buffer)
        else:
            torch.onnx.export(module, (example,), buffer, dynamo=False, input_names=["image"], output_names=["logits"],
                              dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}})
    model = onnx.load_from_string(buffer.getvalue())
    # The exporters leave stack traces with the paths of the machine that ran them; nothing else is changed.
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer]:
        del value.metadata_props[:]
    return model


def reference(model, seed, shape, pixels):
    """The four arrays of NAME.bin in float32, the float64 gradient and the smallest margin."""
    random = np.random.default_rng([seed, 1])
    x = random.uniform(0, 255, (BATCH, *shape)) if pixels else random.standard_normal((BATCH, *shape))
    x = x.astype(np.float32)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    name = model.graph.input[0].name
    (output,) = session.run(None, {name: x})
    cotangent = random.standard_normal(output.shape).astype(np.float32)

    margins = torch_graph.Margins()
    images = torch.from_numpy(x).double().requires_grad_(True)
    exact = torch_graph.run(model, {name: images}, margins)
    (gradient,) = torch.autograd.grad(exact, images, torch.from_numpy(cotangent).double())
    exact = exact.detach().numpy()
    if output.shape != exact.shape:
        raise ValueError(f"ONNX Runtime gives {output.shape}, PyTorch {exact.shape}")
    deviation = np.abs(output - exact).max() / np.abs(exact).max()
    return (x, output, cotangent, gradient.numpy().astype(np.float32)), gradient, deviation, margins.smallest


def write(folder, name, model, arrays):
    (folder / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))
    with open(folder / f"{name}.bin", "wb") as file:
        file.write(struct.pack("<I", len(arrays)))
        for array in arrays:
            file.write(struct.pack(f"<{1 + array.ndim}I", array.ndim, *array.shape))
            file.write(np.ascontiguousarray(array, "<f4").tobytes())


def models():
    """Name, model, seed, shape, pixels and, for an exported one, its module."""
    for build, seed, opset, shape, pixels in NETWORKS:
        builder = Builder(seed, opset, shape)
        output = build(builder)
        yield build.__name__, builder.model(build.__name__, output), seed, shape, pixels, None
    for kind, name, seed, shape, pixels in MODULES:
        torch.manual_seed(seed)
        module = kind().eval()
        for exporter in ("dynamo", "legacy"):
            yield f"torch_{name}_{exporter}", export(module, shape, exporter == "dynamo"), seed, shape, pixels, module


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    default = pathlib.Path(__file__).resolve().parent.parent / "crates" / "lots-nn" / "tests" / "data"
    parser.add_argument("--out", type=pathlib.Path, default=default)
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(2)
    bad = 0
    for name, model, seed, shape, pixels, module in models():
        arrays, gradient, deviation, margin = reference(model, seed, shape, pixels)
        problems = []
        if not deviation <= TOLERANCE:
            problems.append("ONNX Runtime and float64 disagree")
        if not margin >= TOLERANCE:
            problems.append("too near to a kink, take another seed")
        if not all(np.isfinite(array).all() and np.abs(array).max() > 0 for array in arrays):
            problems.append("zero or not finite")
        if module is not None:
            images = torch.from_numpy(arrays[0]).double().requires_grad_(True)
            own = torch.autograd.grad(copy.deepcopy(module).double()(images), images, torch.from_numpy(arrays[2]).double())[0]
            # The exporter may fold constants in float32.
            if not (own - gradient).abs().max() <= TOLERANCE * own.abs().max():
                problems.append("the gradient is not the module's")
        opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
        operators = " ".join(sorted({node.op_type for node in model.graph.node}))
        print(f"{name:24} opset {opset:2} {str(list(arrays[0].shape)):16} -> {str(list(arrays[1].shape)):14} ORT/f64 {deviation:.1e} "
              f"margin {margin:.1e} {operators}{''.join('  BAD: ' + p for p in problems)}")
        if problems:
            bad += 1
        else:
            write(folder, name, model, arrays)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
