"""Compares the logits of a converted VGG Face in ONNX Runtime, which is fed raw RGB, with PyTorch's.

    python references/check_vgg_face.py MODEL.onnx FILE logits.bin

FILE is what the model was converted from, logits.bin what make_vgg_face.py wrote beside it. Exit code 0 if the largest difference
is below 1e-5 of the largest logit.
"""

import pathlib
import struct
import sys

import numpy as np
import onnxruntime

TOLERANCE = 1e-5


def arrays(path):
    data = path.read_bytes()
    at = 4
    for _ in range(struct.unpack_from("<I", data)[0]):
        (rank,) = struct.unpack_from("<I", data, at)
        shape = struct.unpack_from(f"<{rank}I", data, at + 4)
        at += 4 + 4 * rank
        yield np.frombuffer(data, "<f4", int(np.prod(shape)), at).reshape(shape)
        at += 4 * int(np.prod(shape))


def main():
    model, file, logits = map(pathlib.Path, sys.argv[1:])
    images, rgb, bgr = arrays(logits)
    wanted = bgr if file.suffix == ".caffemodel" else rgb
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (found,) = session.run(["fc8"], {session.get_inputs()[0].name: images})
    off = float(np.abs(found - wanted).max() / np.abs(wanted).max())
    print(f"{file.name}: ONNX Runtime's logits differ by {off:.1e} of the largest")
    return int(not off < TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
