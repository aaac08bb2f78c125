"""Episodic curiosity: pairs, memory, aggregation, and what is paid when."""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from toy_envs import SPEC, Corridor, Pictures
from worlds import PITCH, on_pitch, played, rollout_of

from touchline.curiosity import episodic_curiosity
from touchline.curiosity.episodic_curiosity import Config
from touchline.curiosity.parts.episodic_memory import AGGREGATIONS, EpisodicMemory, aggregate
from touchline.curiosity.parts.reachability import PAIRINGS, RNetwork, pairs, train
from touchline.exploration import random_play
from touchline.types import EnvSpec


def slow_aggregate(row, how, percentile=90.0, nth=10):
    """The definition, a list at a time."""
    if not len(row):
        return 0.0
    if how == "percentile":
        return float(np.percentile(row, percentile))
    if how == "nth_largest":
        return float(np.sort(row)[::-1][min(nth, len(row)) - 1])
    return float(max(row)) if how == "max" else float(np.mean(np.array(row) > 0.5))


@pytest.mark.parametrize("how", AGGREGATIONS)
def test_aggregation_equals_its_definition_for_any_number_of_entries(how):
    draw = np.random.default_rng(0)
    table, count = draw.random((40, 25)).astype(np.float32), draw.integers(0, 26, 40)
    fast = aggregate(torch.from_numpy(table), torch.from_numpy(count), how=how)
    slow = [slow_aggregate(row[:n], how) for row, n in zip(table, count, strict=True)]
    assert fast.numpy() == pytest.approx(slow, abs=1e-6)


@pytest.mark.parametrize("pairing", PAIRINGS)
def test_pairs_are_near_or_far_as_their_label_says(pairing):
    table = np.concatenate(
        [pairs(200, k=5, gamma_neg=5, pairing=pairing, draw=np.random.default_rng(i)) for i in range(50)]
    )
    distance, near = np.abs(table[:, 0] - table[:, 1]), table[:, 2] == 1
    assert ((distance[near] >= 1) & (distance[near] <= 5)).all() and (distance[~near] > 25).all()
    assert table[:, :2].min() >= 0 and table[:, :2].max() <= 199
    assert near.mean() == pytest.approx(0.5, abs=0.05)
    assert (table[near, 0] < table[near, 1]).mean() == pytest.approx(0.5, abs=0.05)
    assert set(distance[near]) == {1, 2, 3, 4, 5}


def test_the_stride_of_the_pairs_is_as_defined():
    def per_step(pairing, k):
        draws = [pairs(2000, k=k, gamma_neg=2, pairing=pairing, draw=np.random.default_rng(i)) for i in range(20)]
        return 2000 * 20 / sum(map(len, draws))

    assert per_step("v1", 5) == pytest.approx(4, rel=0.05)  # U{1..5} + 1
    assert per_step("v2", 2) == pytest.approx(4, rel=0.05) == pytest.approx(per_step("v2", 8), rel=0.05)
    assert per_step("v3", 9) == pytest.approx(6, rel=0.05)
    assert per_step("v4", 5) == pytest.approx(1, rel=0.05)


def test_a_trajectory_too_short_for_far_pairs_is_left_and_gives_near_ones_only():
    for i in range(20):
        assert (pairs(20, k=5, gamma_neg=5, pairing="v2", draw=np.random.default_rng(i))[:, 2] == 1).all()
    assert pairs(1, k=5, gamma_neg=5, pairing="v2", draw=np.random.default_rng(0)).shape == (0, 3)


def line(length, episodes, seed=0):
    """Trajectories that drift along a line: the place tells the time."""
    draw = np.random.default_rng(seed)
    return [
        torch.tensor(np.cumsum(draw.uniform(0.5, 1.5, (length, 1)), 0) / length * 2 - 1, dtype=torch.float32)
        for _ in range(episodes)
    ]


SETTINGS = {"k": 3, "gamma_neg": 4, "pairing": "v2", "num_epochs": 20, "batch_size": 64}


