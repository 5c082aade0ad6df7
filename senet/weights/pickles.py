"""The part of the pickle language that torch writes checkpoints in, read as data.

A small machine over `pickletools.genops`: it knows the opcodes below and the few names that it is
given, imports nothing and calls nothing that a file asks for. What else a file makes becomes
`Inert`; a file that asks for what could run code or read files is refused all the same.
"""

import dataclasses
import io
import pickletools
import sys
from collections.abc import Callable, Container, Iterable
from typing import Any

from senet.foreign import clean_text
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

BUILTINS = {
    *("set", "frozenset", "complex", "slice", "range", "bytearray", "bytes", "list", "dict"),
    *("tuple", "int", "float", "str", "bool", "object", "type", "long", "unicode", "xrange"),
    *("Ellipsis", "NotImplemented", "NoneType", "min", "max", "len", "sum", "abs", "round"),
    *("sorted", "any", "all"),
}
DATA = {
    *(f"{module}.{name}" for module in ("builtins", "__builtin__") for name in BUILTINS),
    *(f"collections.{name}" for name in ("defaultdict", "deque")),
    *("copyreg._reconstructor", "copyreg.__newobj__", "copyreg.__newobj_ex__"),
    *("copy_reg._reconstructor", "copy_reg.__newobj__"),
    *(f"datetime.{name}" for name in ("datetime", "date", "time", "timedelta", "timezone")),
    *("array.array", "array._array_reconstructor", "re._compile", "functools.partial"),
    *("itertools.count", "itertools.cycle", "time.struct_time", "logging.getLogger"),
    *("zoneinfo.ZoneInfo._unpickle", "_codecs.encode", "platform.uname_result"),
    *("types.SimpleNamespace", "types.MappingProxyType"),
    *(f"operator.{name}" for name in ("lt", "le", "gt", "ge", "eq", "ne", "add", "sub", "mul")),
    *(f"_operator.{name}" for name in ("lt", "le", "gt", "ge", "eq", "ne", "add", "sub", "mul")),
}
"""Names in small letters of Python's own library that stand for data."""

OLD_MODULES = {
    *("nt", "commands", "cPickle", "__builtin__", "copy_reg", "exceptions", "distutils", "imp"),
}
"""Modules of Python's library on other systems or in older versions."""

CODE_MODULES = {
    *("dill", "cloudpickle", "joblib", "jsonpickle", "pip", "setuptools", "pkg_resources"),
    *("IPython", "subprocess", "_posixsubprocess", "ctypes", "_ctypes", "code", "codeop", "types"),
    *("pickle", "_pickle", "cPickle", "shelve", "marshal", "importlib", "zipimport", "runpy"),
    *("multiprocessing", "concurrent", "threading", "asyncio", "sched", "socket", "socketserver"),
    *("http", "urllib", "ftplib", "smtplib", "xmlrpc", "webbrowser", "pty", "sqlite3", "imaplib"),
    *("bdb", "pdb", "trace", "timeit", "profile", "cProfile", "doctest", "unittest", "tempfile"),
    *("zipfile", "tarfile", "gzip", "bz2", "lzma", "mmap", "dbm", "_socket", "ensurepip", "venv"),
}
"""Modules in which classes run code, start programs, open files or reach out too."""

CODE_PARTS = {
    *("os", "posix", "nt", "sys", "builtins", "__builtin__", "shutil", "subprocess", "ctypes"),
    *("importlib", "threading", "socket", "_socket"),
}
"""Modules that others lead to: as parts of a name."""

LIBRARY_PARTS = {
    *("hub", "package", "cpp_extension", "f2py", "ctypeslib", "distutils", "collect_env"),
    *("testing", "subprocess"),
}
"""Parts of torch and NumPy that do the same."""

