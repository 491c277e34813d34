"""The page of `tinyae.inspect.step` in real browsers: Chromium and Firefox, driven over WebDriver with the standard library.

What needs Chromium's developer tools (the network, sizes of phones, color schemes) runs in Chromium alone.
"""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tinyae as ta
from tinyae import nn, ops
from tinyae.inspect import step

pytestmark = pytest.mark.skipif(
    not os.environ.get("REQUIRE_OPTIONAL"), reason="drives browsers: set REQUIRE_OPTIONAL=1, as a step of .ci/run does"
)


SWITCHES = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-color-profile=srgb"]
FIREFOX = {"args": ["-headless"], **({"binary": os.environ["FIREFOX"]} if "FIREFOX" in os.environ else {})}
DRIVERS: dict[str, tuple[str, dict[str, Any]]] = {
    "chromium": ("chromedriver", {
        "browserName": "chrome",
        "goog:chromeOptions": {"args": SWITCHES},
        "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
    }),
    "firefox": ("geckodriver", {"browserName": "firefox", "moz:firefoxOptions": FIREFOX}),
}  # fmt: skip
"""The program that drives each browser, and what it is asked for. `CHROMEDRIVER`, `GECKODRIVER` and `FIREFOX` may name files."""


class Browser:
    """A session with a headless browser."""

    def __init__(self, port: int, wanted: dict[str, Any]) -> None:
        self.base = f"http://127.0.0.1:{port}"
        self.base += "/session/" + self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"]) from None

    def run(self, script: str, *args: Any) -> Any:
        """The result of a function body in the page, in the scope of its own script."""
        called = f"await (function() {{{script}\n}}).apply(null, {json.dumps(args)})"
        inside = [f"(async () => JSON.stringify({called} ?? null))()"]
        body = {"script": "return window.eval(arguments[0])", "args": inside}
        return json.loads(self._ask("POST", "/execute/sync", body))

    def open(self, page: Path, hash: str = "") -> None:
        """Load a page from the disk."""
        self._ask("POST", "/url", {"url": "about:blank"})
        self._ask("POST", "/url", {"url": page.as_uri() + hash})

    def command(self, name: str, **params: Any) -> Any:
        """A command of the developer tools."""
        return self._ask("POST", "/goog/cdp/execute", {"cmd": name, "params": params})

    def size(self, width: int, height: int = 900, dark: bool = False, scale: float = 1) -> None:
        """Set the size of the window in CSS pixels, and the color scheme."""
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False
        )
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.command("Emulation.setEmulatedMedia", features=features)

    def screenshot(self, whole: bool = False) -> bytes:
        """A PNG of what is seen, or of the whole page."""
        return base64.b64decode(self.command("Page.captureScreenshot", captureBeyondViewport=whole)["data"])

    def press(self, *keys: str) -> None:
        """Press keys on the keyboard."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._ask("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def log(self, kind: str) -> list[dict[str, Any]]:
        """What was logged since the last call: the console, or the network."""
        return self._ask("POST", "/se/log", {"type": kind})

    def close(self) -> None:
        """End the session."""
        self._ask("DELETE", "")


def started(name: str) -> Iterator[Browser]:
    """A browser while it is needed; skips the test where it, or its driver, is not installed."""
    program, wanted = DRIVERS[name]
    driver = os.environ.get(program.upper()) or shutil.which(program)
    if driver is None:
        pytest.skip(f"{program} is not installed: the page is not tested in {name}.")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    session = None
    try:
        for _ in range(100):
            try:
                session = Browser(port, wanted)
                break
            except OSError:
                time.sleep(0.1)
            except RuntimeError as error:
                pytest.skip(f"{name} does not start: {error}")
        if session is None:
            pytest.skip(f"{program} does not answer: the page is not tested in {name}.")
        yield session
    finally:
        if session is not None:
            session.close()
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    yield from started("chromium")


@pytest.fixture(scope="module")
def firefox() -> Iterator[Browser]:
    yield from started("firefox")


@pytest.fixture(params=DRIVERS)
def browser(request: pytest.FixtureRequest) -> Browser:
    found: Browser = request.getfixturevalue(request.param)
    return found


# What a reader does, on the pages of a small network with every number, of a model, and of an LSTM cell by cell.


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The files that are opened, by name."""
    folder, rng = tmp_path_factory.mktemp("pages"), np.random.default_rng(0)
    small = nn.Sequential(nn.Dense(4, 2, activation="relu", generator=rng), nn.Dense(2, 4, generator=rng))
    x = rng.random((3, 4))
    step(lambda: ta.losses.squared_error(small(x), x), small, folder / "small.html")
    data = ta.data.load("optdigits")
    vae = ta.models.variational_autoencoder(data.example_shape, (16,), 4, sample="image", generator=rng)
    step(lambda: vae.loss(ta.Tensor(data.train.x[:2])), vae, folder / "vae.html")
    lstm = ta.models.LSTMAutoencoder(2, 3, generator=rng)
    series = ta.Tensor(ta.data.load("pendigits").train.x[:2, :4])
    step(lambda: lstm.loss(series), lstm, folder / "lstm.html", unfused=True)
    conv = nn.Sequential(nn.Conv2d(1, 2, 3, padding="same", activation="relu", generator=rng), nn.MaxPool2d(2))
    step(lambda: ops.sum(conv(ta.Tensor(data.train.x[:2]))), conv, folder / "conv.html")
    half = nn.Sequential(nn.Dense(4, 3, generator=rng).freeze(), nn.Dense(3, 4, generator=rng))
    step(lambda: ta.losses.squared_error(half(x), x), half, folder / "frozen.html")
    z = ta.Tensor(np.array([0.5, -1.0]), requires_grad=True)
    wicked = "</script><img src=x onerror=window.hit=1>"
    step(ops.sum(z * z), {wicked: z}, folder / "wicked.html", title=wicked)
    return {file.stem: file for file in folder.iterdir()}


