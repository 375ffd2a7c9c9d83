"""What happens to a comment, from arrival to its stored decision.

1. Erased before: refused. Seen before with the same digest: the stored decision is the answer.
2. What the site left out (post, parent, thread) is filled in from the store.
3. The model scores, the policy decides. Any fault on the way means that a person decides, never that it passes.
4. Chance draws a share of what was published and rejected, to be looked at by a person nevertheless.
5. Comment, decision, status, log row and its place in the queue are committed together. Only then is there an answer.
"""

from __future__ import annotations

import logging
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from moderation.comment import Author, Comment, Decision, Facts, Neighbour, Post, Reason, Scores
from moderation.copied import Earlier, find_copied, find_known_spam
from moderation.policy import AUTHOR_MESSAGES, Policy
from service.errors import CommentErased, NotFound
from service.hashes import Hashes
from service.live_model import Live, LiveModel
from service.metrics import Metrics
from service.priority import draw_audit, measure, reasons_to_look
from service.shadow import Shadow
from service.store import Context, Judged, Site, StatusChange, Store, Stored, may_be_id, read_facts

_log = logging.getLogger(__name__)

_FAULTS = frozenset({"model_unavailable", "policy_unreadable"})
_UNREADABLE = "This version of the service cannot read the site's policy, so a person decides."

