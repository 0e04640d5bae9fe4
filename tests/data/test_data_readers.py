"""Reading pairs: every file format, and every way a line can be wrong."""

from __future__ import annotations

import gzip
import lzma

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qkv.data import Pair, read_pairs
from qkv.data.readers import read_columns

GOOD = b"one\tun\ntwo\tdeux\n"


def write(folder, name: str, content: bytes) -> str:
    (folder / name).write_bytes(content)
    return str(folder / name)


def texts(pairs) -> list[tuple[str, str]]:
    return [(pair.source, pair.target) for pair in pairs]


def test_a_tsv_is_read_in_order_with_line_numbers(tmp_path):
    pairs = read_pairs((write(tmp_path, "a.tsv", GOOD),))

    assert list(pairs) == [Pair("one", "un", 1, ("un",)), Pair("two", "deux", 2, ("deux",))]
    assert (pairs.report.read, pairs.report.kept, pairs.report.problems) == (2, 2, 0)
    assert (pairs.sources, pairs.targets) == (["one", "two"], ["un", "deux"])


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        GOOD.removesuffix(b"\n"),
        GOOD.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + GOOD,
        gzip.compress(GOOD),
        lzma.compress(GOOD),
        gzip.compress(b"\xef\xbb\xbf" + GOOD.replace(b"\n", b"\r\n")),
    ],
    ids=["plain", "no last newline", "CRLF", "BOM", "gzip", "xz", "gzip BOM CRLF"],
)
def test_every_container_gives_the_same_pairs(tmp_path, content):
    # The container is told by its content, so a name without .gz does no harm.
    assert texts(read_pairs((write(tmp_path, "a", content),))) == [("one", "un"), ("two", "deux")]


def test_two_parallel_files_are_read_line_by_line(tmp_path):
    source = write(tmp_path, "a.en", b"one\ntwo\n")
    target = write(tmp_path, "a.fr", lzma.compress(b"un\r\ndeux"))

    assert texts(read_pairs((source, target))) == [("one", "un"), ("two", "deux")]


SAFE = st.text(st.characters(codec="utf-8", exclude_characters="\n\r\t\0"), max_size=12).filter(
    lambda text: bool(text.strip())
)


@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(rows=st.lists(st.tuples(SAFE, SAFE), min_size=1, max_size=6))
def test_any_unicode_line_comes_back_as_it_was(tmp_path, rows):
    if rows[0][0].startswith("\ufeff"):  # at the start of a file that is a byte-order mark
        return
    tsv = "".join(f"{source}\t{target}\n" for source, target in rows).encode()
    source = "".join(f"{source}\n" for source, _ in rows).encode()
    target = "".join(f"{target}\n" for _, target in rows).encode()

    assert texts(read_pairs((write(tmp_path, "a.tsv", tsv),))) == rows
    if not rows[0][1].startswith("\ufeff"):
        both = (write(tmp_path, "a.x", source), write(tmp_path, "a.y", target))
        assert texts(read_pairs(both)) == rows


def test_nothing_but_a_newline_ends_a_line(tmp_path):
    odd = "o\rn\x0b\x0c\x1c\x85\u2028\u2029e"

    assert texts(read_pairs((write(tmp_path, "a.tsv", f"{odd}\t{odd}\r\n".encode()),))) == [
        (odd, odd)
    ]


