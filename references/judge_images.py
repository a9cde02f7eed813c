"""Judges saved adversarial images in ONNX Runtime: does each have the class that its record names?

    python references/judge_images.py MODEL.onnx DIR [DIR...]

MODEL has one input, float [N,C,H,W] with raw pixels 0-255 (C 1: grey, C 3: RGB), and one output, a row of scores for each
image. DIR is a result folder of Lots: `records.jsonl` holds one JSON object a line, of which these keys are used:

    image         a PNG, relative to DIR, or null: nothing to judge
    label         its class
    outcome       "adversarial" or another
    origin_label  the class of the origin

The pixels are used as they lie in the file, which must be 8-bit grey or RGB of the network's input size. Every image goes through
the network alone, or with --batch N in batches of N. It agrees with its record if its scores are finite, the first largest is
that of `label`, and where the outcome is "adversarial" also `label` is not `origin_label`.

Prints the number of images, how many agree, and the first that do not. Exit code 0 if all agree and there is at least one, 1 if
not, 2 if an input is unusable.
"""

import argparse
import json
import pathlib
import struct
import sys

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as onnxruntime_errors
from PIL import Image

SHOWN = 10
THREADS = 2
CHANNELS = {0: 1, 2: 3}  # of the colour types of PNG without palette and alpha
UNREADABLE_MODELS = tuple(
    getattr(onnxruntime_errors, name) for name in ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoSuchFile",
                                                   "NotImplemented", "RuntimeException")
)


class Network:
    """A classifier in ONNX Runtime."""

    def __init__(self, path, batch):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.log_severity_level = 4  # the exception says it all
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise ValueError(f"{path}: {len(inputs)} inputs and {len(outputs)} outputs, wanted one each")
        (value,) = inputs
        count, *size = value.shape if len(value.shape) == 4 else (None,)
        if value.type != "tensor(float)" or not all(isinstance(n, int) for n in size) or size[:1] not in ([1], [3]):
            raise ValueError(f"{path}: input {value.type} {value.shape}, wanted tensor(float) [N,1 or 3,H,W]")
        if isinstance(count, int) and count != batch:
            raise ValueError(f"{path}: takes batches of {count} only, asked for {batch}")
        self.path, self.name, self.size = path, value.name, size

    def scores(self, images):
        """A row for each of some 8-bit images [C,H,W]."""
        (scores,) = self.session.run(None, {self.name: np.stack(images).astype(np.float32)})
        if scores.ndim < 2 or len(scores) != len(images):
            raise ValueError(f"{self.path}: scores {scores.shape} of {len(images)} images, wanted a row for each")
        return scores.reshape(len(images), -1)


def read_png(path, size):
    """The pixels [C,H,W] of an 8-bit PNG of that size."""
    with path.open("rb") as file:
        header = file.read(26)
    if len(header) < 26 or header[:8] != b"\x89PNG\r\n\x1a\n" or header[12:16] != b"IHDR":
        raise ValueError(f"{path}: not a PNG")
    width, height, depth, colour = struct.unpack(">IIBB", header[16:])
    found = [CHANNELS.get(colour), height, width]
    if depth != 8 or found != size:
        raise ValueError(f"{path}: {depth}-bit, colour type {colour}, {width}x{height}; "
                         f"wanted 8-bit {'grey' if size[0] == 1 else 'RGB'} {size[2]}x{size[1]}")
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: {error}") from None
    if pixels.dtype != np.uint8 or pixels.shape != (height, width) + (3,) * (colour == 2):
        raise ValueError(f"{path}: decoded as {pixels.dtype} {pixels.shape}")
    return pixels.reshape(height, width, -1).transpose(2, 0, 1)


def read_records(folder):
    """The records that name an image."""
    path = folder / "records.jsonl"
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                record = json.loads(line)
                image, outcome = record["image"], record["outcome"]
                labels = record["label"], record["origin_label"]
            except (ValueError, TypeError, KeyError) as error:
                raise ValueError(f"{path}:{number}: {type(error).__name__}: {error}") from None
            wrong = [value for value in labels if value is not None and type(value) is not int]
            if not isinstance(image, str | None) or not isinstance(outcome, str) or wrong:
                raise ValueError(f"{path}:{number}: image, outcome, label or origin_label is of another type")
            if image is not None:
                yield record


def disagreement(record, scores):
    """What is wrong, or None."""
    label = record["label"]
    if not np.isfinite(scores).all():
        return "scores are not finite"
    found = int(scores.argmax())
    if found != label:
        return f"class {found}, recorded {label}"
    if record["outcome"] == "adversarial" and label == record["origin_label"]:
        return f"class {found} as its origin, yet recorded as adversarial"
    if record["outcome"] == "adversarial" and record["origin_label"] is None:
        return "recorded as adversarial without the class of its origin"
    return None


def judge(arguments):
    network = Network(arguments.model, arguments.batch)
    count, wrong = 0, []
    for folder in arguments.folders:
        records = list(read_records(folder))
        for start in range(0, len(records), arguments.batch):
            batch = records[start : start + arguments.batch]
            paths = [folder / record["image"] for record in batch]
            scores = network.scores([read_png(path, network.size) for path in paths])
            reasons = map(disagreement, batch, scores)
            wrong += [f"{path}: {reason}" for path, reason in zip(paths, reasons) if reason]
        count += len(records)
    print(f"{arguments.model} in ONNX Runtime {onnxruntime.__version__}, batches of {arguments.batch}: "
          f"{count} images, {count - len(wrong)} agree with their records")
    for line in wrong[:SHOWN]:
        print(f"DIFFERENT {line}")
    if len(wrong) > SHOWN:
        print(f"and {len(wrong) - SHOWN} more")
    return 0 if count and not wrong else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("model", metavar="MODEL", type=pathlib.Path)
    parser.add_argument("folders", metavar="DIR", type=pathlib.Path, nargs="+")
    parser.add_argument("--batch", metavar="N", type=int, default=1, help="images that go through together (default 1)")
    arguments = parser.parse_args()
    if arguments.batch < 1:
        parser.error("--batch must be at least 1")
    try:
        return judge(arguments)
    except (OSError, ValueError, *UNREADABLE_MODELS) as error:
        # Some libraries' messages have several lines.
        print("error: " + " ".join(str(error).split()), file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
