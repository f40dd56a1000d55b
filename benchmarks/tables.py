"""Tables and texts beside lime and shap: whole calls, in units of the peer's and of the model's own time; and errors.

`python -m benchmarks.tables [REPEAT]` prints the tables alone.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import tests.conftest  # noqa: F401 - torchvision beside a CPU build of torch
import torch

import pellucid
from benchmarks.timing import Timing, interleaved
from pellucid import LIME, ExactShapley, KernelSHAP, OwenShapley, PermutationSHAP, Table, TabularLIME, Words

Work = Callable[[], object]
Scores = Callable[[Any], Any]
SAMPLES, COALITIONS, ORDERS, GROUND, SEVERAL, CALLS = 5000, 1000, 20, 50, 16, 200
OURS, MODEL, BARE = "ours", "model", "without a model"
LABELS = ["no", "yes"]


@dataclass(frozen=True, slots=True)
class Question:
    """One row of the table: ours, the same without a model, the model alone for as many rows, and the peer."""

    name: str
    ours: Work
    bare: Work
    model: Work
    peer: tuple[str, Work, Work]
    """Its name, its call, and its call without a model."""


def tables(repeat: int = 5) -> list[str]:
    """Time everything; the lines of the section."""
    lines = ["## Tables and texts", "", SAYS, ""]
    lines += [
        "| what | ours, ms | peer | peer, ms | ours ÷ peer | ours ÷ model | without a model: ours, ms | peer, ms |"
    ]
    lines += ["|---|--:|---|--:|--:|--:|--:|--:|"]
    with _still():
        for question in (*_of_tables(), *_of_texts()):
            name, work, bare = question.peer
            works = {OURS: question.ours, MODEL: question.model, BARE: question.bare, name: work, "bare": bare}
            lines.append(_line(question, interleaved(works, repeat=repeat)))
            print(lines[-1], file=sys.stderr, flush=True)
        lines += ["", ERRORS, "", "| what | calls | ours | peer | peer's | ours ÷ peer |", "|---|--:|--:|---|--:|--:|"]
        lines += list(_errors())
    return [*lines, ""]


SAYS = """Whole calls, from rows or strings to numbers, one thread. The forest has 100 trees and the regression is
logistic, both of the 30 columns of scikit-learn's table of breast tumours; the references of Shapley values are 50 of
its rows. The counts are TF-IDF and a logistic regression, the network is that of `docs/tutorials/text.md`; the review
has 16 words, the reviews 110. The model's time is that of one call with as many rows or strings as there are samples
(coalitions × references for Shapley values). Without a model: the scores cost next to nothing, and what remains is
ours or the peer's."""
ERRORS = """Errors at as many calls of the model for a row: the root mean square of what differs from the exact Shapley
values of ten columns (1,024 coalitions, enumerated), divided by that of the values; and for LIME from 250,000 samples
of the 30 columns. 16 rows, or 4 for LIME; 8 seeds."""


def _line(question: Question, timing: Timing) -> str:
    name = question.peer[0]
    cells = [question.name, f"{timing.median(OURS) * 1e3:.0f}", name, f"{timing.median(name) * 1e3:.0f}"]
    cells += [f"{timing.ratio(OURS, name):.2f}", f"{timing.ratio(OURS, MODEL):.2f}"]
    cells += [f"{timing.median(BARE) * 1e3:.0f}", f"{timing.median('bare') * 1e3:.0f}"]
    return "| " + " | ".join(cells) + " |"


@contextmanager
def _still() -> Generator[None]:
    """Without the peers' warnings, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    torch.set_num_threads(threads)


# -- tables ----------------------------------------------------------------------------------------------------------


def tumours() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Measurements [tumour, 30], and which of them are benign."""
    from sklearn.datasets import load_breast_cancer

    data: Any = load_breast_cancer()
    return data.data, data.target


