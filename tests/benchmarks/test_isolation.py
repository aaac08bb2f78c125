"""Policies in processes of their own: what they do wrong is a forfeit with its reason."""

import multiprocessing
import os
import time

import gymnasium as gym
import numpy as np
import pytest

from touchline.benchmarks.isolation import Forfeit, load_guarded
from touchline.benchmarks.policies import load_policy
from touchline.envs.simulator import empty_state

GOOD = "import numpy as np\ndef act(observations):\n    return np.full(len(observations), 5)\n"


def loaded(tmp_path, text, **options):
    path = tmp_path / "mine.py"
    path.write_text(text)
    return load_guarded(path, **options)


def act(policy, matches=2, players=1, side="left"):
    shape = (matches, 115) if players == 1 else (matches, players, 115)
    return policy.act(np.zeros(shape, np.float32), empty_state(matches), side)


def alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_good_file_plays_and_what_it_prints_does_not_matter(tmp_path):
    text = (
        "import os, sys\nOBSERVATION, STACK, ACTION_SET = 'egocentric', 2, 'v2'\nbegun = []\n"
        "os.write(1, b'x' * 100_000)\n"
        "def begin(mask, seeds):\n    begun.append(int(seeds[mask].sum()))\n"
        "def act(observations):\n    print('hello'); sys.stdout.flush()\n    return [begun[-1], 19]\n"
    )
    policy = loaded(tmp_path, text, log=tmp_path / "log")
    assert (policy.observation, policy.stack, policy.action_set) == ("egocentric", 2, "v2")
    policy.begin(np.array([True, False]), np.array([7, 100]))
    actions = act(policy)
    assert actions.tolist() == [[7], [19]]
    assert actions.dtype == np.int32
    process = policy._process.pid
    policy.close()
    assert not alive(process)
    assert "hello" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import os; os.kill(os.getpid(), 11)", "killed by SIGSEGV during act"),
        ("import sys; sys.exit(3)", "exit code 3 during act"),
        ("return [1, 2, 3]", r"expected actions of shape \(2,\) or \(2, 1\), got \(3,\)"),
        ("return [1.0, 2.0]", "expected integer actions, got float64"),
        ("return [float('nan')] * 2", "expected integer actions, got float64"),
        ("return [1, 19]", "expected actions 0 to 18, got 1 to 19"),
        ("return None", "expected actions of shape"),
        ("return [[1], [1, 2]]", "inhomogeneous"),
    ],
)
def test_a_failure_is_a_forfeit_with_its_reason(tmp_path, body, reason):
    policy = loaded(tmp_path, f"def act(observations):\n    {body}\n", name="bot")
    with pytest.raises(Forfeit, match=reason) as caught:
        act(policy)
    assert caught.value.policy == "bot"
    assert str(caught.value) == f"bot: {caught.value.reason}"
    with pytest.raises(Forfeit, match=reason):
        act(policy)


@pytest.mark.parametrize("where", ["", "def begin(mask, seeds): ", "def act(observations): "])
def test_a_policy_that_hangs_is_killed_with_all_that_it_started(tmp_path, where):
    child = tmp_path / "child"
    text = (
        "import subprocess\nchild = subprocess.Popen(['sleep', '600'])\n"
        f"open({str(child)!r}, 'w').write(str(child.pid))\n"
        "def act(observations): return [0, 0]\n"
        f"{where or 'if True: '}\n    while True: pass\n"
    )
    with pytest.raises(Forfeit, match=r"(loading|begin|act) took longer than (5|0.5) seconds"):
        policy = loaded(tmp_path, text, time_limit=0.5, load_limit=30.0 if where else 5.0)
        policy.begin(np.ones(2, bool), np.arange(2))
        act(policy)
    for _ in range(500):  # whoever adopts the orphan must still reap it
        status = _status(int(child.read_text()))
        if status in ("", "Z"):
            break
        time.sleep(0.01)
    assert status in ("", "Z")


def _status(process):
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import no_such_module_here", "no_such_module_here"),
        ("def play(x): pass", r"no function act\(observations\).*agent\(obs\)"),
        (GOOD + "ACTION_SET = 'v3'", "no action set 'v3'; there are default, v2"),
        (GOOD + "OBSERVATION = 3", "expected OBSERVATION as str, got 3"),
    ],
)
def test_a_file_that_cannot_be_loaded_forfeits(tmp_path, text, reason):
    with pytest.raises(Forfeit, match=reason):
        loaded(tmp_path, text, name="lost")
    assert not multiprocessing.active_children(), "its process is gone"


def test_a_script_in_this_process_fails_in_the_same_way(tmp_path):
    policy = load_guarded("random", num_players=2)
    policy.begin(np.ones(3, bool), np.arange(3))
    assert act(policy, 3, 2).shape == (3, 2)
    with pytest.raises(Forfeit, match="random: ValueError: no side 'middle'"):
        act(policy, 3, 2, side="middle")
    with pytest.raises(Forfeit, match="checkpoint"):
        load_guarded(tmp_path)


def test_who_does_not_exist_is_no_forfeit_but_a_mistake(tmp_path):
    with pytest.raises(ValueError, match="no policy file"):
        load_guarded(tmp_path / "none.py")


# ---- SB3 zips ----------------------------------------------------------------------------------------------


