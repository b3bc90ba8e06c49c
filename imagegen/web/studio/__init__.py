"""The studio: the pages where a marketing team works."""

from imagegen.web.studio.campaigns import campaigns_blueprint
from imagegen.web.studio.create import studio_blueprint
from imagegen.web.studio.faults import tell_nowhere, tell_on_page
from imagegen.web.studio.library import library_blueprint
from imagegen.web.studio.shell import register_shell
from imagegen.web.studio.told import tell_in_words

__all__ = [
    "campaigns_blueprint",
    "library_blueprint",
    "register_shell",
    "studio_blueprint",
    "tell_in_words",
    "tell_nowhere",
    "tell_on_page",
]
