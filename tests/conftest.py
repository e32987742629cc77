"""What holds for every test: shared fixtures, and no limit on the time of a single generated example."""

from hypothesis import settings

pytest_plugins = ["tests.postgres", "tests.workbench_fixture"]

# Tests share two processors with others: an example that took long says nothing about the code.
settings.register_profile("opsbot", deadline=None)
settings.load_profile("opsbot")
