"""What each bonus costs: seconds of an update over plain PPO's, all variants in turns in one process.

python scripts/bonus_overhead.py [--scenario academy_3_vs_1_with_keeper] [--rounds 12]
"""

import argparse
import statistics
import time
from dataclasses import replace

from touchline.networks import torch_threads
from touchline.run import Run
from touchline.train_config import TrainConfig, make_envs

VARIANTS = {
    "ppo": {},
    "episodic_curiosity, offline": {
        "bonus": ("episodic_curiosity",),
        "bonus_config": {"episodic_curiosity": {"train": "offline", "random_steps": 20_000}},
    },
    "episodic_curiosity, online": {
        "bonus": ("episodic_curiosity",),
        "bonus_config": {"episodic_curiosity": {"train_every": 1024}},
    },
    **{name: {"bonus": (name,)} for name in ("icm", "rnd", "count", "visit_oracle")},
    "adaptive_td": {"value_target": "adaptive_td"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scenario", default="academy_3_vs_1_with_keeper")
    parser.add_argument("--rounds", type=int, default=12)
    chosen = parser.parse_args()
    runs, times = {}, {name: [] for name in VARIANTS}
    for name, fields in VARIANTS.items():
        config = TrainConfig(scenario=chosen.scenario, rewards=("scoring",), total_steps=10**9, num_threads=1, **fields)
        config = replace(config, out="nowhere").resolved()
        run = Run(config, [make_envs(config)])
        run.pretrain()
        runs[name] = run.updates()
    with torch_threads(1):
        # The online network learns at every eighth update, so that a multiple of eight rounds is fair to it.
        for _ in range(chosen.rounds + 1):
            for name, updates in runs.items():
                start = time.perf_counter()
                next(updates)
                times[name].append(time.perf_counter() - start)
    plain = statistics.fmean(times["ppo"][1:])
    print(f"{chosen.scenario}: {plain:.3f} s an update of plain PPO")
    for name, seconds in times.items():
        print(f"{name:30s} {statistics.fmean(seconds[1:]) / plain:.2f} x")


if __name__ == "__main__":
    main()
