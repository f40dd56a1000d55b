"""Explanations in tests: `explanation_snapshot` compares with a stored file, `--pellucid-update` stores anew.

pytest finds it by itself once pellucid is installed. The assertions are in `pellucid.testing`; all of them are
imported when they are used, so that tests which explain nothing wait for nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pellucid.testing.assertions import Snapshot


def pytest_addoption(parser: pytest.Parser) -> None:
    """The flag that stores instead of comparing."""
    group = parser.getgroup("pellucid", "explanations")
    group.addoption(
        "--pellucid-update",
        action="store_true",
        default=False,
        help="store explanations that tests hand to explanation_snapshot, instead of comparing with the stored ones",
    )


@pytest.fixture
def explanation_snapshot(request: pytest.FixtureRequest) -> Snapshot:
    """Compare explanations with those stored beside the test, in `explanations/<test file>/<test>.safetensors`.

        def test_it_still_looks_at_the_cat(explanation_snapshot):
            explanation_snapshot(pellucid.explain(model(), photo, "grad_cam"), correlation=0.9, distance=0.3)

    Fails with what differs; `pytest --pellucid-update` stores what there is now.
    """
    from pellucid.testing.assertions import Snapshot

    file: Path = request.node.path
    update = bool(request.config.getoption("--pellucid-update"))
    return Snapshot(file.parent / "explanations" / file.stem, request.node.name, update)
