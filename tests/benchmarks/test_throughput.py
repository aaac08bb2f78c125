"""What is measured for the tables of throughput."""

import pytest

from touchline.benchmarks.throughput import SingleEnv


@pytest.mark.engine
def test_a_scenario_in_a_file_is_measured_too(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("from touchline import scenarios\nSCENARIO = scenarios.load('academy_empty_goal_close')\n")
    env = SingleEnv(str(file))
    assert env.measure(0.01) > 0
    env.close()
