"""Recordings of events: each format written by hand, and what must not be in one."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_service.data.events import Events, frames, read_aedat2, read_aedat3, read_atis
from nas_service.errors import DataError


def atis(events):
    """Bytes of (t, x, y, p): x, y, p and 23 bits of t."""
    return b"".join(bytes([x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255]) for t, x, y, p in events)


def aedat2(events, header=b"#!AER-DAT2.0\r\n# a comment\r\n"):
    """As a DVS128 has it: mirrored, axes swapped, 0 is brighter."""
    words = [
        struct.pack(">II", (127 - x) << 8 | (127 - y) << 1 | 1 - p, t) for t, x, y, p in events
    ]
    return header + b"".join(words)


HEADER_3 = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#!END-HEADER\r\n"


def packet(events, kind=1, overflow=0, valid=1):
    head = struct.pack("<hhiiiiii", kind, 0, 8, 4, overflow, len(events), len(events), len(events))
    words = [struct.pack("<II", x << 17 | y << 2 | p << 1 | valid, t) for t, x, y, p in events]
    return head + b"".join(words)


def aedat3(events):
    half = len(events) // 2
    return HEADER_3 + packet(events[:half]) + packet(events[half:])


FORMATS = [(atis, read_atis), (aedat2, read_aedat2), (aedat3, read_aedat3)]
EVENT = st.tuples(
    st.integers(0, 2**22), st.integers(0, 127), st.integers(0, 127), st.integers(0, 1)
)


@pytest.mark.parametrize(("write", "read"), FORMATS)
@given(events=st.lists(EVENT, max_size=20))
def test_written_events_are_read_back(write, read, events):
    result = read(write(events), "x")
    rows = np.stack([result.t_us, result.x, result.y, result.p], axis=1)
    assert [tuple(row) for row in rows.tolist()] == events


def test_one_event_of_each_format_in_bytes():
    """x = 3, y = 5, p = 1, t = 0x012345."""
    result = read_atis(bytes([3, 5, 0x81, 0x23, 0x45]), "x")
    assert (result.x[0], result.y[0], result.p[0], result.t_us[0]) == (3, 5, 1, 0x12345)
    address = (127 - 3) << 8 | (127 - 5) << 1
    body = address.to_bytes(4, "big") + (0x12345).to_bytes(4, "big")
    result = read_aedat2(b"#!AER-DAT2.0\n" + body, "x")
    assert (result.x[0], result.y[0], result.p[0], result.t_us[0]) == (3, 5, 1, 0x12345)
    word = 3 << 17 | 5 << 2 | 1 << 1 | 1
    head = struct.pack("<hhiiiiii", 1, 0, 8, 4, 2, 1, 1, 1)
    body = head + word.to_bytes(4, "little") + (0x12345).to_bytes(4, "little")
    result = read_aedat3(b"#!AER-DAT3.1\n#!END-HEADER\n" + body, "x")
    assert (result.x[0], result.y[0], result.p[0]) == (3, 5, 1)
    assert result.t_us[0] == 2 * 2**31 + 0x12345


def test_marks_in_the_stream_are_no_events():
    later = read_atis(atis([(10, 1, 1, 0), (0, 0, 240, 0), (20, 2, 2, 1)]), "x")
    assert later.t_us.tolist() == [10, 20 + 2**13]
    assert later.x.tolist() == [1, 2]
    special = struct.pack(">II", 0x8000 | 5, 7)
    assert len(read_aedat2(aedat2([(1, 2, 3, 0)]) + special, "x")) == 1
    both = HEADER_3 + packet([(1, 2, 3, 0)]) + packet([(4, 5, 6, 1)], kind=0)
    assert read_aedat3(both, "x").x.tolist() == [2]
    assert len(read_aedat3(HEADER_3 + packet([(1, 2, 3, 0)], valid=0), "x")) == 0


@pytest.mark.parametrize(
    ("read", "content", "message"),
    [
        (read_atis, bytes(7), "7 bytes, no multiple of 5"),
        (read_aedat2, aedat2([(1, 2, 3, 0)])[:-1], "7 bytes, no multiple of 8"),
        (read_aedat2, HEADER_3, "does not begin with #!AER-DAT2.0"),
        (read_aedat2, b"#!AER-DAT2.0\n# never", "ends within its header"),
        (
            read_aedat2,
            aedat2([]) + struct.pack(">II", 1 << 20, 0),
            "address of more than 15 bits, such as 1048576",
        ),
        (read_aedat3, b"", "does not begin with #!AER-DAT3.1"),
        (read_aedat3, aedat3([(1, 2, 3, 0)])[:-1], "1 events of 8 bytes announced"),
        (read_aedat3, HEADER_3 + bytes(27), "within a packet's head"),
        (read_aedat3, HEADER_3 + struct.pack("<hhiiiiii", 1, 0, 8, 4, 0, -1, -1, 0), "-1 events"),
        (read_aedat3, HEADER_3 + struct.pack("<hhiiiiii", 1, 0, 0, 4, 0, 9, 9, 9), "0 bytes"),
        (read_aedat3, HEADER_3 + struct.pack("<hhiiiiii", 1, 0, 1, 4, 0, 1, 1, 1) + b"x", "1 byte"),
    ],
)
def test_damaged_recordings_are_named(read, content, message):
    with pytest.raises(DataError, match=message) as caught:
        read(content, "some.file")
    assert "some.file" in str(caught.value)


def events(*rows):
    return Events("x", *(np.array(column, dtype=np.int64) for column in zip(*rows, strict=True)))


def test_frames_by_hand():
    """Ten microseconds in two frames: 0..4 and 5..9."""
    result = frames(events((100, 0, 1, 0), (104, 0, 1, 0), (105, 2, 0, 1), (109, 0, 1, 0)), 2, 3)
    assert result.shape == (2, 2, 3, 3)
    assert result.sum() == 4
    assert result[0, 0, 1, 0] == 2  # [frame, polarity, row, column]
    assert result[1, 1, 0, 2] == 1
    assert result[1, 0, 1, 0] == 1


@given(st.lists(EVENT, min_size=1, max_size=50), st.integers(1, 8))
def test_every_event_is_in_exactly_one_frame_in_order(rows, count):
    result = frames(events(*rows), count, 128)
    assert result.sum() == len(rows)
    assert (result.sum(0) == frames(events(*rows), 1, 128)[0]).all()
    first = min(rows)
    assert result[0, first[3], first[2], first[1]] >= 1


def test_recordings_that_are_not_sorted():
    shuffled = frames(events((9, 0, 0, 0), (0, 1, 0, 0)), 2, 2)
    assert (shuffled == frames(events((0, 1, 0, 0), (9, 0, 0, 0)), 2, 2)).all()


@pytest.mark.parametrize(("x", "y"), [(34, 0), (0, 34), (-1, 0)])
def test_events_outside_the_sensor(x, y):
    message = rf"1 of 2 events lie off the sensor, which has 34 x 34 .* event 1 at \({x}, {y}\)"
    with pytest.raises(DataError, match=message):
        frames(events((0, 0, 0, 0), (1, x, y, 0)), 1, 34)


def clock(read, *stamps):
    """What a reader makes of these time stamps, as they are in the file."""
    write = {read_atis: atis, read_aedat2: aedat2, read_aedat3: aedat3}[read]
    return read(write([(t, 1, 1, i % 2) for i, t in enumerate(stamps)]), "x")


CLOCKS = [(read_atis, 23), (read_aedat2, 32), (read_aedat3, 31)]


@pytest.mark.parametrize(("read", "bits"), CLOCKS)
def test_clocks_that_start_again_are_continued_and_noted(read, bits):
    top = 1 << bits
    result = clock(read, top - 10, top - 1, 0, 5, top // 2, top - 1, 3)
    expected = [-10, -1, 0, 5, top // 2, top - 1, top + 3]
    assert (result.t_us - top).tolist() == expected
    (note,) = result.notes
    assert note.text == f"time stamps start again at 0 after 2^{bits} us, they are continued"
    assert (note.count, note.unit) == (2, "restart")


@pytest.mark.parametrize(("read", "bits"), CLOCKS)
def test_an_event_from_before_the_restart_of_a_clock(read, bits):
    top = 1 << bits
    result = clock(read, top - 9, 2, top - 1, 3)
    assert (result.t_us - top).tolist() == [-9, 2, -1, 3]
    assert [note.count for note in result.notes] == [1, 1]  # a restart, an event that goes back


@pytest.mark.parametrize(("read", "bits"), CLOCKS)
def test_a_late_first_jump_is_no_restart(read, bits):
    late = (1 << bits) - 5
    assert clock(read, 0, late, late + 1).t_us.tolist() == [0, late, late + 1]


@pytest.mark.parametrize(("read", "bits"), CLOCKS)
def test_events_that_go_back_in_time_are_noted(read, bits):
    result = clock(read, 100, 50, 60, 100, 99, 200)
    assert result.t_us.tolist() == [100, 50, 60, 100, 99, 200]
    (note,) = result.notes
    assert (note.count, note.unit) == (3, "event")
    assert note.text == "earlier than an event before it, counted in the frame of its own time"
    assert clock(read, 1, 2, 2, 3).notes == ()


@given(st.lists(st.integers(0, 2**21), min_size=1, max_size=30), st.sampled_from(CLOCKS))
def test_a_clock_of_few_bits_shows_the_true_time(steps, clock_of):
    """True times that never stand still for half of the clock's range are recovered."""
    read, bits = clock_of
    times = np.cumsum(steps)
    stamps = (times % (1 << bits)).tolist()
    if read is not read_aedat3 or times.max() < 1 << bits:
        assert (clock(read, *stamps).t_us == times).all()


