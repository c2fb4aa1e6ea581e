"""Check digits of numbers that states, banks and issuers give out.

Each function takes the bare sign sequence (separators removed) and says whether it can be one. A
checksum lowers false alarms and proves nothing: one random number in ten passes Luhn. Numbers of
one repeated digit pass several of them, so `repeated` is asked first, by whoever calls.

The algorithms are public; test vectors stand in ``tests/plugins/guardrails/test_checksums.py``.
"""

from __future__ import annotations

from typing import Final

# Length of an IBAN by country (SWIFT IBAN registry, release 99, read November 2026).
IBAN_LENGTHS: Final = {
    **dict.fromkeys(("NO",), 15),
    **dict.fromkeys(("BE",), 16),
    **dict.fromkeys(("DK", "FI", "FK", "FO", "GL", "NL", "SD"), 18),
    **dict.fromkeys(("MK", "SI"), 19),
    **dict.fromkeys(("AT", "BA", "EE", "KZ", "LT", "LU", "MN", "XK"), 20),
    **dict.fromkeys(("CH", "CR", "HR", "LI", "LV"), 21),
    **dict.fromkeys(("BG", "BH", "DE", "GB", "GE", "IE", "ME", "RS", "VA"), 22),
    **dict.fromkeys(("AE", "GI", "IL", "IQ", "OM", "SO", "TL"), 23),
    **dict.fromkeys(("AD", "CZ", "ES", "MD", "PK", "RO", "SA", "SE", "SK", "TN", "VG"), 24),
    **dict.fromkeys(("LY", "PT", "ST"), 25),
    **dict.fromkeys(("IS", "TR"), 26),
    **dict.fromkeys(("BI", "DJ", "FR", "GR", "IT", "MC", "MR", "SM"), 27),
    **dict.fromkeys(("AL", "AZ", "BY", "CY", "DO", "GT", "HN", "HU", "LB", "NI", "PL", "SV"), 28),
    **dict.fromkeys(("BR", "EG", "PS", "QA", "UA"), 29),
    **dict.fromkeys(("JO", "KW", "MU", "YE"), 30),
    **dict.fromkeys(("MT", "SC"), 31),
    **dict.fromkeys(("LC",), 32),
    **dict.fromkeys(("RU",), 33),
}

_VERHOEFF_D: Final = (
    *("0123456789", "1234067895", "2340178956", "3401289567", "4012395678"),
    *("5987604321", "6598710432", "7659821043", "8765932104", "9876543210"),
)
_VERHOEFF_P: Final = (
    *("0123456789", "1576283094", "5803796142", "8916043527"),
    *("9453126870", "4286573901", "2793806415", "7046913258"),
)
_NIF_LETTERS: Final = "TRWAGMYFPDXBNJZSQVHLCKE"
_HETU_SIGNS: Final = "0123456789ABCDEFHJKLMNPRSTUVWXY"
_FISCAL_ODD: Final = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (
            *(1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21),
            *(2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23),
        ),
        strict=True,
    )
)


def repeated(digits: str) -> bool:
    """Whether it is one digit over and over: zeros pass Luhn and ABA, and are nobody's."""
    return digits.count(digits[0]) == len(digits)


def luhn(digits: str) -> bool:
    """Cards, and Canada's and Sweden's personal numbers: every second digit doubled, modulo 10."""
    total = 0
    for place, sign in enumerate(reversed(digits)):
        value = int(sign)
        if place % 2:
            value = value * 2 - 9 if value > 4 else value * 2
        total += value
    return total % 10 == 0


def iban(signs: str) -> bool:
    """ISO 13616: the country's length, and modulo 97 with the head moved behind."""
    if IBAN_LENGTHS.get(signs[:2]) != len(signs):
        return False
    return int("".join(str(int(sign, 36)) for sign in signs[4:] + signs[:4])) % 97 == 1


