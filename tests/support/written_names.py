"""How people write names and dates: what the tests of cleaner and checker share."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

# Language, PN as a header has it, ways to write it in a text.
NAMES = [
    ("cs", "Nováková^Žofie", ["Žofie NOVÁKOVÁ", "Novakova Z.", "ZofieNovakova", "Novákovou"]),
    ("cs", "Kos^Jan", ["KosJan", "KOSJAN", "Jan Kos", "J.Kos", "jkos", "KneeKos", "Kosem Janem"]),
    ("cs", "Novy^Petr", ["PetrNovy", "NOVYPETR", "Petr Nový"]),
    ("sk", "Hrušovská^Ľubica", ["HrusovskaLubica", "Hrušovskej", "Ľ. Hrušovská"]),
    ("de", "Müller^Jürgen", ["Mueller", "MUELLER JUERGEN", "Muller", "JMüller"]),
    ("de", "Mueller^Juergen", ["Müller Jürgen", "Muller", "JürgenMueller"]),
    ("de", "Strauß^Änne", ["Strauss Aenne", "STRAUSS", "Anne Strauß"]),
    ("pl", "Wójcik^Łukasz", ["WojcikLukasz", "Łukasz Wójcik", "Wójcikiem"]),
    ("en", "O'Brien^Sean", ["OBRIEN SEAN", "Sean OBrien", "SeanO'Brien"]),
    ("en", "Lee^Bo", ["LeeBo", "LEE", "Bo Lee", "bolee"]),
    ("nl", "van den Berg^Jan", ["vandenberg", "Jan van den Berg", "VANDENBERG J", "BergJan"]),
    ("it", "De Luca^Ada", ["DeLuca", "de luca", "ADA DE LUCA", "AdaLuca"]),
    ("zh", "Li^Na", ["LI NA", "Li Na", "LiNa", "NALI", "Na", "Li"]),
    ("zh", "Wu^Bo", ["Wu", "bo wu", "WuBo", "WU, BO"]),
    ("zh", "Zhang^Wei=张^伟", ["张伟", "患者张伟", "张 伟", "张先生", "Zhangwei", "WEI ZHANG"]),
    ("zh", "李^娜", ["李娜", "李 娜", "李", "李女士"]),
    ("zh", "欧阳^修文", ["欧阳修文", "修文", "欧阳医生"]),
    ("ja", "Yamada^Tarou=山田^太郎=やまだ^たろう",
     ["山田太郎", "山田", "ヤマダ", "ﾔﾏﾀﾞ ﾀﾛｳ", "太郎さん", "Tarou Yamada", "YamadaTarou"]),
    ("ja", "Yamada^Tarou", ["ヤマダ", "やまだ たろう", "ヤマダタロウ", "ﾔﾏﾀﾞ"]),
    ("ja", "Chiba^Shinji", ["チバ", "シンジ", "ちば"]),
    ("zh", "張^偉", ["张伟", "張偉", "患者张伟"]),
    ("zh", "刘^德华", ["劉德華", "刘德华"]),
    ("ja", "ﾔﾏﾀﾞ^ﾀﾛｳ", ["ヤマダタロウ", "やまだ", "ﾔﾏﾀﾞ"]),
    ("ko", "Kim^Cheolsu=김^철수", ["김철수", "철수", "김 철수", "김씨", "KimCheolsu", "Cheolsu"]),
    ("ko", "박^별", ["박별", "박 별"]),
    ("th", "สมชาย^ใจดี", ["สมชาย ใจดี", "ใจดี", "นายสมชายปวดเข่า"]),
    ("vi", "Nguyễn^Văn An", ["NGUYEN VAN AN", "Nguyễn An", "Ng. An", "NguyenVanAn", "An"]),
    ("hu", "Szűcs^Éva", ["SZUCS EVA", "Szűcs Éva", "EvaSzucs"]),
    ("ru", "Иванов^Иван", ["Иванов", "ИВАНОВА", "Ивану Иванову", "ИвановИван"]),
    ("uk", "Шевченко^Юрій", ["ШЕВЧЕНКО", "Юрій Шевченко"]),
    ("el", "Παπαδόπουλος^Νίκος", ["ΠΑΠΑΔΟΠΟΥΛΟΣ", "Νίκος", "ΝΙΚΟΣ ΠΑΠΑΔΟΠΟΥΛΟΣ"]),
    ("ar", "كريم^محمد", ["محمد كريم", "مُحَمَّد", "وكريم"]),
    ("he", "כהן^דוד", ["דוד כהן", "לכהן", "כהן"]),
    ("tr", "Işık^İpek", ["ISIK IPEK", "İpek Işık", "IpekIsik"]),
    ("da", "Sørensen^Åse", ["Soerensen", "SORENSEN", "Aase Sørensen"]),
    ("ga", "Ó^Áine", ["Ó Áine", "AINE"]),
    ("ru", "Ivanov^Petr", ["Иванов", "ИВАНОВ Петр", "Ивановым"]),
    ("uk", "Shevchenko^Yuriy", ["Шевченко", "Юрий ШЕВЧЕНКО"]),
    ("be", "Kaurou^Ales", ["Каўроў", "АЛЕСЬ Кауроу"]),
    ("el", "Papadopoulos^Nikos", ["Παπαδόπουλος", "ΝΙΚΟΣ ΠΑΠΑΔΟΠΟΥΛΟΣ"]),
    ("id", "Ng^Y", ["NG Y", "Y Ng", "NgY", "Ng"]),
]  # fmt: skip

_MONTHS = {
    "en": "January February March April May June July August September October November December",
    "cs": "ledna února března dubna května června července srpna září října listopadu prosince",
    "sk": "januára februára marca apríla mája júna júla augusta septembra októbra novembra "
    "decembra",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "pl": "stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października "
    "listopada grudnia",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "it": "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre "
    "dicembre",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre "
    "diciembre",
    "nl": "januari februari maart april mei juni juli augustus september oktober november "
    "december",
    "hu": "január február március április május június július augusztus szeptember október "
    "november december",
    "ru": "января февраля марта апреля мая июня июля августа сентября октября ноября декабря",
    "el": "Ιανουαρίου Φεβρουαρίου Μαρτίου Απριλίου Μαΐου Ιουνίου Ιουλίου Αυγούστου Σεπτεμβρίου "
    "Οκτωβρίου Νοεμβρίου Δεκεμβρίου",
    "th": "มกราคม กุมภาพันธ์ มีนาคม เมษายน พฤษภาคม มิถุนายน กรกฎาคม สิงหาคม กันยายน ตุลาคม พฤศจิกายน "
    "ธันวาคม",
    "ar": "يناير فبراير مارس أبريل مايو يونيو يوليو أغسطس سبتمبر أكتوبر نوفمبر ديسمبر",
    "lt": "sausio vasario kovo balandžio gegužės birželio liepos rugpjūčio rugsėjo spalio "
    "lapkričio gruodžio",
    "hi": "जनवरी फरवरी मार्च अप्रैल मई जून जुलाई अगस्त सितंबर अक्टूबर नवंबर दिसंबर",
    "he": "בינואר בפברואר במרץ באפריל במאי ביוני ביולי באוגוסט בספטמבר באוקטובר בנובמבר בדצמבר",
}  # fmt: skip
_SHORT = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_ROMAN = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"]

_HAN = ["", *"一二三四五六七八九十", *("十" + ones for ones in "一二三四五六七八九"), "二十",
        *("二十" + ones for ones in "一二三四五六七八九"), "三十", "三十一"]  # fmt: skip


def ways(day: date) -> Iterator[str]:
    """Write a day in every way that people write days."""
    d, m, y, yy = day.day, day.month, day.year, day.year % 100
    for sign in (".", "/", "-", "_", "–"):
        yield f"{d:02}{sign}{m:02}{sign}{y}"
        yield f"{y}{sign}{m:02}{sign}{d:02}"
    for sign in (".", "/", "-"):
        yield f"{d}{sign}{m}{sign}{y}"
        yield f"{d}{sign}{m}{sign}{yy:02}"
        yield f"{d:02}{sign}{m:02}{sign}{yy:02}"
        yield f"{yy:02}{sign}{m:02}{sign}{d:02}"
    yield from (f"{d}. {m}. {y}", f"{d}. {m}. {yy:02}", f"{m}/{d}/{y}", f"{m:02}/{d:02}/{yy:02}")
    yield from (f"{y}{m:02}{d:02}", f"{yy:02}{m:02}{d:02}", f"{d:02}{m:02}{y}")
    yield from (f"{y}{m:02}{d:02}101112", f"{y}-{m:02}-{d:02}T10:11:12")
    roman, short = _ROMAN[m - 1], _SHORT[m - 1]
    yield from (f"{d}.{roman}.{y}", f"{d}. {roman}. {y}", f"{d}-{roman}-{yy:02}")
    yield from (f"{d:02}{short}{y}", f"{d}-{short}-{yy:02}", f"{d} {short.title()} {y}")
    yield from (f"{short}-{d:02}-{y}", f"{y}-{short.title()}-{d:02}", f"{short.title()} {d}, {y}")
    for language, names in _MONTHS.items():
        month = names.split()[m - 1]
        year = y + 543 if language == "th" else y
        yield from (f"{d}. {month} {year}", f"{d} {month.upper()} {year}")
        if language == "es":
            yield f"{d} de {month} de {y}"
        if language == "en":
            yield from (f"{month} {d}, {y}", f"{d}th of {month} {y}", f"{month} {d}th, {y}")
    week = day.isocalendar()
    yield from (f"{y}-W{week.week:02}-{week.weekday}", f"{y}W{week.week:02}{week.weekday}")
    yield f"{y}年{_HAN[m]}月{_HAN[d]}日"
    yield from (f"{y}年{m}月{d}日", f"{y}년 {m}월 {d}일", f"{d} tháng {m} năm {y}")
    if y >= 2019:
        yield f"令和{y - 2018}年{m}月{d}日"
    elif 1926 <= y < 1989:
        yield from (f"昭和{y - 1925}年{m}月{d}日", f"S{y - 1925}.{m}.{d}")
    yield " ".join(f"{y}{m:02}{d:02}")
    wide = str.maketrans("0123456789/", "０１２３４５６７８９／")
    yield f"{y}/{m:02}/{d:02}".translate(wide)
