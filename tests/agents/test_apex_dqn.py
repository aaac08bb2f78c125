"""Ape-X DQN: the smallest worlds it has to solve, its targets by hand, exploration, replay of bonuses, bookkeeping."""

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
from toy_envs import SPEC, Action, ConstantValue, Corridor, LongChain, ObservationAction, RareReward
from trials import ProbeWorlds

from touchline.agents import apex_dqn
from touchline.agents.parts.actors import Actor
from touchline.agents.parts.q_learning import of_action
from touchline.networks import scoped_seed
from touchline.types import Stream

CONFIG = apex_dqn.Config(
    unroll_length=8,
    batch_size=32,
    replay_ratio=4.0,
    replay_capacity=4000,
    learning_starts=64,
    learning_rate=3e-3,
    gamma=0.5,
    target_interval=20,
    epsilon=0.5,
    epsilon_alpha=3.0,
    hidden=(16,),
    normalise_observations=False,
)


def Trial(envs, config=CONFIG, **options):
    return trials.Trial(apex_dqn, envs, config, **options)


def change(config=CONFIG, **fields):
    return dataclasses.replace(config, **fields)


@pytest.fixture(
    params=[
        {},
        {"double": False},
        {"dueling": False},
        {"n_step": 1},
        {"n_step": 5},
        {"priority_exponent": 0.0},
        {"weight_norm": "buffer"},
        {"normalise_observations": True},
        {"optimiser": "rmsprop", "optimiser_eps": 1e-4},
        {"anneal_learning_rate": True},
    ],
    ids=str,
)
def options(request):
    return request.param


class TestProbeWorlds(ProbeWorlds):
    updates = 160

    def trial(self, envs, **fields):
        return Trial(envs, change(**fields))

    def test_the_paying_action_is_found(self):
        self._greedy_pays(self.trial(Action()))

    def test_the_action_that_suits_the_observation_is_found(self, options):
        self._greedy_pays(self.trial(ObservationAction(), **options))

    def _greedy_pays(self, trial):
        trial.learn(self.updates)
        trial.agent.epsilons = torch.zeros(trial.envs.num_envs)
        assert trial.collect().reward.mean() > 0.9


# The loss.


def test_n_step_targets_by_hand():
    rewards = torch.tensor([[1.0, 1.0, 1.0], [2.0, 2.0, 0.0], [4.0, 0.0, 0.0]])[..., None]  # ends after 3, 2, 1 steps
    targets = apex_dqn.n_step_targets(
        rewards,
        torch.tensor([3, 2, 1]),
        torch.tensor([False, True, False]),
        torch.tensor([[8.0], [8.0], [8.0]]),
        gamma=torch.tensor([0.5]),
    )
    assert_close(targets[:, 0], torch.tensor([1 + 1 + 1 + 1.0, 1 + 1.0, 1 + 4.0]))


def test_every_stream_has_its_own_discount():
    rewards = torch.ones(2, 1, 2)
    targets = apex_dqn.n_step_targets(
        rewards, torch.tensor([2]), torch.tensor([False]), torch.tensor([[4.0, 4.0]]), gamma=torch.tensor([0.5, 1.0])
    )
    assert_close(targets, torch.tensor([[2.5, 6.0]]))


def test_the_huber_loss_is_linear_beyond_one():
    assert_close(apex_dqn.huber(torch.tensor([0.5, -1.0, 3.0])), torch.tensor([0.125, 0.5, 2.5]))


def test_the_gradient_step_is_the_one_in_the_paper():
    """Online net chooses, target net values, importance weights multiply the Huber loss; by hand for one batch."""
    trial = Trial(Corridor(), change(learning_starts=10_000, max_grad_norm=1e9))
    trial.learn(4)
    agent = trial.agent
    with torch.no_grad():  # unlike nets: double and single Q-learning choose unlike actions
        for p in agent.target_net.parameters():
            p.add_(torch.randn(p.shape, generator=trial.generator))
    hand, target = copy.deepcopy(agent.net), copy.deepcopy(agent.target_net)
    optimiser = torch.optim.Adam(hand.parameters(), lr=3e-3, eps=1e-5)
    batch = agent.replay.sample(32, beta=0.4, generator=torch.Generator().manual_seed(9))
    best = hand(batch.last_obs)[:, 0].argmax(-1)
    assert (best != target(batch.last_obs)[:, 0].argmax(-1)).any()
    y = torch.zeros(32)
    for j in range(3):
        y += 0.5**j * batch.rewards[j, :, 0]
    value = target(batch.last_obs)[:, 0].gather(-1, best[:, None])[:, 0]
    y += torch.where(batch.terminated, 0.0, 0.5**batch.num_steps * value)
    q = hand(batch.obs)[:, 0].gather(-1, batch.action[:, None])[:, 0]
    (batch.weight * torch.nn.functional.huber_loss(q, y.detach(), reduction="none")).mean().backward()
    optimiser.step()

    agent._step(torch.Generator().manual_seed(9))
    for ours, theirs in zip(agent.net.parameters(), hand.parameters(), strict=True):
        assert_close(ours, theirs)
    priorities = agent.replay._trees[0][batch.index]
    sizes = ((y - q).abs().detach().double() + 1e-6) ** 0.6
    last = {int(i): size.item() for i, size in zip(batch.index, sizes, strict=True)}
    assert_close(priorities, np.array([last[int(i)] for i in batch.index]), rtol=1e-4, atol=1e-6)


