"""Which labels are new to a champion: by what was said, whatever its date, without a text in the hash."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from moderation.comment import Comment
from moderation.training import known
from moderation.training.known import New, find_new, keep_known
from moderation.training.labels import Label

KEY = b"secret"


def label(number, who="Ada", value=0, *, site="https://a.example"):
    comment = Comment(f"Words {number}", id=None if number is None else f"c{number}", site=site)
    return Label(comment, {"spam": value}, who, comment.digest())


OLD = [label(number) for number in range(30)]


def test_what_was_learned_is_not_new_in_whatever_order_and_a_flood_by_import_is():
    before = {"known": keep_known(OLD, KEY)}
    assert keep_known(OLD[::-1], KEY) == before["known"]
    assert find_new(OLD[::-1], before, KEY).by_account() == {}
    assert find_new([*OLD, *(label(number, "old system") for number in range(50, 90))], before, KEY).by_account() == {
        "old system": 40
    }


def test_who_takes_the_last_word_or_changes_their_mind_says_something_new():
    before = {"known": keep_known(OLD, KEY)}
    assert find_new([replace(OLD[0], moderator="Eve"), *OLD[1:]], before, KEY).by_account() == {"Eve": 1}
    assert find_new([replace(OLD[0], labels={"spam": 1}), *OLD[1:]], before, KEY).by_account() == {"Ada": 1}


def test_labels_without_an_id_are_counted():
    before = {"known": keep_known([label(None)] * 3, KEY)}
    assert find_new([label(None)] * 3, before, KEY).by_account() == {}
    assert find_new([label(None)] * 5, before, KEY).by_account() == {"Ada": 2}


def test_no_text_and_no_name_is_in_a_hash_without_the_key():
    before = {"known": keep_known(OLD, KEY)}
    other = [replace(each, comment=replace(each.comment, text="Other words")) for each in OLD]
    assert keep_known(other, KEY) == before["known"]
    assert find_new(OLD, before, b"guess").by_account() == {"Ada": 30}


def test_of_very_many_a_sample_is_kept_that_counts_as_well(monkeypatch):
    monkeypatch.setattr(known, "MOST_KEPT", 1_000)
    many = [label(number) for number in range(5_000)]
    before = {"known": keep_known(many, KEY)}
    assert len(before["known"]["hashes"]) < 11_000
    assert find_new(many, before, KEY).by_account() == {}
    found = find_new([*many, *(label(number, "Eve") for number in range(5_000, 7_000))], before, KEY).by_account()
    assert found == {"Eve": pytest.approx(2_000, rel=0.2)}


def test_without_hashes_new_is_what_came_later_or_has_no_time():
    until = datetime(2026, 1, 2, tzinfo=UTC)
    dated = [replace(each, at=until + timedelta(hours=number - 10)) for number, each in enumerate(OLD)]
    assert find_new(dated, {"until": until.isoformat()}, KEY) == New(dated[11:])
    assert find_new(OLD, {"until": until.isoformat()}, KEY) == New(OLD)
    assert find_new(dated, {}, KEY) == New(dated)
