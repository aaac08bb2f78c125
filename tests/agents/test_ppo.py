"""PPO: its loss, its bookkeeping, and the smallest worlds it has to solve."""

import dataclasses
import math
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
import trials
from toy_envs import (
    SPEC,
    Action,
    ConstantValue,
    Corridor,
    ObservationAction,
    Recall,
)
from trials import ProbeWorlds

from touchline.agents import ppo
from touchline.agents.parts import actor_critic
from touchline.types import Stream

CONFIG = ppo.Config(
    unroll_length=16,
    num_epochs=4,
    minibatch_size=64,
    learning_rate=5e-3,
    gamma=0.5,
    entropy_coef=0.0,
    policy_hidden=(16,),
    value_hidden=(16,),
    normalise_observations=False,
)


def Trial(envs, config=CONFIG, **options):
    return trials.Trial(ppo, envs, config, **options)


def change(config=CONFIG, **fields):
    return dataclasses.replace(config, **fields)


@pytest.fixture(
    params=[
        {},
        {"clip_in_log_space": True},
        {"normalise_values": True},
        {"normalise_observations": True},
        {"shared_encoder": True},
        {"recompute_advantages": False},
        {"value_target": "vtrace"},
        {"value_target": "n_step"},
        {"anneal_learning_rate": True},
        {"lstm": 8, "shared_encoder": True},
    ],
    ids=str,
)
def options(request):
    return request.param


class TestProbeWorlds(ProbeWorlds):
    def trial(self, envs, **fields):
        return Trial(envs, change(**fields))


MEMORY = {"lstm": 16, "shared_encoder": True, "gamma": 0.9}


@pytest.mark.parametrize("lstm", [16, 0])
def test_a_memory_recalls_what_was_seen_two_steps_ago_and_without_one_nobody_can(lstm):
    trial = Trial(Recall(16), change(**MEMORY | {"lstm": lstm}))
    trial.learn(60)
    rollout = trial.collect()
    success = rollout.reward.sum() / rollout.terminated.sum()
    assert success > 0.8 if lstm else success < 0.5


def test_every_player_has_a_memory_of_its_own():
    trial = Trial(Recall(8, num_players=2), change(**MEMORY))
    assert trial.collect().initial_state.shape == (2, 16, 16)
    trial.collect()
    memory = trial.buffer.state.unflatten(1, (8, 2))
    assert not torch.isclose(memory[:, :, 0], memory[:, :, 1]).all()


def test_the_learner_goes_through_the_memories_that_the_actor_had():
    """First ratios are 1, over ends of episodes and from one unroll to the next; with emptied memories they are not."""
    trial = Trial(Corridor(lost_at={5: 2}), change(**MEMORY, policy_head_gain=1.0, learning_rate=1e-9))
    for _ in range(3):
        assert trial.learn(1)["train/first_ratio_error"] < 1e-5
    rollout = trial.collect()
    forgetful = rollout._replace(initial_state=torch.zeros_like(rollout.initial_state))
    assert trial.agent.learn(forgetful, generator=trial.generator)["train/first_ratio_error"] > 1e-4


def test_a_memory_needs_one_encoder():
    with pytest.raises(ValueError, match="shared_encoder must be True"):
        change(lstm=16)


def test_players_that_share_weights_learn_together():
    trial = Trial(Action(num_envs=4, num_players=2))
    trial.learn(40)
    assert (trial.collect().action[:, ::2] == 1).float().mean() > 0.9  # player 0's actions pay


def test_shuffled_rewards_teach_nothing():
    trial = Trial(ObservationAction())
    for _ in range(30):
        rollout = trial.collect()
        order = torch.randperm(rollout.reward.numel(), generator=trial.generator)
        shuffled = rollout.reward.flatten()[order].view_as(rollout.reward)
        trial.agent.learn(rollout, {"extrinsic": shuffled}, generator=trial.generator)
    assert trial.collect().reward.mean() < 0.6


# Ends of episodes.


def test_an_episodic_stream_ends_with_the_episode_and_another_runs_on():
    streams = (Stream("endless", gamma=0.5, episodic=False),)
    trial = Trial(ConstantValue(), change(gae_lambda=0.0), bonus_streams=streams)
    for _ in range(80):
        rollout = trial.collect()
        rewards = {"extrinsic": rollout.reward, "endless": rollout.reward}
        trial.agent.learn(rollout, rewards, generator=trial.generator)
    with torch.no_grad():
        values = trial.agent.net.values(torch.tensor([[1.0, 1.0, 0.0]]))[0]
    assert_close(values, torch.tensor([1.0, 2.0]), atol=0.15, rtol=0)


# Bookkeeping.


@pytest.mark.parametrize("options", [{}, {"normalise_observations": True}, {"normalise_values": True}])
def test_the_first_ratio_is_one_in_every_update(options):
    trial = Trial(Corridor(), change(**options))
    for _ in range(5):
        assert trial.learn(1)["train/first_ratio_error"] < 1e-6


