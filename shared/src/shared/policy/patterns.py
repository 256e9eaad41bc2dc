r"""Finds many patterns of words in a text, whatever case, accents, spaces, punctuation and disguise it is written with.

A pattern is written as words with a few signs:

| written | matches |
| --- | --- |
| `want to die` | these words, one after the other |
| `hit\|hits\|beat_up me` | one of the alternatives; `_` joins the words of one alternative |
| `suicid*` | every word that begins so |
| `really? sad` | with or without the word before `?` |
| `kill ~ myself`, `kill ~6 myself` | up to three (six) other words in between |
| `$kid is hurt` | one of the words of the set `kid` |

Words are compared folded: `Schlägt` is `SCHLAGT`; an apostrophe separates (`can't` is `can t`).
"""

import re
import sys
import unicodedata
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from html import unescape
from itertools import accumulate
from typing import ClassVar, Generic, Self, TypeVar

T = TypeVar("T")
V = TypeVar("V")

GAP = 3
"""How many words `~` may stand for."""
LONG = 4000
PART_WORDS = 300
OVERLAP_WORDS = 40
"""A text of more letters is looked through in parts of so many words, which share so many with the one before."""
WIDEST_GAP = 20
WIDEST_GAPS = 40
ALTERNATIVES_AT_MOST = 5000
FOLDED_AT_ONCE = 1000
KNOWN_AT_MOST = 50_000
STEM = 4
"""By how many letters a word is looked up where a pattern gives only its beginning."""

_WORD = re.compile(r"[^\W_]+")
_ASCII_SEPARATORS = {code: " " for code in range(128) if not chr(code).isalnum()}
_DROPPED = re.compile("[\u0300-\u036f\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]+")
"""Accents split off by NFKD, and characters that cannot be seen."""
_MASK = re.compile(r"[0-9@$!|*+][^\W\d_]")
_STRETCHED = tuple(letter * 3 for letter in "aeioulstrnmdyh")
_ONE_BY_ONE_AT_LEAST = 4
"""What shows a disguise: a digit or sign before a letter, a letter three times, letters one by one."""
_GERMAN = frozenset(("ich", "mich", "mein", "meine", "und", "nicht", "ist", "der", "das", "eine", "wir", "sie"))
_SPELT_OUT = re.compile("[aou]e")
"""Umlauts as they are typed where the keys are missing; in words of other languages these letters mean nothing."""
_LETTERS = str.maketrans("013457@$!|+", "oieastasiit", "*")
_TOKEN = re.compile(r"\S+")
_STARRED = re.compile(r"(?<![^\W\d_])[^\W\d_]{1,30}\*[^\W\d_]{1,30}")
_ONE_BY_ONE = re.compile(r"\b\w(?:[\s.\-_*]+\w\b){3,40}")
_REPEATED_L = re.compile("l{3,}")
_REPEATED = re.compile(r"([^\W\d_])\1{2,}")
_SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n+")
_SEPARATOR = re.compile(r"[\W_]+")
_CLAUSE = re.compile(
    r"[.!?;,:…()\[\]{}/|•\u2600-\u27bf\U0001f300-\U0001faff]+\s*|\n+|\s+[-–—]+\s+"
    r"|\s+(?=(?i:and|but|so|because|und|aber|weil|denn|y|pero|porque|et|mais|parce|car)\b)"
)
_SOMEBODY = {
    *(
        "i",
        "im",
        "me",
        "my",
        "we",
        "us",
        "our",
        "he",
        "she",
        "son",
        "daughter",
        "child",
        "kid",
        "friend",
        "brother",
        "sister",
    ),
    *(
        "ich",
        "mich",
        "mir",
        "mein",
        "meine",
        "meinen",
        "meiner",
        "wir",
        "sohn",
        "tochter",
        "kind",
        "freund",
        "freundin",
    ),
    *("yo", "mi", "mis", "quiero", "hijo", "hija", "amigo", "amiga"),
    *("je", "j", "moi", "mon", "ma", "mes", "fils", "fille", "ami"),
}
"""Who is no figure of a story."""
_ASKING_WHY = frozenset(("why", "warum", "wieso", "weshalb", "pourquoi"))
_QUOTED = re.compile(r"(?:=[0-9A-F]{2})+")
_SOFT_BREAK = re.compile(r"=\r?\n")
_INLINE_TAG = re.compile(r"</?(?:b|i|u|s|em|strong|span|font|a|mark|small|wbr)(?:\s[^<>]{0,500})?/?>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-z!][^<>]{0,500}>", re.IGNORECASE)
_WIDE_SPACE = re.compile(r"\s{2,}")
_LATIN = re.compile("[a-zA-Z]")
_LOOKS_LATIN = re.compile("[\u0370-\u03ff\u0400-\u04ff]")
_LATIN_FOR = str.maketrans(
    "авеёіїјкмнорстухѕԁАВЕІЇЈКМНОРСТУХЅαβεικνορτυχωΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
    "abeeiijkmhopctyxsdABEIIJKMHOPCTYXSabeikvoptuxwABEZHIKMNOPTYX",
)
"""Cyrillic and Greek letters that look like Latin ones."""
_PIECE = re.compile(r"\S{1,200}(?![^\W_])|\S{1,200}")
_GAP = re.compile(r"(?:^| )~(\d*)")
_SET = re.compile(r"\$(\w+)")
_COMMON = frozenset(
    word
    for words in (
        "a an and are as at be been by can do does for from had has have he her him his i if in is it its just like me my no",
        "not of on or our out she so that the their them there they this to us was we were what when will with would you your",
        "de la le les el los las un une una der die das ich er sie es und que qui mi mon ma mein meine",
    )
    for word in words.split()
)
"""Words that are in most texts: a pattern is looked up by another of its words where it has one."""


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """A rule that matched, and the words by which; the words stay where the text may be."""

    rule: T
    words: str


