"""Whether a refusal is about the pictures of a request, and whether the model can look at none or only not at these."""

import re

from opsbot.adapters.openai_errors import Said

# OpenAI and Azure ("image_url is only supported by certain models"), vLLM ("is not a multimodal model", "At most 0
# image(s) may be provided"), llama.cpp ("image input is not supported", as 500 until 2025), Ollama ("does not support
# image input", "missing data required for image input"), OpenRouter ("No endpoints found that support image input",
# 404), strict text-only servers ("Input should be a valid string", "unknown variant `image_url`"); November 2026.
_ABOUT = re.compile(r"image|picture|vision|multi-?modal|input should be a valid string|content must be a string", re.I)
# These say that this one file is at fault, not that pictures are.
_THIS_ONE = re.compile(
    r"invalid[ _]image|(?:unsupported|bad|corrupt\w*) image|image (?:is )?too|too large|"
    r"could not (?:process|decode|read)|failed to (?:decode|load|process)|invalid base64|content[ _]policy",
    re.I,
)
_STATUSES = (400, 404, 413, 415, 422, 500, 501)
PART_TYPES = ("image_url", "input_image")


def is_about_pictures(said: Said) -> bool:
    """Whether a refused request may succeed without its pictures."""
    text = f"{said.code} {said.parameter} {said.message}"
    return said.status in _STATUSES and bool(_ABOUT.search(text) or re.search(r"content\W+\d+\W", said.parameter))


def is_about_these(said: Said) -> bool:
    """Whether it is these pictures that were refused, so that others may be taken."""
    return bool(_THIS_ONE.search(f"{said.code} {said.message}"))
