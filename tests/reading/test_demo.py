"""The demo corpus, gathered from a small made-up environment and, briefly, from the running one."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import pytest

from curate.base.errors import RequestError
from curate.reading import demo, environment, formats
from curate.reading.environment import Source, docstrings
from curate.reading.units import matches

PROSE = "This sentence is long enough to be counted as documentation of something. " * 5


def put(place: Path, text: str | bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(text if isinstance(text, bytes) else text.encode())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "site-packages"
    put(
        root / "alpha" / "core.py",
        f'"""Module. {PROSE}"""\n'
        f'class Thing:\n    """Class. {PROSE}"""\n\n    def run(self):\n        """Method. {PROSE}"""\n\n'
        f'try:\n    pass\nexcept ImportError as error:\n    def late():\n        """Conditional. {PROSE}"""\n\n'
        'def short():\n    """Too short."""\n',
    )
    put(root / "alpha" / "broken.py", f'"""{PROSE}"""\ndef (\n')
    put(root / "alpha" / "latin.py", b'# -*- coding: latin-1 -*-\n"""Caf\xe9. ' + PROSE.encode() + b'"""\n')
    put(root / "alpha" / "tests" / "test_core.py", f'"""{PROSE}"""\n')
    put(root / "alpha" / "import_me.py", f'"""{PROSE}"""\nraise SystemExit("imported")\n')
    put(root / "single.py", f'"""{PROSE}"""\n')
    put(root / "alpha" / "README.md", "# Alpha\n" + PROSE)
    put(root / "alpha" / "CHANGES.rst", "Changes\n" + PROSE)
    put(root / "alpha" / "bad.txt", b"caf\xe9")
    put(root / "alpha-1.0.dist-info" / "METADATA", f"Metadata-Version: 2.1\nName: alpha\n\n# Alpha, grüße\n{PROSE}\n")
    put(root / "alpha-1.0.dist-info" / "licenses" / "LICENSE", "Permission is granted. " + PROSE)
    put(root / "alpha-1.0.dist-info" / "top_level.txt", "alpha\n")
    put(root / "pydoc_data" / "topics.py", "topics = {'b': 'second', 'a': 'first'}\n")
    outside = tmp_path / "home" / "secret.txt"
    put(outside, "not to be gathered")
    (root / "alpha" / "link.txt").symlink_to(outside)
    (root / "alpha" / "loop").symlink_to(root)
    return root


def digest(out: Path) -> dict[str, str]:
    return {
        place.relative_to(out).as_posix(): hashlib.sha256(place.read_bytes()).hexdigest()
        for place in out.rglob("*")
        if place.is_file()
    }


def read_all(out: Path, inputs: list[dict[str, str]]) -> dict[str, tuple[list[str], list[str]]]:
    """Source → (texts, reasons), found by the recipe's patterns and read by the readers."""
    found: dict[str, tuple[list[str], list[str]]] = {}
    for entry in inputs:
        texts, reasons = found.setdefault(entry["source"], ([], []))
        for place in sorted(out.rglob("*")):
            path = place.relative_to(out).as_posix()
            if place.is_file() and matches(entry["path"], path) and formats.has_known_type(path):
                with place.open("rb") as file:
                    for batch in formats.read(file, path):
                        texts += batch.texts.to_pylist()
                        reasons += [reject.reason for reject in batch.rejects]
    return found


