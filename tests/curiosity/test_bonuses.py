"""What every bonus must keep, and what each pays."""

import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from toy_envs import Corridor
from worlds import PITCH, Pictures, on_pitch, played, rollout_of

from touchline import exploration, plugins
from touchline.agents.parts.prioritised_replay import Transitions
from touchline.curiosity import count, icm, rnd, visit_oracle
from touchline.curiosity.parts.inputs import InputFilter, Pitch, cells, ranks
from touchline.curiosity.parts.scale import ReturnScale
from touchline.types import EnvSpec

BONUSES = exploration.names_of("bonus")
NO_PITCH = [name for name in BONUSES if name != "visit_oracle"]


def paid(bonus, rollout, carry=None):
    """The only stream of a bonus, and the carry."""
    carry = bonus.initial_carry(rollout.action.shape[1]) if carry is None else carry
    rewards, carry = bonus.reward(rollout, carry)
    assert set(rewards) == {stream.name for stream in bonus.streams}
    return next(iter(rewards.values())), carry


def football(unroll_length=20, columns=3, seed=0):
    draw = np.random.default_rng(seed)
    walk = np.clip(np.cumsum(draw.normal(0, 0.1, (unroll_length + 1, columns, 2)), 0), -1, 1)
    obs = on_pitch(walk)
    ends = [(7, 1)]
    return rollout_of(
        obs, ends, finals={(7, 1): obs[3, 0].numpy()}, action=draw.integers(0, 2, (unroll_length, columns))
    )


def test_the_bonuses_are_files():
    assert {"count", "episodic_curiosity", "icm", "rnd", "visit_oracle"} <= set(BONUSES)


SOON = {"episodic_curiosity": {"train_every": 20, "buffer_steps": 64, "batch_size": 16, "k": 2, "gamma_neg": 2}}


@pytest.mark.parametrize("name", BONUSES)
def test_a_bonus_pays_finite_numbers_for_every_transition_and_goes_on_where_it_was_saved(name, tmp_path, monkeypatch):
    monkeypatch.setattr(rnd, "SETTLED", 1)
    module = plugins.load("curiosity", name)
    config = module.Config(**SOON.get(name, {}))
    bonus, rollout = module.make(PITCH, config, seed=0, device="cpu"), football()
    carry = bonus.initial_carry(3)
    for _ in range(2):
        reward, carry = paid(bonus, rollout, carry)
        assert reward.shape == rollout.action.shape and reward.isfinite().all() and not reward.requires_grad
        assert all(np.isfinite(x) for x in bonus.update(rollout).values())
    assert reward.any()
    torch.save({"bonus": bonus.state_dict(), "carry": carry}, tmp_path / "x.pt")
    saved = torch.load(tmp_path / "x.pt", weights_only=True)
    other = module.make(PITCH, config, seed=1, device="cpu")
    other.load_state_dict(saved["bonus"])
    other.initial_carry(3)
    both = [(bonus, carry), (other, saved["carry"])]
    for seed in (1, 2, 3):
        (first, carry), (second, again) = (paid(b, football(seed=seed), c) for b, c in both)
        assert torch.equal(first, second) and first.any()
        assert bonus.update(football(seed=seed)) == other.update(football(seed=seed))
        both = [(bonus, carry), (other, again)]


@pytest.mark.parametrize("name", BONUSES)
def test_a_carry_is_an_argument_and_a_result_and_is_left_as_it_was(name):
    module = plugins.load("curiosity", name)
    bonus, rollout = module.make(PITCH, module.Config(), seed=0, device="cpu"), football()
    _, carry = paid(bonus, rollout)
    before = _copy(carry)
    paid(bonus, rollout, carry)
    assert _same(before, carry)


def _copy(carry):
    if isinstance(carry, dict):
        return {k: _copy(v) for k, v in carry.items()}
    return carry if carry is None else carry.clone()


def _same(a, b):
    if isinstance(a, dict):
        return all(_same(a[k], b[k]) for k in a)
    return (a is None and b is None) or torch.equal(a, b)


@pytest.mark.parametrize("name", NO_PITCH)
def test_a_bonus_reads_pictures_too(name):
    (rollout,), spec = played(Pictures())
    module = plugins.load("curiosity", name)
    bonus = module.make(spec, module.Config(), seed=0, device="cpu")
    reward, _ = paid(bonus, rollout)
    assert reward.shape == rollout.action.shape and reward.isfinite().all()
    bonus.update(rollout)


