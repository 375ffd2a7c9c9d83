"""What webhooks say of a change: in our own words, or in those that a site's Akismet plugin takes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from service.statuses import AKISMET_ID, DRIFT
from service.store import AkismetAnswer, DriftAlerts, Message, Webhook
from service.verdicts import message_to_author


def payload(webhook: Webhook, message: Message) -> bytes:
    """What a target is told of a change or of drift, in JSON. No text of a comment, no author and no moderator."""
    change = message.about
    if isinstance(change, AkismetAnswer):
        return _akismet_payload(webhook, [_akismet_comment(change)])
    if isinstance(change, DriftAlerts):
        told: dict[str, Any] = {
            "event": DRIFT,
            "site": webhook.site,
            "at": message.created_at.isoformat(),
            **asdict(change),
        }
        return json.dumps(told, ensure_ascii=False).encode()
    content = {
        "event": f"comment.{change.change.new}",
        "cursor": change.cursor,
        "site": webhook.site,
        "comment_id": change.comment,
        "old": change.change.old,
        "new": change.change.new,
        "at": change.change.at.isoformat(),
        "decision_id": change.decision_id,
        "verdict_id": change.verdict_id,
        "categories": None if message.categories is None else list(message.categories),
        "author_message": message_to_author(change.change.new, is_by_person=message.categories is not None),
    }
    return json.dumps(content, ensure_ascii=False).encode()


def ping_payload(webhook: Webhook, now: datetime) -> bytes:
    """A message that means nothing, by which a target shows that it takes messages."""
    if webhook.format == "akismet":
        return _akismet_payload(webhook, [])
    return json.dumps({"event": "ping", "site": webhook.site, "at": now.isoformat()}).encode()


def is_refused(message: Message, answer: bytes) -> bool:
    """Whether a plugin that was reached says that it could not do what it was told of this comment.

    It says so in the body, with a status that means success.
    """
    if not isinstance(message.about, AkismetAnswer):
        return False
    try:
        said = json.loads(answer)["comments"][_guid(message.about)]["status"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return False
    return bool(said == "error")


def _guid(answer: AkismetAnswer) -> str:
    return answer.comment.removeprefix(AKISMET_ID)


def _akismet_comment(answer: AkismetAnswer) -> dict[str, Any]:
    """A comment as the plugin finds it again, and what a check of it would be answered."""
    told: dict[str, Any] = {"guid": _guid(answer), "result": "true" if answer.is_spam else "false"}
    post = answer.post
    return told | ({"comment_post_ID": int(post)} if post and post.isascii() and post.isdecimal() else {})


def _akismet_payload(webhook: Webhook, comments: Sequence[Mapping[str, Any]]) -> bytes:
    told = {"key": webhook.secrets[0], "endpoint": "comment-check", "comments": list(comments)}
    return json.dumps(told).encode()
