"""Plays fixed matches and compares two engines by what they left; for `check_wheel.sh` and its test.

    wheel_states.py play FILE STEPS             plays, and writes the state and observation of every step
    wheel_states.py compare FILE OWN OWN [OWN]  FILE is of the engine in question, OWN of this machine's build

The engine saves angles with three bytes of padding that hold whatever was in memory. The bytes that differ
between the runs of OWN, one and the same build, are therefore left out, and their share is printed. To make
every padding byte differ, run two of them with MALLOC_PERTURB_=85 and MALLOC_PERTURB_=170, which fill fresh
memory with 170 and 85. Observations must be equal.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

MATCHES = (("11_vs_11_stochastic", 11), ("academy_3_vs_1_with_keeper", 1))


def play(path: Path, steps: int) -> None:
    """Writes each match's states and observations, step by step."""
    import touchline
    from touchline.envs.engine import build

    sys.stdout.write(f"   {build.require().library}\n")
    held = {}
    for scenario, players in MATCHES:
        env = touchline.make_vec(scenario, 1, left=players)
        env.reset(seed=7)
        actions = np.random.default_rng(0)
        for step in range(steps):
            observation, *_ = env.step(actions.integers(19, size=env.action_space.shape))
            held[f"{scenario}/{step}/state"] = np.frombuffer(env.simulator.get_engine_state(0), np.uint8)
            held[f"{scenario}/{step}/observation"] = observation.copy()
        env.close()
    np.savez(path, **held)


def compare(path: Path, own: list[Path]) -> str:
    """What was found equal; `ValueError` names the first difference."""
    there, here = np.load(path), [np.load(each) for each in own]
    if not there.files or any(each.files != there.files for each in here):
        raise ValueError("not the same steps were played")
    compared = left_out = 0
    for name in there.files:
        content, references = there[name], [each[name] for each in here]
        if any(each.shape != content.shape for each in references):
            raise ValueError(f"{name}: {content.shape}, expected {references[0].shape}")
        differs = content != references[0]
        if name.endswith("/state"):
            unsteady = np.any([each != references[0] for each in references], axis=0)
            differs &= ~unsteady
            compared, left_out = compared + unsteady.size, left_out + int(unsteady.sum())
        if differs.any():
            raise ValueError(f"{name}: differs at {np.flatnonzero(differs)[:5].tolist()}")
    if left_out > compared // 100:
        raise ValueError(f"{left_out} of {compared} bytes differ between runs of the same build: too many")
    states = len(there.files) // 2
    return f"{states} states and observations are equal ({left_out / compared:.2%} of the bytes are padding)"


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["play", path, steps]:
            play(Path(path), int(steps))
        case ["compare", path, *own] if len(own) > 1:
            try:
                sys.stdout.write(compare(Path(path), [Path(each) for each in own]) + "\n")
            except ValueError as error:
                sys.exit(f"the engines differ: {error}")
        case _:
            sys.exit(__doc__)
