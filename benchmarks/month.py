"""A simulated month: two sites, six moderators, comments in date order through a real service, a retraining each week.

    MODERATION_DATA_DIR=... python benchmarks/month.py WORK --comments 2000
    MODERATION_DATA_DIR=... python benchmarks/month.py WORK --comments 20000 --cache FOLDER

What was run before in the folder WORK is not run again: the starting bundle, and each day of the month.

*Comments* are those of whole training and validation blogs (``BLOGS``), a tenth of all moved to another post, and,
because hardly anybody is insulted on those blogs, comments of forums and talk pages (``PLACES``). The starting bundle
has learned from none of them: its heads, lexical and full, are fitted here without those blogs and those rows. The
encoder is the published one. It has never read most of these blogs (``moderation train`` keeps them from it), but some
of them it has, and so it has a part of the comments of forums; ``--strict`` takes only what it has not read.

*True labels* follow from what the source says, by the norm of the site; what no label says is taken not to be. The
calm site rejects spam, and of what is hostile only threats, attacks on groups and what is severe: rudeness is its
readers' own affair, and so is wandering off. The strict site rejects spam, whatever is hostile, insults or swears, and
what has nothing to do with the post.

*Moderators* get the queue in equal shares, and a tenth of it twice. Four make mistakes of differing number, one
approves everything unread, and one rejects good comments as spam. All judge both sites; with ``--own`` each site
has three of them, one of the bad ones among these. The service knows no clock but the machine's, so
verdicts are dated back in the scratch database after each simulated day; everything else goes through the API.

*Measured* is on a tenth of the comments, drawn by hash, that are never sent: each bundle that the gate judged decides
them under the sites' policy. What the gate holds is not published, since nobody reads reports here; with
``--approve-norms`` somebody does who knows that the sites mean their norms, and publishes what waits for that alone.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from month_world import (
    BEGIN,
    DAYS,
    MODERATORS,
    SITES,
    TEAMS,
    TWICE_SHARE,
    WEEKS,
    Arrival,
    Moderator,
    arrivals,
    start_bundle,
)

from moderation.bundle import load_bundle
from moderation.comment import Action, Comment
from moderation.policy import Policy, default_policy_toml
from moderation.shipped import shipped_folder
from moderation.training.train import gather

_BATCH = 50


def command(home: Path, *words: str, allowed: Sequence[int] = (0,)) -> str:
    """What ``moderation WORDS`` prints."""
    own = [sys.executable, "-c", "from service.cli import app; app()", *words, "--home", str(home)]
    done = subprocess.run(own, capture_output=True, text=True, check=False)
    if done.returncode not in allowed:
        raise RuntimeError(f"moderation {words[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


@contextmanager
def serving(home: Path) -> Iterator[str]:
    """A service on a free port, until the block ends; its address."""
    own = [sys.executable, "-c", "from service.cli import app; app()", "serve", "--home", str(home), "--port", "0"]
    with (home.parent / "serve.log").open("a") as errors:
        process = subprocess.Popen(own, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if found := re.search(r"Serving (http://\S+)", line):
                    yield found[1]
                    break
            else:
                raise RuntimeError(f"the service did not start; see {errors.name}")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def policy_toml() -> str:
    """The default policy with more audits, for want of comments."""
    text = re.sub(r"(?m)^publish = 0\.01$", "publish = 0.03", default_policy_toml())
    return re.sub(r"(?m)^reject = 0\.05$", "reject = 0.2", text)


def send(client: httpx.Client, key: str, items: Sequence[Arrival]) -> None:
    """One day's comments of a site."""
    for start in range(0, len(items), _BATCH):
        comments = [_fields(item.comment) for item in items[start : start + _BATCH]]
        answer = client.post("/v1/comments:batch", json={"comments": comments}, headers=_bearer(key))
        answer.raise_for_status()
        refused = [result for result in answer.json()["results"] if result["http_status"] >= 400]
        if refused:
            raise RuntimeError(f"{len(refused)} comments were refused: {refused[0]['error']['code']}")


