"""Row B of the curiosity audit: the grid's rules, who acts, the learner against a literal one, and what is judged."""

from collections import deque

import numpy as np
import pytest

from touchline.benchmarks.audits import mulex

RIGHT, UP, LEFT, DOWN = range(4)


def cell(x, y, has_key=0):
    return mulex.state_of(x, y, has_key)


def walk(actions):
    """The state after `actions` from the start, the rewards, and whether the last move terminated."""
    state, rewards, terminated = cell(*mulex.START), [], False
    for action in actions:
        assert not terminated
        state, reward, terminated = mulex.step(state, action)
        rewards.append(reward)
    return state, rewards, terminated


def test_the_goal_pays_1_and_lies_18_moves_away_through_key_and_door():
    state, rewards, terminated = walk([RIGHT] * 6 + [UP] * 6 + [LEFT] * 6)
    assert (state, rewards, terminated) == (cell(0, 6, 1), [0.0] * 17 + [1.0], True)
    lengths, queue = {cell(*mulex.START): 0}, deque([cell(*mulex.START)])
    goals = []
    while queue:
        state = queue.popleft()
        for action in range(mulex.NUM_ACTIONS):
            after, reward, terminated = mulex.step(state, action)
            if reward == 1.0:
                goals.append(lengths[state] + 1)
            if not terminated and after not in lengths:
                lengths[after] = lengths[state] + 1
                queue.append(after)
    assert min(goals) == 18


def test_the_decoy_pays_a_twentieth_and_lies_two_moves_away():
    assert walk([RIGHT, UP]) == (cell(1, 1), [0.0, 0.05], True)


@pytest.mark.parametrize("x", range(mulex.SIZE))
@pytest.mark.parametrize("has_key", [0, 1])
def test_the_wall_is_passed_at_the_door_alone_and_only_with_the_key(x, has_key):
    below = cell(x, mulex.DOOR[1] - 1, has_key)
    state, _, _ = mulex.step(below, UP)
    opens = has_key and x == mulex.DOOR[0]
    assert state == (cell(x, mulex.DOOR[1], has_key) if opens else below)


def test_the_key_is_kept_and_the_edge_stops_a_move():
    state, _, _ = walk([RIGHT] * 6 + [LEFT])
    assert state == cell(5, 0, 1)
    assert walk([LEFT, DOWN])[0] == cell(0, 0)


def test_who_acts_is_each_loss_in_turn_for_an_episode_or_a_step_or_one_alone():
    turns = {
        name: [mulex.acting_loss(k, episode, time) for episode, time in ((0, 0), (0, 1), (1, 2), (1, 3), (2, 4))]
        for k, name in enumerate(("episode", "step", "exploiter", "explorer"))
    }
    assert turns == {
        "episode": [0, 0, 1, 1, 0],
        "step": [0, 1, 0, 1, 0],
        "exploiter": [0] * 5,
        "explorer": [1] * 5,
    }


def test_an_unknown_schedule_says_what_exists():
    with pytest.raises(ValueError, match="no 'turns' in schedules; there are episode, step, exploiter, explorer"):
        mulex.learn(mulex.Arm("x", schedule="turns"), 0, steps=10)


@pytest.mark.parametrize("scale", [1.0, 1e-15, 1e15])
def test_ties_are_told_relatively_so_that_the_size_of_the_values_does_not_matter(scale):
    values = scale * np.array([1.0, 3.0, 2.0, 3.0 * (1 + 1e-13)])
    assert [mulex.greedy(values, uniform) for uniform in (0.0, 0.49, 0.5, 0.99)] == [1, 1, 3, 3]
    assert mulex.greedy(scale * np.array([1.0, 3.0, 2.0, 3.001]), 0.0) == 3
    assert [mulex.greedy(np.zeros(4), u) for u in (0.0, 0.3, 0.6, 0.9)] == [0, 1, 2, 3]


