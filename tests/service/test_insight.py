"""The figures of the insight page: the statistics by hand and by chance, the counts on both databases."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta, timezone
from statistics import NormalDist

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.insight import LEAST_SHARED, Looked, agreement, estimate, exact, wilson
from service.review.insight import _estimate
from service.store import AuditCount, AuditDraw, Judge, Judgement, Store, Target

counts = st.integers(1, 500).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of)))


class TestShares:
    def test_wilson_as_in_the_textbook(self):
        """Newcombe 1998, table I: 81 of 263 is 0.2553 to 0.3662, 0 of 20 is 0 to 0.1611, 15 of 148 0.0624 to 0.1605."""
        for (hits, of), (low, high) in {
            (81, 263): (0.2553, 0.3662),
            (15, 148): (0.0624, 0.1605),
            (0, 20): (0.0, 0.1611),
            (1, 29): (0.0061, 0.1718),
        }.items():
            share = wilson(hits, of)
            assert share.value == hits / of
            assert (share.low, share.high) == pytest.approx((low, high), abs=5e-5)

    def test_clopper_and_pearson_as_in_the_textbook(self):
        """The same table: 81 of 263 is 0.2527 to 0.3676, 0 of 20 is 0 to 0.1684; and the rule of three, exactly."""
        for (hits, of), (low, high) in {
            (81, 263): (0.2527, 0.3676),
            (0, 20): (0, 0.1684),
            (29, 29): (0.8806, 1),
        }.items():
            assert (exact(hits, of).low, exact(hits, of).high) == pytest.approx((low, high), abs=5e-5)
        assert exact(0, 50).high == pytest.approx(1 - 0.025 ** (1 / 50))

    @given(counts)
    def test_intervals_hold_the_share_and_mirror_its_opposite(self, pair):
        hits, of = pair
        for interval in (wilson, exact):
            share, other = interval(hits, of), interval(of - hits, of)
            assert 0 <= share.low <= share.value <= share.high <= 1
            assert (share.low, share.high) == pytest.approx((1 - other.high, 1 - other.low), abs=1e-9)

    @given(counts)
    def test_wilsons_ends_are_where_the_score_test_just_refuses(self, pair):
        """Its definition: at each end the share is 1.96 standard errors away, with the error that holds there."""
        hits, of = pair
        share = wilson(hits, of)
        for end in (share.low, share.high):
            if 0 < end < 1:
                away = abs(share.value - end) / math.sqrt(end * (1 - end) / of)
                assert away == pytest.approx(NormalDist().inv_cdf(0.975), rel=1e-6)

    @pytest.mark.parametrize(("hits", "of"), [(1, 0), (-1, 3), (4, 3)])
    def test_what_is_no_share_is_refused(self, hits, of):
        for interval in (wilson, exact):
            with pytest.raises(ValueError, match="no share"):
                interval(hits, of)


class TestEstimate:
    def test_by_hand(self):
        """Of 40 picked with 1 in 10, 2 were wrong; of 100 that all were looked at, 30: 20 + 30 of 400 + 100."""
        found = estimate([Looked(0.1, 40, 2), Looked(1.0, 100, 30)])

        assert found.judged == 140
        assert found.wrong == 32
        assert found.total == pytest.approx(50)
        assert found.share.value == pytest.approx(0.1)
        # Kish: 500² / (40 x 100 + 100); Hájek's variance: 0.9 x 100 x (2 x 0.81 + 38 x 0.01) / 500².
        kish, variance = 500**2 / 4100, 90 * 2 / 500**2
        assert found.effective == pytest.approx(min(kish, 0.09 / variance))
        assert found.share == exact(found.effective * found.share.value, found.effective)

    @given(counts, st.floats(0.001, 1))
    def test_with_one_probability_it_is_the_plain_share(self, pair, inclusion):
        wrong, of = pair
        found = estimate([Looked(inclusion, of, wrong)])

        assert found.share.value == pytest.approx(wrong / of)
        assert found.total == pytest.approx(wrong / inclusion)
        assert found.effective == pytest.approx(of)
        assert (found.share.low, found.share.high) == pytest.approx((exact(wrong, of).low, exact(wrong, of).high))

    @given(st.lists(st.tuples(st.floats(0.001, 1), counts), min_size=1, max_size=6))
    def test_unequal_chances_never_tell_more_than_equal_ones(self, sample):
        found = estimate([Looked(inclusion, of, wrong) for inclusion, (wrong, of) in sample])

        assert 0 < found.effective <= found.judged * (1 + 1e-9)
        assert 0 <= found.share.low <= found.share.value + 1e-9
        assert found.share.value - 1e-9 <= found.share.high <= 1

    def test_of_a_thousand_samples_the_interval_holds_the_truth_in_95_of_100(self):
        """Ten thousand comments, of which 1 in 20 lies near the line and is always looked at, others by 1 in 50."""
        rng = random.Random(7)
        near = [rng.random() < 0.3 for _ in range(500)]
        others = [rng.random() < 0.02 for _ in range(9_500)]
        truth = (sum(near) + sum(others)) / 10_000
        held, sums = 0, 0.0
        for _ in range(300):
            picked = [wrong for wrong in others if rng.random() < 0.02]
            found = estimate([Looked(1, len(near), sum(near)), Looked(0.02, len(picked), sum(picked))])
            held += found.share.low <= truth <= found.share.high
            sums += found.total
        assert held >= 0.95 * 300
        # Horvitz and Thompson: right on average.
        assert sums / 300 == pytest.approx(truth * 10_000, rel=0.05)

    def test_nobody_has_looked(self):
        assert estimate([]) is None
        assert estimate([Looked(0.5, 0, 0)]) is None
        with pytest.raises(ValueError, match="probability"):
            estimate([Looked(0, 1, 1)])


class TestAgreement:
    def test_kappa_by_hand(self):
        """Cohen's own way: 20 + 15 of 50 the same, 0.5 by chance alone, so (0.7 - 0.5) / (1 - 0.5)."""
        words = [("yes", "yes")] * 20 + [("yes", "no")] * 5 + [("no", "yes")] * 10 + [("no", "no")] * 15
        found = agreement(
            [(who, n, said) for n, pair in enumerate(words) for who, said in zip("ab", pair, strict=True)]
        )

        assert found.texts == 50
        assert found.is_enough
        (pair,) = found.pairs
        assert (pair.first, pair.second, pair.texts, pair.same) == ("a", "b", 50, 35)
        assert pair.kappa == pytest.approx(0.4)
        # Krippendorff: 1 - (n - 1) x disagreeing pairs / (ones x others); 45 yes and 55 no in 100 words, 30 disagree.
        assert found.alpha == pytest.approx(1 - 99 * 30 / (2 * 45 * 55))

    def test_alpha_with_holes_by_hand(self):
        """Texts with 2, 3 and 2 words: of 7, four yes. Disagreeing pairs per text: 0, 4 / 2, 2 / 1."""
        said = {1: {"a": "yes", "b": "yes"}, 2: {"a": "yes", "b": "no", "c": "no"}, 3: {"b": "yes", "c": "no"}}
        found = agreement([(who, n, word) for n, words in said.items() for who, word in words.items()])

        observed, expected = (0 + 4 / 2 + 2 / 1) / 7, 2 * 4 * 3 / (7 * 6)
        assert found.alpha == pytest.approx(1 - observed / expected)
        assert not found.is_enough
        assert [(pair.first, pair.second, pair.texts) for pair in found.pairs] == [
            ("a", "b", 2),
            ("a", "c", 1),
            ("b", "c", 2),
        ]

    def test_where_all_say_the_same_nothing_is_defined(self):
        found = agreement([(who, n, "approve") for n in range(LEAST_SHARED) for who in "ab"])

        assert found.alpha is None
        assert found.pairs[0].kappa is None
        assert found.pairs[0].same == LEAST_SHARED

    def test_texts_that_one_has_judged_say_nothing(self):
        assert agreement([("a", 1, "approve"), ("b", 2, "reject")]) == agreement([])
        assert agreement([]).texts == 0

    @settings(max_examples=50)
    @given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 8), st.sampled_from(["approve", "reject"]))))
    def test_never_more_than_one_and_the_same_in_any_order(self, words):
        words = [(*key, action) for key, action in {(who, n): action for who, n, action in words}.items()]
        found = agreement(words)

        assert found.alpha is None or found.alpha <= 1
        again = agreement(words[::-1])
        assert again.texts == found.texts
        assert again.alpha == pytest.approx(found.alpha) if found.alpha is not None else again.alpha is None
        for pair in found.pairs:
            assert pair.kappa is None or pair.kappa <= 1
            assert 0 <= pair.same <= pair.texts


