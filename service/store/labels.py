"""What people said about comments, as labels to learn from: lines of a file of labels, read from verdicts.

Only what a person said is a label. What the model decided is none, however long nobody objected, and neither is a
comment that nobody reported. What callers say of a text without settling a comment by it counts where nobody has given
a verdict on that text.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, Table, exists, func, select

from moderation.categories import CODES, MAY_ABSTAIN
from moderation.comment import MAX_ID_CHARS
from service.statuses import REVIEW, SECOND_LOOK, VerdictAction
from service.store import engine as connections
from service.store.records import Site
from service.store.review_tables import appeals, audit_log, reports, suggestions, verdicts
from service.store.tables import comment_versions, comments, decisions, post_versions, posts, sites
from service.store.verdicts import gave_before
from service.store.writing import AUTHOR_HASH

# Posts may be long, and so many are in memory at a time.
_AT_ONCE = 200

_PLATFORM = "platform"
_ERASURES = ("comment_erased", "author_erased", "comments_forgotten")


class Labels:
    """Verdicts that stand, as labels with all that is known of where they come from."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read(self, site: Site | None = None) -> Iterator[dict[str, Any]]:
        """The last word of each moderator about each text, of a site or of all, in the order in which they were given.

        What was taken back is none, nor is what was said about a text that is no longer kept. The words of several
        moderators about one text are there all; the last one counts. Words that are no verdicts come last.
        """
        for query, table, write in (
            (_select_words(), verdicts, _write_verdict),
            (_select_suggestions(), suggestions, _write_suggestion),
        ):
            of_site = query if site is None else query.where(table.c.site_id == site.row)
            yield from self._pages(of_site.order_by(table.c.id), table, write)

    def _pages(
        self, query: Select[Any], table: Table, write: Callable[[Row[Any]], dict[str, Any]]
    ) -> Iterator[dict[str, Any]]:
        after = 0
        while True:
            with connections.reading(self._engine) as connection:
                rows = connection.execute(query.where(table.c.id > after).limit(_AT_ONCE)).all()
                said = _find_posts(connection, {row.post_version_id for row in rows} - {None})
                texts = _find_texts(connection, rows)
            for row in rows:
                label = _write_comment(row, said, texts) | write(row)
                yield {name: value for name, value in label.items() if value is not None}
            if len(rows) < _AT_ONCE:
                return
            after = rows[-1].word_row

    def erased(self) -> set[tuple[str, str]]:
        """Site and id of every comment that was erased, so that copies of what it said can be dropped elsewhere."""
        query = select(sites.c.url, comments.c.external_id).join(sites, sites.c.id == comments.c.site_id)
        query = query.where(comments.c.status == "erased", comments.c.external_id.is_not(None))
        with connections.reading(self._engine) as connection:
            return {(row.url, row.external_id) for row in connection.execute(query)}

    def erased_authors(self) -> set[tuple[str, str]]:
        """Site and hash of every author whose erasure was asked for, so that it is kept to in copies too."""
        query = select(sites.c.url, audit_log.c.details).join(sites, sites.c.id == audit_log.c.site_id)
        query = query.where(audit_log.c.event == "author_erased")
        with connections.reading(self._engine) as connection:
            rows = connection.execute(query)
            return {(row.url, row.details[AUTHOR_HASH]) for row in rows if AUTHOR_HASH in row.details}

    def last_erasures(self) -> str:
        """A mark that is another one after each erasure, also of what was too old; empty where there was none."""
        line = audit_log.c
        # Within a site ids are in the order of commits, among sites they need not be. Each is a look into an index.
        last = [
            select(func.max(line.id)).where(line.site_id == sites.c.id, line.event == event).scalar_subquery()
            for event in _ERASURES
        ]
        with connections.reading(self._engine) as connection:
            rows = connection.execute(select(sites.c.id, *last).order_by(sites.c.id)).all()
        marks = [f"{row.id}.{event}.{mark}" for row in rows for event, mark in enumerate(row[1:]) if mark is not None]
        return " ".join(marks)

    def judged_and_gone(self) -> str:
        """A mark that is another one where something was erased that people had judged."""
        version = comment_versions.c
        emptied = select(func.count()).select_from(suggestions)
        emptied = emptied.join(comment_versions, version.id == suggestions.c.comment_version_id)
        queries = (
            select(func.count()).select_from(verdicts).where(verdicts.c.digest == ""),
            emptied.where(version.text.is_(None)),
        )
        with connections.reading(self._engine) as connection:
            return " ".join(str(connection.execute(query).scalar_one()) for query in queries)


