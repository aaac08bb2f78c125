"""Actors on threads, in processes and on Ray: what they see is whole and from published weights, errors are heard, the
dead are replaced."""

import os
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

sys.path.insert(0, str(Path(__file__).parents[1]))
from toy_envs import SPEC, Corridor, Pictures

from touchline.agents import impala
from touchline.agents.parts.actors import Actor, ProcessTransport, RemoteActors, ThreadActors
from touchline.agents.parts.packing import PackedRollout
from touchline.rollout import Buffer, collect, env_spec, side_by_side

CONFIG = impala.Config(unroll_length=6, policy_hidden=(8,), value_hidden=(8,), shared_encoder=False)


def agent(seed=0, spec=SPEC):
    return impala.make(spec, CONFIG, seed=seed)


def actors(number=2, envs=None, queue_length=2):
    envs = envs or [Corridor(num_envs=4) for _ in range(number)]
    return ThreadActors(
        lambda i, version: Actor(i, envs[i], agent(), 6, seed=10 * i), len(envs), queue_length=queue_length
    )


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
    seen = taken_until(pool, lambda unrolls: {unroll.rollout.actor for unroll in unrolls} == {0, 1})
    assert {unroll.version for unroll in seen} == {0}
    pool.publish(5, policy.policy_state())
    later = taken_until(pool, lambda unrolls: {u.rollout.actor for u in unrolls if u.version == 5} == {0, 1})
    for actor in range(2):
        versions = [unroll.version for unroll in later if unroll.rollout.actor == actor]
        assert versions == sorted(versions) and set(versions) <= {0, 5}
    pool.close()


def taken_until(pool, enough):
    """Unrolls in the order of their arrival, which the machine's load decides, until there are enough."""
    unrolls = []
    while not enough(unrolls):
        unrolls.append(pool.take())
        assert len(unrolls) < 10_000
    return unrolls


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


# Actors beyond this process.


def make_one(kind, index, version):
    sys.path.insert(0, str(Path(__file__).parents[1]))
    envs = kind(num_envs=4)
    return Actor(index, envs, agent(spec=env_spec(envs)), 6, seed=10 * index + version)


class Fatal(Corridor):
    """Takes its whole process with it."""

    def step(self, actions):
        os.kill(os.getpid(), signal.SIGKILL)


class Once(Corridor):
    """As `Fatal`, at its third rollout, unless it was made in another's place (`version` 3 of the test)."""

    def reset(self, *, seed=None, options=None):
        self.mortal = seed == 10
        return super().reset(seed=seed, options=options)

    def step(self, actions):
        if self.mortal and self.steps == 12:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(actions)


def in_processes(kind, number):
    return RemoteActors(ProcessTransport(partial(make_one, kind)), number)


def on_ray(kind, number):
    pytest.importorskip("ray")
    import ray

    from touchline.agents.parts.ray_actors import RayTransport

    for module in (sys.modules[__name__], sys.modules["toy_envs"]):
        ray.cloudpickle.register_pickle_by_value(module)
    return RemoteActors(RayTransport(partial(make_one, kind), cpus=0.5), number)


@pytest.fixture(params=[in_processes, on_ray], ids=["process", "ray"])
def elsewhere(request):
    made = []

    def make(kind=Corridor, number=2):
        made.append(request.param(kind, number))
        return made[-1]

    yield make
    for pool in made:
        pool.close()


def test_actors_elsewhere_play_as_one_here_does(elsewhere):
    pool, here, policy = elsewhere(), [make_one(Corridor, i, 0) for i in range(2)], agent(seed=4)
    pool.publish(0, policy.policy_state())
    compared = 0
    while compared < 6:
        unroll = pool.take()
        if unroll.life:  # a starved machine let it die, and its successor plays other matches
            continue
        compared += 1
        same = here[unroll.rollout.actor].play(0, policy.policy_state())
        assert unroll.version == 0
        for name in ("obs", "action", "reward", "truncated", "behaviour_log_prob", "final_obs"):
            assert torch.equal(getattr(unroll.rollout, name), getattr(same.rollout, name)), name


