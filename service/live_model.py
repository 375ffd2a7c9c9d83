"""The model and the policy in force, as one pair that is swapped as a whole.

A request takes the pair once and uses it to the end, so that no answer mixes two bundles. Every second at most, the
first request that comes by looks whether ``models/current`` or ``policy.toml`` says something else; it is loaded and
checked aside, and only then swapped in. What cannot be loaded is logged and reported, and the old pair stays. A bundle
whose encoder cannot be used serves with its lexical tier until the encoder can be loaded. A changed ``policy.toml`` has
to read the same at two looks, because editors and copies write files piece by piece.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from moderation.bundle import Bundle, current_bundle, load_bundle, unscored
from moderation.comment import Comment, Facts, Scores, Tier
from moderation.errors import EncoderUnavailable, InvalidPolicy
from moderation.policy import Policy, default_policy_toml
from service.errors import InvalidSettings

_log = logging.getLogger(__name__)

CHECK_SECONDS = 1.0
RETRY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class _Look:
    """The few bytes that say what is published.

    ``policy`` is ``None`` where there is no such file, and a sentence where it cannot be read.
    """

    pointers: tuple[bytes | None, ...]
    policy: bytes | str | None


@dataclass(frozen=True, slots=True)
class Live:
    """One bundle (or none) and the policies resolved against its measurements.

    ``faults`` names what could not be loaded (``model``, ``policy``, ``encoder``) with the kind of fault; an older one
    may be in force instead, and in place of the encoder the bundle's lexical tier. The whole sentence, which may hold
    paths, is in the log.
    """

    bundle: Bundle | None
    default: Policy
    faults: Mapping[str, str] = field(default_factory=dict)
    _others: dict[str, Policy] = field(default_factory=dict, repr=False)

    @property
    def tier(self) -> Tier | None:
        """The tier that answers; ``None`` where there is no model."""
        if self.bundle is None:
            return None
        return "full" if self.bundle.model.full is not None else "lexical"

    def policy(self, digest: str | None, toml: Callable[[str], str | None]) -> Policy:
        """The policy with that digest; ``None`` is the one that sites follow which have none of their own.

        ``toml`` finds a policy's text by its digest. Raises ``KeyError`` where it finds none, and
        ``InvalidPolicy`` for one that another version has written.
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

    def readable_policy(self, digest: str | None, toml: Callable[[str], str | None]) -> Policy | None:
        """The same; ``None`` where there is no such text, or one that this version does not understand (any more)."""
        try:
            return self.policy(digest, toml)
        except (KeyError, InvalidPolicy):
            return None

    def assess(self, comments: Sequence[Comment]) -> list[tuple[Scores | None, Facts]]:
        """Scores and facts for each comment, in order. Never raises.

        ``None`` where there is no model, where it failed, or where a score is no finite number.
        """
        if self.bundle is None:
            return [unscored(comment) for comment in comments]
        bundle = self.bundle

        def tell(fault: str) -> None:
            _log.error("scoring failed", extra={"bundle": bundle.name, "error": fault})

        assessed = bundle.assess_or_hold(comments, tell)
        failed = sum(scores is not None and not facts.encoder_available for scores, facts in assessed)
        if failed and bundle.fault is None:  # else it has been told when the bundle was loaded
            _log.warning("encoder failed", extra={"bundle": bundle.name, "comments": failed})
        return assessed


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
        self._last_look = self._seen = self._look()
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
        look = self._look()
        seen = look if look.policy == self._last_look.policy else replace(look, policy=self._seen.policy)
        self._last_look = look
        is_retry = bool(self._live.faults) and self._clock() >= self._next_retry
        if seen == self._seen and not is_retry:
            return
        self._seen = seen
        self._next_retry = self._clock() + RETRY_SECONDS
        try:
            self._live = self._load(self._live)
        except Exception as error:  # noqa: BLE001  # the request that looked by chance has an old pair to go on with
            self._live = replace(self._live, faults={"model": _report("model", error)})

    def _load(self, old: Live | None) -> Live:
        """A new pair, made of what can be loaded and, where that fails, of the old one."""
        faults: dict[str, str] = {}
        bundle = old.bundle if old else None
        try:
            path = current_bundle(self.models)
            if bundle is None or bundle.path != path or bundle.fault is not None:
                loaded = load_bundle(path)
                # A policy known to be good, so that unusable measurements are blamed on the bundle, not on policy.toml.
                Policy.parse(default_policy_toml(), loaded.operating_points)
                bundle = loaded
        except Exception as error:  # noqa: BLE001  # a folder can be broken in ways that nobody has listed
            faults["model"] = _report("model", error)
        if bundle is not None and bundle.fault is not None:
            _log.warning("encoder not in use", extra={"bundle": bundle.name, "fault": bundle.fault})
            faults["encoder"] = EncoderUnavailable.__name__
        points = bundle.operating_points if bundle else None
        try:
            policy = Policy.parse(_policy_toml(self._seen.policy), points)
        except (InvalidPolicy, OSError, UnicodeDecodeError) as error:
            if old is None:
                raise InvalidSettings(f"{self.policy_file}: {error}") from error
            faults["policy"] = _report("policy", error)
            policy = Policy.parse(old.default.toml, points)
        live = Live(bundle, policy, faults)
        in_force = {"bundle": bundle.name if bundle else None, "tier": live.tier, "policy": policy.digest}
        _log.info("in force", extra=in_force)
        return live

    def _look(self) -> _Look:
        pointers = tuple(_read(path) for path in (self._home / "models" / "current", self._shipped / "current"))
        return _Look(pointers, _read_policy(self.policy_file))


def _read_policy(path: Path) -> bytes | str | None:
    try:
        # A link that leads nowhere is an operator's mistake, not the wish for the default policy.
        return path.read_bytes() if os.path.lexists(path) else None
    except OSError as error:
        return f"cannot be read ({error.strerror}); make it readable for the service"


def _policy_toml(found: bytes | str | None) -> str:
    if found is None:
        return default_policy_toml()
    if isinstance(found, str):
        raise OSError(found)
    return found.decode().replace("\r\n", "\n")


def _report(what: str, error: Exception) -> str:
    _log.error("cannot be loaded", extra={"what": what, "fault": str(error)})
    return type(error).__name__


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
