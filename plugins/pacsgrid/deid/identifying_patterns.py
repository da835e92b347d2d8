"""Patterns of text that identifies by its form, whoever the patient is."""

from __future__ import annotations

import re

_CAP = r"[^\W\d_a-zß-öø-ÿ][\w'’-]*[^\W\d_A-Z][\w'’-]*"
_PERSON = rf"(?:[^\W\d_]\.\s*)*{_CAP}(?:\s+(?:(?:van|von|der|de|la|di|du|al)\s+)*{_CAP}){{0,2}}"
_FOUR_NUMBERS = r"\b\d{1,3}(?:\.\d{1,3}){3}\b"
_HAN = "[\u4e00-\u9fff]"
# Family names that three quarters of China bear; a name is found in front of a title by them.
_FAMILY = (
    "[王李张張刘劉陈陳杨楊黄黃赵趙吴吳周徐孙孫马馬朱胡郭何林高罗羅郑鄭梁谢謝宋唐许許韩韓冯馮邓鄧曹彭曾肖萧田董潘袁"
    "蔡蒋蔣余于杜叶葉程魏苏蘇吕呂丁任卢盧姚沈钟鐘姜崔谭譚陆陸范汪廖石金韦韋贾賈夏付方邹鄒熊白孟秦邱侯江尹薛]"
)
_PHONE = r"\+?\(?\d[\d ()./-]{4,}\d"