def test_an_actor_s_priorities_are_the_errors_that_the_learner_would_find():
    """Where the n steps are known; its own net is all that an actor has, so both nets are the same here."""
    trial = Trial(Corridor(), change(learning_starts=10_000))
    agent, rollout = trial.agent, trial.collect()
    priority = agent.annotate(rollout).priority
    agent.learn(rollout, generator=trial.generator)
    batch = agent.replay.sample(400, generator=trial.generator)
    best = agent._best(agent.net(batch.last_obs))
    bootstrap = of_action(agent.target_net(batch.last_obs), best)
    y = apex_dqn.n_step_targets(batch.rewards, batch.num_steps, batch.terminated, bootstrap, gamma=agent._gamma)
    errors = (y - of_action(agent.net(batch.obs), batch.action)).abs()[:, 0]
    column, t = np.divmod(batch.index, agent.replay._length)
    assert_close(priority[t, column], errors.detach())


def test_an_actor_sends_priorities_and_the_learner_keeps_them():
    trial = Trial(Corridor(), change(learning_starts=10_000))
    actor = Actor(0, Corridor(num_envs=8), apex_dqn.make(SPEC, CONFIG, seed=1), 8, seed=0)
    rollout = actor.play(0, trial.agent.policy_state()).rollout
    assert rollout.priority.shape == (8, 8)
    trial.agent.learn(rollout._replace(priority=torch.full((8, 8), 2.0)), generator=trial.generator)
    numbers = trial.agent.replay._trees[0][np.arange(4000)]
    assert_close(numbers[numbers > 0], np.full(len(trial.agent.replay), (2 + 1e-6) ** 0.6))


# Does it help?


SPARSE = change(
    replay_ratio=2.0,
    replay_capacity=20_000,
    learning_starts=500,
    learning_rate=1e-3,
    gamma=0.9,
    target_interval=100,
    epsilon=0.4,
    epsilon_alpha=7.0,
    hidden=(64, 64),
)
UNIFORM_ONE_STEP = {"priority_exponent": 0.0, "importance_exponent": 0.0, "n_step": 1}


def steps_to_solve(seed, *, epsilon=None, anneal=None, limit=20_000, **fields):
    """Env steps until the greedy policy walks a chain of 20 cells straight to the end that pays."""
    trial, steps = Trial(LongChain(8), change(SPARSE, **fields)), 0
    trial.generator.manual_seed(seed)
    with scoped_seed(seed):  # a first policy that is neither left nor right everywhere
        for weight in (p for p in trial.agent.net.parameters() if p.ndim > 1):
            torch.nn.init.orthogonal_(weight)
    trial.agent.target_net.load_state_dict(trial.agent.net.state_dict())
    while steps < limit:
        if anneal is not None:
            epsilon = max(0.05, 1 - 0.95 * steps / anneal)
        trial.agent.epsilons = None if epsilon is None else torch.full((8,), epsilon)
        trial.learn(1)
        steps += 64
        if all(trial.agent.act_greedy(LongChain.all_observations()[:-1]) == 1):
            break
    return steps


def test_priorities_three_steps_and_the_ladder_take_three_fifths_of_the_steps_of_plain_dqn_or_less():
    """Controls: without the ladder's exploration nothing is found; without priorities it takes longer."""
    seeds = range(5)
    ours = [steps_to_solve(seed) for seed in seeds]
    plain = [steps_to_solve(seed, anneal=20_000, **UNIFORM_ONE_STEP) for seed in seeds]
    frozen = [steps_to_solve(seed, priority_exponent=0.0) for seed in seeds]
    steady = [steps_to_solve(seed, epsilon=0.0007) for seed in seeds]
    print(f"Ape-X {ours}\nuniform, one step, annealed {plain}\npriorities frozen {frozen}\nall steady {steady}")
    assert np.mean(ours) <= 0.6 * np.mean(plain)
    assert np.mean(frozen) > np.mean(ours) / 0.6
    assert np.median(steady) == 20_032  # the limit: not solved


