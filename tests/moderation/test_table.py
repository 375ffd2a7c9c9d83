"""What the encoder makes of a table's rows is what it makes of their comments, whatever was read together or before."""

import numpy as np
import pytest
from joblib import Memory

from moderation import topic
from moderation.comment import Author, Comment, Post
from moderation.encoder import WIDTH, Encoder
from moderation.errors import DataError
from moderation.model import read_vectors
from moderation.shipped import shipped_folder
from moderation.topic import TopicModel
from moderation.training import table as table_module
from moderation.training.rows import Row
from moderation.training.table import build_table, choose_lesson, read_table

POST = Post(title="On trees", text="Trees grow slowly in the hills and need light, water and time to do so.")
SHOP, GARDEN = Author(name="Shop", url="https://shop.example"), Author(name="Anna", url="https://annas-garden.example")
LONG = "The oven should be hot before the loaf goes in, and the crust turns brown after half an hour. " * 12
COMMENTS = (
    Comment("Thank you, that helped.", author=SHOP),
    Comment(LONG, post=POST),
    Comment("Thank you, that helped.", author=GARDEN),
    Comment("Das ist wirklich nicht gut und ich mag es auch nicht.", author=SHOP),
    Comment("Thank you, that helped."),
    Comment("See https://en.wikipedia.org/wiki/Moss for more", post=POST, author=GARDEN),
    Comment("Thank you, that helped.", author=SHOP),
)


@pytest.fixture(scope="module")
def encoder():
    found = sorted(shipped_folder("models").glob("encoder-*"))
    if not found:
        pytest.skip("no encoder is shipped: there is no folder models/encoder-*")
    return Encoder.load(found[0] / "encoder.onnx", found[0] / "tokenizer.json", threads=1)


@pytest.fixture(scope="module")
def table():
    rows = [Row("set", str(n), comment, {"spam": 0}, f"set:{n}") for n, comment in enumerate(COMMENTS)]
    return build_table(rows, TopicModel(np.ones(1 << topic.BITS, np.float32)), None, jobs=1)


def assert_same(one, other):
    for name in ("windows", "owners", "foreign", "related", "signatures"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name


def test_a_row_is_read_with_its_own_author_though_texts_are_read_once(table, encoder):
    """The encoder reads a text without its author and a signature without the text; put together, nothing is lost."""
    vectors = read_table(table, encoder, None)
    assert_same(vectors, read_vectors(COMMENTS, encoder))
    signed = vectors.signatures[:, WIDTH].tolist()
    assert signed == [1, 0, 1, 1, 0, 1, 1]
    assert np.array_equal(vectors.signatures[0], vectors.signatures[6])
    assert not np.array_equal(vectors.signatures[0], vectors.signatures[2])


def test_what_was_read_before_and_in_other_chunks_is_the_same(table, encoder, tmp_path, monkeypatch):
    expected = read_table(table, encoder, None)
    memory = Memory(tmp_path, verbose=0)
    for _ in range(2):
        assert_same(read_table(table, encoder, memory), expected)
    monkeypatch.setattr(table_module, "_VECTORS_CHUNK", 2)
    assert_same(read_table(table, encoder, memory), expected)


def test_rows_without_any_signature_have_zeros(table, encoder):
    vectors = read_table(table.take(np.array([1, 4])), encoder, None)
    assert vectors.signatures.shape == (2, WIDTH + 1)
    assert not vectors.signatures.any()


def test_our_own_rows_and_those_of_other_places_weigh_what_they_are_told_to():
    """Relative to one another; rows in other languages are not among our own ones, and a share of nought leaves out."""
    kinds = {
        "blog": Row("blog-threads", "1", Comment("one"), {"hostile": 0}, "g:1"),
        "hate": Row("edos", "2", Comment("two"), {"hostile": 1}, "g:2"),
        "ours": Row("seed", "3", Comment("three"), {"hostile": 1}, "g:3", slices=("threat",)),
        "calm": Row("seed", "4", Comment("four"), {"hostile": 1}, "g:4", slices=("polite-cruelty",)),
        "spanish": Row("seed", "5", Comment("cinco"), {"hostile": 0}, "g:5", slices=("languages",)),
        "unknown": Row("blog-threads", "6", Comment("six"), {"spam": 0}, "g:6"),
    }
    made = build_table(list(kinds.values()), TopicModel(np.ones(1 << topic.BITS, np.float32)), None, jobs=1)
    plain = choose_lesson(made, "hostile", 1.0)
    assert plain.index.tolist() == [0, 1, 2, 3, 4]
    assert plain.weights == pytest.approx(np.ones(5))
    chosen = choose_lesson(made, "hostile", 0.3, 0.5, {"polite-cruelty": 0.0, "languages": 0.1})
    assert chosen.index.tolist() == [0, 1, 2, 4]
    assert chosen.weights / chosen.weights[0] == pytest.approx([1, 0.3, 0.5, 0.1])
    with pytest.raises(DataError, match="no head for hostile"):
        choose_lesson(made.take(np.array([0, 2])), "hostile", 1.0, shares={"threat": 0.0})
