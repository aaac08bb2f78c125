"""A teacher beside the agent: what it says, when, to whom, and what PPO makes of it."""

import dataclasses
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from toy_envs import Corridor, ObservationAction

import touchline
from touchline import checkpoint, scenarios, training
from touchline.agents import ppo, scripted
from touchline.envs.actions import ACTION_SETS
from touchline.opponents import OpponentEnv, OpponentPool
from touchline.rollout import Buffer, collect, env_spec
from touchline.teacher import TaughtEnv
from touchline.train_config import TrainConfig, make_envs

SET = ACTION_SETS["default"]
SHORT = replace(scenarios.load("5_vs_5"), name="short", game_duration=30)
CONFIG = ppo.Config(
    unroll_length=16, num_epochs=4, minibatch_size=64, learning_rate=5e-3, entropy_coef=0.0, policy_hidden=(16,)
)


def football(left, *, right=0, num_envs=3, **options):
    options = {"control": "fixed", "observation": "egocentric", "num_threads": 1} | options
    return touchline.make_vec(SHORT, num_envs, left=left, right=right, **options)


class Contrary:
    """Beside a toy world: always says the action that does not pay."""

    def __init__(self, envs):
        self.envs = envs

    def __getattr__(self, name):
        return getattr(self.envs, name)

    def step(self, actions):
        taught = (self.envs.sign < 0).astype(int)
        *rest, info = self.envs.step(actions)
        return *rest, info | {"taught": taught}


def learn(config, updates, *, envs=None, progress=0.0, change=lambda rollout: rollout):
    envs = envs or Contrary(ObservationAction())
    agent = ppo.make(env_spec(envs), config, seed=0)
    buffer, generator = Buffer(env_spec(envs), envs.num_envs, config.unroll_length), torch.Generator().manual_seed(0)
    obs, _ = envs.reset(seed=0)
    for _ in range(updates):
        rollout, obs = collect(envs, agent, obs, buffer, generator)
        metrics = agent.learn(change(rollout), generator=generator, progress=progress)
    return agent, metrics


def best(agent):
    return agent.act_greedy(torch.tensor([[1.0, 1.0, 0.0], [-1.0, 1.0, 0.0]])).tolist()


# ---- what PPO makes of it


def test_a_heavy_teacher_outweighs_the_reward_and_one_whose_time_is_over_is_not_heard():
    heavy = dataclasses.replace(CONFIG, teacher_coef=20.0)
    agent, metrics = learn(heavy, 20)
    assert best(agent) == [0, 1] and metrics["train/teacher_agreement"] > 0.95
    assert metrics["train/teacher_coef"] == 20.0
    agent, metrics = learn(heavy, 20, progress=0.5)
    assert best(agent) == [1, 0] and metrics["train/teacher_coef"] == 0.0


def test_the_weight_falls_linearly_over_its_part_of_the_training():
    config = dataclasses.replace(CONFIG, teacher_coef=2.0, teacher_until=0.4)
    weights = [learn(config, 1, progress=p)[1]["train/teacher_coef"] for p in (0.0, 0.1, 0.2, 0.4, 1.0)]
    assert weights == pytest.approx([2.0, 1.5, 1.0, 0.0, 0.0])


def test_the_weaned_stay_weaned_where_a_training_is_made_longer():
    config = dataclasses.replace(CONFIG, teacher_until=0.5)
    agent, _ = learn(config, 1, progress=0.4)
    longer = ppo.make(agent.spec, config, seed=1)
    longer.load_state_dict(agent.state_dict())
    envs, generator = Contrary(ObservationAction()), torch.Generator().manual_seed(0)
    buffer, weights = Buffer(env_spec(envs), envs.num_envs, config.unroll_length), []
    obs, _ = envs.reset(seed=0)
    for progress in (0.1, 0.2, 0.45, 0.6):
        rollout, obs = collect(envs, longer, obs, buffer, generator)
        weights.append(longer.learn(rollout, generator=generator, progress=progress)["train/teacher_coef"])
    assert weights == pytest.approx([0.2, 0.2, 0.1, 0.0])


def test_a_teacher_of_no_weight_changes_no_weight():
    silent, _ = learn(dataclasses.replace(CONFIG, teacher_coef=0.0), 2)
    alone, _ = learn(CONFIG, 2, envs=ObservationAction())
    both = zip(silent.net.parameters(), alone.net.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in both)


def test_advice_on_masked_transitions_is_not_heard():
    def poisoned(action):
        def change(rollout):
            taught = torch.zeros_like(rollout.action)
            taught[~rollout.mask] = action
            assert (~rollout.mask).any()
            return rollout._replace(taught=taught)

        return change

    agents = [learn(CONFIG, 1, envs=Corridor(lost_at={5: 2}), change=poisoned(action))[0] for action in (0, 1)]
    both = zip(agents[0].net.parameters(), agents[1].net.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in both)


@pytest.mark.parametrize("fields", [{"teacher_coef": -1.0}, {"teacher_until": 0.0}, {"teacher_until": 1.5}])
def test_bad_weights_are_refused(fields):
    with pytest.raises(ValueError, match="teacher_coef >= 0"):
        ppo.Config(**fields)


# ---- the env


def spelt_out(actions, envs):
    """The direction that is held, where a script says nothing."""
    keys = envs.simulator.state.get("left_sticky")[:, : actions.shape[1], :8]
    return np.where((actions == 0) & (keys.sum(-1) == 1), keys.argmax(-1) + 1, actions)