def test_pictures_travel_packed_and_arrive_as_they_were_seen(elsewhere, monkeypatch):
    pool, here, travelled = elsewhere(Pictures, number=1), make_one(Pictures, 0, 0), []
    policy, wait = agent(seed=4, spec=env_spec(here.envs)), pool._transport.wait
    monkeypatch.setattr(pool._transport, "wait", lambda: travelled.append(wait()) or travelled[-1])
    pool.publish(0, policy.policy_state())
    for _ in range(3):
        arrived, same = pool.take().rollout, here.play(0, policy.policy_state()).rollout
        _, unroll = travelled[-1]
        assert isinstance(unroll.rollout, PackedRollout)
        assert unroll.rollout.stack == Pictures.stack
        for name, value in same._asdict().items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, getattr(arrived, name)), name


def test_actors_elsewhere_take_the_newest_weights(elsewhere):
    pool, policy = elsewhere(number=1), agent(seed=1)
    versions = []
    for version in range(8):
        pool.publish(version, policy.policy_state())
        versions.append(pool.take().version)
    assert versions == sorted(versions)
    assert all(version - seen <= 2 for version, seen in enumerate(versions))


def test_a_dead_actor_is_replaced_and_the_others_go_on(elsewhere, caplog):
    pool = elsewhere(Once)
    pool.publish(0, agent().policy_state())
    pool.publish(3, agent().policy_state())
    seen = []
    while seen.count(1) < 5:  # it dies after two
        seen.append(pool.take().rollout.actor)
        assert len(seen) < 100_000
    assert pool.replaced == 1
    assert "actor 1 died" in caplog.text
    assert 0 in seen


def test_an_actor_that_always_dies_ends_the_training_with_a_reason(elsewhere):
    pool = elsewhere(Fatal, number=1)
    pool.publish(0, agent().policy_state())
    with pytest.raises(RuntimeError, match="actor 0 died 5 times in a row"):
        pool.take()


def test_an_error_of_an_actor_elsewhere_reaches_the_learner(elsewhere):
    pool = elsewhere(Broken, number=1)
    pool.publish(0, agent().policy_state())
    with pytest.raises(RuntimeError, match="the pitch is flooded"):
        pool.take()


class Heavy:
    """An actor whose unrolls are more than a pipe holds."""

    def play_packed(self, version, weights):
        return version, len(weights["w"]), b"u" * 4_000_000


def make_heavy(index, version):
    return Heavy()


def test_a_learner_and_an_actor_that_both_send_more_than_a_pipe_holds_do_not_wait_for_each_other():
    transport, heard = ProcessTransport(make_heavy), []

    def learn():
        transport.start(0, 0)
        for version in range(4):
            transport.publish(version, {"w": b"w" * 4_000_000})
            transport.ask(0)
        heard.extend(transport.wait()[1] for _ in range(4))

    learner = threading.Thread(target=learn, daemon=True)
    learner.start()
    learner.join(90)
    assert not learner.is_alive(), "they wait for each other"
    assert [(version, size) for version, size, _ in heard] == [(version, 4_000_000) for version in range(4)]
    transport.close()


def test_closing_ends_an_actor_that_is_sending_and_the_thread_that_sends_to_it():
    before = threading.active_count()
    transport = ProcessTransport(make_heavy)
    transport.start(0, 0)
    for version in range(3):
        transport.publish(version, {"w": b"w" * 4_000_000})
        transport.ask(0)
    time.sleep(0.5)
    closer = threading.Thread(target=transport.close, daemon=True)
    closer.start()
    closer.join(60)
    assert not closer.is_alive()
    assert threading.active_count() == before


def test_ctrl_c_which_reaches_actors_too_does_not_end_them():
    pool = in_processes(Corridor, 2)
    pool.publish(0, agent().policy_state())
    for _ in range(4):
        pool.take()
    for process in pool._transport._processes.values():
        os.kill(process.pid, signal.SIGINT)
    for _ in range(8):
        pool.take()
    assert pool.replaced == 0
    pool.close()


def test_actors_that_ray_has_no_room_for_are_named(caplog):
    pool = on_ray(Corridor, 2)
    pool._transport.warn_if_short(2)
    assert "reserve" not in caplog.text
    pool._transport.warn_if_short(10_000)
    assert "10000 actors reserve 5000 CPUs" in caplog.text
    pool.close()
