"""A GPU that is only pretended: tensors that say they are on cuda:0, and compute on the CPU.

Every operation passes `_dispatch`. Tensors of the host and of the device must not meet; what lets the host wait for the
device is counted, and so is what would launch kernels, for each training, within its steps and between them, by line.
A graph is recorded and replayed as CUDA does it: recording changes no tensor, and may wait for nothing. Values are real,
so everything else goes on as always. It cannot see kernels, their speed, their order of adding, or memory.
"""

import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from swdb.data import resident
from swdb.nn.checkpoints import Checkpoints
from swdb.nn.step import Stepper

SAID = torch.device("cuda", 0)  # what tensors say
INSIDE = torch.device("cpu", 1)  # what torch's own code sees, so that its CPU takes them
HOST = torch.device("cpu")

PACKAGE = Path(resident.__file__).parents[1]
READS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2", "unique_dim"}
TO_HOST = {"_local_scalar_dense", "equal", "is_nonzero"}  # of those: what returns to Python
INDEXES = {"index", "index_put", "index_put_", "_index_put_impl_"}
NO_KERNEL = {"empty", "empty_like", "empty_strided", "new_empty", "detach", "alias", "set_", "resize_"}


class Watch:
    """What was seen."""

    def __init__(self):
        self.training, self.place = "", ""  # whose step it is, and whether it is in one
        self.steps: Counter[str] = Counter()  # by training
        self.waits: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)  # by training and place, the lines
        self.launches: Counter[tuple[str, str]] = Counter()
        self.convolutions: dict[str, set[torch.dtype]] = defaultdict(set)
        self.recording: list | None = None

    def wait(self, what: str) -> None:
        """Note that the host waits."""
        if self.recording is not None:
            raise RuntimeError(f"operation not permitted when stream is capturing: {what} at {_line()}")
        self.waits[self.training, self.place][f"{_line()} {what}"] += 1

    def per_step(self, training: str) -> float:
        """Return how many operations a step of a training launches."""
        return self.launches[training, "step"] / self.steps[training]


WATCH = Watch()


class OnGpu(torch.Tensor):
    """A tensor that says it is on the GPU; `inner` holds its values."""

    device = property(lambda _: SAID)
    is_cuda = property(lambda _: True)
    is_cpu = property(lambda _: False)

    @staticmethod
    def __new__(cls, inner):
        layout = {"strides": inner.stride(), "storage_offset": inner.storage_offset(), "dtype": inner.dtype}
        made = torch.Tensor._make_wrapper_subclass(cls, inner.size(), device=INSIDE, **layout)
        made.inner = inner
        return made

    def __reduce_ex__(self, protocol):  # torch.save
        return self.inner.__reduce_ex__(protocol)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _dispatch(func, args, kwargs or {})


def _line() -> str:
    """Return the innermost line of the program that runs."""
    frame = sys._getframe(1)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if PACKAGE in path.parents:
            return f"{path.parent.name}/{path.name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def _bare(value):
    if isinstance(value, torch.device):
        return value if value.type == "meta" else HOST
    return value.inner if isinstance(value, OnGpu) else value


def _dispatch(func, args, kwargs):
    """Do an operation on the CPU, and see what it would have been on a GPU."""
    name = func._schema.name.split("::")[1]
    tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, torch.Tensor)]
    there, here = ([one for one in tensors if isinstance(one, OnGpu) is on] for on in (True, False))
    device = kwargs.get("device")
    to_gpu = bool(there) if device is None else device == INSIDE or device.type == "cuda"
    to_gpu = isinstance(args[0], OnGpu) if name == "copy_" else to_gpu
    _check(func, name, args, kwargs, there, here, to_gpu)
    if there or to_gpu:
        if name not in NO_KERNEL and not _is_view(func):
            WATCH.launches[WATCH.training, WATCH.place] += 1
        if name == "convolution":
            WATCH.convolutions[WATCH.training].add(args[0].dtype)
    known = {id(one.inner): one for one in there}
    bare_args, bare_kwargs = tree_map(_bare, args), tree_map(_bare, kwargs)
    undo = None if WATCH.recording is None else _written(func, bare_args, bare_kwargs)
    out = func(*bare_args, **bare_kwargs)
    if WATCH.recording is not None:
        WATCH.recording.append((func, bare_args, bare_kwargs, out, undo))
    if not to_gpu or name in TO_HOST:
        return out

    def there_again(one):
        return known[id(one)] if id(one) in known else OnGpu(one)

    return tree_map(lambda one: there_again(one) if isinstance(one, torch.Tensor) else one, out)


