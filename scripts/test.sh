#!/usr/bin/env bash
# Set up (once) and run the linter and the tests. Arguments go to pytest: scripts/test.sh tests/test_losses.py -x
set -euo pipefail
extras=all,test
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
ruff check .
ruff format --check .
python -m pytest -n auto --maxprocesses 8 --dist loadfile "$@"  # what a file's tests share is made once
