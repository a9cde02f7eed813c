"""The PyTorch peer for the LOTS work of Table 1: 36 attacks a test digit on a LeNet, on two CPU threads, as fast as eager
PyTorch gets.

    python lots.py MODEL.onnx --origins N    a server: prints a "ready" line, then answers each line `VARIANT` on stdin
                                             with one JSON line, and `memory` with the most bytes that this process has had
                                             so far, and what it had before the first attack; `quit` or end of input ends it
    python lots.py MODEL.onnx --table        prints the medians of all variants, measured in turn
    python lots.py MODEL.onnx --check        compares all variants with a plain float64 implementation that takes one
                                             attack at a time, exit code 1 if they disagree
    python lots.py MODEL.onnx --steps FILE   writes the step of every attack, for comparison with another implementation

MODEL is Caffe's LeNet as Lots writes it. VARIANT is explained below.

The work: the origins are the test digits at positions floor(i * 10000 / N); the misclassified are skipped. Each is attacked at
the layers conv1, conv2, ip1 (before its ReLU) and ip2 with 9 targets, the first training image of every other class:

    direction   eta = J_l^T (f_l(target) - f_l(origin)), divided by max|eta|; one that is zero or not finite finds nothing
    candidate   round(clip(origin + s * eta, 0, 255)), halves to even; a hit if its class is not the origin's
    search      s = 1, 2, 4, ..., 4096 until a hit, "not found" at the cap; then 10 bisections between the last miss and
                that hit; the hit end is the result

The seconds include all from 8-bit origins in memory to 8-bit adversarial images in memory. L2 and L-infinity in grey levels are
means over the found.

VARIANTS:
    nchw, channels_last   eager PyTorch as it is, in the two layouts, with two threads
    tuned                 channels_last by hand: two Python threads with one thread of PyTorch each, and max pooling in the search as
                          maxima of slices, which keep no indices (their gradient differs where pixels tie, so directions
                          have PyTorch's own)

All three judge BLOCK candidates at a time, which for these sizes is no slower than 1000 and stays in the cache; keep one graph of
the origins for all 36 cotangents of each; send gradients from conv1 to the images as one product and a sum over windows, for
which eager convolution has no fast path at one channel; and keep freed memory in the process (see lenet.py).
On an AVX-512 machine with two cores (100 origins, --table): nchw 800, channels_last 1750, tuned 2030 attacks a second; blocks
of 1000 instead of 128: 800 and 1690.
"""

import argparse
import csv
import gzip
import math
import pathlib
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import onnx.numpy_helper
import torch
import torch.nn.functional as F
from lenet import SHAPES, THREADS, in_layout, keep_freed_memory, memory, say

LAYERS = ("conv1", "conv2", "ip1", "ip2")
OPERATORS = "Mul Conv MaxPool Conv MaxPool Flatten Gemm Relu Gemm"
CLASSES = 10
TARGETS = CLASSES - 1
ATTACKS = len(LAYERS) * TARGETS
PIXELS = 28 * 28
CAP = 4096
BISECTIONS = 10

VARIANTS = ("nchw", "channels_last", "tuned")
ORIGINS_IN_FLIGHT = 50  # at most, in each Python thread
BLOCK = 128  # candidates that the network judges at once

CRATES = pathlib.Path(__file__).resolve().parents[2] / "crates"
TEST = CRATES / "lots-mnist-test" / "data", "t10k", 10_000
TRAIN = CRATES / "lots-mnist-train" / "data", "train", 60_000


def read_mnist(folder, name, count):
    """8-bit images [count,784] and labels [count] of the gzipped IDX files."""
    arrays = []
    for suffix, header in (("images-idx3", [2051, count, 28, 28]), ("labels-idx1", [2049, count])):
        path = folder / f"{name}-{suffix}-ubyte.gz"
        with gzip.open(path, "rb") as file:
            content = file.read()
        if list(np.frombuffer(content, ">u4", len(header))) != header:
            raise ValueError(f"{path}: not the file of MNIST")
        arrays.append(torch.from_numpy(np.frombuffer(content, np.uint8, offset=4 * len(header)).copy()))
    images, labels = arrays
    return images.view(count, PIXELS), labels.long()


