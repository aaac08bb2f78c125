"""Trajectories: followed across rollouts, ended by what the episode really ended in."""

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
from toy_envs import Corridor
from worlds import played, rollout_of

from touchline.curiosity.parts.episodes import Episodes


def numbers(episode):
    return episode.obs[:, 0].tolist()


def test_an_episode_ends_with_its_own_last_observation_not_with_the_next_one_s_first():
    obs = np.array([[[0.0]], [[1.0]], [[10.0]], [[11.0]]])
    rollout = rollout_of(obs, [(1, 0)], finals={(1, 0): [2.0]}, reward=[[0.1], [0.2], [0.3]])
    episodes = Episodes()
    (episode,) = episodes.add(rollout)
    assert numbers(episode) == [0, 1, 2] and episode.terminated and episode.ended
    assert np.allclose(episode.reward, [0.1, 0.2])
    (running,) = episodes.open()
    assert numbers(running) == [10, 11] and not running.terminated


def test_a_column_goes_on_in_the_next_rollout_if_that_begins_with_the_observation_it_left_off_at(monkeypatch):
    monkeypatch.setattr("touchline.curiosity.parts.episodes.PATIENCE", 1)
    episodes = Episodes()
    first = rollout_of(np.array([[[0.0], [5.0]], [[1.0], [6.0]]]), [(0, 0)], finals={(0, 0): [0.5]})
    (ended,) = episodes.add(first)
    assert numbers(ended) == [0, 0.5]
    second = rollout_of(np.array([[[1.0], [7.0]], [[2.0], [8.0]]]), [(0, 0)], finals={(0, 0): [1.5]})
    cut, whole = sorted(episodes.add(second), key=lambda episode: episode.ended)
    assert numbers(cut) == [5, 6] and not cut.terminated  # 7 does not follow from 6
    assert numbers(whole) == [1, 1.5] and whole.ended and whole.terminated
    assert [numbers(x) for x in episodes.open()] == [[7, 8]]


def test_a_lost_step_cuts_and_what_led_to_it_is_kept():
    obs = np.arange(5.0)[:, None, None]
    rollout = rollout_of(obs, lost=[(2, 0)])
    rollout.truncated[1, 0] = True  # as `collect` says it
    episodes = Episodes()
    (before,) = episodes.add(rollout)
    assert numbers(before) == [0, 1, 2] and not before.terminated
    assert [numbers(x) for x in episodes.open()] == [[3, 4]]


def test_unrolls_of_actors_are_put_together_in_whatever_columns_they_come():
    episodes = Episodes()
    assert not episodes.add(rollout_of(np.array([[[0.0], [5.0]], [[1.0], [6.0]]])))  # the first actor's
    assert not episodes.add(rollout_of(np.array([[[20.0]], [[21.0]]])))  # another's
    ended = rollout_of(np.array([[[6.0], [1.0]], [[7.0], [2.0]]]), [(0, 0)], finals={(0, 0): [6.5]})
    (episode,) = episodes.add(ended)
    assert numbers(episode) == [5, 6, 6.5]
    assert sorted(map(numbers, episodes.open())) == [[0, 1, 2], [20, 21]]


def test_what_nothing_continues_is_given_up_after_a_while():
    episodes = Episodes()
    episodes.add(rollout_of(np.zeros((3, 2, 1))))
    given_up = [episode for i in range(1, 34) for episode in episodes.add(rollout_of(np.full((3, 1, 1), i)))]
    assert [numbers(episode)[0] for episode in given_up] == [0, 0, 1]
    assert not any(episode.ended for episode in given_up)


def test_whole_episodes_of_a_world_are_as_long_as_it_says_and_what_is_open_can_be_saved(tmp_path):
    rollouts, _ = played(Corridor(4), unroll_length=5, rollouts=6)
    episodes, seen = Episodes(), []
    for i, rollout in enumerate(rollouts):
        seen += episodes.add(rollout)
        if i == 3:
            torch.save(episodes.state_dict(), tmp_path / "x.pt")
            episodes = Episodes()
            episodes.load_state_dict(torch.load(tmp_path / "x.pt", weights_only=True))
    assert {len(x.action) for x in seen} == {7}  # 6 rollouts of 5 steps, episodes of 7
    assert len(seen) == 4 * (30 // 7)
    assert all((x.obs[:, 2] * 10).round().tolist() == list(range(8)) for x in seen)  # the clock in it


def test_only_what_is_asked_for_is_kept_and_it_does_not_change_with_the_rollout():
    rollout = rollout_of(np.zeros((3, 1, 2)))
    episodes = Episodes(lambda obs: obs[..., :1])
    episodes.add(rollout)
    rollout.obs.fill_(9.0)
    assert episodes.open()[0].obs.tolist() == [[0.0]] * 3
