"""Policy, model and settings in a real browser: a line is changed, tried, put in force and taken back."""

from __future__ import annotations

import re

import pytest

LOOKS = [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390), ("light", 360)]


@pytest.fixture
def as_maintainer(live):
    """Signs Ada in as the maintainer of one site."""

    def sign_ada_in(page, *sites):
        page.goto(live.invite("Ada", *(sites or (live.site,)), role="maintainer"))
        page.get_by_label("Password", exact=True).fill("four words not together")
        page.get_by_label("The same again").fill("four words not together")
        page.get_by_role("button", name="Set password and sign in").click()
        page.get_by_role("heading", name="Queue").wait_for()

    return sign_ada_in


def decide(live, comment_id):
    """The status of a harmless comment that comes in now."""
    site = next(each for each in live.parts.store.sites() if each.row == live.site.row)
    live.submit(site, comment_id, "Nothing wrong with this one.")
    return live.parts.workflow.find_comment(site, comment_id).status


def test_a_line_is_changed_tried_saved_and_taken_back(live, open_page, as_maintainer, check_access):
    page = open_page()
    as_maintainer(page)
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Policy").click()
    page.get_by_role("heading", name="Policy of").wait_for()
    hostile = page.get_by_role("group", name="Hostile")
    hostile.get_by_label("Held from").fill("often")
    page.get_by_role("button", name="Check before saving").click()
    page.get_by_role("alert").get_by_text("is not a goal").wait_for()
    page.get_by_role("link", name="Go to the field").click()
    assert page.evaluate("document.activeElement.id") == "field-hostile.hold"
    check_access(page)

    hostile.get_by_label("Held from").fill("0")
    page.get_by_role("button", name="Check before saving").click()
    page.get_by_role("heading", name="Check before saving").wait_for()
    assert "It would have held" in page.locator(".policy-sentence").inner_text()
    assert page.locator("li.entry").count() > 0
    assert page.locator("ins").all_inner_texts() == ["+ hold = 0.0"]
    page.get_by_text("View", exact=True).click()
    page.get_by_label("Blur comments until asked").check()
    assert "blur" in page.locator("li.entry .said").first.evaluate("said => getComputedStyle(said).filter")
    page.get_by_label("Blur comments until asked").uncheck()
    page.keyboard.press("Escape")
    check_access(page)
    page.get_by_role("button", name="Put in force").click()
    page.get_by_text("The policy is in force").wait_for()
    assert decide(live, "after") == "held"

    page.get_by_role("navigation", name="Views of the policy").get_by_role("link", name="History").click()
    page.get_by_text("put a policy in force").wait_for()
    assert page.locator("ins").first.inner_text() == "+ hold = 0.0"
    check_access(page)
    page.get_by_role("navigation", name="Views of the policy").get_by_role("link", name="Form").click()
    page.get_by_role("button", name="Give up this site’s policy").click()
    check_access(page)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Give up this site’s policy").click()
    page.get_by_role("button", name="Follow the policy of the service").click()
    page.get_by_text("follows the policy of the service again").wait_for()
    assert decide(live, "later") == "published"
    page.get_by_role("navigation", name="Views of the policy").get_by_role("link", name="History").click()
    page.get_by_role("button", name="Use again").first.click()
    page.get_by_role("heading", name="Check before saving").wait_for()
    page.get_by_role("button", name="Put in force").click()
    page.get_by_text("The policy is in force").wait_for()


