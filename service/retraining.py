"""Retraining from the service: ``moderation retrain`` as a process of its own, how far it is, and what came of it.

The service never learns itself: what learns would slow its answers down, and serving does not load it. The process
steps back behind all others, ends with the service, and is the only one of a home, whoever starts it.

::

    retraining/
      comments-*.json         a report of each round, by the challenger's name and its own hash
      run                     the last run that a service has started: since when, which step, how it ended
      .lock                   locked by ``moderation retrain`` while it runs
      .watched                locked by the service that has started it
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any, BinaryIO

from moderation.files import is_locked, try_lock, write_file
from service.errors import InvalidRequest, NotFound, ServiceError
from service.logs import describe_error

if TYPE_CHECKING:  # numpy would slow down the command line
    from moderation.record import InForce, Release
    from moderation.releases import Releases

_log = logging.getLogger(__name__)

REPORTS = "retraining"
LEAST_NOTE_CHARS = 3
NICE = 10
"""How far a retraining steps back behind other processes."""

_FORMAT = 1
_MOST_REPORTS = 50
_KEPT_RELEASES = 5
_KEPT_OPEN = 5
_MOST_STEP_CHARS = 200
_LOOK_SECONDS = 60.0
_WAIT_SECONDS = 3.0
_END_SECONDS = 5.0
_RUN = "run"
_LOCK = ".lock"
_WATCHED = ".watched"
_REFUSED = 2
_FAULT = "it ended with a fault; 'moderation retrain' on the command line shows which"


class RetrainingRuns(ServiceError):
    """A retraining of the same home is under way."""


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Be the only retraining of a home. Raises ``RetrainingRuns``."""
    path = home / REPORTS / _LOCK
    waited = threading.Event()
    lock = try_lock(path)
    if lock is None:
        waited.wait(_WAIT_SECONDS)  # whoever only looks has let go by then
        lock = try_lock(path)
    if lock is None:
        raise RetrainingRuns("another retraining of this home is running; the Model page shows it, try again after it")
    with lock:
        yield


@dataclass(frozen=True, slots=True)
class Run:
    """A retraining that a service has started. ``by`` is who asked for it; ``None`` is the schedule.

    ``outcome`` is what the gate said, ``NOTHING NEW``, ``STOPPED`` (with the service) or ``FAILED``; ``None`` while it
    runs. ``sentence`` says why it failed, ``report`` names the challenger.
    """

    started: datetime
    step_since: datetime
    by: str | None = None
    step: str = "starting"
    ended: datetime | None = None
    outcome: str | None = None
    sentence: str = ""
    report: str | None = None

    def text(self) -> str:
        """As it stands in the file."""
        return json.dumps(asdict(self), default=datetime.isoformat, ensure_ascii=False) + "\n"

    @classmethod
    def parse(cls, text: str) -> Run | None:
        """From what :meth:`text` gave; ``None`` for anything else."""
        try:
            said = json.loads(text)
            moments = {name: datetime.fromisoformat(said[name]) for name in ("started", "step_since")}
            ended = datetime.fromisoformat(said["ended"]) if said["ended"] else None
            return cls(**{**said, **moments, "ended": ended})
        except (ValueError, TypeError, KeyError):
            return None


@dataclass(frozen=True, slots=True)
class State:
    """How things stand: the last run, and whether one is under way, perhaps from the command line (``is_by_hand``)."""

    run: Run | None
    is_running: bool
    is_by_hand: bool


@dataclass(frozen=True, slots=True)
class Report:
    """The report of a challenger, as it lies in the home; ``digest`` is its SHA-256."""

    name: str
    at: datetime
    digest: str
    content: dict[str, Any]

    @property
    def verdict(self) -> str:
        """What the gate said."""
        return str(self.content["verdict"])

    @property
    def champion(self) -> str:
        """The bundle that the challenger was held against."""
        return str(self.content["gate"]["champion"])

    def say(self, note: str) -> str:
        """A person's reason, with what the gate has said, as it goes into the record of a release."""
        said = {"HOLD": "held", "REJECT": "rejected"}.get(self.verdict, "promoted")
        return f"{note} ({said} by the gate, report {self.digest[:12]})"


