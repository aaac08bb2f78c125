"""The tables of a report, and how its numbers are written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from touchline.benchmarks import published, report_runs
from touchline.benchmarks import report_statistics as statistics
from touchline.benchmarks.published import Published
from touchline.benchmarks.report_page import Table
from touchline.benchmarks.report_runs import DIFFERENCE, RETURN, SUCCESS, WINDOW, Run, Section
from touchline.benchmarks.report_statistics import AGGREGATES, Interval

NONE = "–"
_SUCCESS, _GOALS = "score/success_rate", "score/goal_difference_per_game"


# ---- results -----------------------------------------------------------------------------------------------


def aggregates(found: Mapping[str, Interval]) -> Table:
    """`AGGREGATES` of every variant."""
    rows = [[variant, *(percent(*bounds) for bounds in _each(interval))] for variant, interval in found.items()]
    head = ["variant", *(f"{title}, %" for title in AGGREGATES)]
    with_bounds = any(interval.low is not None for interval in found.values())
    return Table(head, rows, caption="Over runs and drills" + (" [95%, stratified bootstrap]" if with_bounds else ""))


def improvements(found: Mapping[tuple[str, str], Interval]) -> Table:
    """Probabilities of improvement, a row a pair."""
    rows = [[x, y, percent(*_each(interval)[0])] for (x, y), interval in found.items()]
    caption = "Probability that a run of X succeeds more often than one of Y on the same drill"
    return Table(["X", "Y", "P(X > Y), % [95%]"], rows, caption=caption, fold=len(rows) > 6)


def results(section: Section, scenario: str, *, is_match: bool) -> Table:
    """Ours, by both protocols, and scripted players on the same seeds."""
    rows, kinds, yardsticks = [], [], {}
    for variant in section.variants:
        runs = section.finished(variant, scenario)
        if runs:
            rows.append(_result(variant, runs, is_match=is_match))
            kinds.append("")
        elif (variant, scenario) in section.runs:
            rows.append([variant, "none finished", *[NONE] * 6])
            kinds.append("unfinished")
        for run in runs:
            yardsticks = {one["policy"]: one for one in run.yardsticks} | yardsticks
    for policy, result in yardsticks.items():
        success, goals = percent(*report_runs.estimate(result, _SUCCESS)), signed(*report_runs.estimate(result, _GOALS))
        main, besides = (goals, _record([result])) if is_match else (success, goals)
        rows.append([policy, "scripted", NONE, NONE, main, besides, NONE, NONE])
        kinds.append("yardstick")
    main = "goal difference" if is_match else "success, %"
    training = f"training, last {WINDOW} episodes"
    head = [
        "variant",
        "seeds",
        "steps of a run",
        f"frozen policy: {main} [95% over seeds]",
        "each seed [95% over its episodes]",
        f"frozen policy: {'won / drawn / lost, %' if is_match else 'goal difference'}",
        f"{training}: {main} ± std",
        f"{training}: return ± std",
    ]
    return Table(head, rows, kinds)


def _result(variant: str, runs: Sequence[Run], *, is_match: bool) -> list[str]:
    main, show = (_GOALS, signed) if is_match else (_SUCCESS, percent)
    over_seeds = _each(statistics.mean(np.array([run.score(main)[0] for run in runs])))[0]
    goals = float(np.mean([run.score(_GOALS)[0] for run in runs]))
    if is_match:
        training = with_deviation([run.last_episodes(DIFFERENCE) for run in runs])
    else:
        training = with_deviation([100 * run.last_episodes(SUCCESS) for run in runs], digits=1)
    return [
        variant,
        f"{len(runs)} ({numbers(run.seed for run in runs)})",
        f"{max(run.env_steps for run in runs):,}",
        f"**{show(*over_seeds)}**",
        "\n".join(show(*run.score(main)) for run in runs),
        _record([run.result for run in runs]) if is_match else signed(goals),
        training,
        with_deviation([run.last_episodes(RETURN) for run in runs]),
    ]


def _record(results: Sequence[Mapping | None]) -> str:
    found = [result["metrics"] for result in results if result is not None]
    rates = [np.mean([one[f"score/{name}_rate"]["value"] for one in found]) for name in ("win", "draw", "loss")]
    return " / ".join(f"{100 * rate:.0f}" for rate in rates)


def beside(found: Sequence[Published]) -> Table:
    """What is published, in a table that cannot be taken for ours."""
    return Table(
        ["method", "published value", "steps", "players", "what was measured", "source"],
        [_published(one) for one in found],
        ["published"] * len(found),
        caption="Published, by other protocols: for orientation, not the same measurement",
    )


def _published(one: Published) -> list[str]:
    source = published.SOURCES[one.source]
    scale, digits, unit = {
        "success": (100, 1, "%"),
        "score": (1, 2, "score"),
        "goal_difference": (1, 2, "goals"),
        "return": (1, 2, "return"),
    }[one.metric]
    value = f"{scale * one.value:.{digits}f}"
    if one.spread is not None:
        value += f" ± {scale * one.spread:.{digits}f}"
    steps = NONE if one.steps is None else f"{one.steps:g} M"
    title = f"[{source.title}]({source.link})" if source.link else source.title
    where = f"{title}, {source.where}; {source.how}"
    return [one.method, f"{value} {unit}", steps, one.players, source.protocol, where]


# ---- runs --------------------------------------------------------------------------------------------------


def provenance(runs: Sequence[Run]) -> Table:
    """Where every run comes from, what it cost, and how it was judged."""
    head = ["run", "seed", "state", "environment steps", "wall-clock, h:min:s", "steps/s", "commit", "machine"]
    head += ["training", "evaluation"]
    kinds = ["" if run.result is not None else "unfinished" for run in runs]
    return Table(head, [_provenance(run) for run in runs], kinds, count(len(runs), "run"), fold=len(runs) > 12)


def _provenance(run: Run) -> list[str]:
    config, result = run.config, run.result
    judged = [NONE, NONE, NONE]
    if result is not None:
        episodes = f"{len(result['rows'])} episodes, engine seeds from {result['rows'][0]['seed']} on"
        judged = [result.get("commit") or "not recorded", result.get("machine") or "not recorded", episodes]
    speed = f"{run.steps_per_second:,.0f}" if math.isfinite(run.steps_per_second) else NONE
    training = [config["agent"], config.get("observation"), f"{config.get('num_envs')} envs"]
    return [
        f"`{run.folder}`",
        f"{run.seed}",
        "finished" if result is not None else run.trouble,
        f"{run.env_steps:,} of {config['total_steps']:,}",
        clock(run.wall_seconds),
        speed,
        judged[0],
        judged[1],
        ", ".join([*map(str, training), config.get("device", "cpu")]),
        judged[2],
    ]


# ---- numbers as texts --------------------------------------------------------------------------------------


def _each(interval: Interval) -> list[tuple[float, float, float]]:
    """(value, low, high) of every entry; the bounds are nan where there are none."""
    missing = np.full(len(interval.value), math.nan)
    low = missing if interval.low is None else interval.low
    high = missing if interval.high is None else interval.high
    return [tuple(map(float, bounds)) for bounds in zip(interval.value, low, high, strict=True)]


def percent(value: float, low: float = math.nan, high: float = math.nan) -> str:
    """93.0 [88.6, 95.8], without bounds if there are none."""
    return _estimate([f"{100 * x:.1f}" for x in (value, low, high)])


def signed(value: float, low: float = math.nan, high: float = math.nan) -> str:
    """+0.93 [+0.88, +0.97], without bounds if there are none."""
    return _estimate([f"{x:+.2f}" for x in (value, low, high)])


def _estimate(texts: Sequence[str]) -> str:
    if "nan" in texts[0]:
        return NONE
    return texts[0] if "nan" in texts[1] else f"{texts[0]} [{texts[1]}, {texts[2]}]"


def with_deviation(values: Sequence[float], digits: int = 2) -> str:
    """Mean ± sample standard deviation, of one value the value alone."""
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return NONE
    spread = f" ± {np.std(known, ddof=1):.{digits}f}" if len(known) > 1 else ""
    return f"{np.mean(known):.{digits}f}{spread}"


def clock(seconds: float) -> str:
    """h:min:s."""
    if not math.isfinite(seconds):
        return NONE
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def numbers(found: Iterable[int]) -> str:
    """Numbers in order, rows of them shortened: 0–2, 5."""
    parts: list[list[int]] = []
    for number in sorted(found):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{part[0]}–{part[-1]}" if len(part) > 1 else f"{part[0]}" for part in parts)


def count(number: int, what: str) -> str:
    """One seed, 3 seeds."""
    return f"{'one' if number == 1 else number} {what}{'s' if number != 1 else ''}"
