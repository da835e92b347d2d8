"""Decide what is done with the faces of a study, series by series."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydicom.uid import UID

from ...errors import HeldError, StorageError
from ...log_suppression import pydicom_suppressed
from ..anonymise import read_source
from ..check import ScannedHeader
from ..check.face_relief import check_face_gone
from ..pixel.frame_source import Frames
from ..pixel.visual_holds import shows_face
from ..truncation import IrregularError
from .marks import FacePlans
from .registration import Alignment
from .removal import plan_removal
from .volume import NotAVolumeError

_VOLUMES = frozenset({"CT", "MR"})


def plan_faces(headers: Sequence[ScannedHeader]) -> FacePlans:
    """Find the faces in the head volumes of a study, and have the checker look at each removal.

    Parameters
    ----------
    headers
        All files of the study.
    """
    series: dict[str, list[Path]] = defaultdict(list)
    for one in headers:
        if one.modality in _VOLUMES:
            series[one.series_uid].append(one.path)
    plans, known = FacePlans(), dict[str, Alignment]()
    with pydicom_suppressed():
        later = []
        for paths in series.values():
            if _plan_series(paths, plans, known):
                later.append(paths)
        # Those that did not fit by themselves may share their coordinates with one that did.
        for paths in later if known else ():
            _plan_series(paths, plans, known)
    return plans


def _plan_series(paths: list[Path], plans: FacePlans, known: dict[str, Alignment]) -> bool:
    """Plan one series; return whether its face is still there."""
    try:
        headers = [(path, _header(path)) for path in paths]
        if not any(shows_face(ds) for _, ds in headers):
            return False
        removal = plan_removal(headers, _open_frames, known)
        check_face_gone(paths, removal.mask)
    except (StorageError, KeyboardInterrupt, SystemExit):
        raise
    except NotAVolumeError as error:
        plans.reasons.update(dict.fromkeys(paths, str(error)))
        return True
    except HeldError as error:
        plans.reasons.update(dict.fromkeys(paths, error.detail))
        return True
    except Exception as error:  # its text may quote a value
        why = f"its files cannot be read as one volume ({type(error).__name__})"
        plans.reasons.update(dict.fromkeys(paths, why))
        return True
    for path in paths:
        plans.removals[path] = removal
        plans.reasons.pop(path, None)
    return False


def _header(path: Path) -> Any:
    with path.open("rb") as stream:
        try:
            return read_source(stream)[0]
        except IrregularError:
            raise NotAVolumeError("the encoding of a file must be repaired first") from None


@contextmanager
def _open_frames(path: Path) -> Iterator[Frames]:
    with path.open("rb") as stream:
        ds, span = read_source(stream)
        if span is None:
            raise NotAVolumeError("a file is deflated, or has no pixels")
        yield Frames(stream, ds, UID(ds.file_meta.TransferSyntaxUID), span)
