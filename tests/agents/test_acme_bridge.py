"""dm_env's view of our environments, our agents as Acme's, and Acme's actors in our matches."""

import copy
import dataclasses
import sys
import threading
from pathlib import Path

import acme
import dm_env
import gymnasium as gym
import numpy as np
import pytest
import torch
from absl.testing import absltest
from acme.utils import counting, loggers
from dm_env import specs, test_utils

sys.path.insert(0, str(Path(__file__).parents[1]))
from toy_envs import SPEC, Corridor, Endless, ObservationAction

from touchline import scenarios
from touchline.agents import apex_dqn, impala, ppo
from touchline.agents.acme_bridge import AgentActor, AgentLearner, DmEnvironment, Seat, agent_spec, match_spec
from touchline.benchmarks.evaluate import evaluate
from touchline.benchmarks.isolation import load_guarded
from touchline.benchmarks.policies import load_policy
from touchline.benchmarks.tournament import Settings, run_tournament
from touchline.envs.football_env import FootballEnv
from touchline.envs.simulator import empty_state
from touchline.rollout import Buffer, collect
from touchline.types import Stream

SMALL = {"gamma": 0.5, "normalise_observations": False}
NETS = {"policy_hidden": (16,), "value_hidden": (16,)}
PPO = ppo.Config(unroll_length=64, minibatch_size=64, learning_rate=1e-2, entropy_coef=0.0, **NETS, **SMALL)


class Single(gym.Env):
    """The only world of a toy vector environment; its episodes are those that `collect` sees there."""

    def __init__(self, envs):
        self.envs, self.num_players, self._first = envs, envs.num_players, None
        self.observation_space, self.action_space = envs.single_observation_space, envs.single_action_space

    def reset(self, *, seed=None, options=None):
        if self._first is None or seed is not None:
            self._first, _ = self.envs.reset(seed=seed)
        elif self.envs.time[0]:  # an episode that was left
            self.envs._restart(0)
            self._first = self.envs._observe()
        return self._first[0].copy(), {}

    def step(self, action):
        obs, reward, terminated, truncated, info = self.envs.step(np.asarray(action)[None])
        self._first = obs.copy()
        seen = info["final_obs"] if terminated[0] or truncated[0] else obs
        return seen[0], reward[0], bool(terminated[0]), bool(truncated[0]), info


class Kept(loggers.Logger):
    """What was logged."""

    def __init__(self):
        self.rows = []

    def write(self, data):
        self.rows.append(dict(data))

    def close(self):
        pass


class Unrolls:
    """A learner that keeps what it is handed, and cannot learn."""

    ready = False

    def __init__(self, agent):
        self.agent, self.kept = agent, []

    def add(self, unroll):
        self.kept.append(unroll)


def loop(envs, actor, **options):
    environment = envs if isinstance(envs, dm_env.Environment) else DmEnvironment(Single(envs), seed=0)
    return acme.EnvironmentLoop(environment, actor, logger=options.pop("logger", Kept()), **options)


def weights(agent):
    return torch.cat([p.detach().flatten() for p in agent.net.parameters()])


def short(name, duration):
    return dataclasses.replace(scenarios.load(name), game_duration=duration)


# ---- the environment ---------------------------------------------------------------------------------------


class _Contract(test_utils.EnvironmentTestMixin):
    options: dict = {}

    def make_object_under_test(self):
        return DmEnvironment(FootballEnv(short("academy_3_vs_1_with_keeper", 3), **self.options), seed=5)

    def make_action_sequence(self):
        for _ in range(12):
            yield self.make_action()


@pytest.mark.engine
class TestOnePlayer(_Contract, absltest.TestCase):
    pass


@pytest.mark.engine
class TestTwoPlayersAndPictures(_Contract, absltest.TestCase):
    options = {"left": 2, "observation": "smm"}


@pytest.mark.engine
class TestTheRawDict(_Contract, absltest.TestCase):
    options = {"observation": "raw"}


