"""Ways to run the same day: the naive service, this one, and what shortens this one's tail."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from imagegen.cost.assumptions import Assumptions
from imagegen.cost.instance import Life, Request, Service
from imagegen.cost.simulation import simulate
from imagegen.cost.trace import Arrival, Kind, Trace

Answers = list[tuple[Arrival, float | None]]  # when each was answered; None: refused


@dataclass(frozen=True)
class Scenario:
    """Who serves the day, and what runs apart from the service with the GPU."""

    name: str
    is_naive: bool = False
    has_web: bool = False  # pages come from the role `web`, without a GPU
    has_jobs: bool = False  # each prompt script is a Cloud Run job of its own
    is_warm: bool = False  # one instance is kept in warm hours


SCENARIOS = (
    Scenario("naive", is_naive=True),
    Scenario("naive, pages elsewhere", is_naive=True, has_web=True),
    Scenario("imagegen, one service"),
    Scenario("+ pages on a CPU", has_web=True),
    Scenario("+ scripts as jobs", has_jobs=True),
    Scenario("+ both", has_web=True, has_jobs=True),
    Scenario("+ both, warm hours", has_web=True, has_jobs=True, is_warm=True),
)


@dataclass(frozen=True)
class Played:
    """A day as a scenario had it. Waits are from the question to the whole answer."""

    scenario: Scenario
    pictures: int  # that somebody got
    refused: int  # requests
    picture_waits_s: tuple[float, ...]  # of the answered requests of kind `generate`
    page_waits_s: tuple[float, ...]
    lives: tuple[Life, ...]  # of the instances with a GPU, in the order of their starts
    gpu_billed_s: float
    web_billed_s: float

    @property
    def rendering_s(self) -> float:
        return sum(life.rendering_s for life in self.lives)


def play(trace: Trace, scenario: Scenario, assumed: Assumptions) -> Played:
    """The whole trace under one scenario."""
    service = _gpu_service(scenario, assumed)
    apart = {Kind.PAGE: scenario.has_web, Kind.BATCH: scenario.has_jobs, Kind.GENERATE: False}
    asked = [arrival for arrival in trace.arrivals if not apart[arrival.kind]]
    run = simulate([_request(arrival, assumed) for arrival in asked], service, trace.horizon_s)
    answers = list(zip(asked, run.answered_s, strict=True))
    lives, billed_s, web_billed_s = list(run.lives), sum(life.billed_s for life in run.lives), 0.0
    if scenario.has_web:
        answers, web_billed_s = _through_web(trace, answers, assumed)
    if scenario.has_jobs:
        for script in trace.of(Kind.BATCH):
            tasks = _as_job(script, service, assumed)
            answers.append((script, max(life.stopped_s for life in tasks)))
            lives += tasks
            billed_s += sum(max(assumed.job_least_s, life.billed_s) for life in tasks)
    return Played(
        scenario=scenario,
        pictures=sum(each.num_images for each, answered_s in answers if answered_s is not None),
        refused=sum(answered_s is None for _, answered_s in answers),
        picture_waits_s=_waits_s(answers, Kind.GENERATE),
        page_waits_s=_waits_s(answers, Kind.PAGE),
        lives=tuple(sorted(lives, key=lambda life: life.started_s)),
        gpu_billed_s=billed_s,
        web_billed_s=web_billed_s,
    )


def _gpu_service(scenario: Scenario, assumed: Assumptions) -> Service:
    ours = Service(
        start_s=assumed.start_s,
        concurrency=assumed.concurrency,
        max_instances=assumed.max_instances,
        idle_tail_s=assumed.idle_tail_s,
        scale_at=assumed.scale_at,
        pend_s=assumed.pend_s,
        pend_starts=assumed.pend_starts,
        picture_s=assumed.picture_s,
        marginal_picture=assumed.marginal_picture,
        max_batch=assumed.max_batch,
        warm_hours=assumed.warm_span_h if scenario.is_warm else None,
    )
    if not scenario.is_naive:
        return ours
    return replace(
        ours, start_s=assumed.naive_start_s, picture_s=assumed.naive_picture_s, max_batch=1
    )


def _request(arrival: Arrival, assumed: Assumptions) -> Request:
    match arrival.kind:
        case Kind.PAGE:
            return Request(arrival.at_s, held_s=assumed.page_s)
        case Kind.GENERATE:
            return Request(arrival.at_s, num_images=arrival.num_images)
        case Kind.BATCH:
            return Request(
                arrival.at_s,
                num_images=arrival.num_images,
                at_a_time=assumed.script_requests,
                slots=min(assumed.script_requests, assumed.concurrency),
                patience_s=assumed.script_patience_s,
            )


def _through_web(trace: Trace, answers: Answers, assumed: Assumptions) -> tuple[Answers, float]:
    """The answers as people get them from the role `web`, and the seconds it is billed for.

    It serves the pages itself and holds a request for pictures open while the GPU works on it.
    Scripts ask the service with the GPU themselves.
    """
    web = Service(
        start_s=assumed.web_start_s,
        concurrency=assumed.web_concurrency,
        max_instances=assumed.max_instances,
        idle_tail_s=assumed.idle_tail_s,
        scale_at=assumed.scale_at,
        pend_s=assumed.pend_s,
        pend_starts=assumed.pend_starts,
    )
    held = [(page, assumed.page_s) for page in trace.of(Kind.PAGE)]
    held += [
        (arrival, answered_s - arrival.at_s)
        for arrival, answered_s in answers
        if arrival.kind is Kind.GENERATE and answered_s is not None
    ]
    held.sort(key=lambda pair: pair[0].at_s)
    run = simulate([Request(arrival.at_s, held_s) for arrival, held_s in held], web)
    seen = [(arrival, done_s) for (arrival, _), done_s in zip(held, run.answered_s, strict=True)]
    seen += [each for each in answers if each[0].kind is not Kind.GENERATE or each[1] is None]
    return seen, sum(life.billed_while_busy_s for life in run.lives)


def _as_job(script: Arrival, service: Service, assumed: Assumptions) -> list[Life]:
    """The job's tasks: each starts, renders full batches and ends, without an idle tail."""
    batch_s = service.picture_s * (1 + (service.max_batch - 1) * service.marginal_picture)
    rendering_s = max(assumed.job_longest_s - service.start_s, batch_s)
    most = math.floor(rendering_s / batch_s) * service.max_batch
    num_tasks = math.ceil(script.num_images / most)
    alone = replace(service, idle_tail_s=0.0, max_instances=1, warm_hours=None)
    lives: list[Life] = []
    for task in range(num_tasks):
        share = len(range(task, script.num_images, num_tasks))
        request = Request(
            script.at_s, num_images=share, at_a_time=service.max_batch, patience_s=math.inf
        )
        lives += simulate([request], alone).lives
    return lives


def _waits_s(answers: Answers, kind: Kind) -> tuple[float, ...]:
    return tuple(
        answered_s - arrival.at_s
        for arrival, answered_s in answers
        if arrival.kind is kind and answered_s is not None
    )
