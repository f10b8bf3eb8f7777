"""The recipe: typed models of everything a run can be told, every field with a default and a one-line description.

Only ``inputs`` is required. Relative paths are relative to the folder of the recipe file.
"""

from __future__ import annotations

import copy
import difflib
import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

RULE_ORDER = ("gopher_repetition", "gopher_quality", "c4", "fineweb")
"""The order of FineWeb's pipeline (datatrove examples/fineweb.py): the first rule that fires is the reason."""

BLOCK_LISTS = ("domains", "urls", "words", "soft_words", "subwords")
"""Fields of ``quality.block`` that name a file."""

FORMATS = ("parquet", "mds", "megatron", "numpy", "webdataset")


def _switch(value: Any) -> Any:
    """YAML 1.1 reads ``off`` as false."""
    return "off" if value is False else value


def _section_or_off(value: Any) -> Any:
    """``on`` is a section with its defaults."""
    return {} if value is True or value == "on" else _switch(value)


class Section(BaseModel):
    """A part of the recipe; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Classifier(Section):
    """A fastText classifier whose score decides."""

    model: str = Field(description="path of a fastText .bin or .ftz file")
    label: str = Field("__label__hq", description="the label whose probability is the score")
    min_score: float = Field(0.5, ge=0, le=1, description="documents that score lower are removed")
    name: str = Field("quality", pattern=r"^[a-z0-9_]+$", description="name of the column classifier_<name>")


class Block(Section):
    """Block lists for documents that carry a URL: files with one entry a line."""

    field: str = Field("url", description="field of the record that holds the URL")
    domains: str | None = Field(None, description="path of a list of domains; a domain blocks its subdomains")
    urls: str | None = Field(None, description="path of a list of URLs")
    words: str | None = Field(None, description="path of a list of words, of which none may be in the URL")
    soft_words: str | None = Field(
        None, description="path of a list of words, of which soft_most may not be in the URL"
    )
    soft_most: int = Field(2, ge=1, description="as many different soft_words in a URL block it")
    subwords: str | None = Field(None, description="path of a list of parts of words that may not be in the URL")


PiiKind = Literal["email", "ip", "phone", "iban", "card"]


class Pii(Section):
    """Personal data in the text; it is always counted (columns pii_<kind>)."""

    mask: tuple[PiiKind, ...] = Field((), description="kinds that are replaced in the text")
    replace: dict[PiiKind, tuple[str, ...]] = Field(
        default_factory=dict, description="what they are replaced by; of several, a hash of the match chooses"
    )

    @field_validator("replace")
    @classmethod
    def _some(cls, replace: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for kind, texts in replace.items():
            if not texts:
                raise ValueError(f"{kind}: give at least one replacement, which may be ''")
        return replace

    @property
    def replacements(self) -> dict[str, list[str]]:
        """What stands for the kinds that are masked."""
        if not self.mask:
            return {}
        from curate.quality.pii import REPLACEMENTS

        return {kind: list(self.replace.get(kind, REPLACEMENTS[kind])) for kind in self.mask}


class Quality(Section):
    """Which documents are worth training on."""

    preset: Literal["default", "fineweb"] = Field(
        "default", description="fineweb: all four rule sets with the published limits, for web text"
    )
    mode: Literal["reference", "corrected"] = Field(
        "reference",
        description="reference: verdicts as datatrove's filters; corrected: its known slips mended (docs/quality.md)",
    )
    languages: tuple[str, ...] = Field((), description="ISO 639 codes that are kept; empty: any language")
    language_score: float = Field(0.65, ge=0, le=1, description="lowest score of the language that is kept")
    language_model: Annotated[str, BeforeValidator(_switch)] = Field(
        "auto", description="fastText language model: a path, auto (the one of an installed package), or off"
    )
    rules: tuple[Literal["gopher_repetition", "gopher_quality", "c4", "fineweb"], ...] = Field(
        ("gopher_repetition", "gopher_quality"), description="rule sets that remove documents"
    )
    thresholds: dict[str, dict[str, float | None]] = Field(
        default_factory=dict,
        description="limits that differ: {rule set: {parameter: value, or null to switch the rule off}}",
    )
    classifier: Classifier | None = Field(None, description="a fastText quality classifier")
    where: tuple[str, ...] = Field(
        (), description="conditions that a document must meet, over its own fields and signals: meta.score >= 3"
    )
    drop_clusters: tuple[int, ...] = Field(
        (), description="clusters whose documents are left out, after a look at them (curate clusters)"
    )
    block: Block | None = Field(None, description="block lists for documents that carry a URL")
    pii: Pii = Field(default_factory=Pii, description="personal data in the text")

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("preset") == "fineweb":
            data = {"rules": list(RULE_ORDER), **data}
        return data

    @field_validator("where", mode="before")
    @classmethod
    def _one(cls, where: Any) -> Any:
        return (where,) if isinstance(where, str) else where

    @model_validator(mode="after")
    def _conditions(self) -> Quality:
        if self.where:
            from curate.quality.verdicts import conditions

            conditions(self.where, self.classifier.name if self.classifier else None)
        return self

    @field_validator("rules")
    @classmethod
    def _in_order(cls, rules: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(rule for rule in RULE_ORDER if rule in rules)

    @field_validator("thresholds")
    @classmethod
    def _known(cls, thresholds: dict[str, dict[str, float | None]]) -> dict[str, dict[str, float | None]]:
        from curate.quality.rules import check_thresholds

        check_thresholds(thresholds)
        for name, limits in thresholds.items():
            for parameter, limit in limits.items():
                if limit is not None and not math.isfinite(limit):
                    raise ValueError(f"{name}.{parameter} must be a finite number, or null to switch the rule off")
        return thresholds


QualityOrOff = Annotated[Quality | Literal["off"], BeforeValidator(_switch)]


class Input(Section):
    """One source of raw text."""

    source: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="name of the source")
    path: str = Field(description="file, folder or pattern; local or s3://bucket/…")
    text_field: str = Field("text", description="field that holds the text")
    id_field: str | None = Field("id", description="field that holds your own id, where a record has it")
    limit: int | None = Field(None, ge=1, description="read at most this many records of each file")
    licence: str | None = Field(None, description="licence of the texts, carried to the ledger, statistics and report")
    quality: dict[str, Any] | Literal["off"] | None = Field(
        None, description="keys of the quality section that differ for this source; off: no rules"
    )

    @field_validator("quality", mode="before")
    @classmethod
    def _off(cls, value: Any) -> Any:
        return _switch(value)


class Ingest(Section):
    """How raw files are cut into partitions; no output depends on it."""

    partition_bytes: int = Field(128_000_000, ge=1_000, description="text of one partition, in bytes")
    max_document_bytes: int = Field(1_000_000_000, ge=1, description="a longer document is rejected")


class Near(Section):
    """MinHash deduplication with verification."""

    ngram: int = Field(5, ge=1, le=32, description="words of a shingle")
    bands: Annotated[int, Field(ge=1, le=1_000)] | Literal["auto"] = Field(
        14, description="bands of the signature; auto: datasketch's choice for `threshold` and `num_perm`"
    )
    rows: int = Field(8, ge=1, le=1_000, description="rows of a band; bands × rows permutations")
    num_perm: int | None = Field(
        None, ge=2, le=10_000, description="permutations that `bands: auto` may use (128 when not given)"
    )
    threshold: float = Field(0.8, gt=0, le=1, description="true Jaccard similarity at which a document is a duplicate")

    @model_validator(mode="after")
    def _one_choice(self) -> Near:
        if self.bands == "auto":
            if self.rows != type(self).model_fields["rows"].default:
                raise ValueError("`bands: auto` chooses the rows too; leave `rows` out")
        elif self.num_perm not in (None, self.bands * self.rows):
            raise ValueError(
                f"`num_perm: {self.num_perm}` is not bands × rows = {self.bands * self.rows}; leave it out, "
                "or write `bands: auto`"
            )
        return self

    @property
    def bands_and_rows(self) -> tuple[int, int]:
        """The bands and rows in force."""
        if self.bands != "auto":
            return self.bands, self.rows
        from curate.dedup.minhash import choose_bands

        return choose_bands(self.threshold, self.num_perm or 128)


class Paragraphs(Section):
    """Paragraphs that another document holds too."""

    unit: Literal["paragraph", "line"] = Field(
        "paragraph", description="what is compared: text between blank lines, or lines"
    )
    min_words: int = Field(10, ge=1, description="shorter ones are left alone")
    cut: bool = Field(True, description="cut them from all documents but the first; false: count them only")


class EvaluationSet(Section):
    """A file with evaluation items that no training document should hold."""

    path: str = Field(description="JSON Lines, Parquet or text, as inputs are")
    text_field: str = Field("text", description="the field that holds the item")


class Decontaminate(Section):
    """Documents that overlap with evaluation sets."""

    sets: dict[str, EvaluationSet] = Field(
        min_length=1, description="evaluation sets by name: a path, or path and text_field"
    )
    ngram: int = Field(13, ge=1, le=1_000, description="words in a row that make an overlap")
    action: Literal["remove", "cut"] = Field("remove", description="remove the document, or cut the matching words")

    @field_validator("sets", mode="before")
    @classmethod
    def _paths(cls, sets: Any) -> Any:
        if not isinstance(sets, dict):
            return sets
        return {name: {"path": value} if isinstance(value, str) else value for name, value in sets.items()}


class Semantic(Section):
    """Semantic duplicates (SemDeDup), found among the vectors of a region."""

    threshold: float = Field(0.95, gt=0, le=1, description="cosine at which a document is a duplicate")


class Dedup(Section):
    """Exact, near and semantic duplicates."""

    exact: bool = Field(True, description="remove documents with the same normalised text")
    near: Annotated[Near | Literal["off"], BeforeValidator(_switch)] = Field(
        default_factory=Near, description="near duplicates by MinHash, or off"
    )
    semantic: Annotated[Semantic | Literal["off"], BeforeValidator(_switch)] = Field(
        default_factory=Semantic, description="documents whose vectors are almost the same, or off"
    )
    paragraphs: Annotated[Paragraphs | Literal["off"], BeforeValidator(_section_or_off)] = Field(
        "off", description="duplicate paragraphs: on, off, or a section"
    )
    decontaminate: Decontaminate | None = Field(None, description="evaluation sets to keep out")
    max_removed_share: float | None = Field(
        None, gt=0, le=1, description="a source that would lose a larger share of its documents stops the run"
    )
    accept_removal: tuple[str, ...] = Field((), description="sources that may lose more than max_removed_share")
    prefer: tuple[Literal["quality_score", "n_chars", "n_words", "language_score"], ...] = Field(
        ("quality_score", "n_chars"),
        description="which document of a group is kept: larger first, then the smaller doc_id",
    )


DedupOrOff = Annotated[Dedup | Literal["off"], BeforeValidator(_switch)]


class Train(Section):
    """A byte-level BPE trained on a hash sample of the kept documents, once a workspace."""

    vocab_size: int = Field(32_000, ge=257, le=1_000_000, description="tokens of the vocabulary")
    sample_bytes: int = Field(32_000_000, ge=1, description="text it is trained on, in bytes")


class Tokenizer(Section):
    """Where the vocabulary comes from."""

    path: str | None = Field(None, description="a Hugging Face tokenizer.json; without it, one is trained")
    train: Train = Field(default_factory=Train, description="training, when no path is given")

    @model_validator(mode="before")
    @classmethod
    def _one_way(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("path") and data.get("train"):
            raise ValueError("give either `path` or `train`, not both")
        return data


class Embed(Section):
    """Vectors in which related documents are near each other."""

    model: str = Field(
        "lexical",
        description="lexical: TF-IDF with a projection fitted on a sample of the corpus; column: vectors that came with the "
        "records; else the folder of an embedding model, or an installed package that carries one",
    )
    field: str | None = Field(None, description="field of the record that holds its vector, for `column`")
    dim: int = Field(256, ge=8, le=1_024, description="dimensions of `lexical`; models and columns have their own")
    sample_bytes: int = Field(64_000_000, ge=1, description="text that `lexical` is fitted on, in bytes")
    long_documents: Literal["first", "mean", "spread"] = Field(
        "spread",
        description="what a model reads of a text longer than it takes: its beginning; all of it; four slices at even "
        "distances (`lexical` always reads all)",
    )
    prefix: str = Field("", description="put before every text, as some models want it: 'passage: '")

    @model_validator(mode="after")
    def _column(self) -> Embed:
        if (self.model == "column") != (self.field is not None):
            raise ValueError("`model: column` and `field: NAME` go together")
        return self

    @property
    def vector_field(self) -> str | None:
        """The field of the records that holds their vectors; None when vectors are made here."""
        return self.field

    @property
    def is_folder(self) -> bool:
        """Whether ``model`` names a folder or a package."""
        return self.model not in ("lexical", "column")


class Select(Section):
    """The documents nearest to given examples are kept, the others left out."""

    queries: str = Field(description="local file with example texts: JSON Lines, Parquet or text, as inputs are")
    text_field: str = Field("text", description="the field that holds the example")
    keep: int | float = Field(description="documents to keep: a number, or a share below 1")

    @field_validator("keep", mode="before")
    @classmethod
    def _some(cls, keep: Any) -> Any:
        number = type(keep) in (int, float) and keep > 0
        if not number or (keep >= 1 and keep != int(keep)):
            raise ValueError("`keep` must be a whole number of documents, or a share between 0 and 1")
        return int(keep) if keep >= 1 else keep


class Cluster(Section):
    """Cells of near documents and the regions that they merge into."""

    cell_size: int = Field(1_000, ge=2, description="documents of a cell, on average")
    region_size: int = Field(100_000, ge=2, description="documents of a region, at most")
    sample_documents: int = Field(200_000, ge=1, description="documents the centroids are fitted on")


class Order(Section):
    """The path through the documents of a region."""

    method: Literal["related", "icp", "icp_code", "keyword", "buffered", "cluster", "source", "random"] = Field(
        "related",
        description="related: path cover, joined ends, local search; icp: Algorithm 1 of In-Context Pretraining; "
        "icp_code: its released script; keyword: shared keywords; buffered: nearest in a buffer over the stream",
    )
    neighbors: int = Field(20, ge=1, le=1_000, description="nearest documents that are searched")
    max_similarity: float = Field(
        0.95, gt=0, le=1, description="documents at least this similar are duplicates: no neighbours"
    )
    group_by: str | None = Field(
        None,
        pattern=r"^meta\..+$",
        description="meta.KEY: documents that share this field of their record stay together, in the order of the input",
    )
    buffer: int = Field(4_096, ge=1, le=1_000_000, description="documents that `buffered` holds at a time")
    star: int = Field(
        0, ge=0, le=1_000_000, description="documents around one seed for `buffered`; 0: a chain, as like the last one"
    )


class Upsample(Section):
    """How often a document is seen."""

    method: Literal["none", "per_source", "global", "long_short", "weights"] = Field(
        "none", description="how rates are found"
    )
    long_tokens: int = Field(4_096, ge=1, description="a document of more tokens is long")
    long_share: float = Field(0.7, gt=0, lt=1, description="wanted share of the tokens in long documents")
    long_short: float | None = Field(
        None, gt=0, description="wanted tokens in long documents for one in short ones, for `long_short`"
    )
    min_long_range_gain: float = Field(
        0.0, ge=0, lt=1, description="a measured text whose long_range_gain is lower counts as short, however long"
    )
    min_compression_ratio: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="a measured text whose compression_ratio is lower (it repeats itself) counts as short",
    )
    min_rare_recurrence: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="a measured text whose rare_recurrence is lower (its parts share no terms) counts as short",
    )
    max_copies: int = Field(4, ge=1, le=1_000, description="no document is seen more often")
    budget: int | None = Field(None, ge=1, description="tokens wanted; without it nothing falls below one copy")
    weights: dict[str, float] | None = Field(None, description="wanted share of each source, for `weights`")

    @model_validator(mode="after")
    def _weights(self) -> Upsample:
        if (self.method == "weights") != bool(self.weights):
            raise ValueError("`weights: {source: share}` and `method: weights` go together")
        if self.weights and min(self.weights.values()) <= 0:
            raise ValueError("every share in `weights` must be above 0")
        if (self.method == "long_short") != (self.long_short is not None):
            raise ValueError("`long_short: RATIO` and `method: long_short` go together")
        return self


SyntheticTask = Literal["fill_in_the_middle", "paragraph_reordering", "keyword_retrieval", "position_retrieval"]


class Synthetic(Section):
    """Examples of long-range tasks, made of kept documents."""

    share: float = Field(0.0, ge=0, lt=1, description="share of the tokens that are synthetic; 0: none are made")
    tasks: tuple[SyntheticTask, ...] = Field(
        ("fill_in_the_middle", "paragraph_reordering", "keyword_retrieval", "position_retrieval"),
        min_length=1,
        description="the tasks, of which a hash of the document picks one",
    )
    min_tokens: int = Field(2_048, ge=64, description="a document of fewer tokens gives no example")


class PackWeights(Section):
    """What window refinement weighs against the similarity inside windows."""

    padding: float = Field(3.0, ge=0, le=1_000, description="a window of padding, in similarity of average windows")
    cuts: Annotated[float | Literal["off"], BeforeValidator(_switch)] = Field(
        "off", description="a cut that can be avoided, in similarity of average documents; off: none is made"
    )
    crowding: float = Field(
        1.0, ge=0, le=1, description="1: the mean similarity of a pair grows; 0: the sum over pairs"
    )

    @field_validator("cuts")
    @classmethod
    def _not_negative(cls, cuts: float | str) -> float | str:
        if isinstance(cuts, float) and not 0 <= cuts <= 1_000:
            raise ValueError("`cuts` must be between 0 and 1000, or off")
        return cuts


class CurriculumStage(Section):
    """One stage of a curriculum: a shard set of its own."""

    window: int = Field(ge=2, le=16_777_216, description="tokens of a context window in this stage")
    tokens: int = Field(ge=1, description="tokens of the stage")
    long_share: float | None = Field(None, gt=0, lt=1, description="as upsample.long_share, for this stage")
    long_tokens: int | None = Field(None, ge=1, description="as upsample.long_tokens, for this stage")


class Pack(Section):
    """Which token spans share a context window."""

    window: int = Field(8_192, ge=2, le=16_777_216, description="tokens of a context window")
    method: Literal["related", "best_fit", "concat", "buckets"] = Field(
        "related",
        description="related: along the path with bounded lookahead; best_fit: fewest windows; concat: cut anywhere; "
        "buckets: pieces of single documents, a power of two long, in sets of their own",
    )
    schedule: tuple[CurriculumStage, ...] = Field(
        (), description="stages of a curriculum, each with its window and tokens; takes the place of pack.window"
    )
    lookahead: int = Field(16, ge=1, le=100_000, description="documents ahead on the path that may fill a window")
    eos: Annotated[bool, Field(description="end every document with the tokenizer's end-of-text token")] = True
    bos: Annotated[
        bool | str,
        Field(
            description="begin every document with the tokenizer's beginning-of-text token: true for the one under a usual "
            "name, or the token's name"
        ),
    ] = False
    separator: str | None = Field(
        None,
        min_length=1,
        description="what stands between documents that share a window: a text, or the name of a special token",
    )
    refine: bool = Field(
        True, description="documents of `related` windows move and change places until windows get no better"
    )
    weights: PackWeights = Field(default_factory=PackWeights, description="prices of window refinement")
    position: Literal["chain", "best_at_ends", "random"] = Field(
        "chain",
        description="order inside a `related` window: like next to like; most central at both ends; by hash of doc_id",
    )
    max_similarity: float | None = Field(
        None,
        gt=0,
        le=1,
        description="no two documents at least this similar share a window; default: order.max_similarity",
    )

    min_vendi: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="least diversity of a `related` window, as its Vendi score over its documents: 1, nothing is alike; 0: any",
    )

    @field_validator("bos")
    @classmethod
    def _named(cls, bos: bool | str) -> bool | str:
        if bos == "":
            raise ValueError("`bos` is true, false or the name of a token, not an empty text")
        return bos

    def settings(self, mode: Literal["python", "json"] = "python") -> dict[str, Any]:
        """Every field, but what came later and is off: runs made before keep their keys."""
        data: dict[str, Any] = self.model_dump(mode=mode)
        return {name: value for name, value in data.items() if value or name not in ("bos", "separator")}

    @model_validator(mode="after")
    def _vendi(self) -> Pack:
        if self.min_vendi and self.method != "related":
            raise ValueError(f"`min_vendi` is heeded by `method: related` alone, not by {self.method}; leave it out")
        return self

    @model_validator(mode="after")
    def _buckets(self) -> Pack:
        if self.method == "buckets" and self.schedule:
            raise ValueError("`method: buckets` is a curriculum of its own; leave `schedule` out")
        if self.method == "buckets" and self.separator is not None:
            raise ValueError("with `method: buckets` no window holds two documents; leave `separator` out")
        if self.method == "buckets" and self.window & (self.window - 1):
            raise ValueError(f"`method: buckets` needs a window that is a power of two, not {self.window}")
        return self


class Validation(Section):
    """Documents that are kept out of training."""

    share: float = Field(0.001, gt=0, lt=1, description="share of the documents, by hash of their duplicate component")


class Denoise(Section):
    """UL2's mixture of denoisers: windows whose text is to be filled in, beside the windows themselves."""

    length: int = Field(512, ge=2, le=65_536, description="most tokens of an example")


