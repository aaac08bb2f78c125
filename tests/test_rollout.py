"""Rollouts: what is recorded, what the true next state is, and what crashed workers leave."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

sys.path.insert(0, str(Path(__file__).parent))
from toy_envs import SPEC, Corridor, Discounted, Endless

from touchline.rollout import Buffer, collect, collect_alternating, env_spec, side_by_side
from touchline.types import EnvSpec


class Coin:
    """Acts at random and remembers what it saw."""

    def __init__(self):
        self.seen = []

    def act(self, obs, generator):
        self.seen.append(obs.clone())
        action = torch.randint(2, (len(obs),), generator=generator)
        return action, torch.full((len(obs),), -0.6931)


def roll(envs, unroll_length=10, policy=None, seed=0):
    spec = env_spec(envs)
    buffer = Buffer(spec, envs.num_envs, unroll_length)
    obs, _ = envs.reset(seed=seed)
    generator = torch.Generator().manual_seed(seed)
    return collect(envs, policy or Coin(), obs, buffer, generator)


def test_the_spec_of_an_env_is_one_players():
    assert env_spec(Corridor(4)) == SPEC
    assert env_spec(Corridor(4, num_players=3)) == EnvSpec((3,), "float32", 2, 3)


def test_a_rollout_is_time_major_with_one_more_observation():
    rollout, obs = roll(Corridor(4), 10)
    assert rollout.obs.shape == (11, 4, 3)
    for tensor in (rollout.action, rollout.reward, rollout.terminated, rollout.truncated, rollout.mask):
        assert tensor.shape == (10, 4)
    assert rollout.mask.all()
    assert_close(rollout.obs[-1], torch.from_numpy(obs))


def test_the_policy_saw_what_the_rollout_holds():
    coin = Coin()
    rollout, _ = roll(Corridor(4), 10, coin)
    assert torch.equal(torch.stack(coin.seen), rollout.obs[:-1])


def test_the_next_observation_at_an_end_is_the_final_one_and_not_the_reset():
    rollout, _ = roll(Discounted(3), 6)
    next_obs, ended = rollout.next_obs(), rollout.terminated
    assert ended.sum() == 9
    assert (next_obs[ended][:, 2] == torch.tensor(0.2)).all()  # time 2
    assert (rollout.obs[1:][ended][:, 2] == 0).all()  # already the next episode
    assert torch.equal(next_obs[~ended], rollout.obs[1:][~ended])


def test_next_values_are_those_of_the_next_observations():
    rollout, _ = roll(Endless(5), 13)
    values, next_values = rollout.values(lambda obs: obs @ torch.tensor([1.0, 10.0, 100.0]))
    by_hand = rollout.next_obs() @ torch.tensor([1.0, 10.0, 100.0])
    assert values.shape == (14, 5)
    assert_close(next_values, by_hand)
    assert not torch.equal(next_values, values[1:])


def test_values_in_chunks_equal_values_at_once(monkeypatch):
    rollout, _ = roll(Endless(5), 13)
    whole = rollout.values(lambda obs: obs[:, :2])
    monkeypatch.setattr("touchline.rollout._CHUNK", 3 * 7)
    for at_once, chunked in zip(whole, rollout.values(lambda obs: obs[:, :2]), strict=True):
        assert torch.equal(at_once, chunked)


def test_a_second_rollout_goes_on_where_the_first_ended():
    envs = Corridor(4)
    coin, generator = Coin(), torch.Generator().manual_seed(0)
    buffer = Buffer(SPEC, 4, 5)
    obs, _ = envs.reset(seed=0)
    parts = []
    for _ in range(2):
        rollout, obs = collect(envs, coin, obs, buffer, generator)
        parts.append(rollout.reward.clone())
    whole, _ = roll(Corridor(4), 10)
    assert torch.equal(torch.cat(parts), whole.reward)


def test_players_fold_into_neighbouring_columns():
    rollout, _ = roll(Corridor(4, num_players=3), 10)
    assert rollout.num_players == 3
    assert rollout.obs.shape == (11, 12, 3)
    unfolded = rollout.obs.unflatten(1, (4, 3))
    scale = torch.tensor([1.0, 2.0, 3.0])[:, None]
    assert_close(unfolded, unfolded[:, :, :1] * scale)
    rewards = rollout.reward.unflatten(1, (4, 3))
    assert_close(rewards, rewards[..., :1] * scale[:, 0])
    ends = rollout.truncated.unflatten(1, (4, 3))
    assert ends.any()
    assert torch.equal(ends, ends[..., :1].expand_as(ends))
    finals = rollout.final_obs.unflatten(0, (-1, 3))
    assert_close(finals, finals[:, :1] * scale)


def test_statistics_of_ended_episodes_are_kept():
    rollout, _ = roll(Endless(3), 9)
    assert rollout.episodes["l"].tolist() == [4] * 6
    assert rollout.episodes["r"].tolist() == [0.0] * 6
    assert roll(Endless(3), 2)[0].episodes == {}


def test_a_lost_match_is_masked_and_the_step_before_it_bootstraps_from_its_last_observation():
    envs = Corridor(3, lost_at={5: 1})
    rollout, _ = roll(envs, 8)
    expected = torch.ones(8, 3, dtype=torch.bool)
    expected[5, 1] = False
    assert torch.equal(rollout.mask, expected)
    assert rollout.truncated[5, 1] and rollout.truncated[4, 1]
    assert not rollout.terminated.any()
    assert rollout.reward.abs().max() <= 1
    assert torch.equal(rollout.next_obs()[5, 1], rollout.obs[5, 1])
    assert torch.equal(rollout.next_obs()[4, 1], rollout.obs[5, 1])
    assert rollout.next_obs().isfinite().all()
    assert len(rollout.episodes["l"]) == 2


def test_a_match_lost_in_the_first_step_cuts_nothing_else():
    rollout, _ = roll(Corridor(3, lost_at={0: 1}), 4)
    assert rollout.truncated.sum() == 1
    assert rollout.mask.sum() == 11


def test_without_ends_only_lost_matches_cut():
    rollout, _ = roll(Corridor(3, lost_at={5: 1}), 10)
    seen = rollout.without_ends()
    assert not seen.terminated.any()
    assert seen.truncated.nonzero().tolist() == [[4, 1], [5, 1]]


def test_observations_of_other_envs_are_refused():
    envs = Corridor(4)
    with pytest.raises(ValueError, match="expected obs of 4 envs"):
        collect(envs, Coin(), np.zeros((5, 3)), Buffer(SPEC, 4, 3), torch.Generator())


def test_an_env_that_hides_the_final_observation_is_refused():
    class Hiding(Discounted):
        def step(self, actions):
            *rest, info = super().step(actions)
            info.pop("final_obs", None)
            return *rest, info

    with pytest.raises(ValueError, match="SAME_STEP"):
        roll(Hiding(2), 4)


def test_halves_in_turns_see_what_each_would_have_seen_alone():
    """The policy's draws interleave: half 0 and half 1 act by turns, so a policy without chance shows it."""

    class Fixed:
        def act(self, obs, generator):
            return (obs[:, 0] > 0).long(), torch.zeros(len(obs))

    def fresh(seed):
        envs = Corridor(num_envs=3)
        return envs, envs.reset(seed=seed)[0].copy(), Buffer(SPEC, 3, 9)

    generator = torch.Generator()
    alone = []
    for seed in (1, 2):
        envs, obs, buffer = fresh(seed)
        alone.append(collect(envs, Fixed(), obs, buffer, generator)[0])
    envs, obs, buffers = zip(*(fresh(seed) for seed in (1, 2)), strict=True)
    together, last = collect_alternating(envs, Fixed(), obs, buffers, generator)
    whole = side_by_side(alone)
    for name in ("obs", "action", "reward", "terminated", "truncated", "mask"):
        assert torch.equal(getattr(together, name), getattr(whole, name)), name
    assert torch.equal(together.next_obs(), whole.next_obs())
    assert [len(x) for x in last] == [3, 3]


