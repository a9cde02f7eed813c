"""The PyTorch peer for large networks: loading, memory, and images there and back, on two CPU threads.

    python networks.py FOLDER    a server: prints a "ready" line, then answers each line on stdin with one JSON line;
                                 `quit` or end of input ends it

    export NAME        writes FOLDER/NAME.pt, the weights, and, but for face, FOLDER/NAME.onnx, as torch.onnx.export does by default
    load NAME          reads NAME.pt into a network that was made without weights: what is quickest; seconds
    run NAME WHAT IMAGES LAYOUT COUNT
                       so often WHAT, with the network loaded before if it is not; seconds of each
    check              what the face network makes of FOLDER/face_image.f32
    memory             bytes: the most memory that this process has had so far, and what it had before the first `load`

NAME is resnet50 or vgg16, as torchvision has them, or face: the network of crates/lots-faces, FOLDER/face.onnx, as one would write
it for PyTorch, with batch normalisation behind each convolution, which Lots computes too. The exporter folds ResNet-50's into its
convolutions, so the peer does. WHAT is forward, in inference mode, or back: forward and a
cotangent back to the pixels, with frozen weights, so that only the pixels get a gradient. It starts at fc7 in VGG-16, else at the
output. LAYOUT is nchw or channels_last. From the second `run` on freed memory stays in the process, which is quicker (see
lenet.py), unless --default-malloc is given; until then glibc gives it back, which is smaller.
"""

import contextlib
import pathlib
import sys
import time
import warnings

import torch
from lenet import THREADS, keep_freed_memory, memory, say
from torch import nn
from torch.fx.experimental.optimization import fuse
from torch.nn import functional
from torchvision import models

SIDES = {"resnet50": 224, "vgg16": 224, "face": 150}
LAYOUTS = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}


class Fc7(nn.Module):
    """VGG-16 up to fc7."""

    def __init__(self, network):
        super().__init__()
        self.features, self.avgpool = network.features, network.avgpool
        self.classifier = network.classifier[:4]

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


class Unit(nn.Module):
    """A convolution and its normalisation."""

    def __init__(self, weight_shape, stride, padding):
        super().__init__()
        rows, channels, kernel, _ = weight_shape
        self.conv = nn.Conv2d(channels, rows, kernel, stride, padding)
        self.norm = nn.BatchNorm2d(rows, eps=0)

    def forward(self, x):
        return self.norm(self.conv(x))


class Face(nn.Module):
    """dlib's ResNet-29: `units` has the shape of the weights, stride and padding of each convolution, by name."""

    def __init__(self, units):
        super().__init__()
        self.units = nn.ModuleDict({name: Unit(*unit) for name, unit in units.items()})
        self.blocks = [name[:-2] for name in units if name.endswith("_2") and f"{name[:-2]}_1" in units]
        self.fc = nn.Linear(256, 128, bias=False)
        self.register_buffer("mean", torch.zeros(1, 3, 1, 1))
        self.register_buffer("inverse_range", torch.zeros(1))

    def forward(self, x):
        x = (x - self.mean) * self.inverse_range
        x = functional.max_pool2d(functional.relu(self.units["conv32_down"](x)), 3, 2)
        for block in self.blocks:
            y = self.units[f"{block}_2"](functional.relu(self.units[f"{block}_1"](x)))
            if "_down" in block:
                x = functional.avg_pool2d(x, 2)
            # Whichever is smaller has zeros behind.
            size = [max(sizes) for sizes in zip(x.shape, y.shape, strict=True)]
            x, y = (
                functional.pad(v, [n for a in (3, 2, 1) for n in (0, size[a] - v.shape[a])])
                if list(v.shape) != size
                else v
                for v in (x, y)
            )
            x = functional.relu(x + y)
        return self.fc(torch.flatten(functional.adaptive_avg_pool2d(x, 1), 1))


