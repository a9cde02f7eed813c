"""The PyTorch peer for large networks: loading, memory, and one image there and back, on two CPU threads.

    python networks.py FOLDER    a server: prints a "ready" line, then answers each line on stdin with one JSON line;
                                 `quit` or end of input ends it

    export NAME        writes FOLDER/NAME.onnx, as torch.onnx.export does by default, and FOLDER/NAME.pt, the same weights
    load NAME          reads NAME.pt into a network that was made without weights: what is quickest; seconds
    run LAYOUT COUNT   so often the logits of one image 224×224 and one cotangent from them back to the pixels; seconds of each
    memory             bytes: the most memory that this process has had so far, and what it had before the first `load`

LAYOUT is nchw or channels_last. Weights are frozen, so that only the pixels get a gradient. From the second `run` on freed memory
stays in the process, which is quicker (see lenet.py); until then glibc gives it back, which is smaller.
"""

import contextlib
import pathlib
import sys
import time
import warnings

import torch
from lenet import THREADS, keep_freed_memory, memory, say
from torchvision import models

NAMES = ("resnet50", "vgg16")
SIDE = 224


class Peer:
    def __init__(self, folder):
        self.folder = folder
        self.before = memory()
        self.network = None
        self.runs = 0

    def export(self, name):
        torch.manual_seed(0)
        network = getattr(models, name)().eval()
        torch.save(network.state_dict(), self.folder / f"{name}.pt")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(network, (torch.zeros(1, 3, SIDE, SIDE),), self.folder / f"{name}.onnx", verbose=False)
        return {"file": str(self.folder / f"{name}.onnx")}

    def load(self, name):
        start = time.perf_counter()
        with torch.device("meta"):
            network = getattr(models, name)()
        network.load_state_dict(torch.load(self.folder / f"{name}.pt", weights_only=True), assign=True)
        self.network = network.eval().requires_grad_(False)
        return {"seconds": time.perf_counter() - start}

    def run(self, layout, count):
        if self.runs:
            keep_freed_memory()
        self.runs += 1
        torch.manual_seed(1)
        memory_format = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}[layout]
        network = self.network.to(memory_format=memory_format)
        image = torch.randn(1, 3, SIDE, SIDE).to(memory_format=memory_format).requires_grad_(True)
        cotangent = torch.randn(1, 1000)
        seconds = []
        for _ in range(int(count)):
            start = time.perf_counter()
            torch.autograd.grad(network(image), image, cotangent)
            seconds.append(time.perf_counter() - start)
        return {"seconds": seconds}

    def answer(self, words):
        match words:
            case ["export", name] if name in NAMES:
                return self.export(name)
            case ["load", name] if name in NAMES:
                return self.load(name)
            case ["run", "nchw" | "channels_last" as layout, count] if self.network:
                return self.run(layout, count)
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
