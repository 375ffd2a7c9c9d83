"""What callers say of a text in categories: when it settles a comment, and when it is a label and nothing more."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest

from moderation.comment import Author, Comment, Decision, Post, Reason, Scores
from moderation.policy import Policy
from service.priority import measure, reasons_to_look
from service.store import AuditDraw, Judge, Judged, Judgement, QueueFilter, Target

CALLER = Judge("site:/forum/movies", "perspective")
ADA = Judge("Ada", "review")
TOXIC = Judgement("reject", ("hostile",))
NOT_TOXIC = Judgement("approve", cleared=("hostile",))
NOT_SPAM = Judgement("approve", cleared=("spam",))
APPROVED = Judgement("approve")
DELETED = Judgement("reject")
TEXT = "Look at http://a.example/x and http://b.example/y now!"


class TestWhichCommentIsMeant:
    @pytest.fixture
    def desk(self, shared_service, request):
        parts = shared_service.parts
        site = parts.store.add_site(f"https://suggestions-{abs(hash(request.node.name))}.example")

        def submit(comment_id: str, **said: str) -> None:
            comment = Comment(TEXT, id=comment_id, author=Author(comment_id), post=Post(f"post of {comment_id}"))
            parts.workflow.submit(site, comment, handles=said)

        def suggest(judgement: Judgement = TOXIC, **said: str):
            return parts.feedback.suggest(
                site,
                Comment(TEXT),
                CALLER,
                judgement,
                handles=said,
                came_by="perspective-",
                telling=("token", "session", "community"),
                must_match=("token", "community"),
            )

        def statuses(*ids: str) -> list[str]:
            found = parts.store.find_comments(site, ids)
            return [found[each].status for each in ids]

        def labels() -> list[tuple]:
            found = parts.store.labels.read(site)
            return [(label["id"], label["labels"], label["source"], label.get("verdict")) for label in found]

        return SimpleNamespace(submit=submit, suggest=suggest, statuses=statuses, labels=labels, parts=parts, site=site)

    @pytest.mark.parametrize("judgement", [TOXIC, NOT_SPAM, APPROVED, DELETED])
    def test_of_equal_ones_none_is_meant_and_the_text_has_a_label(self, desk, judgement):
        desk.submit("perspective-1")
        desk.submit("perspective-2")
        for _ in range(2):
            assert desk.suggest(judgement, token="unknown") is None

        assert desk.statuses("perspective-1", "perspective-2") == ["held", "held"]
        assert [desk.parts.moderation.verdicts(desk.site, f"perspective-{n}") for n in (1, 2)] == [[], []]
        page = desk.parts.store.queue.page([desk.site], QueueFilter(), sort="age", limit=9, after=None)
        assert [entry.campaign_count for entry in page.entries] == [2]
        said = {TOXIC: {"hostile": 1}, NOT_SPAM: {"spam": 0}, DELETED: None}.get(judgement, ...)
        found = desk.labels()
        if said is None:
            assert found == []  # it says nothing of any category
        else:
            [(comment, values, source, verdict)] = found
            assert (comment, source, verdict) == ("perspective-2", "platform", None)
            assert values == said or (judgement == APPROVED and set(values.values()) == {0})

    def test_the_token_tells_more_than_the_session_and_that_more_than_the_community(self, desk):
        desk.submit("perspective-1", token="t", community="c")
        desk.submit("perspective-2", session="s", community="c")
        desk.submit("perspective-3", community="c")
        desk.submit("perspective-4")

        assert desk.suggest(token="t", session="s", community="c").comment == "perspective-1"
        assert desk.suggest(session="s", community="c").comment == "perspective-2"
        assert desk.suggest(community="c") is None  # one of three
        assert desk.statuses(*(f"perspective-{n}" for n in range(1, 5))) == ["rejected", "rejected", "held", "held"]

    def test_what_came_by_another_protocol_is_never_settled(self, desk):
        desk.submit("c1", token="t")

        assert desk.suggest(token="t") is None
        assert (desk.statuses("c1"), desk.labels()) == (["held"], [("c1", {"hostile": 1}, "platform", None)])
        desk.submit("perspective-1")
        assert desk.suggest(token="t").comment == "perspective-1"
        assert desk.statuses("c1", "perspective-1") == ["held", "rejected"]

    @pytest.mark.parametrize("name", ["token", "community"])
    def test_another_token_or_community_is_another_comment(self, desk, name):
        desk.submit("perspective-1", **{name: "one"})
        said = desk.suggest(**{name: "two"})

        assert said.comment not in ("perspective-1", None)
        assert desk.statuses("perspective-1", said.comment) == ["held", "rejected"]
        assert desk.suggest(**{name: "one"}).comment == "perspective-1"

    def test_once_it_is_certain_it_has_the_handles_of_who_said_so(self, desk):
        """As Coral does it: no token when it asks, the comment's id with each verdict."""
        desk.submit("perspective-1")
        assert desk.suggest(token="c1").comment == "perspective-1"
        desk.submit("perspective-2")
        assert desk.suggest(token="c2").comment == "perspective-2"
        assert desk.suggest(APPROVED, token="c1").comment == "perspective-1"
        assert desk.statuses("perspective-1", "perspective-2") == ["published", "rejected"]

    def test_a_label_of_a_text_that_may_be_another_s_gives_no_handles(self, desk):
        desk.submit("perspective-1")
        desk.submit("perspective-2")
        assert desk.suggest(token="c1") is None
        assert desk.suggest(token="c2") is None

    def test_what_was_never_judged_is_a_comment_of_its_own_and_is_found_again(self, desk):
        said = desk.suggest(token="t", community="c")
        again = desk.suggest(token="t", community="c")

        assert said.comment.startswith("perspective-")
        assert (again.comment, again.seen) == (said.comment, True)

    def test_what_only_feedback_speaks_of_waits_for_nobody(self, desk):
        """It is spam and stays held, but the site has not asked for a moderator; it is forgotten as others are."""
        assert desk.suggest(NOT_TOXIC) is None
        page = desk.parts.store.queue.page([desk.site], QueueFilter(), sort="age", limit=9, after=None)
        [(comment, values, _, _)] = desk.labels()

        assert (page.entries, values, desk.statuses(comment)) == ((), {"hostile": 0}, ["held"])
        later = desk.parts.store.now() + timedelta(days=1)
        assert desk.parts.store.erasure.forget_before(desk.site, later) == 1
        assert desk.labels() == []

    @pytest.mark.parametrize("judgement", [TOXIC, NOT_TOXIC])
    def test_what_only_feedback_speaks_of_is_no_evidence_by_chance(self, desk, judgement):
        """Drawn for an audit, it would stand for a hundred comments whenever the caller says that it is bad."""
        parts = desk.parts
        policy = Policy.parse("[spam]\nhold = 0.5\n[audit]\npublish = 1.0\nreject = 1.0\n")
        assert parts.store.policies.put(desk.site, (policy.digest, policy.toml), who="Ada", instead_of=None)
        [site] = [each for each in parts.store.sites() if each.url == desk.site.url]
        parts.feedback.suggest(
            site, Comment("Words about bread."), CALLER, judgement, handles={}, came_by="perspective-", telling=()
        )

        assert parts.store.insight.drawn([site], parts.store.now() - timedelta(days=1)) == {}
        assert parts.store.queue.page([site], QueueFilter(), sort="age", limit=9, after=None).entries == ()


