"""MULEX: who acts when, who learns from what, and whom an evaluation sees."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "agents"))
from toy_envs import SPEC, Action, Corridor

from touchline.agents import apex_dqn, impala
from touchline.agents.parts.mulex_agent import MulexAgent
from touchline.curiosity.mulex import SCHEDULES, Scheduler, acting_stream
from touchline.rollout import Buffer, collect, env_spec
from touchline.types import Stream

NOVELTY = (Stream("novelty", 0.9),)
SMALL = {
    "apex_dqn": apex_dqn.Config(
        hidden=(16,), batch_size=16, learning_starts=16, replay_capacity=2000, learning_rate=1e-2, gamma=0.5,
        mulex="episode",
    ),
    "impala": impala.Config(
        policy_hidden=(16,), value_hidden=(16,), shared_encoder=False, unroll_length=16, batch_size=8,
        learning_rate=1e-2, gamma=0.5, mulex="episode",
    ),
}  # fmt: skip
MODULES = {"apex_dqn": apex_dqn, "impala": impala}


def make(name, streams=NOVELTY, **fields):
    config = type(SMALL[name])(**{**vars(SMALL[name]), **fields})
    return MODULES[name].make(SPEC, config, bonus_streams=streams)


class Trial:
    """An agent in a world; the novelty stream pays for action 0."""

    def __init__(self, agent, envs, seed=0):
        self.agent, self.envs, self.generator = agent, envs, torch.Generator().manual_seed(seed)
        self.buffer = Buffer(env_spec(envs), envs.num_envs, 16)
        self.obs, _ = envs.reset(seed=seed)

    def collect(self):
        rollout, self.obs = collect(self.envs, self.agent, self.obs, self.buffer, self.generator)
        return rollout

    def learn(self, updates):
        for _ in range(updates):
            rollout = self.collect()
            rewards = {"extrinsic": rollout.reward, "novelty": 1.0 - rollout.action.float()}
            metrics = self.agent.learn(rollout, rewards, generator=self.generator)
        return metrics


def test_on_impala_the_coef_of_a_bonus_weighs_nothing():
    learned = []
    for coef in (1.0, 0.01):
        trial = Trial(make("impala", (Stream("novelty", 0.9, coef=coef),), normalise_advantages=False), Action())
        trial.learn(2)
        learned.append(torch.cat([w.flatten() for net in trial.agent.nets for w in net.parameters()]))
    assert torch.equal(*learned)


# Who acts.


def follow(scheduler, ends, columns=4, seed=0):
    """The acting streams [steps, B], where all episodes end after the steps in `ends`."""
    state, generator, out = scheduler.initial_state(columns), torch.Generator().manual_seed(seed), []
    for t in range(12):
        chosen, state = scheduler.choose(state, generator)
        assert (acting_stream(state) == chosen).all()
        out.append(chosen)
        if t in ends:
            state = torch.zeros_like(state)
    return torch.stack(out)


def test_streams_take_turns_by_the_episode_and_keep_to_it_until_it_ends():
    acted = follow(Scheduler("episode", 3), ends={4, 8})
    assert acted[0].tolist() == [0, 1, 2, 0] and acted[5].tolist() == [1, 2, 0, 1] and acted[9].tolist() == [2, 0, 1, 2]
    assert (acted[:5] == acted[0]).all() and (acted[5:9] == acted[5]).all()


@pytest.mark.parametrize(("schedule", "ends"), [("episode", {2, 5, 8}), ("steps", set())])
def test_every_column_has_its_turns_where_all_columns_change_at_once(schedule, ends):
    acted = follow(Scheduler(schedule, 2, steps=3), ends=ends)
    assert acted[0].tolist() == [0, 1, 0, 1] and (acted[1:3] == acted[0]).all()
    assert acted[3].tolist() == [1, 0, 1, 0] and acted[6].tolist() == [0, 1, 0, 1] and acted[9].tolist() == [1, 0, 1, 0]


def test_turns_can_be_of_some_steps_at_random_or_one_alone():
    by_steps = follow(Scheduler("steps", 2, steps=3), ends=set(), columns=1)[:, 0]
    assert by_steps.tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1]
    drawn = follow(Scheduler("random", 2), ends={5}, columns=1000)
    assert drawn[0].float().mean() == pytest.approx(0.5, abs=0.06) and (drawn[:6] == drawn[0]).all()
    assert (follow(Scheduler("exploiter", 3), {5}) == 0).all() and (follow(Scheduler("explorer", 3), {5}) == 1).all()


def test_without_a_bonus_there_is_nobody_to_explore_and_a_wrong_schedule_says_which_there_are():
    with pytest.raises(ValueError, match="a stream besides the extrinsic one to explore with: give a bonus"):
        make("apex_dqn", streams=())
    with pytest.raises(ValueError, match="no 'hour' in mulex; there are episode, steps"):
        make("impala", mulex="hour")


# The agents.


@pytest.mark.parametrize("name", MODULES)
def test_both_policies_learn_their_own_stream_and_only_the_exploiter_is_evaluated(name):
    """The world pays for action 1, the novelty stream for action 0."""
    trial = Trial(make(name), Action())
    trial.learn(60)
    obs = torch.tensor([[1.0, 1.0, 0.0], [-1.0, 1.0, 0.0]])
    exploiter, explorer = trial.agent.parts
    assert exploiter.act_greedy(obs).tolist() == [1, 1] == trial.agent.act_greedy(obs).tolist()
    assert explorer.act_greedy(obs).tolist() == [0, 0]
    best, _, _ = trial.agent.act_recurrent(obs, trial.agent.initial_state(2), None)
    assert best.tolist() == [1, 1]


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_who_acted_is_written_down_and_its_probabilities_are_those_of_who_acted(name, schedule):
    trial = Trial(make(name, mulex=schedule, mulex_steps=3), Corridor())
    trial.learn(3)
    rollout = trial.collect()
    assert rollout.acting.shape == rollout.action.shape
    if name == "impala":
        for m, part in enumerate(trial.agent.parts):
            wanted = part.net.logits(rollout.obs[:-1].flatten(0, 1)).log_softmax(-1).view(16, 8, 2)
            wanted = wanted.gather(-1, rollout.action[..., None])[..., 0]
            here = rollout.acting == m
            assert torch.allclose(rollout.behaviour_log_prob[here], wanted[here], atol=1e-5)
    if schedule == "explorer":
        assert (rollout.acting == 1).all()


@pytest.mark.parametrize("name", MODULES)
def test_an_exploiter_that_never_acts_learns_from_the_explorer_s_play_unless_nothing_is_shared(name):
    def exploiter_after(**fields):
        trial = Trial(make(name, mulex="explorer", **fields), Action())
        before = [p.clone() for p in trial.agent.parts[0].net.parameters()]
        trial.learn(40)
        moved = any(not torch.equal(a, b) for a, b in zip(before, trial.agent.parts[0].net.parameters(), strict=True))
        return moved, trial.agent.parts[0].act_greedy(torch.tensor([[1.0, 1.0, 0.0]])).item()

    assert exploiter_after() == (True, 1)
    assert not exploiter_after(share_experience=False)[0]  # the control


@pytest.mark.parametrize("name", MODULES)
def test_an_encoder_can_be_shared(name):
    apart, shared = make(name), make(name, share_encoder=True)
    encoder = "encoder" if name == "apex_dqn" else "policy_encoder"
    assert getattr(apart.parts[0].net, encoder) is not getattr(apart.parts[1].net, encoder)
    assert getattr(shared.parts[0].net, encoder) is getattr(shared.parts[1].net, encoder)
    metrics = Trial(shared, Corridor()).learn(3)
    assert all(torch.tensor(x).isfinite() for key, x in metrics.items() if "variance" not in key)


@pytest.mark.parametrize("name", MODULES)
def test_a_saved_agent_goes_on_as_it_would_have(name, tmp_path):
    # Who has lost count of what is in the replay would not learn for two more rollouts.
    fields = {"checkpoint_replay": True, "learning_starts": 300} if name == "apex_dqn" else {}
    trial = Trial(make(name, **fields), Corridor())
    trial.learn(3)
    torch.save(trial.agent.state_dict(), tmp_path / "x.pt")
    other = make(name, **fields)
    other.load_state_dict(torch.load(tmp_path / "x.pt", weights_only=True))
    obs = torch.zeros(8, 3)
    states = [
        agent.act_recurrent(obs, agent.initial_state(8), torch.Generator().manual_seed(2))
        for agent in (trial.agent, other)
    ]
    assert all(torch.equal(x, y) for x, y in zip(*states, strict=True))
    rollout = trial.collect().clone()
    rewards = {"extrinsic": rollout.reward, "novelty": 1.0 - rollout.action.float()}
    for agent in (trial.agent, other):
        metrics = agent.learn(rollout, rewards, generator=torch.Generator().manual_seed(1))
        assert metrics["train/gradient_steps_novelty"] > 0
    for a, b in zip(trial.agent.parts, other.parts, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a.net.parameters(), b.net.parameters(), strict=True))


def test_scaling_the_bonus_by_a_power_of_two_changes_no_action_of_linear_mulex():
    """Q of the explorer scales with its reward; a mixture of both rewards has no such invariance (the control)."""

    def actions(scale, mulex):
        agent = apex_dqn.make(
            SPEC,
            apex_dqn.Config(
                hidden=(), dueling=False, batch_size=16, learning_starts=16, replay_capacity=2000, gamma=0.5,
                mulex=mulex, optimiser_eps=1e-30, learning_rate=1e-3, normalise_observations=False,
                priority_exponent=0.0, max_grad_norm=1e9, n_step=1,
            ),
            bonus_streams=NOVELTY,
        )  # fmt: skip
        with torch.no_grad():
            for part in agent.parts if mulex else [agent]:
                for net in (part.net, part.target_net):
                    for p in net.parameters():
                        p.zero_()
                part.optimiser = torch.optim.SGD(part.net.parameters(), lr=0.05)
        trial, out = Trial(agent, Corridor()), []
        for _ in range(30):
            rollout = trial.collect()
            out.append(rollout.action.clone())
            novelty = scale * (rollout.action != (rollout.obs[:-1, :, 0] > 0)).float() * 0.01
            agent.learn(rollout, {"extrinsic": 0.01 * rollout.reward, "novelty": novelty}, generator=trial.generator)
        return torch.stack(out)

    assert torch.equal(actions(1.0, "episode"), actions(16.0, "episode"))
    assert not torch.equal(actions(1.0, None), actions(16.0, None))


def test_it_is_one_agent_to_the_loop():
    agent = make("apex_dqn")
    assert isinstance(agent, MulexAgent) and [s.name for s in agent.streams] == ["extrinsic", "novelty"]
    metrics = Trial(agent, Corridor()).learn(4)
    assert metrics["acting/extrinsic"] + metrics["acting/novelty"] == pytest.approx(1)
    assert {"train/loss", "train/loss_novelty"} <= set(metrics)
    agent.actor = 3
    assert [part.actor for part in agent.parts] == [3, 3] and agent.columns_per_update == 1
