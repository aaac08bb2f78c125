"""The rooms and who may import whom, read from the sources."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "touchline"
VOCABULARY = {"types", "plugins", "returns", "networks", "rollout", "distributed", "processes", "files"}
ALLOWED = {  # what a room may import besides itself and the vocabulary
    "types": set(),
    "plugins": set(),
    "distributed": set(),
    "processes": set(),
    "files": set(),
    "returns": {"types"},
    "networks": {"types", "returns"},
    "rollout": {"types", "returns", "networks"},
    "scenarios": {"types", "plugins"},
    "registration": {"scenarios"},
    "envs": VOCABULARY | {"scenarios"},
    "curiosity": VOCABULARY,
    "agents": VOCABULARY | {"curiosity"},
}
OPTIONAL = {
    "stable_baselines3": {"agents/sb3_bridge.py", "agents/sb3_learning.py", "agents/sb3_bonus.py"},
    "sb3_contrib": {"agents/sb3_bridge.py"},
    "acme": {"agents/acme_bridge.py"},
    "dm_env": {"agents/acme_bridge.py"},
    "optuna": {"benchmarks/tune.py"},
    "wandb": {"wandb_tracker.py"},
    "ray": {"agents/parts/ray_actors.py"},
    "envpool": set(),
    "matplotlib": {"benchmarks/curiosity_audit.py", "benchmarks/heat_map.py", "benchmarks/report_figures.py"},
    "rliable": {"benchmarks/report_statistics.py"},
    "gym": set(),
    "cv2": set(),
}


def modules():
    return sorted(path for path in PACKAGE.rglob("*.py"))


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            if node.module == "touchline":
                yield from (f"touchline.{alias.name}" for alias in node.names)
            else:
                yield node.module


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_room_imports_only_what_it_may(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room not in ALLOWED:
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "touchline" and len(parts) > 1 and parts[1] not in ("make_vec", "__version__"):
            assert parts[1] in ALLOWED[room] | {room}, f"{path.name} imports {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_an_optional_package_is_imported_only_in_the_file_that_needs_it(path):
    where = str(path.relative_to(PACKAGE))
    for name in imports(path):
        homes = OPTIONAL.get(name.split(".")[0])
        assert homes is None or where in homes or where.endswith("upstream_trace.py"), f"{where} imports {name}"


def test_only_the_engine_room_knows_the_engine():
    for path in modules():
        where = path.relative_to(PACKAGE).as_posix()
        if where.startswith("envs/engine/"):
            continue
        assert not {"ctypes", "gfootball", "gfootball_engine"} & set(imports(path)), where


def test_scenarios_import_neither_the_engine_nor_torch():
    code = (
        "import sys; from touchline import scenarios; [scenarios.load(n) for n in scenarios.names()];"
        "bad = {'torch', 'numba', 'touchline.envs'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_does_not_import_torch():
    code = (
        "import sys; from touchline import cli; assert cli.run(['--help']) == 0;"
        "assert 'torch' not in sys.modules and 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
