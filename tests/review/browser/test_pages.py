"""The pages as people use them: by mouse, by keys, without scripts, on a phone, in the dark, enlarged."""

import time

import pytest

pytest.importorskip("fastapi", reason="needs the extra app")

NAEVUS, CRITICAL = "lesion-007", "lesion-014"


def until(said, seconds=30.0):
    """Whether something becomes true in time."""
    end = time.monotonic() + seconds
    while not said():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def test_a_case_by_keys_alone(desk, open_page):
    page = open_page(desk.of(NAEVUS, CRITICAL))
    assert "token" not in page.url  # it went into a cookie
    page.keyboard.press("n")
    page.wait_for_selector(f"h1:has-text('{CRITICAL}')")
    assert page.locator("#model").count() == 0
    page.keyboard.press("Enter")  # nothing is chosen yet: nothing is sent
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    page.wait_for_selector("#model")
    # Put there by the script a little later, so that it is read aloud.
    page.wait_for_selector("#said:has-text('Saved: your answer')", state="attached")
    page.keyboard.press("3")  # another class than mine and the model's: a reason is needed
    assert page.locator("select[name=pick]").input_value() == "2"
    page.locator("#note").press_sequentially("1 spot, see n")  # keys are letters here
    page.locator("#note").press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"h1:has-text('{NAEVUS}')")
    assert desk.done(CRITICAL)[-1] == ("final", "<b>keratosis</b>")
    page.keyboard.press("u")  # takes the last decision back, from the next case
    page.wait_for_selector(f"h1:has-text('{CRITICAL}')")
    assert [event for event, _ in desk.done(CRITICAL)][-1] == "undo"
    page.keyboard.press("0")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"h1:has-text('{NAEVUS}')")
    assert desk.done(CRITICAL)[-1] == ("final", None)
    page.keyboard.press("?")
    page.wait_for_selector("h1:has-text('Help')")
    page.locator("#keys").uncheck()  # single keys can be switched off
    page.keyboard.press("n")
    page.goto(f"{desk.address}/case?item={NAEVUS}")
    page.keyboard.press("2")
    assert page.locator("input:checked").count() == 0


def test_a_case_by_mouse_alone(desk, open_page):
    page = open_page(desk.of(NAEVUS, CRITICAL))
    page.click("text=Start with the first")
    page.click("label:has-text('melanoma')")
    page.click("label:has-text('fairly sure')")
    page.click("text=Save, then show the model")
    page.wait_for_selector("#model")
    page.click("summary:has-text('What the raw model said')")
    assert page.locator("#model").get_by_text("0.91").is_visible()
    page.click("label:has-text('Change to')")
    page.select_option("select[name=pick]", label="vascular lesion (4)")
    page.click("text=Save the decision")
    assert page.locator("#reason:invalid").count() == 1  # the browser asks for the reason
    page.select_option("#reason", label="image quality")
    page.click("text=Save the decision")
    page.wait_for_selector(f"h1:has-text('{NAEVUS}')")
    final = desk.review.events(CRITICAL)[-1]
    assert (final.value, final.reason) == ("vascular lesion", {"code": "image quality"})
    page.click("text=Take back your decision")
    page.wait_for_selector("label:has-text('Keep mine')")
    page.click("text=What you did on this case")
    assert page.get_by_text("took back entry").is_visible()
    assert desk.review.verify().whole


def test_zoom_and_window(desk, open_page):
    page = open_page(desk.of("series-1"))
    page.goto(f"{desk.address}/case?item=series-1")
    image, view = page.locator(".view img"), page.locator(".view")
    before = image.bounding_box()["width"]
    page.click("[data-step='2']")
    assert image.bounding_box()["width"] == pytest.approx(2 * before, rel=0.05)
    view.focus()
    page.keyboard.press("ArrowDown")  # what is enlarged scrolls by keys, too
    assert until(lambda: view.evaluate("view => view.scrollTop") > 0)
    page.click("[data-step=fit]")
    source = image.get_attribute("src")
    page.fill("input[name=level]", "1000")
    page.fill("input[name=width]", "300")
    page.click("text=Show")
    page.wait_for_selector(".view img[src*='level=1000']")
    assert image.get_attribute("src") != source
    box = view.bounding_box()
    page.keyboard.down("Shift")
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 150, box["y"] + 150, steps=3)
    page.mouse.up()
    page.keyboard.up("Shift")
    assert page.input_value("input[name=level]") == "1100"
    page.click("text=Whole range")
    page.wait_for_selector(".view img[src*='window=whole']")


