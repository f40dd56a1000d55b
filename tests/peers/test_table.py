"""docs/agreement.md lists exactly the rows that the tests check; it is written again when asked."""

from __future__ import annotations

import os

import pytest
from tests.peers import beside, measured, prepared, rows, sampled, table


def listed() -> list[str]:
    return [one for one in table.PAGE.read_text(encoding="utf-8").splitlines() if one.startswith("|")]


@pytest.mark.peers
@pytest.mark.skipif(not os.environ.get("PELLUCID_WRITE_DOCS"), reason="PELLUCID_WRITE_DOCS is not set")
@pytest.mark.filterwarnings("ignore")
def test_write_the_page():
    table.PAGE.write_text(table.page(), encoding="utf-8")


def test_the_page_lists_the_rows_that_are_tested():
    wanted = [table.key(row) for row in rows.every()]
    wanted += [table.prepared_key(row) for row in prepared.every()]
    wanted += [table.sampled_key(one) for one in sampled.COMPARED]
    wanted += [table.beside_key(one) for one in beside.COMPARED]
    wanted += [table.judged_key(one) for one in measured.COMPARED]
    wanted += [table.reason(i, known) for i, known in enumerate(rows.KNOWN, 1)]
    lines = listed()
    for start in wanted:
        assert [one for one in lines if one.startswith(start)], start
    assert len(lines) == len(wanted) + 2 * (len(rows.PEERS) + 5)  # two lines of head for every table


def test_the_page_knows_no_defect_and_no_difference_without_a_reason():
    text = table.PAGE.read_text(encoding="utf-8")
    assert "**defect**" not in text and "no longer differs" not in text
    for row in rows.every():
        (line,) = [one for one in listed() if one.startswith(table.key(row))]
        assert ("differs: [" in line) == (row.known is not None)


def test_numbers_are_shown_so_that_they_do_not_depend_on_the_machine():
    assert table.power(0.0) == table.power(3e-16) == "< 1e-12"
    assert table.power(1.5e-8) == "< 1e-7" and table.power(0.02) == "< 1e-1"
    assert table.share(0.287) == "29 %" and table.share(1.134) == "113 %" and table.share(5.2e-4) == "0.052 %"
    assert table.share(0.9997) == "100 %" and table.share(0.994) == "99 %"
    assert table.limit(1e-6) == "1e-6"