CODE_NAMES = {
    *("load", "loads", "load_library", "load_url", "load_state_dict_from_url", "fromfile"),
    *("memmap", "loadtxt", "genfromtxt", "runstring", "open_memmap", "load_inline"),
    *("download_url_to_file", "read_pickle", "get_file", "load_model", "eval", "exec", "system"),
    *("_load_from_bytes", "compile", "open", "FileIO", "FileHandler", "PackageImporter"),
}
"""Last parts of names that run code or open files, wherever they are."""

ERRORS = ("Error", "Exception", "Warning", "Interrupt", "Iteration")
"""Ends of the names of exceptions."""

CODE_BEGINNINGS = ("popen", "exec", "spawn", "_exec", "_popen", "_spawn")
"""Of last parts: classes, which begin with a capital, are often called so too."""

NAME_LIMIT = 200
"""Most letters of a name that a pickle mentions."""

ATTRIBUTE_OF = ("builtins.getattr", "__builtin__.getattr")
"""As which pickles spell a class inside of another class."""


@dataclasses.dataclass(frozen=True)
class Global:
    """A name that a pickle mentions; never imported."""

    name: str


class Inert:
    """What stands for an object that means nothing here: it was neither made nor looked up.

    Args:
        name: of its class, or of the function that was to make it.

    Attributes:
        items: what the pickle put into it as into a dict.
        state: its attributes.
    """

    __slots__ = ("items", "name", "state")

    def __init__(self, name: str):
        self.name = name
        self.items: dict[Any, Any] = {}
        self.state: dict[Any, Any] = {}


def could_run(name: str) -> bool:
    """Whether what a pickle names could run code or read files where pickles are obeyed.

    Of Python's own library all functions count but those that make data, for there is more than
    one way through it; of other libraries those that are known to. Classes are what people save
    beside weights.
    """
    *modules, last = name.split(".")
    if name in DATA:
        return False
    first = modules[0] if modules else ""
    within = CODE_PARTS | (LIBRARY_PARTS if first in ("torch", "numpy") else set())
    if first in CODE_MODULES or not within.isdisjoint(modules) or last in CODE_NAMES:
        return not (modules in (["builtins"], ["exceptions"]) and last.endswith(ERRORS))
    if last.startswith(CODE_BEGINNINGS):
        return True
    if first in sys.stdlib_module_names or first in OLD_MODULES:
        return not last.lstrip("_")[:1].isupper()
    return False