class Inverted:
    """A replay whose importance weights are turned upside down."""

    def __init__(self, replay):
        self._replay = replay

    def __getattr__(self, name):
        return getattr(self._replay, name)

    def __len__(self):
        return len(self._replay)

    def sample(self, *arguments, **options):
        batch = self._replay.sample(*arguments, **options)
        return batch._replace(weight=(1 / batch.weight) / (1 / batch.weight).max())


@pytest.mark.parametrize("inverted", [False, True])
def test_importance_weights_make_up_for_drawing_what_surprises_more_often(inverted):
    """A rare reward surprises always; the control with inverted weights believes in it far too much."""
    config = change(n_step=1, importance_exponent=1.0, learning_rate=1e-3, batch_size=128, replay_ratio=8.0)
    trial = Trial(RareReward(), config)
    trial.learn(3)
    if inverted:
        trial.agent.replay = Inverted(trial.agent.replay)
    trial.learn(120)
    paid = trial.agent.replay._reward[trial.agent.replay._trees[0][np.arange(4000)] > 0].mean()
    values = [trial.value(sign, 1.0, 0.0) for sign in (-1.0, 1.0)]
    if inverted:
        assert min(values) > 2.5 * paid
    else:
        assert np.mean(values) == pytest.approx(paid, rel=0.35)


def test_a_bootstrap_through_the_end_of_an_episode_would_be_noticed():
    """The control of the constant world, whose value is 1: with ends taken for cuts by a clock it is 1 / (1 - 0.5)."""
    trial = Trial(ConstantValue(), CONFIG)
    trial.learn(160, lambda r: r._replace(terminated=r.truncated, truncated=r.terminated))
    assert trial.value(1.0, 1.0, 0.0) > 1.15


# Exploration.


def test_golden_epsilon_ladder():
    ladder = apex_dqn.epsilon_ladder(8)
    assert_close(
        ladder,
        torch.tensor([0.4, 0.16, 0.064, 0.0256, 0.01024, 0.0041, 0.00164, 0.00066]),
        atol=5e-5,
        rtol=0,
    )
    assert_close(apex_dqn.epsilon_ladder(1), torch.tensor([0.4]))


def test_the_ladder_is_shared_out_among_actors():
    agents = [apex_dqn.make(SPEC, CONFIG, num_actors=2) for _ in range(2)]
    agents[1].actor = 1
    ladder = apex_dqn.epsilon_ladder(8, epsilon=0.5, alpha=3.0)
    together = torch.cat([agent._epsilons(4) for agent in agents])
    assert_close(together.sort()[0], ladder.sort()[0])
    assert agents[0]._epsilons(4)[0] > agents[1]._epsilons(4)[0]


def test_actions_are_random_as_often_as_epsilon_says_and_their_probability_is_told():
    agent, obs = apex_dqn.make(SPEC, CONFIG), torch.zeros(20_000, 3)
    agent.epsilons = torch.full((20_000,), 0.3)
    action, log_prob = agent.act(obs, torch.Generator().manual_seed(0))
    best = agent.act_greedy(obs)
    assert (action == best).float().mean().item() == pytest.approx(1 - 0.3 + 0.15, abs=0.01)
    assert_close(log_prob.exp(), torch.where(action == best, 0.85, 0.15))


# Bonuses.


class Echo:
    """Pays the observation's first number times `scale`, at once and when asked again."""

    def __init__(self):
        self.scale = 1.0

    def score(self, transitions):
        return {"novelty": self.scale * transitions.obs[:, 0]}


def test_a_bonus_is_asked_again_about_replayed_transitions():
    bonus = Echo()
    agent = apex_dqn.make(SPEC, CONFIG, bonus_streams=[Stream("novelty", 0.5)], scores=[bonus.score])
    trial = Trial(Corridor())
    rollout = trial.collect()
    rewards = {"extrinsic": rollout.reward, "novelty": rollout.obs[:-1, :, 0]}
    agent.learn(rollout, rewards, generator=trial.generator)
    batch = agent.replay.sample(64, generator=trial.generator)
    assert_close(agent._rescored(batch), batch.rewards)
    bonus.scale = 3.0
    changed = agent._rescored(batch)
    assert_close(changed[..., 0], batch.rewards[..., 0])
    assert_close(changed[..., 1], 3 * batch.rewards[..., 1])


def test_a_bonus_that_cannot_score_pays_what_it_paid():
    agent = apex_dqn.make(SPEC, CONFIG, bonus_streams=[Stream("novelty", 0.5)])
    trial = Trial(Corridor())
    rollout = trial.collect()
    rewards = {"extrinsic": rollout.reward, "novelty": torch.full_like(rollout.reward, 7.0)}
    agent.learn(rollout, rewards, generator=trial.generator)
    batch = agent.replay.sample(64, generator=trial.generator)
    assert set(agent._rescored(batch)[0, :, 1].tolist()) == {7.0}
    with pytest.raises(ValueError, match="expected rewards of streams extrinsic, novelty; got extrinsic"):
        agent.learn(rollout, generator=trial.generator)


