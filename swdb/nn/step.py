"""One optimizer step: what the host draws, one copy to the device, losses, gradients, new weights. The host reads nothing.

On a GPU the whole of it can be recorded once and replayed, as a CUDA graph. Before that is trusted, one step is taken both
ways from the same state; where a bit differs, or recording fails, steps are taken one operation after the other, and the
training's record says why.

in: a step's number -> out: its losses, still on the device; the network's weights have moved
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from swdb.data.resident import sent
from swdb.nn.beside import Beside
from swdb.nn.compute import StepSettings
from swdb.nn.sampling import dropout_seed

GRAPH_FROM = 200  # steps that are left, from which on recording pays
ALIGNMENT = 16  # bytes, of each part of what is sent
MOST_COMING, COMING_BYTES = 8, 4 * 2**20  # batches that a CPU cuts at once: at most so many, drawn from so many bytes

Drawn = dict[str, Tensor]


@dataclass(frozen=True)
class Objective:
    """What a training minimises: `draw` on the host, `cut` and `losses` on the device, which is where they may be told apart.

    `draw` returns CPU tensors by name, of the same shapes at every step. `cut` gets them on the device and returns the batch,
    whatever `losses` takes; both ask the host for nothing and read nothing back, and only `losses` may look at the network.
    A CPU calls them some steps ahead.
    It returns terms whose sum is minimised, and may add `watched` ones that are not.
    """

    draw: Callable[[int], Drawn]
    losses: Callable[[Any], dict[str, Tensor]]
    watched: tuple[str, ...] = ()
    see: Callable[[int, dict[str, float]], None] = lambda step, values: None  # is told the watched values of every step
    cut: Callable[[Drawn], Any] = lambda drawn: drawn


@dataclass(frozen=True)
class Rates:
    """The learning rates of an optimizer's groups at a step."""

    base: list[float]
    factor: Callable[[int], float]

    def at(self, step: int) -> list[float]:
        """Return the rate of every group."""
        return [base * self.factor(step) for base in self.base]


