"""WordLlama's static word vectors, from its own wheel or a folder of the operator's: the network is never asked."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from opsbot.errors import ConfigError

# As wordllama 0.4.0.post1 names them below its cache folder.
FILES = ("weights/l2_supercat_256.safetensors", "tokenizers/l2_supercat_tokenizer_config.json")


def wheel_folder() -> Path | None:
    """Return the folder of the installed package, None if it is not installed."""
    spec = find_spec("wordllama")
    return Path(spec.origin).parent if spec is not None and spec.origin is not None else None


def check_weights(folder: Path | None = None) -> Path:
    """Return the folder to load from: this one, else the wheel's.

    Raises:
        ConfigError: the package or its files are not there. They are never downloaded.
    """
    wheel = wheel_folder()
    if wheel is None:
        raise ConfigError("wordllama is not installed; `pip install 'opsbot[router]'`, or choose another backend.")
    chosen = folder or wheel
    missing = [name for name in FILES if not (chosen / name).is_file()]
    if missing:
        raise ConfigError(
            f"{chosen / missing[0]} is not there, and nothing is downloaded. Put {' and '.join(FILES)} of the "
            "wordllama wheel into a folder and name that as `runbooks.weights`."
        )
    return chosen


def load_weights(folder: Path | None = None) -> Any:
    """Load them (0.8 s of CPU). Raises ConfigError."""
    chosen = check_weights(folder)
    # 0.4.0 looks for its tokenizer beside the weights it would download; this folder has both.
    return import_module("wordllama").WordLlama.load(cache_dir=chosen, disable_download=True)
