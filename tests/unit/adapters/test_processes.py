"""Functions in worker processes: the same answers in the same order; errors come home; nobody is left behind."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.adapters import stranger
from tests.unit.texts import Splitter, encoder

import pellucid
from pellucid import LIME, Words
from pellucid.adapters.processes import Workers, parts
from pellucid.core.errors import InputError, ParameterError, UnsupportedModel
from pellucid.core.worker import READY, serve

pytestmark = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks at processes through /proc")
TEXT = "a small banana and another one at last"


def wrapped(fn: Any, processes: int = 2, **more: Any) -> Any:
    return pellucid.wrap(fn, Words(), processes=processes, **more)


def children(of: int) -> list[int]:
    """Processes that somebody started, as /proc knows them."""
    found: list[int] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if parent == of:
            found.append(int(stat.parent.name))
    return found


def spawned(of: int | None = None) -> set[int]:
    """Children that run our workers, not what multiprocessing keeps beside them."""
    out: set[int] = set()
    for child in children(os.getpid() if of is None else of):
        try:
            line = Path(f"/proc/{child}/cmdline").read_bytes()
        except OSError:
            continue
        out |= {child} if b"spawn_main" in line else set()
    return out


@given(st.integers(1, 60), st.integers(1, 9))
def test_rows_are_cut_into_runs_that_differ_by_one(count: int, many: int) -> None:
    cut = parts(count, many)
    sizes = [one.stop - one.start for one in cut]
    assert len(cut) == min(count, many) and max(sizes) - min(sizes) <= 1
    assert [i for one in cut for i in range(one.start, one.stop)] == list(range(count))


@pytest.mark.parametrize("fn", [stranger.lengths, stranger.tensors])
def test_two_processes_say_what_one_says(fn: Any) -> None:
    method = LIME(samples=200)
    alone = pellucid.explain(wrapped(fn, 1), [TEXT, "a b c"], method, target=1, output="logit")[0]
    model = wrapped(fn)
    both = pellucid.explain(model, [TEXT, "a b c"], method, target=1, output="logit")[0]
    model.close()
    assert torch.equal(alone.values, both.values) and alone.target == both.target
    assert alone.record.model.evaluator == "plain: a function"
    assert both.record.model.evaluator == "plain: a function in 2 processes"


def test_both_processes_work_and_end_when_they_are_told_to() -> None:
    before = spawned()
    model = wrapped(stranger.whose)
    rows, _ = model.preprocess.rows_of(["a", "b", "c", "d"])
    assert spawned() <= before  # nobody starts before there is something to do
    found = model.scores(rows)[:, 0].tolist()
    assert found[0] == found[1] != found[2] == found[3] and os.getpid() not in found
    assert model.scores(rows)[:, 0].tolist() == found  # the same ones again
    model.close()
    assert spawned() <= before
    model.close()
    assert model.scores(rows).shape == (4, 1)  # others, after the end of the first
    del model
    gc.collect()
    assert spawned() <= before


def test_errors_come_home_as_they_were_and_the_workers_stay() -> None:
    workers = Workers(stranger.failing, 2)
    try:
        with pytest.raises(ZeroDivisionError, match="no such luck") as told:
            workers([["a"], ["fail"]])
        assert "in a worker process" in str(told.value.__cause__) and "stranger.py" in str(told.value.__cause__)
        held = spawned()
        assert workers([["a"], ["b", "c"]]) == [[1.0], [1.0, 1.0]]
        assert spawned() == held
    finally:
        workers.close()


def test_an_error_that_cannot_be_sent_is_told_in_words() -> None:
    workers = Workers(stranger.odd, 1)
    try:
        with pytest.raises(UnsupportedModel, match="Odd: 1 and 2"):
            workers([["a"]])
    finally:
        workers.close()


def test_a_worker_that_ends_is_told_and_others_take_its_place() -> None:
    before = spawned()
    workers = Workers(stranger.ending, 2)
    with pytest.raises(InputError, match="ended with code 7"):
        workers([["a"], ["the end"]])
    assert spawned() <= before
    assert workers([["a"], ["b"]]) == [[1.0], [1.0]]
    workers.close()


def test_what_cannot_be_sent_is_refused_at_once_with_advice() -> None:
    with pytest.raises(UnsupportedModel, match="processes=1, or put it into a module"):
        wrapped(lambda texts: [1.0] * len(texts))
    with pytest.raises(UnsupportedModel, match="LookupError: not here"):
        Workers(stranger.Missing(), 1)([["a"]])


def test_answers_of_another_length_are_refused() -> None:
    model = wrapped(stranger.too_many)
    with pytest.raises(UnsupportedModel, match=r"for 2 rows"):
        model.scores(model.preprocess.rows_of(["a", "b", "c", "d"])[0])
    model.close()


@pytest.mark.parametrize("count", [0, -1, 2.0, True])
def test_counts_that_are_none_are_refused(count: Any) -> None:
    with pytest.raises(ParameterError, match="processes="):
        wrapped(stranger.lengths, count)


def test_torch_models_are_refused() -> None:
    with pytest.raises(ParameterError, match="torch uses all cores"):
        pellucid.wrap(encoder(), Splitter(), processes=2)


def test_scikit_learn_runs_in_processes_too() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    x = torch.randn(60, 3, generator=torch.Generator().manual_seed(0)).numpy()
    made = linear.LogisticRegression().fit(x, x[:, 0] > 0)
    one, two = pellucid.wrap(made, x), pellucid.wrap(made, x, processes=2)
    a, b = (pellucid.explain(model, x[:2], "kernel_shap")[0] for model in (one, two))
    two.close()
    assert torch.equal(a.values, b.values)


def _until(what: Any) -> None:
    end = time.monotonic() + 40
    while not what() and time.monotonic() < end:
        time.sleep(0.05)


PROGRAM = """
if __name__ == "__main__":
    import signal, sys, time
    signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs of a shell in the background are born deaf to it
    import pellucid
    from pellucid import Words
    from tests.unit.adapters import stranger
    model = pellucid.wrap(stranger.{name}, Words(), processes=2)
    rows, _ = model.preprocess.rows_of(["a", "b"])
    if sys.argv[1:] == ["restarts"]:
        signal.siginterrupt(signal.SIGINT, False)
    print(model.scores(rows).tolist(), flush=True)
    if sys.argv[1:] == ["wait"]:
        time.sleep(60)
