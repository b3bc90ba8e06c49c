"""The starter's tokenizer: CLIP's byte-level BPE, learned from the captions themselves."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from imagegen.clip_tokens import END, SPLIT, START
from imagegen.starter.captions import training_caption
from imagegen.starter.phrasings import DISTRACTIONS
from imagegen.starter.scenes import random_scene

VOCABULARY = 1_400
MAX_TOKENS = 77


def train_tokenizer(folder: Path, captions: int = 20_000) -> CLIPTokenizer:
    """Learns the merges and writes CLIPTokenizer's files to `folder`."""
    rng = Random(3)
    texts = [training_caption(random_scene(rng), rng) for _ in range(captions)] + list(
        DISTRACTIONS
    ) * 20
    bpe = Tokenizer(models.BPE(unk_token=END, end_of_word_suffix="</w>", fuse_unk=False))
    bpe.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 2,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
        min_frequency=3,
    )
    bpe.train_from_iterator(texts, trainer)
    learned = json.loads(bpe.to_str())["model"]
    merges = [tuple(pair) for pair in learned["merges"]]
    # CLIP's order: bytes, bytes that end a word, merges, specials
    names = alphabet + [byte + "</w>" for byte in alphabet] + ["".join(pair) for pair in merges]
    vocabulary = {name: index for index, name in enumerate(dict.fromkeys([*names, START, END]))}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_TOKENS)
    _save_tokenizer(tokenizer, folder)
    return tokenizer


def _save_tokenizer(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Writes the one file that tokenizers reads and the two that older CLIPTokenizers read."""
    tokenizer.save_pretrained(folder)
    bpe = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    (folder / "vocab.json").write_text(json.dumps(bpe["vocab"], ensure_ascii=False))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in bpe["merges"])]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")