def test_an_env_that_fails_while_the_other_half_acts_is_heard():
    class Broken(Corridor):
        def step(self, actions):
            raise RuntimeError("the pitch is flooded")

    class Fixed:
        def act(self, obs, generator):
            return torch.zeros(len(obs), dtype=torch.int64), torch.zeros(len(obs))

    envs = [Corridor(num_envs=2), Broken(num_envs=2)]
    obs = [one.reset(seed=0)[0] for one in envs]
    with pytest.raises(RuntimeError, match="the pitch is flooded"):
        collect_alternating(envs, Fixed(), obs, [Buffer(SPEC, 2, 4) for _ in envs], torch.Generator())


class OneSentOff(Endless):
    """Player 1 of world 0 is sent off in the third step."""

    def step(self, actions):
        obs, reward, terminated, truncated, info = super().step(actions)
        off = np.zeros((2, self.num_envs, self.num_players), bool)
        off[0, 0, 1], off[1, 0, 1] = self.steps >= 3, self.steps > 3
        return obs, reward, terminated, truncated, info | {"sent_off": off[0], "were_off": off[1]}


def test_a_player_who_was_sent_off_is_masked_and_his_return_ends_with_the_card():
    rollout, _ = roll(OneSentOff(2, num_players=2), 6)
    expected = torch.ones(6, 4, dtype=torch.bool)
    expected[3:, 1] = False
    assert torch.equal(rollout.mask, expected)
    assert rollout.terminated.nonzero().tolist() == [[2, 1]]
