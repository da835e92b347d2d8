"""Made-up patients, and the ways in which people write about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class Person:
    """A made-up patient."""

    family: str
    given: str
    sex: str
    birth: date
    patient_id: str
    phone: str
    email: str
    street: str
    city: str


PEOPLE = (
    Person("Nováková", "Žofie", "F", date(1975, 3, 12), "756203/1234", "+420 603 123 456",
           "zofie.novakova@seznam.cz", "Dlouhá 12", "Brno"),
    Person("O'Brien", "Seán", "M", date(1950, 11, 2), "MRN-4471902", "(617) 555-0143",
           "sob@example.com", "42 Harbour Street", "Galway"),
    Person("Müller", "Jürgen", "M", date(1931, 7, 30), "PID00998877", "0171 2345678",
           "j.mueller@example.de", "Hauptstraße 7", "Köln"),
    Person("Garcia Lopez", "María", "F", date(1988, 1, 19), "20881234", "+34 612 345 678",
           "mgarcia@example.es", "Calle Mayor 3", "Toledo"),
    Person("Østergaard", "Åse", "F", date(2001, 5, 5), "DK-0505011234", "+45 20 12 34 56",
           "aase@example.dk", "Nørregade 18", "Aarhus"),
    Person("Smith", "Mary Ann", "F", date(1964, 9, 23), "SM640923", "202-555-0199",
           "mary.smith@example.org", "1600 Elm Avenue", "Springfield"),
)  # fmt: skip

# Names of many cultures: two letters, particles, double names, doubled diacritics, many parts.
_MORE = (
    ("Li", "Bo"), ("Ng", "Wai"), ("van den Berg", "Pieter"), ("De Luca", "Ada"),
    ("von Hohenfels", "Änne"), ("Nguyễn", "Văn Anh"), ("Hernández Ruiz", "José Luis"),
    ("Al-Masri", "Yusuf"), ("Ó Súilleabháin", "Áine"), ("Kowalczyk-Nowicka", "Żaneta"),
    ("Çelik", "Gülşah"), ("Szűcs", "Ödön"), ("Þórsdóttir", "Guðrún"), ("Wójcik", "Łukasz"),
    ("Ďurčanská", "Ľudmila"), ("Třešňáková", "Květoslava"), ("Petrauskienė", "Živilė"),
    ("Lindqvist", "Björn"), ("Mbeki", "Thandiwe"), ("Okonkwo", "Chidi"), ("Subramaniam", "Priya"),
    ("Raghunathan", "Vijay"), ("Papadopoulos", "Nikos"), ("Shevchenko", "Yuriy"),
)  # fmt: skip
MORE_PEOPLE = tuple(
    Person(
        family, given, "FM"[number % 2], date(1936 + 3 * number, 1 + number % 12, 2 + number),
        f"H{number:02d}-{83112 + 7919 * number}", f"+420 604 {210 + number} {317 + 11 * number}",
        f"person{number}@example.net", f"Polní {number + 3}", "Olomouc",
    )
    for number, (family, given) in enumerate(_MORE)
)  # fmt: skip

# Name as people write it: what the headers know, in other words.
WRITINGS: tuple[Callable[[Person], str], ...] = (
    lambda p: f"{p.family} {p.given}",
    lambda p: f"{p.given} {p.family}",
    lambda p: f"{p.family.upper()}, {p.given.upper()}",
    lambda p: f"{p.given[0]}. {p.family}",
    lambda p: f"{p.family.lower()} {p.given[0].lower()}.",
    lambda p: plain(f"{p.given} {p.family}"),
    lambda p: plain(f"{p.family}_{p.given}").replace(" ", "_").upper(),
    lambda p: f"{p.family}^{p.given}",
)

# {n} a name, {d} a date, {i} the patient's ID, {a} the accession number, {p} phone, {e} e-mail,
# {s} street, {r} referring physician. The second part is what research needs to keep.
TEXTS = (
    ("CT ABDOMEN W CONTRAST {n}", "CT ABDOMEN W CONTRAST"),
    ("Liver lesion 12 mm, {n}, seen again on {d}", "Liver lesion 12 mm"),
    ("{n} ({i}) T2W TSE axial", "T2W TSE axial"),
    ("Follow-up of {d} for {n}: no metastasis", "no metastasis"),
    ("Axial 3.0 B30f 512x512 acc {a}", "Axial 3.0 B30f 512x512"),
    ("Contrast 100 ml, call {p} with results", "Contrast 100 ml"),
    ("Report to {e}, thorax native", "thorax native"),
    ("Ordered by Dr. {r}, head CT", "head CT"),
    ("Lives at {s}, comes from {c}; pelvis L4-L5", "pelvis L4-L5"),
    ("Compared with {d}, stage IIb, SUVmax 4.2", "stage IIb, SUVmax 4.2"),
    ("Pacient {n}, koleno vlevo", "koleno vlevo"),
)
FORMATS = ("%Y-%m-%d", "%d.%m.%Y", "%-d. %-m. %Y", "%Y%m%d", "%d %b %Y", "%B %d, %Y")
DESCRIPTORS = ("StudyDescription", "SeriesDescription", "ProtocolName", "ImageComments",
                "RequestedProcedureDescription", "DerivationDescription")  # fmt: skip


def plain(text: str) -> str:
    table = str.maketrans(
        "áéíóúýžščřďťňůåøüößÁÉÍÓÚÝŽŠČŘĎŤŇŮÅØÜÖ", "aeiouyzscrdtnuaouosAEIOUYZSCRDTNUAOUO"
    )
    return text.translate(table)
