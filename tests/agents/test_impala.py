"""IMPALA: the smallest worlds it has to solve, its bookkeeping, and learning from an older policy."""

import copy
import dataclasses
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
import trials
from toy_envs import (
    Chain,
    Corridor,
    Recall,
)
from trials import ProbeWorlds

from touchline.agents import impala
from touchline.rollout import env_spec

CONFIG = impala.Config(
    unroll_length=16,
    batch_size=2,
    learning_rate=5e-3,
    gamma=0.5,
    entropy_coef=0.0,
    shared_encoder=False,
    policy_hidden=(16,),
    value_hidden=(16,),
    normalise_observations=False,
)


def Trial(envs, config=CONFIG, **options):
    return trials.Trial(impala, envs, config, **options)


def change(config=CONFIG, **fields):
    return dataclasses.replace(config, **fields)


@pytest.fixture(
    params=[
        {},
        {"normalise_values": True},
        {"normalise_observations": True},
        {"shared_encoder": True},
        {"optimiser": "rmsprop", "optimiser_eps": 0.01},
        {"reward_clip": 0.5},
        {"gae_lambda": 0.9},
        {"lstm": 16, "shared_encoder": True},
        {"anneal_learning_rate": True},
        {"num_epochs": 3},
        {"normalise_advantages": True},
        {"clip_coef": 0.2, "num_epochs": 4},
    ],
    ids=str,
)
def options(request):
    return request.param


class TestProbeWorlds(ProbeWorlds):
    updates = 80

    def trial(self, envs, **fields):
        return Trial(envs, change(**fields))


# Learning from an older policy.


CHAIN = change(gamma=0.9, learning_rate=0.2, policy_hidden=(), value_hidden=(), batch_size=16, max_grad_norm=1e9)


def way_along_a_chain(lag, seed, *, corrected=True):
    """The probability of walking a chain with noisy rewards straight to its end, after 200 updates."""
    trial = Trial(Chain(16, noise=1.0), CHAIN, lag=lag)
    trial.generator.manual_seed(seed)

    def believed_on_policy(rollout):
        with torch.no_grad():
            log_probs = trial.agent.net.logits(rollout.obs[:-1]).log_softmax(-1)
        return rollout._replace(behaviour_log_prob=log_probs.gather(-1, rollout.action[..., None])[..., 0])

    trial.learn(200, (lambda rollout: rollout) if corrected else believed_on_policy)
    with torch.no_grad():
        return trial.agent.net.logits(Chain.all_observations()[:-1]).softmax(-1)[:, 1].prod().item()


@pytest.mark.parametrize("lag", [0, 1, 4, 16])
def test_the_way_along_a_chain_is_found_at_every_lag(lag):
    found = [way_along_a_chain(lag, seed) for seed in range(5)]
    print(f"lag {lag}: {found}")
    assert sum(probability > 0.9 for probability in found) >= 4  # noise may lead one to the wall that pays a little


def test_without_correction_an_old_policys_noise_is_learned_instead():
    """The control: with ratios of 1, unlucky actions that the policy has long given up are pushed away ever further."""
    found = [way_along_a_chain(16, seed, corrected=False) for seed in range(5)]
    print(f"lag 16, ratios of 1: {found}")
    assert np.median(found) < 0.5


def test_the_ratios_of_an_old_policy_differ_from_one_and_are_reported():
    trial = Trial(Chain(16), CHAIN, lag=16)
    metrics = trial.learn(30)
    assert metrics["train/approx_kl"] > 1e-4
    assert 0 < metrics["train/mean_rho"] < 1
    fresh = Trial(Chain(16), change(CHAIN, batch_size=1000)).learn(1)
    assert fresh["train/approx_kl"] == pytest.approx(0, abs=1e-6)
    assert fresh["train/mean_rho"] == pytest.approx(1, abs=1e-6)


# Memory.


LSTM = {"lstm": 16, "shared_encoder": True, "gamma": 0.9}


@pytest.mark.parametrize("lag", [0, 2])
def test_a_memory_recalls_what_was_seen_two_steps_ago(lag):
    trial = Trial(Recall(16), change(**LSTM, batch_size=8), lag=lag)
    trial.learn(150)
    assert trial.collect().reward.sum() / trial.collect().terminated.sum() > 0.8


def test_without_a_memory_nobody_can():
    trial = Trial(Recall(16), change(gamma=0.9, batch_size=8))
    trial.learn(150)
    assert trial.collect().reward.sum() / trial.collect().terminated.sum() < 0.5


