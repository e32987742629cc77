pytest_plugins = ["tests.postgres", "tests.workbench_fixture"]
