"""What a degradation owes the machine: no wait for the device, one graph, little memory, low precision.

All but the last are asked only of operators that are made of tensor operations alone (`compilable`, the default).
Devices are checked without a GPU: the meta device has shapes but no values, so an operator that reads a value
(`.item()`, a boolean index, `if tensor:`), or keeps a tensor on the CPU, fails there as it would stall elsewhere.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rethaw.ops import expand, generators
from rethaw.testing.cases import COUNT, Case

BATCH, SIDE = 16, 128
LOW = {"bfloat16": 0.03, "float16": 0.01}
"""Mean error that rounding to a dtype may cause, on the scale of the degraded image."""


def waits_for_no_device(d: Any, case: Case) -> None:
    """All methods run where tensors have no values, on tensors of one device."""
    if not getattr(d, "compilable", True):
        return
    x0, state = case.images(), d.draw(case.images(), generators(1, COUNT))
    x, t, ξ = x0.to("meta"), case.severities().to("meta"), move(state, "meta")
    found = [d.degrade(x, t, ξ)]
    found += [d.adjoint(x, t, ξ)] if hasattr(d, "adjoint") else []
    found += d.infer(x, x, t, ξ).values() if hasattr(d, "infer") else []
    found += d.coefficients(t) if hasattr(d, "coefficients") else []
    assert all(value.device.type == "meta" for value in found), "a result is on another device than its input"


def compiles(d: Any, case: Case) -> None:
    """torch.compile(fullgraph=True) takes it in one graph, with the same result."""
    if not getattr(d, "compilable", True):
        return
    x0, t = case.images(), case.severities()
    state = d.draw(x0, generators(1, COUNT))
    expected = d.degrade(x0, t, state)
    torch._dynamo.reset()
    compiled: Any = torch.compile(fullgraph=True, dynamic=False, backend="aot_eager")(d.degrade)
    error = (compiled(x0, t, state) - expected).abs().max()
    assert error <= 10 * case.tolerance, "compiled, it gives another result"


def memory(d: Any, case: Case) -> None:
    """A call takes at most four times its input batch (five of a composition), whatever the severities and T."""
    if getattr(d, "compilable", True):
        taken = memory_of_a_call(d, (BATCH, d.channels or 3, SIDE, SIDE))
        assert taken <= 4.05 + hasattr(d, "members"), f"a call takes {taken:.1f} times the memory of its input batch"


def memory_of_a_call(d: Any, shape: tuple[int, ...]) -> float:
    """The most memory that a second call of degrade holds at once, its result included, in input batches (float32)."""
    x0 = torch.empty(shape, device="meta")
    t = torch.empty(shape[0], device="meta")
    ξ = move(d.draw(torch.empty(shape), generators(1, shape[0])), "meta")
    d.degrade(x0, t, ξ)
    live = LiveBytes()
    with torch.no_grad(), live:
        d.degrade(x0, t, ξ)
    return live.most / float(x0.numel() * x0.element_size())


def low_precision(d: Any, case: Case) -> None:
    """bfloat16 and float16 keep shape and dtype, and are as near to float32 as their rounding lets them."""
    for dtype, error in LOW.items():
        low = Case(case.channels, case.height, case.width, dtype, case.device)
        x0, t = low.images(), expand(0.6, low.images())
        state = d.draw(x0, generators(1, COUNT))
        x = d.degrade(x0, t, state)
        assert (x.shape, x.dtype) == (x0.shape, x0.dtype)
        expected = d.degrade(x0.float(), t, {k: v.float() if v.is_floating_point() else v for k, v in state.items()})
        apart = float((x.float() - expected).abs().mean()) / max(1.0, float(expected.abs().mean()))
        assert apart <= error, f"{dtype} is {apart:.3f} from float32"


def move(state: Mapping[str, Tensor], device: str) -> dict[str, Tensor]:
    """A state on another device."""
    return {key: value.to(device) for key, value in state.items()}


class LiveBytes(TorchDispatchMode):
    """Follows the storages that operations make, until they are freed; `most` is the largest sum of their bytes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now, self.most = 0, 0
        self.seen: dict[int, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {key(value) for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)}
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor) and key(value) not in given and key(value) not in self.seen:
                self.follow(value)
        return result

    def follow(self, value: Tensor) -> None:
        """Counts a new storage, and takes it off when it is freed."""
        storage, name = value.untyped_storage(), key(value)
        size = storage.nbytes()
        self.now += size
        self.most = max(self.most, self.now)
        self.seen[name] = weakref.finalize(storage, self.forget, name, size)

    def forget(self, name: int, size: int) -> None:
        self.seen.pop(name, None)
        self.now -= size


def key(value: Tensor) -> int:
    """The same for all views of one storage."""
    return int(value.untyped_storage()._cdata)