@dataclass(frozen=True, slots=True)
class Phrase:
    """A pattern as it is written, with the sets that it may name."""

    text: str
    sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rule(Generic[T]):
    """What a phrase stands for; it does not hold where one of `unless` covers the same words of a sentence."""

    meaning: T
    phrase: Phrase
    unless: tuple[Phrase, ...] = ()

    def standing_for(self, meaning: V) -> "Rule[V]":
        """The same phrase with another meaning."""
        return Rule(meaning, self.phrase, self.unless)


class Patterns(Generic[T]):
    """The rules, read once; each becomes a regular expression when a text first needs it.

    A text is cut into words once, and a pattern is tried only where each of its places can be filled: that leaves less
    than one of a thousand for a usual ticket.

    Raises:
        ValueError: a pattern names an unknown set, or has no word by which a text can be looked through.
    """

    def __init__(self, rules: Iterable[Rule[T]]) -> None:
        self._rules: list[_Readable[T]] = []
        self._by_word: dict[str, list[int]] = defaultdict(list)
        self._by_stem: dict[str, list[int]] = defaultdict(list)
        for index, rule in enumerate(rules):
            pattern = _Pattern.of(rule.phrase)
            anchor, *_ = pattern.places
            self._rules.append(_Readable(rule.meaning, pattern, tuple(map(_Pattern.of, rule.unless))))
            for word in anchor:
                if word.endswith("*"):
                    self._by_stem[word[:STEM]].append(index)
                else:
                    self._by_word[word].append(index)

    def find(self, *texts: str) -> tuple[T, ...]:
        """What the matching rules stand for, each rule once, in the order of the rules. A subject may go on in its body."""
        return self.look(*texts)[0]

    def look(self, *texts: str) -> tuple[tuple[T, ...], tuple[T, ...]]:
        """The same, and what an exception took back: whoever must not miss it looks again by other means."""
        found: set[int] = set()
        taken_back: set[int] = set()
        for reading, suspects in self._all_suspects(texts):
            for index in suspects - found:
                span, was_taken_back = self._span(index, reading)
                if span is not None:
                    found.add(index)
                elif was_taken_back:
                    taken_back.add(index)
        if not (found or taken_back):
            return (), ()
        return self._meanings(found), self._meanings(taken_back - found)

    def explain(self, *texts: str) -> tuple[Found[T], ...]:
        """What is found, with the words that matched."""
        spans: dict[int, str] = {}
        for reading, suspects in self._all_suspects(texts):
            for index in suspects:
                if index not in spans and (span := self._span(index, reading)[0]):
                    spans[index] = reading.whole[span[0] : span[1]].strip()
        return tuple(Found(self._rules[index].meaning, spans[index]) for index in sorted(spans))

    def _meanings(self, indices: Iterable[int]) -> tuple[T, ...]:
        return tuple(self._rules[index].meaning for index in sorted(indices))

    def _all_suspects(self, texts: Iterable[str]) -> Iterator[tuple["_Reading", set[int]]]:
        return (found for part in _parts("\n".join(texts)) for found in self._suspects(part))

    def _suspects(self, text: str) -> Iterator[tuple["_Reading", set[int]]]:
        """Each reading of a text, with the rules whose places can all be filled from it."""
        for plain, words in readings(text):
            seen = set(words)
            suspects = {index for word in self._by_word.keys() & seen for index in self._by_word[word]}
            if self._by_stem:
                stems = {word[:STEM] for word in seen}
                suspects.update(index for stem in self._by_stem.keys() & stems for index in self._by_stem[stem])
            rules = self._rules
            suspects = {index for index in suspects if not any(map(seen.isdisjoint, rules[index].pattern.needs))}
            if suspects:
                yield _Reading(plain, f" {' '.join(words)} "), suspects

    def _span(self, index: int, reading: "_Reading") -> tuple[tuple[int, int] | None, bool]:
        """Where a rule holds, and whether it would but for its exceptions."""
        rule = self._rules[index]
        was_taken_back = False
        for match in rule.pattern.regex.finditer(reading.whole):
            if not rule.unless or not _is_taken_back(rule.unless, match.span(), reading):
                return match.span(), False
            was_taken_back = True
        return None, was_taken_back


