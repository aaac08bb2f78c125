"""The engine as a simulator: resets, snapshots, threads and seeds, to the last byte of the engine's own state."""

import contextlib
import ctypes
import dataclasses
import hashlib
import mmap
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from touchline import scenarios
from touchline.envs.engine.engine import EngineSimulator
from touchline.envs.simulator import GAME_MODES, KICK_MEMORY
from touchline.types import Player, Scenario

pytestmark = pytest.mark.engine
DRILL, MATCH = "academy_3_vs_1_with_keeper", "11_vs_11_stochastic"
FILLING = 0x5A
M_PERTURB = -6  # malloc.h


@pytest.fixture(scope="module", autouse=True)
def filled_memory():
    """The engine's states hold padding that nothing writes. With new memory filled it is the same in every match,
    so that whole states can be compared byte for byte."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", lambda *_: 0)
    assert mallopt(M_PERTURB, FILLING) == 1, "these tests want glibc's malloc"
    # Engines of earlier test files wait for reuse, with whatever their memory held: this batch takes them all away.
    used_engines = EngineSimulator(scenario(), 256, left=1, right=0)
    yield
    used_engines.close()
    mallopt(M_PERTURB, 0)


def scenario(name=DRILL, **changes):
    return dataclasses.replace(scenarios.load(name), **changes)


def match(game_duration=60, second_half=20):
    """A full match in small; its half-time puts the players back where their line-ups start."""
    return scenario(MATCH, game_duration=game_duration, second_half=second_half)


def one_line_up_is_lazier():
    """Every second episode one of the left players is lazy, which only a true reset of the engine settles."""
    keeper, striker, runner = Player(-1.0, 0.0, "GK"), Player(0.6, 0.1, "CF"), Player(0.3, -0.2, "CM")
    defence = (keeper, Player(-0.2, 0.1, "CB"))
    return Scenario(
        name="lazier",
        left_team=(keeper, striker, runner),
        right_team=defence,
        alternate_left_team=(keeper, striker, dataclasses.replace(runner, lazy=True)),
        alternate_right_team=defence,
        ball_position=(0.2, 0.05),
        game_duration=30,
        offsides=False,
    )


@contextlib.contextmanager
def simulators(*made):
    try:
        yield made
    finally:
        for one in made:
            one.close()


def make(what, num_envs=1, *, left=1, right=0, **options):
    return EngineSimulator(what, num_envs, left=left, right=right, **options)


def draw(simulator, steps, seed=0):
    """[steps, B, N] actions, every match's drawn from a stream of its own."""
    rows = [
        np.random.default_rng([seed, row]).integers(0, 19, (steps, simulator.num_players))
        for row in range(simulator.num_envs)
    ]
    return np.stack(rows, axis=1).astype(np.int32)


def everything(simulator, row=0):
    """All that a match shows after a step, and the engine's whole state."""
    shown = {name: getattr(simulator, name) for name in ("reward", "terminated", "truncated", "seeds", "episodes")}
    for name in ("state", "final_state"):
        shown |= {f"{name}.floats": getattr(simulator, name).floats, f"{name}.ints": getattr(simulator, name).ints}
    return {name: array[row].tobytes() for name, array in shown.items()} | {"engine": simulator.get_engine_state(row)}


def play(simulator, actions, row=0):
    """`everything` of match `row` after each of `actions` [T, B, N]."""
    for step in actions:
        simulator.step(np.ascontiguousarray(step))
        yield everything(simulator, row)


def assert_same_play(ours, theirs):
    for step, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        differing = [name for name in one if one[name] != other[name]]
        assert not differing, f"the matches part in step {step}"


def test_one_seed_makes_one_episode_and_another_seed_another():
    with simulators(*(make(scenario()) for _ in range(3))) as made:
        for simulator, seed in zip(made, (7, 7, 8), strict=True):
            simulator.reset(seeds=np.array([seed]))
        first, again, other = (list(play(simulator, draw(simulator, 40))) for simulator in made)
    assert_same_play(first, again)
    assert first[-1] != other[-1]


def test_an_engine_that_has_played_before_plays_a_seed_as_a_new_one_does():
    with simulators(make(match()), make(match())) as (used, new):
        used.reset(seeds=np.array([1]))
        list(play(used, draw(used, 100, seed=1)))
        for simulator in (used, new):
            simulator.reset(seeds=np.array([4]))
        assert_same_play(play(used, draw(used, 80)), play(new, draw(new, 80)))


