"""The PyTorch peer for iterative LOTS on a LeNet: the algorithm of the paper's authors, on two CPU threads.

    python iterative.py MODEL.onnx --origins N    a server: prints a "ready" line, then answers each line `LAYER WAY COUNT` on
                                                  stdin with one JSON line; `quit` or end of input ends it
    python iterative.py MODEL.onnx --check        compares both ways with a plain float64 loop, exit code 1 if they disagree

MODEL is Caffe's LeNet as Lots writes it. LAYER is conv1, conv2, ip1 (before its ReLU) or ip2.

The work: the origins are the test digits at positions floor(i * 10000 / N), of which the first COUNT are taken; the target of a digit
y is the first training image of class (y + 1) mod 10. The algorithm is that of the authors' later public code, written from its
description:

    up to 500 times: stop when the class is the target's; x <- clip(x + eta / max|eta|, 0, 255), with
    eta = J_l^T (f_l(target) - f_l(x)) computed anew

in float, without rounding and without a search back. A step is one grey level of the pixel that changes most. Only the result is
rounded to 8 bits here, and judged again as it would be saved.

WAY:
    alone      one image at a time, as the authors' code does it
    batched    the same loop with all images side by side, in batches of BATCH; those that are done leave

The answer has the seconds from 8-bit origins to float results in memory, how many reached the target's class in float, and for each
digit whether its 8-bit image has that class, and L2 in grey levels.
"""

import argparse
import pathlib
import sys
import time

import torch
from lenet import THREADS, in_layout, keep_freed_memory, say
from lots import (CLASSES, LAYERS, PIXELS, TEST, TRAIN, as_images, at_conv1, read_mnist, read_weights, representations,
                  to_images)

STEPS = 500
BATCH = 1000
LAYOUT = "channels_last"  # the faster one for this work, see lots.py
WAYS = ("alone", "batched")


def look(pixels, weights, layer):
    """The graph from conv1, the representation at the layer and the classes of pixels [N,784]."""
    with torch.no_grad():
        conv1 = at_conv1(as_images(pixels, LAYOUT), weights)
    values = representations(conv1.requires_grad_(True), weights)
    return conv1, values[layer], values[-1].argmax(1)


def walk(pixels, classes, targets, weights, layer, steps=STEPS):
    """Steps and adjusts all of `pixels` [N,784], float, in place, towards `classes` [N] and the representations `targets`; which
    of them arrive."""
    arrived = torch.zeros(len(pixels), dtype=torch.bool)
    rows = torch.arange(len(pixels))
    for step in range(steps + 1):
        conv1, value, found = look(pixels[rows], weights, layer)
        hit = found == classes[rows]
        arrived[rows[hit]] = True
        if step == steps or bool(hit.all()):
            break
        cotangent = (targets[rows] - value).detach()
        cotangent[hit] = 0
        (gradient,) = (cotangent,) if layer == 0 else torch.autograd.grad(value, conv1, cotangent)
        rows, gradient = rows[~hit], gradient[~hit]
        with torch.no_grad():
            eta = to_images(gradient, weights)
            eta /= eta.abs().amax(1, keepdim=True).clamp_min(1e-30)
            pixels[rows] = (pixels[rows] + eta).clamp_(0, 255)
    return arrived


class Peer:
    def __init__(self, model, count):
        images, labels = read_mnist(*TEST)
        positions = [i * len(images) // count for i in range(count)]
        self.origins, self.goals = images[positions], (labels[positions] + 1) % CLASSES
        train_images, train_labels = read_mnist(*TRAIN)
        first = [int((train_labels == c).nonzero()[0, 0]) for c in range(CLASSES)]
        self.targets = train_images[first]
        self.weights = [in_layout(w, LAYOUT) for w in read_weights(model)]

    def run(self, layer, way, count, steps=STEPS):
        """Float results and which arrived."""
        with torch.no_grad():
            values = representations(at_conv1(as_images(self.targets.float(), LAYOUT), self.weights), self.weights)[layer]
        pixels = self.origins[:count].float()
        size = 1 if way == "alone" else BATCH
        parts = zip(pixels.split(size), self.goals[:count].split(size))
        arrived = [walk(part, goals, values[goals], self.weights, layer, steps) for part, goals in parts]
        return pixels, torch.cat(arrived)

    def answer(self, layer, way, count):
        if layer not in LAYERS or way not in WAYS or not 0 < count <= len(self.origins):
            raise ValueError(f"wanted {'|'.join(LAYERS)} {'|'.join(WAYS)} COUNT")
        self.run(LAYERS.index(layer), way, min(count, 5))
        start = time.perf_counter()
        pixels, arrived = self.run(LAYERS.index(layer), way, count)
        seconds = time.perf_counter() - start
        saved = pixels.round()
        _, _, classes = look(saved, self.weights, 0)
        return {"seconds": seconds, "arrived": int(arrived.sum()), "saved": (classes == self.goals[:count]).tolist(),
                "l2": (saved - self.origins[:count].float()).norm(dim=1).tolist()}


def plain(peer, position, layer, steps):
    """One digit by a plain loop in float64: whether it arrives, and the image."""
    weights = [w.double().contiguous() for w in peer.weights]
    goal = int(peer.goals[position])
    with torch.no_grad():
        target = representations(at_conv1(peer.targets[goal].double().view(1, 1, 28, 28), weights), weights)[layer]
    x = peer.origins[position].double().view(1, 1, 28, 28)
    for step in range(steps + 1):
        x.requires_grad_(True)
        values = representations(at_conv1(x, weights), weights)
        if int(values[-1].argmax()) == goal:
            return True, x.detach().view(PIXELS)
        if step == steps:
            return False, x.detach().view(PIXELS)
        (eta,) = torch.autograd.grad(values[layer], x, target - values[layer].detach())
        x = (x.detach() + eta / eta.abs().max()).clamp(0, 255)
    raise AssertionError("the loop returns")


def check(peer):
    """After 30 steps, of 10 digits at each layer one may be further than a tenth of a grey level away: single precision decides
    near-ties of max pooling otherwise, many of which the even background makes, and over hundreds of steps these add up."""
    count, steps, failures = 10, 30, 0
    for layer, name in enumerate(LAYERS):
        wanted = [plain(peer, position, layer, steps) for position in range(count)]
        for way in WAYS:
            pixels, arrived = peer.run(layer, way, count, steps)
            apart = [float((a.double() - b).abs().max()) for a, (_, b) in zip(pixels, wanted)]
            wrong = sum(bool(a) != b or far > 0.1 for a, (b, _), far in zip(arrived, wanted, apart))
            print(f"{name} {way}: {wrong} of {count} differ from float64; largest difference of a pixel {max(apart):.2g}")
            failures += wrong > 1
    return 1 if failures else 0


def serve(peer):
    say({"ready": True, "origins": len(peer.origins), "threads": THREADS, "torch": torch.__version__})
    for line in sys.stdin:
        words = line.split()
        if words == ["quit"]:
            break
        try:
            layer, way, count = words
            say(peer.answer(layer, way, int(count)))
        except ValueError as error:
            say({"error": f"{line.strip()}: {error}"})


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("model", metavar="MODEL", type=pathlib.Path)
    parser.add_argument("--origins", metavar="N", type=int, default=1000)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(THREADS)
    peer = Peer(arguments.model, arguments.origins)
    if arguments.check:
        return check(peer)
    serve(peer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
