"""What authors of extensions import to test them: contract suites, run by pytest.

A suite is a class of tests. Subclass it in a test file of yours, give it the one fixture that its
docstring names, and your extension is held to what the built-in ones are held to. Whoever tests
what *uses* a notifier finds a workload system in memory here, which is held to it too.
"""

import pytest

pytest.register_assert_rewrite("navarch.testing.notifier_contract")
pytest.register_assert_rewrite("navarch.testing.provider_contract")

from navarch.notifiers.fake import FakeNotifier, FakeWorkloads, Quirk  # noqa: E402  # as below
from navarch.testing.notifier_contract import NotifierContract  # noqa: E402  # after the hook
from navarch.testing.provider_contract import ProviderContract  # noqa: E402  # after the hook

__all__ = ["FakeNotifier", "FakeWorkloads", "NotifierContract", "ProviderContract", "Quirk"]
