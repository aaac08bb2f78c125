"""Live parity with upstream's own package, where `touchline engine verify` has built it on this machine.

Upstream's environment takes about five minutes to build, so the tests do not do it by themselves; with
TOUCHLINE_VERIFY=build they do.
"""

import dataclasses
import os

import numpy as np
import pytest

from touchline import scenarios
from touchline.envs.engine import verify

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def upstream():
    python = verify.find_upstream_python()
    if python is None and os.environ.get("TOUCHLINE_VERIFY") == "build":
        python = verify.upstream_python()
    if python is None:
        pytest.skip(
            "upstream's package is not built here: run `touchline engine verify`, or set TOUCHLINE_VERIFY=build"
        )
    return python


@pytest.mark.parametrize("scenario", scenarios.names(gfootball=True))
def test_300_steps_equal_upstreams_to_the_last_bit(upstream, scenario):
    job = next(verify.jobs("short", [scenario]))
    (trace,) = verify.traces(upstream, [job])
    row = verify.compare(job, trace)
    assert row.ok, str(row)
    assert row.steps == 300
    assert row.states >= 300


@pytest.mark.parametrize("scenario", ["academy_3_vs_1_with_keeper", "11_vs_11_easy_stochastic", "5_vs_5"])
def test_both_sides_the_built_in_ai_and_upstreams_wrappers_equal_too(upstream, scenario):
    jobs = list(verify.jobs("short", [scenario]))[1:]
    assert jobs
    for job, trace in zip(jobs, verify.traces(upstream, jobs), strict=True):
        row = verify.compare(job, trace)
        assert row.ok, str(row)


def test_a_different_seed_is_noticed(upstream):
    job = next(verify.jobs("short", ["academy_3_vs_1_with_keeper"]))
    (trace,) = verify.traces(upstream, [job])
    row = verify.compare(dataclasses.replace(job, seeds=tuple(np.array(job.seeds) + 1)), trace)
    assert not row.ok
    assert "step" in str(row.difference)
