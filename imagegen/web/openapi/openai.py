"""What is said about OpenAI's routes."""

from __future__ import annotations

from imagegen import errors
from imagegen.web.openai.answers import ImagesAnswer, ModelItem, ModelList
from imagegen.web.openai.bodies import GenerationsBody
from imagegen.web.openapi.native import GENERATING
from imagegen.web.openapi.operation import A_BRAND, JSON, Operation, Operations, Parameter, answer

OPENAI_OPERATIONS: Operations = {
    ("POST", "/v1/images/generations"): Operation(
        tag="OpenAI",
        summary="Make pictures",
        body={JSON: GenerationsBody},
        example={"model": A_BRAND, "prompt": "a red mug", "size": "auto", "quality": "low"},
        answers=answer("The pictures, or links to them", ImagesAnswer),
        failures=GENERATING,
    ),
    ("GET", "/v1/models"): Operation(
        tag="OpenAI",
        summary="The brands, as models",
        answers=answer("All you may use", ModelList),
    ),
    ("GET", "/v1/models/<model>"): Operation(
        tag="OpenAI",
        summary="A brand, as a model",
        parameters=(Parameter("model", "path", "A brand's id."),),
        answers=answer("The brand", ModelItem),
        failures=(errors.UnknownBrand,),
    ),
}
