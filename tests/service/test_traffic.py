"""Counting what clients of Akismet had checked, on both databases, by an index and no more of it than the period."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import create_engine, text

from service.statuses import AKISMET
from service.store import Judge, Judgement, Target
from service.store.traffic import count_checks, count_verdicts, first_check

JUDGE = Judge("site:ann", AKISMET)


def test_each_comment_counts_once_by_what_its_first_check_was_answered(store, put):
    site, other = store.add_site("https://blog.example"), store.add_site("https://other.example")
    begun, traffic = store.now(), store.traffic
    assert traffic.first(site) is None
    put(site, "akismet-1", action="publish", told_spam=False)
    put(site, "akismet-2", told_spam=True)
    put(site, "akismet-2", "edited", action="publish", told_spam=False)
    put(site, "akismet-3", reason="hostile", told_spam=False)
    put(site, "akismet-4")  # its client was told that it could not be judged
    put(site, "native")
    put(other, "akismet-4", told_spam=True)
    put(site, "akismet-5", action="reject", told_spam=True)
    until = store.now() + timedelta(seconds=1)

    assert traffic.checked(site, begun, until) == (2, 2)
    assert begun <= traffic.first(site) < until
    assert traffic.checked(site, until, until + timedelta(days=1)) == (0, 0)
    assert traffic.checked(site, begun - timedelta(days=1), begun) == (0, 0)


def test_a_first_check_that_says_what_was_told_before_counts_too(store, put):
    site = store.add_site("https://blog.example")
    begun = store.now()
    stored = put(site, "akismet-1")  # its client was told that it could not be judged
    judge, target = Judge("site:ann", AKISMET), Target(stored.decision.digest, stored.id)
    store.verdicts.decide(site, judge, Judgement("approve", cleared=("spam",)), [target])
    store.akismet.answer(site, "akismet-1", is_spam=False, by_decision=False)

    assert store.traffic.checked(site, begun, store.now() + timedelta(seconds=1)) == (0, 1)


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


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_count_reads_more_than_the_index_of_its_period(store, database_url):
    """As SQLite plans it: a search within bounds, and for checks without a look at the table."""
    site = store.add_site("https://blog.example")
    since, until = store.now() - timedelta(days=30), store.now()
    engine = create_engine(database_url)

    def plan(query) -> str:
        with engine.connect() as connection:
            # What stands in place of a value does not matter to the plan.
            explained = text(f"EXPLAIN QUERY PLAN {query.compile(engine)}".replace("?", "1"))
            return " ".join(row.detail for row in connection.execute(explained))

    checks = plan(count_checks(site, since, until))
    assert "SEARCH akismet_answers USING COVERING INDEX ix_akismet_answers_site_id_at_checked_spam" in checks
    assert "(site_id=? AND at>? AND at<?)" in checks
    first = plan(first_check(site))
    assert "SEARCH akismet_answers USING COVERING INDEX ix_akismet_answers_site_id_at_checked_spam" in first
    assert "TEMP B-TREE" not in first
    said = plan(count_verdicts(site, AKISMET, "reject", since, until))
    assert "SEARCH verdicts USING INDEX ix_verdicts_site_id_at (site_id=? AND at>? AND at<?)" in said
    engine.dispose()
