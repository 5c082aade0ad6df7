# One environment in .venv serves every target; PYTHON chooses the interpreter (3.11 to 3.13).
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

# The demo trains on the digits at hand, or on your photographs: make demo DATA=photos.zip
DATA ?=
ARGS ?=
CORPORA = build/corpora/fetched
RUN := runs/demo-$(shell date +%Y%m%d-%H%M%S)
PHOTOS = --data "$(DATA)" --model se_resnet10 --size 96

.PHONY: demo test check coverage lint format docs pictures tutorial start screenshots tables test-slow \
	test-backends mutations parity evidence gate-runs gates folding bench bench-peers limits clean

demo: $(INSTALLED)
	$(BIN)/senet train $(if $(DATA),$(PHOTOS)) --out $(RUN) $(ARGS)
	$(BIN)/senet explain $(RUN) --out $(RUN)/inside

test: $(INSTALLED)
	$(BIN)/pytest -n 2 --dist worksteal

# A change in the making: lint and types of everything, the tests of the rooms that it touches.
check: lint
	tests=$$($(BIN)/python tests/changed.py) && $(BIN)/pytest -n 2 --dist worksteal $$tests

# Line coverage, with the commands that tests start, and which lines of which file are not covered.
coverage: $(INSTALLED)
	$(BIN)/pytest -n 2 --dist worksteal --cov=senet --cov-report=term-missing:skip-covered

# What takes too long for every change: the networks of more than a hundred layers, and thousands of
# damaged and hostile images, some of which others collected.
test-slow: $(INSTALLED) $(CORPORA)
	$(BIN)/pytest -n 2 --dist worksteal -m slow

# What hostile, damaged and large images take: docs/limits.md.
limits: $(INSTALLED) $(CORPORA)
	$(BIN)/python -m tests.data.evidence $(dir $(CORPORA)) evidence/limits.json
	$(BIN)/python docs/tables.py

$(CORPORA): $(INSTALLED) tests/data/corpora.py
	$(BIN)/python -m tests.data.corpora $(dir $@)
	touch $@

# Tens of thousands of changed weight files: each is loaded or refused, and nothing else (20 minutes).
mutations: $(INSTALLED)
	$(BIN)/python -m tests.weights.mutations safetensors 20000
	$(BIN)/python -m tests.weights.mutations torch 10000
	$(BIN)/python -m tests.weights.mutations keras 1500

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The book as pages for a browser, in site/: site/index.html is the first.
docs: $(INSTALLED)
	$(BIN)/python docs/book.py

# Rewrite what is generated in the README and the book.
tables: $(INSTALLED)
	$(BIN)/python docs/tables.py

