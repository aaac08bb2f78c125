"""The dashboard: what its server answers and refuses, and a real browser that looks at it."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from contextlib import contextmanager
from urllib.parse import quote, urlencode

import browser
import numpy as np
import pytest
from test_html_replay import blank, replay_of
from test_run_folders import appended, write_run

from touchline import cli, dashboard
from touchline.dashboard import Dashboard, DashboardServer

COLUMN = "episode/success_rate"
EVIL = "<script>alert(1)</script>"  # two folders: the slash parts them
LIVE = {"clock": lambda: 2_000_000_000.0}


@contextmanager
def served(root):
    server = DashboardServer(Dashboard(root, **LIVE), 0)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def get(server, path, *, host=None, method="GET", headers=None):
    """(status, headers, text) of an answer; the path goes out as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=30)
    try:
        connection.putrequest(method, path, skip_host=True)
        if host != "":
            connection.putheader("Host", host or f"127.0.0.1:{server.server_address[1]}")
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode(errors="replace")
    finally:
        connection.close()


def ask(server, what, **values):
    status, headers, text = get(server, f"/api/{what}?{urlencode(values)}")
    assert status == 200, text
    assert headers["Content-Type"] == "application/json"
    return json.loads(text)


def curves(server, *runs, columns=(COLUMN,)):
    return ask(server, "curves", ask=json.dumps({"columns": columns, "runs": runs}))["runs"]


@pytest.fixture
def root(tmp_path):
    """A folder with runs, one of them with a name that is a script, a league, a tournament and replays."""
    root = tmp_path / "runs"
    for seed in (0, 1):
        config = {"total_steps": 1000, "agent": "ppo", "seed": seed}
        write_run(root / "suite" / f"ppo-{seed}", [f"{10 * i},{i / 20},1" for i in range(1, 11)], config=config)
    write_run(root / EVIL, [f"{10 * i},{i / 40},1" for i in range(1, 11)])
    league = root / "league"
    league.mkdir()
    (league / "league.json").write_text('{"scenario": "5_vs_5"}')
    (league / "anchors.json").write_text('{"random": 15.0, "<i>chaser": 27.3}')
    lines = [f"{g},{100 * g},self-{100 * g},{10 + 4 * g},3" for g in (1, 2, 3)]
    (league / "ratings.csv").write_text("\n".join(["generation,env_steps,member,mu,sigma", *lines, ""]))
    (league / "league.md").write_text("League\n\n| member | mu |\n|---|---:|\n| self-300 (champion) | 22.0 |\n")
    cup = root / "cup"
    cup.mkdir()
    (cup / "tournament.json").write_text("{}")
    (cup / "table.md").write_text("# Cup\n\n| rank | policy |\n|---|---:|\n| 1 | <u>five |\n")
    (cup / "cross_table.csv").write_text("policy,<u>five,random\n<u>five,,2\nrandom,-2,\n")
    states = blank(30)
    states.get("left_score")[20:] = 1
    replay_of(states, policies=("five", "random")).save(cup / "replays" / "01 five & random.npz")
    return root


# ---- what is answered ----------------------------------------------------------------------------------------------


def test_the_overview_names_all_there_is(root):
    with served(root) as server:
        found = ask(server, "overview")
    assert {run["path"]: run["state"] for run in found["runs"]} == {
        "suite/ppo-0": "running",
        "suite/ppo-1": "running",
        EVIL: "running",
    }
    assert [place["path"] for place in found["leagues"]] == ["league"]
    assert [place["path"] for place in found["tournaments"]] == ["cup"]
    assert found["replays"] == [{"path": "cup", "number": 1}]
    assert found["columns"] == [COLUMN, "time/collect_seconds"]


