"""Adaptive TD: bootstrapped targets inside the interval of an ensemble of returns, and what becomes of the others."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from toy_envs import Corridor
from worlds import played, rollout_of

from touchline import returns
from touchline.agents import impala
from touchline.curiosity import adaptive_td
from touchline.curiosity.parts import offline_values
from touchline.curiosity.parts.episodes import Episode
from touchline.curiosity.parts.intervals import predictive_interval, student_t, switched
from touchline.types import EnvSpec, Stream

EXTRINSIC = Stream("extrinsic", 0.9)
SPEC = EnvSpec((4,), "float32", 2)


def target(**config):
    return adaptive_td.make(SPEC, adaptive_td.Config(**{"gamma": 0.9, "min_episodes": 4, "num_batches": 4} | config))


def called(value_target, rollout, stream=EXTRINSIC, seed=0, log_rhos=None):
    draw = torch.Generator().manual_seed(seed)
    values, next_values = (torch.randn(rollout.reward.shape, generator=draw) for _ in range(2))
    log_rhos = torch.zeros_like(values) if log_rhos is None else log_rhos
    numbers = {"reward": rollout.reward, "values": values, "next_values": next_values, "log_rhos": log_rhos}
    return value_target(rollout, stream, **numbers), numbers


def fitted(**config):
    """A target that has seen episodes end, and the rollout it is called on."""
    rollouts, spec = played(Corridor(4), rollouts=4)
    made = adaptive_td.make(spec, adaptive_td.Config(**{"gamma": 0.9, "min_episodes": 4, "num_batches": 4} | config))
    for rollout in rollouts:
        metrics = made.update(rollout)
    assert made.has_intervals
    return made, rollouts[-1], metrics


@pytest.mark.parametrize(("m", "t"), [(3, 4.303), (4, 3.182), (5, 2.776), (10, 2.262)])
def test_the_factor_is_student_s_t(m, t):
    assert student_t(0.95, m - 1) == pytest.approx(t, abs=5e-4)


def test_the_interval_holds_one_more_member_as_often_as_it_says():
    draw = torch.Generator().manual_seed(0)
    middle, half = predictive_interval(torch.randn(5, 20_000, generator=draw), 0.9)
    inside = ((torch.randn(20_000, generator=draw) - middle).abs() <= half).float().mean()
    assert inside == pytest.approx(0.9, abs=0.01)


def test_a_target_outside_gives_way_to_the_middle_or_to_the_nearest_bound():
    targets, middle, half = torch.tensor([0.5, 2.0, -3.0]), torch.zeros(3), torch.ones(3)
    assert switched(targets, middle, half)[0].tolist() == [0.5, 0.0, 0.0]
    clipped, out = switched(targets, middle, half, outside="clip")
    assert clipped.tolist() == [0.5, 1.0, -1.0] and out.tolist() == [False, True, True]


@pytest.mark.parametrize("inner", adaptive_td.INNER)
def test_an_infinite_interval_gives_exactly_the_inner_target(inner):
    made, rollout, _ = fitted(inner=inner, width=math.inf, n_step=3)
    log_rhos = 0.3 * torch.randn(rollout.reward.shape, generator=torch.Generator().manual_seed(1))
    result, numbers = called(made, rollout, log_rhos=log_rhos)
    tensors = (*(numbers[name] for name in ("reward", "values", "next_values")), rollout.terminated, rollout.truncated)
    expected = {
        "gae": lambda: returns.gae(*tensors, gamma=0.9, lam=0.95),
        "vtrace": lambda: returns.vtrace(*tensors, log_rhos, gamma=0.9, lam=0.95),
        "n_step": lambda: returns.n_step(*tensors, gamma=0.9, n=3),
        "td0": lambda: returns.n_step(*tensors, gamma=0.9, n=1),
    }[inner]()
    assert torch.equal(result.targets, expected.targets) and torch.equal(result.advantages, expected.advantages)
    assert made.uses_log_rhos == (inner == "vtrace")


def test_an_interval_without_width_gives_exactly_the_ensemble_s_mean_and_leaves_advantages_alone():
    made, rollout, _ = fitted(width=0.0)
    result, numbers = called(made, rollout)
    middle, half = made.interval(rollout.obs[:-1].flatten(0, 1))
    assert torch.equal(result.targets, middle.view_as(result.targets)) and not half.any()
    tensors = (*(numbers[name] for name in ("reward", "values", "next_values")), rollout.terminated, rollout.truncated)
    assert torch.equal(result.advantages, returns.gae(*tensors, gamma=0.9, lam=0.95).advantages)


def test_there_is_no_interval_before_enough_episodes_have_ended():
    made = target(width=0.0, min_episodes=3)
    obs = np.zeros((4, 2, 4))
    made.update(rollout_of(obs, [(1, 0), (1, 1)]))
    assert not made.has_intervals and made.interval(torch.zeros(2, 4))[1].isinf().all()
    made.update(rollout_of(obs, [(1, 0)]))
    assert made.has_intervals and not made.interval(torch.zeros(2, 4))[1].any()


def test_other_streams_get_the_inner_target():
    made, rollout, _ = fitted(width=0.0)
    result, numbers = called(made, rollout, Stream("rnd", 0.9))
    tensors = (*(numbers[name] for name in ("reward", "values", "next_values")), rollout.terminated, rollout.truncated)
    assert torch.equal(result.targets, returns.gae(*tensors, gamma=0.9, lam=0.95).targets)


def test_a_stream_with_another_discount_than_the_returns_is_refused():
    made, rollout, _ = fitted()
    with pytest.raises(ValueError, match="give both the same"):
        called(made, rollout, Stream("extrinsic", 0.8))


def test_the_ensemble_learns_the_returns_of_episodes_that_reach_over_rollouts():
    """Two places; an episode of four steps in rollouts of three; the reward comes at its end."""
    made = target(min_episodes=1, num_batches=400, learning_rate=1e-2, kept=64, batch_size=64)
    step = torch.eye(4)
    obs = torch.stack([step[t % 4] for t in range(13)])[:, None]
    reward = torch.tensor([float(t % 4 == 3) for t in range(12)])[:, None]
    for _ in range(3):
        for t in range(0, 12, 3):
            ends = [(k, 0) for k in range(3) if (t + k) % 4 == 3]
            made.update(rollout_of(obs[t : t + 4], ends, reward=reward[t : t + 3]))
    middle, _ = made.interval(step)
    assert middle.tolist() == pytest.approx([0.9**3, 0.9**2, 0.9, 1.0], abs=0.05)


def test_members_weigh_whole_episodes_and_each_its_own():
    (rollout,), spec = played(Corridor(8), unroll_length=63)
    made = adaptive_td.make(spec, adaptive_td.Config(min_episodes=2, num_members=5))
    made.update(rollout)
    episodes = made._weights.view(-1, Corridor.truncates_after, 5)
    assert len(episodes) == 8 * 9 and (episodes == episodes[:, :1]).all()
    assert (episodes[:, 0].std(0) > 0.5).all() and not torch.equal(episodes[:, 0, 0], episodes[:, 0, 1])
    assert episodes.mean().item() == pytest.approx(1.0, abs=0.2)


def test_members_learn_from_what_they_weigh():
    (rollout,), spec = played(Corridor(8), unroll_length=63)
    made = adaptive_td.make(spec, adaptive_td.Config(min_episodes=2, num_members=2, num_batches=1))
    made.update(rollout)
    made._weights[:, 0] = 0.0
    before = [[p.clone() for p in member.parameters()] for member in made.ensemble.members]
    made.optimiser = torch.optim.SGD(made.ensemble.members.parameters(), lr=0.1)
    made._fit()
    moved = [
        any(not torch.equal(x, y) for x, y in zip(old, member.parameters(), strict=True))
        for old, member in zip(before, made.ensemble.members, strict=True)
    ]
    assert moved == [False, True]


def test_returns_are_of_the_clipped_rewards_where_the_agent_clips():
    (rollout,), spec = played(Corridor(8), unroll_length=32)
    made = adaptive_td.make(spec, adaptive_td.Config(gamma=0.9, inner="vtrace"))
    config = impala.Config(gamma=0.9, reward_clip=0.25, unroll_length=32, batch_size=8)
    impala.make(spec, config, value_target=made).learn(rollout, generator=torch.Generator().manual_seed(0))
    assert 0.25 <= made._returns.abs().max() <= 0.25 * (1 + 0.9**3 + 0.9**6) + 1e-6 < rollout.reward.abs().max()


def test_a_time_limit_goes_on_with_the_ensemble_s_own_expectation():
    made = target(min_episodes=1, learning_rate=0.0, kept=100)
    made._fit = lambda: 0.0
    obs = np.ones((3, 1, 4))
    made.update(rollout_of(obs, [(0, 0)], finals={(0, 0): np.full(4, 2.0)}))
    expected = made.interval(torch.full((1, 4), 3.0))[0].item()
    made.update(rollout_of(obs, truncated=[(0, 0)], finals={(0, 0): np.full(4, 3.0)}, reward=[[0.5], [0.0]]))
    assert made.state_dict()["returns"][-1] == pytest.approx(0.5 + 0.9 * expected)


def test_only_the_newest_transitions_are_kept():
    made = target(kept=5)
    for i in range(4):
        made.update(rollout_of(np.full((4, 1, 4), i), [(2, 0)]))
    assert made.state_dict()["obs"][:, 0].tolist() == [2, 2, 3, 3, 3]


def test_how_often_it_switched_is_told_with_the_next_rollout():
    made, rollout, metrics = fitted(width=0.0)
    assert "value/switch_fraction" not in metrics and metrics["value/interval_width"] == 0.0
    called(made, rollout)
    assert made.update(rollout)["value/switch_fraction"] == 1.0
    made, rollout, _ = fitted(width=math.inf)
    called(made, rollout)
    assert made.update(rollout)["value/switch_fraction"] == 0.0


def test_it_goes_on_from_its_state_as_if_never_stopped(tmp_path):
    rollouts, spec = played(Corridor(4), rollouts=6)
    one, other = (adaptive_td.make(spec, adaptive_td.Config(gamma=0.9, min_episodes=4)) for _ in range(2))
    for rollout in rollouts[:4]:
        one.update(rollout)
    torch.save(one.state_dict(), tmp_path / "x.pt")
    other.load_state_dict(torch.load(tmp_path / "x.pt", weights_only=True))
    for rollout in rollouts[4:]:
        assert one.update(rollout) == other.update(rollout)
    assert torch.equal(called(one, rollouts[0])[0].targets, called(other, rollouts[0])[0].targets)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("inner", "mc"),
        ("outside", "low"),
        ("num_members", 1),
        ("confidence", 1.0),
        ("width", -1.0),
        ("num_batches", 0),
        ("kept", 0),
    ],
)
def test_a_wrong_field_is_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        adaptive_td.Config(**{field: value})


def chain(number, seed, *, noise=0.0, length=5):
    """Episodes that walk `length` places to the right; 1 at the end, where half of them end for good."""
    draw = np.random.default_rng(seed)
    places = torch.eye(length + 1)
    out = []
    for i in range(number):
        reward = torch.as_tensor(noise * draw.standard_normal(length), dtype=torch.float32)
        reward[-1] += 1.0
        out.append(Episode(places, torch.zeros(length, dtype=torch.int64), reward, bool(i % 2), True))
    return out


CHAIN = EnvSpec((6,), "float32", 2)


@pytest.mark.parametrize("method", offline_values.METHODS)
def test_every_method_finds_the_value_of_a_chain(method):
    ended = [Episode(e.obs, e.action, e.reward, True, True) for e in chain(40, 0, noise=0.1)]
    values = offline_values.fit_values(ended, CHAIN, gamma=0.9, method=method, n=3, num_epochs=150)
    assert values(torch.eye(6)[:5]).tolist() == pytest.approx([0.9**k for k in (4, 3, 2, 1, 0)], abs=0.08)


def test_targets_of_the_logs_are_what_their_equations_say():
    gamma, n, V = 0.9, 2, torch.arange(6.0)
    episodes = chain(2, 0, noise=1.0)  # the first is cut by a time limit, the second ends for good
    logs = offline_values.Logs(episodes, gamma, n)
    found = logs.bootstrapped(lambda obs: V[obs.argmax(-1)], torch.arange(10))
    slow = []
    for episode in episodes:
        for t in range(5):
            G = sum(gamma**k * episode.reward[t + k] for k in range(n) if t + k < 5)
            arrived = min(t + n, 5)
            goes_on = not (episode.terminated and arrived == 5)
            slow.append(float(G + goes_on * gamma ** (arrived - t) * V[arrived]))
    assert found.tolist() == pytest.approx(slow)
    once = offline_values.Logs(episodes, gamma)
    lambda_0 = once.lambda_returns(lambda obs: V[obs.argmax(-1)], 0.0)
    assert torch.allclose(lambda_0, once.bootstrapped(lambda obs: V[obs.argmax(-1)], torch.arange(10)))
    assert torch.allclose(logs.lambda_returns(lambda obs: 0 * V[obs.argmax(-1)], 1.0), logs.returns)


def test_offline_an_infinite_interval_is_td_and_one_without_width_never_bootstraps():
    episodes = chain(10, 0, noise=0.5)
    options = {"gamma": 0.9, "num_epochs": 3}
    td = offline_values.fit_values(episodes, CHAIN, method="td0", **options)
    wide = offline_values.fit_values(episodes, CHAIN, width=math.inf, **options)
    narrow = offline_values.fit_values(episodes, CHAIN, width=0.0, **options)
    assert torch.equal(wide(torch.eye(6)), td(torch.eye(6))) and wide.switch_fraction == 0.0
    assert narrow.switch_fraction == 1.0


def test_episodes_that_did_not_end_tell_no_returns():
    (episode,) = chain(1, 0)
    with pytest.raises(ValueError, match="no episode has ended"):
        offline_values.Logs([Episode(episode.obs, episode.action, episode.reward, False, False)], 0.9)
