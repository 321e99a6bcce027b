#!/usr/bin/env bash
# Sets up what is missing, then runs a suite: bash benchmarks/run_all.sh [SUITE] [options]
# Options are those of `python -m benchmarks run`. PYTHON=… names the Python to make .venv with.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
if ! command -v "${PYTHON:-python3}" >/dev/null; then
  echo "error: ${PYTHON:-python3} was not found. Install Python 3.10, 3.11 or 3.12, or name one:" \
    "PYTHON=/path/to/python3.12 bash benchmarks/run_all.sh" >&2
  exit 2
fi
python="$("${PYTHON:-python3}" -m benchmarks.setup_environment)"
TRICKBENCH_SETUP_SECONDS="$SECONDS" exec "$python" -m benchmarks run "$@"
