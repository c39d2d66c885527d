"""For all tests: a test that skips where it must not, no windows, no threads beyond the workers."""

import os

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")

IN_CI = os.environ.get("CI") == "true"


def _fail_a_skip(report):
    """In CI everything that tests need is installed, so a skip there is a fault of the set-up."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"a skip is a failure in CI: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        if item.get_closest_marker("gpu") is None:
            _fail_a_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    report = yield
    if IN_CI and report.skipped:
        _fail_a_skip(report)
    return report