def literal(arm, seed, steps):
    """The learner once more, with dicts and lists, as the module's docstring tells it."""
    rng = np.random.default_rng(seed)
    losses = [{"task": 1.0, "bonus": arm.scale if arm.mixed else 0.0}]
    if not arm.mixed:
        losses.append({"task": 0.0, "bonus": arm.scale})
    for loss in losses:
        loss |= {"q": {}, "n": {}, "buffer": []}
    returns, played = [], []
    state, episode, elapsed = cell(*mulex.START), 0, 0

    def q(loss, s):
        return loss["q"].setdefault(s, [0.0] * 4)

    for t in range(steps):
        turn = {"episode": episode % 2, "step": t % 2, "exploiter": 0, "explorer": 1}[arm.schedule]
        explore, which = rng.random(), rng.random()
        if explore < arm.epsilon:
            action = int(which * 4)
        else:
            values = q(losses[turn], state)
            near = max(values) - 1e-9 * max(map(abs, values))
            ties = [a for a in range(4) if values[a] >= near]
            action = ties[int(which * len(ties))]
        after, reward, terminated = mulex.step(state, action)
        played.append(action)
        for number, loss in enumerate(losses):
            if arm.shared or number == turn:
                loss["n"][state, action] = loss["n"].get((state, action), 0) + 1
                bonus = 1 / np.sqrt(loss["n"][state, action])
                loss["buffer"].append((state, action, reward, terminated, after, bonus))
        for _ in range(32):
            place = rng.random()
            for loss in losses:
                if loss["buffer"]:
                    s, a, r, d, s_after, bonus = loss["buffer"][int(place * len(loss["buffer"]))]
                    bonus = bonus if arm.stored else 1 / np.sqrt(loss["n"][s, a])
                    y = loss["task"] * r + loss["bonus"] * bonus
                    if not d:
                        y += 0.99 * max(q(loss, s_after))
                    q(loss, s)[a] += 0.5 * (y - q(loss, s)[a])
        state, elapsed = after, elapsed + 1
        if terminated or elapsed == mulex.HORIZON:
            state, episode, elapsed = cell(*mulex.START), episode + 1, 0
        if (t + 1) % mulex.EVALUATE_EVERY == 0:
            at, total = cell(*mulex.START), 0.0
            for _ in range(mulex.HORIZON):
                values = q(losses[0], at)
                near = max(values) - 1e-9 * max(map(abs, values))
                at, total, over = mulex.step(at, next(a for a in range(4) if values[a] >= near))
                if over:
                    break
            returns.append(total)
    return returns, played


@pytest.mark.parametrize(
    "arm",
    [
        mulex.EPSILON_GREEDY,
        mulex.MIXED[0.1],
        mulex.MULEX[0.1],
        mulex.EXPLORER_ACTS,
        mulex.UNSHARED,
        mulex.STORED,
        mulex.STEPWISE,
    ],
    ids=lambda arm: arm.label,
)
def test_the_compiled_learner_equals_a_literal_one(arm):
    returns, actions = mulex.learn(arm, 3, steps=2000)
    expected_returns, expected_actions = literal(arm, 3, 2000)
    assert actions.tolist() == expected_actions
    assert returns.tolist() == expected_returns


def test_powers_of_two_give_one_trajectory_and_mixed_rewards_do_not():
    arms = [mulex.learn(arm, 0, steps=10_000)[1].tobytes() for arm in mulex.MULEX_POWERS.values()]
    assert len(set(arms)) == 1
    mixed = [mulex.learn(mulex.Arm("x", c, mixed=True, schedule="exploiter"), 0, steps=10_000) for c in mulex.POWERS]
    assert len({actions.tobytes() for _, actions in mixed}) == len(mulex.POWERS)


def test_seeds_differ_and_repeat():
    first, again, other = (mulex.learn(mulex.MULEX[0.1], seed, steps=1000)[1] for seed in (0, 0, 1))
    assert first.tolist() == again.tolist() != other.tolist()


