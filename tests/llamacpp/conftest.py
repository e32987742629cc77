"""The server of llama.cpp with a tiny model, started once. `LLAMACPP_PYTHON` names a Python that has the packages."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PYTHON = os.environ.get("LLAMACPP_PYTHON", sys.executable)


@pytest.fixture(scope="session")
def llamacpp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of the running server."""
    known = subprocess.run([PYTHON, "-c", "import gguf, numpy, xllamacpp"], capture_output=True, check=False)
    if known.returncode != 0:
        said = "xllamacpp and gguf are not installed for LLAMACPP_PYTHON; `make test-llamacpp` does all of it"
        if os.environ.get("LLAMACPP_REQUIRED"):
            pytest.fail(said)
        pytest.skip(said)
    model = tmp_path_factory.mktemp("model") / "tiny.gguf"
    subprocess.run([PYTHON, str(HERE / "tiny_model.py"), str(model)], check=True)
    server = subprocess.Popen(
        [PYTHON, str(HERE / "serve.py"), str(model)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), address
        yield f"{address}/v1"
    finally:
        server.kill()
        server.wait()
