"""What a scripted player remembers between steps, as text that a checkpoint can hold."""

from __future__ import annotations

import json
from typing import Any

import numpy as np


def memory_of(player: object) -> str:
    """The attributes of an object that holds arrays, random generators, plain values, lists and dicts of these, and
    parts that are objects of our own."""
    return json.dumps(_attributes(player))


def remember(player: object, memory: str) -> None:
    """Restores `memory_of` of an object of the same kind."""
    _set_attributes(player, json.loads(memory))


def _attributes(player: object) -> dict[str, Any]:
    return {name: _plain(value) for name, value in vars(player).items()}


def _set_attributes(player: object, attributes: dict[str, Any]) -> None:
    for name, value in attributes.items():
        if isinstance(value, dict) and "part" in value:
            _set_attributes(getattr(player, name), value["part"])
        else:
            setattr(player, name, _restored(value))


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": value.dtype.str, "shape": value.shape}
    if isinstance(value, np.random.Generator):
        return {"generator": value.bit_generator.state}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return {"list": [_plain(item) for item in value], "tuple": isinstance(value, tuple)}
    if isinstance(value, dict):
        return {"dict": [[_plain(key), _plain(item)] for key, item in value.items()]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if type(value).__module__.startswith("touchline."):
        return {"part": _attributes(value)}
    raise TypeError(f"a player remembers a {type(value).__name__}, which no checkpoint can hold")


def _restored(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return np.array(value["array"], np.dtype(value["dtype"])).reshape(value["shape"])
    if "generator" in value:
        generator = np.random.default_rng(0)
        generator.bit_generator.state = value["generator"]
        return generator
    if "list" in value:
        items = [_restored(item) for item in value["list"]]
        return tuple(items) if value["tuple"] else items
    return {_restored(key): _restored(item) for key, item in value["dict"]}
