"""What every engine promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Finished(Generic[Result]):
    """A job that ended: with a value, or with the error that it raised.

    Args:
        index: place of the job in the sequence that was handed in.
        value: what the function returned; None if it raised.
        error: what the function raised, or a `WorkerDiedError`; None if it returned.
    """

    index: int
    value: Result | None = None
    error: BaseException | None = None


class Engine(Protocol):
    """Runs a function over items, in any order, and reuses its workers from one call to the next.

    Used as a context manager; leaving it ends the workers.

    Args:
        threads: of torch and BLAS in each job. Part of what determines a result.
    """

    threads: int

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def run(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Finished[Result]]:
        """Call ``function(item)`` for every item and yield each end as it comes.

        Args:
            function: at the top level of a module, so that workers can import it.
            items: picklable.

        Returns:
            One `Finished` an item, in the order in which they end.
        """
        ...