def _fields(comment: Comment) -> dict[str, Any]:
    whole = asdict(replace(comment, site=None))
    return {name: _known(value) for name, value in whole.items() if value not in (None, {}, [], (), False)}


def _known(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: part for name, part in value.items() if part is not None}
    return [_known(part) for part in value] if isinstance(value, list | tuple) else value


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def moderate(
    client: httpx.Client,
    key: str,
    known: Mapping[str, Arrival],
    rng: np.random.Generator,
    tally: Counter[str],
    team: Sequence[Moderator],
) -> None:
    """Everything that waits is judged by one of a team, a part of it by a second moderator."""
    while True:
        page = client.get("/v1/queue", params={"limit": 200, "sort": "age"}, headers=_bearer(key))
        page.raise_for_status()
        entries = page.json()["entries"]
        for entry in entries:
            first, second = rng.choice(len(team), 2, replace=False).tolist()
            twice = rng.random() < TWICE_SHARE
            for who in (team[first], team[second])[: 1 + twice]:
                true = known[entry["comment_id"]].true
                said = who.judge(true, rng)
                tally[f"{who.name} given"] += 1
                tally[f"{who.name} wrong"] += bool(said) != bool(true)
                if who.is_hostile and said and not true:
                    tally["poisoned"] += 1
                answer = client.post(
                    "/v1/verdicts",
                    json={
                        "comment_id": entry["comment_id"],
                        "digest": entry["digest"],
                        "action": "reject" if said else "approve",
                        "categories": list(said),
                        "moderator": who.name,
                        "score_shown": True,
                    },
                    headers=_bearer(key),
                )
                answer.raise_for_status()
        if not entries:
            return


def date_back(home: Path, day: int) -> None:
    """Verdicts of today happened on the simulated day, a minute or so apart."""
    with sqlite3.connect(home / "moderation.db", timeout=60) as database:
        now = datetime.now(UTC) - timedelta(days=1)
        rows = database.execute("SELECT id FROM verdicts WHERE at > ? ORDER BY id", (f"{now:%Y-%m-%d %H:%M:%S}",))
        ids = [row for (row,) in rows.fetchall()]
        begin = BEGIN + timedelta(days=day)
        step = timedelta(hours=10) / max(len(ids), 1)
        dated = [(f"{begin + step * place:%Y-%m-%d %H:%M:%S.%f}", row) for place, row in enumerate(ids)]
        database.executemany("UPDATE verdicts SET at = ? WHERE id = ?", dated)


# Measuring


def measure(bundle: Path, aside: Sequence[Arrival]) -> dict[str, dict[str, Any]]:
    """By site: how many are bad, held or rejected, and how many of those are bad."""
    loaded = load_bundle(bundle)
    policy = Policy.parse(policy_toml(), loaded.operating_points)
    assessed = [
        pair
        for start in range(0, len(aside), _BATCH)
        for pair in loaded.assess([item.comment for item in aside[start : start + _BATCH]])
    ]
    found: dict[str, dict[str, Any]] = {}
    for site in SITES:
        rows = [(item, pair) for item, pair in zip(aside, assessed, strict=True) if item.site == site]
        actions: list[Action] = [policy.decide(item.comment, *pair).action for item, pair in rows]
        bad = [bool(item.true) for item, _ in rows]
        stopped = [action != "publish" for action in actions]
        hits = sum(is_bad and is_stopped for is_bad, is_stopped in zip(bad, stopped, strict=True))
        rejected = sum(action == "reject" for action in actions)
        right = sum(is_bad for is_bad, action in zip(bad, actions, strict=True) if action == "reject")
        found[site] = {
            "rows": len(rows),
            "bad": sum(bad),
            "stopped": sum(stopped),
            "stopped_bad": hits,
            "rejected": rejected,
            "rejected_bad": right,
            "precision": hits / max(sum(stopped), 1),
            "recall": hits / max(sum(bad), 1),
        }
    return found


def retrain(home: Path) -> dict[str, Any]:
    """What ``moderation retrain`` reports."""
    said = command(home, "retrain", "--json", "--by", "simulation", "--jobs", "2", allowed=(0, 3, 4, 5))
    report: dict[str, Any] = json.loads(said.splitlines()[-1])
    return report


