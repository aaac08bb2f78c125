"""`touchline demo`: the first thing that a newcomer sees."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from touchline.commands.console import say
from touchline.commands.play import Evaluate, Watch
from touchline.commands.train import Train


@dataclass(frozen=True)
class Demo:
    """Trains PPO to score into an empty goal, compares it with the random and the built-in player, and films it."""

    out: Path = Path("runs/demo")
    total_steps: int = 200_000
    episodes: int = 200
    seed: int = 0

    def run(self) -> int:
        mark = self.out / ".demo"
        if mark.is_file():
            say(f"replacing the demo in {self.out}")
            shutil.rmtree(self.out)
        elif self.out.exists() and any(self.out.iterdir()):
            raise FileExistsError(f"{self.out} holds something that no demo made: remove it, or give another --out")
        self.out.mkdir(parents=True, exist_ok=True)
        mark.touch()
        train = Train(total_steps=self.total_steps, seed=self.seed, out=str(self.out))
        if code := train.run((), ()):
            return code
        Evaluate(str(self.out), episodes=self.episodes).run()
        Watch(str(self.out)).run()
        say(f"everything is in {self.out}; curves: tensorboard --logdir {self.out}")
        return 0
