"""Returns against golden numbers and against slow literal transcriptions of their equations."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from touchline.returns import gae, lambda_return, n_step, vtrace


def column(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)[:, None]


REWARDS, VALUES, NEXT_VALUES = column(1, 0, 2), column(0.5, 0.4, 0.3), column(0.4, 0.3, 0.2)
LOG_RHOS = column(2, 0.5, 1).log()
NEVER = torch.zeros(3, 1, dtype=torch.bool)
AT_1 = torch.tensor([[False], [True], [False]])


@pytest.mark.parametrize(
    ("lam", "targets", "advantages"),
    [
        (1.0, (2.0629, 1.181, 2.18), (1.5629, 0.781, 1.88)),
        (0.9, (1.92408, 1.0964, 2.18), (1.48676, 0.781, 1.88)),
        (0.0, (1.36, 0.335, 2.18), None),
    ],
)
def test_vtrace_gives_the_golden_numbers(lam, targets, advantages):
    result = vtrace(REWARDS, VALUES, NEXT_VALUES, NEVER, NEVER, LOG_RHOS, gamma=0.9, lam=lam)
    assert_close(result.targets, column(*targets), atol=1e-5, rtol=0)
    if advantages is not None:
        assert_close(result.advantages, column(*advantages), atol=1e-5, rtol=0)


def test_vtrace_drops_the_bootstrap_at_termination():
    result = vtrace(REWARDS, VALUES, NEXT_VALUES, AT_1, NEVER, LOG_RHOS, gamma=0.9)
    assert_close(result.targets, column(1.18, 0.2, 2.18))
    assert_close(result.advantages, column(0.68, -0.2, 1.88))


def test_a_truncation_that_surprises_nobody_gives_the_golden_numbers_of_an_abandoned_step():
    next_values = column(0.4, 0.4 / 0.9, 0.2)  # so that delta is 0 at the end, as for an abandoned step
    result = vtrace(REWARDS, VALUES, next_values, NEVER, AT_1, LOG_RHOS, gamma=0.9)
    assert_close(result.targets, column(1.36, 0.4, 2.18))
    assert_close(result.advantages, column(0.86, 0.0, 1.88))


def test_gae_gives_the_golden_numbers():
    result = gae(REWARDS, VALUES, NEXT_VALUES, NEVER, NEVER, gamma=0.9, lam=0.9)
    assert_close(result.targets, column(2.48817, 1.7928, 2.18), atol=1e-5, rtol=0)
    assert_close(result.advantages, result.targets - VALUES)


@pytest.fixture(params=range(3))
def world(request):
    """Random [T, B] numbers with ends; between ends next_values[t] is values[t + 1]."""
    rng = np.random.default_rng(request.param)
    T, B = 12, 5
    terminated = rng.random((T, B)) < 0.15
    truncated = (rng.random((T, B)) < 0.15) & ~terminated
    values = rng.normal(size=(T + 1, B))
    next_values = np.where(terminated | truncated, rng.normal(size=(T, B)), values[1:])
    arrays = (rng.normal(size=(T, B)), values[:-1], next_values, terminated, truncated)
    return [torch.from_numpy(a) for a in arrays], torch.from_numpy(rng.normal(size=(T, B)))


def slow_gae(r, v, nv, terminated, truncated, gamma, lam):
    T, B = r.shape
    advantage = np.zeros((T, B))
    for b in range(B):
        for t in range(T):
            weight = 1.0
            for k in range(t, T):
                bootstrap = 0.0 if terminated[k, b] else nv[k, b]
                advantage[t, b] += weight * (r[k, b] + gamma * bootstrap - v[k, b])
                weight *= gamma * lam
                if terminated[k, b] or truncated[k, b]:
                    break
    return advantage


def slow_n_step(r, nv, terminated, truncated, gamma, n):
    T, B = r.shape
    target = np.zeros((T, B))
    for b in range(B):
        for t in range(T):
            weight = 1.0
            for k in range(t, min(t + n, T)):
                target[t, b] += weight * r[k, b]
                weight *= gamma
                if terminated[k, b]:
                    break
                if truncated[k, b] or k == min(t + n, T) - 1:
                    target[t, b] += weight * nv[k, b]
                    break
    return target


def slow_vtrace(r, v, nv, terminated, truncated, log_rhos, gamma, lam, rho_bar, c_bar):
    """v_s = V(s) + sum_k gamma^k (prod c) delta_k, the sum of the paper's equation 1 and not its recursion."""
    T, B = r.shape
    target, advantage = np.zeros((T, B)), np.zeros((T, B))
    ratio = np.exp(log_rhos)
    for b in range(B):
        for t in range(T):
            weight, target[t, b] = 1.0, v[t, b]
            for k in range(t, T):
                bootstrap = 0.0 if terminated[k, b] else nv[k, b]
                rho = min(rho_bar, ratio[k, b])
                target[t, b] += weight * rho * (r[k, b] + gamma * bootstrap - v[k, b])
                weight *= gamma * lam * min(c_bar, ratio[k, b])
                if terminated[k, b] or truncated[k, b]:
                    break
        for t in range(T):
            if terminated[t, b]:
                later = 0.0
            elif truncated[t, b] or t == T - 1:
                later = nv[t, b]
            else:
                later = target[t + 1, b]
            advantage[t, b] = min(rho_bar, ratio[t, b]) * (r[t, b] + gamma * later - v[t, b])
    return target, advantage


