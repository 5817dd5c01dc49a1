"""Word tokenizer with a vocabulary cut to the words that occur in the training captions.

A full byte-pair table of 49,408 rows would be most of a small CoCa's weights and compute.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import torch

PAD, UNKNOWN, START, END = 0, 1, 2, 3
SPECIALS = ("<pad>", "<unk>", "<start>", "<end>")
_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?|,")


def split_words(text: str) -> list[str]:
    """Lower-case words, numbers and commas of a caption, in order."""
    return _WORD.findall(text.lower())


class WordTokenizer:
    """Maps captions to fixed-length id rows and back.

    Args:
        words: Vocabulary beyond the four specials, most frequent first.
        context_length: Length of every id row, start and end tokens included.
    """

    pad_id, start_id, end_id = PAD, START, END

    def __init__(self, words: Sequence[str], context_length: int) -> None:
        self.words = tuple(words)
        self.context_length = context_length
        self._ids = {word: index for index, word in enumerate((*SPECIALS, *self.words))}

    @classmethod
    def from_captions(cls, captions: Iterable[str], vocab_size: int, context_length: int) -> WordTokenizer:
        """Keep the most frequent words; `vocab_size` counts the four specials too."""
        counts = Counter(word for caption in captions for word in split_words(caption))
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        return cls(ranked[: vocab_size - len(SPECIALS)], context_length)

    def __call__(self, texts: str | Sequence[str]) -> torch.Tensor:
        """Ids of one or several texts: (N, context_length) int64, padded with 0; long texts are cut, never refused."""
        rows = [texts] if isinstance(texts, str) else list(texts)
        out = torch.zeros(len(rows), self.context_length, dtype=torch.long)
        for row, text in enumerate(rows):
            ids = [self._ids.get(word, UNKNOWN) for word in split_words(text)][: self.context_length - 2]
            out[row, : len(ids) + 2] = torch.tensor([START, *ids, END])
        return out

    def decode(self, ids: Iterable[int]) -> str:
        """Text of an id row: specials are dropped, reading stops at the end token."""
        words: list[str] = []
        for index in ids:
            if index == END:
                break
            if index >= len(SPECIALS) and index - len(SPECIALS) < len(self.words):
                words.append(self.words[index - len(SPECIALS)])
        return " ".join(words).replace(" ,", ",")