def forest(x: Any, y: Any) -> Scores:
    """A hundred trees."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(100, random_state=0).fit(x, y).predict_proba


def _of_tables() -> Iterator[Question]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = tumours()
    table = Table.of(x, background=GROUND)
    models = {
        "forest": forest(x, y),
        "regression": make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y).predict_proba,
    }
    for model, scores in models.items():
        asked = partial(_asked, scores, table)
        yield _tabular(f"LIME, {model}, {SAMPLES} samples", asked, x, 1)
        yield _tabular(f"LIME, {model}, {SAMPLES} samples, {SEVERAL} rows", asked, x, SEVERAL)
        for count in (1, SEVERAL) if model == "regression" else (1,):  # a forest takes ten seconds for the second
            yield _shapley("Kernel SHAP", model, asked, x, count)
            yield _shapley("Permutation SHAP", model, asked, x, count)


@dataclass(frozen=True, slots=True)
class Asked:
    """A model and its stand-in, as ours and as functions."""

    scores: Scores
    table: Table

    def ours(self, method: Any, rows: Any) -> Work:
        model = pellucid.wrap(self.scores, self.table, LABELS)
        return lambda: pellucid.explain(model, rows, method, target=1)

    @property
    def bare(self) -> Asked:
        return Asked(_cheap, self.table)


def _asked(scores: Scores, table: Table) -> Asked:
    return Asked(scores, table)


def _cheap(rows: Any) -> Any:
    """Scores that cost next to nothing."""
    p = np.asarray(rows)[:, 0] * 1e-3
    return np.stack([1 - p, p], 1)


def _tabular(name: str, asked: Callable[[], Asked], x: Any, count: int) -> Question:
    from lime.lime_tabular import LimeTabularExplainer

    them, it, rows = LimeTabularExplainer(x, random_state=0), asked(), x[20 : 20 + count]

    def peer(scores: Scores) -> Work:
        how: Any = {"labels": (1,), "num_features": x.shape[1], "num_samples": SAMPLES}
        return lambda: [them.explain_instance(row, scores, **how) for row in rows]

    method = TabularLIME(samples=SAMPLES - 1)
    many = np.resize(x, (SAMPLES * count, x.shape[1]))
    return Question(
        name, it.ours(method, rows), it.bare.ours(method, rows), lambda: it.scores(many),
        ("lime", peer(it.scores), peer(_cheap)),
    )  # fmt: skip


def _shapley(kind: str, model: str, asked: Callable[[], Asked], x: Any, count: int) -> Question:
    it, rows = asked(), x[20 : 20 + count]
    kernel, ground = kind == "Kernel SHAP", it.table.background.numpy()
    method = KernelSHAP(samples=COALITIONS) if kernel else PermutationSHAP(samples=ORDERS)
    coalitions = COALITIONS if kernel else ORDERS * (x.shape[1] - 1)
    many = np.resize(x, (coalitions * GROUND * count, x.shape[1]))
    peer = _kernel(ground, rows, COALITIONS) if kernel else _permutation(ground, rows, ORDERS)
    what = f"{COALITIONS} coalitions" if kernel else f"{ORDERS} orders"
    name = f"{kind}, {model}, {what}" + (f", {count} rows" if count > 1 else "")
    return Question(
        name, it.ours(method, rows), it.bare.ours(method, rows), lambda: it.scores(many),
        ("shap Kernel" if kernel else "shap Permutation", partial(peer, it.scores), partial(peer, _cheap)),
    )  # fmt: skip


def _kernel(ground: Any, rows: Any, coalitions: int) -> Callable[[Scores], Any]:
    shap: Any = import_module("shap")
    return lambda scores: shap.KernelExplainer(lambda r: scores(r)[:, 1], ground).shap_values(
        rows, nsamples=coalitions, l1_reg=False, silent=True
    )


def _permutation(ground: Any, rows: Any, orders: int) -> Callable[[Scores], Any]:
    shap: Any = import_module("shap")
    masker = shap.maskers.Independent(ground, max_samples=len(ground))
    calls = orders // 2 * (2 * rows.shape[1] + 1)  # it goes through every order there and back
    return lambda scores: (
        shap.PermutationExplainer(lambda r: scores(r)[:, 1], masker)(rows, max_evals=calls, silent=True).values
    )


# -- texts -----------------------------------------------------------------------------------------------------------


def _of_texts() -> Iterator[Question]:
    from examples.tutorials.reviews import BAD, GOOD

    texts, truth = [*BAD, *GOOD], [0] * len(BAD) + [1] * len(GOOD)
    inputs = {"review": REVIEW, "reviews": " ".join([*BAD[:6], *GOOD[-6:]])}
    counts = _counts(texts, truth)
    for name, text in inputs.items():
        yield _limed(f"LIME, {name}, counts, {SAMPLES} samples", pellucid.wrap(counts, Words(), LABELS), counts, text)
    network, reads = _network(texts)
    for name, text in inputs.items():
        yield _limed(f"LIME, {name}, network, {SAMPLES} samples", network, reads, text)
    yield _parted(f"Owen values, reviews, counts, {CALLS} calls", counts, inputs["reviews"])


REVIEW = "The waiter was not friendly and the soup was cold, but we loved the excellent dessert."


def _counts(texts: Any, truth: Any) -> Scores:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(C=10)).fit(texts, truth).predict_proba


def _network(texts: Any) -> tuple[Any, Scores]:
    """The network of the tutorial, untrained, as a handle of token ids and as a function of strings."""
    from benchmarks.reader import Network, Vocabulary

    vocabulary = Vocabulary(texts)
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(0)
        net = Network(len(vocabulary.names)).eval()

    @torch.no_grad()
    def scores(strings: Any) -> Any:
        ids = [torch.tensor(row or [0]) for row in vocabulary(list(strings))["input_ids"]]
        return net(torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)).softmax(1).numpy()

    return pellucid.wrap(net, vocabulary, LABELS), scores


def _shallow(strings: Any) -> Any:
    p = np.array([len(one) for one in strings]) * 1e-4
    return np.stack([1 - p, p], 1)


def _told(
    name: str,
    models: tuple[Any, Any],
    scores: Scores,
    text: str,
    method: Any,
    calls: int,
    peer: tuple[str, Callable[[Scores], Work]],
) -> Question:
    """models: with the scores, and without a model; calls: how many strings are asked for."""
    ours, bare = (lambda one=one: pellucid.explain(one, text, method, target=1) for one in models)
    them, made = peer
    return Question(name, ours, bare, lambda: scores([text] * calls), (them, made(scores), made(_shallow)))


def _limed(name: str, model: Any, scores: Scores, text: str) -> Question:
    from lime.lime_text import LimeTextExplainer

    method = LIME(samples=SAMPLES - 1, regions="vocabulary", design="by_hidden")
    bare = pellucid.wrap(_shallow, Words(), LABELS)

    def peer(what: Scores) -> Work:
        them: Any = LimeTextExplainer(random_state=0)
        return lambda: them.explain_instance(text, what, labels=(1,), num_features=500, num_samples=SAMPLES)

    return _told(name, (model, bare), scores, text, method, SAMPLES, ("lime", peer))


def _parted(name: str, scores: Scores, text: str) -> Question:
    shap: Any = import_module("shap")
    model, bare = (pellucid.wrap(one, Words(mask="..."), LABELS) for one in (scores, _shallow))
    method, masker = OwenShapley(calls=CALLS), shap.maskers.Text(r"\W+")

    def peer(what: Scores) -> Work:
        them: Any = shap.PartitionExplainer(lambda strings: what(strings)[:, 1], masker)
        return lambda: them([text], max_evals=CALLS, silent=True)

    return _told(name, (model, bare), scores, text, method, CALLS, ("shap Partition", peer))


# -- errors ----------------------------------------------------------------------------------------------------------


def _errors() -> Iterator[str]:
    x, y = tumours()
    ten, rows = x[:, :10], x[20 : 20 + SEVERAL, :10]
    scores, table = forest(ten, y), Table.of(ten, background=20)
    model, ground = pellucid.wrap(scores, table, LABELS), table.background.numpy()
    exact = pellucid.explain(model, rows, ExactShapley(), target=1)[0].values.numpy()

    def ours(method: Any) -> Any:
        return pellucid.explain(model, rows, method, target=1)[0].values.numpy()

    def theirs(make: Callable[[Any, Any, int], Callable[[Scores], Any]], count: int, seed: int) -> Any:
        np.random.seed(seed)  # noqa: NPY002 - what shap draws from
        return make(ground, rows, count)(scores)

    for calls in (64, 128, 256):
        mine = [ours(KernelSHAP(samples=calls - 2, seed=seed)) for seed in range(8)]
        yield _error("Kernel SHAP", calls, exact, mine, "shap Kernel", [theirs(_kernel, calls, s) for s in range(8)])
    for orders in (6, 14):
        mine = [ours(PermutationSHAP(samples=orders, seed=seed)) for seed in range(8)]
        them = [theirs(_permutation, orders, seed) for seed in range(8)]
        yield _error("Permutation SHAP", orders * 9 + 2, exact, mine, "shap Permutation", them)
    yield from _lime_errors(x, forest(x, y))


def _lime_errors(x: Any, scores: Scores) -> Iterator[str]:
    from lime.lime_tabular import LimeTabularExplainer

    model, rows = pellucid.wrap(scores, Table.of(x, background=GROUND), LABELS), x[20:24]

    def ours(**how: Any) -> Any:
        return pellucid.explain(model, rows, TabularLIME(**how), target=1)[0].values.numpy()

    def theirs(seed: int) -> Any:
        them, found = LimeTabularExplainer(x, random_state=seed), np.zeros(rows.shape)
        for b, row in enumerate(rows):
            how: Any = {"labels": (1,), "num_features": x.shape[1], "num_samples": SAMPLES}
            for column, weight in them.explain_instance(row, scores, **how).local_exp[1]:
                found[b, column] = weight
        return found

    truth, them = ours(samples=50 * SAMPLES, seed=99), [theirs(seed) for seed in range(8)]
    for design in ("coin", "sobol"):
        mine = [ours(samples=SAMPLES - 1, seed=seed, design=design) for seed in range(8)]
        yield _error(f"LIME, design={design}", SAMPLES, truth, mine, "lime", them)


def _error(what: str, calls: int, truth: Any, mine: list[Any], peer: str, theirs: list[Any]) -> str:
    size = np.sqrt((truth**2).mean())
    ours, them = (float(np.sqrt(((np.stack(each) - truth) ** 2).mean()) / size) for each in (mine, theirs))
    line = f"| {what} | {calls:,} | {ours:.3f} | {peer} | {them:.3f} | {ours / them:.2f} |"
    print(line, file=sys.stderr, flush=True)
    return line


if __name__ == "__main__":
    print("\n".join(tables(int(sys.argv[1]) if sys.argv[1:] else 5)))