@pytest.mark.engine
@pytest.mark.parametrize(
    ("name", "discount"), [("academy_3_vs_1_with_keeper", 1.0), ("11_vs_11_easy_stochastic", 0.0)], ids=str
)
def test_the_clock_truncates_a_drill_with_discount_1_and_ends_a_match_with_0(name, discount):
    ours, theirs = FootballEnv(short(name, 3)), DmEnvironment(FootballEnv(short(name, 3)), seed=5)
    observation, _ = ours.reset(seed=5)
    step = theirs.step(0)  # on a fresh environment: a reset
    kinds = []
    while not step.last():
        kinds.append(step.step_type)
        np.testing.assert_array_equal(step.observation, observation)
        observation, reward, *_ = ours.step(5)
        step = theirs.step(5)
        assert step.reward == reward
    np.testing.assert_array_equal(step.observation, observation)
    assert kinds == [dm_env.StepType.FIRST, *[dm_env.StepType.MID] * 3]
    assert step.discount == discount
    first = theirs.info["engine_seed"]
    assert theirs.step(0).first()
    assert theirs.info["engine_seed"] != first == 5, "the seed is the first episode's alone"
    ours.close()
    theirs.close()


def test_two_environments_with_a_seed_play_the_same_episodes():
    first, second = (DmEnvironment(Single(Corridor(1)), seed=3) for _ in range(2))
    a, b = ([env.step(1).observation.tolist() for _ in range(40)] for env in (first, second))
    assert a == b


def test_what_an_agent_must_know_is_read_from_the_specs():
    assert agent_spec(DmEnvironment(Single(Corridor(1)))) == SPEC
    assert agent_spec(DmEnvironment(Single(Corridor(1, num_players=2)))) == dataclasses.replace(SPEC, num_players=2)
    with pytest.raises(ValueError, match="one array"):
        environment = DmEnvironment(Single(Corridor(1)))
        environment._observation = {"ball": environment.observation_spec()}
        agent_spec(environment)
    for space in (gym.spaces.Box(0, 1, (2,), np.float32), gym.spaces.MultiDiscrete([3, 5])):
        env = Single(Corridor(1, num_players=2))
        env.action_space = space
        with pytest.raises(ValueError, match="discrete actions from 0"):
            agent_spec(DmEnvironment(env))


@pytest.mark.engine
def test_an_agent_is_told_of_frames_that_are_stacked():
    env = gym.make("touchline/academy_empty_goal_close-v0", observation="egocentric", stack=3)
    environment = DmEnvironment(env)
    found = agent_spec(environment)
    assert (found.stack, found.observation_shape[-1] % 3) == (3, 0)
    assert "ball" in found.features
    environment.close()


# ---- our agents --------------------------------------------------------------------------------------------


