"""What kernels find wrong with their arguments: wrong indices, for the most part.

The processor could ask the GPU about them before it goes on, but would wait for all that was started before, and the
GPU then for it. So a kernel looks at an index where it uses it: it passes over a wrong one - nothing outside of an
array is ever read or written - and notes it in a word of the device's memory. The processor looks at that word where it
waits in any case, which is where somebody reads an array, and raises the error there.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np

from .memory import DeviceArray, to_device

if TYPE_CHECKING:
    from .launcher import Device

#: The word where nothing is wrong.
NOTHING = 2**64 - 1

#: Checks that may await their answer. Each keeps the array alive that it is about.
MOST_ASKED = 64

Error = Callable[[int], Exception]


class Faults:
    """The faults of one device.

    The word holds the number of a check (its upper half) and that of the wrong element (the lower); kernels lower it by
    atomic_min, so that what is left is the first wrong element of the first check, whichever thread came first.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self._word: DeviceArray | None = None
        self._asked: dict[int, Error] = {}
        self._next = 0
        self._lock = RLock()

    def expect(self, *errors: Error) -> tuple[Any, ...]:
        """The arguments of a kernel that is launched next: the word, and the number of a check for each error that it
        may find. error(element): what to raise then."""
        with self._lock:
            if len(self._asked) + len(errors) > MOST_ASKED:
                self.raise_found()
            if self._word is None:
                self._word = to_device(np.array([NOTHING], np.uint64), self.device)
            numbers = [(self._next + i) % 2**31 for i in range(len(errors))]
            self._next += len(errors)
            self._asked.update(zip(numbers, errors, strict=True))
        return self._word, *(number << 32 for number in numbers)

    def raise_found(self) -> None:
        """Raise what was found since the last time; wait for the kernels that look, if there are any."""
        with self._lock:
            if not self._asked or self._word is None:
                return
            found = np.empty(1, np.uint64)
            self.device.backend.read(found, self._word.address)
            asked, self._asked = self._asked, {}
            if found[0] != NOTHING:
                self.device.write(self._word.address, np.array([NOTHING], np.uint64))
        if found[0] != NOTHING:
            number, element = divmod(int(found[0]), 2**32)
            raise asked.get(number, _of_another_thread)(element)


def _of_another_thread(element: int) -> Exception:
    """Another thread had announced the check, and not yet launched its kernel, when this one read an array."""
    return IndexError(f"a kernel that another thread launched found a wrong index, number {element} of its array")
