# `make TASK` is `python3 tasks.py TASK`.
.DEFAULT_GOAL := check
.PHONY: demo test lint check consumers conformance lock setup
demo test lint check consumers conformance lock setup:
	python3 tasks.py $@
