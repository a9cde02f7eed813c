#!/usr/bin/env bash
# Attacks 110 test digits by every method, and lets ONNX Runtime judge every PNG that was saved, alone in its batch.
#
#     LOTS_REFERENCES_PYTHON=python3 references/judge_attacks.sh MODEL.onnx DIR
#
# The Python needs references/requirements.txt. DIR must not exist. Exit code 0 if every image has the recorded class.
set -euo pipefail
if (($# != 2)); then
    sed -n '2,6s/^# \?//p' "$0" >&2
    exit 2
fi
model=$(realpath "$1") out=$2
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${LOTS_REFERENCES_PYTHON:-python3}
cargo build --quiet --release -p lots-cli
mkdir "$out"

# The first training image of each class.
targets=()
for position in 1 3 5 7 2 0 13 15 17 4; do
    targets+=(--target "mnist:train:$position")
done
# Exit code 1 says that some attacks found nothing, which is no failure here.
attack() {
    target/release/lots attack "$model" --json "$@" >>"$out/records.json" || (($? == 1))
}
for origin in $(seq 0 91 9999); do
    image=mnist:test:$origin
    attack --origin "$image" --method lots "${targets[@]}" --out "$out/$origin-lots"
    attack --origin "$image" --method reduce --out "$out/$origin-reduce"
    attack --origin "$image" --method magnify --linf 128 --out "$out/$origin-magnify"
    for method in fgs fgv hot-cold; do
        attack --origin "$image" --method "$method" --out "$out/$origin-$method"
    done
done
"$python" references/judge_images.py "$model" "$out"/*/