@dataclass
class _Reading:
    """A text as it is looked through: its words with one space before, between and behind."""

    text: str
    whole: str

    @cached_property
    def clause_ends(self) -> list[int]:
        """Where the clauses end in `whole`; most texts are never asked."""
        lengths = (len(" ".join(words)) + 1 for part in _CLAUSE.split(self.text) if (words := words_of(part)))
        return list(accumulate(lengths))

    def clauses_around(self, start: int, end: int) -> tuple[int, int]:
        """From where to where the clauses reach in which a match stands."""
        ends = self.clause_ends
        first = bisect_left(ends, start)
        last = min(bisect_left(ends, end - 1), len(ends) - 1)
        return (ends[first - 1] if first else 0), ends[last] + 1


def _is_taken_back(unless: tuple["_Pattern", ...], span: tuple[int, int], reading: _Reading) -> bool:
    """Whether an exception covers the match.

    It speaks for its own clause only, never for whoever asks why, and not where somebody real stands between it and the match:
    the dragon wants to die, but "my dog died, I want to die" is a cry.
    """
    start, end = span
    begin, finish = reading.clauses_around(start, end)
    around = reading.whole[begin:finish]
    words = set(around.split())
    if not words.isdisjoint(_ASKING_WHY):
        return False
    return any(
        begin + other.start() <= start
        and end <= begin + other.end()
        and _SOMEBODY.isdisjoint(reading.whole[begin + other.start() : start].split())
        for exception in unless
        if not any(map(words.isdisjoint, exception.needs))
        for other in exception.regex.finditer(around)
    )


def _parts(text: str) -> Iterator[str]:
    """A long text in parts that overlap, each different one once: a place is looked for near its neighbours only."""
    if len(text) <= LONG:
        yield text
        return
    seen: set[str] = set()
    part: list[str] = []
    for sentence in _SENTENCE.split(text):
        for words in _split([*_PIECE.findall(sentence), "\n"]):
            part += words
            if len(part) >= PART_WORDS:
                if (whole := " ".join(part)) not in seen:
                    seen.add(whole)
                    yield whole
                part = part[-OVERLAP_WORDS:]
    yield " ".join(part)


def _split(words: list[str]) -> Iterator[list[str]]:
    """At most a part at a time."""
    return (words[start : start + PART_WORDS] for start in range(0, len(words), PART_WORDS))


def words_of(text: str) -> list[str]:
    """The words without case, accents and invisible characters: `Schlägt` and `SCHLAGT` are the same word."""
    if text.isascii():  # three times faster than the expression
        return text.lower().translate(_ASCII_SEPARATORS).split()
    return _WORD.findall(folded(text))


