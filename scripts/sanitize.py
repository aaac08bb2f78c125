"""Plays matches with an engine built under a sanitizer, and prints what that reports.

    python scripts/sanitize.py address
    python scripts/sanitize.py thread
    python scripts/sanitize.py address --without all   # the same without our optimisations, to compare

Needs gcc's sanitizer libraries (Debian installs them with g++). A build takes about five minutes and is kept in the
cache folder; 20,000 steps take some ten minutes.
"""

import argparse
import os
import re
import subprocess
import sys
from collections import Counter

from touchline.envs.engine import build

PLAY = """
import sys
from pathlib import Path
from touchline.envs.engine import build
files = build._files(Path(sys.argv[1]), build.source_dir())
build.locate = lambda: files
import numpy as np
import touchline
steps = int(sys.argv[2])
scenarios = ("11_vs_11_stochastic", "academy_3_vs_1_with_keeper", "5_vs_5", "academy_corner")
for number, name in enumerate(scenarios):
    envs = touchline.make_vec(name, 4, num_threads=4, reset_pool=2)
    envs.reset(seed=number)
    draw = np.random.default_rng(number)
    for step in range(steps // len(scenarios) // 4):
        envs.step(draw.integers(0, 19, 4).astype(np.int32))
        if step % 100 == 50:
            envs.set_state(envs.get_state())
    envs.close()
    print(name, "played", flush=True)
"""

OPTIONS = {
    "address": {"ASAN_OPTIONS": "detect_leaks=0:halt_on_error=0:alloc_dealloc_mismatch=0"},
    "thread": {"TSAN_OPTIONS": "halt_on_error=0:report_signal_unsafe=0"},
}
LIBRARIES = {"address": "libasan.so", "thread": "libtsan.so"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("sanitizer", choices=tuple(OPTIONS))
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--without", default="", help="optimisations to leave out, or all")
    chosen = parser.parse_args()
    os.environ[build.WITHOUT] = chosen.without
    folder = build.cache_dir() / f"sanitized-{chosen.sanitizer}-{build.build_key()}"
    flags = [flag for flag in build.flags(lto=False) if not flag.startswith(("-O", "-ftls"))]
    flags += ["-O1", "-g1", "-fno-omit-frame-pointer", f"-fsanitize={chosen.sanitizer}"]
    if chosen.sanitizer == "address":
        flags.append("-fsanitize-recover=address")
    # The sanitizer's library comes with Python's process, so the library may leave its symbols open.
    arguments = (f"-DTOUCHLINE_FLAGS={' '.join(flags)}", "-DCMAKE_SHARED_LINKER_FLAGS=-Wl,-z,undefs")
    files = build.build(into=folder, cmake_arguments=arguments, progress=lambda what, share: None)
    preload = subprocess.run(
        ["gcc", f"-print-file-name={LIBRARIES[chosen.sanitizer]}"], capture_output=True, text=True, check=True
    ).stdout.strip()
    environment = os.environ | OPTIONS[chosen.sanitizer] | {"LD_PRELOAD": preload}
    command = [sys.executable, "-c", PLAY, str(files.library), str(chosen.steps)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    log = folder / "report.txt"
    log.write_text(done.stdout + done.stderr)
    reports = Counter(re.findall(r"^SUMMARY: \w+: (.*)$", done.stderr, re.MULTILINE))
    for report, count in reports.most_common():
        print(f"{count:6}  {report}")
    print(f"{sum(reports.values())} reports; the play ended with status {done.returncode}; the whole log: {log}")
    print(done.stdout.strip())
    return int(bool(reports) or done.returncode != 0)


if __name__ == "__main__":
    sys.exit(main())
