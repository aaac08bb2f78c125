"""Packed rollouts: nothing is lost on the way, and little travels."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from test_prioritised_replay import FLOATS, PICTURES, History

from touchline.agents.parts.packing import PackedRollout, nbytes, pack, unpack
from touchline.rollout import Rollout
from touchline.types import EnvSpec


def same(first, second):
    for name, value in first._asdict().items():
        other = getattr(second, name)
        if isinstance(value, torch.Tensor):
            assert value.dtype == other.dtype, name
            assert torch.equal(value, other), name
        else:
            assert value == other, name


@pytest.mark.parametrize("stack", [1, 3, 4])
@pytest.mark.parametrize("T", [1, 2, 17])
def test_what_arrives_is_what_was_sent(stack, T):
    history = History(EnvSpec((3, 5, 2 * stack), "uint8", 7, stack=stack), columns=3, ends=0.3, seed=T)
    for _ in range(4):  # from the second on, unrolls begin within episodes
        rollout = history.play(T)
        packed = pack(rollout, stack)
        assert isinstance(packed, PackedRollout)
        same(rollout, unpack(packed))


def test_lost_matches_change_nothing_but_their_own_last_observation():
    history = History(PICTURES, columns=3, ends=0.1, lost=0.2)
    for _ in range(4):
        rollout = history.play(12)
        arrived = unpack(pack(rollout, PICTURES.stack))
        assert torch.equal(rollout.obs, arrived.obs)
        t, column = rollout.final_index.T
        kept = rollout.mask[t, column]
        assert (~kept).any()
        assert torch.equal(rollout.final_obs[kept], arrived.final_obs[kept])


def test_floats_and_pictures_of_other_bytes_travel_as_they_are():
    rollout = History(FLOATS).play(5)
    assert pack(rollout, 1) is rollout
    assert unpack(rollout) is rollout
    rollout = History(PICTURES).play(5)
    rollout.obs[3, 1, 0, 0, 0] = 7
    assert pack(rollout, PICTURES.stack) is rollout


def test_floats_of_0_and_255_and_a_last_observation_of_other_bytes_travel_as_they_are():
    rollout = History(PICTURES).play(5)
    floats = rollout._replace(obs=rollout.obs.float(), final_obs=rollout.final_obs.float())
    assert pack(floats, PICTURES.stack) is floats
    rollout = History(PICTURES, ends=1.0).play(5)
    rollout.final_obs[2, 0, 0, 0] = 7
    assert pack(rollout, PICTURES.stack) is rollout


def test_many_episodes_that_end_in_the_same_step_arrive_each_with_its_own_end():
    history = History(PICTURES, columns=5, ends=1.0)
    for _ in range(2):
        rollout = history.play(6)
        assert len(rollout.final_index) == 30
        same(rollout, unpack(pack(rollout, PICTURES.stack)))


def test_stacked_mini_maps_shrink_to_a_twentyfifth():
    history = History(EnvSpec((72, 96, 16), "uint8", 19, stack=4), columns=4, ends=0.02)
    rollout = history.play(32)
    assert nbytes(rollout) > 25 * nbytes(pack(rollout, 4))


@pytest.mark.engine
def test_the_mini_maps_of_the_engine_arrive_whole():
    import touchline
    from touchline.agents.parts.actors import Actor

    class Random:
        def load_policy(self, weights):
            pass

        def act(self, obs, generator):
            return torch.randint(0, 19, (len(obs),), generator=generator), torch.zeros(len(obs))

        def annotate(self, rollout):
            return rollout

    envs = touchline.make_vec("academy_empty_goal_close", 4, observation="smm", stack=4, reset_pool=4)
    actor = Actor(0, envs, Random(), 120, seed=3)
    unroll = actor.play(0, {})
    assert len(unroll.rollout.final_index) > 0
    packed = pack(unroll.rollout, actor.buffer.spec.stack)
    assert isinstance(packed, PackedRollout)
    assert not isinstance(packed, Rollout)
    assert np.array_equal(unpack(packed).obs, unroll.rollout.obs)
    same(unroll.rollout._replace(episodes={}), unpack(packed)._replace(episodes={}))
    actor.close()