def folded(text: str) -> str:
    """Without case, accents and what cannot be seen; piece by piece, since normalizing a long run of accents takes its square."""
    text = text.casefold()
    pieces = (text[start : start + FOLDED_AT_ONCE] for start in range(0, len(text), FOLDED_AT_ONCE))
    return _DROPPED.sub("", "".join(unicodedata.normalize("NFKD", piece) for piece in pieces))


def readings(text: str) -> Iterator[tuple[str, list[str]]]:
    """The words of a text; where it came coded or looks disguised once more as it was meant: k1ll, k.i.l.l, killlll are kill."""
    words = words_of(text)
    yield text, words
    if (meant := decoded(text)) != text and (others := words_of(meant)) != words:
        text, words = meant, others
        yield text, words
    if _SPELT_OUT.search(text) and not _GERMAN.isdisjoint(words):
        short = _SPELT_OUT.sub(lambda found: found[0][0], text)
        yield short, words_of(short)
    if (
        _MASK.search(text)
        or any(map(text.casefold().__contains__, _STRETCHED))
        or list(map(len, words)).count(1) >= _ONE_BY_ONE_AT_LEAST
    ):
        plain = _ONE_BY_ONE.sub(_joined_letters, text.casefold())
        plain = _TOKEN.sub(_unmasked, plain)
        plain = _REPEATED.sub(r"\1", _REPEATED_L.sub("ll", plain))
        if (unmasked := words_of(plain)) != words:
            starred = _STARRED.findall(text.casefold()) if "*" in text else ()
            yield plain, unmasked + [word for token in starred for word in _unstarred(token)]


def decoded(text: str) -> str:
    """Without the marks of mail and web pages (tags, entities, quoted-printable), with Latin letters for those that look so."""
    if "=" in text and _QUOTED.search(text):
        text = _QUOTED.sub(
            lambda found: bytes.fromhex(found[0].replace("=", "")).decode(errors="replace"), _SOFT_BREAK.sub("", text)
        )
    if "<" in text:
        text = _TAG.sub(" ", _INLINE_TAG.sub("", text))
    if "&" in text:
        text = unescape(text)
    if not text.isascii() and _LOOKS_LATIN.search(text) and _LATIN.search(text):
        text = text.translate(_LATIN_FOR)
    return text


def _joined_letters(found: re.Match[str]) -> str:
    """Letters one by one as words; a wider space is one between words."""
    return " ".join(_SEPARATOR.sub("", word) for word in _WIDE_SPACE.split(found[0]))


def _unmasked(found: re.Match[str]) -> str:
    """A word with its digits and signs as the letters they stand for; what has none, or no letter, stays."""
    token = found[0]
    if not _MASK.search(token):
        return token
    core = token.rstrip("!?.,;:*|")
    return core.translate(_LETTERS) + token[len(core) :].replace("*", "")


def _unstarred(token: str) -> Iterator[str]:
    """What a word with one letter hidden may be: s*icide is suicide."""
    return (token.replace("*", vowel) for vowel in "aeiou")


@dataclass(frozen=True, slots=True)
class _Token:
    """One place of a pattern: alternatives, each a row of folded words; the last word may be a beginning (`*`)."""

    alternatives: tuple[tuple[str, ...], ...]
    is_optional: bool = False
    gap: int = 0

    @property
    def regex(self) -> str:
        if self.gap:
            return rf"(?:\S+ ){{0,{self.gap}}}"
        choices = "|".join(
            " ".join(re.escape(word[:-1]) + r"\S*" if word.endswith("*") else re.escape(word) for word in words)
            for words in sorted(self.alternatives, key=lambda words: -len(words))
        )
        return f"(?:(?:{choices}) )" + ("?" if self.is_optional else "")


