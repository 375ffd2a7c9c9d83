"""How often signing in may be tried, and by how many at once. Only memory knows: it is forgotten with a restart.

Strangers (browsers in which nobody has signed in under that name) have a limit per name and address, one per address
and one per name. A browser that is known for a name has a limit of its own, so nobody can keep it out. All strangers
together share a brake, which holds back only those whose address has failed lately or is not known: whoever comes from
another address with the right password gets in while somebody tries out passwords.
"""

from __future__ import annotations

import hashlib
import math
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from service.errors import TooManyTries


@dataclass(frozen=True, slots=True)
class Rate:
    """``most`` tries may come at once; one more is granted every ``seconds``."""

    most: int
    seconds: float


PER_NAME_AND_ADDRESS = Rate(5, 60.0)
PER_ADDRESS = Rate(20, 10.0)
PER_NAME = Rate(100, 15.0)
PER_BROWSER = Rate(5, 30.0)
IN_ALL = Rate(40, 1.0)

# An address that has failed fewer times lately is not held back by the brake.
_FEW = 3
# The oldest go first. Checking passwords takes so long that nobody can push out a limit before it has filled up again.
_MOST_KEPT = 20_000


@dataclass(slots=True)
class _Bucket:
    """Tries that are left, as of a moment."""

    rate: Rate
    left: float
    at: float


Taken = Sequence[_Bucket]
"""A try that was used up, to be given back."""


class Tries:
    """Token buckets by keyed hashes, whose key is drawn at each start. Thread-safe."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """``clock`` gives seconds."""
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._buckets: OrderedDict[bytes, _Bucket] = OrderedDict()
        self._brake = _Bucket(IN_ALL, IN_ALL.most, clock())

    def take(self, name: str, address: str | None) -> Taken:
        """Use up a stranger's try. ``address`` is ``None`` where it is not known. Raises ``TooManyTries``."""
        with self._lock:
            taken = [self._find(PER_NAME_AND_ADDRESS, "both", name, address or ""), self._find(PER_NAME, "name", name)]
            by_address = self._find(PER_ADDRESS, "address", address) if address is not None else None
            if by_address is None or by_address.left <= PER_ADDRESS.most - _FEW:
                taken.append(self._fill(self._brake))
            return _take(taken if by_address is None else [*taken, by_address])

    def take_known(self, browser: str) -> Taken:
        """Use up a try of a browser that is known. Raises ``TooManyTries``."""
        with self._lock:
            return _take([self._find(PER_BROWSER, "browser", browser)])

    def give_back(self, taken: Taken) -> None:
        """That try was right, or was not looked at: it does not count. What failed before it does."""
        with self._lock:
            for bucket in taken:
                bucket.left = min(bucket.left + 1, bucket.rate.most)

    def __len__(self) -> int:
        return len(self._buckets)

    def _find(self, rate: Rate, *of: str) -> _Bucket:
        # Each part is hashed by itself: no name can be written so that it reads like another one with an address.
        key = b"".join(
            hashlib.blake2b(part.encode("utf-8", "replace"), key=self._key, digest_size=16).digest() for part in of
        )
        bucket = self._buckets.setdefault(key, _Bucket(rate, rate.most, self._clock()))
        self._buckets.move_to_end(key)
        if len(self._buckets) > _MOST_KEPT:
            self._buckets.popitem(last=False)
        return self._fill(bucket)

    def _fill(self, bucket: _Bucket) -> _Bucket:
        now = self._clock()
        bucket.left = min(bucket.rate.most, bucket.left + (now - bucket.at) / bucket.rate.seconds)
        bucket.at = now
        return bucket


class Lane:
    """Lets so many at a time do something that takes much memory, and few wait for it."""

    def __init__(self, at_once: int, waiting: int) -> None:
        self._work = threading.BoundedSemaphore(at_once)
        self._room = threading.BoundedSemaphore(at_once + waiting)

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Wait for one's turn. Raises ``TooManyTries`` where too many wait: all threads of the service would do so."""
        if not self._room.acquire(blocking=False):
            raise TooManyTries(1)
        try:
            with self._work:
                yield
        finally:
            self._room.release()


def client_network(host: str | None, proxies: Sequence[str]) -> str | None:
    """What counts as one client: an IPv4 address, or the network (/64) of an IPv6 one, which is what one customer has.

    ``None`` where it is not known: a proxy of one's own (``proxies`` are networks) that does not say for whom it asks.
    """
    try:
        address: IPv4Address | IPv6Address = ip_address(host or "")
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if any(address in ip_network(proxy) for proxy in proxies):
        return None
    return str(address) if isinstance(address, IPv4Address) else str(IPv6Network((int(address), 64), strict=False))


def also_mapped(networks: Sequence[str]) -> list[str]:
    """The networks, those of IPv4 also as a socket that listens to both kinds names them."""
    mapped = [
        f"::ffff:{network.network_address}/{96 + network.prefixlen}"
        for network in map(ip_network, networks)
        if network.version == 4
    ]
    return [*networks, *mapped]


def _take(buckets: Taken) -> Taken:
    """One try of each, or none. Raises ``TooManyTries``."""
    waits = [math.ceil((1 - bucket.left) * bucket.rate.seconds) for bucket in buckets if bucket.left < 1]
    if waits:
        raise TooManyTries(max(1, *waits))
    for bucket in buckets:
        bucket.left -= 1
    return buckets