def _check(func, name, args, kwargs, there, here, to_gpu) -> None:
    """Raise for tensors of two devices that meet, and count what the host waits for."""
    wrong = ""
    if name in ("_to_copy", "copy_"):
        crosses = bool(there) != to_gpu or (there and here)
        soft = kwargs.get("non_blocking") or (name == "copy_" and len(args) > 2 and args[2])
        source = args[1] if name == "copy_" else args[0]
        if crosses and not (soft and (not to_gpu or getattr(source, "is_pretended_pinned", False))):
            WATCH.wait("copy to the GPU" if to_gpu else "copy to the host")
        elif crosses and WATCH.recording is not None:
            WATCH.wait("a copy between host and device")
    elif name in INDEXES and there:
        index = [one for one in args[1] if one is not None]
        if not isinstance(args[0], OnGpu):
            wrong = "a tensor of the host is indexed on the GPU"
        elif args[2:] and not isinstance(args[2], OnGpu) and args[2].dim():
            wrong = "values on the host"
        if any(one.dtype in (torch.bool, torch.uint8) for one in index):
            WATCH.wait(f"{name} by a mask")
        if not all(isinstance(one, OnGpu) for one in index):
            WATCH.wait(f"{name} by an index of the host")
    elif there and here:  # a scalar of the host may be read by an operation of the GPU
        if (
            any(one.dim() for one in here)
            or name in ("cat", "stack")
            or (func._schema.is_mutable and args[0] is here[0])
        ):
            wrong = f"{[tuple(one.shape) for one in here]} on cpu, {[tuple(one.shape) for one in there]} on cuda:0"
    elif there and name in READS:
        WATCH.wait(name)
    if to_gpu and kwargs.get("generator") is not None:
        wrong = "a generator of the host"
    if wrong:
        raise RuntimeError(f"Expected all tensors to be on the same device: {_line()}: {func}: {wrong}")


# ---------------------------------------------------------------- graphs


def _is_view(func) -> bool:
    returns = func._schema.returns
    return bool(returns) and all(one.alias_info is not None and not one.alias_info.is_write for one in returns)


def _is_functional(func) -> bool:
    return all(one.alias_info is None for one in func._schema.returns) and not func._schema.is_mutable


def _written(func, args, kwargs) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return what an operation writes into, with the values of before."""
    named = {one.name: value for one, value in zip(func._schema.arguments, args, strict=False)} | kwargs
    written = [
        named[one.name]
        for one in func._schema.arguments
        if one.alias_info is not None and one.alias_info.is_write and named.get(one.name) is not None
    ]
    return [(one, one.clone()) for one in tree_leaves(written) if isinstance(one, torch.Tensor)]


class Graph:
    """A CUDA graph: operations that were recorded, and are done again on the same memory."""

    def __init__(self):
        self.operations: list = []

    def replay(self) -> None:
        """Do them again."""
        WATCH.launches[WATCH.training, WATCH.place] += 1
        with torch.no_grad():
            for func, args, kwargs, out, _ in self.operations:
                if _is_view(func):
                    continue
                found = func(*args, **kwargs)
                if _is_functional(func):
                    for old, new in zip(tree_leaves(out), tree_leaves(found), strict=True):
                        if isinstance(old, torch.Tensor):
                            old.copy_(new)


@contextmanager
def record(graph: Graph, **_) -> Iterator[None]:
    """Record into a graph; nothing that was there before is changed, and nothing that was made has its values yet."""
    WATCH.recording = graph.operations
    try:
        yield
    finally:
        WATCH.recording = None
    with torch.no_grad():
        for func, _, _, out, undo in reversed(graph.operations):
            if _is_functional(func):
                for one in tree_leaves(out):
                    if isinstance(one, torch.Tensor) and one.is_floating_point():
                        one.fill_(torch.nan)
            for one, before in reversed(undo):
                one.copy_(before)


# ---------------------------------------------------------------- a torch that has a GPU


class _Dispatch(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _dispatch(func, args, kwargs or {})


class _Functions(TorchFunctionMode):
    """What happens before operations: devices by name, lists to and from tensors, numpy, pinned memory."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, name, first = kwargs or {}, getattr(func, "__name__", ""), args[0] if args else None
        if func is torch.device:
            return func(*args, **kwargs)
        if name == "pin_memory":
            pinned = first.clone()
            pinned.is_pretended_pinned = True
            return pinned
        if isinstance(first, OnGpu) and name in ("numpy", "__array__"):
            raise TypeError(f"can't convert cuda:0 device type tensor to numpy: {_line()}: use Tensor.cpu() first")
        if isinstance(first, OnGpu) and name in ("tolist", "new_tensor"):
            WATCH.wait(name)
            found = getattr(first.inner, name)(*args[1:], **kwargs)
            return found if name == "tolist" else OnGpu(found)
        if name in ("tensor", "as_tensor") and _inside(kwargs.get("device")) == INSIDE and not isinstance(first, OnGpu):
            WATCH.wait(name)
            return OnGpu(func(*args, **kwargs | {"device": HOST}))
        if name == "cuda":
            return first.to(INSIDE)
        return func(*tree_map(_inside, args), **tree_map(_inside, kwargs))


