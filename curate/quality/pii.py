"""Personal data in a text: e-mail addresses, IP addresses, phone numbers, IBANs and card numbers.

A compiled pass finds the few windows of bytes that can hold one; regular expressions and check digits decide there.
E-mail and IP addresses are those of datatrove 0.10's ``PIIFormatter``: the same expressions, public IP addresses only.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base import schemas
from curate.base.compiled import inner, kernel
from curate.base.hashing import salt
from curate.base.text import Bytes, Offsets, text_buffers
from curate.quality.octets import digits_to_capitals, first_marked, group_at, with_room

KINDS = ("email", "ip", "phone", "iban", "card")

REPLACEMENTS: Mapping[str, tuple[str, ...]] = {
    "email": ("email@example.com", "firstname.lastname@example.org"),
    "ip": ("22.214.171.124", "126.96.36.199", "188.8.131.52", "184.108.40.206", "220.127.116.11", "18.104.22.168"),
    "phone": ("202-555-0100", "202-555-0143", "202-555-0178"),
    "iban": ("GB33BUKB20201555555555",),
    "card": ("4111 1111 1111 1111",),
}
"""What stands for a match: datatrove's for e-mail and IP addresses, numbers reserved for examples for the others. Of
several, a hash of the match chooses, so that the same address is the same replacement everywhere."""

_MOST_LOCAL, _MOST_DOMAIN = 320, 255
"""An e-mail address is looked for this far before and behind its @ (RFC 5321 allows 64 and 255 bytes); without bounds a
text of one long run takes quadratic time."""

_EMAIL = re.compile(
    r"\b[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@(?:(?:[A-Za-z0-9](?:[A-Za-z0-9-]*"
    r"[A-Za-z0-9])?\.)+[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?|\[(?:(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)\.){3}"
    r"(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?|[A-Za-z0-9-]*[A-Za-z0-9]:)])"
)
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)"
_IP = re.compile(rf"(?:{_OCTET}\.){{3}}{_OCTET}")
_PHONE = re.compile(
    r"(?<![\w.+-])(?:\+[0-9]{1,3}(?:[ .-]?\(?[0-9]{1,4}\)?){2,5}"
    r"|(?:1[ .-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[ .-])[2-9][0-9]{2}[ .-][0-9]{4})(?![\w-])"
)
_IBAN_BEGIN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}")
_CARD = re.compile(r"(?<![\w.-])[2-6][0-9]{3}(?:[ -]?[0-9]){9,15}(?![\w-])")

_IBAN_LENGTHS = {
    code[:2]: int(code[2:])
    for code in (
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 FI18 "
        "FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 "
        "LU20 LV21 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31 SE24 SI19 "
        "SK24 SM27 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20"
    ).split()
}
"""Characters of an IBAN by country (ISO 13616 registry)."""

_EMAIL_WINDOW, _NUMBER_WINDOW, _IBAN_WINDOW = range(3)
_LETTERS_AND_DIGITS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def _bytes_of(allowed: bytes) -> NDArray[np.bool_]:
    """bool[256]: the bytes that are in ``allowed``."""
    return np.isin(np.arange(256), list(allowed))


_LOCAL = _bytes_of(_LETTERS_AND_DIGITS + b"!#$%&'*+/=?^_`{|}~-.")
"""Bytes that may be before the @ of an e-mail address."""
_DOMAIN = _bytes_of(_LETTERS_AND_DIGITS + b".-[]:")
"""Bytes that may be behind it."""
_NUMBER = _bytes_of(b"0123456789 .-()+")
"""Bytes of a run in which numbers are looked for."""


@inner
def _begins_iban(data: Bytes, at: int) -> bool:
    """Two capital letters and two digits."""
    return 65 <= data[at] <= 90 and 65 <= data[at + 1] <= 90 and 48 <= data[at + 2] <= 57 and 48 <= data[at + 3] <= 57


@kernel
def _windows(data: Bytes, offsets: Offsets) -> NDArray[np.int64]:
    """int64[W, 4]: (row, start, end, kind) of the bytes in which something may be found."""
    out = np.empty((256, 4), np.int64)
    n = 0
    for d in range(offsets.shape[0] - 1):
        begin, end = offsets[d], offsets[d + 1]
        at = begin
        run = begin  # no number begins before
        while at < end:
            b = data[at]
            if not 48 <= b <= 90:
                # Everything begins with a digit, an @ or a capital letter.
                at += first_marked(digits_to_capitals(group_at(data, at))) if at + 8 <= end else 1
                continue
            left, right, kind = 0, 0, -1
            if b == 64:
                left, right, kind = at, at + 1, _EMAIL_WINDOW
                while left > begin and at - left < _MOST_LOCAL and _LOCAL[data[left - 1]]:
                    left -= 1
                while right < end and right - at <= _MOST_DOMAIN and _DOMAIN[data[right]]:
                    right += 1
                if n and out[n - 1, 0] == d and out[n - 1, 3] == kind and left <= out[n - 1, 2]:
                    out[n - 1, 2] = right
                    kind = -1
            elif 48 <= b <= 57 and at >= run:
                left, right = at, at
                digits, dots = 0, 0
                while right < end and _NUMBER[data[right]]:
                    digits += 48 <= data[right] <= 57
                    dots += data[right] == 46
                    right += 1
                run = right
                if digits >= 7 or dots >= 3:
                    kind = _NUMBER_WINDOW
                    while left > begin and at - left < 4 and _NUMBER[data[left - 1]]:
                        left -= 1
            elif 65 <= b <= 90 and at + 15 <= end and _begins_iban(data, at):
                left, right, kind = at, at + 4, _IBAN_WINDOW
                while right < end and right - left < 48:
                    c = data[right]
                    if not (48 <= c <= 57 or 65 <= c <= 90 or c == 32):
                        break
                    right += 1
            if kind >= 0:
                out = with_room(out, n, n + 1)
                out[n, 0], out[n, 1], out[n, 2], out[n, 3] = d, left, right, kind
                n += 1
            at += 1
    return out[:n]


@dataclass(frozen=True)
class Matches:
    """M matches in N texts, sorted by (row, start), without overlaps."""

    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    """Bytes from the start of the document."""
    kinds: NDArray[np.int64]
    """Index into :data:`KINDS`."""
    texts: list[str]

    def of(self, documents: NDArray[np.bool_]) -> Matches:
        """The matches in the documents that bool[N] names."""
        chosen = np.flatnonzero(documents[self.rows])
        texts = [self.texts[i] for i in chosen.tolist()]
        return Matches(self.rows[chosen], self.starts[chosen], self.ends[chosen], self.kinds[chosen], texts)

    def counts(self, n: int) -> dict[str, NDArray[np.int64]]:
        """int64[N] by column, ``pii_<kind>``."""
        return {
            f"pii_{name}": np.bincount(self.rows[self.kinds == kind], minlength=n).astype(np.int64)
            for kind, name in enumerate(KINDS)
        }


def find(texts: pa.Array | pa.ChunkedArray) -> Matches:
    """Every match in every text; of two that overlap, the kind that is first in :data:`KINDS`, but numbers with check digits
    before phone numbers."""
    data, offsets = text_buffers(texts)
    matches: list[tuple[int, ...]] = []
    strings: list[str] = []
    for row, windows in groupby(_windows(data, offsets).tolist(), key=itemgetter(0)):
        start, end = int(offsets[row]), int(offsets[row + 1])
        of_row: list[_Match] = []
        for _, left, right, window in windows:
            # What is before and behind decides, too; both are cut at characters.
            before = max(start, left - 4)
            while before > start and data[before] & 0xC0 == 0x80:
                before -= 1
            behind = min(end, right + 4)
            while behind < end and data[behind] & 0xC0 == 0x80:
                behind += 1
            text = data[before:behind].tobytes().decode()
            skip = len(data[before:left].tobytes().decode())
            for kind, place, match in _matches(text, skip, skip + right - left, window):
                # Windows are ASCII, so characters are bytes there.
                at = left - start + place - skip
                of_row.append((at, at + len(match), kind, match))
        for *span, match in _disjoint(of_row):
            matches.append((row, *span))
            strings.append(match)
    rows, starts, ends, kinds = np.array(matches, np.int64).reshape(-1, 4).T
    return Matches(rows, starts, ends, kinds, strings)


def _matches(text: str, skip: int, until: int, window: int) -> Iterator[tuple[int, int, str]]:
    """(kind, place, match) of what begins in ``text[skip:until]``."""
    if window == _IBAN_WINDOW:
        iban = iban_at(text, skip) if _IBAN_BEGIN.match(text, skip) else None
        if iban:
            yield 3, skip, iban
        return
    number_patterns = ((1, _IP, is_public_ip), (4, _CARD, is_card), (2, _PHONE, is_phone))
    for kind, pattern, holds in ((0, _EMAIL, bool),) if window == _EMAIL_WINDOW else number_patterns:
        for match in pattern.finditer(text, skip, until if kind <= 1 else len(text)):
            if holds(match.group()):
                yield kind, match.start(), match.group()


_Match = tuple[int, int, int, str]
"""(start, end, kind, text) in a document."""

_RANK = (0, 1, 4, 2, 3)
"""Which kind wins where two overlap: by kind, the lowest."""


def _disjoint(matches: list[_Match]) -> list[_Match]:
    """Matches of one document without overlaps, sorted by start."""
    kept: list[_Match] = []
    for match in sorted(matches, key=lambda match: (match[0], _RANK[match[2]], -match[1])):
        if not kept or match[0] >= kept[-1][1]:
            kept.append(match)
        elif _RANK[match[2]] < _RANK[kept[-1][2]]:
            kept[-1] = match
    return kept


def is_public_ip(text: str) -> bool:
    """Whether an IPv4 address is globally reachable; one with leading zeros is none."""
    try:
        return ipaddress.ip_address(text).is_global
    except ValueError:
        return False


def is_phone(text: str) -> bool:
    """Whether a match has the 7 to 15 digits of a phone number (ITU-T E.164)."""
    return 7 <= sum(c.isdigit() for c in text) <= 15


def iban_at(text: str, at: int) -> str | None:
    """The IBAN that begins at ``text[at]``, single spaces in it included, None where there is none.

    It has its country's length, its check digits (ISO 13616: the number modulo 97 is 1), and ends where a word ends.
    """
    left = _IBAN_LENGTHS.get(text[at : at + 2], 0)
    stop = at
    compact = ""
    while left and stop < len(text):
        c = text[stop]
        if c.isascii() and (c.isdigit() or c.isupper()):
            compact += c
            left -= 1
        elif c != " " or text[stop - 1] == " ":
            return None
        stop += 1
    if left or not compact or text[stop : stop + 1].isalnum():
        return None
    return text[at:stop] if int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1 else None


def is_card(text: str) -> bool:
    """Whether a text has 13 to 19 digits, not all the same, with the check digit of Luhn's formula (ISO/IEC 7812)."""
    digits = [int(c) for c in text if c.isdigit()]
    if not 13 <= len(digits) <= 19 or len(set(digits)) == 1:
        return False
    doubled = [2 * digit - 9 * (digit > 4) for digit in digits[-2::-2]]
    return (sum(digits[::-2]) + sum(doubled)) % 10 == 0


