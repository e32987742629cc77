"""A look at the configured model before anybody asks it something."""

import re

import httpx2
from openai import APIStatusError, AsyncOpenAI, NotFoundError, OpenAIError

from opsbot.adapters.openai_endpoint import ModelSettings
from opsbot.adapters.openai_errors import translated

# openai-python 3.51 source, November 2026: the model's names and the day they are switched off.
_SHUTDOWN = {
    "2026-10-23": r"gpt-3\.5-turbo|gpt-4|gpt-4-turbo|gpt-4\.1-nano|o1|o3-mini|o4-mini",
    "2026-12-11": r"gpt-5|gpt-5-mini|gpt-5-nano|o3",
    "2027-01-14": r"gpt-4o|gpt-4o-mini|gpt-4\.1|gpt-4\.1-mini",
    "2027-04-01": r"gpt-5\.1|gpt-5\.4-nano",
}


async def findings(client: AsyncOpenAI, settings: ModelSettings) -> list[str]:
    """Return what is wrong or unsure about the configured model, in sentences for the operator."""
    found = []
    if day := shutdown_day(settings.model):
        found.append(f"The model {settings.model} is switched off on {day}; choose another `model`.")
    try:
        await client.models.retrieve(settings.model)
    except NotFoundError as error:
        found.append(_not_found(error, settings))
    except (OpenAIError, httpx2.HTTPError, OSError, ValueError) as error:
        found.append(str(translated(error, settings).error))
    return found


def shutdown_day(model: str) -> str | None:
    """Return the day a model is switched off, if one was announced."""
    for day, names in _SHUTDOWN.items():
        if re.fullmatch(rf"({names})(-\d{{4}}-\d{{2}}-\d{{2}})?", model):
            return day
    return None


def _not_found(error: APIStatusError, settings: ModelSettings) -> str:
    if error.code == "model_not_found" or settings.model in error.message:
        return f"The service at {settings.host} has no model {settings.model!r}; correct `model`."
    return f"The service at {settings.host} cannot say whether it has {settings.model!r}: it has no list of models."
