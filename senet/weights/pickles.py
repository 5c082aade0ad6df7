"""The part of the pickle language that torch writes state dicts in, read as data.

A small machine over `pickletools.genops`: it knows the opcodes below and the few names that it is
given, imports nothing and calls nothing that a file asks for.
"""

import dataclasses
import io
import pickletools
from collections.abc import Callable, Container, Iterable
from typing import Any

from senet.weights.arrays import Malformed

PICKLE_LIMIT = 32 * 2**20
"""Largest pickle, bytes."""

STEP_LIMIT = 1_000_000
"""Most opcodes of a file: some seconds of work, and ten times what a large network needs."""

LITERALS = {
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BININT", "BININT1", "BININT2", "LONG1"),
    "BINFLOAT",
}
"""Opcodes whose argument is the value."""


@dataclasses.dataclass(frozen=True)
class Global:
    """A name that a pickle mentions; never imported."""

    name: str


class Machine:
    """Interprets pickles one after another.

    Args:
        calls: what stands for a call of each known name.
        names: further names that may be mentioned and not called.
        resolve: gives what a persistent id stands for.
    """

    def __init__(
        self,
        calls: dict[str, Callable[..., Any]],
        names: Container[str],
        resolve: Callable[[Any], Any],
    ):
        self.calls = calls
        self.names = names
        self.resolve = resolve
        self.steps = 0
        self._reset()

    def _reset(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def load(self, stream: io.BytesIO) -> Any:
        """Interpret the pickle that begins here, and leave the stream behind it.

        Returns:
            Dicts, lists, tuples, texts and numbers, `Global`, and what the calls and persistent ids
            gave. It may contain itself.

        Raises:
            Malformed: it asks for anything that no state dict needs.
        """
        self._reset()
        for opcode, argument, _ in pickletools.genops(stream):
            self.count(1)
            if opcode.name == "STOP":
                break
            if opcode.name in LITERALS:
                self.stack.append(argument)
            else:
                self._run(opcode.name, argument)
        if len(self.stack) != 1 or self.marks:
            raise Malformed("its pickle leaves more or less than one object.")
        return self.stack.pop()

    def _run(self, name: str, argument: Any) -> None:
        if name not in OPCODES:
            raise Malformed(
                f"its pickle uses the opcode {name} ({str(argument)[:80]}), which no state dict "
                "needs; nothing in the file was run."
            )
        try:
            OPCODES[name](self, argument)
        except IndexError:
            raise Malformed("its pickle takes more from the stack than there is.") from None

    def count(self, steps: int) -> None:
        """Refuse to work for ever."""
        self.steps += steps
        if self.steps > STEP_LIMIT:
            raise Malformed("its pickle is longer than that of any network.")

    def items(self) -> list[Any]:
        """Take what was pushed since the last mark."""
        items, self.stack = self.stack, self.marks.pop()
        return items

    def mark(self, _: Any) -> None:
        """Begin a new stack above the present one."""
        self.marks.append(self.stack)
        self.stack = []

    def protocol(self, version: int) -> None:
        """Refuse the text protocols, whose opcodes torch does not write, and unknown ones."""
        if not 2 <= version <= 5:
            raise Malformed(f"its pickle is of protocol {version}; 2 to 5 are read.")

    def long(self, number: int) -> None:
        """Push a whole number; 16 bytes are more than any size needs."""
        if number.bit_length() > 128:
            raise Malformed("its pickle holds a number of thousands of digits.")
        self.stack.append(number)

    def close(self, _: Any) -> None:
        """Make a tuple of what was pushed since the last mark."""
        items = self.items()
        self.stack.append(tuple(items))

    def take(self, n: int) -> None:
        """Make a tuple of the last values."""
        if len(self.stack) < n:
            raise IndexError
        self.stack[-n:] = [tuple(self.stack[-n:])]

    def remember(self, index: int) -> None:
        """Note the last value under a number; a dict, so that a huge number costs nothing."""
        self.memo[index] = self.stack[-1]

    def recall(self, index: int) -> None:
        """Push what was noted."""
        if index not in self.memo:
            raise Malformed("its pickle recalls what it never noted.")
        self.stack.append(self.memo[index])

    def name(self, name: str) -> None:
        """Push a name, if it is one of the few that a state dict needs."""
        if name not in self.calls and name not in self.names:
            raise Malformed(
                f"it asks to call {name[:100]}, which no state dict needs; nothing in the file was "
                "run. If it holds a whole model, load it where its code is and save "
                "model.state_dict() instead."
            )
        self.stack.append(Global(name))

    def name_from_stack(self, _: Any) -> None:
        """Push a name whose module and attribute are on the stack."""
        attribute, module = self.stack.pop(), self.stack.pop()
        if type(attribute) is not str or type(module) is not str:
            raise Malformed("its pickle names something by no text.")
        self.name(f"{module}.{attribute}")

    def call(self, _: Any) -> None:
        """Make what a known name and its arguments stand for."""
        arguments, function = self.stack.pop(), self.stack.pop()
        if type(function) is not Global or function.name not in self.calls:
            raise Malformed("its pickle calls something that is no function.")
        if type(arguments) is not tuple:
            raise Malformed(f"its pickle calls {function.name} without a tuple of arguments.")
        self.count(sum(len(a) for a in arguments if type(a) in (list, tuple)))  # it may copy them
        self.stack.append(self.calls[function.name](*arguments))

    def build(self, _: Any) -> None:
        """Drop the attributes of an object: none of them is a tensor of the network."""
        self.stack.pop()
        if type(self.stack[-1]) is Global:
            raise Malformed("its pickle sets attributes of a class.")

    def extend(self, values: list[Any]) -> None:
        """Append to the list on the stack."""
        if type(self.stack[-1]) is not list:
            raise Malformed("its pickle appends to something that is no list.")
        self.stack[-1].extend(values)

    def update(self, items: list[Any]) -> None:
        """Set keys and values, in turn, of the dict on the stack."""
        if type(self.stack[-1]) is not dict or len(items) % 2:
            raise Malformed("its pickle sets items of something that is no dict.")
        self.stack[-1].update(dict_of(zip(items[::2], items[1::2], strict=True)))

    def set_item(self, _: Any) -> None:
        """Set one key of the dict on the stack."""
        value, key = self.stack.pop(), self.stack.pop()
        self.update([key, value])

    def refer(self, _: Any) -> None:
        """Push what a persistent id stands for."""
        self.stack.append(self.resolve(self.stack.pop()))


def dict_of(pairs: Iterable[Any]) -> dict[Any, Any]:
    """A dict of keys that are safe to hash: tuples can be nested deeper than the C stack."""
    made = {}
    for key, value in pairs:
        if not isinstance(key, str | bytes | int | float | None) or (
            isinstance(key, int) and key.bit_length() > 60  # larger ones can be made to collide
        ):
            raise Malformed("its pickle has a dict with a key that is neither text nor number.")
        made[key] = value
    return made


OPCODES: dict[str, Callable[[Machine, Any], Any]] = {
    "PROTO": Machine.protocol,
    "FRAME": lambda machine, _: None,
    "MARK": Machine.mark,
    "POP": lambda machine, _: machine.stack.pop(),
    "POP_MARK": lambda machine, _: machine.items(),
    "NONE": lambda machine, _: machine.stack.append(None),
    "NEWTRUE": lambda machine, _: machine.stack.append(True),
    "NEWFALSE": lambda machine, _: machine.stack.append(False),
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "EMPTY_TUPLE": lambda machine, _: machine.stack.append(()),
    "LONG4": Machine.long,
    "TUPLE": Machine.close,
    "TUPLE1": lambda machine, _: machine.take(1),
    "TUPLE2": lambda machine, _: machine.take(2),
    "TUPLE3": lambda machine, _: machine.take(3),
    "APPEND": lambda machine, _: machine.extend([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.extend(machine.items()),
    "SETITEM": Machine.set_item,
    "SETITEMS": lambda machine, _: machine.update(machine.items()),
    "BINPUT": Machine.remember,
    "LONG_BINPUT": Machine.remember,
    "MEMOIZE": lambda machine, _: machine.remember(len(machine.memo)),
    "BINGET": Machine.recall,
    "LONG_BINGET": Machine.recall,
    "GLOBAL": lambda machine, name: machine.name(name.replace(" ", ".", 1)),
    "STACK_GLOBAL": Machine.name_from_stack,
    "BINPERSID": Machine.refer,
    "REDUCE": Machine.call,
    "NEWOBJ": Machine.call,
    "BUILD": Machine.build,
}
"""What each opcode does; those of `LITERALS` and STOP aside."""