Recount = Callable[[Context, Sequence[int]], Context]
"""Corrects what is known around a comment with these hashes of near-duplicates."""


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A comment as it was sent, that is new or edited: its digest, the hashes of its text, and what is around it."""

    sent: Comment
    digest: str
    text_hash: str
    bands: tuple[int, ...]
    context: Context
    is_known: bool = False
    is_question: bool = False


class _Before:
    """The arrivals of one call before another.

    A comment that comes several times, or is known already, is no further one.
    """

    def __init__(self) -> None:
        self._all = 0
        self._by_author: Counter[str | None] = Counter()
        self._of_id: dict[str, str | None] = {}
        self._bands: list[tuple[str | None, frozenset[int], Earlier]] = []

    def count(self, arrival: _Arrival) -> tuple[int, int, int]:
        """How many there were of the same author, in all, and nearly identical; the comment itself not among them."""
        author, comment_id = _author_id(arrival.sent), arrival.sent.id
        is_again = comment_id is not None and comment_id in self._of_id
        is_theirs = is_again and self._of_id[comment_id or ""] == author
        near = sum(
            not bands.isdisjoint(arrival.bands)
            for other, bands, _ in self._bands
            if comment_id is None or other != comment_id
        )
        return self._by_author[author] - is_theirs, self._all - is_again, near

    def like(self, arrival: _Arrival) -> list[Earlier]:
        """Those that it may be a copy of, in the order in which they came."""
        comment_id = arrival.sent.id
        if arrival.is_known:  # it came before them, and this is an edit
            return []
        return [
            earlier
            for other, bands, earlier in self._bands
            if (comment_id is None or other != comment_id) and not bands.isdisjoint(arrival.bands)
        ]

    def add(self, arrival: _Arrival) -> None:
        """One more has come."""
        author, comment_id = _author_id(arrival.sent), arrival.sent.id
        earlier = Earlier(arrival.sent.text, arrival.sent.author or Author())
        if not arrival.is_question:
            self._bands.append((comment_id, frozenset(arrival.bands), earlier))
        if arrival.is_known or comment_id in self._of_id:
            return
        self._all += 1
        self._by_author[author] += 1
        if comment_id is not None:
            self._of_id[comment_id] = author


def _author_id(comment: Comment) -> str | None:
    return comment.author.id if comment.author else None


class Workflow:
    """How comments come in and get their first status. Thread-safe."""

    def __init__(
        self,
        store: Store,
        live_model: LiveModel,
        metrics: Metrics,
        *,
        hashes: Hashes,
        make_seed: Callable[[], str] = lambda: secrets.token_hex(8),
        shadow: Shadow | None = None,
    ) -> None:
        """``make_seed`` gives the seeds (up to 32 characters) by which chance picks what is audited; for tests.

        What was decided is offered to ``shadow``.
        """
        self._store = store
        self._live_model = live_model
        self._metrics = metrics
        self._hashes = hashes
        self._make_seed = make_seed
        self._shadow = shadow

    def submit(
        self,
        site: Site,
        comment: Comment,
        *,
        handles: Mapping[str, str] | None = None,
        retries_faults: bool = False,
        recount: Recount | None = None,
        tells_spam: Callable[[Decision], bool | None] | None = None,
        may_wait: bool = True,
        is_question: bool = False,
    ) -> Stored:
        """Judge one comment. Raises ``CommentErased``, ``StoreBusy`` or ``StoreUnavailable``.

        ``handles`` as for :meth:`~service.feedback.Feedback.give`, which finds the comment again by them. With
        ``retries_faults`` a decision that a fault has made is no answer: once the fault is over there is another.
        ``recount`` corrects counts where the store knows earlier texts of a comment as comments of their own; it gets
        what was counted, and hashes of near-duplicates. ``tells_spam`` says what a client that speaks the protocol of
        Akismet is told by a decision; that is kept with a decision that is new. Without ``may_wait`` nobody is asked to
        look at the comment, not by chance either: a verdict on it is at hand, and comes next. ``is_question``: the
        client says neither who wrote the text nor whether it was written at all, and may ask about it as often as it
        likes, so that it is no further one of a campaign.
        """
        (result,) = self.submit_many(
            site,
            [comment],
            handles=handles,
            retries_faults=retries_faults,
            recount=recount,
            tells_spam=tells_spam,
            may_wait=may_wait,
            is_question=is_question,
        )
        if isinstance(result, CommentErased):
            raise result
        return result

    def submit_many(
        self,
        site: Site,
        sent: Sequence[Comment],
        *,
        handles: Mapping[str, str] | None = None,
        retries_faults: bool = False,
        recount: Recount | None = None,
        tells_spam: Callable[[Decision], bool | None] | None = None,
        may_wait: bool = True,
        is_question: bool = False,
    ) -> list[Stored | CommentErased]:
        """Judge many comments in one call of the model and keep them in one transaction; results in the same order.

        Comments of one call are not yet neighbours of each other. ``handles`` are those of all of them; for the rest
        see :meth:`submit`.
        """
        digests = [comment.digest() for comment in sent]
        with self._store.view(site) as view:
            known = view.comments([comment.id for comment in sent if comment.id is not None])
            results = _recognise(sent, digests, known, retries_faults=retries_faults)
            new = [index for index in range(len(sent)) if index not in results]
            hashes = [self._hashes.of_text(sent[index].text) for index in new]
            contexts = view.context([sent[index] for index in new], [bands for _, bands in hashes])
        if new:
            if recount is not None:
                contexts = [recount(context, bands) for context, (_, bands) in zip(contexts, hashes, strict=True)]
            arrivals = [
                _Arrival(sent[index], digests[index], *of_text, context, sent[index].id in known, is_question)
                for index, of_text, context in zip(new, hashes, contexts, strict=True)
            ]
            hashed = self._hashes.handles(site.url, handles or {})
            recorded = self._judge(
                site, arrivals, hashed, retries_faults=retries_faults, tells_spam=tells_spam, may_wait=may_wait
            )
            results |= dict(zip(new, recorded, strict=True))
        for result in results.values():
            if isinstance(result, Stored) and result.seen:
                self._metrics.count_seen()
            elif isinstance(result, Stored):
                self._metrics.count_decision(result.decision.action, result.decision.tier)
        return [results[index] for index in range(len(sent))]

    def _judge(
        self,
        site: Site,
        arrivals: Sequence[_Arrival],
        handles: tuple[str, ...],
        *,
        retries_faults: bool,
        tells_spam: Callable[[Decision], bool | None] | None,
        may_wait: bool,
    ) -> list[Stored | CommentErased]:
        live = self._live_model.current(site.url)
        policy = live.readable_policy(site.policy_digest, self._store.policy_toml, site.url)
        if policy is None:
            _log.error("policy cannot be read", extra={"site": site.url, "policy": site.policy_digest})
        kept = policy or live.default
        judged = [_fill(site, arrival.sent, arrival.context) for arrival in arrivals]
        rows: list[Judged] = []
        before = _Before()
        for index, (scores, found) in enumerate(live.assess(judged)):
            comment, arrival, context = judged[index], arrivals[index], arrivals[index].context
            # Of a flood that comes in one call, each sees those before it.
            of_author, of_all, near = before.count(arrival)
            facts = replace(
                found,
                author_published=context.author_published,
                campaign_size=context.campaign_size + near,
                copied=find_copied(comment, [*context.earlier, *before.like(arrival)]) is not None,
                known_spam=find_known_spam(comment, context.judged) is not None,
                author_recent=tuple(count + of_author for count in context.author_recent),
                site_recent=tuple(count + of_all for count in context.site_recent),
            )
            before.add(arrival)
            decision = _decide(policy, live, site.policy_digest, comment, scores, facts)
            share = kept.settings.audit.get(decision.action, 0.0)
            is_queued = bool(reasons_to_look(decision, None))
            draw = draw_audit(decision.action, share, self._make_seed(), is_queued=is_queued) if may_wait else None
            row = Judged(
                comment=comment,
                sent_digest=arrival.digest,
                text_hash=arrival.text_hash,
                decision=decision,
                facts=asdict(facts),
                known=(*context.thread, *([context.parent] if context.parent else [])),
                bands=arrival.bands,
                handles=handles,
                whys=reasons_to_look(decision, draw) if may_wait else (),
                priority=measure(decision),
                draw=draw,
                is_retry=retries_faults and not is_by_fault(decision),
                told_spam=None if tells_spam is None or comment.id is None else tells_spam(decision),
                is_question=arrival.is_question,
            )
            rows.append(row)
        recorded = self._store.record(site, rows, (kept.digest, kept.toml))
        if self._shadow is not None:
            self._shadow.offer(site, rows, recorded)
        return recorded

    def find_decision(self, site: Site, decision_id: str) -> Stored:
        """A stored decision of this site. Raises ``NotFound``."""
        if not may_be_id(decision_id):
            raise NotFound("this site has no such decision")
        return self._store.find_decision(site, decision_id)

    def find_comment(self, site: Site, comment_id: str) -> Stored:
        """A comment of this site with its latest decision. Raises ``NotFound``."""
        found = self._store.find_comments(site, [comment_id]).get(comment_id) if may_be_id(comment_id) else None
        if found is None:
            raise NotFound("this site has no such comment")
        return found

    def status_changes(self, site: Site, comment_id: str) -> list[StatusChange]:
        """Who set which status of a comment and when, oldest first."""
        return self._store.status_changes(site, comment_id)

    def erase(self, site: Site, comment_id: str) -> Stored:
        """Remove what was written and who wrote it, on the site's request. Twice is no error. Raises ``NotFound``."""
        if not may_be_id(comment_id):
            raise NotFound("this site has no such comment")
        self._store.erasure.erase_comment(site, comment_id, who="site")
        return self.find_comment(site, comment_id)

    def replay(self, site: Site, decision_id: str) -> Decision:
        """Decide again about exactly what was judged, with the same policy and the scores of the bundle in force.

        Where that is the bundle of the stored decision, the same tier answers and no goal has come to another line by
        the site's own labels since, the result equals it. Raises ``NotFound`` where the text is not kept (any more).
        """
        return self._decide_again(site, decision_id, self.find_decision(site, decision_id).decision.policy)

    def judge_again(self, site: Site, decision_id: str) -> Decision:
        """The same with the policy that the site follows now: what would be decided if it came in today.

        Nothing is kept of it. Raises ``NotFound`` as :meth:`replay`.
        """
        self.find_decision(site, decision_id)
        return self._decide_again(site, decision_id, site.policy_digest)

    def _decide_again(self, site: Site, decision_id: str, policy_digest: str | None) -> Decision:
        kept = self._store.judged_comment(decision_id)
        if kept is None:
            raise NotFound("the text of this comment is not kept, so its decision cannot be made again")
        comment, old_facts = kept
        live = self._live_model.current(site.url)
        policy = live.readable_policy(policy_digest, self._store.policy_toml, site.url)
        scores, facts = live.assess_again(comment, read_facts(old_facts))
        return _decide(policy, live, policy_digest, comment, scores, facts)


