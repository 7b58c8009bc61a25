"""Fetching data sets, from a server on this machine."""

import errno
import gzip
import hashlib
import io
import socket
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from minicnn.data import DataError, download, downloads, load_cifar10
from minicnn.data.downloads import FILES, Remote

CONTENT = {f"/set/{remote.name}": gzip.compress(remote.name.encode() * 20_000, mtime=0) for remote in FILES["mnist"]}


class Server(ThreadingHTTPServer):
    """Serves `files` and counts what it is asked for. `lie` adds to the length that it promises."""

    files: dict
    lie = 0


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content) + self.server.lie))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    with Server(("127.0.0.1", 0), Handler) as server:
        server.files, server.asked, server.lie = dict(CONTENT), [], 0
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("no_proxy", "*")
        place = f"http://127.0.0.1:{server.server_port}/set/"
        monkeypatch.setitem(FILES, "mnist", remotes(place))
        yield server
        server.shutdown()
        thread.join()


def remotes(*places):
    """The four files, with what the content above is known by."""
    return tuple(Remote(path.rpartition("/")[2], places, len(content), hashlib.sha256(content).hexdigest())
                 for path, content in CONTENT.items())


def closed_port():
    """A port of this machine at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def names(folder):
    return sorted(path.name for path in folder.rglob("*"))


def test_fetching(server, tmp_path):
    folder = tmp_path / "deep" / "mnist"
    seen = []
    assert download("mnist", str(folder), lambda done, total: seen.append((done, total))) == folder
    assert names(folder) == sorted(path.rpartition("/")[2] for path in CONTENT)
    for path, content in CONTENT.items():
        assert (folder / path.rpartition("/")[2]).read_bytes() == content
    total = sum(map(len, CONTENT.values()))
    assert seen[-1] == (total, total) and seen == sorted(seen) and {t for _, t in seen} == {total}


def test_good_files_are_not_fetched_again_and_bad_ones_are(server, tmp_path):
    download("mnist", tmp_path)
    first, second = FILES["mnist"][:2]
    server.asked.clear()
    download("mnist", tmp_path)
    assert server.asked == []
    damaged = bytearray((tmp_path / first.name).read_bytes())
    damaged[50] ^= 1
    (tmp_path / first.name).write_bytes(damaged)
    (tmp_path / second.name).write_bytes(b"short")
    download("mnist", tmp_path)
    assert server.asked == [f"/set/{first.name}", f"/set/{second.name}"]


def refused(folder, message, name="mnist"):
    with pytest.raises(DataError, match=message) as caught:
        download(name, folder)
    assert len(str(caught.value).splitlines()) <= 2
    return str(caught.value)


def test_another_content_gets_no_name(server, tmp_path):
    path = f"/set/{FILES['mnist'][0].name}"
    server.files[path] = server.files[path][:-1] + b"?"
    text = refused(tmp_path, "sent a file of another content")
    assert text.splitlines()[1] == (f"download {FILES['mnist'][0].name} by hand from "
                                    f"http://127.0.0.1:{server.server_port}{path} into {tmp_path}")
    assert names(tmp_path) == []


@pytest.mark.parametrize(("change", "lie", "message"), [
    (lambda content: content[:100], 0, "sent 100 of [0-9]+ bytes"),
    (lambda content: content[:100], 10_000, "sent 100 of|no connection to 127.0.0.1: "),
    (lambda content: content + bytes(10**6), 0, "sent more than [0-9]+ bytes"),
    (lambda content: b"", 0, "sent 0 of"),
    (lambda content: None, 0, "the server says 404 Not Found"),
])  # fmt: skip
def test_transfers_that_end_early_or_late(server, tmp_path, change, lie, message):
    path = f"/set/{FILES['mnist'][1].name}"
    server.files[path] = change(server.files[path])
    server.lie = lie
    refused(tmp_path, message)
    if lie == 0:
        assert names(tmp_path) == [FILES["mnist"][0].name]  # what came before is kept


def test_the_next_place_is_tried(server, tmp_path, monkeypatch):
    good = FILES["mnist"][0].places[0]
    bad = (f"http://127.0.0.1:{closed_port()}/", good.replace("set", "gone"))
    monkeypatch.setitem(FILES, "mnist", remotes(*bad, good))
    download("mnist", tmp_path)
    assert len(names(tmp_path)) == 4


def test_no_network(tmp_path, monkeypatch):
    place = f"http://127.0.0.1:{closed_port()}/"
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setitem(FILES, "mnist", remotes(place, place.replace("127.0.0.1", "localhost")))
    text = refused(tmp_path / "new", "^no connection to 127.0.0.1: .*refused.*; no connection to localhost: ")
    assert text.splitlines()[1].startswith(f"download train-images-idx3-ubyte.gz by hand from {place}train-images")
    assert names(tmp_path / "new") == []


def test_a_silent_server(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT", 0.2)
    monkeypatch.setenv("no_proxy", "*")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setitem(FILES, "mnist", remotes(f"http://127.0.0.1:{silent.getsockname()[1]}/"))
        refused(tmp_path, "no connection to 127.0.0.1: .*timed out")


def test_folders_that_can_not_be_written(server, tmp_path):
    (tmp_path / "file").touch()
    refused(tmp_path / "file", "file: can't be written")
    refused(tmp_path / "file" / "deeper", "can't be written")


def test_a_full_disk(server, tmp_path, monkeypatch):
    """Not a matter of the network, so no other place is tried."""
    def copy(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(downloads, "_copy", copy)
    assert "by hand" not in refused(tmp_path, f"{tmp_path}: can't be written \\(No space left on device\\)")
    assert names(tmp_path) == []


def test_unknown_sets(tmp_path):
    with pytest.raises(ValueError, match="no data set 'imagenet'; there are mnist, fashion, cifar10"):
        download("imagenet", tmp_path)


def archive(**members):
    """An archive like CIFAR-10's, with six files of 3,073 bytes; a change replaces or leaves out (None) a member."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        content = {name: b"\1" * 3073 for name in downloads.MEMBERS} | {"readme.html": b"hello"} | members
        for name, value in content.items():
            member = value if isinstance(value, tarfile.TarInfo) else tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            if isinstance(value, bytes):
                member.size = len(value)
            if value is not None:
                tar.addfile(member, io.BytesIO(value) if isinstance(value, bytes) else None)
    return packed.getvalue()


