"""The page at /docs comes whole from the service and asks nobody else for anything."""

from __future__ import annotations

import re

import httpx
import pytest


@pytest.fixture(scope="module")
def page(shared_service):
    return httpx.get(f"{shared_service.url}/docs")


def test_the_page_names_no_other_host_and_permits_none(page):
    policy = page.headers["content-security-policy"]
    allowed = {word for part in policy.split(";") for word in part.split()[1:]}

    assert page.status_code == 200
    assert "default-src 'none'" in policy
    assert allowed == {"'none'", "'self'", "'unsafe-inline'", "data:"}
    assert "//" not in page.text
    assert "<script>" not in page.text


def test_all_that_the_page_loads_is_there_to_be_kept(page, shared_service):
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    answers = {name: httpx.get(page.url.join(name)) for name in addresses if name != "data:,"}

    assert [answer.status_code for answer in answers.values()] == [200] * 4
    assert {answer.url.host for answer in answers.values()} == {page.url.host}
    types = {name: answer.headers["content-type"].split(";")[0] for name, answer in answers.items()}
    assert set(types.values()) == {"text/css", "text/javascript", "application/json"}
    vendored = [answer for name, answer in answers.items() if "@" in name]
    assert len(vendored) == 2
    assert all("immutable" in answer.headers["cache-control"] for answer in vendored)
    assert "//" not in httpx.get(f"{shared_service.url}/static/docs.js").text.replace("// The", "")
    assert "validatorUrl: null" in answers["static/docs.js"].text


@pytest.mark.parametrize("path", ["/redoc", "/static/", "/static/../docs_page.py", "/static/%2e%2e/app.py"])
def test_nothing_else_is_served(shared_service, path):
    assert httpx.get(shared_service.url + path).json()["error"]["code"] == "not_found"
