"""The story as one self-contained HTML page."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from natix_miner.atomic import write_whole
from natix_miner.errors import ConfigurationError
from natix_miner.lab.story import Story, seen_in_words
from natix_miner.lab.story_pictures import Pictures, all_marks

#: The deadline is drawn on the time line where that makes it at most so many times as long.
DEADLINE_NEAR = 1.5


def render_page(template: str, **context: Any) -> str:
    """A page of the lab from one of its templates; everything that is put in is escaped."""
    import jinja2

    folder = resources.files("natix_miner.lab")
    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FunctionLoader(
            lambda name: folder.joinpath(name).read_text(encoding="utf-8")
        ),
    )
    environment.filters["signed"] = lambda value: f"{value:+.2f}"
    environment.filters["figure"] = lambda value, digits=3: (
        "–" if value is None else f"{value:.{digits}f}"
    )
    return environment.get_template(template).render(**context)


def write_page(path: Path, text: str) -> Path:
    """Write atomically; folders are made. Raises ConfigurationError when that cannot be done."""
    try:
        write_whole(path, text)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written ({error.strerror}): give another path"
        ) from error
    return path


def story_page(story: Story, pictures: Pictures) -> str:
    """The page of one story. It refers to nothing outside itself."""
    reach = max([story.total_ms or 0.0, *(span.start + span.ms for span in story.spans), 1e-3])
    if story.deadline_ms <= DEADLINE_NEAR * reach:
        reach = max(reach, story.deadline_ms)
    return render_page(
        "story.html",
        story=story,
        trace=story.trace,
        pictures=pictures,
        marks=all_marks(story.trace),
        seen_in_words=seen_in_words,
        reach=reach,
    )
