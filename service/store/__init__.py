"""The store: every table and every query, for SQLite and PostgreSQL alike.

With ``service/migrations`` the only place that imports SQLAlchemy. All methods may raise ``StoreBusy`` and
``StoreUnavailable``; each is one transaction.
"""

from __future__ import annotations

from service.store.batch import BINS, Waiting
from service.store.campaigns import CAMPAIGN_HOURS
from service.store.context import Context
from service.store.copies import plain
from service.store.coral import CoralConnection
from service.store.drift import DriftDay
from service.store.entries import CLAIM_SECONDS, Holder
from service.store.insight import Arrivals, AuditCount, Given, Rating, ReasonCount, Waits
from service.store.looks import Height, Look, Picked
from service.store.news import Cursor, Sight, Touched
from service.store.queries import Store
from service.store.queue import MAX_PAGE
from service.store.reading import Brief, History, Place, PostRead, Surroundings, VersionRead
from service.store.records import (
    AkismetAnswer,
    Alert,
    Appeal,
    AuditDraw,
    Change,
    Decided,
    Deliveries,
    DriftAlerts,
    Judge,
    Judged,
    Judgement,
    KeyDates,
    Known,
    LogEntry,
    Message,
    Moderator,
    PolicyChange,
    Priority,
    QueueEntry,
    QueueFilter,
    QueuePage,
    SameText,
    Session,
    Site,
    StatusChange,
    Stored,
    StoredKey,
    Target,
    Verdict,
    Webhook,
    Why,
    may_be_id,
)
from service.store.rows import read_facts
from service.store.second_looks import Standing
from service.store.shadow import Beside, ShadowRow, ShadowRun
from service.store.verdicts import MOST_TOGETHER

__all__ = [
    "BINS",
    "CAMPAIGN_HOURS",
    "CLAIM_SECONDS",
    "MAX_PAGE",
    "MOST_TOGETHER",
    "AkismetAnswer",
    "Alert",
    "Appeal",
    "Arrivals",
    "AuditCount",
    "AuditDraw",
    "Beside",
    "Brief",
    "Change",
    "Context",
    "CoralConnection",
    "Cursor",
    "Decided",
    "Deliveries",
    "DriftAlerts",
    "DriftDay",
    "Given",
    "Height",
    "History",
    "Holder",
    "Judge",
    "Judged",
    "Judgement",
    "KeyDates",
    "Known",
    "LogEntry",
    "Look",
    "Message",
    "Moderator",
    "Picked",
    "Place",
    "PolicyChange",
    "PostRead",
    "Priority",
    "QueueEntry",
    "QueueFilter",
    "QueuePage",
    "Rating",
    "ReasonCount",
    "SameText",
    "Session",
    "ShadowRow",
    "ShadowRun",
    "Sight",
    "Site",
    "Standing",
    "StatusChange",
    "Store",
    "Stored",
    "StoredKey",
    "Surroundings",
    "Target",
    "Touched",
    "Verdict",
    "VersionRead",
    "Waiting",
    "Waits",
    "Webhook",
    "Why",
    "may_be_id",
    "plain",
    "read_facts",
]
