"""Checked exercises for the lessons in notebooks/.

check    says whether a function is right, and where it can be told, which mistake it is
hint, solution            help, in that order
use, part, compare        put the learner's own function into the library's models
report, questions         progress, and a few quick questions
"""

import importlib

_NAMES = {
    "check": "checking",
    "CheckResult": "checking",
    "NotPassed": "checking",
    "hint": "helping",
    "solution": "helping",
    "questions": "helping",
    "use": "using",
    "part": "using",
    "compare": "using",
    "report": "reporting",
}
__all__ = list(_NAMES)


def __getattr__(name):
    if name in _NAMES:
        return getattr(importlib.import_module(f"speechlib.lessons.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'speechlib.lessons' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