def test_rows_that_are_appended_come_alone(root):
    with served(root) as server:
        part = curves(server, ["suite/ppo-0", "", 0, 0])["suite/ppo-0"]
        assert part["steps"] == [10.0 * i for i in range(1, 11)]
        have = [part["version"], part["stride"], part["done"]]
        assert curves(server, ["suite/ppo-0", *have])["suite/ppo-0"]["steps"] == []
        appended(root / "suite" / "ppo-0", "110,0.9,1\n120,,1\n13")
        new = curves(server, ["suite/ppo-0", *have])["suite/ppo-0"]
        assert (new["start"], new["steps"], new["columns"]) == (10, [110, 120], {COLUMN: [0.9, None]})
        for rows in (1, 30):  # written anew: what the page has is of no use, also where there is more of it now
            write_run(root / "suite" / "ppo-0", [f"{5 + i},0.1,1" for i in range(rows)])
            new = curves(server, ["suite/ppo-0", *have])["suite/ppo-0"]
            assert (new["start"], new["steps"]) == (0, [5.0 + i for i in range(rows)])
            assert new["version"] != part["version"]


def test_a_damaged_run_is_a_message_and_the_others_are_shown(root):
    (root / "suite" / "ppo-0" / "metrics.csv").write_bytes(b"\0\xff" * 5000)
    (root / "suite" / "ppo-1" / "config.json").write_text("{")
    with served(root) as server:
        runs = {run["path"]: run for run in ask(server, "overview")["runs"]}
        parts = curves(server, *([path, "", 0, 0] for path in [*runs, "gone"]))
    assert runs["suite/ppo-0"]["state"] == "unreadable"
    assert "metrics.csv" in runs["suite/ppo-0"]["errors"][0]
    assert "config.json" in runs["suite/ppo-1"]["errors"][0]
    assert runs[EVIL]["errors"] == []
    assert "error" in parts["suite/ppo-0"]
    assert "error" in parts["gone"]
    assert len(parts["suite/ppo-1"]["steps"]) == len(parts[EVIL]["steps"]) == 10


def test_numbers_that_no_run_has_are_a_message_or_nothing(root):
    (root / "suite" / "ppo-0" / "eval.json").write_text('{"results": [{"metrics": [1]}]}')
    config = json.loads((root / "suite" / "ppo-1" / "config.json").read_text())
    (root / "suite" / "ppo-1" / "config.json").write_text(json.dumps(config | {"total_steps": 10**400}))
    with served(root) as server:
        assert "eval.json" in ask(server, "run", path="suite/ppo-0")["errors"][0]
        runs = {run["path"]: run for run in ask(server, "overview")["runs"]}
    assert runs["suite/ppo-1"]["total_steps"] is None


def test_what_nobody_foresaw_is_an_answer_too(root, monkeypatch):
    monkeypatch.setattr(Dashboard, "overview", lambda self: 1 / 0)
    with served(root) as server:
        status, _, text = get(server, "/api/overview")
    assert (status, text.strip()) == (500, "ZeroDivisionError")


def test_many_runs_are_read_in_slices_those_first_that_were_written_last(root, monkeypatch):
    os.utime(root / "suite" / "ppo-1" / "metrics.csv", (2_000_000_100, 2_000_000_100))
    monkeypatch.setattr(dashboard, "READING_SECONDS", 0.0)
    board = Dashboard(root, **LIVE)
    monkeypatch.setattr(dashboard.time, "monotonic", iter(range(10**9)).__next__)
    found = board.overview()
    assert found["waiting"] == 3
    monkeypatch.setattr(dashboard, "READING_SECONDS", 1.5)
    found = board.overview()
    assert [run["path"] for run in found["runs"] if run["state"] != "reading"] == ["suite/ppo-1"]


def test_details_tell_the_config_and_the_frozen_evaluation(root):
    estimate = {"value": 0.5, "low": 0.25, "high": float("nan")}
    result = {"policy": "ppo-0", "opponent": None, "metrics": {"score/success_rate": estimate}}
    (root / "suite" / "ppo-0" / "eval.json").write_text(json.dumps({"results": [result]}))
    (root / "suite" / "ppo-1" / "eval.json").write_text("[]")
    with served(root) as server:
        found = ask(server, "run", path="suite/ppo-0")
        assert '"agent": "ppo"' in found["config"]
        assert found["evaluation"][0]["metrics"] == {"score/success_rate": {"value": 0.5, "low": 0.25, "high": None}}
        assert "eval.json" in ask(server, "run", path="suite/ppo-1")["errors"][0]


