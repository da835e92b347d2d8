"""Find names of persons in free text, in any order, case and script; also joined or inflected."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, permutations, product

from .caching.bounded_cache import BoundedCache
from .text_folding import FoldedText, fold, fold_with_positions, to_nfc
from .transliteration import plain_syllables, romanise, syllables_of_kana

_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe"})
_WORD = re.compile(r"[^\W_]+")
# Kana in folded text, which lacks their voicing marks. A name in Latin letters is found in them.
_KANA_RUN = re.compile("[\u30a1-\u30fa\u30fc]+")
_LETTERS_OR_DIGITS = re.compile(r"\d+|[^\W\d_]+")
# Titles, and words that are never a name by themselves.
_TITLES = frozenset(
    {"anonymous", "anonymized", "anonymised", "unknown", "none", "dr", "doc", "prof", "mudr",
     "med", "phd", "md", "mr", "mrs", "ms", "jr", "sr", "ii", "iii", "iv", "the", "and",
     "ct", "mg", "nm", "pt", "qa", "us", "xa", "cr", "dx", "rt", "id"}
)  # fmt: skip
# Particles of names that are also words of some language: removed beside the name, kept elsewhere.
# They count as the name of a person who has no other.
_PARTICLES = frozenset(
    {"van", "von", "vom", "zu", "zum", "zur", "der", "den", "del", "de", "des", "di", "da", "do",
     "dos", "das", "du", "la", "le", "les", "el", "al", "bin", "bint", "ibn", "ben", "abu", "ap",
     "af", "av", "ten", "ter", "san", "st", "y", "e", "i", "d", "v", "o"}
)  # fmt: skip
# Signs and control characters in place of letters: UTF-8 or another encoding was read as Latin.
_MISREAD = re.compile("[\x80-\xbf\u2018-\u2122\u0152\u0153\u0160\u0161\u017d\u017e\u0192\ufffd]")
_CASE_ENDINGS = frozenset(
    ("a", "e", "i", "u", "y", "em", "om", "ou", "ovi", "ova", "ovou", "ove", "ovo", "ovy", "ech",
     "eho", "emu", "ym", "ych", "ej", "iem", "owi", "s", "ne", "ek", "ke", "ku", "ka")
)  # fmt: skip
# Two letters that are a unit behind a number or in front of a slash; case matters.
_UNITS = frozenset(
    ("ng", "mg", "pg", "ug", "kg", "ml", "mL", "dl", "dL", "mm", "cm", "nm", "um", "ms", "ns",
     "mA", "kV", "Hz", "Gy", "mT", "Bq", "Ci", "HU", "mV", "lb")
)  # fmt: skip
_HAN, _KANA, _HANGUL, _THAI, _SPACED = "han", "kana", "hangul", "thai", "spaced"
_RANGES = (
    (0x0E00, 0x0EFF, _THAI), (0x1000, 0x109F, _THAI), (0x1780, 0x17FF, _THAI),
    (0x3005, 0x3007, _HAN), (0x3040, 0x30FF, _KANA), (0x3400, 0x9FFF, _HAN),
    (0xAC00, 0xD7A3, _HANGUL), (0xF900, 0xFAFF, _HAN), (0x20000, 0x3FFFF, _HAN),
)  # fmt: skip
_CLASS = {
    _HAN: "\u3005-\u3007\u3400-\u9fff\U00020000-\U0003ffff",
    _KANA: "\u3041-\u30fa\u30fc-\u30ff",
    _HANGUL: "\uac00-\ud7a3",
    _THAI: "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff",
}
# Characters that a name must have to be found inside a longer run of its script.
_INSIDE = {_HAN: 2, _KANA: 3, _HANGUL: 2, _THAI: 3}
# Honorifics: in front of them even a single character is a name.
_CALLED = (
    "先生", "女士", "小姐", "太太", "医生", "醫生", "医师", "醫師", "大夫", "教授", "主任",
    "さん", "さま", "様", "氏", "君", "殿", "씨", "님", "군", "양", "환자", "선생", "과장", "교수",
)  # fmt: skip
_HONORIFICS = "|".join(map(fold, _CALLED))
_PATIENT_WORDS = ("患者", "病人", "환자")
_CLOSE_SEPARATORS = " .,_^'’-‐‑‒–"
# Digits that OCR and hasty fingers put for letters, read in two ways: 1 is i or l.
_DIGITS_FOR_LETTERS = tuple(str.maketrans("0134568", letters) for letters in ("oieasgb", "oleasgb"))
_MIXED = re.compile(r"(?=[^\W_]*\d)(?=[^\W_]*[^\W\d_]{2})[^\W_]{4,}")
# Letters that a name needs to be found with one of them wrong.
_APPROXIMATE = 6
# Prepositions and articles of Hebrew and Arabic that are joined to the word behind them.
_PREFIXED = frozenset("ובלכהמשوبلفك")
_DIGRAPH = re.compile(r"(?<=[a-z][aou])e(?=[a-z]{2})")
# A name of more words is not permuted as a whole.
_MAX_PERMUTED = 4
# Words for which the answer is cached.
_MAX_ANSWERS = 10_000


@lru_cache(maxsize=4096)
def _script(char: str) -> str:
    code = ord(char)
    return next((script for low, high, script in _RANGES if low <= code <= high), _SPACED)


@dataclass(frozen=True)
class _Piece:
    """A run of letters or of digits; ``whole`` if it is a complete word."""

    start: int
    end: int
    word: str
    whole: bool


def _groups(name: str) -> Iterator[list[list[str]]]:
    """Split each representation of a PN into components, and these into words (PS3.5 6.2.1)."""
    for spelling in _spellings(name):
        for group in re.split(r"[=＝]", spelling):
            components = [fold(part).split() for part in re.split(r"[\^＾]", group)]
            if any(components):
                yield components


def _spellings(name: str) -> Iterator[str]:
    """Yield spellings of a name: as it is, umlauts spelled out, transliterated, without marks."""
    yield name
    small = to_nfc(name).casefold()
    if (spelled := small.translate(_UMLAUTS)) != small:
        yield spelled
    yield from romanise(small)
    # Mueller may be written Müller, which compares as Muller.
    spelled = fold_with_positions(spelled).text
    if (plain := _DIGRAPH.sub("", spelled)) != spelled:
        yield plain


class PersonNames:
    """Names of persons, prepared to be found.

    Parameters
    ----------
    patients
        Names (PN) of the patient. One of two letters is found as a word of its own.
    others
        Names of other persons. One of two letters is found beside another name only.

    Attributes
    ----------
    words
        Words of the names that are found by themselves, folded.
    """

    def __init__(self, patients: Collection[str], others: Collection[str] = ()) -> None:
        self.words: set[str] = set()
        self._short: set[str] = set()
        self._joined: set[str] = set()
        self._full: set[str] = set()
        self._answers: BoundedCache[str, bool] = BoundedCache(_MAX_ANSWERS)
        self._particles: set[str] = set()
        self._inflected: dict[str, set[str]] = {}
        runs: set[str] = set()
        for whose, own in ((patients, True), (others, False)):
            for name in whose:
                for components in _groups(name):
                    self._add_name(components, own, runs)
        long = {word for word in self.words if len(word) >= 5}
        # The masculine form of a Czech or Slovak family name: Kvapil, of Kvapilová.
        self.words |= {word[:-3] for word in long if word.endswith("ova") and len(word) >= 7}
        self._long = sorted(long | self._full, key=len, reverse=True)
        # Longest first: a shorter alternative would match the beginning, and leave the rest.
        longest_first = sorted(runs, key=lambda run: (-len(run), run))
        self._runs = re.compile("|".join(longest_first)) if runs else None
        self._literal = _misread_pattern({*patients, *others})
        latin = {plain_syllables(word) for word in self.words if word.isascii() and word.isalpha()}
        self._syllables = {word for word in latin if len(word) >= 3}
        self._by_letter: dict[str, list[str]] = {}
        for word in self.words:
            if len(word) >= _APPROXIMATE and word.isalpha():
                self._by_letter.setdefault(word[0], []).append(word)
        self._longest = max(map(len, self._joined | self.words), default=0)
        keys = {word[:4] for word in self._long} | self._short | self._joined
        keys |= {word[:2] if len(word) < 4 else word[:3] for word in self.words if len(word) < 5}
        self._hint = _prefix_pattern(keys)

    def _add_name(self, components: list[list[str]], own: bool, runs: set[str]) -> None:
        spaced: list[str] = []
        unspaced: list[str] = []
        for number, component in enumerate(components):
            letters = [word for word in component if not word.isdigit()]
            named = [word for word in letters if word not in _PARTICLES | _TITLES]
            for word in component:
                if _script(word[0]) != _SPACED and not word.isdigit():
                    if number <= 2:
                        unspaced.append(word)
                    continue
                if word in _TITLES:
                    continue
                if number > 2 and len(word) < 3:
                    continue  # a title or a degree
                if word in _PARTICLES and named:
                    self._particles.add(word)
                elif len(word) >= 3:
                    self.words.add(word)
                elif len(word) == 2 and own and word.isalpha():
                    self._short.add(word)
                if number <= 2 and not word.isdigit():
                    spaced.append(word)
            # All words of a component joined, particles included: vandenberg, oconnor.
            if len(component) > 1 and all(_script(word[0]) == _SPACED for word in component):
                self._add_joined("".join(component), 4)
        self._add_combinations(spaced)
        if any(len(component) > 1 for component in components):
            self._add_combinations(["".join(c) for c in components[:3] if set(c) & set(spaced)])
        runs |= set(_unspaced_patterns(unspaced))
        for word in spaced:
            if 3 <= len(word) <= 4 and word in self.words and word.isalpha():
                stem = word[:-1] if word[-1] in "aeiouy" else word
                self._inflected.setdefault(stem, set()).add(word)

    def _add_joined(self, word: str, least: int = 3) -> None:
        if len(word) >= least and not word.isdigit():
            self._joined.add(word)

    def _add_combinations(self, words: list[str]) -> None:
        words = list(dict.fromkeys(words))
        self._add_joined("".join(words), 4)
        self._add_joined("".join(reversed(words)), 4)
        names = [word for word in words if word not in _PARTICLES] if len(words) > 2 else words
        if len(names) > _MAX_PERMUTED:
            for one, other in permutations(names, 2):
                self._add_order((one, other))
            return
        for size in range(2, len(names) + 1):
            for some in combinations(names, size):
                for order in permutations(some):
                    self._add_order(order)

    def _add_order(self, order: tuple[str, ...]) -> None:
        """Add the words joined in this order, each in full or by its initial."""
        for whole in product((True, False), repeat=len(order)):
            full = [word for word, keep in zip(order, whole, strict=True) if keep]
            if not full:
                continue
            # A name of two letters and an initial would match too many words of three.
            if not all(whole) and max(map(len, full)) < 3:
                continue
            made = "".join(w if keep else w[0] for w, keep in zip(order, whole, strict=True))
            self._add_joined(made)
            if all(whole) and len(made) >= 6:
                self._full.add(made)

    def find_spans(
        self, text: str, flat: FoldedText, short: bool = True, joined: bool = True
    ) -> list[tuple[int, int]]:
        """Find names in a text.

        Parameters
        ----------
        text
            The text in Unicode NFC; its capitals tell where joined words begin.
        flat
            The same text folded.
        short
            Whether two letters of a patient's name count as a word of their own.
        joined
            Whether names count that are written together, or joined to other words.

        Returns
        -------
        list of tuple of int
            Start and end of each match in the folded text; matches may overlap.
        """
        found: list[tuple[int, int]] = []
        if self._runs is not None:
            found += [match.span() for match in self._runs.finditer(flat.text)]
        if self._literal is not None and not text.isascii():
            found += _to_folded(flat, [match.span() for match in self._literal.finditer(text)])
        if joined and not flat.text.isascii():
            found += self._find_transliterated(text, flat)
        if joined:
            found += self._find_misspelt(flat)
        if self._hint is None:
            return found
        words = [match.span() for match in _WORD.finditer(flat.text)]
        squeezed = "".join([flat.text[start:end] for start, end in words])
        if not self._hint.search(squeezed):
            return found
        found += self._inside(words, squeezed)
        for start, end in words:
            word = flat.text[start:end]
            named = word in self.words or (joined and self._is_name(word))
            if short and word in self._short:
                named = not _is_unit(text, *flat.span(start, end))
            if named:
                found.append((start, end))
        if not joined:
            return found
        pieces = list(_pieces(text, flat, words))
        found += [(pieces[n].start, pieces[n].end) for n in self._find_certain(text, flat, pieces)]
        return self._extend_matches(flat.text, pieces, found)

    def _find_transliterated(self, text: str, flat: FoldedText) -> Iterator[tuple[int, int]]:
        """Find names written in Cyrillic or Greek that the header has in Latin letters."""
        for match in _WORD.finditer(flat.text):
            start, end = flat.span(*match.span())
            forms = {*romanise(text[start:end].casefold()), *romanise(match[0])}
            if any(self._is_name(fold(form)) for form in forms):
                yield match.span()
        for match in _KANA_RUN.finditer(flat.text) if self._syllables else ():
            spoken = syllables_of_kana(text[slice(*flat.span(*match.span()))])
            if spoken in self._syllables or any(
                name in spoken for name in self._syllables if len(name) >= 4
            ):
                yield match.span()

    def _find_misspelt(self, flat: FoldedText) -> Iterator[tuple[int, int]]:
        """Find names with digits for letters, and long ones with one wrong letter."""
        for match in _WORD.finditer(flat.text):
            word = match[0]
            if _MIXED.fullmatch(word):
                forms = {word.translate(way) for way in _DIGITS_FOR_LETTERS}
                if any(form in self.words and len(form) >= 4 for form in forms):
                    yield match.span()
            elif len(word) >= _APPROXIMATE and word.isalpha():
                for name in self._by_letter.get(word[0], ()):
                    if len(name) == len(word) and name[-1] == word[-1] and _one_apart(name, word):
                        yield match.span()

    def _inside(self, words: list[tuple[int, int]], squeezed: str) -> Iterator[tuple[int, int]]:
        """Find long names, inside words and across them."""
        if not any(word in squeezed for word in self._long):
            return
        place = [(start, end) for start, end in words for _ in range(end - start)]
        for name in self._long:
            at = squeezed.find(name)
            while at >= 0:
                yield place[at][0], place[at + len(name) - 1][1]
                at = squeezed.find(name, at + 1)

    def _find_certain(self, text: str, flat: FoldedText, pieces: list[_Piece]) -> Iterator[int]:
        for first, piece in enumerate(pieces):
            if piece.word in self.words or self._is_name(piece.word):
                yield first
            made = ""
            for last in range(first, len(pieces)):
                made += pieces[last].word
                if len(made) > self._longest:
                    break
                joined = made in self._joined and _may_join(text, flat, pieces, first, last)
                cut = last > first and made in self.words and _are_adjacent(pieces, first, last)
                if joined or cut:
                    yield from range(first, last + 1)

    def _extend_matches(
        self, flat: str, pieces: list[_Piece], found: list[tuple[int, int]]
    ) -> list[tuple[int, int]]:
        """Add initials, particles and inflected short names beside the matches."""
        covered = [any(a < piece.end and piece.start < b for a, b in found) for piece in pieces]
        stems = [self._stem(piece.word) for piece in pieces]
        for at in range(len(pieces) - 1):
            both = stems[at] and stems[at + 1] and stems[at] != stems[at + 1]
            if both and _are_close(flat, pieces, at, at + 1):
                covered[at] = covered[at + 1] = True
        changed = any(covered)
        while changed:
            changed = False
            for number, piece in enumerate(pieces):
                if covered[number] or not (
                    (piece.whole and _is_initial(piece.word))
                    or piece.word in self._particles
                    or stems[number]
                    or self._is_abbreviation(flat, piece)
                ):
                    continue
                for other in (number - 1, number + 1):
                    if (
                        0 <= other < len(pieces)
                        and covered[other]
                        and _are_close(flat, pieces, number, other)
                    ):
                        covered[number] = changed = True
        return found + [
            (piece.start, piece.end) for piece, yes in zip(pieces, covered, strict=True) if yes
        ]

    def _is_abbreviation(self, flat: str, piece: _Piece) -> bool:
        return (
            len(piece.word) <= 3
            and flat[piece.end : piece.end + 1] == "."
            and any(word.startswith(piece.word) for word in self.words)
        )

    def _stem(self, word: str) -> str:
        """Return the stem of a short name if a word is an inflection of it, or an empty text."""
        for size in (2, 3, 4):
            stem = word[:size]
            if stem in self._inflected and (word[size:] in _CASE_ENDINGS or word == stem):
                return stem
        return ""

    def _is_name(self, word: str) -> bool:
        """Return whether a word is a name, holds a long one, or is an inflected one."""
        known = self._answers.get(word)
        return self._answers.store(word, self._match(word)) if known is None else known

    def _match(self, word: str) -> bool:
        if word in self.words or (word in self._joined and len(word) >= 4):
            return True
        if word[:1] in _PREFIXED and (word[1:] in self.words or word[3:] in self.words):
            return True
        if len(word) < 5:
            return False
        return any(
            name in word
            or (abs(len(name) - len(word)) <= 2 and word.startswith(name[: max(4, len(name) - 2)]))
            or (len(word) <= len(name) + 3 and word.startswith(name[:-1]))
            for name in self._long
        )


def _is_initial(word: str) -> bool:
    """Return whether a word may be an initial; in scripts without spaces it is a word."""
    return len(word) == 1 and word.isalpha() and _script(word) == _SPACED


def _one_apart(one: str, other: str) -> bool:
    """Return whether two words of one length differ in one letter."""
    return sum(a != b for a, b in zip(one, other, strict=True)) == 1


def _misread_pattern(names: Iterable[str]) -> re.Pattern[str] | None:
    """Match names that were read with the wrong character set, literally."""
    found: set[str] = set()
    for name in names:
        if name.isascii():
            continue
        for group in re.split("[=＝]", to_nfc(name)):
            parts = [part.strip(" ") for part in re.split(r"[\^＾]", group)]
            for one in (*parts, "".join(parts), "".join(reversed(parts))):
                strange = any(not c.isascii() and not c.isalpha() for c in one)
                if len(one) >= 2 and strange and _MISREAD.search(one):
                    found.add(re.escape(one))
    long_first = sorted(found, key=len, reverse=True)
    return re.compile("|".join(long_first), re.IGNORECASE) if found else None


def _to_folded(flat: FoldedText, spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Convert positions in the original to positions in the folded text."""
    starts = flat.starts or []
    for start, end in spans:
        first, last = bisect_left(starts, start), bisect_left(starts, end)
        if first < last:
            yield first, last


