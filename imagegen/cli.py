"""The command line: serve, generate, batch, presets, push-model, train-lora, cost, …"""

from __future__ import annotations

import math
import os
import sys
from argparse import (
    REMAINDER,
    ArgumentParser,
    ArgumentTypeError,
    BooleanOptionalAction,
    Namespace,
    RawDescriptionHelpFormatter,
)
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from imagegen.adapter_files.check import MAX_RANK
from imagegen.branding.overlay import Overlay
from imagegen.client.pace import MOST
from imagegen.client.request import PICTURES
from imagegen.commands import batching, brands, cost, keys, publishing, rendering
from imagegen.cost.assumptions import Assumptions
from imagegen.errors import CallerError, ImagegenError, OperatorError, ServiceUnreachable
from imagegen.generation import GenerationRequest
from imagegen.logs import printable
from imagegen.settings import PREFIX, Settings

FAILED, USAGE = 1, 2
INTERRUPTED = 130  # 128 + SIGINT, as shells say it

_EXAMPLES = {
    "imagegen": """\
  imagegen serve
  imagegen generate --brand aurora "a red mug" --num-images 4 -o pictures
  imagegen batch campaign.csv --dry-run""",
    "generate": """\
  imagegen generate --brand aurora "a red mug"
  imagegen generate --brand aurora "a lamp" --format story --seed 7 --output-format jpeg
  imagegen generate --brand aurora "a lamp" --headline "Go where it is dark" --legal "Terms apply."
  imagegen generate --brand aurora "a red lamp" --init-image lamp.jpg --strength 0.5
  imagegen generate --brand aurora "a lamp" --url https://imagegen.example.com --json""",
    "batch": """\
  imagegen batch campaign.csv --dry-run       what would be rendered, and what is wrong
  imagegen batch campaign.csv -o pictures     a second time it skips what is finished
  imagegen batch ideas.jsonl --var product=mug,lamp --url http://127.0.0.1:8080
  imagegen batch matrix.yaml --retry-failed   tries again what failed before

A script is a CSV or JSONL file whose columns are the fields of a request, a YAML file with lists
of values, whose product is the rows, or a batch file as OpenAI takes them; see docs/batch.md.""",
    "presets": """\
  imagegen presets list
  imagegen presets check
  imagegen presets show aurora --json
  imagegen presets push gs://MY-BUCKET/presets""",
    "keys": """\
  imagegen keys create --caller shop --brands aurora,pop
  imagegen keys list
  imagegen keys revoke k7m2x9ab

To exchange a key, create the second one, hand it out, and revoke the first. IMAGEGEN_KEYS is the
file (keys.json); a service with IMAGEGEN_AUTH=keys follows it.""",
    "push-model": """\
  imagegen push-model models/my-model gs://MY-BUCKET/models/my-model""",
    "train-lora": """\
  imagegen train-lora --brand aurora --images photos --steps 800 --rank 8""",
    "cost": """\
  imagegen cost                                          a sparse working day that comes along
  imagegen cost --trace monday.csv --plot monday.svg
  imagegen cost --idle-tail-s 600 --json

A trace is a CSV or JSONL file: time (seconds since midnight, or ISO time stamps), kind (page,
generate, batch) and num_images. What is assumed, and how sure it is: docs/cost.md.""",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns 0 done, 1 something failed, 2 usage, 130 interrupted."""
    try:
        parsed = _parser().parse_args(arguments)
        code = int(parsed.run(parsed))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _say("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has left; Python's last flush must not complain about it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (OperatorError, CallerError, ServiceUnreachable) as error:
        return _say(error.detail, USAGE)
    except ImagegenError as error:
        return _say(error.detail, FAILED)
    except OSError as error:
        reason = error.strerror or str(error)
        return _say(f"{error.filename}: {reason}" if error.filename else reason, FAILED)
    return code


def _say(text: str, code: int) -> int:
    lines = "\n".join(map(printable, text.splitlines()))
    print(f"imagegen: {lines}", file=sys.stderr)
    return code


def _parser() -> ArgumentParser:
    parser = ArgumentParser("imagegen", **_help_of("imagegen", "On-brand pictures on demand."))
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[Namespace], int], about: str) -> ArgumentParser:
        made = commands.add_parser(name, help=about, **_help_of(name, about))
        made.set_defaults(run=run)
        return made

    command("serve", _serve, "The service and its pages; the environment holds its settings.")
    _add_generate(command("generate", rendering.generate, "Pictures from one prompt."))
    _add_batch(command("batch", batching.batch, "Pictures from a file of prompts."))
    _add_presets(command("presets", brands.presets_list, "The brands: list, check, show, push."))
    _add_keys(command("keys", keys.keys_list, "API keys for callers: create, list, revoke."))
    _add_push(command("push-model", publishing.push_model, "A model's folder into a bucket."))
    _add_training(
        command("train-lora", brands.train_lora, "A brand's LoRA from a folder of pictures.")
    )
    _add_cost(command("cost", cost.cost, "What a day of arrivals costs on Cloud Run, simulated."))
    starter = command("starter", _starter, "The model that ships: how good it is.")
    starter.add_argument("action", choices=["evaluate"])
    starter.add_argument("rest", nargs=REMAINDER, metavar="…", help="its own options")
    return parser


def _help_of(name: str, about: str) -> dict[str, Any]:
    epilog = f"examples:\n{_EXAMPLES[name]}" if name in _EXAMPLES else None
    return {
        "description": about,
        "epilog": epilog,
        "formatter_class": RawDescriptionHelpFormatter,
        "allow_abbrev": False,
    }


def _add_generate(parser: ArgumentParser) -> None:
    """One option for each field of a request, so that a new field is an option by itself."""
    for name, field in GenerationRequest.model_fields.items():
        about = (field.description or "").replace("`", "").replace("%", "%%")
        option = f"--{name.replace('_', '-')}"
        if name == "prompt":
            parser.add_argument("prompt", help=about)
        elif name in PICTURES:
            parser.add_argument(option, type=Path, metavar="FILE", help=about)
        elif name == "overlay":
            _add_overlay(parser, about)
        elif field.annotation is bool and field.default:
            parser.add_argument(option, action=BooleanOptionalAction, default=None, help=about)
        elif field.annotation is bool:
            parser.add_argument(option, action="store_const", const="true", help=about)
        else:
            needed = field.is_required()
            parser.add_argument(option, required=needed, metavar=name.upper(), help=about)
    parser.add_argument(
        "-o", "--output", type=Path, default=Path(), metavar="DIR",
        help="where the pictures go; here by default",
    )  # fmt: skip
    _add_source(parser)


def _add_overlay(parser: ArgumentParser, about: str) -> None:
    parser.add_argument("--overlay", action="store_const", const="true", help=about)
    for name in rendering.OVERLAY_WORDS:
        words = str(Overlay.model_fields[name].description)
        parser.add_argument(f"--{name}", metavar="TEXT", help=f"{words} With it comes the logo.")


def _add_batch(parser: ArgumentParser) -> None:
    parser.add_argument(
        "file", metavar="FILE", help="the prompt script: CSV, JSONL or YAML, here or at gs://…"
    )
    parser.add_argument(
        "-o", "--output", metavar="DIR",
        help="pictures, manifest and contact sheet, here or at gs://…; "
        "FILE's name with -pictures by default",
    )  # fmt: skip
    parser.add_argument(
        "--var", action="append", default=[], metavar="NAME=A,B",
        help="values of {NAME} in rows that do not say their own; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--dry-run", action="store_true",
        help="check, count and estimate GPU-seconds and cost; render nothing",
    )  # fmt: skip
    parser.add_argument(
        "--zip", action="store_true", help="put all of it into one file beside the folder as well"
    )
    parser.add_argument(
        "--retry-failed", action="store_true",
        help="try rows again that failed before; otherwise they are left as they are",
    )  # fmt: skip
    parser.add_argument(
        "--concurrency", type=_concurrency, metavar="N",
        help="rows at a time; by default as many as keep the engine busy, which is learned",
    )  # fmt: skip
    _add_source(parser)


def _add_source(parser: ArgumentParser) -> None:
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--url", help="ask the imagegen service at this address")
    where.add_argument("--local", action="store_true", help="render on this machine (the default)")
    parser.add_argument(
        "--id-token", action="store_true",
        help="with --url: show Google's ID token of this machine's service account, as Cloud Run "
        "wants it of invokers; an API key comes from IMAGEGEN_API_KEY",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="one JSON object a line, for machines")


def _concurrency(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST):
        raise ArgumentTypeError(f"{text!r} is not a number from 1 to {MOST}")
    return int(text)


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ArgumentTypeError(f"{text!r} is not a number from 1")
    return int(text)


def _rank(text: str) -> int:
    rank = _positive(text)
    if rank > MAX_RANK:
        raise ArgumentTypeError(f"{text} is above {MAX_RANK}, the most that a brand may have")
    return rank


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate < 1:
        raise ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return rate


def _add_presets(parser: ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="every brand, one a line")
    listing.set_defaults(run=brands.presets_list)
    check = actions.add_parser("check", help="every fault of every brand; exit 1 if there are any")
    check.set_defaults(run=brands.presets_check)
    show = actions.add_parser("show", help="all that one brand adds to a request")
    show.add_argument("brand")
    show.set_defaults(run=brands.presets_show)
    push = actions.add_parser("push", help="checks all brands and publishes them in a bucket")
    push.add_argument("url", metavar="gs://…", help="where")
    push.set_defaults(run=publishing.push_presets)
    for action in (listing, check, show, push):
        action.add_argument("--json", action="store_true", help="JSON, for machines")


def _add_keys(parser: ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    create = actions.add_parser("create", help="a new key, shown this once")
    create.set_defaults(run=keys.keys_create)
    create.add_argument("--caller", required=True, metavar="NAME", help="whose it is")
    create.add_argument("--brands", metavar="A,B", help="those it may use; all by default")
    create.add_argument("--team", metavar="NAME", help="who see each other's pictures")
    listing = actions.add_parser("list", help="every live key, one a line, without itself")
    listing.set_defaults(run=keys.keys_list)
    revoke = actions.add_parser("revoke", help="from a second later on it opens nothing")
    revoke.set_defaults(run=keys.keys_revoke)
    revoke.add_argument("id", metavar="ID", help="the eight letters after ig_")
    for action in (create, listing, revoke):
        action.add_argument("--json", action="store_true", help="JSON, for machines")


def _add_push(parser: ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="in diffusers' layout")
    parser.add_argument("url", metavar="gs://…", help="where")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, for machines")


def _add_training(parser: ArgumentParser) -> None:
    parser.add_argument("--brand", required=True, help="its folder gets the LoRA")
    parser.add_argument("--images", required=True, type=Path, metavar="DIR", help="the pictures")
    for option, kind, default, about in (
        ("--steps", _positive, 800, "optimiser steps"),
        ("--rank", _rank, 8, "of the adapter matrices"),
        ("--learning-rate", _rate, 1e-3, "of AdamW"),
        ("--resolution", _positive, None, "side in pixels; the model's own by default"),
        ("--seed", int, 0, "of noise and order"),
    ):
        shown = about if default is None else f"{about} ({default})"
        parser.add_argument(option, type=kind, default=default, help=shown)


def _add_cost(parser: ArgumentParser) -> None:
    """One option for each price, which are settings, and for each assumption."""
    parser.usage = "%(prog)s [--trace FILE] [--plot FILE] [--json] [--ASSUMPTION VALUE …]"
    parser.add_argument(
        "--trace", type=Path, metavar="FILE",
        help="who asked when: CSV or JSONL; without it a sparse working day that comes along",
    )  # fmt: skip
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draws the scenarios as an SVG")
    parser.add_argument("--json", action="store_true", help="one JSON object, for machines")
    assumed = parser.add_argument_group("what is assumed")
    for name in ("usd_per_hour", "web_usd_per_hour"):
        instead = f"instead of {PREFIX}{name.upper()}"
        assumed.add_argument(f"--{name.replace('_', '-')}", metavar="USD", help=instead)
    for name, field in Assumptions.model_fields.items():
        about = f"{field.description} ({field.default})"
        assumed.add_argument(f"--{name.replace('_', '-')}", metavar=name.upper(), help=about)


def _serve(_arguments: Namespace) -> int:
    from imagegen.wsgi import serve

    return serve(Settings.from_environment())


def _starter(arguments: Namespace) -> int:
    from imagegen.starter import evaluate

    return int(evaluate.main(arguments.rest) or 0)
