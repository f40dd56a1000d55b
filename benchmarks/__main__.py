"""`python -m benchmarks [FILE]`: time everything, print the tables, and write them to FILE (docs/benchmarks.md).

What people wrote at the end of FILE, from KEPT on, stays; what they wrote between the tables goes.
"""

from __future__ import annotations

import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

import torch

import pellucid
from benchmarks import calls, games, memory, metrics, tables
from benchmarks.cases import Case, bundled, small
from benchmarks.propagated import propagated, refusals
from benchmarks.timing import interleaved

INTRO = """# Benchmarks

Made by `make bench`: one process, two threads, candidates interleaved repetition by repetition. The ratio is the
median over repetitions of our time divided by the peer's: below 1 means that pellucid is faster. Absolute times are
those of one small machine and say little; ratios carry over better. Warm means that the model has been looked at and
its prepared form verified; the cold cost stands below.
"""
PEERS = ("captum", "grad-cam", "torchcam", "zennit", "lime", "shap")
KEPT = "## Where an aim was missed"


def main() -> None:
    """Run everything and write the tables."""
    torch.set_num_threads(2)
    lines = [
        INTRO,
        *_setting(),
        *_bundled(),
        *_propagated(),
        *games.tables(),
        *tables.tables(),
        *calls.tables(),
        *metrics.tables(),
        *_small(),
        *_cold(),
        *_memory(),
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if len(sys.argv) > 1:
        page = Path(sys.argv[1])
        _, head, said = page.read_text(encoding="utf-8").partition(KEPT) if page.exists() else ("", "", "")
        page.write_text(text + "\n" + head + said if head else text, encoding="utf-8")


def _setting() -> list[str]:
    parts = {"python": platform.python_version(), "torch": torch.__version__}
    parts |= {name: version(name) for name in PEERS}
    parts["machine"] = f"{platform.machine()}, {torch.get_num_threads()} threads, no accelerator"
    return ["; ".join(f"{k} {v}" for k, v in parts.items()) + ".", ""]


def _bundled() -> list[str]:
    return _table("The bundled model (EfficientNet-Lite0, 224 × 224), warm", bundled())


def _propagated() -> list[str]:
    lines = _table("Propagation and masked maps, the bundled model, warm", propagated())
    return [*lines, "Not in the table, because the peer refuses the model:", "", *refusals(), ""]


def _table(title: str, cases: list[Case]) -> list[str]:
    lines = [f"## {title}", ""]
    lines += ["| what | ours, ms | peer | peer, ms | ratio | aim | |", "|---|--:|---|--:|--:|--:|---|"]
    for case in cases:
        peers = {name: work for name, (work, _) in case.peers.items()}
        timing = interleaved({"ours": case.ours, **peers}, repeat=case.repeat, warm_up=case.warm_up)
        for name, (_, aim) in case.peers.items():
            ratio = timing.ratio("ours", name)
            mark = "" if aim is None else "met" if round(ratio, 2) <= aim else f"missed by {ratio - aim:.2f}"
            row = [case.name, f"{timing.median('ours') * 1e3:.0f}", name, f"{timing.median(name) * 1e3:.0f}"]
            row += [f"{ratio:.2f}", "" if aim is None else f"≤ {aim}", "; ".join(x for x in (mark, case.note) if x)]
            lines.append("| " + " | ".join(row) + " |")
            print(lines[-1], file=sys.stderr, flush=True)
    return [*lines, ""]


def _small() -> list[str]:
    candidates, title = small()
    timing = interleaved(candidates, repeat=400, warm_up=20)
    base = timing.median("raw autograd")
    lines = [f"## Overhead: {title}", "", "| what | µs | over raw autograd, µs |", "|---|--:|--:|"]
    lines += [
        f"| {name} | {timing.median(name) * 1e6:.0f} | {(timing.median(name) - base) * 1e6:.0f} |"
        for name in candidates
    ]
    return [*lines, "", "Aim: at most 100 µs over raw autograd.", ""]


def _cold() -> list[str]:
    handle = pellucid.load("efficientnet_lite0")
    x = handle.preprocess.rows(pellucid.zoo.sample_photos()[:1])
    seconds: list[float] = []
    for _ in range(4):
        start = time.perf_counter()
        got = pellucid.explain(handle, x, "gradient", target=285)
        seconds.append(time.perf_counter() - start)
        if len(seconds) == 1:
            rows = got[0].record.passes.verification
    lines = ["## Cold and warm", "", "| what | ms |", "|---|--:|"]
    lines.append(f"| first gradient of a model: twin, look, fold, verify ({rows} rows) | {seconds[0] * 1e3:.0f} |")
    lines.append(f"| gradient afterwards | {min(seconds[1:]) * 1e3:.0f} |")
    return [*lines, ""]


def _memory() -> list[str]:
    lines = ["## Peak memory above the model, one photo", "", "| what | MiB |", "|---|--:|"]
    lines += [f"| {name} | {memory.measure(name):.0f} |" for name in memory.cases()]
    return [*lines, ""]


if __name__ == "__main__":
    main()
