#!/usr/bin/env bash
# Trains LeNet with seeds 0 to 4 by the unchanged recipe, prints each test error and their mean beside the paper's, and
# lets ONNX Runtime and PyTorch check the logits where $LOTS_REFERENCES_PYTHON names a Python with requirements.txt.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=${1:-out/seeds}
mkdir -p "$out"
cargo build --quiet --release
lots=target/release/lots
for seed in 0 1 2 3 4; do
    model=$out/lenet-$seed.onnx
    "$lots" train lenet --out "$model" --seed "$seed" --force
    rm -f "$out/$seed.f32"
    "$lots" evaluate "$model" --json --logits "$out/$seed.f32" >"$out/$seed.json"
    if [[ -n ${LOTS_REFERENCES_PYTHON:-} ]]; then
        "$LOTS_REFERENCES_PYTHON" references/check_lenet.py "$model" --logits "$out/$seed.f32" \
            --images crates/lots-mnist-test/data
    else
        echo "check by ONNX Runtime and PyTorch skipped: LOTS_REFERENCES_PYTHON is not set"
    fi
done
sed 's/.*"error_rate":\([0-9.e-]*\).*/\1/' "$out"/[0-4].json |
    awk '{ printf "seed %d: %.2f %%\n", NR - 1, $1 * 100; sum += $1 } END { printf "mean %.3f %% (paper: 0.91 %%)\n", sum / NR * 100 }'
