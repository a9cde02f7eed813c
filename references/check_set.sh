#!/usr/bin/env bash
# Makes a small set of perturbed digits and reads it with pandas, polars and Hugging Face's datasets: all see the same rows, norms are
# those of the images, and ONNX Runtime gives each image, alone in its batch, the recorded class.
#
#     LOTS_REFERENCES_PYTHON=python3 references/check_set.sh MODEL.onnx
#
# The Python needs references/requirements.txt.
set -euo pipefail
if (($# != 1)); then
    sed -n '2,7s/^# \?//p' "$0" >&2
    exit 2
fi
model=$(realpath "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
cargo build --quiet --release -p lots-cli
target/release/lots generate "$model" --data mnist:train --limit 600 --method fgv --method hot-cold --method lots --beyond 1.1 --pass --out "$out/set"
"${LOTS_REFERENCES_PYTHON:-python3}" references/check_set.py "$model" "$out/set" crates/lots-mnist-train/data
