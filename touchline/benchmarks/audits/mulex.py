"""Row B: MULEX does not mind how large the bonus is (Beyer et al. 2019, https://arxiv.org/abs/1907.00868), on a toy.

Of the paper only the abstract and the first page were read: several losses learn in parallel, one of them the true
return; each in turn provides the policy that acts; one replay holds what any of them did, and all learn from all of
it. What follows, the world, the table of values in place of networks, the discounts, whose turn it is and the bonus,
is a design choice of ours.

Loss l has a table Q_l [S, A] that starts at 0 and learns, from samples (s, a, r, d, s') of its buffer,

    Q_l(s, a) += 0.5 (y_l - Q_l(s, a)),    y_l = r_l + gamma (1 - d) max_a' Q_l(s', a')

    exploiter, l = 0:  r_0 = r                     explorer, l = 1:  r_1 = c / sqrt(n(s, a))

where d is a termination (the clock alone ends no value) and n(s, a) counts the buffer as it is when the sample is
drawn. Episode e is acted by loss e mod 2, epsilon-greedily on its own table; only Q_0, greedily, is evaluated.

So Q_1 is c times what it would be with c = 1, at every moment: which action is the best, and with it everything that
is ever done, does not depend on c. For powers of two that holds to the last bit, hence the same trajectories, as long
as ties are told relatively to the size of the values. Mixed rewards, r + c / sqrt(n) in one table, are not like that:
a small c drowns in the task's reward, a large one drowns the task.

What the row does not show: that taking turns matters. A table learns off-policy without bias, so here it does as well
to let the explorer act alone. (With turns of a single step nothing is found: every second step the exploiter heads for
the decoy, where 19 of 20 episodes then end. With a large c, mixed rewards play just what the explorer alone plays.)
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from touchline.benchmarks.audits import Check

NAME = "B"
CLAIM = (
    "On a toy grid with a key, a door and a decoy, MULEX finds the goal whatever the scale of its bonus over four "
    "decades, by one and the same trajectory, where mixed rewards need the right scale."
)
COST = "about 4 seconds a seed, and once 6 to compile"

STEPS = 50_000
EVALUATE_EVERY = 1_000
SCALES = (0.001, 0.1, 10.0)
POWERS = (2.0**-10, 2.0**-3, 1.0, 2.0**3)

SIZE, HORIZON = 7, 56
"""Cells a side; steps of an episode."""
START, DECOY, KEY, DOOR, GOAL = (0, 0), (1, 1), (6, 0), (6, 3), (0, 6)
"""(x, y), y upwards. The door's row is wall, the key opens the door, decoy (+0.05) and goal (+1) terminate."""
NUM_STATES, NUM_ACTIONS = 2 * SIZE * SIZE, 4

_LEARNING_RATE, _GAMMA, _SAMPLES = 0.5, 0.99, 32
_RELATIVE_TIE = 1e-9
_SCHEDULES = ("episode", "step", "exploiter", "explorer")
_EPISODE, _STEP, _EXPLOITER = 0, 1, 2


@dataclass(frozen=True)
class Arm:
    """One way to explore.

    Attributes:
        label: for people.
        scale: c, of the bonus.
        mixed: one table learns r + c / sqrt(n), and there is no other.
        schedule: whose policy acts: "episode" or "step" (each loss in turn for that long), "exploiter", "explorer".
        shared: one buffer for both losses; else each has the transitions that its own policy made.
        stored: the bonus stays what it was when the transition was stored.
        epsilon: share of random actions.
    """

    label: str
    scale: float = 0.1
    mixed: bool = False
    schedule: str = "episode"
    shared: bool = True
    stored: bool = False
    epsilon: float = 0.05


