"""The Perspective API describing itself: Google's discovery document, and the same schemas for the OpenAPI page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

VERSION = "v1alpha1"
ANALYZE = f"{VERSION}/comments:analyze"
SUGGEST = f"{VERSION}/comments:suggestscore"

_SCORE_TYPES = ["SCORE_TYPE_UNSPECIFIED", "PROBABILITY", "STD_DEV_SCORE", "PERCENTILE", "RAW"]
_TEXT = {"type": "string"}
_FLAG = {"type": "boolean"}
_STRINGS = {"type": "array", "items": _TEXT}


def _map(schema: str) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": {"$ref": schema}}


def _list(schema: str) -> dict[str, Any]:
    return {"type": "array", "items": {"$ref": schema}}


_SAID_IN_BOTH: Mapping[str, Any] = {
    "comment": {"$ref": "TextEntry", "description": "The comment."},
    "context": {"$ref": "Context", "description": "What stands around it."},
    "languages": _STRINGS | {"description": "Codes of its languages. Left out, the service looks itself."},
    "clientToken": _TEXT | {"description": "Anything; comes back in the answer."},
    "communityId": _TEXT | {"description": "Where it was written, in your own words."},
    "sessionId": _TEXT | {"description": "What ties several calls together."},
}

_PROPERTIES: Mapping[str, Mapping[str, Any]] = {
    "AnalyzeCommentRequest": {
        **_SAID_IN_BOTH,
        "requestedAttributes": _map("AttributeParameters") | {"description": "Which scores are asked for, by name."},
        "doNotStore": _FLAG | {"description": "Keep nothing that was written."},
        "spanAnnotations": _FLAG | {"description": "Point at the words that raised each score."},
        "dropUnsupportedAttributes": _FLAG | {"description": "Leave out attributes that lack the language."},
    },
    "AnalyzeCommentResponse": {
        "attributeScores": _map("AttributeScores") | {"description": "The scores, by the names that were asked for."},
        "languages": _STRINGS | {"description": "The languages that were named, else the detected one."},
        "detectedLanguages": _STRINGS | {"description": "en, or und for anything else."},
        "clientToken": _TEXT | {"description": "As it was sent."},
    },
    "SuggestCommentScoreRequest": {
        **_SAID_IN_BOTH,
        "attributeScores": _map("AttributeScores") | {"description": "What the scores should have been, by name."},
    },
    "SuggestCommentScoreResponse": {
        "clientToken": _TEXT | {"description": "As it was sent."},
        "requestedLanguages": _STRINGS | {"description": "The languages that were named."},
        "detectedLanguages": _STRINGS | {"description": "en, or und for anything else."},
    },
    "TextEntry": {
        "text": _TEXT | {"description": "The text; of a comment at most 20,480 bytes of UTF-8."},
        "type": _TEXT | {"enum": ["TEXT_TYPE_UNSPECIFIED", "PLAIN_TEXT", "HTML"]},
    },
    "Context": {
        "entries": _list("TextEntry") | {"description": "What was said before, the latest last."},
        "articleAndParentComment": {"$ref": "ArticleAndParentComment"},
    },
    "ArticleAndParentComment": {
        "article": {"$ref": "TextEntry", "description": "What is commented on."},
        "parentComment": {"$ref": "TextEntry", "description": "The comment that this one answers."},
    },
    "AttributeParameters": {
        "scoreType": _TEXT | {"enum": _SCORE_TYPES, "description": "Only PROBABILITY is supported."},
        "scoreThreshold": {
            "type": "number",
            "format": "float",
            "description": "Scores up to this one are left out of the answer.",
        },
    },
    "AttributeScores": {
        "summaryScore": {"$ref": "Score", "description": "Of the whole comment."},
        "spanScores": _list("SpanScore") | {"description": "Of parts of it."},
    },
    "SpanScore": {
        "begin": {"type": "integer", "format": "int32", "description": "In UTF-16 units."},
        "end": {"type": "integer", "format": "int32", "description": "Behind the last unit."},
        "score": {"$ref": "Score"},
    },
    "Score": {
        "value": {"type": "number", "format": "float", "description": "From 0 to 1."},
        "type": _TEXT | {"enum": _SCORE_TYPES},
    },
}

PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "key": {"type": "string", "description": "The API key of a site. Headers take it as well."},
    "alt": {"type": "string", "default": "json", "description": "The answer is JSON, whatever is said here."},
    "fields": {"type": "string", "description": "Ignored: every answer is whole."},
    "prettyPrint": {"type": "boolean", "default": "true", "description": "Ignored: answers have no line breaks."},
    "quotaUser": {"type": "string", "description": "Ignored: there is no quota."},
    "userIp": {"type": "string", "description": "Ignored and not kept."},
    "callback": {"type": "string", "description": "Ignored: there is no JSONP."},
    "access_token": {"type": "string", "description": "Ignored."},
    "oauth_token": {"type": "string", "description": "Ignored."},
    "uploadType": {"type": "string", "description": "Ignored."},
    "upload_protocol": {"type": "string", "description": "Ignored."},
    "$.xgafv": {"type": "string", "description": "Ignored: errors have one format."},
}
"""The parameters that every call may have in its address."""

EXAMPLES: Mapping[str, Any] = {
    "AnalyzeCommentRequest": {
        "comment": {"text": "What kind of idiot name is foo? Sorry, I like your name."},
        "languages": ["en"],
        "requestedAttributes": {"TOXICITY": {}, "SPAM": {}},
    },
    "SuggestCommentScoreRequest": {
        "comment": {"text": "Get busy living."},
        "attributeScores": {"TOXICITY": {"summaryScore": {"value": 0}}},
        "communityId": "/forum/movies",
        "clientToken": "comment-53922",
    },
}


def write_discovery(root_url: str) -> dict[str, Any]:
    """The discovery document for a service that is reached at ``root_url``, with a slash at its end.

    It has no ``auth``: with it clients would look for Google's credentials.
    """
    return {
        "kind": "discovery#restDescription",
        "discoveryVersion": "v1",
        "id": f"commentanalyzer:{VERSION}",
        "name": "commentanalyzer",
        "version": VERSION,
        "revision": "20260504",
        "title": "Comment Analyzer compatible API",
        "description": "Scores of comments, in the protocol of Google's Perspective API.",
        "protocol": "rest",
        "rootUrl": root_url,
        "servicePath": "",
        "baseUrl": root_url,
        "basePath": "",
        "batchPath": "batch",
        "parameters": {name: {**said, "location": "query"} for name, said in PARAMETERS.items()},
        "schemas": {name: _schema(name) for name in _PROPERTIES},
        "resources": {
            "comments": {
                "methods": {
                    "analyze": _method("analyze", ANALYZE, "AnalyzeComment", "Scores of a comment."),
                    "suggestscore": _method(
                        "suggestscore", SUGGEST, "SuggestCommentScore", "What the scores should have been."
                    ),
                }
            }
        },
    }


def describe_call(request: str) -> dict[str, Any]:
    """A call's parameters and body for the OpenAPI description."""
    content = {"application/json": {"schema": inline(request), "example": EXAMPLES[request]}}
    return {"parameters": describe_parameters(), "requestBody": {"required": True, "content": content}}


