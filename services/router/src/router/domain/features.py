"""What of a text the model looks at: words, the letters inside them, and pairs of neighbours. Training and serving share it.

Words are folded as in the policy's patterns, so case, accents and punctuation do not count; of a word that was never seen
its letters still say something (typing errors, inflections, compounds, related languages).
"""

import re
from collections.abc import Iterator
from itertools import pairwise

from shared.policy.patterns import decoded, folded

_TOKEN = re.compile(r"[^\W_]+|[.!?\n;:,…¿¡]")
_SHORTEST, _LONGEST = 3, 5
MAX_WORDS = 20_000
"""Of a longer text the model reads the beginning; the policy's patterns read all of it."""

MAX_LETTERS = 40
"""Of a longer word the beginning."""

WORDS_OF_A_PIECE = 3
_JOINING = {
    *("and", "but", "also", "besides", "plus", "y", "e", "pero", "ademas", "tambien"),
    *("und", "aber", "ausserdem", "sowie", "et", "mais", "aussi", "puis"),
}
"""Words behind which a sentence may go on with another matter."""

WORD, LETTERS, PAIR, RULE = "w", "c", "b", "r"
"""The kinds of features; a feature is named `<kind>:<what>`."""

Sentences = list[list[str]]


def sentences_of(text: str) -> Sentences:
    """The words of each sentence or part of one; a number is `0`, whatever it is."""
    text = decoded(text)
    text = text.lower() if text.isascii() else folded(text)
    found: Sentences = [[]]
    for token in _TOKEN.findall(text)[:MAX_WORDS]:
        if token.isalnum():
            found[-1].append("0" if token.isdecimal() else token[:MAX_LETTERS])
        elif found[-1]:
            found.append([])
    return found if found[-1] else found[:-1]


def features_of_word(word: str) -> Iterator[str]:
    """The word itself, and each run of three to five letters in it, its borders marked."""
    yield f"{WORD}:{word}"
    if len(word) >= _SHORTEST:
        marked = f"<{word}>"
        for length in range(_SHORTEST, _LONGEST + 1):
            for start in range(len(marked) - length + 1):
                yield f"{LETTERS}:{marked[start : start + length]}"


def pairs_of(sentence: list[str]) -> Iterator[str]:
    """Neighbouring words of one sentence."""
    for first, second in pairwise(sentence):
        yield f"{PAIR}:{first} {second}"


def feature_of_rule(word: str) -> str:
    """What a pattern of the policy names (a subcategory, a criterion) is a feature too."""
    return f"{RULE}:{word}"


def pieces_of(sentences: Sentences) -> Iterator[list[str]]:
    """Each different sentence of three words or more, and its parts where it goes on with another matter."""
    pieces = (tuple(piece) for sentence in sentences for piece in (sentence, *_parts_of(sentence)))
    return (list(piece) for piece in dict.fromkeys(pieces) if len(piece) >= WORDS_OF_A_PIECE)


def _parts_of(sentence: list[str]) -> Iterator[list[str]]:
    begin = 0
    for place, word in enumerate(sentence):
        if word in _JOINING:
            yield sentence[begin:place]
            begin = place + 1
    yield sentence[begin:]