MULEX = {c: Arm(f"MULEX, c = {c:g}", c) for c in SCALES}
MULEX_POWERS = {c: Arm(f"MULEX, c = 2^{round(math.log2(c))}", c) for c in POWERS}
MIXED = {c: Arm(f"mixed rewards, c = {c:g}", c, mixed=True, schedule="exploiter") for c in SCALES}
EPSILON_GREEDY = Arm("epsilon-greedy (0.1), no bonus", 0.0, mixed=True, schedule="exploiter", epsilon=0.1)
EXPLOITER_ACTS = Arm("MULEX, only the exploiter acts (control)", schedule="exploiter")
EXPLORER_ACTS = Arm("MULEX, only the explorer acts", schedule="explorer")
UNSHARED = Arm("MULEX, buffers not shared (control)", shared=False)
STORED = Arm("MULEX, the bonus stored, not recomputed", stored=True)
STEPWISE = Arm("MULEX, turns of one step", schedule="step")

_ENDS = (min(SCALES), max(SCALES))
ARMS = (
    EPSILON_GREEDY,
    *MIXED.values(),
    *MULEX.values(),
    *MULEX_POWERS.values(),
    EXPLOITER_ACTS,
    EXPLORER_ACTS,
    UNSHARED,
    STORED,
    STEPWISE,
)
QUICK_ARMS = (
    *(MIXED[c] for c in _ENDS),
    *MULEX.values(),
    *(MULEX_POWERS[c] for c in (min(POWERS), max(POWERS))),
    EXPLOITER_ACTS,
    UNSHARED,
)


# ---- the world ---------------------------------------------------------------------------------------------


@njit(cache=True)
def state_of(x, y, has_key):
    """Number of a state, 0 <= s < NUM_STATES."""
    return (has_key * SIZE + y) * SIZE + x


@njit(cache=True)
def step(state, action):
    """(next state, reward, terminated) after a move right, up, left or down (0 to 3); walls stop it."""
    x, y, has_key = state % SIZE, state // SIZE % SIZE, state // (SIZE * SIZE)
    to_x, to_y = x, y
    if action == 0:
        to_x += 1
    elif action == 1:
        to_y += 1
    elif action == 2:
        to_x -= 1
    else:
        to_y -= 1
    inside = 0 <= to_x < SIZE and 0 <= to_y < SIZE
    if inside and (to_y != DOOR[1] or (to_x == DOOR[0] and has_key)):
        x, y = to_x, to_y
    if x == KEY[0] and y == KEY[1]:
        has_key = 1
    if x == GOAL[0] and y == GOAL[1]:
        return state_of(x, y, has_key), 1.0, True
    if x == DECOY[0] and y == DECOY[1]:
        return state_of(x, y, has_key), 0.05, True
    return state_of(x, y, has_key), 0.0, False


# ---- learning ----------------------------------------------------------------------------------------------


@njit(cache=True)
def acting_loss(schedule, episode, time):
    """The loss, 0 or 1, whose policy acts; `schedule` is an index into the schedules."""
    if schedule == _EPISODE:
        return episode % 2
    if schedule == _STEP:
        return time % 2
    return 0 if schedule == _EXPLOITER else 1


@njit(cache=True)
def greedy(values, uniform):
    """The best action of `values` [A]; among those that tie, the one at `uniform`, a number in [0, 1).

    What ties is told relatively to the largest value: an absolute tolerance would make a small bonus act otherwise
    than a large one.
    """
    best, size = values.max(), np.abs(values).max()
    ties = values >= best - _RELATIVE_TIE * size
    chosen = int(uniform * ties.sum())
    for action in range(len(values)):
        if ties[action]:
            if chosen == 0:
                return action
            chosen -= 1
    return 0  # not reached: the best action ties with itself


@njit(cache=True)
def _greedy_return(values):
    """Undiscounted return of an episode that acts greedily on `values` [S, A]."""
    state = state_of(START[0], START[1], 0)
    for _ in range(HORIZON):
        state, reward, terminated = step(state, greedy(values[state], 0.0))
        if terminated:
            return reward
    return 0.0


