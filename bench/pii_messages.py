"""Made-up messages with labelled spans, for measuring detectors of personal numbers.

Numbers are made from the definition of their check digits, written anew here: nothing is taken from
the detectors that are measured. A third of the messages hold no personal number at all, but what
looks like one: orders, versions, times, hashes, codes. The same seed gives the same messages.
"""

from __future__ import annotations

import base64
import hashlib
import random
import string
from collections.abc import Callable
from typing import Final, NamedTuple

Maker = Callable[[random.Random], str]
DIGITS: Final = string.digits


class Message(NamedTuple):
    """A text, and what is where in it."""

    text: str
    spans: tuple[tuple[int, int, str], ...]


def some(dice: random.Random, count: int, signs: str = DIGITS) -> str:
    """Draw signs."""
    return "".join(dice.choice(signs) for _ in range(count))


def completed(body: str, is_right: Callable[[str], bool], signs: str = DIGITS) -> str:
    """Append the first sign that makes it right; empty where none does."""
    return next((body + sign for sign in signs if is_right(body + sign)), "")


def until_made(make: Callable[[], str]) -> str:
    """Draw until something comes of it."""
    while True:
        made = make()
        if made and len(set(made)) > 2:
            return made


def passes_luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    doubled = [sum(divmod(2 * int(sign), 10)) for sign in digits[-2::-2]]
    return (sum(doubled) + sum(map(int, digits[-1::-2]))) % 10 == 0


def card(dice: random.Random) -> str:
    """Make a card's number, of a network or of none that is known."""
    heads = (
        *(("4", 16), ("4", 16), ("51", 16), ("55", 16), ("2221", 16), ("34", 15), ("37", 15)),
        *(
            ("6011", 16),
            ("36", 14),
            ("3530", 16),
            ("62", 19),
            ("5018", 12),
            ("6304", 13),
            ("4", 13),
        ),
        *(("4", 19), ("81", 16), ("9792", 16)),
    )
    head, length = dice.choice(heads)
    number = until_made(lambda: completed(head + some(dice, length - len(head) - 1), passes_luhn))
    if length == 16 and dice.random() < 0.5:
        separator = dice.choice(" -")
        return separator.join(number[at : at + 4] for at in range(0, 16, 4))
    if length == 15 and dice.random() < 0.5:
        return f"{number[:4]} {number[4:10]} {number[10:]}"
    return number


def iban(dice: random.Random) -> str:
    """Make an account's number."""
    forms = {"DE": (18, ""), "GB": (14, "AAAA"), "FR": (23, ""), "ES": (20, ""), "NL": (10, "AAAA")}
    forms |= {"PL": (24, ""), "CH": (17, ""), "SE": (20, ""), "AT": (16, ""), "NO": (11, "")}
    country = dice.choice(sorted(forms))
    length, letters = forms[country]
    body = "".join(dice.choice(string.ascii_uppercase) for _ in letters) + some(dice, length)
    values = "".join(str(int(sign, 36)) for sign in body + country + "00")
    whole = f"{country}{98 - int(values) % 97:02d}{body}"
    if dice.random() < 0.5:
        return " ".join(whole[at : at + 4] for at in range(0, len(whole), 4))
    return whole


def phone(dice: random.Random) -> str:
    """Make a phone's number, in one of many ways of writing."""
    area, exchange = str(dice.randint(201, 989)), str(dice.randint(200, 999))
    line = some(dice, 4)
    british, french = some(dice, 4), some(dice, 8)
    return dice.choice(
        [
            f"({area}) {exchange}-{line}",
            f"{area}-{exchange}-{line}",
            f"{area}.{exchange}.{line}",
            f"+1 {area} {exchange} {line}",
            f"+1{area}{exchange}{line}",
            f"1-{area}-{exchange}-{line}",
            f"+44 20 {some(dice, 4)} {line}",
            f"+44 7{some(dice, 3)} {some(dice, 6)}",
            f"020 {british} {line}",
            f"07{some(dice, 3)} {some(dice, 6)}",
            f"+33 {dice.randint(1, 7)} " + " ".join(french[at : at + 2] for at in range(0, 8, 2)),
            "06 " + " ".join(french[at : at + 2] for at in range(0, 8, 2)),
            f"+49 30 {dice.randint(1, 9)}{some(dice, 7)}",
            f"+91 9{some(dice, 4)} {some(dice, 5)}",
            f"+34 6{some(dice, 2)} {some(dice, 3)} {some(dice, 3)}",
            f"+61 4{some(dice, 2)} {some(dice, 3)} {some(dice, 3)}",
        ]
    )