@pytest.mark.parametrize("name", BONUSES)
def test_a_lost_match_pays_nothing(name):
    obs = on_pitch(np.random.default_rng(0).uniform(-1, 1, (5, 2, 2)))
    rollout = rollout_of(obs, lost=[(2, 1)])
    module = plugins.load("curiosity", name)
    reward, _ = paid(module.make(PITCH, module.Config(), seed=0, device="cpu"), rollout)
    assert reward[2, 1] == 0


def test_without_a_pitch_the_oracle_says_what_it_needs():
    with pytest.raises(ValueError, match="no place of the ball in these observations"):
        visit_oracle.make(EnvSpec((3,), "float32", 2))


# Places.


def test_cells_are_floored_and_all_equally_wide():
    xy = torch.tensor([[-1.0, -1.0], [-0.01, 0.0], [0.01, 0.0], [1.0, 1.0], [-0.34, -1.0], [-0.32, -1.0]])
    assert cells(xy, (3, 2)).tolist() == [0, 3, 3, 5, 0, 2]
    line = torch.stack([torch.linspace(-0.9999, 0.9999, 6000), torch.zeros(6000)], -1)
    assert torch.bincount(cells(line, (6, 1))).tolist() == [1000] * 6  # int() would give the middle ones more


def test_ranks_count_what_came_before():
    assert ranks(np.array([5, 3, 5, 5, 3, 1])).tolist() == [0, 0, 1, 2, 1, 0]


def test_clocks_are_hidden_and_of_stacked_frames_the_newest_is_kept():
    spec = EnvSpec((4,), "float32", 2, stack=2, features={"clocks": (3,)})
    obs = torch.arange(8.0).view(2, 4)
    assert InputFilter(spec)(obs).tolist() == [[2.0], [6.0]]
    assert InputFilter(spec, strip=False)(obs).tolist() == [[2.0, 3.0], [6.0, 7.0]]
    assert InputFilter(spec).spec.observation_shape == (1,)


def test_the_player_is_found_in_the_three_kinds_of_observation():
    vector = EnvSpec((7,), "float32", 2, features={"ball": (0, 1), "own_team": (2, 3, 4, 5), "controlled": (6, 6)})
    obs = torch.tensor([[0.5, 0.21, 0.1, 0.42, 0.1, 0.0, 0.5]])  # both half controlled: the mean of two players
    assert Pitch(vector).ball(obs).tolist() == [[0.5, 0.5]]
    assert Pitch(vector).player(obs)[0].tolist() == pytest.approx([0.1, 0.5])
    picture = EnvSpec((4, 6, 2), "uint8", 2, features={"ball_plane": (0,), "player_plane": (1,)})
    frame = torch.zeros(1, 4, 6, 2, dtype=torch.uint8)
    frame[0, 0, 5, 0] = frame[0, 3, 0, 1] = 255
    assert Pitch(picture).ball(frame)[0].tolist() == pytest.approx([5 / 6, -0.75])
    assert Pitch(picture).player(frame)[0].tolist() == pytest.approx([-5 / 6, 0.75])


# Counts.


def test_the_first_visit_pays_1_the_second_less_within_a_rollout_and_after_it():
    obs = on_pitch([[[0.0, 0.0]], [[0.5, 0.5]], [[0.5, 0.5]], [[-0.5, 0.5]]])
    bonus = count.make(PITCH)
    reward, _ = paid(bonus, rollout_of(obs))
    assert reward[:, 0].tolist() == pytest.approx([1, 2**-0.5, 1])
    bonus.update(rollout_of(obs))
    reward, _ = paid(bonus, rollout_of(obs))
    assert reward[:, 0].tolist() == pytest.approx([3**-0.5, 4**-0.5, 2**-0.5])


def test_who_owns_the_ball_makes_another_place_and_the_clock_does_not():
    obs = on_pitch([[[0.5, 0.5]]] * 4)
    obs[2, 0, 4:7] = torch.tensor([0.0, 0.0, 1.0])
    obs[3, 0, 9] = 7.0
    reward, _ = paid(count.make(PITCH), rollout_of(obs))
    assert reward[:, 0].tolist() == pytest.approx([1, 1, 2**-0.5])


def test_the_true_last_observation_is_counted_not_the_reset_one():
    obs = on_pitch([[[0.5, 0.5]], [[-0.5, -0.5]]])
    bonus = count.make(PITCH)
    bonus.update(rollout_of(obs, [(0, 0)], finals={(0, 0): on_pitch([0.9, 0.9]).numpy()}))
    seen = bonus.score(Transitions(obs[0], torch.tensor([0]), on_pitch([[0.9, 0.9]])))["count"]
    reset, _ = paid(bonus, rollout_of(obs))
    assert (seen.item(), reset.item()) == (1.0, 1.0)  # one visit; and none
    bonus.update(rollout_of(obs))
    assert paid(bonus, rollout_of(obs))[0].item() == pytest.approx(2**-0.5)