# Bookkeeping.


def test_a_seed_repeats_a_training():
    first, second = Trial(Corridor()), Trial(Corridor())
    first.learn(6)
    second.learn(6)
    assert torch.equal(first.weights(), second.weights())


def test_acting_and_learning_leave_global_randomness_alone():
    trial, before = Trial(Corridor()), torch.random.get_rng_state()
    trial.learn(4)
    assert torch.equal(before, torch.random.get_rng_state())


def test_transitions_are_drawn_as_often_as_the_replay_ratio_says():
    trial = Trial(Corridor(), change(replay_ratio=1.3, learning_starts=1))
    trial.learn(20)
    assert trial.agent.gradient_steps == math.floor(20 * 64 * 1.3 / 32)


def test_nothing_is_learned_before_the_replay_is_full_enough():
    trial = Trial(Corridor(), change(learning_starts=500))
    before = trial.weights()
    trial.learn(7)
    assert torch.equal(trial.weights(), before)
    trial.learn(2)
    assert not torch.equal(trial.weights(), before)


def test_the_target_network_follows_at_its_interval():
    trial = Trial(Corridor(), change(target_interval=7, learning_starts=1, replay_ratio=0.5))

    def differ():
        pairs = zip(trial.agent.net.parameters(), trial.agent.target_net.parameters(), strict=True)
        return any(not torch.equal(a, b) for a, b in pairs)

    changes = []
    for _ in range(14):
        trial.learn(1)
        changes.append((trial.agent.gradient_steps, differ()))
    assert all(different == (steps % 7 != 0) for steps, different in changes)
    assert any(different for _, different in changes)


def test_masked_transitions_are_never_drawn():
    trial = Trial(Corridor(lost_at={5: 2}), change(learning_starts=10_000))
    rollout = trial.collect()
    assert not rollout.mask[5, 2]
    trial.agent.learn(rollout, generator=trial.generator)
    assert trial.agent.replay._trees[0][np.array([2 * trial.agent.replay._length + 5])] == 0
    assert trial.agent.replay._trees[0][np.array([2 * trial.agent.replay._length + 4])] > 0


@pytest.mark.parametrize("kept", [True, False])
def test_a_checkpoint_holds_the_replay_if_asked(kept):
    config = change(checkpoint_replay=kept)
    trial, other = Trial(Corridor(), config), Trial(Corridor(), config)
    trial.learn(5)
    other.agent.load_state_dict(copy.deepcopy(trial.agent.state_dict()))
    rollout = trial.collect()
    for one in (trial, other):
        one.agent.learn(rollout, generator=torch.Generator().manual_seed(3))
    assert torch.equal(trial.weights(), other.weights()) == kept
    assert len(other.agent.replay) < len(trial.agent.replay) or kept


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"batch_size": 0}, "batch_size: expected at least 1"),
        ({"replay_ratio": 0.0}, "replay_ratio: expected a number above 0"),
        ({"weight_norm": "sum"}, "no 'sum' in weight_norm; there are batch, buffer"),
        ({"epsilon": 1.5}, "epsilon: expected 0 to 1"),
        ({"value_target": "gae"}, "gae follows a whole rollout of the policy that learns"),
    ],
)
def test_bad_hyper_parameters_are_refused(fields, problem):
    with pytest.raises(ValueError, match=problem):
        change(**fields)


def test_targets_and_streams_that_need_rollouts_are_refused_with_the_reason():
    with pytest.raises(ValueError, match="replay holds single transitions"):
        apex_dqn.make(SPEC, CONFIG, value_target=object())
    with pytest.raises(ValueError, match="novelty: returns that run on through ends of episodes"):
        apex_dqn.make(SPEC, CONFIG, bonus_streams=[Stream("novelty", 0.9, episodic=False)])


@pytest.mark.parametrize("fields", [{}, {"mulex": "episode"}])
def test_a_past_self_hardly_explores_in_however_few_matches(fields):
    streams = (Stream("novelty", 0.9),) if fields else ()
    past = apex_dqn.make(SPEC, change(**fields), bonus_streams=streams).as_opponent()
    assert not hasattr(past, "initial_state")
    obs = torch.zeros(1, 3)
    best = past.act_greedy(obs).item()
    drawn = [past.act(obs, torch.Generator().manual_seed(seed))[0].item() for seed in range(300)]
    assert 0 < sum(action != best for action in drawn) < 15  # 0.4 of them explore as the ladder's only one
