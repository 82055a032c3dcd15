"""A real headless Chromium for tests of pages, driven by its DevTools protocol.

    from tests.browser import open_page

    def test_the_page_greets(tmp_path):
        with open_page() as page:
            page.goto(tmp_path / "page.html")
            page.press("g")
            page.wait_for("document.title === 'hello'")
            assert page.errors == []

All tests of a session share one browser; every `open_page` is a tab with storage of its own. The
test is skipped where no Chromium is found. Nothing sleeps: the browser says when a page has
loaded, and `wait_for` looks inside the page. No name but this machine's is ever resolved.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-renderer-backgrounding",
    "--force-color-profile=srgb",
    "--lang=en-GB",
    "--no-first-run",
    "--no-default-browser-check",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",
    "--remote-debugging-port=0",
    "about:blank",
)
SECONDS = 60.0  # for whatever the browser itself must do, on a slow machine
_MODIFIERS = {"alt": 1, "ctrl": 2, "meta": 4, "shift": 8}
_KEYS: dict[str, tuple[str, int, str]] = {  # name: code, virtual key code, text
    "Enter": ("Enter", 13, "\r"),
    "Tab": ("Tab", 9, ""),
    "Escape": ("Escape", 27, ""),
    "Backspace": ("Backspace", 8, ""),
    "Delete": ("Delete", 46, ""),
    " ": ("Space", 32, " "),
    "ArrowLeft": ("ArrowLeft", 37, ""),
    "ArrowUp": ("ArrowUp", 38, ""),
    "ArrowRight": ("ArrowRight", 39, ""),
    "ArrowDown": ("ArrowDown", 40, ""),
    "Home": ("Home", 36, ""),
    "End": ("End", 35, ""),
}


class BrowserError(AssertionError):
    """The browser or a script in the page did not do what was asked."""


class Connection:
    """One DevTools web socket: calls are answered in turn, events go to `on_event`."""

    def __init__(self, url: str, on_event: Callable[[dict[str, Any]], None]) -> None:
        self._on_event = on_event
        self._last = 0
        self._open = contextlib.ExitStack()
        self._socket: ClientConnection = self._open.enter_context(
            connect(url, max_size=None, compression=None, proxy=None, ping_interval=None)
        )

    def call(
        self, method: str, seconds: float = SECONDS, session: str | None = None, **parameters: Any
    ) -> dict[str, Any]:
        """The result of one command; BrowserError when it fails or takes longer than `seconds`."""
        self._last += 1
        number = self._last
        message = {"id": number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        self._socket.send(json.dumps(message))
        end = time.monotonic() + seconds
        while True:
            answer = self.receive(end, method)
            if answer.get("id") == number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error'].get('message')}")
                return answer["result"]

    def receive(self, end: float, what: str) -> dict[str, Any]:
        """The next message; events are handed on before it is returned."""
        try:
            message = json.loads(self._socket.recv(timeout=max(0.0, end - time.monotonic())))
        except TimeoutError:
            raise BrowserError(f"{what}: the browser did not answer in time") from None
        except WebSocketException as error:
            raise BrowserError(f"{what}: the browser hung up: {error}") from error
        if "method" in message:
            self._on_event(message)
        return message

    def close(self) -> None:
        """Hang up."""
        self._open.close()


class Page:
    """One tab.

    `errors` holds uncaught exceptions of scripts and what was logged as an error (a resource that
    could not be loaded among it); `console` every line written by console.*; `requests` every
    address that was asked for, data: and blob: left out.
    """

    def __init__(self, browser: Browser) -> None:
        self.errors: list[str] = []
        self.console: list[str] = []
        self.requests: list[str] = []
        self._loaded: set[str] = set()
        self._connection = Connection(browser.url, self._event)
        call = self._connection.call
        self._context = call("Target.createBrowserContext")["browserContextId"]
        target = call("Target.createTarget", url="about:blank", browserContextId=self._context)
        attached = call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session: str = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.setLifecycleEventsEnabled", enabled=True)
        self.set_size(1280, 900)

    def call(self, method: str, seconds: float = SECONDS, **parameters: Any) -> dict[str, Any]:
        """Any DevTools command to this tab."""
        return self._connection.call(method, seconds, session=self._session, **parameters)

    def goto(self, address: str | Path, seconds: float = SECONDS) -> None:
        """Open a page or file and wait until it has loaded; a status of 4xx is a loaded page."""
        url = address.resolve().as_uri() if isinstance(address, Path) else address
        answer = self.call("Page.navigate", seconds, url=url)
        if answer.get("errorText"):
            raise BrowserError(f"{url}: {answer['errorText']}")
        loader = answer.get("loaderId")
        end = time.monotonic() + seconds
        while loader is not None and loader not in self._loaded:
            self._connection.receive(end, f"loading {url}")

    def evaluate(self, script: str, seconds: float = SECONDS) -> Any:
        """The value of an expression in the page, awaited where it is a promise."""
        answer = self.call(
            "Runtime.evaluate",
            seconds,
            expression=script,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        if "exceptionDetails" in answer:
            raise BrowserError(f"{script[:200]}: {_told(answer['exceptionDetails'])}")
        return answer["result"].get("value")

    def wait_for(self, condition: str, seconds: float = 20.0) -> Any:
        """The value of `condition` as soon as it is true; it may see the page load anew."""
        end = time.monotonic() + seconds
        while True:
            left = max(0.0, end - time.monotonic())
            try:
                found = self.evaluate(_WAIT % (1000.0 * left, condition), left + SECONDS)
            except BrowserError as error:
                leaving = "navigated" in str(error) or "context" in str(error)
                if not leaving or time.monotonic() > end:
                    raise
                continue
            if not found:
                raise BrowserError(f"not true within {seconds:g} s: {condition}")
            return found

    def press(self, key: str, *modifiers: str) -> None:
        """Press and release a key: one character, or a name such as Enter or ArrowLeft."""
        code, number, text = _KEYS.get(key) or _character(key)
        held = sum(_MODIFIERS[name] for name in modifiers)
        if held & ~_MODIFIERS["shift"]:
            text = ""
        shared = {"key": key, "code": code, "windowsVirtualKeyCode": number, "modifiers": held}
        down = {"type": "keyDown", "text": text} if text else {"type": "rawKeyDown"}
        self.call("Input.dispatchKeyEvent", **shared, **down)
        self.call("Input.dispatchKeyEvent", **shared, type="keyUp")

    def write(self, text: str) -> None:
        """Put text into the element that has the focus."""
        self.call("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """Click the middle of the first element that matches, scrolled into sight."""
        x, y = self.evaluate(_MIDDLE % json.dumps(selector))
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            button = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)

    def set_size(self, width: int, height: int = 900) -> None:
        """The size of the window's inside, in CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def set_dark(self, dark: bool) -> None:
        """What the reader prefers: the dark or the light page."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.call("Emulation.setEmulatedMedia", features=[scheme, still])

    def screenshot(self, path: Path, *, whole: bool = True, selector: str | None = None) -> Path:
        """A PNG of the whole page, of the window, or of the first element that matches."""
        more: dict[str, Any] = {}
        if selector is not None:
            x, y, width, height = self.evaluate(_PLACE % json.dumps(selector))
            more = {"clip": {"x": x, "y": y, "width": width, "height": height, "scale": 1}}
        elif whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            height = min(size["height"], 16_000)  # what one texture holds
            more = {"clip": {"x": 0, "y": 0, "width": size["width"], "height": height, "scale": 1}}
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=bool(more), **more)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(answer["data"]))
        return path

    def close(self) -> None:
        """Close the tab and forget what it stored."""
        with contextlib.suppress(BrowserError, WebSocketException, OSError):
            self._connection.call("Target.disposeBrowserContext", browserContextId=self._context)
        self._connection.close()

    def _event(self, message: dict[str, Any]) -> None:
        event, told = message["method"], message["params"]
        if event == "Runtime.exceptionThrown":
            self.errors.append(_told(told["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled":
            words = " ".join(_shown(one) for one in told["args"])
            self.console.append(words)
            if told["type"] in ("error", "assert"):
                self.errors.append(words)
        elif event == "Log.entryAdded" and told["entry"]["level"] == "error":
            entry = told["entry"]
            self.errors.append(f"{entry['text']} {entry.get('url', '')}".strip())
        elif event == "Network.requestWillBeSent":
            url = told["request"]["url"]
            if not url.startswith(("data:", "blob:")):
                self.requests.append(url)
        elif event == "Page.lifecycleEvent" and told["name"] == "load":
            self._loaded.add(told["loaderId"])


class Browser:
    """The running process and the address of its DevTools."""

    def __init__(self, program: str) -> None:
        self.folder = tempfile.mkdtemp(prefix="chromium-test-")
        self._process = subprocess.Popen(
            [program, *FLAGS[:-1], f"--user-data-dir={self.folder}", FLAGS[-1]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
            env={**os.environ, "HOME": self.folder},
        )
        assert self._process.stderr is not None
        self._lines: queue.Queue[str | None] = queue.Queue()
        reading = (self._process.stderr, self._lines)
        self._reader = threading.Thread(target=_read, args=reading, daemon=True)
        self._reader.start()  # it reads on to the end, so that the browser never waits for us
        try:
            self.url = self._address()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End it and all its children, whatever state they are in."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(SECONDS)
        self._reader.join(SECONDS)  # the last child has gone when nobody holds stderr any more
        shutil.rmtree(self.folder, ignore_errors=True)

    def _address(self) -> str:
        """What Chromium writes to stderr once it listens."""
        end, said = time.monotonic() + SECONDS, ""
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise BrowserError(f"Chromium did not start in {SECONDS:g} s: {said}") from None
            if line is None:
                raise BrowserError(f"Chromium ended at once: {said}")
            if line.startswith("DevTools listening on "):
                return line.removeprefix("DevTools listening on ").strip()
            said = (said + line)[-2000:]


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """A Chromium of one's own; the test is skipped where none is installed."""
    running = Browser(_program())
    try:
        yield running
    finally:
        running.close()