NAMES = ("small", "vae", "lstm", "conv", "frozen", "wicked")
every_page = pytest.mark.parametrize("name", NAMES)
most_pages = pytest.mark.parametrize("name", [
    pytest.param(name, marks=pytest.mark.thorough) if name in ("lstm", "frozen") else name for name in NAMES
])  # fmt: skip


@every_page
def test_no_request_and_no_error(chromium: Browser, pages: dict[str, Path], name: str) -> None:
    chromium.size(1280)
    chromium.log("performance")
    chromium.open(pages[name])
    chromium.press("\ue014", "\ue014", "\ue010", "\ue011")  # right, right, end, home
    events = [json.loads(entry["message"])["message"] for entry in chromium.log("performance")]
    asked = {e["params"]["request"]["url"].split("#")[0] for e in events if e["method"] == "Network.requestWillBeSent"}
    assert {url for url in asked if not url.startswith(("data:", "about:"))} == {pages[name].as_uri()}
    assert chromium.log("browser") == []
    assert chromium.run("return window.hit === undefined && document.images.length === 0")


CURRENT = "Number($('list').querySelector('[aria-current]').textContent.match(/#(\\d+)/)[1])"
HERE = "return [state.node, state.focus, shown(), $('position').textContent]"


@most_pages
@pytest.mark.parametrize("folded", [True, False])
def test_as_many_presses_as_nodes_visit_each_once_and_back(
    browser: Browser, pages: dict[str, Path], name: str, folded: bool
) -> None:
    browser.open(pages[name])
    if not folded:
        browser.run("$('fold').click()")
    start, _, order, _ = browser.run(HERE)
    assert order == sorted(order, reverse=True)
    assert start == order[0]
    seen = [start]
    for _ in order[1:]:
        browser.press("\ue014")
        seen.append(browser.run(f"return {CURRENT}"))
    assert seen == order
    assert browser.run("return $('next').disabled")
    for node in reversed(order[:-1]):
        browser.run("$('previous').click()")
        assert browser.run("return state.node") == node
    browser.run("$('forward').click()")
    assert browser.run("return $('position').textContent") == f"{len(order)} of {len(order)}"


TABLES = """
const found = [];
const number = text => Number(text.replaceAll('−', '-').replaceAll('∞', 'Infinity').replace('+', ''));
for (const node of D.nodes) node.focus.forEach((focus, k) => {
  state.forward = arguments[0]; state.folded = false; go(node.id, k);
  const tables = [...document.querySelectorAll(arguments[0] ? 'table.made' : 'table.use')].map(table => ({
    rows: [...table.querySelectorAll(arguments[0] ? 'tr.input' : 'tr.product')].map(
      row => [...row.querySelectorAll('td:not(.bar)')].map(td => number(td.textContent))),
    rest: [...table.querySelectorAll('tr.rest td:not(.bar)')].map(td => number(td.textContent)).pop() ?? 0,
    total: [...table.querySelectorAll('tr.total td:not(.bar)')].map(td => number(td.textContent)).pop() ?? null,
  }));
  found.push({ id: node.id, g: Number(focus.g), adds: $('adds')?.textContent ?? '', say: $('say').textContent, tables,
               measured: $('measured')?.textContent ?? '', zero: document.querySelectorAll('p.zero').length });
});
state.forward = false; return found;
"""


