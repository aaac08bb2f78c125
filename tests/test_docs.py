"""Every Python block and every `touchline` command of the documentation runs as written, only shorter."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from touchline.envs.engine import speedups

pytestmark = pytest.mark.engine
ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHORTER = {"--total-steps": 4096, "--generation-steps": 2048, "--episodes": 4, "--games": 2, "--num-envs": 4}
SHORTER |= {"--trials": 2}


def shortened(command):
    """A command with its budgets cut and, for a training, few matches."""
    words = command.split()
    for flag, most in SHORTER.items():
        if flag in words:
            at = words.index(flag) + 1
            words[at] = str(min(int(words[at]), most))
    if words[1] == "train":
        words.append("--quiet")
        if "--resume" in words:
            words[words.index("--total-steps") + 1] = "6144"
        else:
            words += ["--num-envs", "8"] if "--num-envs" not in words else []
    if words[1] == "league":
        words += ["--quiet", "--train", "num_envs=8"]
    if words[1] == "tune":
        words += ["--quiet", "--train", "num_envs=8", "--episodes", "4"]
    if words[1] in ("evaluate", "watch") and "--episodes" not in words:
        words += ["--episodes", "2"]
    return words


def serves_until_interrupted(command):
    """A command that goes on until Ctrl-C: its page is there meanwhile."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            address = re.search(r"http://\S+", process.stdout.readline())[0]
            with urllib.request.urlopen(address, timeout=60) as answer:
                assert b"touchline dashboard" in answer.read()
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_a_page_runs_as_written(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    names = {}
    ran = 0
    for language, body in BLOCK.findall(page.read_text()):
        if language == "python":
            exec(compile(body, page.name, "exec"), names)
            ran += 1
        elif language == "sh":
            for line in filter(None, map(str.strip, body.splitlines())):
                assert line.startswith("touchline "), f"{page.name}: only touchline commands are run, got {line!r}"
                command = [sys.executable, "-m", "touchline.cli", *shortened(line)[1:]]
                if command[3] == "dashboard":
                    serves_until_interrupted([*command, "--port", "0"])
                    ran += 1
                    continue
                done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"COLUMNS": "120"})
                assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
                ran += 1
    assert ran, f"{page.name} has nothing that runs"


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readme_names_every_make_target_that_it_promises():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        for target in re.findall(r"\bmake ([a-z-]+)\b", page.read_text()):
            if target in ("sure",):
                continue
            assert target in targets, f"{page.name}: make {target}"


def test_the_page_on_speed_names_every_optimisation():
    text = (ROOT / "docs/speed.md").read_text()
    assert [speedup.name for speedup in speedups.chosen() if f"`{speedup.name}`" not in text] == []