@contextlib.contextmanager
def open_page(within: Browser | None = None) -> Iterator[Page]:
    """A new tab in the browser that the tests share, or in `within`."""
    page = Page(within or _shared_browser())
    try:
        yield page
    finally:
        page.close()


_shared: Browser | None = None


def _shared_browser() -> Browser:
    global _shared
    if _shared is None:
        _shared = Browser(_program())
        atexit.register(_shared.close)
    return _shared


def _program() -> str:
    found = [path for name in NAMES if (path := shutil.which(name))]
    if not found:
        pytest.skip(f"no Chromium on PATH (looked for {', '.join(NAMES)})")
    return found[0]


def _read(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    with stream:
        for line in stream:
            lines.put(line)
    lines.put(None)


def _character(key: str) -> tuple[str, int, str]:
    if len(key) != 1:
        raise ValueError(f"unknown key {key!r}: one character, or one of {', '.join(_KEYS)}")
    if key.isascii() and key.isalpha():
        return f"Key{key.upper()}", ord(key.upper()), key
    if key.isascii() and key.isdigit():
        return f"Digit{key}", ord(key), key
    return "", 0, key


def _told(details: dict[str, Any]) -> str:
    thrown = details.get("exception", {})
    return str(thrown.get("description") or thrown.get("value") or details.get("text"))


def _shown(argument: dict[str, Any]) -> str:
    return str(argument.get("value", argument.get("description", argument["type"])))


_WAIT = """new Promise((found, failed) => {
  const end = performance.now() + %f;
  const look = () => {
    try {
      const value = (%s);
      if (value) found(value);
      else if (performance.now() > end) found(null);
      else setTimeout(look, 5);
    } catch (error) { failed(error); }
  };
  look();
})"""
_MIDDLE = """(() => {
  const element = document.querySelector(%s);
  element.scrollIntoView({block: 'center', inline: 'center', behavior: 'instant'});
  const place = element.getBoundingClientRect();
  return [place.x + place.width / 2, place.y + place.height / 2];
})()"""
_PLACE = """(() => {
  const place = document.querySelector(%s).getBoundingClientRect();
  return [place.x + scrollX, place.y + scrollY, place.width, place.height];
})()"""
