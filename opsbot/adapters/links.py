"""Addresses in text of others made inert: nothing is left that chat or a terminal links, but to listed hosts."""

import html
import re

# A scheme with `://`, also with the backslash escapes that Markdown removes later.
_SCHEME = re.compile(r"(?<=[A-Za-z0-9+.\-])\\?:\\?/\\?/")
_SCHEME_NO_SLASHES = re.compile(r"\b(mailto|javascript|data|vbscript|slack|tel|sms|file)\\?:(?=\S)", re.IGNORECASE)
_WWW = re.compile(r"\b(www)\\?\.(?=\S)", re.IGNORECASE)
# `evil.example/path`: some Markdown renderers link it without a scheme. File paths start with a slash and stay.
# Lengths are those of DNS; they also bound the work on hostile text.
_BARE_DOMAIN = re.compile(r"(?<![\w/.\\-])([\w.-]{1,253})\.([A-Za-z]{2,63})(?=(?::\d{1,5})?\\?/\S)")
# Without a login, a backslash or anything else that readers understand differently.
_PLAIN_LINK = re.compile(
    r"(?<![\w:/.@\\-])https://([A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,10}(?::\d{1,5})?)"
    r"(?:[/?#][A-Za-z0-9/?#._~%+=&-]{0,1000})?(?=[\s)\]>,;!'\"]|[.:](?:\s|$)|$)",
    re.ASCII,
)
# `[label]: target` defines a link; `[::1]:8080` is an address and stays.
_DEFINITION = re.compile(r"\]:(?!\d{1,5}(?![\w.@:/]))")
_ENTITY = re.compile(r"&(?=#?\w+;)")
_KEPT = re.compile(r"\x00(\d+)\x00")


def inert(text: str, allowed: frozenset[str] = frozenset()) -> str:
    """Break every address in a text that holds no control characters, but `https` ones to `allowed` hosts.

    Args:
        allowed: Hosts in lower case, with a port where it is not 443.
    """
    kept: list[str] = []

    def keep(match: re.Match[str]) -> str:
        if match.group(1).lower() not in allowed:
            return match.group()
        kept.append(match.group())
        return f"\x00{len(kept) - 1}\x00"

    text = _PLAIN_LINK.sub(keep, text) if allowed else text
    text = _SCHEME.sub("[:]//", text)
    text = _SCHEME_NO_SLASHES.sub(r"\1[:]", text)
    text = _WWW.sub(r"\1[.]", text)
    text = _BARE_DOMAIN.sub(r"\1[.]\2", text)
    return _KEPT.sub(lambda match: kept[int(match.group(1))], text) if kept else text


def inert_markdown(text: str, allowed: frozenset[str] = frozenset()) -> str:
    """Break every address in a Markdown text, and every syntax that would hide one behind a label."""
    return _DEFINITION.sub("] :", inert(text, allowed).replace("](", "] ("))


def without_entities(text: str) -> str:
    """Read the entities of a Markdown text, those of those too: none is left that could become an address later."""
    for _ in range(4):
        decoded = html.unescape(text)
        if decoded == text:
            break
        text = decoded
    return _ENTITY.sub("& ", text)
