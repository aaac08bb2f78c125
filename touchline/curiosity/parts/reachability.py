"""The R-network: how probably two observations are within k steps of each other, and the pairs it learns that from
(Savinov et al. 2019, section 2.2 and appendix, https://arxiv.org/abs/1810.02274; their published code).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from touchline.networks import ImpalaCnn, linear, make_encoder, mlp, observation_normaliser
from touchline.types import EnvSpec

PAIRINGS = ("v1", "v2", "v3", "v4")


class RNetwork(nn.Module):
    """R(o1, o2) = C(E(o1), E(o2)), 0 to 1: an embedding E and a comparator C.

    The paper's is a ResNet-18 and four dense layers of 512 with batch normalisation on pictures of a 3-D world. Ours (a
    design choice) is an MLP on vectors and a small residual CNN on mini maps. The comparator's first layer is linear in
    both embeddings, so that the half of a stored one is computed once, when it is stored: `project`.

    Args:
        spec: of what comes in, clocks stripped.
        hidden: widths of the embedding's MLP; the last is its size.
        comparator: widths of the comparator's hidden layers.
        train_embedding: False leaves it as it was drawn (an ablation of the paper).
    """

    def __init__(
        self,
        spec: EnvSpec,
        *,
        hidden: tuple[int, ...] = (128, 64),
        comparator: tuple[int, ...] = (128, 128),
        train_embedding: bool = True,
    ) -> None:
        super().__init__()
        self.normaliser = observation_normaliser(spec)
        self.encoder, self.size = make_encoder(
            spec, "auto", hidden, activation="relu", cnn_depths=(16, 32), cnn_width=hidden[-1]
        )
        if not isinstance(self.encoder, ImpalaCnn):  # a vector's embedding ends in a layer without a bend
            self.encoder = nn.Sequential(mlp(_size(spec), hidden[:-1], activation="relu"), _last(spec, hidden))
            if len(spec.observation_shape) > 1:
                self.encoder = nn.Sequential(nn.Flatten(), self.encoder)
        if not train_embedding:
            self.encoder.requires_grad_(False)
        first = comparator[0]
        self.stored_half = linear(self.size, first, gain=2**0.5)
        self.new_half = linear(self.size, first, gain=2**0.5)
        rest = mlp(first, comparator[1:], activation="relu")
        self.top = nn.Sequential(nn.ReLU(), rest, linear(comparator[-1], 1, gain=1.0))

    def embed(self, obs: Tensor) -> Tensor:
        """E(o) [K, D] of inputs [K, *inputs]."""
        return self.encoder(obs if self.normaliser is None else self.normaliser(obs))

    def project(self, embedding: Tensor) -> Tensor:
        """The comparator's half [K, H] of an embedding [K, D] to be stored."""
        return self.stored_half(embedding)

    def query(self, embedding: Tensor) -> Tensor:
        """The comparator's half [K, H] of the embedding [K, D] of a new observation."""
        return self.new_half(embedding)

    def compare(self, stored: Tensor, query: Tensor) -> Tensor:
        """Logits [K] that each pair is near, of stored halves and queries, each [K, H]."""
        return self.top(stored + query)[..., 0]

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Logits [K] that pairs of inputs are within k steps."""
        return self.compare(self.project(self.embed(first)), self.query(self.embed(second)))


def _size(spec: EnvSpec) -> int:
    return int(np.prod(spec.observation_shape))


def _last(spec: EnvSpec, hidden: tuple[int, ...]) -> nn.Linear:
    """The embedding ends without an activation."""
    return linear((_size(spec), *hidden)[-2], hidden[-1], gain=1.0)


def pairs(
    length: int,
    *,
    k: int,
    gamma_neg: int,
    pairing: str,
    draw: np.random.Generator,
    examples_per_step: float = 1.0,
    elsewhere: float = 0.0,
) -> np.ndarray:
    """Training pairs [P, 3] of one trajectory: two places in it, and 1 if they are within k steps, else 0.

    Positive pairs are 1 to k steps apart, negative ones more than k x gamma_neg, half of the labels each. A pointer
    walks along the trajectory and gives a pair wherever it stops; it goes on behind the positive candidate ("v1",
    offline EC), or 1 + U{1..5} ("v2", ECO: the number of pairs does not depend on k) or 1 + U{1..k} steps on ("v3");
    "v4" draws from all positive pairs without replacement, `examples_per_step` a step. A trajectory is left where no
    place is far enough from the pointer for the negative that was drawn. The order of positive pairs is random.

    Args:
        length: observations in the trajectory.
        elsewhere: share of the negative pairs whose second place is -1, for one in another trajectory.
    """
    if pairing not in PAIRINGS:
        raise ValueError(f"no {pairing!r} in pairings; there are {', '.join(PAIRINGS)}")
    out: list[tuple[int, int, int]] = []
    if pairing == "v4":
        near = [(i, j) for i in range(length) for j in range(i + 1, min(i + k, length - 1) + 1)]
        wanted = min(len(near), round(examples_per_step * length))
        starts = [near[i] for i in draw.permutation(len(near))[:wanted]]
    else:
        starts = None
    pointer = 0
    while True:
        if starts is None:
            candidate = pointer + int(draw.integers(1, k + 1))
            if candidate >= length:
                break
            here = pointer
        elif starts:
            here, candidate = starts.pop()
        else:
            break
        if draw.random() < 0.5:
            out.append((here, candidate, 1) if draw.random() < 0.5 else (candidate, here, 1))
        elif elsewhere and draw.random() < elsewhere:
            out.append((here, -1, 0))
        else:
            before, after = max(0, here - k * gamma_neg), max(0, length - 1 - (here + k * gamma_neg))
            if before + after == 0:
                break
            far = int(draw.integers(before + after))
            out.append((here, far if far < before else here + k * gamma_neg + 1 + far - before, 0))
        pointer = {"v1": candidate + 1, "v2": here + int(draw.integers(1, 6)) + 1}.get(
            pairing, here + int(draw.integers(1, k + 1)) + 1
        )
    return np.array(out, np.int64).reshape(-1, 3)


def train(
    net: RNetwork,
    optimiser: torch.optim.Optimizer,
    trajectories: Sequence[Tensor],
    *,
    k: int,
    gamma_neg: int,
    pairing: str,
    other_episodes: float,
    num_epochs: int,
    batch_size: int,
    draw: np.random.Generator,
    shuffle_labels: bool = False,
    device: torch.device | str = "cpu",
) -> dict[str, float]:
    """Trains an R-network on pairs from trajectories [L, *inputs]; a twentieth of the pairs only measures.

    Args:
        other_episodes: share of the negative pairs whose second half is taken from another trajectory: the network
            cannot tell those by the time in an episode alone, and trajectories too short to hold a far pair have some
            (a design choice; the authors have none).
        shuffle_labels: a control.
    Returns:
        accuracy, loss and number of the pairs; nothing, and nothing is learned, without pairs of both kinds.
    """
    starts = np.cumsum([0, *(len(x) for x in trajectories)])
    options = {"k": k, "gamma_neg": gamma_neg, "pairing": pairing, "draw": draw}
    if len(trajectories) > 1:
        options["elsewhere"] = other_episodes
    parts = [np.zeros((0, 3), np.int64)]
    for x, start in zip(trajectories, starts, strict=False):
        part = pairs(len(x), **options)
        part[:, :2] += start * (part[:, :2] >= 0)
        parts.append(part)
    table = np.concatenate(parts)
    if len(np.unique(table[:, 2])) < 2:
        return {}
    moved = table[:, 1] < 0
    table[moved, 1] = _elsewhere(table[moved, 0], starts, draw)
    table = table[draw.permutation(len(table))]
    if shuffle_labels:
        table[:, 2] = draw.permutation(table[:, 2])
    frames = torch.cat(list(trajectories))
    if net.normaliser is not None:
        net.normaliser.update(frames.to(device))
    held, learned = np.split(table, [max(1, len(table) // 20)])
    for _ in range(num_epochs):
        order = draw.permutation(len(learned))
        for rows in np.array_split(order, max(1, len(order) // batch_size)):
            logits, labels = _logits(net, frames, learned[rows], device)
            loss = F.binary_cross_entropy_with_logits(logits, labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    with torch.no_grad():
        logits, labels = _logits(net, frames, held, device)
        accuracy = ((logits > 0) == (labels > 0.5)).float().mean().item()
        held_loss = F.binary_cross_entropy_with_logits(logits, labels).item()
    return {
        "bonus/r_network_accuracy": accuracy,
        "bonus/r_network_loss": held_loss,
        "bonus/r_network_pairs": float(len(table)),
    }


def _logits(net: RNetwork, frames: Tensor, table: np.ndarray, device: torch.device | str) -> tuple[Tensor, Tensor]:
    first, second, label = torch.from_numpy(table).T
    return net(frames[first].to(device), frames[second].to(device)), label.float().to(device)


def _elsewhere(places: np.ndarray, starts: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """For each of some places in all trajectories laid end to end one in another trajectory."""
    trajectory = np.searchsorted(starts, places, side="right") - 1
    low, high = starts[trajectory], starts[trajectory + 1]
    drawn = draw.integers(0, starts[-1] - (high - low))
    return np.where(drawn < low, drawn, drawn + high - low)
