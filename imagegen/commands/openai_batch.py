"""OpenAI's batch files for `imagegen batch`: their bodies understood, their answers written.

The answers lie beside the pictures as OpenAI's own would: `openai-output.jsonl`, and for what
failed `openai-errors.jsonl`. Flask comes along with the dialect, so it is imported where needed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from imagegen.batch.openai_lines import Translate, body_of, custom_id_of
from imagegen.batch.output import OpenFile
from imagegen.batch.rows import BadRow
from imagegen.batch.run import Batch
from imagegen.batch.script import ScriptRow
from imagegen.errors import CallerError, ImagegenError, InvalidRequest, RenderFailed
from imagegen.generation import Generation, GenerationRequest
from imagegen.parsing import read_json
from imagegen.problems import failure_told

OUTPUT, ERRORS = "openai-output.jsonl", "openai-errors.jsonl"
_SIZES = "Say auto, WIDTHxHEIGHT in multiples of 8, or the name of a format"

StepsOf = Callable[[str], int]  # a brand's own number of steps; raises UnknownBrand


def understood_by(steps_of: StepsOf) -> Translate:
    """How bodies become requests."""

    def translate(body: bytes) -> GenerationRequest:
        from imagegen.web.openai.bodies import GenerationsBody
        from imagegen.web.openai.failures import in_their_words
        from imagegen.web.openai.translation import request_of

        asked = read_json(GenerationsBody, body)
        try:
            return request_of(asked, steps_of(asked.model))
        except InvalidRequest as error:
            raise in_their_words(error, _SIZES) from None

    return translate


def write_answers(run: Batch, folder: Path, open_file: OpenFile) -> None:
    """Both files, line by line. What is pending stands in neither."""
    with ExitStack() as files:
        output, failures = (files.enter_context(open_file(name)) for name in (OUTPUT, ERRORS))
        for row, result in run.answers():
            if isinstance(row, BadRow):
                error = _error(row.code, row.message)
                failures.write(_line(row.original, f"line-{row.line}", _failed(error)))
            elif result is not None and result.generation is not None:
                answer = _answered(row, result.generation, [folder / name for name in result.files])
                output.write(_line(row.original, row.key, answer))
            elif result is not None:
                error = _error(result.error_code, result.error)
                failures.write(_line(row.original, row.key, _failed(error)))


def _line(asked: str, key: str, response: dict[str, Any]) -> bytes:
    told = {
        "id": f"batch_req_{key}",
        "custom_id": custom_id_of(asked),
        "response": response,
        "error": None,
    }
    return json.dumps(told, ensure_ascii=False).encode() + b"\n"


def _answered(row: ScriptRow, generation: Generation, files: list[Path]) -> dict[str, Any]:
    from imagegen.web.openai.bodies import GenerationsBody
    from imagegen.web.openai.translation import to_response, wants_links

    asked = GenerationsBody.model_validate_json(body_of(row.original))
    pictures = None if wants_links(asked) else [file.read_bytes() for file in files]
    body = to_response(asked, generation, pictures).model_dump(mode="json", exclude_none=True)
    return {"status_code": 200, "request_id": generation.id, "body": body}


def _failed(error: ImagegenError) -> dict[str, Any]:
    from imagegen.web.errors import Failure, status_of
    from imagegen.web.openai.failures import error_answer

    fields = error.fields if isinstance(error, CallerError) else ()
    failure = Failure(status_of(type(error)), error.code, error.detail, fields)
    status = 400 if failure.status == 422 else failure.status
    body = error_answer(failure).model_dump(mode="json")
    return {"status_code": status, "request_id": None, "body": body}


def _error(code: str | None, detail: str | None) -> ImagegenError:
    """The failure again, as far as it was written down."""
    return failure_told({"code": code, "detail": detail}, None) or RenderFailed(str(detail))