def test_the_network_learns_what_is_near_and_shuffled_labels_teach_it_nothing():
    net = RNetwork(EnvSpec((1,), "float32", 2), hidden=(32, 16), comparator=(32, 32))
    options = {"optimiser": torch.optim.Adam(net.parameters(), lr=1e-3), "draw": np.random.default_rng(0)}
    learned = train(net, trajectories=line(100, 60), other_episodes=0.0, **SETTINGS, **options)
    assert learned["bonus/r_network_accuracy"] > 0.9
    with torch.no_grad():
        here, close, far = torch.zeros(1, 1), torch.full((1, 1), 0.02), torch.full((1, 1), 0.8)
        assert net(here, close) > 1 and net(here, far) < -1
    for fields in ({"trajectories": line(100, 60), "shuffle_labels": True}, {"trajectories": noise(100, 60)}):
        net = RNetwork(EnvSpec((1,), "float32", 2), hidden=(32, 16), comparator=(32, 32))
        options = {"optimiser": torch.optim.Adam(net.parameters(), lr=1e-3), "draw": np.random.default_rng(0)}
        assert train(net, other_episodes=0.0, **fields, **SETTINGS, **options)["bonus/r_network_accuracy"] < 0.65


def noise(length, episodes):
    """Trajectories without any order."""
    return [torch.randn(length, 1, generator=torch.Generator().manual_seed(i)) for i in range(episodes)]


def test_episodes_too_short_for_a_far_pair_teach_nothing_alone_but_do_with_other_episodes():
    """Each of 12 observations stays at a place of its own; 13 would be needed."""
    places = np.random.default_rng(0).uniform(-1, 1, 200)
    still = [torch.full((12, 1), float(place)) for place in places]
    net = RNetwork(EnvSpec((1,), "float32", 2), hidden=(32, 16), comparator=(32, 32))
    options = {"optimiser": torch.optim.Adam(net.parameters(), lr=1e-3), "draw": np.random.default_rng(0)}
    before = [x.clone() for x in net.parameters()]
    assert train(net, trajectories=still, other_episodes=0.0, **SETTINGS, **options) == {}
    assert all(torch.equal(x, y) for x, y in zip(before, net.parameters(), strict=True))
    train(net, trajectories=still, other_episodes=1.0, **SETTINGS, **options)
    with torch.no_grad():
        here = torch.zeros(1, 1)
        assert net(here, here) > 0 > net(here, torch.full((1, 1), 0.9))


def test_steps_and_buffer_are_counted_per_env_whoever_plays():
    """Two actors of two envs each: an update that holds one of them is half a step per env."""
    bonus = episodic_curiosity.make(PITCH, Config(train_every=20, buffer_steps=20))
    for _ in range(2):
        bonus.initial_carry(2)
    walk = np.clip(np.cumsum(np.random.default_rng(0).normal(0, 0.15, (21, 2, 2)), 0), -1, 1)
    ends = [(19, 0), (19, 1)]
    for number, steps in ((1, 10), (2, 20), (3, 30), (4, 40)):
        metrics = bonus.update(rollout_of(on_pitch(walk), ends))
        assert bonus.steps == steps and ("bonus/r_network_loss" in metrics) == (number % 2 == 0)
    assert sum(map(len, bonus._finished)) == 20 * 4  # trimmed to the step, not by whole episodes


def test_an_update_that_holds_an_env_s_play_twice_is_two_rollouts_of_it():
    """One actor of two envs, whose unrolls a learner takes two at a time."""
    bonus = episodic_curiosity.make(PITCH, Config(train="never"))
    bonus.initial_carry(2)
    walk = np.zeros((21, 4, 2))
    bonus.update(rollout_of(on_pitch(walk), []))
    assert bonus.steps == 40


def test_a_clock_makes_every_place_look_new_and_hiding_it_does_not():
    """Two moments in one place: near for a network that sees places, far for one that sees the time between."""
    draw = np.random.default_rng(0)

    def similarity(strip):
        config = Config(strip_clocks=strip, num_epochs=12, k=3, gamma_neg=4, other_episodes=0.0)
        bonus = episodic_curiosity.make(PITCH, config)
        for _ in range(8):
            walk = np.clip(np.cumsum(draw.normal(0, 0.15, (129, 8, 2)), 0), -1, 1)
            obs = on_pitch(walk)
            obs[..., 9] = torch.linspace(0, 1, 129)[:, None]
            bonus._keep(rollout_of(obs))
        bonus._train()
        early, late = on_pitch(draw.uniform(-1, 1, (200, 2))), None
        late = early.clone()
        early[:, 9], late[:, 9] = 0.1, 0.9
        with torch.no_grad():
            return bonus.net(bonus._filter(early), bonus._filter(late)).sigmoid().mean().item()

    assert similarity(strip=True) > 0.8
    assert similarity(strip=False) < 0.4


# The memory.