def email(dice: random.Random) -> str:
    """Make an address."""
    first, last = dice.choice(FIRST).lower(), dice.choice(LAST).lower()
    local = dice.choice([f"{first}.{last}", f"{first}{some(dice, 2)}", f"{first[0]}{last}"])
    if dice.random() < 0.15:
        local += f"+{dice.choice(['news', 'shop', 'work'])}"
    host = dice.choice(["example", "mail-hub", "uni.dept", "acme", "my-company", "posteo"])
    return f"{local}@{host}.{dice.choice(['com', 'org', 'co.uk', 'de', 'io', 'museum', 'fr'])}"


def ssn(dice: random.Random) -> str:
    """Make a US social security number."""
    area = dice.choice([each for each in range(1, 900) if each != 666])
    return f"{area:03d}-{dice.randint(1, 99):02d}-{dice.randint(1, 9999):04d}"


def ip_address(dice: random.Random) -> str:
    """Make an address of either version."""
    if dice.random() < 0.6:
        first = dice.choice([10, 172, 192, 203, 81, 8])
        return ".".join([str(first), *(str(dice.randint(0, 255)) for _ in range(3))])
    groups = [f"{dice.randint(1, 0xFFFF):x}" for _ in range(8)]
    return dice.choice(
        [
            ":".join(groups),
            f"2001:db8::{groups[0]}:{groups[1]}",
            f"fe80::1{groups[2][:3]}:{groups[3]}",
        ]
    )


def mac_address(dice: random.Random) -> str:
    """Make a network card's address."""
    octets = [f"{dice.randint(0, 255):02x}" for _ in range(6)]
    return dice.choice([":".join(octets), "-".join(octets).upper(), ":".join(octets).upper()])


def crypto_address(dice: random.Random) -> str:
    """Make a wallet's address."""
    if dice.random() < 0.5:
        return "0x" + some(dice, 40, "0123456789abcdef")
    alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    content = dice.choice([b"\x00", b"\x05"]) + bytes(dice.randint(1, 255) for _ in range(20))
    content += hashlib.sha256(hashlib.sha256(content).digest()).digest()[:4]
    number, signs = int.from_bytes(content, "big"), ""
    while number:
        number, rest = divmod(number, 58)
        signs = alphabet[rest] + signs
    return "1" * (len(content) - len(content.lstrip(b"\x00"))) + signs


def nif(dice: random.Random) -> str:
    """Make a Spanish tax number, of a citizen or of a foreigner."""
    number = dice.randint(1_000_000, 99_999_999)
    if dice.random() < 0.3:
        number %= 10_000_000
        first = dice.choice("XYZ")
        value = int(f"{'XYZ'.index(first)}{number:07d}")
        return f"{first}{number:07d}{'TRWAGMYFPDXBNJZSQVHLCKE'[value % 23]}"
    return f"{number:08d}{'TRWAGMYFPDXBNJZSQVHLCKE'[number % 23]}"


def nhs(dice: random.Random) -> str:
    """Make a British patient's number."""

    def make() -> str:
        body = some(dice, 9)
        check = (
            -sum(int(sign) * weight for sign, weight in zip(body, range(10, 1, -1), strict=True))
            % 11
        )
        return body + str(check) if check < 10 else ""

    number = until_made(make)
    return dice.choice([f"{number[:3]} {number[3:6]} {number[6:]}", number])


def aadhaar(dice: random.Random) -> str:
    """Make an Indian resident's number."""

    def times(one: int, other: int) -> int:  # the dihedral group of order ten
        if one < 5:
            return (one + other) % 5 if other < 5 else 5 + (one + other - 5) % 5
        return 5 + (one - other) % 5 if other < 5 else (one - other) % 5

    turn = {0: 1, 1: 5, 2: 7, 3: 6, 4: 2, 5: 8, 6: 3, 7: 0, 8: 9, 9: 4}

    def is_right(digits: str) -> bool:
        check = 0
        for place, sign in enumerate(reversed(digits)):
            value = int(sign)
            for _ in range(place % 8):
                value = turn[value]
            check = times(check, value)
        return check == 0

    number = until_made(lambda: completed(dice.choice("23456789") + some(dice, 10), is_right))
    return dice.choice([f"{number[:4]} {number[4:8]} {number[8:]}", number])


