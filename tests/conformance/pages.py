"""Pages in six languages on which every rule fails for some: sentences drawn from a text, and what junk does to them."""

from __future__ import annotations

import random
import re

SENTENCES = {
    "deu_Latn": (
        "Der Fluss fließt durch die Stadt und in das Meer. Die Kinder spielen im Garten, während der Regen fällt. "
        "Wer mit dem Zug fährt, sieht von den Bergen nur wenig. Das alte Haus wurde für die Schule gebaut. "
        "Er ging in den Wald, als des Königs Boten kamen. Heute kostet das Brot 3,50 Euro; gestern war es billiger. "
    ),
    "cmn_Hani": (
        "这条河从城市中流过，最后流入大海。孩子们在花园里玩，外面正在下雨。坐火车的人看不到多少山。"
        "这座老房子是为学校建的，现在有二十个学生。他在一九九八年三月五日走进了森林。今天的面包是三元五角，昨天更便宜。"
    ),
    "jpn_Jpan": (
        "この川は町を流れて、海に入る。子どもたちは庭で遊んでいるが、雨が降っている。電車で行く人には山があまり見えない。"
        "古い家は学校のために建てられた。彼は1998年3月5日に森の中へ行った。今日のパンは350円で、昨日はもっと安かった。"
    ),
    "tha_Thai": (
        "แม่น้ำสายนี้ไหลผ่านเมืองและลงสู่ทะเล เด็กๆ กำลังเล่นอยู่ในสวนที่มีดอกไม้ คนที่นั่งรถไฟจะได้เห็นภูเขาไม่มาก "
        "บ้านเก่าหลังนี้เป็นของโรงเรียนในเมือง การเดินทางของเขาเริ่มในวันที่ 5 มีนาคม ขนมปังวันนี้ราคา 35 บาท เมื่อวานถูกกว่า "
    ),
    "arb_Arab": (
        "يجري النهر في المدينة إلى البحر. يلعب الأطفال في الحديقة، والمطر ينزل من السماء. من يسافر مع القطار لا يرى الجبال. "
        "هذا البيت القديم كان مدرسة بين الأشجار. ذهب إلى الغابة بعد أن عاد من السوق. ثمن الخبز اليوم 3 دراهم، أو هو أرخص. "
    ),
    "hin_Deva": (
        "यह नदी शहर से होकर समुद्र में जाती है। बच्चे बाग में खेल रहे हैं और बारिश हो रही है। रेल से जाने वाले को पहाड़ कम दिखते हैं। "
        "यह पुराना घर स्कूल के लिए बनाया गया था। वह 5 मार्च को जंगल की ओर गया। आज रोटी का दाम 35 रुपये है, कल कम था। "
    ),
}  # fmt: skip
"""A few sentences of everyday prose; texts of the same languages may be given instead."""

_CLOSERS = re.compile(r"(?<=[.!?。！？।])\s*|\n+")


def sentences(text: str) -> list[str]:
    """A text cut behind closing punctuation and at newlines; Thai at spaces."""
    parts = [part.strip() for part in _CLOSERS.split(text)]
    found = [part for part in parts if part]
    return found if len(found) > 3 else text.split()


def pages(text: str, n: int, seed: int) -> list[str]:
    """``n`` pages of sentences drawn from ``text``, most of them changed in one to three ways."""
    draw = random.Random(seed)
    known = sentences(text)
    made = []
    for i in range(n):
        size = draw.choice((2, 5, 12, 25, 40, 70))
        lines = [" ".join(draw.choice(known) for _ in range(draw.randint(1, 4))) for _ in range(max(1, size // 2))]
        if i % 5:
            for _ in range(draw.randint(1, 3)):
                lines = draw.choice(_CHANGES)(lines, draw)
        end = draw.choice(("\n", "\n", "\n\n", " \n"))
        made.append(end.join(lines))
    made[:4] = ["", " \n ", "#", made[5] * 60]
    for i in range(4, 4 + n // 40):
        made[i] = _long(known, draw)
    return made


def _long(known: list[str], draw: random.Random) -> str:
    """A page about as long as the longest that Gopher keeps (100,000 words)."""
    size, lines = draw.randint(90_000, 200_000), []
    while size > 0:
        line = draw.choice(known)
        # A word of scripts without spaces has about two characters.
        size -= len(line.split()) if len(line.split()) > 3 else len(line) // 2
        lines.append(line)
    return "\n".join(lines)


def _repeat_lines(lines: list[str], draw: random.Random) -> list[str]:
    return lines + [draw.choice(lines) for _ in range(draw.randint(1, len(lines)))]


def _repeat_words(lines: list[str], draw: random.Random) -> list[str]:
    line = draw.choice(lines)[: draw.randint(4, 40)]
    return [*lines, *(f"{line} " * draw.randint(3, 12) for _ in range(draw.randint(1, 3)))]


def _cut_lines(lines: list[str], draw: random.Random) -> list[str]:
    """A line break behind every few words, or characters where there are no spaces."""
    step, cut = draw.randint(1, 8), []
    for line in lines:
        parts, between = (line.split(), " ") if " " in line else (list(line), "")
        cut += [between.join(parts[at : at + step]) for at in range(0, len(parts), step)]
    return cut


def _open_lines(lines: list[str], draw: random.Random) -> list[str]:
    keep = draw.random()
    return [line if draw.random() < keep else line.rstrip(".!?。！？। ") for line in lines]


def _signs(lines: list[str], draw: random.Random) -> list[str]:
    sign = draw.choice(("#", "#", "# #", "...", "…", "| 12 | 7.5 |", "1998 / 3 / 5", "— — —", "😀 ★"))
    share, times = draw.random() ** 0.5, draw.randint(1, 30)
    return [f"{line} {' '.join([sign] * times)}" if draw.random() < share else line for line in lines]


def _ends(lines: list[str], draw: random.Random) -> list[str]:
    end, share = draw.choice(("...", "…")), draw.random()
    return [line + end if draw.random() < share else line for line in lines]


def _bullets(lines: list[str], draw: random.Random) -> list[str]:
    bullet, share = draw.choice(("• ", "- ", "  -")), draw.choice((0.7, 0.95, 1.0))
    return [bullet + line if draw.random() < share else line for line in lines]


def _long_words(lines: list[str], draw: random.Random) -> list[str]:
    share = draw.random()
    return ["x" * draw.randint(20, 60) + line.replace(" ", "") if draw.random() < share else line for line in lines]


def _short_words(lines: list[str], draw: random.Random) -> list[str]:
    share = draw.random()
    return [" ".join(line.replace(" ", "")[:40]) if draw.random() < share else line for line in lines]


def _one_word(lines: list[str], draw: random.Random) -> list[str]:
    """Nothing but one word, so that there are no stop words."""
    word = draw.choice(draw.choice(lines).split() or ["x"])
    return [" ".join([word] * draw.randint(2, 9)) + "." for _ in lines]


def _foreign(lines: list[str], draw: random.Random) -> list[str]:
    """Latin letters and numbers."""
    return [" ".join(f"{draw.choice('abcdef')}{draw.randint(1, 99999)}" for _ in range(9)) + "." for _ in lines]


_CHANGES = (
    _repeat_lines, _repeat_words, _cut_lines, _open_lines, _signs, _ends, _bullets, _long_words, _short_words, _one_word,
    _foreign,
)  # fmt: skip
