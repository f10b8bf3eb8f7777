"""Junk of thirteen kinds, made from a seed: what no rule for clean text may keep.

``junk(kind, rng)`` gives one text. Nothing here is taken from a corpus.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Callable

WORDS = """
time year people way day man thing woman life child world school state family student group country problem hand part place
case week company system program question work government number night point home water room mother area money story fact
month lot right study book eye job word business issue side kind head house service friend father power hour game line end
member law car city community name president team minute idea body information back parent face others level office door
health person art war history party result change morning reason research girl guy moment air teacher force education
""".split()

SHORT = "of to in it is on by he be or at as an we us if my do no up so go me".split()

PROSE = {
    "en": "It wasn’t the first time that “the café” had closed early — nobody knew why, but everyone’s opinion was the same…",
    "fr": "Les élèves préférés de l’école étaient très fatigués après leur journée à la forêt, où ils avaient été mouillés.",
    "de": "Über die großen Häuser flögen früher häufig Vögel; heute hört man nur noch das Geräusch der Straße, schön ist’s nicht.",
    "es": "El niño pequeño comió mañana por la tarde según el árbol, ¿cómo está usted? La canción más bonita está aquí.",
    "ru": "Все люди рождаются свободными и равными в своём достоинстве и правах, они наделены разумом и совестью.",
    "pl": "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw, są oni obdarzeni rozumem.",
}


def _lines(rng: random.Random, text: str) -> str:
    """``text`` cut into lines of 76 characters, or not."""
    return text if rng.random() < 0.5 else "\n".join(text[i : i + 76] for i in range(0, len(text), 76))


def random_letters(rng: random.Random) -> str:
    letters = "abcdefghijklmnopqrstuvwxyz" + ("ABCDEFGHIJKLMNOPQRSTUVWXYZ" if rng.random() < 0.5 else "")
    words = ("".join(rng.choices(letters, k=rng.randint(2, 12))) for _ in range(rng.randint(80, 600)))
    return " ".join(words) + "."


def repeated_lines(rng: random.Random) -> str:
    lines = [" ".join(rng.choices(WORDS, k=rng.randint(4, 14))).capitalize() + "." for _ in range(rng.randint(1, 3))]
    return "\n".join(rng.choice(lines) for _ in range(rng.randint(20, 200)))


def keywords(rng: random.Random) -> str:
    chosen = rng.sample(WORDS, rng.randint(25, 90))
    phrases = (" ".join(rng.choices(chosen, k=rng.randint(1, 3))) for _ in range(rng.randint(80, 400)))
    return rng.choice([", ", ", ", "; ", " | ", "\n"]).join(phrases)


def base64_text(rng: random.Random) -> str:
    if rng.random() < 0.5:
        data = rng.randbytes(rng.randint(500, 6_000))
    else:
        data = " ".join(rng.choices(WORDS + SHORT, k=rng.randint(100, 900))).encode()
    return _lines(rng, base64.b64encode(data).decode())


def hexadecimal(rng: random.Random) -> str:
    data = rng.randbytes(rng.randint(400, 4_000))
    return _lines(rng, data.hex()) if rng.random() < 0.5 else data.hex(" ", rng.choice([1, 2, 4, 16]))


ENTRIES = """
Home|About us|Contact|Products|Services|Login|Register|Sign in|My account|Cart|Checkout|Blog|News|Events|Careers|FAQ|Help|
Support|Privacy policy|Terms of use|Sitemap|Search|Shop|Men|Women|Kids|Sale|New arrivals|Brands|Gift cards|Store locator|
Facebook|Twitter|Instagram|YouTube|RSS|Subscribe|Newsletter|Share|Print|Previous|Next|Back to top|Read more|View all|Press|
Investors|Partners|Downloads|Documentation|Forum|Community|Jobs|Gallery|Videos|Photos|Archive|Categories|Tags|Pricing
""".replace("\n", "").split("|")


def menu(rng: random.Random) -> str:
    entries = rng.choices(ENTRIES, k=rng.randint(40, 200))
    return rng.choice(["\n", " | ", " » ", "\n- ", "\n* ", " · "]).join(entries)


def mojibake(rng: random.Random) -> str:
    sentence = PROSE[rng.choice([*PROSE])]
    text = " ".join([sentence] * rng.randint(1, 3) + rng.choices(WORDS, k=10))
    for _ in range(rng.randint(1, 2)):
        text = text.encode().decode(rng.choice(["latin-1", "cp1252"]), "replace")
    return text


def log(rng: random.Random) -> str:
    lines = []
    style = rng.randint(0, 3)
    for _ in range(rng.randint(30, 200)):
        clock = f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}:{rng.randint(0, 59):02}"
        address = ".".join(str(rng.randint(1, 254)) for _ in range(4))
        what = " ".join(rng.choices(WORDS, k=rng.randint(3, 7)))
        if style == 0:
            lines.append(
                f"2024-{rng.randint(1, 12):02}-{rng.randint(1, 28):02} {clock},{rng.randint(0, 999):03} INFO [main] {what}"
            )
        elif style == 1:
            lines.append(
                f'{address} - - [12/Mar/2024:{clock} +0000] "GET /{what.replace(" ", "/")} HTTP/1.1" 200 {rng.randint(99, 99999)}'
            )
        elif style == 2:
            lines.append(
                f"Mar {rng.randint(1, 28):2} {clock} host{rng.randint(1, 9)} daemon[{rng.randint(99, 9999)}]: {what} from {address}"
            )
        else:
            lines.append(
                f'{{"time": "2024-03-12T{clock}Z", "level": "warn", "id": {rng.randint(1, 10**9)}, "message": "{what}"}}'
            )
    return "\n".join(lines)


def minified_code(rng: random.Random) -> str:
    parts = []
    for _ in range(rng.randint(40, 300)):
        a, b, c = (rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(3))
        word = rng.choice(WORDS)
        parts.append(
            rng.choice(
                [
                    f"function {a}({b},{c}){{return {b}.{word}({c})}}",
                    f"var {a}={b}.{word}||{{}},{c}=!0;",
                    f"if({a}&&{b}>{rng.randint(0, 99)}){{{c}.push({a}.{word});}}else{{{c}=null}}",
                    f".{word}{{margin:0;padding:{rng.randint(0, 20)}px}}.{word}>a{{color:#fff}}",
                    f"for(var {a}=0;{a}<{b}.length;{a}++)this.{word}[{a}]={c}({b}[{a}]);",
                ]
            )
        )
    return "".join(parts)


def numbers(rng: random.Random) -> str:
    columns, join = rng.randint(3, 9), rng.choice([" ", "\t", ",", "  ", ";"])
    rows = [join.join(rng.choice(WORDS) for _ in range(columns))]
    for _ in range(rng.randint(30, 200)):
        rows.append(
            join.join(f"{rng.uniform(0, 10 ** rng.randint(1, 5)):.{rng.randint(0, 3)}f}" for _ in range(columns))
        )
    return "\n".join(rows)


def punctuation(rng: random.Random) -> str:
    marks = "!?.,;:-_*=+#/\\|<>()[]{}~^&%$@\"'"
    words = ("".join(rng.choices(marks, k=rng.randint(1, 10))) for _ in range(rng.randint(60, 500)))
    return " ".join(rng.choice([word, word, word, rng.choice(WORDS)]) for word in words)


FILLER = """
lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore et dolore magna aliqua ut
enim ad minim veniam quis nostrud exercitation ullamco laboris nisi ut aliquip ex ea commodo consequat duis aute irure dolor
in reprehenderit in voluptate velit esse cillum dolore eu fugiat nulla pariatur excepteur sint occaecat cupidatat non
proident sunt in culpa qui officia deserunt mollit anim id est laborum
""".split()


def filler(rng: random.Random) -> str:
    if rng.random() < 0.5:
        return " ".join(FILLER * rng.randint(1, 6)).capitalize() + "."
    sentences = (
        " ".join(rng.choices(FILLER, k=rng.randint(5, 14))).capitalize() + "." for _ in range(rng.randint(8, 40))
    )
    return "\n\n".join(sentences)


NOTICES = [
    "We use cookies and similar technologies to improve your browsing experience, analyse traffic and personalise content.",
    "By clicking “Accept all cookies” you agree to the storing of cookies on your device.",
    "Strictly necessary cookies are required for the website to function and cannot be switched off.",
    "Analytics cookies help us understand how visitors use our site.",
    "Marketing cookies are used by our advertising partners to show you relevant ads on other sites.",
    "You can change your cookie preferences at any time in the cookie settings.",
    "Read our privacy policy and cookie policy for more information.",
    "Accept all",
    "Reject all",
    "Cookie settings",
    "Manage preferences",
    "Save and close",
]
NOTICES_DE = [
    "Wir verwenden Cookies, um Inhalte zu personalisieren und die Zugriffe auf unsere Webseite zu analysieren.",
    "Mit einem Klick auf „Alle akzeptieren“ stimmen Sie der Verwendung aller Cookies zu.",
    "Notwendige Cookies sind für die Funktion der Webseite erforderlich.",
    "Ihre Einwilligung können Sie in den Cookie-Einstellungen jederzeit widerrufen.",
    "Datenschutzerklärung", "Alle akzeptieren", "Nur notwendige Cookies", "Cookie-Einstellungen",
]  # fmt: skip
NOTICES_FR = [
    "Nous utilisons des cookies pour améliorer votre expérience de navigation et mesurer l’audience de notre site.",
    "En cliquant sur « Tout accepter », vous donnez votre consentement à l’utilisation des cookies.",
    "Les cookies nécessaires sont indispensables au fonctionnement du site.",
    "Vous pouvez modifier vos préférences à tout moment dans les paramètres des cookies.",
    "Tout accepter", "Tout refuser", "Paramètres des cookies", "Politique de confidentialité",
]  # fmt: skip


def cookie_notice(rng: random.Random) -> str:
    notices = rng.choice([NOTICES, NOTICES, NOTICES_DE, NOTICES_FR])
    return rng.choice(["\n", " ", "\n\n"]).join(rng.sample(notices, rng.randint(5, len(notices))))


def word_salad(rng: random.Random) -> str:
    """Words drawn evenly from a list, in sentences that say nothing."""
    chosen = rng.sample(WORDS, rng.randint(60, len(WORDS))) + SHORT
    sentences = (
        " ".join(rng.choices(chosen, k=rng.randint(6, 20))).capitalize() + "." for _ in range(rng.randint(15, 80))
    )
    return " ".join(sentences)


KINDS: dict[str, Callable[[random.Random], str]] = {
    "random letters": random_letters,
    "repeated lines": repeated_lines,
    "keyword list": keywords,
    "base64": base64_text,
    "hexadecimal": hexadecimal,
    "menu": menu,
    "mojibake": mojibake,
    "log": log,
    "minified code": minified_code,
    "number table": numbers,
    "punctuation": punctuation,
    "filler text": filler,
    "cookie notice": cookie_notice,
    "word salad": word_salad,
}


def junk(kind: str, count: int, seed: int = 0) -> list[str]:
    """``count`` texts of a kind."""
    return [KINDS[kind](random.Random(f"{seed}/{kind}/{i}")) for i in range(count)]