def test_the_log_probability_is_the_sampled_actions():
    trial = Trial(Corridor(), change(learning_rate=0.05))
    trial.learn(5)
    rollout = trial.collect()
    with torch.no_grad():
        log_probs = trial.agent.net.logits(rollout.obs[:-1].flatten(0, 1)).log_softmax(-1)
    expected = log_probs.gather(1, rollout.action.flatten()[:, None])[:, 0]
    assert_close(rollout.behaviour_log_prob.flatten(), expected)


def test_actions_are_sampled_with_their_probabilities():
    agent = ppo.make(dataclasses.replace(SPEC, num_actions=3), CONFIG)
    with torch.no_grad():
        agent.net.policy_head.bias.copy_(torch.tensor([0.1, 0.6, 0.3]).log())
        agent.net.policy_head.weight.zero_()
    action, _ = agent.act(torch.zeros(20_000, 3), torch.Generator().manual_seed(0))
    frequency = torch.bincount(action, minlength=3) / len(action)
    assert_close(frequency, torch.tensor([0.1, 0.6, 0.3]), atol=0.015, rtol=0)


def test_acting_and_learning_leave_global_randomness_alone():
    before = torch.random.get_rng_state()
    Trial(Corridor()).learn(2)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_seed_repeats_a_training():
    first, second = Trial(Corridor()), Trial(Corridor())
    first.learn(3)
    second.learn(3)
    assert torch.equal(first.weights(), second.weights())


def test_masked_transitions_change_nothing_whatever_they_hold():
    weights = []
    for poison in (1.0, 1e6):
        trial = Trial(Corridor(lost_at={5: 2}), change(normalise_observations=True))
        rollout = trial.collect()
        lost = ~rollout.mask
        assert lost.sum() == 1
        rollout.reward[lost] = poison
        rollout.action[lost] = int(poison == 1.0)
        rollout.behaviour_log_prob[lost] = -poison
        metrics = trial.agent.learn(rollout, generator=trial.generator)
        assert all(math.isfinite(x) for x in metrics.values())
        weights.append(trial.weights())
    assert torch.equal(*weights)


def test_an_unmasked_poison_would_have_been_noticed():
    weights = []
    for poison in (1.0, 1e6):
        trial = Trial(Corridor())
        rollout = trial.collect()
        rollout.reward[5, 2] = poison
        trial.agent.learn(rollout, generator=trial.generator)
        weights.append(trial.weights())
    assert not torch.equal(*weights)


def test_the_advantage_is_the_weighted_sum_of_the_streams():
    streams = (Stream("novelty", gamma=0.9, coef=0.25),)
    trial = Trial(Corridor(), change(extrinsic_coef=2.0), bonus_streams=streams)
    rollout = trial.collect()
    novelty = torch.rand(rollout.reward.shape, generator=trial.generator)

    def parts(extrinsic, bonus):
        return trial.agent.targets_of(rollout, {"extrinsic": extrinsic, "novelty": bonus})

    zero = torch.zeros_like(novelty)
    targets, both, values = parts(rollout.reward, novelty)
    assert targets.shape == values.shape == (16 * 8, 2)
    nothing = parts(zero, zero)[1]
    only_reward, only_novelty = parts(rollout.reward, zero)[1], parts(zero, novelty)[1]
    assert_close(both - nothing, (only_reward - nothing) + (only_novelty - nothing), atol=1e-5, rtol=0)

    trial.agent.streams = (Stream("extrinsic", 0.5, 2.0), Stream("novelty", 0.9, 0.5))
    doubled = parts(zero, novelty)[1] - parts(zero, zero)[1]
    assert_close(doubled, 2 * (only_novelty - nothing), atol=1e-5, rtol=0)


def test_a_bonus_stream_steers_the_policy():
    trial = Trial(Action(), bonus_streams=(Stream("novelty", gamma=0.5, coef=3.0),))
    for _ in range(30):
        rollout = trial.collect()
        rewards = {"extrinsic": rollout.reward, "novelty": 1.0 - rollout.action}
        trial.agent.learn(rollout, rewards, generator=trial.generator)
    assert (trial.collect().action == 0).float().mean() > 0.9


def test_missing_streams_are_refused_by_name():
    trial = Trial(Corridor(), bonus_streams=(Stream("novelty", gamma=0.5),))
    with pytest.raises(ValueError, match="expected rewards of streams extrinsic, novelty; got extrinsic"):
        trial.learn(1)


def test_advantages_are_recomputed_in_every_epoch_unless_told_otherwise(monkeypatch):
    for recompute, expected in ((True, 4), (False, 1)):
        trial = Trial(Corridor(), change(recompute_advantages=recompute))
        calls, original = [], trial.agent.targets_of
        monkeypatch.setattr(trial.agent, "targets_of", lambda *a, f=original, c=calls: (c.append(1), f(*a))[1])
        trial.learn(1)
        assert len(calls) == expected