def faults(found: list[dict[str, Any]]) -> list[str]:
    """What is wrong on a page: rows that do not multiply, tables and nodes that do not add up, to the digits printed."""
    wrong = []
    for element in found:
        for table in element["tables"]:
            for a, b, c in (row for row in table["rows"] if len(row) == 3):
                if abs(a * b - c) > 2e-3 * abs(c) + 1e-12:
                    wrong.append(f"#{element['id']}: {a} x {b} is not {c}")
            if table["total"] is not None:
                parts = [row[2] for row in table["rows"]] + [table["rest"]]
                if abs(sum(parts) - table["total"]) > 1e-3 * sum(map(abs, parts)) + 1e-12:
                    wrong.append(f"#{element['id']}: {parts} add up to {sum(parts)}, not to {table['total']}")
        totals = [table["total"] for table in element["tables"]]
        known = totals and None not in totals and not element["made"]
        if known and abs(sum(totals) - element["g"]) > 1e-3 * sum(map(abs, totals)) + 1e-12:
            wrong.append(f"#{element['id']}: the tables give {totals}, the gradient is {element['g']}")
    return wrong


def tables_of(browser: Browser, forward: bool = False) -> list[dict[str, Any]]:
    return [{**element, "made": forward} for element in browser.run(TABLES, forward)]


@most_pages
@pytest.mark.parametrize("forward", [False, True])
def test_every_shown_row_multiplies_and_every_table_adds_up(
    browser: Browser, pages: dict[str, Path], name: str, forward: bool
) -> None:
    browser.open(pages[name])
    found = tables_of(browser, forward)
    assert sum(len(table["rows"]) for element in found for table in element["tables"]) > 3
    assert faults(found) == []
    if not forward:
        assert all(element["measured"] for element in found)
        several = [element for element in found if len(element["tables"]) > 1]
        assert all("here they add" in element["adds"] for element in several)


@pytest.mark.parametrize(("right", "wrong"), [
    ("if (use.rest) rows.push", "if (false) rows.push"),
    ("cellOf(arrives), cellOf(slope)", "cellOf(arrives), cellOf(arrives)"),
    ("cellOf(use.sum, true), make", "cellOf(use.top[0][3], true), make"),
    ('"count":2,"sum":', '"count":2,"sum":1e3,"was":'),
    ('"top":[[', '"top":[[[0],1,2,3],['),
])  # fmt: skip
def test_a_planted_fault_of_the_page_is_caught(
    browser: Browser, pages: dict[str, Path], tmp_path: Path, right: str, wrong: str
) -> None:
    text = pages["vae"].read_text(encoding="utf-8")
    assert right in text
    (tmp_path / "wrong.html").write_text(text.replace(right, wrong), encoding="utf-8")
    browser.open(tmp_path / "wrong.html")
    assert faults(tables_of(browser)) != []


def test_deep_links_products_and_back(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["small"], "#n=0&e=3,1")
    node, focus, *_ = browser.run(HERE)
    assert node == 0
    assert browser.run("return N.get(0).focus[state.focus].i.length") == 2
    assert browser.run("return location.hash").startswith("#n=0&e=")
    assert "dLdW" in browser.run("return document.querySelector('mtr.applies').textContent")
    user = browser.run("return N.get(0).focus[state.focus].uses[0].node")
    browser.run("document.querySelector('tr.product button').click()")
    wanted = browser.run("return [state.node, N.get(0).focus[arguments[0]].uses[0].top[0][0]]", focus)
    assert wanted[0] == user
    there = browser.run("return N.get(state.node).focus[state.focus].i")
    assert there == wanted[1], "the largest product is always on the page"
    browser.run("$('return').click()")
    assert browser.run(HERE)[:2] == [0, focus]
    browser.run("location.hash = '#n=4&m=forward'")
    time.sleep(0.2)
    assert browser.run("return [state.node, state.forward]") == [4, True]
    browser.press("2")
    assert browser.run("return state.focus") == 1


