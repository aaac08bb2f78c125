"""Engine tests need the built library; without it they are skipped with the reason in pytest's summary."""

import os

import pytest

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # windows of the tests need no screen
if "PYTEST_XDIST_WORKER" in os.environ:  # the cores are taken by the workers; set before torch is imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items):
    from touchline.envs.engine.build import locate

    if locate() is None:
        missing = pytest.mark.skip(reason="the engine is not built: run `touchline engine build`")
        for item in items:
            if "engine" in item.keywords:
                item.add_marker(missing)
