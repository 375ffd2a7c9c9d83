"""How long the queue, its filters and a comment take in the store, with 200,000 comments of which 20,000 wait.

    python benchmarks/review_queue.py sqlite:////tmp/queue.db
    python benchmarks/review_queue.py postgresql+psycopg://postgres@/postgres?host=/tmp/pg

The database must be empty; it is filled first. Prints the median and the least of 30 calls for each question, in
milliseconds, and with ``--plans`` how the database answers the pages.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from datetime import UTC, datetime, timedelta

from sqlalchemy import insert, text

from moderation.comment import Author, Comment, Decision, Post, Reason, Scores
from service.hashes import Hashes
from service.priority import measure, reasons_to_look
from service.store import Judged, QueueFilter, Site, Store, queue
from service.store import engine as connections
from service.store.review_tables import queue_entries, queue_reasons
from service.store.tables import comment_versions, comments, decisions, near_hashes, posts, status_log

COMMENTS, WAITING, POSTS = 200_000, 20_000, 2_000
TIMES = 30
WORDS = [f"word{n}" for n in range(5_000)]
POLICY = ("p" * 64, "# a policy")


def fill(store: Store, site: Site) -> None:
    """Rows like those that the workflow writes; through it they would take an hour."""
    rng = random.Random(1)
    comment = Comment("A comment", id="first", site=site.url, author=Author("a"), post=Post("p", "Title"))
    decision = Decision("publish", Scores(*[0.1] * 8), (), comment.digest(), "b", POLICY[0], "full")
    store.record(site, [Judged(comment, comment.digest(), "h", decision, {})], POLICY)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    reason = Reason("spam", 0.6, 0.5, True, "Spam: 0.600 reaches the hold line of 0.500.")
    rows: dict[str, list[dict]] = {
        name: [] for name in ("comments", "versions", "decisions", "log", "entries", "reasons", "hashes")
    }
    tables = (comments, comment_versions, decisions, status_log, queue_entries, queue_reasons, near_hashes)
    with connections.writing(store._engine) as connection:  # noqa: SLF001  # filling goes behind its back
        known = [{"id": n, "site_id": site.row, "external_id": f"p{n}", "created_at": start} for n in range(2, POSTS)]
        connection.execute(insert(posts), known)
        for n in range(2, COMMENTS + 2):
            waits = n % (COMMENTS // WAITING) == 0
            at = start + timedelta(seconds=n)
            status = "held" if waits else rng.choice(["published", "published", "published", "rejected"])
            place = {"post_id": 2 + n % (POSTS - 2), "author_id": f"author{rng.randrange(20_000)}"}
            score = rng.random()
            words = " ".join(rng.choices(WORDS, k=rng.randrange(5, 80)))
            made = {"created_at": at}
            rows["comments"].append(
                {"id": n, "site_id": site.row, "external_id": f"c{n}", "status": status, "version": 1, "updated_at": at}
                | place
                | made
            )
            said = {"text": words, "kind": "comment", "do_not_store": False, "digest": "d", "sent_digest": "s"}
            rows["versions"].append({"id": n, "comment_id": n, "number": 1, "lang": "en"} | said | place | made)
            decision = Decision("hold", Scores(score, *[0.1] * 7), (reason,), "d", "b", POLICY[0], "full")
            judged = {"action": "hold", "scores": decision.scores.to_dict(), "reasons": [reason.to_dict()], "facts": {}}
            version = {"comment_version_id": n, "policy_digest": POLICY[0], "public_id": f"d_{n}", "tier": "full"}
            rows["decisions"].append({"id": n} | judged | version | made)
            rows["log"].append(
                {"site_id": site.row, "comment_id": n, "new": status, "who": "model", "decision_id": n, "at": at}
            )
            rows["hashes"] += [
                {"site_id": site.row, "comment_id": n, "band": rng.getrandbits(62), "campaign": n, "at": at}
                for _ in range(4)
            ]
            if waits:
                priority = measure(decision)
                # Every tenth is one of a campaign of twenty.
                campaign = n // 2000 if n % 100 == 0 else n + COMMENTS
                rows["entries"].append(
                    {"id": n, "site_id": site.row, "comment_id": n, "opened_at": at, "reports": 0, "lang": "en"}
                    | {"category": priority.category, "score": priority.score, "harm": priority.harm}
                    | {"urgency": priority.harm, "teaching": priority.teaching, "campaign": campaign}
                    | {"folded_text": words}
                    | place
                )
                rows["reasons"] += [
                    {
                        "entry_id": n,
                        "name": why.name,
                        "detail": why.detail,
                        "value": why.value,
                        "text": why.text,
                        "at": at,
                    }
                    for why in reasons_to_look(decision, None)
                ]
            if n % 10_000 == 1 or n == COMMENTS + 1:
                for table, some in zip(tables, rows.values(), strict=True):
                    if some:
                        connection.execute(insert(table), some)
                    some.clear()
        if connection.dialect.name == "postgresql":
            for table in tables:
                reset = (
                    f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), (SELECT max(id) FROM {table.name}))"
                )
                connection.execute(text(reset))
    with store._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:  # noqa: SLF001
        # On PostgreSQL what its autovacuum does by itself within minutes.
        connection.execute(text("VACUUM ANALYZE" if connection.dialect.name == "postgresql" else "ANALYZE"))


def main() -> None:
    store = Store(sys.argv[1])
    store.migrate()
    site = store.add_site("https://blog.example")
    if not store.find_comments(site, ["c2"]):
        began = time.perf_counter()
        fill(store, site)
        print(f"filled in {time.perf_counter() - began:.0f} s")
    page = store.queue.page([site], sort="urgency", limit=50)
    deep = store.queue.page([site], sort="age", limit=200)
    for _ in range(40):
        deep = store.queue.page([site], sort="age", limit=200, after=deep.cursor)
    bands = Hashes(b"k" * 32).bands("A comment that is long enough to have some bands")
    ann = store.people.add("Ann", site, "moderator", who="operator")
    questions = {
        "page by urgency": lambda: store.queue.page([site]),
        "page by age": lambda: store.queue.page([site], sort="age"),
        "page by score": lambda: store.queue.page([site], sort="score"),
        "page by teaching": lambda: store.queue.page([site], sort="teaching"),
        "second page": lambda: store.queue.page([site], after=page.cursor),
        "page 42 of 200 entries": lambda: store.queue.page([site], sort="age", after=deep.cursor),
        "filter by a text in few": lambda: store.queue.page([site], QueueFilter(text="word17 word")),
        "filter by a text in none": lambda: store.queue.page([site], QueueFilter(text="nowhere to be found")),
        "filter by post": lambda: store.queue.page([site], QueueFilter(post="p100")),
        "filter by author": lambda: store.queue.page([site], QueueFilter(author="author7")),
        "filter by reason": lambda: store.queue.page([site], QueueFilter(reason="spam")),
        "filter by a reason in none": lambda: store.queue.page([site], QueueFilter(reason="honeypot")),
        "filter by days": lambda: store.queue.page([site], QueueFilter(since=datetime(2026, 1, 2, tzinfo=UTC))),
        "count": lambda: store.queue.count([site]),
        "count by a text": lambda: store.queue.count([site], QueueFilter(text="word17 word")),
        "one entry": lambda: store.queue.find([site], page.entries[0].row),
        "what stands around it": lambda: store.reading.surroundings([site], page.entries[0].row),
        "its history": lambda: store.reading.history([site], page.entries[0].row),
        "posts": lambda: store.reading.posts([site]),
        "comments of a post": lambda: store.reading.of_post(100),
        "claim the next": lambda: store.queue.claim_next([site], ann.row),
        "a comment": lambda: store.find_comments(site, ["c77777"]),
        "its verdicts": lambda: store.verdicts.of_comment(site, "c77777"),
        "its changes": lambda: store.status_changes(site, "c77777"),
        "changes feed": lambda: store.logs.changes(site, after=100_000),
        "context of a new comment": lambda: store.context(
            site, [Comment("x", author=Author("author7"), post=Post("p100"))], [bands]
        ),
        "the same, with a link": lambda: store.context(
            site, [Comment("x https://a.example", author=Author("author7"), post=Post("p100"))], [bands]
        ),
    }
    for name, ask in questions.items():
        times = []
        for _ in range(TIMES):
            began = time.perf_counter()
            ask()
            times.append(time.perf_counter() - began)
        print(f"{name:30} {statistics.median(times) * 1000:8.1f} {min(times) * 1000:8.1f} ms")
    if "--plans" in sys.argv:
        show_plans(store, site)
    store.close()


def show_plans(store: Store, site: Site) -> None:
    dialect = store._engine.dialect  # noqa: SLF001
    for name, wanted in {"page": QueueFilter(), "text": QueueFilter(text="word17 word")}.items():
        query = queue._select_page(dialect.name, [site], wanted, "urgency", None).limit(51)  # noqa: SLF001
        sql = str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
        explain = "EXPLAIN QUERY PLAN" if dialect.name == "sqlite" else "EXPLAIN ANALYZE"
        with connections.reading(store._engine) as connection:  # noqa: SLF001
            print(f"\n{name}")
            for row in connection.exec_driver_sql(f"{explain} {sql}".replace("%", "%%")):
                print("   ", row[-1])


if __name__ == "__main__":
    main()