def test_clicking_a_map_chooses_the_nearest_element(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["small"], "#n=0")
    chosen = browser.run("""
      const canvas = document.querySelector('#maps canvas'), box = canvas.getBoundingClientRect();
      const node = N.get(0), k = node.focus.length - 1, [row, column] = cell(node.value, node.focus[k].i);
      const clientX = box.left + (column + .5) * box.width / node.value.cols;
      const clientY = box.top + (row + .5) * box.height / node.value.rows;
      canvas.dispatchEvent(new MouseEvent('click', { clientX, clientY }));
      return [state.focus, k]""")  # fmt: skip
    assert chosen[0] == chosen[1]


def test_a_broken_rule_turns_later_numbers_red(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["small"], "#n=0")
    assert browser.run("return falsified().size") == 0
    found = browser.run("""
      const select = $('break'), results = [];
      for (const option of [...select.options].slice(1)) {
        const now = $('break'); now.value = option.value; now.dispatchEvent(new Event('change'));
        results.push([option.textContent, [...falsified()], document.querySelectorAll('#list small.bad').length, $('broken').className]);
      }
      return results""")  # fmt: skip
    assert len(found) >= 3
    for what, nodes, marked, style in found:
        assert nodes, what
        assert marked == len(nodes)
        assert (style == "bad") == (0 in nodes), what


def test_arcs_lead_to_the_chosen_node_and_frozen_parameters_are_dim(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["frozen"])
    listed = browser.run("return [...document.querySelectorAll('li.frozen')].map(li => li.textContent)")
    assert listed == ["0.weight (4, 3)", "0.bias (3)"]
    assert "0.weight" not in browser.run("return D.nodes.map(title)")
    browser.open(pages["vae"])
    for forward in (False, True):
        drawn = browser.run("""
          state.forward = arguments[0]; state.folded = false; $('tape').open = true;
          const ends = node => state.forward ? Object.values(node.parents || {}) : node.focus[0].uses.filter(u => u.count).map(u => u.node);
          return shown().map(id => { go(id);
            return [document.querySelectorAll('#list path.head').length, new Set(ends(N.get(id))).size]; })""", forward)  # fmt: skip
        assert max(count for count, _ in drawn) > 1
        assert all(count == wanted for count, wanted in drawn)


PIXELS = """
const choose = document.querySelector('select.channel'); choose.value = arguments[0]; choose.dispatchEvent(new Event('change'));
const canvas = document.querySelector('#maps canvas'), ink = canvas.getContext('2d'), size = canvas.height / 8;
return Array.from({ length: 8 }, (_, y) => Array.from({ length: canvas.width / size },
  (_, x) => [...ink.getImageData((x + .5) * size, (y + .5) * size, 1, 1).data]));
"""


def test_a_channel_is_chosen(browser: Browser, pages: dict[str, Path]) -> None:
    """The pictures of two channels are the two halves of the picture of both."""
    browser.open(pages["conv"])
    browser.run("go(D.nodes.find(n => n.op === 'biased_conv2d').id)")
    first, second, both = (np.array(browser.run(PIXELS, channel)) for channel in ("0", "1", "all"))
    assert (first != second).any()
    np.testing.assert_array_equal(np.concatenate([first, second], axis=1), both)


def test_the_waiting_cotangents_are_the_dictionary_of_the_sweep(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["vae"])
    browser.run("$('fold').click(); if (state.folded) throw 'folded'; go(newest)")
    arrived = set[int]()
    while True:
        node, parents = browser.run("return [state.node, Object.values(N.get(state.node).parents || {})]")
        waiting = browser.run(
            "return [...document.querySelectorAll('#waiting li')].map(li => Number(li.textContent.match(/#(\\d+)/)[1]))"
        )
        assert sorted({*arrived, node}) == sorted(waiting)
        arrived = (arrived | set(parents)) - {node}
        if browser.run("return $('next').disabled"):
            break
        browser.press("\ue014")


