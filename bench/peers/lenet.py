"""The PyTorch peer: Caffe's LeNet in eager mode on two CPU threads, as fast as eager PyTorch gets.

    python lenet.py            a server: prints a "ready" line, then answers each line `JOB VARIANT REPEATS` on stdin
                               with one JSON line, and `memory` with the most bytes that this process has had so far, and
                               what it had before the first job; `quit` or end of input ends it
    python lenet.py --table    prints the medians of every job and variant, measured in turn
    python lenet.py --check    compares every job and variant with float64, exit code 1 if one is wrong

Jobs (JOB):
    forward   logits of 1000 raw images [1000,1,28,28] with pixels 0-255
    vjp       the same forward, then a random cotangent [1000,10] at ip2 sent back to the images; frozen weights
    train     one SGD step at batch 64, Caffe's recipe: momentum .9, weight decay .0005 on weights and biases, biases
              at twice the learning rate, lr = .01 * (1 + 1e-4 t)^-.75
Layouts (VARIANT): nchw, channels_last.

Every job includes the multiplication of the pixels by 1/256. Images, labels and cotangents are ready in memory, in the
layout of the variant. PyTorch applies the learning rate to the momentum buffer and Caffe to the gradient before it
enters the buffer; the work is the same.

What was tried (torch 2.15, two threads of an AVX-512 machine whose speed drifts by 30 % over minutes, hence in turn within
one process unless noted), and what is used:
  * Memory: activations of 46 MB go back to the operating system after every call by default, and their pages fault
    in again. Keeping freed memory in the process (what the PyTorch tuning guide wants from jemalloc or tcmalloc, here
    glibc's own `mallopt`) takes 20-28 % off forward and vjp, and nothing that can be measured off train (processes run
    alternately). USED; --default-malloc turns it off.
  * The batch in blocks of 100-334 images: up to a third faster with default malloc (not run in turn), nothing beyond noise
    with freed memory kept. Not used.
  * Two Python threads with one PyTorch thread each: forward 13 % faster at blocks of 50-100, vjp 1-6 % slower. Not used:
    it is no longer plain eager PyTorch.
  * channels_last of the weights only or the images only: the same speed as both. Both are converted, with real
    channels-last strides where there is one channel.
  * Functional form against nn.Module, inference_mode against no_grad, autograd.grad against .backward() and torch.func.vjp,
    in-place ReLU, 1/256 folded into conv1: no difference beyond noise (torch.func a few percent slower).
  * mkldnn's opaque tensors for the convolutional part, forward: slower than channels_last.
  * Max pooling as a maximum of four slices was not tried: its gradient is another one where pixels tie.
  * SGD as a loop, foreach and fused: within 3 % of each other, so the fastest is picked at warm-up and named in
    the answer ("optimizer").
"""

import argparse
import json
import pathlib
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from malloc import keep_freed_memory

THREADS = 2
WARM_UP = 5
BATCH = {"forward": 1000, "vjp": 1000, "train": 64}
VARIANTS = ("nchw", "channels_last")
OPTIMIZERS = {"loop": {"foreach": False}, "foreach": {"foreach": True}, "fused": {"fused": True}}
SHAPES = ((20, 1, 5, 5), (20,), (50, 20, 5, 5), (50,), (500, 800), (500,), (10, 500), (10,))


def memory():
    """The most memory that this process has had so far, in bytes."""
    for line in pathlib.Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM")


def in_layout(tensor, variant):
    """The tensor in the variant's memory layout; `.to(memory_format=...)` may leave the strides alone at one channel."""
    if tensor.dim() != 4 or variant == "nchw":
        return tensor.contiguous().clone()
    n, c, h, w = tensor.shape
    out = torch.empty_strided((n, c, h, w), (c * h * w, 1, w * c, c), dtype=tensor.dtype)
    return out.copy_(tensor)


def initial_weights(generator):
    """Caffe's "xavier" filler: uniform in +-sqrt(3 / fan_in); biases 0."""
    weights = []
    for shape in SHAPES:
        tensor = torch.zeros(shape)
        if len(shape) > 1:
            bound = (3 / tensor[0].numel()) ** 0.5
            tensor.uniform_(-bound, bound, generator=generator)
        weights.append(tensor)
    return weights


def lenet(images, weights):
    """Logits of raw images."""
    conv1, conv1_b, conv2, conv2_b, ip1, ip1_b, ip2, ip2_b = weights
    x = images * (1 / 256)
    x = F.max_pool2d(F.conv2d(x, conv1, conv1_b), 2, 2)
    x = F.max_pool2d(F.conv2d(x, conv2, conv2_b), 2, 2)
    x = F.relu_(F.linear(x.flatten(1), ip1, ip1_b))
    return F.linear(x, ip2, ip2_b)


