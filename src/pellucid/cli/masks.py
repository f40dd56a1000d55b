"""Pictures that say where the object is, one per photo, brought to where the model sees it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.core.errors import InputError, nearest

if TYPE_CHECKING:
    from pellucid.images import Photo

LOSSY = (".jpg", ".jpeg")


def masks_of(folder: str, photos: Mapping[str, tuple[int, int] | None], preprocess: Any) -> list[Any]:
    """One bool [height, width] per photo, as the model sees it: True where the mask is not black.

    folder   holds a picture of the same name for every photo, the ending aside
    photos   height and width by name, None where they are not known any more
    Raises InputError for what is missing, or of another size.
    """
    from pellucid.preprocess import Preprocess

    if not isinstance(preprocess, Preprocess):
        raise InputError("masks for a model that does not read pictures", do="leave --masks out")
    found = _files(folder)
    chosen = {name: _mask(found, folder, name) for name in photos}
    for name, size in photos.items():
        mask = chosen[name]
        if size is not None and size != (mask.height, mask.width):
            raise InputError(
                f"the mask of {name} has {mask.width} × {mask.height} pixels, the photo {size[1]} × {size[0]}",
                "a mask of the photo's own size",
            )
    return [preprocess.view(mask).max(-1) > 127 for mask in chosen.values()]


def _files(folder: str) -> dict[str, Path]:
    from pellucid import images

    where = Path(os.path.expanduser(folder))
    if not where.is_dir():
        raise InputError(f"--masks {folder} is no folder", "a folder with one mask per photo, of the same names")
    return {p.stem: p for p in sorted(where.iterdir()) if p.suffix.lower() in images.SUFFIXES}


def _mask(found: dict[str, Path], folder: str, name: str) -> Photo:
    """White where the object is."""
    from pellucid import images

    stem = Path(name).stem
    if stem not in found:
        near = nearest(stem, list(found))
        raise InputError(f"no mask of {name} in {folder}", f"a picture {stem}.png in it", near and f"perhaps {near}")
    if found[stem].suffix.lower() in LOSSY:
        raise InputError(f"{found[stem]} is a JPEG, in which black is not quite black", "a PNG")
    picture = images.read(found[stem])
    there = (picture.stored > 0).any(-1, keepdims=True)
    return images.read((there.repeat(3, -1) * 255).astype("uint8"))
