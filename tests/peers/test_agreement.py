"""Every row of docs/agreement.md: equal to the peer, or different for a reason that another test proves."""

from __future__ import annotations

import pytest
from tests.peers import beside, measured, prepared, sampled
from tests.peers.rows import TOLERANCE, Row, every

pytest.importorskip("captum")
pytest.importorskip("pytorch_grad_cam")
pytest.importorskip("zennit")
pytest.importorskip("lime")
pytest.importorskip("shap")
pytest.importorskip("torchcam")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]


@pytest.mark.parametrize("row", list(every()), ids=str)
def test_equal_or_known_to_differ(row: Row):
    found = row.measure()
    if row.known is None:
        assert isinstance(found, float) and found <= TOLERANCE
    else:  # once the peer is repaired, the table has to say so
        assert isinstance(found, str) or found > TOLERANCE


@pytest.mark.parametrize("one", sampled.COMPARED, ids=str)
def test_means_of_random_draws_agree_within_their_errors(one: sampled.Sampled):
    furthest, error = one.apart()
    assert furthest <= sampled.LIMIT and error < 0.02


@pytest.mark.parametrize("row", list(prepared.every()), ids=str)
def test_prepared_evaluation_agrees_with_plain(row: prepared.Prepared):
    assert row.measure() <= row.tolerance


@pytest.mark.parametrize("one", measured.COMPARED, ids=str)
def test_metrics_agree_where_theirs_are_sound(one: measured.Judged):
    if not one.there:
        pytest.skip(f"{one.peer} is not installed")
    assert one.apart() <= measured.TOLERANCE


@pytest.mark.parametrize("one", beside.COMPARED, ids=str)
def test_tables_texts_and_formulas_agree(one: beside.Beside):
    if not one.there:
        pytest.skip(f"{one.needs} is not installed")
    assert one.apart() <= beside.TOLERANCE