@pytest.mark.engine
@pytest.mark.parametrize("left", [1, 2])
def test_the_teacher_answers_the_state_that_the_agent_acts_in(left):
    ours, plain = TaughtEnv(football(left), "long_ball"), football(left)
    script = scripted.make_scripted("long_ball", left)
    ours.reset(seed=3), plain.reset(seed=3)
    script.begin(np.ones(3, bool), plain.simulator.seeds)
    rng, ended, seen = np.random.default_rng(0), 0, set()
    for _ in range(70):
        expected = spelt_out(script.act(plain.simulator.state, "left"), plain)
        actions = rng.integers(0, 19, (3, left) if left > 1 else 3)
        script.played(actions.reshape(3, left))
        obs, *_, info = ours.step(actions)
        others, _, terminated, truncated, _ = plain.step(actions)
        assert np.array_equal(obs, others)
        assert info["taught"].shape == actions.shape
        assert np.array_equal(info["taught"].reshape(3, left), expected)
        seen |= set(expected.flatten())
        done = terminated | truncated
        ended += done.sum()
        if done.any():
            script.begin(done, plain.simulator.seeds)
    assert ended >= 6 and len(seen) > 3
    ours.close(), plain.close()


@pytest.mark.engine
def test_a_run_teaches_in_its_own_observation_beside_opponents(tmp_path):
    small = {"unroll_length": 8, "policy_hidden": (8,), "value_hidden": (8,)}
    options = {"num_envs": 2, "num_threads": 1, "reset_pool": 2, "agent_config": small}
    teacher = tmp_path / "teacher"
    training.train(
        TrainConfig(scenario="5_vs_5", observation="simple115v2", total_steps=16, out=str(teacher), **options)
    )
    config = TrainConfig(
        scenario="5_vs_5", left=2, control="fixed", opponent=("idle",), teacher=str(teacher), total_steps=64, **options
    )
    envs = make_envs(config.resolved())
    assert isinstance(envs.env, OpponentEnv)
    policy = checkpoint.load_policy(teacher)
    envs.reset(seed=0)
    view = envs._view.observations.copy()
    *_, info = envs.step(np.zeros((2, 2), int))
    assert view.shape == (2, 2, 115) and info["taught"].shape == (2, 2)
    assert np.array_equal(info["taught"], policy.act(view))
    envs.close()


@pytest.mark.engine
def test_a_taught_training_goes_on_bitwise(tmp_path):
    def config(name, updates):
        return TrainConfig(
            scenario="5_vs_5",
            preset="ippo_cpu",
            left=2,
            control="fixed",
            teacher="long_ball",
            num_envs=2,
            num_threads=1,
            reset_pool=2,
            total_steps=updates * 32,
            out=str(tmp_path / name),
            agent_config={"unroll_length": 16, "num_epochs": 1, "anneal_learning_rate": False, "teacher_until": 1.0},
        )

    training.train(config("whole", 4))
    paused = config("parts", 4)
    training.train(replace(paused, total_steps=4 * 32), companions=[_StopAfter(2)])
    training.resume(tmp_path / "parts", companions=[_StopAfter(9)])
    whole, parts = (checkpoint.load(tmp_path / name / "checkpoint.pt") for name in ("whole", "parts"))
    assert all(torch.equal(w, parts["agent"]["net"][name]) for name, w in whole["agent"]["net"].items())
    assert whole["teachers"][0] == parts["teachers"][0] and "striker" in whole["teachers"][0]["memory"]


class _StopAfter:
    """A companion that pauses the training after some updates."""

    def __init__(self, updates):
        self.updates = updates

    def __call__(self, run, update):
        self.updates -= 1
        if not self.updates:
            raise training.Paused
        return False

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


@pytest.mark.engine
@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"teacher": "builtin_ai"}, "does not tell which actions"),
        ({"teacher": "chaser", "agent": "impala"}, "impala does not learn from a teacher"),
        ({"teacher": "chaser", "agent": "sb3:PPO"}, "only our PPO learns from a teacher"),
    ],
)
def test_who_cannot_teach_or_be_taught_is_refused(fields, complaint, tmp_path):
    if fields.get("agent", "").startswith("sb3"):
        pytest.importorskip("stable_baselines3")
        from touchline.sb3_training import train
    else:
        from touchline.training import train
    with pytest.raises(ValueError, match=complaint):
        train(TrainConfig(total_steps=8, num_envs=2, out=str(tmp_path / "run"), **fields))


@pytest.mark.engine
def test_a_teacher_leaves_the_right_side_to_opponents():
    both = football(2, right=2)
    with pytest.raises(ValueError, match="give the right side's players an opponent"):
        TaughtEnv(both, "chaser")
    both.close()


@pytest.mark.engine
def test_the_env_below_is_seen_through():
    inner = OpponentEnv(football(2, right=2), OpponentPool(["idle"]))
    taught = TaughtEnv(inner, "chaser")
    assert taught.num_left == 2 and taught.pool is inner.pool and env_spec(taught) == env_spec(inner)
    taught.close()


@pytest.mark.engine
def test_a_teacher_waits_for_the_kicks_of_the_pupil_and_for_no_others():
    def advice(press_after):
        """What a chaser says of one who runs at an empty goal and shoots from some step in range on, or never."""
        envs = TaughtEnv(touchline.make_vec("academy_empty_goal_close", 1, num_threads=1), "chaser")
        envs.reset(seed=0)
        said, in_range = [], 0
        for _ in range(14):
            action = "shot" if in_range and in_range == press_after else "right"
            taught = int(envs.step(np.array([SET.index(action)], np.int32))[-1]["taught"][0])
            if in_range or SET[taught] == "shot":
                in_range += 1
                said.append(SET[taught])
        envs.close()
        return said

    never, second = advice(None), advice(1)
    assert len(never) > 6 and set(never) == {"shot"}  # he has still not shot
    assert second[:3] == ["shot", "shot", "right"] and "shot" not in second[2:8]
