"""Videos: pictures at the times they are shown, and what a file cannot say is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mstgraph.support.errors import UserError
from mstgraph.support.machine.libraries import extra


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a video with PyAV.

    Raises:
        UserError: PyAV is missing, or the file cannot be read.
    """
    av = extra("av", "mstgraph[audio,video]")
    try:
        with av.open(str(path)) as container:
            yield container
    except (OSError, ValueError, LookupError) as error:
        raise UserError(f"the video {path} cannot be read: {error}") from error


def pictures(path: Path, container: Any) -> Iterator[Any]:
    """Yield the frames of a video, which say when they are shown (``frame.time``, seconds).

    Raises:
        UserError: it has none, they are turned, or nothing says when they are shown.
    """
    if not container.streams.video:
        raise UserError(f"the video {path} has no pictures")
    for frame in container.decode(container.streams.video[0]):
        if frame.time is None:
            raise UserError(f"the video {path} does not say when its pictures are shown")
        if turned := getattr(frame, "rotation", 0):
            raise UserError(
                f"the pictures of the video {path} are to be turned by {turned}° before they are "
                "seen; expected upright ones"
            )
        yield frame


def sound(path: Path, container: Any) -> Any:
    """Return a video's first stream of sound.

    Raises:
        UserError: it has none.
    """
    if not container.streams.audio:
        raise UserError(f"the video {path} has no sound")
    return container.streams.audio[0]