def end_week(home: Path, number: int, before: Mapping[str, Any], aside: Sequence[Arrival]) -> dict[str, Any]:
    """A retraining beside the service, and what its challenger is worth, whether it is published or not."""
    report = retrain(home)
    week: dict[str, Any] = {"week": number, "verdict": report["verdict"], "before": before}
    if "challenger" in report:
        week["challenger"] = report["challenger"]
        week["after"] = measure(home / "models" / report["challenger"], aside)
        week["left_out"] = report["accounts_left_out"]
        week["labels"] = report["labels"]["learned"]
        week["reasons"] = [
            f"{check['name']}: {check['sentence']}"
            for check in report["gate"]["checks"]
            if check["state"] in ("hold", "reject")
        ]
    return week


def is_approved(week: Mapping[str, Any]) -> bool:
    """Whether a person who knows that the sites mean their norms would publish what the gate holds."""
    reasons = week.get("reasons", ())
    return week["verdict"] == "HOLD" and all(reason.startswith("norms:") for reason in reasons)


def wait_for(client: httpx.Client, bundle: str) -> None:
    """Until the service has taken up the new bundle by itself."""
    for _ in range(600):
        if client.get("/readyz").json().get("bundle") == bundle:
            return
        time.sleep(0.5)
    raise RuntimeError(f"the service has not taken up {bundle} within five minutes")


