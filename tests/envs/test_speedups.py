"""The patcher that builds our optimisations into the engine's sources."""

import re
import subprocess

import pytest

from touchline.envs.engine import build, speedups, verify

SOURCE = """\
#include "team.hpp"
#ifdef WINDOWS
#include "windows.hpp"
#endif
// int Team::Score() { return 0; }
int Team::Score() const {
  if (Score(1)) { return 2; }
  const char *brace = "}"; // }
  return 3;
}

int Team::Score(int half) const { return half; }

struct Team : Group {
  int Score() const;
  struct Inner { int x; };
};
"""


@pytest.fixture
def engine(tmp_path):
    folder = tmp_path / "engine"
    (folder / "src").mkdir(parents=True)
    (folder / "src/team.cpp").write_text(SOURCE)
    (folder / "sources.cmake").write_text("set(X)\n")
    return folder


def patch(engine, text):
    return speedups.patched(engine / "src", [speedups.parse("trial", text)])["team.cpp"]


def test_a_replacement_takes_the_definition_and_nothing_else(engine):
    text = patch(engine, "// About it.\n\n// @replace team.cpp Team::Score|()\nint Team::Score() const { return 7; }\n")
    assert text == SOURCE.replace(SOURCE[SOURCE.index("int Team::Score() const {") : SOURCE.index("\n\nint Team")],
                                  "int Team::Score() const { return 7; }")  # fmt: skip


def test_sections_go_where_their_directives_say(engine):
    text = patch(
        engine,
        "// @top team.cpp\n#include <map>\n// @members team.cpp Team\nint y;\n"
        "// @enter team.cpp Team::Score|half\nhalf++;\n// @before team.cpp Team::Score|()\nint before;\n"
        "// @after team.cpp Team::Score|()\nint after;\n// @rename team.cpp Team::Score|half half time 3\n",
    )
    assert text.index('"team.hpp"') < text.index("<map>") < text.index("WINDOWS")
    assert text.index("struct Inner") < text.index("int y;") < text.rindex("};")
    assert text.index("// int Team") > text.index("WINDOWS")
    assert text.index("int before;") < text.index("int Team::Score() const {") < text.index("int after;")
    assert "{\ntime++;\n return time; }" in text.replace("half++", "time++") and "(int time)" in text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("// @replace team.cpp Team::Score\nint x;\n", "defined 2 times"),
        ("// @replace team.cpp Team::Goals\nint x;\n", "defined 0 times"),
        ("// @members team.cpp Player\nint x;\n", "defined 0 times"),
        ("// @replace player.cpp Player::Run\nint x;\n", "no file player.cpp"),
        ("// @rename team.cpp Team::Score|half half time 5\n", "occurs 2 times in Team::Score|half, not 5"),
    ],
)
def test_a_place_that_does_not_exist_exactly_once_is_named(engine, text, problem):
    with pytest.raises(speedups.PatchError, match=problem) as caught:
        patch(engine, text)
    assert str(caught.value).startswith("trial")


def test_an_unknown_directive_is_refused():
    with pytest.raises(speedups.PatchError, match="cannot read"):
        speedups.parse("trial", "// @swap team.cpp Team::Score\n")


def test_files_that_stay_as_they_are_are_not_touched(engine, tmp_path):
    (engine / "src/other.cpp").write_text("int x;\n")
    speedups.write_tree(engine, tmp_path / "out", [])
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/src").iterdir()}
    trial = speedups.parse("trial", "// @replace team.cpp Team::Score|half\nint Team::Score(int) const { return 1; }\n")
    speedups.write_tree(engine, tmp_path / "out", [trial])
    changed = {path.name for path, time in times.items() if path.stat().st_mtime_ns != time}
    assert changed == {"team.cpp"}


def test_one_can_be_left_out_and_takes_along_what_builds_upon_it(monkeypatch, tmp_path):
    (tmp_path / "basis.cpp").write_text("// First.\n")
    (tmp_path / "another.cpp").write_text("// Second.\n\n// @needs basis\n")
    (tmp_path / "third.cpp").write_text("// Third.\n")
    monkeypatch.setattr(speedups, "FOLDER", tmp_path)
    assert [s.name for s in speedups.chosen()] == ["basis", "another", "third"]
    assert [s.name for s in speedups.chosen(["basis"])] == ["third"]
    assert speedups.chosen(["all"]) == ()
    with pytest.raises(ValueError, match="no optimisation nonsense"):
        speedups.chosen(["nonsense"])


def test_sources_that_do_not_fit_are_built_plain_with_a_warning(engine, tmp_path, monkeypatch):
    trial = speedups.parse("trial", "// @replace team.cpp Team::Goals\nint x;\n")
    monkeypatch.setattr(speedups, "chosen", lambda without=(): (trial,))
    with pytest.warns(UserWarning, match="without its optimisations: trial: team.cpp: function Team::Goals"):
        assert build._write_sources(engine, tmp_path / "out") == ()
    assert (tmp_path / "out/src/team.cpp").read_text() == SOURCE


def test_every_optimisation_explains_itself_and_fits_the_sources():
    everything = speedups.chosen()
    assert everything
    for speedup in everything:
        assert re.search(r"(?i)\bexact\b", speedup.about), f"{speedup.name} does not say why the result stays"
    if root := build.source_dir():
        assert speedups.patched(root / "third_party/gfootball_engine/src", everything)
        for speedup in everything:
            assert speedups.patched(root / "third_party/gfootball_engine/src", speedups.chosen([speedup.name]))


def test_builds_with_and_without_are_kept_apart(monkeypatch):
    whole = build.build_key()
    monkeypatch.setenv(build.WITHOUT, "all")
    assert build.without() == ("all",)
    assert build.build_key() != whole


@pytest.mark.parametrize(
    ("equal_without", "verdict"),
    [
        ({"all", "pose"}, "caused by the optimisation pose"),
        (set(), "it is there without any optimisation"),
        ({"all"}, "no single optimisation causes it"),
    ],
)
def test_the_optimisation_that_causes_a_difference_is_found_by_leaving_out_one_at_a_time(
    monkeypatch, equal_without, verdict
):
    def played(command, *, env, **options):
        equal = env[build.WITHOUT] in equal_without
        return subprocess.CompletedProcess(command, 0, b"equal\n" if equal else b"differs\n", b"")

    monkeypatch.setattr(verify.subprocess, "run", played)
    assert verify._culprit(None, lambda what, share: None) == verdict


def test_a_work_folder_that_another_clone_left_behind_is_set_up_anew(tmp_path):
    settings = tmp_path / "CMakeCache.txt"
    settings.write_text(f"A:BOOL=ON\nCMAKE_HOME_DIRECTORY:INTERNAL={build.NATIVE}\n")
    build._forget_other_checkout(settings)
    assert settings.exists()
    settings.write_text("CMAKE_HOME_DIRECTORY:INTERNAL=/elsewhere/touchline/envs/engine/native\n")
    build._forget_other_checkout(settings)
    assert not settings.exists()
    build._forget_other_checkout(settings)
