"""TextReader: a CLIP tokenizer and the text encoder it belongs to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import CLIPTokenizer

from imagegen.errors import InvalidModel


class TextReader:
    """Reads one text at a time, as the pipelines do: the length of others changes nothing."""

    def __init__(self, tokenizer: Path, encoder: Any) -> None:
        """encoder: a CLIP text model of transformers, on its device. Raises InvalidModel."""
        self.tokenizer, self.encoder = _load_tokenizer(tokenizer), encoder
        self.features = int(encoder.config.hidden_size)
        self._max_tokens = int(encoder.config.max_position_embeddings)

    def read(self, text: str, *, masked: bool = False, **options: bool) -> Any:
        """The encoder's own output for the text, padded or cut to what it reads.

        masked: the padding is not looked at.
        """
        inputs = self.tokenizer(
            text, padding="max_length", truncation=True, return_tensors="pt",
            max_length=self._max_tokens,
        ).to(self.encoder.device)  # fmt: skip
        return self.encoder(
            inputs.input_ids, attention_mask=inputs.attention_mask if masked else None, **options
        )

    def unread(self, text: str) -> str:
        """What of `text` lies past the encoder's last token, from the start of its word."""
        tokens = self.tokenizer(text, return_offsets_mapping=True)
        starts = [start for start, end in tokens["offset_mapping"] if end > start]
        read = self._max_tokens - 2  # the start and the end token take a place each
        if len(starts) <= read:
            return ""
        return text[text.rfind(" ", 0, starts[read]) + 1 :]


def _load_tokenizer(folder: Path) -> Any:
    try:
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InvalidModel(f"{folder} holds no CLIP tokenizer: {reason}") from None
