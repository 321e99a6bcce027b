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
step "Format (ruff format)" "$python" -m ruff format --check .
step "Lint (ruff)" "$python" -m ruff check .
step "Imports (import-linter)" "$python" -c \
  "import sys; from importlinter.cli import lint_imports_command as lint; sys.argv[0] = 'lint-imports'; lint()"
step "Types (pyright)" "$python" -m pyright --pythonpath "$python"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
if [ "$#" -gt 0 ]; then
  step "Tests (pytest)" "$python" -m pytest -q -rs "$@"
  exit
fi
# Two processes, since most of a test's time is one thread. Not pytest-xdist: its processes have a thread of their
# own, and the loader workers that tests fork from them hang now and then.
log="$(mktemp)"
trap 'rm -f "$log"; kill "${second:-}" 2>/dev/null || true' EXIT
second_half=(tests/det tests/seg tests/engine/dense tests/export tests/test_*.py)
"$python" -m pytest -q -rs -p no:cacheprovider "${second_half[@]}" >"$log" 2>&1 &
second=$!
first=0
printf '\n== Tests (pytest): all but dense tasks, export and whole chains ==\n'
"$python" -m pytest -q -rs tests "${second_half[@]/#/--ignore=}" || first=$?
status=0
wait "$second" || status=$?
second=""
printf '\n== Tests (pytest): dense tasks, export and whole chains ==\n'
cat "$log"
[ "$first" -eq 0 ] && [ "$status" -eq 0 ] || { printf '\nerror: some tests failed\n' >&2; exit 1; }
