#!/usr/bin/env bash
# Sets up what is missing, then runs every check: bash tests/run_all.sh [pytest options]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
if ! command -v "${PYTHON:-python3}" >/dev/null; then
  echo "error: ${PYTHON:-python3} was not found. Install Python 3.10, 3.11 or 3.12, or name one:" \
    "PYTHON=/path/to/python3.12 bash tests/run_all.sh" >&2
  exit 2
fi
python="$("${PYTHON:-python3}" -m benchmarks.setup_environment --test)"

step() {
  printf '\n== %s ==\n' "$1"
  shift
  "$@" || { printf '\nerror: this step failed: %s\n' "$*" >&2; exit 1; }
}
step "Layout (ruff format)" "$python" -m ruff format --check .
step "Lint (ruff)" "$python" -m ruff check .
step "Import arrows (import-linter)" "$python" -c \
  "import sys; from importlinter.cli import lint_imports_command as lint; sys.argv[0] = 'lint-imports'; lint()"
step "Types (pyright)" "$python" -m pyright --pythonpath "$python"
# A process a core, each with whole files, since fixtures of a file are costly; a thread each, since files are many.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
step "Tests (pytest)" "$python" -m pytest -q -rs -n logical --maxprocesses 4 --dist loadfile "$@"