class Retraining:
    """Starts retrainings of a home, one at a time, and knows what came of them. Thread-safe."""

    def __init__(self, home: Path, days: int = 0, *, nice: int = NICE) -> None:
        """``days``: every how many days one is started without being asked for; 0 is never.

        ``nice``: how far it steps back behind other processes, 0 to 19.
        """
        self._nice = nice
        self._home = home
        self._folder = home / REPORTS
        self._days = days
        self._turn = threading.Lock()
        self._stopping = threading.Event()
        self._schedule = threading.Thread(target=self._keep_schedule, name="retraining-schedule", daemon=True)
        self._process: subprocess.Popen[str] | None = None
        self._watcher: threading.Thread | None = None
        self._run: Run | None = None

    @property
    def days(self) -> int:
        """Every how many days one is started without being asked for; 0 is never."""
        return self._days

    def start(self) -> None:
        """Keep to the schedule in a thread, until :meth:`stop`."""
        if self._days:
            self._schedule.start()

    def stop(self) -> None:
        """End what runs; nothing is started any more. What serves stays whole, and cached features are kept."""
        self._stopping.set()
        if self._schedule.is_alive():
            self._schedule.join()
        with self._turn:
            process, watcher = self._process, self._watcher
        if process is None or watcher is None or not watcher.is_alive():
            return
        _end(process)
        watcher.join(_END_SECONDS)
        if watcher.is_alive():
            _end(process, at_once=True)
            watcher.join()

    def begin(self, by: str | None = None, *, anyway: bool = False) -> bool:
        """Start one, for ``by`` or the schedule; false where one runs already. ``anyway``: also with nothing new."""
        with self._turn, ExitStack() as stack:
            if self._stopping.is_set() or (self._watcher is not None and self._watcher.is_alive()):
                return False
            watched = try_lock(self._folder / _WATCHED)
            if watched is None:
                return False
            stack.callback(watched.close)
            if is_locked(self._folder / _LOCK):
                return False
            now = datetime.now(UTC)
            run = Run(started=now, step_since=now, by=by)
            self._keep(run)
            out = stack.enter_context(TemporaryFile("w+", encoding="utf-8"))
            try:
                self._process = self._launch(by, out, anyway=anyway)
            except OSError as error:
                sentence = f"the process could not be started ({error.strerror})"
                self._keep(replace(run, ended=now, outcome="FAILED", sentence=sentence))
                return True
            self._watcher = threading.Thread(
                target=self._watch, args=(self._process, out, watched), name="retraining", daemon=True
            )
            self._watcher.start()
            stack.pop_all()  # the watcher closes them
        _log.info("retraining has begun", extra={"who": by or "schedule"})
        return True

    def look(self) -> State:
        """How things stand, whichever process of the service has started it."""
        # In this order: whoever ends a run writes that down before they let go.
        is_watched = (self._watcher is not None and self._watcher.is_alive()) or is_locked(self._folder / _WATCHED)
        is_by_hand = not is_watched and is_locked(self._folder / _LOCK)
        run = None
        with suppress(OSError, ValueError):
            run = Run.parse((self._folder / _RUN).read_text(encoding="utf-8"))
        if run is not None and run.ended is None and not is_watched:
            run = replace(run, ended=run.step_since, outcome="FAILED", sentence="the service ended before it did")
        return State(run, is_by_hand or (run is not None and run.ended is None), is_by_hand)

    def is_due(self, now: datetime) -> bool:
        """Whether the schedule wants one: the last, by anybody, is so long ago, or there was none."""
        run = self.look().run
        moments = [report.at for report in self.reports()[:1]]
        if run is not None and run.outcome != "STOPPED":  # what ended with the service is made up for
            moments.append(run.started)
        return bool(self._days) and now - max(moments, default=datetime.min.replace(tzinfo=UTC)) >= timedelta(
            days=self._days
        )

    def reports(self) -> list[Report]:
        """The latest reports, newest first, the last one of each challenger; what cannot be read is left out."""
        found: dict[str, Report] = {}
        for report in sorted(self._read_reports(), key=lambda each: each.at, reverse=True):
            found.setdefault(report.name, report)
        return list(found.values())[:_MOST_REPORTS]

    def report(self, name: str) -> Report | None:
        """The last report of a challenger; ``None`` where there is none, or of another format."""
        return max((each for each in self._read_reports() if each.name == name), key=lambda each: each.at, default=None)

    def _read_reports(self) -> Iterator[Report]:
        for path in self._folder.glob("comments-*.json"):
            try:
                data = path.read_bytes()
                moment = datetime.fromtimestamp(path.stat().st_mtime, UTC)
                content = json.loads(data)
            except (OSError, ValueError):
                continue
            if (
                isinstance(content, dict)
                and content.get("format") == _FORMAT
                and isinstance(content.get("challenger"), str)
            ):
                yield Report(content["challenger"], moment, hashlib.sha256(data).hexdigest(), content)

    def publish_anyway(
        self, releases: Releases, name: str, *, digest: str, note: str, by: str, instead_of: InForce
    ) -> Release:
        """Publish a challenger on which the gate has said HOLD, because a person has read its report and says so.

        Raises ``NotFound``; ``InvalidRequest`` for what the gate did not hold, another report than was read, no note,
        or a champion that does not serve any more; and as :meth:`Releases.publish`.
        """
        report = self.report(name)
        if report is None:
            raise NotFound("there is no report of that name")
        if report.verdict != "HOLD":
            raise InvalidRequest(f"the gate has said {report.verdict} of {name}; only what it holds is published here")
        if report.digest != digest:
            raise InvalidRequest("there is a newer report of this bundle; load the page again and read it")
        note = " ".join(note.split())
        if len(note) < LEAST_NOTE_CHARS:
            raise InvalidRequest("the note is missing: say why it is published though the gate holds it")
        if report.champion != instead_of.bundle:
            raise InvalidRequest(
                f"{name} was held against {report.champion}, and {instead_of.bundle} serves; retrain again"
            )
        return releases.publish(releases.find(name), note=report.say(note), by=by, instead_of=instead_of)

    def clear_away(self, releases: Releases) -> list[str]:
        """Clear away bundles that retrainings have made and nobody needs; the names of what is gone. Reports stay.

        What :meth:`Releases.prune` keeps in any case stays, and so do the last five releases, the last five that wait
        for a person, what the newest report is about, and whatever no retraining has made.
        """
        present, reports = releases.in_force(), self.reports()
        waiting = [each.name for each in reports if each.verdict != "REJECT" and each.champion == present.bundle]
        served = list(dict.fromkeys(each.bundle for each in reversed(releases.history()) if each.took_effect))
        stays = {*served[:_KEPT_RELEASES], *waiting[:_KEPT_OPEN], *(each.name for each in reports[:1])}
        made = {path.name for path in releases.bundles() if read_lessons(path)}
        return releases.prune(0, among=made - stays)

    def lessons(self, releases: Releases, name: str) -> dict[str, Any]:
        """What a bundle has learned from labels, though only its report be left; empty where that is not known."""
        path = next((each for each in releases.bundles() if each.name == name), None)
        if path is not None and (found := read_lessons(path)):
            return found
        report = self.report(name)
        return dict(report.content["labels"]) if report is not None else {}

    def _launch(self, by: str | None, out: IO[str], *, anyway: bool) -> subprocess.Popen[str]:
        # -P: a folder named service where the process happens to be is not meant.
        command = [sys.executable, "-P", "-m", "service", "retrain", "--json", "--jobs=1", f"--nice={self._nice}"]
        command += [f"--home={self._home}", *([f"--by={by}"] if by else []), *(["--anyway"] if anyway else [])]
        # One line for each step, however long, and nothing of what libraries have to say.
        told = {"COLUMNS": "1000", "PYTHONIOENCODING": "utf-8", "PYTHONWARNINGS": "ignore", "NO_COLOR": "1"}
        return subprocess.Popen(  # noqa: S603  # our own command; the name is one argument
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=os.environ | told,
            start_new_session=True,  # so that it can be ended with all that it has started, and Ctrl-C is ours
        )

    def _watch(self, process: subprocess.Popen[str], out: IO[str], watched: BinaryIO) -> None:
        with watched, out:
            try:
                last = self._hear(process)
                status = process.wait()
                out.seek(0)
                self._conclude(status, last, out.read())
            except Exception as error:  # noqa: BLE001  # the next one may be watched to its end
                _log.error("retraining was not watched to its end", extra=describe_error(error))
                if process.poll() is None:
                    _end(process, at_once=True)
                    process.wait()
                with suppress(OSError):
                    self._conclude(-1, "", "")

    def _hear(self, process: subprocess.Popen[str]) -> str:
        """Take down each step; the last line that it said."""
        assert process.stderr is not None
        last, is_fault = "", False
        with process.stderr as lines:
            for line in lines:
                last = line.strip() or last
                # A traceback may quote a comment.
                is_fault = is_fault or last.startswith("Traceback")
                if line.strip() and not is_fault and not last.startswith("Error:") and self._run is not None:
                    self._keep(replace(self._run, step=last[:_MOST_STEP_CHARS], step_since=datetime.now(UTC)))
        return last

    def _conclude(self, status: int, last: str, out: str) -> None:
        """Write down how it ended."""
        assert self._run is not None
        said: dict[str, Any] = {}
        with suppress(ValueError, IndexError):
            said = json.loads(out.strip().splitlines()[-1])
        outcome, sentence = str(said.get("verdict", "FAILED")), str(said.get("sentence", ""))
        report = said.get("challenger") if "report" in said else None
        if not said and self._stopping.is_set():
            outcome, sentence = "STOPPED", "the service was stopped"
        elif not said and status == _REFUSED and last.startswith("Error:"):
            sentence = last.removeprefix("Error:").strip().replace(str(self._home), "HOME")
        elif not said:
            sentence = f"{_FAULT} (exit status {status})"
        ended = datetime.now(UTC)
        self._keep(replace(self._run, ended=ended, outcome=outcome, sentence=sentence, report=report))
        seconds = round((ended - self._run.started).total_seconds())
        _log.info("retraining has ended", extra={"outcome": outcome, "status": status, "seconds": seconds})

    def _keep(self, run: Run) -> None:
        self._run = run
        write_file(self._folder / _RUN, run.text().encode())

    def _keep_schedule(self) -> None:
        while not self._stopping.is_set():
            try:
                if self.is_due(datetime.now(UTC)):
                    self.begin()
            except Exception as error:  # noqa: BLE001  # it is tried again, and nothing else depends on it
                _log.error("retraining could not begin", extra=describe_error(error))
            self._stopping.wait(_LOOK_SECONDS)


def read_lessons(bundle: Path) -> dict[str, Any]:
    """What the manifest of a bundle says of labels: empty where it has none, or cannot be read."""
    try:
        return json.loads((bundle / "manifest.json").read_bytes())["trained_on"].get("labels") or {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _end(process: subprocess.Popen[str], *, at_once: bool = False) -> None:
    """End a process and all that it has started."""
    if sys.platform == "win32":
        process.terminate()
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL if at_once else signal.SIGTERM)
