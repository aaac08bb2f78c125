"""Files are there whole or not at all, however the writing ends."""

import pytest

from touchline.files import whole, write_text


def test_a_file_takes_the_old_ones_place_only_when_it_is_whole(tmp_path):
    path = tmp_path / "table.md"
    write_text(path, "old")
    with pytest.raises(OSError, match="full"), whole(path) as part:
        part.write_text("ne")
        raise OSError("the disk is full")
    assert path.read_text() == "old"
    with whole(path, suffix=".md") as part:
        assert part.suffix == ".md" and part.parent == tmp_path
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [*tmp_path.iterdir()] == [path]


def test_a_text_is_written_in_utf_8_with_the_folders_it_lies_in(tmp_path):
    path = write_text(tmp_path / "a" / "b" / "names.txt", "Müller\n")
    assert path.read_bytes() == "Müller\n".encode()
