"""Reference values of PASS: cv2.findTransformECC, cv2.warpPerspective and scikit-image's SSIM.

Written with Python 3 and opencv-python-headless 5.0.0.93, scikit-image 0.26.0, scipy 1.17.1, numpy 2.4.6,
pillow 13.0.0. No random generator: every perturbation is an integer formula of its seed (`noise` below), and
crates/lots/tests/pass_reference.rs makes the same images from the same formulas.

    python references/pass_reference.py            writes crates/lots/tests/data/pass_reference.csv
    python references/pass_reference.py --time     pairs a second of the same computation, one process, one thread

Origins: MNIST test digits (crates/lots-mnist-test/data), the public-domain portraits in crates/lots/tests/data/faces
(150 x 150), and the same portraits resized to 224 x 224 by Pillow's bicubic filter, stored beside them as NAME_224.png.

Columns: set, origin (index), kind, seed, pass, ssim (without alignment), alignment, fnv (FNV-1a hash of the perturbed
pixels: proves that both languages compared the same images). OpenCV does not say whether it reached the iteration
limit; it did if one more iteration moves the map.
"""

import gzip
import pathlib
import sys
import time

import cv2
import numpy as np
from PIL import Image
from skimage.metrics import structural_similarity

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = ROOT / "crates/lots/tests/data"
FACES = ["biden", "obama", "obama2", "obama3"]
AMPLITUDES = [10, 25, 40, 60, 100]
KINDS = ["none", "shift", "small", "strong", "uniform", "sign", "sparse", "blobs", "small_sign", "negative",
         "constant", "from_constant", "other"]
MASK = 0xFFFFFFFF


def mnist():
    path = ROOT / "crates/lots-mnist-test/data/t10k-images-idx3-ubyte.gz"
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=16).reshape(-1, 28, 28, 1)


def faces(suffix):
    return np.stack([np.asarray(Image.open(DATA / f"faces/{name}{suffix}.png").convert("RGB")) for name in FACES])


def resize_faces():
    for name in FACES:
        small = Image.open(DATA / f"faces/{name}.png").convert("RGB")
        small.resize((224, 224), Image.Resampling.BICUBIC).save(DATA / f"faces/{name}_224.png", optimize=True)


def noise(seed, index):
    """A 32-bit value for each index."""
    z = (seed * 0x9E3779B9 + np.asarray(index, np.int64) * 0x85EBCA6B + 0x165667B1) & MASK
    z = z.astype(np.uint64)
    for shift, factor in ((15, 0x2C1B3C6D), (12, 0x297A2D39), (15, 1)):
        z = ((z ^ (z >> np.uint64(shift))) * np.uint64(factor)) & np.uint64(MASK)
    return z.astype(np.int64)


def draw(seed, index, bound):
    """Whole number from -bound to bound."""
    return int(noise(seed, 10_000_000 + index)) % (2 * bound + 1) - bound


def warp(image, seed, strength):
    """Projective warp in integers: places in 1/256 pixel, zero outside."""
    height, width, _ = image.shape
    one = 1 << 20
    linear, shift, bend = 15000 * strength, strength * width * one // 60, 2800 * strength // width
    a, b, c = one + draw(seed, 0, linear), draw(seed, 1, linear), draw(seed, 2, shift)
    d, e, f = draw(seed, 3, linear), one + draw(seed, 4, linear), draw(seed, 5, shift)
    g, h = draw(seed, 6, bend), draw(seed, 7, bend)
    y, x = np.mgrid[:height, :width].astype(np.int64)
    below = one + g * x + h * y
    u, v = (a * x + b * y + c) * 256 // below, (d * x + e * y + f) * 256 // below
    column, row, fx, fy = u >> 8, v >> 8, (u & 255)[..., None], (v & 255)[..., None]

    def at(r, k):
        ok = (r >= 0) & (r < height) & (k >= 0) & (k < width)
        return np.where(ok[..., None], image[np.clip(r, 0, height - 1), np.clip(k, 0, width - 1)], 0).astype(np.int64)

    top = (256 - fx) * at(row, column) + fx * at(row, column + 1)
    bottom = (256 - fx) * at(row + 1, column) + fx * at(row + 1, column + 1)
    return (((256 - fy) * top + fy * bottom + 32768) >> 16).astype(np.uint8)