KINDS = {
    "ppo": (ppo, dataclasses.replace(PPO, unroll_length=8)),
    "ppo_lstm": (ppo, dataclasses.replace(PPO, unroll_length=8, lstm=8, shared_encoder=True)),
    "impala": (impala, impala.Config(unroll_length=8, batch_size=1, lstm=8, **NETS, **SMALL)),
    "apex_dqn": (apex_dqn, apex_dqn.Config(unroll_length=8, batch_size=8, learning_starts=16, hidden=(16,), **SMALL)),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("own", [True, False], ids=["the learner's own agent", "a copy"])
@pytest.mark.parametrize("world", [Corridor, ObservationAction])
def test_a_loop_of_acmes_trains_bit_for_bit_as_collect_does(world, name, own):
    """Unrolls that end with an episode (every one of `ObservationAction`'s) and within one (most of `Corridor`'s)."""
    module, config = KINDS[name]
    envs, theirs = world(1), module.make(SPEC, config, seed=0)
    buffer, drawn, shuffled = Buffer(SPEC, 1, 8), *(torch.Generator().manual_seed(seed) for seed in (1, 2))
    obs, _ = envs.reset(seed=0)
    expected = []
    for _ in range(6):
        rollout, obs = collect(envs, theirs, obs, buffer, drawn)
        expected.append(rollout.clone())
        theirs.learn(rollout, generator=shuffled)

    seen = []

    class Learner(AgentLearner):
        def add(self, unroll):
            seen.append(unroll)
            super().add(unroll)

    learner = Learner(module.make(SPEC, config, seed=0), seed=2)
    actor = AgentActor(learner.agent if own else module.make(SPEC, config, seed=9), learner, seed=1)
    loop(world(1), actor).run(num_steps=6 * 8 + 8)
    for one, other in zip(seen, expected, strict=False):
        for field in ("obs", "action", "reward", "terminated", "truncated", "behaviour_log_prob", "mask"):
            torch.testing.assert_close(getattr(one, field), getattr(other, field), rtol=0, atol=0, msg=field)
        torch.testing.assert_close(one.final_index, other.final_index, rtol=0, atol=0)
        torch.testing.assert_close(one.final_obs, other.final_obs, rtol=0, atol=0)
        assert (one.initial_state is None) == (other.initial_state is None)
        if one.initial_state is not None:
            torch.testing.assert_close(one.initial_state, other.initial_state, rtol=0, atol=0)
    assert len(seen) >= 6
    assert weights(module.make(SPEC, config, seed=0)).ne(weights(theirs)).any(), "nothing was learned"


def test_ppo_solves_a_toy_world_in_acmes_loop_with_its_counters_and_loggers():
    counter, played, learned = counting.Counter(), Kept(), Kept()
    learner = AgentLearner(
        ppo.make(SPEC, PPO), counter=counting.Counter(counter, "learner", time_delta=0.0), logger=learned
    )
    options = {"counter": counting.Counter(counter, "actor", time_delta=0.0), "logger": played}
    loop(ObservationAction(1), AgentActor(learner.agent, learner), **options).run(num_steps=1600)
    returns = [row["episode_return"] for row in played.rows]
    assert np.mean(returns[:100]) < 0.6
    assert np.mean(returns[-100:]) > 0.9
    counts = counter.get_counts()
    assert (counts["actor_steps"], counts["actor_episodes"], counts["learner_steps"]) == (1600, 1600, 24)
    assert len(learned.rows) == 24
    assert "train/approx_kl" in learned.rows[0]
    greedy = loop(ObservationAction(1), AgentActor(learner.agent, greedy=True), logger=(kept := Kept()))
    greedy.run(num_episodes=20)
    assert {float(row["episode_return"]) for row in kept.rows} == {1.0}

    shuffled = AgentLearner(ppo.make(SPEC, dataclasses.replace(PPO, shuffle_advantages=True)))
    loop(ObservationAction(1), AgentActor(shuffled.agent, shuffled), logger=(control := Kept())).run(num_steps=1600)
    assert np.mean([row["episode_return"] for row in control.rows[-100:]]) < 0.6, "the control learned too"


class Terminates(DmEnvironment):
    """Says that a clock's end was the world's: the control."""

    def step(self, action):
        step = super().step(action)
        return step._replace(discount=np.float32(0.0)) if step.last() else step


def test_truncation_bootstraps_and_termination_does_not():
    config = dataclasses.replace(PPO, gamma=0.8, learning_rate=5e-3, minibatch_size=24)
    values = []
    for view in (DmEnvironment, Terminates):
        learner = AgentLearner(ppo.make(SPEC, config))
        loop(view(Single(Endless(1)), seed=0), AgentActor(learner.agent, learner)).run(num_steps=64 * 80)
        with torch.no_grad():
            values.append(learner.agent.net.values(torch.tensor([[1.0, 0.0, 0.3]]))[0, 0].item())
    assert values[0] == pytest.approx(1 / (1 - 0.8), abs=0.5)
    assert values[1] == pytest.approx(1, abs=0.5)


def test_several_players_are_columns_of_an_unroll():
    spec = dataclasses.replace(SPEC, num_players=2)
    unrolls = Unrolls(ppo.make(spec, dataclasses.replace(PPO, unroll_length=9)))
    loop(Corridor(1, num_players=2), AgentActor(unrolls.agent, unrolls)).run(num_steps=20)
    rollout = unrolls.kept[0]
    assert (rollout.num_players, tuple(rollout.reward.shape)) == (2, (9, 2))
    torch.testing.assert_close(rollout.reward[:, 1], 2 * rollout.reward[:, 0])
    assert rollout.truncated.nonzero().tolist() == [[6, 0], [6, 1]]


def test_an_episode_that_was_left_costs_the_unroll_in_the_making():
    environment = DmEnvironment(Single(Corridor(1)), seed=0)
    unrolls = Unrolls(ppo.make(SPEC, dataclasses.replace(PPO, unroll_length=7)))
    actor = AgentActor(unrolls.agent, unrolls)
    for steps in (3, 7, 0):
        step = environment.reset()
        actor.observe_first(step)
        for _ in range(steps):
            action = actor.select_action(step.observation)
            step = environment.step(action)
            actor.observe(action, step)
    (unroll,) = unrolls.kept
    assert unroll.obs[:, 0, 2].tolist() == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0])
    assert unroll.final_obs[0, 2].item() == pytest.approx(0.7)
    assert unroll.truncated.nonzero().tolist() == [[6, 0]]


