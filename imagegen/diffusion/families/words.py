"""TextReader: a CLIP tokenizer and the text encoder it belongs to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from imagegen.diffusion.families.clip import ClipTextEncoder, Reading
from imagegen.diffusion.loading import read_json
from imagegen.errors import InvalidModel

START, END = "<|startoftext|>", "<|endoftext|>"
# CLIP's own split: special tokens, contractions, words, single digits, runs of other signs
SPLIT = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)


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
        starts = [start for start, end in self._tokenizer.encode(text).offsets if end > start]
        read = self._max_tokens - 2  # the start and the end token take a place each
        if len(starts) <= read:
            return ""
        return text[text.rfind(" ", 0, starts[read]) + 1 :]


def load_tokenizer(folder: Path) -> Tokenizer:
    """CLIPTokenizer's from its one file or, as older models have it, from the two older ones.

    Raises InvalidModel.
    """
    try:
        if (folder / "tokenizer.json").is_file():
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            tokenizer.no_truncation()
            tokenizer.no_padding()
        else:
            tokenizer = _from_merges(folder)
        for token in (START, END):
            _numbered(tokenizer, token)
    except Exception as error:  # tokenizers raises Exception itself
        reason = " ".join(str(error).split())[:300]
        raise InvalidModel(f"{folder} holds no CLIP tokenizer: {reason}") from None
    return tokenizer


def _from_merges(folder: Path) -> Tokenizer:
    bpe = models.BPE.from_file(
        str(folder / "vocab.json"), str(folder / "merges.txt"),
        continuing_subword_prefix="", end_of_word_suffix="</w>", fuse_unk=False, unk_token=END,
    )  # fmt: skip
    tokenizer = Tokenizer(bpe)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.add_special_tokens([START, END])
    tokenizer.post_processor = processors.RobertaProcessing(
        _numbered(tokenizer, END), _numbered(tokenizer, START),
        trim_offsets=False, add_prefix_space=False,
    )  # fmt: skip
    return tokenizer


def _numbered(tokenizer: Tokenizer, token: str) -> tuple[str, int]:
    number = tokenizer.token_to_id(token)
    if number is None:
        raise ValueError(f"it lacks {token}")
    return token, number


def _pad_token(folder: Path) -> str:
    """Stable Diffusion 1.x pads with the end token, 2.x and XL's second encoder with "!"."""
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        said: Any = read_json(folder / name).get("pad_token") if (folder / name).exists() else None
        if said is not None:
            return str(said["content"] if isinstance(said, dict) else said)
    return END
