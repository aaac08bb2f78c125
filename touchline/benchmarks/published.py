"""Published results on football scenarios, as data: what a report shows beside our own, never among them.

Numbers are facts from the papers and READMEs named in `SOURCES`. Each was measured by its authors' protocol, on their
builds of the engine; `how` says what is known of it, and through whom.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """Where a number is from.

    Attributes:
        title: of the paper or project.
        where: table of it.
        protocol: what was measured, in words.
        how: how the number reached this file.
        link: to it; empty where none is known.
    """

    title: str
    where: str
    protocol: str
    how: str
    link: str = ""


_PAPER = "Google Research Football (Kurach et al. 2020)"
_LAST_100 = "mean of the last 100 training episodes, 5 seeds, ± standard deviation"
_NOTE = "via a secondary note, not read in the paper itself"
_ARXIV = "https://arxiv.org/abs/1907.11180"

SOURCES = {
    "grf_5": Source(_PAPER, "Table 5, scoring reward", f"goal difference, {_LAST_100}", _NOTE, _ARXIV),
    "grf_6": Source(_PAPER, "Table 6, checkpoint reward", f"goal difference, {_LAST_100}", _NOTE, _ARXIV),
    "grf_3": Source(_PAPER, "Table 3", f"score, {_LAST_100}", _NOTE, _ARXIV),
    "gbrl": Source(
        "GBRL",
        "Table 4",
        "shaped return of at most about 2, last 100 training episodes, 5 seeds; number of steps not known",
        _NOTE,
    ),
    "harl": Source(
        "HARL",
        "README",
        "score rate of 100 evaluation episodes, ± standard deviation; episodes end after 200 steps (counterattack "
        "hard: 1,000)",
        "read in the README",
    ),
    "ieee": Source(
        "IEEE 9708400",
        "small budgets, checkpoint reward",
        "goal difference",
        "via a secondary note; protocol not known",
    ),
    "cds": Source(
        "CDS (NeurIPS 2021)",
        "the repository's result files",
        "win rate of 20 test episodes of at most 150 steps, sparse reward; of single seeds on QMIX 0 to 87.5%",
        "means computed from the repository's files",
    ),
}


@dataclass(frozen=True)
class Published:
    """A published number.

    Attributes:
        metric: "success" (share, 0 to 1), "score" (as the paper says, of a drill), "goal_difference" or "return".
        spread: standard deviation over seeds, if it was given.
        steps: environment steps of the training, in millions; None is not known.
        players: controlled, "1" where the source does not say; "all" are all attackers.
        source: a key of `SOURCES`.
    """

    scenario: str
    method: str
    metric: str
    value: float
    source: str
    spread: float | None = None
    steps: float | None = None
    players: str = "1"


def _matches(source: str, rows: dict[str, tuple[float, tuple[tuple[float, float], ...]]]) -> list[Published]:
    """Easy, medium and hard of a method and its millions of steps."""
    reward = SOURCES[source].where.split(", ")[1]
    scenarios = ("11_vs_11_easy_stochastic", "11_vs_11_stochastic", "11_vs_11_hard_stochastic")
    return [
        Published(scenario, f"{method}, {reward}", "goal_difference", value, source, spread, steps)
        for method, (steps, values) in rows.items()
        for scenario, (value, spread) in zip(scenarios, values, strict=True)
    ]


def _harl(scenario: str, steps: float, players: str, **rows: tuple[float, float]) -> list[Published]:
    return [
        Published(scenario, name, "success", mean / 100, "harl", std / 100, steps, players)
        for name, (mean, std) in rows.items()
    ]


def _gbrl(scenario: str, network: float, trees: float) -> list[Published]:
    rows = (("PPO, network", network), ("PPO, boosted trees", trees))
    return [Published(f"academy_{scenario}", name, "return", value, "gbrl") for name, value in rows]


def _small(steps: float, method: str, *values: float) -> list[Published]:
    scenarios = ("11_vs_11_easy_stochastic", "11_vs_11_stochastic", "11_vs_11_hard_stochastic")
    return [
        Published(scenario, f"{method}, checkpoint reward", "goal_difference", value, "ieee", steps=steps)
        for scenario, value in zip(scenarios, values, strict=True)
    ]


_THREE = "academy_3_vs_1_with_keeper"

PUBLISHED: tuple[Published, ...] = (
    *_matches(
        "grf_5",
        {
            "Ape-X DQN": (500, ((8.16, 1.05), (2.01, 0.27), (0.27, 0.56))),
            "IMPALA": (500, ((5.14, 2.88), (-0.36, 0.11), (-0.47, 0.48))),
            "PPO": (50, ((0.09, 0.13), (-0.84, 0.10), (-1.39, 0.22))),
        },
    ),
    *_matches(
        "grf_6",
        {
            "IMPALA": (500, ((12.83, 1.30), (5.54, 0.90), (3.15, 0.37))),
            "Ape-X DQN": (500, ((7.06, 0.85), (2.18, 0.25), (1.20, 0.40))),
            "PPO": (50, ((8.71, 0.72), (1.11, 0.45), (-0.75, 0.13))),
        },
    ),
    *_small(3, "QR-DQN", 1.29, 0.68, -0.35),
    *_small(6, "QR-DQN", 1.36, 1.32, 0.40),
    *_small(3, "PPO", 2.49, -1.3, -1.01),
    *_small(6, "PPO", 2.78, -0.32, -0.94),
    Published(_THREE, "GRF paper, 1 player", "score", 0.68, "grf_3", 0.03, 50, "1"),
    Published(_THREE, "GRF paper, 2 players", "score", 0.81, "grf_3", 0.17, 50, "2"),
    Published(_THREE, "GRF paper, 3 players", "score", 0.86, "grf_3", 0.08, 50, "3"),
    *_harl(
        "academy_pass_and_shoot_with_keeper", 25, "all", HAPPO=(96.93, 1.11), MAPPO=(94.92, 0.85), QMIX=(8.05, 5.58)
    ),
    *_harl(
        "academy_run_pass_and_shoot_with_keeper", 25, "all", HAPPO=(77.30, 7.40), MAPPO=(76.83, 3.57), QMIX=(8.08, 3.29)
    ),
    *_harl(_THREE, 25, "3", HAPPO=(94.74, 3.05), MAPPO=(88.03, 4.15), QMIX=(8.12, 4.46)),
    *_harl("academy_counterattack_easy", 25, "all", HAPPO=(92.00, 1.62), MAPPO=(87.76, 6.40), QMIX=(15.98, 11.77)),
    *_harl("academy_counterattack_hard", 50, "all", HAPPO=(88.14, 5.77), MAPPO=(77.38, 10.95), QMIX=(3.22, 4.39)),
    Published(_THREE, "CDS on QMIX, 10 seeds", "success", 0.43, "cds", None, 4.05, "3"),
    Published(_THREE, "CDS on QPLEX, 5 seeds", "success", 0.51, "cds", None, None, "3"),
    *_gbrl("empty_goal_close", 1.99, 2.00),
    *_gbrl("empty_goal", 1.98, 1.84),
    *_gbrl("run_to_score", 1.91, 1.83),
    *_gbrl("run_to_score_with_keeper", 1.13, 1.95),
    *_gbrl("pass_and_shoot_with_keeper", 1.31, 1.87),
    *_gbrl("run_pass_and_shoot_with_keeper", 1.64, 1.85),
    *_gbrl("3_vs_1_with_keeper", 1.61, 1.63),
    *_gbrl("counterattack_easy", 1.43, 1.64),
    *_gbrl("counterattack_hard", 1.23, 1.23),
    *_gbrl("corner", 0.95, 1.05),
    *_gbrl("single_goal_versus_lazy", 1.68, 1.73),
)


def of(scenario: str) -> list[Published]:
    """What is published on a scenario."""
    return [one for one in PUBLISHED if one.scenario == scenario]
