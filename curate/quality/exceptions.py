"""Chunks that English splits in its own way: contractions, abbreviations, times, emoticons.

The list of spaCy's English tokenizer (spaCy 3.8, ``lang/en/tokenizer_exceptions.py`` and ``lang/tokenizer_exceptions.py``,
MIT), which datatrove's filters count words with.
"""

from __future__ import annotations

from functools import lru_cache

_NOT_SPLIT = "Ill ill Its its Hell hell Shell shell Shed shed were Were Well well Whore whore".split()

_WHOLE = """
' \\") <space> '' C++ ä. ö. ü. — \\t \\n
:) :-) :)) :-)) :))) :-))) (: (-: =) (= :] :-] [: [-: [= =] :o) (o: :} :-} 8) 8-) (-8 ;) ;-) (; (-; :( :-( :(( :-((
:((( :-((( ): )-: =( >:( :') :'-) :'( :'-( :/ :-/ =/ =| :| :-| ]= =[ :1 :P :-P :p :-p :O :-O :o :-o :0 :-0 :() >:o :*
:-* :3 :-3 =3 :> :-> :X :-X :x :-x :D :-D ;D ;-D =D xD XD xDD XDD 8D 8-D ^_^ ^__^ ^___^ >.< >.> <.< ._. ;_; -_- -__-
v.v V.V v_v V_V o_o o_O O_o O_O 0_o o_0 0_0 o.O O.o O.O o.o 0.0 o.0 0.o @_@ <3 <33 <333 </3 (^_^) (-_-) (._.) (>_<)
(*_*) (¬_¬) ಠ_ಠ ಠ︵ಠ (ಠ_ಠ) ¯\\(ツ)/¯ (╯°□°）╯︵┻━┻ ><(((*>
doin goin nothin nuthin ol somethin Doin Goin Nothin Nuthin Ol Somethin em ll nuff 'em 'll 'nuff
doin' goin' nothin' nuthin' ol' somethin' Doin' Goin' Nothin' Nuthin' Ol' Somethin'
lovin lovin' Lovin Lovin' havin havin' Havin Havin'
'S 's ‘S ‘s and/or w/o 're 'Cause 'cause 'cos 'Cos 'coz 'Coz 'cuz 'Cuz 'bout 'd ma'am Ma'am o'clock O'clock
Mt. Ak. Ala. Apr. Ariz. Ark. Aug. Calif. Colo. Conn. Dec. Del. Feb. Fla. Ga. Ia. Id. Ill. Ind. Jan. Jul. Jun. Kan. Kans.
Ky. La. Mar. Mass. Mich. Minn. Miss. N.C. N.D. N.H. N.J. N.M. N.Y. Neb. Nebr. Nev. Nov. Oct. Okla. Ore. Pa. S.C. Sep.
Sept. Tenn. Va. Wash. Wis. a.m. Adm. Bros. co. Co. Corp. D.C. Dr. e.g. E.g. E.G. Gen. Gov. i.e. I.e. I.E. Inc. Jr. Ltd.
Md. Messrs. Mo. Mont. Mr. Mrs. Ms. p.m. Ph.D. Prof. Rep. Rev. Sen. St. vs. v.s.
""".split()

_SPLIT = """
i|'m i|m i|'m|a i|m|a
y'|all y|all how|'d|'y How|'d|'y not|'ve not|ve Not|'ve Not|ve can|not Can|not gon|na Gon|na got|ta Got|ta
let|'s Let|'s c'm|on C'm|on
""".split()

_ENDINGS = (
    (("i", "you", "he", "she", "it", "we", "they"), ("'ll", "ll", "'ll|'ve", "ll|ve", "'d", "d", "'d|'ve", "d|ve")),
    (("i", "you", "we", "they"), ("'ve", "ve")),
    (("you", "we", "they"), ("'re", "re")),
    (("he", "she", "it"), ("'s", "s")),
    (("who", "what", "when", "where", "why", "how", "there", "that", "this"), ("'s", "s")),
    (
        ("who", "what", "when", "where", "why", "how", "there", "that", "this", "these", "those"),
        ("'ll", "ll", "'ll|'ve", "ll|ve", "'d", "d", "'d|'ve", "d|ve"),
    ),
    (("who", "what", "when", "where", "why", "how", "there", "these", "those"), ("'re", "re", "'ve", "ve")),
    (
        tuple("ca could do does did had may might must need ought sha should wo would".split()),
        ("n't", "nt", "n't|'ve", "nt|ve"),
    ),
    (("could", "might", "must", "should", "would"), ("'ve", "ve")),
    (("ai", "are", "is", "was", "were", "have", "has", "dare"), ("n't", "nt")),
)
"""(words, endings): every word, small and capitalised, with every ending."""


@lru_cache(maxsize=1)
def exceptions() -> dict[str, tuple[str, ...]]:
    """The words of every chunk that is split in its own way; they concatenate to the chunk."""
    rules: dict[str, tuple[str, ...]] = {}
    for item in _SPLIT + [item.replace("i|", "I|", 1) for item in _SPLIT if item.startswith("i|")]:
        rules[item.replace("|", "")] = tuple(item.split("|"))
    for words, endings in _ENDINGS:
        for word in (form for known in words for form in (known, known.title())):
            for ending in endings:
                rules[word + ending.replace("|", "")] = (word, *ending.split("|"))
    for hour in range(1, 13):
        for period in ("a.m.", "am", "p.m.", "pm"):
            rules[f"{hour}{period}"] = (str(hour), period)
    for unit in "cfkCFK":
        rules[f"°{unit}."] = ("°", unit, ".")
    for whole in [*_WHOLE, *(f"{letter}." for letter in "abcdefghijklmnopqrstuvwxyz")]:
        rules[whole] = (whole,)
    for word in _NOT_SPLIT:
        rules.pop(word, None)
    for chunk, words in list(rules.items()):
        if "'" in chunk:
            rules[chunk.replace("'", "’")] = tuple(word.replace("'", "’") for word in words)
    return rules