def perturb(images, origin, kind, seed):
    image = images[origin]
    height, width, channels = image.shape
    amplitude = AMPLITUDES[seed % 5]
    index = np.arange(image.size).reshape(image.shape)
    value = noise(seed, index)
    sign = np.where(value & 1, amplitude, -amplitude)

    def add(delta, to=image):
        return np.clip(to.astype(np.int64) + delta, 0, 255).astype(np.uint8)

    if kind == "none":
        return image
    if kind == "shift":
        out = np.zeros_like(image)
        right, down = seed % 3, 1 + seed // 3 % 2
        out[down:, right:] = image[:height - down, :width - right]
        return out
    if kind == "small":
        return warp(image, seed, 1)
    if kind == "strong":
        return warp(image, seed, 6)
    if kind == "uniform":
        return add(value % (2 * amplitude + 1) - amplitude)
    if kind == "sign":
        return add(sign)
    if kind == "sparse":
        return add(np.where(value % 16 == 0, np.where(value & 256, 2 * amplitude, -2 * amplitude), 0))
    if kind == "blobs":
        y, x = np.mgrid[:height, :width]
        block = noise(seed, (y // 4) * width + x // 4)[..., None]
        return add(np.where(block & 2, np.where(block & 1, amplitude, -amplitude), 0))
    if kind == "small_sign":
        return add(sign, warp(image, seed, 1))
    if kind == "negative":
        return add(sign // 5, 255 - image)
    if kind == "constant":
        return np.full_like(image, seed % 256)
    if kind == "from_constant":
        return image
    if kind == "other":
        return images[(origin + 1 + seed % (len(images) - 1)) % len(images)]
    raise ValueError(kind)


def origin_of(images, origin, kind, seed):
    return np.full_like(images[origin], seed % 256) if kind == "from_constant" else images[origin]


def grey(image):
    return image[..., 0] if image.shape[2] == 1 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def ecc(origin, perturbed, iterations=50):
    """The map, or None where OpenCV raises an error."""
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, iterations, 1e-3)
    try:
        _, found = cv2.findTransformECC(grey(origin), grey(perturbed), np.eye(3, dtype=np.float32),
                                        cv2.MOTION_HOMOGRAPHY, criteria, None, 5)
    except cv2.error:
        return None
    return found


def ssim(x, y):
    def one(x, y):
        _, every = structural_similarity(x, y, data_range=255, gaussian_weights=True, sigma=1.5,
                                         use_sample_covariance=False, full=True)
        return every.mean()
    return float(np.mean([one(x[..., c].astype(np.float64), y[..., c].astype(np.float64))
                          for c in range(x.shape[2])]))


def aligned(perturbed, found):
    if found is None:
        return perturbed
    height, width, channels = perturbed.shape
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(perturbed, found, (width, height), flags=flags).reshape(height, width, channels)


def fnv(image):
    value = 0x811C9DC5
    for byte in image.tobytes():
        value = ((value ^ byte) * 0x01000193) & MASK
    return value


def pairs(sets):
    """Set, origin, kind, seed."""
    seed = 1
    for name, origins, repeat in (("mnist", range(0, 10000, 199), 1), ("face150", range(4), 5), ("face224", range(4), 3)):
        for origin in origins:
            for kind in KINDS:
                for _ in range(1 if kind in ("none", "constant", "from_constant") else repeat):
                    yield name, origin, kind, seed
                    seed += 1


def main():
    cv2.setNumThreads(1)
    if not (DATA / "faces/obama_224.png").exists():
        resize_faces()
    sets = {"mnist": mnist(), "face150": faces(""), "face224": faces("_224")}
    if "--time" in sys.argv:
        return timing(sets)
    lines = ["set,origin,kind,seed,pass,ssim,alignment,fnv"]
    for name, origin, kind, seed in pairs(sets):
        x, y = origin_of(sets[name], origin, kind, seed), perturb(sets[name], origin, kind, seed)
        found = ecc(x, y)
        alignment = "identity"
        if found is not None:
            more = ecc(x, y, 51)
            alignment = "aligned" if more is not None and np.array_equal(found, more) else "iteration_limit"
        lines.append(f"{name},{origin},{kind},{seed},{ssim(x, aligned(y, found)):.9f},{ssim(x, y):.9f},"
                     f"{alignment},{fnv(y):08x}")
    (DATA / "pass_reference.csv").write_text("\n".join(lines) + "\n")


def timing(sets):
    """Best of five rounds; the pairs of the ignored test `speed` in pass_reference.rs."""
    kernel = cv2.getGaussianKernel(11, 1.5)

    def local(image):
        return cv2.sepFilter2D(image, cv2.CV_64F, kernel, kernel, borderType=cv2.BORDER_REFLECT)

    def fast_ssim(x, y):
        x, y = x.astype(np.float64), y.astype(np.float64)
        mx, my = local(x), local(y)
        vx, vy, vxy = local(x * x) - mx * mx, local(y * y) - my * my, local(x * y) - mx * my
        c1, c2 = 6.5025, 58.5225
        return ((2 * mx * my + c1) * (2 * vxy + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))).mean()

    for name, count in (("mnist", 400), ("face150", 32), ("face224", 16)):
        images = sets[name]
        made = [(images[i % len(images)], perturb(images, i % len(images), ("sign", "small")[i // 4 % 2], i))
                for i in range(count)]
        for label, score in (("ecc only", None), ("OpenCV ssim", fast_ssim), ("scikit-image ssim", ssim)):
            best = float("inf")
            for _ in range(5):
                start = time.perf_counter()
                for x, y in made:
                    found = ecc(x, y)
                    if score:
                        score(x, aligned(y, found))
                best = min(best, time.perf_counter() - start)
            print(f"{name:8} {label:18} {count / best:9.1f} pairs/s")


if __name__ == "__main__":
    main()
