"""How long the main pages take over HTTP in one process, for a moderator who is signed in.

    python benchmarks/review_queue.py sqlite:////tmp/queue.db
    python benchmarks/pages.py sqlite:////tmp/queue.db

The database is one that `review_queue.py` has filled. Prints the median and the least of 20 answers, in milliseconds.
"""

from __future__ import annotations

import secrets
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx
import uvicorn

from service.api import Parts
from service.app import create_app
from service.auth import make_sign_in_token
from service.server import Server, listen
from service.settings import Settings

TIMES = 20
PAGES = {
    "queue": "/review/",
    "queue, a text in some": "/review/?text=word17",
    "queue, a text in few": "/review/?text=word17+word",
    "queue, a text in none": "/review/?text=nowhere+to+be+found",
    "queue, a reason": "/review/?reason=spam",
    "a comment": "/review/comments/77777",
}


def measure(client: httpx.Client, path: str) -> list[float]:
    times = []
    for _ in range(TIMES):
        began = time.perf_counter()
        answer = client.get(path)
        times.append((time.perf_counter() - began) * 1000)
        answer.raise_for_status()
    return times


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Settings(home=Path(folder), database_url=sys.argv[1]))
        parts: Parts = app.state.parts
        person = parts.store.people.add(
            f"Ada {secrets.token_hex(4)}", parts.store.sites()[0], "moderator", who="operator"
        )
        token, _ = make_sign_in_token(parts.store, person)
        listener = listen("127.0.0.1", 0)
        server = Server(uvicorn.Config(app, log_config=None, access_log=False), parts.events)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with httpx.Client(base_url=url, headers={"Sec-Fetch-Site": "same-origin"}, timeout=60) as client:
            password = secrets.token_hex(16)
            form = {"token": token, "password": password, "again": password}
            answer = client.post("/review/first-sign-in", data=form)
            if answer.status_code != 303:  # what follows is only seen by who is signed in
                sys.exit(answer.text)
            for name, path in PAGES.items():
                times = measure(client, path)
                print(f"{name:30} {statistics.median(times):8.1f} {min(times):8.1f} ms", flush=True)
        server.should_exit = True
        thread.join()


if __name__ == "__main__":
    main()