def test_the_orders_and_words_that_are_refused():
    agent = ppo.make(SPEC, PPO)
    learner = AgentLearner(agent, patience=0.01)
    environment, actor = DmEnvironment(Single(Corridor(1)), seed=0), AgentActor(agent, learner)
    with pytest.raises(ValueError, match="observe_first"):
        actor.select_action(np.zeros(3, np.float32))
    step = environment.reset()
    actor.observe_first(step)
    action = actor.select_action(step.observation)
    with pytest.raises(ValueError, match="the action that select_action gave"):
        actor.observe(1 - action, environment.step(action))
    with pytest.raises(ValueError, match="discount by gamma"):
        actor.observe(action, environment.step(action)._replace(discount=0.9))
    with pytest.raises(TimeoutError, match="does an AgentActor with this learner play"):
        learner.step()
    with pytest.raises(TimeoutError, match="the loop update its actor"):
        loop(Corridor(1), AgentActor(agent, learner), should_update=False).run(num_steps=64 * 4)
    with pytest.raises(ValueError, match="no critic in the variables; there is policy"):
        learner.get_variables(["policy", "critic"])
    with pytest.raises(ValueError, match="greedy"):
        AgentActor(agent, learner, greedy=True)
    with pytest.raises(ValueError, match="num_actors must be 0"):
        AgentActor(copy.deepcopy(agent), learner, steps_learner=False)
    with pytest.raises(ValueError, match="pays no bonus"):
        AgentLearner(ppo.make(SPEC, PPO, bonus_streams=[Stream("rnd", 0.99)]))
    with pytest.raises(ValueError, match="in a row"):
        AgentLearner(apex_dqn.make(SPEC, KINDS["apex_dqn"][1]), num_unrolls=2)


def test_who_only_plays_takes_the_newest_weights_for_every_episode():
    learner = AgentLearner(ppo.make(SPEC, PPO))
    train = loop(ObservationAction(1), AgentActor(learner.agent, learner))
    watcher = AgentActor(copy.deepcopy(learner.agent), variables=learner, greedy=True)
    plays = loop(ObservationAction(1), watcher)
    for _ in range(3):
        train.run(num_steps=65)
        plays.run(num_episodes=2)
        for mine, newest in zip(watcher.agent.net.parameters(), learner.agent.net.parameters(), strict=True):
            assert torch.equal(mine, newest)