def read_weights(path):
    """Weights and biases of conv1, conv2, ip1 and ip2."""
    graph = onnx.load(path).graph
    operators = " ".join(node.op_type for node in graph.node)
    values = {value.name: onnx.numpy_helper.to_array(value) for value in graph.initializer}
    names = [f"{layer}.{part}" for layer in LAYERS for part in ("weight", "bias")]
    if (
        operators != OPERATORS
        or any(name not in values or values[name].shape != shape for name, shape in zip(names, SHAPES))
        or [float(value) for value in values.values() if value.ndim == 0] != [1 / 256]
    ):
        raise ValueError(f"{path}: not a LeNet as Lots writes it")
    return [torch.from_numpy(values[name].copy()) for name in names]


def as_images(pixels, variant):
    """A view [N,1,28,28] of pixels [N,784]; with one channel both layouts have the same memory, only strides differ."""
    count = len(pixels)
    strides = (PIXELS, PIXELS, 28, 1) if variant == "nchw" else (PIXELS, 1, 28, 1)
    return pixels.as_strided((count, 1, 28, 28), strides)


def halve(x):
    """Max pooling 2/2 without indices; for forward passes only, its gradient is another one where pixels tie."""
    x = torch.maximum(x[:, :, ::2], x[:, :, 1::2])
    return torch.maximum(x[..., ::2], x[..., 1::2])


def at_conv1(images, weights):
    return F.conv2d(images * (1 / 256), *weights[:2])


def representations(conv1, weights):
    """The values of all LAYERS from that of the first; max pooling with PyTorch's own gradient."""
    conv2_w, conv2_b, ip1_w, ip1_b, ip2_w, ip2_b = weights[2:]
    conv2 = F.conv2d(F.max_pool2d(conv1, 2, 2), conv2_w, conv2_b)
    ip1 = F.linear(F.max_pool2d(conv2, 2, 2).flatten(1), ip1_w, ip1_b)
    return conv1, conv2, ip1, F.linear(F.relu(ip1), ip2_w, ip2_b)


def to_images(gradients, weights):
    """Gradients at conv1 [N,20,24,24] sent back to the images [N,784], as a product and a sum over the windows."""
    windows = (weights[0].flatten(1).T * (1 / 256)) @ gradients.flatten(2)
    return F.fold(windows, 28, 5).view(-1, PIXELS)


def pooled(x, variant):
    return halve(x) if variant == "tuned" else F.max_pool2d(x, 2, 2)


def classes(images, weights, variant):
    """The classes of images, which are overwritten."""
    conv1, conv1_b, conv2, conv2_b, ip1, ip1_b, ip2, ip2_b = weights
    x = pooled(F.conv2d(images.mul_(1 / 256), conv1, conv1_b), variant)
    x = pooled(F.conv2d(x, conv2, conv2_b), variant)
    x = F.relu_(F.linear(x.flatten(1), ip1, ip1_b))
    return F.linear(x, ip2, ip2_b).argmax(1)


def other_classes(labels):
    """[N,9]: 0 to 9 without the label."""
    below = torch.arange(TARGETS)
    return below + (below >= labels[:, None])


def directions(pixels, labels, targets, weights, variant):
    """Scaled directions [N,36,784], by layer and target class, and which of the origins the network classifies correctly.

    One graph of the origins is kept for all 36 cotangents of each.
    """
    count = len(pixels)
    with torch.no_grad():
        conv1 = at_conv1(as_images(pixels, variant), weights)
    origins = representations(conv1.requires_grad_(True), weights)
    correct = origins[-1].argmax(1) == labels
    others = other_classes(labels)
    etas = torch.empty(count, len(LAYERS), TARGETS, PIXELS)
    for layer, (target, origin) in enumerate(zip(targets, origins)):
        value = origin.detach()
        for k in range(TARGETS):
            gradients = target[others[:, k]] - value
            if layer > 0:
                (gradients,) = torch.autograd.grad(origin, conv1, gradients, retain_graph=True)
            etas[:, layer, k] = to_images(gradients, weights)
    largest = etas.abs().amax(3, keepdim=True)
    # A direction that is zero or not finite becomes zero, which finds nothing.
    etas.div_(largest).nan_to_num_(0, 0, 0)
    return etas.view(count, ATTACKS, PIXELS), correct


