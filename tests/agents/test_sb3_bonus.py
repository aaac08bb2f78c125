"""Our exploration bonuses beside SB3's reward."""

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

sb3 = pytest.importorskip("stable_baselines3")
import touchline  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[1]))
from toy_envs import Corridor, Pictures  # noqa: E402

from touchline import exploration, plugins  # noqa: E402
from touchline.agents.sb3_bonus import BonusVecEnv  # noqa: E402
from touchline.agents.sb3_bridge import Sb3VecEnv  # noqa: E402
from touchline.rollout import Buffer, collect, env_spec  # noqa: E402
from touchline.types import Stream  # noqa: E402


class Noted:
    """Pays the number of steps so far, twice that at ends, and notes what it is given."""

    streams = (Stream("noted", 0.99, coef=0.5),)

    def __init__(self):
        self.learned, self.after = [], []

    def initial_carry(self, num_columns):
        return torch.zeros(num_columns)

    def reward(self, rollout, carry):
        assert rollout.action.shape[0] == 1
        carry = carry + 1
        self.after.append(rollout.next_obs()[0].clone())
        ended = rollout.terminated | rollout.truncated
        return {"noted": carry[None] * (1 + ended)}, carry

    def update(self, rollout):
        self.learned.append(rollout.clone())
        return {"bonus/updates": float(len(self.learned))}


def always(action):
    """A policy of one action."""

    class Policy:
        def act(self, obs, generator):
            return torch.full((len(obs),), action), torch.zeros(len(obs))

    return Policy()


def test_the_bonus_times_its_coef_is_added_and_the_episodes_return_is_the_environments():
    bonus, plain = Noted(), Sb3VecEnv(Corridor(num_envs=2))
    envs = BonusVecEnv(Sb3VecEnv(Corridor(num_envs=2)), bonus, unroll_length=4)
    plain.reset(), envs.reset()
    actions, ended = np.ones(2, int), 0
    for t in range(1, 11):
        _, theirs, _, their_infos = plain.step(actions)
        _, rewards, dones, infos = envs.step(actions)
        np.testing.assert_allclose(rewards, theirs + 0.5 * t * (1 + dones))
        assert infos[1]["bonus"] == {"noted": t * (1 + dones[1])}
        for i in np.flatnonzero(dones):
            assert infos[i]["episode"] == their_infos[i]["episode"]
            ended += 1
    assert ended
    assert len(bonus.learned) == 2, "10 steps hold two whole unrolls of 4"
    assert envs.metrics["bonus/updates"] == 2
    assert envs.metrics["reward/noted"] == pytest.approx(np.mean(list(_paid(bonus, 4, 8))))