class TestWhatItSettles:
    """On SQLite and PostgreSQL."""

    @pytest.fixture
    def desk(self, store, put):
        site = store.add_site("https://blog.example")

        def say(judgement: Judgement, comment_id: str = "c1", *, is_certain: bool = True, judge: Judge = CALLER):
            [stored] = store.find_comments(site, [comment_id]).values()
            target = Target(stored.decision.digest, comment_id)
            return store.suggestions.give(site, judge, judgement, target, is_certain=is_certain)

        def judge(judgement: Judgement, judge: Judge = ADA) -> None:
            [stored] = store.find_comments(site, ["c1"]).values()
            [verdict] = store.verdicts.decide(site, judge, judgement, [Target(stored.decision.digest, "c1")])
            return verdict

        def status() -> str:
            return store.find_comments(site, ["c1"])["c1"].status

        def waits() -> bool:
            return bool(store.queue.page([site], QueueFilter(), sort="age", limit=9, after=None).entries)

        def labels() -> list[tuple]:
            return [(label["moderator"], label["labels"]) for label in store.labels.read(site)]

        def hold(**more) -> None:
            put(site, "c1", **more)

        return SimpleNamespace(
            store=store, site=site, say=say, judge=judge, status=status, waits=waits, labels=labels, hold=hold
        )

    def test_what_clears_all_that_holds_a_comment_publishes_it(self, desk):
        desk.hold(reason="hostile")
        verdict = desk.say(NOT_TOXIC)

        assert (verdict.action, verdict.source, desk.status(), desk.waits()) == (
            "approve",
            "perspective",
            "published",
            False,
        )
        assert desk.labels() == [(CALLER.name, {"hostile": 0})]
        assert desk.say(NOT_TOXIC).seen

    @pytest.mark.parametrize("reason", ["spam", "insult", "first_time", "campaign", "author_rate", "model_unavailable"])
    def test_what_is_held_for_something_else_stays_held(self, desk, reason):
        desk.hold(reason=reason)

        assert desk.say(NOT_TOXIC) is None
        assert desk.say(NOT_TOXIC) is None
        assert (desk.status(), desk.waits(), desk.labels()) == ("held", True, [(CALLER.name, {"hostile": 0})])
        assert desk.store.verdicts.of_comment(desk.site, "c1") == []
        assert [entry.event for entry in desk.store.logs.audit()].count("suggestion") == 1

    def test_what_was_rejected_for_something_else_stays_rejected(self, desk):
        desk.hold(action="reject", reason="spam")
        assert (desk.say(NOT_TOXIC), desk.status()) == (None, "rejected")
        assert (desk.say(NOT_SPAM).action, desk.status()) == ("approve", "published")

    def test_clearings_add_up_whoever_gives_them(self, desk):
        desk.hold(reason="spam")
        other = Judge("site:/forum/books", "perspective")

        assert (desk.say(NOT_TOXIC), desk.status()) == (None, "held")
        assert (desk.say(NOT_SPAM, judge=other).action, desk.status()) == ("approve", "published")
        assert desk.labels() == [(other.name, {"spam": 0})]

    def test_the_label_has_all_that_the_same_caller_has_cleared(self, desk):
        desk.hold(reason="spam")
        desk.say(NOT_TOXIC)
        desk.say(NOT_SPAM)

        assert (desk.status(), desk.labels()) == ("published", [(CALLER.name, {"hostile": 0, "spam": 0})])

    @pytest.mark.parametrize("wish", ["report", "appeal", "audit"])
    def test_what_somebody_or_chance_wants_looked_at_waits_on(self, desk, wish):
        store, site = desk.store, desk.site
        if wish == "report":
            desk.hold(action="publish", reason="hostile")
            store.readers.report(site, "c1", "r" * 64, None, reopen_at=3, measure=measure)
        elif wish == "appeal":
            desk.hold(action="reject", reason="hostile")
            store.readers.appeal(site, "c1", "Why?", measure=measure)
        else:
            desk.hold(action="reject", reason="hostile", draw=AuditDraw("reject", 0.1, "seed", 0.1))
        before = desk.status()

        assert (desk.say(NOT_TOXIC), desk.status(), desk.waits()) == (None, before, True)
        assert desk.labels() == [(CALLER.name, {"hostile": 0})]
        desk.judge(APPROVED)
        assert (desk.status(), [who for who, _ in desk.labels()]) == ("published", ["Ada"])

    @pytest.mark.parametrize(
        ("said", "settles"), [(TOXIC, True), (Judgement("reject", ("spam",)), False), (DELETED, False)]
    )
    def test_of_what_a_moderator_has_rejected_only_the_categories_are_answered(self, desk, said, settles):
        desk.hold(reason="hostile")
        desk.judge(said)

        assert (desk.say(NOT_TOXIC) is not None) is settles
        assert desk.status() == ("published" if settles else "rejected")

    def test_the_last_word_about_a_category_counts(self, desk):
        desk.hold(reason="spam")
        desk.say(NOT_TOXIC)
        desk.judge(TOXIC)
        for _ in range(2):  # what was cleared before somebody has said the contrary is cleared no more
            assert (desk.say(NOT_SPAM), desk.status()) == (None, "rejected")
        assert (desk.say(NOT_TOXIC).action, desk.status()) == ("approve", "published")

    def test_what_was_contradicted_can_be_said_again(self, desk):
        desk.hold(reason="spam")
        desk.say(NOT_TOXIC)
        desk.judge(TOXIC)
        assert (desk.say(NOT_TOXIC), desk.status()) == (None, "rejected")  # it was spam before
        assert (desk.say(NOT_SPAM).action, desk.status()) == ("approve", "published")

    def test_a_word_about_the_whole_comment_settles_it(self, desk):
        desk.hold(reason="spam")
        assert (desk.say(TOXIC).action, desk.status()) == ("reject", "rejected")
        assert (desk.say(APPROVED).action, desk.status()) == ("approve", "published")
        assert (desk.say(DELETED).action, desk.status()) == ("reject", "rejected")

    @pytest.mark.parametrize(
        ("names", "settles"),
        [
            (("hostile", "lexical_tier_holds", "encoder_unavailable", "trusted_author"), True),
            (("hostile", "spam", "encoder_unavailable"), False),
            (("encoder_unavailable",), False),
            ((), False),
        ],
    )
    def test_only_what_speaks_against_a_comment_holds_it(self, desk, names, settles):
        comment = Comment("Words", id="c1", site=desk.site.url)
        reasons = tuple(Reason(name, 0.9, 0.5, True, "") for name in names)
        scores = Scores(0.9, 0.1, None, 0.1, 0.1, 0.1, 0.1, 0.1)
        decision = Decision("hold", scores, reasons, comment.digest(), "bundle-1", "p" * 64, "lexical")
        row = Judged(comment, comment.digest(), "h", decision, {}, whys=reasons_to_look(decision, None))
        desk.store.record(desk.site, [row], ("p" * 64, "# a policy"))

        assert (desk.say(NOT_TOXIC) is not None, desk.status()) == (settles, "published" if settles else "held")

    def test_what_may_be_about_another_comment_clears_nothing_of_this_one(self, desk):
        desk.hold(reason="spam")
        assert desk.say(NOT_SPAM, is_certain=False) is None
        assert desk.say(NOT_TOXIC, is_certain=False) is None
        assert desk.labels() == [(CALLER.name, {"hostile": 0, "spam": 0})]
        assert (desk.say(NOT_TOXIC), desk.status()) == (None, "held")
        assert desk.say(TOXIC, is_certain=False) is None
        assert (CALLER.name, {"hostile": 1, "spam": 0}) in desk.labels()

    def test_a_label_comes_back_when_the_verdict_is_undone_and_goes_with_the_text(self, desk):
        desk.hold(reason="spam")
        desk.say(NOT_TOXIC)
        verdict = desk.judge(APPROVED)
        assert [who for who, _ in desk.labels()] == ["Ada"]
        desk.store.verdicts.undo(desk.site, verdict.id, "Ada")
        assert desk.labels() == [(CALLER.name, {"hostile": 0})]
        assert [row["labels"] for row in desk.store.copies.suggestions(desk.site)] == [{"hostile": 0}]
        desk.store.erasure.erase_comment(desk.site, "c1", "site")
        assert desk.labels() == []
