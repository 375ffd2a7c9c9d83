"""The model and the policy in force, as one pair that is swapped as a whole.

A request takes the pair once and uses it to the end, so that no answer mixes two bundles. Every second at most, the
first request that comes by looks whether ``models/current`` or ``policy.toml`` names something else; it is loaded and
checked aside, and only then swapped in. What cannot be loaded is logged and reported, and the old pair stays.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from moderation.bundle import Bundle, current_bundle, load_bundle
from moderation.comment import Comment, Scores
from moderation.errors import InvalidPolicy
from moderation.policy import Facts, Policy, default_policy_toml
from moderation.signals import link_facts
from service.errors import InvalidSettings

_log = logging.getLogger(__name__)

CHECK_SECONDS = 1.0
RETRY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Live:
    """One bundle (or none) and the policies resolved against its measurements.

    ``faults`` names what could not be loaded (``model``, ``policy``) with the kind of fault; an older one may be in
    force instead. The whole sentence, which may hold paths, is in the log.
    """

    bundle: Bundle | None
    default: Policy
    faults: Mapping[str, str] = field(default_factory=dict)
    _others: dict[str, Policy] = field(default_factory=dict, repr=False)

    def policy(self, digest: str | None, toml: Callable[[str], str | None]) -> Policy:
        """The policy with that digest; ``None`` is the one that sites follow which have none of their own.

        ``toml`` finds a policy's text by its digest. Raises ``KeyError`` where it finds none.
        """
        if digest is None or digest == self.default.digest:
            return self.default
        if digest not in self._others:
            text = toml(digest)
            if text is None:
                raise KeyError(digest)
            # Parsed by two threads at once, it is the same policy twice.
            self._others[digest] = Policy.parse(text, self.bundle.operating_points if self.bundle else None)
        return self._others[digest]

    def assess(self, comments: Sequence[Comment]) -> list[tuple[Scores | None, Facts]]:
        """Scores and facts for each comment, in order; ``None`` where there is no model or it failed. Never raises."""
        if self.bundle is None:
            return [_unscored(comment) for comment in comments]
        try:
            return [(scores, facts) for scores, facts in self.bundle.assess(comments)]
        except Exception as error:  # noqa: BLE001  # whatever is wrong with the model, a person can still decide
            # The message of the error may quote a comment, its type does not.
            _log.error("scoring failed", extra={"bundle": self.bundle.name, "error": type(error).__name__})
        # One comment that the model cannot stand takes no others with it.
        return [_unscored(comments[0])] if len(comments) == 1 else [self.assess([comment])[0] for comment in comments]


class LiveModel:
    """Finds, loads and replaces the pair. Thread-safe."""

    def __init__(self, home: Path, shipped_models: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Load what is there. A faulty bundle is no reason not to start; a faulty policy is.

        Args:
            home: the service's folder; ``models/current`` and ``policy.toml`` in it win over what is shipped.
            shipped_models: the folder of the bundle that came with the software.
            clock: seconds, for tests.

        Raises:
            InvalidSettings: when ``policy.toml`` cannot be read or contradicts itself.
        """
        self._home = home
        self._shipped = shipped_models
        self._clock = clock
        self._check = threading.Lock()
        self._seen = self._look()
        self._next_check = clock() + CHECK_SECONDS
        self._next_retry = clock() + RETRY_SECONDS
        self._live = self._load(None)

    @property
    def policy_file(self) -> Path:
        """Where an operator's own policy is looked for."""
        return self._home / "policy.toml"

    @property
    def models(self) -> Path:
        """The folder whose published bundle counts: the home's where one is published there, else the shipped one."""
        own = self._home / "models"
        return own if (own / "current").exists() else self._shipped

    def current(self) -> Live:
        """The pair in force; looks for a new one at most once a second, in one thread, while others go on."""
        if self._clock() >= self._next_check and self._check.acquire(blocking=False):
            try:
                self._next_check = self._clock() + CHECK_SECONDS
                self._reload()
            finally:
                self._check.release()
        return self._live

    def _reload(self) -> None:
        seen = self._look()
        is_retry = bool(self._live.faults) and self._clock() >= self._next_retry
        if seen == self._seen and not is_retry:
            return
        self._seen = seen
        self._next_retry = self._clock() + RETRY_SECONDS
        self._live = self._load(self._live)

    def _load(self, old: Live | None) -> Live:
        """A new pair, made of what can be loaded and, where that fails, of the old one."""
        faults: dict[str, str] = {}
        bundle = old.bundle if old else None
        try:
            path = current_bundle(self.models)
            if bundle is None or bundle.path != path:
                bundle = load_bundle(path)
        except Exception as error:  # noqa: BLE001  # a folder can be broken in ways that nobody has listed
            faults["model"] = _report("model", error)
        points = bundle.operating_points if bundle else None
        try:
            policy = Policy.parse(self._policy_toml(), points)
        except (InvalidPolicy, OSError, UnicodeDecodeError) as error:
            if old is None:
                raise InvalidSettings(f"{self.policy_file}: {error}") from error
            faults["policy"] = _report("policy", error)
            policy = Policy.parse(old.default.toml, points)
        _log.info("in force", extra={"bundle": bundle.name if bundle else None, "policy": policy.digest})
        return Live(bundle, policy, faults)

    def _policy_toml(self) -> str:
        return self.policy_file.read_text(encoding="utf-8") if self.policy_file.exists() else default_policy_toml()

    def _look(self) -> tuple[bytes | None, ...]:
        """The few bytes that say what is published."""
        files = (self._home / "models" / "current", self._shipped / "current", self.policy_file)
        return tuple(_read(path) for path in files)


def _report(what: str, error: Exception) -> str:
    _log.error("cannot be loaded", extra={"what": what, "fault": str(error)})
    return type(error).__name__


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _unscored(comment: Comment) -> tuple[None, Facts]:
    links, domains = link_facts(comment)
    return None, Facts(links=links, domains=domains)