class Shards(Section):
    """The files that a trainer reads."""

    formats: tuple[Literal["parquet", "mds", "megatron", "numpy", "webdataset"], ...] = Field(
        ("parquet",), min_length=1, description="formats to write"
    )
    path: str | None = Field(None, description="where the finished set is mirrored; it is always in the workspace")
    windows_per_shard: int = Field(4_096, ge=1, description="windows of a shard, on average")
    denoise: Denoise | None = Field(
        None, description="also write every window denoised, in the same formats, in the folder denoised/"
    )
    validation: Validation | None = Field(None, description="a set of documents that no training window holds")

    @field_validator("formats")
    @classmethod
    def _in_order(cls, formats: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(form for form in FORMATS if form in formats)


class ObjectStorage(Section):
    """What S3 is asked for besides the objects; credentials come from the environment alone."""

    requester_pays: bool = Field(False, description="pay for reading buckets whose owners do not")
    sse: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = Field(
        None, description="how the server encrypts what is written (default: as the bucket says)"
    )
    kms_key_id: str | None = Field(None, description="the key of `sse: aws:kms`; the bucket's own without it")

    @model_validator(mode="after")
    def _key_needs_kms(self) -> ObjectStorage:
        if self.kms_key_id is not None and not (self.sse or "").startswith("aws:kms"):
            raise ValueError("`kms_key_id` needs `sse: aws:kms`")
        return self


class Recipe(Section):
    """A whole run."""

    name: str = Field("corpus", description="name of the run")
    workspace: str = Field("./runs/{name}", description="where every table is kept: a folder or s3://bucket/prefix")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of every random choice")
    engine: Literal["auto", "ray", "inline"] = Field(
        "auto", description="ray, inline (in this process), or auto: inline below 64 MB of input"
    )
    sample: float | None = Field(None, gt=0, le=1, description="share of the documents to take, by hash of doc_id")
    storage: ObjectStorage = Field(
        default_factory=ObjectStorage, description="how S3 is used: who pays for reading, how objects are encrypted"
    )
    inputs: tuple[Input, ...] = Field(min_length=1, description="the sources of raw text")
    ingest: Ingest = Field(default_factory=Ingest, description="how raw files are cut into partitions")
    quality: QualityOrOff = Field(default_factory=Quality, description="which documents are worth training on")
    dedup: DedupOrOff = Field(default_factory=Dedup, description="exact and near duplicates")
    tokenizer: Tokenizer = Field(default_factory=Tokenizer, description="where the vocabulary comes from")
    embed: Embed = Field(default_factory=Embed, description="vectors in which related documents are near each other")
    select: Select | None = Field(None, description="keep only the documents nearest to given examples")
    cluster: Cluster = Field(default_factory=Cluster, description="cells of near documents, and regions")
    order: Order = Field(default_factory=Order, description="the path through the documents of a region")
    upsample: Upsample = Field(default_factory=Upsample, description="how often a document is seen")
    synthetic: Synthetic = Field(default_factory=Synthetic, description="examples of long-range tasks")
    pack: Pack = Field(default_factory=Pack, description="which token spans share a context window")
    shards: Shards = Field(default_factory=Shards, description="the files that a trainer reads")

    def source_quality(self, source: str) -> Quality | None:
        """The quality section in force for ``source``; None when it is off."""
        entry = next(item for item in self.inputs if item.source == source)
        if entry.quality == "off" or (self.quality == "off" and entry.quality is None):
            return None
        base = {} if self.quality == "off" else self.quality.model_dump(exclude_unset=True)
        return Quality.model_validate({**base, **(entry.quality or {})})

    @property
    def sources(self) -> list[str]:
        """Distinct source names in the order of the recipe."""
        return list(dict.fromkeys(item.source for item in self.inputs))

    @model_validator(mode="after")
    def _long_range_is_measured(self) -> Recipe:
        limits = ("min_long_range_gain", "min_compression_ratio", "min_rare_recurrence")
        asked = [name for name in limits if getattr(self.upsample, name)]
        if asked and all(self.source_quality(source) is None for source in self.sources):
            raise ValueError(
                f"`upsample.{asked[0]}` is about signals of quality, which is off; leave one of the two out"
            )
        return self

    @model_validator(mode="after")
    def _sources_agree(self) -> Recipe:
        seen: dict[str, Any] = {}
        for i, item in enumerate(self.inputs):
            own = (item.quality, item.licence)
            if seen.setdefault(item.source, own) != own:
                raise ValueError(
                    f"inputs.{i}: source {item.source!r} is listed twice with a different quality section or licence"
                )
            try:
                self.source_quality(item.source)
            except ValidationError as error:
                item_ = error.errors()[0]
                key = ".".join(str(part) for part in item_["loc"])
                near = difflib.get_close_matches(key, list(Quality.model_fields), n=1, cutoff=0.5)
                hint = f"; did you mean `{near[0]}`?" if near and item_["type"] == "extra_forbidden" else ""
                raise ValueError(f"inputs.{i}.quality.{key}: {item_['msg']}{hint}") from None
        if self.pack.schedule and self.upsample.budget is not None:
            raise ValueError("with `pack.schedule` each stage has its own `tokens`; leave `upsample.budget` out")
        if self.synthetic.share and self.pack.method == "buckets":
            raise ValueError("`pack.method: buckets` would cut every synthetic example; write `synthetic: {share: 0}`")
        window = self.pack.schedule[-1].window if self.pack.schedule else self.pack.window
        if self.synthetic.share and window < 256:
            raise ValueError(f"synthetic examples need a window of at least 256 tokens, not {window}")
        if self.upsample.weights:
            unknown = sorted(set(self.upsample.weights) - set(self.sources))
            if unknown:
                raise ValueError(
                    f"upsample.weights names {unknown[0]!r}, which is no source; sources: {', '.join(self.sources)}"
                )
        return self


def preferred_signals(recipe: Recipe) -> list[str]:
    """Columns of ``signals`` by which one of several duplicates is kept: ``dedup.prefer``, the first classifier for
    ``quality_score``, which is left out where there is none.
    """
    if recipe.dedup == "off":
        return []
    qualities = [recipe.source_quality(source) for source in recipe.sources]
    scores = [f"classifier_{one.classifier.name}" for one in qualities if one and one.classifier]
    score = scores[0] if scores else None
    names = [score if name == "quality_score" else name for name in recipe.dedup.prefer]
    return [name for name in names if name]


def cuts_paragraphs(recipe: Recipe) -> bool:
    """Whether duplicate paragraphs are cut from the texts."""
    return recipe.dedup != "off" and recipe.dedup.paragraphs != "off" and recipe.dedup.paragraphs.cut


def resolve_path(path: str, base: Path) -> str:
    """``path`` as a URL or absolute path; a relative one is taken from ``base``."""
    if "://" in path:
        return path
    expanded = Path(path).expanduser()
    return str(expanded if expanded.is_absolute() else base / expanded)


def paths_of_quality(section: Any) -> list[tuple[dict[str, Any], str]]:
    """Where a quality section in plain dicts holds paths: (dict, key) of each."""
    if not isinstance(section, dict):
        return []
    places = [(section, "language_model")]
    if isinstance(section.get("classifier"), dict):
        places.append((section["classifier"], "model"))
    if isinstance(section.get("block"), dict):
        places += [(section["block"], name) for name in BLOCK_LISTS]
    return [(place, key) for place, key in places if place.get(key) not in (None, "auto", "off", False)]


def _resolved_quality(section: Any, base: Path) -> Any:
    found = copy.deepcopy(section)
    for place, key in paths_of_quality(found):
        place[key] = resolve_path(place[key], base)
    return found


def resolve_paths(recipe: Recipe, base: Path) -> Recipe:
    """The recipe with every path resolved against ``base``, and ``{name}`` filled in the workspace."""
    changes: dict[str, Any] = {
        "workspace": resolve_path(recipe.workspace.replace("{name}", recipe.name), base),
        "inputs": tuple(
            item.model_copy(
                update={"path": resolve_path(item.path, base), "quality": _resolved_quality(item.quality, base)}
            )
            for item in recipe.inputs
        ),
    }
    if recipe.embed.is_folder and (base / Path(recipe.embed.model).expanduser()).is_dir():
        changes["embed"] = recipe.embed.model_copy(update={"model": resolve_path(recipe.embed.model, base)})
    if recipe.select:
        changes["select"] = recipe.select.model_copy(update={"queries": resolve_path(recipe.select.queries, base)})
    if recipe.tokenizer.path:
        changes["tokenizer"] = recipe.tokenizer.model_copy(update={"path": resolve_path(recipe.tokenizer.path, base)})
    if recipe.dedup != "off" and recipe.dedup.decontaminate:
        section = recipe.dedup.decontaminate
        sets = {
            name: entry.model_copy(update={"path": resolve_path(entry.path, base)})
            for name, entry in section.sets.items()
        }
        changes["dedup"] = recipe.dedup.model_copy(update={"decontaminate": section.model_copy(update={"sets": sets})})
    if recipe.shards.path:
        changes["shards"] = recipe.shards.model_copy(update={"path": resolve_path(recipe.shards.path, base)})
    if recipe.quality != "off":
        given = recipe.quality.model_dump(exclude_unset=True)
        changes["quality"] = Quality.model_validate(_resolved_quality(given, base))
    return recipe.model_copy(update=changes)


__all__ = [
    "FORMATS",
    "RULE_ORDER",
    "Input",
    "Quality",
    "Recipe",
    "Section",
    "resolve_path",
    "resolve_paths",
]