def test_a_trace_opens_in_the_viewer_that_watch_writes_and_in_a_sandbox(root):
    with served(root) as server:
        (file,) = ask(server, "replays", path="cup")["files"]
        assert (file["policies"], file["scenario"]) == (["five", "random"], "11_vs_11_toy")
        status, headers, page = get(server, f"/open/cup/{quote(file['name'])}")
    assert status == 200
    assert 'id="match-0"' in page
    assert headers["Content-Security-Policy"].startswith("sandbox allow-scripts")
    assert "allow-same-origin" not in headers["Content-Security-Policy"]


def test_a_damaged_trace_is_listed_and_says_so(root):
    (root / "cup" / "replays" / "bad.npz").write_bytes(b"PK\3\4 no more")
    np.savez(root / "cup" / "replays" / "pickle.npz", about=np.array([{"policies": 1}], object))
    (root / "cup" / "replays" / "empty.npz").write_bytes(b"")
    with zipfile.ZipFile(root / "cup" / "replays" / "header.npz", "w") as archive:  # which numpy parses as Python
        archive.writestr("about.npy", b"\x93NUMPY\x01\x00\x10\x00{'descr': (((\x00\n")
    whole = bytearray(next((root / "cup" / "replays").glob("[!behp]*.npz")).read_bytes())
    whole[200:400] = bytes(byte ^ 0x55 for byte in whole[200:400])
    (root / "cup" / "replays" / "flipped.npz").write_bytes(whole)
    with served(root) as server:
        files = {file["name"]: file for file in ask(server, "replays", path="cup")["files"]}
        for name in ("bad", "empty", "header", "flipped"):
            assert files[f"replays/{name}.npz"]["error"]
        assert "error" in files["replays/pickle.npz"], "a pickle is never opened"
        status, _, text = get(server, "/open/cup/replays/bad.npz")
    assert status == 422
    assert "no replay" in text


# ---- what is refused -----------------------------------------------------------------------------------------------


def test_files_beside_a_real_one_are_not_followed_out_of_the_folder(root):
    secret = root.parent / "secret.md"
    secret.write_text("# secret\n\n| secret |\n|---|\n| secret |\n")
    league = root / "linked_league"
    league.mkdir()
    (league / "league.json").write_text('{"scenario": "5_vs_5", "total_steps": 10}')
    (league / "metrics.csv").write_text("env_steps,train/entropy\n5,1.0\n")
    for name in ("league.md", "anchors.json", "config.json", "eval.json", "table.md"):
        (league / name).symlink_to(secret)
    with served(root) as server:
        for question in ("overview", "league?path=linked_league", "run?path=linked_league"):
            status, _, text = get(server, f"/api/{question}")
            assert status == 200 and "secret" not in text.replace("linked_league", "")
        assert "a link, which is not followed" in get(server, "/api/league?path=linked_league")[2]


@pytest.mark.parametrize(
    "path",
    [
        "/open/../secret.html",
        "/open/%2e%2e/secret.html",
        "/open/cup/..%2f..%2fsecret.html",
        "/open//{root}/../secret.html",
        "/open/link.html",
        "/open/linked/secret.html",
        "/open/suite/ppo-0/config.json",
        "/open/config.html",
        "/api/run?path=../outside",
        "/api/league?path=..",
        "/api/tables?path=%2e%2e",
        "/api/replays?path=../outside",
        "/dashboard.py",
        "/../pyproject.toml",
    ],
)
def test_nothing_outside_of_the_folder_and_nothing_but_replays_is_given(root, path):
    (root.parent / "secret.html").write_text("secret")
    (root / "link.html").symlink_to(root.parent / "secret.html")
    (root / "linked").symlink_to(root.parent)
    (root / "config.html").symlink_to(root / "suite" / "ppo-0" / "config.json")
    write_run(root.parent / "outside", ["1,secret,1"], config={"secret": 1})
    with served(root) as server:
        status, _, text = get(server, path.format(root=root))
        assert status in (403, 404)
        assert "total_steps" not in text
        assert ask(server, "overview")["replays"] == [{"path": "cup", "number": 1}]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8642", "127.0.0.1.evil.example", "[::1]:80", "", "a@localhost"]
)
def test_a_foreign_host_is_refused(root, host):
    with served(root) as server:
        for path in ("/", "/api/overview", "/open/cup/replays/x.npz"):
            status, _, text = get(server, path, host=host)
            assert status == 403
            assert "suite" not in text


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LocalHost:1234"])
def test_this_machine_is_a_host(root, host):
    with served(root) as server:
        assert get(server, "/", host=host)[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "BREW"])
