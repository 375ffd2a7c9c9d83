"""Verdicts, undo, reports, appeals and erasure in the store. On both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event

from service.errors import CommentErased, EntryTaken, NotFound, NothingToAppeal, TextChanged, VerdictStands
from service.priority import measure
from service.store import AuditDraw, Judge, Judgement, Store, Target, Verdict

COPY = "Best prices for replica watches, order today and save, my friend number "
REJECT = Judgement("reject", ("spam",))
APPROVE = Judgement("approve")


@pytest.fixture
def site(store):
    return store.add_site("https://blog.example")


@pytest.fixture
def ada(store, site):
    return Judge("Ada", "review", store.people.add("Ada", site, "moderator", who="operator").row)


@pytest.fixture
def ben(store, site):
    return Judge("Ben", "review", store.people.add("Ben", site, "moderator", who="operator").row)


def decide(store, site, judge, judgement, stored, **more) -> Verdict:
    (result,) = store.verdicts.decide(site, judge, judgement, [Target(stored.decision.digest, stored.id, **more)])
    return result


def status(store, site, comment_id) -> str:
    return store.find_comments(site, [comment_id])[comment_id].status


def waiting(store, site) -> list[str | None]:
    return [entry.stored.id for entry in store.queue.page([site], sort="age").entries]


def report(store, site, comment_id, reader, reopen_at=3):
    return store.readers.report(site, comment_id, reader * 64, "spam", reopen_at=reopen_at, measure=measure)


class TestDecide:
    @pytest.mark.parametrize(
        ("action", "judgement", "expected"),
        [
            ("hold", APPROVE, "published"),
            ("hold", REJECT, "rejected"),
            ("publish", REJECT, "rejected"),
            ("reject", APPROVE, "published"),
            ("publish", APPROVE, "published"),
        ],
    )
    def test_the_status_follows_and_the_log_names_the_moderator(
        self, store, site, put, ada, action, judgement, expected
    ):
        stored = put(site, "c1", action=action)
        verdict = decide(store, site, ada, judgement, stored)
        changes = store.status_changes(site, "c1")

        assert status(store, site, "c1") == verdict.status == expected
        assert (verdict.moderator, verdict.source, verdict.digest) == ("Ada", "review", stored.decision.digest)
        assert verdict.categories == judgement.categories
        assert [change.who for change in changes] == (["model"] if stored.status == expected else ["model", "Ada"])
        assert waiting(store, site) == []
        assert [verdict] == store.verdicts.of_comment(site, "c1")

    def test_a_verdict_on_changed_text_is_refused_with_the_new_text(self, store, site, put, ada):
        stored = put(site, "c1", "Old words", "hold")
        new = put(site, "c1", "New words", "hold")
        result = decide(store, site, ada, REJECT, stored)

        assert isinstance(result, TextChanged)
        assert {item["field"]: item["message"] for item in result.details} == {
            "digest": new.decision.digest,
            "text": "New words",
        }
        assert store.verdicts.of_comment(site, "c1") == []
        assert (status(store, site, "c1"), waiting(store, site)) == ("held", ["c1"])

    def test_the_same_verdict_twice_writes_nothing(self, store, site, put, ada, ben):
        stored = put(site, "c1")
        first = decide(store, site, ada, REJECT, stored)
        again = decide(store, site, ada, REJECT, stored)
        entry = decide(store, site, ada, REJECT, stored, entry=None)
        other = decide(store, site, ben, REJECT, stored)

        assert (first.seen, again.seen, entry.seen, other.seen) == (False, True, True, False)
        assert first.id == again.id == entry.id != other.id
        assert [verdict.moderator for verdict in store.verdicts.of_comment(site, "c1")] == ["Ada", "Ben"]

    def test_the_last_word_counts(self, store, site, put, ada, ben):
        stored = put(site, "c1")
        decide(store, site, ada, REJECT, stored)
        decide(store, site, ben, APPROVE, stored)

        assert status(store, site, "c1") == "published"

    def test_an_entry_that_another_holds_or_has_decided_is_taken(self, store, site, put, ada, ben):
        stored = put(site, "c1")
        row = store.queue.claim_next([site], ada.moderator).row
        held = decide(store, site, ben, REJECT, stored, entry=row)
        decide(store, site, ada, APPROVE, stored, entry=row)
        decided = decide(store, site, ben, REJECT, stored, entry=row)

        assert isinstance(held, EntryTaken)
        assert "held by another" in held.message
        assert isinstance(decided, EntryTaken)
        assert "decided" in decided.message
        assert [verdict.moderator for verdict in store.verdicts.of_comment(site, "c1")] == ["Ada"]

    def test_what_is_not_there_or_erased_is_said_and_the_others_are_judged(self, store, site, put, ada):
        one, two = put(site, "c1", "One"), put(site, "c2", "Two")
        store.erasure.erase_comment(site, "c2", who="site")
        other = store.add_site("https://other.example")
        targets = [Target("x", "none"), Target(two.decision.digest, "c2"), Target(one.decision.digest, "c1")]
        results = store.verdicts.decide(site, ada, REJECT, targets)
        elsewhere = store.verdicts.decide(other, ada, REJECT, targets)

        assert [type(result) for result in results] == [NotFound, CommentErased, Verdict]
        assert {type(result) for result in elsewhere} == {NotFound}

    @pytest.mark.parametrize(
        ("action", "draw", "expected"),
        [
            ("hold", None, 1.0),
            ("publish", AuditDraw("publish", 0.02, "s", 0.02), 0.02),
            ("publish", None, None),
        ],
    )
    def test_how_likely_the_look_was_is_kept(self, store, site, put, ada, action, draw, expected):
        stored = put(site, "c1", action=action, score=0.6, draw=draw)
        report(store, site, "c1", "a")

        assert decide(store, site, ada, REJECT, stored).inclusion_probability == expected

    def test_deleting_a_moderator_keeps_the_verdicts(self, store, site, put, ada):
        verdict = decide(store, site, ada, REJECT, put(site, "c1"))
        store.people.delete("Ada", who="operator")

        assert [verdict] == store.verdicts.of_comment(site, "c1")


class TestUndo:
    @pytest.mark.parametrize(("action", "judgement"), [("hold", REJECT), ("publish", REJECT), ("reject", APPROVE)])
    def test_status_and_entry_come_back(self, store, site, put, ada, action, judgement):
        stored = put(site, "c1", action=action)
        before = (stored.status, waiting(store, site))
        verdict = decide(store, site, ada, judgement, stored)
        (undone,) = store.verdicts.undo(site, verdict.id, "Ada")

        assert before == (status(store, site, "c1"), waiting(store, site))
        assert (undone.undone_by, undone.undone_at is not None) == ("Ada", True)
        assert [undone] == store.verdicts.undo(site, verdict.id, "Ben")
        assert decide(store, site, ada, judgement, stored).seen is False

    def test_only_the_last_verdict_can_be_undone(self, store, site, put, ada, ben):
        stored = put(site, "c1")
        first, second = decide(store, site, ada, REJECT, stored), decide(store, site, ben, APPROVE, stored)
        with pytest.raises(VerdictStands):
            store.verdicts.undo(site, first.id, "Ada")
        store.verdicts.undo(site, second.id, "Ben")
        assert status(store, site, "c1") == "rejected"
        store.verdicts.undo(site, first.id, "Ada")

        assert (status(store, site, "c1"), waiting(store, site)) == ("held", ["c1"])

    def test_of_a_text_that_has_changed_only_the_mark_is_set(self, store, site, put, ada):
        verdict = decide(store, site, ada, REJECT, put(site, "c1", "Old words"))
        put(site, "c1", "New words", "publish")
        (undone,) = store.verdicts.undo(site, verdict.id, "Ada")

        assert undone.undone_by == "Ada"
        assert (status(store, site, "c1"), waiting(store, site)) == ("published", [])

    def test_what_could_not_be_read_again_does_not_wait_again(self, store, site, put, ada):
        """Retention has emptied the text since: a comment that is held must be one that somebody can look at."""
        one, two = put(site, "c1", action="hold"), put(site, "c2", action="publish", score=0.1)
        first, second = decide(store, site, ada, APPROVE, one), decide(store, site, ada, REJECT, two)
        store.erasure.forget_before(site, datetime.now(UTC) + timedelta(days=1))
        with pytest.raises(VerdictStands, match="no longer kept"):
            store.verdicts.undo(site, first.id, "Ada")
        store.verdicts.undo(site, second.id, "Ada")

        assert (status(store, site, "c1"), status(store, site, "c2")) == ("published", "published")
        assert [verdict.undone_at for verdict in store.verdicts.of_comment(site, "c1")] == [None]

    def test_another_sites_verdict_is_not_found(self, store, site, put, ada):
        verdict = decide(store, site, ada, REJECT, put(site, "c1"))
        with pytest.raises(NotFound):
            store.verdicts.undo(store.add_site("https://other.example"), verdict.id, "Ada")


class TestCampaign:
    def test_all_are_decided_together_and_undone_together(self, store, site, put, ada):
        stored = [put(site, f"c{n}", f"{COPY}{n}") for n in range(4)]
        (entry,) = store.queue.page([site]).entries
        target = Target(stored[0].decision.digest, entry=entry.row)
        verdicts = store.verdicts.decide_campaign(site, ada, REJECT, target)

        assert [verdict.comment for verdict in verdicts] == ["c0", "c1", "c2", "c3"]
        assert [verdict.digest for verdict in verdicts] == [one.decision.digest for one in stored]
        assert {status(store, site, f"c{n}") for n in range(4)} == {"rejected"}
        undone = store.verdicts.undo(site, verdicts[2].id, "Ada")
        assert len(undone) == 4
        assert {status(store, site, f"c{n}") for n in range(4)} == {"held"}
        assert store.queue.page([site]).entries[0].campaign_count == 4

    def test_what_another_holds_stays_with_them(self, store, site, put, ada, ben):
        stored = [put(site, f"c{n}", f"{COPY}{n}") for n in range(3)]
        entries = store.queue.campaign(site, store.queue.page([site]).entries[0].row)
        store.queue.claim([site], entries[1].row, ben.moderator)
        target = Target(stored[0].decision.digest, entry=entries[0].row)
        verdicts = store.verdicts.decide_campaign(site, ada, REJECT, target)

        assert [verdict.comment for verdict in verdicts] == ["c0", "c2"]
        assert waiting(store, site) == ["c1"]

    def test_changed_text_of_the_first_leaves_all_as_they_were(self, store, site, put, ada):
        stored = [put(site, f"c{n}", f"{COPY}{n}") for n in range(2)]
        row = store.queue.page([site]).entries[0].row
        put(site, "c0", f"{COPY}0 and more")
        with pytest.raises(TextChanged):
            store.verdicts.decide_campaign(site, ada, REJECT, Target(stored[0].decision.digest, entry=row))

        assert {status(store, site, f"c{n}") for n in range(2)} == {"held"}

    def test_of_very_many_a_part_is_decided_and_the_rest_waits(self, store, site, put, ada, monkeypatch):
        monkeypatch.setattr("service.store.verdicts.MOST_TOGETHER", 2)
        stored = [put(site, f"c{n}", f"{COPY}{n}") for n in range(4)]
        row = store.queue.page([site]).entries[0].row
        verdicts = store.verdicts.decide_campaign(site, ada, REJECT, Target(stored[0].decision.digest, entry=row))

        assert [verdict.comment for verdict in verdicts] == ["c0", "c1"]
        assert store.queue.page([site]).entries[0].campaign_count == 2

    def test_without_near_duplicates_it_is_one_verdict(self, store, site, put, ada):
        stored = put(site, "c1", "short")
        row = store.queue.page([site]).entries[0].row
        put(site, "c2", "other")

        assert len(store.verdicts.decide_campaign(site, ada, REJECT, Target(stored.decision.digest, entry=row))) == 1
        assert waiting(store, site) == ["c2"]


class TestReports:
    def test_a_reader_counts_once_and_a_published_comment_is_queued(self, store, site, put):
        put(site, "c1", action="publish")

        assert report(store, site, "c1", "a") == (1, True)
        assert report(store, site, "c1", "a") == (1, False)
        assert report(store, site, "c1", "b") == (2, True)
        (entry,) = store.queue.page([site]).entries
        assert [(why.name, why.value) for why in entry.whys] == [("reported", 2)]

    def test_what_a_moderator_has_judged_comes_back_after_some_more(self, store, site, put, ada):
        stored = put(site, "c1", action="publish")
        report(store, site, "c1", "a")
        decide(store, site, ada, APPROVE, stored)
        for reader in "bc":
            report(store, site, "c1", reader)
        assert waiting(store, site) == []
        report(store, site, "c1", "d")

        assert waiting(store, site) == ["c1"]
        assert "3 readers since a moderator judged it" in store.queue.page([site]).entries[0].whys[0].text

    def test_what_nobody_sees_is_not_queued_by_reports(self, store, site, put):
        put(site, "c1", action="reject", score=0.99)
        report(store, site, "c1", "a")

        assert waiting(store, site) == []

    def test_unknown_and_erased_comments_cannot_be_reported(self, store, site, put):
        put(site, "c1")
        store.erasure.erase_comment(site, "c1", who="site")
        with pytest.raises(NotFound):
            report(store, site, "none", "a")
        with pytest.raises(CommentErased):
            report(store, site, "c1", "a")


class TestAppeals:
    @pytest.mark.parametrize(("judgement", "outcome"), [(REJECT, "upheld"), (APPROVE, "overturned")])
    def test_an_appeal_waits_and_a_verdict_answers_it(self, store, site, put, ada, judgement, outcome):
        stored = put(site, "c1", action="reject", score=0.99)
        appeal = store.readers.appeal(site, "c1", "I meant it well.", measure=measure)
        (entry,) = store.queue.page([site]).entries
        assert [why.name for why in entry.whys] == ["appealed"]
        assert store.readers.appeal_text(site, "c1") == "I meant it well."
        verdict = decide(store, site, ada, judgement, stored)

        assert (appeal.outcome, store.readers.find_appeal(site, appeal.id).outcome) == (None, outcome)
        assert store.readers.appeal(site, "c1", "Again!", measure=measure).seen is True
        store.verdicts.undo(site, verdict.id, "Ada")
        assert store.readers.find_appeal(site, appeal.id).outcome is None
        assert waiting(store, site) == ["c1"]

    def test_after_an_appeal_an_undo_brings_back_what_the_comment_waited_for(self, store, site, put, ada):
        stored = put(site, "c1")
        verdict = decide(store, site, ada, REJECT, stored)
        store.readers.appeal(site, "c1", "I meant it well.", measure=measure)
        store.verdicts.undo(site, verdict.id, "Ada")
        (entry,) = store.queue.page([site]).entries
        again = decide(store, site, ada, APPROVE, stored)

        assert {why.name for why in entry.whys} == {"held", "appealed"}
        assert again.inclusion_probability == 1.0
        store.verdicts.undo(site, again.id, "Ada")
        assert {why.name for why in store.queue.page([site]).entries[0].whys} == {"held", "appealed"}

    def test_after_an_edit_an_undo_leaves_the_answer_to_the_old_text(self, store, site, put, ada):
        """Nobody would look again: the comment does not wait, and its text is another one."""
        stored = put(site, "c1", "Old words", "reject", score=0.99)
        appeal = store.readers.appeal(site, "c1", None, measure=measure)
        verdict = decide(store, site, ada, REJECT, stored)
        put(site, "c1", "New words", "publish", score=0.1)
        store.verdicts.undo(site, verdict.id, "Ada")

        assert store.readers.find_appeal(site, appeal.id).outcome == "upheld"
        assert waiting(store, site) == []

    @pytest.mark.parametrize("action", ["publish", "hold"])
    def test_only_what_is_rejected_can_be_appealed(self, store, site, put, action):
        put(site, "c1", action=action)
        with pytest.raises(NothingToAppeal):
            store.readers.appeal(site, "c1", None, measure=measure)

    def test_another_sites_appeal_is_not_found(self, store, site, put):
        put(site, "c1", action="reject")
        appeal = store.readers.appeal(site, "c1", None, measure=measure)
        with pytest.raises(NotFound):
            store.readers.find_appeal(store.add_site("https://other.example"), appeal.id)


class TestDeletedAccounts:
    def test_what_they_signed_stays_and_what_they_hold_is_free(self, store, site, put, ada):
        put(site, "c1")
        stored = put(site, "c2", "Quite other words about something else")
        decide(store, site, ada, REJECT, stored)
        entry = store.queue.claim_next([site], ada.moderator)
        store.people.delete("Ada", who="operator")
        (kept,) = store.verdicts.of_comment(site, "c2")
        (free,) = store.queue.page([site]).entries

        assert (kept.moderator, kept.status) == ("Ada", "rejected")
        assert (free.row, free.claimed_by, free.claimed_until) == (entry.row, None, None)

    def test_who_is_deleted_while_at_work_holds_nothing_and_is_heard_by_name(self, store, site, put, ada):
        stored = put(site, "c1")
        row = store.queue.page([site]).entries[0].row
        store.people.delete("Ada", who="operator")
        with pytest.raises(NotFound, match="sign in again"):
            store.queue.claim([site], row, ada.moderator)

        assert decide(store, site, ada, REJECT, stored).moderator == "Ada"


class TestForgetting:
    def test_of_an_author_nothing_is_left_anywhere(self, store, site, put, ada, dump, tmp_path):
        """Texts, names, addresses, what was searched by, notes of verdicts and appeals: all of it."""
        for n in range(3):
            put(site, f"c{n}", f"Secret words number {n} of hers", "reject", author="her-id", post="p1")
        put(site, "c0", "Secret words, edited by somebody else", "reject", author="other")
        put(site, "kept", "Quoting nobody", "hold", author="other")
        stored = store.find_comments(site, ["c1"])["c1"]
        decide(store, site, ada, Judgement("reject", ("spam",), note="A secret note about her"), stored)
        store.readers.appeal(site, "c1", "A secret plea", measure=measure)
        store.readers.report(site, "kept", "h" * 64, None, reopen_at=1, measure=measure)

        assert store.erasure.erase_author(site, "her-id", "h" * 64, who="site") == 3
        assert store.erasure.erase_author(site, "her-id", "h" * 64, who="site") == 0
        assert {status(store, site, f"c{n}") for n in range(3)} == {"erased"}
        assert waiting(store, site) == ["kept"]
        assert [entry.details for entry in store.logs.audit() if entry.event == "author_erased"] == [{"comments": 3}]
        store.close()
        left = dump().casefold()
        assert [word for word in ("secret", "her-id", "h" * 64, "replica") if word in left] == []
        assert "quoting nobody" in left
        assert all(b"ecret words" not in path.read_bytes() for path in tmp_path.iterdir() if path.is_file())

    def test_after_some_days_the_text_of_what_was_decided_is_forgotten(self, database_url, dump, put, store):
        clock = [datetime(2026, 1, 1, tzinfo=UTC)]
        later = Store(database_url, now=lambda: clock[0])
        site = store.add_site("https://blog.example")
        store._now = later._now  # what the fixture writes is as old as we say
        put(site, "old", "Old words that were published", "publish", score=0.1)
        put(site, "waits", "Old words that wait", "hold")
        clock[0] += timedelta(days=31)
        put(site, "new", "New words", "publish", score=0.1)
        before = clock[0] - timedelta(days=30)

        assert later.erasure.forget_before(site, before) == 1
        assert later.erasure.forget_before(site, before) == 0
        assert "old words that were" not in dump().casefold()
        assert status(store, site, "old") == "published"
        assert put(site, "old", "Old words that were published", "publish", score=0.1).seen is True
        assert waiting(store, site) == ["waits"]
        later.close()

    def test_an_edit_and_a_verdict_begin_the_days_anew(self, store, site, put, ada):
        clock = [datetime(2026, 1, 1, tzinfo=UTC)]
        store._now = store.verdicts._now = lambda: clock[0]
        for name in ("edited", "judged", "left"):
            stored = put(site, name, f"Old words, {name}", "publish", score=0.1)
            if name == "judged":
                judged = stored
        clock[0] += timedelta(days=31)
        put(site, "edited", "New words", "publish", score=0.1)
        decide(store, site, ada, APPROVE, judged)
        before = clock[0] - timedelta(days=30)

        assert store.erasure.forget_before(site, before) == 1
        assert store.erasure.forget_before(site, clock[0] + timedelta(days=1)) == 2

    def test_forgetting_many_takes_no_more_statements_than_forgetting_one(self, store, site, put):
        """While it lasts, nobody else can write."""
        counts = []
        for number in (1, 20):
            for n in range(number):
                put(site, f"{number}-{n}", "Words", "publish", score=0.1)
            statements: list[str] = []

            def note(_connection, _cursor, statement, *_, seen=statements) -> None:
                seen.append(statement)

            event.listen(store._engine, "before_cursor_execute", note)
            assert store.erasure.forget_before(site, datetime.now(UTC) + timedelta(days=1)) == number
            event.remove(store._engine, "before_cursor_execute", note)
            counts.append(len(statements))

        assert counts[0] == counts[1]


class TestLogs:
    def test_changes_come_in_order_and_each_once(self, store, site, put, ada):
        one = put(site, "c1", action="hold")
        put(store.add_site("https://other.example"), "elsewhere")
        verdict = decide(store, site, ada, REJECT, one)
        store.erasure.erase_comment(site, "c1", who="site")
        first = store.logs.changes(site, limit=2)
        rest = store.logs.changes(site, after=first[-1].cursor)

        assert [(c.comment, c.change.new, c.change.who) for c in [*first, *rest]] == [
            ("c1", "held", "model"),
            ("c1", "rejected", "Ada"),
            ("c1", "erased", "site"),
        ]
        assert (first[0].decision_id, first[1].verdict_id) == (one.decision.decision_id, verdict.id)
        assert store.logs.changes(site, after=rest[-1].cursor) == []

    def test_the_audit_log_tells_who_did_what_and_no_text(self, store, site, put, ada):
        stored = put(site, "c1", "The words themselves", "hold")
        verdict = decide(store, site, ada, Judgement("reject", ("spam",), note="My own words"), stored)
        store.verdicts.undo(site, verdict.id, "Ada")
        store.people.disable("Ada", who="operator")
        lines = list(store.logs.audit())

        assert [(line.who, line.event) for line in lines] == [
            ("operator", "role_given"),
            ("Ada", "verdict"),
            ("Ada", "undo"),
            ("operator", "moderator_disabled"),
        ]
        assert "words" not in str(lines)
        assert [line.details["new"] for line in store.logs.statuses()] == ["held", "rejected", "held"]

    @pytest.mark.usefixtures("ada")
    def test_a_sign_in_token_works_once_and_not_for_long(self, store):
        moderator = store.people.find("Ada")
        soon = datetime.now(UTC) + timedelta(hours=1)
        store.people.give_sign_in(moderator, "1" * 64, soon)
        store.people.give_sign_in(moderator, "2" * 64, soon)

        assert store.people.take_sign_in("1" * 64, "hash") is None
        assert store.people.find_sign_in("1" * 64) is None
        assert store.people.find_sign_in("2" * 64) == moderator
        assert store.people.password_hash("Ada") is None
        assert store.people.take_sign_in("2" * 64, "hash") == moderator
        assert store.people.password_hash("Ada") == "hash"
        assert store.people.take_sign_in("2" * 64, "hash") is None
        store.people.give_sign_in(moderator, "3" * 64, datetime.now(UTC) - timedelta(seconds=1))
        assert store.people.take_sign_in("3" * 64, "hash") is None
        store.people.give_sign_in(moderator, "4" * 64, soon)
        store.people.disable("Ada", who="operator")
        assert store.people.take_sign_in("4" * 64, "hash") is None
        assert store.people.password_hash("Ada") is None

    def test_a_token_of_a_maintainer_works_as_long_as_they_may_make_it(self, store, site):
        """On both databases; what it is good for is told where links are made."""
        people, other = store.people, store.add_site("https://other.example")
        soon = datetime.now(UTC) + timedelta(hours=1)
        people.add("Ada", site, "maintainer", who="operator")
        ben = people.add("Ben", site, "viewer", who="operator")
        people.give_sign_in(ben, "1" * 64, soon, who="Ada")
        seen = [people.find_sign_in("1" * 64) is not None]
        people.add("Ben", other, "viewer", who="operator")
        seen.append(people.find_sign_in("1" * 64) is not None)
        for role in ("viewer", "moderator", "maintainer"):
            people.add("Ada", other, role, who="operator")
            seen.append(people.find_sign_in("1" * 64) is not None)
        people.take_role("Ada", site, who="operator")
        seen.append(people.find_sign_in("1" * 64) is not None)
        people.give_sign_in(ben, "2" * 64, soon, who="Nobody")
        seen.append(people.take_sign_in("2" * 64, "hash") is not None)

        assert seen == [True, False, False, False, True, False, False]

    def test_a_role_is_per_site_and_the_last_one_counts(self, store, site):
        other = store.add_site("https://other.example")
        store.people.add("Ada", site, "viewer", who="operator")
        store.people.add("Ada", other, "maintainer", who="operator")
        moderator = store.people.add("Ada", site, "moderator", who="operator")

        assert moderator.roles == {"https://blog.example": "moderator", "https://other.example": "maintainer"}
        with pytest.raises(NotFound):
            store.people.find("Nobody")
