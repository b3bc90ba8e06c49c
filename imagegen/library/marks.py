"""Marks: what people think of a picture. Histories only grow; plain data."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from imagegen.errors import FieldError, InvalidRequest, MarkedMeanwhile

MOST_ENTRIES = 1_000  # of a generation: a history is read whole
Mark = Literal["favourite", "approved", "rejected", "none"]


class Marking(BaseModel):
    """What somebody wants to say of a picture."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    mark: Mark = Field(description="What it shall be; `none` takes the mark away.")
    revision: int | None = Field(
        default=None,
        ge=0,
        description="The revision in which you saw the picture's marks: if somebody has marked it "
        "since, you are told (409) and nothing is changed. Without it yours comes last.",
    )


class MarkEntry(BaseModel):
    """Who said what, and when."""

    model_config = ConfigDict(frozen=True)

    mark: Mark
    by: str | None = Field(description="The caller; null where nobody has to say who he is.")
    at: AwareDatetime


class PictureMarks(BaseModel):
    """A picture's mark, and how it came to it."""

    model_config = ConfigDict(frozen=True)

    mark: Mark
    revision: int = Field(description="Grows with every entry of the history; 0: never marked.")
    history: tuple[MarkEntry, ...] = Field(description="The oldest first.")


class GenerationMarks(BaseModel):
    """Of each picture of a generation, in their order."""

    images: tuple[PictureMarks, ...]


class _Kept(MarkEntry):
    index: int  # of the picture


class MarkHistory(BaseModel):
    """What was said of all pictures of a generation, as it is stored."""

    model_config = ConfigDict(frozen=True)

    entries: tuple[_Kept, ...] = ()

    def of(self, index: int) -> PictureMarks:
        """Picture `index`."""
        history = tuple(
            MarkEntry(mark=one.mark, by=one.by, at=one.at)
            for one in self.entries
            if one.index == index
        )
        mark = history[-1].mark if history else "none"
        return PictureMarks(mark=mark, revision=len(history), history=history)

    def marked(self, index: int, marking: Marking, by: str | None, now: datetime) -> MarkHistory:
        """With one entry more; the same where it would say what its last one says.

        Raises MarkedMeanwhile, and InvalidRequest once there is no room.
        """
        before = self.of(index)
        last = before.history[-1] if before.history else None
        if last is not None and (last.mark, last.by) == (marking.mark, by):
            return self  # he asks again, perhaps as the answer was lost
        if last is None and marking.mark == "none":
            return self
        if marking.revision not in (None, before.revision):
            raise MarkedMeanwhile(
                f"the picture is {_said(before)} since; look at it again, then decide"
            )
        if len(self.entries) >= MOST_ENTRIES:
            raise InvalidRequest(
                FieldError("mark", f"was changed {MOST_ENTRIES:,} times; there is no room for more")
            )
        at = now if last is None else max(now, last.at)  # clocks of instances differ
        entry = _Kept(index=index, mark=marking.mark, by=by, at=at)
        return MarkHistory(entries=(*self.entries, entry))


def _said(marks: PictureMarks) -> str:
    if marks.mark == "none":
        return "without a mark"
    who = marks.history[-1].by
    return marks.mark if who is None else f"{marks.mark} by {who}"