def test_everything_works_without_scripts(desk, open_page):
    page = open_page(desk.of("series-1", "many-1"), java_script_enabled=False)
    page.click("text=Start with the first")
    page.wait_for_selector("h1:has-text('many-1')")
    page.fill("#text", "finding 007")
    page.click("text=Save, then show the model")
    page.wait_for_selector("#model")
    page.check("input[value=mine]")
    page.click("text=Save the decision")  # without a reason: the server says so
    page.wait_for_selector("text=Nothing was saved")
    page.select_option("#reason", label="other findings")
    page.click("text=Save the decision")
    page.wait_for_selector("h1:has-text('series-1')")
    page.fill("input[name=level]", "900")
    page.fill("input[name=width]", "300")
    page.click("text=Show")
    assert "level=900" in page.locator(".view img").get_attribute("src")
    assert desk.done("many-1")[-1] == ("final", "finding 007")


def paths(desk):
    """Every page, and the case pages in every state."""
    desk.review.act("user-1", NAEVUS, "answer", "melanoma")
    desk.review.act("user-1", NAEVUS, "reveal")
    desk.review.act("user-1", "lesion-030", "answer", None)
    items = (NAEVUS, "lesion-030", "series-1", "many-1", "a/b%3Fc=d%26e")
    return ["/", "/help", *PAGES, *(f"/case?item={item}" for item in items)]


PAGES = ("/adjudicate", "/agreement", "/export", "/watch")


def findings(page, addresses, options=None):
    """What axe finds that is serious."""
    from axe_playwright_python.sync_playwright import Axe

    found = []
    for address in addresses:
        page.goto(address)
        found += [
            (address, each["id"], [node["target"] for node in each["nodes"]][:4])
            for each in Axe().run(page, options=options).response["violations"]
            if each["impact"] in ("serious", "critical")
        ]
    return found


def test_no_serious_finding_of_axe(desk, open_page):
    page = open_page(desk.of())
    wcag = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
    assert findings(page, [desk.address + path for path in paths(desk)], wcag) == []


def test_dark_mode_is_dark_and_has_contrast(desk, open_page):
    page = open_page(desk.of(), color_scheme="dark")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert int(background.split("(")[1].split(",")[0]) < 64
    contrast = {"runOnly": ["color-contrast"]}
    some = [p for p in paths(desk) if p in ("/", *PAGES) or NAEVUS in p]
    assert findings(page, [desk.address + path for path in some], contrast) == []


WIDTHS = {"phone": 390, "200 % zoom": 640, "400 % zoom": 320}
MEASURE = """() => {
  const small = [];
  for (const e of document.querySelectorAll("a, button, input, select, textarea, summary")) {
    if (e.type === "hidden" || e.closest(".skip, [hidden]") || !e.getClientRects().length) continue;
    const box = (e.closest("label.choice") || e).getBoundingClientRect();
    if (box.height < 24 || box.width < 24) small.push([e.outerHTML.slice(0, 80), box.width, box.height]);
  }
  return {wide: document.documentElement.scrollWidth - document.documentElement.clientWidth, small};
}"""


def test_narrow_pages_do_not_scroll_sideways_and_targets_are_large(desk, open_page):
    page = open_page(desk.of(), reduced_motion="reduce")
    found = []
    for path in paths(desk):
        page.goto(desk.address + path)
        for name, width in WIDTHS.items():
            page.set_viewport_size({"width": width, "height": 700})
            measured = page.evaluate(MEASURE)
            if measured["wide"] > 0 or measured["small"]:
                found.append((path, name, measured))
    assert found == []
    moving = "getComputedStyle(document.querySelector('button')).transitionDuration"
    assert page.evaluate(moving) in ("0s", "")
