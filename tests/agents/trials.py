"""An agent in a toy world, for the tests of every agent, and what each of them has to solve there."""

import copy
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from toy_envs import Action, ConstantValue, Discounted, Endless, ObservationAction, ValueFromObservation

from touchline.rollout import Buffer, collect, env_spec


class Trial:
    """An agent and its toy world; the policy that acts lags `lag` updates behind."""

    def __init__(self, module, envs, config, *, lag=0, **options):
        self.envs, self.config = envs, config
        spec = env_spec(envs)
        self.agent = module.make(spec, config, seed=0, **options)
        self.buffer = Buffer(spec, envs.num_envs, config.unroll_length)
        self.generator = torch.Generator().manual_seed(0)
        self.obs, _ = envs.reset(seed=0)
        self.lag, self.versions, self.actor = lag, [], copy.deepcopy(self.agent) if lag else self.agent

    def collect(self):
        if self.lag:
            self.versions = [*self.versions, self.agent.policy_state()][-self.lag - 1 :]
            self.actor.load_policy(self.versions[0])
        rollout, self.obs = collect(self.envs, self.actor, self.obs, self.buffer, self.generator)
        return rollout

    def learn(self, updates, change=lambda rollout: rollout):
        for _ in range(updates):
            metrics = self.agent.learn(change(self.collect()), generator=self.generator)
        return metrics

    def weights(self):
        return torch.cat([p.detach().flatten() for p in self.agent.net.parameters()])

    def greedy(self, obs):
        """The best actions [K] where episodes begin, for obs [K, *obs]."""
        memory = self.agent.initial_state(len(obs)) if hasattr(self.agent, "initial_state") else None
        return self.agent.act_greedy(obs) if memory is None else self.agent.act_recurrent(obs, memory, None)[0]

    def value(self, *obs):
        """Of a policy with values, or of the best action."""
        with torch.no_grad():
            if hasattr(self.agent.net, "values"):
                return self.agent.net.values(torch.tensor([obs]))[0, 0].item()
            return self.agent.net(torch.tensor([obs]))[0, 0].max().item()


class ProbeWorlds:
    """Each adds one thing that can be wrong. A subclass has `trial(envs, **fields)` and `updates`, about 40."""

    updates = 40

    def test_a_constant_value_is_learned(self):
        trial = self.trial(ConstantValue())
        trial.learn(self.updates)
        assert trial.value(1.0, 1.0, 0.0) == pytest.approx(1, abs=0.05)

    def test_a_value_that_depends_on_the_observation_is_learned(self):
        trial = self.trial(ValueFromObservation())
        trial.learn(self.updates)
        assert trial.value(1.0, 1.0, 0.0) == pytest.approx(1, abs=0.1)
        assert trial.value(-1.0, 1.0, 0.0) == pytest.approx(-1, abs=0.1)

    def test_a_delayed_reward_is_discounted(self):
        trial = self.trial(Discounted())
        trial.learn(3 * self.updates // 2)
        assert trial.value(1.0, 0.0, 0.1) == pytest.approx(1, abs=0.1)
        assert trial.value(1.0, 1.0, 0.0) == pytest.approx(0.5, abs=0.1)

    def test_the_paying_action_is_found(self):
        trial = self.trial(Action())
        trial.learn(self.updates)
        assert trial.collect().reward.mean() > 0.9

    def test_the_action_that_suits_the_observation_is_found(self, options):
        trial = self.trial(ObservationAction(), **options)
        trial.learn(self.updates)
        assert trial.collect().reward.mean() > 0.9
        greedy = trial.greedy(torch.tensor([[1.0, 1.0, 0.0], [-1.0, 1.0, 0.0]]))
        assert greedy.tolist() == [1, 0]

    def test_truncation_bootstraps_from_final_obs_not_reset_obs(self):
        def with_resets_as_finals(rollout):
            index = rollout.final_index
            return rollout._replace(final_obs=rollout.obs[1:][index[:, 0], index[:, 1]])

        right, wrong = self.trial(Endless(), gamma=0.8), self.trial(Endless(), gamma=0.8)
        right.learn(3 * self.updates)
        wrong.learn(3 * self.updates, with_resets_as_finals)
        middle = (1.0, 0.0, 0.3)
        assert right.value(*middle) == pytest.approx(1 / (1 - 0.8), abs=0.5)
        assert wrong.value(*middle) < 3.5  # the control: it believes that the clock leads back to the start
