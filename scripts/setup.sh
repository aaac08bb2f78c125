#!/usr/bin/env bash
# Prepares this repository: Debian packages, .venv with touchline, and the football engine. `make setup` runs it.
#
# Safe to repeat: it does only what is missing, and nothing at all where nothing has changed since the last time.
# PYTHON names the Python to make .venv from (3.11 or newer; default: python3).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { echo "setup: $*"; }
fail() {
  echo "setup: $*" >&2
  exit 1
}

# ---------------------------------------------------------------- is there anything to do?

# What a finished setup depends on: our files, the Python, the processor (the engine is compiled for it) and the cache.
fingerprint() {
  {
    cat pyproject.toml constraints.txt scripts/setup.sh touchline/envs/engine/build.py
    cat touchline/envs/engine/native/* touchline/envs/engine/speedups/*.*
    grep -E '^(model name|flags|Features)' /proc/cpuinfo | sort -u
    echo "${PYTHON:-} ${TOUCHLINE_CACHE:-} ${TOUCHLINE_ENGINE_WITHOUT:-} ${XDG_CACHE_HOME:-} $PWD"
  } | sha256sum | cut -c1-16
}

stamp=.venv/.setup-$(fingerprint)
# The stamp holds the path of the engine, which somebody may have removed from the cache.
if [[ -f $stamp && -x .venv/bin/touchline && -f $(<"$stamp") ]]; then
  exit 0
fi

# ---------------------------------------------------------------- Debian packages

install_packages() {
  local root=()
  if [[ $(id -u) != 0 ]]; then root=(sudo); fi
  local command="${root[*]:+${root[*]} }apt-get update && ${root[*]:+${root[*]} }apt-get install -y $*"
  command -v apt-get >/dev/null ||
    fail "these Debian packages, or what your system calls them, must be installed: $*"
  [[ ${#root[@]} == 0 ]] || command -v sudo >/dev/null ||
    fail "packages are missing and need root. Run as root: ${command//sudo /}"
  say "installing $*"
  local log
  log=$(mktemp)
  if ! {
    "${root[@]}" apt-get update &&
      "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
  } >"$log" 2>&1 </dev/null; then
    tail -5 "$log" >&2
    fail "that failed (the whole log: $log). Run it yourself: $command"
  fi
  rm -f "$log"
}

# Prints those of the named packages that are not installed.
missing_packages() {
  local package
  for package in "$@"; do
    [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || echo "$package"
  done
}

python=${PYTHON:-python3}
if ! command -v "$python" >/dev/null; then
  [[ $python == python3 ]] || fail "there is no $python (PYTHON)"
  install_packages python3 python3-venv
fi
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  fail "touchline needs Python 3.11 or newer; $python is $("$python" -V 2>&1 | cut -d' ' -f2)." \
    "Name a newer one: PYTHON=python3.12 make setup"
# Debian ships venv apart from python3.
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  install_packages "python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
fi

# The one list of what a build needs.
mapfile -t packages <touchline/envs/engine/native/debian_packages.txt
if command -v dpkg-query >/dev/null; then
  mapfile -t missing < <(missing_packages "${packages[@]}")
  if [[ ${#missing[@]} -gt 0 ]]; then install_packages "${missing[@]}"; fi
else
  say "this is not Debian: packages are not looked at; the engine needs what Debian calls ${packages[*]}"
fi

# ---------------------------------------------------------------- .venv

version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }
if ! .venv/bin/python -c '' 2>/dev/null; then
  say "making .venv"
  "$python" -m venv --clear .venv
elif [[ -n ${PYTHON:-} && $(version .venv/bin/python) != $(version "$python") ]]; then
  fail ".venv is of Python $(version .venv/bin/python), and PYTHON is $(version "$python"): remove .venv for a new one"
fi
if ! .venv/bin/python -c 'import pip' 2>/dev/null; then
  .venv/bin/python -m ensurepip >/dev/null 2>&1 || fail "the Python of .venv has no pip: install it there, or remove .venv"
fi
rm -f .venv/.setup-*
say "installing touchline and what it needs into .venv"
# constraints.txt pins torch exactly: an open range takes a CUDA build of several GB. Compiling all 18,000 modules takes a
# minute; Python compiles those that are used.
.venv/bin/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[dev]' </dev/null

# ---------------------------------------------------------------- the engine

.venv/bin/touchline engine build </dev/null
.venv/bin/python -c 'from touchline.envs.engine.build import require; print(require().library)' >"$stamp.new"
mv "$stamp.new" "$stamp"
say "done: .venv/bin/touchline --help"
