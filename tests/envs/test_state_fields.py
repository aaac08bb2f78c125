"""The names of what the engine's state is made of; the build that notes them is too long for a test."""

import pytest

from touchline.envs.engine import build, state_fields
from touchline.envs.engine.build import EngineError
from touchline.envs.engine.state_fields import Field, describe, noting

FIELDS = [
    Field(0, "std::string GameEnv::ProcessState(EnvState*)", "size"),
    Field(4, "virtual void Player::ProcessState(EnvState*)", "position"),
    Field(16, "void Ball::ProcessState(EnvState*)", "momentum"),
    Field(28, "virtual void Player::ProcessState(EnvState*)", "position"),
]


def test_a_byte_leads_to_the_value_that_it_lies_in():
    assert describe(FIELDS, 16) == "momentum of Ball::ProcessState, byte 0 of it, number 1 of 1 in the state"
    assert describe(FIELDS, 30) == "position of Player::ProcessState, byte 2 of it, number 2 of 2 in the state"
    assert describe(FIELDS[1:], 0) == "before the first field"


def test_every_writing_place_is_noted_and_nothing_else_changes():
    text = "void A::ProcessState(EnvState* state) {\n  state->process(b[1]);\n  b.ProcessState(state);\n}\n"
    noted = noting("a.cpp", text)
    assert 'state->Note(__PRETTY_FUNCTION__, R"_(b[1])_")->process(b[1]);' in noted
    assert noted.replace('Note(__PRETTY_FUNCTION__, R"_(b[1])_")->', "") == text


def test_a_class_of_states_that_is_not_found_is_an_error():
    with pytest.raises(EngineError, match="EnvState is defined 0 times"):
        noting("defines.hpp", "class Other {};")


def test_no_place_in_the_engine_writes_to_a_state_without_a_note():
    root = build.source_dir()
    if root is None:
        pytest.skip("the engine's sources have not been fetched")
    sources = root / "third_party/gfootball_engine/src"
    texts = {path.relative_to(sources).as_posix(): path.read_text() for path in sources.rglob("*.[ch]pp")}
    noted = {name: state_fields.noting(name, text) for name, text in texts.items()}
    places = sum(text.count("state->process(") for text in texts.values())
    assert sum(text.count("state->Note(") for text in noted.values()) == places > 300
    assert "tl_state_fields" in noted["defines.cpp"] and "Note(const char *" in noted["defines.hpp"]