def _inside(value):
    value = torch.device(value) if isinstance(value, str) and value.startswith("cuda") else value
    if isinstance(value, torch.device) and value.type == "cuda":
        if value.index:
            raise RuntimeError("CUDA error: invalid device ordinal")
        return INSIDE
    return value


def _captured_as_it_says(optimizer) -> None:
    """Refuse and warn as torch does, which looks at a real GPU."""
    recorded, capturable = WATCH.recording is not None, all(group["capturable"] for group in optimizer.param_groups)
    if recorded and not capturable:
        raise RuntimeError("Attempting CUDA graph capture of step() but param_groups' capturable is False.")
    if capturable and not recorded:
        warnings.warn("capturable=True, but step() is running without CUDA graph capture", stacklevel=2)


class _Stream:
    def wait_stream(self, other) -> None:
        """Nothing is ever late here."""


class _Event:
    def record(self) -> None:
        """Nothing is ever late here."""

    def synchronize(self) -> None:
        """Nothing is ever late here."""


@contextmanager
def pretended_gpu(memory: int = 24 << 30) -> Iterator[Watch]:
    """Let torch have one GPU with so many bytes free, and watch it."""
    real_autocast, future = torch.autocast.__init__, torch.__future__

    def autocast(self, device_type, *args, enabled=True, **kwargs):  # the CPU's has no effect on a GPU
        real_autocast(self, "cpu", *args, enabled=enabled and device_type == "cuda", **kwargs)

    answers = {
        "_lazy_init": None, "is_available": True, "device_count": 1, "current_device": 0, "manual_seed_all": None,
        "mem_get_info": (memory, memory), "memory_reserved": 0, "memory_allocated": 0, "synchronize": None,
        "get_device_name": "a pretended GPU", "get_device_capability": (9, 0), "is_bf16_supported": True,
    }  # fmt: skip
    objects = {
        "CUDAGraph": Graph, "graph": record, "Event": _Event, "Stream": _Stream, "current_stream": _Stream,
        "stream": lambda _: nullcontext(), "empty_cache": lambda: None,
    }  # fmt: skip
    with ExitStack() as stack:
        for name, answer in answers.items():
            stack.enter_context(mock.patch(f"torch.cuda.{name}", lambda *_, answer=answer, **__: answer))
        for name, one in objects.items():
            stack.enter_context(mock.patch(f"torch.cuda.{name}", one))
        stack.enter_context(mock.patch("torch.autocast.__init__", autocast))
        stack.enter_context(
            mock.patch("torch.optim.Optimizer._accelerator_graph_capture_health_check", _captured_as_it_says)
        )
        stack.callback(
            future.set_overwrite_module_params_on_conversion, future.get_overwrite_module_params_on_conversion()
        )
        future.set_overwrite_module_params_on_conversion(True)
        stack.enter_context(mock.patch.dict(resident._uploaded, clear=True))
        stack.enter_context(kept_switches())
        stack.enter_context(told_apart())
        stack.enter_context(_Functions())
        stack.enter_context(_Dispatch())
        WATCH.__init__()
        yield WATCH


@contextmanager
def kept_switches() -> Iterator[None]:
    """Put torch's switches back that are turned for a GPU."""
    conv, matmul, cudnn = torch.backends.cudnn.conv, torch.backends.cuda.matmul, torch.backends.cudnn
    before = SimpleNamespace(
        conv=conv.fp32_precision, matmul=matmul.fp32_precision, cudnn=cudnn.deterministic, benchmark=cudnn.benchmark,
        on=torch.are_deterministic_algorithms_enabled(), warn=torch.is_deterministic_algorithms_warn_only_enabled(),
        fill=torch.utils.deterministic.fill_uninitialized_memory,
    )  # fmt: skip
    with mock.patch.dict("os.environ"):
        try:
            yield
        finally:
            conv.fp32_precision, matmul.fp32_precision = before.conv, before.matmul
            cudnn.deterministic, cudnn.benchmark = before.cudnn, before.benchmark
            torch.use_deterministic_algorithms(before.on, warn_only=before.warn)
            torch.utils.deterministic.fill_uninitialized_memory = before.fill


@contextmanager
def told_apart() -> Iterator[None]:
    """Know which training it is, and whether it is in a step, recording its graph, or between steps."""
    begin, take, record_graph = Checkpoints.__init__, Stepper.take, Stepper._begin_graph

    def begun(self, folder, training_id, threaded):
        begin(self, folder, training_id, threaded)
        WATCH.training = training_id.rpartition("-")[0]

    def taken(self, *arguments):
        WATCH.place = "step"
        try:
            return take(self, *arguments)
        finally:
            WATCH.steps[WATCH.training] += 1
            WATCH.place = ""

    def recorded(self, *arguments):
        WATCH.place = "graph"
        return record_graph(self, *arguments)

    with (
        mock.patch.object(Checkpoints, "__init__", begun),
        mock.patch.object(Stepper, "take", taken),
        mock.patch.object(Stepper, "_begin_graph", recorded),
    ):
        yield
