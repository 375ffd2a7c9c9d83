"""The frame of the pages in a real browser: signing in, a first look at the queue, colours, keyboard, small screens."""

from __future__ import annotations

import pytest

LOOKS = [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390), ("light", 360)]


@pytest.mark.parametrize(("colours", "width"), LOOKS)
def test_sign_in_by_link_and_see_the_queue(live, open_page, sign_in, check_access, shoot, colours, width):
    page = open_page(colours=colours, width=width)
    page.goto("/review/")
    check_access(page)
    shoot(page, f"sign-in-{colours}-{width}")
    page.goto(live.invite("Ada"))
    check_access(page)
    shoot(page, f"first-sign-in-{colours}-{width}")
    sign_in(page)
    said = page.locator(".said").all_inner_texts()

    assert any("complete idiot" in text for text in said)
    assert any("<script>document.title='owned'</script>" in text for text in said), "markup is shown as it was written"
    assert page.title() == "Queue · Moderation"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
    check_access(page)
    shoot(page, f"queue-{colours}-{width}")
    page.goto("/review/account")
    check_access(page)
    shoot(page, f"account-{colours}-{width}")
    page.goto("/review/nowhere")
    check_access(page)
    shoot(page, f"error-{colours}-{width}")


def test_colours_are_turned_and_remembered_without_a_flash(open_page, sign_in):
    page = open_page(colours="light")
    sign_in(page)
    toggle = page.get_by_role("button", name="Colours")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    toggle.click()
    toggle.click()
    dark = page.evaluate(ground)
    page.add_init_script(
        "addEventListener('DOMContentLoaded', () => window.first = getComputedStyle(document.body).backgroundColor)"
    )
    page.reload()

    assert dark != light
    assert page.evaluate("window.first") == dark
    assert toggle.get_attribute("aria-label") == "Colours: dark"
    toggle.click()
    assert page.evaluate(ground) == light


def test_the_menus_work_by_keyboard_and_the_first_key_leads_to_the_content(open_page, sign_in, shoot, check_access):
    page = open_page()
    sign_in(page)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    menu = page.get_by_label("Site: all sites")
    menu.focus()
    page.keyboard.press("Enter")
    shoot(page, "site-menu")
    check_access(page)
    page.get_by_role("link", name="news.example").click()
    page.get_by_label("Site: news.example").wait_for()
    assert page.locator(".entry").count() == 1
    page.get_by_label("Account of Ada").focus()
    page.keyboard.press("Enter")
    assert page.get_by_role("button", name="Sign out").is_visible()
    page.keyboard.press("Escape")
    assert not page.get_by_role("button", name="Sign out").is_visible()


def test_without_javascript_and_by_an_unsafe_name_one_gets_in_and_out(live, open_page):
    """Over plain http a browser sends no Sec-Fetch-Site, except on the machine itself: the Origin has to do."""
    page = open_page(java_script_enabled=False)
    page.goto(live.invite("Ada").replace("127.0.0.1", "moderation.test"))
    page.get_by_label("Password", exact=True).fill("four words not together")
    page.get_by_label("The same again").fill("four words not together")
    page.get_by_role("button", name="Set password and sign in").click()
    page.get_by_role("heading", name="Queue").wait_for()
    page.get_by_label("Account of Ada").click()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("heading", name="Sign in").wait_for()
    page.get_by_label("Name").fill("Ada")
    page.get_by_label("Password").fill("four words not together")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Queue").wait_for()
