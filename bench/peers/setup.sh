#!/usr/bin/env bash
# Makes the Python environment of the peers: `.venv-peers` in the repository root, or the existing one that
# $LOTS_PEERS_VENV names. Running it again checks the environment and installs only what is missing.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
if [[ -n ${LOTS_PEERS_VENV:-} && -d ${LOTS_PEERS_VENV} ]]; then
    venv=$LOTS_PEERS_VENV
    echo "using the environment of LOTS_PEERS_VENV: $venv"
else
    if [[ -n ${LOTS_PEERS_VENV:-} ]]; then
        echo "LOTS_PEERS_VENV names no folder: $LOTS_PEERS_VENV; using the default"
    fi
    venv=$root/.venv-peers
    if [[ -x $venv/bin/python ]]; then
        echo "found $venv"
    else
        echo "creating $venv"
        "${PYTHON:-python3}" -m venv "$venv"
    fi
fi

# Exactly the pinned versions? A local label such as +cpu is no difference.
satisfied() {
    "$venv/bin/python" - "$here/requirements.txt" <<'PY'
import sys
from importlib.metadata import PackageNotFoundError, version
for line in open(sys.argv[1], encoding="utf-8"):
    line = line.split("#")[0].strip()
    if not line:
        continue
    name, wanted = line.split("==")
    try:
        found = version(name).split("+")[0]
    except PackageNotFoundError:
        found = "none"
    if found != wanted:
        sys.exit(f"{name}: wanted {wanted}, found {found}")
PY
}
if satisfied; then
    echo "all packages of requirements.txt are there"
else
    echo "installing bench/peers/requirements.txt (a download of some hundred megabytes or more)"
    "$venv/bin/python" -m pip install --disable-pip-version-check -r "$here/requirements.txt"
    satisfied
fi
echo "python: $venv/bin/python"
