"""What clients of Akismet ask about their account: figures counted from the store, limits that there are none of."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from moderation.comment import Decision
from service.dialects.akismet_request import Said
from service.errors import InvalidRequest
from service.statuses import AKISMET
from service.store import Site, Store

# What asks for a comment to be held or rejected because it is spam or because the operator's own rules say so.
SPAM_REASONS = frozenset(
    (
        *("spam", "honeypot", "blocked_words", "blocked_domains", "banned_author"),
        *("links_allowed", "campaign", "copied", "known_spam"),
    )
)
HOSTILE_REASONS = frozenset({"hostile", "insult", "threat", "identity_attack", "profanity", "severe"})

_MONTH = re.compile(r"20\d\d-(?:0[1-9]|1[0-2])")
_MOST_MONTHS = 120
_MONTHS_BY_SPAN = {"60-days": 2, "6-months": 6, "all": _MOST_MONTHS}
_MOST_LISTED = 500
# How long a person takes to see that a comment is spam, by which the plugin says how much time was saved.
_SECONDS_A_LOOK = 10


@dataclass(frozen=True, slots=True)
class Month:
    """What happened in a month, ``name`` as in ``2026-01``. ``spam`` and ``ham`` are what checks answered."""

    name: str
    spam: int
    ham: int
    missed_spam: int
    false_positives: int

    @property
    def calls(self) -> int:
        """How many comments were checked."""
        return self.spam + self.ham


def is_spam(decision: Decision, *, hostile_counts: bool) -> bool:
    """Whether a comment is spam to a client that knows nothing else.

    Whatever is rejected is: what is answered otherwise such clients publish, and then nobody here would see it again.
    """
    fired = frozenset(reason.name for reason in decision.reasons if reason.fired)
    is_held = decision.action == "hold" and says_spam(fired, hostile_counts=hostile_counts)
    return decision.action == "reject" or is_held


def says_spam(fired: frozenset[str], *, hostile_counts: bool) -> bool:
    """The same by the names of the reasons that fired in a decision to hold or reject."""
    return bool(fired & (SPAM_REASONS | HOSTILE_REASONS if hostile_counts else SPAM_REASONS))


def count_month(store: Store, site: Site, name: str) -> Month:
    """Count a month of a site."""
    year, month = int(name[:4]), int(name[5:])
    since = datetime(year, month, 1, tzinfo=UTC)
    until = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
    traffic = store.traffic
    spam, ham = traffic.checked(site, since, until)
    missed = traffic.said(site, AKISMET, "reject", since, until)
    return Month(name, spam, ham, missed, traffic.said(site, AKISMET, "approve", since, until))


def usage_limit(said: Said, store: Store, site: Site) -> dict[str, Any]:
    """The answer of ``usage-limit``: how many comments were checked this month, and that there is no limit."""
    used = count_month(store, site, _this_month(store)).calls
    usage: dict[str, Any] = {"limit": "none", "usage": used, "percentage": "0.00", "throttled": False}
    return usage | {"notice_level": None, "upgrade": False} if said.says("extended") else usage


def key_sites(said: Said, store: Store, site: Site) -> dict[str, Any]:
    """The answer of ``key-sites`` in JSON: a key is of one site, so the list has one row, or none past the filters.

    Raises ``InvalidRequest`` for a month, an offset or a limit that is none.
    """
    name = said.get("month") or _this_month(store)
    if not _MONTH.fullmatch(name):
        raise InvalidRequest("month is written like 2026-01")
    limit, offset = _number(said, "limit", _MOST_LISTED), _number(said, "offset", 0)
    shown = site.url.partition("://")[2]
    rows = []
    if said.get("filter").lower() in shown:
        month = count_month(store, site, name)
        rows.append({"site": shown, "api_calls": str(month.calls), **_figures(month), "is_revoked": False})
    return {name: rows[offset:][:limit], "limit": limit, "offset": offset, "total": len(rows)}


def write_csv(answer: Mapping[str, Any], key: str) -> str:
    """The same as CSV. Of the key only what is public is repeated."""
    name = next(iter(answer))
    head = f"limit:{answer['limit']}, offset: {answer['offset']}, total: {answer['total']}"
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    table.writerow(["Site", "Total API Calls", "Spam", "Ham", "Missed Spam", "False Positives", "Is Revoked"])
    for row in answer[name]:
        table.writerow([*list(row.values())[:-1], "true" if row["is_revoked"] else "false"])
    return f"Active sites for {key} during {name} ({head})\n{written.getvalue()}".removesuffix("\n")


def stats(said: Said, store: Store, site: Site) -> dict[str, Any]:
    """The answer of ``get-stats``: sums over a span, and each month of it."""
    span = said.get("from")
    first = store.traffic.first(site)
    names = list(_months_back(store, first, _MONTHS_BY_SPAN.get(span, _MOST_MONTHS)))
    months = [count_month(store, site, name) for name in names]
    whole = _sum(months)
    wrong = whole.missed_spam + whole.false_positives
    right = max(0, whole.calls - wrong)
    return {
        **_figures(whole),
        "accuracy": f"{100 * right / whole.calls:.2f}" if whole.calls else "0",
        "time_saved": whole.spam * _SECONDS_A_LOOK,
        "breakdown": {month.name: {"da": month.name, **_figures(month)} for month in months if month.calls},
    }


def subscription(site: Site) -> dict[str, Any]:
    """The answer of ``get-subscription``: an account without plan, bill and end."""
    return {
        "account_id": 0,
        "account_name": site.url.partition("://")[2],
        "account_type": "self-hosted",
        "status": "active",
        "next_billing_date": False,
        "limit_reached": False,
    }


def _figures(month: Month) -> dict[str, str]:
    """Numbers are texts in this protocol."""
    numbers = {"spam": month.spam, "ham": month.ham, "missed_spam": month.missed_spam}
    return {name: str(number) for name, number in (numbers | {"false_positives": month.false_positives}).items()}


def _sum(months: Iterable[Month]) -> Month:
    spam = ham = missed = false = 0
    for month in months:
        spam, ham = spam + month.spam, ham + month.ham
        missed, false = missed + month.missed_spam, false + month.false_positives
    return Month("", spam, ham, missed, false)


def _months_back(store: Store, first: datetime | None, most: int) -> Iterator[str]:
    """This month and those before it, as far back as comments go."""
    now = store.now()
    year, month = now.year, now.month
    for _ in range(most):
        yield f"{year:04}-{month:02}"
        if first is None or (year, month) <= (first.year, first.month):
            return
        year, month = (year, month - 1) if month > 1 else (year - 1, 12)


def _this_month(store: Store) -> str:
    return f"{store.now():%Y-%m}"


def _number(said: Said, name: str, default: int) -> int:
    given = said.get(name)
    if not given:
        return default
    if not given.isascii() or not given.isdecimal() or len(given) > 9:
        raise InvalidRequest(f"{name} is a whole number, 0 or more")
    return int(given)
