"""Every sound agent x bonus x value target learns, is saved, and acts as before; what is unsound says why."""

import io
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces

sys.path.insert(0, str(Path(__file__).parents[1]))
from toy_envs import Corridor

from touchline.agents.parts.actors import Unroll
from touchline.benchmarks import combinations
from touchline.benchmarks.combinations import BONUSES, SETUPS, SPEC, VALUE_TARGETS, config_of, refusal
from touchline.run import Run
from touchline.train_config import TrainConfig

PAGE = Path(__file__).parents[2] / "docs" / "curiosity.md"
SMALL = {
    "ppo": {"unroll_length": 8, "policy_hidden": (8,), "value_hidden": (8,), "num_epochs": 2, "minibatch_size": 32},
    "impala": {"unroll_length": 8, "policy_hidden": (8,), "value_hidden": (8,), "batch_size": 4},
    "apex_dqn": {"unroll_length": 8, "hidden": (8,), "learning_starts": 64, "batch_size": 16, "replay_capacity": 512},
}
SMALL_BONUS = {"episodic_curiosity": {"train_every": 8, "buffer_steps": 64, "batch_size": 32, "random_steps": 128}}
TRIPLES = [triple for triple in product(SETUPS, BONUSES, VALUE_TARGETS) if refusal(*triple) is None]


class Pitch(Corridor):
    """A corridor that says where ball and player are."""

    features = SPEC.features

    def __init__(self, num_envs=8):
        super().__init__(num_envs)
        self.single_observation_space = spaces.Box(-np.inf, np.inf, SPEC.observation_shape, np.float32)

    def _observe(self):
        x = super()._observe()
        return np.stack([x[:, 0], x[:, 2], x[:, 0], x[:, 2]], -1).astype(np.float32) / 2


def complete(setup, bonus, target):
    agent = SETUPS[setup]["agent"]
    fields = {"agent_config": {**SMALL[agent], **SETUPS[setup].get("agent_config", {})}}
    fields["bonus_config"] = {
        name: SMALL_BONUS.get(name, {}) | BONUSES[bonus].get("bonus_config", {}).get(name, {})
        for name in BONUSES[bonus].get("bonus", ())
    }
    if target == "adaptive_td":
        fields["value_target_config"] = {"min_episodes": 2, "num_batches": 2, "hidden": (8,)}
    return config_of(setup, bonus, target, total_steps=10_000, **fields)


def made(config):
    def make_envs(part):
        return Pitch(part.num_envs)

    return Run(config, [Pitch(config.num_envs)], make_envs=make_envs)


def next_action(run):
    agent, obs = run.agent, torch.linspace(-1, 1, 32).view(8, 4)
    state = getattr(agent, "initial_state", lambda number: None)(8)
    if state is not None:
        return agent.act_recurrent(obs, state, torch.Generator().manual_seed(3))[0]
    return agent.act(obs, torch.Generator().manual_seed(3))[0]


def differences(a, b, path=""):
    """Where two trees of states differ."""
    if isinstance(a, dict):
        assert a.keys() == b.keys(), path
        return [x for key in a for x in differences(a[key], b[key], f"{path}/{key}")]
    if isinstance(a, list | tuple):
        assert len(a) == len(b), path
        return [x for i, pair in enumerate(zip(a, b, strict=True)) for x in differences(*pair, f"{path}/{i}")]
    same = torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
    return [] if same else [path]


@pytest.mark.parametrize("triple", TRIPLES, ids=lambda triple: "-".join(map(str, triple)))
def test_two_updates_are_finite_and_a_saved_run_does_the_same_next(triple):
    config = complete(*triple)
    run, other = made(config), None
    try:
        run.pretrain()
        updates = run.updates()
        for _ in range(2):
            metrics = next(updates).metrics
            assert all(np.isfinite(x) for name, x in metrics.items() if "explained_variance" not in name), metrics
        file = io.BytesIO()
        torch.save(run.state_dict(), file)
        file.seek(0)
        other = made(config)
        other.load_state_dict(torch.load(file, weights_only=True))
        assert other.env_steps == run.env_steps > 0
        states = [one.state_dict() for one in (run, other)]
        if run.actors:  # their matches begin anew, and what follows them
            states = [state | {"carries": {}} for state in states]
        replay = [
            path for path in differences(*states) if path.endswith("/played")
        ]  # it begins anew, as it is not saved
        assert differences(*states) == replay and (not replay or config.agent == "apex_dqn")
        assert torch.equal(next_action(run), next_action(other))
        if not run.actors and config.agent != "apex_dqn":  # whose replay begins anew
            assert next(updates).env_steps == next(other.updates()).env_steps
            assert differences(run.state_dict(), other.state_dict()) == []
    finally:
        for one in (run, other):
            if one is not None and one.actors:
                one.actors.close()


@pytest.mark.parametrize(
    ("triple", "reason"),
    [
        (("ppo beside actors",), "newest policy's play alone"),
        (("ppo with MULEX", "count"), "take apex_dqn or impala"),
        (("impala with MULEX",), "give a bonus"),
        (("impala beside actors", "none", "gae"), "takes the play of an older policy for the newest's"),
        (("impala with MULEX", "count", "adaptive_td"), "value_target must be vtrace"),
        (("apex_dqn", "rnd"), "need rollouts, not replay"),
        (("apex_dqn", "none", "gae"), "replay holds single transitions"),
        (("apex_dqn", "none", "adaptive_td"), "replay holds single transitions"),
    ],
)
def test_what_is_unsound_is_refused_with_the_reason(triple, reason):
    assert reason in refusal(*triple)


def test_adaptive_td_learns_beside_actors_only_around_v_trace():
    fields = {"value_target_config": {"inner": "gae"}}
    assert refusal("impala beside actors", "none", "adaptive_td") is None
    assert "use vtrace, or no actors" in refusal("impala beside actors", "none", "adaptive_td", **fields)


def test_the_docs_show_the_tables_as_they_are():
    assert combinations.tables() in PAGE.read_text()


class Counter:
    """A bonus whose carry is how many unrolls it followed, which is what it pays."""

    def initial_carry(self, columns):
        return 0

    def reward(self, rollout, carry):
        return {"count": torch.full(rollout.action.shape, float(carry))}, carry + 1


def test_bonuses_forget_what_they_followed_where_an_actor_is_replaced():
    config = TrainConfig(agent="ppo", num_envs=4, bonus=("count",), out="nowhere", total_steps=10**6).resolved()
    run = Run(config, [Pitch(4)])
    run.bonuses, run.carries = {"count": Counter()}, {"count": [0]}
    (unroll,) = run._play()
    paid = [run._rewards([Unroll(unroll.rollout, 0, life)])[0]["count"].mean().item() for life in (0, 0, 1, 1, 2)]
    assert paid == [0, 1, 0, 1, 0]
