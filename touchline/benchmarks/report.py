"""`touchline report`: what runs amount to, as one HTML page and as Markdown, beside published figures.

Two protocols stand side by side. Ours: the frozen, greedy policy on held-out seeds (eval.json). The GRF paper's: the
mean of the last 100 training episodes (metrics.csv). What was played on different backends, with different numbers of
players or against different opponents is never in one table. There is no time in a report, and its bootstraps have a
fixed seed: the same runs give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from touchline.benchmarks import published, report_figures, report_page, report_runs, report_tables
from touchline.benchmarks import report_statistics as statistics
from touchline.benchmarks.report_figures import Look
from touchline.benchmarks.report_page import Block, Facts, Figures, Heading, Text
from touchline.benchmarks.report_runs import WINDOW, Comparison, Run, Section
from touchline.benchmarks.report_statistics import AGGREGATES, FEWEST_SEEDS, REPETITIONS
from touchline.benchmarks.report_tables import count, numbers

TITLE = "Benchmark report"
ENOUGH_EPISODES = 200
"""Of a frozen evaluation; with fewer the report says so."""


def write_report(paths: Sequence[str | Path], out: str | Path) -> list[Path]:
    """Writes report.html, report.md and figures/*.png about all runs in and below the paths; gives the first two.

    Args:
        paths: run directories, or folders that hold some; LABEL=FOLDER adds the label to the variants' names.
        out: a folder; an earlier report in it is replaced.
    """
    runs, others = report_runs.read(paths)
    if not runs:
        raise ValueError(f"no run with a metrics.csv in {', '.join(map(str, paths))}")
    sections = report_runs.sections(runs)
    blocks = [*_opening(runs, others, sections)]
    for number, section in enumerate(sections, 1):
        blocks += _section(section, f"part-{number}")
    blocks += [Heading(2, "Runs"), Text(_RUNS)]
    blocks.append(report_tables.provenance([run for section in sections for run in section.all_runs()]))
    blocks += [Heading(2, "How to read this"), *map(Text, _READING)]
    page, figures = Path(out, "report.html"), Path(out, "figures")
    figures.mkdir(parents=True, exist_ok=True)
    for picture in figures.glob("part-*.png"):
        picture.unlink()
    text = page.with_suffix(".md")
    text.write_text(report_page.markdown(TITLE, blocks, figures))
    page.write_text(report_page.html(TITLE, blocks))
    return [page, text]


def _opening(runs: Sequence[Run], others: Sequence[str], sections: Sequence[Section]) -> Iterable[Block]:
    finished = [run for run in runs if run.result is not None]
    seeds = {run.seed for run in runs}
    yield Facts(
        {
            "runs, finished": f"{len(finished)} of {len(runs)}",
            "variants": f"{len({run.variant for run in runs})}",
            "scenarios": f"{len({run.scenario for run in runs})}",
            f"seed{'s' if len(seeds) > 1 else ''} ({numbers(seeds)})": f"{len(seeds)}",
            "environment steps": _steps(sum(run.env_steps for run in runs)),
            "hours of training": f"{np.nansum([run.wall_seconds for run in runs]) / 3600:.1f}",
            "backends": ", ".join(sorted({section.conditions.backend for section in sections})),
        }
    )
    yield Text(_FIRST)
    if len(sections) > 1:
        yield Text(_APART, note=True)
    if unfinished := [run for run in runs if run.result is None]:
        names = "; ".join(f"`{run.folder}` ({_state(run)})" for run in unfinished)
        yield Text(f"Not finished, shown by their curves alone (dotted), in no result: {names}.", note=True)
    if others:
        names = ", ".join(f"`{one}`" for one in others)
        yield Text(f"Left out, as they hold no metrics of a training: {names}.", note=True)
    if few := {len(run.result["rows"]) for run in finished if len(run.result["rows"]) < ENOUGH_EPISODES}:
        yield Text(f"Some evaluations are of fewer than {ENOUGH_EPISODES} episodes: {numbers(few)}.", note=True)
    evaluations = {run.result["seed"] for run in finished}
    if len(evaluations) > 1:
        yield Text(f"Not all evaluations play the same held-out seeds: numbers {numbers(evaluations)}.", note=True)


def _steps(steps: int) -> str:
    return f"{steps / 1e6:,.1f} M" if steps < 1e8 else f"{steps / 1e6:,.0f} M"


def _state(run: Run) -> str:
    steps, total = run.env_steps, run.config["total_steps"]
    return f"{run.trouble}; {steps:,} of {total:,} steps" if steps < total else run.trouble


def _section(section: Section, name: str) -> Iterable[Block]:
    looks = report_figures.looks(section.variants)
    drills, matches = section.scenarios(matches=False), section.scenarios(matches=True)
    yield Heading(2, f"{section.conditions}")
    comparisons = report_runs.comparisons(section)
    if comparisons:
        yield Heading(3, "Drills together")
        yield Text(_SCORE + (_NO_MATCHES if matches else ""))
    for number, comparison in enumerate(comparisons, 1):
        yield from _comparison(comparison, section, looks, f"{name}-{number}")
    yield Heading(3, "Learning curves")
    yield Text(_CURVES)
    panels = [report_figures.curves(section, scenario, looks) for scenario in (*drills, *matches)]
    yield Figures(f"{name}-curves", panels, looks)
    for title, scenarios in (("Drill by drill", drills), ("Matches", matches)):
        if not scenarios:
            continue
        yield Heading(3, title)
        found = [report_figures.outcomes(section, s, looks, published.of(s)) for s in scenarios]
        if panels := [panel for panel in found if panel]:
            yield Text(_OUTCOMES)
            yield Figures(f"{name}-{title.split()[0].lower()}", panels)
        for scenario in scenarios:
            turns = ", from both sides" if "both" in section.sides(scenario) else ""
            yield Heading(4, f"`{scenario}`{turns}")
            yield report_tables.results(section, scenario, is_match=scenario in matches)
            if beside := published.of(scenario):
                yield report_tables.beside(beside)


def _comparison(comparison: Comparison, section: Section, looks: Mapping[str, Look], name: str) -> Iterable[Block]:
    scores, seeds, drills = comparison.scores(), comparison.seeds, comparison.scenarios
    yield Heading(4, f"{count(len(scores), 'variant')}, {count(len(drills), 'drill')}".capitalize())
    text = f"Over {', '.join(f'`{drill}`' for drill in drills)}; {count(seeds, 'seed')} of each variant on each."
    if more := [drill for drill in section.scenarios(matches=False) if drill not in drills]:
        text += f" Not in it, as not all of these variants have finished runs there: {', '.join(map(_code, more))}."
    if more := [variant for variant in section.variants if variant not in scores]:
        text += f" Not in it, as they have not finished all of these drills: {', '.join(more)}."
    if comparison.left_out:
        more = count(comparison.left_out, "finished run")
        text += f" {more.capitalize()} more of these variants and drills left out, as others have fewer seeds."
    if unequal := comparison.unequal_steps():
        text += f" **Not of equal length** on {', '.join(map(_code, unequal))}: the tables say how many steps each had."
    yield Text(text)
    found = {variant: statistics.aggregates(values) for variant, values in scores.items()}
    if seeds < FEWEST_SEEDS:
        yield Text(_FEW_SEEDS, note=True)
        yield report_tables.aggregates(found)
        return
    pairs = dict(_improvement(scores, *pair) for pair in combinations(scores, 2))
    shown = range(len(AGGREGATES) if len(drills) > 1 else 1)  # of one drill all but the IQM say the same
    panels = [report_figures.aggregate(i, found, looks, f"{name}-aggregate") for i in shown]
    profiles = {variant: statistics.profile(values) for variant, values in scores.items()}
    panels.append(report_figures.profiles(profiles, looks, f"{name}-profile"))
    if pairs:
        panels.append(report_figures.improvements(list(scores), pairs, f"{name}-improvement"))
    yield Figures(f"{name}-aggregates", panels, {variant: looks[variant] for variant in scores})
    yield report_tables.aggregates(found)
    if pairs:
        yield report_tables.improvements(pairs)


def _improvement(scores: Mapping[str, np.ndarray], x: str, y: str) -> tuple[tuple[str, str], statistics.Interval]:
    """A pair, the one that is more probably the better first, and the probability."""
    found = statistics.improvement(scores[x], scores[y])
    if found.value[0] < 0.5:
        x, y, found = y, x, statistics.improvement(scores[y], scores[x])
    return (x, y), found


def _code(name: str) -> str:
    return f"`{name}`"


# ---- what is said in every report --------------------------------------------------------------------------

_FIRST = (
    "Every number is of **frozen policies on held-out seeds** unless its column says training; intervals are 95%. "
    "Published figures stand apart, hatched or hollow: they were measured by other protocols."
)
_APART = (
    "These runs were not all played under the same conditions. Backends, numbers of controlled players and opponents "
    "are kept apart: nothing here is compared across the parts."
)
_SCORE = "A run's score on a drill is its frozen policy's success rate, 0 to 100%."
_NO_MATCHES = " Matches are not in it: their goal differences have no common scale with a success rate."
_FEW_SEEDS = (
    f"With fewer than {FEWEST_SEEDS} seeds there are no intervals over seeds, no profiles and no comparison pair by "
    "pair: these numbers put no variant before another."
)
_CURVES = (
    f"Every point is the mean of the last {WINDOW} training episodes, exploration included. Thin: a seed; thick: the "
    f"interquartile mean over finished seeds, with its interval from {FEWEST_SEEDS} seeds on (of one seed, the seed); "
    "dotted: a run that is not finished. Axes differ from picture to picture."
)
_OUTCOMES = (
    "Frozen policies. Hollow: every seed; bar: their mean, with its interval from three seeds on. A single seed is "
    "filled, with the interval over its episodes. Grey and hollow: published with as many players, ± standard "
    "deviation. Axes differ from picture to picture."
)
_RUNS = (
    "Commit and machine are those that the evaluation wrote down (a + behind a commit: files were changed); a suite "
    "trains and evaluates in one process. Wall-clock is the time of acting and learning, all sessions together, "
    "whatever else the machine did meanwhile. Steps are those of the environment, however many players are controlled."
)
_READING = (
    "**Frozen policy (ours).** After training the networks are frozen and act greedily through episodes on engine "
    "seeds that no training draws, from the left unless a heading says otherwise; every policy plays the same seeds. "
    "Success: more goals than the opponent at the episode's end. Behind each seed stands the interval over its own "
    "episodes (Wilson for shares, Student-t for goal differences). The interval over seeds, a percentile bootstrap of "
    f"their mean, says what another training might give; there is none with fewer than {FEWEST_SEEDS} seeds.",
    f"**Training, last {WINDOW} episodes (the GRF paper's protocol).** The last number of `metrics.csv`: the mean over "
    f"the {WINDOW} training episodes that ended last (over all, if fewer ended), as they were played: by a policy that "
    "explores and still learned, on training seeds, in all matches of the vector environment together. The return is "
    "that of the training's reward terms, without bonuses. Then mean ± sample standard deviation over seeds.",
    "**Drills together.** Interquartile mean (IQM: the mean of the middle half of all runs), median of the drills' "
    "means, mean, optimality gap (how far runs stay below 100%, on average), performance profiles and probability of "
    "improvement (ties count half) are those of rliable "
    "([Agarwal et al. 2021](https://arxiv.org/abs/2108.13264)), with percentile intervals of a stratified bootstrap: "
    f"runs are drawn anew within every drill, {REPETITIONS['aggregates']:,} times for the aggregates and "
    f"{REPETITIONS['others']:,} times for the rest, from a fixed seed. With 3 to 5 seeds such intervals are rather too "
    "narrow than too wide, and one over seeds that all scored the same has no width.",
    "**Published figures** are facts from papers and READMEs, by other protocols, budgets, observations and builds of "
    "the engine. A difference from ours is not a measured effect.",
)