def pesel(dice: random.Random) -> str:
    """Make a Polish person's number."""
    born = (
        f"{dice.randint(40, 99)}{dice.randint(1, 12):02d}{dice.randint(1, 28):02d}{some(dice, 4)}"
    )
    rest = (
        sum(int(sign) * weight for sign, weight in zip(born, (1, 3, 7, 9) * 3, strict=False)) % 10
    )
    return born + str((10 - rest) % 10)


def tax_id(dice: random.Random) -> str:
    """Make a German tax number."""
    signs = list(DIGITS)
    dice.shuffle(signs)
    signs[dice.randint(1, 8)] = signs[9]
    if signs[0] == "0":
        signs[0], signs[5] = signs[5], signs[0]
    if signs[0] == "0":
        return tax_id(dice)
    carry = 10
    for sign in signs:
        carry = ((int(sign) + carry) % 10 or 10) * 2 % 11
    return "".join(signs) + str((11 - carry) % 10)


def routing(dice: random.Random) -> str:
    """Make a US bank's number."""
    head = f"{dice.choice([1, 2, 3, 6, 7, 8, 10, 11, 12, 21, 26, 31, 32]):02d}"
    body = head + some(dice, 6)
    total = (
        3 * sum(map(int, body[0::3])) + 7 * sum(map(int, body[1::3])) + sum(map(int, body[2::3]))
    )
    return body + str(-total % 10)


def cpf(dice: random.Random) -> str:
    """Make a Brazilian tax number."""
    body = [dice.randint(0, 9) for _ in range(9)]
    for _ in range(2):
        weights = range(len(body) + 1, 1, -1)
        rest = sum(value * weight for value, weight in zip(body, weights, strict=True)) % 11
        body.append(0 if rest < 2 else 11 - rest)
    signs = "".join(map(str, body))
    return f"{signs[:3]}.{signs[3:6]}.{signs[6:9]}-{signs[9:]}"


def api_key(dice: random.Random) -> str:
    """Make a secret in the form of one of its issuers."""
    letters = string.ascii_letters + DIGITS
    return dice.choice(
        [
            "AKIA" + some(dice, 16, string.ascii_uppercase + "234567"),
            "ghp_" + some(dice, 36, letters),
            "AIza" + some(dice, 35, letters),
            "xoxb-" + some(dice, 11) + "-" + some(dice, 24, letters),
            "sk_live_" + some(dice, 24, letters),
            "sk-proj-" + some(dice, 44, letters),
        ]
    )


def jwt(dice: random.Random) -> str:
    """Make a signed token."""

    def part(content: bytes) -> str:
        return base64.urlsafe_b64encode(content).decode().rstrip("=")

    body = part(f'{{"sub":"{some(dice, 9)}","iat":17{some(dice, 8)}}}'.encode())
    head = part(b'{"alg":"HS256","typ":"JWT"}')
    return f"{head}.{body}.{part(bytes(dice.randint(0, 255) for _ in range(32)))}"


FIRST: Final = (
    "Anna",
    "Bilal",
    "Chloe",
    "Dmitri",
    "Esra",
    "Farid",
    "Greta",
    "Hugo",
    "Ines",
    "Jonas",
)
LAST: Final = ("Adler", "Baker", "Costa", "Dubois", "Eriksen", "Fischer", "Garcia", "Haddad", "Ito")

