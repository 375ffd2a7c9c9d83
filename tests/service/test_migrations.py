"""Migrations: they make exactly the tables that the code knows, and keep what is in them."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection, MetaData, create_engine, func, insert, inspect, select, text, update

from moderation.categories import CODES
from moderation.comment import Author, Comment, Decision, Neighbour, Post
from service.errors import StoreUnavailable
from service.priority import measure
from service.store import (
    Alert,
    AuditDraw,
    Beside,
    DriftDay,
    Judge,
    Judged,
    Judgement,
    Priority,
    QueueFilter,
    Store,
    Stored,
    Target,
    Verdict,
    Why,
)
from service.store import engine as connections
from service.store.columns import metadata
from service.store.tables import near_hashes


def fill(store: Store) -> None:
    site = store.add_site("https://blog.example")
    store.add_key(site, "aaaaaaaa", "0" * 64)
    store.webhooks.add(site, "https://blog.example/hook", (), "whsec_AAAA", who="operator")
    store.leases.take("upkeep", "h", 60)
    for n in range(3):
        comment = Comment(f"text {n}", id=f"c{n}", author=Author("a"), post=Post("p", "Title"), parent=Neighbour("c0"))
        comment = replace(comment, thread=(Neighbour("elsewhere", "Words that were sent along"),))
        decision = Decision("hold", None, (), comment.digest(), None, "d" * 64, None)
        held = Why("held", "spam", 0.5, "Held.")
        draw = AuditDraw("publish", 0.01, "seed", 0.01)
        row = Judged(comment, comment.digest(), "h", decision, {}, bands=(n,), whys=(held,), draw=draw)
        store.record(site, [row], ("d" * 64, "# toml"))
    told = Judged(replace(comment, id="akismet-1"), "", "h", decision, {}, told_spam=True)
    store.record(site, [told], ("d" * 64, "# toml"))
    connection = store.coral.connect(site, "s", None, who="operator")
    asked = Judged(replace(comment, id="coral-1", post=Post("s1")), "", "h", decision, {})
    store.record(site, [asked], ("d" * 64, "# toml"))
    assert store.coral.learn(connection, "c1", "s1", "hold", happened=store.now(), is_reply=None)
    store.coral.note(connection, "s2")
    ada = store.people.add("Ada", site, "moderator", who="operator")
    store.sessions.open(ada, "s" * 64, timedelta(days=1))
    judge, judgement = Judge("Ada", "review", ada.row), Judgement("reject", ("spam",))
    store.verdicts.decide(site, judge, judgement, [Target(comment.digest(), comment="c2")])
    (of_it,) = store.find_comments(site, ["c2"]).values()
    caller, cleared = Judge("site:forum", "perspective"), Judgement("approve", cleared=("hostile",))
    store.suggestions.give(site, caller, cleared, Target(of_it.decision.digest, "c2"), is_certain=True)
    beside = replace(of_it.decision, bundle="comments-1")
    store.shadows.add([Beside(of_it.decision.decision_id, beside)])
    figures = DriftDay(
        site.url, "2026-01-31", "comments-1", "full", "spam", 1, (1,), None, None, (), (Alert("scores", "."),)
    )
    store.drift.add(site, [figures], tell=["spam"])
    store.readers.report(site, "c2", "r" * 64, None, reopen_at=3, measure=measure)
    store.readers.appeal(site, "c2", "Why?", measure=lambda _: Priority(None, 1.0, 1.0, 1.0))


def count_rows(connection: Connection, *, reflected: bool = False) -> dict[str, int]:
    tables = metadata
    if reflected:
        tables = MetaData()
        tables.reflect(connection)
    return {
        table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
        for table in tables.sorted_tables
    }


def describe(connection: Connection) -> dict[str, list]:
    """All that a database says of its tables, in an order that does not depend on how they came to be."""
    said = inspect(connection)
    tables = {}
    for name in said.get_table_names():
        columns = [{**column, "type": str(column["type"])} for column in said.get_columns(name)]
        parts = (
            columns,
            said.get_foreign_keys(name),
            said.get_unique_constraints(name),
            said.get_check_constraints(name),
            said.get_indexes(name),
        )
        found = [said.get_pk_constraint(name), *(part for several in parts for part in several)]
        tables[name] = sorted(re.sub(r"[\s()\"]+", " ", json.dumps(part, default=str)) for part in found)
    return tables


def test_the_migrations_make_exactly_the_tables_of_the_code(database_url, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(connections, "_has_tables", lambda _: True)
        store = Store(database_url, timeout_seconds=5.0)
        store.migrate()
        store.close()
    engine = create_engine(database_url)
    with engine.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
        migrated, heads = describe(connection), context.get_current_heads()
        for name in migrated:
            connection.execute(text(f"DROP TABLE {name} {'CASCADE' if engine.dialect.name == 'postgresql' else ''}"))
    store.migrate()
    store.close()
    with engine.connect() as connection:
        for name, parts in describe(connection).items():
            assert parts == migrated.pop(name)
        assert not migrated
        assert MigrationContext.configure(connection).get_current_heads() == heads
    engine.dispose()


def test_no_table_has_room_for_an_address_of_a_person():
    names = {column.name for table in metadata.sorted_tables for column in table.columns}

    assert not {name for name in names if "mail" in name or name == "ip" or "address" in name or "user_agent" in name}


def test_migrating_again_changes_nothing(store, database_url):
    fill(store)
    engine = create_engine(database_url)
    with engine.connect() as connection:
        before = count_rows(connection)
    store.migrate()
    with engine.connect() as connection:
        assert before == count_rows(connection)
    engine.dispose()

    assert all(before.values())


def fill_first_tables(connection: Connection) -> None:
    """Rows of every table of the first version: one comment per status, an edited one, one without its text."""
    tables = MetaData()
    tables.reflect(connection)
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=None if connection.dialect.name == "sqlite" else UTC)

    def add(table: str, **row) -> None:
        connection.execute(insert(tables.tables[table]).values(row))

    add("policies", digest="d", toml="# toml", created_at=at)
    add("sites", url="https://blog.example", created_at=at)
    add("api_keys", site_id=1, prefix="aaaaaaaa", hash="0", created_at=at)
    add("post_versions", site_id=1, digest="d", title="Title", tags=[], created_at=at)
    add("posts", site_id=1, external_id="p1", version_id=1, created_at=at)
    scores = dict.fromkeys(CODES, 0.05) | {"spam": 0.75, "off_topic": None}
    reasons = [{"name": "spam", "value": 0.75, "limit": 0.5, "fired": True, "text": "Spam: over the line."}]
    unscored = [{"name": "model_unavailable", "value": True, "limit": None, "fired": True, "text": "No model."}]
    for n, status in enumerate(["published", "held", "rejected", "erased", "held", "held"], 1):
        place = {"post_id": 1, "author_id": "ann"} if n == 2 else {}
        add("comments", site_id=1, external_id=f"c{n}", status=status, version=1, created_at=at, updated_at=at, **place)
        text = None if n == 5 else f"Ｗide TEXT {n}"
        said = {"digest": f"{n}", "sent_digest": f"{n}", "kind": "comment", "do_not_store": n == 5, "lang": "en"}
        add("comment_versions", comment_id=n, number=1, text=text, created_at=at, **said)
        why = {"scores": None, "reasons": unscored} if n == 6 else {"scores": scores, "reasons": reasons}
        judged = {"action": "hold", "policy_digest": "d", "facts": {}, "public_id": f"d_{n}", "created_at": at}
        add("decisions", comment_version_id=n, **why, **judged)
        add("status_log", comment_id=n, new=status, who="model", decision_id=n, at=at)


def test_a_filled_database_of_the_first_version_is_brought_up_to_date(database_url, monkeypatch):
    """Nothing is lost, every status change knows its site, and what is held waits in the queue."""
    store = Store(database_url)
    migrate_to("0001", store, monkeypatch)
    engine = create_engine(database_url)
    with engine.begin() as connection:
        fill_first_tables(connection)
        before = count_rows(connection, reflected=True)
        del before["alembic_version"]
    store.migrate()
    with engine.connect() as connection:
        after = count_rows(connection)
    engine.dispose()
    site = store.sites()[0]
    entries = store.queue.page([site], sort="age").entries

    assert before == {table: after[table] for table in before}
    assert [change.comment for change in store.logs.changes(site)] == [f"c{n}" for n in range(1, 7)]
    assert [entry.stored.id for entry in entries] == ["c2", "c6"]
    assert [[(why.name, why.detail) for why in entry.whys] for entry in entries] == [
        [("held", "spam")],
        [("held", "model_unavailable")],
    ]
    assert [entry.priority.category for entry in entries] == ["spam", None]
    assert (entries[0].post_id, entries[0].author_id, entries[0].lang) == (None, None, "en")
    assert [entry.stored.id for entry in store.queue.page([site], QueueFilter(text="wide text 2")).entries] == ["c2"]
    assert [entry.stored.id for entry in store.queue.page([site], QueueFilter(post="p1", author="ann")).entries] == [
        "c2"
    ]
    assert entries[0].opened_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    store.close()


def fill_review_tables(connection: Connection) -> None:
    """Rows in what the second version has added: the second comment is claimed, the third was judged and appealed."""
    tables = MetaData()
    tables.reflect(connection)
    at = datetime(2026, 1, 3, 3, 4, 5, tzinfo=None if connection.dialect.name == "sqlite" else UTC)

    def add(table: str, **row) -> None:
        connection.execute(insert(tables.tables[table]).values(row))

    add("moderators", name="Ada", created_at=at)
    add("roles", moderator_id=1, site_id=1, role="moderator")
    entries = tables.tables["queue_entries"]
    connection.execute(entries.update().where(entries.c.comment_id == 2).values(claimed_by=1, claimed_until=at))
    about = {"site_id": 1, "comment_id": 3, "comment_version_id": 3}
    verdict = {"public_id": "v_1", "together": "t_1", "digest": "3", "action": "reject", "categories": ["spam"]}
    verdict |= {"moderator_id": 1, "moderator": "Ada", "source": "review", "old": "held", "closed_entry": True}
    add("verdicts", **about, **verdict, inclusion_probability=1.0, at=at)
    add("reports", **about, reporter="r", category="spam", at=at)
    add("appeals", **about, public_id="a_1", text="Why?", at=at, outcome="upheld", verdict_id=1)
    draw = {"action": "reject", "share": 0.5, "seed": "s", "inclusion_probability": 0.5}
    add("audit_draws", decision_id=3, at=at, **draw)
    add("near_hashes", site_id=1, comment_id=2, band=-1, campaign=2, at=at)
    add("audit_log", site_id=1, who="Ada", event="verdict", details={"comment": "c3"}, at=at)


def test_a_filled_database_of_the_second_version_is_brought_up_to_date(database_url, monkeypatch):
    """Nothing is lost, and all that came later works on what is there."""
    store = Store(database_url)
    engine = create_engine(database_url)
    for revision, add_rows in (("0001", fill_first_tables), ("0002", fill_review_tables)):
        migrate_to(revision, store, monkeypatch)
        with engine.begin() as connection:
            add_rows(connection)
    with engine.connect() as connection:
        before = count_rows(connection, reflected=True)
        del before["alembic_version"]
    store.migrate()
    with engine.connect() as connection:
        after = count_rows(connection)
    engine.dispose()
    site, since = store.sites()[0], datetime(2026, 1, 1, tzinfo=UTC)

    assert all(before.values())
    assert before == {table: after[table] for table in before}
    assert [reason.name for reason in store.insight.reasons([site], since)] == ["spam"]
    assert [given.moderator for given in store.insight.given([site], since)] == ["Ada"]
    assert store.insight.drawn([site], since) == {"reject": 1}
    assert store.policies.history(site, limit=5) == []
    entry = store.queue.claim_next([site], "Ben", sort="age")
    assert (entry.stored.id, entry.claimed_by) == ("c2", "Ben")
    store.sessions.open(store.people.find("Ada"), "s" * 64, timedelta(days=1))
    store.webhooks.add(site, "https://blog.example/hook", (), "whsec_AAAA", who="operator")
    assert store.erasure.erase_author(site, "ann", "r", who="site") == 1
    assert store.webhooks.waiting()[0] == 1
    store.close()


AT = datetime(2026, 1, 4, 3, 4, 5, tzinfo=UTC)
IN_A_YEAR = AT + timedelta(days=365)

# What each version after the second has added: rows of its tables, and (as table, row's number, values) its columns.
LATER: dict[str, list[tuple]] = {
    "0003": [
        ("sessions", {"moderator_id": 1, "token_hash": "t", "created_at": AT, "seen_at": AT, "expires_at": IN_A_YEAR}),
    ],
    "0004": [
        ("webhooks", {"public_id": "wh_1", "site_id": 1, "url": "https://blog.example/hook",
                      "events": ["held", "drift"], "signing_key": "whsec_AAAA", "old_key": "whsec_BBBB",
                      "old_key_until": AT, "created_at": AT, "failures": 3, "paused_until": IN_A_YEAR}),
        ("outbox", {"public_id": "msg_1", "webhook_id": 1, "change_id": 2, "comment_id": 2, "created_at": AT,
                    "attempts": 2, "next_attempt_at": AT, "last_error": "timeout"}),
        ("outbox", {"public_id": "msg_2", "webhook_id": 1, "change_id": 3, "comment_id": 3, "created_at": AT,
                    "attempts": 1, "delivered_at": AT}),
        ("leases", {"name": "upkeep", "holder": "h", "until": AT}),
        ("comment_versions", 4, {"author_hash": "a" * 64}),
        ("queue_entries", 2, {"claimed_for": "site:Ben", "claimed_until": IN_A_YEAR}),
    ],
    "0005": [
        ("policies", {"digest": "e", "toml": "[spam]\nhold = 0.5\n", "created_at": AT}),
        ("sites", 1, {"policy_digest": "e"}),
        ("audit_log", {"site_id": 1, "who": "Ada", "event": "policy_set", "details": {"policy": "e", "before": None},
                       "at": AT}),
    ],
    "0007": [
        ("moderators", 1, {"sign_in_by": "operator"}),
        ("sent_along", {"site_id": 1, "comment_version_id": 2, "external_id": "c1"}),
    ],
    "0009": [
        ("shadow_decisions", {"decision_id": 1, "site_id": 1, "bundle": "comments-2", "decided": "hold",
                              "action": "reject", "scores": {"spam": 0.9}, "fired": ["spam"], "tier": "full",
                              "at": AT}),
    ],
    "0010": [
        ("drift_days", {"site_id": 1, "day": "2026-01-03", "bundle": "comments-1", "tier": "full", "category": "spam",
                        "comments": 7, "bins": [3, 4], "psi": 0.1, "unseen": 0.2, "lines": [],
                        "alerts": [{"name": "scores", "text": "."}]}),
        ("outbox", {"public_id": "msg_3", "webhook_id": 1, "drift_id": 1, "created_at": AT, "attempts": 0,
                    "next_attempt_at": AT}),
    ],
    "0011": [
        ("comment_versions", 2, {"handles": ["token:" + "b" * 64]}),
        ("verdicts", 1, {"cleared": ["hostile"]}),
    ],
    "0012": [
        ("webhooks", {"public_id": "wh_2", "site_id": 1, "url": "https://blog.example/akismet", "format": "akismet",
                      "events": [], "signing_key": "0123456789ab", "created_at": AT, "failures": 0}),
    ],
    "0013": [
        ("coral_connections", {"public_id": "co_1", "site_id": 1, "phase_keys": ["s2", "s1"], "webhook_keys": ["w"],
                               "created_at": AT}),
        ("coral_comments", {"connection_id": 1, "coral_id": "abc", "comment_id": 2, "at": AT}),
    ],
    "0014": [
        ("queue_reasons", {"entry_id": 1, "name": "second_look", "detail": "chance", "text": "By chance.", "at": AT}),
    ],
    "0015": [
        ("coral_requests", {"connection_id": 1, "story": "s1", "at": AT}),
        ("coral_connections", 1, {"webhook_superseded_at": AT}),
    ],
    "0016": [
        ("akismet_answers", {"site_id": 1, "comment_id": 2, "checked_spam": True, "held_spam": True, "told_spam": False,
                             "at": AT}),
        ("outbox", {"public_id": "msg_4", "webhook_id": 2, "comment_id": 2, "told_spam": True, "created_at": AT,
                    "attempts": 0, "next_attempt_at": AT}),
    ],
    "0017": [
        ("suggestions", {"site_id": 1, "comment_version_id": 2, "moderator": "site:forum", "is_certain": True,
                         "labels": {"hostile": 0}, "at": AT}),
    ],
}  # fmt: skip


def fill_later_tables(revision: str, connection: Connection) -> None:
    tables = MetaData()
    tables.reflect(connection)

    def fit(values: dict) -> dict:
        is_plain = connection.dialect.name == "sqlite"
        return {
            name: value.replace(tzinfo=None) if is_plain and isinstance(value, datetime) else value
            for name, value in values.items()
        }

    for name, *more in LATER[revision]:
        table = tables.tables[name]
        if len(more) == 1:
            connection.execute(insert(table).values(fit(more[0])))
        else:
            number, values = more
            changed = connection.execute(update(table).where(table.c.id == number).values(fit(values)))
            assert changed.rowcount == 1, (revision, name)


def read_all(connection: Connection) -> dict[str, list[dict]]:
    tables = MetaData()
    tables.reflect(connection)
    return {
        table.name: [
            dict(row._mapping) for row in connection.execute(select(table).order_by(*table.primary_key.columns))
        ]
        for table in tables.sorted_tables
        if table.name != "alembic_version"
    }


def test_each_version_keeps_what_those_before_it_have_added(database_url, monkeypatch):
    """Rows of every table and every column there ever was go through all later migrations as they are."""
    store = Store(database_url)
    engine = create_engine(database_url)
    kept: dict[str, list[dict]] = {}

    def compare(revision: str) -> None:
        with engine.connect() as connection:
            now = read_all(connection)
        for name, rows in kept.items():
            there = [{column: row[column] for column in rows[0]} for row in now[name]] if rows else now[name]
            assert there == rows, (revision, name)

    first = {"0001": fill_first_tables, "0002": fill_review_tables}
    for revision in (*first, *LATER):
        migrate_to(revision, store, monkeypatch)
        compare(revision)
        with engine.begin() as connection:
            first.get(revision, partial(fill_later_tables, revision))(connection)
            kept = read_all(connection)
        assert [name for name, rows in kept.items() if not rows] == []
    store.migrate()
    compare("head")
    engine.dispose()
    (site,), hooks = store.sites(), store.webhooks.all()

    assert [hook.format for hook in hooks] == ["standard", "akismet"]
    assert [store.webhooks.deliveries(hook).waiting for hook in hooks] == [2, 1]
    assert store.policies.history(site, limit=5)[0].digest == "e"
    assert store.webhooks.next_messages(hooks[1].row)[0].about.is_spam is True
    assert {line["moderator"] for line in store.labels.read(site)} == {"Ada", "site:forum"}
    store.close()


def test_messages_that_wait_are_still_there_once_figures_of_days_can_be_told(database_url, monkeypatch):
    store = Store(database_url)
    engine = create_engine(database_url)
    migrate_to("0001", store, monkeypatch)
    with engine.begin() as connection:
        fill_first_tables(connection)
    migrate_to("0009", store, monkeypatch)
    with engine.begin() as connection:
        tables = MetaData()
        tables.reflect(connection)
        at = datetime(2026, 1, 4, tzinfo=None if connection.dialect.name == "sqlite" else UTC)
        hook = {"public_id": "wh_1", "site_id": 1, "url": "https://blog.example/hook", "events": ["held", "drift"]}
        hook |= {"signing_key": "whsec_AAAA", "created_at": at, "failures": 0}
        connection.execute(insert(tables.tables["webhooks"]).values(hook))
        message = {"public_id": "msg_1", "webhook_id": 1, "change_id": 2, "comment_id": 2, "attempts": 0}
        connection.execute(insert(tables.tables["outbox"]).values(message | {"created_at": at, "next_attempt_at": at}))
    engine.dispose()
    store.migrate()
    (site,), (hook,) = store.sites(), store.webhooks.all()
    figures = DriftDay(site.url, "2026-01-31", "b", "full", "spam", 1, (1,), None, None, (), (Alert("scores", "."),))
    store.drift.add(site, [figures], tell=["spam"])
    change, alerts = (message.about for message in store.webhooks.next_messages(hook.row))

    assert (change.comment, alerts.category) == ("c2", "spam")
    store.close()


def test_what_clients_of_akismet_were_told_before_is_read_from_decisions(database_url, monkeypatch):
    """Of comments that came in before it was noted, and of a message that waited meanwhile."""
    store = Store(database_url)
    engine = create_engine(database_url)
    migrate_to("0001", store, monkeypatch)
    with engine.begin() as connection:
        fill_first_tables(connection)
    migrate_to("0015", store, monkeypatch)
    at = datetime(2026, 1, 4, tzinfo=None if engine.dialect.name == "sqlite" else UTC)
    with engine.begin() as connection:
        tables = MetaData()
        tables.reflect(connection)
        comments, decisions = tables.tables["comments"], tables.tables["decisions"]
        connection.execute(update(comments).values(external_id="akismet-" + comments.c.external_id))
        connection.execute(update(comments).where(comments.c.id == 4).values(external_id="native"))
        # The second is held as hostile by a policy that calls that spam, the fifth by one that does not.
        hostile = [{"name": "hostile", "value": 0.75, "limit": 0.5, "fired": True, "text": "."}]
        connection.execute(insert(tables.tables["policies"]).values(digest="s", toml=STRICT, created_at=at))
        strict = {"reasons": hostile, "policy_digest": "s"}
        connection.execute(update(decisions).where(decisions.c.id == 1).values(action="publish"))
        connection.execute(update(decisions).where(decisions.c.id == 2).values(strict))
        connection.execute(update(decisions).where(decisions.c.id == 3).values(action="reject"))
        connection.execute(update(decisions).where(decisions.c.id == 5).values(reasons=hostile))
        hook = {"public_id": "wh_1", "site_id": 1, "url": "https://blog.example/hook", "events": []}
        hook |= {"format": "akismet", "signing_key": "0123456789ab", "created_at": at, "failures": 0}
        connection.execute(insert(tables.tables["webhooks"]).values(hook))
        message = {"public_id": "msg_1", "webhook_id": 1, "change_id": 3, "comment_id": 3, "attempts": 0}
        connection.execute(insert(tables.tables["outbox"]).values(message | {"created_at": at, "next_attempt_at": at}))
    store.migrate()
    with engine.connect() as connection:
        answers = connection.execute(select(metadata.tables["akismet_answers"]).order_by(text("comment_id"))).all()
    engine.dispose()
    (site,), (hook,) = store.sites(), store.webhooks.all()
    (waiting,) = store.webhooks.next_messages(hook.row)

    assert [(row.comment_id, row.checked_spam, row.held_spam, row.told_spam) for row in answers] == [
        (1, False, False, False),
        (2, True, True, True),
        (3, True, True, True),
        (5, False, False, False),
        (6, None, None, None),
    ]
    assert store.traffic.checked(site, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)) == (2, 2)
    assert (waiting.about.comment, waiting.about.is_spam) == ("akismet-c3", True)
    store.close()


def test_what_moderators_have_known_spam_is_known(database_url):
    """Rejected once and for all; taken back; approved later; edited since; approved; judged by nobody."""
    store = Store(database_url)
    store.migrate()
    site = store.add_site("https://blog.example")

    def put(name: str, words: str) -> Stored:
        comment = Comment(words, id=name)
        decision = Decision("publish", None, (), comment.digest(), None, "d" * 64, None)
        judged = Judged(comment, comment.digest(), "h", decision, {}, bands=(int(name),))
        return store.record(site, [judged], ("d" * 64, "# toml"))[0]

    def judge(stored: Stored, action: str, *categories: str) -> Verdict:
        target = Target(stored.decision.digest, stored.id)
        return store.verdicts.decide(site, Judge("Ada", "review"), Judgement(action, categories), [target])[0]

    def undo(verdict: Verdict) -> None:
        store.verdicts.undo(site, verdict.id, "Ada")

    first, second, third, fourth, fifth, sixth, seventh, _ = (put(str(n), "Some words") for n in range(1, 9))
    judge(first, "reject", "spam")
    undo(judge(second, "reject", "spam"))
    judge(third, "reject")
    judge(third, "approve")
    judge(fourth, "reject", "spam")
    put("4", "Other words")
    judge(fifth, "approve")
    judge(sixth, "reject")
    undo(judge(sixth, "approve"))
    judge(seventh, "reject", "hostile")
    engine = create_engine(database_url)
    said = select(near_hashes.c.band, near_hashes.c.judged_at, near_hashes.c.is_spam).order_by(near_hashes.c.band)
    with engine.begin() as connection:
        before = [tuple(row) for row in connection.execute(said)]
        connection.exec_driver_sql("DROP INDEX ix_near_hashes_judged")
        for column in ("judged_at", "is_spam", "is_question"):
            connection.exec_driver_sql(f"ALTER TABLE near_hashes DROP COLUMN {column}")
        for column in ("answers_entry", "answered"):
            connection.exec_driver_sql(f"ALTER TABLE verdicts DROP COLUMN {column}")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0017'")
    store.migrate()
    with engine.connect() as connection:
        after = [tuple(row) for row in connection.execute(said)]
    engine.dispose()

    assert after == before
    assert [spam for _, _, spam in after] == [True, None, False, None, False, True, None, None]
    store.close()


def test_what_sites_have_sent_along_before_is_found_by_an_erasure(database_url, monkeypatch):
    """In versions that were written before it was noted which comments they repeat."""
    store = Store(database_url)
    engine = create_engine(database_url)
    migrate_to("0001", store, monkeypatch)
    with engine.begin() as connection:
        fill_first_tables(connection)
        versions = MetaData()
        versions.reflect(connection, only=["comment_versions"])
        version = versions.tables["comment_versions"]
        thread = [{"id": "c1", "text": "Words of c1"}, {"id": "c3", "version": 3}, {"id": None, "text": "of nobody"}]
        first = update(version).where(version.c.id == 2)
        connection.execute(first.values(parent_id="c1", parent_text="Words of c1", thread=thread))
        connection.execute(update(version).where(version.c.id == 3).values(parent_id="c1", thread=[]))
    store.migrate()
    site = store.sites()[0]
    with engine.connect() as connection:
        assert [row.external_id for row in connection.execute(select(metadata.tables["sent_along"]))] == ["c1"]
    store.erasure.erase_comment(site, "c1", "site")
    with engine.connect() as connection:
        version = metadata.tables["comment_versions"]
        row = connection.execute(select(version).where(version.c.id == 2)).one()
        assert connection.execute(select(metadata.tables["sent_along"])).all() == []
    engine.dispose()
    store.close()

    assert row.parent_text is None
    assert row.thread == [{"id": "c1", "text": None}, *thread[1:]]


STRICT = "[rules]\nhostile_counts_as_spam = true\n"


def migrate_to(revision: str, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """As :meth:`Store.migrate`, up to a version of before."""
    with monkeypatch.context() as patched:
        patched.setattr(connections, "_upgrade", partial(upgrade_to, revision))
        store.migrate()


def upgrade_to(revision: str, connection: Connection, config: Config) -> None:
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def test_rebuilding_a_table_loses_no_rows_that_refer_to_it(store, database_url, monkeypatch):
    """A later migration that changes `comments` or `sites` must not take decisions and versions with it."""
    fill(store)
    engine = create_engine(database_url)
    with engine.connect() as connection:
        before = count_rows(connection)

    def rebuild(connection: Connection, _config: object) -> None:
        operations = Operations(MigrationContext.configure(connection, opts={"target_metadata": metadata}))
        for table in ("sites", "comments", "comment_versions", "moderators"):
            with operations.batch_alter_table(table, recreate="auto") as batch:
                batch.alter_column("created_at", nullable=True)
                batch.alter_column("created_at", nullable=False)

    monkeypatch.setattr(connections, "_upgrade", rebuild)
    monkeypatch.setattr(connections, "_is_behind", lambda *_: True)
    store.migrate()
    with engine.connect() as connection:
        assert before == count_rows(connection)
        if engine.dialect.name == "sqlite":
            assert connection.execute(text("PRAGMA foreign_key_check")).fetchall() == []
    engine.dispose()
    monkeypatch.undo()

    assert store.find_comments(store.sites()[0], ["c1"])["c1"].status == "held"


def test_a_migration_that_breaks_a_reference_is_undone(tmp_path, monkeypatch):
    """SQLite only: PostgreSQL checks references as it goes."""
    store = Store(f"sqlite:///{tmp_path / 'x.db'}")
    store.migrate()
    fill(store)
    monkeypatch.setattr(connections, "_upgrade", lambda connection, _: connection.execute(text("DELETE FROM sites")))
    monkeypatch.setattr(connections, "_is_behind", lambda *_: True)
    with pytest.raises(StoreUnavailable, match="rows that refer to missing ones"):
        store.migrate()

    assert len(store.sites()) == 1
    store.close()


def test_foreign_keys_are_on_again_after_a_migration(tmp_path):
    store = Store(f"sqlite:///{tmp_path / 'x.db'}")
    store.migrate()
    with connections.reading(store._engine) as connection:
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
    store.close()


def test_a_database_of_a_newer_version_is_refused(store, database_url):
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(StoreUnavailable, match="newer version"):
        store.migrate()


def test_processes_that_start_together_take_turns(database_url):
    def start(_):
        store = Store(database_url, timeout_seconds=20)
        store.migrate()
        store.close()
        return True

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(start, range(4))) == [True] * 4