def test_the_learner_goes_through_the_memories_that_the_actor_had():
    """Play of the newest policy has ratios of 1, over ends of episodes and from one unroll to the next."""
    trial = Trial(Corridor(lost_at={5: 2}), change(**LSTM, batch_size=100, learning_rate=1e-9, policy_head_gain=1.0))
    for _ in range(3):
        metrics = trial.learn(1)
        assert metrics["train/approx_kl"] == pytest.approx(0, abs=1e-6)
        assert metrics["train/mean_rho"] == pytest.approx(1, abs=1e-5)
    rollout = trial.collect()
    assert rollout.initial_state.abs().max() > 0
    forgetful = rollout._replace(initial_state=torch.zeros_like(rollout.initial_state))  # the control
    assert trial.agent.learn(forgetful, generator=trial.generator)["train/approx_kl"] > 1e-7


def test_the_value_of_a_last_observation_remembers_its_own_episode():
    trial = Trial(Corridor(), change(**LSTM))
    net, rollout = trial.agent.net, trial.collect()
    _, _, _, next_values = trial.agent.unrolled(rollout)
    t, column = rollout.final_index[-1].tolist()
    first = max([-1, *(s for s, c in rollout.final_index.tolist() if c == column and s < t)]) + 1
    state = net.initial_state(1) if first else rollout.initial_state[:, column : column + 1]
    with torch.no_grad():
        for s in range(first, t + 1):
            state = net.step(rollout.obs[s, column][None], state)[2]
        value = net.step(rollout.final_obs[-1][None], state)[1]
    assert_close(next_values[t, column], value[0])


def test_a_memory_needs_one_encoder():
    with pytest.raises(ValueError, match="shared_encoder must be True"):
        Trial(Corridor(), change(lstm=16))


# Bookkeeping.


def test_a_seed_repeats_a_training():
    first, second = Trial(Corridor()), Trial(Corridor())
    first.learn(3)
    second.learn(3)
    assert torch.equal(first.weights(), second.weights())


def test_acting_and_learning_leave_global_randomness_alone():
    trial, before = Trial(Corridor()), torch.random.get_rng_state()
    trial.learn(2)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("poisons", [(1.0, 1e6), (None, 1.0)])
def test_masked_transitions_change_nothing_whatever_they_hold(poisons):
    """The second pair is the control: a poison that is not masked is noticed."""
    weights = []
    for poison in poisons:
        lost_at = {} if None in poisons else {5: 2}
        trial = Trial(Corridor(lost_at=lost_at), change(normalise_observations=True))
        rollout = trial.collect()
        lost = ~rollout.mask
        assert lost.sum() == len(lost_at)
        if not lost_at:
            lost[5, 2] = True
        if poison is not None:
            rollout.reward[lost] = poison
            rollout.action[lost] = int(poison == 1.0)
            rollout.behaviour_log_prob[lost] = -poison
        metrics = trial.agent.learn(rollout, generator=trial.generator)
        assert all(math.isfinite(x) for x in metrics.values())
        weights.append(trial.weights())
    assert torch.equal(*weights) == (None not in poisons)


def test_every_column_is_used_once(monkeypatch):
    trial, seen = Trial(Corridor(), change(batch_size=3)), []
    original = trial.agent._step
    monkeypatch.setattr(trial.agent, "_step", lambda part, rewards: (seen.append(part), original(part, rewards))[1])
    rollout = trial.collect()
    trial.agent.learn(rollout, generator=trial.generator)
    assert [part.action.shape[1] for part in seen] == [3, 3, 2]
    together = torch.cat([part.behaviour_log_prob for part in seen], 1)
    assert_close(together.sort(1)[0], rollout.behaviour_log_prob.sort(1)[0])


def test_every_column_is_used_once_an_epoch(monkeypatch):
    trial, seen = Trial(Corridor(), change(batch_size=3, num_epochs=2)), []
    original = trial.agent._step
    monkeypatch.setattr(trial.agent, "_step", lambda part, rewards: (seen.append(part), original(part, rewards))[1])
    rollout = trial.collect()
    trial.agent.learn(rollout, generator=trial.generator)
    for epoch in (seen[:3], seen[3:]):
        together = torch.cat([part.behaviour_log_prob for part in epoch], 1)
        assert_close(together.sort(1)[0], rollout.behaviour_log_prob.sort(1)[0])


