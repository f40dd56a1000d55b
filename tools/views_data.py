"""Makes the two data files of `pellucid.views` again: the colour tables and the letters.

    python tools/views_data.py palettes      (needs matplotlib and cmcrameri)
    python tools/views_data.py letters DIR   (needs fonttools and the Roboto TTF files in DIR)

The results are in the repository; nobody needs to run this to build or use the package.
"""

from __future__ import annotations

import sys
from pathlib import Path

DATA = Path(__file__).parents[1] / "src/pellucid/views/data"
MATPLOTLIB = ("PuOr", "bwr", "seismic", "cividis", "magma", "viridis", "gray", "jet")
CRAMERI = ("vik",)
# ColorBrewer's PuOr in nine classes: without the two darkest colours, which can hardly be told apart on single pixels.
NINE = ("b35806", "e08214", "fdb863", "fee0b6", "f7f7f7", "d8daeb", "b2abd2", "8073ac", "542788")

# Latin, Greek, Cyrillic, punctuation, super- and subscripts, currency, letterlike signs, arrows, mathematics.
BLOCKS = "U+20-7E,U+A0-24F,U+2B0-36F,U+370-3FF,U+400-4FF,U+1E00-1EFF,U+2000-206F,U+2070-209F,U+20A0-20CF,U+2100-214F"
MORE = "U+2190-21FF,U+2200-22FF,U+25A0-25FF,U+FFFD"


def palettes() -> None:
    """Write `palettes.npy`, uint8 [name, 256, 3]; the order of the names is that of `pellucid.views.palette`."""
    import matplotlib
    import numpy as np
    from cmcrameri import cm
    from matplotlib.colors import LinearSegmentedColormap

    nine = LinearSegmentedColormap.from_list("PuOr9", [f"#{colour}" for colour in NINE], 256)
    maps = (
        [matplotlib.colormaps[name].resampled(256) for name in MATPLOTLIB]
        + [getattr(cm, name) for name in CRAMERI]
        + [nine]
    )
    tables = np.stack([np.round(m(np.arange(256))[:, :3] * 255).astype(np.uint8) for m in maps])
    np.save(DATA / "palettes.npy", tables)


def letters(folder: str) -> None:
    """Write the parts of Roboto (Apache-2.0) that labels need, with kerning, without hints."""
    from fontTools import subset

    for weight in ("Regular", "Medium"):
        out = DATA / f"Roboto-{weight}.ttf"
        options = ["--layout-features=kern", "--no-hinting", "--desubroutinize", "--name-IDs=*", "--notdef-outline"]
        subset.main([f"{folder}/Roboto-{weight}.ttf", f"--unicodes={BLOCKS},{MORE}", *options, f"--output-file={out}"])


if __name__ == "__main__":
    {"palettes": palettes, "letters": letters}[sys.argv[1]](*sys.argv[2:])
