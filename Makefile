# Each line calls Python, where all the logic is; Windows users type the same without make (README).
PYTHON ?= python3

.PHONY: lab test bench clean
lab:
	@$(PYTHON) -m speechlib lessons start
test:
	@$(PYTHON) tests/run.py
bench:
	@$(PYTHON) tests/run.py --bench
clean:
	rm -rf .venv