def _prefix_pattern(keys: set[str]) -> re.Pattern[str] | None:
    """Match any of the keys, leaving out those that begin with another one."""
    kept: list[str] = []
    for key in sorted(keys):
        if not kept or not key.startswith(kept[-1]):
            kept.append(key)
    return re.compile("|".join(map(re.escape, kept))) if kept else None


def _unspaced_patterns(words: list[str]) -> Iterator[str]:
    """Yield patterns for a name in a script without spaces, or with endings joined to words."""
    words = list(dict.fromkeys(words))
    if len(words) > 1:
        orders = [tuple(words), tuple(reversed(words))]
        if len(words) <= _MAX_PERMUTED:
            orders = list(permutations(words))
        orders += list(permutations(words, 2)) if len(words) > 2 else []
        for order in orders:
            yield r"[\W_]*".join(map(re.escape, "".join(order)))
    elif words:
        apart = _split_family_given(words[0])
        for part in apart:
            rest = words[0].removeprefix(part) if words[0].startswith(part) else ""
            rest = rest or words[0].removesuffix(part)
            for order in ((words[0][: -len(part)], part), (part, rest)):
                yield r"[\W_]*".join(map(re.escape, order))
        words += apart
        if _script(words[0][0]) in (_HAN, _HANGUL):
            yield rf"{re.escape(words[0][0])}(?={_HONORIFICS})"
    for word in words:
        script = _script(word[0])
        if len(word) >= _INSIDE[script]:
            yield re.escape(word)
            continue
        letters = _CLASS[script] + (_CLASS[_KANA] if script == _HAN else "")
        before = "|".join(rf"(?<={title})" for title in _PATIENT_WORDS)
        yield rf"(?:(?<![{letters}])|{before}){re.escape(word)}(?=[^{letters}]|$|{_HONORIFICS})"


