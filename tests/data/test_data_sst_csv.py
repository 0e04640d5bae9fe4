"""The corpus of Jain and Wallace's tests of explanation."""

from __future__ import annotations

import pytest

from qkv.config import DataConfig
from qkv.data import load_pairs

HEAD = "text,label,exp_split\n"


def write(folder, text: str) -> DataConfig:
    (folder / "sst_dataset.csv").write_text(text, encoding="utf-8")
    return DataConfig(corpus="sst-words", directory=str(folder))


def test_each_split_has_its_rows_with_text_label_and_line(tmp_path):
    rows = 'a good one,1,train\n"well , no",0,dev\nbad,0,train\nfine,1,test\n'
    config = write(tmp_path, HEAD + rows)
    found = {split: load_pairs(config, split) for split in ("train", "dev", "test")}
    assert [(p.source, p.target, p.line) for p in found["train"]] == [
        ("a good one", "1", 2),
        ("bad", "0", 4),
    ]
    assert found["dev"].sources == ["well , no"]
    assert [len(pairs) for pairs in found.values()] == [2, 1, 1]


def test_a_file_with_other_columns_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"has the columns \['a', 'b'\]; expected: \['text'"):
        load_pairs(write(tmp_path, "a,b\n1,2\n"), "train")


def test_the_real_corpus_has_the_published_sizes(corpus_folder):
    config = DataConfig(corpus="sst-words", directory=corpus_folder("sst"))
    sizes = [len(load_pairs(config, split)) for split in ("train", "dev", "test")]
    assert sizes == [6920, 872, 1821]