def face_state(path):
    """The units and the weights of the face network's file."""
    import numpy as np
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    values = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    units, state = {}, {}
    for node in graph.node:
        if node.op_type == "DequantizeLinear":
            q, scale, zero = (values[name] for name in node.input)
            values[node.output[0]] = (q.astype(np.float32) - zero) * scale
        if node.op_type == "Conv":
            attributes = {a.name: list(a.ints) for a in node.attribute}
            name = node.input[1].removesuffix(".weight")
            weight = values[node.input[1]]
            units[name] = (list(weight.shape), attributes["strides"], attributes["pads"][:2])
            parts = {"conv.weight": "weight", "conv.bias": "bias", "norm.weight": "gain", "norm.bias": "shift"}
            for ours, theirs in parts.items():
                value = values[f"{name}.{theirs}"]
                state[f"units.{name}.{ours}"] = torch.tensor(value if value.ndim == 4 and theirs == "weight" else value.ravel())
            rows = weight.shape[0]
            state[f"units.{name}.norm.running_mean"] = torch.zeros(rows)
            state[f"units.{name}.norm.running_var"] = torch.ones(rows)
            state[f"units.{name}.norm.num_batches_tracked"] = torch.tensor(0)
    state["fc.weight"] = torch.tensor(values["fc.weight"].T.copy())
    state["mean"] = torch.tensor(values["mean_rgb"])
    state["inverse_range"] = torch.tensor(values["inverse_range"])
    return units, state


class Peer:
    def __init__(self, folder):
        self.folder = folder
        self.before = memory()
        self.name = self.network = None
        self.runs = 0

    def export(self, name):
        if name == "face":
            torch.save(face_state(self.folder / "face.onnx"), self.folder / "face.pt")
            return {"file": str(self.folder / "face.onnx")}
        torch.manual_seed(0)
        network = getattr(models, name)().eval()
        torch.save(network.state_dict(), self.folder / f"{name}.pt")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = torch.zeros(1, 3, SIDES[name], SIDES[name])
            torch.onnx.export(network, (image,), self.folder / f"{name}.onnx", verbose=False)
        return {"file": str(self.folder / f"{name}.onnx")}

    def load(self, name):
        start = time.perf_counter()
        state = torch.load(self.folder / f"{name}.pt", weights_only=True)
        with torch.device("meta"):
            network = Face(state[0]) if name == "face" else getattr(models, name)()
        network.load_state_dict(state[1] if name == "face" else state, assign=True)
        network = network.eval().requires_grad_(False)
        if name == "resnet50":
            network = fuse(network)
        self.name, self.network = name, network
        return {"seconds": time.perf_counter() - start}

    def run(self, name, what, images, layout, count):
        if self.name != name:
            self.load(name)
        if self.runs and "--default-malloc" not in sys.argv:
            keep_freed_memory()
        self.runs += 1
        torch.manual_seed(1)
        network = self.network.to(memory_format=LAYOUTS[layout])
        if name == "vgg16" and what == "back":
            network = Fc7(network)
        image = torch.randn(int(images), 3, SIDES[name], SIDES[name]).to(memory_format=LAYOUTS[layout])
        if name == "face":
            image = image.mul_(50).add_(128)
        seconds = []
        cotangent = None
        for _ in range(int(count)):
            start = time.perf_counter()
            if what == "forward":
                with torch.inference_mode():
                    network(image)
            else:
                output = network(image.requires_grad_(True))
                if cotangent is None:
                    cotangent = torch.randn(output.shape)
                torch.autograd.grad(output, image, cotangent)
                del output
            seconds.append(time.perf_counter() - start)
        return {"seconds": seconds}

    def check(self):
        self.load("face")
        image = torch.frombuffer(bytearray((self.folder / "face_image.f32").read_bytes()), dtype=torch.float32)
        with torch.inference_mode():
            return {"output": self.network(image.reshape(1, 3, 150, 150))[0].tolist()}

    def answer(self, words):
        match words:
            case ["export", name] if name in SIDES:
                return self.export(name)
            case ["load", name] if name in SIDES:
                return self.load(name)
            case ["run", name, "forward" | "back" as what, images, layout, count] if name in SIDES and layout in LAYOUTS:
                return self.run(name, what, images, layout, count)
            case ["check"]:
                return self.check()
            case ["memory"]:
                return {"peak": memory(), "before": self.before}
        return {"error": f"cannot do {' '.join(words)}"}


def main():
    peer = Peer(pathlib.Path(sys.argv[1]))
    torch.set_num_threads(THREADS)
    say({"ready": True, "threads": torch.get_num_threads(), "torch": torch.__version__})
    for line in sys.stdin:
        words = line.split()
        if words == ["quit"]:
            break
        # Whatever the exporter has to say, the pipe is for answers.
        with contextlib.redirect_stdout(sys.stderr):
            answer = peer.answer(words)
        say(answer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
