"""How a result was made, written into the result: an XMP packet, which all five output formats hold.

EXIF has no place for free fields that every format keeps, and text chunks are PNG's alone. XMP packets lie in the file
uncompressed and between marks, so that reading them back needs no decoder, and no XML parser for untrusted files.

Namespaces: `xmp` (Adobe XMP specification, part 1), `Iptc4xmpExt` (IPTC photo metadata standard), and one for settings.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Mapping

Setting = str | int | float | bool | None
"""A value of a setting; None means that it is left out."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_MAX_VALUE_CHARS = 500
_MAX_SETTINGS = 20  # with values of full length, escaped, they fill one JPEG segment
_NAMESPACE = "urn:vlmir:settings:1"
# A network that was trained on photos redraws what is lost, and IPTC has a word for that.
_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
_OPENING = b"<x:xmpmeta"
_ENDING = b"</x:xmpmeta>"
_MAX_PACKET_BYTES = 64 * 1024
_ATTRIBUTE = re.compile(r'vlmir:([a-z][a-z0-9_]*)="([^"<]*)"')


def software_name(settings: Mapping[str, Setting]) -> str:
    """Give the words for "made with" fields; the setting `version` is part of them."""
    version = settings.get("version")
    return "VLMIR" if version is None else f"VLMIR {_text(version)}"


def pack_settings(settings: Mapping[str, Setting]) -> bytes:
    """Give the XMP packet that tells how a photo was restored.

    Args:
        settings: By names such as "model", "steps", "seed", "version". Nothing is added to them: what must not be told,
            such as the path of a file, must not be in here.

    Returns:
        The packet; it always fits one JPEG segment.

    Raises:
        ValueError: A name is not in lower_snake_case, or there are too many.
    """
    if len(settings) > _MAX_SETTINGS:
        raise ValueError(f"there are {len(settings)} settings; expected at most {_MAX_SETTINGS}")
    attributes = []
    for name, value in settings.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"the setting is called {name!r}; expected lower_snake_case, at most 40 characters")
        if value is not None:
            attributes.append(f' vlmir:{name}="{html.escape(_text(value))}"')
    software = html.escape(software_name(settings))
    packet = (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
        ' xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        f' xmlns:vlmir="{_NAMESPACE}" xmp:CreatorTool="{software}" Iptc4xmpExt:DigitalSourceType="{_SOURCE_TYPE}"'
        f'{"".join(attributes)}/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )
    return packet.encode()


def read_settings(data: bytes) -> dict[str, str]:
    """Give the settings that are written in a result, as text.

    Args:
        data: A whole file of any of the output formats.

    Returns:
        By name; empty where the file has none. Anyone can write such a packet: it is a note, no proof.
    """
    start = data.find(_OPENING)
    end = data.find(_ENDING, start, start + _MAX_PACKET_BYTES) if start >= 0 else -1
    if end < 0:
        return {}
    packet = data[start:end].decode("utf-8", "replace")
    if _NAMESPACE not in packet:
        return {}
    return {name: html.unescape(value) for name, value in _ATTRIBUTE.findall(packet)}


def _text(value: Setting) -> str:
    """Give a value in words that XML can hold, without line breaks and not endlessly long."""
    words = str(value).lower() if isinstance(value, bool) else str(value)
    kept = (" " if unicodedata.category(char) in ("Cc", "Cs", "Cn") else char for char in words[:_MAX_VALUE_CHARS])
    return "".join(kept).strip()
