"""Plays jobs in upstream's own environment and writes down everything that it returns.

Runs inside the throw-away environment that `verify.upstream_python` builds, as a plain file with that Python:
`python upstream_trace.py jobs.json`. It knows nothing of touchline. One engine run yields every observation: the
environment is made with the raw representation, and upstream's own converters make the others from it.

A job: scenario, seeds (engine seeds of successive episodes), left, right, action_set, actions ([T][N]), observations
("simple115v2", "smm"), representation ("raw", or one of upstream's to run its whole stack of wrappers, with stacked),
states (write the engine's state after every step), start (path of an engine state to continue from, or null),
keep (step after which the environment's own snapshot is written, or -1), out (path of the .npz).
"""

import collections
import hashlib
import json
import os
import sys
import zlib

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")

import gym
import numpy as np
from gfootball.env import create_environment, football_env_core, observation_preprocessing, wrappers

PER_SIDE = (
    "ball",
    "ball_direction",
    "ball_rotation",
    "ball_owned_team",
    "ball_owned_player",
    "score",
    "game_mode",
    "steps_left",
    "designated",
    "left_team",
    "left_team_direction",
    "left_team_tired_factor",
    "left_team_active",
    "left_team_yellow_card",
    "left_team_roles",
    "right_team",
    "right_team_direction",
    "right_team_tired_factor",
    "right_team_active",
    "right_team_yellow_card",
    "right_team_roles",
)
PER_AGENT = ("active", "sticky_actions")


class _Frames(gym.Env):
    """Hands out given frames, so that upstream's FrameStack wrapper can be run on them."""

    def __init__(self, shape):
        self.observation_space = gym.spaces.Box(0, 255, shape, np.uint8)
        self.frame = None

    def reset(self):
        return self.frame

    def step(self, action):
        return self.frame, 0.0, False, {}


class _States:
    """Engine states, each stored as its difference from the one before it (a long trace shrinks to a tenth)."""

    def __init__(self):
        self.sizes, self.blobs, self.last = [], [], np.zeros(0, np.uint8)

    def add(self, state):
        new = np.frombuffer(state, np.uint8)
        size = min(len(new), len(self.last))
        delta = new.copy()
        delta[:size] ^= self.last[:size]
        self.blobs.append(zlib.compress(delta.tobytes(), 1))
        self.sizes.append(len(self.blobs[-1]))
        self.last = new

    def arrays(self):
        return {
            "state_sizes": np.array(self.sizes, np.int64),
            "states": np.frombuffer(b"".join(self.blobs), np.uint8),
        }


class _Trace:
    def __init__(self, job):
        self.job = job
        self.columns = collections.defaultdict(list)
        self.states = _States()
        self.stack = None

    def observe(self, observation, first):
        job, columns = self.job, self.columns
        if job["representation"] != "raw":
            columns["observation_sha"].append(_digest(np.asarray(observation)))
            return
        # One dict a side is enough: agents of a side differ only in who they drive.
        for side, agent in (("left", 0), ("right", job["left"])):
            if job[side]:
                for name in PER_SIDE:
                    columns[f"{side}/{name}"].append(np.asarray(observation[agent][name]))
        for name in PER_AGENT:
            columns[name].append(np.asarray([o[name] for o in observation]))
        columns["keys"].append(",".join(sorted(set(observation[0]))))
        if "simple115v2" in job["observations"]:
            columns["simple115v2"].append(wrappers.Simple115StateWrapper.convert_observation(observation, True))
        if "smm" in job["observations"]:
            smm = observation_preprocessing.generate_smm(observation)
            assert smm.shape[1:] == (72, 96, 4) and set(np.unique(smm)) <= {0, 255}
            columns["smm"].append(np.packbits(smm))
            if self.stack is None:
                self.stack = wrappers.FrameStack(_Frames(smm.shape), 4)
            self.stack.env.frame = smm
            columns["smm_stacked_sha"].append(_digest(self.stack.reset() if first else self.stack.step(0)[0]))

    def state(self, env):
        if self.job["states"]:
            self.states.add(_engine(env).get_state(b""))

    def write(self):
        arrays = {name: np.stack(values) for name, values in self.columns.items()}
        if self.job["states"]:
            arrays.update(self.states.arrays())
        path = self.job["out"]
        with open(path + ".part", "wb") as out:
            np.savez_compressed(out, **arrays)
        os.replace(path + ".part", path)


def _digest(array):
    return hashlib.sha1(array.dtype.str.encode() + np.ascontiguousarray(array).tobytes()).hexdigest()


def _engine(env):
    return env.unwrapped._env._env


def _seed_next_episode(env, seed):
    """Upstream has one seed for all episodes of an environment; this gives the next episode its own."""
    config = env.unwrapped._config
    config["game_engine_random_seed"] = seed
    config._values.pop("reverse_team_processing", None)  # upstream derives it from the seed, but only once


def _start_from(env, path):
    """Puts an engine state that carries no pickled Python objects into the environment."""
    core = env.unwrapped._env
    # Right after a reset with an odd seed upstream's own set_state is inexact: it adds mental images of the ball that
    # come out the wrong way round (see driver.cpp). Some steps later the engine has all the images it ever has.
    for _ in range(5):
        core._env.step()
    with open(path, "rb") as state:
        core._env.set_state(state.read())
    core._state = football_env_core.EnvState()
    assert core._retrieve_observation()
    env.unwrapped._cached_observation = None
    return env.unwrapped.observation()


def play(job):
    """Plays one job and writes its trace."""
    env = create_environment(
        env_name=job["scenario"],
        representation=job["representation"],
        stacked=job["stacked"],
        rewards=job["rewards"],
        number_of_left_players_agent_controls=job["left"],
        number_of_right_players_agent_controls=job["right"],
        other_config_options={"game_engine_random_seed": job["seeds"][0], "action_set": job["action_set"]},
    )
    trace = _Trace(job)
    seeds = iter(job["seeds"])

    def begin():
        _seed_next_episode(env, next(seeds))
        observation = env.reset()
        if job["start"]:
            observation = _start_from(env, job["start"])
        trace.columns["episode_number"].append(env.unwrapped._config["episode_number"])
        return observation

    trace.observe(begin(), True)
    trace.state(env)
    for step, actions in enumerate(job["actions"]):
        observation, reward, done, info = env.step(list(actions))
        trace.columns["reward"].append(np.atleast_1d(np.asarray(reward, np.float32)))
        trace.columns["score_reward"].append(np.float32(info["score_reward"]))
        trace.columns["done"].append(bool(done))
        trace.observe(observation, False)
        trace.state(env)
        if step == job["keep"]:
            trace.columns["kept"].append(np.frombuffer(env.get_state(), np.uint8))
        if done:
            try:
                observation = begin()
            except StopIteration:
                break
            trace.observe(observation, True)
            trace.state(env)
    trace.write()
    env.close()


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        for one in json.load(file):
            play(one)
            sys.stdout.write(f"played {one['out']}\n")
            sys.stdout.flush()
