"""Writes small networks with their deconvolution and guided back-propagation for the tests of crates/lots-nn.

    python references/make_relu_rules.py [--out DIR]        default: crates/lots-nn/tests/data/relu_rules

For each network NAME.onnx, exported by PyTorch, and NAME.bin, for a batch of three: little-endian, u32 number of arrays (5), then
for each array u32 rank, u32 dimensions, f32 values. The arrays are

    0  input           standard normal
    1  cotangent       standard normal, the shape of the output
    2  gradient        J^T cotangent
    3  deconvolution   the same with what is above zero of the cotangent passed on at ReLUs (Zeiler and Fergus 2014)
    4  guided          the same with what of that the ReLU's own slope passes, too (Springenberg et al. 2015)

They are computed in float64 by PyTorch's autograd over the module, with a full backward hook at each ReLU, as Captum and others
have it. A network is written only if no ReLU or max pool comes so near to a kink (1e-5 of its largest value) that float32 could
decide otherwise.

Weights are drawn from torch.manual_seed(seed), inputs and cotangents from numpy.random.default_rng([seed, 1]). PyTorch 2.15.0,
onnx 1.23.2.
"""

import argparse
import copy
import pathlib
import sys

import numpy as np
import torch
from torch import nn

import make_operators
import torch_graph

BATCH = 3
TOLERANCE = 1e-5


class Stack(nn.Sequential):
    """As VGG: ReLUs behind convolutions, max pools behind ReLUs, and a ReLU between matrix products."""

    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 17, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(17, 18, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18 * 9, 40), nn.ReLU(),
            nn.Linear(40, 7))


class Residual(nn.Module):
    """A residual block with batch normalisation, and ReLU6s."""

    def __init__(self):
        super().__init__()
        self.stem, self.first = nn.Conv2d(3, 8, 3, stride=2), nn.ReLU6()
        self.left = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU6(), nn.Conv2d(8, 8, 1))
        self.last, self.head = nn.ReLU(), nn.Linear(8, 5)
        # So that some numbers are beyond 6.
        self.stem.weight.data *= 6

    def forward(self, x):
        x = self.first(self.stem(x))
        x = self.last(x + self.left(x))
        return self.head(x.mean((2, 3)))


NETWORKS = ((Stack, "stack", 31, (3, 12, 13)), (Residual, "residual", 32, (3, 11, 12)))


def passes(rule):
    """The hook: what a ReLU passes of a cotangent, given what its own slope passes."""
    return lambda _, inner, outer: ((inner if rule == "guided" else outer)[0].clamp(min=0),)


def sent_back(module, images, cotangent, rule):
    module = copy.deepcopy(module)
    for part in module.modules():
        if rule != "gradient" and isinstance(part, (nn.ReLU, nn.ReLU6)):
            part.register_full_backward_hook(passes(rule))
    images = images.clone().requires_grad_(True)
    return torch.autograd.grad(module(images), images, cotangent)[0]


def margin(module, images):
    """How near ReLUs and max pools come to a kink."""
    margins = torch_graph.Margins()

    def look(part, inputs, _):
        (x,) = inputs
        x = x.detach()
        if isinstance(part, nn.ReLU6):
            margins.add((x - 6).abs(), x)
        if isinstance(part, (nn.ReLU, nn.ReLU6)):
            margins.add(x.abs(), x)
        if isinstance(part, nn.MaxPool2d):
            windows = x.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)
            first, second = windows.topk(2).values.unbind(-1)
            # Where all of a window is zero, so is its cotangent.
            margins.add((first - second)[first > 0], x)

    hooks = [part.register_forward_hook(look) for part in module.modules()]
    module(images)
    for hook in hooks:
        hook.remove()
    return margins.smallest


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    root = pathlib.Path(__file__).resolve().parent.parent
    parser.add_argument("--out", type=pathlib.Path, default=root / "crates/lots-nn/tests/data/relu_rules")
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(2)
    bad = 0
    for kind, name, seed, shape in NETWORKS:
        torch.manual_seed(seed)
        module = kind().eval()
        model = make_operators.export(module, shape, dynamo=False)
        random = np.random.default_rng([seed, 1])
        x = random.standard_normal((BATCH, *shape)).astype(np.float32)
        module = module.double()
        images = torch.from_numpy(x).double()
        near = margin(module, images)
        outputs = module(images).detach()
        cotangent = random.standard_normal(outputs.shape).astype(np.float32)
        rows = torch.from_numpy(cotangent).double()
        arrays = [sent_back(module, images, rows, rule).numpy() for rule in ("gradient", "deconvolution", "guided")]
        apart = min(np.abs(a - b).max() / np.abs(b).max() for i, a in enumerate(arrays) for b in arrays[:i])
        print(f"{name:10} {list(x.shape)} -> {list(outputs.shape)} margin {near:.1e}, rules apart by {apart:.1e}")
        if near < TOLERANCE or apart < 0.01:
            print(f"{name}: too near to a kink, or rules too near to each other; take another seed")
            bad += 1
        else:
            make_operators.write(folder, name, model, (x, cotangent, *arrays))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
