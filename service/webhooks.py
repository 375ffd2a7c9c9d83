"""Webhooks: telling a site of each change of status, signed as https://www.standardwebhooks.com says.

A site's Akismet plugin hears in its own format of what people say about comments that it had checked.

What has to be told stands in the outbox, written with the change. Here it is sent: by one task in each process, in turn
for each webhook and side by side for different ones, so that a dead target keeps nobody else waiting. A message may
arrive twice, after a crash or when an answer gets lost; its id is then the same.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import random
import re
import secrets
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

import moderation
from service.errors import InvalidSettings, StoreError
from service.logs import describe_error
from service.metrics import Metrics
from service.statuses import AKISMET
from service.store import Message, Store, Webhook
from service.webhook_messages import is_refused, payload, ping_payload

_log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
ATTEMPT_SECONDS = 10.0
GIVE_UP_AFTER = timedelta(days=1)
"""How old a change is when it is no longer told. By then the site has to ask for the changes that it missed."""

OLD_SECRET_STAYS = timedelta(days=1)
"""How long messages are signed with the secret before the last one as well."""

MOST_AT_A_TIME = 20
"""So many webhooks are delivered to at the same time by one process."""

_FIRST_WAIT_SECONDS = 5.0
_LONGEST_WAIT_SECONDS = 4 * 3_600.0
_LONGEST_PAUSE_SECONDS = 300.0
_HEADERS = {"Content-Type": "application/json", "User-Agent": f"comment-moderation/{moderation.__version__}"}
_MOST_ADDRESSES = 3
_PLUGIN_KEY = re.compile(r"[0-9a-zA-Z]{8,100}")
_MOST_READ_BYTES = 65_536
_NOT_TAKEN = "not_taken"
# A check is answered before the site has kept the comment, so that it may be unknown at first. One that is unknown
# after half an hour was deleted.
_MOST_REFUSALS = 6
_SECRET_PREFIX = "whsec_"  # noqa: S105  # the prefix, not a secret
# What of IPv6 is given to the internet at all.
_UNICAST = ip_network("2000::/3")
# NAT64 (RFC 6052): an IPv4 address in disguise.
_NAT64 = ip_network("64:ff9b::/96")

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt: the status that was answered, or an ``error`` of a closed list of codes.

    Codes are ``refused_address``, ``unknown_host``, ``unreachable``, ``tls``, ``timeout``, ``redirect``, ``invalid``
    ``not_taken`` and ``http_NNN``. ``body`` is what an Akismet plugin has answered.
    """

    status: int | None
    error: str | None
    body: bytes = b""

    @property
    def is_delivered(self) -> bool:
        """Whether the target has taken the message."""
        return self.error is None


# Signing


def make_secret() -> str:
    """A new secret of a webhook."""
    return _SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The signature of a message under one secret, ``v1,...``."""
    key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def check_key(key: str) -> str:
    """The key of a site's Akismet plugin as it is kept. Raises ``InvalidSettings``."""
    key = key.strip()
    if not _PLUGIN_KEY.fullmatch(key):
        raise InvalidSettings(
            "the key of the format akismet is the one that the site's plugin shows: 12 hexadecimal digits"
        )
    return key


def check_url(url: str, allow: Sequence[str]) -> str:
    """The address of a webhook as it is kept. Raises ``InvalidSettings``.

    So it does for an address in numbers that messages would never go to, unless ``allow`` lists it; what a name means
    is seen whenever a message is sent.
    """
    url = url.strip()
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # looked at, it is checked
        host = httpx.URL(url).host
    except (ValueError, httpx.InvalidURL):
        parts, host = urlsplit(""), ""
    if parts.scheme not in ("http", "https") or not host or parts.fragment or not url.isprintable() or " " in url:
        raise InvalidSettings(f"{url!r} is not the address of a webhook; write it like https://blog.example.org/hook")
    if "@" in parts.netloc:
        raise InvalidSettings("the address must hold no password; messages are signed instead")
    addresses = Addresses(allow)
    inside = _read_numbers(host)
    if inside and not any(addresses.permits(host, address) for address in inside):
        raise InvalidSettings(
            f"{host} is inside your own network, where webhooks lead only if MODERATION_WEBHOOK_ALLOW lists it"
        )
    return url


