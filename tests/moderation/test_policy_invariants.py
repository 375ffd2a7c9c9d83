"""What must hold of decisions whatever the comment, the scores and the facts."""

import dataclasses
import json

from hypothesis import example, given
from hypothesis import strategies as st

from moderation.categories import CODES
from moderation.comment import Author, Comment, Facts, Post, Scores
from moderation.errors import InvalidPolicy
from moderation.policy import AUTHOR_MESSAGES, Policy, default_policy_toml
from moderation.rules import REASONS

STRICTNESS = ["publish", "hold", "reject"]
INFORMATION = {"trusted_author", "encoder_unavailable"}

EVERY_RULE = Policy.parse("""
[hostile]
hold = 0.5
reject = 0.9
[severe]
reject = 0.7
[off_topic]
hold = 0.6
when_abstained = "hold"
[rules]
trusted_authors = ["alice"]
banned_authors = ["mallory"]
blocked_words = ["viagra", "buy now", "c++"]
blocked_words_action = "reject"
blocked_domains = ["casino.example"]
allowed_domains = ["help.casino.example"]
links_allowed = 2
near_identical_allowed = 3
author_rate = "3 per hour"
site_rate = "4 per minute"
first_time = "hold"
honeypot = "reject"
[[stricter]]
tags = ["memorial"]
hostile.hold = 0.2
profanity.hold = 0.3
[[stricter]]
tags = ["memorial", "children"]
hostile.reject = 0.6
""")
TRUSTING = Policy.parse('[spam]\nhold = 0.5\nreject = 0.9\n[rules]\nhoneypot = "publish"\ntrusted_authors = ["alice"]')
OPERATING_POINTS = {
    "format": 1,
    "tiers": {
        "full": {
            "spam": {
                "positives": 100,
                "negatives": 1000,
                "points": [
                    {"threshold": 0.3, "recall": 0.9, "false_positive_rate": 0.03, "false_positive_rate_upper": 0.05},
                    {"threshold": 0.6, "recall": 0.7, "false_positive_rate": 0.0, "false_positive_rate_upper": 0.003},
                ],
            }
        }
    },
}
GOALS = Policy.parse(
    '[spam]\nhold = "at most 5 % of good comments"\nreject = "precision >= 0.99"\nlive_rate = 0.1', OPERATING_POINTS
)
FULL = Facts(bundle="b1", tier="full")

probabilities = st.one_of(st.floats(0, 1), st.sampled_from([0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]))
some_scores = st.builds(
    Scores, **{code: st.none() | probabilities if code == "off_topic" else probabilities for code in CODES}
)
broken_scores = st.builds(Scores, **{code: st.none() | st.floats() for code in CODES})
some_facts = st.builds(
    Facts,
    bundle=st.none() | st.just("b1"),
    tier=st.sampled_from([None, "full", "lexical"]),
    links=st.integers(0, 5),
    domains=st.lists(st.text(max_size=12) | st.sampled_from(["casino.example", "a.help.casino.example"])).map(tuple),
    author_published=st.none() | st.integers(0, 3),
    campaign_size=st.integers(0, 6),
    copied=st.booleans(),
    known_spam=st.booleans(),
    author_recent=st.just(()) | st.tuples(*[st.integers(0, 6)] * 3),
    site_recent=st.just(()) | st.tuples(*[st.integers(0, 6)] * 3),
    encoder_available=st.booleans(),
)
valid_text = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), min_size=1, max_size=60)
some_comments = st.builds(
    Comment,
    text=valid_text.filter(lambda text: text.strip()) | st.sampled_from(["viagra", "ok", "buy   now", "\u0300", "c++"]),
    author=st.none()
    | st.builds(Author, id=st.none() | valid_text, name=st.sampled_from([None, "", "Alice", "mallory"])),
    post=st.none() | st.builds(Post, tags=st.lists(st.sampled_from(["memorial", "children", "cats"])).map(tuple)),
    hints=st.dictionaries(st.sampled_from(["honeypot", "other"]), st.booleans()),
)
policies = st.sampled_from(
    [
        EVERY_RULE,
        TRUSTING,
        GOALS,
        Policy.parse("[spam]\nhold = 1"),
        Policy.parse(default_policy_toml(), OPERATING_POINTS),
    ]
)


