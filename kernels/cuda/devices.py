"""The devices of this process, opened when they are first used."""

from threading import Lock
from typing import Any

from .launcher import Device

_opened: dict[str, Device] = {}
_lock = Lock()  # a device is opened once, by whichever thread comes first


def open_device(name: str) -> Device:
    """The device of a full name, "emulator" or "cuda:0". ValueError for another."""
    with _lock:
        if name not in _opened:
            _opened[name] = Device(_backend(name))
        return _opened[name]


def _backend(name: str) -> Any:
    if name == "emulator":
        from .emulated import Emulated

        return Emulated()
    kind, _, number = name.partition(":")
    if kind != "cuda" or not number.isdecimal():
        raise ValueError(f"open_device: expected 'emulator', 'cuda:0', 'cuda:1', ..., got {name!r}")
    from .driver import Driver

    return Driver(int(number))
