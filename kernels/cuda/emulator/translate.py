"""An Entry -> LLVM's intermediate code.

All threads of a block go through one function, `step`, one after the other; each runs until it is done or must wait for
others: a *stop*. There it saves the registers that are still needed into its context and names the stop; when the
scheduler has seen to it that all arrived, `step` is called again and the thread jumps to where it was.

    void step(launch, parameters, shared, contexts, board, first, count, stride)
"""

from collections.abc import Callable
from dataclasses import dataclass

from llvmlite import ir

from . import emit_floats, emit_integers, emit_memory, layout  # noqa: F401 (they fill HANDLERS)
from .emitter import HANDLERS, I1, I8, I32, I64, POINTER, VOID, Emitter, Value, constant, llvm_type
from .faults import PtxError
from .instructions import KNOWN
from .liveness import CARRY, live_before, written_and_read
from .parser import Entry, Instruction

NAME = "emulated.step"  # a dot: no name of PTX
_ALIGN = 16


@dataclass(frozen=True)
class Translation:
    """What an entry became, and what the scheduler must know about it."""

    code: str  # LLVM's
    stops: list[tuple[int, int]]  # (kind, number of the instruction) of each, counted from 1
    context_bytes: int  # of each thread
    local_offset: int  # of the local memory in it
    shared_size: int  # bytes of static shared memory
    variables: list[str]  # the entry's global and constant ones, symbols of the code
    units: tuple[int, int]  # the smallest access to global and to shared memory, in bytes, at most 4


def check_known(entry: Entry) -> None:
    """Refuse, by name and line, instructions that are not in the list."""
    for i in entry.instructions:
        known = KNOWN.get(i.name)
        if known is None:
            raise i.error(f"instruction {i.name} is not known")
        for modifier in i.modifiers:
            if modifier not in known.modifiers:
                raise i.error(f"instruction {i.opcode} is not known ({i.name} with .{modifier})")
        for type_ in i.types:
            if type_.name not in known.types:
                raise i.error(f"instruction {i.opcode} is not known ({i.name} of .{type_.name})")
        if known.types and not i.types and i.name not in ("bar",):
            raise i.error(f"instruction {i.opcode} lacks a type")


def translate(entry: Entry, checked: bool) -> Translation:
    check_known(entry)
    return _Translator(entry, checked).run()


