"""The bibliography: BibTeX entries by the keys that methods declare."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from pellucid.core.errors import InputError, nearest

_ENTRY = re.compile(r"^@\w+\{(?P<key>[^,\s]+),\n.*?^\}$", re.MULTILINE | re.DOTALL)


@cache
def references() -> Mapping[str, str]:
    """Every entry of the bibliography as BibTeX, by key."""
    text = files("pellucid.core").joinpath("references.bib").read_text("utf-8")
    return MappingProxyType({entry["key"]: entry[0] for entry in _ENTRY.finditer(text)})


def bibtex(keys: Iterable[str]) -> str:
    """BibTeX of these keys, each once, in the order of first appearance; an empty text for no keys.

    Raises InputError for a key that is not in the bibliography (methods from elsewhere may have such).
    """
    known = references()
    wanted = tuple(dict.fromkeys(keys))
    for key in wanted:
        if key not in known:
            near = nearest(key, known)
            raise InputError(
                f"no entry {key!r} in the bibliography",
                "a key of core/references.bib",
                f"perhaps {near}" if near else "look for it in the documentation of the method",
            )
    return "\n\n".join(known[key] for key in wanted) + ("\n" if wanted else "")
