"""`imagegen cost`: an arrival trace under each way to run the service."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from imagegen.cost.assumptions import Assumptions
from imagegen.cost.plot import plot
from imagegen.cost.prices import PriceTable
from imagegen.cost.report import contents, summarise, table
from imagegen.cost.scenarios import SCENARIOS, play
from imagegen.cost.trace import SPARSE_DAY, Trace, read_trace
from imagegen.errors import FieldError, InvalidRequest
from imagegen.logs import printable
from imagegen.settings import Settings

DONE = 0
_Model = TypeVar("_Model", bound=BaseModel)


def cost(arguments: Namespace) -> int:
    """Prints what each scenario costs and how long it lets people wait; --plot draws it."""
    assumed = _with_options(Assumptions, {}, arguments)
    settings = Settings.from_environment().model_dump()
    prices = PriceTable.of(_with_options(Settings, settings, arguments))
    trace = read_trace(arguments.trace or SPARSE_DAY)
    played = [play(trace, scenario, assumed) for scenario in SCENARIOS]
    summaries = summarise(played, prices)
    plotted: Path | None = arguments.plot
    if plotted is not None:
        plotted.write_text(plot(trace, played, summaries), encoding="utf-8")
    if arguments.json:
        content = {
            "trace": contents(trace),
            "prices": asdict(prices),
            "assumptions": assumed.model_dump(),
            "scenarios": [asdict(summary) for summary in summaries],
        }
        print(json.dumps(content, ensure_ascii=False))
        return DONE
    name = arguments.trace or "a sparse working day (--trace FILE for your own)"
    print(f"{printable(str(name))}: {_in_words(trace)}\n\n{table(summaries)}")
    if plotted is not None:
        print(f"\nthe plot is in {plotted}")
    return DONE


def _with_options(kind: type[_Model], base: dict[str, Any], arguments: Namespace) -> _Model:
    """`base` with what the command line says otherwise. Raises InvalidRequest naming options."""
    said = {name: getattr(arguments, name, None) for name in kind.model_fields}
    try:
        return kind.model_validate(
            base | {name: value for name, value in said.items() if value is not None}
        )
    except ValidationError as error:
        raise InvalidRequest(*map(_fault, error.errors())) from None


def _fault(found: ErrorDetails) -> FieldError:
    option = f"--{found['loc'][0]}".replace("_", "-")
    return FieldError(option, found["msg"].removeprefix("Value error, "))


def _in_words(trace: Trace) -> str:
    """`72 pages, 26 requests, 1 script, 133 pictures, 1 day`."""
    return ", ".join(
        f"{number:,} {nouns.removesuffix('s') if number == 1 else nouns}"
        for nouns, number in contents(trace).items()
    )