def verhoeff(digits: str) -> bool:
    """India's Aadhaar: the dihedral group of order ten."""
    check = 0
    for place, sign in enumerate(reversed(digits)):
        check = int(_VERHOEFF_D[check][int(_VERHOEFF_P[place % 8][int(sign)])])
    return check == 0


def aba(digits: str) -> bool:
    """A US bank's routing number: a Federal Reserve prefix, and weights 3 7 1 modulo 10."""
    head = int(digits[:2])
    if not (head <= 12 or 21 <= head <= 32 or 61 <= head <= 72 or head == 80):
        return False
    return sum(int(sign) * (3, 7, 1)[place % 3] for place, sign in enumerate(digits)) % 10 == 0


def nhs(digits: str) -> bool:
    """A number of Britain's health service: weights 10 to 2, modulo 11."""
    check = 11 - sum(int(sign) * (10 - place) for place, sign in enumerate(digits[:9])) % 11
    return check != 10 and check % 11 == int(digits[9])


def pesel(digits: str) -> bool:
    """Poland: a date of birth with the century in the month, and weights 1 3 7 9."""
    month, day = int(digits[2:4]), int(digits[4:6])
    if not (1 <= month % 20 <= 12 and 1 <= day <= 31):
        return False
    weights = (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)
    return sum(int(sign) * weight for sign, weight in zip(digits, weights, strict=True)) % 10 == 0


def german_tax_id(digits: str) -> bool:
    """Steuer-IdNr: one digit of the first ten comes twice or thrice, and ISO 7064 MOD 11,10."""
    counts = sorted(digits[:10].count(sign) for sign in set(digits[:10]))
    if digits[0] == "0" or counts[-1] not in {2, 3} or counts[-2] != 1:
        return False
    product = 10
    for sign in digits[:10]:
        total = (int(sign) + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10 == int(digits[10])


def spanish(signs: str) -> bool:
    """NIF and NIE: the letter of the number modulo 23; X, Y and Z stand for 0, 1 and 2."""
    number = signs[:-1].translate(str.maketrans("XYZ", "012"))
    return _NIF_LETTERS[int(number) % 23] == signs[-1]


def cpf(digits: str) -> bool:
    """Brazil: two check digits, each a falling weighted sum modulo 11."""
    for length in (9, 10):
        total = sum(int(sign) * (length + 1 - place) for place, sign in enumerate(digits[:length]))
        if total * 10 % 11 % 10 != int(digits[length]):
            return False
    return True


def bsn(digits: str) -> bool:
    """The Netherlands: weights 9 to 2 and -1, modulo 11."""
    total = sum(int(sign) * (9 - place) for place, sign in enumerate(digits[:8]))
    return (total - int(digits[8])) % 11 == 0


def nir(digits: str) -> bool:
    """France's social security number without Corsica's letters: 97 minus the rest modulo 97."""
    month = int(digits[3:5])
    if digits[0] not in "12" or not (1 <= month <= 12 or 20 <= month <= 42):
        return False
    return 97 - int(digits[:13]) % 97 == int(digits[13:])


def codice_fiscale(signs: str) -> bool:
    """Italy: values of the odd and the even places, and a letter modulo 26."""
    total = 0
    for place, sign in enumerate(signs[:15]):
        even = int(sign) if sign.isdigit() else ord(sign) - 65
        total += even if place % 2 else _FISCAL_ODD[sign]
    return chr(65 + total % 26) == signs[15]


def hetu(signs: str) -> bool:
    """Finland: a date of birth, a sign of the century, and a check sign modulo 31."""
    if not (1 <= int(signs[:2]) <= 31 and 1 <= int(signs[2:4]) <= 12):
        return False
    return _HETU_SIGNS[int(signs[:6] + signs[7:10]) % 31] == signs[10]


def us_ssn(digits: str) -> bool:
    """A US social security number has no checksum, but ranges that were never given out.

    The second line refuses numbers that were printed in advertisements and are known to all.
    """
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    if digits in {"078051120", "219099999", "123456789", "987654321"}:
        return False
    return area not in {"000", "666"} and area < "900" and group != "00" and serial != "0000"
