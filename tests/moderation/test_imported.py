"""Labels from elsewhere joined with a file of labels: the same as in memory, and all or nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.comment import Comment
from moderation.errors import InvalidRow
from moderation.training.imported import Merged, about_what, merge_into
from moderation.training.labels import Label, read_labels, write_labels

SITE = "https://blog.example"


def label(identity: str | None, text: str = "Words", value: int = 1, source: str = "import:isso") -> Label:
    comment = Comment(text, id=identity, site=SITE)
    return Label(comment, {"spam": value}, "isso", comment.digest(), source)


LABELS = st.lists(
    st.builds(
        label,
        st.sampled_from(["1", "2", "3", None]),
        st.sampled_from(["Words", "Other words"]),
        st.integers(0, 1),
        st.sampled_from(["import:isso", "import"]),
    ),
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(LABELS, LABELS, st.sets(st.sampled_from(["1", "2", "3"])))
def test_it_is_as_if_all_were_in_memory(former, new, silent):
    quiet = {(SITE, identity, "import:isso", "isso") for identity in silent}
    wanted = {about_what(each): each for each in new}
    expected = [each for each in former if about_what(each) not in wanted and about_what(each) not in quiet]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels" / "imported.jsonl"
        write_labels(path, former)
        counted = merge_into(path, new, quiet, write=False)
        assert list(read_labels(path)) == former
        merged = merge_into(path, new, quiet)
        kept = list(read_labels(path))

        assert counted == merged
        assert merged.kept == len(kept)
        assert {about_what(each): each for each in kept} == {about_what(each): each for each in [*expected, *new]}
        assert [each for each in kept if about_what(each) not in wanted] == expected
        assert merge_into(path, new, quiet) == Merged(0, 0, 0, len(kept))
        assert [each.name for each in path.parent.iterdir()] == ["imported.jsonl"]


def test_what_breaks_on_the_way_leaves_everything_as_it_was(tmp_path):
    path = tmp_path / "imported.jsonl"
    write_labels(path, [label("1")])
    before = path.read_bytes()

    def breaking():
        yield label("2")
        raise InvalidRow("export.xml", 7, "is broken")

    with pytest.raises(InvalidRow, match=r"export\.xml:7"):
        merge_into(path, breaking())
    path.write_bytes(before + b"{no label}\n")
    with pytest.raises(InvalidRow, match=":2"):
        merge_into(path, [label("3")])
    assert path.read_bytes() == before + b"{no label}\n"
    assert [each.name for each in tmp_path.iterdir()] == ["imported.jsonl"]
