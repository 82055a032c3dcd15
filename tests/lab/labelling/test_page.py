"""The page as a person uses it: the real command, a real Chromium, the keyboard."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import uvicorn

from natix_miner.journal import Journal, Label
from natix_miner.journal.connection import changing
from natix_miner.lab.labelling.notes import Notes
from natix_miner.lab.labelling.queue import choose
from natix_miner.lab.labelling.serve import listen
from natix_miner.lab.labelling.server import LabelPage
from natix_miner.lab.labelling.session import Session
from tests.browser import Page, open_page
from tests.lab.labelling.journals import START, Asked, jpeg, make_journal

ASKED = [
    Asked(1, probability=0.50, picture=jpeg(1, (1600, 900))),
    Asked(2, probability=0.51),
    Asked(3, probability=0.52),
    Asked(4, probability=0.53),
    Asked(5, probability=0.54),
    Asked(6, probability=0.55),
    Asked(7, probability=0.60, labels=(Label(1, "label:bob", START), Label(0, "testnet", START))),
]


@contextlib.contextmanager
def served(path: Path) -> Iterator[str]:
    """The address that `natix-miner label` prints; Ctrl-C at the end, which must end it well."""
    command = [sys.executable, "-m", "natix_miner", "label", str(path), "--who", "ada"]
    process = subprocess.Popen(
        [*command, "--no-open", "--random", "0"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        addresses = (re.search(r"http://\S+", line) for line in process.stdout)
        yield next(found.group() for found in addresses if found)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[0]
        assert process.returncode == 0
        assert "by ada" in said
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@contextlib.contextmanager
def served_here(path: Path, *, show_opinion: bool = False) -> Iterator[str]:
    """The same page from a thread of this process, which is there sooner."""
    choosing = partial(choose, who="ada", limit=100, random_share=0.0)
    with Journal(path) as journal, listen(0) as listener:
        page = LabelPage(Session(journal, Notes(path), "ada", choosing), show_opinion=show_opinion)
        port = listener.getsockname()[1]
        server = uvicorn.Server(
            uvicorn.Config(page.app("token", port), lifespan="off", log_level="warning")
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{port}/?token=token"
        server.should_exit = True
        thread.join(30)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_journal(tmp_path / "journal.sqlite3", ASKED)


def open_at(page: Page, address: str) -> None:
    page.goto(address)
    page.wait_for("document.body.dataset.state === 'asking'")


def press(page: Page, key: str) -> None:
    """Press a key and wait until another picture stands there and all is saved."""
    before = page.evaluate("document.body.dataset.id")
    page.press(key)
    page.wait_for(
        f"document.body.dataset.id !== '{before}' && document.body.dataset.unsaved === '0' && "
        "['asking', 'done'].includes(document.body.dataset.state)"
    )


def shown(page: Page, element: str) -> str:
    return str(page.evaluate(f"document.getElementById('{element}').textContent"))


def asked(page: Page) -> str | None:
    return page.evaluate("document.body.dataset.id ?? null")


def labels(path: Path) -> dict[int, tuple[int | None, str | None]]:
    with Journal(path) as journal:
        return {int(e.id, 16): (e.label, e.label_source) for e in journal.entries()}


def test_a_whole_queue_is_labelled_by_keyboard_and_goes_on_where_it_was(path: Path) -> None:
    with open_page() as page:
        with served(path) as address:
            open_at(page, address)
            assert asked(page) == ASKED[0].id
            assert shown(page, "why") == "unsure: p within 0.01 of one half"
            for key in ("r", "n", "1", "0", "s"):
                press(page, key)
            assert labels(path) == {
                1: (1, "label:ada"),
                2: (0, "label:ada"),
                3: (1, "label:ada"),
                4: (0, "label:ada"),
                5: (None, None),
                6: (None, None),
                7: (0, "testnet"),
            }
            counts = {name: shown(page, name) for name in ("left", "n-roadwork", "n-none")}
            assert counts == {"left": "2", "n-roadwork": "2", "n-none": "2"}
            assert shown(page, "n-skipped") == "1"
        # A new start: another address, the same place.
        with served(path) as address:
            open_at(page, address)
            assert asked(page) == ASKED[5].id
            press(page, "ArrowRight")
            assert "The validator" not in shown(page, "last")
            press(page, "ArrowLeft")
            assert labels(path)[6] == (1, "label:ada")
            assert labels(path)[7] == (0, "label:ada")
            said = shown(page, "last")
            assert "The validator: none." in said
            assert "bob: roadwork." in said
            assert "The miner said 0.60." in said
            assert shown(page, "agree-people") == "like other people: 0 of 1"
            assert shown(page, "agree-others") == "like validators: 1 of 1"
            assert page.evaluate("document.body.dataset.state") == "done"
            assert "What comes in meanwhile" in shown(page, "message")
            make_journal(path, [Asked(8)])
            page.press("Enter")
            page.wait_for("document.body.dataset.state === 'asking'")
            assert asked(page) == Asked(8).id
        host = address.split("?")[0]
        assert all(url.startswith(host.rsplit(":", 1)[0]) for url in page.requests)
        assert page.errors == []


def test_undo_goes_back_one_by_one_and_restores_labels_and_skips(path: Path) -> None:
    before = labels(path)
    with served_here(path) as address, open_page() as page:
        open_at(page, address)
        page.press("u")
        assert shown(page, "last") == "There is nothing to undo."
        for key in ("r", "s", " "):
            press(page, key)
        # Reloading forgets nothing: the server knows what can be undone.
        open_at(page, address)
        for key, number in (("u", 2), ("Backspace", 1), ("u", 0)):
            press(page, key)
            assert asked(page) == ASKED[number].id
            assert shown(page, "last").startswith("Undone")
        assert labels(path) == before
        assert Notes(path).skipped("ada") == frozenset()
        press(page, "n")
        assert labels(path)[1] == (0, "label:ada")
        assert page.errors == []


def test_the_mouse_does_it_too_and_stray_keys_do_nothing(path: Path) -> None:
    with served_here(path) as address, open_page() as page:
        open_at(page, address)
        page.press("r", "ctrl")
        page.press("x")
        page.press("Enter")
        assert asked(page) == ASKED[0].id
        page.click("[data-answer=roadwork]")
        page.wait_for(f"document.body.dataset.id === '{ASKED[1].id}'")
        page.click("[data-answer=skip]")
        page.wait_for(f"document.body.dataset.id === '{ASKED[2].id}'")
        page.press(" ")  # the button that was clicked does not keep the space bar
        page.wait_for(f"document.body.dataset.id === '{ASKED[3].id}'")
        page.click("#undo")
        page.wait_for(f"document.body.dataset.id === '{ASKED[2].id}'")
        assert labels(path)[1] == (1, "label:ada")
        assert Notes(path).skipped("ada") == {ASKED[1].sha256}


def test_the_picture_can_be_looked_at_closely(path: Path) -> None:
    with served_here(path) as address, open_page() as page:
        page.set_size(640, 600)
        open_at(page, address)
        width = "document.querySelector('#stage img.shown').naturalWidth"
        assert page.evaluate(width) < 1600  # as large as the screen
        page.press("z")
        page.wait_for(f"{width} === 1600")  # every pixel
        assert page.evaluate("document.getElementById('stage').classList.contains('zoomed')")
        press(page, "n")
        assert not page.evaluate("document.getElementById('stage').classList.contains('zoomed')")
        assert page.errors == []


def test_an_answer_that_cannot_be_saved_is_reported_and_saved_later(path: Path) -> None:
    with served_here(path) as address, open_page() as page:
        open_at(page, address)
        away = path.with_name("away")
        path.rename(away)
        page.press("r")
        page.wait_for("!document.getElementById('trouble').hidden")
        assert "there is no journal at" in shown(page, "what")
        assert shown(page, "saved") == "1 not saved"
        standing = asked(page)
        page.press("n")  # keys have to wait until what was said is safe
        assert asked(page) == standing
        away.rename(path)
        page.click("#retry")
        page.wait_for("document.body.dataset.unsaved === '0'")
        assert page.evaluate("document.getElementById('trouble').hidden")
        assert labels(path)[1] == (1, "label:ada")
        assert labels(path)[2] == (None, None)


def test_a_query_that_was_pruned_is_told_and_passed_over(path: Path) -> None:
    with served_here(path) as address, open_page() as page:
        open_at(page, address)
        with changing(path) as connection:
            connection.execute("DELETE FROM queries WHERE id = ?", (ASKED[0].id,))
        press(page, "r")
        assert "no longer in the journal" in shown(page, "last")
        press(page, "r")
        assert labels(path)[2] == (1, "label:ada")


def test_the_opinion_is_hidden_unless_asked_for(path: Path) -> None:
    with open_page() as page:
        with served_here(path) as address:
            open_at(page, address)
            assert "p = " not in shown(page, "why")
            assert "The miner" not in page.evaluate("document.body.innerText")
        with served_here(path, show_opinion=True) as address:
            open_at(page, address)
            assert "unsure: p = 0.50" in shown(page, "why")
            assert "The miner said 0.50" in shown(page, "why")


@pytest.mark.parametrize("dark", [False, True])
def test_everything_is_on_the_screen_also_where_it_is_narrow(path: Path, dark: bool) -> None:
    with served_here(path) as address, open_page() as page:
        page.set_dark(dark)
        for size in ((1280, 800), (390, 780)):
            page.set_size(*size)
            open_at(page, address)
            assert page.evaluate(
                "[...document.querySelectorAll('button:not([hidden]), #stage')]"
                ".filter(e => e.offsetParent).every(e => { const b = e.getBoundingClientRect();"
                " return b.left >= 0 && b.right <= innerWidth && b.bottom <= innerHeight; })"
            )
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        back = page.evaluate("getComputedStyle(document.body).backgroundColor")
        brightness = sum(int(part) for part in re.findall(r"\d+", back)[:3]) / 3
        assert (brightness < 60) == dark
        assert page.errors == []
