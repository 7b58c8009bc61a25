"""Pickles read as data: what may be built, and that nothing else is."""

import os
import pickle
import struct
import time
import tracemalloc
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minicnn.io.restricted_pickle import NUMPY_ARRAYS, load_restricted

ARRAYS = {
    "bytes": np.arange(12, dtype=np.uint8).reshape(3, 4),
    "columns": np.asfortranarray(np.arange(12, dtype=np.float32).reshape(3, 4)),
    "big": np.arange(5, dtype=">i8"),
    "half": np.ones((2, 0, 3), np.float16),
    "flags": np.array([True, False]),
    "single": np.array(1.5),
}


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_plain_things_and_arrays_come_back(protocol):
    plain = {b"a": [1, -2, 2**40, 2**70, 1.5, None, True], "b": (b"x\xff", "grün", (), (1,), [], {})}
    assert load_restricted(pickle.dumps(plain, protocol), NUMPY_ARRAYS) == plain
    found = load_restricted(pickle.dumps(ARRAYS, protocol), NUMPY_ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype.newbyteorder("=") and found[name].shape == array.shape
        np.testing.assert_array_equal(found[name], array)


def test_lists_that_share_and_hold_themselves():
    inner = [1, 2]
    outer = [inner, inner]
    outer.append(outer)
    found = load_restricted(pickle.dumps(outer, 2), {})
    assert found[0] is found[1] and found[2] is found


def python_2_pickle(array):
    """{'data': array, 'labels': [6, 9]} as Python 2 and NumPy 1 wrote it: text and content are Python 2's str."""

    def text(content):
        short = len(content) < 256
        return (b"U" + bytes([len(content)]) if short else b"T" + struct.pack("<i", len(content))) + content

    return (
        b"\x80\x02}q\x01("
        + text(b"data") + b"q\x02"
        + b"cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85" + text(b"b") + b"\x87Rq\x05"
        + b"(K\x01" + b"".join(b"M" + struct.pack("<H", size) for size in array.shape) + b"\x86"
        + b"cnumpy\ndtype\nq\x06" + text(b"u1") + b"K\x00K\x01\x87Rq\x07"
        + b"(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        + b"\x89" + text(array.tobytes()) + b"tb"
        + text(b"labels") + b"q\x08]q\x09(K\x06K\x09eu."
    )  # fmt: skip


def test_what_python_2_wrote():
    array = np.arange(600, dtype=np.int64).astype(np.uint8).reshape(2, 300)
    content = python_2_pickle(array)
    oracle = pickle.loads(content, encoding="bytes")  # the pickle is a good one
    np.testing.assert_array_equal(oracle[b"data"], array)
    found = load_restricted(content, NUMPY_ARRAYS)
    assert found[b"labels"] == [6, 9]
    np.testing.assert_array_equal(found[b"data"], array)


def test_a_file_is_read_and_named(tmp_path):
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps([1, 2]))
    assert load_restricted(path, {}) == load_restricted(str(path), {}) == [1, 2]
    path.write_bytes(pickle.dumps(os.system))
    with pytest.raises(ValueError, match=f"^{path}: would build 'posix.system', expected arrays only$"):
        load_restricted(path, NUMPY_ARRAYS)
    with pytest.raises(FileNotFoundError, match="gone: no such file"):
        load_restricted(tmp_path / "gone", {})
    with pytest.raises(FileNotFoundError, match="not a file"):
        load_restricted(tmp_path, {})


def test_the_table_is_the_callers():
    def joined(first, second):
        return f"{first}+{second}"

    assert load_restricted(b"cx\ny\n(I1\nI2\ntR.", {("x", "y"): joined}) == "1+2"
    content = pickle.dumps(OrderedDict(a=1), 2)
    assert load_restricted(content, {("collections", "OrderedDict"): dict}) == {"a": 1}
    with pytest.raises(ValueError, match="would build 'collections.OrderedDict'"):
        load_restricted(content, NUMPY_ARRAYS)


