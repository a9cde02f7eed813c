"""Writes VGG Face with seeded weights in the formats in which it is published, for the tests of `lots convert`.

    python references/make_vgg_face.py [--out DIR] [--full]     default: crates/lots-nn/tests/data/convert

The networks have the layers of VGG Face at small width; --full takes the published width, for references/vgg_face_full.sh.
Files, all with the same weights:

    v1.caffemodel        Caffe, V1LayerParameter, shapes as num, channels, height, width: as VGG_FACE.caffemodel
    v2.caffemodel        Caffe, LayerParameter, shapes as BlobShape, with gradients and layers without weights
    legacy.pth           torch.save before 1.6, as vgg_face_dag.pth
    zip.pth              torch.save since 1.6
    conv2d.h5            Keras 2 save_weights, layers with the names that Keras gives, as vgg_face_weights.h5
    named.h5             Keras 2 save, layers with the names of VGG Face, fc6 in compressed chunks
    half.pth, double.h5  conv1_1 in float16 and float64, which is refused
    bare.h5, other.zip   files of these formats that are no networks
    names.txt            class names
    logits.bin           little-endian: u32 number of arrays (3), then for each u32 rank, u32 dimensions, f32 values:
                         images of pixels 0-255, whole numbers, RGB; logits of the networks that take RGB; of those that take BGR

The logits are PyTorch's in float64 over images from which the mean was taken, in the order of channels that the format's network
takes. The Caffe files are encoded by the protobuf runtime with messages built from Caffe's published field numbers; the HDF5
files by h5py in the layout of Keras' `save_weights_to_hdf5_group`.

Weights come from numpy.random.default_rng([SEED, layer]), normal with variance 2 / fan_in. The same files come out each time, but
for legacy.pth, which holds addresses.
"""

import argparse
import pathlib
import struct
import zipfile

import h5py
import numpy as np
import torch
import torch.nn.functional as F
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SEED = 20
MEAN = [129.1863, 104.7624, 93.5940]  # red, green, blue; Parkhi et al. 2015
CONVOLUTIONS = [2, 2, 3, 3, 3]
SMALL = {"image": 64, "blocks": [4, 6, 8, 8, 10], "hidden": [20, 16], "classes": 7}
FULL = {"image": 224, "blocks": [64, 128, 256, 512, 512], "hidden": [4096, 4096], "classes": 2622}


