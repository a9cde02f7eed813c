#!/usr/bin/env bash
# Measures Lots against PyTorch and OpenCV on the same work, in turn, and ends with one table of the goals. Makes the Python
# environment it needs.
#
#     bench/peers/run.sh [lenet] [networks] [attacks] [iterative] [pass]      default: all five
set -euo pipefail
(($#)) || set -- lenet networks attacks iterative pass
for what; do
    [[ $what =~ ^(lenet|networks|attacks|iterative|pass)$ ]] || {
        echo "wanted lenet, networks, attacks, iterative or pass, found $what" >&2
        exit 2
    }
done
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
setup=$("$here/setup.sh" | tee /dev/stderr)
export LOTS_PEERS_PYTHON=${setup##*python: }
# Each benchmark adds its rows.
LOTS_PEERS_GOALS=$(mktemp)
export LOTS_PEERS_GOALS
trap 'rm -f "$LOTS_PEERS_GOALS"' EXIT
cd "$here/../.."
for what; do
    case $what in
    lenet) cargo bench --quiet -p lots-nn --bench peers ;;
    networks) cargo bench --quiet -p lots-nn --bench networks ;;
    attacks) cargo bench --quiet -p lots --bench attacks ;;
    iterative) cargo bench --quiet -p lots --bench iterative ;;
    pass) cargo bench --quiet -p lots --bench pass ;;
    esac
done
cat "$LOTS_PEERS_GOALS"
