"""The PyTorch peer for many cotangents over one forward pass: 9 at each of 4 layers of a LeNet, 36 an image, on two CPU
threads, as fast as eager PyTorch gets.

    python cotangents.py FOLDER    a server: prints a "ready" line, then answers each line on stdin with one JSON line;
                                   `quit` or end of input ends it

    run WAY LAYOUT REPEATS    seconds of each
    check                     rows of FOLDER/rows.f32 and of every way and layout here that differ from float64
    memory                    bytes: the most memory that this process has had so far, and what it had before the first `run`

FOLDER holds lenet.onnx, a LeNet as Lots writes it, and numbers as little-endian float32: images.f32 [images,784] with
pixels 0-255, LAYER.f32 [images,9,elements] with the cotangents at conv1, conv2, ip1 (before its ReLU) and ip2, and, for `check`
only, rows.f32 [images,36,784], what another program makes of them. Images and cotangents are in memory, in the layout that is
measured, before the clock runs; the result is one tensor [images,4,9,784].

WAY:
    retained    one graph of the images, kept for 36 calls of autograd.grad, each with one cotangent an image
    expanded    conv1 of the images repeated 9 times as the batch of one graph, kept for one call a layer
LAYOUT: nchw, channels_last.

Both ways send gradients from conv1 to the images as one product and a sum over windows (`to_images`), for which eager
convolution has no fast path at one channel, and keep freed memory in the process unless --default-malloc is given (see lenet.py).
Tried on an AVX-512 machine with two cores, 100 images, fastest of 7 in turn, in milliseconds:

                                                      nchw   channels_last
    retained                                           185             157
    retained, gradients down to the pixels             503             198
    expanded                                           203             176
    expanded, the images repeated, not conv1           206             184
    expanded, gradients down to the pixels             278             214
    expanded, 50, 20, 10, 4 or 2 images at a time  209-289         176-230
"""

import argparse
import pathlib
import sys

import numpy as np
import torch
from lenet import THREADS, in_layout, keep_freed_memory, memory, say, seconds
from lots import LAYERS, PIXELS, TARGETS, as_images, at_conv1, read_weights, representations, to_images

WAYS = ("retained", "expanded")
LAYOUTS = ("nchw", "channels_last")
WARM_UP = 3


def read_floats(path, *shape):
    return torch.from_numpy(np.fromfile(path, "<f4").reshape(shape))


class Job:
    """One way in one layout: `run()` does the work once and returns its result."""

    def __init__(self, folder, way, layout, dtype=torch.float32):
        self.layout = layout
        self.weights = [in_layout(w.to(dtype), layout) for w in read_weights(folder / "lenet.onnx")]
        self.images = as_images(read_floats(folder / "images.f32", -1, PIXELS).to(dtype), layout)
        self.rows = torch.empty(len(self.images), len(LAYERS), TARGETS, PIXELS, dtype=dtype)
        self.cotangents = []
        for layer, value in zip(LAYERS, representations(self.conv1(), self.weights)):
            values = read_floats(folder / f"{layer}.f32", -1, TARGETS, *value.shape[1:]).to(dtype)
            if way == "retained":
                self.cotangents.append([in_layout(values[:, k], layout) for k in range(TARGETS)])
            else:
                self.cotangents.append(in_layout(values.flatten(0, 1), layout))
        self.run = self.retained if way == "retained" else self.expanded

    def conv1(self):
        with torch.no_grad():
            return at_conv1(self.images, self.weights)

    def back(self, values, layer, cotangents):
        """The cotangents at `values[layer]`, sent back to the images."""
        if layer > 0:
            (cotangents,) = torch.autograd.grad(values[layer], values[0], cotangents, retain_graph=True)
        return to_images(cotangents, self.weights)

    def retained(self):
        values = representations(self.conv1().requires_grad_(True), self.weights)
        for layer, cotangents in enumerate(self.cotangents):
            for k, one_each in enumerate(cotangents):
                self.rows[:, layer, k] = self.back(values, layer, one_each)
        return self.rows

    def expanded(self):
        memory_format = torch.contiguous_format if self.layout == "nchw" else torch.channels_last
        conv1 = self.conv1().repeat_interleave(TARGETS, 0).contiguous(memory_format=memory_format)
        values = representations(conv1.requires_grad_(True), self.weights)
        for layer, cotangents in enumerate(self.cotangents):
            self.rows[:, layer] = self.back(values, layer, cotangents).view(-1, TARGETS, PIXELS)
        return self.rows


class Peer:
    """All ways and layouts, warmed up once and kept."""

    def __init__(self, folder):
        self.folder, self.before = folder, memory()
        self.jobs = {}

    def measure(self, way, layout, repeats):
        if (way, layout) not in self.jobs:
            self.jobs[way, layout] = Job(self.folder, way, layout)
            for _ in range(WARM_UP):
                self.jobs[way, layout].run()
        return {"seconds": [seconds(self.jobs[way, layout].run) for _ in range(repeats)]}

    def check(self):
        """Rows beyond 1e-4 of their largest value, and images that have such a row: where single precision decides a near-tie of
        max pooling or a ReLU otherwise, all rows that pass it differ."""
        exact = Job(self.folder, "retained", "nchw", torch.float64).run()
        found = {"Lots": read_floats(self.folder / "rows.f32", *exact.shape)}
        for way in WAYS:
            for layout in LAYOUTS:
                found[f"{way} {layout}"] = Job(self.folder, way, layout).run()
        answer = {}
        for name, rows in found.items():
            # Not "greater", so that a row that is no number differs.
            far = ~((rows - exact).abs().amax(3) <= 1e-4 * exact.abs().amax(3))
            answer[name] = {"rows": int(far.sum()), "images": int(far.any(2).any(1).sum())}
        return answer

    def answer(self, words):
        match words:
            case ["run", way, layout, repeats] if way in WAYS and layout in LAYOUTS:
                return self.measure(way, layout, int(repeats))
            case ["check"]:
                return self.check()
            case ["memory"]:
                return {"peak": memory(), "before": self.before}
        return {"error": f"cannot do {' '.join(words)}"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("folder", metavar="FOLDER", type=pathlib.Path, help="network, images and cotangents")
    parser.add_argument("--default-malloc", action="store_true", help="let freed memory go back to the system")
    arguments = parser.parse_args()
    if not arguments.default_malloc:
        keep_freed_memory()
    torch.set_num_threads(THREADS)
    peer = Peer(arguments.folder)
    say({"ready": True, "threads": torch.get_num_threads(), "torch": torch.__version__})
    for line in sys.stdin:
        words = line.split()
        if words == ["quit"]:
            break
        if words:
            say(peer.answer(words))
    return 0


if __name__ == "__main__":
    sys.exit(main())
