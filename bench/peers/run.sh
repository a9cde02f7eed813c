#!/usr/bin/env bash
# Measures Lots against PyTorch on the same work, in turn, and prints the ratios. Makes the Python environment it needs.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
setup=$("$here/setup.sh" | tee /dev/stderr)
export LOTS_PEERS_PYTHON=${setup##*python: }
cd "$here/../.."
cargo bench --quiet -p lots-nn --bench peers
exec cargo bench --quiet -p lots --bench attacks
