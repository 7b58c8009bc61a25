"""PyTorch's files: against PyTorch where it is installed, and files written byte by byte."""

import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minicnn as mc
from minicnn.io.torch_file import MAGIC, VERSION

VALUES = np.arange(12, dtype="f4")

# ------------------------------------------------------------------------- a pickle of protocol 2, opcode by opcode

def number(value):
    return b"J" + struct.pack("<i", value) if value < 1 << 31 else b"\x8a\x09" + value.to_bytes(9, "little")


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def bundle(*items):
    return b"(" + b"".join(items) + b"t"


def storage(key="0", length=12, kind="FloatStorage", more=b""):
    kind = f"ctorch\n{kind}\n".encode()
    return bundle(text("storage"), kind, text(key), text("cpu"), number(length), more) + b"Q"


def tensor(held=None, offset=0, shape=(3, 4), strides=(4, 1)):
    sizes = [bundle(*map(number, values)) for values in (shape, strides)]
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + (held or storage()) + number(offset) + sizes[0] + sizes[1] + (
        b"\x89ccollections\nOrderedDict\n)RtR")


def ordered(**items):
    pairs = b"".join(text(key) + value for key, value in items.items())
    return b"ccollections\nOrderedDict\n)R(" + pairs + b"u"


def pickled(content):
    return b"\x80\x02" + content + b"."


