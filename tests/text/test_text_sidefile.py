"""A side's file: it comes back as it was, or not at all."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qkv.config import TokenizerConfig
from qkv.text import TOKENIZERS, Side

TEXTS = ["The cat sat on the mat", "é 中 👩‍👧 \u2028 <s>"]


@pytest.fixture(params=[*TOKENIZERS])
def side(request):
    return Side.train(TokenizerConfig(kind=request.param, size=60, lowercase=True), TEXTS)


def test_a_saved_side_comes_back_with_the_same_ids(side, tmp_path):
    side.save(tmp_path / "side.json")
    loaded = Side.load(tmp_path / "side.json")

    assert loaded.digest == side.digest
    assert loaded.vocabulary.symbols == side.vocabulary.symbols
    for text in [*TEXTS, "unseen ☃ text"]:
        assert loaded.encode(text) == side.encode(text)
        assert loaded.decode(loaded.ids(text)) == side.decode(side.ids(text))


def test_saving_leaves_one_file_and_the_same_bytes_each_time(side, tmp_path):
    side.save(tmp_path / "side.json")
    first = (tmp_path / "side.json").read_bytes()
    Side.load(tmp_path / "side.json").save(tmp_path / "side.json")

    assert (tmp_path / "side.json").read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == ["side.json"]


def test_layout_does_not_matter(side, tmp_path):
    path = tmp_path / "side.json"
    side.save(path)
    record = json.loads(path.read_bytes())
    path.write_text(json.dumps(dict(reversed(record.items()))))

    assert Side.load(path).digest == side.digest


def test_a_file_cut_short_anywhere_is_refused_by_name(side, tmp_path):
    path = tmp_path / "side.json"
    side.save(path)
    whole = path.read_bytes()

    for length in {0, 1, 10, len(whole) // 2, len(whole) - 3}:
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"side\.json: (cut short|not a saved)"):
            Side.load(path)


@pytest.mark.parametrize("key", ["kind", "lowercase", "symbols", "model", "hash"])
def test_an_edited_file_is_refused_by_name(side, tmp_path, key):
    path = tmp_path / "side.json"
    side.save(path)
    record = json.loads(path.read_bytes())
    edited = {
        "kind": "words" if record["kind"] != "words" else "characters",
        "lowercase": False,
        "symbols": record["symbols"][::-1],
        "model": record["model"] + "AAAA",
        "hash": record["hash"][::-1],
    }
    path.write_text(json.dumps(record | {key: edited[key]}))

    with pytest.raises(ValueError, match=r"side\.json: the content does not match its hash"):
        Side.load(path)


@pytest.mark.parametrize("key", ["kind", "lowercase", "symbols", "model"])
def test_a_file_without_a_field_is_refused_by_the_fields_name(side, tmp_path, key):
    path = tmp_path / "side.json"
    side.save(path)
    record = json.loads(path.read_bytes())
    del record[key]
    path.write_text(json.dumps(record))

    with pytest.raises(ValueError, match=f"field '{key}'"):
        Side.load(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1, 2]", "JSON, but not a saved text side"),
        (b'{"format": "other"}', "JSON, but not a saved text side"),
        (b"\xff\xfe\x00\x01", "not UTF-8"),
        (b"hello", "not JSON"),
        (b'{"format": "qkv text side", "version": 99}', "version 99"),
    ],
)
def test_a_foreign_file_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "foreign.json"
    path.write_bytes(content)

    with pytest.raises(ValueError, match=rf"foreign\.json: .*{message}"):
        Side.load(path)


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"gone\.json: cannot be read"):
        Side.load(tmp_path / "gone.json")
    with pytest.raises(ValueError, match="cannot be read"):
        Side.load(tmp_path)


@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
def test_no_changed_byte_goes_unnoticed(tmp_path, place, byte):
    side = Side.train(TokenizerConfig(kind="words"), TEXTS)
    path, copy = tmp_path / "side.json", tmp_path / "copy.json"
    if not path.exists():
        side.save(path)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] = byte
    copy.write_bytes(content)

    try:
        loaded = Side.load(copy)
    except ValueError as error:
        assert "copy.json" in str(error)
    else:
        assert loaded.digest == side.digest  # the byte was white space, or the one that was there