START = datetime(2026, 5, 1, 9, tzinfo=UTC)
SINCE = datetime(2026, 5, 1, tzinfo=UTC)


class Clock:
    """The store's clock, set by the test."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(database_url, clock):
    opened = Store(database_url, now=clock)
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture
def site(store):
    return store.add_site("https://blog.example")


@pytest.fixture
def judge(store, site):
    """Judges a comment as somebody who is made where they are new."""
    rows = {}

    def judge_one(stored, action, who="Ada", *, entry=None, on=None):
        if who not in rows:
            rows[who] = store.people.add(who, on or site, "moderator", who="operator").row
        target = Target(stored.decision.digest, comment=stored.id, entry=entry)
        (given,) = store.verdicts.decide(on or site, Judge(who, "review", rows[who]), Judgement(action), [target])
        return given

    return judge_one


class TestCounts:
    def test_arrivals_by_day_and_first_status(self, store, site, put, clock, judge):
        other = store.add_site("https://other.example")
        put(site, "old", action="publish")
        for day, actions in enumerate([["publish", "publish", "hold"], [], ["reject", "hold"]], start=1):
            clock.now = START + timedelta(days=day)
            for n, action in enumerate(actions):
                put(site, f"c{day}{n}", action=action)
        judge(put(other, "x", action="hold"), "approve", on=other)
        found = store.insight.arrivals([site], SINCE + timedelta(days=1))

        assert {(row.day, row.status): row.count for row in found} == {
            ("2026-05-02", "published"): 2,
            ("2026-05-02", "held"): 1,
            ("2026-05-04", "rejected"): 1,
            ("2026-05-04", "held"): 1,
        }
        # A verdict later changes nothing about how it came in.
        both = store.insight.arrivals([site, other], SINCE + timedelta(days=3))
        assert {(row.status): row.count for row in both} == {"rejected": 1, "held": 2}

    def test_a_day_ends_at_midnight_in_utc(self, store, site, put, clock):
        for n, hour in enumerate([23, 24]):
            clock.now = datetime(2026, 5, 1, tzinfo=UTC) + timedelta(hours=hour, minutes=30)
            put(site, f"c{n}")

        assert [row.day for row in store.insight.arrivals([site], SINCE)] == ["2026-05-01", "2026-05-02"]
        # A period begins in the middle of a day where it is asked to, and at the same moment in every time zone.
        late = datetime(2026, 5, 2, 2, tzinfo=timezone(timedelta(hours=2)))
        assert [row.day for row in store.insight.arrivals([site], late)] == ["2026-05-02"]
        assert store.insight.arrivals([site], clock.now + timedelta(seconds=1)) == []

    def test_time_to_decision_by_nearest_rank(self, store, site, put, clock, judge):
        waiting = [put(site, f"c{n}") for n in range(11)]
        for minutes, stored in enumerate(waiting[:10], start=1):
            clock.now = START + timedelta(minutes=minutes)
            last = judge(stored, "approve")
        whole, days = store.insight.waits([site], SINCE)

        assert [(day.day, day.count) for day in days] == [("2026-05-01", 10)]
        assert (whole.median, whole.ninth) == pytest.approx((5 * 60, 9 * 60), abs=0.01)
        assert (days[0].median, days[0].ninth) == (whole.median, whole.ninth)
        store.verdicts.undo(site, last.id, "Ada")
        assert store.insight.waits([site], SINCE)[0].count == 9, "what was undone was not decided"
        assert store.insight.waits([site], clock.now + timedelta(minutes=1)) == (None, [])

    def test_reasons_by_the_last_verdict_on_them(self, store, site, put, clock, judge):
        for n, action in enumerate(["reject", "reject", "approve"]):
            judge(put(site, f"s{n}", reason="spam"), action)
        judge(put(site, "h", reason="hostile"), "approve")
        changed = put(site, "r", action="reject", reason="spam")
        judge(changed, "reject")
        clock.now += timedelta(minutes=1)
        judge(changed, "approve", "Bea")
        undone = put(site, "u", reason="spam")
        store.verdicts.undo(site, judge(undone, "reject").id, "Ada")
        judge(put(site, "p", action="publish"), "reject")

        assert {(row.name, row.action): (row.judged, row.rejected) for row in store.insight.reasons([site], SINCE)} == {
            ("spam", "hold"): (3, 2),
            ("hostile", "hold"): (1, 0),
            ("spam", "reject"): (1, 0),
        }

    def test_audits_with_the_likelihood_of_the_look(self, store, site, put, judge, clock):
        def drawn(comment_id, action, verdict):
            stored = put(site, comment_id, action=action, score=0.01, draw=AuditDraw(action, 0.02, "s", 0.02))
            (entry,) = [each for each in store.queue.page([site]).entries if each.stored.id == comment_id]
            return stored, judge(stored, verdict, entry=entry.row)

        drawn("p1", "publish", "approve")
        drawn("p2", "publish", "reject")
        drawn("r1", "reject", "approve")
        put(site, "p3", action="publish", draw=AuditDraw("publish", 0.02, "s", 0.02))
        near = put(site, "near", action="publish", score=0.29, limit=0.3)
        judge(near, "approve")
        # Looked at because somebody asked, not by chance or rule: that says nothing about the others.
        judge(put(site, "asked", action="publish"), "reject")
        second, _ = drawn("twice", "publish", "reject")
        clock.now += timedelta(minutes=1)
        judge(second, "approve", "Bea")

        assert {(a.action, a.inclusion, a.verdict): a.count for a in store.insight.audits([site], SINCE)} == {
            ("publish", 0.02, "approve"): 2,  # the last word counts, with the likelihood of the first look
            ("publish", 0.02, "reject"): 1,
            ("publish", 1.0, "approve"): 1,
            ("reject", 0.02, "approve"): 1,
        }
        assert store.insight.drawn([site], SINCE) == {"publish": 4, "reject": 1}
        assert store.insight.drawn([store.add_site("https://other.example")], SINCE) == {}

    def test_what_somebody_has_chosen_is_counted_apart(self, store, site, put, judge):
        judge(put(site, "r", action="reject", draw=AuditDraw("reject", 0.02, "s", 0.02)), "approve")

        (found,) = store.insight.audits([site], SINCE)
        assert (found.action, found.inclusion, found.verdict, found.is_chosen) == ("reject", 0.02, "approve", True)

    def test_what_somebody_has_chosen_stands_for_nothing_that_waits(self):
        chosen = AuditCount("reject", 0.05, "approve", 1, is_chosen=True)
        right = AuditCount("reject", 0.05, "reject", 3)

        assert _estimate([chosen], "reject", {"reject": 28}) is None
        assert _estimate([chosen], "reject", {"reject": 1}).share.value == 1
        # Three were answered in the queue and stand for the other 27.
        assert _estimate([chosen, right], "reject", {"reject": 28}).share.value == pytest.approx(1 / 28)
        assert _estimate([right], "publish", {"publish": 5}) is None

    def test_ratings_of_texts_that_several_have_judged(self, store, site, put, judge):
        first, second, alone = (put(site, name) for name in ("first", "second", "alone"))
        judge(first, "approve")
        judge(first, "reject", "Bea")
        judge(first, "reject")
        judge(second, "approve", "Bea")
        store.verdicts.undo(site, judge(second, "reject", "Cleo").id, "Cleo")
        judge(alone, "reject")
        found = store.insight.ratings([site], SINCE)

        assert [(row.moderator, row.action) for row in found] == [("Ada", "reject"), ("Bea", "reject")]
        assert len({row.version for row in found}) == 1

    def test_verdicts_by_who_gave_them(self, store, site, put, judge):
        judge(put(site, "a"), "approve")
        judge(put(site, "b"), "reject", "bea")
        undone = judge(put(site, "c"), "reject")
        store.verdicts.undo(site, undone.id, "Ada")
        ada = store.people.find("Ada")

        found = [(row.moderator, row.approved, row.rejected, row.undone) for row in store.insight.given([site], SINCE)]
        assert found == [("Ada", 1, 0, 1), ("bea", 0, 1, 0)]
        assert [row.moderator for row in store.insight.given([site], SINCE, moderator=ada.row)] == ["Ada"]

    def test_what_waits(self, store, site, put, clock, judge):
        assert store.insight.waiting([site]) == (0, None)
        first = put(site, "first")
        clock.now += timedelta(hours=1)
        put(site, "second")
        assert store.insight.waiting([site]) == (2, START)
        judge(first, "approve")
        assert store.insight.waiting([site]) == (1, START + timedelta(hours=1))


class TestBatches:
    def test_every_comment_is_in_its_bin_and_its_range(self, store, site, put):
        scores = [0.0, 0.005, 0.29, 0.289999, 0.57, 0.58, 0.999, 1.0]
        for n, score in enumerate(scores):
            put(site, f"c{n}", score=score, reason="spam")
        bins = store.batches.bins([site], "spam")

        # Whose score is lower than that of the other categories with their weights is of one of those.
        of_spam = [
            entry.priority.score for entry in store.queue.page([site]).entries if entry.priority.category == "spam"
        ]
        assert sum(bins) == len(of_spam)
        assert [percent for percent, count in enumerate(bins) for _ in range(count)] == [28, 29, 57, 58, 99, 99]
        for low in (0, 28, 29, 57, 58, 99):
            for high in (29, 58, 59, 100):
                inside = store.batches.inside([site], "spam", low, high, limit=100)
                assert len(inside) == sum(bins[low:high]), (low, high)
        assert store.batches.categories([site])["spam"] == len(of_spam)

    def test_highest_first_as_many_as_asked_and_of_these_sites(self, store, site, put, judge):
        other = store.add_site("https://other.example")
        kept = [put(site, f"c{n}", score=0.5 + n / 100) for n in range(5)]
        put(other, "x", score=0.9)
        decided = put(site, "done", score=0.8)
        judge(decided, "reject")
        found = store.batches.inside([site], "spam", 0, 100, limit=3)

        assert [each.digest for each in found] == [each.decision.digest for each in reversed(kept[2:])]
        assert len(store.batches.inside([site, other], "spam", 0, 100, limit=10)) == 6
        assert store.batches.find([other], [each.row for each in found]) == {}
        assert store.batches.find([site], [found[0].row])[found[0].row] == found[0]