class Job:
    """One job in one layout: `run()` does the work once and returns its result."""

    def __init__(self, job, variant, dtype=torch.float32):
        generator = torch.Generator().manual_seed(0)
        batch = BATCH[job]
        self.optimizer = None
        weights = [in_layout(w.to(dtype), variant) for w in initial_weights(generator)]
        images = in_layout((torch.rand((batch, 1, 28, 28), generator=generator) * 255).to(dtype), variant)
        if job == "forward":
            self.run = lambda: self.forward(images, weights)
        elif job == "vjp":
            cotangent = torch.randn((batch, 10), generator=generator).to(dtype)
            self.run = lambda: self.vjp(images, weights, cotangent)
        else:
            labels = torch.randint(0, 10, (batch,), generator=generator)
            steps = {name: self.training(images, labels, weights, kind) for name, kind in OPTIMIZERS.items()}
            self.optimizer = fastest(steps)
            # A fresh start: the trial above has moved its own copy of the weights.
            self.run = self.training(images, labels, weights, OPTIMIZERS[self.optimizer])

    @staticmethod
    def forward(images, weights):
        with torch.inference_mode():
            return lenet(images, weights)

    @staticmethod
    def vjp(images, weights, cotangent):
        images = images.detach().requires_grad_(True)
        return torch.autograd.grad(lenet(images, weights), images, cotangent)[0]

    @staticmethod
    def training(images, labels, weights, kind):
        weights = [w.clone(memory_format=torch.preserve_format).requires_grad_(True) for w in weights]
        groups = [{"params": weights[0::2]}, {"params": weights[1::2]}]
        sgd = torch.optim.SGD(groups, lr=0.01, momentum=0.9, weight_decay=0.0005, **kind)
        iteration = 0

        def step():
            nonlocal iteration
            rate = 0.01 * (1 + 1e-4 * iteration) ** -0.75
            sgd.param_groups[0]["lr"] = rate
            sgd.param_groups[1]["lr"] = 2 * rate
            iteration += 1
            sgd.zero_grad(set_to_none=True)
            F.cross_entropy(lenet(images, weights), labels).backward()
            sgd.step()
            return weights

        return step


def seconds(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def fastest(runs, rounds=15):
    """The name of the quickest, measured in turn."""
    taken = {name: [] for name in runs}
    for _ in range(WARM_UP + rounds):
        for name, run in runs.items():
            taken[name].append(seconds(run))
    return min(runs, key=lambda name: statistics.median(taken[name][WARM_UP:]))


class Peer:
    """Jobs that are warmed up once and kept."""

    def __init__(self):
        self.jobs = {}

    def measure(self, job, variant, repeats):
        if job not in BATCH or variant not in VARIANTS or repeats < 1:
            raise ValueError(f"wanted JOB VARIANT REPEATS with {'|'.join(BATCH)}, {'|'.join(VARIANTS)} and at least 1")
        if (job, variant) not in self.jobs:
            prepared = Job(job, variant)
            for _ in range(WARM_UP):
                prepared.run()
            self.jobs[job, variant] = prepared
        prepared = self.jobs[job, variant]
        answer = {"job": job, "variant": variant, "seconds": [seconds(prepared.run) for _ in range(repeats)],
                  "batch": BATCH[job], "threads": torch.get_num_threads(), "torch": torch.__version__}
        if prepared.optimizer:
            answer["optimizer"] = prepared.optimizer
        return answer


def say(answer):
    print(json.dumps(answer), flush=True)


def serve(peer, keeps_memory):
    before = memory()
    say({"ready": True, "jobs": list(BATCH), "variants": list(VARIANTS), "threads": torch.get_num_threads(),
         "torch": torch.__version__, "keeps_freed_memory": keeps_memory})
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
            job, variant, repeats = words
            say(peer.measure(job, variant, int(repeats)))
        except ValueError as error:
            say({"error": f"{line.strip()}: {error}"})


def table(peer, rounds):
    taken = {(job, variant): [] for job in BATCH for variant in VARIANTS}
    for _ in range(rounds):
        for (job, variant), all_seconds in taken.items():
            all_seconds.extend(peer.measure(job, variant, 10 if job == "train" else 2)["seconds"])
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; milliseconds")
    print(f"{'job':8} {'batch':>5} {'variant':14} {'median':>8} {'fastest':>8}")
    for (job, variant), all_seconds in taken.items():
        optimizer = peer.jobs[job, variant].optimizer
        print(f"{job:8} {BATCH[job]:5} {variant:14} {1e3 * statistics.median(all_seconds):8.2f} "
              f"{1e3 * min(all_seconds):8.2f}{'  SGD ' + optimizer if optimizer else ''}")


def check():
    """Every job and variant against the same in float64: images beyond 1e-4 of their largest value may be one in a
    hundred (a max-pool or ReLU near-tie that single precision decides otherwise), logits and weights none."""
    wrong = 0
    for job in BATCH:
        exact = Job(job, "nchw", torch.float64).run()
        for variant in VARIANTS:
            got = Job(job, variant).run()
            pairs = zip(got, exact) if job == "train" else [(got, exact)]
            far = total = 0
            for a, b in pairs:
                rows = (a.detach().double() - b.detach()).flatten(1) if a.dim() > 1 else (a - b).detach()[None]
                largest = b.detach().flatten(1).abs().amax(1) if b.dim() > 1 else b.detach().abs().amax()[None]
                limit = 1e-4 * (largest if job == "vjp" else largest.max())
                far += int((rows.abs().amax(1) > limit).sum())
                total += len(rows)
            good = far <= (total // 100 if job == "vjp" else 0)
            wrong += not good
            print(f"{job:8} {variant:14} {far} of {total} rows differ from float64{'' if good else '  WRONG'}")
    return 1 if wrong else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--table", action="store_true", help="print the medians of every job and variant")
    parser.add_argument("--check", action="store_true", help="compare every job and variant with float64")
    parser.add_argument("--rounds", type=int, default=10, help="rounds of --table (default 10)")
    parser.add_argument("--default-malloc", action="store_true", help="let freed memory go back to the system")
    arguments = parser.parse_args()
    keeps_memory = not arguments.default_malloc and keep_freed_memory()
    torch.set_num_threads(THREADS)
    if arguments.check:
        return check()
    if arguments.table:
        table(Peer(), arguments.rounds)
    else:
        serve(Peer(), keeps_memory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