def test_a_packet_that_counts_the_restarts_needs_no_note():
    """AEDAT 3.1 has the higher bits of the time in the head of each packet."""
    top = 1 << 31
    content = HEADER_3 + packet([(top - 1, 1, 1, 0)]) + packet([(4, 1, 1, 1)], overflow=1)
    result = read_aedat3(content, "x")
    assert (result.t_us.tolist(), result.notes) == ([top - 1, top + 4], ())


def test_polarities_of_another_coding_are_read_and_noted():
    columns = ([0, 1, 2], [0, 0, 0], [0, 0, 0])
    arrays = [np.array(column, dtype=np.int64) for column in columns]
    result = Events.of("x", *arrays, np.array([-1, 1, -1]))
    assert result.p.tolist() == [0, 1, 0]
    (note,) = result.notes
    assert (note.text, note.count) == ("polarity -1 is read as darker", 2)
    assert Events.of("x", *arrays, np.array([0, 1, 0])).notes == ()
    for uncertain in ([-1, 0, 1], [1, 2, 1], [0, 255, 0]):
        with pytest.raises(DataError, match=r"x: polarities .* or -1 and 1, are possible"):
            Events.of("x", *arrays, np.array(uncertain))


def test_frames_take_no_other_polarity():
    with pytest.raises(DataError, match="x: polarities other than 0 and 1"):
        frames(events((0, 1, 1, -1), (1, 1, 1, 1)), 1, 4)


def test_polarities_that_are_all_the_same_are_noted():
    """A writer that packs -1 and 1 into one bit makes both of them 1."""
    rows = [(t, 1, 1, -1 & 1) for t in range(100)]
    (note,) = read_atis(atis(rows), "x").notes
    assert (note.text, note.count) == (
        "all events are brighter: is the polarity coded otherwise?",
        100,
    )
    assert read_atis(atis(rows[:99]), "x").notes == ()


def test_times_that_no_recording_spans():
    content = HEADER_3 + packet([(1, 1, 1, 0)]) + packet([(1, 1, 1, 1)], overflow=2**31 - 1)
    with pytest.raises(DataError, match="us from the first event to the last, at most"):
        frames(read_aedat3(content, "x"), 64, 128)
    with pytest.raises(DataError, match=r"1 of 2 time stamps are negative, .* event 1: the file"):
        read_aedat3(HEADER_3 + packet([(1, 1, 1, 0), (2**31, 1, 1, 0)]), "x")


def test_an_empty_recording_is_refused():
    with pytest.raises(DataError, match="x: no events"):
        frames(read_atis(b"", "x"), 3, 34)