def _split_family_given(word: str) -> list[str]:
    """Guess family and given name in a name of three or four characters without a space."""
    if _script(word[0]) == _HANGUL and len(word) == 3:
        return [word[1:]]
    if _script(word[0]) == _HAN and len(word) in (3, 4):
        return [word[:2], word[len(word) - 2 :]]
    return []


def _pieces(text: str, flat: FoldedText, words: list[tuple[int, int]]) -> Iterator[_Piece]:
    """Split words between letters and digits, and before capitals: ``KosJan2``."""
    for start, end in words:
        runs: list[tuple[int, int]] = []
        for match in _LETTERS_OR_DIGITS.finditer(flat.text, start, end):
            at = match.start()
            for cut in _capital_boundaries(text, flat, *match.span()):
                runs.append((at, cut))
                at = cut
            runs.append((at, match.end()))
        for a, b in runs:
            yield _Piece(a, b, flat.text[a:b], len(runs) == 1)


def _capital_boundaries(text: str, flat: FoldedText, start: int, end: int) -> Iterator[int]:
    origin = flat.starts
    case = [text[origin[n] if origin is not None else n] for n in range(start, end)]
    for n in range(1, len(case)):
        if not case[n].isupper():
            continue
        follows = n + 1 < len(case) and case[n + 1].islower()
        if case[n - 1].islower() or (case[n - 1].isupper() and follows):
            yield start + n