class _Pattern:
    """One pattern, read once in a process; its regular expression is made when it is first asked for."""

    _known: ClassVar[dict[tuple[int, str], Self]] = {}

    @classmethod
    def of(cls, phrase: Phrase) -> Self:
        """
        Raises:
            ValueError: as for `__init__`.
        """
        known = cls._known.get((id(phrase.sets), phrase.text))
        if known is None:
            if len(cls._known) >= KNOWN_AT_MOST:
                cls._known.clear()
            known = cls._known[id(phrase.sets), phrase.text] = cls(
                phrase
            )  # it keeps the sets, so that their id is theirs
        return known

    def __init__(self, phrase: Phrase) -> None:
        """
        Raises:
            ValueError: it names an unknown set, or has too many alternatives or too wide a gap.
        """
        self._text = phrase.text
        self._sets = phrase.sets
        self._length_of(self._text, {})
        gaps = [int(gap or GAP) for gap in _GAP.findall(self._text)]
        if max(gaps, default=0) > WIDEST_GAP or sum(gaps) > WIDEST_GAPS:
            raise ValueError(f"a gap is at most {WIDEST_GAP} words wide, all of a pattern {WIDEST_GAPS}")

    def _length_of(self, text: str, sets: dict[str, int]) -> int:
        """How many alternatives a text has with those of its sets, each of which is counted once."""
        total = text.count("|") + 1
        for name in _SET.findall(text):
            if name not in self._sets:
                raise ValueError(f"no set is called {name}")
            if sets.setdefault(name, 0) < 0:
                raise ValueError(f"{name} names itself")
            if not sets[name]:
                sets[name] = -1
                sets[name] = sum(self._length_of(word, sets) for word in self._sets[name])
            total += sets[name]
        if total > ALTERNATIVES_AT_MOST:
            raise ValueError(f"a pattern has at most {ALTERNATIVES_AT_MOST} alternatives with those of its sets")
        return total

    @cached_property
    def _tokens(self) -> list[_Token]:
        tokens = [self._token(part) for part in self._text.split()]
        return [token for token in tokens if token.gap or token.alternatives]

    @cached_property
    def regex(self) -> re.Pattern[str]:
        """Over words with one space before, between and behind."""
        return re.compile("(?<= )" + "".join(token.regex for token in self._tokens))

    @cached_property
    def needs(self) -> tuple[frozenset[str], ...]:
        """The places that a set of words can be compared with: of each one word has to occur."""
        tokens = (token for token in self._tokens if token.alternatives and not token.is_optional)
        places = ([max(words, key=_length) for words in token.alternatives] for token in tokens)
        return tuple(frozenset(place) for place in places if not any("*" in word for word in place))

    @cached_property
    def places(self) -> list[list[str]]:
        """The places that have to be filled, the rarest first, each by the words of which one has to occur there.

        Raises:
            ValueError: there is no place by which a text can be looked through.
        """
        places = sorted((token for token in self._tokens if token.alternatives and not token.is_optional), key=_rarity)
        if not places or _rarity(places[-1]) < (1, -sys.maxsize):
            raise ValueError(f"no word, or beginning of {STEM} letters, has to occur: {self._text!r}")
        return [[max(words, key=_length) for words in place.alternatives] for place in reversed(places)]

    def _token(self, part: str) -> _Token:
        if part.startswith("~"):
            return _Token((), gap=int(part[1:] or GAP))
        return _Token(tuple(self._alternatives(part.removesuffix("?"))), is_optional=part.endswith("?"))

    def _alternatives(self, part: str) -> Iterator[tuple[str, ...]]:
        for choice in part.split("|"):
            if choice.startswith("$"):
                for word in self._sets[choice[1:]]:
                    yield from self._alternatives(word)
                continue
            if words := _folded(choice.replace("_", " ").removesuffix("*")):
                yield (*words[:-1], words[-1] + "*") if choice.endswith("*") else tuple(words)


@dataclass(frozen=True, slots=True)
class _Readable(Generic[T]):
    """A rule with its patterns read."""

    meaning: T
    pattern: _Pattern
    unless: tuple[_Pattern, ...]


@lru_cache(maxsize=100_000)
def _folded(words: str) -> list[str]:
    return words_of(words)


def _rarity(token: _Token) -> tuple[int, int]:
    return min(max(map(_length, words)) for words in token.alternatives), -len(token.alternatives)


def _length(word: str) -> int:
    """How telling a word is: its length, nothing for the commonest; a short beginning cannot be looked up."""
    if word.endswith("*"):
        return len(word) - 1 if len(word) > STEM else -1
    return 1 if word in _COMMON else len(word)
