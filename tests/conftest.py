"""What holds for every test: shared fixtures, and no limit on the time that generated examples take."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.postgres", "tests.workbench_fixture"]

# Tests share two processors with others: an example that took long says nothing about the code.
settings.register_profile("opsbot", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("opsbot")