def layers(widths):
    """(name, shape of the weights as PyTorch has them) from input to output."""
    inputs = 3
    for block, (count, outputs) in enumerate(zip(CONVOLUTIONS, widths["blocks"]), 1):
        for at in range(1, count + 1):
            yield f"conv{block}_{at}", (outputs, inputs, 3, 3)
            inputs = outputs
    inputs *= (widths["image"] // 32) ** 2
    for name, outputs in zip(("fc6", "fc7", "fc8"), (*widths["hidden"], widths["classes"])):
        yield name, (outputs, inputs)
        inputs = outputs


def parameters(widths):
    """The weights of all layers: {name: (weight, bias)}."""
    made = {}
    for at, (name, shape) in enumerate(layers(widths)):
        random = np.random.default_rng([SEED, at])
        weight = random.standard_normal(shape, dtype=np.float32)
        weight *= np.float32(np.sqrt(2 / np.prod(shape[1:])))
        bias = random.standard_normal(shape[0], dtype=np.float32)
        made[name] = weight, bias
    return made


def logits(made, images, dtype):
    """Logits of images [N, 3, height, width] in the order of channels, and less the mean, that the network takes."""
    x = torch.as_tensor(images, dtype=dtype)
    for name, (weight, bias) in made.items():
        weight, bias = torch.from_numpy(weight).to(dtype), torch.from_numpy(bias).to(dtype)
        if name.startswith("conv"):
            x = F.relu(F.conv2d(x, weight, bias, padding=1))
            block, at = map(int, name[4:].split("_"))
            if at == CONVOLUTIONS[block - 1]:
                x = F.max_pool2d(x, 2)
        else:
            x = F.linear(x.flatten(1), weight, bias)
            if name != "fc8":
                x = F.relu(x)
    return x.numpy()


def rgb_and_bgr(made, images, dtype=torch.float64):
    """Logits of the networks that take RGB and BGR, for raw RGB images."""
    centered = images - np.array(MEAN)[:, None, None]
    return [logits(made, order.copy(), dtype) for order in (centered, centered[:, ::-1])]


# Caffe ------------------------------------------------------------------------------------------------------------------


def caffe_messages():
    """NetParameter with what it holds, from the field numbers in caffe.proto."""
    kinds = descriptor_pb2.FieldDescriptorProto
    schema = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")

    def message(name, *fields):
        made = schema.message_type.add(name=name)
        for field, number, kind, repeated, packed in fields:
            made.field.add(
                name=field, number=number, label=kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL,
                type=kinds.TYPE_MESSAGE if kind[0].isupper() else getattr(kinds, f"TYPE_{kind.upper()}"),
                type_name=f".caffe.{kind}" if kind[0].isupper() else None,
                options=descriptor_pb2.FieldOptions(packed=True) if packed else None)

    message("BlobShape", ("dim", 1, "int64", True, True))
    message("BlobProto", ("num", 1, "int32", False, False), ("channels", 2, "int32", False, False),
            ("height", 3, "int32", False, False), ("width", 4, "int32", False, False),
            ("data", 5, "float", True, True), ("diff", 6, "float", True, True),
            ("shape", 7, "BlobShape", False, False))
    message("V1LayerParameter", ("bottom", 2, "string", True, False), ("top", 3, "string", True, False),
            ("name", 4, "string", False, False), ("type", 5, "int32", False, False),
            ("blobs", 6, "BlobProto", True, False), ("blobs_lr", 7, "float", True, False))
    message("LayerParameter", ("name", 1, "string", False, False), ("type", 2, "string", False, False),
            ("bottom", 3, "string", True, False), ("top", 4, "string", True, False),
            ("blobs", 7, "BlobProto", True, False))
    message("NetParameter", ("name", 1, "string", False, False), ("layers", 2, "V1LayerParameter", True, False),
            ("input", 3, "string", True, False), ("input_dim", 4, "int32", True, False),
            ("layer", 100, "LayerParameter", True, False))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(schema)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe.NetParameter"))


# V1LayerParameter.LayerType
CONVOLUTION, INNER_PRODUCT, POOLING, RELU, SOFTMAX = 4, 14, 17, 18, 20


def caffe_v1(made):
    net = caffe_messages()(name="VGG_FACE_16_layers", input=["data"], input_dim=[1, 3, 224, 224])
    last = "data"
    for name, (weight, bias) in made.items():
        kind = CONVOLUTION if weight.ndim == 4 else INNER_PRODUCT
        layer = net.layers.add(name=name, type=kind, bottom=[last], top=[name], blobs_lr=[1, 2])
        for array in (weight, bias):
            num, channels, height, width = (1,) * (4 - array.ndim) + array.shape
            blob = layer.blobs.add(num=num, channels=channels, height=height, width=width)
            blob.data.extend(array.ravel())
        if name != "fc8":
            net.layers.add(name=f"relu_{name}", type=RELU, bottom=[name], top=[name])
        last = name
    net.layers.add(name="prob", type=SOFTMAX, bottom=[last], top=["prob"])
    return net.SerializeToString()


def caffe_v2(made):
    net = caffe_messages()(name="VGG_FACE_16_layer")
    net.layer.add(name="data", type="Input", top=["data"])
    last = "data"
    for at, (name, (weight, bias)) in enumerate(made.items()):
        kind = "Convolution" if weight.ndim == 4 else "InnerProduct"
        layer = net.layer.add(name=name, type=kind, bottom=[last], top=[name])
        for array in (weight, bias):
            blob = layer.blobs.add()
            blob.shape.dim.extend(array.shape)
            blob.data.extend(array.ravel())
            if at < 2:
                blob.diff.extend(np.zeros(array.size, np.float32))
        if name != "fc8":
            net.layer.add(name=f"relu_{name}", type="ReLU", bottom=[name], top=[name])
        last = name
    net.layer.add(name="prob", type="Softmax", bottom=[last], top=["prob"])
    return net.SerializeToString()


# Keras ------------------------------------------------------------------------------------------------------------------


def keras_layers(made, named):
    """(name, {array: values}) of the layers in Keras' order: fully connected ones are convolutions, most have no weights."""
    spatial = made["fc6"][0].shape[1] // made["conv5_3"][0].shape[0]
    kernel = int(spatial**0.5)
    for at, (name, (weight, bias)) in enumerate(made.items(), 1):
        if name.startswith("conv"):
            yield f"zero_padding2d_{at}", {}
        if weight.ndim == 2:
            size = kernel if name == "fc6" else 1
            weight = weight.reshape(weight.shape[0], -1, size, size)
        layer = name if named else f"conv2d_{at}"
        yield layer, {f"{layer}/kernel:0": weight.transpose(2, 3, 1, 0), f"{layer}/bias:0": bias}
        if name in ("fc6", "fc7"):
            yield f"dropout_{name[2:]}", {}
    yield "flatten_1", {}
    yield "activation_1", {}


def keras_file(path, made, whole):
    """`save_weights`, with texts of fixed length as h5py 2 wrote them; or `save`, layers with names, texts of any length, and
    the largest array in compressed chunks."""

    def texts(names):
        return [name.encode() for name in names] if whole or not names else np.array(names, dtype="S")

    with h5py.File(path, "w") as file:
        group = file.create_group("model_weights") if whole else file
        listed = list(keras_layers(made, named=whole))
        group.attrs["layer_names"] = texts([name for name, _ in listed])
        group.attrs["backend"] = b"tensorflow"
        group.attrs["keras_version"] = b"2.1.6"
        for name, arrays in listed:
            layer = group.create_group(name)
            layer.attrs["weight_names"] = texts(list(arrays))
            for array, values in arrays.items():
                chunks = {"chunks": (1, 2, 5, 8), "compression": "gzip"} if array == "fc6/kernel:0" else {}
                layer.create_dataset(array, data=values, **chunks)


# ------------------------------------------------------------------------------------------------------------------------


def write_arrays(path, arrays):
    with open(path, "wb") as file:
        file.write(struct.pack("<I", len(arrays)))
        for array in arrays:
            file.write(struct.pack(f"<{1 + array.ndim}I", array.ndim, *array.shape))
            file.write(array.astype("<f4").tobytes())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = pathlib.Path(__file__).parent.parent / "crates/lots-nn/tests/data/convert"
    parser.add_argument("--out", type=pathlib.Path, default=default)
    parser.add_argument("--full", action="store_true", help="at the published width: four files of 580 MB")
    arguments = parser.parse_args()
    out, widths = arguments.out, FULL if arguments.full else SMALL
    out.mkdir(parents=True, exist_ok=True)

    made = parameters(widths)
    state = {f"{name}.{part}": torch.from_numpy(array)
             for name, arrays in made.items() for part, array in zip(("weight", "bias"), arrays)}
    torch.save(state, out / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(state, out / "zip.pth")
    keras_file(out / "conv2d.h5", made, whole=False)
    (out / "v1.caffemodel").write_bytes(caffe_v1(made))
    if not arguments.full:
        keras_file(out / "named.h5", made, whole=True)
        (out / "v2.caffemodel").write_bytes(caffe_v2(made))
        weight = made["conv1_1"][0]
        torch.save({"conv1_1.weight": torch.from_numpy(weight).half()}, out / "half.pth")
        with h5py.File(out / "double.h5", "w") as file:
            file.attrs["layer_names"] = np.array(["conv"], dtype="S")
            file.create_group("conv").attrs["weight_names"] = np.array(["kernel:0"], dtype="S")
            file["conv"].create_dataset("kernel:0", data=weight.transpose(2, 3, 1, 0).astype("<f8"))
        with h5py.File(out / "bare.h5", "w") as file:
            file.create_dataset("kernel:0", data=[1.0])
        with zipfile.ZipFile(out / "other.zip", "w") as file:
            file.writestr(zipfile.ZipInfo("weights.txt"), "none")
    names = [f"Person_{at}" for at in range(widths["classes"])]
    (out / "names.txt").write_text("\n".join(names) + "\n")

    random = np.random.default_rng([SEED, 1000])
    size = widths["image"]
    images = random.integers(0, 256, (1 if arguments.full else 2, 3, size, size)).astype(np.float32)
    # float64 of all weights would take a gigabyte more than it says.
    dtype = torch.float32 if arguments.full else torch.float64
    write_arrays(out / "logits.bin", [images, *rgb_and_bgr(made, images, dtype)])


if __name__ == "__main__":
    main()
