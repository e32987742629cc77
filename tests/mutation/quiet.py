"""A pytest plugin for runs under mutmut: logs are kept from being rendered, which costs more than the tests."""

import structlog

structlog.configure(
    processors=[structlog.processors.KeyValueRenderer()], logger_factory=structlog.ReturnLoggerFactory()
)
