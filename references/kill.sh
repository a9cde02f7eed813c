#!/usr/bin/env bash
# Kills `lots generate` and `lots reproduce table1` at ten random moments each, lets them go on, and compares with runs that nobody
# killed: the same bytes.
#
#     references/kill.sh DIR [SEED]
#
# DIR must not exist. Takes about ten minutes.
set -euo pipefail
if (($# < 1)); then
    sed -n '2,7s/^# \?//p' "$0" >&2
    exit 2
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."
cargo build --quiet --release -p lots-cli
lots=$PWD/target/release/lots
mkdir "$1"
cd "$1"
RANDOM=${2:-1}

# Runs a command until it ends by itself, killed at ten moments up to so many seconds: `killed SECONDS COMMAND…`
killed() {
    local seconds=$1 kills=0
    shift
    # The shell would tell each kill.
    {
        while ((kills < 10)); do
            local moment=$((RANDOM % (seconds * 10) + 3))
            if timeout --signal=KILL "$((moment / 10)).$((moment % 10))" "$@" --resume >/dev/null 2>&1; then
                break
            fi
            kills=$((kills + 1))
        done
    } 2>/dev/null
    "$@" --resume >/dev/null
    echo "$kills kills"
    ((kills == 10)) || { echo "wanted 10: it ends too soon; take shorter moments" >&2; exit 1; }
}
same() {
    # Names of files in work stay behind a kill.
    diff --recursive --exclude='.lots-*' "$1" "$2"
    echo "$1 and $2 are the same: $(find "$2" -type f ! -name '.lots-*' | wc -l) files"
}

"$lots" train lenet --out lenet.onnx --iterations 1000
"$lots" generate lenet.onnx --data mnist:train --limit 5000 --out set
killed 5 "$lots" generate lenet.onnx --data mnist:train --limit 5000 --out killed-set
same set killed-set

small=(reproduce table1 --quick --limit 20 --models basic,fgv,lots-ip1,mixed)
"$lots" "${small[@]}" --out table
killed 12 "$lots" "${small[@]}" --out killed-table
same table killed-table
