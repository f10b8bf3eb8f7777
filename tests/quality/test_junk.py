"""The default rules: clean text of any kind and script stays, junk of every kind goes."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest

from curate.quality.junk_signs import measure_signs
from curate.quality.junk_tables import WORD_LISTS
from curate.quality.rule_sets import KINDS as TEXT_KINDS
from curate.quality.rule_sets import PRESETS, limits_of
from curate.quality.signals import measure
from curate.quality.verdicts import decide
from tests.junk import KINDS, junk

CLEAN = {
    "one line": "The office is closed on Mondays.",
    "shopping list": "milk\neggs\nbutter\nbread\nolive oil\ntomatoes\ngarlic\nonions\nrice\nsalt\n",
    "recipe": "Pancakes\n\n2 cups flour\n2 tablespoons sugar\n1 teaspoon salt\n2 eggs\n1 1/2 cups milk\nbutter\nmaple syrup\n\n"
    "Whisk the dry ingredients. Beat the eggs with the milk, pour in slowly and stir until smooth.",
    "contents": "1 Introduction 1\n2 Background 7\n2.1 Related work 9\n2.2 Notation 14\n3 Method 19\n3.1 Data 20\n3.2 Model 26\n"
    "4 Results 33\n5 Discussion 51\n6 Conclusion 60\nReferences 63\nIndex 71",
    "verse": "I wandered lonely as a cloud\nThat floats on high o'er vales and hills,\nWhen all at once I saw a crowd,\n"
    "A host, of golden daffodils;\nBeside the lake, beneath the trees,\nFluttering and dancing in the breeze.",
    "song": "\n".join(
        f"{n} green bottles hanging on the wall,\n{n} green bottles hanging on the wall,\nAnd if one green bottle should "
        f"accidentally fall,\nThere'll be {n - 1} green bottles hanging on the wall.\n"
        for n in range(10, 0, -1)
    ),
    "play": "ANNA: Did you lock the door?\nBEN: I think so.\nANNA: You think so?\nBEN: Yes. Maybe. I was in a hurry.\n"
    "ANNA: We should go back.\nBEN: We're already late.\nANNA: Ben.\nBEN: Fine. Turn around at the next exit.",
    "chat": "[12:34:01] <kate> hi, does anybody know why the build fails on arm?\n[12:34:22] <leo> which version are you on\n"
    "[12:34:40] <kate> the latest one\n[12:35:02] <leo> then you need the new toolchain, the old one has a bug\n"
    "[12:35:31] <kate> thanks!\n[12:36:41] <mia> we should put that into the readme\n",
    "subtitles": "1\n00:00:10,000 --> 00:00:12,500\nWhere were you last night?\n\n2\n00:00:14,000 --> 00:00:16,500\n"
    "I was at home, like I told you.\n\n3\n00:00:18,000 --> 00:00:20,500\nNobody saw you there.\n",
    "changes": "1.4.2 (2024-03-01)\n- Fix crash when the file is empty\n- Faster start\n\n1.4.1 (2024-02-11)\n- Fix typo\n",
    "table": "| Country | Capital | Population |\n|---|---|---|\n| France | Paris | 68 million |\n| Spain | Madrid | 48 million |\n",
    "mathematics": "Let $f: X \\to Y$ be continuous. For every open $U \\subset Y$ the preimage $f^{-1}(U)$ is open in $X$. "
    "Let $x \\in f^{-1}(U)$. Since $f(x) \\in U$ and $U$ is open, there is $\\varepsilon > 0$ with $B_\\varepsilon(f(x)) "
    "\\subset U$, and by continuity $\\delta > 0$ with $f(B_\\delta(x)) \\subset B_\\varepsilon(f(x))$. Hence $\\int_0^1 x^2\\,dx "
    "= \\frac{1}{3}$.",
    "about cookies": "HTTP cookies are small pieces of data that a server sends to a browser, which sends them back with later "
    "requests. A cookie tells if two requests come from the same browser, and so keeps a user logged in. Session cookies are "
    "deleted when the session ends, others at a date that the server gives. The attribute Secure sends a cookie over an "
    "encrypted connection only, and SameSite keeps it from requests of other sites.",
    "about filler": "The name lorem ipsum comes from a garbled passage of Cicero. Printers have used it as filler since the "
    "sixties, when sheets of letters were sold that began with 'Lorem ipsum dolor sit amet'. Designers like it because it looks "
    "like text and says nothing, so nobody reads it instead of looking at the page.",
    "code": 'def mean(values: list[float]) -> float:\n    """The mean of some values."""\n    if not values:\n'
    "        raise ValueError('no values')\n    return sum(values) / len(values)\n",
    "French": "Le café était fermé ; personne ne savait pourquoi. « C’est bizarre », disait-il, « d’habitude il est ouvert ».",
    "Finnish": "Juoksentelisinkohan täällä metsässä, jos kevättalvella hiihtelijät kokoontuvat tunturimajoille ja lämmittelevät "
    "takkatulen ääressä kertoillen seikkailuistaan?",
    "Czech": "Náš soused říkal, že by měl být doma dříve, ale už dávno víš, jak to s ním bývá. Máš žízeň? Dáš si čaj?",
    "Ukrainian": "Рік тому ми переїхали до міста. Різні люди живуть у нашому домі, і всі вони дуже привітні.",
    "Greek": "Την άνοιξη ανθίζουν τα λουλούδια στους κήπους και τα παιδιά βγαίνουν να παίξουν έξω.",
    "Arabic": "في فصل الربيع تتفتح الأزهار في الحدائق ويخرج الأطفال للعب، ويجلس الكبار تحت الأشجار ويتحدثون عن أخبار اليوم.",
    "Hindi": "वसंत में बगीचों में फूल खिलते हैं और बच्चे खेलने के लिए बाहर जाते हैं। बड़े लोग पेड़ों के नीचे बैठकर बात करते हैं।",
    "Thai": "ประเทศไทยมีสามฤดู คือ ฤดูร้อน ฤดูฝน และฤดูหนาว ในฤดูร้อนอากาศร้อนมาก คนส่วนใหญ่ชอบไปเที่ยวทะเล",
    "Chinese": "春天来了，公园里的花都开了。孩子们在草地上放风筝，老人们在树下下棋。傍晚的时候，一家人坐在湖边吃晚饭，看着夕阳慢慢落下去。",
    "Chinese verse": "床前明月光\n疑是地上霜\n举头望明月\n低头思故乡\n\n白日依山尽\n黄河入海流\n欲穷千里目\n更上一层楼\n\n千山鸟飞绝\n万径人踪灭\n"
    "孤舟蓑笠翁\n独钓寒江雪",
    "Japanese": "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。何でも薄暗いじめじめした所で泣いていた事だけは記憶している。",
    "Korean": "봄이 오면 우리 마을에는 벚꽃이 핍니다. 아이들은 학교가 끝나면 강가로 달려가 놀고, 어른들은 밭에 나가 씨를 뿌립니다.",
}


def reasons(texts: list[str], kind: str = "any") -> list[str | None]:
    """Which rule of the default preset removes each text."""
    array = pa.array(texts, pa.large_string())
    signals = measure(array)
    for name, values in measure_signs(array).items():
        signals = signals.append_column(name, pa.array(values))
    return decide(signals, PRESETS["default"], kind=kind)[0].to_pylist()


@pytest.mark.parametrize("kind", TEXT_KINDS)
def test_clean_text_stays(kind: str) -> None:
    removed = dict(zip(CLEAN, reasons([*CLEAN.values()], kind), strict=True))
    assert {name: reason for name, reason in removed.items() if reason} == {}


@pytest.mark.parametrize("kind", KINDS)
def test_junk_goes(kind: str) -> None:
    removed = reasons(junk(kind, 40, seed=1))
    assert sum(reason is not None for reason in removed) >= 38


ALPHABETS = {
    "Cyrillic": "абвгдежзийклмнопрстуфхцчшщъыьэюя",
    "Greek": "αβγδεζηθικλμνξοπρστυφχψω",
    "Arabic": "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
    "Hangul": "".join(map(chr, range(0xAC00, 0xB000))),
    "Han": "".join(map(chr, range(0x4E00, 0x5A00))),
}


@pytest.mark.parametrize("script", ALPHABETS)
def test_random_letters_of_any_script_go(script: str) -> None:
    rng = random.Random(script)
    words = ["".join(rng.choices(ALPHABETS[script], k=rng.randint(2, 9))) for _ in range(200)]
    text = " ".join(words)
    assert reasons([text])[0] in {"junk.random_letters", "junk.rare_letters", "junk.shuffled_letters"}


def test_limits_follow_the_kind() -> None:
    entries = "\n".join(f"2024-03-01 12:{i:02}:07 <kate> {line}" for i, line in enumerate(CLEAN["play"].split("\n")))
    names = "\n".join(
        f"{first} {last}" for first in ("Anna", "Ben", "Carla", "Elif") for last in ("Rossi", "Kim", "Okafor", "Diaz")
    )
    assert reasons([entries, names]) == ["junk.log", "junk.fragments"]
    assert reasons([entries, names], "dialogue") == [None, None]
    assert reasons([names], "code") == [None]
    assert limits_of("junk", {"junk": {"max_fragments": 0.5}}, kind="dialogue")["max_fragments"] == 0.5
    with pytest.raises(ValueError, match="did you mean `book`"):
        limits_of("junk", {}, kind="books")


def test_every_listed_word_is_known() -> None:
    filler = [form for word in WORD_LISTS["filler"].split() for form in (word, word.capitalize(), word.upper())]
    shares = measure_signs(pa.array(filler, pa.large_string()))["junk_filler_share"]
    assert shares.tolist() == [1.0] * len(filler)
    notices = [
        f"{word} {other}"
        for word in WORD_LISTS["cookie"].split()
        for other in WORD_LISTS["consent"].split()
        if "-" not in word
    ]
    assert set(measure_signs(pa.array(notices, pa.large_string()))["junk_notice_share"].tolist()) == {0.5}


def test_a_long_text_is_judged_by_blocks_of_it() -> None:
    verse = CLEAN["verse"].split("\n")
    rng = random.Random(2)
    book = "\n".join(" ".join(rng.sample(verse, 3)) + f" {chr(97 + i % 26)}{i}." for i in range(4_000))
    endless = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=300_000))
    log = junk("log", 1)[0] + "\n"
    assert reasons([book, endless, log * 40, "é" * 100_000])[1:3] == ["junk.long_tokens", "junk.log"]
    assert measure_signs(pa.array([book], pa.large_string()))["junk_letter_order"][0] > 1.5
