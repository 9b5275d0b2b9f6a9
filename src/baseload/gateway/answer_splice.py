"""Puts the energy of a request into its answer; every other byte stays."""

from __future__ import annotations

import msgspec

from .bodies import rewritten

TOP_LEVEL = msgspec.json.Decoder(dict[str, msgspec.Raw])
SPACES = b" \t\r\n"


def energy_comment(energy: bytes) -> bytes:
    """The comment of a stream that tells the ``energy`` object (JSON): clients that do not know it
    skip it.
    """
    return b": energy " + energy.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n\n"


def with_energy(body: bytes, energy: bytes) -> bytes:
    """The JSON object ``body`` with the field ``energy`` (JSON) at its end, beside ``usage``, every
    other byte as it was. An ``energy`` that is there already is replaced; then spaces between
    fields are lost. What is no JSON object comes back as it is.
    """
    stripped = body.rstrip(SPACES)
    if not stripped.endswith(b"}") or not stripped.lstrip(SPACES).startswith(b"{"):
        return body
    try:
        top = TOP_LEVEL.decode(stripped)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return body
    if "energy" in top:
        return rewritten(body, {"energy": msgspec.Raw(energy)})
    comma = b"," if top else b""
    return stripped[:-1] + comma + b'"energy":' + energy + b"}" + body[len(stripped) :]


def with_response_energy(payload: bytes, energy: bytes) -> bytes:
    """The payload of a Responses stream's last event, the energy beside the usage of its response.
    What has no response comes back as it is.
    """
    try:
        response = TOP_LEVEL.decode(payload).get("response")
    except (msgspec.DecodeError, ValueError, RecursionError):
        return payload
    if response is None:
        return payload
    inner = bytes(response)
    return payload.replace(inner, with_energy(inner, energy), 1)
