"""CLIP's tokens: how a text becomes what the text encoder reads, and how much of it is read."""

from __future__ import annotations

import math
import re
import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from imagegen.errors import InvalidModel

if TYPE_CHECKING:
    from tokenizers import Tokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
# CLIP's own split: special tokens, contractions, words, single digits, runs of other signs
SPLIT = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)
READ_TOKENS = 75  # of the encoder's 77 places the start and the end token take two
_TOKENS_A_WORD = 1.3  # of English prompts; only where no tokenizer is at hand
_ROUGHLY = re.compile(r"[^\W\d_]+|\d|[^\s\w]")  # SPLIT, as far as `re` knows it


@dataclass(frozen=True)
class PromptReading:
    """What the text encoder makes of a prompt."""

    tokens: int
    is_exact: bool  # else they were estimated
    unread: str  # what lies past the last token that is read; "" where that is not known

    @property
    def is_too_long(self) -> bool:
        return self.tokens > READ_TOKENS


class PromptMeter:
    """Counts tokens without a model: its tokenizer is read at the first question."""

    def __init__(self, model: Path | None) -> None:
        """model: its folder, where it lies on this machine."""
        self._folder = None if model is None else model / "tokenizer"
        self._lock = threading.Lock()

    def read(self, text: str) -> PromptReading:
        """text: with the words that the brand adds."""
        with self._lock:
            tokenizer = self._tokenizer
        if tokenizer is None:
            words = len(_ROUGHLY.findall(text))
            return PromptReading(math.ceil(words * _TOKENS_A_WORD), False, "")
        starts = token_starts(tokenizer, text)
        return PromptReading(len(starts), True, past(text, starts, READ_TOKENS))

    @cached_property
    def _tokenizer(self) -> Tokenizer | None:
        """None where there is none that can be read; loading the model tells why."""
        try:
            return None if self._folder is None else load_tokenizer(self._folder)
        except InvalidModel:
            return None


def token_starts(tokenizer: Tokenizer, text: str) -> list[int]:
    """Where in `text` each of its tokens begins, special ones left out."""
    return [start for start, end in tokenizer.encode(text).offsets if end > start]


def past(text: str, starts: list[int], read: int) -> str:
    """What of `text` lies past its first `read` tokens, from the start of its word."""
    if len(starts) <= read:
        return ""
    return text[text.rfind(" ", 0, starts[read]) + 1 :]


def load_tokenizer(folder: Path) -> Tokenizer:
    """CLIPTokenizer's from its one file or, as older models have it, from the two older ones.

    Raises InvalidModel.
    """
    from tokenizers import Tokenizer

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
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

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
