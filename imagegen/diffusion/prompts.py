"""PromptReader: texts as the denoiser reads them, kept for the next picture that says the same."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from imagegen.diffusion.device import fitting
from imagegen.generation import AdapterUse

if TYPE_CHECKING:
    from imagegen.diffusion.adapters import AdapterBank, Mix
    from imagegen.diffusion.families.conditioning import Encoded
    from imagegen.diffusion.families.family import Family

MAX_BYTES = 64 << 20  # about 500 texts of Stable Diffusion 1.5 in float16


@dataclass(frozen=True)
class Prompt:
    """A text, read under a brand's LoRAs."""

    encoded: Encoded
    unread: str  # what the text encoder had no room for

    @property
    def size_bytes(self) -> int:
        return sum(x.nbytes for x in vars(self.encoded).values() if isinstance(x, Tensor))


class PromptReader:
    """Encodes each text alone in its batch, so what is kept equals what would be read again.

    Least recently used texts make room. Two brands share a text where no LoRA of theirs changes how
    texts are read: "text, watermark" is read once for all.
    """

    def __init__(self, family: Family, bank: AdapterBank, max_bytes: int = MAX_BYTES) -> None:
        self._family, self._bank, self._max_bytes = family, bank, max_bytes
        self._kept: OrderedDict[tuple[tuple[Mix, float], str], Prompt] = OrderedDict()
        self.size_bytes = 0
        self.hits = self.misses = 0

    def read(self, text: str, adapters: tuple[AdapterUse, ...]) -> Prompt:
        """Raises MemoryError or RenderFailed, and keeps nothing then."""
        key = self._bank.reading(adapters), text
        if key in self._kept:
            self.hits += 1
            self._kept.move_to_end(key)
            return self._kept[key]
        self._bank.select([adapters])
        encoded = fitting(lambda: self._family.encode(text))
        prompt = Prompt(encoded, self._family.unread_words(text))
        self.misses += 1
        self._kept[key] = prompt
        self.size_bytes += prompt.size_bytes
        while self.size_bytes > self._max_bytes:
            self.size_bytes -= self._kept.popitem(last=False)[1].size_bytes
        return prompt
