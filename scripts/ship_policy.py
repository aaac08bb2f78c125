"""Puts the policy of a finished run into the package, with its card.

python scripts/ship_policy.py RUN NAME --command "touchline train ..." [--evaluations FOLDER ...]
"""

import argparse
from pathlib import Path

from touchline import trained


def main() -> None:
    """RUN is a run directory with eval.json, or --evaluations names the folders of those that go onto the card."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--command", required=True)
    parser.add_argument("--env-steps", type=int, help="of a league's champion, whose checkpoint does not say")
    parser.add_argument("--evaluations", nargs="+", type=Path, default=())
    chosen = parser.parse_args()
    about = {"evaluations": chosen.evaluations, "command": chosen.command, "env_steps": chosen.env_steps}
    folder = trained.ship(chosen.run, chosen.name, **about)
    print(f"{folder}: {(folder / 'checkpoint.pt').stat().st_size:,} bytes")
    print(trained.describe(trained.card(chosen.name)))


if __name__ == "__main__":
    main()
