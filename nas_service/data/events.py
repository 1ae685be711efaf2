"""Recordings of event cameras, in the formats they are published in, binned to frames.

t time in microseconds, x column, y row, p polarity: 0 darker, 1 brighter.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_service.errors import DataError

Ints = NDArray[np.int64]
ATIS_EVENT_B = 5
ATIS_WRAP_Y = 240  # no row, but a mark: the clock of all that follows is 2^13 us later
ATIS_WRAP_us = 2**13
AEDAT_EVENT_B = 8
PACKET = struct.Struct("<hhiiiiii")  # of AEDAT 3.1: type, source, event size, time offset, ...
POLARITY = 1  # type of a packet
DVS128_SIDE = 128


@dataclass(frozen=True, eq=False)
class Events:
    """Events of a recording, each array [n]; `where` names the recording in errors."""

    where: str
    t_us: Ints
    x: Ints
    y: Ints
    p: Ints

    def __len__(self) -> int:
        return len(self.t_us)

    def between(self, start_us: int, end_us: int, where: str) -> "Events":
        """The events of start <= t < end."""
        inside = (self.t_us >= start_us) & (self.t_us < end_us)
        arrays = (a[inside] for a in (self.t_us, self.x, self.y, self.p))
        return Events(where, *arrays)


def frames(events: Events, count: int, size: int) -> Ints:
    """How often each pixel fired in `count` equal spans of time [T, 2, H, W].

    The spans cover the recording from its first event to its last; channel 0 is darker. DataError
    for a recording without events, or with one outside the sensor.
    """
    if not len(events):
        raise DataError(f"{events.where}: no events")
    outside = (events.x < 0) | (events.x >= size) | (events.y < 0) | (events.y >= size)
    if outside.any():
        i = int(outside.argmax())
        raise DataError(
            f"{events.where}: event {i} at ({events.x[i]}, {events.y[i]}), the sensor has "
            f"{size} x {size} pixels"
        )
    since = events.t_us - events.t_us.min()
    span = since * count // (since.max() + 1)
    place = ((span * 2 + events.p) * size + events.y) * size + events.x
    found = np.bincount(place, minlength=count * 2 * size**2)
    return found.reshape(count, 2, size, size)


def read_atis(content: bytes, where: str) -> Events:
    """N-MNIST's .bin: 40 bits an event: x (8), y (8), p (1), t (23), big-endian.

    Source: Orchard, Jayawant, Cohen, Thakor, Frontiers in Neuroscience 9:437, 2015.
    """
    _demand_whole(content, ATIS_EVENT_B, where)
    b = np.frombuffer(content, dtype=np.uint8).reshape(-1, ATIS_EVENT_B).astype(np.int64)
    t_us = (b[:, 2] & 0x7F) << 16 | b[:, 3] << 8 | b[:, 4]
    wraps = b[:, 1] == ATIS_WRAP_Y
    t_us += ATIS_WRAP_us * np.cumsum(wraps)
    arrays = (a[~wraps] for a in (t_us, b[:, 0], b[:, 1], b[:, 2] >> 7))
    return Events(where, *arrays)


def read_aedat2(content: bytes, where: str) -> Events:
    """AEDAT 2.0 of a DVS128, as in CIFAR10-DVS: address and time, 32 bits each, big-endian.

    Address: bit 15 marks what is no event, bits 14..8 and 7..1 are the pixel, bit 0 is 0 where it
    grew brighter. The pixel's axes are mirrored and swapped, so that the picture stands upright.
    """
    lines = _header(content, where, b"#!AER-DAT2.0")
    body = content[lines:]
    _demand_whole(body, AEDAT_EVENT_B, where)
    words = np.frombuffer(body, dtype=">u4").reshape(-1, 2).astype(np.int64)
    words = words[words[:, 0] & 0x8000 == 0]
    address = words[:, 0]
    if (address >> 15).any():
        raise DataError(f"{where}: address {int(address.max())}, a DVS128 has 15 bits")
    last = DVS128_SIDE - 1
    x, y = last - (address >> 8 & 0x7F), last - (address >> 1 & 0x7F)
    return Events(where, words[:, 1], x, y, 1 - (address & 1))


def read_aedat3(content: bytes, where: str) -> Events:
    """AEDAT 3.1, as in DVS128 Gesture: packets of events, little-endian.

    An event is a word (bit 0: valid, bit 1: p, bits 2..16: y, bits 17..31: x) and its time. What
    is not valid, and packets of other things than pixels, are no events.
    """
    start = _header(content, where, b"#!AER-DAT3.1")
    blocks = list(_packets(content, start, where)) or [np.zeros((0, 2), dtype=np.int64)]
    words = np.concatenate(blocks)
    words = words[words[:, 0] & 1 == 1]
    data = words[:, 0]
    return Events(where, words[:, 1], data >> 17, data >> 2 & 0x7FFF, data >> 1 & 1)


def _packets(content: bytes, start: int, where: str) -> Iterator[Ints]:
    """Word and time [n, 2] of each packet of polarity events."""
    while start < len(content):
        if len(content) - start < PACKET.size:
            raise DataError(f"{where}: ends within a packet's head")
        kind, _, size, _, overflow, _, number, _ = PACKET.unpack_from(content, start)
        start += PACKET.size
        if size < 1 or number < 0 or overflow < 0 or len(content) - start < size * number:
            raise DataError(f"{where}: {number} events of {size} bytes announced, fewer found")
        if kind == POLARITY:
            if size != AEDAT_EVENT_B:
                raise DataError(f"{where}: events of {size} bytes, {AEDAT_EVENT_B} are known")
            words = np.frombuffer(content, "<u4", 2 * number, start).reshape(-1, 2)
            yield words.astype(np.int64) + np.array([0, overflow << 31])
        start += size * number


def _header(content: bytes, where: str, version: bytes) -> int:
    """Where the events begin: behind the lines that start with '#'."""
    if not content.startswith(version):
        raise DataError(f"{where}: does not begin with {version.decode()}")
    start = 0
    while content[start : start + 1] == b"#":
        end = content.find(b"\n", start)
        if end < 0:
            raise DataError(f"{where}: ends within its header")
        line, start = content[start:end], end + 1
        if line.startswith(b"#!END-HEADER"):
            break
    return start


def _demand_whole(content: bytes, event_B: int, where: str) -> None:
    if len(content) % event_B:
        raise DataError(f"{where}: {len(content)} bytes, no multiple of {event_B}: it ends early")
