"""What the conformance tests share: one thread, and methods defined in a test that are forgotten after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from pellucid.core.method import CATALOGUE


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """The models are too small for more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def catalogue() -> Iterator[None]:
    """Methods that a test defines are known while it runs."""
    before = dict(CATALOGUE)
    yield
    CATALOGUE.clear()
    CATALOGUE.update(before)
