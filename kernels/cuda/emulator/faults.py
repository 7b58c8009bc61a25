"""What can be wrong with a kernel: PTX that is not understood, and faults found while it runs."""


class PtxError(ValueError):
    """PTX that the emulator does not know or that is malformed. The message names the line."""

    def __init__(self, message: str, line: int | None = None, text: str = "") -> None:
        super().__init__(message, line, text)  # all three, so that it can be pickled
        self.message, self.line, self.text = message, line, text

    def __str__(self) -> str:
        return f"PTX: {self.message}" if self.line is None else f"PTX line {self.line}: {self.message}: {self.text}"


class KernelFault(RuntimeError):
    """A kernel did something that a GPU forbids, leaves undefined or would hang on.

    kind: what, e.g. "shared race". kernel: its name. thread, block: (x, y, z) of the thread that was caught.
    other_thread, other_block: the thread it got in the way of, where known, else None. address: where, as text
    ("4 bytes at 64 of x", "4 bytes at 128 of shared memory"), or None. line, text: of the PTX. count: all findings of
    this run; the first is the one told.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: str = "",
        kernel: str = "",
        thread: tuple[int, int, int] | None = None,
        block: tuple[int, int, int] | None = None,
        other_thread: tuple[int, int, int] | None = None,
        other_block: tuple[int, int, int] | None = None,
        address: str | None = None,
        line: int | None = None,
        text: str = "",
        count: int = 1,
    ) -> None:
        super().__init__(message)
        self.kind, self.kernel, self.thread, self.block = kind, kernel, thread, block
        self.other_thread, self.other_block, self.address = other_thread, other_block, address
        self.line, self.text, self.count = line, text, count
