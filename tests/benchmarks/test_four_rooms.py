"""Four rooms with a television, and the audit rows that are played in them."""

import numpy as np
import pytest
import torch

from touchline.benchmarks.audits import episodic, episodic_agent
from touchline.benchmarks.four_rooms import SIZE, TV_SIZE, WATCH, FourRooms, path, rooms

SCREEN = slice(2 * SIZE, 2 * SIZE + TV_SIZE)


def place(obs):
    return obs[:, :SIZE].argmax(1), obs[:, SIZE : 2 * SIZE].argmax(1)


def test_walls_stop_and_doors_lead_through():
    envs = FourRooms(1, start=(5, 3))
    envs.reset(seed=0)
    for action, expected in ((0, (6, 3)), (2, (6, 3)), (0, (7, 3)), (1, (6, 3)), (1, (5, 3)), (2, (5, 4)), (0, (5, 4))):
        obs, *_ = envs.step([action])
        assert place(obs) == expected, action


def test_every_free_cell_can_be_reached_from_every_other():
    assert rooms().sum() == 13 * 13 - 25 + 4
    cells = [tuple(map(int, cell)) for cell in np.argwhere(rooms())]
    assert all(path((cells[0], cell)) for cell in cells[1:])


@pytest.mark.parametrize("tv", ["transient", "always", "persistent"])
def test_what_is_on_television(tv):
    envs = FourRooms(1, tv=tv)
    obs, _ = envs.reset(seed=0)
    frames = [obs[0, SCREEN].copy()]
    for action in (0, WATCH, 0, 0, WATCH):
        frames.append(envs.step([action])[0][0, SCREEN].copy())
    same = [np.array_equal(a, b) for a, b in zip(frames, frames[1:], strict=False)]
    off = [not frame.any() for frame in frames]
    expected = {
        "transient": ([True, False, False, True, False], [True, True, False, True, True, False]),
        "always": ([False] * 5, [False] * 6),
        "persistent": ([True, False, True, True, False], [False] * 6),
    }
    assert (same, off) == expected[tv]


def test_an_episode_counts_the_cells_it_saw_and_ends_with_its_own_observation():
    envs = FourRooms(2, length=4, start=(0, 0))
    envs.reset(seed=0)
    for action in (0, 0, 1):
        info = envs.step([action, WATCH])[4]
        assert not info
    obs, reward, terminated, truncated, info = envs.step([2, WATCH])
    assert truncated.all() and not terminated.any() and not reward.any()
    assert info["episode"]["cells"].tolist() == [4, 1]
    assert [x.tolist() for x in place(info["final_obs"])] == [[1, 0], [1, 0]]
    assert [x.tolist() for x in place(obs)] == [[0, 0], [0, 0]]


def test_the_scripted_walks_do_what_they_are_called():
    walks = list(episodic.WALKS.values())
    rollout = episodic.play(episodic.Scripted(walks), len(walks), episodic.LENGTH, seed=0, tv="transient", start=(1, 1))
    cells = dict(zip(episodic.WALKS, rollout.episodes["cells"].tolist(), strict=True))
    assert cells["still"] == 2 and cells["tv"] == 1 and cells["shuttle"] == 2
    assert 10 < cells["patrol"] < 30 and cells["explore"] > 80


def test_a_row_without_the_bonus_s_effect_does_not_pass():
    arms = dict.fromkeys(episodic_agent.ARMS, 40.0)
    found = {check.name: check.passed for check in episodic_agent.checks([arms | {"oracle": 90.0}])}
    assert not found["EC sees 1.3 x what no bonus does"] and found["the oracle sees more than no bonus"]
    good = arms | {"oracle": 90.0, "EC": 60.0, "ICM": 20.0}
    assert all(check.passed for check in episodic_agent.checks([good]))
    broken = good | {"EC, memory of one (control)": 60.0}
    assert [check.name for check in episodic_agent.checks([broken]) if not check.passed] == [
        "EC, memory of one: sees 1.3 x what no bonus does"
    ]


def test_an_agent_s_cells_depend_on_the_seed_alone():
    torch.manual_seed(1)
    first = episodic_agent.cells_seen("oracle", 3, total_steps=4096)
    torch.manual_seed(2)
    assert episodic_agent.cells_seen("oracle", 3, total_steps=4096) == first
