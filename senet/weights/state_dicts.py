"""Where in a file of others a network lies: which of its names follow a scheme, and what is left.

People save networks inside of other things: wrapped by training code, beside a criterion, an
optimizer or averaged weights, as the encoder of a larger network. The prefix is found by the names
that stand behind it, whatever it is.
"""

import collections
import dataclasses
import re
from collections.abc import Collection, Iterable

from senet.foreign import escape_text, listed

FIRST = "layer1.0.conv1.weight"
"""A name that every network of a known scheme has."""

STATISTICS = "layer1.0.bn1.running_mean"
"""A name that is missing where parameters alone were averaged."""

AVERAGED = re.compile(
    r"(^|[_-])(ema|swa|averaged?|averages|averaging|avg|polyak)([_-]|$)", re.IGNORECASE
)
"""In a part of a prefix: the weights behind it are averages over the training, the better ones."""

INNER_WRAPPERS = re.compile(
    r"(?<![^.])(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)
"""What libraries put between the parts of a name."""

COUNTERS = ("num_batches_tracked", "n_averaged")
"""Last parts of names that count steps of a training."""

MOST = 16
"""Networks that are looked at in one file."""

SHOWN = 20
TOGETHER = 4
"""Most names of one beginning that are listed one by one."""


@dataclasses.dataclass(frozen=True)
class StateDict:
    """The arrays of one network in a file.

    Args:
        prefix: what its names begin with there, up to the last dot; empty at the top.
        names: in the file, by those that the network gives them.
    """

    prefix: str
    names: dict[str, str]

    @property
    def averaged(self) -> bool:
        """Whether its weights are averages over a training."""
        return any(AVERAGED.search(part) for part in self.prefix.split("."))


def find_state_dicts(names: Collection[str]) -> list[StateDict]:
    """The networks in a file, the best first: whole ones, averaged ones, those nearest to the top.

    Args:
        names: of all arrays of the file.

    Returns:
        A `StateDict` for each prefix behind which names follow a scheme.

    Example:
        >>> found = find_state_dicts(["model.layer1.0.conv1.weight", "epoch"])
        >>> found[0].prefix
        'model.'
    """
    plain = {INNER_WRAPPERS.sub("", name): name for name in names}
    if len(plain) < len(names):
        plain = {name: name for name in names}
    firsts = [name for name in plain if name == FIRST or name.endswith(f".{FIRST}")]
    found = [StateDict(name.removesuffix(FIRST), {}) for name in firsts]
    found.sort(key=lambda one: (not one.averaged, one.prefix.count(".")))
    for one in found[:MOST]:
        begin = one.prefix
        one.names.update(
            {n.removeprefix(begin): o for n, o in plain.items() if n.startswith(begin)}
        )
    return sorted(found[:MOST], key=lambda one: STATISTICS not in one.names)


def describe_taken(taken: StateDict, left_out: Iterable[str]) -> str | None:
    """What to say of a network that was taken out of a file; `None` where it is all that there is.

    Args:
        taken: the network.
        left_out: names in the file that it does not have.
    """
    rest = [name for name in left_out if not is_counter(name)]
    kind = "averaged weights" if taken.averaged else "weights"
    where = f"under {escape_text(taken.prefix.rstrip('.'))!r}" if taken.prefix else "at its top"
    used = f"used the {kind} {where}"
    if rest:
        return f"{used}; left out {summarise(rest, taken.prefix)}"
    return used if taken.averaged else None


def is_counter(name: str) -> bool:
    """Whether an array counts the steps of a training, which no network needs."""
    return name.rpartition(".")[2] in COUNTERS


def summarise(names: Iterable[str], prefix: str = "") -> str:
    """Names in one line, those of one beginning together where they are many.

    Args:
        names: of arrays.
        prefix: of a network; names that begin as it does are told apart behind that.
    """
    return listed(_together(names, prefix), SHOWN)


def _together(names: Iterable[str], prefix: str) -> list[str]:
    """Names and beginnings of names."""
    groups: dict[str, list[str]] = collections.defaultdict(list)
    steps = prefix.split(".")[:-1]
    for name in names:
        parts = name.split(".")
        shared = 0
        while shared < min(len(steps), len(parts) - 1) and parts[shared] == steps[shared]:
            shared += 1
        groups[".".join(parts[: shared + 1])].append(name)
    shown = []
    for beginning, inside in groups.items():
        if len(inside) > TOGETHER:
            shown.append(f"{escape_text(beginning)}.* ({len(inside)} arrays)")
        else:
            shown += map(escape_text, inside)
    return shown
