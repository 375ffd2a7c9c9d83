"""Keys and site addresses."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.auth import find_site, hash_token, make_key, read_prefix, site_url
from service.errors import InvalidSettings, Unauthorized
from service.store import Store


def test_a_key_is_found_by_either_header_and_only_its_hash_is_kept(store):
    site = store.add_site("https://blog.example")
    key = make_key(store, site)

    assert site == find_site(store, {"authorization": f"Bearer {key}"})
    assert site == find_site(store, {"authorization": f"BEARER  {key} "})
    assert site == find_site(store, {"x-api-key": key})
    assert site == find_site(store, {"authorization": "Basic dTpw", "x-api-key": key})
    assert hashlib.sha256(key.encode()).hexdigest() == store.find_key(key[:8]).hash
    assert (len(key), set(key) <= set("0123456789abcdef")) == (60, True)


def test_a_key_of_the_form_before_goes_on_working(store):
    site, key = store.add_site("https://blog.example"), "mod_k3y4y0u2_" + "aB-_" * 10 + "xyz"
    store.add_key(site, "k3y4y0u2", hash_token(key), who="operator")

    assert find_site(store, {"x-api-key": key}) == site
    assert (read_prefix(key), read_prefix("mod_k3y4y0u2_..."), read_prefix("3f81c02b…")) == (
        "k3y4y0u2",
        "k3y4y0u2",
        "3f81c02b",
    )
    assert read_prefix("no prefix") is None


def test_the_answer_to_a_bad_key_does_not_tell_why(store):
    key = make_key(store, store.add_site("https://blog.example"))
    revoked = make_key(store, store.add_site("https://blog.example"))
    store.revoke_key(revoked[:8])
    wrong_secret = key[:-1] + ("a" if key[-1] != "a" else "b")
    unknown = ("b" if key[0] == "a" else "a") + key[1:]
    messages = set()
    for bad in (wrong_secret, unknown, revoked, "nonsense", key + "x", f"x{key}"):
        with pytest.raises(Unauthorized) as caught:
            find_site(store, {"x-api-key": bad})
        messages.add(caught.value.message)

    assert len(messages) == 1


def test_keys_do_not_repeat(store):
    site = store.add_site("https://blog.example")

    assert len({make_key(store, site) for _ in range(20)}) == 20


# Only something that has the form of a key is looked up at all.
UNREACHABLE = Store("sqlite:////nowhere/at/all.db")


@given(st.text())
def test_no_text_whatever_breaks_the_check(key):
    for shape in (key, f"mod_{key}", f"3f81c02b{key}"):
        with pytest.raises(Unauthorized):
            find_site(UNREACHABLE, {"x-api-key": shape})


@pytest.mark.parametrize(
    ("given_url", "kept"),
    [
        ("https://Blog.Example/", "https://blog.example"),
        ("HTTP://blog.example:8080", "http://blog.example:8080"),
        (" https://example.org/my/blog/ ", "https://example.org/my/blog"),
        ("http://[::1]:80/", "http://[::1]"),
        ("http://[0:0::1]:8080/", "http://[::1]:8080"),
        ("https://blog.example:443", "https://blog.example"),
        ("https://blog.example:80", "https://blog.example:80"),
        ("http://blog.example:/", "http://blog.example"),
        ("https://blog.example./x", "https://blog.example/x"),
        ("https://Bücher.example", "https://xn--bcher-kva.example"),
        ("https://my_host", "https://my_host"),
    ],
)
def test_a_site_has_one_address(given_url, kept):
    assert kept == site_url(given_url)
    assert kept == site_url(kept)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "blog",
        "blog.example",
        "ftp://x",
        "https://",
        "https://a:b@c.example",
        "https://x/?q",
        "http://[",
        "http://x:y",
        "https://a b.example",
        "https://a.example/a b",
        "https://a.exa\tmple",
        "https://a\u200b.example",
        "https://a\u202e.example",
        "https://a.example/\x7f",
        "https://<b>.example",
        "https://a.example/<script>",
        "https://a.example/'",
        "https://a.example\\b",
        "https://@a.example",
        "https://a..example",
        "https://-a.example",
        "https://.",
        "https://%41.example",
        "https://[::1%eth0]",
        f"https://{'a' * 64}.example",
    ],
)
def test_what_is_no_address_is_refused(url):
    with pytest.raises(InvalidSettings, match=r"https://blog\.example\.org"):
        site_url(url)
