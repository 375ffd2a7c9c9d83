"""What happens to a comment, from arrival to its stored decision.

1. Erased before: refused. Seen before with the same digest: the stored decision is the answer.
2. What the site left out (post, parent, thread) is filled in from the store.
3. The model scores, the policy decides. Any fault on the way means that a person decides, never that it passes.
4. Comment, decision, status and log row are committed together. Only then is there an answer.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import asdict, fields, replace

from moderation.comment import Author, Comment, Decision, Neighbour, Post
from moderation.errors import InvalidComment
from moderation.normalise import normalise
from moderation.policy import Facts
from service.errors import CommentErased, NotFound
from service.live_model import LiveModel
from service.metrics import Metrics
from service.store import Context, Judged, Site, StatusChange, Store, Stored


class Workflow:
    """The one way in which comments get a status. Thread-safe."""

    def __init__(self, store: Store, live_model: LiveModel, metrics: Metrics, *, text_key: bytes) -> None:
        """``text_key`` is the secret under which texts are hashed, so that a hash alone tells nobody what was said."""
        self._store = store
        self._live_model = live_model
        self._metrics = metrics
        self._text_key = text_key

    def submit(self, site: Site, comment: Comment) -> Stored:
        """Judge one comment. Raises ``CommentErased``, ``StoreBusy`` or ``StoreUnavailable``."""
        (result,) = self.submit_many(site, [comment])
        if isinstance(result, CommentErased):
            raise result
        return result

    def submit_many(self, site: Site, sent: Sequence[Comment]) -> list[Stored | CommentErased]:
        """Judge many comments in one call of the model and keep them in one transaction; results in the same order.

        Comments of one call are not yet neighbours of each other.
        """
        known = self._store.find_comments(site, [comment.id for comment in sent if comment.id is not None])
        results: dict[int, Stored | CommentErased] = {}
        for index, comment in enumerate(sent):
            stored = None if comment.id is None else known.get(comment.id)
            if stored is None:
                continue
            if stored.status == "erased":
                results[index] = CommentErased()
            # With do_not_store the store has more to do: it empties what it kept of the comment before.
            elif stored.sent_digest == comment.digest() and not comment.do_not_store:
                results[index] = replace(stored, seen=True)
        new = [index for index in range(len(sent)) if index not in results]
        if new:
            recorded = self._judge(site, [sent[index] for index in new])
            results |= dict(zip(new, recorded, strict=True))
        for result in results.values():
            if isinstance(result, Stored) and result.seen:
                self._metrics.count_seen()
            elif isinstance(result, Stored):
                self._metrics.count_decision(result.decision.action, result.decision.tier)
        return [results[index] for index in range(len(sent))]

    def _judge(self, site: Site, sent: Sequence[Comment]) -> list[Stored | CommentErased]:
        live = self._live_model.current()
        policy = live.policy(site.policy_digest, self._store.policy_toml)
        contexts = self._store.context(site, sent)
        judged = [_fill(site, comment, context) for comment, context in zip(sent, contexts, strict=True)]
        rows = []
        for comment, whole, context, (scores, found) in zip(sent, judged, contexts, live.assess(judged), strict=True):
            facts = replace(found, author_published=context.author_published)
            row = Judged(
                comment=whole,
                sent_digest=comment.digest(),
                text_hash=self.hash_text(whole.text),
                decision=policy.decide(whole, scores, facts),
                facts=asdict(facts),
                known=(*context.thread, *([context.parent] if context.parent else [])),
            )
            rows.append(row)
        return self._store.record(site, rows, (policy.digest, policy.toml))

    def find_decision(self, site: Site, decision_id: str) -> Stored:
        """A stored decision of this site. Raises ``NotFound``."""
        if not _may_be_id(decision_id):
            raise NotFound("this site has no such decision")
        return self._store.find_decision(site, decision_id)

    def find_comment(self, site: Site, comment_id: str) -> Stored:
        """A comment of this site with its latest decision. Raises ``NotFound``."""
        found = self._store.find_comments(site, [comment_id]).get(comment_id) if _may_be_id(comment_id) else None
        if found is None:
            raise NotFound("this site has no such comment")
        return found

    def status_changes(self, site: Site, comment_id: str) -> list[StatusChange]:
        """Who set which status of a comment and when, oldest first."""
        return self._store.status_changes(site, comment_id)

    def erase(self, site: Site, comment_id: str) -> Stored:
        """Remove what was written and who wrote it, on the site's request. Twice is no error. Raises ``NotFound``."""
        if not _may_be_id(comment_id):
            raise NotFound("this site has no such comment")
        self._store.erase_comment(site, comment_id, who="site")
        return self.find_comment(site, comment_id)

    def replay(self, site: Site, decision_id: str) -> Decision:
        """Decide again about exactly what was judged, with the same policy and the scores of the bundle in force.

        Where that is the bundle of the stored decision and the same tier answers, the result equals it. Raises
        ``NotFound`` where the text is not kept (any more).
        """
        stored = self.find_decision(site, decision_id)
        kept = self._store.judged_comment(decision_id)
        if kept is None:
            raise NotFound("the text of this comment is not kept, so its decision cannot be made again")
        comment, old_facts = kept
        live = self._live_model.current()
        policy = live.policy(stored.decision.policy, self._store.policy_toml)
        ((scores, found),) = live.assess([comment])
        # What the model finds is found again; what the store knew then is taken from then.
        old = _read_facts(old_facts)
        facts = replace(found, author_published=old.author_published, campaign_size=old.campaign_size)
        return policy.decide(comment, scores, facts)

    def hash_text(self, text: str) -> str:
        """The keyed hash (hex) by which the same text is found again, also in a disguise that ``normalise`` undoes."""
        return hmac.new(self._text_key, normalise(text).text.encode(), hashlib.sha256).hexdigest()


def _may_be_id(text: str) -> bool:
    """Whether a comment can have that id at all. Databases choke on some that cannot, such as one with a NUL."""
    try:
        Neighbour(id=text)
    except InvalidComment:
        return False
    return True


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


def _read_facts(stored: dict[str, object]) -> Facts:
    """Facts as they were stored; those that this version does not know are left out."""
    known = {item.name for item in fields(Facts)}
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}
    return Facts(**{name: value for name, value in values.items() if name in known})  # type: ignore[arg-type]  # written by asdict
