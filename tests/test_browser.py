"""The helper itself: it must see what goes wrong in a page, or tests of pages prove nothing."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from PIL import Image

from tests.browser import BrowserError, browser, open_page


@pytest.fixture
def page_file(tmp_path: Path):
    def write(body: str) -> Path:
        path = tmp_path / "page.html"
        path.write_text(f"<!doctype html><title>t</title>{body}", encoding="utf-8")
        return path

    return write


def test_errors_of_scripts_and_of_the_console_are_seen(page_file):
    path = page_file(
        "<script>console.log('hello', 3); console.error('bad'); nothing.there</script>"
    )
    with open_page() as page:
        page.goto(path)
        page.evaluate("1")
        assert page.console == ["hello 3", "bad"]
        assert any("nothing is not defined" in one for one in page.errors)
        assert "bad" in page.errors


def test_requests_that_leave_the_file_are_seen_and_go_nowhere(page_file):
    path = page_file('<img src="http://example.com/x.png"><img src="data:image/gif;base64,R0lGOD">')
    with open_page() as page:
        page.goto(path)
        assert page.requests == [path.as_uri(), "http://example.com/x.png"]
        assert any("ERR_NAME_NOT_RESOLVED" in one for one in page.errors)


def test_a_quiet_page_has_nothing_to_tell(page_file):
    path = page_file("<p>quiet</p>")
    with open_page() as page:
        page.goto(path)
        assert page.evaluate("document.querySelector('p').textContent") == "quiet"
        assert page.errors == page.console == []
        assert page.requests == [path.as_uri()]


def test_keys_reach_the_page_as_a_person_presses_them(page_file):
    script = "addEventListener('keydown', e => said.push([e.key, e.code, e.shiftKey, e.ctrlKey]))"
    with open_page() as page:
        page.goto(page_file(f"<input autofocus><script>said = []; {script}</script>"))
        page.press("r")
        page.press("1")
        page.press("ArrowLeft")
        page.press("Z", "shift")
        page.press("z", "ctrl")
        assert page.evaluate("said") == [
            ["r", "KeyR", False, False],
            ["1", "Digit1", False, False],
            ["ArrowLeft", "ArrowLeft", False, False],
            ["Z", "KeyZ", True, False],
            ["z", "KeyZ", False, True],
        ]


def test_text_and_clicks_arrive(page_file):
    body = "<input><div style='height:3000px'></div><button onclick='done = 1'>b</button>"
    with open_page() as page:
        page.goto(page_file(f"{body}<script>done = 0</script>"))
        page.click("input")
        page.write("Straße")
        page.press("a")
        page.click("button")
        assert page.evaluate("[document.querySelector('input').value, done]") == ["Straßea", 1]


def test_waiting_ends_when_it_is_true_and_says_so_when_it_never_is(page_file):
    with open_page() as page:
        page.goto(page_file("<script>n = 0; setInterval(() => n++, 5)</script>"))
        assert page.wait_for("n > 3 && 'counted'") == "counted"
        with pytest.raises(BrowserError, match="not true within"):
            page.wait_for("n < 0", seconds=0.05)
        with pytest.raises(BrowserError, match="m is not defined"):
            page.wait_for("m > 1")


def test_waiting_survives_a_page_that_loads_anew(page_file):
    with open_page() as page:
        page.goto(page_file("<script>if (!location.hash) setTimeout(() => { "
                            "location.hash = 'x'; location.reload() }, 30)</script>"))  # fmt: skip
        assert page.wait_for("performance.getEntriesByType('navigation')[0].type === 'reload'")


def test_the_theme_the_size_and_the_picture_follow(page_file, tmp_path):
    style = "<style>body{margin:0;height:1500px;background:#fff}p{margin:0;width:50px;height:20px}"
    dark = "@media (prefers-color-scheme: dark) {body{background:#000}}</style><p>"
    with open_page() as page:
        page.goto(page_file(style + dark))
        page.set_size(390, 700)
        for is_dark, colour in ((True, 0), (False, 255)):
            page.set_dark(is_dark)
            with Image.open(page.screenshot(tmp_path / "whole.png")) as image:
                assert image.size[1] == 1500
                assert image.convert("L").getpixel((200, 1200)) == colour
        with Image.open(page.screenshot(tmp_path / "window.png", whole=False)) as image:
            assert image.size == (390, 700)
        with Image.open(page.screenshot(tmp_path / "p.png", selector="p")) as image:
            assert image.size == (50, 20)


def test_tabs_keep_their_storage_apart(page_file):
    path = page_file("")
    with open_page() as one, open_page() as other:
        one.goto(path)
        other.goto(path)
        one.evaluate("localStorage.setItem('a', '1')")
        assert one.evaluate("localStorage.getItem('a')") == "1"
        assert other.evaluate("localStorage.getItem('a')") is None


def test_a_page_that_is_not_there_is_an_error(tmp_path):
    with open_page() as page, pytest.raises(BrowserError, match="ERR_FILE_NOT_FOUND"):
        page.goto(tmp_path / "nothing.html")


def test_where_there_is_no_chromium_the_test_is_skipped(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(pytest.skip.Exception, match="no Chromium"), browser():
        pass


def processes_with(word: str) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if word in (process / "cmdline").read_text(errors="replace"):
                found.append(process.name)
    return found


def test_nothing_is_left_running():
    with browser() as mine:
        with open_page(mine) as page:
            page.goto("about:blank")
        assert len(processes_with(mine.folder)) > 1
    assert processes_with(mine.folder) == []
    assert not Path(mine.folder).exists()