@pytest.mark.parametrize("lam", [0.0, 0.7, 1.0])
def test_gae_equals_its_sum_of_deltas(world, lam):
    tensors, _ = world
    slow = slow_gae(*(x.numpy() for x in tensors), 0.9, lam)
    result = gae(*tensors, gamma=0.9, lam=lam)
    assert_close(result.advantages, torch.from_numpy(slow))
    assert_close(result.targets, torch.from_numpy(slow) + tensors[1])


@pytest.mark.parametrize("lam", [0.0, 0.7, 1.0])
def test_the_lambda_return_is_the_target_of_gae(world, lam):
    (r, v, nv, terminated, truncated), _ = world
    fast = lambda_return(r, nv, terminated, truncated, gamma=0.9, lam=lam)
    assert_close(fast, gae(r, v, nv, terminated, truncated, gamma=0.9, lam=lam).targets)


@pytest.mark.parametrize("n", [1, 3, 12, 100])
def test_n_step_equals_its_sum_of_rewards(world, n):
    (r, v, nv, terminated, truncated), _ = world
    result = n_step(r, v, nv, terminated, truncated, gamma=0.9, n=n)
    slow = slow_n_step(*(x.numpy() for x in (r, nv, terminated, truncated)), 0.9, n)
    assert_close(result.targets, torch.from_numpy(slow))
    assert_close(result.advantages, result.targets - v)


@pytest.mark.parametrize(("lam", "rho_bar", "c_bar"), [(1.0, 1.0, 1.0), (0.9, 2.0, 0.5)])
def test_vtrace_equals_the_sum_in_the_paper(world, lam, rho_bar, c_bar):
    tensors, log_rhos = world
    result = vtrace(*tensors, log_rhos, gamma=0.9, lam=lam, rho_bar=rho_bar, c_bar=c_bar)
    arrays = [x.numpy() for x in (*tensors, log_rhos)]
    targets, advantages = slow_vtrace(*arrays, 0.9, lam, rho_bar, c_bar)
    assert_close(result.targets, torch.from_numpy(targets))
    assert_close(result.advantages, torch.from_numpy(advantages))


def test_on_policy_vtrace_targets_are_lambda_returns(world):
    tensors, log_rhos = world
    r, _, nv, terminated, truncated = tensors
    result = vtrace(*tensors, torch.zeros_like(log_rhos), gamma=0.9, lam=0.8)
    assert_close(result.targets, lambda_return(r, nv, terminated, truncated, gamma=0.9, lam=0.8))


def test_nothing_after_an_end_reaches_what_was_before_it():
    truncated = AT_1
    later = REWARDS.clone()
    later[2] = 1e6
    for function in (
        lambda r: gae(r, VALUES, NEXT_VALUES, NEVER, truncated, gamma=0.9, lam=1.0).targets,
        lambda r: n_step(r, VALUES, NEXT_VALUES, NEVER, truncated, gamma=0.9, n=3).targets,
        lambda r: vtrace(r, VALUES, NEXT_VALUES, NEVER, truncated, LOG_RHOS, gamma=0.9).targets,
        lambda r: lambda_return(r, NEXT_VALUES, NEVER, truncated, gamma=0.9, lam=1.0),
    ):
        assert_close(function(later)[:2], function(REWARDS)[:2])


