"""Counting what came in through a dialect, on both databases."""

from __future__ import annotations

from datetime import timedelta

from service.statuses import AKISMET, AKISMET_ID
from service.store import Judge, Judgement, Target

JUDGE = Judge("site:ann", AKISMET)


def test_only_what_came_in_meanwhile_through_the_dialect_counts(store, put):
    site, other = store.add_site("https://blog.example"), store.add_site("https://other.example")
    begun, traffic = store.now(), store.traffic
    assert traffic.first(site, AKISMET_ID) is None
    put(site, "akismet-1", action="publish")
    held = put(site, "akismet-2", reason="hostile")
    put(site, "akismet-2", "edited", action="publish")
    put(site, "akismetX3", action="publish")
    put(site, "native")
    put(other, "akismet-4")
    put(site, "akismet-5", action="reject")
    until = store.now() + timedelta(seconds=1)

    assert traffic.published(site, AKISMET_ID, begun, until) == 1
    assert [set(each.reasons) for each in traffic.fired(site, AKISMET_ID, begun, until)] == [{"hostile"}, {"spam"}]
    assert begun <= traffic.first(site, AKISMET_ID) < until
    assert traffic.published(site, AKISMET_ID, until, until + timedelta(days=1)) == 0
    assert list(traffic.fired(site, AKISMET_ID, begun - timedelta(days=1), begun)) == []
    assert held.status == "held"


def test_verdicts_count_by_where_they_came_from_until_they_are_taken_back(store, put):
    site = store.add_site("https://blog.example")
    begun = store.now()
    for number in range(3):
        stored = put(site, f"akismet-{number}")
        judge = JUDGE if number else Judge("Ada", "review")
        target = Target(stored.decision.digest, stored.id)
        (verdict,) = store.verdicts.decide(site, judge, Judgement("reject", ("spam",)), [target])
    store.verdicts.undo(site, verdict.id, "Ada")
    until = store.now() + timedelta(seconds=1)

    assert store.traffic.said(site, AKISMET, "reject", begun, until) == 1
    assert store.traffic.said(site, AKISMET, "approve", begun, until) == 0