def test_pairs_of_place_and_action_are_counted_if_asked():
    obs = on_pitch([[[0.5, 0.5]]] * 4)
    bonus = count.make(PITCH, count.Config(per_action=True))
    reward, _ = paid(bonus, rollout_of(obs, action=[[0], [1], [0]]))
    assert reward[:, 0].tolist() == pytest.approx([1, 1, 2**-0.5])


def test_replayed_transitions_are_scored_under_today_s_counts():
    obs = on_pitch([[[0.0, 0.0]], [[0.5, 0.5]]])
    bonus = count.make(PITCH)
    for _ in range(4):
        bonus.update(rollout_of(obs))
    assert bonus.score(Transitions(obs[0], torch.tensor([0]), obs[1]))["count"].item() == pytest.approx(0.5)


def test_other_observations_are_hashed_and_near_ones_mostly_share_a_place():
    spec = EnvSpec((20,), "float32", 2)
    bonus, draw = count.make(spec), torch.Generator().manual_seed(0)
    obs = torch.randn(200, 20, generator=draw)
    places = bonus.places(obs)
    assert len(places.unique()) > 190
    assert (bonus.places(obs * 1.01) == places).all()  # SimHash sees angles
    assert (bonus.places(obs + 0.01 * torch.randn(200, 20, generator=draw)) == places).float().mean() > 0.8


# The oracle.


def test_the_oracle_pays_once_a_cell_an_episode_and_knows_where_it_was_across_rollouts():
    bonus = visit_oracle.make(PITCH, visit_oracle.Config(grid=(2, 1)))
    left, right = [-0.5, 0.0], [0.5, 0.0]
    first = rollout_of(on_pitch([[left], [right], [left], [right]]))
    reward, carry = paid(bonus, first)
    assert reward[:, 0].tolist() == [1, 0, 0]
    ends = rollout_of(on_pitch([[right], [left], [left], [right]]), [(1, 0)], finals={(1, 0): on_pitch(right).numpy()})
    reward, _ = paid(bonus, ends, carry)
    assert reward[:, 0].tolist() == [0, 0, 1]  # seen before; seen before; a new episode
    only_last = rollout_of(on_pitch([[left], [left], [left]]), [(0, 0)], finals={(0, 0): on_pitch(right).numpy()})
    assert paid(bonus, only_last)[0][:, 0].tolist() == [1, 0]  # the true last observation's cell, not the reset one's


@pytest.mark.parametrize("name", ["icm", "rnd"])
def test_where_a_step_led_at_an_end_is_the_true_last_observation(name, monkeypatch):
    monkeypatch.setattr(rnd, "SETTLED", 1)
    obs = on_pitch(np.random.default_rng(0).uniform(-1, 1, (4, 1, 2)))
    other = on_pitch([0.9, -0.9]).numpy()
    module = plugins.load("curiosity", name)
    pays = []
    for final in (obs[2, 0].numpy(), other):
        reward, _ = paid(module.make(PITCH, module.Config(), seed=0), rollout_of(obs, [(1, 0)], finals={(1, 0): final}))
        pays.append(reward[:, 0] / reward[0, 0])  # RND's scale moves with all of them
    assert torch.isclose(*pays, rtol=1e-4).tolist() == [True, False, True]


# RND.


def test_what_was_seen_often_pays_less_than_what_was_not():
    draw = torch.Generator().manual_seed(0)
    spec = EnvSpec((4,), "float32", 2)
    bonus = rnd.make(spec, rnd.Config(learning_rate=1e-3, update_share=1.0))
    known, new = torch.randn(2, 400, 4, generator=draw)
    rollout = rollout_of(torch.cat([known[:100], known[:1]])[:, None])
    for _ in range(300):
        bonus.update(rollout)
    assert bonus.error(known[:100]).mean() < 0.5 * bonus.error(new).mean()


def test_rnd_is_divided_by_the_deviation_of_its_discounted_returns():
    scale, carry = ReturnScale(0.9), torch.zeros(3)
    draw = np.random.default_rng(0)
    numbers, running, returns = draw.exponential(1, (40, 3)), np.zeros(3), []
    for row in numbers:
        running = 0.9 * running + row
        returns.append(running)
    for part in np.split(numbers, 4):
        carry = scale.follow(torch.tensor(part, dtype=torch.float32), carry)
    assert carry.numpy() == pytest.approx(running, rel=1e-5)
    assert scale.deviation == pytest.approx(np.std(returns), rel=1e-5)