class Search:
    """The line searches of some origins; `rows` are indices into their directions, 36 an origin."""

    def __init__(self, pixels, labels, etas, weights, variant):
        self.pixels, self.labels, self.etas = pixels, labels, etas.view(-1, PIXELS)
        self.weights, self.variant = weights, variant
        # Written anew for every block of candidates.
        self.origin, self.eta, self.candidate = torch.empty(3, BLOCK, PIXELS)

    def render(self, rows, steps):
        """Candidates of at most BLOCK rows, valid until the next call."""
        origin, eta, candidate = (buffer[: len(rows)] for buffer in (self.origin, self.eta, self.candidate))
        torch.index_select(self.pixels, 0, rows // ATTACKS, out=origin)
        torch.index_select(self.etas, 0, rows, out=eta)
        return torch.addcmul(origin, eta, steps[:, None], out=candidate).clamp_(0, 255).round_()

    def hits(self, rows, steps):
        """Whether each candidate has another class than its origin."""
        found = torch.empty(len(rows), dtype=torch.bool)
        for part, step, out in zip(rows.split(BLOCK), steps.split(BLOCK), found.split(BLOCK)):
            candidates = as_images(self.render(part, step), self.variant)
            torch.ne(classes(candidates, self.weights, self.variant), self.labels[part // ATTACKS], out=out)
        return found

    def run(self, rows):
        """The rows for which an adversarial image is found, and their steps."""
        hit_rows, hit_steps = [], []
        step = 1.0
        while step <= CAP and len(rows):
            hit = self.hits(rows, torch.full((len(rows),), step))
            hit_rows.append(rows[hit])
            hit_steps.append(torch.full((len(hit_rows[-1]),), step))
            rows = rows[~hit]
            step *= 2
        if not hit_rows:
            return rows, torch.empty(0)
        rows, high = torch.cat(hit_rows), torch.cat(hit_steps)
        low = torch.where(high == 1, 0, high / 2)
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            hit = self.hits(rows, middle)
            high = torch.where(hit, middle, high)
            low = torch.where(hit, low, middle)
        return rows, high


class Result:
    """Steps [N,36], 0 where nothing is found, 8-bit adversarial images [N,36,784], and which origins were attacked [N]."""

    def __init__(self, count):
        self.attacked = torch.zeros(count, dtype=torch.bool)
        self.steps = torch.zeros(count, ATTACKS)
        self.images = torch.zeros(count, ATTACKS, PIXELS, dtype=torch.uint8)


class Job:
    """The attacks on N origins in one variant."""

    def __init__(self, weights, variant, test, target_images, count):
        images, labels = test
        self.positions = [i * len(images) // count for i in range(count)]
        self.origins, self.labels = images[self.positions], labels[self.positions]
        layout = "nchw" if variant == "nchw" else "channels_last"
        self.weights, self.variant = [in_layout(w, layout) for w in weights], variant
        self.target_images = target_images

    def run(self):
        count = len(self.origins)
        result = Result(count)
        with torch.no_grad():
            images = as_images(self.target_images.float(), self.variant)
            targets = representations(at_conv1(images, self.weights), self.weights)
        # As many equal pieces for each worker.
        workers = THREADS if self.variant == "tuned" else 1
        pieces = workers * math.ceil(count / (workers * ORIGINS_IN_FLIGHT))
        ends = [i * count // pieces for i in range(pieces + 1)]
        pieces = [slice(a, b) for a, b in zip(ends, ends[1:]) if a < b]
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(THREADS // workers,)) as pool:
            list(pool.map(lambda piece: self.attack(piece, targets, result), pieces))
        return result

    def attack(self, piece, targets, result):
        """Attacks the origins of a slice and writes that slice of the result."""
        pixels, labels = self.origins[piece].float(), self.labels[piece]
        etas, correct = directions(pixels, labels, targets, self.weights, self.variant)
        result.attacked[piece] = correct
        steps, images = result.steps[piece].view(-1), result.images[piece].view(-1, PIXELS)
        with torch.inference_mode():
            search = Search(pixels, labels, etas, self.weights, self.variant)
            rows, found = search.run(correct.repeat_interleave(ATTACKS).nonzero()[:, 0])
            steps[rows] = found
            for part, step in zip(rows.split(BLOCK), found.split(BLOCK)):
                images[part] = search.render(part, step).to(torch.uint8)


class Peer:
    """All variants, warmed up once and kept."""

    def __init__(self, model, count):
        train_images, train_labels = read_mnist(*TRAIN)
        first = [int((train_labels == c).nonzero()[0, 0]) for c in range(CLASSES)]
        self.weights, self.test, self.target_images = read_weights(model), read_mnist(*TEST), train_images[first]
        self.count = count
        self.jobs = {}

    def job(self, variant, count):
        if variant not in VARIANTS:
            raise ValueError(f"wanted {' or '.join(VARIANTS)}")
        return Job(self.weights, variant, self.test, self.target_images, count)

    def measure(self, variant):
        if variant not in self.jobs:
            self.job(variant, min(self.count, THREADS * ORIGINS_IN_FLIGHT)).run()
            self.jobs[variant] = self.job(variant, self.count)
        job = self.jobs[variant]
        start = time.perf_counter()
        result = job.run()
        seconds = time.perf_counter() - start
        return {"variant": variant, "seconds": seconds, **summary(job, result), "torch": torch.__version__,
                "threads": THREADS}


def summary(job, result):
    """Counts and means; those over the found are null if there are none."""
    found = result.steps > 0
    attacks, count = ATTACKS * int(result.attacked.sum()), int(found.sum())
    differences = (result.images[found].double() - job.origins.repeat_interleave(ATTACKS, 0)[found.view(-1)].double())
    means = {"mean_step": result.steps[found].double(), "mean_l2": differences.norm(dim=1),
             "mean_linf": differences.abs().amax(1)} if count else {}
    return {"attacks": attacks, "found": count,
            **{name: float(means[name].mean()) if count else None for name in ("mean_step", "mean_l2", "mean_linf")}}


def serve(peer, keeps_memory):
    before = memory()
    say({"ready": True, "variants": list(VARIANTS), "origins": peer.count, "threads": THREADS, "torch": torch.__version__,
         "keeps_freed_memory": keeps_memory})
    for line in sys.stdin:
        words = line.split()
        if not words:
            continue
        if words == ["quit"]:
            break
        if words == ["memory"]:
            say({"peak": memory(), "before": before})
            continue
        try:
            (variant,) = words
            say(peer.measure(variant))
        except ValueError as error:
            say({"error": f"{line.strip()}: {error}"})


def table(peer, rounds):
    taken = {variant: [] for variant in VARIANTS}
    for _ in range(rounds):
        for variant, answers in taken.items():
            answers.append(peer.measure(variant))
    print(f"torch {torch.__version__}, {THREADS} threads, {peer.count} origins")
    print(f"{'variant':14} {'seconds':>8} {'fastest':>8} {'attacks':>8} {'a second':>9} {'found':>8} {'step':>8} {'L2':>8} {'Linf':>7}")
    for variant, answers in taken.items():
        seconds = [answer["seconds"] for answer in answers]
        median, answer = statistics.median(seconds), answers[0]
        step, l2, linf = (answer[name] or math.nan for name in ("mean_step", "mean_l2", "mean_linf"))
        print(f"{variant:14} {median:8.3f} {min(seconds):8.3f} {answer['attacks']:8} {answer['attacks'] / median:9.0f} "
              f"{answer['found']:8} {step:8.2f} {l2:8.2f} {linf:7.2f}")


def write_steps(peer, variant, path):
    """`origin` is a position in the test set; `step` is empty where nothing is found."""
    job = peer.job(variant, peer.count)
    result = job.run()
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("origin", "layer", "target_class", "found", "step"))
        for i in result.attacked.nonzero()[:, 0].tolist():
            pairs = ((layer, k) for layer in LAYERS for k in range(CLASSES) if k != job.labels[i])
            for (layer, k), step in zip(pairs, result.steps[i].tolist(), strict=True):
                writer.writerow((job.positions[i], layer, k, int(step > 0), step if step > 0 else ""))


def plain_values(image, weights):
    """The values of all LAYERS."""
    return representations(at_conv1(image, weights), weights)


def plain_class(image, weights):
    with torch.no_grad():
        return int(plain_values(image, weights)[-1].argmax())


def plain_attack(origin, label, target, layer, weights):
    """One attack in float64: the step and the image, or None and None."""
    image = origin.clone().requires_grad_(True)
    value = plain_values(image, weights)[layer]
    with torch.no_grad():
        cotangent = plain_values(target, weights)[layer] - value
    (eta,) = torch.autograd.grad(value, image, cotangent)
    if not (eta.isfinite().all() and eta.any()):
        return None, None
    eta = eta / eta.abs().max()

    def candidate(step):
        return (origin + step * eta).clamp(0, 255).round()

    def hit(step):
        return plain_class(candidate(step), weights) != label

    step = 1.0
    while not hit(step):
        step *= 2
        if step > CAP:
            return None, None
    low, high = (0.0 if step == 1 else step / 2), step
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if hit(middle):
            high = middle
        else:
            low = middle
    return high, candidate(high)


def plain_result(job, weights):
    """The job's result in float64, one attack at a time."""
    result = Result(len(job.origins))
    targets = job.target_images.double().view(-1, 1, 1, 28, 28)
    for i, (pixels, label) in enumerate(zip(job.origins, job.labels.tolist())):
        origin = pixels.double().view(1, 1, 28, 28)
        if plain_class(origin, weights) != label:
            continue
        result.attacked[i] = True
        pairs = ((layer, k) for layer in range(len(LAYERS)) for k in range(CLASSES) if k != label)
        for row, (layer, k) in enumerate(pairs):
            step, image = plain_attack(origin, label, targets[k], layer, weights)
            if step is not None:
                result.steps[i, row], result.images[i, row] = step, image.view(PIXELS)
    return result


def check(peer):
    """Steps and images of every attack on 20 origins: one in a hundred may differ, where single precision decides a near-tie of
    max pooling, of rounding or of two classes otherwise. All that is found must be adversarial in float64, but for as many."""
    jobs = [peer.job(variant, 20) for variant in VARIANTS]
    results = [job.run() for job in jobs]
    weights = [w.double() for w in peer.weights]
    torch.set_num_threads(1)  # the fastest for single images
    exact = plain_result(jobs[0], weights)
    both = exact.attacked
    total = ATTACKS * int(both.sum())
    wrong = 0
    for job, result in zip(jobs, results):
        steps = int((result.steps != exact.steps)[both].sum())
        images = int((result.images != exact.images).any(2)[both].sum())
        found = (result.steps > 0).nonzero().tolist()
        harmless = sum(plain_class(result.images[i, row].double().view(1, 1, 28, 28), weights) == job.labels[i] for i, row in found)
        good = torch.equal(result.attacked, both) and total > 0 and max(steps, images, harmless) <= total // 100
        wrong += not good
        print(f"{job.variant:14} of {total} attacks {steps} steps and {images} images differ from float64, of {len(found)} found "
              f"{int(harmless)} are not adversarial in float64{'' if good else '  WRONG'}")
    return 1 if wrong else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("model", metavar="MODEL", help="a LeNet that Lots wrote, ONNX")
    parser.add_argument("--origins", metavar="N", type=int, default=100, help="test digits, 1 to 10000 (default 100)")
    parser.add_argument("--table", action="store_true", help="print the medians of all variants")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of --table (default 5)")
    parser.add_argument("--check", action="store_true", help="compare all variants with a plain float64 implementation")
    parser.add_argument("--steps", metavar="FILE", help="write the step of every attack as CSV")
    parser.add_argument("--variant", choices=VARIANTS, default=VARIANTS[-1], help="variant of --steps (default tuned)")
    parser.add_argument("--default-malloc", action="store_true", help="let freed memory go back to the system")
    arguments = parser.parse_args()
    if not 1 <= arguments.origins <= TEST[2] or arguments.rounds < 1:
        parser.error("--origins must be 1 to 10000 and --rounds at least 1")
    keeps_memory = not arguments.default_malloc and keep_freed_memory()
    torch.set_num_threads(THREADS)
    peer = Peer(arguments.model, arguments.origins)
    if arguments.check:
        return check(peer)
    if arguments.table:
        table(peer, arguments.rounds)
    elif arguments.steps:
        write_steps(peer, arguments.variant, arguments.steps)
    else:
        serve(peer, keeps_memory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
