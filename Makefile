# `make TASK` is `python3 tasks.py TASK`.
.DEFAULT_GOAL := check
.PHONY: demo test lint check consumers conformance fuzz faults lock setup
N ?= 20
SEED ?= 0

# 200 runs that meet a fault each: make faults N=200 SEED=1
faults:
	python3 tasks.py faults $(N) --seed $(SEED)

demo test cluster lint check consumers conformance fuzz lock setup:
	python3 tasks.py $@
