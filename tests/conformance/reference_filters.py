"""Runs datatrove's filters on texts and writes down what each of them decides.

Runs in the environment of requirements.txt, which has no curate: ``python reference_filters.py TEXTS OUT``. TEXTS has
one JSON string a line; OUT gets one JSON object a line: the reason of every filter alone, of the chain of datatrove's
``examples/fineweb.py``, and digests of the text that C4 leaves
and of the text that the PII formatter gives. The last line has the seconds of processor time.
"""

import hashlib
import json
import sys
import time
import warnings

warnings.filterwarnings("ignore")

from datatrove.data import Document  # noqa: E402
from datatrove.pipeline.filters import (  # noqa: E402
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.pipeline.formatters import PIIFormatter  # noqa: E402

PII = PIIFormatter(email_replacement="E", ip_replacement="I")
ALONE = {
    "gopher_repetition": GopherRepetitionFilter(),
    "gopher_quality": GopherQualityFilter(),
    "c4": C4QualityFilter(),
    "c4_fineweb": C4QualityFilter(filter_no_terminal_punct=False),
    "fineweb": FineWebQualityFilter(),
}
seconds = dict.fromkeys([*ALONE, "edited_fineweb"], 0.0)


def reason_of(name, text, document=None):
    """The filter's reason to drop the text, or None; ``error`` where it raises."""
    document = document or Document(text=text, id="0")
    began = time.process_time()
    try:
        result = ALONE[name.removeprefix("edited_")].filter(document)
    except ZeroDivisionError:
        result = (False, "error")
    seconds[name] += time.process_time() - began
    return None if result is True else result[1]


def decide(text):
    found = {name: reason_of(name, text) for name in ALONE if name != "c4_fineweb"}
    document = Document(text=text, id="0")
    found["c4_fineweb"] = reason_of("c4_fineweb", text, document)
    found["text"] = None
    found["pii"] = hashlib.blake2b(PII.format(text).encode(), digest_size=16).hexdigest()
    chain = [(name, found[name]) for name in ("gopher_repetition", "gopher_quality", "c4_fineweb")]
    if found["c4_fineweb"] is None:
        found["text"] = hashlib.blake2b(document.text.encode(), digest_size=16).hexdigest()
        chain.append(("fineweb", reason_of("edited_fineweb", document.text)))
    first = next(((name, reason) for name, reason in chain if reason is not None), None)
    found["chain"] = f"{first[0].removesuffix('_fineweb')}.{first[1]}" if first else None
    return found


if __name__ == "__main__":
    decide("The filters load what they need with the first text. " * 9)
    seconds.update(dict.fromkeys(seconds, 0.0))
    with open(sys.argv[1], encoding="utf-8") as texts, open(sys.argv[2], "w", encoding="utf-8") as out:
        for line in texts:
            out.write(json.dumps(decide(json.loads(line))) + "\n")
        out.write(json.dumps({"seconds": seconds}) + "\n")
