"""Recognise names of months in many languages, and write another month in the same language."""

from __future__ import annotations

from .text_folding import fold, to_nfc

# Twelve names a line. When two lines share a name, the first decides its language.
_NAMES_BY_LANGUAGE = """
january february march april may june july august september october november december
jan feb mar apr may jun jul aug sep oct nov dec
januar februar märz april mai juni juli august september oktober november dezember
ledna února března dubna května června července srpna září října listopadu prosince
leden únor březen duben květen červen červenec srpen září říjen listopad prosinec
led úno bře dub kvě čvn čvc srp zář říj lis pro
januára februára marca apríla mája júna júla augusta septembra októbra novembra decembra
január február marec apríl máj jún júl august september október november december
stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia
styczeń luty marzec kwiecień maj czerwiec lipiec sierpień wrzesień październik listopad grudzień
sty lut mar kwi maj cze lip sie wrz paź lis gru
jänner feber maerz april mai juni juli august september oktober november dezember
jan feb mär apr mai jun jul aug sep okt nov dez
janvier février mars avril mai juin juillet août septembre octobre novembre décembre
janv févr mars avr mai juin juil août sept oct nov déc
gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre
gen feb mar apr mag giu lug ago set ott nov dic
enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre
ene feb mar abr may jun jul ago sep oct nov dic
janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro
januari februari maart april mei juni juli augustus september oktober november december
jan feb mrt apr mei jun jul aug sep okt nov dec
januari februari mars april maj juni juli augusti september oktober november december
jan feb mar apr maj jun jul aug sep okt nov dec
januar februar marts april maj juni juli august september oktober november desember
tammikuuta helmikuuta maaliskuuta huhtikuuta toukokuuta kesäkuuta heinäkuuta elokuuta syyskuuta \
lokakuuta marraskuuta joulukuuta
január február március április május június július augusztus szeptember október november december
jan febr márc ápr máj jún júl aug szept okt nov dec
ianuarie februarie martie aprilie mai iunie iulie august septembrie octombrie noiembrie decembrie
januarja februarja marca aprila maja junija julija avgusta septembra oktobra novembra decembra
siječnja veljače ožujka travnja svibnja lipnja srpnja kolovoza rujna listopada studenoga prosinca
ocak şubat mart nisan mayıs haziran temmuz ağustos eylül ekim kasım aralık
января февраля марта апреля мая июня июля августа сентября октября ноября декабря
янв фев мар апр май июн июл авг сен окт ноя дек
січня лютого березня квітня травня червня липня серпня вересня жовтня листопада грудня
януари февруари март април май юни юли август септември октомври ноември декември
Ιανουαρίου Φεβρουαρίου Μαρτίου Απριλίου Μαΐου Ιουνίου Ιουλίου Αυγούστου Σεπτεμβρίου Οκτωβρίου \
Νοεμβρίου Δεκεμβρίου
Ιαν Φεβ Μαρ Απρ Μαι Ιουν Ιουλ Αυγ Σεπ Οκτ Νοε Δεκ
ינואר פברואר מרץ אפריל מאי יוני יולי אוגוסט ספטמבר אוקטובר נובמבר דצמבר
בינואר בפברואר במרץ באפריל במאי ביוני ביולי באוגוסט בספטמבר באוקטובר בנובמבר בדצמבר
يناير فبراير مارس أبريل مايو يونيو يوليو أغسطس سبتمبر أكتوبر نوفمبر ديسمبر
มกราคม กุมภาพันธ์ มีนาคม เมษายน พฤษภาคม มิถุนายน กรกฎาคม สิงหาคม กันยายน ตุลาคม พฤศจิกายน ธันวาคม
sausio vasario kovo balandžio gegužės birželio liepos rugpjūčio rugsėjo spalio lapkričio gruodžio
janvāris februāris marts aprīlis maijs jūnijs jūlijs augusts septembris oktobris novembris \
decembris
jaanuar veebruar märts aprill mai juuni juuli august september oktoober november detsember
जनवरी फरवरी मार्च अप्रैल मई जून जुलाई अगस्त सितंबर अक्टूबर नवंबर दिसंबर
i ii iii iv v vi vii viii ix x xi xii
"""
_CALENDARS = [line.split() for line in _NAMES_BY_LANGUAGE.replace("\\\n", "").strip().splitlines()]
# Months by name: listopad is October in one language, and November in others.
MONTHS: dict[str, set[int]] = {}
_CALENDAR_OF: dict[str, int] = {}
for _number, _names in enumerate(_CALENDARS):
    for _month, _name in enumerate(_names, 1):
        MONTHS.setdefault(fold(_name), set()).add(_month)
        _CALENDAR_OF.setdefault(fold(_name), _number)
MONTHS["sept"] = {9}
# Months by their first three letters, since endings vary.
MONTHS_BY_PREFIX: dict[str, set[int]] = {}
for _name, _months in MONTHS.items():
    if len(_name) >= 3:
        MONTHS_BY_PREFIX.setdefault(_name[:3], set()).update(_months)
ROMAN = frozenset(_CALENDARS[-1])


def rewrite_month(name: str, month: int) -> str:
    """Write a month in the language and case of another month's name.

    Parameters
    ----------
    name
        The other month's name, as it is written in a text.
    month
        The month to write, 1 to 12.

    Returns
    -------
    str
        Its name.
    """
    there = _CALENDARS[_CALENDAR_OF.get(fold(name), 1)]
    made = to_nfc(there[month - 1])
    if name.isascii() and there is not _CALENDARS[-1]:
        made = fold(made) if fold(made).isascii() else made
    if name.isupper():
        return made.upper()
    return made[0].upper() + made[1:] if name[0].isupper() else made.lower()