BAD = {
    "empty source": b"\tun\n",
    "empty target": b"one\t \n",
    "wrong number of columns": b"one\tun\tuno\n",
    "not UTF-8": "été\tsummer\n".encode("latin-1"),
    "NUL": b"o\0ne\tun\n",
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_line_is_refused_with_file_line_kind_and_way_out(tmp_path, kind):
    file = write(tmp_path, "a.tsv", GOOD + BAD[kind] + GOOD)

    with pytest.raises(ValueError) as caught:
        read_pairs((file,))
    assert f"{file}:3: {kind}" in str(caught.value)
    assert f"1 x {kind}" in str(caught.value)
    assert 'data.invalid = "skip"' in str(caught.value)


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_line_is_skipped_counted_and_the_others_keep_their_numbers(tmp_path, kind):
    pairs = read_pairs((write(tmp_path, "a.tsv", GOOD + BAD[kind] + GOOD),), "skip")

    assert [pair.line for pair in pairs] == [1, 2, 4, 5]
    assert pairs.report.counts == {kind: 1}
    assert (pairs.report.read, pairs.report.kept) == (5, 4)
    assert f"a.tsv:3: {kind}" in str(pairs.report)


def test_a_line_without_a_tab_is_a_wrong_number_of_columns(tmp_path):
    with pytest.raises(ValueError, match=r"a\.tsv:1: wrong number of columns: 1, wanted 2"):
        read_pairs((write(tmp_path, "a.tsv", b"one un\n"),))


def test_all_problems_are_counted_and_the_first_three_of_each_kind_shown(tmp_path):
    content = b"".join(BAD.values()) * 5 + GOOD

    report = read_pairs((write(tmp_path, "a.tsv", content),), "skip").report

    assert report.counts == dict.fromkeys(BAD, 5)
    assert report.problems == 25
    assert len(report.examples) == 15
    assert [problem.line for problem in report.examples if problem.kind == "NUL"] == [5, 10, 15]


@pytest.mark.parametrize("short", ["source", "target"])
def test_files_of_unequal_length_are_refused_and_name_the_shorter(tmp_path, short):
    long, cut = b"one\ntwo\nthree\n", b"un\n"
    source = write(tmp_path, "a.en", cut if short == "source" else long)
    target = write(tmp_path, "a.fr", cut if short == "target" else long)
    ended, lone = (source, target) if short == "source" else (target, source)

    with pytest.raises(ValueError, match="2 x line without partner") as caught:
        read_pairs((source, target))
    assert f"{lone}:2: line without partner: {ended} ends before" in str(caught.value)
    assert len(read_pairs((source, target), "skip")) == 1


def test_bad_lines_of_parallel_files_name_the_file_they_are_in(tmp_path):
    source = write(tmp_path, "a.en", b"one\n\nthree\nfour\n")
    target = write(tmp_path, "a.fr", b"un\ndeux\ntr\xffois\nqua\0tre\n")

    report = read_pairs((source, target), "skip").report

    assert [(problem.file, problem.line, problem.kind) for problem in report.examples] == [
        (source, 2, "empty source"),
        (target, 3, "not UTF-8"),
        (target, 4, "NUL"),
    ]


def test_two_tsv_files_are_not_taken_for_parallel_files(tmp_path):
    files = (write(tmp_path, "a.tsv", GOOD), write(tmp_path, "b.tsv", GOOD))

    for invalid in ("refuse", "skip"):
        with pytest.raises(ValueError, match=r"a\.tsv:1: tabs in both files: .* Give one"):
            read_pairs(files, invalid)


def test_a_wrong_encoding_says_which_byte(tmp_path):
    file = write(tmp_path, "a.tsv", b"one\tun\ncaf\xe9\tx\n")

    with pytest.raises(ValueError, match=r"a\.tsv:2: not UTF-8: byte 4 of the line is 0xe9"):
        read_pairs((file,))


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_never_taken_for_text(tmp_path, codec):
    with pytest.raises(ValueError, match=r"UTF-16|NUL"):
        read_pairs((write(tmp_path, "a.tsv", GOOD.decode().encode(codec)),))


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_a_compressed_file_that_is_cut_short_or_damaged_is_refused(tmp_path, compress, part):
    whole = compress(GOOD * 50)
    place = int(part * len(whole))
    damaged = whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]

    for content in (whole[:place], damaged):
        with pytest.raises(ValueError, match=r"a\.tsv: the compressed file is damaged"):
            read_pairs((write(tmp_path, "a.tsv", content),))


def test_a_missing_file_is_named_with_its_near_names(tmp_path):
    write(tmp_path, "train.en", b"x\n")
    write(tmp_path, "notes.md", b"x\n")

    with pytest.raises(ValueError, match=r"no such file: .*\.eng; did you mean .*train\.en\?"):
        read_pairs((str(tmp_path / "train.eng"),))
    with pytest.raises(ValueError, match=r"there is no folder .*nowhere$"):
        read_pairs((str(tmp_path / "nowhere" / "a.tsv"),))


def test_a_folder_in_place_of_a_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot be read"):
        read_pairs((str(tmp_path),))


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_no_pairs_is_refused_even_when_skipping(tmp_path, content):
    with pytest.raises(ValueError, match="no pairs"):
        read_pairs((write(tmp_path, "a.tsv", content),), "skip")


@pytest.mark.parametrize("files", [(), ("a", "b", "c")])
def test_other_numbers_of_files_are_refused(files):
    with pytest.raises(ValueError, match=f"{len(files)} files given"):
        read_pairs(files)


def test_columns_may_have_other_names_and_the_last_may_repeat(tmp_path):
    file = write(tmp_path, "a.tsv", b"a\tb\tc\nd\te\n")

    rows, _ = read_columns(file, ("word", "sound"), repeat_last=True)

    assert rows == [(1, ("a", "b", "c")), (2, ("d", "e"))]
    with pytest.raises(ValueError, match=r"2, wanted 3 \(x<TAB>y<TAB>z\)"):
        read_columns(file, ("x", "y", "z"))


def test_pairs_count_and_slice_like_a_sequence(tmp_path):
    pairs = read_pairs((write(tmp_path, "a.tsv", GOOD),))

    assert len(pairs) == 2
    assert pairs[0].source == "one"
    assert pairs[1:] == (pairs[1],)


def test_an_empty_line_is_called_one(tmp_path: Path):
    (tmp_path / "train.tsv").write_text("a\tb\n\n")
    with pytest.raises(ValueError, match=r"train.tsv:2: .* 1 \(the line is empty\), wanted 2"):
        read_pairs([str(tmp_path / "train.tsv")])
