"""OpenAI's dialect: its images and models routes, for clients that know no other."""

from imagegen.web.openai.failures import tell_openai
from imagegen.web.openai.routes import openai_blueprint

__all__ = ["openai_blueprint", "tell_openai"]
