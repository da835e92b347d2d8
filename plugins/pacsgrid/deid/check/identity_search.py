"""Search texts and bytes of a result for a study's identifying values, in any spelling."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from .identity import Identity
from .names import NOT_NAMES, ShortNames, min_letters_inside
from .text_dates import find_dates
from .text_decoding import fold, fold_spellings

# Beginnings of words that occur in the names of many institutions or manufacturers.
_EVERYWHERE = (
    "agfa", "anonym", "canon", "care", "cent", "city", "clini", "colleg", "count", "depart",
    "diagn", "dicom", "fakultn", "foundat", "fuji", "gener", "group", "health", "hitach",
    "holog", "hopit", "hospi", "imag", "insti", "klini", "krank", "labor", "medi", "nation",
    "nemocn", "north", "osped", "phili", "polic", "praxi", "priva", "publi", "radio", "regio",
    "remov", "resea", "saint", "sankt", "schoo", "servi", "sieme", "south", "syste", "szpit",
    "toshi", "trust", "unive", "unkno", "ustav",
)  # fmt: skip
_PUBLIC_SCHEMES = frozenset(
    ("DCM", "SCT", "SRT", "SNM3", "99SDM", "LN", "UCUM", "RADLEX", "MAYOASRG", "NYUMCCG", "NCIt",
     "UMLS", "FMA", "ISO3166_1", "ISO639_1", "ISO639_2", "RADELEMENT", "UBERON", "PATHLEX")
)  # fmt: skip
_DIALLED = re.compile(r"\d[\d\s()./+-]{5,}\d")
# Letters that OCR confuses with digits.
_MISREAD = str.maketrans("oilszbg", "0115289")

__all__ = ["IdentitySearch", "find_dates"]
# Cyrillic and Greek in Latin letters, as passports have them; hard and soft signs fall away.
_FOREIGN = "абвгдежзийклмнопрстуфхцчшщыэюяєіαβγδεζηθικλμνξοπρστυφχψω"
_ROMANISED = (
    "a b v g d e zh z i i k l m n o p r s t u f kh ts ch sh shch y e iu ia e i "
    "a v g d e z i th i k l m n x o p r s t y f ch ps o"
)
_LATIN = str.maketrans({"ъ": "", "ь": ""} | dict(zip(_FOREIGN, _ROMANISED.split(), strict=True)))


# Letters that people and OCR write as digits, in names of five letters or more.
_AS_DIGITS = [str.maketrans("0158", "oisb"), str.maketrans("0158", "olsb")]
_KANA = re.compile("[\u3041-\u3096\u30a1-\u30fa\u30fc]{2,}")
# Hepburn and other ways to write a syllable; Unicode names kana as these have it.
_SYLLABLES = {"shi": "si", "chi": "ti", "tsu": "tu", "fu": "hu", "ji": "zi", "sh": "sy",
              "ch": "ty", "j": "zy", "ou": "o", "di": "zi", "du": "zu"}  # fmt: skip


def _spoken(text: str) -> str:
    """Return a Japanese name in Latin letters, without long vowels and doubled consonants."""
    return re.sub(r"(\w)\1+", r"\1", re.sub("|".join(_SYLLABLES), lambda m: _SYLLABLES[m[0]], text))


def _spell_kana(kana: str) -> str:
    letters = ""
    for sign in kana:
        name = unicodedata.name(sign, "").rsplit(" ", 1)[-1].lower()
        small = "SMALL" in unicodedata.name(sign, "")
        if sign == "\u30fc" or (name == "tu" and small):
            continue
        letters = letters[:-1] + name if small and letters else letters + name
    return _spoken(letters)


class IdentitySearch:
    """A search for one study's identifying values in texts and bytes.

    Parameters
    ----------
    identity
        The study's identifying values.

    Attributes
    ----------
    numbers
        Identifiers of six or more digits.
    dates
        Whole dates of the study, as ``YYYYMMDD``, birth dates included.
    births
        The birth dates alone.
    """

    def __init__(self, identity: Identity) -> None:
        self._words = {
            word for name in identity.names
            for form in fold_spellings(name) for word in form.split()
            if len(word) >= 3 and not min_letters_inside(word)
            and word not in NOT_NAMES and not word.isdigit()
        }  # fmt: skip
        latin = (_spoken(w) for w in self._words if len(w) >= 4 and w.isascii() and w.isalpha())
        self._spoken = {word for word in latin if len(word) >= 4}
        self._names = ShortNames(identity.patients, identity.persons - identity.patients)
        # In some languages a name's ending changes with its grammatical case: Nováková, Novákovou.
        self._stems: dict[str, set[str]] = {}
        for word in self._words:
            if len(word) >= 5:
                stem = word[:-1] if len(word) >= 6 else word
                self._stems.setdefault(stem[:5], set()).add(stem)
        # A station named after its device model identifies no particular device.
        models = {fold(model) for model in identity.models}
        stations = {value for value in identity.stations if fold(value) not in models}
        compact = {fold(value).replace(" ", "") for value in identity.ids | stations}
        self._personal_ids = {fold(value).replace(" ", "") for value in identity.personal_ids}
        self._short = {c for c in compact if 4 <= len(c) < 6 and not c.isalpha()}
        long = {c for c in compact if len(c) >= 6 and not c.isalpha()}
        long |= {part for place in identity.places for part in _parts(place)}
        long |= {
            fold(phone).replace(" ", "") for phone in identity.phones if "@" in phone
        }  # fmt: skip
        self._long = _alternatives(long)
        # Local coding schemes are often named after the institution, by a distinctive word.
        self._schemes = {
            word for place in identity.institutions for word in fold(place).split()
            if len(word) >= 5 and word.isalpha() and not word.startswith(_EVERYWHERE)
        }  # fmt: skip
        self._joined = _alternatives({word for word in self._words if len(word) >= 5})
        self._phones = {
            digits[-9:] for phone in identity.phones
            if len(digits := re.sub(r"\D", "", phone)) >= 7
        }  # fmt: skip
        # Shorter numbers are often counts or positions.
        self.numbers = {c.encode() for c in long if c.isdigit()}
        self.dates = identity.dates | identity.births
        self.births = frozenset(identity.births)

    def search_text(self, text: str, short: bool = True) -> str | None:
        """Return the kind of identifying value that a text holds, or None.

        Dates are not searched for; `find_dates` lists them.

        Parameters
        ----------
        text
            The text.
        short
            Whether two letters that stand alone may be a name.
        """
        form = fold(text)
        if not form:
            return None
        if self._names.holds_name(text, form.split(), short):
            return "a name"
        return self._plain(text, form)

    def search_subject(self, subject: str) -> str | None:
        """Return the kind of identifying value that a subject from outside holds, or None.

        Lists number their subjects, and short numbers of visits and orders occur in them by
        chance: of short identifiers only the patient's own are searched for.

        Parameters
        ----------
        subject
            The subject.
        """
        words = fold(subject).split()
        if not self._personal_ids.isdisjoint({w for w in words if len(w) >= 4} | {"".join(words)}):
            return "an identifier"
        return self._plain(subject, fold(subject), short=False) or (
            "a name" if self._names.holds_name(subject, words, False) else None
        )

    def _plain(self, text: str, form: str, short: bool = True) -> str | None:
        words = form.split()
        if self._named(words, form) or (not form.isascii() and self._named_in_kana(text)):
            return "a name"
        if short and not self._short.isdisjoint(words):
            return "an identifier"
        squeezed = form.replace(" ", "")
        if self._long and self._long.search(squeezed):
            return "an identifier or address"
        if self._phones:
            for match in _DIALLED.finditer(text):
                digits = re.sub(r"\D", "", match[0])
                if any(phone in digits for phone in self._phones):
                    return "a phone number"
        return None

    def names_institution(self, text: str) -> bool:
        """Return whether a coding scheme's name contains a distinctive word of an institution."""
        if text in _PUBLIC_SCHEMES:
            return False
        squeezed = fold(text).replace(" ", "")
        return any(word in squeezed for word in self._schemes)

    def search_text_approximately(self, text: str) -> str | None:
        """Return the kind of value in a text from OCR, one wrong letter allowed, or None."""
        for word in fold(text).split():
            if len(word) >= 6 and any(
                abs(len(word) - len(name)) <= 1 and len(name) >= 6 and _one_apart(word, name)
                for name in self._words
            ):
                return "a name"
        digits = fold(text).translate(_MISREAD).replace(" ", "")
        if any(number.decode() in digits for number in self.numbers):
            return "an identifier"
        return None

    def _named(self, words: list[str], form: str) -> bool:
        if not form.isascii():
            romanised = form.replace("ου", "ou").translate(_LATIN).split()
            words = words + [word for word in romanised if len(word) >= 4 and word.isascii()]
        mixed = [word for word in words if len(word) >= 5 and not word.isalpha()]
        if any(word.translate(way) in self._words for word in mixed for way in _AS_DIGITS):
            return True
        if not self._words.isdisjoint(words) or self._names.holds_unspaced_name(words):
            return True
        for word in words:
            for stem in self._stems.get(word[:5], ()):
                if word.startswith(stem) and len(word) <= len(stem) + 4:
                    return True
        if not self._joined:
            return False
        # `janhorak` and `h o r a k` name Mr Horák; `thorakal` does not.
        edges = {0}
        at = 0
        for word in words:
            at += len(word)
            edges.add(at)
        squeezed = form.replace(" ", "")
        return any(
            match.end() in edges or (match.start() in edges and len(words) > 1)
            for match in self._joined.finditer(squeezed)
        )

    def _named_in_kana(self, text: str) -> bool:
        """Return whether a name in Latin letters stands in kana."""
        runs = [_spell_kana(m[0]) for m in _KANA.finditer(unicodedata.normalize("NFKC", text))]
        long = [name for name in self._spoken if len(name) >= 5] if runs else []
        return any(run in self._spoken or any(name in run for name in long) for run in runs)

    def search_bytes(self, value: bytes) -> str | None:
        """Return the kind of identifying value in bytes, read in common encodings, or None."""
        for encoding in ("utf-8", "cp1250", "utf-16-le", "utf-16-be"):
            text = value.decode(encoding, "replace")
            for run in re.findall(r"[^\W_][\w .^,/@+-]{4,}", text):
                form = fold(run)
                # Shorter words occur by chance in binary values.
                if any(len(word) >= 5 for word in form.split()) and (
                    found := self._plain(run, form)
                ):
                    return found
        return None


def _one_apart(one: str, other: str) -> bool:
    """Return whether two words differ by one changed, lost or added letter at most."""
    short, long = sorted((one, other), key=len)
    same = next((n for n, letter in enumerate(short) if letter != long[n]), len(short))
    rest = short[same + 1 :] if len(short) == len(long) else short[same:]
    return long[same + 1 :] == rest


def _parts(place: str) -> Iterator[str]:
    """Yield an address and its parts that are long enough to identify, such as the street."""
    for part in [place, *re.split(r"[\r\n,;\\^]", place)]:
        compact = fold(part).replace(" ", "")
        if len(compact) >= 8 and not compact.isdigit():
            yield compact


def _alternatives(values: set[str]) -> re.Pattern[str] | None:
    if not values:
        return None
    return re.compile("|".join(re.escape(value) for value in sorted(values)))
