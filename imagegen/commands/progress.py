"""How a command tells what it does: a bar on a terminal, lines elsewhere, JSON for machines."""

from __future__ import annotations

import json
import threading
import time
from typing import Any, TextIO

from imagegen.batch.manifest import ManifestRow, as_json
from imagegen.engine.process import Preview, Progress
from imagegen.logs import printable

_CLEAR_LINE = "\r\x1b[K"
_BAR_WIDTH = 24


def describe(row: ManifestRow) -> str:
    """One line about one row: what became of it and where its pictures are."""
    place = f"line {row.line}"
    if row.status == "succeeded" and row.result and row.request:
        words = f"{row.request['brand']}  {row.request['prompt']}"
        return printable(f"{place}: {words}  ->  {', '.join(row.result.files)}")
    return printable(f"{place}: {row.status}: {row.error}")


class BatchProgress:
    """Tells of each row as it ends. The bar and the notes go to `err`, results to `out`."""

    def __init__(self, total: int, out: TextIO, err: TextIO, *, as_json: bool) -> None:
        """total: rows that will be rendered."""
        self._total = total
        self._out = out
        self._err = err
        self._as_json = as_json
        self._has_bar = err.isatty() and not as_json
        self._ended = 0
        self._without = 0
        self._started = time.monotonic()

    def note(self, text: str) -> None:
        """A sentence for people; machines get none."""
        if not self._as_json:
            self._write(self._err, printable(text))

    def row(self, row: ManifestRow) -> None:
        """A row has ended; failures are told even where a bar stands for the others."""
        if row.status != "invalid":
            self._ended += 1
        self._without += row.status != "succeeded"
        if self._as_json:
            self.machine_line(as_json(row))
        elif not self._has_bar or row.status != "succeeded":
            self._write(self._out, describe(row))
        self._draw()

    def machine_line(self, content: dict[str, Any]) -> None:
        """One JSON object on a line of its own, if machines listen."""
        if self._as_json:
            self._write(self._out, json.dumps(content, ensure_ascii=False))

    def close(self) -> None:
        """Ends the bar's line."""
        if self._has_bar:
            self._err.write(_CLEAR_LINE)
            self._err.flush()

    def _write(self, stream: TextIO, line: str) -> None:
        self.close()
        stream.write(line + "\n")
        stream.flush()

    def _draw(self) -> None:
        if not self._has_bar:
            return
        bar = _bar(self._ended / max(1, self._total))
        failures = f" · {self._without} without pictures" if self._without else ""
        self._err.write(f"{_CLEAR_LINE}{bar} {self._ended}/{self._total}{failures}{self._left()}")
        self._err.flush()

    def _left(self) -> str:
        if not 0 < self._ended < self._total:
            return ""
        spent_s = time.monotonic() - self._started
        left_s = round(spent_s / self._ended * (self._total - self._ended))
        return f" · {_clock(left_s)} left"


def _bar(share: float) -> str:
    filled = round(share * _BAR_WIDTH)
    return "█" * filled + "░" * (_BAR_WIDTH - filled)


def _clock(seconds: int) -> str:
    return f"{seconds // 60}:{seconds % 60:02d}"


class RenderProgress:
    """Tells of one request's steps: a bar on a terminal, nothing elsewhere."""

    def __init__(self, num_images: int, err: TextIO) -> None:
        self._err = err
        self._done = [0] * num_images
        self._eta_s: list[float | None] = [None] * num_images

    def hear(self, event: Progress | Preview) -> None:
        """For `on_event`: called on the engine's thread."""
        if not isinstance(event, Progress) or not self._err.isatty():
            return
        self._done[event.index], self._eta_s[event.index] = event.step, event.eta_s
        steps = len(self._done) * event.of
        known = [eta_s for eta_s in self._eta_s if eta_s is not None]
        left = f" · {_clock(round(max(known)))} left" if known else ""
        done = sum(self._done)
        self._err.write(f"{_CLEAR_LINE}{_bar(done / steps)} {done}/{steps} steps{left}")
        self._err.flush()

    def close(self) -> None:
        """Takes the bar away."""
        if self._err.isatty():
            self._err.write(_CLEAR_LINE)
            self._err.flush()


class PushProgress:
    """Tells of files that are in the bucket: a bar on a terminal, else a line for each."""

    def __init__(self, total_bytes: int, out: TextIO, err: TextIO, *, as_json: bool) -> None:
        """total_bytes: of all different files, sent or not."""
        self._total_bytes = total_bytes
        self._out = out
        self._err = err
        self._as_json = as_json
        self._has_bar = err.isatty() and not as_json
        self._done_bytes = 0
        self._lock = threading.Lock()  # files come on several threads

    def file(self, path: str, size_bytes: int, *, sent: bool) -> None:
        with self._lock:
            self._done_bytes += size_bytes
            if self._as_json:
                content = {"path": path, "size_bytes": size_bytes, "sent": sent}
                self._out.write(json.dumps(content, ensure_ascii=False) + "\n")
            elif self._has_bar:
                share = self._done_bytes / max(1, self._total_bytes)
                done, total = self._done_bytes / 1e6, self._total_bytes / 1e6
                self._err.write(f"{_CLEAR_LINE}{_bar(share)} {done:,.1f} of {total:,.1f} MB")
                self._err.flush()
            else:
                self._out.write(printable(f"{'sent' if sent else 'there'}  {path}") + "\n")

    def close(self) -> None:
        """Ends the bar's line."""
        if self._has_bar:
            self._err.write(_CLEAR_LINE)
            self._err.flush()


class StepProgress:
    """Tells of training: a line that counts on a terminal, elsewhere a line every fifty steps."""

    def __init__(self, err: TextIO) -> None:
        self._err = err
        self._on_terminal = err.isatty()

    def step(self, step: int, of: int, loss: float) -> None:
        text = f"step {step}/{of}  loss {loss:.4f}"
        if self._on_terminal:
            self._err.write(f"{_CLEAR_LINE}{text}")
        elif step % 50 == 0 or step == of:
            self._err.write(f"{text}\n")
        self._err.flush()

    def close(self) -> None:
        if self._on_terminal:
            self._err.write("\n")