class Calls:
    """Pickles itself as a call."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("thing", [
    Calls(os.system, ("touch /nonexistent/never",)), Calls(eval, ("1",)), Calls(print, ("!",)),
    Calls(getattr, ("", "join")), Calls(np.load, ("x",)), np.float64(1), np.array([1, "a"], object),
    np.array(["text"]), np.array([(1, 2)], "i4,i4"), np.datetime64("2020-01-01"), 1j, {1, 2}, frozenset([1]),
    bytearray(b"a"), slice(1, 2), Ellipsis, int, pickle.Unpickler, np.ma.masked_array([1]),
], ids=lambda thing: type(thing).__name__)  # fmt: skip
def test_nothing_else_is_built(thing, protocol, capsys):
    with pytest.raises(ValueError, match="^pickle: ") as caught:
        load_restricted(pickle.dumps(thing, protocol), NUMPY_ARRAYS)
    assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 300
    assert capsys.readouterr() == ("", "")


NDARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
DTYPE = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR"


def state(shape, dtype=DTYPE, content=b"U\x04abcd"):
    return NDARRAY + b"(K\x01" + shape + dtype + b"\x89" + content + b"tb."


HOSTILE = [
    (state(b"(K\x05t"), r"promises an array \(5,\) of u1, 5 bytes, and has 4"),
    (state(b"(J\xff\xff\xff\x3fJ\xff\xff\xff\x3fJ\xff\xff\xff\x3ft"), "bytes, and has 4"),
    (state(b"(J\xfe\xff\xff\xffJ\xfe\xff\xff\xfft"), "impossible shape, expected at most 64 sizes"),
    (state(b"(" + b"K\x01" * 65 + b"t"), "impossible shape"),
    (state(b"(F2.0\nI2\nt"), "shape"),
    (state(b"]K\x04a"), "shape"),
    (state(b"(K\x04t", dtype=b"cnumpy\ndtype\n(U\x02O8K\x00K\x01tR"), "dtype b?'O8'"),
    (state(b"(K\x04t", dtype=b"cnumpy\ndtype\n(U\x02V4K\x00K\x01tR"), "dtype"),
    (state(b"(K\x04t", dtype=b"N"), "array of objects"),
    (state(b"(K\x04t", content=b"]"), "array of objects"),
    (NDARRAY + b"(K\x01tb.", "not a readable pickle"),
    (NDARRAY + b"}b.", "not a readable pickle"),
    (b"cnumpy\nndarray\n)R.", "would call numpy.ndarray"),
    (b"cnumpy\nndarray\n}b.", "state of a Global"),
    (b"cnumpy\ndtype\n}U\x08__dict__Nsb.", "state of a Global"),
    (b"}}b.", "state of a dict"),
    (b"I1\n)R.", "would call"),
    (b"cos\nsystem\n(U\x04truetR.", "would build 'os.system'"),
    (b"(U\x04truei__builtin__\neval\n.", "would take the step INST"),
    (b"\x82\x01.", "would take the step EXT1"),
    (b"U\x01aQ.", "would take the step BINPERSID"),
    (b"Pname\n.", "would take the step PERSID"),
    (b"\x80\x05\x97.", "would take the step NEXT_BUFFER"),
    (b"\x80\x04(I1\n\x91.", "would take the step FROZENSET"),
    (b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x03\x00\x00\x00zip\x00tR.", "not a readable pickle|would encode"),
    (b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x05\x00\x00\x00utf-7tR.", "would encode something else"),
    (b"}(I1\nI2\ntI3\ns.", "dict key of type tuple"),
    (b"", "not a readable pickle"),
    (b"\x80\x02", "not a readable pickle"),
    (b".", "not a readable pickle"),
    (b"0.", "would take the step POP|not a readable pickle"),
    (b"K\x01K\x02.", "not a readable pickle"),
    (b"e.", "not a readable pickle"),
    (b"I1\na.", "not a readable pickle"),
    (b"}(K\x01e.", "not a readable pickle"),
    (b"g5\n.", "not a readable pickle"),
    (b"PK\x03\x04", "not a readable pickle|would take"),
    (b"\x80\x02T\xff\xff\xff\x7fabc.", "not a readable pickle"),
    (b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"abc.", "not a readable pickle"),
]


@pytest.mark.parametrize(("content", "message"), HOSTILE)
def test_hostile_pickles(content, message):
    with pytest.raises(ValueError, match=message) as caught:
        load_restricted(content, NUMPY_ARRAYS)
    assert str(caught.value).startswith("pickle: ") and len(str(caught.value).splitlines()) == 1


def test_a_huge_memo_index_or_frame_costs_nothing():
    """Both make Python's own reader allocate what they claim."""
    tracemalloc.start()
    assert load_restricted(b"\x80\x02K\x05r\xff\xff\xff\x7f.", {}) == 5
    assert load_restricted(b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"K\x05.", {}) == 5
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_bytes_can_not_be_multiplied():
    text = b"X" + struct.pack("<I", 100_000) + b"a" * 100_000
    latin = b"X\x06\x00\x00\x00latin1"
    again = b"c_codecs\nencode\n(h\x01" + latin + b"tR"
    content = b"\x80\x02](" + text + b"q\x01" + again * 1000 + b"e."
    with pytest.raises(ValueError, match="would build more than its [0-9]+ bytes can hold"):
        load_restricted(content, NUMPY_ARRAYS)


