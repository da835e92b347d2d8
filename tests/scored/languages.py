"""Free text in the languages of our users: patients, relatives and staff, each language scored."""

from __future__ import annotations

from .images import CT, Images
from .people import Person

# {n} the patient as written in that language's texts, {d} the study's date, {i} the patient's ID.
# The second part names others, who are in no header; the third is what research needs to keep.
TEXTS: dict[str, tuple[tuple[str, tuple[str, ...], str], ...]] = {
    "en": (
        ("Seen by Dr. Carter on {d}. {n}: no focal lesion", ("Carter",), "no focal lesion"),
        ("Mrs. Eleanor Whitfield called about {n}; mild oedema", ("Whitfield",), "mild oedema"),
        ("Reported by Ian Galbraith, ID {i}. Stable nodule", ("Galbraith",), "Stable nodule"),
        ("{n} dob {b}, T2w axial, slice 3 mm", (), "T2w axial, slice 3 mm"),
    ),
    "cs": (
        ("Odesílá MUDr. Svoboda, {n}, bez ložiska", ("Svoboda",), "bez ložiska"),
        ("Matka paní Benešová, tel. +420 777 123 456, otok", ("Benešová", "777 123"), "otok"),
        ("Lékař: Tomáš Říha; {d} kontrola, uzlík 4 mm", ("Říha",), "uzlík 4 mm"),
        ("Pacient {n}, nar. {b}, rotace C2", (), "rotace C2"),
    ),
    "sk": (
        ("Odosiela MUDr. Kováč, {n}, bez ložiska", ("Kováč",), "bez ložiska"),
        ("Matka pani Hudáková, opuch kolena", ("Hudáková",), "opuch kolena"),
        ("Lekár: Peter Bielik; {d} kontrola, uzol 4 mm", ("Bielik",), "uzol 4 mm"),
        ("Pacient {n}, nar. {b}, rotácia C2", (), "rotácia C2"),
    ),
    "de": (
        ("Zuweiser Dr. med. Weber, {n}, kein Herdbefund", ("Weber",), "kein Herdbefund"),
        ("Ehefrau Frau Lindner informiert, Ödem", ("Lindner",), "Ödem"),
        ("Befundet von Karl Brandt am {d}; Rundherd 4 mm", ("Brandt",), "Rundherd 4 mm"),
        ("{n}, geb. {b}, Schädel nativ", (), "Schädel nativ"),
    ),
    "pl": (
        ("Kieruje dr Kowalski, {n}, bez zmian", ("Kowalski",), "bez zmian"),
        ("Matka Pani Zielińska, obrzęk kolana", ("Zielińska",), "obrzęk kolana"),
        ("Lekarz: Marek Nowak; {d} kontrola, guzek 4 mm", ("Nowak",), "guzek 4 mm"),
        ("Pacjent {n}, ur. {b}, rotacja C2", (), "rotacja C2"),
    ),
    "zh": (
        ("患者{n}，右肺结节 4 mm", (), "右肺结节 4 mm"),
        ("主治医师：王芳，{d}复查，无转移", ("王芳",), "无转移"),
        ("由陈建国医生报告，{n}，肝脏未见异常", ("陈建国",), "肝脏未见异常"),
    ),
    "ja": (
        ("{n}様、右肺結節 4 mm", (), "右肺結節 4 mm"),
        ("担当医：佐藤健、{d}再検、転移なし", ("佐藤健",), "転移なし"),
        ("鈴木医師より紹介、{n}、肝臓に異常なし", ("鈴木",), "肝臓に異常なし"),
    ),
    "ko": (
        ("환자 {n}, 우폐 결절 4 mm", (), "우폐 결절 4 mm"),
        ("담당의: 박지훈, {d} 추적, 전이 없음", ("박지훈",), "전이 없음"),
        ("이영희 교수 의뢰, {n}, 간 이상 없음", ("이영희",), "간 이상 없음"),
    ),
}  # fmt: skip
# How the patient is called there, and what a header then has.
NAMES = {
    "en": "Ashcroft^Geoffrey", "cs": "Vondráčková^Blažena", "sk": "Ďurišová^Ľudmila",
    "de": "Krüger^Björn", "pl": "Wiśniewska^Małgorzata", "zh": "Zhang^Wei=張^偉",
    "ja": "Yamada^Tarou=山田^太郎=やまだ^たろう", "ko": "Kim^Cheolsu=김^철수",
}  # fmt: skip
WRITINGS = {
    "en": ("Geoffrey Ashcroft", "ASHCROFT G.", "ashcroft_geoffrey", "Ashcr0ft", "Ashcrofft"),
    "cs": ("Blažena Vondráčková", "Vondrackova B.", "VONDRÁČKOVOU", "Vondračkova", "V0ndrackova"),
    "sk": ("Ľudmila Ďurišová", "Durisova L.", "ĎURIŠOVEJ", "Ďurišova", "Duri5ova"),
    "de": ("Björn Krüger", "Krueger B.", "KRUGER BJOERN", "BKrüger", "Krvger Björn"),
    "pl": ("Małgorzata Wiśniewska", "Wisniewska M.", "WIŚNIEWSKIEJ", "Wiśniewską", "Wi5niewska"),
    "zh": ("张伟", "張偉", "Zhang Wei", "ZHANGWEI", "张 伟"),
    "ja": ("山田太郎", "ヤマダ", "やまだ たろう", "Yamada T.", "山田"),
    "ko": ("김철수", "김 철수", "Kim Cheolsu", "CheolsuKim", "철수"),
}  # fmt: skip
_PLACES = ("ImageComments", "DerivationDescription", "StudyDescription", "ProtocolName")
_DATES = {"en": "%d %b %Y", "zh": "%Y年%m月%d日", "ja": "%Y年%m月%d日", "ko": "%Y.%m.%d"}
_LONGEST = 64


class Languages(Images):
    """One image for each text and way to write the name, its text in four elements."""

    def _languages(self, person: Person, number: int) -> None:
        for language, texts in TEXTS.items():
            day = person.birth.replace(year=2022, day=1 + number % 27)
            common = (person, day, self._new_uid(), f"ACC{7_000_000 + self._uid}")
            for text, others, matter in texts:
                ds = self._image(CT, common, self._new_uid(), 1)
                ds.PatientName = NAMES[language]
                file = self._name_of(ds)
                for at, place in enumerate(_PLACES):
                    writing = WRITINGS[language][(number + at) % len(WRITINGS[language])]
                    form = _DATES.get(language, "%d.%m.%Y")
                    values = {
                        "n": writing, "d": f"{day:{form}}", "i": person.patient_id,
                        "b": f"{person.birth:{form}}",
                    }  # fmt: skip
                    written = text.format(**values)
                    if len(written) > _LONGEST and at > 1:
                        continue
                    setattr(ds, place, written)
                    gone = [values[key] for key in "nib" if f"{{{key}}}" in text]
                    for one in [*gone, *others]:
                        self.answers.add("text removed", file, place, "gone", [one], language)
                    if "{d}" in text:
                        self.answers.add(
                            "text removed", file, place, "gone", [values["d"]], language
                        )
                    self.answers.add("text retained", file, place, "kept", matter, language)
                self._file(ds, person)
