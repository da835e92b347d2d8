"""Answer a request for a picture."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import HTTPException, Response

from pacsgrid.errors import HeldError


def png(draw: Callable[[], bytes]) -> Response:
    """Return a PNG image as an answer.

    Parameters
    ----------
    draw
        Returns the file's content, or raises HeldError where there is no picture.

    Raises
    ------
    HTTPException
        422 with the reason, if there is no picture.
    """
    try:
        return Response(draw(), media_type="image/png")
    except HeldError as error:
        raise HTTPException(422, error.detail) from None
