"""What a policy's text may say, what it may not, and that docs/policy.md says the same."""

import itertools
import re
import tomllib
from pathlib import Path

import pytest

from moderation.categories import CODES
from moderation.comment import Facts
from moderation.errors import InvalidPolicy
from moderation.goals import Goal
from moderation.policy import Policy, default_policy_toml
from moderation.policy_schema import KEYS, Rate, fold, fold_domain, read_settings
from moderation.rules import REASONS

DOCS = Path(__file__).parents[2] / "docs" / "policy.md"


def table_rows(heading):
    """The cells of the first table below a heading of the docs, without its head."""
    section = DOCS.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def test_every_key_is_documented_with_its_default_and_no_other():
    documented = {row[0].strip("`"): row[2] for row in table_rows("Every key")}
    assert set(documented) == set(KEYS)
    for key, default in KEYS.items():
        if key == "stricter.tags":
            assert documented[key] == "required"
        elif default in (None, ()):
            assert documented[key] == "none", key
        else:
            assert tomllib.loads(f"value = {documented[key].strip('`')}")["value"] == default, key


def test_every_reason_is_documented_in_order():
    assert tuple(row[0].strip("`") for row in table_rows("Reasons")) == REASONS


@pytest.mark.parametrize("block", re.findall(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL))
def test_examples_in_the_docs_are_valid(block):
    assert read_settings(block)


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL))
def test_python_in_the_docs_runs(block, capsys):
    exec(compile(block, "docs/policy.md", "exec"), {})
    assert capsys.readouterr().out.startswith("hold\nThere are no measurements")


@pytest.mark.parametrize(
    "toml",
    ["", "# [spam]\n# hold = 0.5", "[spam]", "[spam]\nlive_rate = 0.1", '[[stricter]]\ntags = ["a"]\nspam.hold = 0.5'],
    ids=["empty", "comments", "half a table", "no line", "lines for tags only"],
)
def test_a_policy_without_any_line_is_refused(toml):
    """It would publish everything, and is what a file that is being written looks like."""
    with pytest.raises(InvalidPolicy, match=r"says nothing.* let everything through set hold = 1"):
        read_settings(toml)


def test_what_is_left_out_has_the_documented_defaults():
    settings = read_settings("[hostile]\nhold = 1")
    assert settings.audit == {"publish": 0.01, "reject": 0.05}
    others = [category for code, category in settings.categories.items() if code != "hostile"]
    assert all((category.hold, category.reject) == (None, None) for category in others)
    assert settings.categories["spam"].live_rate == 0.01
    assert settings.categories["off_topic"].when_abstained == "publish"
    assert settings.rules.honeypot == "hold"
    assert settings.rules.links_allowed is None
    assert settings.stricter == ()


def test_every_key_is_read():
    settings = read_settings("""
        [hostile]
        hold = "at most 2 % of good comments"
        reject = 1
        live_rate = 0.2
        [off_topic]
        when_abstained = "hold"
        [audit]
        publish = 0
        reject = 1
        [rules]
        trusted_authors = [" ALICE "]
        banned_authors = ["user-7"]
        blocked_words = ["Buy   Now", "ﬁsh"]
        blocked_words_action = "reject"
        blocked_domains = ["WWW.Example.COM.", "bücher.example"]
        blocked_domains_action = "reject"
        allowed_domains = ["good.example.com"]
        links_allowed = 0
        near_identical_allowed = 2
        author_rate = " 10  per HOUR"
        site_rate = "300 per day"
        first_time = "hold"
        copies = "publish"
        known_spam = "reject"
        honeypot = "reject"
        hostile_counts_as_spam = true
        [[stricter]]
        tags = ["Memorial"]
        hostile.reject = 0.5
    """)
    hostile = settings.categories["hostile"]
    assert isinstance(hostile.hold, Goal)
    assert (hostile.reject, hostile.live_rate) == (1.0, 0.2)
    assert settings.categories["off_topic"].when_abstained == "hold"
    assert settings.audit == {"publish": 0.0, "reject": 1.0}
    rules = settings.rules
    assert rules.trusted_authors == {"alice"}
    assert rules.banned_authors == {"user-7"}
    assert rules.blocked_words == ("buy now", "fish")
    assert rules.blocked_domains == {"example.com", "xn--bcher-kva.example"}
    assert rules.allowed_domains == {"good.example.com"}
    assert (rules.blocked_words_action, rules.blocked_domains_action) == ("reject", "reject")
    assert (rules.links_allowed, rules.near_identical_allowed) == (0, 2)
    assert (rules.author_rate, rules.site_rate) == (Rate(10, "hour"), Rate(300, "day"))
    assert (rules.first_time, rules.honeypot, rules.hostile_counts_as_spam) == ("hold", "reject", True)
    assert rules.copies == "publish"
    assert rules.known_spam == "reject"
    (entry,) = settings.stricter
    assert entry.tags == {"memorial"}
    assert entry.lines["hostile"] == (None, 0.5)