def test_a_full_memory_forgets_the_oldest_or_a_random_entry():
    def filled(replacement):
        memory = EpisodicMemory(2, 4, {"x": (1,)}, replacement=replacement)
        for i in range(10):
            memory.add(
                torch.tensor([True, i < 2]), {"x": torch.full((2, 1), float(i))}, torch.Generator().manual_seed(i)
            )
        return memory

    fifo = filled("fifo")
    assert sorted(fifo.held["x"][0, :, 0].tolist()) == [6, 7, 8, 9] and fifo.count.tolist() == [4, 2]
    random = filled("random")
    assert 9 in random.held["x"][0, :, 0].tolist() and min(random.held["x"][0, :, 0].tolist()) < 6


class Exact:
    """In place of the network: similar are observations whose first numbers differ by less than a half."""

    normaliser = None

    def __call__(self, *_):
        raise AssertionError("pairs are compared by halves")

    def embed(self, obs):
        return obs[..., :1]

    project = query = staticmethod(lambda embedding: embedding)

    def compare(self, stored, query):
        return torch.where((stored - query).abs() < 0.5, 20.0, -20.0)[..., 0]


def exact(**fields):
    config = Config(**{"train": "never", "comparator": (1,), "aggregation": "max", "beta": 0.5} | fields)
    bonus = episodic_curiosity.make(EnvSpec((1,), "float32", 2), config)
    bonus.net = Exact()
    return bonus


def paid(bonus, rollout, carry=None):
    rewards, carry = bonus.reward(rollout, bonus.initial_carry(rollout.action.shape[1]) if carry is None else carry)
    return rewards["episodic_curiosity"], carry


def column(*numbers):
    return np.array(numbers, dtype=float)[:, None, None]


def test_new_places_pay_beta_and_known_ones_beta_less_1():
    reward, carry = paid(exact(), rollout_of(column(0, 1, 0, 2, 1)))
    assert reward[:, 0].tolist() == pytest.approx([0.5, -0.5, 0.5, -0.5], abs=1e-6)
    assert carry["count"].tolist() == [3]  # 0, 1 and 2: what was known was not stored again


def test_the_memory_goes_on_into_the_next_rollout():
    bonus = exact()
    _, carry = paid(bonus, rollout_of(column(0, 1, 2)))
    reward, _ = paid(bonus, rollout_of(column(2, 0, 5)), carry)
    assert reward[:, 0].tolist() == pytest.approx([-0.5, 0.5], abs=1e-6)


def test_an_end_pays_nothing_clears_the_memory_and_the_next_episode_begins_with_its_first_observation():
    rollout = rollout_of(column(0, 1, 7, 0, 7), [(1, 0)], finals={(1, 0): [2.0]})
    reward, carry = paid(exact(), rollout)
    assert reward[:, 0].tolist() == pytest.approx([0.5, 0, 0.5, -0.5], abs=1e-6)
    assert sorted(carry["held"]["half"][0, :2, 0].tolist()) == [0, 7] and carry["count"].tolist() == [2]


def test_columns_do_not_share_a_memory():
    obs = np.stack([column(0, 1, 2)[:, 0], column(5, 0, 1)[:, 0]], 1)
    reward, _ = paid(exact(), rollout_of(obs))
    assert reward.tolist() == [[pytest.approx(0.5, abs=1e-6)] * 2] * 2


def test_with_one_slot_going_to_and_fro_pays_for_ever_and_with_more_it_does_not():
    shuttle = rollout_of(column(*([0, 1] * 6)))
    forgetful, _ = paid(exact(memory_size=1, replacement="fifo"), shuttle)
    assert (forgetful > 0).all()  # the control
    assert (paid(exact(), shuttle)[0][1:] < 0).all()


# Training.


def test_online_it_pays_nothing_until_it_was_trained_and_then_it_does():
    bonus = episodic_curiosity.make(
        EnvSpec((3,), "float32", 2), Config(train_every=24, buffer_steps=48, k=2, gamma_neg=1, num_epochs=1)
    )
    rollouts, _ = played(unroll_length=12, rollouts=4)
    carry, sums, trained = bonus.initial_carry(8), [], []
    for rollout in rollouts:
        rewards, carry = bonus.reward(rollout, carry)
        sums.append(rewards["episodic_curiosity"].abs().sum().item())
        trained.append("bonus/r_network_accuracy" in bonus.update(rollout))
    assert sums[0] == sums[1] == 0 and min(sums[2:]) > 0
    assert trained == [False, True, False, True]


