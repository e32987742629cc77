"""Secrets by reference: configuration says where a secret is, never what it is."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from opsbot.errors import ConfigError

# A secret is a line, not a document: `cat /dev/zero` as a secret must not fill the memory.
_MAX_BYTES = 64 * 1024
_WAY_OUT = "write `{env: NAME}`, `{file: PATH}` or `{credential: NAME}` (systemd)"
_Text = Annotated[str, Field(min_length=1, max_length=4096)]


class Secret:
    """A secret value. It shows itself only to `reveal`; repr, str and comparison with strings tell nothing."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value; for the adapter that needs it, and for the redactor."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not written anywhere")


class SecretRef(BaseModel):
    """Where a secret is: exactly one of an environment variable, a file, and a systemd credential."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

    env: _Text | None = None
    file: _Text | None = None
    credential: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,200}$")] | None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_literal(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise PydanticCustomError("literal_secret", "a secret may not stand here; " + _WAY_OUT)
        if len([key for key in ("env", "file", "credential") if value.get(key) is not None]) != 1:
            raise PydanticCustomError("secret_reference", "name exactly one place: " + _WAY_OUT)
        return value

    def __str__(self) -> str:
        return next(f"{kind} {value}" for kind, value in self if value is not None)

    def path(self, folder: Path, environ: Mapping[str, str]) -> Path | None:
        """Return the file it is in, or None for an environment variable. A relative path starts at `folder`."""
        if self.file is not None:
            return folder / Path(self.file).expanduser()
        if self.credential is not None:
            return Path(environ.get("CREDENTIALS_DIRECTORY", "")) / self.credential
        return None

    def resolve(self, folder: Path, environ: Mapping[str, str] = os.environ) -> Secret:
        """Fetch the secret, without surrounding white space.

        Raises:
            ConfigError: it is missing, empty or unreadable; one fault, without file and line.
        """
        if self.env is not None:
            value = environ.get(self.env, "")
            missing = f"the environment variable {self.env} is not set; set it or point elsewhere."
        else:
            value, missing = self._from_file(folder, environ)
        if not value.strip():
            raise ConfigError(missing)
        return Secret(value.strip())

    def _from_file(self, folder: Path, environ: Mapping[str, str]) -> tuple[str, str]:
        if self.credential is not None and not environ.get("CREDENTIALS_DIRECTORY"):
            said = f"LoadCredential={self.credential}:PATH in the unit, or use `env` or `file`"
            return "", f"systemd passed no credentials ($CREDENTIALS_DIRECTORY is not set); put {said}."
        path = self.path(folder, environ) or folder
        try:
            with path.open("rb") as file:
                content = file.read(_MAX_BYTES + 1)
        except OSError as error:
            return "", f"{path} cannot be read ({error.strerror}); create it or correct its permissions."
        if len(content) > _MAX_BYTES:
            return "", f"{path} is larger than {_MAX_BYTES // 1024} KiB; that is no secret, check the path."
        return content.decode("utf-8", "replace"), f"{path} is empty; write the secret into it."