@given(policies, some_comments, st.none() | some_scores | broken_scores, some_facts)
def test_any_comment_gets_a_decision_that_follows_from_its_reasons(policy, subject, given_scores, facts):
    decision = policy.decide(subject, given_scores, facts)
    names = [reason.name for reason in decision.reasons]
    assert names == [name for name in REASONS if name in names], "known names, in the fixed order, each once"
    assert set(REASONS) - set(names) <= set(CODES), "only categories without a line are left out"
    acting = [reason for reason in decision.reasons if reason.fired and reason.name not in INFORMATION]
    assert (decision.action == "publish") == (not acting)
    if decision.action == "reject":
        able = {"banned_author", "honeypot", "blocked_words", "blocked_domains"}
        if facts.tier == "full" and facts.encoder_available:
            able |= set(CODES)
        assert able & {reason.name for reason in acting}
    assert decision.author_message == AUTHOR_MESSAGES[decision.action]
    assert all(reason.text.endswith(".") and reason.text.isprintable() for reason in decision.reasons)
    json.dumps([reason.to_dict() for reason in decision.reasons], allow_nan=False)


@given(policies, some_comments, st.none() | some_scores, some_facts)
def test_deciding_again_gives_the_same(policy, subject, given_scores, facts):
    assert policy.decide(subject, given_scores, facts) == policy.decide(subject, given_scores, facts)


@given(policies, some_comments, some_scores, some_facts, st.tuples(st.sampled_from(CODES), probabilities))
def test_raising_a_score_never_loosens_the_action(policy, subject, given_scores, facts, raised):
    code, higher = raised
    before = policy.decide(subject, given_scores, facts)
    if given_scores[code] is None or higher < given_scores[code]:
        return
    after = policy.decide(subject, dataclasses.replace(given_scores, **{code: higher}), facts)
    assert STRICTNESS.index(after.action) >= STRICTNESS.index(before.action)


numbers = st.integers(0, 10).map(lambda tenth: str(tenth / 10))
goals = st.sampled_from(
    [
        '"precision >= 0.9"',
        '"precision >= 0.99"',
        '"recall >= 0.8"',
        '"recall >= 0.99"',
        '"at most 1 % of good comments"',
        '"at most 0.1 % of good comments"',
    ]
)


@st.composite
def line_pairs(draw):
    """Both lines of a category in TOML; two numbers stand in order, since anything else is refused."""
    hold, reject = draw(st.none() | numbers | goals), draw(st.none() | numbers | goals)
    if hold and reject and '"' not in hold + reject:
        hold, reject = sorted((hold, reject), key=float)
    return {name: value for name, value in (("hold", hold), ("reject", reject)) if value}


def toml_lines(pair):
    return "".join(f"{name} = {value}\n" for name, value in pair.items())


def parse_spam_lines(live_rate, base, *entries):
    """A policy with lines for spam and stricter ones for memorial posts; ``None`` where they contradict each other."""
    text = f"[hostile]\nhold = 1\n[spam]\n{toml_lines(base)}live_rate = {live_rate}\n"
    for entry in entries:
        if entry:
            text += f'[[stricter]]\ntags = ["memorial"]\n[stricter.spam]\n{toml_lines(entry)}'
    try:
        return Policy.parse(text, OPERATING_POINTS)
    except InvalidPolicy:
        return None


@given(st.sampled_from([0.02, 0.5]), st.lists(line_pairs(), min_size=3, max_size=3), some_scores, some_facts)
@example(
    0.02,
    [{"reject": '"precision >= 0.99"'}, {"reject": "0.4"}, {"hold": "0.9"}],
    Scores.from_dict(dict.fromkeys(CODES, 0.5)),
    FULL,
)
def test_stricter_tags_never_loosen(live_rate, pairs, given_scores, facts):
    policies = [parse_spam_lines(live_rate, *pairs[:count]) for count in (1, 2, 3)]
    subject = Comment(text="Thanks, that helped.", post=Post(tags=("memorial",)))
    actions = [STRICTNESS.index(policy.decide(subject, given_scores, facts).action) for policy in policies if policy]
    assert actions
    assert actions == sorted(actions)