def describe_parameters(**more: str) -> list[dict[str, Any]]:
    """The parameters in the address, and ``more`` with their descriptions, for the OpenAPI description."""
    descriptions = {name: said["description"] for name, said in PARAMETERS.items()} | more
    return [
        {"name": name, "in": "query", "required": False, "description": description, "schema": _TEXT}
        for name, description in descriptions.items()
    ]


def describe_answer(response: str, description: str) -> dict[str, Any]:
    """A call's answer for the OpenAPI description."""
    return {"description": description, "content": {"application/json": {"schema": inline(response)}}}


def describe_errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of a route in their one shape, for the OpenAPI description."""
    content = {"application/json": {"schema": ERROR}}
    return {status: {"description": _ERRORS[status], "content": content} for status in statuses}


def inline(name: str) -> dict[str, Any]:
    """A schema with those that it refers to put in their places."""
    resolved: dict[str, Any] = _resolve(_schema(name))
    return resolved


ERROR: Mapping[str, Any] = {
    "type": "object",
    "required": ["error"],
    "additionalProperties": False,
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "status"],
            "additionalProperties": False,
            "properties": {
                "code": {"type": "integer"},
                "message": _TEXT,
                "status": _TEXT,
                "details": {"type": "array", "items": {"type": "object", "required": ["@type"]}},
            },
        }
    },
}

_ERRORS = {
    400: "The request cannot be meant, or its key is not valid.",
    403: "There is no key.",
    404: "There is no such version.",
    503: "There is no model, or the database is away.",
}


def _schema(name: str) -> dict[str, Any]:
    return {"id": name, "type": "object", "properties": dict(_PROPERTIES[name])}


def _method(name: str, path: str, schemas: str, description: str) -> dict[str, Any]:
    return {
        "id": f"commentanalyzer.comments.{name}",
        "path": path,
        "flatPath": path,
        "httpMethod": "POST",
        "description": description,
        "parameterOrder": [],
        "parameters": {},
        "request": {"$ref": f"{schemas}Request"},
        "response": {"$ref": f"{schemas}Response"},
    }


def _resolve(part: Any) -> Any:
    if isinstance(part, list):
        return [_resolve(item) for item in part]
    if not isinstance(part, dict):
        return part
    described = {"description": part["description"]} if "description" in part else {}
    if isinstance(part.get("$ref"), str):
        return inline(part["$ref"]) | described
    return {key: _resolve(value) for key, value in part.items() if not (key == "id" and isinstance(value, str))}
