"""Makes one picture anew: a file of anybody's on stdin, a clean picture on stdout. Run as a script by itself.

Started by `opsbot.adapters.darkroom`. It ends after one file; whatever a file breaks, it breaks here only, with little
memory, no network and nothing to read. First a line of JSON goes out (media type, width, height), then the picture.
A file that cannot be taken ends it with status 3 and the reason on stderr.
"""

import io
import json
import resource
import sys
import warnings

from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
# Twice what the largest screens show; decoded it has a quarter of the memory below.
MAX_PIXELS = 40_000_000
MAX_SIDE = 20_000
# What models look at: more is scaled down by the service anyway (OpenAI's guide to vision, November 2026).
SHOWN_SIDE = 1600
MAX_PNG_BYTES = 1_000_000
_JPEG_QUALITY = 85
_MEMORY_BYTES = 1024 * 1024 * 1024
_CPU_S = 20
REFUSED = 3


class Refusal(Exception):
    """The file is none that can be taken; the text says why."""


def develop(raw: bytes) -> tuple[dict[str, str | int], bytes]:
    """Decode the first picture of a file and encode what is seen of it."""
    try:
        with Image.open(io.BytesIO(raw), formats=FORMATS) as opened:
            _check_size(opened.width, opened.height)
            seen = _seen(opened)
    except UnidentifiedImageError as error:
        raise Refusal("its content is none of PNG, JPEG, WebP and GIF, or it is damaged") from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise Refusal("it is damaged or cut off") from error
    except MemoryError as error:
        raise Refusal("it takes too much memory to decode") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Refusal(_too_many()) from error
    media_type, content = _encoded(seen)
    return {"media_type": media_type, "width": seen.width, "height": seen.height}, content


def _check_size(width: int, height: int) -> None:
    """Refuse by the size it claims, before anything is decoded."""
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise Refusal(_too_many())
    if min(width, height) < 1:
        raise Refusal("there is nothing on it")


def _seen(opened: Image.Image) -> Image.Image:
    """Return the pixels as a person sees them: upright, on white, no larger than is shown."""
    opened.seek(0)
    opened.draft("RGB", (SHOWN_SIDE, SHOWN_SIDE))
    upright = ImageOps.exif_transpose(opened)
    has_alpha = upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info
    whole = upright.convert("RGBA" if has_alpha else "RGB")
    whole.thumbnail((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.LANCZOS)
    # Only the pixels go on: a new picture has no metadata.
    clean = Image.new("RGB", whole.size, "white")
    clean.paste(whole, mask=whole.getchannel("A") if has_alpha else None)
    return clean


def _encoded(picture: Image.Image) -> tuple[str, bytes]:
    """Encode without loss where that stays small: letters are read from it."""
    made = io.BytesIO()
    picture.save(made, "PNG", optimize=False)
    if made.tell() <= MAX_PNG_BYTES:
        return "image/png", made.getvalue()
    made = io.BytesIO()
    picture.save(made, "JPEG", quality=_JPEG_QUALITY)
    return "image/jpeg", made.getvalue()


def _too_many() -> str:
    return f"it has more than {MAX_PIXELS // 1_000_000} million pixels, or a side of more than {MAX_SIDE:,}"


def _refuse(event: str, _: tuple[object, ...]) -> None:
    """Decoding needs no network, no file and no other program."""
    if event.startswith(("socket.", "subprocess.", "os.exec", "os.posix_spawn", "os.system", "os.fork", "ctypes.")):
        raise PermissionError(f"{event} is not for decoding")


def confine() -> None:
    """Give up what decoding does not need."""
    sys.addaudithook(_refuse)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S, _CPU_S))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> int:
    """Develop the file on stdin."""
    Image.preinit()  # the decoders are loaded before the limits hold
    Image.init()
    confine()
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        facts, content = develop(sys.stdin.buffer.read())
    except Refusal as error:
        sys.stderr.write(str(error))
        return REFUSED
    sys.stdout.buffer.write(json.dumps(facts).encode() + b"\n" + content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
