"""Coral's external moderation phase under load: how long Coral waits for an answer, against the 800 ms it may wait.

    python benchmarks/coral.py [--rate 50] [--seconds 60]

A service with the shipped bundle is started in a scratch folder, on one core. From another core of the same machine
(the same one where there is no other) signed requests come in at a fixed rate, whatever becomes of the earlier ones;
the time of each counts from when it was due. Texts are the seed comments that come with the project, each under one of
a hundred stories. Beside the figures stands the load average: what else ran took its share.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np

from moderation.shipped import shipped_folder

SECRET = "s" * 64
SITE = "https://paper.example"
WARM_UP = 50
TIMEOUT_SECONDS = 5.0
PATIENCE_SECONDS = 0.8
"""What Coral is told to wait."""


def read_texts() -> list[str]:
    files = sorted((shipped_folder("training_data") / "seed").glob("*.jsonl"))
    rows = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    texts = [text for row in rows if isinstance(text := row.get("text") or row.get("comment", {}).get("text"), str)]
    return [texts[index] for index in np.random.default_rng(0).permutation(len(texts))]


def request_of(number: int, text: str) -> tuple[bytes, dict[str, str]]:
    """The body as Coral writes it, and its headers."""
    data = {
        "action": "NEW",
        "comment": {"body": text, "parentID": None},
        "author": {"id": f"reader-{number % 997}", "role": "COMMENTER"},
        "story": {"id": f"story-{number % 100}", "url": f"{SITE}/story-{number % 100}"},
        "site": {"id": "site"},
        "tenantID": "tenant",
        "tenantDomain": "paper.example",
    }
    body = json.dumps(data, indent=2, ensure_ascii=False).encode()
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/json", "User-Agent": "Coral Moderation/9.11.8"}
    return body, headers | {"X-Coral-Signature": f"sha256={signature}"}


async def load(url: str, texts: list[str], rate: float, seconds: float) -> tuple[list[float], Counter[str]]:
    """Milliseconds of each request from when it was due, and what was answered how often."""
    waits: list[float] = []
    answers: Counter[str] = Counter()

    async def ask(client: httpx.AsyncClient, number: int, due: float | None) -> None:
        body, headers = request_of(number, texts[number % len(texts)])
        due = time.perf_counter() if due is None else due
        try:
            answer = await client.post(url, content=body, headers=headers)
            said = "204" if answer.status_code == 204 else answer.json().get("status", str(answer.status_code))
        except httpx.HTTPError as error:
            said = type(error).__name__
        waits.append((time.perf_counter() - due) * 1000)
        answers[said] += 1

    async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=False) as client:
        for number in range(WARM_UP):
            await ask(client, number, None)
        waits.clear()
        answers.clear()
        begun = time.perf_counter()
        tasks = []
        for number in range(int(rate * seconds)):
            due = begun + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.append(asyncio.create_task(ask(client, WARM_UP + number, due)))
        await asyncio.gather(*tasks)
    return waits, answers


def run(arguments: list[str], home: Path) -> str:
    command = [sys.executable, "-m", "service", *arguments, "--home", str(home)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def serve(home: Path, core: int) -> tuple[subprocess.Popen[str], str]:
    """A running service and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "serve", "--home", str(home), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("MODERATION_")},
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),  # noqa: PLW1509  # no thread has been started
    )
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"Serving (http://\S+)", line):
            return process, found[1]
    raise SystemExit("the service did not start")


def cpu_seconds(process: int) -> float:
    """What a process has used of processors so far, whatever else ran."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args()
    texts = read_texts()
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        run(["add-site", SITE], home)
        made = json.loads(run(["coral", "connect", SITE, "--secret", SECRET, "--json"], home))
        process, address = serve(home, cores[0])
        os.sched_setaffinity(0, {cores[-1]})
        try:
            ready = httpx.get(f"{address}/readyz", trust_env=False).json()
            before = os.getloadavg()[0]
            url = address + urlsplit(made["phase"]).path
            used = cpu_seconds(process.pid)
            waits, answers = asyncio.run(load(url, texts, given.rate, given.seconds))
            used = cpu_seconds(process.pid) - used
            after = os.getloadavg()[0]
        finally:
            process.terminate()
            process.wait(30)
    p50, p95, p99 = np.percentile(waits, [50, 95, 99])
    late = sum(wait > PATIENCE_SECONDS * 1000 for wait in waits)
    said = ", ".join(f"{name} {count}" for name, count in answers.most_common())
    print(f"{cpu()}, {len(cores)} cores; bundle {ready['bundle']}, tier {ready['tier']}; SQLite")
    print(f"load average {before:.1f} before, {after:.1f} after\n")
    print("| requests/s | requests | p50 | p95 | p99 | longest | over 800 ms | CPU of the service | answers |")
    print("|---|---|---|---|---|---|---|---|---|")
    print(
        f"| {given.rate:g} | {len(waits)} | {p50:.1f} ms | {p95:.1f} ms | {p99:.1f} ms | {max(waits):.1f} ms "
        f"| {late} | {used / (len(waits) + WARM_UP) * 1000:.1f} ms each | {said} |"
    )


if __name__ == "__main__":
    main()