def results_of(seeds=5, *, quick=False):
    """Made-up results: MULEX solves at 20,000 steps and nothing else does."""
    out = []
    for seed in range(seeds):
        arms = {}
        for number, arm in enumerate(mulex.QUICK_ARMS if quick else mulex.ARMS):
            good = arm in (*mulex.MULEX.values(), *mulex.MULEX_POWERS.values())
            first = 20_000 if good else None
            arms[arm.label] = {
                "first_solve": first,
                "final_return": 1.0 if first else 0.05,
                "returns": [],
                "trajectory": f"mulex{seed}" if good else f"{number}of{seed}",
            }
        out.append({"arms": arms})
    return out


def failed(results, *, quick=False):
    return [check.name for check in mulex.checks(results, quick=quick) if not check.passed]


@pytest.mark.parametrize("quick", [False, True])
def test_all_checks_pass_when_mulex_alone_solves_it_by_one_trajectory(quick):
    results = results_of(quick=quick)
    assert failed(results, quick=quick) == []
    controls = [check.name for check in mulex.checks(results, quick=quick) if check.must_fail]
    assert len(controls) == 3
    assert controls[:2] == [mulex.EXPLOITER_ACTS.label, mulex.UNSHARED.label]


@pytest.mark.parametrize("seeds", [1, 5, 10])
def test_mulex_must_solve_four_of_five_seeds_at_every_scale(seeds):
    for arm in mulex.MULEX.values():
        results = results_of(seeds)
        for result in results[: seeds // 5]:
            result["arms"][arm.label]["first_solve"] = None
        assert failed(results) == []
        results[-1]["arms"][arm.label]["first_solve"] = None
        assert failed(results) == [f"{arm.label}: solved"]


@pytest.mark.parametrize("arm", [mulex.MIXED[0.001], mulex.MIXED[10.0], mulex.EXPLOITER_ACTS, mulex.UNSHARED])
def test_an_arm_that_must_fail_may_solve_one_seed_of_five(arm):
    results = results_of()
    results[0]["arms"][arm.label]["first_solve"] = 50_000
    assert failed(results) == []
    results[1]["arms"][arm.label]["first_solve"] = 50_000
    (name,) = failed(results)
    assert name.startswith(arm.label)


def test_one_other_trajectory_among_the_powers_of_two_fails():
    results = results_of()
    results[3]["arms"][mulex.MULEX_POWERS[8.0].label]["trajectory"] = "astray"
    (name,) = failed(results)
    assert "the same trajectory" in name


def test_mixed_rewards_that_do_not_depend_on_the_scale_fail_the_control():
    results = results_of()
    for c in mulex.SCALES:
        results[0]["arms"][mulex.MIXED[c].label]["trajectory"] = "same"
    (check,) = [check for check in mulex.checks(results) if not check.passed]
    assert check.must_fail


def test_the_table_shows_every_seed_of_every_arm():
    results = results_of(2)
    results[1]["arms"][mulex.MULEX[0.1].label]["first_solve"] = None
    lines = mulex.table(results).splitlines()
    assert len(lines) == 2 + len(mulex.ARMS)
    assert "| MULEX, c = 0.1 | 20, never | 1, 1 | mule mule |" in lines


def test_one_seed_runs_all_arms_and_is_drawn():
    figure = pytest.importorskip("matplotlib.figure").Figure()
    result = mulex.run(0, quick=True)
    assert list(result["arms"]) == [arm.label for arm in mulex.QUICK_ARMS]
    for arm in result["arms"].values():
        assert len(arm["returns"]) == mulex.STEPS // mulex.EVALUATE_EVERY
        assert set(arm["returns"]) <= {0.0, 0.05, 1.0}
        first = arm["first_solve"]
        assert first is None or arm["returns"].index(1.0) == first // mulex.EVALUATE_EVERY - 1
    axes = figure.add_subplot()
    mulex.plot([result], axes)
    assert [label.get_text() for label in axes.get_yticklabels()] == list(result["arms"])
