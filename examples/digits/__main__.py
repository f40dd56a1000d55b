"""`python -m examples.digits`: train, explain, and write one report and one picture."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import pellucid
from examples.digits.data import Digits, read
from examples.digits.explain import chosen, explained, methods, surrogate
from examples.digits.model import Classifier

SHOWN = (0, 3, 4, 7, 8)


def main(given: list[str] | None = None) -> None:
    """The whole example."""
    parser = argparse.ArgumentParser(prog="python -m examples.digits", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("digits-report"), help="folder to write to (%(default)s)")
    parser.add_argument("--epochs", type=int, default=12, help="passes over the training digits (%(default)s)")
    parser.add_argument("--samples", type=int, default=1000, help="coalitions of LIME and SHAP (%(default)s)")
    parser.add_argument("--training", type=int, default=4000, help="digits to train with (%(default)s)")
    asked = parser.parse_args(given)

    training, held_out = read()
    training = training.first(asked.training)
    start = time.perf_counter()
    classifier = Classifier.trained(training, asked.epochs)
    trained = time.perf_counter()
    right = classifier.right(held_out)
    print(f"trained on {len(training.labels)} digits in {trained - start:.0f} s")
    print(f"reads {100 * right:.1f} % of {len(held_out.labels)} held-out digits right")

    places = chosen(classifier, held_out, SHOWN)
    explanations = explained(classifier, held_out, places, methods(training, asked.samples))
    tree = surrogate(classifier, training)
    print(f"explained {len(places)} digits in {time.perf_counter() - trained:.0f} s")
    print(f"global surrogate: {tree.fidelity}")
    for path in written(explanations, tree, asked.out, right, held_out):
        print(path)


def written(
    explanations: pellucid.Explanations, tree: object, folder: Path, right: float, held_out: Digits
) -> tuple[Path, Path]:
    """The report with the tree in it, and the picture of all maps."""
    folder.mkdir(parents=True, exist_ok=True)
    title = f"Digits: a Keras net that reads {100 * right:.1f} % of {len(held_out.labels)} held-out digits right"
    beside = {"Global surrogate: questions about the ink at single pixels, row·column": pellucid.views.surrogate(tree)}
    page = pellucid.report(explanations, folder / "report.html", title=title, overwrite=True, figures=beside)
    return page, pellucid.panel(explanations, size=144).save(folder / "digits.png", overwrite=True)


if __name__ == "__main__":
    main()