def test_the_text_leads_to_what_is_wrong_in_it_and_works_without_scripts(open_page, as_maintainer):
    page = open_page()
    as_maintainer(page)
    page.goto("/review/policy?view=text")
    page.get_by_label("policy.toml").fill("# Ours.\n[spam]\nhold = 0.5\n\n[hostile]\nhold = 7\n")
    page.get_by_role("button", name="Check before saving").click()
    page.get_by_role("button", name="Go to line 6").click()
    chosen = "const t = document.activeElement; return t.value.slice(t.selectionStart, t.selectionEnd)"
    assert page.evaluate(f"(() => {{ {chosen} }})()") == "hold = 7"

    plain = open_page(java_script_enabled=False)
    as_maintainer(plain)
    plain.goto("/review/policy?view=text")
    plain.get_by_label("policy.toml").fill("# Ours.\n[spam]\nhold = 0.5\n")
    plain.get_by_role("button", name="Check before saving").click()
    plain.get_by_role("button", name="Put in force").click()
    plain.get_by_text("The policy is in force").wait_for()


def test_a_key_and_a_moderator_are_made_and_ended(open_page, as_maintainer, check_access, shoot):
    page = open_page()
    as_maintainer(page)
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Settings").click()
    page.get_by_role("button", name="Make a key").click()
    assert re.fullmatch(r"[0-9a-f]{60}", page.locator("#secret").inner_text())
    check_access(page)
    shoot(page, "settings-secret")
    page.get_by_role("button", name=re.compile("^Revoke [0-9a-f]")).click()
    check_access(page)
    shoot(page, "settings-dialog")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name=re.compile("^Revoke [0-9a-f]")).click()
    page.get_by_role("button", name="Revoke the key").click()
    page.get_by_text("The key has ended").wait_for()

    page.get_by_role("link", name="People").click()
    page.get_by_label("Name", exact=True).fill("Ben")
    page.get_by_role("button", name="Add", exact=True).click()
    link = page.locator("#secret").inner_text()
    ben = open_page()
    ben.goto(link)
    ben.get_by_role("heading", name="Welcome, Ben").wait_for()
    page.get_by_role("button", name="Delete Ben").click()
    page.get_by_role("button", name="Delete the account").click()
    page.get_by_text("The account is deleted").wait_for()


@pytest.mark.parametrize(("colours", "width"), LOOKS)
def test_every_page_in_every_look(live, open_page, as_maintainer, check_access, shoot, colours, width):
    page = open_page(colours=colours, width=width)
    as_maintainer(page)
    live.parts.store.people.add("Grace Hopper", live.site, "moderator", who="Ada")
    live.parts.store.people.add("Linus", live.site, "viewer", who="Ada")
    live.parts.store.people.disable("Linus", who="Ada")
    hooks = live.parts.store.webhooks
    hooks.add(live.site, "https://blog.example/moderation/hook", ("held",), "whsec_" + "A" * 44, who="Ada")
    own = '# Ours.\n[hostile]\nhold = 0.3\nreject = 0.97\n[spam]\nhold = "at most 1 % of good comments"\n'
    live.parts.store.policies.put(live.site, ("f" * 64, own), who="Grace Hopper", instead_of=None)
    for name, path in (
        ("policy-form", "/review/policy"),
        ("policy-text", "/review/policy?view=text"),
        ("policy-history", "/review/policy?view=history"),
        ("model-figures", "/review/model"),
        ("model-lines", "/review/model?view=lines"),
        ("model-card", "/review/model?view=card"),
        ("model-releases", "/review/model?view=releases"),
        ("model-retraining", "/review/model?view=retraining"),
        ("settings-sites", "/review/settings"),
        ("settings-people", "/review/settings?view=people"),
        ("settings-webhooks", "/review/settings?view=webhooks"),
        ("settings-log", "/review/settings?view=log"),
    ):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name}: something sticks out"
        check_access(page)
        shoot(page, f"{name}-{colours}-{width}")
    page.goto("/review/policy?view=text")
    page.get_by_label("policy.toml").fill("# Ours.\n[hostile]\nhold = 0.03\n[spam]\nhold = 0.2\nreject = 0.5\n")
    page.get_by_role("button", name="Check before saving").click()
    page.get_by_role("heading", name="Check before saving").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "something sticks out"
    check_access(page)
    shoot(page, f"policy-check-{colours}-{width}")