def saved_by_sb3(path, shape, actions=19, algorithm="PPO", **options):
    """A model that has learned nothing, on an environment that only has spaces."""
    sb3 = pytest.importorskip("stable_baselines3")
    picture = len(shape) == 3
    space = gym.spaces.Box(0, 255, shape, np.uint8) if picture else gym.spaces.Box(-100, 100, shape, np.float32)

    class Spaces(gym.Env):
        observation_space, action_space = space, gym.spaces.Discrete(actions)

    policy = "CnnPolicy" if picture else "MlpPolicy"
    model = getattr(sb3, algorithm)(policy, Spaces(), seed=3, device="cpu", **options)
    model.save(path)
    return model


@pytest.mark.parametrize(
    ("algorithm", "options"), [("PPO", {}), ("A2C", {}), ("DQN", {"buffer_size": 100, "learning_starts": 1})]
)
def test_an_sb3_zip_plays_what_its_model_predicts(tmp_path, algorithm, options):
    model = saved_by_sb3(tmp_path / "model.zip", (115 * 2,), 20, algorithm, **options)
    policy = load_policy(tmp_path / "model.zip", trust=True)
    assert (policy.observation, policy.stack, policy.action_set) == ("simple115v2", 2, "v2")
    seen = np.random.default_rng(0).normal(size=(5, 3, 230)).astype(np.float32)
    expected = model.predict(seen.reshape(15, 230), deterministic=True)[0]
    assert policy.act(seen, None, "left").tolist() == expected.reshape(5, 3).tolist()
    assert policy.act(seen[:, 0], None, "left").tolist() == expected.reshape(5, 3)[:, 0].tolist()
    assert len(set(expected.tolist())) > 1


def test_an_sb3_model_of_pictures_finds_the_mini_map(tmp_path):
    saved_by_sb3(tmp_path / "model.zip", (72, 96, 8), policy_kwargs={"features_extractor_kwargs": {"features_dim": 8}})
    policy = load_policy(tmp_path / "model.zip", trust=True)
    assert (policy.observation, policy.stack, policy.action_set) == ("smm", 2, "default")
    assert policy.act(np.zeros((2, 72, 96, 8), np.uint8), None, "left").shape == (2,)


def test_an_sb3_zip_that_fits_nothing_or_is_not_trusted_is_refused(tmp_path):
    saved_by_sb3(tmp_path / "odd.zip", (7,))
    with pytest.raises(ValueError, match=r"odd.zip wants observations \(7,\).*simple115v2 \(115,\), smm"):
        load_policy(tmp_path / "odd.zip", trust=True)
    saved_by_sb3(tmp_path / "four.zip", (115,), actions=4)
    with pytest.raises(ValueError, match=r"Discrete\(19\), Discrete\(20\), got 4"):
        load_policy(tmp_path / "four.zip", trust=True)
    with pytest.raises(ValueError, match="pickles.*--trust"):
        load_policy(tmp_path / "odd.zip")
    with pytest.raises(Forfeit, match="no model that SB3 saved"):
        (tmp_path / "text.zip").write_text("hello")
        load_guarded(tmp_path / "text.zip", trust=True)


# ---- Kaggle-style files ------------------------------------------------------------------------------------


def test_a_kaggle_agent_has_its_own_globals_in_every_match_and_episode(tmp_path):
    text = "steps = 0\ndef agent(obs):\n    global steps\n    steps += 1\n    return [steps] * obs.controlled_players\n"
    policy = loaded(tmp_path, text, num_players=2)
    everyone = np.ones(2, bool)
    policy.begin(everyone, np.arange(2))
    assert act(policy, players=2).tolist() == [[1, 1], [1, 1]]
    assert act(policy, players=2).tolist() == [[2, 2], [2, 2]]
    policy.begin(np.array([True, False]), np.arange(2))
    assert act(policy, players=2).tolist() == [[1, 1], [3, 3]]
    policy.close()


def test_a_kaggle_agent_on_the_right_sees_the_pitch_turned_and_its_own_player(tmp_path):
    text = (
        "def agent(obs):\n    raw = obs['players_raw']\n"
        "    assert type(raw[0]['left_team']) is list\n"
        "    assert raw[0]['ball'] == [-0.5, 0.25, 1.0], raw[0]['ball']\n"
        "    assert raw[0]['score'] == [1, 2] and raw[0]['ball_owned_team'] == 0\n"
        "    assert raw[0]['left_team'] == [[-0.75, 0.0], [0.25, 0.0]]\n"
        "    return [p['active'] for p in raw]\n"
    )
    state = empty_state(1)
    state.get("ball_position")[0] = 0.5, -0.25, 1.0
    state.get("left_score")[0], state.get("right_score")[0] = 2, 1
    state.get("ball_owned_team")[0] = 1
    state.get("right_count")[0] = 2
    state.get("right_position")[0, :2, 0] = 0.75, -0.25
    state.get("right_controlled")[0, :2] = 1, 0
    policy = loaded(tmp_path, text, num_players=2)
    assert policy.act(np.zeros((1, 2, 115), np.float32), state, "right").tolist() == [[1, 0]]
    with pytest.raises(Forfeit, match="AssertionError"):
        policy.act(np.zeros((1, 2, 115), np.float32), state, "left")


@pytest.mark.parametrize(("answer", "right"), [("3", True), ("[3]", True), ("[3, 3]", False), ("3.0", False)])
def test_a_kaggle_agent_may_answer_a_number_for_one_player(tmp_path, answer, right):
    policy = loaded(tmp_path, f"def agent(obs):\n    return {answer}\n")
    if right:
        assert act(policy).tolist() == [[3], [3]]
        policy.close()
    else:
        with pytest.raises(Forfeit, match="expected"):
            act(policy)
