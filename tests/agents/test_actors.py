"""Actors on threads: what they see is whole, comes from the weights that were published, and errors are heard."""

import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

sys.path.insert(0, str(Path(__file__).parents[1]))
from toy_envs import SPEC, Corridor

from touchline.agents import impala
from touchline.agents.parts.actors import Actor, ThreadActors
from touchline.rollout import Buffer, collect, side_by_side

CONFIG = impala.Config(unroll_length=6, policy_hidden=(8,), value_hidden=(8,), shared_encoder=False)


def agent(seed=0):
    return impala.make(SPEC, CONFIG, seed=seed)


def actors(number=2, envs=None, queue_length=2):
    envs = envs or [Corridor(num_envs=4) for _ in range(number)]
    made = [Actor(i, one, agent(), 6, seed=10 * i) for i, one in enumerate(envs)]
    return ThreadActors(made, queue_length=queue_length)


def test_an_actor_plays_as_the_synchronous_loop_does():
    policy, envs = agent(seed=3), Corridor(num_envs=4)
    obs, _ = envs.reset(seed=7)
    buffer, generator = Buffer(SPEC, 4, 6), torch.Generator().manual_seed(7)
    one = Actor(0, Corridor(num_envs=4), agent(), 6, seed=7)
    for version in range(3):
        rollout, obs = collect(envs, policy, obs, buffer, generator)
        played = one.play(version, policy.policy_state()).rollout
        for name in ("obs", "action", "reward", "truncated", "behaviour_log_prob", "final_obs"):
            assert torch.equal(getattr(rollout, name), getattr(played, name)), name


def test_an_unroll_is_not_overwritten_by_the_next():
    one = Actor(0, Corridor(num_envs=4), agent(), 6, seed=7)
    first = one.play(0, agent().policy_state())
    kept = first.rollout.clone()
    one.play(0, agent().policy_state())
    assert torch.equal(first.rollout.obs, kept.obs)
    assert torch.equal(first.rollout.action, kept.action)


def test_unrolls_name_their_actor_and_the_version_that_played_them():
    pool, policy = actors(), agent(seed=1)
    pool.publish(0, policy.policy_state())
    seen = [pool.take() for _ in range(6)]
    assert {unroll.rollout.actor for unroll in seen} == {0, 1}
    assert {unroll.version for unroll in seen} == {0}
    pool.publish(5, policy.policy_state())
    later = [pool.take() for _ in range(10)]
    for actor in range(2):
        versions = [unroll.version for unroll in later if unroll.rollout.actor == actor]
        assert versions == sorted(versions)
    assert later[-1].version == 5
    pool.close()


def test_published_weights_do_not_change_when_the_agent_learns_on():
    policy = agent()
    state = policy.policy_state()
    before = state["net"]["policy_head.bias"].clone()
    with torch.no_grad():
        policy.net.policy_head.bias += 1
    assert torch.equal(state["net"]["policy_head.bias"], before)


def test_the_queue_bounds_how_far_actors_run_ahead():
    pool = actors(number=1, queue_length=1)
    pool.publish(0, agent().policy_state())
    time.sleep(0.3)
    pool.publish(1, agent().policy_state())
    versions = [pool.take().version for _ in range(5)]
    assert versions.count(0) <= 3  # one in the queue, one waiting for room, one begun in between
    pool.close()


class Broken(Corridor):
    def step(self, actions):
        raise RuntimeError("the pitch is flooded")


def test_an_error_of_an_actor_reaches_the_learner():
    pool = actors(envs=[Broken(num_envs=4)])
    pool.publish(0, agent().policy_state())
    with pytest.raises(RuntimeError, match="the pitch is flooded"):
        pool.take()
    pool.close()


def test_closing_ends_the_threads_whatever_waits():
    before = threading.active_count()
    pool = actors(queue_length=1)
    pool.publish(0, agent().policy_state())
    time.sleep(0.1)
    pool.close()
    assert threading.active_count() == before
    actors().close()  # never started


def test_rollouts_side_by_side_keep_their_last_observations():
    parts = [
        Actor(i, Corridor(num_envs=i + 2), agent(), 16, seed=i).play(0, agent().policy_state()).rollout
        for i in (0, 1, 2)
    ]
    whole = side_by_side(parts)
    assert whole.action.shape == (16, 2 + 3 + 4)
    assert_close(whole.next_obs(), torch.cat([part.next_obs() for part in parts], 1))
    assert len(whole.episodes["l"]) == sum(len(part.episodes["l"]) for part in parts)
    assert side_by_side(parts[:1]) is parts[0]
