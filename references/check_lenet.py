"""Checks a LeNet written by Lots in ONNX Runtime and in PyTorch, on the 10,000 MNIST test digits.

    python references/check_lenet.py lenet.onnx --logits logits.f32 --images DIR

MODEL has one input `image`, float [N,1,28,28] with raw pixels 0-255, and one output, the logits [N,10]. FILE holds
the logits that Lots computed: little-endian float32, 10000 x 10. DIR holds t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte,
plain or with .gz. PyTorch reads the model with onnx2torch; where the file's opset is newer than onnx2torch knows, a
copy in memory is first brought to opset 18 with onnx.version_converter, and the output says so.

Prints for each runtime the largest |difference| to Lots's logits divided by Lots's largest |logit|, and the number of
misclassified digits (the first largest logit is the class). Exit code 0 if every ratio is at most 1e-5 and all error counts are
equal, 1 if not, 2 if an input is unusable.
"""

import argparse
import gzip
import pathlib
import sys
import warnings

import numpy as np
import onnx
import onnx.version_converter
import onnxruntime
import torch

DIGITS = 10_000
TOLERANCE = 1e-5
BATCH = 500
OPSET_OF_ONNX2TORCH = 18  # of onnx2torch 1.5.15; AveragePool and Conv of later opsets are unknown to it


def read_idx(folder, name, magic, shape):
    """The array of an IDX file of bytes, plain or gzipped."""
    for path, opener in ((folder / name, open), (folder / f"{name}.gz", gzip.open)):
        if path.is_file():
            with opener(path, "rb") as file:
                content = file.read()
            header = np.frombuffer(content, ">u4", 1 + len(shape))
            if list(header) != [magic, *shape]:
                raise ValueError(f"{path}: header {list(header)}, wanted {[magic, *shape]}")
            return np.frombuffer(content, np.uint8, offset=header.nbytes).reshape(shape)
    raise FileNotFoundError(f"{folder / name} or {name}.gz")


def batches(images):
    """Raw pixels as float32 [BATCH,1,28,28]."""
    for start in range(0, len(images), BATCH):
        yield images[start : start + BATCH, None].astype(np.float32)


def run_onnxruntime(model, images):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"image": batch})[0] for batch in batches(images)])


def run_pytorch(model, images):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import onnx2torch  # warns about deprecated parts of PyTorch

        module = onnx2torch.convert(model).eval()
    with torch.inference_mode():
        return np.concatenate([module(torch.from_numpy(batch)).numpy() for batch in batches(images)])


def errors(logits, labels):
    """Misclassified digits; numpy's argmax is the first largest."""
    return int((logits.argmax(1) != labels).sum())


def compare(arguments):
    model = onnx.load(arguments.model)
    onnx.checker.check_model(model, full_check=True)
    names = [value.name for value in model.graph.input]
    if names != ["image"] or len(model.graph.output) != 1:
        raise ValueError(f"{arguments.model}: inputs {names}, {len(model.graph.output)} outputs; wanted image and one")
    images = read_idx(arguments.images, "t10k-images-idx3-ubyte", 2051, (DIGITS, 28, 28))
    labels = read_idx(arguments.images, "t10k-labels-idx1-ubyte", 2049, (DIGITS,))
    ours = np.fromfile(arguments.logits, "<f4")
    if ours.size != DIGITS * 10 or not np.isfinite(ours).all():
        raise ValueError(f"{arguments.logits}: {ours.size} values, wanted {DIGITS * 10} finite ones")
    ours = ours.reshape(DIGITS, 10).astype(np.float64)

    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    readable = model
    note = ""
    if opset > OPSET_OF_ONNX2TORCH:
        readable = onnx.version_converter.convert_version(model, OPSET_OF_ONNX2TORCH)
        note = f", converted to opset {OPSET_OF_ONNX2TORCH}"
    runtimes = (
        (f"ONNX Runtime {onnxruntime.__version__}", lambda: run_onnxruntime(model, images)),
        (f"PyTorch {torch.__version__}{note}", lambda: run_pytorch(readable, images)),
    )
    expected = errors(ours, labels)
    print(f"{arguments.model}: opset {opset}, {DIGITS} digits")
    print(f"Lots: {expected} errors, largest |logit| {np.abs(ours).max():.6g}")
    good = True
    for name, run in runtimes:
        logits = run()
        if logits.shape != ours.shape:
            raise ValueError(f"{name}: logits {logits.shape}, wanted {ours.shape}")
        ratio = np.abs(logits - ours).max() / np.abs(ours).max()
        count = errors(logits, labels)
        kept = bool(ratio <= TOLERANCE) and count == expected
        good &= kept
        print(f"{name}: {count} errors, largest |difference| / largest |logit| {ratio:.3g}{'' if kept else '  DIFFERENT'}")
    return 0 if good else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("model", metavar="MODEL", type=pathlib.Path)
    parser.add_argument("--logits", metavar="FILE", type=pathlib.Path, required=True)
    parser.add_argument("--images", metavar="DIR", type=pathlib.Path, required=True)
    torch.set_num_threads(2)
    try:
        return compare(parser.parse_args())
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