def test_shuffled_advantages_are_the_same_ones_elsewhere_and_teach_nothing(monkeypatch):
    seen = {}
    for shuffle in (False, True):
        trial = Trial(ObservationAction(), change(shuffle_advantages=shuffle, normalise_advantages=False))
        taken = seen[shuffle] = []
        original = trial.agent._step
        monkeypatch.setattr(
            trial.agent, "_step", lambda *rows, to=taken, do=original: (to.append(rows[3].clone()), do(*rows))[1]
        )
        trial.learn(1)
    epoch = {shuffle: torch.cat(seen[shuffle])[: 16 * 8] for shuffle in seen}
    assert_close(epoch[True].sort()[0], epoch[False].sort()[0])
    assert not torch.equal(epoch[True], epoch[False])
    trial = Trial(ObservationAction(), change(shuffle_advantages=True))
    trial.learn(40)
    assert trial.collect().reward.mean() < 0.6


def test_the_first_policy_is_as_even_as_its_heads_gain_is_small():
    agents = [Trial(Corridor(), change(policy_head_gain=gain)).agent for gain in (0.01, 1.0)]
    spreads = [agent.net.logits(torch.eye(3)).std().item() for agent in agents]
    assert spreads[1] == pytest.approx(100 * spreads[0], rel=1e-3)


def test_every_valid_transition_is_used_once_an_epoch(monkeypatch):
    trial = Trial(Corridor(), change(num_epochs=1, minibatch_size=50))
    sizes, original = [], trial.agent._step

    def spy(obs, *rest):
        sizes.append(len(obs))
        return original(obs, *rest)

    monkeypatch.setattr(trial.agent, "_step", spy)
    trial.learn(1)
    assert sorted(sizes) == [42, 43, 43]  # 128 transitions


def test_a_target_kl_stops_the_epochs():
    config = change(learning_rate=0.3, num_epochs=10)
    free, held = Trial(Corridor(), config), Trial(Corridor(), change(config, target_kl=0.01))
    assert free.learn(1)["train/gradient_steps"] == 20
    assert held.learn(1)["train/gradient_steps"] < 20


def test_the_learning_rate_falls_to_zero_when_annealed():
    trial = Trial(Corridor(), change(anneal_learning_rate=True))
    trial.agent.learn(trial.collect(), generator=trial.generator, progress=0.75)
    before = trial.weights()
    metrics = trial.agent.learn(trial.collect(), generator=trial.generator, progress=1.0)
    assert metrics["train/learning_rate"] == 0.0
    assert torch.equal(before, trial.weights())


def test_metrics_carry_the_names_users_look_for():
    metrics = Trial(Corridor()).learn(1)
    for name in (
        "approx_kl",
        "clip_fraction",
        "entropy",
        "policy_loss",
        "value_loss",
        "explained_variance",
        "grad_norm",
    ):
        assert isinstance(metrics[f"train/{name}"], float)
    assert metrics["train/entropy"] == pytest.approx(math.log(2), abs=0.05)


def test_observation_statistics_move_after_learning_and_not_while_acting():
    trial = Trial(Corridor(), change(normalise_observations=True))
    rollout = trial.collect()
    assert trial.agent.net.normaliser.count == 0
    trial.agent.learn(rollout, generator=trial.generator)
    assert trial.agent.net.normaliser.count == 16 * 8
    trial.agent.act_greedy(rollout.obs[0])
    assert trial.agent.net.normaliser.count == 16 * 8


# The loss.


def test_the_clip_loss_equals_its_formula_case_by_case():
    ratio = torch.tensor([0.5, 0.5, 2.0, 2.0, 1.05])
    advantage = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0])
    loss = ppo.ppo_clip_loss(ratio.log(), torch.zeros(5), advantage, clip_coef=0.25)
    assert_close(loss, -torch.tensor([0.5, -0.75, 1.25, -2.0, 1.05]).mean())
    loss = ppo.ppo_clip_loss(ratio.log(), torch.zeros(5), advantage, clip_coef=0.25, log_space=True)
    assert_close(loss, -torch.tensor([0.5, -0.8, 1.25, -2.0, 1.05]).mean())


def test_the_kl_estimate_is_the_kl_in_the_mean():
    p, q = torch.tensor([0.2, 0.8]), torch.tensor([0.5, 0.5])
    sample = torch.tensor([0] * 200 + [1] * 800)
    expected = (p * (p / q).log()).sum()
    assert_close(actor_critic.approx_kl(q.log()[sample], p.log()[sample]), expected)


def test_bad_hyper_parameters_are_refused():
    for fields, message in (
        ({"gamma": 1.5}, "gamma: expected 0 to 1"),
        ({"num_epochs": 0}, "num_epochs: expected at least 1"),
        ({"clip_coef": 0.0}, "clip_coef: expected a number above 0"),
        ({"value_target": "td"}, "no 'td' in value_target; there are gae"),
    ):
        with pytest.raises(ValueError, match=message):
            ppo.Config(**fields)