# What a pattern's last group matches is removed, or the whole match if it has no group. A match
# with a clinical word stays: protocols are called Head^Routine.
PERSONS = tuple(
    re.compile(pattern)
    for pattern in (
        # Family^Given, as the header writes it
        r"[^\W\d_][\w'’-]*(?:\^[\w'’.-]*)+",
        # titles and roles in front of a name
        (rf"\b(?:(?:MU|MV|PharmD|Ph|RN|Judr)?[Dd]r|MDDr|Doc|doc|Prof|prof|Mr|Mrs|Ms|Miss|Herr|Frau|"
         rf"Ing|Mgr|[Pp]aní|[Pp]ani|[Pp]an|lek|Lek)\.?\s+(?:med\.\s+)?({_PERSON})"),
        rf"\b(?:[Bb]efundet|[Üü]berwiesen|[Gg]esehen|[Vv]idiert)\s+von\s+({_PERSON})",
        (rf"\b(?:[Rr]eferred|[Oo]rdered|[Rr]eported|[Ss]igned|[Ss]een|[Pp]erformed|[Rr]ead|"
         rf"[Dd]ictated|[Vv]erified|[Aa]pproved|[Rr]eviewed)\s+by\s*:?\s+({_PERSON})"),
        (rf"\b(?:[Pp]atient|[Pp]acient(?:ka)?|[Nn]ame|[Jj]méno|NAME|PATIENT|[Pp]hysician|"
         rf"[Rr]adiologist|[Oo]perator|[Tt]echnologist|[Ll]ékař|[Ll]ekár|[Ll]ekarz|Arzt)\s*[:=]\s*({_PERSON})"),
        # Chinese, Japanese and Korean: a role and a colon in front, or a title behind
        rf"(?:医师|醫師|医生|醫生|报告者|審核|审核|担当医|主治医|読影医|医師|技師)\s*[:：]\s*({_HAN}{{2,5}})",
        rf"({_FAMILY}{_HAN}{{1,2}})(?=医生|醫生|医师|醫師|教授|主任)",
        rf"(?<!{_HAN})({_HAN}{{1,5}}?)\s?(?=医師|教授)",
        r"(?:담당의|의사|판독의|주치의)\s*[:：]\s*([\uac00-\ud7a3]{2,4})",
        r"(?<![\uac00-\ud7a3])([\uac00-\ud7a3]{2,4})\s+(?=교수|선생|과장|원장)",
    )
)  # fmt: skip
IDENTIFYING = tuple(
    re.compile(pattern, flags)
    for pattern, flags in (
        (r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", 0),
        (r"\b(?:https?|ftp)://\S+|\bwww\.\S+", re.I),
        (_FOUR_NUMBERS, 0),
        # telephone numbers: after a word for it, international, or grouped
        (rf"\b(?:tel|phone|call|mobile?|fax|pager|cell)\b\.?:?\s*({_PHONE})", re.I),
        (r"(?<![\w.])(?:\+|00)\d[\d ()./-]{6,}\d", 0),
        (r"\(\d{2,5}\)\s*\d[\d -]{4,}\d", 0),
        (r"(?<![\w.-])\d{3}[-. ]\d{3}[-. ]\d{3,4}(?![\w.-])", 0),
        (r"(?<![\w.-])0\d{2,4}[ /-]\d{5,}", 0),
        # identifiers: birth numbers, social security, long digits with or without letters
        (r"(?<!\d)\d{6}\s*/\s*\d{3,4}(?!\d)", 0),
        (r"(?<![^\W_])(?=[^\W_]*[^\W\d_])(?=(?:[^\W\d_]*\d){4})[^\W_]{10,}(?![^\W_])", 0),
        (r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])", 0),
        (r"\b(?:MRN|PID|SSN|ID|NHS|RČ|r\.\s*č\.)\s*[:#=.]?\s*((?=\S*\d)[\w/-]{3,})", 0),
        (r"(?<![\w.])[A-Za-z]{1,8}[-_/]?\d{5,}(?![\w.]*\d)", 0),
        (r"(?<![\d.,])\d{6,}(?![\d]*[.,]\d)", 0),
        # addresses
        (r"\b\d{1,5}[a-z]?\s+(?:[^\W\d_]+['’-]?\s+){1,3}(?:Street|St|Avenue|Ave|Road|Rd|Lane|Ln|"
         r"Drive|Boulevard|Blvd|Court|Square|Way|Place)\b\.?", 0),
        (r"[^\W\d_][\w-]*(?:straße|strasse|str\.|gade|gatan|vej|veien|straat|laan|weg|platz|"
         r"allee|gasse)\s+\d+[a-z]?", re.I),
        (r"\b(?:Rue|Via|Calle|Avenida|Avda\.?|ul\.|ulice|nám\.|náměstí|třída|tř\.)\s+"
         r"(?:[^\W\d_][\w'’-]*\s+){1,3}\d+[a-z]?", re.I),
        (r"\bP\.?\s?O\.?\s?Box\s+\d+", re.I),
        (r"(?<!\d)\d{3} \d{2}\s+[^\W\d_a-z][^\W\d_]{2,}", 0),
    )
)  # fmt: skip
FOUR_NUMBERS = re.compile(_FOUR_NUMBERS)  # a network address; one of the above
UID = re.compile(r"(?<![\d.])[0-2](?:\.\d+){5,}(?![\d.]*\d)")
# Ages above 89 stand out (in the United States 45 CFR 164.514 names them).
AGE = re.compile(
    r"(?<![\d.])(9\d|1[0-3]\d)(?=[ -]*(?:years?\b|yrs?\b|y/?o\b|y\b|let\b|letý|letá|jahre))", re.I
)
CLINICAL = frozenset(
    {"abdomen", "abdominal", "adult", "angio", "ankle", "aorta", "arm", "axial", "body",
     "bone", "brain", "breast", "cardiac", "carotid", "cervical", "chest", "child",
     "clavicle", "contrast", "coronal", "cranial", "cranium", "ct", "dental", "elbow",
     "extremity", "femur", "finger", "foot", "foreign", "forearm", "general", "hand", "head",
     "heart", "heel", "hip", "infant", "joint", "kidney", "knee", "leg", "liver", "localizer",
     "lower", "lspine", "lumbar", "lung", "mamma", "mammo", "mr", "neck", "neonate", "neuro",
     "orbit", "pediatric", "pelvis", "perfusion", "pet", "phantom", "prostate", "protocol",
     "routine", "sagittal", "scout", "screening", "sella", "shoulder", "sinus", "skull",
     "spine", "spiral", "sternum", "study", "temporal", "thigh", "thorax", "toe", "topogram",
     "tspine", "upper", "us", "vascular", "vessels", "whole", "wrist"}
)  # fmt: skip