MAKERS: Final[dict[str, tuple[Maker, tuple[str, ...]]]] = {
    "email": (
        email,
        ("You can write to {} any time.", "Mail: {}", "cc {}, please", "<{}> has asked again."),
    ),
    "phone": (
        phone,
        (
            "Call me on {} after six.",
            "Phone: {}",
            "My new number: {}.",
            "({})",
            "Tel. {}, ask for Hugo",
        ),
    ),
    "card": (
        card,
        (
            "Please charge {} instead.",
            "Card: {}",
            "I paid with {}, exp 09/29.",
            "It is {} and the code is 123.",
        ),
    ),
    "iban": (
        iban,
        ("Transfer it to {} today.", "IBAN {}", "my account, {}, is in my name", "From {}."),
    ),
    "us-ssn": (
        ssn,
        ("My SSN is {}.", "social security number {}", "She gave {} as hers.", "{} (SSN)"),
    ),
    "ip-address": (
        ip_address,
        (
            "The requests come from {}.",
            "host {} does not answer",
            "ping {}",
            "I see {} in the log, again.",
        ),
    ),
    "mac-address": (mac_address, ("The card has {}.", "MAC {}", "block {} on the switch")),
    "crypto-address": (
        crypto_address,
        ("Send the coins to {}.", "wallet: {}", "I use {} for tips"),
    ),
    "es-nif": (nif, ("Mi NIF es {}.", "DNI {}", "Factura a nombre de Ines, {}")),
    "uk-nhs": (nhs, ("NHS number {}.", "The patient's NHS no. is {}", "nhs: {}, born in May")),
    "in-aadhaar": (aadhaar, ("Aadhaar {}.", "my aadhaar number is {}", "UIDAI gave me {}")),
    "pl-pesel": (pesel, ("PESEL {}.", "Mój PESEL to {}", "numer {} w formularzu")),
    "de-tax-id": (tax_id, ("Meine Steuer-ID ist {}.", "Steuerliche IdNr: {}", "tax id {}")),
    "us-routing": (routing, ("Routing number {}.", "ABA {}", "routing: {}, checking account")),
    "br-cpf": (cpf, ("Meu CPF: {}.", "CPF {}", "o documento {} é meu")),
    "api-key": (
        api_key,
        ("export KEY={}", "the key {} leaked", "token: {}", "It says invalid key '{}'."),
    ),
    "jwt": (jwt, ("Authorization: Bearer {}", "token={}", "decoded {} by hand")),
}
"""Type by type: how one is made, and sentences that it stands in."""


def uuid(dice: random.Random) -> str:
    """Make a random identifier."""
    signs = some(dice, 32, "0123456789abcdef")
    return f"{signs[:8]}-{signs[8:12]}-4{signs[13:16]}-a{signs[17:20]}-{signs[20:]}"


def unchecked(dice: random.Random) -> str:
    """Sixteen digits, grouped like a card's, whose check digit is wrong."""
    number = until_made(
        lambda: completed("4" + some(dice, 14), lambda digits: not passes_luhn(digits))
    )
    return (
        " ".join(number[at : at + 4] for at in range(0, 16, 4)) if dice.random() < 0.5 else number
    )


def imei(dice: random.Random) -> str:
    """Make a phone's serial number, which passes Luhn."""
    return until_made(lambda: completed("35" + some(dice, 12), passes_luhn))


