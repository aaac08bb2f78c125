"""The other side while an agent trains: the pool, the draw, the env that lets opponents act, resuming it."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from touchline import checkpoint, scenarios, training
from touchline.agents import scripted
from touchline.agents.parts.memory import memory_of, remember
from touchline.benchmarks.policies import ScriptedPolicy, against
from touchline.opponents import OpponentConfig, OpponentEnv, OpponentPool, metrics_of, pfsp_weights
from touchline.rollout import env_spec
from touchline.run import Run
from touchline.train_config import TrainConfig, make_envs

SHORT_FILE = (
    "from dataclasses import replace\nfrom touchline import scenarios\n"
    "SCENARIO = replace(scenarios.load('5_vs_5'), name='short', game_duration=25)\n"
)
SHORT = replace(scenarios.load("5_vs_5"), name="short", game_duration=40)


def pool(*names, past=(), **config):
    made = OpponentPool(names, OpponentConfig(**config))
    for name in past:
        made.add(name, {"net": {"weight": torch.tensor(float(len(made.members)))}})
    return made


# ---- the draw


def test_hard_weights_prefer_whom_the_learner_does_not_beat_and_even_ones_its_equals():
    expected = np.array([0.1, 0.5, 1.0])
    assert np.allclose(pfsp_weights(expected, power=2.0), np.array([0.81, 0.25, 0.0]) / 1.06)
    assert np.allclose(pfsp_weights(expected, weighting="even"), np.array([0.09, 0.25, 0.0]) / 0.34)
    assert np.allclose(pfsp_weights(np.ones(4)), 0.25)


def test_opponents_are_drawn_as_often_as_their_weights_say():
    members = pool("a", "b", "c", latest_share=0.0, uniform_share=0.0, memory=1e9)
    for name, points in (("a", 0.9), ("b", 0.5), ("c", 0.1)):
        for _ in range(1000):
            members.report(name, points)
    drawn = [members.choose() for _ in range(4000)]
    weights = pfsp_weights(np.array([members[name].expected for name in "abc"]))
    counts = np.array([drawn.count(name) for name in "abc"])
    assert ((counts - 4000 * weights) ** 2 / (4000 * weights)).sum() < 13.8  # chi-square, 2 degrees, 0.1%
    assert weights[2] > 0.7


def test_the_newest_past_self_gets_its_share_and_everybody_a_part_of_the_uniform_one():
    members = pool("a", past=("self-0", "self-1"), latest_share=0.5, uniform_share=0.5)
    drawn = [members.choose() for _ in range(3000)]
    assert drawn.count("self-1") == pytest.approx(2000, abs=130)
    assert drawn.count("a") == pytest.approx(500, abs=100)
    assert {members.choose() for _ in range(50)} == {"a", "self-0", "self-1"}
    assert {pool(past=("x", "y"), latest_share=1.0, uniform_share=0.0).choose() for _ in range(9)} == {"y"}


def test_a_draw_counts_half_and_old_games_fade():
    members = pool("a", memory=10.0)
    assert members["a"].expected == 0.5
    members.report("a", 0.5)
    assert members["a"].expected == pytest.approx(0.5)
    for _ in range(200):
        members.report("a", 1.0)
    strong = members["a"].expected
    for _ in range(200):
        members.report("a", 0.0)
    assert strong > 0.9 and members["a"].expected < 0.1
    members.report("somebody who has left", 1.0)


@pytest.mark.engine
def test_random_play_before_the_training_leaves_no_record(tmp_path):
    (tmp_path / "short.py").write_text(SHORT_FILE)
    config = replace(league_training(tmp_path / "run", 8), stagger=40).resolved()
    envs = training.make_envs(config)
    run = Run(config, [envs])
    run.stagger()
    assert run.env_steps and all(member.games == 0 for member in envs.pool.members)
    envs.close()


def test_the_most_surely_beaten_leaves_but_not_the_newest_nor_who_is_protected():
    members = pool("a", past=("self-0", "self-1", "self-2"), capacity=3)
    members["self-0"].protected = True
    for name, points in (("self-0", 1.0), ("self-1", 0.6), ("self-2", 0.9)):
        for _ in range(50):
            members.report(name, points)
    members.add("self-3", {})
    assert [member.name for member in members.members] == ["a", "self-0", "self-1", "self-3"]


def test_a_pool_goes_on_drawing_from_its_state():
    members = pool("a", "b", past=("self-0",))
    members.report("a", 1.0)
    [members.choose() for _ in range(7)]
    copy = pool("a", "b")
    copy.load_state_dict(members.state_dict())
    assert [copy.choose() for _ in range(50)] == [members.choose() for _ in range(50)]
    assert copy["a"].expected == members["a"].expected and copy.past[0].weights["net"]["weight"] == 2


@pytest.mark.parametrize(
    "fields, complaint",
    [
        ({"choice": "best"}, "pfsp, uniform"),
        ({"weighting": "soft"}, "hard, even"),
        ({"latest_share": 0.8, "uniform_share": 0.3}, "at most 1 together"),
        ({"capacity": 0}, "at least 1"),
    ],
)
def test_what_cannot_be_drawn_is_refused(fields, complaint):
    with pytest.raises(ValueError, match=complaint):
        OpponentConfig(**fields)


def test_opponents_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="give --opponent"):
        TrainConfig(opponent_config={"capacity": 3})
    with pytest.raises(ValueError, match="num_actors must be 0"):
        TrainConfig(opponent=("self",), num_actors=2)
    with pytest.raises(ValueError, match="every opponent once"):
        OpponentPool(("random", "random"))
    with pytest.raises(ValueError, match="no strong in OpponentConfig"):
        make_envs(TrainConfig(opponent=("random",), left=4, opponent_config={"strong": 1}).resolved())


def test_the_engines_ai_plays_at_the_difficulty_that_is_named():
    assert against("5_vs_5", ("random", "builtin_ai")).right_team_difficulty == 0.05
    harder = against("5_vs_5", ("random", "builtin_ai:0.6"))
    assert harder.right_team_difficulty == 0.6 and harder.left_team_difficulty == 0.05
    for names in (("builtin_ai:2",), ("builtin_ai:hard",), ("builtin_ai:",)):
        with pytest.raises(ValueError, match="a difficulty from 0 to 1"):
            against("5_vs_5", names)
    with pytest.raises(ValueError, match="all matches share its difficulty"):
        against("5_vs_5", ("builtin_ai", "builtin_ai:0.6"))


# ---- what scripted players remember


@pytest.mark.parametrize("name", scripted.NAMES)
def test_a_scripted_player_goes_on_from_its_memory(name):
    rng = np.random.default_rng(0)

    def states():
        from touchline.envs.simulator import empty_state

        state = empty_state(3)
        state.floats[:] = rng.uniform(-0.4, 0.9, state.floats.shape)
        state.get("steps_left")[:] = 100 - np.arange(3)
        state.get("left_controlled")[:, :2] = [1, 2]
        state.get("left_count")[:], state.get("right_count")[:] = 4, 4
        state.get("left_active")[:, :4], state.get("right_active")[:, :4] = 1, 1
        return state

    player = ScriptedPolicy(name, num_players=2, seed=4)
    player.begin(np.ones(3, bool), np.arange(3))
    for _ in range(5):
        player.act(None, states(), "left")
    copy = ScriptedPolicy(name, num_players=2, seed=4)
    copy.remember(player.memory())
    for _ in range(12):
        state = states()
        assert np.array_equal(player.act(None, state, "left"), copy.act(None, state, "left"))


def test_what_no_checkpoint_can_hold_is_named():
    class Odd:
        def __init__(self):
            self.function = print

    with pytest.raises(TypeError, match="builtin_function"):
        memory_of(Odd())
    kept = Odd()
    kept.function = {"a": [1, (2.0, None)], "b": np.eye(2, dtype=np.float32)}
    text, again = memory_of(kept), Odd()
    remember(again, text)
    assert again.function["a"] == [1, (2.0, None)]
    assert again.function["b"].dtype == np.float32 and np.array_equal(again.function["b"], np.eye(2))


# ---- the env


class Stubborn:
    """Always the same action; it notes how many observations it was shown."""

    def __init__(self, spec):
        self.spec, self.action, self.shown = spec, 0, 0

    def load_policy(self, weights):
        self.action = int(weights["action"])

    def initial_state(self, columns):
        return None

    def act(self, obs, generator):
        assert obs.shape[1:] == self.spec.own.observation_shape
        self.shown += len(obs)
        return torch.full((len(obs),), self.action), torch.zeros(len(obs))


def envs(*names, left=2, right=2, num_envs=3, duration=40, **options):
    import touchline

    inner = touchline.make_vec(
        replace(SHORT, game_duration=duration),
        num_envs,
        left=left,
        right=right,
        control="fixed",
        observation="egocentric",
        num_threads=1,
        action_set="v2" if "builtin_ai" in names else "default",
        **options,
    )
    return OpponentEnv(inner, pool(*names, latest_share=0.0))


@pytest.mark.engine
@pytest.mark.parametrize("left", [1, 2])
def test_the_agent_sees_the_left_side_of_a_match_whose_right_side_the_opponent_plays(left):
    import touchline

    ours = envs("run_and_shoot", left=left)
    options = {"left": left, "right": 2, "control": "fixed", "observation": "egocentric", "num_threads": 1}
    both = touchline.make_vec(SHORT, 3, **options)
    script = scripted.make_scripted("run_and_shoot", 2)
    obs, _ = ours.reset(seed=3)
    whole, _ = both.reset(seed=3)
    rng, ended = np.random.default_rng(0), 0
    for _ in range(60):
        part = whole[:, :left] if left > 1 else whole[:, 0]
        assert np.array_equal(obs, part) and obs.shape[1:] == ours.single_observation_space.shape
        mine = rng.integers(0, 19, (3, left))
        theirs = script.act(both.simulator.state, "right")
        obs, reward, terminated, _, info = ours.step(mine if left > 1 else mine[:, 0])
        whole, rewards, _, _, expected = both.step(np.concatenate([mine, theirs], 1))
        assert np.array_equal(reward, rewards[:, :left] if left > 1 else rewards[:, 0])
        if terminated.any():
            ended += 1
            finals = expected["final_obs"][:, :left] if left > 1 else expected["final_obs"][:, 0]
            assert np.array_equal(info["final_obs"], finals)
            assert info["reward_terms"]["scoring"].shape == reward.shape
    assert ended and list(info["opponent"]) == ["run_and_shoot"] * 3
    assert ours.pool["run_and_shoot"].games > 2
    ours.close(), both.close()


@pytest.mark.engine
@pytest.mark.parametrize("left", [1, 2])
def test_masks_are_of_the_agents_own_players_and_actions(left):
    ours = envs("builtin_ai", left=left)
    ours.reset(seed=3)
    masks, everyones = ours.action_masks(), ours.envs.action_masks()
    assert everyones.shape == (3, left + 2, 20), "the opponent knows one action more"
    assert masks.shape == ((3, 19) if left == 1 else (3, 2, 19)) and not masks.all()
    assert np.array_equal(masks.reshape(3, left, 19), everyones[:, :left, :19])
    ours.close()


@pytest.mark.engine
def test_past_selves_and_others_play_side_by_side_each_its_own_matches():
    ours = envs("idle", num_envs=6)
    spec = env_spec(ours)
    made = []

    def make():
        made.append(Stubborn(spec))
        return made[-1]

    ours.play_itself(make, {"action": torch.tensor(5)})
    ours.learned(10, 5, lambda: pytest.fail("no copy was due"))
    ours.learned(500_001, 499_999, lambda: {"action": torch.tensor(1)})
    ours.pool.config = replace(ours.pool.config, choice="uniform")
    ours.reset(seed=0)
    assert set(ours.playing) == {"idle", "self-0", "self-500001"}
    for _ in range(3):
        ours.step(np.zeros((6, 2), int))
    sticky = ours.simulator.state.get("right_sticky")[:, :2, :8].argmax(-1)
    held = ours.simulator.state.get("right_sticky")[:, :2, :8].any(-1)
    # Right is 5 of the eight directions in the own view, and so left, the first, in the left team's.
    for name, pressed, direction in (("idle", False, 0), ("self-0", True, 0), ("self-500001", True, 4)):
        mine = ours.playing == name
        assert (held[mine] == pressed).all() and (sticky[mine] == direction).all(), name
    shown = {agent.action: agent.shown for agent in made}
    assert shown == {5: 6 * (ours.playing == "self-0").sum(), 1: 6 * (ours.playing == "self-500001").sum()}
    ours.close()


@pytest.mark.engine
def test_a_past_self_that_leaves_the_pool_between_the_draw_and_its_game_plays_it():
    ours = envs("idle", num_envs=2)
    spec = env_spec(ours)
    ours.play_itself(lambda: Stubborn(spec), {"action": torch.tensor(5)})
    ours.pool.config = OpponentConfig(capacity=1, latest_share=1.0, uniform_share=0.0, snapshot_interval=10)
    ours.reset(seed=0)
    ours.learned(20, 5, lambda: {"action": torch.tensor(1)})
    assert [member.name for member in ours.pool.past] == ["self-20"] and set(ours.playing) == {"self-0"}
    ours.step(np.zeros((2, 2), int))
    assert ours.simulator.state.get("right_sticky")[:, :2, 0].all()
    ours.close()


@pytest.mark.engine
@pytest.mark.parametrize("agent", ["ppo", "impala", "apex_dqn"])
def test_every_agent_plays_itself(agent, tmp_path):
    (tmp_path / "short.py").write_text(SHORT_FILE)
    fields = {"unroll_length": 8} | ({"learning_starts": 64, "batch_size": 16} if agent == "apex_dqn" else {})
    config = replace(
        league_training(tmp_path / "run", 4), agent=agent, preset=f"{agent}_cpu", agent_config=fields, total_steps=256
    )
    result = training.train(config)
    assert result["env_steps"] >= 256 and result["metrics"]["opponents/past_selves"] == 2


@pytest.mark.engine
def test_a_training_that_begins_with_a_run_meets_that_run_as_its_first_past_self(tmp_path):
    (tmp_path / "short.py").write_text(SHORT_FILE)
    training.train(league_training(tmp_path / "first", 2))
    again = replace(league_training(tmp_path / "second", 1), init=str(tmp_path / "first"))
    training.train(again)
    first, second = (checkpoint.load(tmp_path / name / "checkpoint.pt") for name in ("first", "second"))
    members = {m["name"]: m["weights"] for m in second["opponents"][0]["pool"]["members"]}
    assert all(torch.equal(w, members["self-0"]["net"][name]) for name, w in first["agent"]["net"].items())
    other = replace(again, out=str(tmp_path / "third"), agent_config={"policy_hidden": (8,), "unroll_length": 16})
    with pytest.raises(ValueError, match="has other networks"):
        training.train(other)


@pytest.mark.engine
def test_both_halves_of_a_double_buffer_draw_for_themselves(tmp_path):
    (tmp_path / "short.py").write_text(SHORT_FILE)
    training.train(replace(league_training(tmp_path / "halves", 8), double_buffer=True))
    halves = checkpoint.load(tmp_path / "halves" / "checkpoint.pt")["opponents"]
    assert len(halves) == 2
    assert halves[0]["pool"]["generator"] != halves[1]["pool"]["generator"]
    assert not torch.equal(halves[0]["generator"], halves[1]["generator"])
    names = [[member["name"] for member in half["pool"]["members"]] for half in halves]
    assert names[0] == names[1]


@pytest.mark.engine
def test_a_kaggle_file_may_be_an_opponent_and_the_training_is_saved(tmp_path):
    (tmp_path / "short.py").write_text(SHORT_FILE)
    (tmp_path / "kaggle.py").write_text("def agent(obs):\n    return [5] * len(obs['players_raw'])\n")
    config = replace(league_training(tmp_path / "run", 2), opponent=(str(tmp_path / "kaggle.py"),), opponent_config={})
    training.train(config)
    assert checkpoint.load(tmp_path / "run" / "checkpoint.pt")["opponents"][0]["playing"][0].endswith("kaggle.py")


def test_points_are_means_over_pools_and_past_selves():
    first, second = pool("a", past=("self-0",)), pool("a", past=("self-0",))
    for _ in range(98):
        first.report("a", 1.0)
    metrics = metrics_of([first, second])
    assert metrics["opponents/points_against_a"] == pytest.approx((first["a"].expected + 0.5) / 2)
    assert metrics["opponents/points_against_past"] == 0.5 and metrics["opponents/past_selves"] == 1


@pytest.mark.engine
def test_the_built_in_ai_drives_players_that_an_agent_could_drive():
    ours = envs("builtin_ai", left=4, right=4, num_envs=2, duration=400)
    assert ours.single_action_space.nvec.tolist() == [19] * 4
    ours.reset(seed=0)
    places = ours.simulator.state.get("right_position").copy()
    for _ in range(50):
        ours.step(np.zeros((2, 4), int))
    moved = np.abs(ours.simulator.state.get("right_position") - places).sum(-1)[:, 1:5]
    assert (moved > 0.05).all()
    ours.close()


def league_training(out, updates, **fields):
    return TrainConfig(
        scenario=str(out.parent / "short.py"),
        preset="ippo_cpu",
        left=2,
        control="fixed",
        opponent=("self", "random", "builtin_ai"),
        opponent_config={"snapshot_interval": 128, "capacity": 2},
        num_envs=4,
        num_threads=1,
        reset_pool=2,
        total_steps=updates * 4 * 16,
        seed=1,
        out=str(out),
        agent_config={"unroll_length": 16, "num_epochs": 1, "anneal_learning_rate": False},
        **fields,
    )


@pytest.mark.engine
def test_self_play_goes_on_bitwise_with_its_pool_and_its_random_numbers(tmp_path):
    (tmp_path / "short.py").write_text(SHORT_FILE)
    training.train(league_training(tmp_path / "whole", 10))
    training.train(league_training(tmp_path / "parts", 5))
    training.resume(tmp_path / "parts", total_steps=10 * 4 * 16)
    whole, parts = (checkpoint.load(tmp_path / name / "checkpoint.pt") for name in ("whole", "parts"))
    assert all(torch.equal(w, parts["agent"]["net"][name]) for name, w in whole["agent"]["net"].items())
    first, second = whole["opponents"][0], parts["opponents"][0]
    assert first["playing"] == second["playing"] and first["seats"] == second["seats"]
    members = [[(m["name"], m["points"], m["games"]) for m in x["pool"]["members"]] for x in (first, second)]
    assert members[0] == members[1]
    names = [member[0] for member in members[0]]
    assert names[:2] == ["random", "builtin_ai"] and names[-1] == "self-640" and len(names) == 4
    assert sum(member[2] for member in members[0]) > 4