def test_steps_are_counted():
    with pytest.raises(ValueError, match="takes more than 2000000 steps"):
        load_restricted(b"\x80\x02(" + b"}" * 2_000_001 + b"t.", {})


NESTED = b"K\x01" + b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(50))


@pytest.mark.parametrize(("content", "message"), [
    (b"}" + NESTED + b"K\x01s.", "dict key of type tuple"),
    (state(NESTED), "an impossible shape"),
    (state(b"(K\x04t", dtype=b"cnumpy\ndtype\n(" + NESTED + b"tR"), "dtype of type tuple"),
    (DTYPE + b"(K\x03" + NESTED + b"tb.", "byte order of type tuple"),
    (NESTED + b"U\x01a\x93.", "what has no name"),
    (NESTED + NESTED + b"R.", "would call"),
], ids=range(6))  # fmt: skip
def test_nested_tuples_take_no_time(content, message):
    """A tuple of a tuple, each twice, fifty deep: its hash, or its text, would visit 2**50 of them."""
    began = time.perf_counter()
    with pytest.raises(ValueError, match=message):
        load_restricted(b"\x80\x04" + content, NUMPY_ARRAYS)
    assert time.perf_counter() - began < 5


def test_huge_sizes_are_not_multiplied():
    size = b"\x8b" + struct.pack("<i", 2_000_000) + b"\x7f" * 2_000_000  # a number of 16 million bits
    began = time.perf_counter()
    with pytest.raises(ValueError, match="an impossible shape"):
        load_restricted(b"\x80\x02" + state(b"(" + size * 4 + b"t"), NUMPY_ARRAYS)
    assert time.perf_counter() - began < 5


def test_deep_nesting_is_no_recursion():
    found = load_restricted(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".", {})
    assert len(found) == 1
    while found:  # taken apart by hand, for the sake of printing it in a failure
        found = found.pop()


def test_every_truncation_is_said():
    whole = pickle.dumps(ARRAYS, 2)
    for length in range(len(whole)):
        with pytest.raises(ValueError, match="^pickle: "):
            load_restricted(whole[:length], NUMPY_ARRAYS)


WHOLE = [pickle.dumps({b"data": ARRAYS["bytes"], b"labels": [1, 2, 300]}, 2), python_2_pickle(ARRAYS["bytes"]),
         pickle.dumps({b"data": ARRAYS["bytes"], b"labels": [1, 2, 300]}, 4)]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(which=st.integers(0, 2), flips=st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 255)), max_size=4))
def test_damaged_bytes_give_a_value_error_or_a_result_and_nothing_else(which, flips):
    content = bytearray(WHOLE[which])
    for position, value in flips:
        content[position % len(content)] = value
    tracemalloc.start()
    try:
        load_restricted(bytes(content), NUMPY_ARRAYS)
    except ValueError as error:
        assert len(str(error).splitlines()) == 1
    finally:
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
        tracemalloc.stop()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_rubbish(content):
    try:
        load_restricted(content, NUMPY_ARRAYS)
    except ValueError as error:
        assert len(str(error).splitlines()) == 1