class Stepper:
    """Takes the steps of one training."""

    def __init__(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, objective: Objective, rates: Rates,
        clip_norm: float, seed: int, settings: StepSettings,
    ):  # fmt: skip
        self.network, self.optimizer, self.objective, self.rates = network, optimizer, objective, rates
        self.clip_norm, self.seed, self.settings = clip_norm, seed, settings
        self.device = next(network.parameters()).device
        self.names: tuple[str, ...] = ()  # of what a step returns, known after the first
        on_gpu = self.device.type == "cuda"
        self.device_rates = on_gpu if settings.device_rates is None else settings.device_rates
        self.graph: Graph | None = None
        self.beside: Beside | None = None
        self.coming = Coming(objective)
        self.why_no_graph = "" if on_gpu else "there is no GPU"

    def take(self, step: int, steps: int) -> Tensor:
        """Take a step of `steps`; returns its terms and what is watched, one after the other, (T,) on the device."""
        rates = self.rates.at(step)
        if self.device.type == "cpu" and not self.device_rates:
            return self._take_on_cpu(step, steps, rates)
        drawn = self.objective.draw(step)
        if self.device_rates:
            drawn = drawn | {"rates": torch.tensor(rates)}
        else:
            self._set_rates(rates)
        self.seed_dropout(step)
        if self.graph is not None:
            return self.graph.replay(drawn)
        if not self.why_no_graph and self._wants_graph(steps - step):
            return self._begin_graph(drawn, step)
        return self.run(Packed(drawn).unpacked(self.device))

    def run(self, drawn: Drawn) -> Tensor:
        """Do the device's part of a step."""
        if self.device_rates:
            self._set_rates(drawn["rates"].unbind())
        return self._learn(self.objective.losses(self.objective.cut(drawn)), Tensor.backward)

    def _take_on_cpu(self, step: int, steps: int, rates: list[float]) -> Tensor:
        """Take a step where everything is there already; an idle core cuts the next batch and computes weight gradients."""
        beside = self._beside()
        batch = self.coming.batch(step, step + 1 if beside else steps)
        self._set_rates(rates)
        self.seed_dropout(step)
        if beside is None:
            return self._learn(self.objective.losses(batch), Tensor.backward)
        if step + 1 < steps:
            self.coming.order(step + 1, beside.threads)
        with beside():
            terms = self.objective.losses(batch)
        return self._learn(terms, beside.backward)

    def _learn(self, terms: dict[str, Tensor], backward: Callable[[Tensor], None]) -> Tensor:
        """Move the weights; returns the terms, one after the other."""
        self.names = tuple(terms)
        self.optimizer.zero_grad(set_to_none=True)
        backward(sum(term for name, term in terms.items() if name not in self.objective.watched))
        if self.clip_norm:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.clip_norm)
        self.optimizer.step()
        return torch.stack([term.detach().float() for term in terms.values()])

    def _beside(self) -> Beside | None:
        """Return what an idle core of a CPU works with, if there is one now."""
        alone = not self.settings.compile and torch.get_num_threads() == 1
        if not (alone and self.settings.core_is_idle()):
            return None
        self.beside = self.beside or Beside(self.network)
        return self.beside

    def seed_dropout(self, step: int) -> None:
        """Seed what is drawn on the device, so that it hangs on the step alone."""
        value = dropout_seed(self.seed, step)
        if self.device.type == "cpu":  # its generator alone: to look for other devices takes longer than to cut a batch
            torch.default_generator.manual_seed(value)
        else:
            torch.manual_seed(value)

    @contextmanager
    def numbers(self) -> Iterator[None]:
        """Let the optimizer's rates be plain numbers meanwhile, as a checkpoint keeps them."""
        kept = [group["lr"] for group in self.optimizer.param_groups]
        self._set_rates(self.rates.base)
        yield
        self._set_rates(kept)

    def describe(self) -> dict[str, str]:
        """Say how steps were taken."""
        kind = type(self.optimizer).__name__.lower()
        capturable = any(group.get("capturable") for group in self.optimizer.param_groups)
        return {
            "batch": "one copy a step, cut on the device" if self.device.type == "cuda" else "in the host's memory",
            "rates": "tensors on the device" if self.device_rates else "numbers",
            "optimizer": f"{kind}, fused{', capturable' if capturable else ''}",
            "graph": f"none: {self.why_no_graph}"
            if self.graph is None
            else "replayed; its first step was that without",
            "compile": self.settings.compile or "none",
        }

    def _set_rates(self, rates: Iterable[Any]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    # ------------------------------------------------------------ the graph

    def _wants_graph(self, left: int) -> bool:
        if not self.device_rates:
            self.why_no_graph = "learning rates are numbers"
        elif self.settings.graph is False:
            self.why_no_graph = "turned off"
        elif self.settings.graph is None and left < GRAPH_FROM:
            self.why_no_graph = f"it would not pay for {left} steps"
        elif self.settings.graph is None and self.settings.compile:
            self.why_no_graph = "the step is compiled"
        return not self.why_no_graph

    def _begin_graph(self, drawn: Drawn, step: int) -> Tensor:
        """Take a step both ways, and go on with the graph if it did the same to the last bit."""
        before = self._state()
        packed = Packed(drawn)
        buffer = packed.sent(self.device)
        with on_another_stream():
            values = self.run(packed.parts(buffer))
        after = self._state()
        self._restore(before)
        self._set_capturable(True)
        try:
            graph = Graph(lambda: self.run(packed.parts(buffer)), buffer)
            self.seed_dropout(step)
            found = graph.replay(drawn)
            if torch.equal(found, values) and _equal(self._state(), after):
                self.graph = graph
                return found
            self.why_no_graph = f"its step was another than without, at step {step}"
        except RuntimeError as error:
            self.why_no_graph = f"recording failed ({' '.join(str(error).split())[:200]})"
        self._set_capturable(False)
        self._restore(after)
        return values

    def _set_capturable(self, capturable: bool) -> None:
        """Tell Adam whether it is to be recorded, else it refuses; SGD is not asked."""
        for group in self.optimizer.param_groups:
            if "capturable" in group:
                group["capturable"] = capturable

    def _state(self) -> list[Tensor]:
        return [tensor.detach().clone() for tensor in self._tensors()]

    def _tensors(self) -> list[Tensor]:
        """List what a step changes: weights, buffers, and what the optimizer keeps, which is nothing before the first."""
        kept = [value for state in self.optimizer.state.values() for value in state.values()]
        return [*self.network.state_dict().values(), *(value for value in kept if isinstance(value, Tensor))]

    def _restore(self, values: list[Tensor]) -> None:
        """Write values into the tensors that there are; what the optimizer did not keep then is 0."""
        with torch.no_grad():
            for k, tensor in enumerate(self._tensors()):
                if k < len(values):
                    tensor.copy_(values[k])
                else:
                    tensor.zero_()


def _equal(these: list[Tensor], those: list[Tensor]) -> bool:
    return len(these) == len(those) and all(torch.equal(one, other) for one, other in zip(these, those, strict=True))


# ---------------------------------------------------------------- on a CPU


class Coming:
    """Batches that are cut before their step, on a CPU.

    A step leaves nothing in a core's cache of what cuts batches, neither code nor data. So several are cut in a row, which
    takes half the time; each is a function of its step, and the same whenever it is cut.
    """

    def __init__(self, objective: Objective):
        self.objective = objective
        self.cut: dict[int, Any] = {}  # batches, or who cuts them, by step

    def batch(self, step: int, end: int) -> Any:
        """Return a step's batch; where it is not there yet, those of some steps after it, before `end`, are cut with it."""
        if step not in self.cut:
            first = self.objective.draw(step)
            count = COMING_BYTES // max(1, sum(tensor.nbytes for tensor in first.values()))
            last = min(end, step + max(1, min(count, MOST_COMING)))
            drawn = [first, *map(self.objective.draw, range(step + 1, last))]
            self.cut |= zip(range(step, last), map(self.objective.cut, drawn), strict=True)
        found = self.cut.pop(step)
        return found.result() if isinstance(found, Future) else found

    def order(self, step: int, threads: Executor) -> None:
        """Let another thread cut a step's batch, if nobody has."""
        if step not in self.cut:
            self.cut[step] = threads.submit(lambda: self.objective.cut(self.objective.draw(step)))


# ---------------------------------------------------------------- on a GPU


class Graph:
    """A recorded step, which works on one buffer and leaves its answer in one place."""

    def __init__(self, run: Callable[[], Tensor], buffer: Tensor):
        self.buffer, self.graph = buffer, torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.values = run()

    def replay(self, drawn: Drawn) -> Tensor:
        """Take the step on what was drawn, which has the shapes of what was recorded."""
        self.buffer.copy_(Packed(drawn).pinned(), non_blocking=True)
        self.graph.replay()
        return self.values.clone()


@contextmanager
def on_another_stream() -> Iterator[None]:
    """Work on another stream of the GPU, as torch wants it before something is recorded."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        yield
    torch.cuda.current_stream().wait_stream(stream)


# ---------------------------------------------------------------- what is sent


class Packed:
    """Tensors of the host in one piece of memory, so that one copy brings all of them to the device."""

    def __init__(self, drawn: Drawn):
        self.drawn = drawn

    def unpacked(self, device: torch.device) -> Drawn:
        """Return the tensors on the device; on a CPU they are there already."""
        return self.drawn if device.type == "cpu" else self.parts(self.sent(device))

    def sent(self, device: torch.device) -> Tensor:
        """Copy them to the device in one piece, without waiting."""
        return sent(self.bytes(), device)

    def pinned(self) -> Tensor:
        """Return the piece where a copy need not be waited for."""
        return self.bytes().pin_memory()

    def bytes(self) -> Tensor:
        """Lay the tensors one behind the other, (N,) uint8."""
        parts = []
        for tensor in self.drawn.values():
            part = tensor.contiguous().view(-1).view(torch.uint8)
            parts += [part, part.new_zeros(-len(part) % ALIGNMENT)]
        return torch.cat(parts)

    def parts(self, whole: Tensor) -> Drawn:
        """Return the tensors as views of their piece, wherever that is."""
        found, start = {}, 0
        for name, tensor in self.drawn.items():
            size = tensor.nbytes
            found[name] = whole[start : start + size].view(tensor.dtype).view(tensor.shape)
            start += size + -size % ALIGNMENT
        return found