class Machine:
    """Interprets pickles one after another.

    Args:
        calls: what stands for a call of each known name.
        names: further names that mean something and cannot be called.
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
        self.asked: str | None = None
        self.answered: str | None = None

    def load(self, stream: io.BytesIO) -> Any:
        """Interpret the pickle that begins here, and leave the stream behind it.

        Returns:
            Dicts, lists, tuples, texts and numbers, `Global`, `Inert`, and what the calls and
            persistent ids gave. It may contain itself.

        Raises:
            Malformed: it is damaged, or asks for what could run code.
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
        if self.asked and not self.answered:
            raise Malformed(_asks_to_call(self.asked))
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
        self.stack.append(number if number.bit_length() <= 128 else Inert("int"))

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
        """Push a name, unless it could run code."""
        if len(name) > NAME_LIMIT:
            raise Malformed(f"its pickle names something by more than {NAME_LIMIT} letters.")
        if name in ATTRIBUTE_OF:
            self.asked = name
            self.stack.append(Global(name))
            return
        if name not in self.calls and name not in self.names and could_run(name):
            raise Malformed(_asks_to_call(name))
        self.stack.append(Global(name))

    def name_from_stack(self, _: Any) -> None:
        """Push a name whose module and attribute are on the stack."""
        attribute, module = self.stack.pop(), self.stack.pop()
        if type(attribute) is not str or type(module) is not str:
            raise Malformed("its pickle names something by no text.")
        self.name(f"{module}.{attribute}")

    def call(self, _: Any) -> None:
        """Make what a known name and its arguments stand for; else something inert."""
        arguments, function = self.stack.pop(), self.stack.pop()
        if type(function) is not Global or function.name in self.names:
            raise Malformed("its pickle calls something that is no function.")
        if type(arguments) is not tuple:
            raise Malformed(f"its pickle calls {function.name} without a tuple of arguments.")
        if function.name in ATTRIBUTE_OF:
            self._attribute(function, arguments)
            return
        if function.name not in self.calls:
            self.stack.append(Inert(_class_made(function.name, arguments)))
            return
        self.count(sum(len(a) for a in arguments if type(a) in (list, tuple)))  # it may copy them
        self.stack.append(self.calls[function.name](*arguments))

    def _attribute(self, function: Global, arguments: tuple[Any, ...]) -> None:
        """Push what is asked of a name by `getattr`, as a name that is checked like any other."""
        match arguments:
            case (Global(name), str(attribute)):
                self.answered = function.name
                self.name(f"{name}.{attribute}")
            case _:
                raise Malformed(_asks_to_call(function.name))

    def call_with_names(self, _: Any) -> None:
        """Make an object with named arguments, which nothing that is known has."""
        self.stack.pop()
        self.call(None)

    def build(self, _: Any) -> None:
        """Note the attributes of an inert object; those of others are none of the network's."""
        state = self.stack.pop()
        if type(self.stack[-1]) is Global:
            raise Malformed("its pickle sets attributes of a class.")
        if type(state) is tuple and state:  # with a second dict, of slots
            state = state[0]
        if type(self.stack[-1]) is Inert and type(state) is dict:
            self.stack[-1].state = state

    def extend(self, values: list[Any]) -> None:
        """Append to the list on the stack."""
        if type(self.stack[-1]) is Inert:
            return
        if type(self.stack[-1]) is not list:
            raise Malformed("its pickle appends to something that is no list.")
        self.stack[-1].extend(values)

    def update(self, items: list[Any]) -> None:
        """Set keys and values, in turn, of the dict on the stack."""
        target = self.stack[-1]
        target = target.items if type(target) is Inert else target
        if type(target) is not dict or len(items) % 2:
            raise Malformed("its pickle sets items of something that is no dict.")
        target.update(dict_of(zip(items[::2], items[1::2], strict=True)))

    def set_item(self, _: Any) -> None:
        """Set one key of the dict on the stack."""
        value, key = self.stack.pop(), self.stack.pop()
        self.update([key, value])

    def refer(self, _: Any) -> None:
        """Push what a persistent id stands for."""
        self.stack.append(self.resolve(self.stack.pop()))


def _asks_to_call(name: str) -> str:
    return (
        f"it asks to call {clean_text(name, 100)}, which no state dict needs; nothing in the file "
        "was run. If you trust it, load it where its code is and save model.state_dict() instead."
    )


def _class_made(function: str, arguments: tuple[Any, ...]) -> str:
    """The class of what is made, where a function of Python's own library makes it of its class."""
    first = arguments[0] if arguments and function.startswith(("copyreg.", "copy_reg.")) else None
    return first.name if type(first) is Global else function


def dict_of(pairs: Iterable[Any]) -> dict[Any, Any]:
    """A dict of those keys that are safe to hash: tuples can be nested deeper than the C stack."""
    return {
        key: value
        for key, value in pairs
        if isinstance(key, str | bytes | int | float | None)
        and not (isinstance(key, int) and key.bit_length() > 60)  # larger ones can collide
    }


def _inert(name: str) -> Callable[[Machine, Any], None]:
    """Push something that means nothing here."""
    return lambda machine, _: machine.stack.append(Inert(name))


def _freeze(machine: Machine, _: Any) -> None:
    machine.items()
    machine.stack.append(Inert("frozenset"))


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
    "EMPTY_SET": _inert("set"),
    "ADDITEMS": lambda machine, _: machine.extend(machine.items()),
    "FROZENSET": _freeze,
    "BYTEARRAY8": _inert("bytearray"),
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
    "NEWOBJ_EX": Machine.call_with_names,
    "BUILD": Machine.build,
}
"""What each opcode does; those of `LITERALS` and STOP aside."""