@pytest.mark.parametrize("seed", [4, 5])
@pytest.mark.parametrize("what", [match(), scenario(game_duration=25), one_line_up_is_lazier()])
def test_a_reset_from_a_snapshot_is_a_true_reset_with_its_seed(what, seed):
    """Line-ups alternate, so an engine that has just played one of them is put into the other by a snapshot."""
    swapped = what
    if what.alternate_left_team:
        sides = {side: getattr(what, f"alternate_{side}") for side in ("left_team", "right_team")}
        sides |= {f"alternate_{side}": getattr(what, side) for side in ("left_team", "right_team")}
        swapped = dataclasses.replace(what, **sides)
    pooled = make(what, reset_pool=2, pool_seed=3)
    # True resets to either line-up: the first episode after a seeded one is always an even one.
    true_resets = make(what), make(swapped)
    begun = []
    with simulators(pooled, *true_resets):
        pooled.reset(seeds=np.array([seed]))
        for number in range(8):
            reference = true_resets[number % 2]
            reference.reset(seeds=pooled.seeds)
            assert pooled.get_engine_state(0) == reference.get_engine_state(0), f"episode {number} starts otherwise"
            begun.append((number % 2, int(pooled.seeds[0])))
            ended = False
            for step, actions in enumerate(draw(pooled, what.game_duration + 1, seed=number)):
                pooled.step(actions)
                reference.step(actions)
                for one, other in zip(pooled.final_state, reference.final_state, strict=True):
                    assert one.tobytes() == other.tobytes(), f"episode {number} parts in step {step}"
                assert pooled.reward == reference.reward
                assert pooled.terminated == reference.terminated
                ended = bool(pooled.terminated[0] or pooled.truncated[0])
                if ended:
                    break
                same = pooled.get_engine_state(0) == reference.get_engine_state(0)
                assert same, f"the engine states of episode {number} part in step {step}"
            assert ended
    assert len(set(begun[1:])) <= 4 < len(begun[1:]), "some episodes came from snapshots already made"


@pytest.mark.parametrize("episode", [0, 1])
@pytest.mark.parametrize("parity", [0, 1])
@pytest.mark.parametrize(
    "what", [match(), scenario(game_duration=60), scenario("5_vs_5", game_duration=60), one_line_up_is_lazier()]
)
def test_a_snapshot_continues_exactly_on_a_match_with_another_past(what, parity, episode):
    """Odd engine seeds swap the order in which the teams are made, odd episodes swap the line-ups."""
    with simulators(make(what), make(what)) as (source, target):
        begin(source, episode, parity)
        list(play(source, draw(source, 10)))
        snapshot = source.get_state(0)
        rest = draw(source, 75, seed=1)
        expected = list(play(source, rest))
        assert source.episodes[0] > episode, "it goes on into the next episodes"
        for other_episode, other_parity, steps in (
            (0, parity, 0),
            (0, 1 - parity, 3),
            (1, parity, 3),
            (1, 1 - parity, 0),
        ):
            begin(target, other_episode, other_parity)
            list(play(target, draw(target, steps, seed=2)))
            target.set_state(0, snapshot)
            assert_same_play(play(target, rest), expected)


def begin(simulator, episode, parity):
    """Resets to the first (0) or second (1) episode after some seed, with an even (0) or odd (1) engine seed."""
    for seed in range(40, 80):
        simulator.reset(seeds=np.array([seed]))
        for _ in range(episode):
            simulator.reset()
        if simulator.seeds[0] % 2 == parity:
            return
    raise AssertionError("no such seed in 40 to 79")


def test_a_snapshot_from_the_middle_of_a_set_piece_continues_exactly():
    what = scenario(MATCH, game_duration=600)
    with simulators(make(what, left=1, right=1), make(what, left=1, right=1)) as (source, target):
        source.reset(seeds=np.array([3]))
        target.reset(seeds=np.array([6]))
        waiting, kick_off = 0, GAME_MODES.index("kick_off")
        shots = np.random.default_rng(0).choice([4, 5, 6, 10, 12, 12], (400, 1, 2)).astype(np.int32)
        for actions in shots:
            source.step(actions)
            mode = source.state.get("game_mode")[0]
            waiting = waiting + 1 if mode not in (0, kick_off) else 0
            if waiting == 3:
                break
        assert waiting == 3, "no set piece in 400 steps: choose another seed"
        target.set_state(0, source.get_state(0))
        rest = np.zeros((60, 1, 2), np.int32)  # nobody takes it, so the engine's own waiting counts too
        assert_same_play(play(target, rest), play(source, rest))


