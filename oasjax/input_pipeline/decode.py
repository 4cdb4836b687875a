"""From the bytes of a JPEG or PNG file to an RGB array; what is no whole picture is refused."""

import re
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from oasjax.errors import UserError

# A header can promise any size: at 3 bytes per pixel this many pixels are half a gibibyte.
MAX_PIXELS = 178_956_970

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"
_JPEG_SIGNATURE = b"\xff\xd8\xff"
# Inside a scan FF 00 is a stuffed byte, FF D0 .. FF D7 are restarts and FF FF is fill: none ends
# it.
_JPEG_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])", re.DOTALL)
_EOI = 0xD9
_SOS = 0xDA
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def decode_image(data: bytes, name: str) -> UInt8[np.ndarray, "h w 3"]:
    """Decode the bytes of a JPEG or PNG file to RGB.

    The EXIF orientation is applied; grey, CMYK and 16-bit pictures become 8-bit RGB; transparency
    is dropped.

    Args:
        data: the whole file.
        name: how to call the picture in an error.

    Raises:
        UserError: empty, neither JPEG nor PNG, cut off, broken, or of more than MAX_PIXELS pixels
            (found from the header, before anything is decoded).
    """
    image_size(data, name)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:
        image = None
    if image is None:
        raise UserError(f"{name} is broken: it cannot be decoded. Fetch it again or remove it.")
    return image


def image_size(data: bytes, name: str) -> tuple[int, int]:
    """Width and height by the header of a JPEG or PNG file, before its EXIF orientation is applied.

    Nothing is decoded; what `decode_image` refuses without decoding is refused here.

    Args:
        data: the whole file.
        name: how to call the picture in an error.

    Raises:
        UserError: empty, neither JPEG nor PNG, cut off, or of more than MAX_PIXELS pixels.
    """
    if data.startswith(_JPEG_SIGNATURE):
        width, height = _jpeg_size(data, name)
    elif data.startswith(_PNG_SIGNATURE):
        width, height = _png_size(data, name)
    else:
        raise UserError(
            f"{name} is not a JPEG or PNG picture (it starts with {data[:12]!r}). "
            "Replace it or convert it to JPEG or PNG."
        )
    if width * height > MAX_PIXELS:
        raise UserError(
            f"{name} is {width} x {height} pixels by its header, more than the {MAX_PIXELS} that "
            "are accepted. Scale it down."
        )
    return width, height


def read_bytes(path: str | Path) -> bytes:
    """The bytes of a picture file. Raises UserError naming the file when there is none or no right
    to it."""
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise UserError(f"Picture not found: {path}. Check the path.") from None
    except OSError as error:
        raise UserError(f"Cannot read the picture {path}: {error.strerror}.") from None


def read_image(path: str | Path) -> UInt8[np.ndarray, "h w 3"]:
    """Read a JPEG or PNG file as RGB; UserError naming the file where that is impossible."""
    return decode_image(read_bytes(path), str(path))


def _truncated(name: str) -> UserError:
    return UserError(f"{name} is truncated: the end of the picture is missing. Fetch it again or remove it.")


def _jpeg_size(data: bytes, name: str) -> tuple[int, int]:
    """Width and height from the frame header; sees to it that the end marker is there.

    libjpeg fills the missing part of a cut file with grey and reports success, so the decoder
    cannot be asked. The walk jumps over segments by their length: a thumbnail inside one has an end
    marker of its own.
    """
    # Within a scan FF D9 can only be the end, so where the file ends with it the scan is spared.
    ending = (_EOI, _SOS) if data.endswith(b"\xff\xd9") else (_EOI,)
    size = None
    position = 2
    while marker := _JPEG_MARKER.search(data, position):
        if marker[1][0] in ending and size is not None:
            return size
        segment = data[marker.end() : marker.end() + 7]
        if marker[1][0] in _FRAME_HEADERS:
            size = int.from_bytes(segment[5:7]), int.from_bytes(segment[3:5])
        position = marker.end() + int.from_bytes(segment[:2])
    raise _truncated(name)


def _png_size(data: bytes, name: str) -> tuple[int, int]:
    """Width and height from the first chunk; the end chunk must be there."""
    if _PNG_END not in data:
        raise _truncated(name)
    return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
