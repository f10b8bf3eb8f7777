"""Text that comes with the running Python environment: docstrings, package descriptions, licences and other documents.

Nothing is imported: modules are parsed, metadata is read as files. Only the standard library and the environment's
own package folders are looked at, test folders are left out, and a file that cannot be read or parsed is skipped. An id
is the path below such a folder (``numpy/linalg/_linalg.py:svd``), so it names neither a user nor a machine.
"""

from __future__ import annotations

import ast
import email
import os
import re
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MIN_DOCSTRING_CHARS = 300
"""Shorter docstrings are mostly a line of reference, not text."""

MAX_FILE_BYTES = 2_000_000
"""Larger files are data."""

_SKIPPED_FOLDERS = frozenset(
    {"__pycache__", "site-packages", "dist-packages", "test", "tests", "idle_test", "node_modules"}
)
_SKIPPED_INNER_FOLDERS = frozenset({"build", "static"})  # assets inside a package; at the top they are packages
_PAGE = re.compile(r".+\.(md|rst|txt)", re.IGNORECASE)
_NO_PAGE = re.compile(
    r"requirements.*|cmakelists.*|(top_level|entry_points|sources|namespace_packages)\.txt", re.IGNORECASE
)
_LICENCE = re.compile(
    r"(licen[cs]e|copying|copyright|notice|authors|third.?party)(?!.*\.(py|pyi|json|html|js|css)$).*", re.IGNORECASE
)


_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


class Text(NamedTuple):
    """One document.

    Attributes:
        id: path below the package folder, for docstrings with ``:`` and the qualified name.
        text: as it is in the file, docstrings dedented.
        package: top-level module or distribution: the topic label.
        kind: module, class, function, readme, licence, page or topic.
    """

    id: str
    text: str
    package: str
    kind: str


class Source(NamedTuple):
    """A file of the environment: its folder, and its '/'-separated path below it."""

    root: Path
    path: str

    @property
    def package(self) -> str:
        """The top-level module; the distribution for files of its metadata; python for documents at the top."""
        top, _, below = self.path.partition("/")
        if top.endswith((".dist-info", ".egg-info")):
            return top.rsplit(".", 1)[0].split("-", 1)[0]
        return top if below else top.removesuffix(".py") if top.endswith(".py") else "python"

    def read(self) -> bytes:
        """The file's bytes.

        Raises:
            OSError: it cannot be read, or is larger than MAX_FILE_BYTES.
        """
        place = self.root / self.path
        if place.stat().st_size > MAX_FILE_BYTES:
            raise OSError(f"{self.path} is larger than {MAX_FILE_BYTES} bytes")
        return place.read_bytes()


def package_folders() -> list[Path]:
    """The standard library and the folders of installed packages of the running Python, each once."""
    paths = (sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    folders = dict.fromkeys(Path(os.path.realpath(path)) for path in paths if path)
    return [folder for folder in folders if folder.is_dir()]


def files(folders: list[Path]) -> list[Source]:
    """Every file below ``folders``, sorted by path as UTF-8 bytes; links that lead elsewhere are left out."""
    found = [Source(folder, path) for folder in folders for path in _walk(folder, folder, folders)]
    return sorted(found, key=lambda source: (os.fsencode(source.path), folders.index(source.root)))


def _walk(folder: Path, root: Path, allowed: list[Path]) -> Iterator[str]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if not entry.name.isprintable():
            continue
        if entry.is_dir(follow_symlinks=False):
            inner = folder != root and entry.name in _SKIPPED_INNER_FOLDERS
            if not inner and entry.name not in _SKIPPED_FOLDERS and not entry.name.startswith("."):
                yield from _walk(Path(entry.path), root, allowed)
        elif not entry.is_symlink() or _leads_inside(entry, allowed):
            yield Path(entry.path).relative_to(root).as_posix()


def _leads_inside(entry: os.DirEntry[str], allowed: list[Path]) -> bool:
    target = Path(os.path.realpath(entry.path))
    return target.is_file() and any(target.is_relative_to(folder) for folder in allowed)


def kind_of(source: Source) -> str:
    """What the file holds, by its name: module, licence, page or readme; '' for anything else.

    A readme is the metadata of an installed package. Files that say licence, notice or authors are licences, other
    Markdown, reStructuredText and plain text files pages.
    """
    name = source.path.rsplit("/", 1)[-1]
    if name.endswith(".py"):
        return "" if source.path == "pydoc_data/topics.py" else "module"
    if source.path.count("/") == 1 and source.path.endswith(".dist-info/METADATA"):
        return "readme"
    if _LICENCE.fullmatch(name):
        return "licence"
    return "page" if _PAGE.fullmatch(name) and not _NO_PAGE.fullmatch(name) else ""


def docstring_share(code: bytes) -> float:
    """About which share of the code is long triple-quoted strings; asking is far cheaper than parsing."""
    pieces = [piece for quote in (b'"""', b"'''") for piece in code.split(quote)[1::2]]
    return sum(len(piece) for piece in pieces if len(piece) >= MIN_DOCSTRING_CHARS) / max(len(code), 1)


def docstrings(source: Source, code: bytes) -> list[Text]:
    """Docstrings of at least MIN_DOCSTRING_CHARS of the module, its classes and its functions, in the file's order.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: the code cannot be parsed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in other people's code
        tree = ast.parse(code)
    found: list[Text] = []

    def visit(node: ast.AST, name: str) -> None:
        if isinstance(node, _DOCUMENTED):
            text = ast.get_docstring(node) or ""
            if len(text) >= MIN_DOCSTRING_CHARS and _is_text(text):
                kind = {ast.Module: "module", ast.ClassDef: "class"}.get(type(node), "function")
                found.append(Text(f"{source.path}:{name}" if name else source.path, text, source.package, kind))
        elif not isinstance(node, ast.If | ast.Try | ast.With | ast.ExceptHandler):
            return  # definitions stand in definitions, or under a condition
        for inner in ast.iter_child_nodes(node):
            own = inner.name if isinstance(inner, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) else ""
            visit(inner, f"{name}.{own}" if name and own else own or name)

    visit(tree, "")
    return found


def readme(source: Source, data: bytes) -> list[Text]:
    """The description in a package's metadata, if it has one."""
    message = email.message_from_string(data.decode("utf-8"))
    body = message.get_payload()
    text = message.get("Description") or (body if isinstance(body, str) else "")
    return [Text(source.path, text.strip(), source.package, "readme")] if text.strip() and _is_text(text) else []


def document(source: Source, data: bytes) -> list[Text]:
    """The file as one text.

    Raises:
        UnicodeDecodeError: it is not UTF-8.
    """
    text = data.decode("utf-8")
    return [Text(source.path, text, source.package, kind_of(source))] if _is_text(text) else []


def topics(folders: list[Path]) -> list[Text]:
    """The chapters of the language reference that ``help("topics")`` shows, by name; none where they are missing."""
    for folder in folders:
        try:
            tree = ast.parse((folder / "pydoc_data" / "topics.py").read_bytes())
        except (OSError, SyntaxError, ValueError):
            continue
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
                chapters = ast.literal_eval(node.value)
                return [Text(f"topics/{name}", text, "python", "topic") for name, text in sorted(chapters.items())]
    return []


def _is_text(text: str) -> bool:
    """Whether it can be written as UTF-8 and holds no NUL."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return bool(text.strip()) and "\0" not in text