def test_there_is_nothing_but_get(root, method):
    with served(root) as server:
        status, headers, _ = get(server, "/api/overview", method=method)
    assert status == (501 if method == "BREW" else 405)


@pytest.mark.parametrize("value", ["", "{", "[]", '{"columns": 3, "runs": []}', '{"columns": [], "runs": [["a"]]}'])
def test_a_question_that_is_none_is_refused_with_what_was_expected(root, value):
    with served(root) as server:
        status, _, text = get(server, f"/api/curves?{urlencode({'ask': value})}")
    assert status == 400
    assert "version, stride, done" in text


def test_the_server_is_on_the_loopback_alone_and_every_answer_is_fenced(root):
    with served(root) as server:
        assert server.server_address[0] == "127.0.0.1"
        assert server.socket.getsockname()[0] == "127.0.0.1"
        for path, kind in (
            ("/", "text/html"),
            ("/dashboard.js", "text/javascript"),
            ("/dashboard.css", "text/css"),
            ("/api/overview", "application/json"),
            ("/nothing", "text/plain"),
        ):
            _, headers, _ = get(server, path)
            assert headers["Content-Type"].startswith(kind)
            assert headers["Content-Security-Policy"].startswith("default-src 'none'")
            assert "unsafe" not in headers["Content-Security-Policy"]
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Cache-Control"] in ("no-store", "no-cache")
            assert "Access-Control-Allow-Origin" not in headers


def test_the_page_names_no_other_machine():
    from importlib import resources

    for name in ("dashboard.html", "dashboard.css", "dashboard.js"):
        text = resources.files("touchline").joinpath(name).read_text().replace("http://www.w3.org/2000/svg", "")
        assert re.findall(r"https?:|wss?://|url\(|@import|innerHTML|insertAdjacent|document\.write", text) == [], name
        assert all(link.startswith(("/", "#", "data:,")) for link in re.findall(r'(?:src|href)="([^"]*)"', text))


# ---- the command ---------------------------------------------------------------------------------------------------