def test_what_is_remembered_is_embedded_anew_after_a_training():
    bonus = episodic_curiosity.make(
        EnvSpec((3,), "float32", 2),
        Config(train_every=12, k=2, gamma_neg=1, num_epochs=3, memory_size=8, threshold=2.0),
    )
    rollouts, _ = played(unroll_length=5, rollouts=8)
    carry = bonus.initial_carry(8)
    for rollout in rollouts[:3]:
        _, carry = bonus.reward(rollout, carry)
        bonus.update(rollout)
    assert bonus._trainings == 1
    _, after = bonus.reward(rollouts[3], carry)
    used = torch.arange(8) < after["count"][:, None]
    with torch.no_grad():
        wanted = bonus.net.project(bonus.net.embed(after["held"]["obs"][used]))
    assert torch.allclose(after["held"]["half"][used], wanted, atol=1e-6)
    stale = torch.arange(8) < carry["count"][:, None]
    with torch.no_grad():  # the control: what the carry of before held is out of date
        wanted = bonus.net.project(bonus.net.embed(carry["held"]["obs"][stale]))
    assert not torch.allclose(carry["held"]["half"][stale], wanted, atol=1e-4)


def test_offline_it_learns_from_random_play_before_and_then_no_more():
    bonus = episodic_curiosity.make(
        EnvSpec((3,), "float32", 2), Config(train="offline", k=2, gamma_neg=1, num_epochs=1)
    )
    rollouts, _ = played(unroll_length=12, rollouts=3)
    assert not bonus.ready
    assert bonus.pretrain(rollouts[:2])["bonus/r_network_pairs"] > 10 and bonus.ready
    before = [p.clone() for p in bonus.net.parameters()]
    bonus.update(rollouts[2])
    assert all(torch.equal(a, b) for a, b in zip(before, bonus.net.parameters(), strict=True))


def test_of_play_without_far_pairs_a_warning_tells():
    def rollouts():
        return random_play(Corridor(num_envs=2), SPEC, 256, seed=0)

    far = {"k": 100, "gamma_neg": 4}
    with pytest.warns(UserWarning, match="will pay 0.* no steps of an episode more than 400 apart; take a smaller k"):
        episodic_curiosity.make(SPEC, Config(train="offline", **far)).pretrain(rollouts())
    online = episodic_curiosity.make(SPEC, Config(train_every=16, **far))
    with pytest.warns(UserWarning, match="still pays 0"):
        for rollout in rollouts():
            online.update(rollout)


def test_the_buffer_keeps_the_newest_steps_and_no_more():
    bonus = episodic_curiosity.make(EnvSpec((3,), "float32", 2), Config(buffer_steps=20, train_every=10**6))
    for rollout in played(unroll_length=12, rollouts=10)[0]:
        bonus.update(rollout)
    held = sum(map(len, bonus._finished))
    assert 8 * 12 < held <= 8 * 20


def test_pictures_are_not_kept_in_the_memory_only_what_they_were_embedded_as():
    spec = EnvSpec((72, 96, 4), "uint8", 19)
    carry = episodic_curiosity.make(spec).initial_carry(2)
    assert set(carry["held"]) == {"half"}
    (rollout,), spec = played(Pictures())
    assert set(episodic_curiosity.make(spec).initial_carry(2)["held"]) == {"half", "obs"}


def test_warmup_pays_nothing_though_it_was_trained():
    config = Config(train="never", warmup_steps=20)
    bonus, rollouts = episodic_curiosity.make(EnvSpec((3,), "float32", 2), config), played(Corridor(), 12, 3)[0]
    sums = []
    for rollout in rollouts:
        sums.append(paid(bonus, rollout)[0].abs().sum().item())
        bonus.update(rollout)
    assert sums[0] == sums[1] == 0 < sums[2]


def test_a_wrong_word_says_which_there_are():
    with pytest.raises(ValueError, match="no 'v9' in pairing; there are v1, v2, v3, v4"):
        Config(pairing="v9")
    with pytest.raises(ValueError, match="memory_size: expected at least 1, got 0"):
        Config(memory_size=0)


def test_the_order_of_pairs_follows_the_trajectory():
    table = pairs(500, k=3, gamma_neg=2, pairing="v3", draw=np.random.default_rng(0))
    heads = [min(a, b) if near else a for a, b, near in table]
    assert all(a < b for a, b in pairwise(heads))
