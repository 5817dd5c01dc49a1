"""Captions to ids and back."""

from __future__ import annotations

import pytest
import torch

from model.vlm.tokenizer import END, PAD, SPECIALS, START, UNKNOWN, WordTokenizer, split_words

TOKENIZER = WordTokenizer(("a", "dog", "runs", "red", ",", "man's"), 8)


@pytest.mark.parametrize("text", ["a dog runs", "red, red, red", "a man's dog", ""])
def test_known_words_come_back(text: str) -> None:
    ids = TOKENIZER(text)
    assert ids.shape == (1, 8)
    assert ids.dtype == torch.int64
    assert TOKENIZER.decode(ids[0].tolist()) == text


def test_rows_start_end_and_are_padded() -> None:
    ids = TOKENIZER(["a dog", "runs"])
    assert ids.tolist() == [[START, 4, 5, END] + 4 * [PAD], [START, 6, END] + 5 * [PAD]]


def test_unknown_words_have_one_id_and_leave_no_text() -> None:
    ids = TOKENIZER("a zebra runs")
    assert ids[0, :5].tolist() == [START, 4, UNKNOWN, 6, END]
    assert TOKENIZER.decode(ids[0].tolist()) == "a runs"


def test_long_texts_are_cut_and_still_end() -> None:
    ids = TOKENIZER("dog " * 50)[0]
    assert ids[0] == START
    assert ids[-1] == END
    assert TOKENIZER.decode(ids.tolist()) == "dog dog dog dog dog dog"


def test_case_and_punctuation_do_not_matter() -> None:
    assert split_words("A DOG -- runs! (red), 2nd") == ["a", "dog", "runs", "red", ",", "2nd"]
    assert torch.equal(TOKENIZER("A Dog runs."), TOKENIZER("a dog RUNS"))


def test_specials_in_a_caption_are_only_words() -> None:
    ids = TOKENIZER("<end> a <pad>")[0].tolist()
    assert ids == [START, UNKNOWN, 4, UNKNOWN, END, PAD, PAD, PAD]


def test_reading_stops_at_the_end_and_skips_ids_without_a_word() -> None:
    assert TOKENIZER.decode([START, 4, 5000, PAD, 5, END, 6]) == "a dog"


def test_vocabulary_is_cut_to_the_most_frequent_words() -> None:
    captions = ["a dog and a cat", "a dog", "a bird"]
    tokenizer = WordTokenizer.from_captions(captions, len(SPECIALS) + 3, 8)
    assert tokenizer.words == ("a", "dog", "and")  # equally frequent words by alphabet
    assert int(tokenizer(captions).max()) < len(SPECIALS) + 3
    assert WordTokenizer.from_captions(captions, 1000, 8).words == ("a", "dog", "and", "bird", "cat")
