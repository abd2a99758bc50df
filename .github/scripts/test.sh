#!/usr/bin/env bash
# Run the tests with the pinned, the oldest supported or the newest pytest.
# The neighbours' tests skip with `oldest`, which those plugins no longer support.
set -euo pipefail

case "${1:-pinned}" in
  pinned) make test PYTHON=python ;;
  newest)
    make .venv/.installed PYTHON=python
    .venv/bin/python -m pip install --quiet --upgrade pytest
    .venv/bin/python -m pytest tests/
    ;;
  oldest)
    python -m venv .venv
    .venv/bin/python -m pip install --quiet --constraint <(grep -v '^pytest' constraints.txt) \
      --editable '.[finetune,carbon]' 'pytest==8.0.*' 'pytest-xdist>=3.6' scipy pyyaml
    .venv/bin/python -m pytest tests/
    ;;
  *)
    echo "\`$1\` is no choice of pytest; give pinned, oldest or newest" >&2
    exit 4
    ;;
esac
