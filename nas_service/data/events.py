"""File formats of event cameras, and events binned to frames. T frames, H W pixels.

t is the time in microseconds, x the column, y the row, p the polarity: 0 darker, 1 brighter.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_service.data.faults import kind_of
from nas_service.data.notes import Note
from nas_service.errors import DataError

Ints = NDArray[np.int64]
ATIS_EVENT_B = 5
ATIS_BITS = 23  # of a time stamp
ATIS_WRAP_Y = 240  # no row but a mark: the clock of all later events is 2^13 us ahead
ATIS_WRAP_us = 2**13
AEDAT_EVENT_B = 8
AEDAT2_BITS, AEDAT3_BITS = 32, 31  # of a time stamp
PACKET = struct.Struct("<hhiiiiii")  # of AEDAT 3.1: type, source, event size, time offset, ...
POLARITY = 1  # type of a packet
DVS128_SIDE = 128
MAX_SPAN_us = 2**50  # of a recording: 35 years
MANY = 100  # events of one polarity alone that are noted


@dataclass(frozen=True, eq=False)
class Events:
    """The events of a recording, each array [n]."""

    where: str  # names the recording in errors
    t_us: Ints
    x: Ints
    y: Ints
    p: Ints
    notes: tuple[Note, ...] = ()  # how the file was read where it is unusual

    @classmethod
    def of(
        cls, where: str, t_us: Ints, x: Ints, y: Ints, p: Ints, notes: tuple[Note, ...] = ()
    ) -> "Events":
        """A recording with notes on its order and its polarities.

        Args:
            where: Names the recording in errors.
            t_us: Times [n], in microseconds.
            x: Columns [n].
            y: Rows [n].
            p: Polarities [n]: 0 and 1, or -1 and 1.
            notes: How the file was read.

        Returns:
            The recording, with polarities 0 and 1.

        Raises:
            DataError: There are other polarities, whose meaning is not certain.
        """
        polarity, coding = _polarity(p, where)
        return cls(where, t_us, x, y, polarity, (*notes, *coding, *_order(t_us)))

    def __len__(self) -> int:
        return len(self.t_us)

    def between(self, start_us: int, end_us: int, where: str) -> "Events":
        """The events of a span of time, without the notes on the file.

        Args:
            start_us: Its start, in microseconds.
            end_us: Its end, in microseconds, which is not part of it.
            where: Names the new recording in errors.

        Returns:
            The recording of this span.
        """
        inside = (self.t_us >= start_us) & (self.t_us < end_us)
        t_us, x, y, p = (a[inside] for a in (self.t_us, self.x, self.y, self.p))
        return Events(where, t_us, x, y, p)


def _polarity(p: Ints, where: str) -> tuple[Ints, tuple[Note, ...]]:
    """Polarities as 0 and 1, with a note where they were coded in another way."""
    low, high = int(p.min(initial=1)), int(p.max(initial=0))
    if not (low >= 0 and high <= 1) and not (low == -1 and high <= 1 and p.all()):
        values = ", ".join(map(str, np.unique(p)[:4]))
        raise DataError(
            f"{where}: polarities {values}: 0 (darker) and 1 (brighter), or -1 and 1, are possible"
        )
    if low == -1:
        return (p + 1) // 2, (Note("polarity -1 is read as darker", int((p == -1).sum()), "event"),)
    if low == high and len(p) >= MANY:
        name = ("darker", "brighter")[low]
        return p, (
            Note(f"all events are {name}: is the polarity coded otherwise?", len(p), "event"),
        )
    return p, ()


def _order(t_us: Ints) -> tuple[Note, ...]:
    """A note on events that are earlier than one before them in the file."""
    count = int((t_us < np.maximum.accumulate(t_us)).sum()) if len(t_us) else 0
    text = "earlier than an event before it, counted in the frame of its own time"
    return (Note(text, count, "event"),) if count else ()


def clock_rounds(stamps: Ints, bits: int) -> Ints:
    """How often a clock has started again at 0.

    It has where a time stamp falls by more than half of the clock's range; an event from before the
    restart may follow, whose stamp rises by as much.

    Args:
        stamps: Time stamps [n] in the order of the file.
        bits: Bits of a time stamp.

    Returns:
        The restarts before each event [n].
    """
    step, half = np.diff(stamps, prepend=stamps[:1]), 1 << (bits - 1)
    rounds = np.cumsum((step < -half).astype(np.int64) - (step > half))
    return rounds - np.minimum.accumulate(np.minimum(rounds, 0))


def _restarts(rounds: Ints, bits: int) -> tuple[Note, ...]:
    most = int(rounds.max(initial=0))
    text = f"time stamps start again at 0 after 2^{bits} us, they are continued"
    return (Note(text, most, "restart"),) if most else ()


def _demand_on_sensor(events: Events, size: int) -> None:
    outside = (events.x < 0) | (events.x >= size) | (events.y < 0) | (events.y >= size)
    if outside.any():
        i = int(outside.argmax())
        raise DataError(
            f"{events.where}: {int(outside.sum())} of {len(events)} events lie off the sensor, "
            f"which has {size} x {size} pixels, the first is event {i} at "
            f"({events.x[i]}, {events.y[i]})"
        )


def frames(events: Events, count: int, size: int) -> Ints:
    """Counts the events of each pixel in equal spans of time.

    Args:
        events: A recording; the spans cover it from its first event to its last.
        count: The number of spans T.
        size: Pixels on a side of the sensor.

    Returns:
        Counts [T, 2, H, W]; channel 0 is darker, channel 1 brighter.

    Raises:
        DataError: There are no events, or they lie off the sensor, have other polarities than 0 and
            1, or span more than MAX_SPAN_us.
    """
    if not len(events):
        raise DataError(f"{events.where}: no events")
    _demand_on_sensor(events, size)
    if events.p.min() < 0 or events.p.max() > 1:
        raise DataError(
            f"{events.where}: polarities other than 0 and 1: `Events.of` reads -1 and 1"
        )
    since = events.t_us - events.t_us.min()
    if since.max() > MAX_SPAN_us:
        raise DataError(
            f"{events.where}: {int(since.max())} us from the first event to the last, at most "
            f"{MAX_SPAN_us} are possible: the time stamps are damaged"
        )
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

    Returns:
        Time in microseconds, pixel and polarity of each event [n].

    Raises:
        DataError: The file is damaged.
    """
    _demand_whole(content, ATIS_EVENT_B, where)
    b = np.frombuffer(content, dtype=np.uint8).reshape(-1, ATIS_EVENT_B).astype(np.int64)
    marks = b[:, 1] == ATIS_WRAP_Y
    ahead, b = ATIS_WRAP_us * np.cumsum(marks)[~marks], b[~marks]
    stamps = (b[:, 2] & 0x7F) << 16 | b[:, 3] << 8 | b[:, 4]
    rounds = clock_rounds(stamps, ATIS_BITS)
    t_us = stamps + ahead + (rounds << ATIS_BITS)
    return Events.of(where, t_us, b[:, 0], b[:, 1], b[:, 2] >> 7, _restarts(rounds, ATIS_BITS))