NEGATIVES: Final[tuple[tuple[Maker, str], ...]] = (
    (lambda dice: some(dice, 8), "Order {} was delivered to the wrong door."),
    (lambda dice: f"ORD-{some(dice, 5)}-{some(dice, 3)}", "Where is {}?"),
    (lambda dice: some(dice, 10), "The invoice {} is paid already."),
    (lambda dice: some(dice, 9), "Ticket {} can be closed."),
    (lambda dice: some(dice, 12), "The parcel has the tracking number {}."),
    (lambda dice: some(dice, 14), "Job {} has failed on the cluster."),
    (lambda dice: some(dice, 16), "request id {} returned 500"),
    (unchecked, "The sensor {} reports nothing."),
    (unchecked, "It shows {} on the display."),
    (imei, "The phone's IMEI is {}."),
    (
        lambda dice: f"v{dice.randint(1, 20)}.{dice.randint(0, 30)}.{dice.randint(0, 99)}",
        "Upgrade to {} first.",
    ),
    (lambda dice: ".".join(some(dice, 1) for _ in range(4)), "We run version {} of the firmware."),
    (
        lambda dice: f"2026-0{dice.randint(1, 9)}-{dice.randint(10, 28)}T12:15:{some(dice, 2)}Z",
        "It began at {}.",
    ),
    (lambda dice: f"17{some(dice, 8)}", "The clock says {} there."),
    (lambda dice: f"17{some(dice, 11)}", "timestamp {} in the event"),
    (lambda dice: f"{some(dice, 3)}-{some(dice, 4)}-{some(dice, 4)}", "Part {} is out of stock."),
    (
        lambda dice: f"{some(dice, 4)}-{some(dice, 3)}-{some(dice, 2)}",
        "Look at shelf {} on the left.",
    ),
    (lambda dice: some(dice, 40, "0123456789abcdef"), "It broke in commit {}."),
    (lambda dice: some(dice, 7, "0123456789abcdef"), "Since {} the tests are red."),
    (uuid, "The volume is called {}."),
    (
        lambda dice: f"978-{some(dice, 1)}-{some(dice, 4)}-{some(dice, 4)}-{some(dice, 1)}",
        "I read ISBN {}.",
    ),
    (
        lambda dice: f"{some(dice, 2)}.{some(dice, 6)}, -{some(dice, 2)}.{some(dice, 6)}",
        "We meet at {}.",
    ),
    (
        lambda dice: f"{dice.randint(10, 99)},{some(dice, 3)},{some(dice, 3)}.00",
        "It cost {} in all.",
    ),
    (
        lambda dice: f"{dice.randint(10, 23)}:{dice.randint(10, 59)}:{dice.randint(10, 59)}",
        "The train leaves at {}.",
    ),
    (lambda dice: f"icon@{dice.randint(2, 3)}x.png", "Put {} into the folder."),
    (lambda dice: f"std::{dice.choice(['map', 'vector', 'abs'])}::find", "Use {} there."),
    (lambda dice: f"@{dice.choice(FIRST).lower()}_{some(dice, 2)}", "Ask {} on the forum."),
    (lambda dice: f"SKU{some(dice, 9)}", "The box with {} is too small."),
    (lambda dice: f"{some(dice, 1)}.{some(dice, 15)}", "The loss was {} at the end."),
    (
        lambda dice: (
            f"{dice.randint(1, 28):02d}/{dice.randint(1, 12):02d}/20{dice.randint(10, 26)}"
        ),
        "Signed on {}.",
    ),
    (lambda dice: f"0x{some(dice, 8, '0123456789abcdef')}", "It crashed at {}."),
    (
        lambda dice: f"sk-learn-{dice.choice(['model', 'pipeline'])}-for-all-of-us",
        "Install {} first.",
    ),
    (lambda dice: f"10.{some(dice, 4)}/{some(dice, 5)}.{some(dice, 4)}", "See doi {} for more."),
)
"""What is no personal number, and a sentence that it stands in."""

PROSE: Final = (
    *("Thanks for the quick answer.", "I tried it twice today.", "Die Rechnung fehlt noch."),
    *("It worked before the update.", "Pouvez-vous m'aider ?", "Please do not reply to this."),
    *("My colleague in Kraków had the same problem.", "See you on Monday at 10.", "¿Qué tal?"),
    *("The second one is 3.5 times faster.", "日本語でも大丈夫です。", "Sorry for the delay 🙏"),
    *("We ordered 12 boxes, 3 of them blue.", "", "", ""),
)


def messages(seed: int = 2026, count: int = 4_000) -> list[Message]:
    """Make messages: two thirds with one or two personal numbers, one third with none."""
    dice = random.Random(seed)  # noqa: S311 - reproducible
    kinds = sorted(MAKERS)
    made = []
    for place in range(count):
        pieces: list[tuple[str, str, str]] = []
        if place % 3:
            chosen = [kinds[place % len(kinds)]]
            if dice.random() < 0.25:
                chosen.append(dice.choice(kinds))
            for kind in chosen:
                make, sentences = MAKERS[kind]
                pieces.append((dice.choice(sentences), make(dice), kind))
        if not place % 3 or dice.random() < 0.3:
            make, sentence = NEGATIVES[dice.randrange(len(NEGATIVES))]
            pieces.append((sentence, make(dice), ""))
        dice.shuffle(pieces)
        made.append(_joined(dice, pieces))
    return made


def _joined(dice: random.Random, pieces: list[tuple[str, str, str]]) -> Message:
    text = dice.choice(PROSE)
    spans = []
    for sentence, value, kind in pieces:
        text += " " if text else ""
        before, _, after = sentence.partition("{}")
        start = len(text) + len(before)
        text += before + value + after
        if kind:
            spans.append((start, start + len(value), kind))
    closing = dice.choice(PROSE)
    return Message(f"{text} {closing}" if closing else text, tuple(spans))