def _paid(bonus, first, last):
    for t in range(first, last):
        ended = (bonus.learned[t // 4].terminated | bonus.learned[t // 4].truncated)[t % 4]
        yield from ((t + 1) * (1 + ended)).tolist()


@pytest.mark.parametrize("make", [Corridor, Pictures])
def test_it_learns_from_the_rollout_that_collect_would_have_made(make):
    bonus, T, B = Noted(), 6, 3
    envs = BonusVecEnv(Sb3VecEnv(make(num_envs=B)), bonus, unroll_length=T)
    envs.reset()
    for _ in range(2 * T):
        envs.step(np.ones(B, int))
    ours = make(num_envs=B)
    buffer, generator = Buffer(env_spec(ours), B, T), torch.Generator()
    obs, _ = ours.reset(seed=0)
    for theirs in bonus.learned:
        rollout, obs = collect(ours, always(1), obs, buffer, generator)
        for name in ("action", "reward", "terminated", "truncated", "mask"):
            torch.testing.assert_close(getattr(theirs, name), getattr(rollout, name), msg=name)
        torch.testing.assert_close(theirs.obs, rollout.obs)
        torch.testing.assert_close(theirs.next_obs(), rollout.next_obs())
    assert torch.cat([rollout.final_index for rollout in bonus.learned]).numel()
    after = torch.stack(bonus.after)[:T]
    torch.testing.assert_close(after, bonus.learned[0].next_obs())


@pytest.mark.engine
@pytest.mark.parametrize("name", exploration.names_of("bonus"))
def test_every_bonus_pays_and_learns(name):
    worlds = touchline.make_vec("academy_empty_goal_close", 4, observation="egocentric", reset_pool=2, num_threads=1)
    spec = env_spec(worlds)
    module = plugins.load("curiosity", name)
    bonus = module.make(spec, module.Config(), seed=0)
    envs = BonusVecEnv(Sb3VecEnv(worlds), bonus, unroll_length=16)
    model = sb3.PPO("MlpPolicy", envs, n_steps=16, batch_size=32, n_epochs=1, seed=0)
    model.learn(128)
    assert np.isfinite(model.rollout_buffer.rewards).all()
    assert f"reward/{bonus.streams[0].name}" in envs.metrics


def test_a_bonus_that_learns_from_random_play_alone_and_has_not_is_told_of():
    module = plugins.load("curiosity", "episodic_curiosity")
    envs = Corridor(num_envs=4)
    spec = env_spec(envs)
    bonus = module.make(spec, module.Config(train="offline", random_steps=512, k=1, gamma_neg=1))
    with pytest.warns(UserWarning, match=r"will pay 0.*call bonus\.pretrain"):
        BonusVecEnv(Sb3VecEnv(envs), bonus)
    bonus.pretrain(exploration.random_play(envs, spec, 512, seed=0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BonusVecEnv(Sb3VecEnv(envs), bonus)


def test_a_bonus_is_told_once_how_many_columns_there_are():
    module = plugins.load("curiosity", "episodic_curiosity")
    envs = Corridor(num_envs=4)
    bonus = module.make(env_spec(envs), module.Config(train_every=32, k=1, gamma_neg=1))
    wrapped = BonusVecEnv(Sb3VecEnv(envs), bonus, unroll_length=16)
    wrapped.reset(), wrapped.reset()
    for t in range(1, 65):
        wrapped.step(np.ones(4, int))
        assert bonus.steps == t // 16 * 16, "environment steps per env"


def test_two_bonuses_stand_on_each_other():
    first, second = Noted(), Noted()
    second.streams = (Stream("other", 0.99, coef=2.0),)
    second.reward = lambda rollout, carry: ({"other": torch.ones_like(rollout.reward)}, carry)
    plain = Sb3VecEnv(Corridor(num_envs=1))
    envs = BonusVecEnv(BonusVecEnv(Sb3VecEnv(Corridor(num_envs=1)), first), second)
    plain.reset(), envs.reset()
    _, theirs, _, _ = plain.step(np.zeros(1, int))
    _, rewards, _, infos = envs.step(np.zeros(1, int))
    assert infos[0]["bonus"] == {"noted": 1.0, "other": 1.0}
    assert rewards[0] == pytest.approx(theirs[0] + 0.5 + 2.0)


def test_a_lost_match_is_cut_short_unpaid_and_not_learned_from():
    bonus = Noted()
    envs = BonusVecEnv(Sb3VecEnv(Corridor(num_envs=2, lost_at={1: 0})), bonus, unroll_length=3)
    before = envs.reset()
    for step in range(3):
        seen, rewards, dones, infos = envs.step(np.ones(2, int))
        if step == 1:
            assert infos[0]["lost"]
            assert infos[0]["TimeLimit.truncated"]
            assert "episode" not in infos[0]
            assert dones.tolist() == [True, False]
            assert rewards[0] == pytest.approx(0.5 * 2 * 2), "the bonus alone, not what a crash left behind"
            np.testing.assert_array_equal(infos[0]["terminal_observation"], before[0])
        before = seen
    assert bonus.learned[0].mask.tolist() == [[True, True], [False, True], [True, True]]
    assert torch.isfinite(bonus.learned[0].next_obs()).all()


def test_an_unroll_of_no_steps_is_refused():
    with pytest.raises(ValueError, match="unroll_length of at least 1, got 0"):
        BonusVecEnv(Sb3VecEnv(Corridor(num_envs=1)), Noted(), unroll_length=0)
