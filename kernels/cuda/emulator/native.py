"""LLVM's intermediate code -> machine code that can be called; compiled code is kept on disk if a folder is given."""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from .parser import Entry
from .translate import NAME, Translation, translate

# Of the passes over the code, and of the choice of machine instructions: from 0, fast to compile, to 3. Checked kernels
# spend their time in the checks.
_FAST, _CHECKED = (2, 2), (1, 0)


def _machine(level: int) -> Any:
    """This processor, for LLVM."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=level, jit=True
    )


class Native:
    """A compiled entry: the addresses of its function and of its variables, and what the scheduler must know."""

    def __init__(self, code: bytes, translation: Translation, symbols: Mapping[str, int]) -> None:
        for name, address in symbols.items():
            llvm.add_symbol(name, address)
        self.translation = translation
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine(0))
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        self.step = self._engine.get_function_address(NAME)
        self.variables = {name: self._engine.get_global_value_address(name) for name in translation.variables}


def compile_entry(
    entry: Entry, ptx: str, checked: bool, symbols: Mapping[str, int], cache_folder: Path | None
) -> Native:
    """Translate and compile, or take what an earlier process left in the folder for this PTX on such a processor."""
    if cache_folder is None:
        translation = translate(entry, checked)
        return Native(_compile(translation.code, checked), translation, symbols)
    stem = cache_folder / _key(ptx, checked)
    found = _read(stem)
    if found is None:
        translation = translate(entry, checked)
        found = _compile(translation.code, checked), translation
        _write(stem, *found)
    return Native(*found, symbols)


def _compile(code: str, checked: bool) -> bytes:
    module = llvm.parse_assembly(code)
    module.verify()
    passes_level, machine_level = _CHECKED if checked else _FAST
    machine = _machine(machine_level)
    options = llvm.create_pipeline_tuning_options(speed_level=passes_level)
    options.slp_vectorization = not checked  # a register tile's multiply-adds, many at once
    passes = llvm.create_pass_builder(machine, options)
    passes.getModulePassManager().run(module, passes)
    return machine.emit_object(module)


@cache
def _own_source() -> bytes:
    """A digest of this package: another version of it compiles anew."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.digest()


def _key(ptx: str, checked: bool) -> str:
    machine = llvm.get_host_cpu_name() + llvm.get_host_cpu_features().flatten()
    parts = (ptx, str(checked), llvmlite.__version__, machine)
    return hashlib.sha256("\0".join(parts).encode() + _own_source()).hexdigest()[:32]


def _read(stem: Path) -> tuple[bytes, Translation] | None:
    try:
        code = stem.with_suffix(".o").read_bytes()
        fields = json.loads(stem.with_suffix(".json").read_text())
    except (OSError, ValueError):
        return None
    if fields.pop("digest", None) != hashlib.sha256(code).hexdigest():
        return None
    fields["stops"] = [tuple(stop) for stop in fields["stops"]]
    return code, Translation(code="", **fields | {"units": tuple(fields["units"])})


def _write(stem: Path, code: bytes, translation: Translation) -> None:
    """Written beside and renamed; a folder that can't be written to is no reason to stop."""
    fields = {name: value for name, value in asdict(translation).items() if name != "code"}
    fields["digest"] = hashlib.sha256(code).hexdigest()
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        for suffix, content in ((".o", code), (".json", json.dumps(fields).encode())):
            handle, beside = tempfile.mkstemp(dir=stem.parent)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.replace(beside, stem.with_suffix(suffix))
    except OSError:
        return
