"""Crew: threads that do what they are given and decide nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


class Crew(Generic[Task, Result]):
    """Does tasks at the same time, as many as are given; one thread gives and takes."""

    def __init__(self, work: Callable[[Task], Result]) -> None:
        self._work = work
        self._waiting: SimpleQueue[Task | None] = SimpleQueue()  # None: go home
        self._ended: SimpleQueue[tuple[Task, Result | Exception]] = SimpleQueue()
        self._threads = 0
        self.under_way = 0

    def give(self, task: Task) -> None:
        """Begins a task; a thread is started where all are busy."""
        self._waiting.put(task)
        self.under_way += 1
        if self.under_way > self._threads:
            self._threads += 1
            # Daemons: an interrupted run does not wait for answers that may take minutes.
            threading.Thread(target=self._run, name="crew", daemon=True).start()

    def take(self, timeout_s: float | None) -> list[tuple[Task, Result | Exception]]:
        """Everything that has ended since the last time; waits for one if there is none."""
        ended = []
        try:
            ended.append(self._ended.get(timeout=timeout_s))
            while True:
                ended.append(self._ended.get_nowait())
        except Empty:
            self.under_way -= len(ended)
            return ended

    def dismiss(self) -> None:
        """Lets the threads end as they have nothing to do; what they are at is heard by nobody."""
        for _ in range(self._threads):
            self._waiting.put(None)

    def _run(self) -> None:
        while (task := self._waiting.get()) is not None:
            try:
                self._ended.put((task, self._work(task)))
            except Exception as error:  # whoever waits is always told
                self._ended.put((task, error))
