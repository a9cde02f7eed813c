"""Writes networks that want other images than raw ones, for the tests of crates/lots-cli.

    python references/make_wishes.py [--out DIR]        default: crates/lots-cli/tests/data

colour.onnx           BGR, NHWC, 0 to 1; three classes with names; ends in Softmax. Metadata say all but NHWC
colour.f32            ONNX Runtime's output for 12 images, little-endian float32, images x classes
outside.onnx, .data   the same, without metadata, with its weights in the second file
long.onnx             twelve convolutions in residual blocks, with names as torch.export gives them; no metadata

Image i has the 8-bit value (i * 7919 + p * 31 + p * p % 97) % 256 at position p of [height, width, RGB]. What the network gets
is computed here: channels reversed, divided by 255. Weights come from numpy.random.default_rng(5).
"""

import argparse
import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

SIDE = 8
IMAGES = 12


def images():
    p = np.arange(SIDE * SIDE * 3)
    return np.stack([(i * 7919 + p * 31 + p * p % 97) % 256 for i in range(IMAGES)]).reshape(-1, SIDE, SIDE, 3)


def model(nodes, weights, shape, output, metadata):
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(*output)],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(made, metadata)
    onnx.checker.check_model(made, full_check=True)
    return made


def colour(metadata):
    random = np.random.default_rng(5)
    weights = {
        "conv.weight": random.standard_normal((6, 3, 3, 3)) / 3,
        "fc.weight": random.standard_normal((6 * 9, 3)),
        "fc.bias": random.standard_normal(3),
    }
    nodes = [
        helper.make_node("Transpose", ["image"], ["nchw"], "to_nchw", perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["nchw", "conv.weight"], ["conv_out"], "conv"),
        helper.make_node("Relu", ["conv_out"], ["relu_out"], "relu"),
        helper.make_node("MaxPool", ["relu_out"], ["pool_out"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pool_out"], ["features"], "flatten"),
        helper.make_node("Gemm", ["features", "fc.weight", "fc.bias"], ["logits"], "fc"),
        helper.make_node("Softmax", ["logits"], ["probabilities"], "softmax", axis=1),
    ]
    output = ("probabilities", TensorProto.FLOAT, ["N", 3])
    return model(nodes, weights, ["N", SIDE, SIDE, 3], output, metadata)


def long():
    random = np.random.default_rng(5)
    nodes, weights, last = [], {}, "image"

    def node(op, inputs, name):
        nodes.append(helper.make_node(op, inputs, [f"{name}_out"], name))
        return f"{name}_out"

    def conv(last, name, channels):
        weights[f"{name}.weight"] = random.standard_normal((4, channels, 1, 1)) / 2
        return node("Conv", [last, f"{name}.weight"], name)

    last = node("Relu", [conv(last, "node_stem_conv2d", 1)], "node_stem_relu")
    for block in range(6):
        name = f"node_features_layer{block}_residual_block_with_a_long_name_{block}"
        inner = node("Relu", [conv(last, f"{name}_conv2d_1", 4)], f"{name}_relu_1")
        inner = conv(inner, f"{name}_conv2d_2", 4)
        last = node("Relu", [node("Add", [inner, last], f"{name}_add")], f"{name}_relu_2")
    last = node("GlobalAveragePool", [last], "node_mean")
    last = node("Flatten", [last], "node_view")
    weights["fc.weight"] = random.standard_normal((4, 10))
    last = node("Gemm", [last, "fc.weight"], "node_linear")
    return model(nodes, weights, ["N", 1, 28, 28], (last, TensorProto.FLOAT, ["N", 10]), {})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = pathlib.Path(__file__).resolve().parent.parent
    parser.add_argument("--out", type=pathlib.Path, default=root / "crates/lots-cli/tests/data")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    metadata = {
        "Image.BitmapPixelFormat": "Bgr8",
        "Image.NominalPixelRange": "Normalized_0_1",
        "lots.class_names": "cat\ndog\nred panda",
    }
    whole = colour(metadata)
    onnx.save(whole, out / "colour.onnx")
    session = onnxruntime.InferenceSession(whole.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = (images()[..., ::-1] / 255).astype(np.float32)
    (probabilities,) = session.run(None, {"image": wanted})
    probabilities.astype("<f4").tofile(out / "colour.f32")
    print("classes", probabilities.argmax(axis=1))
    (out / "outside.data").unlink(missing_ok=True)
    onnx.save(colour({}), out / "outside.onnx", save_as_external_data=True, location="outside.data", size_threshold=0)
    onnx.save(long(), out / "long.onnx")


main()
