"""Do our L-BFGS attacks come to where SciPy's L-BFGS-B comes, on the same network and digits?

    python references/check_lbfgs.py MODEL.onnx DIR

MODEL is Caffe's LeNet as Lots writes it. DIR is what `lots compare MODEL --data mnist:test --limit N --methods
lbfgs,feature-adversary --layer LAYERS --out DIR` wrote. SciPy minimises in double precision, through PyTorch, with pixels of 0-1:

    lbfgs (Szegedy et al. 2014)              c |r|^2 - ln(1 - softmax at the origin's class), r in 0-1, from the origin; c is 1 at first,
                                             ten times less or more until one c reaches another class and one does not, then their
                                             geometric mean; 10 minima in all
    feature-adversary (Sabour et al. 2016)   |f(x) - f(target)|^2 / |f(origin) - f(target)|^2 in the box that the record names

Each minimum is rounded to 8 bits and judged. Prints, for each method, success and mean L2 of both, or the mean distance to the target's
representation, as a share of the origin's. Exit code 1 if success differs by more than 4 standard errors of a share (and more than one
digit), or a mean by more than 5 %.

Needs: scipy, torch, numpy, onnx.
"""

import argparse
import json
import math
import pathlib
import re
import sys

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import minimize

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "bench" / "peers"))
from lots import CLASSES, TEST, TRAIN, read_mnist, read_weights  # noqa: E402

GREY = 255.0
SEARCHES = 10
OPTIONS = {"maxiter": 100, "maxcor": 10, "ftol": 1e-6, "gtol": 1e-9}


def layers(x, weights):
    """By name, for pixels [1,784] of 0-1."""
    conv1, conv1_b, conv2, conv2_b, ip1, ip1_b, ip2, ip2_b = weights
    first = F.conv2d(x.view(-1, 1, 28, 28) * (GREY / 256), conv1, conv1_b)
    second = F.conv2d(F.max_pool2d(first, 2), conv2, conv2_b)
    third = F.linear(F.max_pool2d(second, 2).flatten(1), ip1, ip1_b)
    return {"conv1": first, "conv2": second, "ip1": third, "ip2": F.linear(F.relu(third), ip2, ip2_b)}


def minimum(cost, start, low, high):
    """Where SciPy comes to, rounded to 8 bits, as 0-1."""

    def both(x):
        x = torch.tensor(x).requires_grad_(True)
        value = cost(x.view(1, -1))
        (slope,) = torch.autograd.grad(value, x)
        return value.item(), slope.numpy()

    end = minimize(both, start, jac=True, method="L-BFGS-B", bounds=list(zip(low, high)), options=OPTIONS)
    return np.round(end.x * GREY) / GREY


def smallest(origin, weights):
    """The smallest image found of another class, as L2 in grey levels; None if none is found."""
    label = layers(torch.tensor(origin).view(1, -1), weights)["ip2"].argmax().item()
    others = [k for k in range(CLASSES) if k != label]
    start, c, met, missed, best = torch.tensor(origin), 1.0, None, None, None

    def cost(x):
        logits = layers(x, weights)["ip2"][0]
        return c * ((x[0] - start) ** 2).sum() + torch.logsumexp(logits, 0) - torch.logsumexp(logits[others], 0)

    for _ in range(SEARCHES):
        found = minimum(cost, origin, np.zeros_like(origin), np.ones_like(origin))
        if layers(torch.tensor(found).view(1, -1), weights)["ip2"].argmax().item() != label:
            met, length = c, GREY * np.linalg.norm(found - origin)
            best = length if best is None else min(best, length)
        else:
            missed = c
        c = math.sqrt(met * missed) if met and missed else met * 10 if met else missed / 10
    return best


def nearest(origin, target, layer, linf, weights):
    """The distance of the nearest image in the box, as a share of the origin's; and whether it has another class."""
    start = layers(torch.tensor(origin).view(1, -1), weights)
    wanted = layers(torch.tensor(target).view(1, -1), weights)[layer]
    whole = ((start[layer] - wanted) ** 2).sum()

    def cost(x):
        return ((layers(x, weights)[layer] - wanted) ** 2).sum() / whole

    low, high = np.maximum(origin - linf / GREY, 0), np.minimum(origin + linf / GREY, 1)
    found = layers(torch.tensor(minimum(cost, origin, low, high)).view(1, -1), weights)
    share = math.sqrt((((found[layer] - wanted) ** 2).sum() / whole).item())
    return share, found["ip2"].argmax().item() != start["ip2"].argmax().item()


def agree(what, ours, theirs, shares, count):
    """Whether they do; prints both."""
    ratio, error = np.mean(ours) / np.mean(theirs), math.sqrt(shares[1] * (1 - shares[1]) / count)
    agrees = abs(shares[0] - shares[1]) <= max(4 * error, 1.5 / count) and abs(ratio - 1) <= 0.05
    print(f"{what}: {count} digits; found {100 * shares[0]:.1f} % (SciPy {100 * shares[1]:.1f} %); mean {np.mean(ours):.4g} "
          f"(SciPy {np.mean(theirs):.4g}), ratio {ratio:.3f}{'' if agrees else '  DIFFERENT'}", flush=True)
    return agrees


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("model", metavar="MODEL", type=pathlib.Path)
    parser.add_argument("folder", metavar="DIR", type=pathlib.Path)
    arguments = parser.parse_args()
    torch.set_grad_enabled(True)
    weights = [torch.as_tensor(w).double() for w in read_weights(arguments.model)]
    test, train = (read_mnist(*part)[0].double().numpy() / GREY for part in (TEST, TRAIN))
    image = {"test": test, "train": train}

    def pixels(reference):
        _, part, position = reference.split(":")
        return image[part][int(position)].ravel()

    lines = (arguments.folder / "records.jsonl").read_text(encoding="utf-8").splitlines()
    records = [record for record in map(json.loads, lines) if record["outcome"] != "origin_misclassified"]
    contenders = json.loads((arguments.folder / "comparison.json").read_text(encoding="utf-8"))["contenders"]
    all_agree = []
    own = [record for record in records if record["method"] == "lbfgs"]
    if own:
        theirs = [smallest(pixels(record["origin"]), weights) for record in own]
        both = [(record["l2"], l2) for record, l2 in zip(own, theirs) if record["l2"] and l2]
        shares = sum(record["outcome"] == "adversarial" for record in own), sum(l2 is not None for l2 in theirs)
        all_agree.append(agree("lbfgs, L2", *zip(*both), [share / len(own) for share in shares], len(own)))
    for one in contenders:
        match = re.fullmatch(r"feature-adversary L∞ (\d+)", one["method"])
        if not match:
            continue
        linf = int(match[1])
        own = [record for record in records if record["method"] == "feature-adversary" and record["layer"] == one["layer"]
               and record["walk"].endswith(f"L∞ at most {linf}")]
        theirs = [nearest(pixels(record["origin"]), pixels(record["target"]), one["layer"], linf, weights) for record in own]
        shares = one["found"] / one["attempts"], np.mean([hit for _, hit in theirs])
        title = f"{one['method']} {one['layer']}, distance"
        all_agree.append(agree(title, [one["distance"]], [share for share, _ in theirs], shares, len(own)))
    if not all_agree:
        parser.error(f"{arguments.folder} has no records of lbfgs or feature-adversary")
    return 0 if all(all_agree) else 1


if __name__ == "__main__":
    sys.exit(main())