@pytest.mark.parametrize(
    ("toml", "key", "advice"),
    [
        ("[rules]\nauthor_rate = 10", "rules.author_rate:", "10 per hour"),
        ('[rules]\nauthor_rate = "0 per hour"', "rules.author_rate:", "from 1 to 10,000"),
        ('[rules]\nsite_rate = "10001 per day"', "rules.site_rate:", "from 1 to 10,000"),
        ('[rules]\nsite_rate = "10 per week"', "rules.site_rate:", "3 per minute"),
        # Unknown keys, at every depth, with the nearest known one.
        ("[hostil]\nhold = 0.5", "hostil:", "did you mean hostile"),
        ("version = 1", "version:", "use one of hostile, spam"),
        ("[spam]\nhould = 0.5", "spam.hould:", "did you mean hold"),
        ("[audit]\nhold = 0.5", "audit.hold:", "use one of publish, reject"),
        ("[rules]\nbanned_author = []", "rules.banned_author:", "did you mean banned_authors"),
        ('[[stricter]]\ntag = ["a"]', "stricter[1].tag:", "did you mean tags"),
        ('[[stricter]]\ntags = ["a"]\nspam.live_rate = 0.5', "stricter[1].spam.live_rate:", "use one of hold, reject"),
        # Wrong types.
        ("spam = 0.5", "spam:", "write [spam] and below it hold = 0.5"),
        ("audit = 1", "audit:", "write [audit]"),
        ("rules = []", "rules:", "write [rules]"),
        ("[spam]\nhold = true", "spam.hold:", "a number from 0 to 1 or a goal in quotes"),
        ("[spam]\nhold = [0.5]", "spam.hold:", "a number from 0 to 1 or a goal in quotes"),
        ("[spam]\nhold = 1.5", "spam.hold:", "a number from 0 to 1"),
        ("[spam]\nhold = -0.1", "spam.hold:", "a number from 0 to 1"),
        ("[spam]\nhold = nan", "spam.hold:", "a number from 0 to 1"),
        (f"[spam]\nhold = {10**400}", "spam.hold:", "a number from 0 to 1"),
        ('[spam]\nhold = "often"', "spam.hold: 'often':", "at most 1 % of good comments"),
        ('[spam]\nreject = "precision >= 1"', "spam.reject:", "between 0 and 1, both excluded"),
        ("[spam]\nlive_rate = 0", "spam.live_rate:", "such as 0.05"),
        ("[spam]\nlive_rate = 1", "spam.live_rate:", "such as 0.05"),
        ('[off_topic]\nwhen_abstained = "reject"', "off_topic.when_abstained:", '"publish" or "hold"'),
        ('[spam]\nwhen_abstained = "hold"', "spam.when_abstained:", "only off_topic can abstain"),
        ('[audit]\npublish = "1 %"', "audit.publish:", "such as 0.01"),
        ("[audit]\npublish = 1.1", "audit.publish:", "such as 0.01"),
        ('[rules]\nbanned_authors = "bob"', "rules.banned_authors:", 'such as ["one", "two"]'),
        ("[rules]\nbanned_authors = [7]", "rules.banned_authors:", "a text in quotes"),
        ('[rules]\nblocked_words = [" "]', "rules.blocked_words:", "not empty"),
        ('[rules]\nblocked_words_action = "publish"', "rules.blocked_words_action:", '"hold" or "reject"'),
        ('[rules]\nblocked_domains = ["https://a.example/"]', "rules.blocked_domains:", "like example.com"),
        ('[rules]\nblocked_domains = ["*.example.com"]', "rules.blocked_domains:", "like example.com"),
        ('[rules]\nallowed_domains = ["."]', "rules.allowed_domains:", "like example.com"),
        ("[rules]\nlinks_allowed = -1", "rules.links_allowed:", "leave the key out for no limit"),
        ("[rules]\nlinks_allowed = 2.0", "rules.links_allowed:", "whole number"),
        ("[rules]\nlinks_allowed = true", "rules.links_allowed:", "whole number"),
        ("[rules]\nfirst_time = false", "rules.first_time:", '"publish" or "hold"'),
        ('[rules]\nhoneypot = "ban"', "rules.honeypot:", '"publish" or "hold" or "reject"'),
        ('[rules]\nhostile_counts_as_spam = "true"', "rules.hostile_counts_as_spam:", "without quotes"),
        ('[stricter]\ntags = ["a"]', "stricter:", "write [[stricter]]"),
        ("[[stricter]]\nspam.hold = 0.5", "stricter[1].tags:", "at least one tag"),
        ('[[stricter]]\ntags = ["a"]', "stricter[1]:", "add one"),
        ('[[stricter]]\ntags = ["a"]\nspam = 0.5', "stricter[1].spam:", "hold = 0.3"),
        # Contradictions.
        ("[spam]\nhold = 0.5\nreject = 0.4", "spam.reject:", "raise reject to 0.5"),
        ("[spam]\nhold = 0.5\n[[stricter]]\ntags = ['a']\nspam.reject = 0.4", "stricter[1].spam.reject:", "lower hold"),
        (
            "[spam]\nhold = 0.1\n[[stricter]]\ntags = ['a']\nspam.hold = 0.5\nspam.reject = 0.4",
            "stricter[1].spam.reject:",
            "lower hold",
        ),
        ('[rules]\nbanned_authors = ["Bob"]\ntrusted_authors = ["bob"]', "rules.banned_authors:", "remove it from one"),
        (
            '[rules]\nblocked_domains = ["a.example"]\nallowed_domains = ["www.a.example"]',
            "rules.blocked_domains:",
            "remove it from one",
        ),
        # Not TOML.
        ("[spam]\nhold = \n", "TOML", "line 2"),
        ("[spam]\nhold = '''\n", "TOML", "line 3"),
        ("a = " + "9" * 5000, "TOML", "correct that line"),
        ("a = " + "[" * 5000, "nests too deeply", "remove"),
        ("a = '\ud800'", "lone surrogate", "remove it"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_key_and_what_to_do(toml, key, advice):
    with pytest.raises(InvalidPolicy) as caught:
        Policy.parse(toml)
    assert key in str(caught.value)
    assert advice in str(caught.value)


def test_equal_hold_and_reject_lines_are_no_contradiction():
    assert read_settings("[spam]\nhold = 0.5\nreject = 0.5")


def test_a_looser_entry_for_tags_is_no_contradiction():
    assert read_settings("[spam]\nhold = 0.5\n[[stricter]]\ntags = ['a']\nspam.hold = 0.9")


@pytest.mark.parametrize(
    ("domain", "folded"),
    [
        ("www.Example.com", "example.com"),
        ("example.com.", "example.com"),
        ("www.com", "www.com"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("ü" * 100 + ".example", "ü" * 100 + ".example"),
        ("", ""),
    ],
)
def test_domains_are_compared_in_one_form(domain, folded):
    assert fold_domain(domain) == folded


def test_folding_twice_changes_nothing():
    for text in ("Straße", "ΐ", "ﬁﬂ", "Ǆ", "İ", " x\t"):
        assert fold(fold(text)) == fold(text)


class TestDefaultPolicy:
    def test_it_parses_and_every_goal_is_a_goal(self):
        settings = read_settings(default_policy_toml())
        stated = {
            code: tuple(line.stated for line in (lines.hold, lines.reject) if isinstance(line, Goal))
            for code, lines in settings.categories.items()
        }
        assert stated["hostile"] == ("at most 2 % of good comments", "precision >= 0.99")
        assert stated["spam"] == ("at most 1 % of good comments", "precision >= 0.99")
        assert stated["off_topic"] == ("at most 1 % of good comments",)
        for code in ("threat", "severe", "identity_attack"):
            assert stated[code] == ("at most 0.5 % of good comments",)
        assert stated["insult"] == stated["profanity"] == ()

    def test_every_line_has_a_comment_above_it(self):
        lines = [line for line in default_policy_toml().splitlines() if line]
        uncommented = [
            line
            for before, line in itertools.pairwise(lines)
            if not line.startswith("#") and not before.startswith("#") and line != "[rules]" and before != "[rules]"
        ]
        assert uncommented == []

    def test_without_a_model_it_holds(self, comment):
        decision = Policy.parse(default_policy_toml()).decide(comment, None, Facts())
        assert decision.action == "hold"
        assert {reason.name for reason in decision.reasons} <= set(REASONS)
        assert set(CODES) - {reason.name for reason in decision.reasons} == {"insult", "profanity"}


@pytest.fixture
def comment():
    from moderation.comment import Comment

    return Comment(text="Thanks, that helped.")
