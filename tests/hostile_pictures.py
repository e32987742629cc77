"""Pictures for tests, honest and hostile, made here."""

import io
import random
import struct
import zipfile
import zlib

from PIL import Image, ImageDraw


def picture(width: int = 320, height: int = 180) -> Image.Image:
    """A small screenshot."""
    image = Image.new("RGB", (width, height), (20, 30, 40))
    ImageDraw.Draw(image).text((5, 5), "nginx: failed", fill="white")
    return image


def noise(width: int, height: int) -> Image.Image:
    """A picture that does not get smaller without loss."""
    return Image.frombytes("RGB", (width, height), random.Random(1).randbytes(width * height * 3))


def encoded(image: Image.Image, form: str) -> bytes:
    """The picture as a file."""
    raw = io.BytesIO()
    image.save(raw, form)
    return raw.getvalue()


def truncated(form: str) -> bytes:
    """The first half of a file."""
    raw = encoded(noise(200, 200) if form != "GIF" else noise(200, 200).quantize(200), form)
    return raw[: len(raw) // 2]


def bomb(width: int, height: int) -> bytes:
    """A small PNG that claims to be of this size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(4_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def polyglot() -> bytes:
    """A picture that is an archive as well."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("run.sh", "reboot")
    return encoded(picture(), "PNG") + archive.getvalue()
