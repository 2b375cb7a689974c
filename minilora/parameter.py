"""Parameter and Module: what a model consists of, and how its parameters are found and named."""

import copy
from collections.abc import Iterator
from math import prod
from typing import Any, Self, TypeVar

from minilora.arrays.backend import Array, ArrayModule, get_xp

T = TypeVar("T")


Companion = TypeVar("Companion")


class Parameter:
    """An array that can be trained.

    Attributes
    ----------
    data : ndarray
        The values. Only an optimizer's ``step``, and functions that say so in their name, change them.
    grad : ndarray or None
        The sum of all gradients since it was last set to None. A parameter that is not trainable never has one.
    trainable : bool
    name : str
        Its path in the model, such as ``"blocks.0.attn.q_proj.A"``; see `Module.name_parameters`.
    """

    __slots__ = ("data", "grad", "name", "trainable")

    def __init__(self, data: Array, *, trainable: bool = True, name: str = "") -> None:
        self.data = data
        self.grad: Array | None = None
        self.trainable = trainable
        self.name = name

    @property
    def held(self) -> list[Array]:
        """The arrays that it keeps: `data`, or what `data` is made from."""
        return [self.data]

    @property
    def nbytes(self) -> int:
        """The bytes that it keeps, without its gradient."""
        return sum(array.nbytes for array in self.held)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of `data`."""
        return self.data.shape

    @property
    def size(self) -> int:
        """How many numbers `data` has."""
        return prod(self.shape)

    @property
    def dtype(self) -> Any:
        """The dtype of `data`."""
        return self.data.dtype

    def accumulate(self, grad: Array | None) -> None:
        """``self.grad += grad``, unless the parameter is frozen.

        Parameters
        ----------
        grad : ndarray, or None where a backward leaves out what is frozen
            This parameter's from now on: whoever made it keeps no use of it.

        Raises
        ------
        ValueError
            If the parameter is trainable and the gradient None: it was frozen when the cache was made.
        """
        if not self.trainable:
            return
        if grad is None:
            raise ValueError(f"cache was made while {self.name or 'a parameter'} was frozen: run forward again")
        if self.grad is None:
            self.grad = grad
        else:
            self.grad += grad

    def __repr__(self) -> str:
        state = "trainable" if self.trainable else "frozen"
        return f"Parameter({self.name or 'unnamed'}: {self.shape} {self.dtype}, {state})"


class Constant(Parameter):
    """A Parameter that is never trained: part of an adapter, and of its file, but drawn once, as LoRA-FA's A is."""

    __slots__ = ()

    def __init__(self, data: Array, *, name: str = "") -> None:
        super().__init__(data, trainable=False, name=name)

    @property
    def trainable(self) -> bool:
        """False."""
        return False

    @trainable.setter
    def trainable(self, value: bool) -> None:
        if value:
            raise ValueError(f"{self.name or 'a constant'} was made trainable; it must stay as it was drawn")


class Module:
    """Anything that holds parameters. Members are found in the order in which the attributes were set.

    Contract: ``y, cache = module.forward(x)`` and ``dx = module.backward(dy, cache)``, which adds to the ``.grad`` of
    each trainable parameter. The cache is returned and never kept, so that a forward in between changes nothing.
    """

    def members(self) -> Iterator[tuple[str, "Parameter | Module"]]:
        """Yield (name, Parameter or Module) for each direct member; the items of a list are named by their index.

        A dict is passed over: a module that keeps parameters in one says here which of them are its own.
        """
        for name, value in vars(self).items():
            if isinstance(value, (Parameter, Module)):
                yield name, value
            elif isinstance(value, list):
                for i, item in enumerate(value):
                    if isinstance(item, (Parameter, Module)):
                        yield f"{name}.{i}", item

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, "Module"]]:
        """Yield (path, module) for every module below this one, parents first."""
        for name, member in self.members():
            if isinstance(member, Module):
                yield prefix + name, member
                yield from member.named_modules(f"{prefix}{name}.")

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield (path, parameter) in definition order; a tied one comes once, under its first path."""
        found: dict[int, tuple[str, Parameter]] = {}
        self._collect("", found)
        yield from found.values()

    def _collect(self, prefix: str, found: dict[int, tuple[str, Parameter]]) -> None:
        for name, member in self.members():
            if isinstance(member, Parameter):
                found.setdefault(id(member), (prefix + name, member))
            else:
                member._collect(f"{prefix}{name}.", found)

    def name_parameters(self) -> None:
        """Set every parameter's ``name`` to its path."""
        for path, parameter in self.named_parameters():
            parameter.name = path

    def parameters(self) -> list[Parameter]:
        """All parameters, as a list."""
        return [p for _, p in self.named_parameters()]

    def trainable_parameters(self) -> list[Parameter]:
        """The trainable parameters, as a list."""
        return [p for p in self.parameters() if p.trainable]

    @property
    def trainable(self) -> bool:
        """True if anything in this module is trainable."""
        return any(member.trainable for _, member in self.members())

    def freeze(self) -> None:
        """Make nothing trainable."""
        for p in self.parameters():
            p.trainable, p.grad = False, None

    def zero_grad(self) -> None:
        """Set all gradients to None."""
        for p in self.parameters():
            p.grad = None

    def replace(self, path: str, module: "Module | Parameter") -> None:
        """Replace the module at `path` (a path of `named_modules`) by `module`."""
        *parents, last = path.split(".")
        owner: Any = self
        for part in parents:
            owner = owner[int(part)] if isinstance(owner, list) else getattr(owner, part)
        if isinstance(owner, list):
            owner[int(last)] = module
        else:
            setattr(owner, last, module)

    def replica(self) -> Self:
        """A second model on the very same arrays, but with its own gradients: for one shard of a batch."""
        # deepcopy treats these as already copied
        shared = {id(array): array for p in self.parameters() for array in p.held}
        twin = copy.deepcopy(self, shared)
        twin.zero_grad()
        return twin

    def cache_of(self, *args: Any, **options: Any) -> Any:
        """The cache of a forward, to the bit; a module overrides it if it can be had without computing the result."""
        return self.forward(*args, **options)[1]  # type: ignore[attr-defined]

    def companion(self, kind: type[Companion]) -> Companion:
        """The one object of this class that another package keeps with this module, made at first use.

        The module knows nothing about it, but carries it along: a replica has its own.
        """
        companions = vars(self).setdefault("_companions", {})
        if kind not in companions:
            companions[kind] = kind()
        return companions[kind]

    @property
    def xp(self) -> ArrayModule:
        """The array module, numpy or cupy, of the model's arrays."""
        return get_xp(self._first_parameter().held[0])

    def _first_parameter(self) -> Any:
        for _, member in self.members():
            parameter = member if isinstance(member, Parameter) else member._first_parameter()
            if parameter is not None:
                return parameter
        return None
