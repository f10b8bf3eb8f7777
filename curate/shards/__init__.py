"""Tokens and the files that trainers read: tokenizers, Parquet, MosaicML MDS, Megatron, conservation sums."""
