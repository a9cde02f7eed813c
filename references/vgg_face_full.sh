#!/usr/bin/env bash
# Converts VGG Face of the published size from each format, and compares its logits with PyTorch's.
#
#     LOTS_REFERENCES_PYTHON=python3 references/vgg_face_full.sh DIR
#
# The Python needs references/requirements.txt, the folder 4 GB, the machine 4 GB of memory and GNU time. Weights are seeded, as
# nobody can pass on those of VGG Face. Prints time and memory of each conversion; exit code 0 if all logits agree.
set -euo pipefail
if (($# != 1)); then
    sed -n '2,7s/^# \?//p' "$0" >&2
    exit 2
fi
mkdir -p "$1"
out=$(realpath "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${LOTS_REFERENCES_PYTHON:-python3}
cargo build --release -p lots-cli
"$python" references/make_vgg_face.py --full --out "$out"
for file in v1.caffemodel legacy.pth zip.pth conv2d.h5; do
    command time -f '%e s, %M kB at most' \
        "${CARGO_TARGET_DIR:-target}/release/lots" convert "$out/$file" --out "$out/vgg_face.onnx" --force
    "$python" references/check_vgg_face.py "$out/vgg_face.onnx" "$out/$file" "$out/logits.bin"
    rm "$out/vgg_face.onnx"
done