def labels_of(
    action: VerdictAction,
    categories: Collection[str],
    scores: Mapping[str, float | None] | None,
    cleared: Collection[str] = (),
) -> dict[str, int]:
    """What a verdict says of each category, 0 or 1; one that is missing is unknown.

    An approval says 0 of everything that the model did not abstain from, or only of what it has ``cleared``. A
    rejection says 1 of the categories that it names and 0 of what it has cleared; without any it says nothing of which
    it was.
    """
    if action == "reject" or cleared:
        return {code: int(code in categories) for code in CODES if code in categories or code in cleared}
    known = scores or dict.fromkeys(set(CODES) - MAY_ABSTAIN, 0.0)
    return {code: 0 for code in CODES if known.get(code) is not None}


def _select_words() -> Select[Any]:
    verdict = verdicts.c
    later, beside, own = verdicts.alias("later"), verdicts.alias("beside"), verdicts.alias("own")
    replaced = exists().where(
        later.c.comment_version_id == verdict.comment_version_id,
        later.c.moderator == verdict.moderator,
        later.c.undone_at.is_(None),
        later.c.id > verdict.id,
    )
    # Somebody who speaks again, since people ask, had looked all the same as chance or a rule had it.
    inclusion = (
        select(own.c.inclusion_probability)
        .where(own.c.comment_version_id == verdict.comment_version_id, own.c.moderator == verdict.moderator)
        .where(own.c.undone_at.is_(None), own.c.inclusion_probability.is_not(None))
        .order_by(own.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    others = exists().where(beside.c.together == verdict.together, beside.c.id != verdict.id)
    had_said = gave_before()
    # By the comment as well, which has an index.
    answered = (appeals.c.comment_id == verdict.comment_id) & (appeals.c.verdict_id == verdict.id)
    outcome = select(appeals.c.outcome).where(answered).limit(1).scalar_subquery()
    reported = exists().where(reports.c.comment_version_id == verdict.comment_version_id, reports.c.at <= verdict.at)
    return (
        _select_judged(verdicts)
        .add_columns(verdict.action.label("verdict"), verdict.categories, verdict.cleared, verdict.source)
        .add_columns(verdict.score_shown, inclusion.label("inclusion_probability"))
        .add_columns(others.label("is_one_of_many"), outcome.label("outcome"), reported.label("was_reported"))
        .add_columns(had_said.label("had_said"))
        .where(verdict.undone_at.is_(None), ~replaced)
    )


def _select_suggestions() -> Select[Any]:
    verdict = verdicts.c
    is_judged = exists().where(
        verdict.comment_version_id == suggestions.c.comment_version_id, verdict.undone_at.is_(None)
    )
    return _select_judged(suggestions).add_columns(suggestions.c.labels).where(~is_judged)


def _select_judged(word: Table) -> Select[Any]:
    """Words (of ``verdicts`` or ``suggestions``) with what they are about, where the text is kept."""
    version, decision = comment_versions.c, decisions.c
    parent = comment_versions.alias("parent")
    other = decisions.alias("judged")
    # The decision that stood when it was said.
    of_it = (other.c.comment_version_id == word.c.comment_version_id) & (other.c.created_at <= word.c.at)
    judged = select(func.max(other.c.id)).where(of_it).correlate(word).scalar_subquery()
    return (
        select(word.c.id.label("word_row"), word.c.moderator, word.c.at)
        .add_columns(version.digest, version.text, version.author_id, version.author_name, version.author_url)
        .add_columns(version.kind, version.parent_id, version.parent_text, version.thread, version.lang, version.url)
        .add_columns(version.written_at, version.hints, version.post_version_id, parent.c.text.label("known_parent"))
        .add_columns(comments.c.external_id, sites.c.url.label("site"), posts.c.external_id.label("post"))
        .add_columns(decision.action, decision.scores, decision.bundle, decision.tier)
        .select_from(word)
        .join(comment_versions, version.id == word.c.comment_version_id)
        .join(comments, comments.c.id == version.comment_id)
        .join(sites, sites.c.id == word.c.site_id)
        .outerjoin(decisions, decision.id == judged)
        .outerjoin(posts, posts.c.id == version.post_id)
        .outerjoin(parent, parent.c.id == version.parent_version_id)
        .where(version.text.is_not(None), comments.c.status != "erased")
    )


def _find_posts(connection: Connection, rows: Collection[int]) -> dict[int, Row[Any]]:
    query = select(post_versions).where(post_versions.c.id.in_(rows))
    return {row.id: row for row in connection.execute(query)} if rows else {}


def _find_texts(connection: Connection, rows: Sequence[Row[Any]]) -> dict[int, str | None]:
    """The texts of neighbours that are kept as comments of their own."""
    known = {item["version"] for row in rows for item in row.thread or () if "version" in item}
    query = select(comment_versions.c.id, comment_versions.c.text).where(comment_versions.c.id.in_(known))
    return {row.id: row.text for row in connection.execute(query)} if known else {}


def _write_verdict(row: Row[Any]) -> dict[str, Any]:
    label = _write_word(row, labels_of(row.verdict, row.categories, row.scores, row.cleared or ()), _source(row))
    shown, inclusion = row.score_shown, row.inclusion_probability
    return label | {"verdict": row.verdict, "score_shown": shown, "inclusion_probability": inclusion}


def _write_suggestion(row: Row[Any]) -> dict[str, Any]:
    return _write_word(row, row.labels, _PLATFORM)


def _write_word(row: Row[Any], labels: Mapping[str, int], source: str) -> dict[str, Any]:
    return {
        "labels": labels,
        # Names from elsewhere have a prefix, which may make them too long for a label.
        "moderator": row.moderator[:MAX_ID_CHARS],
        "source": source,
        "at": row.at.isoformat(),
        "digest": row.digest,
        "bundle": row.bundle,
        "tier": row.tier,
        "action": row.action,
        "scores": row.scores,
    }


def _write_comment(row: Row[Any], said: Mapping[int, Row[Any]], texts: Mapping[int, str | None]) -> dict[str, Any]:
    """The fields of the comment as it was judged; of neighbours that were forgotten since, the ids."""
    post = said.get(row.post_version_id) if row.post_version_id is not None else None
    about = {"title": post.title, "text": post.text, "url": post.url, "tags": post.tags or None} if post else {}
    thread = None
    if row.thread is not None:
        each = ((item["id"], item.get("text", texts.get(item.get("version")))) for item in row.thread)
        thread = [_some({"id": identity, "text": text}) or {} for identity, text in each]
    return {
        "id": row.external_id,
        "site": row.site,
        "text": row.text,
        "kind": row.kind,
        "author": _some({"id": row.author_id, "name": row.author_name, "url": row.author_url}),
        "post": _some({"id": row.post, **about}),
        "parent": _some({"id": row.parent_id, "text": row.parent_text or row.known_parent}),
        "thread": thread,
        "lang": row.lang,
        "url": row.url,
        "created_at": row.written_at,
        "hints": row.hints or None,
    }


def _some(values: Mapping[str, Any]) -> dict[str, Any] | None:
    return {name: value for name, value in values.items() if value is not None} or None


def _source(row: Row[Any]) -> str:
    """Where a label comes from, the most telling first."""
    if row.outcome is not None:
        return f"appeal_{row.outcome}"
    if row.source == SECOND_LOOK:
        # Whoever looks again at what they have said themselves is no second person.
        return "verdict" if row.had_said else "second_look"
    if row.was_reported and row.verdict == "reject":
        return "report_confirmed"
    if row.source != REVIEW:
        return _PLATFORM
    return "batch" if row.is_one_of_many else "verdict"
