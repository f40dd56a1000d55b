"""Tutorials as pages: `examples/tutorials/*.py`, run, and written to `docs/tutorials` with the pictures that they make.

python -m tools.tutorials            writes the pages, and runs the programs for their pictures
python -m tools.tutorials --pages    writes the pages only
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = [ROOT / "examples" / "tutorials" / f"{name}.py" for name in ("table", "text")]
PAGES = ROOT / "docs" / "tutorials"
PROSE, CODE = "# %% [markdown]", "# %%"


def page(script: str, name: str) -> str:
    """A program in cells as a page: its prose, and its code in fences."""
    title = (ast.get_docstring(ast.parse(script)) or "").strip().rstrip(".")
    out = [f"# {title}", f"`python -m examples.tutorials.{name}` runs this page and writes its pictures."]
    for cell in ("\n" + script).split(f"\n{CODE}")[1:]:
        head, _, body = cell.partition("\n")
        if head.strip():
            lines = [line.removeprefix("#").removeprefix(" ") for line in body.strip().splitlines()]
            out.append("\n".join(lines))
        else:
            out.append(f"```python\n{body.strip()}\n```")
    return "\n\n".join(out) + "\n"


def run(script: Path, where: Path) -> str:
    """What a program says when it is run in a folder. Raises CalledProcessError where it fails."""
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-m", f"examples.tutorials.{script.stem}"], cwd=where, env={**os.environ, "PYTHONPATH": paths},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def main() -> None:
    """Write everything."""
    PAGES.mkdir(exist_ok=True)
    for script in SCRIPTS:
        (PAGES / f"{script.stem}.md").write_text(page(script.read_text(), script.stem))
        if "--pages" in sys.argv:
            continue
        with TemporaryDirectory() as folder:
            run(script, Path(folder))
            for picture in sorted(Path(folder).rglob("*.png")):
                with Image.open(picture) as image:
                    image.convert("RGB").quantize(200).save(PAGES / picture.name, optimize=True)


if __name__ == "__main__":
    main()
