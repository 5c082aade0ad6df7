import json
import os
import socket
import sys

import pytest

from senet.errors import FileError
from senet.foreign import (
    MAX_TEXT,
    clean_text,
    escape_text,
    is_count,
    name_class,
    open_file,
    plain_fields,
    read_file,
    read_json,
    read_number,
    read_text,
)

POSIX = pytest.mark.skipif(os.name != "posix", reason="there are no such files")


def make_special(path, kind):
    """A file of a kind that is no regular one, and what it is called."""
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "socket":
            os.chdir(path.parent)  # its name must be short
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(path.name)
        case "device":
            path.symlink_to("/dev/zero")
        case "folder":
            path.mkdir()
        case "file of the system":
            path.symlink_to("/proc/self/environ")
    return kind


SPECIAL = [
    *("pipe", "socket", "device", "folder"),
    pytest.param(
        "file of the system",
        marks=pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc"),
    ),
]


@POSIX
@pytest.mark.parametrize("kind", SPECIAL)
def test_only_regular_files_are_opened(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "file"
    make_special(path, kind)
    with pytest.raises(FileError, match=f"It is a {kind}, and only regular files are read"):
        open_file(path)
    with pytest.raises(ValueError, match="is no file of up to"):
        read_text(path)


@POSIX
def test_what_becomes_a_pipe_between_two_looks_is_not_waited_for(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    regular = os.stat(path)
    path.unlink()
    os.mkfifo(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", lambda _: regular)
        with pytest.raises(FileError, match="It is a pipe"):
            open_file(path)


def test_a_name_with_a_zero_byte_is_that_of_no_file():
    with pytest.raises(FileError, match="There can be no such file"):
        read_file("a\0b", 10)


def test_of_a_file_no_more_is_read_than_it_may_have(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"123456")
    assert read_file(path, 6) == b"123456"
    with pytest.raises(FileError, match="larger than 5 bytes"):
        read_file(path, 5)
    whole = os.fstat

    looks = []

    def grow(descriptor):
        found = whole(descriptor)
        looks.append(found)
        if len(looks) == 2:  # the first look is at its kind
            path.write_bytes(b"123456789")
        return found

    monkeypatch.setattr(os, "fstat", grow)
    assert read_file(path, 200) == b"123456"


def test_text_has_no_control_characters_and_is_not_long():
    assert clean_text("a\x1b[31mb\nc") == "a?[31mb?c"
    assert clean_text(None) == "-"
    short = clean_text("x" * 500 + "end")
    assert len(short) == MAX_TEXT
    assert short.startswith("xxx")
    assert short.endswith("end")
    assert clean_text("x" * 500, 500) == "x" * 500


@pytest.mark.parametrize(
    ("given", "number"),
    [
        ("1.5", 1.5),
        (2, 2.0),
        ("nan", None),
        ("1e999", None),
        (1e15, None),
        (None, None),
        ([], None),
    ],
)
def test_numbers_are_finite_and_of_a_sensible_size(given, number):
    assert read_number(given) == number


def test_counts_are_whole_numbers_and_no_truth_values():
    assert [is_count(given) for given in (0, 7, True, -1, 1.0, "3", 2**63)] == [
        *(True, True, False, False, False, False, False),
    ]


def test_fields_become_text_and_numbers():
    given = {"a": 1, "b\n": [1, 2], "c": None}
    assert plain_fields(given) == {"a": 1, "b?": "[1, 2]", "c": None}
    assert plain_fields(given, only=("a",)) == {"a": 1}
    assert plain_fields("no record") == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is damaged"),
        ("[1]", "holds no record"),
        ("[" * 100_000, "nested too deeply"),
        (json.dumps(dict(text="x" * 100)), "no file of up to 50 bytes"),
    ],
)
def test_a_record_that_is_none_is_named(tmp_path, text, said):
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=said) as error:
        read_json(path, 100_001 if "nested" in said else 50)
    assert repr(str(path)) in str(error.value)


def test_numbers_that_are_not_finite_are_none(tmp_path):
    path = tmp_path / "record.json"
    path.write_text('{"a": NaN, "b": 1e999, "c": 1.5}')
    assert read_json(path) == {"a": None, "b": None, "c": 1.5}


def test_names_are_escaped_where_they_are_no_text_and_nowhere_else():
    assert escape_text("caf\udce9/a\nb\x1b.jpg") == r"caf\xe9/a\nb\x1b.jpg"
    assert escape_text("\ud800 \u2028") == r"\ud800 \u2028"
    for name in ("Käse", "猫 1", "क\u200cष", "👩\u200d🔬", "a\u00a0b"):
        assert escape_text(name) == name


def test_names_of_classes_are_composed():
    assert name_class("Ka\u0308se") == name_class("Käse") == "Käse"
    assert name_class("caf\udce9") == r"caf\xe9"
