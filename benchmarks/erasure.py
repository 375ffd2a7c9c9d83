"""How long erasing a comment and an author takes in the store: 200,000 comments, of which every tenth was answered.

    python benchmarks/erasure.py sqlite:////tmp/insight.db
    python benchmarks/erasure.py postgresql+psycopg://postgres@/postgres?host=/tmp/pg

On the database that ``insight.py`` has filled. The answers are added first, each with what it answers as parent and in
a thread of two, as a site sends it. Prints the median and the least of 15 in milliseconds, in which the site's writers
wait.
"""

from __future__ import annotations

import statistics
import sys
import time

from review_queue import COMMENTS, POLICY
from sqlalchemy import select

from moderation.comment import Author, Comment, Decision, Neighbour, Post, Scores
from service.store import Judged, Site, Store
from service.store import engine as connections
from service.store.tables import comments

TIMES = 15
ANSWERS = COMMENTS // 10
AT_ONCE = 100


def add_answers(store: Store, site: Site) -> None:
    """Through the store itself, so that all is written that an erasure has to find."""
    decision = Decision("publish", Scores(*[0.1] * 8), (), "", "b", POLICY[0], "full")
    for start in range(0, ANSWERS, AT_ONCE):
        judged = []
        for n in range(start, start + AT_ONCE):
            parent = Neighbour(f"c{2 + 10 * n}", "What was answered")
            thread = (parent, Neighbour(f"c{3 + 10 * n}", "What stands beside it"))
            about = {"author": Author(f"reader{n % 5000}"), "post": Post(f"p{2 + n % 1000}")}
            comment = Comment(f"Answer {n}", id=f"a{n}", site=site.url, parent=parent, thread=thread, **about)
            judged.append(Judged(comment, comment.digest(), "h", decision, {}))
        store.record(site, judged, POLICY)


def main() -> None:
    store = Store(sys.argv[1])
    store.migrate()
    site = store.add_site("https://blog.example")
    if not store.find_comments(site, [f"a{ANSWERS - 1}"]):
        add_answers(store, site)
    query = select(comments.c.external_id).where(comments.c.status != "erased", comments.c.external_id.like("c%2"))
    with connections.reading(store._engine) as connection:  # noqa: SLF001  # asks what no part of the service does
        left = list(connection.execute(query.limit(TIMES)).scalars())
    authors = iter(range(4_999, 0, -1))
    questions = {
        "erase a comment that was answered": lambda: store.erasure.erase_comment(site, left.pop(), "site"),
        "erase an author of 4 answers": lambda: store.erasure.erase_author(site, f"reader{next(authors)}", "r", "site"),
        "erase an author of 10 comments": lambda: store.erasure.erase_author(
            site, f"author{next(authors)}", "r", "site"
        ),
    }
    for name, ask in questions.items():
        times = []
        for _ in range(TIMES):
            began = time.perf_counter()
            ask()
            times.append(time.perf_counter() - began)
        print(f"{name:36} {statistics.median(times) * 1000:8.1f} {min(times) * 1000:8.1f} ms", flush=True)
    store.close()


if __name__ == "__main__":
    main()
