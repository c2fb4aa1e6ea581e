"""Addresses of Bitcoin and Ethereum: each carries a checksum, and each is verified.

Sources, read November 2026: Base58Check (Bitcoin wiki), BIP 173 and BIP 350 (bech32, bech32m),
EIP-55 with Keccak-256 as it was before it became SHA-3, which `hashlib` does not have.
"""

from __future__ import annotations

import hashlib
from typing import Final

_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BECH32: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32_CONSTANT: Final = 1
_BECH32M_CONSTANT: Final = 0x2BC830A3
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)

_MASK: Final = (1 << 64) - 1
_RATE: Final = 136
"""Bytes a block of Keccak-256."""


def _round_constants() -> tuple[int, ...]:
    """Make the 24 constants by the shift register of the standard."""
    constants = []
    register = 1
    for _ in range(24):
        constant = 0
        for power in range(7):
            if register & 1:
                constant |= 1 << ((1 << power) - 1)
            register = (register << 1) ^ (0x171 if register & 0x80 else 0)
        constants.append(constant)
    return tuple(constants)


def _lanes() -> tuple[tuple[int, int, int], ...]:
    """Where each lane goes in the rho and pi steps, and by how much it is turned."""
    column, row, path = 1, 0, []
    for step in range(24):
        turned = (step + 1) * (step + 2) // 2 % 64
        target = row + 5 * ((2 * column + 3 * row) % 5)
        path.append((column + 5 * row, target, turned))
        column, row = row, (2 * column + 3 * row) % 5
    return ((0, 0, 0), *path)


_CONSTANTS: Final = _round_constants()
_LANES: Final = _lanes()


def bitcoin(signs: str) -> bool:
    """Whether the checksum of a legacy or a segwit address fits."""
    if signs[:3].lower() == "bc1":
        return _bech32(signs)
    number = 0
    for sign in signs:
        number = number * 58 + _BASE58.index(sign)
    if number >= 1 << 200:
        return False
    content = number.to_bytes(25, "big")
    check = hashlib.sha256(hashlib.sha256(content[:21]).digest()).digest()
    return content[0] in {0, 5} and content[21:] == check[:4]


def _bech32(signs: str) -> bool:
    if signs not in {signs.lower(), signs.upper()}:
        return False
    signs = signs.lower()
    values = [_BECH32.find(sign) for sign in signs[3:]]
    if -1 in values or len(values) < 8:
        return False
    check = 1
    for value in (3, 3, 0, 2, 3, *values):  # the prefix "bc", expanded
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for place, part in enumerate(_GENERATOR):
            check ^= part if top >> place & 1 else 0
    return check == (_BECH32_CONSTANT if values[0] == 0 else _BECH32M_CONSTANT)


def ethereum(signs: str) -> bool:
    """Whether 0x and 40 digits can be an address: where the case varies, it is a checksum."""
    body = signs[2:]
    if body == body.lower() or body == body.upper():
        return True
    digest = keccak_256(body.lower().encode()).hex()
    return all(
        sign == (sign.upper() if int(nibble, 16) >= 8 else sign.lower())
        for sign, nibble in zip(body, digest, strict=False)
    )


def keccak_256(content: bytes) -> bytes:
    """Hash as Ethereum does: SHA-3's permutation with the padding of its draft."""
    padded = bytearray(content + b"\x01")
    padded += bytes(-len(padded) % _RATE)
    padded[-1] |= 0x80
    state = [0] * 25
    for offset in range(0, len(padded), _RATE):
        for lane in range(_RATE // 8):
            at = offset + lane * 8
            state[lane] ^= int.from_bytes(padded[at : at + 8], "little")
        state = _permuted(state)
    return b"".join(lane.to_bytes(8, "little") for lane in state[:4])


def _permuted(state: list[int]) -> list[int]:
    for constant in _CONSTANTS:
        parity = [
            state[x] ^ state[x + 5] ^ state[x + 10] ^ state[x + 15] ^ state[x + 20]
            for x in range(5)
        ]
        mixed = [parity[x - 1] ^ _turned(parity[(x + 1) % 5], 1) for x in range(5)]
        moved = [0] * 25
        for source, target, turn in _LANES:
            moved[target] = _turned(state[source] ^ mixed[source % 5], turn)
        state = [
            moved[at] ^ (~moved[at - at % 5 + (at + 1) % 5] & moved[at - at % 5 + (at + 2) % 5])
            for at in range(25)
        ]
        state[0] ^= constant
    return state


def _turned(lane: int, by: int) -> int:
    return ((lane << by) | (lane >> (64 - by))) & _MASK if by else lane