def _may_join(text: str, flat: FoldedText, pieces: list[_Piece], first: int, last: int) -> bool:
    """Return whether pieces may be a joined name; three lower-case letters are a common word."""
    for number in range(first, last):
        one, other = pieces[number], pieces[number + 1]
        # A separate initial must be near, and a word of its own.
        letters = [piece for piece in (one, other) if len(piece.word) == 1]
        if not letters or one.end == other.start:
            continue
        if not all(letter.whole for letter in letters) or not _are_close(
            flat.text, pieces, number, number + 1
        ):
            return False
    if last > first or sum(len(piece.word) for piece in pieces[first : last + 1]) >= 4:
        return True
    start, end = flat.span(pieces[first].start, pieces[last].end)
    return not text[start:end].islower()


def _are_adjacent(pieces: list[_Piece], first: int, last: int) -> bool:
    return all(pieces[n].end == pieces[n + 1].start for n in range(first, last))


def _are_close(flat: str, pieces: list[_Piece], one: int, other: int) -> bool:
    first, second = sorted((one, other))
    return not flat[pieces[first].end : pieces[second].start].strip(_CLOSE_SEPARATORS)


def _is_unit(text: str, start: int, end: int) -> bool:
    """Return whether two letters are a unit of measure: ``5 ng``, ``ng/ml``, ``120 mA``."""
    if text[start:end] not in _UNITS:
        return False
    behind = text[:start].removesuffix(" ")[-1:]
    return behind.isdigit() or text[end : end + 1] == "/"