@pytest.fixture
def cifar(server, monkeypatch):
    def serve(content):
        server.files["/set/cifar-10-binary.tar.gz"] = content
        place = f"http://127.0.0.1:{server.server_port}/set/"
        known = Remote("cifar-10-binary.tar.gz", (place,), len(content), hashlib.sha256(content).hexdigest())
        monkeypatch.setitem(FILES, "cifar10", (known,))

    monkeypatch.setattr(downloads, "MEMBER_SIZE", 3073)
    serve(archive())
    return serve


def test_the_archive_is_unpacked_and_removed(server, cifar, tmp_path):
    download("cifar10", tmp_path)
    assert names(tmp_path) == sorted(["cifar-10-batches-bin", *downloads.MEMBERS])
    assert load_cifar10(tmp_path).train.arrays[1].tolist() == [1] * 5
    server.asked.clear()
    download("cifar10", tmp_path)
    assert server.asked == []
    (tmp_path / "cifar-10-batches-bin" / "data_batch_2.bin").unlink()
    download("cifar10", tmp_path)
    assert len(server.asked) == 1 and len(names(tmp_path)) == 7


def test_an_archive_that_is_there_needs_no_network(server, cifar, tmp_path):
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(server.files["/set/cifar-10-binary.tar.gz"])
    server.files.clear()
    download("cifar10", tmp_path)
    assert len(names(tmp_path)) == 7


def linked(name):
    link = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return link


@pytest.mark.parametrize("content", [
    archive(**{"data_batch_2.bin": None}), archive(**{"data_batch_2.bin": b"short"}),
    archive(**{"data_batch_2.bin": linked("data_batch_2.bin")}), archive()[:-30], b"no archive",
    gzip.compress(b"no archive"), archive()[:200],
], ids=range(7))  # fmt: skip
def test_archives_that_are_not_what_they_should_be(server, cifar, tmp_path, content):
    cifar(content)
    refused(tmp_path, "cifar-10-binary.tar.gz: (a damaged archive|does not hold all of cifar-10-batches)", "cifar10")


def test_nothing_is_written_outside_the_folder(server, cifar, tmp_path):
    places = ("../../outside", f"{tmp_path}/outside", "cifar-10-batches-bin/../../test_batch.bin",
              "cifar-10-batches-bin/x")  # fmt: skip
    cifar(archive(**{f"stranger {i}": tarfile.TarInfo(place) for i, place in enumerate(places)}))
    download("cifar10", tmp_path / "inner")
    assert names(tmp_path) == sorted(["inner", "cifar-10-batches-bin", *downloads.MEMBERS])


def test_the_table():
    """Every file has places to come from, and each is known by a SHA-256."""
    assert set(FILES) == {"mnist", "fashion", "cifar10"}
    for remote in (remote for remotes_ in FILES.values() for remote in remotes_):
        assert remote.places and all(place.endswith("/") for place in remote.places)
        assert len(bytes.fromhex(remote.sha256)) == 32 and remote.size > 4000