@njit(cache=True)
def _learn(rng, steps, schedule, weights, epsilon, shared, stored):
    """Greedy returns of the exploiter [steps / EVALUATE_EVERY] and all actions [steps].

    `weights` [L, 2] are those of the task's reward and of the bonus in the reward of every loss.
    """
    num_losses = len(weights)
    values = np.zeros((num_losses, NUM_STATES, NUM_ACTIONS))
    counts = np.zeros((num_losses, NUM_STATES, NUM_ACTIONS), np.int64)
    states, next_states = np.empty(steps, np.int64), np.empty(steps, np.int64)
    actions, rewards, terminations = np.empty(steps, np.uint8), np.empty(steps), np.empty(steps, np.bool_)
    first_bonus = np.empty((num_losses, steps))
    buffers, sizes = np.empty((num_losses, steps), np.int64), np.zeros(num_losses, np.int64)
    returns = np.empty(steps // EVALUATE_EVERY)

    state, episode, elapsed = state_of(START[0], START[1], 0), 0, 0
    for t in range(steps):
        actor = acting_loss(schedule, episode, t)
        explore, which = rng.random(), rng.random()
        action = int(which * NUM_ACTIONS) if explore < epsilon else greedy(values[actor, state], which)
        next_state, reward, terminated = step(state, action)
        states[t], actions[t], rewards[t] = state, action, reward
        next_states[t], terminations[t] = next_state, terminated
        for loss in range(num_losses):
            if shared or loss == actor:
                buffers[loss, sizes[loss]] = t
                sizes[loss] += 1
                counts[loss, state, action] += 1
                first_bonus[loss, t] = 1 / np.sqrt(counts[loss, state, action])

        for _ in range(_SAMPLES):
            place = rng.random()
            for loss in range(num_losses):
                if sizes[loss] == 0:
                    continue
                k = buffers[loss, int(place * sizes[loss])]
                s, a = states[k], actions[k]
                bonus = first_bonus[loss, k] if stored else 1 / np.sqrt(counts[loss, s, a])
                target = weights[loss, 0] * rewards[k] + weights[loss, 1] * bonus
                if not terminations[k]:
                    target += _GAMMA * values[loss, next_states[k]].max()
                values[loss, s, a] += _LEARNING_RATE * (target - values[loss, s, a])

        state, elapsed = next_state, elapsed + 1
        if terminated or elapsed == HORIZON:
            state, episode, elapsed = state_of(START[0], START[1], 0), episode + 1, 0
        if (t + 1) % EVALUATE_EVERY == 0:
            returns[t // EVALUATE_EVERY] = _greedy_return(values[0])
    return returns, actions


def learn(arm: Arm, seed: int, *, steps: int = STEPS) -> tuple[np.ndarray, np.ndarray]:
    """Plays and learns for `steps` environment steps.

    Args:
        seed: of all draws; arms with the same seed draw the same numbers.

    Returns:
        The exploiter's greedy, undiscounted return after every `EVALUATE_EVERY` steps [steps // EVALUATE_EVERY], and
        the actions that were played [steps], uint8.

    Raises:
        ValueError: no such schedule.
    """
    if arm.schedule not in _SCHEDULES:
        raise ValueError(f"no {arm.schedule!r} in schedules; there are {', '.join(_SCHEDULES)}")
    weights = np.array([[1.0, arm.scale]] if arm.mixed else [[1.0, 0.0], [0.0, arm.scale]])
    schedule = _SCHEDULES.index(arm.schedule)
    return _learn(np.random.default_rng(seed), steps, schedule, weights, arm.epsilon, arm.shared, arm.stored)


# ---- the row -----------------------------------------------------------------------------------------------


def run(seed: int, *, quick: bool = False) -> dict[str, Any]:
    """Every arm on one seed; `quick` leaves out the arms that no check needs.

    Returns:
        {"arms": {label: {"first_solve": steps until an evaluation first reached the goal, or None; "final_return";
        "returns": of all evaluations; "trajectory": a checksum of all actions}}}.
    """
    arms = {}
    for arm in QUICK_ARMS if quick else ARMS:
        returns, actions = learn(arm, seed)
        solved = np.flatnonzero(returns == 1.0)
        arms[arm.label] = {
            "first_solve": int(solved[0] + 1) * EVALUATE_EVERY if len(solved) else None,
            "final_return": float(returns[-1]),
            "returns": returns.tolist(),
            "trajectory": hashlib.sha256(actions.tobytes()).hexdigest()[:16],
        }
    return {"arms": arms}


def checks(results: Sequence[dict[str, Any]], *, quick: bool = False) -> list[Check]:
    """Solved is 4 of 5 seeds or more, failed is 1 of 5 or fewer; other numbers of seeds in proportion."""
    most, few = math.ceil(0.8 * len(results)), len(results) // 5
    out = []
    for arm in MULEX.values():
        solved, detail = _solved(results, arm)
        out.append(Check(f"{arm.label}: solved", solved >= most, f"{detail}, at least {most} needed"))
    powers = [arm for arm in MULEX_POWERS.values() if arm in QUICK_ARMS or not quick]
    same = [_same_trajectory(result, powers) for result in results]
    decimal = [_same_trajectory(result, MULEX.values()) for result in results]
    out.append(
        Check(
            f"MULEX: c = {', '.join(arm.label.split()[-1] for arm in powers)} give the same trajectory",
            all(same),
            f"on {sum(same)} of {len(same)} seeds; c = {', '.join(f'{c:g}' for c in SCALES)}, which rounding sets "
            f"apart, on {sum(decimal)}",
        )
    )
    for c in _ENDS:
        solved, detail = _solved(results, MIXED[c])
        out.append(Check(f"{MIXED[c].label}: not solved", solved <= few, f"{detail}, at most {few} allowed"))
    for arm in (EXPLOITER_ACTS, UNSHARED):
        solved, detail = _solved(results, arm)
        out.append(Check(f"{arm.label}", solved <= few, f"{detail}, at most {few} allowed", must_fail=True))
    mixed = [MIXED[c] for c in _ENDS]
    same = [_same_trajectory(result, mixed) for result in results]
    out.append(
        Check(
            f"mixed rewards: c = {' and '.join(f'{c:g}' for c in _ENDS)} give the same trajectory (control)",
            not any(same),
            f"on {sum(same)} of {len(same)} seeds, 0 allowed",
            must_fail=True,
        )
    )
    return out


def plot(results: Sequence[dict[str, Any]], axes: Any) -> None:
    """A line an arm: when each seed's exploiter first reached the goal; crosses never did."""
    labels = list(results[0]["arms"])
    for row, label in enumerate(labels):
        found = [result["arms"][label]["first_solve"] for result in results]
        times = [time / 1000 for time in found if time is not None]
        never = len(found) - len(times)
        color = "C3" if "control" in label else "C0" if label.startswith("MULEX") else "C1"
        axes.plot(times, [row] * len(times), "o", color=color, alpha=0.6)
        axes.plot([STEPS / 1000 + 2] * bool(never), [row] * bool(never), "x", color=color)
        if never:
            axes.text(STEPS / 1000 + 3, row, f"{never} never", va="center", fontsize=7)
    axes.set_yticks(range(len(labels)), labels, fontsize=7)
    axes.invert_yaxis()
    axes.set(xlim=(0, STEPS / 1000 + 9), xlabel=f"thousand steps until first solved ({len(results)} seeds)")
    axes.grid(alpha=0.3)


def table(results: Sequence[dict[str, Any]]) -> str:
    """Markdown, an arm a line, every seed: first solve, final return, first digits of the checksum of its actions."""
    lines = ["| arm | first solved, thousand steps | final return | trajectories |", "|---|---|---|---|"]
    for label in results[0]["arms"]:
        arms = [result["arms"][label] for result in results]
        first = ", ".join("never" if a["first_solve"] is None else f"{a['first_solve'] / 1000:g}" for a in arms)
        final = ", ".join(f"{a['final_return']:g}" for a in arms)
        lines.append(f"| {label} | {first} | {final} | {' '.join(a['trajectory'][:4] for a in arms)} |")
    return "\n".join(lines) + "\n"


def _solved(results: Sequence[dict[str, Any]], arm: Arm) -> tuple[int, str]:
    first = [result["arms"][arm.label]["first_solve"] for result in results]
    solved = sum(time is not None for time in first)
    return solved, f"{solved} of {len(first)} seeds by {STEPS:,} steps"


def _same_trajectory(result: dict[str, Any], arms: Any) -> bool:
    return len({result["arms"][arm.label]["trajectory"] for arm in arms}) == 1