def test_a_step_that_finds_too_few_unrolls_keeps_them():
    learner = AgentLearner(ppo.make(SPEC, PPO), num_unrolls=2, patience=0.01)
    kept = Unrolls(learner.agent)
    loop(Corridor(1), AgentActor(learner.agent, kept)).run(num_steps=64 * 3)
    learner.add(kept.kept[0])
    with pytest.raises(TimeoutError, match="expected 2 unrolls"):
        learner.step()
    learner.add(kept.kept[1])
    assert learner.ready
    learner.step()
    assert learner.env_steps == 128


def test_a_learner_that_was_saved_goes_on_exactly_and_a_save_does_not_change():
    def learner():
        return AgentLearner(ppo.make(SPEC, PPO), seed=4)

    unrolls = Unrolls(ppo.make(SPEC, PPO))
    loop(Corridor(1), AgentActor(unrolls.agent, unrolls)).run(num_steps=64 * 3 + 7)
    first, second = learner(), learner()
    for unroll in unrolls.kept[:2]:
        first.add(unroll)
    first.run(1)
    saved = first.save()
    first.run(1)
    second.restore(saved)
    assert weights(first.agent).ne(weights(second.agent)).any()
    second.add(unrolls.kept[1])
    second.run(1)
    assert weights(first.agent).equal(weights(second.agent))
    assert second.env_steps == 128


def test_a_learner_may_run_in_a_thread_of_its_own():
    config = impala.Config(unroll_length=8, batch_size=4, **NETS, **SMALL)
    learner = AgentLearner(impala.make(SPEC, config))
    actor = AgentActor(impala.make(SPEC, config, seed=7), learner, steps_learner=False)
    thread = threading.Thread(target=learner.run, args=(5,), daemon=True)
    thread.start()
    loop(Corridor(1), actor).run(num_steps=5 * 4 * 8 + 7)
    thread.join(60)
    assert not thread.is_alive()
    assert learner.env_steps == 5 * 4 * 8
    actor.update(wait=True)
    assert weights(actor.agent).equal(weights(learner.agent))


# ---- others' actors ----------------------------------------------------------------------------------------


USERS = """
import acme
import numpy as np
OBSERVATION = "egocentric"

class Counts(acme.core.Actor):
    def __init__(self, spec):
        self.spec, self.calls = spec, []
    def observe_first(self, timestep):
        assert not self.calls and timestep.first()
        self.spec.observations.validate(timestep.observation)
        self.calls.append("first")
    def select_action(self, observation):
        assert self.calls[-1] in ("first", "update")
        self.calls.append("select")
        return np.int32(5 if len(self.calls) > 2 else 0)
    def observe(self, action, next_timestep):
        assert self.calls[-1] == "select" and next_timestep.mid() and next_timestep.discount == 1
        self.spec.rewards.validate(next_timestep.reward)
        assert action == (5 if len(self.calls) > 2 else 0)
        self.calls.append("observe")
    def update(self, wait=False):
        assert self.calls[-1] == "observe"
        self.calls.append("update")

def make_actor(environment_spec):
    assert environment_spec.actions.num_values == 19
    return Counts(environment_spec)
"""
SAME = """
import numpy as np
OBSERVATION = "egocentric"
begun = np.zeros(0, bool)

def begin(mask, seeds):
    global begun
    begun = mask if len(begun) != len(mask) else begun | mask

def act(observations):
    global begun
    actions, begun = np.where(begun, 0, 5), np.zeros(len(observations), bool)
    return actions
"""


def written(path, text):
    path.write_text(text)
    return path


@pytest.mark.engine
@pytest.mark.parametrize("num_envs", [1, 3])
def test_an_actor_of_acmes_kind_is_evaluated_and_no_result_depends_on_the_number_of_matches(tmp_path, num_envs):
    options = {"scenario": "academy_empty_goal_close", "episodes": 4, "num_threads": 1}
    theirs = evaluate(written(tmp_path / "theirs.py", USERS), num_envs=num_envs, **options)
    same = evaluate(written(tmp_path / "same.py", SAME), num_envs=2, **options)
    assert theirs.observation == "egocentric"
    assert theirs.rows == same.rows
    assert theirs.metrics["score/success_rate"].value > 0