def test_everything_is_found_once(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = demo.gather(out, folders=[folder])
    lines = b"".join(_decompress(place) for place in sorted((out / "docstrings").iterdir()))
    rows = [json.loads(line) for line in lines.splitlines()]
    assert [(row["id"], row["package"], row["kind"]) for row in rows] == [
        ("alpha/core.py", "alpha", "module"),
        ("alpha/core.py:Thing", "alpha", "class"),
        ("alpha/core.py:Thing.run", "alpha", "function"),
        ("alpha/core.py:late", "alpha", "function"),
        ("alpha/import_me.py", "alpha", "module"),
        ("alpha/latin.py", "alpha", "module"),
        ("single.py", "single", "module"),
    ]
    assert rows[5]["text"].startswith("Café. ")
    (readme,) = gzip.decompress((out / "readmes.jsonl.gz").read_bytes()).splitlines()
    assert json.loads(readme)["text"].startswith("# Alpha, grüße")
    assert (out / "readmes.jsonl.gz").read_bytes()[4:8] == bytes(4)  # no time of writing (RFC 1952 §2.3)
    (licence,) = (out / "licences.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(licence)["id"] == "alpha-1.0.dist-info/licenses/LICENSE"
    pages = sorted(
        place.relative_to(out / "pages").as_posix() for place in (out / "pages").rglob("*") if place.is_file()
    )
    assert pages == ["alpha/CHANGES.rst.txt", "alpha/README.md"]
    assert summary.documents == {"docstrings": 7, "readmes": 1, "licences": 1, "topics": 2, "pages": 2}
    assert summary.unreadable == 2  # broken.py and bad.txt
    assert summary.packages == 3


def _decompress(place: Path) -> bytes:
    import zstandard

    return zstandard.ZstdDecompressor().decompress(place.read_bytes())


def test_the_readers_agree_with_the_summary(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = demo.gather(out, folders=[folder])
    found = read_all(out, summary.inputs)
    bad_texts, reasons = found.pop("bad")
    assert {source: len(texts) for source, (texts, _) in found.items()} == summary.documents
    assert {
        source: sum(len(text.encode()) for text in texts) for source, (texts, _) in found.items()
    } == summary.text_bytes
    assert all(refused == [] for _, refused in found.values())
    assert len(reasons) == summary.bad_records
    assert set(reasons) == {
        "invalid_json",
        "missing_text",
        "null_text",
        "empty_text",
        "text_not_a_string",
        "invalid_utf8",
        "lone_surrogate",
        "not_an_object",
        "truncated",
    }
    assert len(bad_texts) == 4


def test_gathering_again_touches_nothing(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = demo.gather(out, folders=[folder])
    times = {place: place.stat().st_mtime_ns for place in out.rglob("*") if place.is_file()}
    assert demo.gather(out, folders=[folder]) == first
    assert {place: place.stat().st_mtime_ns for place in out.rglob("*") if place.is_file()} == times
    assert digest(out) == digest_of(tmp_path / "elsewhere", folder)
    (folder / "alpha" / "README.md").unlink()
    demo.gather(out, folders=[folder])
    assert not (out / "pages" / "alpha" / "README.md").exists()


def digest_of(out: Path, folder: Path) -> dict[str, str]:
    demo.gather(out, folders=[folder])
    return digest(out)


def test_nothing_names_the_machine(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    demo.gather(out, folders=[folder])
    for place in out.rglob("*"):
        if place.is_file():
            data = _decompress(place) if place.suffix == ".zst" else place.read_bytes()
            assert str(tmp_path).encode() not in data
            assert b"not to be gathered" not in data


def test_files_of_others_are_not_touched(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    put(out / "pages" / "mine.txt", "mine")
    with pytest.raises(RequestError, match="empty folder"):
        demo.gather(out, folders=[folder])
    assert digest(out).keys() == {"pages/mine.txt"}
    blocked = tmp_path / "file"
    put(blocked, "a file")
    with pytest.raises(RequestError, match="cannot be written"):
        demo.gather(blocked, folders=[folder])


def test_the_limit_holds_and_the_seed_draws(tmp_path: Path) -> None:
    root = tmp_path / "site-packages"
    for i in range(40):
        put(root / f"package{i:02d}" / "core.py", f'"""Module {i}. {PROSE}"""\n')
    drawn = []
    for seed in (0, 1):
        summary = demo.gather(tmp_path / str(seed), limit_bytes=4_000, seed=seed, folders=[root])
        assert 0 < sum(summary.text_bytes.values()) <= 4_000
        assert {entry["source"] for entry in summary.inputs} == {"docstrings", "bad"}
        drawn.append(digest(tmp_path / str(seed))["docstrings/docstrings-000.jsonl.zst"])
    assert drawn[0] != drawn[1]


def test_one_package_does_not_become_the_corpus(tmp_path: Path) -> None:
    root = tmp_path / "site-packages"
    for i in range(60):
        put(root / "large" / f"m{i}.py", f'"""Module {i}. {PROSE}"""\n')
    put(root / "small" / "core.py", f'"""Small. {PROSE}"""\n')
    summary = demo.gather(tmp_path / "out", limit_bytes=20_000, folders=[root])
    assert summary.packages == 2
    assert summary.documents["docstrings"] < 12


def test_docstrings_cannot_break_the_corpus() -> None:
    source = Source(Path("/nowhere"), "a/b.py")
    assert docstrings(source, f'"""half \\ud800 {PROSE}"""'.encode()) == []
    assert docstrings(source, f'"""nul \\0 {PROSE}"""'.encode()) == []
    assert [text.id for text in docstrings(source, f'def f():\n    r"""\\d {PROSE}"""'.encode())] == ["a/b.py:f"]
    assert [text.id for text in docstrings(source, f'def f():\n    """\\d {PROSE}"""'.encode())] == [
        "a/b.py:f"
    ]  # warns


def test_the_running_environment_has_text() -> None:
    folders = environment.package_folders()
    topics = environment.topics(folders)
    assert len(topics) > 50
    assert max(len(topic.text) for topic in topics) > 20_000
    found = environment.files(folders[:1])
    paths = [source.path for source in found]
    assert "json/decoder.py" in paths
    assert not any("site-packages" in path or path.startswith(("test/", "/")) for path in paths)
    decoder = next(source for source in found if source.path == "json/decoder.py")
    assert any(text.kind == "class" for text in docstrings(decoder, decoder.read()))
