"""What the service says of these dialects in its OpenAPI description is what it does, as schemathesis finds out."""

from __future__ import annotations

import hashlib
import hmac

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from requests.auth import AuthBase
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from service.auth import make_key

SECRET = "a" * 64

load_all_checks()

# Keys and signatures are ours and not the generator's, and no route here makes anything that another one reads.
_NOT_HERE = {"ignored_auth", "missing_required_header", "use_after_free", "ensure_resource_availability"}
# What Coral has signed is never refused for its shape, and neither is what its versions to come may say.
_LENIENT = {"negative_data_rejection", "positive_data_acceptance"}


class Signed(AuthBase):
    """Signs each body as Coral does, just before it is sent."""

    def __call__(self, request):
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        request.headers["X-Coral-Signature"] = f"sha256={signature}"
        return request


@pytest.fixture(scope="module")
def described(shared_service):
    return schemathesis.openapi.from_url(f"{shared_service.url}/openapi.json")


def cases(operation):
    """Requests as described, and requests that break the description."""
    return st.one_of(operation.as_strategy(generation_mode=mode) for mode in GenerationMode)


def check(operation, send, skipped: set[str]) -> set[int]:
    """Send what schemathesis makes up and apply its checks; which statuses were answered."""
    statuses = set()
    excluded = [CHECKS.get_one(name) for name in skipped]

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
    @given(case=cases(operation))
    def run(case):
        response = send(case)
        statuses.add(response.status_code)
        case.validate_response(response, excluded_checks=excluded)

    run()
    return statuses


def test_openai_does_what_it_says(shared_service, described):
    site = shared_service.parts.store.add_site("https://described-openai.example")
    headers = {"Authorization": f"Bearer {make_key(shared_service.parts.store, site)}"}
    statuses = check(
        described["/v1/moderations"]["POST"],
        lambda case: case.call(base_url=shared_service.url, headers=headers),
        _NOT_HERE,
    )

    assert {200, 400} <= statuses


@pytest.mark.parametrize(("path", "expected"), [("phase", {200, 204}), ("webhooks", {200, 422})])
def test_coral_is_answered_as_described(shared_service, described, path, expected):
    site = shared_service.parts.store.add_site(f"https://described-{path}.example")
    made = shared_service.parts.store.coral.connect(site, SECRET, SECRET, who="operator")

    def send(case):
        case.path_parameters = {"connection_id": made.id}
        return case.call(base_url=shared_service.url, auth=Signed())

    statuses = check(described[f"/coral/{{connection_id}}/{path}"]["POST"], send, _NOT_HERE | _LENIENT)

    assert expected <= statuses
