"""How long the batch and insight pages take in the store: 200,000 comments, 20,000 waiting, 20,000 verdicts.

    python benchmarks/insight.py sqlite:////tmp/insight.db
    python benchmarks/insight.py postgresql+psycopg://postgres@/postgres?host=/tmp/pg

The database must be empty; it is filled first, with everything within the period that is asked for. Prints the median
and the least of 15 calls, in milliseconds.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from datetime import UTC, datetime, timedelta

from review_queue import COMMENTS, fill
from sqlalchemy import insert, text

from service.store import Site, Store
from service.store import engine as connections
from service.store.review_tables import audit_draws, queue_entries, verdicts

VERDICTS = 20_000
TIMES = 15
SINCE = datetime(2025, 12, 31, tzinfo=UTC)


def add_verdicts(store: Store, site: Site) -> None:
    """Verdicts of ten moderators on every tenth comment, and an audit of every fiftieth."""
    rng = random.Random(2)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    given, entries, draws = [], [], []
    for n in range(VERDICTS):
        row = 3 + n * (COMMENTS // VERDICTS)
        at = start + timedelta(seconds=row + rng.expovariate(1 / 3600))
        verdict = {"public_id": f"v_{n}", "together": f"t_{n}", "site_id": site.row, "comment_id": row}
        verdict |= {"comment_version_id": row, "digest": "d", "action": rng.choice(["approve", "reject"])}
        verdict |= {"categories": [], "moderator": f"Moderator {n % 10}", "source": "review", "old": "held"}
        given.append(verdict | {"inclusion_probability": 0.02, "closed_entry": True, "at": at})
        entry = {"site_id": site.row, "comment_id": row, "opened_at": start + timedelta(seconds=row), "closed_at": at}
        entries.append(entry | {"score": 0.5, "harm": 0.5, "urgency": 0.5, "teaching": 0.5, "reports": 0})
        if n % 5 == 0:
            draw = {"decision_id": row, "action": "publish", "share": 0.02, "seed": "s", "inclusion_probability": 0.02}
            draws.append(draw | {"at": start + timedelta(seconds=row)})
    with connections.writing(store._engine) as connection:  # noqa: SLF001  # filling goes behind its back
        if connection.dialect.name == "postgresql":
            connection.execute(
                text(
                    "SELECT setval(pg_get_serial_sequence('queue_entries', 'id'), (SELECT max(id) FROM queue_entries))"
                )
            )
        for table, rows in ((verdicts, given), (queue_entries, entries), (audit_draws, draws)):
            connection.execute(insert(table), rows)
    with store._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:  # noqa: SLF001
        # On PostgreSQL what its autovacuum does by itself within minutes.
        connection.execute(text("VACUUM ANALYZE" if connection.dialect.name == "postgresql" else "ANALYZE"))


def main() -> None:
    store = Store(sys.argv[1])
    store.migrate()
    site = store.add_site("https://blog.example")
    if not store.find_comments(site, ["c2"]):
        fill(store, site)
        add_verdicts(store, site)
    sizes = store.batches.categories([site])
    most = max((name for name in sizes if name), key=lambda name: sizes[name])
    print(f"{sum(sizes.values())} wait, {sizes[most]} of them {most}")
    questions = {
        "batch: categories": lambda: store.batches.categories([site]),
        "batch: dots": lambda: store.batches.bins([site], most),
        "batch: 1,000 in a range": lambda: store.batches.inside([site], most, 50, 100, limit=1000),
        "insight: arrivals": lambda: store.insight.arrivals([site], SINCE),
        "insight: time to decision": lambda: store.insight.waits([site], SINCE),
        "insight: reasons": lambda: store.insight.reasons([site], SINCE),
        "insight: audits": lambda: store.insight.audits([site], SINCE),
        "insight: drawn": lambda: store.insight.drawn([site], SINCE),
        "insight: ratings": lambda: store.insight.ratings([site], SINCE),
        "insight: verdicts by moderator": lambda: store.insight.given([site], SINCE),
        "insight: waiting": lambda: store.insight.waiting([site]),
    }
    for name, ask in questions.items():
        times = []
        for _ in range(TIMES):
            began = time.perf_counter()
            ask()
            times.append(time.perf_counter() - began)
        print(f"{name:32} {statistics.median(times) * 1000:8.1f} {min(times) * 1000:8.1f} ms", flush=True)
    store.close()


if __name__ == "__main__":
    main()