def is_by_fault(decision: Decision) -> bool:
    """Whether a person has to decide because something was out of order, and not because the site's policy says so."""
    fired = {reason.name for reason in decision.reasons if reason.fired}
    return decision.scores is None or bool(fired & _FAULTS)


def _recognise(
    sent: Sequence[Comment], digests: Sequence[str], known: Mapping[str, Stored], *, retries_faults: bool
) -> dict[int, Stored | CommentErased]:
    """What is answered to those that were erased, or decided before as they are."""
    results: dict[int, Stored | CommentErased] = {}
    for index, comment in enumerate(sent):
        stored = None if comment.id is None else known.get(comment.id)
        if stored is None:
            continue
        if stored.status == "erased":
            results[index] = CommentErased()
        # With do_not_store the store has more to do: it empties what it kept of the comment before.
        elif (
            stored.sent_digest == digests[index]
            and not comment.do_not_store
            and not (retries_faults and is_by_fault(stored.decision))
        ):
            results[index] = replace(stored, seen=True)
    return results


def _decide(
    policy: Policy | None, live: Live, digest: str | None, comment: Comment, scores: Scores | None, facts: Facts
) -> Decision:
    """What a policy says; a person decides where it (``None``) cannot be read, whatever another one would say."""
    if policy is not None:
        return policy.decide(comment, scores, facts)
    decided = live.default.decide(comment, scores, facts)
    reason = Reason("policy_unreadable", True, None, True, _UNREADABLE)
    message = AUTHOR_MESSAGES["hold"]
    return replace(decided, action="hold", reasons=(reason,), policy=digest or decided.policy, author_message=message)


def _fill(site: Site, comment: Comment, context: Context) -> Comment:
    """The comment as it is judged: what the site left open taken from the store, empty objects taken for none."""
    post = comment.post or Post()
    if context.post is not None:
        # A field left out keeps what was said of the post before.
        old = context.post
        kept = {name: getattr(old, name) for name in ("title", "text", "url") if getattr(post, name) is None}
        post = replace(post, tags=post.tags or old.tags, **kept)
    parent = context.parent.neighbour if context.parent else comment.parent or Neighbour()
    thread = comment.thread
    if thread is None and post.id is not None:
        thread = tuple(known.neighbour for known in context.thread)
    return replace(
        comment,
        site=site.url,
        author=None if comment.author == Author() else comment.author,
        post=None if post == Post() else post,
        parent=None if parent == Neighbour() else parent,
        thread=thread,
    )
