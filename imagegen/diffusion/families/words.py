"""TextReader: a CLIP tokenizer and the text encoder it belongs to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from imagegen.clip_tokens import END, load_tokenizer, past, token_starts
from imagegen.diffusion.families.clip import ClipTextEncoder, Reading
from imagegen.diffusion.loading import read_json
from imagegen.errors import InvalidModel


class TextReader:
    """Reads one text at a time, as the pipelines do: the length of others changes nothing."""

    def __init__(self, tokenizer: Path, encoder: ClipTextEncoder) -> None:
        """tokenizer: its folder; encoder: on its device. Raises InvalidModel."""
        self.encoder = encoder
        self.features = encoder.config.hidden_size
        self._max_tokens = encoder.config.max_position_embeddings
        self._tokenizer = load_tokenizer(tokenizer)
        self._pad = self._tokenizer.token_to_id(_pad_token(tokenizer))
        if self._pad is None:
            raise InvalidModel(f"{tokenizer} pads with a token that it does not have")

    def ids(self, text: str) -> list[int]:
        """Token ids from the start token to the end token, at most as many as are read."""
        ids: list[int] = self._tokenizer.encode(text).ids
        return [*ids[: self._max_tokens - 1], ids[-1]] if len(ids) > self._max_tokens else ids

    def read(self, text: str, *, masked: bool = False) -> Reading:
        """The text padded or cut to what the encoder reads. masked: nobody looks at the padding."""
        ids = self.ids(text)
        padding = self._max_tokens - len(ids)
        device = self.encoder.final_layer_norm.weight.device
        padded = torch.tensor([[*ids, *[self._pad] * padding]], device=device)
        mask = torch.tensor([[True] * len(ids) + [False] * padding], device=device)
        reading: Reading = self.encoder(padded, mask if masked else None)
        return reading

    def unread(self, text: str) -> str:
        """What of `text` lies past the encoder's last token, from the start of its word."""
        read = self._max_tokens - 2  # the start and the end token take a place each
        return past(text, token_starts(self._tokenizer, text), read)


def _pad_token(folder: Path) -> str:
    """Stable Diffusion 1.x pads with the end token, 2.x and XL's second encoder with "!"."""
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        said: Any = read_json(folder / name).get("pad_token") if (folder / name).exists() else None
        if said is not None:
            return str(said["content"] if isinstance(said, dict) else said)
    return END
