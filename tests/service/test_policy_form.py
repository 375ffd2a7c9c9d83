"""The form of a policy: it knows every key, says what the text says, and leaves what was not touched as it was."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.categories import CODES
from moderation.errors import InvalidPolicy
from moderation.policy import Policy, default_policy_toml
from moderation.policy_schema import KEYS
from service.policies import find_place
from service.review.policy_form import FIELDS, LINES, count_entries, field_of, fill, write

WHOLE = """# Ours.
[hostile]
hold = "at most 2 % of good comments"  # measured
reject = 0.95
[spam]
hold = 1
[rules]
# People who know us.
trusted_authors = ["ann", "bob, the builder"]
links_allowed = 3
first_time = "hold"
hostile_counts_as_spam = true

[[stricter]]
tags = ["memorial", "obituary"]  # with care
[stricter.hostile]
hold = 0.2

[[stricter]]
tags = ["kids"]
[stricter.profanity]
hold = 0.3
reject = 0.9
"""


def test_it_has_a_field_for_every_key_and_no_other():
    wanted = {key for key in KEYS if not key.startswith(("CATEGORY.", "stricter."))}
    wanted |= {f"{code}.{key.partition('.')[2]}" for code in CODES for key in KEYS if key.startswith("CATEGORY.")}
    assert set(FIELDS) == wanted
    assert {f"stricter.CATEGORY.{name}" for name in LINES} | {"stricter.tags"} == {
        key for key in KEYS if key.startswith("stricter.")
    }
    assert all(field.kind == "choice" or not field.choices for field in FIELDS.values())


@pytest.mark.parametrize("toml", [WHOLE, default_policy_toml(), "[spam]\nhold = 0.5\n", "spam.hold = 0.5\n"])
def test_what_was_not_touched_is_the_same_to_the_last_byte(toml):
    assert write(toml, fill(toml)) == toml


def test_what_was_changed_is_changed_and_comments_stay():
    filled = fill(WHOLE) | {
        "hostile.hold": "0,4",
        "spam.hold": " 90 % ",
        "rules.links_allowed": "",
        "audit.reject": "0.5",
    }
    filled |= {"rules.trusted_authors": "ann\r\n\r\n cleo \r\n", "threat.hold": "recall >= 0.9"}
    filled.pop("rules.hostile_counts_as_spam")  # a box that is not ticked is not sent
    toml = write(WHOLE, filled)
    settings = Policy.parse(toml).settings

    assert settings.categories["hostile"].hold == 0.4
    assert settings.categories["spam"].hold == 0.9
    assert settings.categories["threat"].hold.stated == "recall >= 0.9"
    assert settings.rules.links_allowed is None
    assert settings.rules.trusted_authors == {"ann", "cleo"}
    assert settings.audit == {"publish": 0.01, "reject": 0.5}
    assert not settings.rules.hostile_counts_as_spam
    assert all(comment in toml for comment in ("# Ours.", "# measured", "# People who know us.", "# with care"))
    assert len(settings.stricter) == 2


def test_stricter_entries_come_and_go():
    filled = fill(WHOLE)
    assert count_entries(filled) == 2
    changed = filled | {"stricter.0.spam.hold": "0.1", "stricter.1.tags": "kids,  school"}
    stricter = Policy.parse(write(WHOLE, changed)).settings.stricter
    assert [sorted(entry.tags) for entry in stricter] == [["memorial", "obituary"], ["kids", "school"]]
    assert stricter[0].lines["spam"] == (0.1, None)
    assert "# with care" in write(WHOLE, changed)

    more = filled | {"stricter.2.tags": "news", "stricter.2.spam.hold": "0.2"}
    assert [sorted(entry.tags) for entry in Policy.parse(write(WHOLE, more)).settings.stricter][2] == ["news"]

    fewer = {key: "" if key.startswith("stricter.0.") else value for key, value in filled.items()}
    assert [sorted(entry.tags) for entry in Policy.parse(write(WHOLE, fewer)).settings.stricter] == [["kids"]]
    none = {key: "" if key.startswith("stricter.") else value for key, value in filled.items()}
    assert Policy.parse(write(WHOLE, none)).settings.stricter == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hostile.hold", "often"),
        ("hostile.hold", "7"),
        ("hostile.live_rate", "1"),
        ("rules.links_allowed", "-1"),
        ("rules.links_allowed", "many"),
        ("rules.blocked_domains", "https://x.example/"),
        ("rules.first_time", "reject"),
        ("rules.copies", "reject"),
        ("rules.known_spam", "ignore"),
        ("audit.publish", "2"),
        ("stricter.0.tags", ""),
        ("stricter.1.profanity.reject", "0.1"),
    ],
)
def test_what_cannot_be_meant_is_named_by_its_field(name, value):
    toml = write(WHOLE, fill(WHOLE) | {name: value})
    with pytest.raises(InvalidPolicy) as caught:
        Policy.parse(toml)
    assert field_of(find_place(caught.value, toml).key) == name


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(sorted(key for key, field in FIELDS.items() if field.kind in ("line", "text"))), WORDS
    ),
    st.lists(WORDS, max_size=3),
    st.sampled_from([WHOLE, default_policy_toml(), "[spam]\nhold = 0.5\n"]),
)
def test_whatever_is_filled_in_the_text_stays_toml_and_says_it(texts, words, base):
    filled = fill(base) | texts | {"rules.blocked_words": "\n".join(words)}
    written = write(base, filled)
    again = fill(written)
    assert tomllib.loads(written).get("rules", {}).get("blocked_words", []) == words
    for key, said in texts.items():
        number = said.replace(",", ".").rstrip("%")
        assert again[key] == said or number.replace(".", "").isdecimal()
