"""Conformance checks for methods and for models' handles, and tiny models with known answers.

Nothing here needs a test framework.

    from pellucid.testing import check_method
    check_method(MyMethod())

or, one test per promise:

    @pytest.mark.parametrize("check", checks(MyMethod()), ids=lambda check: check.name)
    def test_promise(check):
        check()

A handle that you made is checked with inputs of yours:

    from pellucid.testing import check_adapter
    check_adapter(pellucid.wrap(model, frame), frame.head())
"""

from __future__ import annotations

from pellucid.testing import tiny as tiny
from pellucid.testing.adapter import check_adapter as check_adapter
from pellucid.testing.assertions import Unexpected as Unexpected
from pellucid.testing.assertions import assert_explanations_close as assert_explanations_close
from pellucid.testing.assertions import assert_mass_in as assert_mass_in
from pellucid.testing.assertions import assert_not_degenerate as assert_not_degenerate
from pellucid.testing.checks import Check as Check
from pellucid.testing.checks import Result as Result
from pellucid.testing.checks import check_method as check_method
from pellucid.testing.checks import checks as checks
from pellucid.testing.checks import lighter as lighter
from pellucid.testing.ensure import NotConforming as NotConforming
from pellucid.testing.promises import Watch as Watch
from pellucid.testing.promises import watched as watched
from pellucid.testing.state import Snapshot as Snapshot
