"""Check digits, by numbers that others have published, and by every single wrong digit."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from navarch.plugins.guardrails.pii import checksums, wallets

PUBLISHED: list[tuple[Callable[[str], bool], str]] = [
    (checksums.luhn, "4111111111111111"),
    (checksums.luhn, "378282246310005"),
    (checksums.luhn, "046454286"),
    (checksums.iban, "GB82WEST12345698765432"),
    (checksums.iban, "DE89370400440532013000"),
    (checksums.iban, "FR1420041010050500013M02606"),
    (checksums.iban, "NO9386011117947"),
    (checksums.verhoeff, "2363"),
    (checksums.aba, "021000021"),
    (checksums.nhs, "9434765919"),
    (checksums.pesel, "44051401359"),
    (checksums.german_tax_id, "86095742719"),
    (checksums.spanish, "12345678Z"),
    (checksums.spanish, "X1234567L"),
    (checksums.cpf, "52998224725"),
    (checksums.bsn, "111222333"),
    (checksums.nir, "255081416802538"),
    (checksums.codice_fiscale, "RSSMRA85T10A562S"),
    (checksums.hetu, "131052-308T"),
    (checksums.us_ssn, "536221234"),
    (wallets.bitcoin, "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"),
    (wallets.bitcoin, "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy"),
    (wallets.bitcoin, "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"),
    (wallets.bitcoin, "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0"),
    (wallets.ethereum, "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"),
    (wallets.ethereum, "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"),
]


@pytest.mark.parametrize("check,number", PUBLISHED)
def test_a_published_number_passes(check: Callable[[str], bool], number: str) -> None:
    assert check(number)


@pytest.mark.parametrize("check,number", [one for one in PUBLISHED if one[0] != checksums.us_ssn])
def test_a_wrong_last_sign_is_refused(check: Callable[[str], bool], number: str) -> None:
    others = "0123456789" if number[-1].isdigit() else "ABCDEFGHJKLMNPQRSTUVWXYZ"
    if number[:2] in {"1A", "3J", "bc"}:
        others = "qpzry9x8"
    if number[:2] == "0x":
        others = number[-1].swapcase() if number[-1].isalpha() else ""
    changed = [number[:-1] + sign for sign in others if sign != number[-1]]
    assert [each for each in changed if check(each)] == []


@pytest.mark.parametrize(
    "number", ["000121234", "666121234", "900121234", "536001234", "536220000", "078051120"]
)
def test_ranges_that_were_never_given_out_are_no_ssn(number: str) -> None:
    assert not checksums.us_ssn(number)


def test_an_iban_of_another_country_s_length_is_refused() -> None:
    assert not checksums.iban("NO9386011117947000")


def test_zeros_are_seen_before_any_checksum() -> None:
    assert checksums.repeated("000000000000")
    assert not checksums.repeated("0000000000001")


def test_keccak_is_that_of_ethereum_and_not_sha_3() -> None:
    expected = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert wallets.keccak_256(b"").hex() == expected
