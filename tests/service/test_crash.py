"""Killed at any moment, the service has lost nothing of what it has answered.

Two rounds on each database; ``CRASH_ROUNDS=20`` makes it twenty.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from service.auth import make_key
from service.home import open_store
from service.settings import Settings

REPOSITORY = Path(__file__).parents[2]
ROUNDS = int(os.environ.get("CRASH_ROUNDS", "2"))
CLIENTS = 8
ANSWERS = (30, 90)
COMMAND = [sys.executable, "-c", "from service.cli import app; app(prog_name='moderation')"]


class Child:
    """``moderation serve`` in a process of its own."""

    def __init__(self, home: Path, database_url: str) -> None:
        environment = os.environ | {"MODERATION_DATABASE_URL": database_url}
        self.process = subprocess.Popen(
            [*COMMAND, "serve", "--home", str(home), "--port", "0"],
            cwd=REPOSITORY,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        said = ""
        while not said.startswith("Serving"):
            said = self.process.stdout.readline()
            assert said, "the service did not start"
        self.url = re.search(r"http://\S+", said)[0]
        httpx.get(f"{self.url}/healthz", timeout=60)

    def kill(self, how: int = signal.SIGKILL) -> None:
        self.process.send_signal(how)
        self.process.wait(30)
        self.process.stdout.close()


@dataclass
class Answered:
    """What the service has said that it keeps."""

    comments: dict[str, str] = field(default_factory=dict)
    verdicts: dict[str, list[str]] = field(default_factory=dict)


def work(url: str, key: str, name: str, answered: Answered, stop: threading.Event) -> None:
    """One client: submits, and judges what is held, until the service is gone."""
    number = 0
    with httpx.Client(base_url=url, headers={"X-API-Key": key}, timeout=10) as client:
        while not stop.is_set():
            number += 1
            comment_id = f"{name}-{number}"
            held = number % 2 == 0
            text = f"See https://shop.example/{name} and https://shop.example/{number}" if held else f"Fine, {number}"
            try:
                sent = client.post("/v1/comments", json={"id": comment_id, "text": text, "author": {"id": name}})
                if sent.status_code not in (201, 202):
                    continue
                decision = sent.json()
                answered.comments[comment_id] = decision["decision_id"]
                if decision["status"] == "held":
                    body = {"comment_id": comment_id, "digest": decision["digest"], "moderator": name}
                    said = client.post("/v1/verdicts", json={**body, "action": "reject", "categories": ["spam"]})
                    if said.status_code == 201:
                        ids = [verdict["verdict_id"] for verdict in said.json()["verdicts"]]
                        answered.verdicts.setdefault(comment_id, []).extend(ids)
            except httpx.TransportError:
                return


def missing(url: str, key: str, answered: Answered) -> list[str]:
    """What was answered and is not there, or there in part."""
    lost = []
    with httpx.Client(base_url=url, headers={"X-API-Key": key}, timeout=20) as client:
        for comment_id, decision_id in answered.comments.items():
            found = client.get(f"/v1/comments/{comment_id}")
            if found.status_code != 200 or found.json()["decision"]["decision_id"] != decision_id:
                lost.append(comment_id)
                continue
            comment = found.json()
            kept = [verdict["verdict_id"] for verdict in comment["verdicts"]]
            lost += [verdict for verdict in answered.verdicts.get(comment_id, []) if verdict not in kept]
            # Whole or not at all: the log ends with the status, and a verdict has set it.
            is_whole = comment["changes"][-1]["new"] == comment["status"]
            if not is_whole or (kept and comment["status"] != "rejected"):
                lost.append(f"{comment_id} in part")
    return lost


def run_rounds(home: Path, database_url: str, key: str, rounds: int) -> tuple[int, int]:
    """Kill it in the middle of the work again and again; how many comments and verdicts were answered in all."""
    rng = random.Random(1)
    child = Child(home, database_url)
    comments = verdicts = 0
    try:
        for number in range(rounds):
            stop = threading.Event()
            answers = [Answered() for _ in range(CLIENTS)]
            clients = [
                threading.Thread(target=work, args=(child.url, key, f"r{number}c{n}", answers[n], stop))
                for n in range(CLIENTS)
            ]
            for client in clients:
                client.start()
            # Somewhere in the middle of whatever it is doing then.
            enough, ends = rng.randint(*ANSWERS), time.monotonic() + 60
            while sum(len(answered.comments) for answered in answers) < enough and time.monotonic() < ends:
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.02))
            child.kill()
            stop.set()
            for client in clients:
                client.join()
            child = Child(home, database_url)
            lost = [each for answered in answers for each in missing(child.url, key, answered)]
            assert lost == [], f"round {number + 1}"
            comments += sum(len(answered.comments) for answered in answers)
            verdicts += sum(len(answered.verdicts) for answered in answers)
    finally:
        child.kill(signal.SIGTERM)
    return comments, verdicts


def make_site(home: Path, database_url: str) -> str:
    store = open_store(Settings.load(home=home, database_url=database_url))
    key = make_key(store, store.add_site("https://blog.example"))
    store.close()
    return key


def test_after_a_kill_everything_that_was_answered_is_there(plain_home, database_url):
    key = make_site(plain_home, database_url)
    comments, verdicts = run_rounds(plain_home, database_url, key, ROUNDS)

    told = f"{ROUNDS} rounds: {comments} comments and {verdicts} verdicts were answered, none is missing"
    print(told)  # noqa: T201  # seen with -s
    # Otherwise nothing was tried.
    assert comments > 10 * ROUNDS
    assert verdicts > 2 * ROUNDS
