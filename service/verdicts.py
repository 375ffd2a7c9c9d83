"""What people do about comments: the queue, verdicts and undo, reports by readers, appeals, erasure by author.

Who may do what is for the caller to check; here is what happens when they do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from moderation.comment import Action
from moderation.policy import AUTHOR_MESSAGES
from service.errors import InvalidRequest, NotFound, ServiceError
from service.hashes import Hashes
from service.priority import measure
from service.statuses import STATUS_BY_VERDICT, Sort, Status
from service.store import (
    CLAIM_SECONDS,
    Appeal,
    Change,
    Holder,
    Judge,
    Judgement,
    QueueEntry,
    QueueFilter,
    QueuePage,
    Site,
    Store,
    Stored,
    Target,
    Verdict,
    may_be_id,
)

_REJECTED_BY_PERSON = (
    "A moderator has read your comment and did not publish it. If you think that is a mistake, you can ask for another "
    "look."
)


class Moderation:
    """Everything after the first decision. Thread-safe. All methods may raise ``StoreBusy`` or ``StoreUnavailable``."""

    def __init__(
        self,
        store: Store,
        hashes: Hashes,
        *,
        reports_to_reopen: int,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """``reports_to_reopen`` is how many readers bring back what a moderator has judged."""
        self._store = store
        self._hashes = hashes
        self._reports_to_reopen = reports_to_reopen
        self._now = now

    # The queue

    def queue(
        self, sites: Sequence[Site], wanted: QueueFilter, *, sort: Sort, limit: int, after: str | None
    ) -> QueuePage:
        """A page of what waits. Raises ``InvalidRequest`` for a cursor of another list."""
        return self._store.queue.page(sites, wanted, sort=sort, limit=limit, after=after)

    def campaign(self, site: Site, entry: int) -> list[QueueEntry]:
        """An entry and the near-duplicates that wait together with it; empty where it does not wait."""
        return self._store.queue.campaign(site, entry)

    def claim(self, site: Site, entry: int, holder: Holder, *, seconds: float = CLAIM_SECONDS) -> QueueEntry:
        """Hold an entry for somebody, for a time. Raises ``NotFound`` or ``EntryTaken``."""
        return self._store.queue.claim([site], entry, holder, seconds=seconds)

    def claim_next(
        self, site: Site, holder: Holder, wanted: QueueFilter, *, sort: Sort, seconds: float = CLAIM_SECONDS
    ) -> QueueEntry | None:
        """Hold the first entry that nobody else holds; ``None`` where there is none."""
        return self._store.queue.claim_next([site], holder, wanted, sort=sort, seconds=seconds)

    def release(self, site: Site, entry: int, holder: Holder) -> bool:
        """Give an entry back. False where it is not held by that one."""
        return self._store.queue.release(entry, holder, [site])

    # Verdicts

    def decide(self, site: Site, judge: Judge, judgement: Judgement, target: Target) -> Verdict:
        """Judge one comment: approve publishes it, reject rejects it. The same again writes nothing (``seen``).

        Raises:
            NotFound: there is no such comment or entry on this site.
            CommentErased: it was erased.
            TextChanged: its text is not the one that was judged; the error holds the new one.
            EntryTaken: the target names an entry that somebody else holds or has decided.
        """
        (result,) = self.decide_many(site, judge, judgement, [target])
        if isinstance(result, ServiceError):
            raise result
        return result

    def decide_many(
        self, site: Site, judge: Judge, judgement: Judgement, targets: Sequence[Target]
    ) -> list[Verdict | ServiceError]:
        """Judge many in one transaction, with one undo; in place of a verdict stands why there could be none."""
        _check(judgement)
        if not all(target.comment is None or may_be_id(target.comment) for target in targets):
            raise NotFound("this site has no such comment")
        return self._store.verdicts.decide(site, judge, judgement, targets)

    def decide_campaign(
        self, site: Site, judge: Judge, judgement: Judgement, target: Target, seen: Collection[int] | None = None
    ) -> list[Verdict]:
        """Judge an entry and its near-duplicates that nobody else holds, with one undo. Raises as :meth:`decide`.

        ``seen`` names the entries that were looked at, so that none is judged that has come in since.
        """
        _check(judgement)
        return self._store.verdicts.decide_campaign(site, judge, judgement, target, seen)

    def suggest(
        self,
        site: Site,
        judge: Judge,
        judgement: Judgement,
        target: Target,
        *,
        is_certain: bool,
        handles: Collection[str] = (),
    ) -> Verdict | None:
        """The same where a caller says something of categories: ``None`` where it is a label and settles nothing.

        So it is where something else speaks against the comment than an approval has ``cleared``, and where it is not
        certain (``is_certain``) that this comment was meant and not another one with its text. Where it is, the comment
        is found by these hashed ``handles`` from then on. Raises as :meth:`decide` about a comment.
        """
        _check(judgement)
        return self._store.suggestions.give(site, judge, judgement, target, is_certain=is_certain, handles=handles)

    def undo(self, site: Site, verdict_id: str, who: str) -> list[Verdict]:
        """Take back a verdict and those given together with it. Raises ``NotFound`` or ``VerdictStands``."""
        if not may_be_id(verdict_id):
            raise NotFound("this site has no such verdict")
        return self._store.verdicts.undo(site, verdict_id, who)

    def verdicts(self, site: Site, comment_id: str) -> list[Verdict]:
        """Every verdict on a comment, undone ones too, oldest first."""
        return self._store.verdicts.of_comment(site, comment_id) if may_be_id(comment_id) else []

    # Readers and authors

    def report(self, site: Site, comment_id: str, reporter: str, category: str | None) -> tuple[int, bool]:
        """A reader reports a comment: how many have, and whether this one is new.

        ``reporter`` is whatever the site knows the reader by; only a keyed hash of it is kept. Raises ``NotFound``
        or ``CommentErased``.
        """
        if not may_be_id(comment_id):
            raise NotFound("this site has no such comment")
        reader = self._hashes.reader(site.url, reporter)
        reopen_at = self._reports_to_reopen
        return self._store.readers.report(site, comment_id, reader, category, reopen_at=reopen_at, measure=measure)

    def appeal(self, site: Site, comment_id: str, text: str | None) -> Appeal:
        """The author asks for another look, once per version of the text; the same appeal again is ``seen``.

        Raises ``NotFound``, ``CommentErased``, ``NothingToAppeal``.
        """
        if not may_be_id(comment_id):
            raise NotFound("this site has no such comment")
        return self._store.readers.appeal(site, comment_id, text, measure=measure)

    def find_appeal(self, site: Site, appeal_id: str) -> Appeal:
        """An appeal with its outcome. Raises ``NotFound``."""
        if not may_be_id(appeal_id):
            raise NotFound("this site has no such appeal")
        return self._store.readers.find_appeal(site, appeal_id)

    # What sites poll, and forgetting

    def changes(self, site: Site, after: int, limit: int) -> list[Change]:
        """Status changes after a cursor, oldest first."""
        return self._store.logs.changes(site, after=after, limit=limit)

    def erase_author(self, site: Site, author_id: str) -> int:
        """Erase every comment of an author, and what they wrote or reported as a reader; how many comments."""
        if not may_be_id(author_id):
            return 0
        reader = self._hashes.reader(site.url, author_id)
        author_hash = self._hashes.author(site.url, author_id)
        return self._store.erasure.erase_author(site, author_id, reader, who="site", author_hash=author_hash)

    def forget(self, days: int | None, *, at_once: int = 500) -> Iterator[int]:
        """Empty comments of all sites that were decided more than ``days`` ago and do not wait; how many, in pieces.

        Between two pieces of ``at_once`` comments others may write. ``None`` empties none.
        """
        if days is None:
            return
        for site in self._store.sites():
            before, hash_author = self._now() - timedelta(days=days), partial(self._hashes.author, site.url)
            while emptied := self._store.erasure.forget_before(site, before, limit=at_once, hash_author=hash_author):
                yield emptied


def message_to_author(status: Status, *, is_by_person: bool) -> str | None:
    """What an author may be told about a comment of that status; never which rule or score it was.

    ``is_by_person`` says that a moderator has set it. ``None`` where there is nothing to say.
    """
    if status == "rejected" and is_by_person:
        return _REJECTED_BY_PERSON
    actions: dict[Status, Action] = {"held": "hold", "rejected": "reject"}
    return AUTHOR_MESSAGES[actions[status]] if status in actions else None


def is_judged(stored: Stored, verdicts: Sequence[Verdict]) -> bool:
    """Whether a comment's status is what a moderator has said of its present text; ``verdicts`` are oldest first."""
    said = [v for v in verdicts if v.undone_at is None and v.digest == stored.decision.digest]
    return bool(said) and STATUS_BY_VERDICT[said[-1].action] == stored.status


def _check(judgement: Judgement) -> None:
    if judgement.action == "approve" and judgement.categories:
        detail = {"field": "categories", "message": "must be empty for an approval"}
        raise InvalidRequest("categories must be empty for an approval, which says that none applies", [detail])
