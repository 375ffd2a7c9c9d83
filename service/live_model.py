"""The model and the policy in force, as one pair that is swapped as a whole.

A request takes the pair once and uses it to the end, so that no answer mixes two bundles. Every second a thread looks
whether ``models/current`` or ``policy.toml`` says something else; it is loaded and checked aside while everybody goes
on with the old pair, and only then swapped in. Where no thread was started (commands), whoever asks looks. What cannot
be loaded is logged and reported, and the old pair stays. A bundle whose encoder cannot be used serves with its lexical
tier until the encoder can be loaded. A changed ``policy.toml`` has to read the same at two looks, because editors and
copies write files piece by piece.

Bundles that were loaded lately stay loaded, a few of them, and those that name the same encoder share it: going back
takes no time, and an older bundle can be asked by its name.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from moderation.bundle import Bundle, load_bundle, unscored
from moderation.comment import Comment, Facts, Scores, Tier
from moderation.errors import BundleBusy, BundleMissing, BundleUnsupported, EncoderUnavailable, InvalidPolicy
from moderation.goals import OwnEvidence
from moderation.policy import Policy, default_policy_toml
from moderation.record import InForce, current_bundle
from moderation.releases import Releases
from service.errors import InvalidSettings

_log = logging.getLogger(__name__)

CHECK_SECONDS = 1.0
RETRY_SECONDS = 30.0

# With the one that serves: the former one, a canary and a challenger, or whatever was asked for lately.
_BUNDLES_KEPT = 4
# So many requests may wait for a bundle that is not loaded; more of them would take the threads of all others.
_MAY_WAIT = 4
_POLICIES_KEPT = 256

Own = Mapping[tuple[Tier, str], OwnEvidence]
"""What a site's own labels say about goals, by tier and category."""


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

    ``faults`` names what could not be loaded (``model``, ``policy``, ``encoder``, ``canary``, ``shadow``) with the kind
    of fault; an older one may be in force instead, in place of the encoder the bundle's lexical tier, and in place of a
    canary the bundle that serves all others. The whole sentence, which may hold paths, is in the log.
    """

    bundle: Bundle | None
    default: Policy
    faults: Mapping[str, str] = field(default_factory=dict)
    _own: Mapping[tuple[str, str], Own] = field(default_factory=dict, repr=False)
    _others: dict[tuple[str, str | None], tuple[Own | None, Policy]] = field(default_factory=dict, repr=False)

    @property
    def tier(self) -> Tier | None:
        """The tier that answers; ``None`` where there is no model."""
        if self.bundle is None:
            return None
        return "full" if self.bundle.model.full is not None else "lexical"

    def own(self, site: str | None) -> Own | None:
        """What a site's own labels say about goals for this bundle; ``None`` where there are none to go by."""
        return self._own.get((self.bundle.name, site)) if self.bundle is not None and site is not None else None

    def policy(self, digest: str | None, toml: Callable[[str], str | None], site: str | None = None) -> Policy:
        """The policy with that digest; ``None`` is the one that sites follow which have none of their own.

        ``toml`` finds a policy's text by its digest. For a ``site`` goals are resolved on its own labels as well.
        Raises ``KeyError`` where no text is found, and ``InvalidPolicy`` for one that another version has written.
        """
        own, is_default = self.own(site), digest is None or digest == self.default.digest
        if is_default and own is None:
            return self.default
        wanted = self.default.digest if digest is None else digest
        key = (wanted, site if own is not None else None)
        labels, policy = self._others.get(key, (None, None))
        if policy is None or labels is not own:
            text = self.default.toml if is_default else toml(wanted)
            if text is None:
                raise KeyError(wanted)
            # Parsed by two threads at once, it is the same policy twice.
            policy = Policy.parse(text, self.bundle.operating_points if self.bundle else None, own)
            if len(self._others) >= _POLICIES_KEPT:  # replays ask for any that has ever been in force
                self._others.clear()
            self._others[key] = (own, policy)
        return policy

    def readable_policy(
        self, digest: str | None, toml: Callable[[str], str | None], site: str | None = None
    ) -> Policy | None:
        """The same; ``None`` where there is no such text, or one that this version does not understand (any more)."""
        try:
            return self.policy(digest, toml, site)
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

    def assess_again(self, comment: Comment, old: Facts) -> tuple[Scores | None, Facts]:
        """The same for a comment that was decided before: what a model finds is found again, the rest is as in ``old``.

        What the store knew around the comment is no longer what it knew then.
        """
        ((scores, found),) = self.assess([comment])
        facts = replace(
            found,
            author_published=old.author_published,
            campaign_size=old.campaign_size,
            copied=old.copied,
            known_spam=old.known_spam,
            author_recent=old.author_recent,
            site_recent=old.site_recent,
        )
        return scores, facts


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
        self.releases = Releases(home / "models", shipped_models)
        self._home = home
        self._shipped = shipped_models
        self._clock = clock
        self._check = threading.Lock()
        self._opening = threading.Lock()
        self._opened: OrderedDict[Path, Bundle] = OrderedDict()
        self._waiting = threading.BoundedSemaphore(_MAY_WAIT)
        self._own: dict[tuple[str, str], Own] = {}
        self._stopping = threading.Event()
        self._watching: threading.Thread | None = None
        self._last_look = self._seen = self._look()
        self._next_check = clock() + CHECK_SECONDS
        self._next_retry = clock() + RETRY_SECONDS
        self._canary: tuple[InForce, Live] | None = None
        self._challenger: Live | None = None
        self._live = self._load(None)
        self._live = self._load_beside(self._live)

    @property
    def policy_file(self) -> Path:
        """Where an operator's own policy is looked for."""
        return self._home / "policy.toml"

    @property
    def models(self) -> Path:
        """The folder whose published bundle counts: the home's where one is published there, else the shipped one."""
        return self.releases.folder

    def start(self) -> None:
        """Look for new ones in a thread, until :meth:`stop`; nobody who asks has to."""
        self._stopping.clear()
        self._watching = threading.Thread(target=self._watch, name="live model", daemon=True)
        self._watching.start()

    def stop(self) -> None:
        """End the thread, after what it is loading."""
        self._stopping.set()
        if self._watching is not None:
            self._watching.join()
            self._watching = None

    def current(self, site: str | None = None) -> Live:
        """The pair in force for a site (by its URL); without one, that of all sites which no canary serves.

        Where no thread looks, it looks for a new one at most once a second, in one thread, while others go on.
        """
        if self._watching is None:
            self._look_again()
        canary = self._canary
        if site is not None and canary is not None and canary[0].serves(site) == canary[0].canary:
            return canary[1]
        return self._live

    def pair_of(self, bundle: str | None) -> Live:
        """The pair in force that has this bundle, by its name; that of most sites where none has."""
        live, canary = self.current(), self._canary
        is_canary = canary is not None and canary[1].bundle is not None and canary[1].bundle.name == bundle
        return canary[1] if canary is not None and is_canary else live

    def challenger(self) -> Live | None:
        """The pair that is scored beside (``moderation shadow``), ``None`` where there is none."""
        return self._challenger

    def take_own(self, bundle: str, site: str, own: Own | None) -> None:
        """From now on resolve the goals of a site (by its URL) on these labels, wherever this bundle scores for it.

        Those of bundles that no longer serve are let go.
        """
        for key in [each for each in self._own if each[1] == site and not self._serves(each[0])]:
            self._own.pop(key, None)
        if own is not None:
            self._own[bundle, site] = own
        else:
            self._own.pop((bundle, site), None)

    def _serves(self, bundle: str) -> bool:
        pairs = (self._live, self._canary[1]) if self._canary is not None else (self._live,)
        return any(pair.bundle is not None and pair.bundle.name == bundle for pair in pairs)

    def bundle(self, name: str) -> Bundle:
        """A bundle that is kept, by its name or digits of it: ``NAME@version`` means the scores of an older one.

        Loads it where it is not loaded, which takes a second or two. Raises ``BundleMissing`` where there is no such
        bundle (any more), ``BundleBusy`` where enough others wait for one already, and as :func:`load_bundle`.
        """
        path = self.releases.find(name)
        bundle = self._opened.get(path)
        if bundle is not None and bundle.fault is None:
            with suppress(KeyError):  # let go meanwhile
                self._opened.move_to_end(path)
            return bundle
        if not self._waiting.acquire(blocking=False):
            raise BundleBusy(f"{path.name} is not loaded, and enough others wait for a bundle already")
        try:
            return self._open(path)
        finally:
            self._waiting.release()

    def _watch(self) -> None:
        while not self._stopping.wait(CHECK_SECONDS):
            with self._check:
                self._reload()

    def _look_again(self) -> None:
        if self._clock() >= self._next_check and self._check.acquire(blocking=False):
            try:
                self._next_check = self._clock() + CHECK_SECONDS
                self._reload()
            finally:
                self._check.release()

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
            self._live = self._load_beside(self._live)
        except Exception as error:  # noqa: BLE001  # whoever looked by chance has an old pair to go on with
            self._live = replace(self._live, faults={"model": _report("model", error)})

    def _load(self, old: Live | None) -> Live:
        """A new pair, made of what can be loaded and, where that fails, of the old one."""
        faults: dict[str, str] = {}
        bundle = old.bundle if old else None
        try:
            path = current_bundle(self.models)
            if bundle is None or bundle.path != path or bundle.fault is not None:
                bundle = self._open_to_serve(path)
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
        live = Live(bundle, policy, faults, self._own)
        in_force = {"bundle": bundle.name if bundle else None, "tier": live.tier, "policy": policy.digest}
        _log.info("in force", extra=in_force)
        return live

    def _load_beside(self, live: Live) -> Live:
        """Load the canary and the challenger, as far as there are any; the pair with what is wrong with them."""
        faults = dict(live.faults)
        canary, challenger = None, None
        # What is wrong with it has been told of the model.
        with suppress(BundleMissing, BundleUnsupported):
            in_force = self.releases.in_force()
            try:
                if in_force.canary is not None:
                    canary = in_force, self._pair(self.releases.find(in_force.canary), live)
                    _log.info("canary in force", extra={"bundle": in_force.canary, "share": in_force.share})
            except Exception as error:  # noqa: BLE001  # as broken as any folder
                faults["canary"] = _report("canary", error)
        try:
            path = self.releases.challenger()
            if path is not None and (live.bundle is None or path.name != live.bundle.name):
                challenger = self._pair(path, live)
        except Exception as error:  # noqa: BLE001
            faults["shadow"] = _report("shadow", error)
        self._canary, self._challenger = canary, challenger
        return replace(live, faults=faults) if faults != live.faults else live

    def _pair(self, path: Path, beside: Live) -> Live:
        bundle = self._open_to_serve(path)
        if bundle.fault is not None:
            raise EncoderUnavailable(bundle.fault)
        return Live(bundle, Policy.parse(beside.default.toml, bundle.operating_points), _own=self._own)

    def _open_to_serve(self, path: Path) -> Bundle:
        bundle = self._open(path)
        # A policy known to be good, so that unusable measurements are blamed on the bundle, not on policy.toml.
        Policy.parse(default_policy_toml(), bundle.operating_points)
        return bundle

    def _open(self, path: Path) -> Bundle:
        """A bundle that is loaded already, else loaded and checked now."""
        with self._opening:
            bundle = self._opened.get(path)
            if bundle is None or bundle.fault is not None:
                bundle = load_bundle(path, beside=tuple(self._opened.values()))
                self._opened[path] = bundle
            self._opened.move_to_end(path)
            while len(self._opened) > _BUNDLES_KEPT:
                self._opened.popitem(last=False)
            return bundle

    def _look(self) -> _Look:
        own = self._home / "models"
        pointers = tuple(_read(path) for path in (own / "current", self._shipped / "current", own / "shadow"))
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