# The diagrams of the README and the book.
pictures: $(INSTALLED)
	$(BIN)/senet draw se_resnet50 --out build/pictures
	cp build/pictures/*.svg docs/images/

# Run the notebook from top to bottom, and keep what it shows.
tutorial: $(INSTALLED)
	$(BIN)/python docs/notebook.py

# The run of the first page, seven minutes. A run that was stopped goes on, and a finished one gives
# its result again.
start: $(INSTALLED)
	if [ -f build/start/run.json ]; then $(BIN)/senet train --resume build/start; else \
		$(BIN)/senet train --data "$(CLOTHING)" --model se_resnet10 --size 96 --out build/start; fi
	$(BIN)/python docs/start.py build/start
	$(BIN)/python docs/tables.py

# What its pages look like, light and dark, wide and on a phone; takes Chromium.
screenshots: start gate-runs
	$(BIN)/senet explain build/start --out build/start-inside
	$(BIN)/senet compare build/start build/gates/clothing --out build/compare
	$(BIN)/python docs/screenshots.py build

# The networks, the twin, training and exports on JAX and PyTorch, each in an environment of its own.
# TensorFlow is there too: it writes what they export.
BACKEND_TESTS = tests/models tests/acceleration tests/training tests/test_applications.py \
	tests/test_other_networks.py tests/test_inserted_networks.py tests/test_surgery.py \
	tests/explanation tests/tasks/test_explaining.py tests/deployment \
	tests/weights/test_transfer.py \
	tests/weights/test_state_dicts.py tests/weights/test_limits.py tests/docs/test_followed.py
PARITY = tests/backends/parity.py
test-backends: $(INSTALLED) .venv-jax/installed .venv-torch/installed
	mkdir -p build
	KERAS_BACKEND=tensorflow $(BIN)/python $(PARITY) write build/tensorflow.npz
	KERAS_BACKEND=jax .venv-jax/bin/python $(PARITY) write build/jax.npz
	KERAS_BACKEND=torch .venv-torch/bin/python $(PARITY) write build/torch.npz
	$(BIN)/python $(PARITY) compare build/tensorflow.npz build/jax.npz build/torch.npz
	KERAS_BACKEND=jax .venv-jax/bin/pytest $(BACKEND_TESTS)
	KERAS_BACKEND=torch .venv-torch/bin/pytest $(BACKEND_TESTS)

# Run the reference implementations, write what they compute, and compare every network with it.
# PHOTOS_ZIP=photographs.zip also compares the preprocessing on the photographs in it.
GOLDEN = tests/golden
PHOTOS_ZIP =
parity: $(INSTALLED) .venv-parity/installed
	.venv-parity/bin/python tests/parity/imagenet_classes.py senet/weights/imagenet_classes.json
	.venv-parity/bin/python tests/parity/reference.py $(GOLDEN)/parity.npz
	.venv-parity/bin/python tests/parity/preprocessing.py $(GOLDEN)/preprocessing.npz $(PHOTOS_ZIP)
	$(BIN)/pytest -s -m "slow or not slow" tests/weights/test_parity.py \
		tests/data/test_preprocessing_parity.py
	mkdir -p build/parity
	$(BIN)/python tests/parity/back.py write build/parity
	.venv-parity/bin/python tests/parity/back.py compare build/parity

# The experiments that the book quotes, some hours; what is there already is not trained again.
# CLOTHING is the zip file of the photographs: train, validation and test of the clothing dataset,
# small (github.com/alexeygrigorev/clothing-dataset-small), with their short side at 128 pixels.
CLOTHING = clothing-small-128.zip
RECIPES = evidence/recipes
FASHION = --recipe $(RECIPES)/fashion_mnist.toml --fraction 0.25 --epochs 6
evidence: $(INSTALLED)
	$(BIN)/senet experiment --out evidence/digits
	$(BIN)/senet experiment $(FASHION) --out evidence/fashion_mnist
	$(BIN)/senet experiment $(FASHION) --vary ratio=4,8,16 --out evidence/ratio
	$(BIN)/senet experiment --recipe $(RECIPES)/clothing.toml --epochs 20 --data "$(CLOTHING)" \
		--out evidence/clothing
	for name in fashion_mnist ratio; do \
		cp evidence/$$name/results.svg docs/images/gain-$$name.svg || exit 1; \
	done
	$(BIN)/python docs/tables.py

# The two networks whose gates the pages in docs/ are about, some 20 minutes; a trained one is not
# trained again.
gate-runs: $(INSTALLED)
	if [ -f build/gates/digits/run.json ]; then $(BIN)/senet train --resume build/gates/digits; else \
		$(BIN)/senet train --out build/gates/digits; fi
	if [ -f build/gates/clothing/run.json ]; then \
		$(BIN)/senet train --resume build/gates/clothing; else \
		$(BIN)/senet train --recipe $(RECIPES)/clothing.toml --model se_resnet18 --size 64 \
			--epochs 34 --data "$(CLOTHING)" --out build/gates/clothing; fi

# What their gates do: docs/gates.md.
gates: gate-runs
	for run in digits clothing; do \
		$(BIN)/senet explain build/gates/$$run --out build/gates/$$run-inside || exit 1; \
	done
	$(BIN)/python docs/gates.py build/gates
	$(BIN)/python docs/tables.py

# What their gates are worth, and how fast they are without them: docs/folding.md.
folding: gate-runs
	mkdir -p evidence/folding
	for run in digits clothing; do \
		$(BIN)/senet fold build/gates/$$run --out build/gates/$$run-folded.keras || exit 1; \
		cp build/gates/$$run-folded.png docs/images/folding-$$run.png; \
		$(BIN)/python benchmarks/folding.py build/gates/$$run build/gates/$$run-folded.keras \
			--out evidence/folding/$$run.json || exit 1; \
	done
	$(BIN)/python docs/tables.py

# Benchmarks; an idle machine gives the figures that the README and the book quote.
bench: $(INSTALLED)
	$(BIN)/python benchmarks/building.py --out evidence/building.json
	$(BIN)/python benchmarks/loading.py --out evidence/loading.json
	$(BIN)/python benchmarks/twin.py --out evidence/twin.json
	$(BIN)/python benchmarks/profile_step.py --out evidence/profile.json
	$(BIN)/python benchmarks/profile_step.py --precision float32 --out evidence/profile_float32.json
	$(BIN)/python benchmarks/ideas.py
	$(BIN)/python docs/tables.py

# Us and our peers in turn, each at its best, on an idle machine. A row that might not be finished in
# 40 minutes is left for the next run; what is finished is kept. ROWS=NAME,... measures only these.
ROWS =
bench-peers: $(INSTALLED) .venv-peers/installed
	$(BIN)/python benchmarks/peers.py --peers .venv-peers/bin/python --out evidence/speed.json \
		$(if $(ROWS),--rows $(ROWS))
	$(BIN)/python docs/tables.py

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e ".[tensorflow,dev]"
	touch $@

.venv-parity/installed: constraints-parity.txt
	$(PYTHON) -m venv .venv-parity
	.venv-parity/bin/pip install --disable-pip-version-check -c constraints-parity.txt \
		timm torch torchvision pretrainedmodels six safetensors numpy pillow
	touch $@

.venv-peers/installed: constraints-peers.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --disable-pip-version-check -c constraints-peers.txt \
		timm torch torchvision onnx onnxruntime onnxscript openvino nncf zeromodels keras \
		tensorflow-cpu
	touch $@

.venv-%/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/pip install --disable-pip-version-check -c constraints.txt -e ".[$*,tensorflow,dev]"
	touch $@

clean:
	rm -rf .venv .venv-jax .venv-torch .venv-parity .venv-peers build site dist *.egg-info
