"""The OpenCV peer for PASS: findTransformECC, warpPerspective and SSIM on two CPU threads, as fast as Python with OpenCV and
NumPy gets.

    python pass.py FOLDER    a server: prints a "ready" line, then answers each line `SET VARIANT TIMES` on stdin with one JSON line, and
                             `memory` with this process's peak and what it had before the pairs; `quit` or end of input ends it

FOLDER holds a file SET.pairs for each SET: the number of pairs, height, width and channels as 32-bit little-endian numbers, then
the 8-bit pixels of all origins and those of all perturbed images.

The work is that of references/pass_reference.py: the homography from findTransformECC on grey images (50 iterations or a
change below 1e-3, Gaussian filter of 5 pixels; the identity where OpenCV raises an error), the perturbed image warped by it, and
SSIM in f64. The seconds are those of all TIMES times and include all from 8-bit pairs in memory to scores in memory.

VARIANTS, all with two threads:
    opencv      OpenCV's own threads
    threads     two Python threads with one thread of OpenCV each
    processes   two Python processes with one thread of OpenCV each; only positions and scores go between them

SSIM filters four planes a channel: x, y, x² + y² and xy. Small images lie one below the other, BLOCK pixels at a time, so
that a call serves many of them: that halves its time at 28x28. Slower: all planes as channels of one image (no difference
at 28x28, four times the time at 224x224), a plane for each square, and larger blocks, which leave the cache. Freed memory stays in
the process, which saves two fifths of the time at 224x224.
"""

import argparse
import json
import multiprocessing
import pathlib
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
from malloc import keep_freed_memory

THREADS = 2
VARIANTS = ("opencv", "threads", "processes")
PIECES = 8  # of a set, for each worker
BLOCK = 32 * 28 * 28
RADIUS = 5
KERNEL = cv2.getGaussianKernel(2 * RADIUS + 1, 1.5)
SETS = {}
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
CRITERIA = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 50, 1e-3)


def read_pairs(path):
    """Origins and perturbed images, [N,H,W,C] each."""
    content = path.read_bytes()
    shape = np.frombuffer(content, "<u4", 4)
    return np.frombuffer(content, np.uint8, offset=16).reshape(2, *shape)


def grey(image):
    return image if image.shape[2] == 1 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def aligned(origin, perturbed, out):
    """The perturbed image as the origin sees it."""
    try:
        _, found = cv2.findTransformECC(grey(origin), grey(perturbed), np.eye(3, dtype=np.float32),
                                        cv2.MOTION_HOMOGRAPHY, CRITERIA, None, 5)
    except cv2.error:
        out[...] = perturbed
        return
    height, width, _ = origin.shape
    cv2.warpPerspective(perturbed, found, (width, height), dst=out, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def local(planes):
    return cv2.sepFilter2D(planes, cv2.CV_64F, KERNEL, KERNEL, borderType=cv2.BORDER_REFLECT)


def similarity(x, y):
    """SSIM of planes [N,H,W]."""
    count, height, width = x.shape
    shape = count, height + 2 * RADIUS, width
    origin, perturbed = np.empty(shape), np.empty(shape)
    for to, of in (origin, x), (perturbed, y):
        to[:, RADIUS:-RADIUS] = of
        # The edge is repeated; a plane thinner than the radius would need more than one reflection.
        to[:, :RADIUS] = to[:, 2 * RADIUS - 1:RADIUS - 1:-1]
        to[:, -RADIUS:] = to[:, -RADIUS - 1:-2 * RADIUS - 1:-1]
    product = origin * perturbed
    squares = origin * origin
    squares += perturbed * perturbed
    mean_x, mean_y, squares, product = (
        local(plane.reshape(-1, width)).reshape(shape)[:, RADIUS:-RADIUS]
        for plane in (origin, perturbed, squares, product)
    )
    # (2 mx my + C1) (2 sxy + C2) / ((mx² + my² + C1) (sx² + sy² + C2)), in place.
    means = mean_x * mean_y
    mean_x *= mean_x
    mean_y *= mean_y
    mean_x += mean_y
    squares -= mean_x
    squares += C2
    mean_x += C1
    squares *= mean_x
    product -= means
    product *= 2
    product += C2
    means *= 2
    means += C1
    product *= means
    product /= squares
    return product.mean((1, 2))


def scores(pairs):
    """PASS of some pairs [2,N,H,W,C]."""
    _, count, height, width, channels = pairs.shape
    # Channels as images: [N,C,H,W].
    planes = (count * channels, height, width)
    warped = np.empty(pairs.shape[1:], np.uint8)
    for origin, perturbed, out in zip(*pairs, warped):
        aligned(origin, perturbed, out)
    x, y = (images.transpose(0, 3, 1, 2).reshape(planes) for images in (pairs[0], warped))
    step = max(1, BLOCK // (height * width))
    found = [similarity(x[i:i + step], y[i:i + step]) for i in range(0, len(x), step)]
    return np.concatenate(found).reshape(count, channels).mean(1)


def in_process(name, ends):
    return scores(SETS[name][:, slice(*ends)])


def measure(name, variant, times, processes):
    pairs = SETS[name]
    count = pairs.shape[1]
    workers = 1 if variant == "opencv" else THREADS
    cv2.setNumThreads(THREADS // workers)
    pieces = min(PIECES * workers, count)
    ends = [i * count // pieces for i in range(pieces + 1)]
    ends = list(zip(ends, ends[1:]))
    start = time.perf_counter()
    for _ in range(times):
        if variant == "opencv":
            found = [scores(pairs[:, slice(*piece)]) for piece in ends]
        elif variant == "threads":
            with ThreadPoolExecutor(workers) as pool:
                found = list(pool.map(lambda piece: scores(pairs[:, slice(*piece)]), ends))
        else:
            found = processes.starmap(in_process, [(name, piece) for piece in ends], chunksize=1)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "scores": np.concatenate(found).tolist()}


def memory():
    """The most memory that this process has had so far, in bytes."""
    for line in pathlib.Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM")


def say(answer):
    print(json.dumps(answer), flush=True)


def serve(processes, keeps_memory, before):
    say({"ready": True, "opencv": cv2.__version__, "numpy": np.__version__, "threads": THREADS, "variants": list(VARIANTS),
         "keeps_freed_memory": keeps_memory})
    for line in sys.stdin:
        words = line.split()
        if words == ["quit"]:
            break
        if words == ["memory"]:
            say({"peak": memory(), "before": before})
            continue
        match words:
            case [name, variant, times] if name in SETS and variant in VARIANTS and times.isdecimal() and int(times):
                say(measure(name, variant, int(times), processes))
            case _:
                say({"error": f"{line.strip()}: wanted {' or '.join(SETS)}, then {' or '.join(VARIANTS)}, then a number"})


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("folder", metavar="FOLDER", type=pathlib.Path, help="with the pairs, SET.pairs")
    keeps_memory = keep_freed_memory()
    folder = parser.parse_args().folder
    before = memory()
    SETS.update((path.stem, read_pairs(path)) for path in folder.glob("*.pairs"))
    # Before OpenCV has threads of its own; the processes inherit the pairs.
    with multiprocessing.get_context("fork").Pool(THREADS, initializer=cv2.setNumThreads, initargs=(1,)) as processes:
        serve(processes, keeps_memory, before)


if __name__ == "__main__":
    main()