def test_rnd_s_bonus_is_its_error_over_the_scale_of_cut_observations():
    steps = rnd.SETTLED // 2
    obs = on_pitch(np.random.default_rng(0).uniform(-1, 1, (steps + 1, 2, 2)))
    bonus, rollout = rnd.make(PITCH), rollout_of(obs)
    reward, _ = paid(bonus, rollout)
    raw = bonus.error(obs[1:].flatten(0, 1)).view(steps, 2)
    assert bonus.scale.deviation != pytest.approx(1.0, rel=0.1)
    assert reward.numpy() == pytest.approx((raw / bonus.scale.deviation).numpy(), rel=1e-5)
    before = bonus.normaliser.state_dict()["mean"].clone()
    bonus.update(rollout)
    assert not torch.equal(before, bonus.normaliser.state_dict()["mean"])
    far, farther = torch.full((1, 10), 1e4), torch.full((1, 10), 1e6)
    assert torch.equal(bonus.error(far), bonus.error(farther))


def test_rnd_pays_nothing_before_its_scale_is_one_to_divide_by():
    """The returns of the first steps hardly differ: divided by that, they would be the largest of a training."""
    bonus, first = rnd.make(PITCH), np.random.default_rng(0).uniform(-1, 1, (3, 2, 2))
    reward, carry = paid(bonus, rollout_of(on_pitch(first)))
    assert not reward.any() and 0 < bonus.scale.count < rnd.SETTLED
    replayed = types.SimpleNamespace(next_obs=on_pitch(first[0]))
    assert not bonus.score(replayed)["rnd"].any()
    later = on_pitch(np.random.default_rng(1).uniform(-1, 1, (rnd.SETTLED, 2, 2)))
    reward, _ = paid(bonus, rollout_of(later), carry)
    assert (reward > 0).all()


def test_only_the_predictor_learns_and_the_stream_runs_on_through_ends():
    (rollout,), spec = played()
    bonus = rnd.make(spec)
    before = [p.clone() for p in bonus.target.parameters()], [p.clone() for p in bonus.predictor.parameters()]
    bonus.update(rollout)
    assert all(torch.equal(a, b) for a, b in zip(before[0], bonus.target.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(before[1], bonus.predictor.parameters(), strict=True))
    assert not bonus.streams[0].episodic


# ICM.


def test_icm_pays_for_what_cannot_be_foreseen_and_not_for_what_can():
    """Action 1 turns on noise in the last feature, action 0 leaves everything as it is."""
    draw = torch.Generator().manual_seed(0)
    spec = EnvSpec((2,), "float32", 2)
    bonus = icm.make(spec, icm.Config(learning_rate=1e-3))
    for _ in range(150):
        action = torch.randint(2, (64, 8), generator=draw)
        obs = torch.zeros(65, 8, 2)
        obs[1:, :, 0] = action.float()
        obs[1:, :, 1] = action * torch.randn(64, 8, generator=draw)
        rollout = rollout_of(obs, action=action)
        bonus.update(rollout)
    reward, _ = paid(bonus, rollout)
    assert reward[action == 1].mean() > 4 * reward[action == 0].mean()
    assert reward.max() <= 1.0


def test_the_inverse_model_tells_actions_apart_and_frozen_features_do_not_move():
    (rollout,), spec = played(Corridor(64), unroll_length=32)
    obs = rollout.obs.clone()
    obs[1:, :, 0] = rollout.action.float()  # what was done is seen in the next observation
    rollout = rollout._replace(obs=obs)
    bonus = icm.make(spec, icm.Config(num_epochs=3, learning_rate=1e-3))
    losses = [bonus.update(rollout)["bonus/icm_inverse_loss"] for _ in range(20)]
    assert losses[0] > 0.5 and losses[-1] < 0.1
    frozen = icm.make(spec, icm.Config(freeze_features=True))
    before = [p.clone() for p in frozen.net.encoder.parameters()]
    frozen.update(rollout)
    assert all(torch.equal(a, b) for a, b in zip(before, frozen.net.encoder.parameters(), strict=True))


def test_the_visit_oracle_of_a_player_refuses_observations_that_know_the_ball_alone():
    spec = EnvSpec((2,), "float32", 19, features={"ball": (0, 1)})
    with pytest.raises(ValueError, match="no place of the controlled player.*of=ball"):
        visit_oracle.make(spec)
    visit_oracle.make(spec, visit_oracle.Config(of="ball"))