def test_why_is_this_zero_and_the_film_of_an_lstm(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["conv"])
    said = browser.run("""
      const node = D.nodes.find(n => n.focus.some(f => f.zero)); go(node.id, node.focus.findIndex(f => f.zero));
      $('whyzero').click(); return $('zero').textContent""")  # fmt: skip
    assert said == "#3 max_pool2d: another element was chosen, and only that one gets the gradient."
    browser.open(pages["lstm"])
    films = browser.run("return D.unrolled.map(film => film.steps.map(step => [step.t, step.h, step.c]))")
    assert [[t for t, _, _ in film] for film in films] == [[1, 2, 3, 4]] * 2
    browser.run("state.folded = false; go(D.unrolled[1].steps[1].h)")
    text = browser.run("return $('body').textContent")
    assert "from the right: step 3" in text
    assert "from above" in text
    assert browser.run("return document.querySelectorAll('.film thead th').length") == 4
    chosen = "return show(Number(N.get(state.node).focus[state.focus].g.toPrecision(3)))"
    assert browser.run("return document.querySelector('.film td.here b').textContent") == browser.run(chosen)
    browser.run("go(D.nodes.find(n => n.name?.startsWith('decoder') && n.name.endsWith('weight_h')).id)")
    shared = browser.run("return $('body').textContent")
    assert "that is backpropagation through time" in shared
    so_far = "return document.querySelector('.film tbody tr:last-child td').textContent"
    assert browser.run(so_far) == browser.run(chosen)
    browser.open(pages["conv"], "#m=forward")
    browser.run("go(D.nodes.find(n => n.op === 'biased_conv2d').id)")
    assert browser.run("return document.querySelectorAll('table.kernel td').length") >= 4


@most_pages
@pytest.mark.parametrize(("width", "scale"), [(390, 1), (1280, 1), (640, 2)])  # 640 at 2 is 1280 at a zoom of 200 %
def test_no_sideways_scroll_and_enough_contrast(
    chromium: Browser, pages: dict[str, Path], name: str, width: int, scale: float
) -> None:
    for dark in (False, True):
        chromium.size(width, dark=dark, scale=scale)
        chromium.open(pages[name])
        assert chromium.run("return matchMedia('(prefers-color-scheme: dark)').matches") == dark
        for forward in (False, True):
            wide = chromium.run("""
              const found = []; state.forward = arguments[0];
              for (const node of D.nodes) { go(node.id, node.focus.length - 1);
                if (document.documentElement.scrollWidth > innerWidth) found.push([node.id, document.documentElement.scrollWidth]); }
              return found""", forward)  # fmt: skip
            assert wide == []
        low = chromium.run("""
          const linear = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
          const light = color => { const [r, g, b] = color.match(/[\\d.]+/g).map(Number).map(linear);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
          const behind = element => { for (let e = element; e; e = e.parentElement) {
            const color = getComputedStyle(e).backgroundColor; if (!/, 0\\)$|transparent/.test(color)) return color; }
            return 'rgb(255, 255, 255)'; };
          const says = e => [...e.childNodes].some(t => t.nodeType === 3 && t.textContent.trim()) && e.getClientRects().length;
          const ratio = e => { const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
            return (a + 0.05) / (b + 0.05); };
          return [...document.querySelectorAll('body *')].filter(e => says(e) && ratio(e) < 4.5)
            .map(e => [ratio(e), e.tagName, e.textContent.slice(0, 30)])""")  # fmt: skip
        assert low == []


def axe() -> str:
    """The script of axe-core: the file that `AXE_CORE` names, or the one in a package, which is not imported."""
    if file := os.environ.get("AXE_CORE"):
        return Path(file).read_text(encoding="utf-8")
    package = importlib.util.find_spec("axe_playwright_python")
    if package is None or package.origin is None:
        pytest.skip("axe-core is not installed: pip install --no-deps axe-playwright-python")
    return Path(package.origin).with_name("axe.min.js").read_text(encoding="utf-8")


@every_page
def test_axe_finds_nothing(chromium: Browser, pages: dict[str, Path], name: str) -> None:
    for width, dark in ((390, False), (1280, True)):
        chromium.size(width, dark=dark)
        chromium.open(pages[name])
        chromium.run(axe())
        for forward in (False, True):
            found = chromium.run("""
              state.forward = arguments[0]; go(D.nodes[0].id);
              return axe.run(document).then(
                result => result.violations.map(v => [v.id, v.nodes.map(n => n.html.slice(0, 120))]))""", forward)  # fmt: skip
            assert found == []


def test_a_screenshot_is_not_blank(chromium: Browser, pages: dict[str, Path]) -> None:
    chromium.size(1280)
    chromium.open(pages["vae"], "#n=0")
    picture = np.asarray(Image.open(io.BytesIO(chromium.screenshot())).convert("RGB"))
    assert picture.shape[:2] == (900, 1280)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
