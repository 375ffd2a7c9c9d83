"""Anchors survive being packed, are refused where they do not fit, and the shipped ones are small and hold no text."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load as load_arrays

from moderation.bundle import ANCHORS, read_anchors
from moderation.categories import CODES
from moderation.encoder import WIDTH
from moderation.errors import DataError
from moderation.heads import Vectors
from moderation.model import DENSE, MARKS
from moderation.topic import VECTOR_NAMES
from moderation.training.anchors import PARTS, Anchors, Figures, pack, unpack
from moderation.training.rows import fingerprint

MIB = 1_000_000
# Every array that may be shipped: figures, and names of sources and slices. A new one is a decision to take.
NUMBERS = (
    *("windows", "window_scale", "marks", "counts", "foreign", "related", "signed", "signatures", "signature_scale"),
    *("dense", "lexical", "labels", "weights", "sources", "slices", "prints"),
)


def make_figures(rows, seed=0, slices=("short", "long", "set:a")):
    random = np.random.default_rng(seed)
    owners = np.repeat(np.arange(rows), random.integers(1, 3, rows))
    windows = random.normal(size=(len(owners), WIDTH + len(MARKS))).astype(np.float32)
    windows[:, -2:] = 0, 1
    signatures = random.normal(size=(rows, WIDTH + 1)).astype(np.float32)
    signatures[:, WIDTH] = random.random(rows) < 0.5
    signatures *= signatures[:, WIDTH:]
    dense = random.normal(size=(rows, len(DENSE))).astype(np.float32)
    dense[:, DENSE.index("has_topic")] = random.random(rows) < 0.5
    labels = random.choice([0.0, 1.0, np.nan], size=(rows, len(CODES)))
    return Figures(
        Vectors(
            windows,
            owners,
            random.random(rows).astype(np.float32),
            random.normal(size=(rows, len(VECTOR_NAMES))).astype(np.float32),
            signatures,
        ),
        dense,
        random.normal(size=(rows, len(CODES))) * 3,
        labels,
        random.random(rows) + 0.5,
        random.choice(["blog-threads", "seed", "ruddit"], rows),
        [tuple(name for name in slices if random.random() < 0.5) for _ in range(rows)],
        np.array([f"{value:016x}" for value in random.integers(0, 2**63, rows).tolist()], dtype=np.str_),
    )


def make_anchors(rows=20, seed=0, **more):
    return Anchors(*(make_figures(rows + part, seed + part, **more) for part in range(3)))


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 30),
    st.integers(0, 10_000),
    st.lists(st.text(min_size=1, max_size=12), max_size=20, unique=True),
)
def test_what_is_packed_comes_back(rows, seed, slices):
    before = make_anchors(rows, seed, slices=tuple(sorted(slices)))
    after = unpack(pack(before))
    for part in PARTS:
        one, other = getattr(before, part), getattr(after, part)
        assert other.slices == one.slices
        assert (other.prints == one.prints).all()
        assert (other.sources == one.sources).all()
        np.testing.assert_array_equal(other.labels, one.labels)
        np.testing.assert_array_equal(other.vectors.owners, one.vectors.owners)
        assert other.weights == pytest.approx(one.weights, rel=1e-6)
        for name in ("dense", "lexical"):
            assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-3, abs=1e-4)
        for name in ("foreign", "related"):
            assert getattr(other.vectors, name) == pytest.approx(getattr(one.vectors, name), rel=1e-3, abs=1e-4)
        # Eight bits: half a step, a step being a 127th of the largest value of the column.
        for name in ("windows", "signatures"):
            values, found = getattr(one.vectors, name)[:, :WIDTH], getattr(other.vectors, name)[:, :WIDTH]
            step = np.abs(values).max(axis=0, initial=1e-6) / 127
            assert (np.abs(values - found) <= step * 0.501).all()
        assert (other.vectors.signatures[:, WIDTH] == one.vectors.signatures[:, WIDTH]).all()


def test_packing_twice_changes_nothing_more():
    once = pack(unpack(pack(make_anchors())))
    again = pack(unpack(once))
    assert {name: array.tobytes() for name, array in again.items()} == {n: a.tobytes() for n, a in once.items()}


@pytest.mark.parametrize("name", [*NUMBERS, "names"])
@pytest.mark.parametrize("part", ["kept", "frozen"])
def test_a_missing_array_is_refused(part, name):
    arrays = pack(make_anchors())
    del arrays[f"{part}.{name}"]
    with pytest.raises(DataError, match="anchors are not what they should be"):
        unpack(arrays)


@pytest.mark.parametrize(
    "name", ["windows", "marks", "counts", "foreign", "related", "dense", "lexical", "weights", "prints", "sources"]
)
def test_an_array_with_a_row_less_is_refused(name):
    arrays = pack(make_anchors())
    arrays[f"validation.{name}"] = arrays[f"validation.{name}"][:-1]
    with pytest.raises(DataError, match="anchors are not what they should be"):
        unpack(arrays)


@pytest.mark.parametrize("name", ["windows", "marks", "related", "dense", "lexical", "labels", "signatures"])
def test_an_array_with_a_column_less_is_refused(name):
    arrays = pack(make_anchors())
    arrays[f"validation.{name}"] = arrays[f"validation.{name}"][:, :-1]
    with pytest.raises(DataError, match="anchors are not what they should be"):
        unpack(arrays)


@pytest.mark.parametrize("content", [b"", b"no json", b"[]", b'{"sources": []}', b'{"sources": [], "slices": []}'])
def test_names_that_are_none_are_refused(content):
    arrays = pack(make_anchors())
    arrays["kept.names"] = np.frombuffer(content, np.uint8)
    with pytest.raises(DataError, match="anchors are not what they should be"):
        unpack(arrays)


def test_a_row_without_a_window_is_refused():
    arrays = pack(make_anchors())
    arrays["kept.counts"] = arrays["kept.counts"].copy()
    arrays["kept.counts"][:2] = [arrays["kept.counts"][:2].sum(), 0]
    with pytest.raises(DataError, match="no window"):
        unpack(arrays)


def test_taken_rows_are_those_rows():
    figures = make_figures(12)
    some = figures.take(np.array([7, 2, 7]))
    assert some.prints.tolist() == figures.prints[[7, 2, 7]].tolist()
    assert some.slices == [figures.slices[row] for row in (7, 2, 7)]
    windows = figures.vectors.windows[figures.vectors.owners == 2]
    assert (some.vectors.windows[some.vectors.owners == 1] == windows).all()
    assert len(figures.take(np.array([], dtype=np.int64))) == 0


def test_off_topic_is_known_only_beside_a_topic():
    figures = make_figures(40)
    labels = np.ones_like(figures.labels)
    figures = replace(figures, labels=labels)
    assert figures.known("spam").all()
    assert (figures.known("off_topic") == (figures.dense[:, DENSE.index("has_topic")] > 0)).all()


class TestShipped:
    def test_they_are_under_15_mb(self, shipped_bundle):
        assert (shipped_bundle.path / ANCHORS).stat().st_size < 15 * MIB

    def test_they_hold_figures_and_no_text(self, shipped_bundle):
        arrays = load_arrays(read_anchors(shipped_bundle.path))
        assert set(arrays) == {f"{part}.{name}" for part in PARTS for name in (*NUMBERS, "names")}
        for name, array in arrays.items():
            assert array.dtype.kind in "iuf", name
        # Eight bytes a row are left of a text, and sources and slices are names.
        for part in PARTS:
            assert arrays[f"{part}.prints"].dtype == np.uint64
            assert arrays[f"{part}.names"].nbytes < 10_000

    def test_there_is_enough_of_every_category(self, anchors):
        for head in range(len(CODES)):
            for part, least in (("kept", 30), ("validation", 15)):
                labels = getattr(anchors, part).labels[:, head]
                assert min((labels == 0).sum(), (labels == 1).sum()) >= least

    def test_samples_have_no_text_in_common(self, anchors):
        # What has neither letters nor digits, such as a row of hearts, has one fingerprint, whatever it is.
        frozen = set(anchors.frozen.prints.tolist()) - {fingerprint("")}
        assert not frozen & set(anchors.kept.prints.tolist())
        assert not frozen & set(anchors.validation.prints.tolist())
