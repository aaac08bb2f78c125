"""The table of what controlled players cost."""

import pytest

from touchline.benchmarks.player_throughput import PlayerReport, measure


def test_the_overhead_is_the_median_of_the_rounds_own():
    report = PlayerReport("m", 16, 2)
    report.bare["5_vs_5 4+4"] = [1000.0, 2000.0, 1000.0]
    report.vector["5_vs_5 4+4"] = [1100.0, 2100.0, 3000.0]
    assert report.overhead("5_vs_5 4+4") == pytest.approx(0.1)
    assert "| 5_vs_5 4+4 | 16000 | 7619 | 60952 | 10.0% |  |" in report.markdown()


@pytest.mark.engine
def test_all_players_of_a_case_are_stepped(tmp_path):
    report = measure(cases=(("5_vs_5", 4, 4), ("academy_3_vs_1_with_keeper", 1, 0)), num_envs=2, rounds=1, seconds=0.05)
    assert list(report.bare) == ["5_vs_5 4+4", "academy_3_vs_1_with_keeper 1+0"]
    assert all(len(times) == 1 and times[0] > 0 for times in (*report.bare.values(), *report.vector.values()))
    report.write(tmp_path)
    assert (tmp_path / "players.md").read_text() == report.markdown()
