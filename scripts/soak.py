"""Resets engines over and over for a while and prints how much memory the process holds: it must stay flat.

    python scripts/soak.py --minutes 60

It ends with status 1 if memory grew by more than 10 MiB after the first line.

Every episode is 20 random steps; half of the resets are true ones, half load a snapshot. All scenarios take turns.
"""

import argparse
import mmap
import sys
import time

import numpy as np

import touchline
from touchline import scenarios


def resident_mib() -> float:
    """Memory of this process in MiB, as the kernel counts it."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * mmap.PAGESIZE / 2**20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    names = scenarios.names()
    draw = np.random.default_rng(0)
    start, rounds, resets, shown, sizes = time.monotonic(), 0, 0, 0.0, []
    while (minutes := (time.monotonic() - start) / 60) < chosen.minutes:
        envs = touchline.make_vec(
            names[rounds % len(names)], 4, num_threads=chosen.threads, reset_pool=4 * (rounds // len(names) % 2)
        )
        envs.reset(seed=rounds)
        for _ in range(25):
            for _ in range(20):
                envs.step(draw.integers(0, 19, 4))
            envs.reset(options={"reset_mask": np.ones(4, bool)})
            resets += 4
        envs.close()
        rounds += 1
        # Every engine has seen every scenario, with and without a pool, after two rounds of all.
        if rounds % (2 * len(names)) == 0 and minutes - shown >= chosen.minutes / 30:
            shown = minutes
            sizes.append(resident_mib())
            print(f"{minutes:6.1f} min  {resets:8} resets  {sizes[-1]:7.1f} MiB", flush=True)
    return int(not sizes or sizes[-1] - sizes[0] > 10)


if __name__ == "__main__":
    sys.exit(main())
