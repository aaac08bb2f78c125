"""What every optimisation of the engine gains: the engine with all of them against engines that lack one each.

    python scripts/speedup_gains.py --out results/throughput

Builds every variant (`touchline engine build --without NAME`; about a minute each), starts one process a variant and
lets them step in turns, so that what else the machine does falls on all alike. Writes speedups.json and speedups.md.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from touchline.benchmarks.throughput import machine_name
from touchline.envs.engine import build, speedups

SCENARIOS = ("11_vs_11_easy_stochastic", "academy_3_vs_1_with_keeper", "academy_empty_goal_close")

VARIANT = """
import sys
import touchline
simulators = []
for name in sys.argv[1:]:
    envs = touchline.make_vec(name, 1, num_threads=1, reset_pool=32)
    envs.reset(seed=0)
    envs.simulator.bare_loop(600, seed=1)
    simulators.append(envs)
print("ready", flush=True)
for line in sys.stdin:
    which, seed = map(int, line.split())
    steps, cpu = 0, 0.0
    while cpu < 1.0:
        cpu += simulators[which].simulator.bare_loop(100, seed=seed + steps)[0]
        steps += 100
    print(steps / cpu, flush=True)
"""


class Variant:
    """A process with one build of the engine."""

    def __init__(self, without: str) -> None:
        environment = os.environ | {build.WITHOUT: without}
        subprocess.run(
            [sys.executable, "-c", "from touchline.envs.engine import build; build.build()"],
            env=environment,
            check=True,
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", VARIANT, *SCENARIOS],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._process.stdout.readline()

    def measure(self, scenario: int, seed: int) -> float:
        """Steps per second of CPU time."""
        self._process.stdin.write(f"{scenario} {seed}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("results/throughput"))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    names = [speedup.name for speedup in speedups.chosen()]
    variants = {}
    for name in ("", *names, "all"):
        print(f"building the engine without {name or 'nothing'}", flush=True)
        variants[name] = Variant(name)
    speeds = {name: {scenario: [] for scenario in SCENARIOS} for name in variants}
    for seed in range(options.rounds):
        for index, scenario in enumerate(SCENARIOS):
            for name, variant in variants.items():
                speeds[name][scenario].append(variant.measure(index, 1000 * seed))
        print(f"round {seed + 1} of {options.rounds}", flush=True)

    def slow_down(name: str, scenario: str) -> float:
        pairs = zip(speeds[""][scenario], speeds[name][scenario], strict=True)
        return statistics.median(whole / lacking for whole, lacking in pairs)

    def row(label: str, name: str) -> str:
        return f"| {label} | {' | '.join(f'{slow_down(name, s):.2f}' for s in SCENARIOS)} |"

    lines = [
        f"Machine: {machine_name()}. Steps per second of CPU time with all optimisations over those without one, "
        f"median of {options.rounds} rounds, builds alternated in one run, random actions.",
        "",
        f"| without | {' | '.join(SCENARIOS)} |",
        "|---|" + "---|" * len(SCENARIOS),
    ]
    lines += [row(name, name) for name in sorted(names, key=lambda name: -slow_down(name, SCENARIOS[0]))]
    lines.append(row("all of them", "all"))
    whole = (f"{statistics.median(speeds[''][s]):.0f} ({s})" for s in SCENARIOS)
    lines += ["", f"Steps/s with all: {', '.join(whole)}."]
    options.out.mkdir(parents=True, exist_ok=True)
    facts = {"machine": machine_name(), "rounds": options.rounds, "steps_per_cpu_second": speeds}
    (options.out / "speedups.json").write_text(json.dumps(facts, indent=1) + "\n")
    (options.out / "speedups.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
