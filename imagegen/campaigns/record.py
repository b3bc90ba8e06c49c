"""CampaignRecord: a campaign as it is stored. What became of its rows, their generations say."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from imagegen.callers import Caller
from imagegen.generation import GenerationRequest
from imagegen.generations.acceptance import id_under
from imagegen.generations.records import Failure

Wish = Literal["run", "stop"]


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True)


class CampaignRow(_Stored):
    """A row that is asked for, with its seed; the same key always gives the same generation."""

    line: int  # of what was pasted
    request: GenerationRequest
    attempt: int = 0
    refused: Failure | None = None  # it never became a generation


class BadLine(_Stored):
    """A row that could not be understood; it was left out."""

    line: int
    message: str


class CampaignRecord(_Stored):
    """All that an instance must know to go on with it. Each change gives a new record."""

    id: str
    name: str
    owner: str
    caller: str  # whose turns its rows take
    created_at: AwareDatetime
    wish: Wish = "run"
    rows: tuple[CampaignRow, ...]
    bad_lines: tuple[BadLine, ...] = ()

    def as_caller(self) -> Caller:
        """On whose behalf rows are asked for: his brands were checked when he began."""
        return Caller(self.caller, owner=self.owner)

    def key(self, index: int) -> str:
        """The Idempotency-Key of row `index`."""
        return f"{self.id}:{index}:{self.rows[index].attempt}"

    def generation_id(self, index: int) -> str:
        """That row `index` has, or will have."""
        return id_under(self.key(index), self.as_caller())

    def wished(self, wish: Wish) -> CampaignRecord:
        return self.model_copy(update={"wish": wish})

    def refused(self, index: int, failure: Failure) -> CampaignRecord:
        """Row `index` cannot become a generation."""
        return self._with({index: self.rows[index].model_copy(update={"refused": failure})})

    def again(self, indexes: frozenset[int]) -> CampaignRecord:
        """These rows are asked for anew."""
        changed = {
            index: self.rows[index].model_copy(
                update={"attempt": self.rows[index].attempt + 1, "refused": None}
            )
            for index in indexes
        }
        return self._with(changed).wished("run")

    def _with(self, changed: dict[int, CampaignRow]) -> CampaignRecord:
        rows = tuple(changed.get(index, row) for index, row in enumerate(self.rows))
        return self.model_copy(update={"rows": rows})
