"""Actors on Ray (https://docs.ray.io/en/latest/ray-core/actors.html): on this machine or on every one of a cluster."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Mapping
from typing import Any

import torch

from touchline.agents.parts.actors import Actor, ActorFactory, Died, Failed, Unroll

log = logging.getLogger(__name__)

MISSING = "actors on Ray need the package: pip install 'touchline[ray]'"


class _Player:
    """An actor in its own process, wherever Ray put it; made with the first unroll, so that starting never blocks."""

    def __init__(self, make: ActorFactory, index: int, version: int) -> None:
        torch.set_num_threads(1)
        self._make, self._arguments, self._actor = make, (index, version), None

    def play(self, version: int, weights: Mapping[str, Any]) -> Unroll | Failed:
        try:
            if self._actor is None:
                self._actor: Actor = self._make(*self._arguments)
            return self._actor.play_packed(version, weights)
        except Exception:
            return Failed(traceback.format_exc())

    def pid(self) -> int:
        return os.getpid()


class RayTransport:
    """Starts actors on a Ray cluster, puts weights into its object store once a version, and fetches unrolls.

    Args:
        make: makes an actor, in its process; it must be picklable, and touchline must be installed there.
        address: of a running cluster ("auto" finds that of this machine); None takes the one that RAY_ADDRESS or this
            machine has, and else starts one for this process.
        cpus: that an actor reserves.
    """

    def __init__(self, make: ActorFactory, *, address: str | None = None, cpus: float = 1.0) -> None:
        try:
            import ray
        except ImportError as error:
            raise ImportError(MISSING) from error
        self._ray, self._make = ray, make
        self._ours = not ray.is_initialized()
        if self._ours:
            ray.init(address=address, log_to_driver=False, include_dashboard=False if address is None else None)
        self._cpus = cpus
        self._kind = ray.remote(num_cpus=cpus, max_restarts=0)(_Player)
        self._players: dict[int, Any] = {}
        self._asked: dict[Any, int] = {}
        self._newest: tuple[int, Any] | None = None

    def warn_if_short(self, number: int) -> None:
        """Says it if so many actors do not fit on the cluster: those left out wait for it to grow, without playing."""
        there = self._ray.cluster_resources().get("CPU", 0.0)
        if number * self._cpus > there:
            log.warning(
                "%d actors reserve %g CPUs and the cluster has %g: some wait until it has more",
                number,
                number * self._cpus,
                there,
            )

    def start(self, index: int, version: int) -> None:
        if index in self._players:
            self._ray.kill(self._players[index])
            self._asked = {ref: owner for ref, owner in self._asked.items() if owner != index}
        self._players[index] = self._kind.remote(self._make, index, version)

    def publish(self, version: int, weights: Mapping[str, Any]) -> None:
        self._newest = (version, self._ray.put(dict(weights)))

    def ask(self, index: int) -> None:
        self._asked[self._players[index].play.remote(*self._newest)] = index

    def wait(self) -> tuple[int, Unroll | Died | Failed]:
        ready, _ = self._ray.wait(list(self._asked), num_returns=1)
        index = self._asked.pop(ready[0])
        try:
            return index, self._ray.get(ready[0])
        except self._ray.exceptions.RayError as error:  # its process or its machine is gone
            return index, Died(str(error).partition("\n")[0])

    def pids(self) -> list[int]:
        """Processes of the actors, in order; those on other machines mean nothing here."""
        return self._ray.get([player.pid.remote() for _, player in sorted(self._players.items())])

    def close(self) -> None:
        for player in self._players.values():
            self._ray.kill(player)
        self._players, self._asked = {}, {}
        if self._ours:
            self._ray.shutdown()