def write_zip(path, content, storages=None, order=None, packed=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", packed) as archive:
        archive.writestr("net/data.pkl", pickled(content))
        archive.writestr("net/version", "3\n")
        if order:
            archive.writestr("net/byteorder", order)
        for key, array in ({"0": VALUES} if storages is None else storages).items():
            archive.writestr(f"net/data/{key}", array.tobytes())
    return path


def write_old(path, content, storages=None, magic=MAGIC, machine=b"}"):
    arrays = {"0": VALUES} if storages is None else storages
    path.write_bytes(b"".join([
        pickled(b"\x8a\x0a" + magic.to_bytes(10, "little")), pickled(number(VERSION)), pickled(machine),
        pickled(content), pickled(b"](" + b"".join(map(text, arrays)) + b"e"),
        *[struct.pack("<q", array.size) + array.tobytes() for array in arrays.values()],
    ]))  # fmt: skip
    return path


WRITERS = (write_zip, write_old)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.pth"


# ------------------------------------------------------------------------------------------------------- what is read

@pytest.mark.parametrize("write", WRITERS)
def test_tensors_show_parts_of_their_storage(write, path):
    state = ordered(whole=tensor(), turned=tensor(shape=(4, 3), strides=(1, 4)),
                    part=tensor(offset=5, shape=(2, 2), strides=(4, 1)), one=tensor(offset=7, shape=(), strides=()),
                    none=tensor(shape=(0, 4), strides=(4, 1)))
    found = mc.io.load_state(write(path, state + b"}" + text("_metadata") + b"}sb"))
    assert list(found) == ["whole", "turned", "part", "one", "none"]
    np.testing.assert_array_equal(found["whole"], VALUES.reshape(3, 4))
    np.testing.assert_array_equal(found["turned"], VALUES.reshape(3, 4).T)
    np.testing.assert_array_equal(found["part"], [[5, 6], [9, 10]])
    assert found["one"].shape == () and found["one"] == 7 and found["none"].shape == (0, 4)


@pytest.mark.parametrize(("kind", "dtype"), [("Double", "f8"), ("Half", "f2"), ("Long", "i8"), ("Int", "i4"),
                                             ("Short", "i2"), ("Char", "i1"), ("Byte", "u1"), ("Bool", "?")])
@pytest.mark.parametrize("write", WRITERS)
def test_kinds_of_numbers(write, kind, dtype, path):
    array = np.array([1, 0, 1], dtype)
    state = ordered(x=tensor(storage(length=3, kind=f"{kind}Storage"), shape=(3,), strides=(1,)))
    found = mc.io.load_state(write(path, state, {"0": array}))["x"]
    assert found.dtype == array.dtype and found.tolist() == array.tolist()


def test_big_ends_first(path):
    big = {"0": VALUES.astype(">f4")}
    found = mc.io.load_state(write_zip(path, ordered(x=tensor(), y=tensor()), big, order="big"))
    np.testing.assert_array_equal(found["x"], VALUES.reshape(3, 4))
    assert found["x"].dtype == np.dtype("f4") and np.shares_memory(found["x"], found["y"])


def test_old_files_have_little_ends_first_on_every_machine(path):
    machine = b"}" + text("little_endian") + b"\x89s"
    found = mc.io.load_state(write_old(path, ordered(x=tensor()), machine=machine))
    np.testing.assert_array_equal(found["x"], VALUES.reshape(3, 4))


@pytest.mark.parametrize("place", ["state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("write", WRITERS)
def test_a_checkpoint_of_a_training(write, place, path):
    moments = b"}" + number(0) + b"}" + text("step") + tensor() + b"ss"
    state = b"}" + text("epoch") + number(3) + b"s" + text("optimizer") + moments + b"s" + text(place) + ordered(
        weight=tensor()) + b"s"
    assert list(mc.io.load_state(write(path, state))) == ["weight"]


@pytest.mark.parametrize("write", WRITERS)
def test_it_fits_a_layer(write, path):
    layer = mc.nn.Linear(4, 3, bias=False)
    layer.load_state_dict(mc.io.load_state(write(path, ordered(weight=tensor()))), layout="torch")
    np.testing.assert_array_equal(layer.weight.numpy(), VALUES.reshape(3, 4).T)


# ---------------------------------------------------------------------------------------------------- what is refused

@pytest.mark.parametrize(("content", "message"), [
    (b"cos\nsystem\n" + bundle(text("ls")) + b"R", r"holds a os\.system, expected a state dict|not described"),
    (b"ctorch.nn.modules.linear\nLinear\n)\x81}b", r"holds a torch\.nn\.modules\.linear\.Linear, expected|not desc"),
    (ordered(x=b"cos\nsystem\n" + bundle(text("ls")) + b"R"), r"'x' is no tensor but a os\.system, nor|not described"),
    (ordered(x=b"ctorch\nFloatStorage\n)R"), "would call torch.FloatStorage"),
    (ordered(x=bundle(text("storage"), text("Float"), text("0"), text("cpu"), number(1)) + b"Q"), "of no known type"),
    (ordered(x=text("net") + b"Q"), "no storage"),
    (ordered(x=tensor(storage(more=bundle(text("1"), number(0), number(2))))), "as a part of another"),
    (ordered(x=tensor(storage(length=-1))), "without a length"),
    (ordered(x=tensor(shape=(3,))), "1 sizes and 2 strides"),
    (ordered(x=tensor(offset=-1)), "no size"),
    (ordered(x=tensor(shape=(3, 5))), r"'x': a tensor of shape \(3, 5\) is more than its storage of 12"),
    (ordered(x=tensor(offset=1)), "is more than its storage of 12"),
    (ordered(x=tensor(shape=(1 << 40, 1 << 40), strides=(0, 0))), "is more than its storage of 12"),
    (ordered(x=tensor(storage(length=1 << 40))), "1099511627776|its 4398046511104 bytes"),
    (ordered(x=tensor(storage(key="1"))), "lacks 'net/data/1'|storage '0' is not described"),
    (ordered(x=tensor(storage(kind="DoubleStorage"))), "12 elements of 8|before its 96 bytes"),
    (ordered(x=tensor(storage(length=6, kind="BFloat16Storage"), shape=(6,), strides=(1,))),
     "of the type BFloat16, which is not read; convert|before its|promised"),
    (ordered(x=tensor(storage(key="k" * 200))), "with no key|with no key"),
    (ordered(x=tensor(shape=(1,) * 65, strides=(1,) * 65)), "no size"),
    (ordered(x=tensor(shape=(13,), strides=(0,))), "of one that repeats its numbers"),
    (ordered(x=b"ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\nctorch\nTensor\n)}tR"), "what makes no tensor"),
    (ordered(x=number(3)), "'x' is no tensor but a int, nor is there a state dict under|'0' is not described"),
    (b"}" + number(1) + tensor() + b"s" + text("1") + tensor() + b"s", "two of its names read the same"),
    (b"](" + tensor() + b"e", "holds a list, expected a state dict"),
    (b"ccollections\nOrderedDict\n(](((K\x01tK\x02tetR", "dict key of type tuple"),
    (b"}\x8a\x09" + (1 << 61).to_bytes(9, "little") + tensor() + b"s", "dict key above"),
], ids=range(26))  # fmt: skip
@pytest.mark.parametrize("write", WRITERS)
def test_hostile_files(write, content, message, path):
    with pytest.raises(ValueError, match=message) as caught:
        mc.io.load_state(write(path, content))
    assert str(caught.value).startswith(f"{path}: not a readable PyTorch file (")
    assert len(str(caught.value).splitlines()) == 1


def test_two_storages_of_one_name(path):
    state = ordered(x=tensor(), y=tensor(storage(length=3), shape=(3,), strides=(1,)))
    for write in WRITERS:
        with pytest.raises(ValueError, match="in two ways|3 elements of 4 are promised"):
            mc.io.load_state(write(path, state))


def test_packed_archives_and_others(path):
    with pytest.raises(ValueError, match="is packed or encrypted, which PyTorch's are not"):
        mc.io.load_state(write_zip(path, ordered(x=tensor()), packed=zipfile.ZIP_DEFLATED))
    with pytest.raises(ValueError, match="begins with another number than PyTorch's"):
        mc.io.load_state(write_old(path, ordered(x=tensor()), magic=7))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme", "x")
    with pytest.raises(ValueError, match=r"holds no data\.pkl"):
        mc.io.load_state(path)
    with zipfile.ZipFile(write_zip(path, ordered(x=tensor())), "a") as archive:
        archive.writestr("other/data.pkl", "x")
    with pytest.raises(ValueError, match=r"holds 2 data\.pkl, expected one"):
        mc.io.load_state(path)
    path.write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}")
    with pytest.raises(ValueError, match="neither a zip archive nor a row of pickles"):
        mc.io.load_state(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="not a readable"):
        mc.io.load_state(path)


def peak(write, path, content, storages=None):
    """The bytes asked for, at the most, while a file is read, for each of its own."""
    write(path, content, storages)
    tracemalloc.start()
    try:
        mc.io.load_state(path)
    except ValueError as error:
        assert len(str(error)) < 500
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return most / path.stat().st_size


@pytest.mark.parametrize("content", [
    b"](" + b"".join(bundle(text(f"k{n}"), b"N") for n in range(1000)) + b"eq\x01" + (
        b"ccollections\nOrderedDict\nh\x01\x85R0") * 1000,  # the same list, made into a dict a thousand times
    text("k" * 100_000) + b"q\x01" + (b"(" + text("storage") + b"ctorch\nFloatStorage\nh\x01" + text("cpu") + number(12)
                                     + b"tQ0") * 1000,  # the same key, named a thousand times
], ids=["dicts", "keys"])
@pytest.mark.parametrize("write", WRITERS)
def test_what_is_named_again_and_again_takes_no_more_memory(write, content, path):
    assert peak(write, path, content) < 40


def test_a_member_of_more_bytes_than_there_are(path):
    content = bytearray(write_zip(path, ordered(x=tensor())).read_bytes())
    place = content.rindex(b"PK\x01\x02")  # the last member in the directory: the storage
    for offset in (20, 24):  # its two lengths
        content[place + offset : place + offset + 4] = struct.pack("<I", 2**31 - 1)
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(ValueError, match="is more than the archive can hold"):
        mc.io.load_state(path)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("beside", [
    b"cargparse\nNamespace\n)\x81}" + text("lr") + number(1) + b"sb",  # as torchvision's scripts keep their arguments
    b"cnumpy.core.multiarray\nscalar\n" + bundle(b"cnumpy\ndtype\n)R", text("x")) + b"R",
    b"ccollections\nCounter\n}\x85R",
    b"c__builtin__\nset\n](" + number(1) + b"e\x85R",
    b"ctorch\nSize\n" + bundle(bundle(number(3))) + b"R",
], ids=["namespace", "scalar", "counter", "set", "size"])
@pytest.mark.parametrize("write", WRITERS)
def test_what_lies_beside_the_weights_is_left_out(write, beside, path):
    state = b"}" + text("args") + beside + b"s" + text("state_dict") + b"}s" + text("model") + ordered(
        weight=tensor(), gone=b"N") + b"s"
    assert list(mc.io.load_state(write(path, state))) == ["weight"]


@pytest.mark.parametrize("write", WRITERS)
def test_every_truncation_is_said(write, path):
    state = ordered(x=tensor(), y=tensor(storage("1")))
    whole = write(path, state, {"0": VALUES, "1": VALUES}).read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="not a readable PyTorch file"):
            mc.io.load_state(path)


@settings(max_examples=200, deadline=None)
@given(which=st.integers(0, 1), flips=st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 255)), max_size=4))
def test_damaged_bytes_give_a_value_error_or_arrays_and_nothing_else(which, flips, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "damaged.pth"
    content = bytearray(WRITERS[which](path, ordered(x=tensor(), y=tensor(offset=4, shape=(2,)))).read_bytes())
    for position, value in flips:
        content[position % len(content)] = value
    path.write_bytes(content)
    tracemalloc.start()
    try:
        mc.io.load_state(path)
    except ValueError as error:
        assert len(str(error).splitlines()) == 1
    finally:
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
        tracemalloc.stop()


# ---------------------------------------------------------------------------------------------------- against PyTorch

@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def saved(torch, path, thing, old):
    torch.save(thing, path, _use_new_zipfile_serialization=not old)
    return path


@pytest.mark.parametrize("old", [False, True])
def test_what_pytorch_writes(old, path, torch):
    base = torch.arange(60.0).reshape(10, 6)
    state = {"part": base[2:8:2, 1:5].t(), "half": torch.randn(3).half(), "count": torch.tensor(5),
             "empty": torch.empty(0, 3), "flags": torch.tensor([True, False]),
             "parameter": torch.nn.Parameter(torch.randn(2, 2)),
             "last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)}
    training = {"epoch": 3, "model": state, "optimizer": {"lr": 0.1, "betas": (0.9, 0.99), "state": {0: torch.ones(3)}}}
    for thing in (state, training):
        found = mc.io.load_state(saved(torch, path, thing, old))
        assert list(found) == list(state)
        for name, wanted in state.items():
            np.testing.assert_array_equal(found[name], wanted.detach().numpy(), err_msg=name)
            assert found[name].dtype == wanted.detach().numpy().dtype and found[name].flags.writeable


@pytest.mark.parametrize("old", [False, True])
def test_a_network_of_pytorchs(old, path, torch):
    theirs = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten(),
                                 torch.nn.Linear(16, 2)).eval()
    ours = mc.nn.Sequential(mc.nn.Conv2d(3, 4, 3), mc.nn.BatchNorm2d(4), mc.nn.Flatten(), mc.nn.Linear(16, 2)).eval()
    ours.load_state_dict(mc.io.load_state(saved(torch, path, theirs.state_dict(), old)), layout="torch")
    x = np.random.default_rng(0).standard_normal((2, 4, 4, 3)).astype("f4")
    with torch.no_grad():
        wanted = theirs(torch.tensor(np.moveaxis(x, -1, 1).copy())).numpy()
    np.testing.assert_allclose(ours(mc.tensor(x)).numpy(), wanted, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match=r"holds a torch\.nn\.modules\.container\.Sequential|save model\.state_dict"):
        mc.io.load_state(saved(torch, path, theirs, old))


@pytest.mark.parametrize("old", [False, True])
def test_tensors_with_attributes(old, path, torch):
    parameter, buffer = torch.nn.Parameter(torch.randn(2, 2)), torch.nn.Buffer(torch.randn(3))
    parameter.note = buffer.note = "kept with it"
    found = mc.io.load_state(saved(torch, path, {"parameter": parameter, "buffer": buffer}, old))
    np.testing.assert_array_equal(found["parameter"], parameter.detach().numpy())
    np.testing.assert_array_equal(found["buffer"], buffer.numpy())


@pytest.mark.parametrize("old", [False, True])
def test_numbers_that_are_to_be_negated_are_refused(old, path, torch):
    imaginary = torch.tensor([1 + 2j]).conj().imag
    with pytest.raises(ValueError, match=r"conjugated or negated; save tensor\.clone"):
        mc.io.load_state(saved(torch, path, {"x": imaginary}, old))


def test_a_file_without_checksums(path, torch):
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        saved(torch, path, {"x": torch.arange(3.0)}, False)
    finally:
        torch.serialization.set_crc32_options(before)
    assert mc.io.load_state(path)["x"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("name", ["bfloat16", "complex64"])
def test_numbers_that_are_not_read(old, name, path, torch):
    with pytest.raises(ValueError, match="'x': holds numbers of the type .* which is not read; convert them"):
        mc.io.load_state(saved(torch, path, {"x": torch.ones(3, dtype=getattr(torch, name))}, old))


def test_bytes_written_here_are_what_pytorch_reads(tmp_path, torch):
    """The files above are good ones."""
    for write, more in ((write_zip, b""), (write_old, b"N")):  # old ids say of what other storage this one is a part
        held = storage(more=more)
        content = write(tmp_path / "net.pth", ordered(x=tensor(held), y=tensor(held, 5, (2, 2)))).read_bytes()
        found = torch.load(io.BytesIO(content), weights_only=False)
        assert found["x"].tolist() == VALUES.reshape(3, 4).tolist() and found["y"].tolist() == [[5, 6], [9, 10]]