def _read_numbers(host: str) -> tuple[Address, ...]:
    """The addresses that a host means without asking anybody; none where it is a name."""
    if host.lower().rstrip(".").rpartition(".")[2] == "localhost":
        return IPv4Address("127.0.0.1"), IPv6Address("::1")
    with suppress(ValueError):
        return (ip_address(host.rstrip(".")),)
    with suppress(OSError):  # other ways of writing one, such as 127.1 or 0x7f000001
        return (IPv4Address(socket.inet_aton(host.rstrip("."))),)
    return ()


# Addresses


class Addresses:
    """Which addresses may be connected to: public ones, and what the operator has listed."""

    def __init__(self, allow: Sequence[str]) -> None:
        """``allow`` holds host names and networks."""
        self._hosts = set()
        self._networks = []
        for name in allow:
            try:
                self._networks.append(ip_network(name))
            except ValueError:
                self._hosts.add(name)

    def permits(self, host: str, address: Address) -> bool:
        """Whether a host may be connected to at that address."""
        if host.lower().rstrip(".") in self._hosts or any(address in network for network in self._networks):
            return True
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            return self.permits("", address.ipv4_mapped)
        inner = _inner(address)
        return is_public(address) and (inner is None or self.permits("", inner))


def is_public(address: Address) -> bool:
    """Whether an address is one of the internet: not private, loopback, link-local, multicast or reserved."""
    if isinstance(address, IPv6Address) and address not in _UNICAST and address not in _NAT64:
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _inner(address: Address) -> Address | None:
    """The IPv4 address that traffic to an IPv6 one is carried to, where it is."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.sixtofour or (address.teredo[1] if address.teredo else None)


async def resolve(host: str, port: int, pool: Executor | None = None) -> list[Address]:
    """Every address of a host, asked for in a thread of the pool. Raises ``OSError``."""
    with suppress(ValueError):
        return [ip_address(host.removeprefix("[").removesuffix("]"))]
    ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(pool, ask)
    # A zone ("fe80::1%eth0") means this machine's own network.
    return list(dict.fromkeys(ip_address(str(each[4][0]).partition("%")[0]) for each in found))


# Sending


class Sender:
    """One attempt at a time to deliver to one webhook. Connections are its own, and are closed with it.

    ``webhook`` may be replaced by a newer state of it.
    """

    def __init__(self, webhook: Webhook, addresses: Addresses, tls: ssl.SSLContext, find: Resolve = resolve) -> None:
        self.webhook = webhook
        self._addresses = addresses
        self._resolve = find
        timeout = httpx.Timeout(ATTEMPT_SECONDS, connect=ATTEMPT_SECONDS / 2)
        # Nothing from the environment: a proxy there would connect to whatever address it likes.
        self._client = httpx.AsyncClient(verify=tls, timeout=timeout, trust_env=False, follow_redirects=False)

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def send(self, message_id: str, body: bytes) -> Outcome:
        """Try once. Never raises."""
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                return await self._send(message_id, body)
        except (TimeoutError, httpx.TimeoutException):
            return Outcome(None, "timeout")
        except (socket.gaierror, UnicodeError):
            return Outcome(None, "unknown_host")
        except httpx.ConnectError as error:
            return Outcome(None, "tls" if _is_tls(error) else "unreachable")
        except (httpx.TransportError, OSError):
            return Outcome(None, "unreachable")
        except Exception as error:  # noqa: BLE001  # whatever it is, it counts as an attempt, or it would be made for ever
            _log.error("a webhook cannot be sent", extra={"webhook": self.webhook.id, **describe_error(error)})
            return Outcome(None, "invalid")

    async def _send(self, message_id: str, body: bytes) -> Outcome:
        url = httpx.URL(self.webhook.url)
        port = url.port or {"http": 80, "https": 443}[url.scheme]
        host = url.raw_host.decode("ascii")
        found = await self._resolve(host, port)
        # If one of them is not allowed, none is: whoever owns the name has mixed them for a reason.
        if not found or not all(self._addresses.permits(host, address) for address in found):
            return Outcome(None, "refused_address")
        headers = self._sign(message_id, body) | {"Host": url.netloc.decode("ascii")}
        for number, address in enumerate(found[:_MOST_ADDRESSES], start=1):
            try:
                # To the address that was checked: asked again, the name might lead elsewhere.
                return await self._post(url.copy_with(host=str(address)), headers, body, host)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if number == min(len(found), _MOST_ADDRESSES):
                    raise
        raise AssertionError  # the last address either answers or raises

    async def _post(self, url: httpx.URL, headers: Mapping[str, str], body: bytes, host: str) -> Outcome:
        extensions = {"sni_hostname": host}  # certificates are of names
        async with self._client.stream("POST", url, content=body, headers=headers, extensions=extensions) as answer:
            read = bytearray()
            # Read, the connection can be used again. As it comes: unpacked, a few bytes may be very many.
            async for chunk in answer.aiter_raw():
                read += chunk
                if len(read) > _MOST_READ_BYTES:
                    break
        if answer.is_success:
            return Outcome(answer.status_code, None, bytes(read) if self.webhook.format == AKISMET else b"")
        return Outcome(answer.status_code, "redirect" if answer.is_redirect else f"http_{answer.status_code}")

    def _sign(self, message_id: str, body: bytes) -> dict[str, str]:
        if self.webhook.format == AKISMET:  # whose key stands in the body
            return _HEADERS | {"x-akismet-webhook": "1", "Accept-Encoding": "identity"}
        timestamp = int(time.time())
        signatures = [sign(secret, message_id, timestamp, body) for secret in self.webhook.secrets]
        return _HEADERS | {
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(signatures),
        }


def _is_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


async def ping(webhook: Webhook, allow: Sequence[str], now: datetime) -> Outcome:
    """Send a webhook something that means nothing, to see whether it arrives. Never raises."""
    sender = Sender(webhook, Addresses(allow), httpx.create_ssl_context())
    try:
        return await sender.send(f"msg_{secrets.token_urlsafe(16)}", ping_payload(webhook, now))
    finally:
        await sender.close()


# Delivering


def wait_after(attempts: int, *, draw: Callable[[], float] = random.random) -> timedelta:
    """How long to wait before a message is tried again: about four times as long after each attempt."""
    seconds = min(_FIRST_WAIT_SECONDS * 4.0 ** min(attempts, 20), _LONGEST_WAIT_SECONDS)
    # By chance a little more or less, so that many that failed together do not come back together.
    return timedelta(seconds=seconds * (0.8 + 0.4 * draw()))


class Courier:
    """Delivers what stands in the outbox, as long as :meth:`run` runs."""

    def __init__(
        self,
        store: Store,
        metrics: Metrics,
        allow: Sequence[str],
        *,
        look_seconds: float = LOOK_SECONDS,
        find: Resolve | None = None,
    ) -> None:
        self._store = store.webhooks
        self._metrics = metrics
        self._addresses = Addresses(allow)
        self._look_seconds = look_seconds
        # Names that nobody answers for keep threads waiting, which must not be those that the store is asked in.
        self._pool = ThreadPoolExecutor(MOST_AT_A_TIME, thread_name_prefix="names")
        self._resolve = find or partial(resolve, pool=self._pool)
        self._holder = secrets.token_hex(8)
        self._stopping = asyncio.Event()
        self._at_work: dict[int, asyncio.Task[None]] = {}

    def stop(self) -> None:
        """Begin nothing more. What is being sent is cut off, and sent again later."""
        self._stopping.set()

    async def run(self) -> None:
        """Deliver until :meth:`stop`, and leave nothing half written."""
        tls = httpx.create_ssl_context()
        while not self._stopping.is_set():
            try:
                due = await asyncio.to_thread(self._store.due)
            except Exception as error:  # noqa: BLE001  # whatever it is, the next look may find it mended
                _log.warning("webhooks cannot be looked at", extra=describe_error(error))
                due = []
            for row in due:
                if row not in self._at_work and len(self._at_work) < MOST_AT_A_TIME:
                    task = asyncio.create_task(self._serve(row, tls))
                    self._at_work[row] = task
                    task.add_done_callback(partial(self._has_ended, row))
            with suppress(TimeoutError):
                async with asyncio.timeout(self._look_seconds):
                    await self._stopping.wait()
        await asyncio.gather(*self._at_work.values(), return_exceptions=True)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _has_ended(self, row: int, _task: asyncio.Task[None]) -> None:
        del self._at_work[row]

    async def _serve(self, row: int, tls: ssl.SSLContext) -> None:
        """Deliver what is due for one webhook, until there is nothing more, an attempt fails, or it is to stop."""
        try:
            webhook = await asyncio.to_thread(self._store.hold, row, self._holder)
            if webhook is None:
                return
            sender = Sender(webhook, self._addresses, tls, self._resolve)
            try:
                while webhook is not None and not self._stopping.is_set():
                    sender.webhook = webhook
                    if not await self._deliver_some(webhook, sender):
                        break
                    # It may have got a new secret, or been removed.
                    webhook = await asyncio.to_thread(self._store.hold, row, self._holder)
            finally:
                await sender.close()
                await asyncio.to_thread(self._store.let_go, row, self._holder)
        except StoreError as error:
            # Whoever holds it after this one goes on where it was.
            _log.warning("a webhook waits for the database", extra={"row": row, **describe_error(error)})
        except Exception as error:  # noqa: BLE001  # of one webhook, so that the others go on
            _log.error("a webhook cannot be delivered to", extra={"row": row, **describe_error(error)})

    async def _deliver_some(self, webhook: Webhook, sender: Sender) -> bool:
        """False where there is nothing more to do for now."""
        messages = await asyncio.to_thread(self._store.next_messages, webhook.row)
        for message in messages:
            sent = asyncio.create_task(sender.send(message.id, payload(webhook, message)))
            outcome = await self._unless_stopped(sent)
            if outcome is None or not await asyncio.to_thread(self._note, webhook, message, outcome):
                return False
        return bool(messages)

    async def _unless_stopped(self, work: asyncio.Task[_T]) -> _T | None:
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
            return work.result() if work.done() else None
        finally:
            for task in (work, stopped):
                task.cancel()
            await asyncio.gather(work, stopped, return_exceptions=True)

    def _note(self, webhook: Webhook, message: Message, outcome: Outcome) -> bool:
        """Keep what came of an attempt. False where nothing more is to be sent to this target for now."""
        told: dict[str, Any] = {"webhook": webhook.id, "message_id": message.id, "attempt": message.attempts + 1}
        if outcome.is_delivered and is_refused(message, outcome.body):
            return self._note_refused(webhook, message, told)
        if outcome.is_delivered:
            self._metrics.count_delivery("delivered")
            return self._store.delivered(webhook, message, self._holder)
        error = outcome.error or "invalid"
        if outcome.status == 410:  # Standard Webhooks: the target wants no more
            given_up = self._store.disable(webhook, error, who="site")
        else:
            again = wait_after(message.attempts)
            longest = timedelta(seconds=_LONGEST_PAUSE_SECONDS)
            pause = min(again, wait_after(webhook.failures), longest)
            given_up = self._store.failed(webhook, message, error, again=again, pause=pause, most=GIVE_UP_AFTER)
        self._metrics.count_delivery("failed")
        self._metrics.count_delivery("given_up", given_up)
        _log.warning("a webhook was not delivered", extra={**told, "error_code": error, "given_up": given_up})
        return False

    def _note_refused(self, webhook: Webhook, message: Message, told: Mapping[str, Any]) -> bool:
        """Keep that a plugin does not know the comment, maybe not yet. Others go on meanwhile."""
        again = wait_after(message.attempts) if message.attempts + 1 < _MOST_REFUSALS else None
        is_held, given_up = self._store.refused(webhook, message, _NOT_TAKEN, self._holder, again=again)
        self._metrics.count_delivery("failed")
        self._metrics.count_delivery("given_up", given_up)
        _log.warning("a webhook was not taken", extra={**told, "error_code": _NOT_TAKEN, "given_up": given_up})
        return is_held