def read_aedat2(content: bytes, where: str) -> Events:
    """Reads AEDAT 2.0 of a DVS128, as in CIFAR10-DVS: address and time, 32 bits each, big-endian.

    Bit 15 of the address marks an entry that is no event, bits 14..8 and 7..1 are the pixel, bit 0
    is 0 for brighter. The axes are mirrored and swapped, so that images are upright.

    Args:
        content: Of the file.
        where: Names the file in errors.

    Returns:
        Time in microseconds, pixel and polarity of each event [n].

    Raises:
        DataError: The file is damaged.
    """
    lines = _header(content, where, b"#!AER-DAT2.0")
    body = content[lines:]
    _demand_whole(body, AEDAT_EVENT_B, where)
    entries = np.frombuffer(body, dtype=">u4").reshape(-1, 2).astype(np.int64)
    entries = entries[entries[:, 0] & 0x8000 == 0]
    address = entries[:, 0]
    if (beyond := address >> 15 > 0).any():
        raise DataError(
            f"{where}: {int(beyond.sum())} of {len(address)} events have an address of more than "
            f"15 bits, such as {int(address.max())}: no DVS128 recorded them"
        )
    last = DVS128_SIDE - 1
    x, y = last - (address >> 8 & 0x7F), last - (address >> 1 & 0x7F)
    rounds = clock_rounds(entries[:, 1], AEDAT2_BITS)
    t_us = entries[:, 1] + (rounds << AEDAT2_BITS)
    return Events.of(where, t_us, x, y, 1 - (address & 1), _restarts(rounds, AEDAT2_BITS))


def read_aedat3(content: bytes, where: str) -> Events:
    """Reads AEDAT 3.1, as in DVS128 Gesture: packets of events, little-endian.

    An event is 32 bits of data (bit 0: valid, bit 1: p, bits 2..16: y, bits 17..31: x) and its
    time, of which the packet's head has the higher bits. Invalid events and packets of other types
    are skipped.

    Args:
        content: Of the file.
        where: Names the file in errors.

    Returns:
        Time in microseconds, pixel and polarity of each event [n].

    Raises:
        DataError: The file is damaged.
    """
    start = _header(content, where, b"#!AER-DAT3.1")
    blocks = list(_packets(content, start, where)) or [np.zeros((0, 3), dtype=np.int64)]
    entries = np.concatenate(blocks)
    data, stamps, higher = entries[entries[:, 0] & 1 == 1].T
    if (beyond := stamps >> AEDAT3_BITS > 0).any():
        raise DataError(
            f"{where}: {int(beyond.sum())} of {len(stamps)} time stamps are negative, the first is "
            f"that of event {int(beyond.argmax())}: the file is damaged"
        )
    rounds = np.maximum(higher, higher[:1] + clock_rounds(stamps, AEDAT3_BITS))
    t_us = stamps + (rounds << AEDAT3_BITS)
    notes = _restarts(rounds - higher, AEDAT3_BITS)
    return Events.of(where, t_us, data >> 17, data >> 2 & 0x7FFF, data >> 1 & 1, notes)


def _packets(content: bytes, start: int, where: str) -> Iterator[Ints]:
    """Data, time stamp and higher bits of the time [n, 3] of the events of each packet."""
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
            yield np.pad(entries.astype(np.int64), ((0, 0), (0, 1)), constant_values=overflow)
        start += size * number


def _header(content: bytes, where: str, version: bytes) -> int:
    """The position of the first event, after the lines that start with '#'."""
    if not content.startswith(version):
        raise DataError(f"{where}: {kind_of(content)} that does not begin with {version.decode()}")
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
