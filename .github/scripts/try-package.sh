#!/usr/bin/env bash
# Use a built package in an environment that holds nothing else: the core, all extras, or the sdist.
set -euo pipefail

part="$1"
dist="$(realpath "$2")"
folder="$(mktemp -d)"
cd "$folder"

install() {
  python -m venv .venv
  .venv/bin/python -m pip install --quiet "$@"
  .venv/bin/pytest-energy --version
}

case "$part" in
  core)
    install "$dist"/*.whl
    printf 'def test_plain():\n    pass\n' > test_plain.py
    .venv/bin/python -m pytest -q
    .venv/bin/pytest-energy baselines --help > help.txt
    ;;
  all)
    wheel=("$dist"/*.whl)
    install "${wheel[0]}[all]"
    cat > test_energy.py <<'TEST'
def test_training(energy, finetune):
    run = finetune("sst2", model="bert-tiny")
    assert run.window().joules > 0
TEST
    .venv/bin/python -m pytest -q --energy-meter=codecarbon --energy-tokens=20000
    ;;
  sdist)
    tar -xzf "$dist"/*.tar.gz --strip-components=1
    make test PYTHON=python
    ;;
  *)
    echo "\`$part\` is no part of a package; give core, all or sdist" >&2
    exit 4
    ;;
esac
