"""File formats of event cameras, and events binned to frames. T frames, H W pixels.

t is the time in microseconds, x the column, y the row, p the polarity: 0 darker, 1 brighter.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_service.errors import DataError

Ints = NDArray[np.int64]
ATIS_EVENT_B = 5
ATIS_WRAP_Y = 240  # no row but a mark: the clock of all later events is 2^13 us ahead
ATIS_WRAP_us = 2**13
AEDAT_EVENT_B = 8
PACKET = struct.Struct("<hhiiiiii")  # of AEDAT 3.1: type, source, event size, time offset, ...
POLARITY = 1  # type of a packet
DVS128_SIDE = 128


@dataclass(frozen=True, eq=False)
class Events:
    """The events of a recording, each array [n]."""

    where: str  # names the recording in errors
    t_us: Ints
    x: Ints
    y: Ints
    p: Ints

    def __len__(self) -> int:
        return len(self.t_us)

    def between(self, start_us: int, end_us: int, where: str) -> "Events":
        """The events of a span of time.

        Args:
            start_us: Its start, in microseconds.
            end_us: Its end, in microseconds, which is not part of it.
            where: Names the new recording in errors.
        """
        inside = (self.t_us >= start_us) & (self.t_us < end_us)
        arrays = (a[inside] for a in (self.t_us, self.x, self.y, self.p))
        return Events(where, *arrays)


def frames(events: Events, count: int, size: int) -> Ints:
    """Counts the events of each pixel in equal spans of time.

    Args:
        events: A recording; the spans cover it from its first event to its last.
        count: The number of spans T.
        size: Pixels on a side of the sensor.

    Returns:
        Counts [T, 2, H, W]; channel 0 is darker, channel 1 brighter.

    Raises:
        DataError: There are no events, or one is outside the sensor.
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
    index = ((span * 2 + events.p) * size + events.y) * size + events.x
    counts = np.bincount(index, minlength=count * 2 * size**2)
    return counts.reshape(count, 2, size, size)


def read_atis(content: bytes, where: str) -> Events:
    """Reads N-MNIST's .bin files: 40 bits an event, x (8), y (8), p (1), t (23), big-endian.

    Source: Orchard, Jayawant, Cohen, Thakor, Frontiers in Neuroscience 9:437, 2015.

    Args:
        content: Of the file.
        where: Names the file in errors.

    Raises:
        DataError: The file is damaged.
    """
    _demand_whole(content, ATIS_EVENT_B, where)
    b = np.frombuffer(content, dtype=np.uint8).reshape(-1, ATIS_EVENT_B).astype(np.int64)
    t_us = (b[:, 2] & 0x7F) << 16 | b[:, 3] << 8 | b[:, 4]
    wraps = b[:, 1] == ATIS_WRAP_Y
    t_us += ATIS_WRAP_us * np.cumsum(wraps)
    arrays = (a[~wraps] for a in (t_us, b[:, 0], b[:, 1], b[:, 2] >> 7))
    return Events(where, *arrays)


def read_aedat2(content: bytes, where: str) -> Events:
    """Reads AEDAT 2.0 of a DVS128, as in CIFAR10-DVS: address and time, 32 bits each, big-endian.

    Bit 15 of the address marks an entry that is no event, bits 14..8 and 7..1 are the pixel, bit 0
    is 0 for brighter. The axes are mirrored and swapped, so that images are upright.

    Args:
        content: Of the file.
        where: Names the file in errors.

    Raises:
        DataError: The file is damaged.
    """
    lines = _header(content, where, b"#!AER-DAT2.0")
    body = content[lines:]
    _demand_whole(body, AEDAT_EVENT_B, where)
    entries = np.frombuffer(body, dtype=">u4").reshape(-1, 2).astype(np.int64)
    entries = entries[entries[:, 0] & 0x8000 == 0]
    address = entries[:, 0]
    if (address >> 15).any():
        raise DataError(f"{where}: address {int(address.max())}, a DVS128 has 15 bits")
    last = DVS128_SIDE - 1
    x, y = last - (address >> 8 & 0x7F), last - (address >> 1 & 0x7F)
    return Events(where, entries[:, 1], x, y, 1 - (address & 1))


def read_aedat3(content: bytes, where: str) -> Events:
    """Reads AEDAT 3.1, as in DVS128 Gesture: packets of events, little-endian.

    An event is 32 bits of data (bit 0: valid, bit 1: p, bits 2..16: y, bits 17..31: x) and its
    time. Invalid events and packets of other types are skipped.

    Args:
        content: Of the file.
        where: Names the file in errors.

    Raises:
        DataError: The file is damaged.
    """
    start = _header(content, where, b"#!AER-DAT3.1")
    blocks = list(_packets(content, start, where)) or [np.zeros((0, 2), dtype=np.int64)]
    entries = np.concatenate(blocks)
    entries = entries[entries[:, 0] & 1 == 1]
    data = entries[:, 0]
    return Events(where, entries[:, 1], data >> 17, data >> 2 & 0x7FFF, data >> 1 & 1)


def _packets(content: bytes, start: int, where: str) -> Iterator[Ints]:
    """Data and time [n, 2] of the events of each packet."""
    while start < len(content):
        if len(content) - start < PACKET.size:
            raise DataError(f"{where}: ends within a packet's head")
        kind, _, size, _, overflow, _, number, _ = PACKET.unpack_from(content, start)
        start += PACKET.size
        if size < 1 or number < 0 or overflow < 0 or len(content) - start < size * number:
            raise DataError(
                f"{where}: {number} events of {size} bytes announced, the file has fewer"
            )
        if kind == POLARITY:
            if size != AEDAT_EVENT_B:
                raise DataError(f"{where}: events of {size} bytes, {AEDAT_EVENT_B} are known")
            entries = np.frombuffer(content, "<u4", 2 * number, start).reshape(-1, 2)
            yield entries.astype(np.int64) + np.array([0, overflow << 31])
        start += size * number


def _header(content: bytes, where: str, version: bytes) -> int:
    """The position of the first event, after the lines that start with '#'."""
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