def test_a_surplus_row_is_refused_with_the_fix():
    with pytest.raises(
        ValueError, match=r"expected next_values \[T, B\] = \(3, 1\), got \(4, 1\): drop the bootstrap row\?"
    ):
        gae(REWARDS, VALUES, column(1, 2, 3, 4), NEVER, NEVER, gamma=0.9, lam=0.9)


def test_an_unfolded_player_axis_is_refused_with_the_fix():
    with pytest.raises(ValueError, match="fold players into B"):
        gae(REWARDS[..., None], VALUES, NEXT_VALUES, NEVER, NEVER, gamma=0.9, lam=0.9)


def test_flags_that_are_not_bool_are_refused():
    with pytest.raises(ValueError, match="expected terminated of type bool"):
        gae(REWARDS, VALUES, NEXT_VALUES, NEVER.float(), NEVER, gamma=0.9, lam=0.9)


# V-trace's fixed point, in a world of four states and two actions, by enumeration instead of sampling.

GAMMA, STATES, STEPS = 0.9, 4, 3


def small_world():
    """Rewards and next states [S, A], and two policies [S, A]: who learns, and who acted."""
    generator = torch.Generator().manual_seed(0)
    reward = torch.randn(STATES, 2, generator=generator, dtype=torch.float64)
    following = torch.randint(STATES, (STATES, 2), generator=generator)
    pi, mu = (torch.randn(STATES, 2, generator=generator, dtype=torch.float64).softmax(-1) for _ in range(2))
    return reward, following, pi, mu


def true_values(policy):
    """V of a policy, from its linear equations."""
    reward, following, _, _ = small_world()
    step = torch.zeros(STATES, STATES, dtype=torch.float64)
    for s in range(STATES):
        for a in range(2):
            step[s, following[s, a]] += policy[s, a]
    return torch.linalg.solve(torch.eye(STATES, dtype=torch.float64) - GAMMA * step, (policy * reward).sum(-1))


def fixed_point(rho_bar, c_bar, lam):
    """Where V-trace's targets, averaged over all ways to act for three steps, are the values they came from."""
    reward, following, pi, mu = small_world()
    ways = torch.cartesian_prod(*[torch.arange(2)] * STEPS)
    state, action = torch.arange(STATES).repeat_interleave(len(ways)), ways.T.repeat(1, STATES)
    states, chance = [state], torch.ones(len(state), dtype=torch.float64)
    for t in range(STEPS):
        chance = chance * mu[states[t], action[t]]
        states.append(following[states[t], action[t]])
    states, rewards = torch.stack(states), torch.stack([reward[states[t], action[t]] for t in range(STEPS)])
    log_rhos = (pi.log() - mu.log())[states[:-1], action]
    never, values = torch.zeros(rewards.shape, dtype=torch.bool), torch.zeros(STATES, dtype=torch.float64)
    for _ in range(400):
        options = {"gamma": GAMMA, "lam": lam, "rho_bar": rho_bar, "c_bar": c_bar}
        result = vtrace(rewards, values[states[:-1]], values[states[1:]], never, never, log_rhos, **options)
        values = (chance * result.targets[0]).view(STATES, -1).sum(-1)
    return values


@pytest.mark.parametrize(("c_bar", "lam"), [(1.0, 1.0), (0.5, 1.0), (1.0, 0.0)])
def test_vtrace_converges_to_the_policy_between_both_whatever_the_trace(c_bar, lam):
    """pi_rho ~ min(rho_bar mu, pi) (Espeholt et al. 2018, section 4.1); not to who learns, nor to who acted."""
    _, _, pi, mu = small_world()
    between = torch.minimum(mu, pi)
    values = fixed_point(1.0, c_bar, lam)
    assert_close(values, true_values(between / between.sum(-1, keepdim=True)))
    assert (values - true_values(pi)).abs().max() > 0.05
    assert (values - true_values(mu)).abs().max() > 0.05


def test_vtrace_without_truncation_converges_to_the_learning_policy():
    assert_close(fixed_point(1e9, 1.0, 1.0), true_values(small_world()[2]))
