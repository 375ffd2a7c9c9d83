"""What the service says of its dialects in its OpenAPI description is what it does, as schemathesis finds out."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from requests.auth import AuthBase

from service.auth import make_key

SECRET = "a" * 64

# What Coral has signed is never refused for its shape, and neither is what its versions to come may say. Perspective
# takes fields as Google's own servers do, and refuses texts for what is in them.
LENIENT = {"negative_data_rejection", "positive_data_acceptance"}


class Signed(AuthBase):
    """Signs each body as Coral does, just before it is sent."""

    def __call__(self, request):
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        request.headers["X-Coral-Signature"] = f"sha256={signature}"
        return request


@pytest.fixture
def key_of(shared_service):
    """The API key of a site of one's own."""
    store = shared_service.parts.store
    return lambda name: make_key(store, store.add_site(f"https://described-{name}.example"))


def test_openai_does_what_it_says(call_as_described, shared_service, key_of):
    headers = {"Authorization": f"Bearer {key_of('openai')}"}
    statuses = call_as_described(shared_service.url, "openai", headers=headers)

    assert min(statuses[200], statuses[400]) > 0


@pytest.mark.parametrize(("path", "expected"), [("phase", {200, 204}), ("webhooks", {200, 422})])
def test_coral_is_answered_as_described(call_as_described, shared_service, path, expected):
    site = shared_service.parts.store.add_site(f"https://described-{path}.example")
    made = shared_service.parts.store.coral.connect(site, SECRET, SECRET, who="operator")
    statuses = call_as_described(
        shared_service.url,
        "coral",
        auth=Signed(),
        path_parameters={"connection_id": made.id},
        ending=path,
        skipped=LENIENT,
    )

    assert expected <= statuses.keys()


def test_perspective_does_what_it_says_and_errs_as_google_does(call_as_described, shared_service, key_of):
    def is_google_error(answer) -> bool:
        body = answer.json()
        is_whole = {"code", "message", "status"} <= set(body["error"]) <= {"code", "message", "status", "details"}
        return set(body) == {"error"} and is_whole and body["error"]["code"] == answer.status_code

    statuses = call_as_described(
        shared_service.url,
        "perspective",
        is_error=is_google_error,
        headers={"X-Goog-Api-Key": key_of("perspective")},
        skipped=LENIENT,
        examples=20,
    )

    assert min(statuses[200], statuses[400], statuses[404]) > 0