def masks(matches: Matches, doc_ids: NDArray[np.uint64], replacements: Mapping[str, Sequence[str]]) -> pa.Table:
    """schemas.EDITS: the matches whose kind has ``replacements``, of which a hash of the match chooses one.

    Args:
        matches: in N texts.
        doc_ids: uint64[N].
        replacements: by kind; reasons are ``pii.<kind>``.
    """
    chosen = [m for m, kind in enumerate(matches.kinds.tolist()) if KINDS[kind] in replacements]
    kinds = [KINDS[matches.kinds[m]] for m in chosen]
    texts = []
    for m, kind in zip(chosen, kinds, strict=True):
        choices = replacements[kind]
        texts.append(choices[salt(0, f"pii:{kind}:{matches.texts[m]}") % len(choices)])
    spans = [doc_ids[matches.rows[chosen]], matches.starts[chosen], matches.ends[chosen]]
    return pa.table([*spans, [f"pii.{kind}" for kind in kinds], texts], schema=schemas.EDITS)


def with_masks(edits: pa.Table, masked: pa.Table) -> pa.Table:
    """Edits and masks together (schemas.EDITS), sorted and without overlaps.

    A mask inside a cut goes, one that a cut meets begins or ends at the cut, and a cut inside a mask goes.
    """
    cuts: list[tuple[Any, ...]] = list(zip(*(column.to_pylist() for column in edits.columns), strict=True))
    by_document: dict[int, list[Any]] = {doc_id: [] for doc_id in masked["doc_id"].to_pylist()}
    for cut in cuts:
        if cut[0] in by_document:
            by_document[cut[0]].append(cut)
    added: list[tuple[Any, ...]] = []
    covered: set[tuple[Any, ...]] = set()
    for doc_id, start, end, reason, text in zip(*(column.to_pylist() for column in masked.columns), strict=True):
        is_left = True
        for cut in by_document[doc_id]:
            if cut[1] <= start and end <= cut[2]:
                is_left = False
            elif start <= cut[1] and cut[2] <= end:
                covered.add(cut)
            elif cut[1] <= start < cut[2]:
                start = cut[2]
            elif start < cut[1] < end:
                end = cut[1]
        if is_left:
            added.append((doc_id, start, end, reason, text))
    merged: list[tuple[Any, ...]] = sorted(
        [cut for cut in cuts if cut not in covered] + added, key=lambda span: span[:2]
    )
    return pa.table(list(zip(*merged, strict=True)) or [()] * 5, schema=schemas.EDITS)
