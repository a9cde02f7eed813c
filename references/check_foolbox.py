"""Do our PGD and DeepFool agree with Foolbox's, on the same network and digits?

    python references/check_foolbox.py MODEL.onnx DIR

MODEL is Caffe's LeNet as Lots writes it. DIR is what `lots compare MODEL --data mnist:test --limit N --methods
pgd-linf,pgd-l2,deepfool --out DIR` wrote. Foolbox 3.3.4 runs in PyTorch on the very digits that DIR's records name, with the budgets, steps
and step lengths that they name: LinfPGD and L2PGD without a random start, L2DeepFool with 50 steps, all classes and an overshoot of
0.02. Foolbox works in float.

Prints success and mean L2 of both. Exit code 1 if success differs from Foolbox's in float by more than 4 standard errors of a share (and
more than one digit), or the mean L2, over the digits where both succeed, by more than 5 %. What becomes of Foolbox's success when its images are
rounded is printed, too: DeepFool ends so close to the boundary that rounding takes many back.

Needs: foolbox 3.3.4, eagerpy, torch, numpy, onnx.
"""

import argparse
import json
import math
import pathlib
import re
import sys

import foolbox
import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "bench" / "peers"))
from lots import TEST, read_mnist, read_weights  # noqa: E402

GREY = 255.0


class LeNet(torch.nn.Module):
    """Takes 0-255."""

    def __init__(self, weights):
        super().__init__()
        self.weights = weights

    def forward(self, x):
        conv1, conv1_b, conv2, conv2_b, ip1, ip1_b, ip2, ip2_b = self.weights
        x = F.max_pool2d(F.conv2d(x * (1 / 256), conv1, conv1_b), 2)
        x = F.max_pool2d(F.conv2d(x, conv2, conv2_b), 2).flatten(1)
        return F.linear(F.relu(F.linear(x, ip1, ip1_b)), ip2, ip2_b)


def attack_of(record):
    """Foolbox's attack and its budget."""
    walk, method = record["walk"], record["method"]
    if method == "deepfool":
        return foolbox.attacks.L2DeepFoolAttack(steps=50, candidates=10, overshoot=0.02, loss="logits"), None
    steps, norm, size = re.match(r"(\d+) steps of (L2 )?([\d.]+)", walk).groups()
    budget = float(re.search(r"(?:L∞|L2) at most ([\d.]+)", walk).group(1))
    kind = foolbox.attacks.L2PGD if norm else foolbox.attacks.LinfPGD
    return kind(abs_stepsize=float(size), steps=int(steps), random_start=False), budget


def compare(name, records, model, images, labels):
    positions = [int(record["origin"].rsplit(":", 1)[1]) for record in records]
    x, y = images[positions].float().view(-1, 1, 28, 28), labels[positions]
    attack, budget = attack_of(records[0])
    theirs, _, float_hits = attack(model, x, y, epsilons=budget)
    hits = float_hits.numpy().astype(bool)
    with torch.no_grad():
        saved = float((model(theirs.round()).argmax(1) != y).float().mean())
    lengths = (theirs - x).flatten(1).norm(dim=1).numpy()
    own_hits = np.array([record["outcome"] == "adversarial" for record in records])
    own_lengths = np.array([record["l2"] if hit else math.nan for record, hit in zip(records, own_hits)])
    both, count = hits & own_hits, len(records)
    shares = own_hits.mean(), hits.mean()
    ratio = own_lengths[both].mean() / lengths[both].mean()
    error = math.sqrt(shares[1] * (1 - shares[1]) / count)
    agrees = abs(shares[0] - shares[1]) <= max(4 * error, 1.5 / count) and abs(ratio - 1) <= 0.05
    print(f"{name:9} {count} digits; found {100 * shares[0]:.1f} %, as 8-bit images (Foolbox {100 * shares[1]:.1f} %, rounded "
          f"{100 * saved:.1f} %); mean L2 where both {own_lengths[both].mean():.1f} "
          f"(Foolbox {lengths[both].mean():.1f}), ratio {ratio:.3f}{'' if agrees else '  DIFFERENT'}")
    return agrees


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("model", metavar="MODEL", type=pathlib.Path)
    parser.add_argument("folder", metavar="DIR", type=pathlib.Path)
    arguments = parser.parse_args()
    model = foolbox.PyTorchModel(LeNet(read_weights(arguments.model)).eval(), bounds=(0, GREY), device="cpu")
    images, labels = read_mnist(*TEST)
    lines = (arguments.folder / "records.jsonl").read_text(encoding="utf-8").splitlines()
    records = [record for record in map(json.loads, lines) if record["outcome"] != "origin_misclassified"]
    kinds = {}
    for record in records:
        if record["method"] in ("pgd", "deepfool"):
            kinds.setdefault((record["method"], record["walk"]), []).append(record)
    if not kinds:
        parser.error(f"{arguments.folder} has no records of pgd or deepfool")
    return 0 if all([compare(method, some, model, images, labels) for (method, _), some in kinds.items()]) else 1


if __name__ == "__main__":
    sys.exit(main())