def run_in_another_process(script, *arguments):
    """Lines that a script prints in a process whose memory is filled from its start."""
    command = [sys.executable, "-c", script, str(Path(__file__).parent), *map(str, arguments)]
    environment = os.environ | {"MALLOC_PERTURB_": str(FILLING)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


_CONTINUE = """
import sys
sys.path.insert(0, sys.argv[1])
from test_simulator import digest, draw, make, match, play
simulator = make(match())
simulator.set_state(0, open(sys.argv[2], "rb").read())
print(digest(list(play(simulator, draw(simulator, 100, seed=9)))))
"""


def digest(shown):
    return hashlib.sha256(repr(shown).encode()).hexdigest()


def test_a_snapshot_continues_exactly_in_another_process(tmp_path):
    with simulators(make(match())) as (source,):
        source.reset(seeds=np.array([5]))
        list(play(source, draw(source, 30)))
        (tmp_path / "snapshot").write_bytes(source.get_state(0))
        expected = digest(list(play(source, draw(source, 100, seed=9))))
    assert run_in_another_process(_CONTINUE, tmp_path / "snapshot") == [expected]


_ON_THREADS = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from test_simulator import digest, draw, everything, make, scenario
simulator = make(
    scenario(game_duration=12), 5, left=2, num_threads=int(sys.argv[2]), reset_pool=int(sys.argv[3])
)
simulator.reset(seeds=np.arange(5))
for actions in draw(simulator, 60):
    simulator.step(actions)
    print(digest([everything(simulator, row) for row in range(5)]))
print(simulator.episodes.min())
"""


def test_the_engines_are_reset_in_earnest_until_the_pool_is_full():
    """Once a match at the seeded reset, and once a slot: K by line-up and order of teams."""
    what = scenario(game_duration=3)
    with simulators(make(what, 2, reset_pool=2), make(what, 2)) as (pooled, plain):
        for simulator in (pooled, plain):
            simulator.reset(seeds=np.array([4, 5]))
            for _ in range(120):
                simulator.step(np.zeros((2, 1), np.int32))
            assert simulator.episodes.min() >= 25
        assert 2 < pooled.true_resets <= 2 + 2 * 2 * 2
        assert plain.true_resets == 2 + plain.episodes.sum()


@pytest.mark.parametrize("reset_pool", [0, 2])
def test_any_number_of_threads_gives_the_same_bytes(reset_pool):
    """In processes of their own: which thread's memory an engine gets must not show in its padding."""
    one, two, five = (run_in_another_process(_ON_THREADS, threads, reset_pool) for threads in (1, 2, 5))
    assert len(one) == 61
    assert int(one[-1]) >= 4, "every match went through several episodes"
    assert one == two
    assert one == five


@pytest.mark.parametrize("reset_pool", [0, 2])
@pytest.mark.parametrize("what", [scenario(game_duration=15), match(20, 8)])
def test_match_i_of_a_batch_seeded_s_is_a_single_match_seeded_s_plus_i(what, reset_pool):
    with simulators(make(what, 3, num_threads=2, reset_pool=reset_pool)) as (batch,):
        batch.reset(seeds=20 + np.arange(3))
        actions = draw(batch, 70)
        shown = []
        for step in actions:
            batch.step(step)
            shown.append([everything(batch, row) for row in range(3)])
        assert (batch.episodes >= 3).all()
        for row in range(3):
            with simulators(make(what, reset_pool=reset_pool)) as (single,):
                single.reset(seeds=np.array([20 + row]))
                alone = play(single, np.ascontiguousarray(actions[:, row : row + 1]))
                assert_same_play(alone, [step[row] for step in shown])


def test_a_match_that_is_reset_by_hand_goes_on_as_one_that_resets_itself():
    what = scenario(game_duration=10)
    with simulators(make(what), make(what, auto_reset=False)) as (itself, by_hand):
        for simulator in (itself, by_hand):
            simulator.reset(seeds=np.array([2]))
        for actions in draw(itself, 50):
            itself.step(actions)
            by_hand.step(actions)
            for one, other in zip(itself.final_state, by_hand.final_state, strict=True):
                assert one.tobytes() == other.tobytes()
            if by_hand.terminated[0] or by_hand.truncated[0]:
                by_hand.reset()
            assert itself.get_engine_state(0) == by_hand.get_engine_state(0)
        assert itself.episodes[0] == by_hand.episodes[0] >= 3


def damaged_snapshots():
    with simulators(make(scenario()), make(match()), make(scenario(), left=2)) as (same, other, more):
        for simulator in (same, other, more):
            simulator.reset(seeds=np.array([1]))
        good = same.get_state(0)
        flipped = bytearray(good)
        flipped[len(good) // 2] ^= 1
        return {
            "nothing": b"",
            "a part of its head": good[:20],
            "one that ends too early": good[:-1],
            "one that goes on too long": good + b"\0",
            "one with a flipped bit": bytes(flipped),
            "a file of another kind": os.urandom(len(good)),
            "the engine's own state": same.get_engine_state(0),
            "one of another scenario": other.get_state(0),
            "one with other controlled players": more.get_state(0),
        }


def test_a_damaged_or_foreign_snapshot_is_refused_and_the_match_goes_on():
    with simulators(make(scenario()), make(scenario())) as (disturbed, left_alone):
        for simulator in (disturbed, left_alone):
            simulator.reset(seeds=np.array([11]))
        list(play(disturbed, draw(disturbed, 5)))
        list(play(left_alone, draw(left_alone, 5)))
        for seed, (what, snapshot) in enumerate(damaged_snapshots().items()):
            with pytest.raises(ValueError, match="snapshot"):
                disturbed.set_state(0, snapshot)
                pytest.fail(f"{what} was taken")
            actions = draw(disturbed, 4, seed=seed)
            assert_same_play(play(disturbed, actions), play(left_alone, actions))


def test_the_kick_off_side_alternates_with_the_episode_and_a_seed_starts_with_the_left():
    def kicking_off(simulator):
        near = []
        for side in ("left", "right"):
            distance = simulator.state.get(f"{side}_position")[0] - simulator.state.get("ball_position")[0, :2]
            near.append(np.hypot(distance[:, 0] * 54.4, distance[:, 1] * 83.6).min())
        return "left" if near[0] < near[1] else "right"

    with simulators(make(match(3))) as (simulator,):
        simulator.reset(seeds=np.array([0]))
        sides, wait = [], np.zeros((1, 1), np.int32)
        while len(sides) < 5:
            sides.append(kicking_off(simulator))
            assert simulator.episodes[0] == len(sides) - 1
            for _ in range(4):
                simulator.step(wait)
        assert sides == ["left", "right", "left", "right", "left"]
        simulator.reset(seeds=np.array([1]))
        assert kicking_off(simulator) == "left"


@pytest.mark.parametrize("name", [DRILL, "academy_corner", MATCH, "1_vs_1_easy", "5_vs_5"])
def test_the_clock_truncates_a_drill_and_terminates_a_match_after_duration_plus_one_steps(name):
    what = scenario(name, game_duration=4, end_episode_on_possession_change=False)
    is_drill = what.ends_by_clock_as_truncation
    assert is_drill == name.startswith("academy")
    with simulators(make(what)) as (simulator,):
        simulator.reset(seeds=np.array([0]))
        assert simulator.state.get("steps_left")[0] == 5
        for step in range(5):
            assert simulator.episodes[0] == 0
            simulator.step(np.zeros((1, 1), np.int32))
            ended = step == 4
            assert simulator.truncated[0] == (ended and is_drill)
            assert simulator.terminated[0] == (ended and not is_drill)
            assert simulator.final_state.get("steps_left")[0] == 4 - step
        assert simulator.episodes[0] == 1
        assert simulator.state.get("steps_left")[0] == 5


def test_a_goal_terminates_a_drill_and_is_worth_one():
    with simulators(make(scenario("academy_empty_goal_close"))) as (simulator,):
        simulator.reset(seeds=np.array([0]))
        for _ in range(100):
            ahead = simulator.state.get("ball_position")[0, 0] > 0.8
            simulator.step(np.array([[12 if ahead else 5]], np.int32))
            if simulator.terminated[0] or simulator.truncated[0]:
                break
            assert simulator.reward[0] == 0
        assert simulator.terminated[0]
        assert not simulator.truncated[0]
        assert simulator.reward[0] == 1
        assert simulator.final_state.get("left_score")[0] == 1
        assert simulator.state.get("left_score")[0] == 0, "the next episode has begun"


def test_a_match_remembers_which_kicks_its_agents_have_begun_and_a_new_episode_forgets_them():
    with simulators(make(scenario("5_vs_5", game_duration=25), left=2, right=1)) as (simulator,):
        simulator.reset(seeds=np.array([4]))
        left, right = (simulator.state.get(name)[0] for name in ("left_kicks", "right_kicks"))
        simulator.step(np.array([[0, 9, 12]], np.int32))
        simulator.step(np.array([[11, 5, 0]], np.int32))
        assert left[:2].tolist() == [[0, 0, KICK_MEMORY, 0], [KICK_MEMORY - 1, 0, 0, 0]]
        assert right[0].tolist() == [0, 0, 0, KICK_MEMORY - 1]
        for _ in range(KICK_MEMORY):
            simulator.step(np.array([[0, 0, 0]], np.int32))
        assert not left.any() and not right.any()
        while not simulator.terminated[0]:
            simulator.step(np.array([[10, 10, 10]], np.int32))
        assert simulator.final_state.get("left_kicks")[0, :2, 1].all() and not left.any()


def fnv1a(data: bytes) -> bytes:
    """The checksum of a snapshot (64-bit FNV-1a) of `data`, as it stands in the snapshot's head."""
    total = 0xCBF29CE484222325
    for byte in data:
        total = (total ^ byte) * 0x100000001B3 % 2**64
    return total.to_bytes(8, "little")


KICKS = slice(72, 160)  # the last of a snapshot's head: 2 sides of 11 players with 4 bytes each


def as_version(version: bytes, snapshot: bytes) -> bytes:
    """`snapshot` as version 01 or 02 wrote it: the sum is the payload's alone, and 01 has no kicks."""
    kicks = snapshot[KICKS] if version == b"02" else b""
    payload = snapshot[KICKS.stop :]
    head = b"TLSNAP" + version + snapshot[8:16] + fnv1a(payload) + snapshot[24 : KICKS.start]
    return head + kicks + payload


def test_snapshots_of_the_earlier_versions_are_still_taken_and_the_first_has_no_kicks():
    with simulators(make(scenario()), make(scenario())) as (source, target):
        for simulator in (source, target):
            simulator.reset(seeds=np.array([11]))
            simulator.step(np.array([[12]], np.int32))
        snapshot = source.get_state(0)
        assert snapshot[:8] == b"TLSNAP03" and snapshot[KICKS][3] == KICK_MEMORY
        target.set_state(0, as_version(b"02", snapshot))
        assert target.get_state(0) == snapshot
        target.set_state(0, as_version(b"01", snapshot))
        assert source.state.get("left_kicks").any() and not target.state.get("left_kicks").any()
        assert source.get_engine_state(0) == target.get_engine_state(0)
        source.set_engine_state(0, target.get_engine_state(0))
        assert not source.state.get("left_kicks").any(), "an engine's own state knows nothing of kicks"
        with pytest.raises(ValueError, match="expected version 01 to 03"):
            target.set_state(0, b"TLSNAP04" + snapshot[8:])


def test_a_snapshot_with_any_byte_of_its_head_changed_is_refused():
    with simulators(make(scenario())) as (simulator,):
        simulator.reset(seeds=np.array([11]))
        snapshot = simulator.get_state(0)
        for at in [*range(KICKS.start), KICKS.start, KICKS.stop - 1]:
            damaged = bytearray(snapshot)
            damaged[at] ^= 1
            with pytest.raises(ValueError):
                simulator.set_state(0, bytes(damaged))
        simulator.set_state(0, snapshot)
        assert simulator.get_state(0) == snapshot


def test_resets_do_not_add_up_in_memory():
    simulator = make(scenario())

    def resident_mib():
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * mmap.PAGESIZE / 2**20

    def resets(number):
        for seed in range(number):
            simulator.reset(seeds=np.array([seed]))
            simulator.step(np.array([[5]], np.int32))

    resets(100)
    before = resident_mib()
    resets(600)  # 6 kB a reset were lost before
    assert resident_mib() - before < 1.0
    simulator.close()
