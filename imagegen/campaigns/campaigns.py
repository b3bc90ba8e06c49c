"""Campaigns: begun, looked at, stopped, resumed by people; driven by whichever instance lives."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from imagegen.callers import Caller
from imagegen.campaigns.bells import Bell
from imagegen.campaigns.driver import Driver
from imagegen.campaigns.plan import Pasted, Plan, plan_of
from imagegen.campaigns.progress import Progress
from imagegen.campaigns.record import CampaignRecord
from imagegen.campaigns.store import CampaignStore
from imagegen.errors import FieldError, InvalidRequest, ServiceUnreachable, UnknownCampaign
from imagegen.generation import GeneratedImage, ModelInfo
from imagegen.generations.archive import Archive
from imagegen.generations.register import ListQuery
from imagegen.presets import PresetCatalog

_SHOWN = 50  # in the list
_JUDGED_BY = 50  # generations, for the cost
_log = logging.getLogger(__name__)


class Campaigns:
    """Somebody else's does not exist. Methods raise StorageUnavailable."""

    def __init__(
        self,
        store: CampaignStore,
        driver: Driver,
        bell: Bell,
        catalog: PresetCatalog,
        archive: Archive,
        model: Callable[[], ModelInfo | None],
    ) -> None:
        """model: if it is known."""
        self._model = model
        self.driver = driver
        self._bell = bell
        self._store = store
        self._catalog = catalog
        self._archive = archive

    def plan(self, pasted: Pasted, caller: Caller) -> Plan:
        """Starts nothing. Raises InvalidRequest for what concerns the whole text."""
        listed = self._archive.list(caller, ListQuery(limit=_JUDGED_BY))
        earlier = [record.generation() for record in listed.records]
        return plan_of(pasted, self._catalog.seen_by(caller), earlier, self._model())

    def begin(self, pasted: Pasted, caller: Caller) -> CampaignRecord:
        """Its good rows. Raises InvalidRequest, also where there is none."""
        plan = self.plan(pasted, caller)
        if not plan.rows:
            raise InvalidRequest(FieldError("text", "has no row that can be rendered"))
        now = datetime.now(UTC)
        record = CampaignRecord(
            id=self._store.new_id(now),
            name=plan.name,
            owner=caller.owner,
            caller=caller.name,
            created_at=now,
            rows=plan.rows,
            bad_lines=plan.bad_lines,
        )
        self._store.create(record)
        self._bell.ring(record.id)
        return record

    def list(self, caller: Caller) -> list[CampaignRecord]:
        """His own and everybody's, the newest first."""
        owners = dict.fromkeys((caller.owner, ""))
        found = [one for owner in owners for one in self._store.newest(owner, _SHOWN)]
        shown = [_seen_by(caller, one) for one in found]
        return sorted((one for one in shown if one.rows), key=lambda one: one.id)[:_SHOWN]

    def find(self, campaign_id: str, caller: Caller) -> CampaignRecord:
        """With all rows, as their numbers count; `progress` leaves out those of brands that are not
        his. Of what was left out nothing is told then: it may name them. Raises UnknownCampaign.
        """
        for owner in dict.fromkeys((caller.owner, "")):
            record = self._store.find(campaign_id, owner)
            his = () if record is None else _seen_by(caller, record).rows
            if record is not None and his:
                is_all_his = len(his) == len(record.rows)
                return record if is_all_his else record.model_copy(update={"bad_lines": ()})
        raise UnknownCampaign(f"there is no campaign {campaign_id[:40]!r}")

    def progress(self, record: CampaignRecord, caller: Caller) -> Progress:
        """As of now. One that shall run and of which nobody knows is taken up again, and as long as
        somebody looks, whoever renders stays awake.
        """
        progress = self.driver.progress(record)
        if record.wish == "run" and not progress.has_ended:
            self._store.open(record)
            try:
                self._bell.keep(record.id)
            except ServiceUnreachable as error:
                _log.warning("nobody is called for the campaign %s: %s", record.id, error)
        return Progress(
            tuple(one for one in progress.rows if caller.may_use(one.row.request.brand))
        )

    def stop(self, campaign_id: str, caller: Caller) -> None:
        """Nothing new begins; what is under way is finished. Raises UnknownCampaign."""
        self._store.change(self.find(campaign_id, caller), lambda one: one.wished("stop"))

    def resume(self, campaign_id: str, caller: Caller) -> None:
        """Raises UnknownCampaign."""
        record = self._store.change(self.find(campaign_id, caller), lambda one: one.wished("run"))
        self._store.open(record)
        self._bell.ring(record.id)

    def retry(self, campaign_id: str, caller: Caller) -> None:
        """His rows that have failed are asked for anew. Raises UnknownCampaign."""
        record = self.find(campaign_id, caller)
        failed = self.progress(record, caller).failed
        if failed:
            self._store.open(self._store.change(record, lambda one: one.again(failed)))
            self._bell.ring(record.id)

    def called(self, campaign_id: str) -> None:
        """By the queue: it goes on here or elsewhere, and is looked after until it has ended.

        Raises StorageUnavailable, Draining and ServiceUnreachable: then the queue calls again.
        """
        if self.driver.go_on(campaign_id):
            self._bell.keep(campaign_id)

    def file(self, image: GeneratedImage) -> bytes:
        """A row's picture. Raises UnknownImage where somebody has removed it."""
        return self._archive.file(image)


def _seen_by(caller: Caller, record: CampaignRecord) -> CampaignRecord:
    rows = tuple(row for row in record.rows if caller.may_use(row.request.brand))
    return record.model_copy(update={"rows": rows})