def run(
    work: Path,
    bundle: Path,
    sent: Sequence[Arrival],
    aside: Sequence[Arrival],
    seed: int,
    *,
    own: bool,
    approve_norms: bool,
) -> list[dict[str, Any]]:
    """The month, or what is left of it; what was found each week."""
    home, state = work / "home", work / "state.json"
    if not state.is_file():
        home.mkdir(parents=True, exist_ok=True)
        (home / "policy.toml").write_text(policy_toml(), encoding="utf-8")
        made = {site: json.loads(command(home, "add-site", site, "--json"))["key"] for site in SITES}
        command(home, "publish", str(bundle), "--by", "simulation")
        begin = {"keys": made, "done": 0, "tally": {}, "weeks": [], "measured": measure(bundle, aside)}
        _save(state, begin)
    kept = json.loads(state.read_text())
    known = {item.comment.id or "": item for item in sent}
    if kept["done"] == WEEKS * DAYS:
        return list(kept["weeks"])
    with serving(home) as address, httpx.Client(base_url=address, timeout=600) as client:
        for day in range(kept["done"], WEEKS * DAYS):
            tally = Counter(kept["tally"])
            for number, site in enumerate(SITES):
                rng = np.random.default_rng([seed, day, number])
                send(client, kept["keys"][site], [item for item in sent if item.day == day and item.site == site])
                team = [who for who in MODERATORS if not own or who.name in TEAMS[site]]
                moderate(client, kept["keys"][site], known, rng, tally, team)
            date_back(home, day)
            if (day + 1) % DAYS == 0:
                week = end_week(home, (day + 1) // DAYS, kept["measured"], aside)
                week["tally"] = dict(tally)
                kept["weeks"].append(week)
                if approve_norms and is_approved(week):
                    week["verdict"] += ", approved"
                    why = "these sites mean their norms"
                    command(home, "publish", week["challenger"], "--by", "maintainer", "--note", why)
                if week["verdict"] in ("PROMOTE", "HOLD, approved"):
                    kept["measured"] = week["after"]
                    wait_for(client, week["challenger"])
                print(json.dumps(week), flush=True)
            kept |= {"done": day + 1, "tally": dict(tally)}
            _save(state, kept)
            print(f"day {day + 1}", flush=True)
    return list(kept["weeks"])


def _save(path: Path, state: Mapping[str, Any]) -> None:
    aside = path.with_name(f".{path.name}")
    aside.write_text(json.dumps(state, indent=1) + "\n")
    aside.replace(path)


def tell(weeks: Sequence[Mapping[str, Any]]) -> None:
    """The tables of docs/retraining.md."""
    print("| week | labels | site | comments aside, bad | precision before, after | recall before, after | gate |")
    print("|---|---|---|---|---|---|---|")
    for week in weeks:
        for site in SITES:
            before, after = week["before"][site], week.get("after", week["before"])[site]
            print(
                f"| {week['week']} | {week.get('labels', 0):,} | {site.removeprefix('https://').partition('.')[0]} "
                f"| {before['rows']:,}, {before['bad']:,} | {before['precision']:.3f}, {after['precision']:.3f} "
                f"| {before['recall']:.3f}, {after['recall']:.3f} | {week['verdict']} |"
            )
    print("\n| week | poisoned labels given so far | accounts left out |\n|---|---|---|")
    for week in weeks:
        out = "; ".join(f"{who}: {why}" for who, why in week.get("left_out", {}).items()) or "none"
        print(f"| {week['week']} | {week['tally'].get('poisoned', 0):,} | {out} |")
    for week in weeks:
        for reason in week.get("reasons", []):
            print(f"\nWeek {week['week']}, {week['verdict']}: {reason}")


def draw(weeks: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Precision and recall of what is held or rejected, by week and site, before and after each retraining."""
    import matplotlib as mpl  # noqa: PLC0415 - only this needs it

    mpl.use("svg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - as above

    style = {
        "svg.fonttype": "none",
        "svg.hashsalt": "month",
        "font.size": 10,
        "axes.grid": True,
        "grid.color": "#dfe2e4",
    }
    with plt.rc_context({**style, "axes.spines.top": False, "axes.spines.right": False}):
        figure, panels = plt.subplots(1, 2, figsize=(8, 3.6), sharey=True)
        for axes, site in zip(panels, SITES, strict=True):
            for what, colour in (("precision", "#2565c7"), ("recall", "#c2570c")):
                numbers = [week["week"] for week in weeks]
                before = [week["before"][site][what] for week in weeks]
                after = [week.get("after", week["before"])[site][what] for week in weeks]
                axes.plot(
                    numbers, before, "o--", color=colour, label=f"{what}, bundle in force", markerfacecolor="white"
                )
                axes.plot(numbers, after, "o-", color=colour, label=f"{what}, challenger")
            axes.set_title(site.removeprefix("https://").partition(".")[0] + " site", fontsize=10, loc="left")
            axes.set_xticks(
                numbers,
                ["week {week}\n{verdict}".format_map(week).replace(", ", "\n") for week in weeks],
            )
        panels[0].legend(frameon=False, fontsize=8)
        figure.savefig(path, format="svg", bbox_inches="tight", facecolor="white", metadata={"Date": None})


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("work", type=Path, help="folder of the simulation; a run that was cut off goes on there")
    options.add_argument("--comments", type=int, default=20_000)
    options.add_argument("--strict", action="store_true", help="only comments that the encoder has never read")
    options.add_argument(
        "--share", type=float, default=1.0, help="of the rows of other places, for the starting bundle"
    )
    options.add_argument("--cache", type=Path, help="folder where vectors and features are kept; default: in WORK")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--own", action="store_true", help="each site has three moderators of its own")
    options.add_argument("--approve-norms", action="store_true", help="publish what waits for the check of norms alone")
    options.add_argument("--svg", type=Path, help="where to draw precision and recall")
    chosen = options.parse_args()
    work = chosen.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    data = gather(shipped_folder("training_data"), Path(os.environ["MODERATION_DATA_DIR"])).dataset
    sent, aside = arrivals(data, chosen.comments, strict=chosen.strict)
    by_site = Counter((item.site, bool(item.true)) for item in sent)
    print(f"{len(sent):,} comments to send, {len(aside):,} set aside; by site and bad: {dict(by_site)}", flush=True)
    found = sorted((work / "start").glob("comments-*"))
    bundle = (
        found[0]
        if found
        else start_bundle(
            data, work / "start", chosen.cache or work / "cache", chosen.share, lambda step: print(step, flush=True)
        )
    )
    weeks = run(work, bundle, sent, aside, chosen.seed, own=chosen.own, approve_norms=chosen.approve_norms)
    tell(weeks)
    if chosen.svg:
        draw(weeks, chosen.svg)


if __name__ == "__main__":
    main()
