"""Work outlives the terminal and the pipe that it is shown in."""

import subprocess
import sys

SCRIPT = """
import sys
from pathlib import Path
from touchline.commands.console import ProgressBar, say
from touchline.tracking import progress

sys.stdin.readline()  # by now nobody reads what is said
tracker = progress(100)
for step in range(0, 101, 10):
    tracker(step, {})
    say("a word " * 2000)
    print("another", flush=True)
tracker.close()
with ProgressBar("playing") as bar:
    bar("playing", 0.5)
Path(sys.argv[1]).write_text("done")
"""


def test_a_full_disk_is_no_closed_pipe():
    command = [sys.executable, "-c", "from touchline.commands.console import say; say('results')"]
    with open("/dev/full", "w") as full:
        work = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert work.returncode != 0
    assert "No space left" in work.stderr


def test_a_closed_pipe_ends_no_work(tmp_path):
    done = tmp_path / "done"
    command = [sys.executable, "-c", SCRIPT, str(done)]
    work = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    work.stdout.close()
    errors = work.communicate(b"go on\n")[1].decode()
    assert done.exists(), errors
    assert work.returncode == 0, errors
