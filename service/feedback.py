"""What callers say later about a text they had judged, in protocols that have no id of ours to name it by.

Akismet's ``submit-ham`` and Perspective's ``suggestscore`` send the text once more, with more or less of what stood
beside it. The comment is looked for by the keyed hash of its text, and told from others with the same text by *handles*
(community, token, author ...), which are kept as keyed hashes only. For some callers a handle is a hint, for others it
says for certain that another comment is meant (``must_match``).

Akismet's clients know a comment by its guid as a rule: where they do not, the one that shares most handles is meant, of
equal ones the last (:meth:`Feedback.give`). Perspective's know none, and what they say settles a comment only where no
other can be meant (:meth:`Feedback.suggest`): people write the same short text often, and a verdict on a twin would
publish what nobody has looked at.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from moderation.comment import Comment
from service.errors import TextChanged
from service.hashes import Hashes
from service.store import Judge, Judgement, SameText, Site, Store, Target, Verdict
from service.verdicts import Moderation
from service.workflow import Workflow

# People write the same short text often: among so many of it the one that is meant is looked for.
_MOST_TEXTS = 500


class Feedback:
    """Verdicts on texts. Thread-safe."""

    def __init__(self, store: Store, workflow: Workflow, moderation: Moderation, hashes: Hashes) -> None:
        self._store = store
        self._workflow = workflow
        self._moderation = moderation
        self._hashes = hashes

    def give(
        self,
        site: Site,
        comment: Comment,
        judge: Judge,
        judgement: Judgement,
        *,
        handles: Mapping[str, str] | None = None,
        must_match: Collection[str] = (),
        came_by: tuple[str, ...] = ("",),
    ) -> Verdict:
        """A verdict on a comment that was judged before, by its id or else by its text; on a new one where it was not.

        ``comment`` is what the caller sends along, with the id where they know one. ``handles`` are names and values by
        which the comment is told from others with the same text, as they were given to
        :meth:`~service.workflow.Workflow.submit`; a comment that was submitted with another value of one that is named
        in ``must_match`` is not the one that is meant, and, unless the caller names it, neither is one whose id begins
        with none of ``came_by``. What was never judged is judged now, so that the label has a decision beside it.
        Raises ``CommentErased``, ``StoreBusy`` or ``StoreUnavailable``.
        """
        target = self._find(site, comment, handles or {}, must_match, came_by)
        if target is None:
            new = replace(comment, id=comment.id or new_id("feedback"))
            stored = self._workflow.submit(site, new, handles=handles, may_wait=False)
            target = Target(stored.decision.digest, new.id)
        try:
            return self._moderation.decide(site, judge, judgement, target)
        except TextChanged as changed:
            # Between the look and the verdict another text came in under this id; the caller means the comment.
            return self._moderation.decide(site, judge, judgement, replace(target, digest=changed.digest))

    def suggest(
        self,
        site: Site,
        comment: Comment,
        judge: Judge,
        judgement: Judgement,
        *,
        handles: Mapping[str, str],
        came_by: str,
        telling: Sequence[str],
        must_match: Collection[str] = (),
    ) -> Verdict | None:
        """A verdict on the one comment with that text that the caller can mean; ``None`` where it is a label only.

        Meant can only be comments whose ids begin with ``came_by``. Of several it is the one that shares the handles
        that are named in ``telling``, the most telling first, and from then on it has those that must match; where two
        share the same, or only others have the text, none is known to be meant. A text of which nothing else is
        known than comments that ``must_match`` says are others is judged now, as a comment of its own. For the rest
        see :meth:`give` and :meth:`~service.verdicts.Moderation.suggest`.
        """
        found = self._find_texts(site, comment)
        wanted = self._hashes.handles(site.url, handles)
        must = {each for each in wanted if _name(each) in must_match}
        meant = [text for text in found if text.comment.startswith(came_by) and not _is_another(text.handles, must)]
        by_name = {_name(each): each for each in wanted}
        shared = [tuple(name in by_name and by_name[name] in text.handles for name in telling) for text in meant]
        most = max(shared, default=())
        best = [text for text, each in zip(meant, shared, strict=True) if each == most]
        candidates = best or [text for text in found if not text.comment.startswith(came_by)]
        if candidates:
            target = Target(candidates[0].digest, candidates[0].comment)
        else:
            new = replace(comment, id=new_id(came_by.rstrip("-")))
            stored = self._workflow.submit(site, new, handles=handles, may_wait=False)
            target = Target(stored.decision.digest, new.id)
        is_certain = len(best) == 1 or not candidates
        return self._moderation.suggest(site, judge, judgement, target, is_certain=is_certain, handles=must)

    def find(
        self,
        site: Site,
        comment: Comment,
        handles: Mapping[str, str],
        *,
        must_match: Collection[str] = (),
        came_by: tuple[str, ...] = ("",),
    ) -> str | None:
        """The id of the comment that :meth:`give` would take to be meant; ``None`` where none was judged before."""
        target = self._find(site, comment, handles, must_match, came_by)
        return None if target is None else target.comment

    def knows(self, site: Site, comment: Comment) -> bool:
        """Whether the comment of that id was judged before with that text, whatever stands beside it now."""
        found = self._find_texts(site, comment)
        return any(text.comment == comment.id for text in found)

    def _find(
        self,
        site: Site,
        comment: Comment,
        handles: Mapping[str, str],
        must_match: Collection[str],
        came_by: tuple[str, ...],
    ) -> Target | None:
        if comment.id is not None:
            known = self._store.find_comments(site, [comment.id]).get(comment.id)
            if known is not None:
                return Target(known.decision.digest, comment.id)
        wanted = set(self._hashes.handles(site.url, handles))
        must = {each for each in wanted if _name(each) in must_match}
        found = self._find_texts(site, comment)
        meant = [text for text in found if text.comment.startswith(came_by) and not _is_another(text.handles, must)]
        # The newest stands first, and the first of equal ones is taken.
        best = max(meant, key=lambda text: len(wanted.intersection(text.handles)), default=None)
        return None if best is None else Target(best.digest, best.comment)

    def _find_texts(self, site: Site, comment: Comment) -> list[SameText]:
        """The comments with that text, the newest first."""
        return self._store.find_texts(site, self._hashes.text(comment.text), limit=_MOST_TEXTS)


def _is_another(kept: Collection[str], must: Collection[str]) -> bool:
    """Whether one of the handles that must match was kept with another value. What was not said may be anything."""
    names = {_name(each) for each in kept}
    return any(each not in kept and _name(each) in names for each in must)


def _name(handle: str) -> str:
    return handle.partition(":")[0]


def new_id(kind: str) -> str:
    """An id for a comment of which its site has said none."""
    return f"{kind}-{secrets.token_hex(16)}"
