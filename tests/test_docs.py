"""The documentation is true: what it shows runs as written, only shorter, and its tables say what the code says.

A fence of `sh` or `python` is executed; every page is one reader's session, from top to bottom. What cannot be (it
takes hours, or changes the machine) stands under a line `<!-- not run: why -->`, and its touchline commands must still
be understood by the command line.
"""

import importlib.util
import re
import runpy
import shlex
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import tyro

import touchline.agents
import touchline.curiosity
from touchline import cli, plugins
from touchline.commands import train
from touchline.envs import observations as obs
from touchline.envs import rewards
from touchline.envs.engine import speedups

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
import docs_tables  # noqa: E402

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^(?:<!-- not run: (.+?) -->\n+)?```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAMS = ("touchline", "python", "pip", "make", "git", "ray", "torchrun", "tensorboard", "apt-get", "cd", "ssh")
SHORTER = {"--total-steps": 2048, "--generation-steps": 1024, "--episodes": 4, "--games": 2, "--num-envs": 4}
SHORTER |= {"--trials": 2}


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def fences(page):
    """(why it is not run or "", language, body) of every fence of a page."""
    return [(why or "", language, body) for why, language, body in FENCE.findall(page.read_text())]


def lines(body):
    """Commands of a fence of sh, those over several lines put together."""
    return [line.strip() for line in body.replace("\\\n", " ").splitlines() if line.strip()]


def shortened(words):
    """A command of touchline with its budgets cut and, for a training, few matches."""
    words = list(words)
    for flag, most in SHORTER.items():
        if flag in words:
            at = words.index(flag) + 1
            words[at] = str(min(int(words[at]), most))
    if words[0] == "train":
        words.append("--quiet")
        if "--resume" in words:
            words[words.index("--total-steps") + 1] = "3072"
        else:
            words += ["--num-envs", "8"] if "--num-envs" not in words else []
    if words[0] == "league":
        words += ["--quiet", "--train", "num_envs=8"]
    if words[0] == "tune":
        words += ["--quiet", "--train", "num_envs=8", "--episodes", "4"]
    if words[0] in ("evaluate", "watch") and "--episodes" not in words:
        words += ["--episodes", "2"]
    return words


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """A reader's session: an empty folder, and what pages add to touchline is gone afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("COLUMNS", "120")
    loaded = set(sys.modules)
    for room in (touchline.agents, touchline.curiosity):
        monkeypatch.setattr(room, "__path__", list(room.__path__))
    registries = obs.OBSERVATIONS, rewards.REWARDS
    known = [dict(registry) for registry in registries]
    yield tmp_path
    for registry, before in zip(registries, known, strict=True):
        registry.clear()
        registry.update(before)
    for name in set(sys.modules) - loaded:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def serves_until_interrupted(words):
    """A command that goes on until Ctrl-C: its page is there meanwhile."""
    command = [sys.executable, "-m", "touchline.cli", *words, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            address = re.search(r"http://\S+", process.stdout.readline())[0]
            with urllib.request.urlopen(address, timeout=60) as answer:
                assert b"touchline dashboard" in answer.read()
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()


def run_command(line, monkeypatch, capsys):
    """Runs `touchline ...`, or `python FILE ...`, where FILE ends in touchline's command line, in this process."""
    words = shlex.split(line)
    program, words = (words[0], words[1:]) if words[0] == "touchline" else (words[1], words[2:])
    if program == "touchline" and words[0] == "dashboard":
        return serves_until_interrupted(words)
    if program == "touchline":
        code = cli.run(shortened(words))
    else:
        monkeypatch.setattr(sys, "argv", [program, *shortened(words)])
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(program, run_name="__main__")
        code = stopped.value.code
    shown = capsys.readouterr()
    assert not code, f"{line}\n{shown.out}\n{shown.err}"


@pytest.mark.engine
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_runs_as_written(page, reader, monkeypatch, capsys):
    names = {"__name__": "page"}
    for why, language, body in fences(page):
        if why:
            continue
        if language == "python":
            exec(compile(body, page.name, "exec"), names)
        elif language == "sh":
            for line in lines(body):
                assert re.match(r"touchline |python \w+\.py ", line), f"{page.name}: cannot run {line!r}"
                run_command(line, monkeypatch, capsys)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_is_not_run_says_why(page):
    for why, language, body in fences(page):
        command = body.split(maxsplit=1)[0] in PROGRAMS or "TOUCHLINE_" in body.split(maxsplit=1)[0]
        assert not command or language == "sh", f"{page.name}: a fence of commands that is not marked sh:\n{body}"
        assert language in ("", "sh", "python"), f"{page.name}: no fence of {language!r}, so that none is passed over"
        assert not why or language, f"{page.name}: {why!r} stands over what is no code"
    assert page.read_text().count("<!-- not run:") == sum(bool(why) for why, _, _ in fences(page))


def unrun_commands():
    for page in PAGES:
        for why, language, body in fences(page):
            for line in lines(body) if why and language == "sh" else ():
                if "touchline" in line.split() and "..." not in line.split():
                    yield page, shlex.split(line, comments=True)


def test_commands_that_are_not_run_are_still_understood():
    for page, words in unrun_commands():
        words, found = words[words.index("touchline") + 1 :], cli.COMMANDS
        while isinstance(found, dict):
            assert words[0] in found, f"{page.name}: no command {words[0]}"
            found, words = found[words[0]], words[1:]
        try:
            if found is train.Train:
                command, rest = tyro.cli(found, args=words, return_unknown_args=True)
                if command.resume is None and not (command.agent or "").startswith("sb3:"):
                    from touchline.train_config import TrainConfig

                    config = TrainConfig(agent=command.agent, preset=command.preset).resolved()
                    train.agent_config(config, rest)
            else:
                tyro.cli(found, args=words)
        except SystemExit as error:
            raise AssertionError(f"{page.name}: {' '.join(words)}") from error


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{name_of(page)} links to {target}"


def test_the_pages_name_only_make_targets_that_exist():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        for target in re.findall(r"(?:`|^)make ([a-z-]+)\b", page.read_text(), re.MULTILINE):
            assert target in targets, f"{page.name}: make {target}"


def test_the_page_on_speed_names_every_optimisation():
    text = (ROOT / "docs/speed.md").read_text()
    assert [speedup.name for speedup in speedups.chosen() if f"`{speedup.name}`" not in text] == []


def test_every_agent_and_every_exploration_module_has_a_page():
    for room in ("agents", "curiosity"):
        modules = [name for name in plugins.names(room) if hasattr(plugins.load(room, name), "make")]
        assert modules and [name for name in modules if not (ROOT / f"docs/{room}/{name}.md").exists()] == []


@pytest.mark.parametrize("page", [p for p in PAGES if docs_tables.has_tables(p)], ids=name_of)
def test_generated_tables_are_those_of_the_code(page):
    assert docs_tables.filled_in(page.read_text()) == page.read_text(), "run `python scripts/docs_tables.py`"


@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="no mkdocs: pip install 'touchline[docs]'")
def test_the_site_builds_without_a_warning_and_fetches_nothing(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 20 and (tmp_path / "site/results/agents/ppo.png").exists()
    for page in pages:
        fetched = re.findall(r"<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=\"?(https?:[^\"\s>]+)", page.read_text())
        assert not fetched, f"{page.name} fetches {fetched}"
