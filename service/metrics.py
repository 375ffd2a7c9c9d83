"""Figures for Prometheus, in a registry of their own per application. No label ever holds text, ids or names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from moderation.comment import Tier
from moderation.goals import TIERS

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

Outcome = Literal["delivered", "failed", "given_up"]
ShadowOutcome = Literal["scored", "dropped", "failed"]

ALERTS = ("goal_missed", "goal_unsure", "scores")

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def known_method(method: str) -> str:
    """The method of a request, or ``other``: strangers can make up any number, and each would be kept as a label."""
    return method if method in _METHODS else "other"


class Metrics:
    """What the service counts about itself."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._decisions = Counter("moderation_decisions", "New decisions", ["action", "tier"], registry=self._registry)
        self._seen = Counter("moderation_seen_before", "Comments answered from the store", registry=self._registry)
        self._requests = Histogram(
            "moderation_request_seconds",
            "Time to answer, by route and status",
            ["method", "route", "status"],
            registry=self._registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
        )
        self._deliveries = Counter(
            "moderation_webhook_deliveries", "Webhook messages by outcome", ["outcome"], registry=self._registry
        )
        self._waiting = Gauge("moderation_webhook_waiting", "Webhook messages that wait", registry=self._registry)
        self._oldest = Gauge(
            "moderation_webhook_oldest_waiting_seconds", "Age of the oldest that waits", registry=self._registry
        )
        self._shadow = Counter(
            "moderation_shadow_comments", "Comments for the challenger by outcome", ["outcome"], registry=self._registry
        )
        self._shed = Counter(
            "moderation_coral_shed", "Comments of Coral withheld unread: too many waited", registry=self._registry
        )
        self._drift = Gauge(
            "moderation_drift_alerts", "Alerts of the last day's figures by kind", ["alert"], registry=self._registry
        )
        self._model = Gauge("moderation_model_available", "1 while a bundle is in force", registry=self._registry)
        self._tier = Gauge("moderation_tier_in_use", "1 for the tier that answers", ["tier"], registry=self._registry)

    def count_decision(self, action: str, tier: str | None) -> None:
        """A new decision; ``tier`` is ``None`` when no model scored the comment."""
        self._decisions.labels(action, tier or "none").inc()

    def count_seen(self) -> None:
        """A comment that was answered from the store."""
        self._seen.inc()

    def count_delivery(self, outcome: Outcome, count: int = 1) -> None:
        """Attempts to deliver to webhooks (``delivered``, ``failed``), and messages that were given up."""
        self._deliveries.labels(outcome).inc(count)

    def count_shadow(self, outcome: ShadowOutcome, count: int = 1) -> None:
        """Comments that the challenger has scored, could not, or had no time for."""
        self._shadow.labels(outcome).inc(count)

    def count_shed(self) -> None:
        """A comment of Coral's that waits for a person because too many waited for an answer."""
        self._shed.inc()

    def show_waiting(self, count: float, oldest_seconds: float) -> None:
        """How many messages wait for webhooks, and since when; NaN where it is not known."""
        self._waiting.set(count)
        self._oldest.set(oldest_seconds)

    def show_drift(self, alerts: Mapping[str, int] | None) -> None:
        """How many alerts of which kind the last day's figures say; NaN where it is not known."""
        for name in ALERTS:
            self._drift.labels(name).set(math.nan if alerts is None else alerts.get(name, 0))

    def time_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """An answer; ``route`` is the route's pattern, never the path that was asked for."""
        self._requests.labels(known_method(method), route, str(status)).observe(seconds)

    def render(self, *, tier: Tier | None) -> bytes:
        """The text that Prometheus reads; ``tier`` is the one that answers, ``None`` where there is no model."""
        self._model.set(tier is not None)
        for name in TIERS:
            self._tier.labels(name).set(name == tier)
        return generate_latest(self._registry)