class _Translator:
    def __init__(self, entry: Entry, checked: bool) -> None:
        self.entry, self.checked = entry, checked
        self.module = ir.Module(NAME)
        self.emitter = Emitter(entry, self.module, checked)
        self.live = live_before(entry)
        self.stops: list[tuple[int, int]] = []
        self.context_end = 4 * layout.SAVED  # of what has been saved so far, in bytes

    def run(self) -> Translation:
        variables = self._variables()
        arguments = [POINTER] * 5 + [I32] * 3
        self.function = ir.Function(self.module, ir.FunctionType(VOID, arguments), NAME)
        names = ("launch", "parameters", "shared", "contexts", "board", "first", "count", "stride")
        self.arguments = dict(zip(names, self.function.args, strict=True))
        for name in names[:4]:
            self.arguments[name].add_attribute("noalias")
        self._loop_over_threads()
        for instruction in self.entry.instructions:
            self._enter(instruction.number)
            self._instruction(instruction)
        self._enter(len(self.entry.instructions))
        if not self.builder.block.is_terminated:
            self._exit()
        self._finish_loop()
        local_offset = -(-self.context_end // _ALIGN) * _ALIGN
        context_bytes = local_offset + -(-self.entry.local_size // _ALIGN) * _ALIGN
        self.sizes.initializer = ir.Constant(self.sizes.value_type, [context_bytes, local_offset])
        return Translation(
            str(self.module), self.stops, context_bytes, local_offset, self.entry.shared_size, variables, self._units()
        )

    @property
    def builder(self) -> ir.IRBuilder:
        return self.emitter.builder

    def _variables(self) -> list[str]:
        """Global and constant memory that the PTX brings along, as far as it is used."""
        used = " ".join(" ".join(i.operands) for i in self.entry.instructions)
        names = [name for name, v in self.entry.variables.items() if v.data is not None and name in used]
        for name in names:
            variable = self.entry.variables[name]
            assert variable.data is not None
            type_ = ir.ArrayType(I8, max(variable.size, 1))
            symbol = ir.GlobalVariable(self.module, type_, name)
            symbol.initializer = ir.Constant(type_, bytearray(variable.data.ljust(1, b"\0")))
            symbol.align = max(variable.align, _ALIGN)
        # (bytes of a context, offset of the local memory in it), known when all is translated
        self.sizes = ir.GlobalVariable(self.module, ir.ArrayType(I64, 2), "emulated.sizes")
        self.sizes.linkage, self.sizes.global_constant = "internal", True
        return names

    def _units(self) -> tuple[int, int]:
        accesses = [i for i in self.entry.instructions if i.name in ("ld", "st", "atom", "red", "ldu")]
        generic = [i.types[0].size for i in accesses if not {"global", "shared", "local", "param"} & {*i.modifiers}]
        sizes = {
            space: [i.types[0].size for i in accesses if space in i.modifiers] + generic
            for space in ("global", "shared")
        }
        return min([4, *sizes["global"]]), min([4, *sizes["shared"]])

    # ------------------------------------------------------------------------------------ the loop over the threads

    def _loop_over_threads(self) -> None:
        """Up to where a thread begins."""
        entry, self.loop, body, self.next_, self.done = (
            self.function.append_basic_block(name) for name in ("entry", "loop", "thread", "next", "done")
        )
        e, a = self.emitter, self.arguments
        e.builder = ir.IRBuilder(entry)
        e.parameters, e.board = a["parameters"], a["board"]
        launch = [self._word(a["launch"], word) for word in range(layout.LAUNCH_WORDS)]
        self.thread_slot = self.builder.alloca(I32)
        left = self.left_slot = self.builder.alloca(I32)
        self.builder.store(a["first"], self.thread_slot)
        self.builder.store(a["count"], left)
        for name, type_ in self.entry.registers.items():
            e.registers[name] = self.builder.alloca(llvm_type(type_))
        e.registers[CARRY] = self.builder.alloca(I1)
        sizes = [self.builder.load(self._at(self.sizes, 8 * k), typ=I64) for k in (0, 1)]
        self.builder.branch(self.loop)

        self.builder.position_at_end(self.loop)
        remaining = self.builder.load(left, typ=I32)
        self.builder.cbranch(self.builder.icmp_unsigned("==", remaining, constant(I32, 0)), self.done, body)

        self.builder.position_at_end(body)
        self._begin_thread(launch, *sizes)

    def _begin_thread(self, launch: list[Value], context_bytes: Value, local_offset: Value) -> None:
        """Find the thread's context, and jump to where the thread stands."""
        e, a = self.emitter, self.arguments
        e.thread = self.builder.load(self.thread_slot, typ=I32)
        start = self.builder.mul(self.builder.zext(e.thread, I64), context_bytes)
        self.context = self.builder.gep(a["contexts"], [start], source_etype=I8)
        e.space_base["shared"] = lambda: self.builder.ptrtoint(a["shared"], I64)
        e.space_base["local"] = lambda: self.builder.add(self.builder.ptrtoint(self.context, I64), local_offset)
        e.stop = self._stop
        e.special.update(self._special(launch))
        for name in sorted(self.live[0]):  # read before it is written: nothing is carried over from the thread before
            slot = e.registers[name]
            self.builder.store(ir.Constant(slot.allocated_type, None), slot)
        state = self._word(self.context, layout.STATE)
        self.jump = self.builder.switch(state, self.next_)  # those that wait, or are done, are passed over

        count = len(self.entry.instructions)
        self.blocks = {index: self.function.append_basic_block() for index in {*self.entry.labels.values(), 0, count}}
        self.jump.add_case(constant(I32, 0), self.blocks[0])
        self.builder.position_at_end(self.blocks[0])

    def _finish_loop(self) -> None:
        self.builder.position_at_end(self.next_)
        thread = self.builder.load(self.thread_slot, typ=I32)
        left = self.builder.load(self.left_slot, typ=I32)
        self.builder.store(self.builder.add(thread, self.arguments["stride"]), self.thread_slot)
        self.builder.store(self.builder.sub(left, constant(I32, 1)), self.left_slot)
        self.builder.branch(self.loop)
        self.builder.position_at_end(self.done)
        self.builder.ret_void()

    def _at(self, base: Value, offset: int) -> Value:
        return self.builder.gep(base, [constant(I64, offset)], source_etype=I8)

    def _word(self, base: Value, word: int) -> Value:
        return self.builder.load(self._at(base, 4 * word), typ=I32)

    def _set_word(self, word: int, value: Value) -> None:
        self.builder.store(value, self._at(self.context, 4 * word))

    def _special(self, launch: list[Value]) -> dict[str, Value]:
        """The special registers' values."""
        b, thread = self.builder, self.emitter.thread
        lane, one, ones = b.and_(thread, constant(I32, 31)), constant(I32, 1), constant(I32, -1)
        bit, threads = b.shl(one, lane), b.mul(b.mul(launch[0], launch[1]), launch[2])
        lower = b.sub(bit, one)
        values = {f"%tid.{axis}": self._word(self.context, layout.TID_X + k) for k, axis in enumerate("xyz")}
        for name, start in (("ntid", layout.NTID), ("nctaid", layout.NCTAID), ("ctaid", layout.CTAID)):
            values |= {f"%{name}.{axis}": launch[start + k] for k, axis in enumerate("xyz")}
        values |= {
            "%laneid": lane,
            "%warpid": b.lshr(thread, constant(I32, 5)),
            "%nwarpid": b.lshr(b.add(threads, constant(I32, 31)), constant(I32, 5)),
            "%lanemask_eq": bit,
            "%lanemask_lt": lower,
            "%lanemask_le": b.or_(lower, bit),
            "%lanemask_gt": b.xor(b.or_(lower, bit), ones),
            "%lanemask_ge": b.xor(lower, ones),
            "%dynamic_smem_size": launch[layout.DYNAMIC_SHARED],
            "%total_smem_size": launch[layout.TOTAL_SHARED],
        }
        return values

    # -------------------------------------------------------------------------------------------- control flow

    def _enter(self, index: int) -> None:
        """Begin the block of a label here, or a new one after what does not go on."""
        block = self.blocks.get(index)
        if block is not None and block is not self.builder.block:
            if not self.builder.block.is_terminated:
                self.builder.branch(block)
            self.builder.position_at_end(block)
        elif self.builder.block.is_terminated:
            self.builder.position_at_end(self.function.append_basic_block())

    def _instruction(self, i: Instruction) -> None:
        after = None
        if i.predicate:
            condition = self.emitter.read(i.predicate, self.entry.registers[i.predicate], i)
            condition = self.builder.not_(condition) if i.negated else condition
            do, after = self.function.append_basic_block(), self.function.append_basic_block()
            self.builder.cbranch(condition, do, after)
            self.builder.position_at_end(do)
        if i.name in ("bra", "brx", "ret", "exit", "trap"):
            self._control(i)
        else:
            handler = self._handler(i)
            try:
                handler(self.emitter, i)
            except PtxError:
                raise
            except (ValueError, IndexError) as error:
                raise i.error("operands not understood") from error
        if after is not None:
            if not self.builder.block.is_terminated:
                self.builder.branch(after)
            self.builder.position_at_end(after)

    def _handler(self, i: Instruction) -> Callable[[Emitter, Instruction], None]:
        is_float = bool(i.types) and i.types[-1].is_float
        handler = HANDLERS.get((i.name, None)) or HANDLERS.get((i.name, is_float))
        if handler is None:
            raise i.error(f"instruction {i.opcode} is not known")
        return handler

    def _control(self, i: Instruction) -> None:
        if i.name == "bra":
            self._branch(i, self.entry.labels[i.operands[0]])
        elif i.name == "brx":
            index = self.emitter.read(i.operands[0], self.entry.registers[i.operands[0]], i)
            targets = [self.entry.labels[name] for name in self.entry.branch_tables[i.operands[1]]]
            if min(targets) <= i.number:
                self._count_down(i)
            table = self.builder.switch(index, self.blocks[targets[-1]])
            for number, target in enumerate(targets[:-1]):
                table.add_case(constant(index.type, number), self.blocks[target])
        else:
            if i.name == "trap":
                self.emitter.trap(i)
            self._exit()

    def _branch(self, i: Instruction, target: int) -> None:
        if target <= i.number:
            self._count_down(i)
        self.builder.branch(self.blocks[target])

    def _count_down(self, i: Instruction) -> None:
        """Before going back, in checked mode: threads that do so too often are stuck."""
        if not self.checked:
            return
        budget = self._at(self.arguments["board"], 8 * layout.BUDGET)
        left = self.builder.sub(self.builder.load(budget, typ=I64), constant(I64, 1))
        self.builder.store(left, budget)
        spent = self.builder.icmp_signed("<", left, constant(I64, 0))
        self.emitter.fault_if(spent, layout.ENDLESS, i)
        with self.builder.if_then(spent, likely=False):
            self._exit()

    def _exit(self) -> None:
        self._set_word(layout.STATE, constant(I32, layout.EXITED))
        self.builder.branch(self.next_)

    def _stop(self, kind: int, i: Instruction, **operands: Value) -> tuple[Value, Value]:
        """The thread waits here. What it brings: value, second, third, mask; what it gets: (result, flag)."""
        self.stops.append((kind, i.number))
        number = len(self.stops)
        words = {"value": layout.VALUE, "second": layout.SECOND, "third": layout.THIRD, "mask": layout.MASK}
        for name, value in operands.items():
            self._set_word(words[name], value)
        written, _ = written_and_read(i, self.entry.registers)
        keep = sorted(self.live[i.number + 1] - written, key=self._save_order)
        kept_at, offset = {}, 4 * layout.SAVED
        for name in keep:
            slot = self.emitter.registers[name]
            size = 1 if name == CARRY else self.entry.registers[name].size
            offset = -(-offset // size) * size
            kept_at[name], offset = offset, offset + size
            value = self.builder.load(slot, typ=slot.allocated_type)
            self.builder.store(value, self._at(self.context, kept_at[name]))
        self.context_end = max(self.context_end, offset)
        self._set_word(layout.STATE, constant(I32, -number))
        self.builder.branch(self.next_)

        resumed = self.function.append_basic_block()
        self.jump.add_case(constant(I32, number), resumed)
        self.builder.position_at_end(resumed)
        for name, offset in kept_at.items():
            slot = self.emitter.registers[name]
            self.builder.store(self.builder.load(self._at(self.context, offset), typ=slot.allocated_type), slot)
        return self._word(self.context, layout.RESULT), self._word(self.context, layout.FLAG)

    def _save_order(self, name: str) -> tuple[int, str, int]:
        """Large ones first, then as they are numbered: neighbours can be saved together."""
        size = 1 if name == CARRY else self.entry.registers[name].size
        digits = "".join(filter(str.isdigit, name))
        return -size, name.rstrip("0123456789'"), int(digits or 0)