def test_in_a_process_of_its_own_it_plays_for_a_tournament(tmp_path):
    policy = load_guarded(written(tmp_path / "theirs.py", USERS))
    assert policy.observation == "egocentric"
    policy.begin(np.ones(2, bool), np.arange(2))
    observations, state = np.zeros((2, 189), np.float32), empty_state(2)
    assert policy.act(observations, state, "left").tolist() == [[0], [0]]
    policy.begin(np.array([True, False]), np.arange(2))
    assert policy.act(observations, state, "left").tolist() == [[0], [5]], "one actor a match"
    policy.close()


@pytest.mark.engine
def test_in_a_tournament_it_drives_all_players_of_either_side(tmp_path):
    text = USERS.replace("np.int32(5 if len(self.calls) > 2 else 0)", "np.full(4, 5 if len(self.calls) > 2 else 0)")
    text = text.replace("assert action ==", "assert (action ==").replace(
        "else 0)\n        self", "else 0)).all()\n        self"
    )
    text = text.replace("actions.num_values == 19", "actions.maximum.tolist() == 18")
    path = written(tmp_path / "team.py", text)
    result = run_tournament(
        ["random", path], short("5_vs_5", 12), Settings(games=1), out=tmp_path / "cup", num_threads=1
    )
    assert [game.forfeits for game in result.games] == [{}, {}]


class Notes(acme.core.Actor):
    def __init__(self, players=1):
        self.players, self.rewards = players, []

    def observe_first(self, timestep):
        self.rewards.append(None)

    def select_action(self, observation):
        return np.zeros(self.players, int) if self.players > 1 else 0

    def observe(self, action, next_timestep):
        self.rewards.append(next_timestep.reward.tolist())

    def update(self, wait=False):
        pass


@pytest.mark.parametrize(("side", "sign"), [("left", 1), ("right", -1)])
def test_its_reward_is_the_change_of_its_sides_goal_difference(tmp_path, side, sign):
    (tmp_path / "notes.py").write_text("def make_actor(environment_spec):\n    raise NotImplementedError\n")
    policy, actors = load_policy(tmp_path / "notes.py"), []
    policy._make = lambda spec: actors.append(Notes()) or actors[-1]
    state = empty_state(1)
    for left, right in ((0, 0), (1, 0), (1, 0), (1, 2)):
        state.get("left_score")[:], state.get("right_score")[:] = left, right
        policy.act(np.zeros((1, 115), np.float32), state, side)
    assert actors[0].rewards == [None, sign * 1.0, 0.0, sign * -2.0]


def test_several_players_have_actions_and_rewards_of_their_own():
    observation = np.zeros((2, 115), np.float32)
    spec = match_spec(observation, 19, 2)
    assert isinstance(spec.actions, specs.BoundedArray)
    assert (spec.actions.shape, spec.actions.maximum.tolist()) == ((2,), 18)
    seat = Seat(actor := Notes(2), spec)
    assert [seat.act(observation, goals).tolist() for goals in (0, 1)] == [[0, 0], [0, 0]]
    assert actor.rewards == [None, [1.0, 1.0]]


def test_what_is_no_actor_and_a_file_without_any_are_refused(tmp_path):
    with pytest.raises(ValueError, match="without select_action, observe_first, observe"):
        Seat({}, match_spec(np.zeros(115, np.float32), 19))
    with pytest.raises(ValueError, match=r"act\(observations\).*agent\(obs\).*make_actor\(environment_spec\)"):
        load_policy(written(tmp_path / "empty.py", "x = 1\n"))
    policy = load_policy(written(tmp_path / "wild.py", USERS.replace("np.int32(5", "np.int32(50")))
    policy.begin(np.ones(1, bool), np.arange(1))
    policy.act(np.zeros((1, 189), np.float32), empty_state(1), "left")
    with pytest.raises(ValueError, match=r"wild\.py: expected actions 0 to 18"):
        policy.act(np.zeros((1, 189), np.float32), empty_state(1), "left")