def test_the_scale_of_rewards_does_not_matter_where_advantages_are_normalised():
    """With Adam, whose steps do not depend on it either, the policy learns the same from rewards 100 times as large."""
    policies = []
    for scale in (1.0, 100.0):
        trial = Trial(Corridor(), change(normalise_advantages=True, value_coef=0.0, entropy_coef=0.3, batch_size=100))
        with torch.no_grad():
            trial.agent.net.value_head.weight.zero_()
        for _ in range(5):
            rollout = trial.collect()
            trial.agent.learn(rollout._replace(reward=scale * rollout.reward), generator=trial.generator)
        policies.append(trial.agent.net.logits(torch.eye(3)))
    assert_close(*policies, rtol=1e-3, atol=1e-4)


def test_the_clip_drops_what_has_gone_as_far_as_its_advantage_may_take_it():
    ratios = torch.tensor([[1.3, 1.3, 0.7, 0.7, 1.1, 0.9]])
    advantages = torch.tensor([[1.0, -1.0, 1.0, -1.0, 1.0, -1.0]])
    dropped = impala.beyond_clip(ratios.log(), advantages, clip_coef=0.2)
    assert dropped.tolist() == [[True, False, False, True, False, False]]
    # PPO's clipped objective, whose gradient with respect to the ratio is 0 at the same places.
    ratios.requires_grad_()
    torch.min(ratios * advantages, ratios.clamp(0.8, 1.2) * advantages).sum().backward()
    assert (ratios.grad == 0).tolist() == dropped.tolist()


def test_columns_of_a_rollout_keep_their_last_observations():
    rollout = Trial(Corridor(num_envs=5)).collect()
    chosen = torch.tensor([3, 0])
    part = rollout.columns(chosen)
    assert_close(part.next_obs(), rollout.next_obs()[:, chosen])
    assert len(part.final_obs) == len(part.final_index) == 2 * len(rollout.final_obs) / 5
    assert torch.equal(part.truncated, rollout.truncated[:, chosen])


def test_nothing_is_learned_where_nothing_was_valid():
    trial = Trial(Corridor())
    rollout, before = trial.collect(), trial.weights()
    rollout.mask.fill_(False)
    trial.agent.learn(rollout, generator=trial.generator)
    assert torch.equal(trial.weights(), before)


def test_the_loss_is_the_one_in_the_paper():
    """One gradient step by hand, from returns.vtrace, against the agent's."""
    from touchline import returns

    config = change(batch_size=100, entropy_coef=0.01, value_coef=0.5, max_grad_norm=1e9)
    trial, hand = Trial(Corridor(), config, lag=1), impala.make(env_spec(Corridor()), config, seed=0)
    trial.learn(3)
    hand.load_state_dict(copy.deepcopy(trial.agent.state_dict()))
    rollout = trial.collect()
    trial.agent.learn(rollout, generator=trial.generator)

    log_probs = hand.net.logits(rollout.obs[:-1]).log_softmax(-1)
    log_prob = log_probs.gather(-1, rollout.action[..., None])[..., 0]
    values = hand.net.values(rollout.obs[:-1])[..., 0]
    next_values = hand.net.values(rollout.next_obs())[..., 0].detach()
    result = returns.vtrace(
        rollout.reward,
        values.detach(),
        next_values,
        rollout.terminated,
        rollout.truncated,
        (log_prob - rollout.behaviour_log_prob).detach(),
        gamma=0.5,
    )
    entropy = -(log_probs.exp() * log_probs).sum(-1).mean()
    loss = -(log_prob * result.advantages).mean() + 0.25 * (result.targets - values).square().mean() - 0.01 * entropy
    hand.optimiser.zero_grad()
    loss.backward()
    hand.optimiser.step()
    ours, theirs = trial.agent.net.state_dict(), hand.net.state_dict()
    for name in ours:
        assert_close(ours[name], theirs[name])


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"batch_size": 0}, "batch_size: expected at least 1"),
        ({"rho_bar": 0.0}, "rho_bar: expected a number above 0"),
        ({"optimiser": "sgd"}, "no 'sgd' in optimiser; there are adam, rmsprop"),
        ({"reward_clip": -1.0}, "reward_clip: expected a number above 0"),
        ({"gamma": 1.5}, "gamma: expected 0 to 1"),
    ],
)
def test_bad_hyper_parameters_are_refused(fields, problem):
    with pytest.raises(ValueError, match=problem):
        change(**fields)
