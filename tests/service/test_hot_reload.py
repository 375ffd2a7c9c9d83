"""Bundles are exchanged under the hands of those who ask: every answer comes, and each is of one bundle.

A few rounds with small bundles; ``RELOAD_ROUNDS=50`` makes it fifty, reads with the shipped encoder where there is one,
and measures what the process keeps.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from moderation.bundle import encoder_folder, load_bundle
from moderation.comment import Comment
from moderation.releases import Releases
from service.auth import make_key
from service.home import open_store
from service.settings import Settings

REPOSITORY = Path(__file__).parents[2]
ROUNDS = int(os.environ.get("RELOAD_ROUNDS", "8"))
IS_LONG = ROUNDS >= 50
CLIENTS = 16
COMMAND = [sys.executable, "-c", "from service.cli import app; app(prog_name='moderation')"]
# Each with another number of links and of exclamation marks, so that a score says whose it is.
TEXTS = [f"{'See https://shop.example/page ' * (n % 4)}and so on{'!' * (n // 4)}" for n in range(12)]
MOST_GROWTH = 0.05


@dataclass
class Answers:
    """What one client has heard."""

    bundles: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


def ask(
    url: str, key: str, expected: dict[str, dict[str, dict[str, float | None]]], answers: Answers, stop: threading.Event
) -> None:
    number = 0
    with httpx.Client(base_url=url, headers={"X-API-Key": key}, timeout=60) as client:
        while not stop.is_set():
            text = TEXTS[number % len(TEXTS)]
            number += 1
            try:
                answer = client.post("/v1/comments", json={"text": text})
            except httpx.TransportError as error:
                answers.wrong.append(repr(error))
                return
            if answer.status_code not in (201, 202):
                answers.wrong.append(f"{answer.status_code}: {answer.text}")
                continue
            said = answer.json()
            scores = expected.get(said["bundle"], {}).get(text)
            # In a pass of the encoder beside others the last digits may differ.
            is_of_it = scores is not None and all(
                value is said["scores"][code] is None or abs(value - said["scores"][code]) < 1e-3
                for code, value in scores.items()
            )
            is_decided = (said["status"] == "held") == (max(said["scores"]["spam"], said["scores"]["hostile"]) >= 0.5)
            if not is_of_it or not is_decided:
                answers.wrong.append(f"{said['bundle']}: {said['scores']} {said['status']} for {text!r}")
            answers.bundles[said["bundle"]] = answers.bundles.get(said["bundle"], 0) + 1


def resident(process: subprocess.Popen[str]) -> int:
    """Kilobytes in memory."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1])


@pytest.fixture
def home(request: pytest.FixtureRequest, home: Path, plain_bundle: Path) -> Path:
    """A home with two bundles, the first published."""
    make_bundle = request.getfixturevalue("make_bundle")
    first, model, encoder = plain_bundle, request.getfixturevalue("make_model")(spam=3.0), None
    if IS_LONG and (encoder := request.getfixturevalue("shipped_encoder")) is not None:
        first, model = request.getfixturevalue("full_bundle"), request.getfixturevalue("make_full")(spam=3.0)
    models = home / "models"
    if encoder is not None:
        shutil.copytree(encoder_folder(first), models / encoder_folder(first).name)
    shutil.copytree(first, models / first.name)
    Releases(models).publish(models / first.name, note="first")
    make_bundle(models, model, encoder)
    (home / "policy.toml").write_text("[hostile]\nhold = 0.5\n[spam]\nhold = 0.5\n")
    return home


@contextmanager
def serve(home: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """``moderation serve`` in a process of its own, with its address."""
    process = subprocess.Popen(
        [*COMMAND, "serve", "--home", str(home), "--port", "0"],
        cwd=REPOSITORY,
        # Sixteen writers and one disk: who has to wait for their turn is not what is tried here.
        env=os.environ | {"MODERATION_DATABASE_TIMEOUT_SECONDS": "60"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        said = ""
        while not said.startswith("Serving"):
            said = process.stdout.readline()
            assert said, "the service did not start"
        yield re.search(r"http://\S+", said)[0], process
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


def expect(models: Path, names: Sequence[str]) -> dict[str, dict[str, dict[str, float | None]]]:
    """The scores of every text, by bundle."""
    comments = [Comment(text) for text in TEXTS]
    scored = {name: load_bundle(models / name).model.score(comments) for name in names}
    return {name: {text: one.to_dict() for text, one in zip(TEXTS, scored[name], strict=True)} for name in names}


def exchange(releases: Releases, url: str, process: subprocess.Popen[str], second: str) -> list[int]:
    """Publish and roll back in turns, each time until it is taken up; how large the process was after each."""
    sizes = []
    for number in range(ROUNDS):
        if number % 2 == 0:
            wanted = releases.publish(releases.models / second, note=f"round {number}").bundle
        else:
            wanted = releases.roll_back().bundle
        ends = time.monotonic() + 120
        while httpx.get(f"{url}/readyz", timeout=60).json()["bundle"] != wanted:
            assert time.monotonic() < ends, f"round {number + 1}: not taken up"
            time.sleep(0.02)
        time.sleep(0.5 if IS_LONG else 0.05)
        sizes.append(resident(process))
    return sizes


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_while_sixteen_ask_bundles_are_published_and_rolled_back(home: Path):
    releases = Releases(home / "models")
    first = releases.in_force().bundle
    (second,) = [path.name for path in releases.bundles() if path.name != first]
    expected = expect(releases.models, (first, second))
    assert expected[first] != expected[second]
    store = open_store(Settings.load(home=home))
    key = make_key(store, store.add_site("https://blog.example"))
    store.close()
    stop = threading.Event()
    answers = [Answers() for _ in range(CLIENTS)]
    with serve(home) as (url, process):
        clients = [threading.Thread(target=ask, args=(url, key, expected, each, stop)) for each in answers]
        for client in clients:
            client.start()
        try:
            sizes = exchange(releases, url, process, second)
        finally:
            stop.set()
            for client in clients:
                client.join()
    wrong = [each for answer in answers for each in answer.wrong]
    heard = {name: sum(answer.bundles.get(name, 0) for answer in answers) for name in (first, second)}
    # After a fifth of the rounds everything has been in use; the middle of a few, because what is kept comes and goes.
    fifth = max(ROUNDS // 5, 1)
    warm, last = (sorted(part)[len(part) // 2] for part in (sizes[fifth : 2 * fifth], sizes[-fifth:]))
    growth = last / warm - 1
    told = f"{ROUNDS} rounds: {heard}, {len(wrong)} wrong; {warm:,} kB, then {last:,} kB ({growth:+.1%})"
    print(told)  # noqa: T201  # seen with -s

    assert wrong == [], wrong[:5]
    assert all(count > ROUNDS for count in heard.values())
    if IS_LONG:
        assert growth < MOST_GROWTH
