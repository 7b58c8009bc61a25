"""The page of `minicnn explain` in a real browser: what is seen, with the mouse, with the keyboard, without a script.

Skipped where there is no Playwright, or no Chromium for it (Debian's package `chromium` does).
"""

import shutil

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn
from minicnn.vis import report

sync_api = pytest.importorskip("playwright.sync_api")


@pytest.fixture(scope="module")
def browser():
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_api.sync_playwright() as playwright:
        try:
            found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except sync_api.Error as error:
            pytest.skip(f"no Chromium: {str(error).splitlines()[0]}")
        yield found
        found.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The page of two pictures."""
    folder = tmp_path_factory.mktemp("page")
    mc.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Flatten(),
                          nn.Linear(8 * 13 * 13, 3))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    answer = report.Answer(("a cat", "a dog", "a boat"), (0.7, 0.2, 0.1), 0)
    methods = report.find(["grad_cam", "occlusion", "saliency"])
    seen = [report.explain(model, picture, methods, answer, f"picture {number}.png")
            for number, picture in enumerate(pixels)]
    report.write_report(folder, seen, "a network")
    return (folder / "index.html").as_uri()


@pytest.fixture
def opened(browser, address):
    """A function that opens the page; nothing may be asked of the network, and no script may fail."""
    contexts, faults = [], []

    def open_page(**options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("request", lambda asked: None if asked.url.startswith(("file:", "data:")) else faults.append(asked.url))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not faults


def test_what_is_there(opened):
    page = opened()
    assert page.get_by_role("heading", level=2).all_inner_texts() == ["picture 0.png", "picture 1.png"]
    assert page.get_by_role("table").first.inner_text().split("\n")[0] == "What the network says"
    assert page.get_by_role("cell", name="70.0%").count() == 2
    assert page.get_by_role("img", name="Grad-CAM over picture 0.png").count() == 1
    original = page.get_by_role("img", name="The picture picture 0.png, 32 by 32 pixels").bounding_box()
    assert original["width"] == pytest.approx(original["height"]) and original["width"] > 100
    assert page.get_by_role("img", name="Deletion curve of Saliency").count() == 2
    for image in page.locator("img").all():
        assert image.evaluate("image => image.complete && image.naturalWidth > 0")


def test_a_slider_changes_its_own_map_and_the_first_one_all(opened):
    page = opened()
    maps = page.locator("article").first.locator(".stack img")

    def opacities():
        return maps.evaluate_all("images => images.map(image => Number(getComputedStyle(image).opacity))")

    page.get_by_label("opacity of Occlusion").first.fill("25")
    assert opacities() == [0.8, 0.25, 0.8]
    slider = page.get_by_label("Opacity of all maps").first
    slider.focus()
    page.keyboard.press("End")
    assert opacities() == [1, 1, 1]
    assert page.get_by_label("opacity of Occlusion").first.get_attribute("aria-valuetext") == "100 percent"
    others = page.locator("article").last.locator(".stack img").first
    assert others.evaluate("image => getComputedStyle(image).opacity") == "0.8"


def test_the_layers_by_mouse_and_keyboard(opened):
    page = opened()
    article = page.locator("article").first
    panels = article.locator("[role=tabpanel]:visible")
    tabs = article.get_by_role("tab")
    assert panels.count() == 1 and tabs.count() == 6
    tabs.nth(2).click()
    assert panels.count() == 1 and article.get_by_role("tabpanel", name="2").get_by_role("img").is_visible()
    for key, number in (("ArrowRight", 3), ("End", 5), ("ArrowRight", 0), ("ArrowLeft", 5), ("Home", 0)):
        page.keyboard.press(key)
        assert tabs.nth(number).evaluate("tab => tab === document.activeElement && tab.ariaSelected === 'true'"), key
        assert panels.count() == 1
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('role')") == "tabpanel"


def test_the_order_of_the_keyboard_is_that_of_the_page(opened):
    page = opened()
    tops, stops = [], []
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    while True:
        page.keyboard.press("Tab")
        stop = page.evaluate("""() => {
          const found = document.activeElement, box = found.getBoundingClientRect();
          return [found.tagName, box.top + scrollY, box.width > 0, getComputedStyle(found).outlineStyle];
        }""")
        if stop[0] == "BODY" or len(stops) > 100:
            break
        stops.append(stop)
        tops.append(stop[1])
    kinds = {stop[0] for stop in stops}
    assert {"SUMMARY", "A", "INPUT", "BUTTON", "SECTION"} <= kinds and len(stops) < 40
    assert all(seen and outline == "solid" for _, _, seen, outline in stops)
    assert all(after > before - 800 for before, after in zip(tops, tops[1:], strict=False))


def contrast(page, selector):
    """The WCAG 2 contrast of text against what is behind it."""
    colours = page.locator(selector).first.evaluate("""element => {
      const text = getComputedStyle(element).color;
      let behind = element;
      while (behind && getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
      return [text, getComputedStyle(behind || document.documentElement).backgroundColor];
    }""")
    luminances = []
    for colour in colours:
        coded = np.array([float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]) / 255
        linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
        luminances.append(float(linear @ [0.2126, 0.7152, 0.0722]))
    low, high = sorted(luminances)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_the_light_and_in_the_dark(opened, scheme):
    page = opened(color_scheme=scheme)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    bright = np.mean([int(part) for part in background[4:-1].split(",")]) > 128
    assert bright == (scheme == "light")
    for selector in ("h1", "p.quiet", ".card p", ".where", "dt", "dd", ".marks span", "a", "caption", "small"):
        assert contrast(page, selector) >= 4.5, selector


@pytest.mark.parametrize("width", [320, 375, 1400])
def test_nothing_is_cut_off_on_a_small_screen(opened, width):
    page = opened(viewport={"width": width, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    card = page.locator(".card").first.bounding_box()
    assert card["x"] >= 0 and card["x"] + card["width"] <= width


def test_without_a_script_every_layer_is_shown(opened):
    page = opened(java_script_enabled=False)
    assert page.locator("[role=tabpanel]:visible").count() == 12
    assert page.locator("input:visible").count() == 0  # sliders would do nothing
    assert page.locator(".strip").first.is_hidden() and page.get_by_text("0 Conv2d").first.is_visible()
