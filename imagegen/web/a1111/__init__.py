"""AUTOMATIC1111's dialect: /sdapi/v1, for clients that know no other. A brand is a style."""

from imagegen.web.a1111.failures import tell_a1111
from imagegen.web.a1111.routes import a1111_blueprint

__all__ = ["a1111_blueprint", "tell_a1111"]
