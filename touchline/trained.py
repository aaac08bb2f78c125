"""Trained policies inside the package: small run directories, each with a card that says what it is and what it can do.

`ship` makes one of a run that has been evaluated; `touchline.load_policy`, `watch`, `evaluate`, `tournament`,
`--opponent`, `--teacher` and `--init` take them by name.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from touchline.train_config import SB3_MODEL

FOLDER = Path(__file__).with_name("trained_policies")
DEFAULT = "academy_run_to_score_with_keeper"
"""Who plays where nobody is named."""
LARGEST = 1_000_000
"""Bytes of a shipped policy at most."""


def names() -> list[str]:
    """All of them."""
    return sorted(path.parent.name for path in FOLDER.glob("*/card.json"))


def located(policy: str | Path) -> Path:
    """The run directory of a trained policy's name; any other path as it is. A run that lies here goes first."""
    here, inside = Path(policy), FOLDER / str(policy)
    is_name = here.name == str(policy) and (inside / "card.json").is_file()
    is_run = any((here / file).exists() for file in ("checkpoint.pt", SB3_MODEL))
    return inside if is_name and not is_run else here


def card(name: str) -> dict[str, Any]:
    """What a trained policy is: scenario, agent, players, seed, results with intervals and the commit they are of, the
    command of its training, its `env_steps` and the `total_steps` that were planned."""
    if name not in names():
        raise ValueError(f"no trained policy {name!r}; there are {', '.join(names())}")
    return json.loads((FOLDER / name / "card.json").read_text())


def describe(about: Mapping[str, Any]) -> str:
    """A card in a few lines."""
    players = "1 player" if about["left"] == 1 else f"{about['left']} players"
    steps = f"{about['env_steps']:,} steps"
    if about["env_steps"] < about["total_steps"]:
        steps += f" (of {about['total_steps']:,})"
    lines = [f"{about['scenario']}, {about['agent']}, {players} ({about['control']}), {steps}, seed {about['seed']}"]
    for result in about["results"]:
        share = "{value:.1f}% [{low:.1f}, {high:.1f}]".format(**{k: 100 * x for k, x in result["success"].items()})
        turns = ", from both sides" if result.get("side") == "both" else ""
        lines.append(f"against {result['opponent']}: success {share} in {result['episodes']} held-out episodes{turns}")
    return "\n".join(lines)


def ship(
    run: Path | str,
    name: str,
    *,
    evaluations: Sequence[Path | str] = (),
    command: str = "",
    env_steps: int | None = None,
    folder: Path = FOLDER,
) -> Path:
    """Copies of a run what acting needs, with a card, to `folder`/`name`; the results are of its `eval.json`s.

    Args:
        evaluations: folders of eval.json files whose first result is the run's; none is the run's own.
        command: that trained it.
        env_steps: that it had learned for, where the checkpoint does not know, as a league's champion's.

    Raises:
        ValueError: the policy would be larger than `LARGEST`.
    """
    from touchline import checkpoint

    saved = checkpoint.load(Path(run, "checkpoint.pt"))
    config = json.loads(saved["config"])
    config |= {"out": None, "init": None}  # paths of whoever trained it
    for key in ("teacher", "opponent"):
        if config.get(key):
            config[key] = _without_folders(config[key])
    agent = checkpoint.load_policy(run).agent
    results = [json.loads(Path(each, "eval.json").read_text())["results"][0] for each in evaluations or [run]]
    about = {
        "name": name,
        **{key: config[key] for key in ("scenario", "agent", "preset", "observation", "left", "control", "seed")},
        "env_steps": env_steps or saved.get("env_steps", config["total_steps"]),
        "total_steps": config["total_steps"],
        "commit": results[0]["commit"],
        "command": command,
        "results": [_result(each) for each in results],
    }
    with tempfile.TemporaryDirectory() as scratch:
        new = Path(scratch, name)
        new.mkdir()
        plain = {key: saved[key] for key in ("spec", "streams")} | {"config": json.dumps(config)}
        checkpoint.save(new / "checkpoint.pt", {**plain, "agent": agent.policy_state()})
        if (size := (new / "checkpoint.pt").stat().st_size) > LARGEST:
            raise ValueError(f"{run}: {size:,} bytes, and a shipped policy has {LARGEST:,} at most")
        (new / "config.json").write_text(json.dumps(config, indent=1) + "\n")
        (new / "card.json").write_text(json.dumps(about, indent=1) + "\n")
        return Path(shutil.copytree(new, folder / name, dirs_exist_ok=True))


def _without_folders(names: str | Sequence[str]) -> str | list[str]:
    """Policies by their last names alone."""
    return Path(names).name if isinstance(names, str) else [Path(name).name for name in names]


def _result(result: Mapping[str, Any]) -> dict[str, Any]:
    metrics = result["metrics"]
    kept = {
        name: metrics[f"score/{key}"]
        for name, key in (("success", "success_rate"), ("goal_difference", "goal_difference_per_game"))
    }
    numbers = {name: {key: estimate[key] for key in ("value", "low", "high")} for name, estimate in kept.items()}
    about = {"opponent": result["opponent"], "episodes": len(result["rows"]), "side": result.get("side", "left")}
    return about | numbers
