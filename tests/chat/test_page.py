"""The page in headless Chromium, driven over the WebDriver protocol (W3C), which is JSON over HTTP."""

import json
import shutil
import subprocess
import time
import urllib.request
from contextlib import contextmanager

import pytest
from chat_server import serving

DRIVER = shutil.which("chromedriver")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = pytest.mark.skipif(
    not (DRIVER and CHROMIUM),
    reason="Chromium and chromedriver are not installed (apt install chromium-driver)",
)


class Browser:
    """A page in a browser."""

    def __init__(self, session: str):
        self._session = session

    def __call__(self, method, path, **value):
        request = urllib.request.Request(
            self._session + path,
            json.dumps(value).encode() if method == "POST" else None,
            {"Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)["value"]

    def script(self, code):
        """What a script says."""
        return self("POST", "/execute/sync", script=f"return {code}", args=[])

    def type(self, keys):
        """Type where the page listens."""
        (active,) = self("GET", "/element/active").values()
        self("POST", f"/element/{active}/value", text=keys)

    def wait(self, code, value):
        """Wait until a script says what is expected."""
        end = time.monotonic() + 30
        while (found := self.script(code)) != value:
            assert time.monotonic() < end, f"{code} is {found!r}"
            time.sleep(0.05)


@contextmanager
def _driver(port_file):
    with port_file.open("w") as log:
        process = subprocess.Popen([DRIVER, "--port=0"], stdout=log, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + 60
        while "on port " not in (said := port_file.read_text()).partition("successfully")[2]:
            assert time.monotonic() < end, said
            time.sleep(0.05)
        yield f"http://127.0.0.1:{said.rpartition('on port ')[2].split('.')[0]}"
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def browser(tmp_path):
    options = {
        "binary": CHROMIUM,
        "args": [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            f"--user-data-dir={tmp_path}/profile",
        ],
    }
    with _driver(tmp_path / "driver.log") as url:
        session = Browser(f"{url}/session")(
            "POST", "", capabilities={"alwaysMatch": {"goog:chromeOptions": options}}
        )
        browser = Browser(f"{url}/session/{session['sessionId']}")
        yield browser
        browser("DELETE", "")


TURNS = "[...document.querySelectorAll('#turns > li > p')].map(one => one.textContent)"
WHY = "[...document.querySelectorAll('details p')].map(one => one.textContent)"


def test_a_conversation_on_the_page(browser):
    with serving() as server:
        browser("POST", "/url", url=server.url)
        browser.type("hello <u>you</u>\ue007")  # and Enter
        reply = "<b>>u/<uoy>u< olleh</b>"
        browser.wait(TURNS, ["hello <u>you</u>", reply])
        # What was said and replied is text and no markup, in colours of its doubts.
        assert browser.script("document.querySelectorAll('b, i, u').length") == 0
        colours = "one.style.backgroundColor, one.className, one.title"
        assert browser.script(f"[...document.querySelectorAll('#turns span')].map(one => [{colours}])") == [
            ["rgba(225, 30, 30, 0.3)", "", "p(replaced) 0.40"],
            ["rgba(225, 30, 30, 0.6)", "doubted", "p(replaced) 0.80"],
            ["", "", ""],
        ]
        assert browser.script("document.getElementById('legend').hidden") is False
        cells = "[...row.cells].map(cell => cell.textContent)"
        assert browser.script(f"[...document.querySelectorAll('details tr')].map(row => {cells})") == [
            ["score", "rtd", "text"],
            ["1.250", "-0.500", reply],
            ["–", "–", "<i>other</i>"],
            ["score", "candidate", "text"],
            ["2.000", "#7", "old"],
        ]
        assert browser.script(WHY) == [
            "2 were written; read: the turn.",
            "Retrieved, of which the first was read:",
        ]
        browser.type("bad\ue007")
        browser.wait(
            "document.getElementById('error').textContent", "that cannot be replied to: say something else"
        )
        assert browser.script(TURNS) == ["hello <u>you</u>", reply]
        browser.type("\ue003" * 3 + "ab\ue007")  # Backspaces: what was refused is still there
        browser.wait(f"{TURNS}.length", 4)
        assert browser.script(WHY)[2] == "2 were written; read: the last 2 of 3 turns."
        (new,) = browser("POST", "/element", using="css selector", value="#new").values()
        browser("POST", f"/element/{new}/click")
        browser.wait(TURNS, [])
    browser.type("ab\ue007")
    browser.wait("document.getElementById('error').textContent", "The server does not answer: it has ended.")
