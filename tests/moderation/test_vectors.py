"""What the encoder has read is kept, without texts, for as long as there is a label that needs it."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from moderation.comment import Author, Comment, Post
from moderation.encoder import Encoder
from moderation.training import vectors as kept_vectors
from moderation.training.rows import Row
from moderation.training.table import build_table, read_table
from moderation.training.vectors import forget_vectors, read_kept

POST = Post("p1", "Growing tomatoes", text="How I grow tomatoes on a balcony, with little water and much sun.")
TEXTS = ("Well said, thank you.", "See https://shop.example now!", "Where is the secretword from?", "Nice. " * 300)


@pytest.fixture(scope="module")
def full(make_full):
    return make_full()


@pytest.fixture(scope="module")
def encoder(full):
    return full.full.encoder


@pytest.fixture
def table(full):
    def make(*texts, **more):
        rows = [Row("labels", str(number), Comment(text, **more), {}, "") for number, text in enumerate(texts)]
        return build_table(rows, full.topic, None, 1)

    return make


@pytest.fixture
def read(monkeypatch):
    """The texts that the encoder is given, in order; it reads them as ever."""
    seen = []
    real = Encoder.read_many

    def count(self, readables):
        readables = list(readables)
        seen.extend(readables)
        return real(self, readables)

    monkeypatch.setattr(Encoder, "read_many", count)
    return seen


def same(one, other):
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("windows", "owners", "foreign", "related", "signatures")
    )


def stored(folder):
    (path,) = folder.iterdir()
    return path


def test_it_is_what_the_encoder_makes_of_them_in_the_order_asked_for(table, encoder, tmp_path):
    asked = table(*TEXTS, TEXTS[0], post=POST, author=Author("Anna", url="https://anna.example"))
    plain = read_table(asked, encoder, None)
    assert same(read_kept(asked, encoder, tmp_path), plain)
    assert same(read_kept(asked, encoder, tmp_path), plain)
    turned = asked.take(np.array([3, 1, 0]))
    assert same(read_kept(turned, encoder, tmp_path), read_table(turned, encoder, None))
    assert same(read_kept(asked, encoder, None), plain)


def test_nothing_is_read_twice(table, encoder, tmp_path, read):
    read_kept(table(TEXTS[0], TEXTS[1], TEXTS[0]), encoder, tmp_path)
    assert len(read) == 2
    read_kept(table(*TEXTS[:3]), encoder, tmp_path)
    assert len(read) == 3


def test_a_comment_under_another_post_is_another(table, encoder, tmp_path, read):
    read_kept(table(TEXTS[0]), encoder, tmp_path)
    read_kept(table(TEXTS[0], post=POST), encoder, tmp_path)
    assert len(read) == 2


def test_what_no_label_needs_is_gone(table, encoder, tmp_path):
    read_kept(table(*TEXTS[:3]), encoder, tmp_path)
    keys = load_file(stored(tmp_path))["keys"]
    assert len(keys) == 3
    read_kept(table(TEXTS[1]), encoder, tmp_path)
    left = load_file(stored(tmp_path))
    assert left["keys"].tolist() == keys[1:2].tolist()
    assert len(left["owners"]) == len(left["windows"]) == 1


def test_the_file_holds_no_text_and_is_for_its_owner_alone(table, encoder, tmp_path):
    read_kept(table(*TEXTS, post=POST), encoder, tmp_path)
    path = stored(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    content = path.read_bytes().lower()
    assert not [word for word in (b"secretword", b"tomatoes", b"shop.example") if word in content]
    assert {array.dtype.kind for array in load_file(path).values()} <= {"f", "i", "u"}


@pytest.mark.parametrize("broken", ["no file of arrays", "half", "other arrays", "a row too few", "owners"])
def test_a_file_that_cannot_be_read_is_made_anew(table, encoder, tmp_path, broken):
    asked = table(*TEXTS[:3])
    plain = read_kept(asked, encoder, tmp_path)
    path = stored(tmp_path)
    arrays = load_file(path)
    match broken:
        case "no file of arrays":
            path.write_bytes(b"not what it was")
        case "half":
            path.write_bytes(path.read_bytes()[:-100])
        case "other arrays":
            save_file({"keys": arrays["keys"]}, path)
        case "a row too few":
            save_file({**arrays, "foreign": arrays["foreign"][:-1]}, path)
        case "owners":
            save_file({**arrays, "owners": arrays["owners"] * 0}, path)
    assert same(read_kept(asked, encoder, tmp_path), plain)
    assert same(read_kept(asked, encoder, tmp_path), plain)
    assert load_file(stored(tmp_path))["foreign"].shape == (3,)


def test_a_run_that_was_cut_off_goes_on_where_it_was(table, encoder, tmp_path, read, monkeypatch):
    monkeypatch.setattr(kept_vectors, "_AT_ONCE", 1)
    monkeypatch.setattr(kept_vectors, "_SAVE_EVERY", 1)

    def cut(step):
        if "2 of 3" in step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_kept(table(*TEXTS[:3]), encoder, tmp_path, cut)
    assert len(read) == 2
    read_kept(table(*TEXTS[:3]), encoder, tmp_path)
    assert len(read) == 3


def test_files_of_another_encoder_and_of_a_run_cut_off_while_writing_go(table, encoder, tmp_path):
    for name in ("vectors-0123456789abcdef.safetensors", ".vectors-0123456789abcdef.safetensors"):
        (tmp_path / name).write_bytes(b"old")
    read_kept(table(TEXTS[0]), encoder, tmp_path)
    assert stored(tmp_path).name != "vectors-0123456789abcdef.safetensors"
    forget_vectors(tmp_path)
    assert list(tmp_path.iterdir()) == []