"""


def _program(tmp_path: Path, name: str, *words: str) -> subprocess.Popen[str]:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM.format(name=name))
    paths = os.pathsep.join([str(Path(pellucid.__file__).parents[1]), str(Path(__file__).parents[3])])
    return subprocess.Popen(
        [sys.executable, str(script), *words], env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_script_that_ends_takes_its_workers_along(tmp_path: Path) -> None:
    program = _program(tmp_path, "lengths")
    out, said = program.communicate(timeout=60)
    assert program.returncode == 0 and out.strip() == "[[1.0, 1.0], [1.0, 0.0]]" and said == ""


def test_a_script_that_is_killed_takes_its_workers_along(tmp_path: Path) -> None:
    program = _program(tmp_path, "lengths", "wait")
    assert program.stdout is not None
    program.stdout.readline()
    held = spawned(program.pid)
    assert len(held) == 2
    program.kill()
    program.communicate()
    _until(lambda: not any(Path(f"/proc/{one}").exists() for one in held))
    assert not any(Path(f"/proc/{one}").exists() for one in held)


@pytest.mark.parametrize("words", [(), ("restarts",)], ids=["as it is", "calls go on after signals"])
def test_an_interrupt_leaves_nobody_behind(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Also where a library has said that signals do not break system calls off, as polars does when it is imported."""
    program = _program(tmp_path, "sleeping", *words)
    _until(lambda: len(spawned(program.pid)) == 2)
    held = spawned(program.pid)
    time.sleep(3.0)  # until they have been asked, and sleep
    program.send_signal(signal.SIGINT)
    _, said = program.communicate(timeout=30)
    assert len(held) == 2 and "KeyboardInterrupt" in said
    _until(lambda: not any(Path(f"/proc/{one}").exists() for one in held))
    assert not any(Path(f"/proc/{one}").exists() for one in held)


def talked(fn: Any, *batches: Any) -> list[Any]:
    """What a worker says that runs here, in this process."""
    ours, theirs = Pipe()
    heard: list[Any] = []

    def ask() -> None:
        heard.append(ours.recv())
        for batch in batches:
            ours.send(batch)
            heard.append(ours.recv())
        ours.close()

    client = threading.Thread(target=ask)
    client.start()
    before = signal.getsignal(signal.SIGINT)
    try:
        serve(theirs, pickle.dumps(fn))
    finally:
        signal.signal(signal.SIGINT, before)
        client.join()
        theirs.close()
    return heard


def test_a_worker_says_that_it_is_ready_then_answers_then_ends() -> None:
    ready, plain = talked(stranger.lengths, ["banana"])
    assert ready == READY and plain == [[6.0, 3.0]]
    _, tensors = talked(stranger.tensors, ["banana"])
    assert tensors.tolist() == [[6.0, 3.0]] and not hasattr(tensors, "detach")


def test_a_worker_tells_what_failed_and_goes_on() -> None:
    _, failed, fine = talked(stranger.failing, ["fail"], ["a"])
    assert isinstance(failed.error, ZeroDivisionError) and failed.said == "ZeroDivisionError: no such luck"
    assert "stranger.py" in failed.where and fine == [1.0]
    _, odd = talked(stranger.odd, ["a"])
    assert odd.error is None and odd.said == "Odd: 1 and 2"
    (missing,) = talked(stranger.Missing())
    assert missing.said == "LookupError: not here"
