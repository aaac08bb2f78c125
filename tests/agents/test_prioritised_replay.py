"""The replay against a literal history of everything played, its probabilities, and its size."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from touchline.agents.parts.prioritised_replay import PrioritisedReplay, SumTree
from touchline.rollout import Rollout
from touchline.types import EnvSpec

SHAPE, STACK = (3, 5, 2), 3
PICTURES = EnvSpec((3, 5, 2 * STACK), "uint8", 7, stack=STACK)
FLOATS = EnvSpec((4,), "float32", 7)


class History:
    """Columns of random play, kept whole; every frame is another one."""

    def __init__(self, spec, columns=2, ends=0.2, lost=0.0, seed=0):
        self.spec, self.columns = spec, columns
        self.ends, self.lost = ends, lost
        self.random = np.random.default_rng(seed)
        self.obs = [[self._first()] for _ in range(columns)]
        self.steps = [[] for _ in range(columns)]  # (action, reward, end, final or None, mask, priority)

    def _frame(self):
        shape = (*self.spec.observation_shape[:-1], self.spec.observation_shape[-1] // self.spec.stack)
        if self.spec.observation_dtype == "uint8":
            return 255 * self.random.integers(0, 2, shape).astype(np.uint8)
        return self.random.normal(size=shape).astype(np.float32)

    def _first(self):
        return np.concatenate([self._frame()] * self.spec.stack, -1)

    def _next(self, obs):
        frame = self._frame()
        return np.concatenate([obs[..., frame.shape[-1] :], frame], -1)

    def play(self, T, actor=0):
        for c in range(self.columns):
            for _ in range(T):
                obs = self.obs[c][-1]
                end = self.random.choice(["", "terminated", "truncated"], p=[1 - self.ends, *[self.ends / 2] * 2])
                final, mask = (self._next(obs), True) if end else (None, True)
                if self.random.random() < self.lost:
                    end, final, mask = "truncated", obs, False
                    if self.steps[c] and not self.steps[c][-1]["end"]:
                        self.steps[c][-1]["end"] = "truncated"
                self.steps[c].append(
                    {
                        "action": int(self.random.integers(7)),
                        "reward": 0.0 if not mask else self.random.normal(),
                        "end": end,
                        "final": final,
                        "mask": mask,
                        "priority": self.random.random(),
                    }
                )
                self.obs[c].append(self._first() if end else self._next(obs))
        return self._rollout(T, actor)

    def _rollout(self, T, actor):
        recent = [steps[-T:] for steps in self.steps]

        def table(name, kind):
            return torch.tensor([[recent[c][t][name] for c in range(self.columns)] for t in range(T)], dtype=kind)

        finals = {
            (t, c): recent[c][t]["final"]
            for t in range(T)
            for c in range(self.columns)
            if recent[c][t]["final"] is not None
        }
        ends = [[recent[c][t]["end"] for c in range(self.columns)] for t in range(T)]
        obs = np.stack([np.stack([self.obs[c][-T - 1 + t] for c in range(self.columns)]) for t in range(T + 1)])
        shape = (0, *self.spec.observation_shape)
        return Rollout(
            obs=torch.from_numpy(obs),
            action=table("action", torch.int64),
            reward=table("reward", torch.float32),
            terminated=torch.tensor([[e == "terminated" for e in row] for row in ends]),
            truncated=torch.tensor([[e == "truncated" for e in row] for row in ends]),
            behaviour_log_prob=torch.zeros(T, self.columns),
            mask=table("mask", torch.bool),
            final_index=torch.tensor(list(finals), dtype=torch.int64).reshape(-1, 2),
            final_obs=torch.from_numpy(
                np.stack(list(finals.values())) if finals else np.zeros(shape, self.spec.observation_dtype)
            ),
            num_players=1,
            episodes={},
            actor=actor,
            priority=table("priority", torch.float32),
        )

    def transition(self, c, t, n):
        """What replay should say of step t of column c, or None where its n steps are not known yet."""
        rewards, steps = np.zeros(n, np.float32), self.steps[c]
        if not steps[t]["mask"]:
            return None
        for j in range(n):
            if t + j >= len(steps):
                return None
            step = steps[t + j]
            rewards[j] = step["reward"]
            if step["end"] or j == n - 1:
                last = step["final"] if step["final"] is not None else self.obs[c][t + j + 1]
                return self.obs[c][t], step["end"] == "terminated", rewards, j + 1, last


def replay_of(spec, n=3, capacity=60, columns=2, **options):
    return PrioritisedReplay(spec, capacity=capacity, num_columns=columns, n_step=n, **options)


def add(replay, rollout):
    replay.add(rollout, rollout.reward[..., None], rollout.priority)


def check_all(replay, history, n):
    """Every place that can be drawn holds what the history says, and all that can be known can be drawn."""
    length = replay._length
    drawable = np.flatnonzero(replay.probabilities() > 0)
    assert len(replay) == len(drawable)
    seen = set()
    batch = replay.sample(4096, generator=torch.Generator().manual_seed(0))
    for k in range(4096):
        c, slot = divmod(int(batch.index[k]), length)
        total = len(history.steps[c])
        t = max(t for t in range(total) if t % length == slot and total - t <= length)
        if (c, t) in seen:
            continue
        seen.add((c, t))
        obs, terminated, rewards, steps, last = history.transition(c, t, n)
        assert np.array_equal(batch.obs[k].numpy(), obs), (c, t)
        assert np.array_equal(batch.last_obs[k].numpy(), last), (c, t)
        assert_close(batch.rewards[:, k, 0].numpy(), rewards)
        assert (int(batch.num_steps[k]), bool(batch.terminated[k])) == (steps, terminated)
        assert int(batch.action[k]) == history.steps[c][t]["action"]
    recent = length - history.spec.stack  # some of the oldest have lost a frame of their stack
    for c in range(history.columns):
        total = len(history.steps[c])
        for t in range(max(0, total - recent), total):
            known = history.transition(c, t, n) is not None
            assert known == (replay.probabilities()[c * length + t % length] > 0), (c, t)


@pytest.mark.parametrize("spec", [PICTURES, FLOATS], ids=["pictures", "floats"])
@pytest.mark.parametrize("n", [1, 3, 5])
@pytest.mark.parametrize("lost", [0.0, 0.1])
def test_every_transition_is_what_was_played(spec, n, lost):
    history, replay = History(spec, lost=lost, seed=n), replay_of(spec, n)
    for T in (1, 2, 7, 3, 10, 4, 9, 11, 6):
        add(replay, history.play(T))
        if len(replay):
            check_all(replay, history, n)


def test_actors_fill_columns_of_their_own_each_at_its_own_pace():
    histories = [History(PICTURES, seed=i) for i in range(2)]
    replay = replay_of(PICTURES, columns=4, capacity=120)
    for actor, T in [(0, 5), (1, 9), (0, 8), (0, 11), (1, 4), (0, 7)]:
        add(replay, histories[actor].play(T, actor))
    length, batch = replay._length, replay.sample(500)
    for k in range(500):
        c, t = divmod(int(batch.index[k]), length)
        steps = histories[c // 2].steps[c % 2]
        t += length * ((len(steps) - 1 - t) // length)
        assert np.array_equal(batch.obs[k].numpy(), histories[c // 2].obs[c % 2][t])


def test_a_match_that_begins_anew_ends_the_one_before_with_the_frame_it_had_reached():
    """Resumed actors start other matches; nothing may lead from the old one into the new."""
    replay = replay_of(PICTURES)
    first, second = History(PICTURES, ends=0.0, seed=1), History(PICTURES, ends=0.0, seed=2)
    add(replay, first.play(6))
    add(replay, second.play(6))
    rows = np.array([4, 5])
    batch_obs = replay._next_observations(rows)
    assert np.array_equal(batch_obs[1].numpy(), first.obs[0][6])
    drawn = replay.sample(300)
    for k in range(300):
        c, t = divmod(int(drawn.index[k]), replay._length)
        assert int(drawn.num_steps[k]) == (min(3, 6 - t) if t < 6 else 3)
        assert not drawn.terminated[k]
        history = first if t < 6 else second
        assert np.array_equal(drawn.obs[k].numpy(), history.obs[c][t % 6])


def test_single_steps_for_a_bonus_lead_where_they_led():
    history, replay = History(FLOATS, seed=3), replay_of(FLOATS)
    add(replay, history.play(12))
    batch = replay.sample(64)
    for step in range(3):
        single = replay.transitions(batch.index, step)
        for k in range(64):
            if step < int(batch.num_steps[k]):
                c, t = divmod(int(batch.index[k]), replay._length)
                played = history.steps[c][t + step]
                led = history.obs[c][t + step + 1] if played["final"] is None else played["final"]
                assert np.array_equal(single.obs[k].numpy(), history.obs[c][t + step])
                assert np.array_equal(single.next_obs[k].numpy(), led)
                assert int(single.action[k]) == played["action"]


# Probabilities.


def filled(priorities, alpha=0.6):
    """A replay whose transitions have these priorities; one column, one step each."""
    replay = PrioritisedReplay(
        FLOATS, capacity=100, num_columns=1, n_step=1, alpha=alpha, priority_eps=0.0, pack_frames=False
    )
    rollout = History(FLOATS, columns=1, ends=0.0).play(len(priorities))
    rollout = rollout._replace(priority=torch.tensor(priorities)[:, None])
    add(replay, rollout)
    return replay


def test_golden_probabilities_and_weights():
    """p = (1, 2, 4), alpha 0.6, beta 0.4, by hand."""
    replay = filled([1.0, 2.0, 4.0])
    assert_close(replay.probabilities()[:3], np.array([0.2078, 0.3149, 0.4773]), atol=1e-4, rtol=0)
    batch = replay.sample(1000, beta=0.4, norm="buffer")
    for index, weight in enumerate([1.0, 0.8467, 0.7170]):
        assert_close(batch.weight[batch.index == index].mean().item(), weight, atol=1e-4, rtol=0)


def chi_square(drawn, probabilities, draws):
    counts = np.bincount(drawn, minlength=len(probabilities))
    expected = probabilities * draws
    return ((counts - expected) ** 2 / expected).sum()


def test_draws_follow_the_priorities():
    priorities = np.random.default_rng(0).exponential(size=50).astype(np.float32).tolist()
    replay, generator = filled(priorities), torch.Generator().manual_seed(1)
    drawn = np.concatenate([replay.sample(1, generator=generator).index for _ in range(20_000)])
    wanted = replay.probabilities()[:50]
    assert chi_square(drawn, wanted, 20_000) < 74.9  # the 99% point for 49 degrees of freedom
    uniform = np.random.default_rng(0).integers(0, 50, 20_000)
    assert chi_square(uniform, wanted, 20_000) > 1000  # the control: priorities frozen at 1


def test_new_priorities_count_at_the_next_draw():
    replay = filled([1.0] * 10)
    replay.update(np.arange(10), torch.tensor([0.0] * 9 + [1.0]))
    replay_index = replay.sample(100).index
    assert set(replay_index) == {9}


def test_the_largest_weight_of_a_batch_or_of_the_buffer_is_one():
    replay = filled([0.01] + [1.0] * 20)
    generator = torch.Generator().manual_seed(0)
    batch = replay.sample(8, norm="batch", generator=generator)
    assert 0 not in batch.index
    assert batch.weight.max() == 1
    assert replay.sample(8, norm="buffer", generator=generator).weight.max() < 0.5


def test_a_sum_tree_finds_what_a_search_in_the_running_sum_finds():
    random = np.random.default_rng(0)
    numbers = random.exponential(size=37) * (random.random(37) < 0.7)
    tree = SumTree(37)
    tree[np.arange(37)] = numbers
    assert_close(tree.total, numbers.sum())
    assert tree.lowest == numbers[numbers > 0].min()
    masses = random.random(2000) * tree.total
    assert np.array_equal(tree.find(masses), np.searchsorted(np.cumsum(numbers), masses, side="right"))
    assert numbers[tree.find(np.array([tree.total, tree.total * 2]))].all()  # never at a zero, even beyond the end


# Memory.


def test_a_million_stacked_mini_maps_fit_in_five_gibibytes():
    spec = EnvSpec((72, 96, 16), "uint8", 19, stack=4)
    replay = PrioritisedReplay(spec, capacity=1_000_000, num_columns=32, pack_frames=True)
    replay._frames = replay._make_frames(np.zeros((1,), np.uint8))  # asked for, not touched
    assert replay.nbytes < 5 * 2**30


def test_pictures_that_are_not_binary_are_kept_as_they_are():
    spec = EnvSpec((3, 5, 2), "uint8", 7)
    history, replay = History(spec), replay_of(spec)
    rollout = history.play(8)
    rollout.obs[:] = torch.randint(0, 256, rollout.obs.shape, dtype=torch.uint8)
    add(replay, rollout)
    batch = replay.sample(50)
    for k in range(50):
        c, t = divmod(int(batch.index[k]), replay._length)
        assert torch.equal(batch.obs[k], rollout.obs[t, c])


def test_pictures_that_stop_being_binary_are_refused():
    history, replay = History(PICTURES), replay_of(PICTURES)
    add(replay, history.play(4))
    rollout = history.play(4)
    rollout.obs[2, 0, 0, 0, -1] = 7
    with pytest.raises(ValueError, match="give pack_frames=False"):
        add(replay, rollout)


def test_last_frames_of_overwritten_episodes_give_their_memory_back():
    history, replay = History(PICTURES, ends=0.9), replay_of(PICTURES)
    for _ in range(40):
        add(replay, history.play(10))
    assert len(replay._frames.finals) <= 64
    check_all(replay, history, 3)


def test_a_saved_replay_goes_on_as_if_nothing_had_happened():
    history, replay = History(PICTURES), replay_of(PICTURES)
    add(replay, history.play(15))
    copy = replay_of(PICTURES)
    copy.load_state_dict(replay.state_dict())
    rollout = history.play(15)
    for one in (replay, copy):
        add(one, rollout)
        check_all(one, history, 3)
    batches = [one.sample(64, generator=torch.Generator().manual_seed(2)) for one in (replay, copy)]
    assert np.array_equal(batches[0].index, batches[1].index)
    assert torch.equal(batches[0].last_obs, batches[1].last_obs)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="expected a capacity of at least 24 for 2 columns, got 10"):
        replay_of(PICTURES, capacity=10)
    replay, history = replay_of(PICTURES), History(PICTURES)
    with pytest.raises(ValueError, match="a larger replay_capacity"):
        add(replay, history.play(40))
    with pytest.raises(ValueError, match="rollouts of 2 columns in all"):
        add(replay, history.play(4, actor=1))
    with pytest.raises(ValueError, match="holds no transition yet"):
        replay.sample(4)


@pytest.mark.engine
def test_stacked_mini_maps_of_the_engine_come_back_bit_for_bit():
    import touchline
    from touchline.rollout import Buffer, collect, env_spec

    class Random:
        def act(self, obs, generator):
            return torch.randint(0, 19, (len(obs),), generator=generator), torch.zeros(len(obs))

    envs = touchline.make_vec("academy_empty_goal_close", 3, observation="smm", stack=4, reset_pool=4)
    spec, generator = env_spec(envs), torch.Generator().manual_seed(0)
    assert spec.stack == 4
    replay = PrioritisedReplay(spec, capacity=1200, num_columns=3, n_step=1)
    obs, _ = envs.reset(seed=0)
    played = []
    for _ in range(3):
        rollout, obs = collect(envs, Random(), obs, Buffer(spec, 3, 60), generator)
        played.append(rollout.clone())
        replay.add(rollout, rollout.reward[..., None], torch.ones_like(rollout.reward))
    envs.close()
    assert sum(len(rollout.final_index) for rollout in played) > 3
    batch = replay.sample(200, generator=generator)
    for k in range(200):
        column, slot = divmod(int(batch.index[k]), replay._length)
        rollout, t = played[slot // 60], slot % 60
        assert torch.equal(batch.obs[k], rollout.obs[t, column])
        assert torch.equal(batch.last_obs[k], rollout.next_obs()[t, column])
    assert replay._frames.frames.shape[1] == 72 * 96 * 4 // 8
