"""What is said about the routes on which generations are found again."""

from __future__ import annotations

from imagegen import errors
from imagegen.generations.register import ListQuery
from imagegen.web.answers import GenerationList, GenerationState
from imagegen.web.openapi.operation import Operation, Operations, Parameter, answer

_ID = Parameter("generation_id", "path", "A generation's id, as its answer said.")
_QUERY = tuple(
    Parameter(name, "query", str(schema.pop("description")), schema)
    for name, schema in ListQuery.model_json_schema()["properties"].items()
)

GENERATION_OPERATIONS: Operations = {
    ("GET", "/generations"): Operation(
        tag="Pictures",
        summary="Your generations",
        description="Newest first. A page may be short although more follow: `cursor` tells.",
        parameters=_QUERY,
        answers=answer("A page of them", GenerationList),
        failures=(errors.InvalidRequest, errors.StorageUnavailable),
    ),
    ("GET", "/generations/<generation_id>"): Operation(
        tag="Pictures",
        summary="What became of a generation",
        parameters=(_ID,),
        answers=answer("As it is now", GenerationState),
        failures=(errors.UnknownGeneration, errors.StorageUnavailable),
    ),
}
