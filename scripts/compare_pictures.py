"""Compares the engine's own picture with that of upstream's package, pixel by pixel.

    python scripts/compare_pictures.py

Needs `touchline engine verify` to have built upstream's package. Software rendering takes about a second a picture.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import touchline
from touchline.envs.engine.upstream import find_upstream_python

UPSTREAM = """
import sys
import numpy as np
from gfootball.env import create_environment
scenario, seed, steps, out = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
env = create_environment(
    scenario, representation="raw", render=True, other_config_options={"game_engine_random_seed": seed}
)
frames = [env.reset()[0]["frame"]]
for action in np.random.default_rng(seed).integers(0, 19, steps):
    observation, _, done, _ = env.step(int(action))
    if done:
        break  # ours begins the next episode in the same step
    frames.append(observation[0]["frame"])
np.save(out, np.array(frames))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--scenarios", nargs="+", default=["11_vs_11_stochastic", "academy_3_vs_1_with_keeper"])
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    chosen = parser.parse_args()
    python = find_upstream_python()
    if python is None:
        sys.exit("upstream's package is not built here: run `touchline engine verify`")
    differing = 0
    for scenario in chosen.scenarios:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "frames.npy"
            command = [python, "-W", "ignore", "-c", UPSTREAM, scenario, str(chosen.seed), str(chosen.steps), out]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
            theirs = np.load(out)
        envs = touchline.make_vec(scenario, 1, num_threads=1, engine_rendering=True)
        envs.reset(seed=chosen.seed)
        actions = iter(np.random.default_rng(chosen.seed).integers(0, 19, chosen.steps))
        equal = 0
        for number, picture in enumerate(theirs):
            if number:
                envs.step(np.array([next(actions)]))
            ours = envs.simulator.frame(0)
            if np.array_equal(ours, picture):
                equal += 1
            else:
                unequal = (ours != picture).any(-1)
                print(
                    f"{scenario}, step {number}: {unequal.sum()} of {unequal.size} pixels differ, "
                    f"by {np.abs(ours.astype(int) - picture).max()} at most"
                )
        envs.close()
        differing += len(theirs) - equal
        print(f"{scenario}: {equal} of {len(theirs)} pictures of {theirs.shape[2]} x {theirs.shape[1]} are equal")
    return int(differing > 0)


if __name__ == "__main__":
    sys.exit(main())