def test_a_taken_port_and_a_missing_folder_are_one_line(tmp_path, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert cli.run(["dashboard", str(tmp_path), "--port", str(port)]) == 1
    assert f"port {port} is taken: give another one, or --port 0" in capsys.readouterr().err
    assert cli.run(["dashboard", str(tmp_path / "none")]) == 1
    assert "no folder" in capsys.readouterr().err
    assert cli.run(["dashboard", str(tmp_path), "--port", "70000"]) == 1
    assert "0 to 65535" in capsys.readouterr().err


@contextmanager
def commanded(root, port):
    """(process, port) of the command itself."""
    command = [sys.executable, "-m", "touchline.cli", "dashboard", str(root), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            yield process, int(line.partition("http://127.0.0.1:")[2].partition("/")[0])
        finally:
            process.kill()


def test_the_command_says_where_it_is_and_ctrl_c_ends_it_without_a_word(tmp_path):
    with commanded(tmp_path, 0) as (process, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        process.send_signal(signal.SIGINT)  # with a connection still open
        out, error = process.communicate(timeout=30)
        connection.close()
    assert (process.returncode, out.strip(), error) == (0, "", "")


# ---- a real browser ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    reason = browser.missing()
    if reason:
        pytest.skip(reason)
    with browser.Browser(tmp_path_factory.mktemp("chromium")) as window:
        yield window


INK = """
const c = document.querySelector('#charts canvas'), p = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
const blue = getComputedStyle(document.documentElement).getPropertyValue('--c0').trim();
const want = blue.slice(1).match(/../g).map((x) => parseInt(x, 16));
let n = 0; for (let i = 0; i < p.length; i += 4) if (want.every((x, k) => Math.abs(p[i + k] - x) < 6)) n++; return n;
"""


def show(chromium, server, view="", **screen):
    chromium.screen(*screen.pop("size", (1280, 800)), **screen)
    chromium.console()
    chromium.visit(f"{server.url}{view}", "dashboard.ready")
    chromium.wait("dashboard.page.overview && !dashboard.page.overview.waiting")
    chromium.run("await dashboard.tick()")


def silent(chromium):
    assert chromium.run("return dashboard.errors") == []
    assert chromium.console() == []


def test_the_browser_draws_curves_and_new_rows_appear(chromium, root):
    with served(root) as server:
        show(chromium, server)
        assert chromium.run(
            "return [...document.querySelectorAll('#charts figcaption')].map((f) => f.firstChild.data)"
        ) == [COLUMN]
        chromium.wait("dashboard.page.plots.get('episode/success_rate').series.length > 0")
        assert chromium.run(INK) > 200
        curve = "dashboard.page.data.get('suite/ppo-0')"
        assert chromium.run(f"return {curve}.steps") == [10 * i for i in range(1, 11)]
        appended(root / "suite" / "ppo-0", "200,0.125,1\n")
        chromium.wait(f"{curve}.steps.length === 11")  # by itself
        assert chromium.run(f"return {curve}.columns['{COLUMN}'].at(-1)") == 0.125
        chromium.wait("document.body.textContent.includes('200 of 1000 steps')")
        write_run(root / "suite" / "ppo-0", ["70,0.5,1"])
        chromium.wait(f"{curve}.steps.length === 1")
        write_run(root / "suite" / "late-0", ["70,0.5,1"])
        chromium.wait("dashboard.page.rows.has('suite/late-0')")
        silent(chromium)


def test_seeds_of_a_variant_are_one_mean_where_all_of_them_are(chromium, root):
    rows = [f"{10 * i},{i / 10},1" for i in range(1, 7)]
    write_run(root / "suite" / "ppo-1", rows, config={"total_steps": 1000, "agent": "ppo", "seed": 1})
    for trial in (0, 1):  # of a search: they differ in their settings
        write_run(root / "search" / f"trial-{trial:04d}", rows, config={"total_steps": 1000, "seed": trial})
    for minute in (1, 2):  # as runs are called where nobody says how
        write_run(root / f"drill-ppo-0-20261130-12{minute:02d}00", rows, config={"total_steps": 1000, "seed": 0})
    with served(root) as server:
        show(chromium, server)
        chromium.wait("dashboard.page.data.size === 7")
        groups = "dashboard.page.plots.get('episode/success_rate').series.filter((s) => s.seeds).length"
        assert chromium.run(f"return {groups}") == 1
        series = "dashboard.page.plots.get('episode/success_rate').series.find((s) => s.seeds)"
        chromium.wait(series)
        x, y = chromium.run(f"return {series}.curve")
        assert (x[0], x[-1]) == (10, 60), "the longer seed goes on alone, thin"
        assert np.allclose(y, np.array(x) / 10 * 1.5 / 20)
        chromium.click("#group")
        chromium.wait(f"!{series}")
        silent(chromium)


def test_a_name_that_is_a_script_does_no_harm(chromium, root):
    with served(root) as server:
        for view in ("", "#leagues", "#tournaments", "#replays"):
            show(chromium, server, view)
            assert (
                chromium.run("return document.querySelectorAll('body script, body i i, u, #view-leagues i').length")
                == 0
            )
            silent(chromium)
        show(chromium, server)
        assert chromium.run("return dashboard.page.rows.has('<script>alert(1)</script>')")
        assert "<script>alert(1)<" in chromium.run("return document.getElementById('runs').textContent")
        chromium.run("document.querySelector('button.more[aria-label*=script]').click()")
        chromium.wait("document.querySelector('#details pre')")
        assert chromium.run("return document.getElementById('details-name').textContent") == EVIL
        silent(chromium)


def test_the_page_could_run_no_foreign_script(chromium, root):
    with served(root) as server:
        show(chromium, server)
        chromium.run(
            "const s = document.createElement('script'); s.textContent = 'window.hurt = 1'; document.body.append(s)"
        )
        tag = "const i = document.createElement('img'); i.setAttribute('onerror', 'hurt = 1');"
        chromium.run(f"{tag} i.src = '/no'; document.body.append(i)")
        chromium.wait("dashboard.page.overview")
        assert chromium.run("return window.hurt === undefined")
        assert any("Content Security Policy" in line for line in chromium.console())


def test_ratings_are_shown_with_their_anchors_and_follow_the_file(chromium, root):
    with served(root) as server:
        show(chromium, server, "#leagues")
        text = chromium.run("return document.getElementById('view-leagues').textContent")
        assert "self-300 (champion)" in text
        chromium.wait("dashboard.page.league.series")
        assert chromium.run(
            "const p = dashboard.page.league; return [p.lines.map((l) => l.label), p.series[0].curve, p.series[0].band]"
        ) == [
            ["random", "<i>chaser"],
            [[1, 2, 3], [14, 18, 22]],
            [3, 3, 3],
        ]
        with (root / "league" / "ratings.csv").open("a") as file:
            file.write("4,400,self-400,23,2\n")
        chromium.wait("document.getElementById('view-leagues').textContent.includes('self-400')")
        silent(chromium)


def test_the_cross_table_is_a_heat_map(chromium, root):
    with served(root) as server:
        show(chromium, server, "#tournaments")
        cells = chromium.run(
            "return [...document.querySelectorAll('.heat td')].map((c) => [c.textContent, c.style.backgroundColor])"
        )
    assert [text for text, _ in cells] == ["", "+2", "-2", ""]
    assert cells[0][1] == ""
    assert len({colour for _, colour in cells}) == 3


def test_a_replay_opens_in_the_viewer(chromium, root):
    with served(root) as server:
        show(chromium, server, "#replays")
        link = chromium.run("return document.querySelector('#view-replays a').href")
        chromium.visit(link)
        assert chromium.run("return [touchline.steps, touchline.goals, touchline.errors]") == [30, [20], []]
        assert chromium.run("return window.origin") == "null", "its scripts can read nothing of the dashboard"
        assert chromium.console() == []


def test_the_keyboard_reads_values_and_closes_what_is_open(chromium, root):
    with served(root) as server:
        show(chromium, server)
        chromium.wait("dashboard.page.data.size === 3 && dashboard.page.plots.size")
        chromium.run("document.querySelector('canvas.over').focus()")
        chromium.press("\ue010")  # End
        chromium.wait("!document.querySelector('.tip').hidden")
        assert "100 environment steps" in chromium.run("return document.querySelector('.tip').textContent")
        chromium.press("\ue011")  # Home
        assert "100 env" not in chromium.run("return document.querySelector('.tip').textContent")
        chromium.press("\ue00c")  # Escape
        assert chromium.run("return document.querySelector('.tip').hidden")
        chromium.run("document.querySelector('button.more').click()")
        chromium.wait("document.getElementById('details').open")
        chromium.press("\ue00c")
        chromium.wait("!document.getElementById('details').open")
        silent(chromium)


def test_what_was_chosen_is_kept_and_the_filter_finds_words(chromium, root):
    with served(root) as server:
        show(chromium, server)
        chromium.run(
            "const f = document.getElementById('filter'); f.value = 'ppo suite'; f.dispatchEvent(new Event('input'))"
        )
        assert chromium.run("return document.querySelectorAll('#runs .run').length") == 2
        chromium.click("#clear")
        chromium.click("#runs .run input")
        assert chromium.run("return [...dashboard.page.chosen]") == ["suite/ppo-0"]
        show(chromium, server)
        assert chromium.run("return [...dashboard.page.chosen]") == ["suite/ppo-0"]


@pytest.mark.parametrize("view", ["", "#leagues", "#tournaments", "#replays"])
@pytest.mark.parametrize("width", [360, 844])
def test_nothing_sticks_out_of_a_phone(chromium, root, width, view):
    write_run(root / "suite" / ("a_rather_long_name_" * 6 + "-0"), ["1,1,1"])
    with served(root) as server:
        show(chromium, server, view, size=(width, 740), scale=2, mobile=True, dark=True)
        assert chromium.run("return [document.documentElement.scrollWidth, innerWidth]") == [width, width]
        silent(chromium)
    chromium.screen(1280, 800)


def test_a_server_that_has_gone_is_told_and_found_again(chromium, root):
    with commanded(root, 0) as (process, port):
        chromium.visit(f"http://127.0.0.1:{port}/", "dashboard.ready")
        chromium.wait("document.getElementById('live').textContent === 'live'")
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
        chromium.wait("document.getElementById('live').textContent === 'no answer; trying again'")
    with commanded(root, port):
        chromium.wait("document.getElementById('live').textContent === 'live'")
    chromium.console()
