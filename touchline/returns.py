"""Returns and advantages: pure functions over time-major [T, B] tensors.

All of them take `next_values`, the value of the state each transition really ended in (at an end of an
episode the value of its last observation, never of the reset observation), and keep the two kinds of end
apart: an end of any kind cuts the trace, only termination cuts the bootstrap. The results carry no gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Returns(NamedTuple):
    """What a critic and an actor learn from.

    Attributes:
        targets: [T, B] regression targets of the values.
        advantages: [T, B] weights of the policy gradient.
    """

    targets: Tensor
    advantages: Tensor


@torch.no_grad()
def gae(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    *,
    gamma: float,
    lam: float,
) -> Returns:
    """Generalised advantage estimation (Schulman et al. 2016, eq. 16, https://arxiv.org/abs/1506.02438).

    delta_t = r_t + gamma V(s'_t) - V(s_t);  A_t = delta_t + gamma lam A_{t+1};  target_t = V(s_t) + A_t.
    """
    _check(rewards, values=values, next_values=next_values, terminated=terminated, truncated=truncated)
    delta = rewards + _where_not(terminated, gamma, values) * next_values - values
    advantages = _scan(delta, _where_not(terminated | truncated, gamma * lam, values))
    return Returns(values + advantages, advantages)


@torch.no_grad()
def lambda_return(
    rewards: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    *,
    gamma: float,
    lam: float,
) -> Tensor:
    """TD(lambda) return [T, B] (Sutton and Barto 2018, eq. 12.18, http://incompleteideas.net/book/the-book.html).

    G_t = r_t + gamma ((1 - lam) V(s'_t) + lam G_{t+1}); the bracket is V(s'_t) at an end, 0 at termination.
    """
    _check(rewards, next_values=next_values, terminated=terminated, truncated=truncated)
    weight = _where_not(terminated | truncated, lam, next_values)
    weight[-1] = 0.0
    bootstrap = _where_not(terminated, gamma, next_values) * (1 - weight) * next_values
    return _scan(rewards + bootstrap, gamma * weight)


@torch.no_grad()
def n_step(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    *,
    gamma: float,
    n: int,
) -> Returns:
    """n-step returns (Sutton and Barto 2018, eq. 7.1); fewer steps where episode or rollout end earlier."""
    _check(rewards, values=values, next_values=next_values, terminated=terminated, truncated=truncated)
    if n < 1:
        raise ValueError(f"expected n of at least 1 step, got {n}")
    ended, discount = terminated | truncated, _where_not(terminated, gamma, values)
    targets = rewards + discount * next_values
    for _ in range(min(n, len(rewards)) - 1):
        later = torch.cat([targets[1:], next_values[-1:]])
        targets = rewards + discount * torch.where(ended, next_values, later)
    return Returns(targets, targets - values)


@torch.no_grad()
def vtrace(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    log_rhos: Tensor,
    *,
    gamma: float,
    lam: float = 1.0,
    rho_bar: float = 1.0,
    c_bar: float = 1.0,
) -> Returns:
    """V-trace (Espeholt et al. 2018, eq. 1 and section 4.2, https://arxiv.org/abs/1802.01561).

    With rho = min(rho_bar, pi/mu) and c = lam min(c_bar, pi/mu), computed backwards:
    a_t = rho_t (r_t + gamma V(s'_t) - V(s_t)) + gamma c_t a_{t+1};  v_t = V(s_t) + a_t  (the targets);
    A_t = rho_t (r_t + gamma v_{t+1} - V(s_t))  (the advantages), where v_{t+1} is V(s'_t) at an end.

    Args:
        log_rhos: [T, B] log pi(a|s) - log mu(a|s), learner minus behaviour.
    """
    _check(
        rewards,
        values=values,
        next_values=next_values,
        terminated=terminated,
        truncated=truncated,
        log_rhos=log_rhos,
    )
    ratios = log_rhos.exp()
    rhos, ended = ratios.clamp(max=rho_bar), terminated | truncated
    discount = _where_not(terminated, gamma, values)
    delta = rhos * (rewards + discount * next_values - values)
    targets = values + _scan(delta, _where_not(ended, gamma * lam, values) * ratios.clamp(max=c_bar))
    later = torch.where(ended, next_values, torch.cat([targets[1:], next_values[-1:]]))
    return Returns(targets, rhos * (rewards + discount * later - values))


def _where_not(flags: Tensor, number: float, like: Tensor) -> Tensor:
    """`number` where a flag is down, else 0, in the type of `like`."""
    return number * (~flags).to(like.dtype)


def _scan(delta: Tensor, decay: Tensor) -> Tensor:
    """a_t = delta_t + decay_t a_{t+1} with a_T = 0, for [T, B] tensors."""
    out, later = torch.empty_like(delta), torch.zeros_like(delta[0])
    for t in range(len(delta) - 1, -1, -1):
        later = torch.addcmul(delta[t], decay[t], later, out=out[t])
    return out


_FIXES = {
    1: "drop the bootstrap row?",
    -1: "a row is missing: pass the value of every transition's true next state",
}


def _check(rewards: Tensor, **others: Tensor) -> None:
    if rewards.ndim != 2:
        raise ValueError(f"expected rewards [T, B], got shape {tuple(rewards.shape)}: fold players into B?")
    for name, tensor in others.items():
        if tensor.shape != rewards.shape:
            surplus = len(tensor) - len(rewards) if tensor.ndim == 2 else 0
            fix = _FIXES.get(surplus, "one number per transition and env is needed")
            raise ValueError(f"expected {name} [T, B] = {tuple(rewards.shape)}, got {tuple(tensor.shape)}: {fix}")
        if name in ("terminated", "truncated") and tensor.dtype != torch.bool:
            raise ValueError(f"expected {name} of type bool, got {tensor.dtype}: call .bool()?")
