#!/usr/bin/env bash
# Shows that the engine wheel works on a machine with no compiler and none of the engine's libraries.
#
#   scripts/check_wheel.sh [WHEEL]
#
# Makes a minimal Debian in a temporary folder with nothing added but Python, puts numpy, numba, gymnasium,
# touchline and the wheel into it, plays 100 steps of two scenarios there, and compares the engine's state after
# every step, byte for byte, with this machine's own build. Without WHEEL it builds the wheel first.
#
# Needs root, debootstrap (apt-get install debootstrap) and Debian as configured in /etc/apt; about 3 minutes and
# 1 GB in TMPDIR. PYTHON names the Python that has touchline and its engine (default: .venv/bin/python).
set -euo pipefail
wheel=${1:+$(realpath "$1")}
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-.venv/bin/python}
steps=100

fail() {
  echo "check_wheel: $*" >&2
  exit 1
}

[[ $(id -u) == 0 ]] || fail "must run as root (debootstrap and chroot)"
command -v debootstrap >/dev/null || fail "debootstrap is missing: apt-get install debootstrap"
"$python" -c 'import touchline' || fail "$python has no touchline: run \`make setup\` or set PYTHON"

work=$(mktemp -d)
root=$work/root
trap 'umount "$root/proc" "$root/sys" 2>/dev/null || true; rm -rf --one-file-system "$work"' EXIT

if [[ -z $wheel ]]; then
  "$python" -m touchline.cli engine wheel --out "$work/dist"
  wheel=$(echo "$work"/dist/*.whl)
fi
[[ -f $wheel ]] || fail "no such wheel: $wheel"

echo "1. a minimal Debian"
# shellcheck source=/dev/null
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
# shellcheck disable=SC2016  # apt fills this in, not the shell
mirrors=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Codename: $suite")
mirror=${mirrors%%$'\n'*}
debootstrap --variant=minbase --include=python3 "$suite" "$root" "$mirror" >"$work/debootstrap.log" 2>&1 ||
  fail "debootstrap failed: $(tail -3 "$work/debootstrap.log")"
version=$(chroot "$root" python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')

echo "2. touchline and the wheel for its Python $version"
mkdir "$work/source" "$work/wheels"
cp -r pyproject.toml LICENSE touchline "$work/source"
if [[ -f README.md ]]; then cp README.md "$work/source"; else touch "$work/source/README.md"; fi
"$python" -m pip wheel --quiet --no-deps --wheel-dir "$work/wheels" "$work/source"
"$python" -m pip install --quiet --target "$root/opt/site" --python-version "$version" --only-binary=:all: \
  -c constraints.txt numpy numba gymnasium
"$python" -m pip install --quiet --target "$root/opt/site" --python-version "$version" --only-binary=:all: \
  --no-deps --platform "$(basename "$wheel" .whl | sed 's/.*-none-//')" --platform any "$wheel" "$work"/wheels/*.whl

echo "3. what the minimal Debian lacks"
for program in g++ gcc cmake make pkg-config; do
  if chroot "$root" sh -c "command -v $program" >/dev/null; then fail "$program is there"; fi
done
for library in libSDL2 libGL libEGL libOpenGL libboost libX11 libstdc++; do
  found=$(find "$root/usr/lib" "$root/lib/" -name "$library*.so*" -print -quit)
  if [[ -z $found ]]; then echo "   no $library"; else echo "   $library is there: ${found#"$root"}"; fi
done

echo "4. $steps steps there and here"
cp scripts/wheel_states.py "$root/opt"
clean=(env -i HOME=/root PATH=/usr/bin:/bin PYTHONPATH=/opt/site TOUCHLINE_CACHE=/nowhere)
chroot "$root" "${clean[@]}" python3 /opt/wheel_states.py play /opt/there.npz "$steps"
for fill in 85 170; do # see wheel_states.py
  MALLOC_PERTURB_=$fill "$python" scripts/wheel_states.py play "$work/here-$fill.npz" "$steps"
done
"$python" scripts/wheel_states.py compare "$root/opt/there.npz" "$work"/here-*.npz
