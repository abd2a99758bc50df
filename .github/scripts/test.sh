#!/usr/bin/env bash
# Run the tests with the pinned packages, or with the oldest or newest that pyproject.toml allows.
set -euo pipefail

case "${1:-pinned}" in
  pinned) make test PYTHON=python ;;
  lowest | newest) make "floors-$1" PYTHON=python ;;
  *)
    echo "\`$1\` is no set of packages; give pinned, lowest or newest" >&2
    exit 4
    ;;
esac
