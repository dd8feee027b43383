# make demo       the whole way on real photographs, in demo-out/
# make test       all tests           (make test ARGS="-k parquet -x")
# make lint       ruff and mypy
# make check      lint and test: what CI runs
# make bench      measures packing and loading beside other packages, and ten million rows (BENCH="--rounds 9 --record")
# make bench-check  measures check beside cleanvision and fastdup
# make bench-fetch  measures fetch beside img2dataset, over loopback
# make bench-sr   measures tiles and training data sets beside BasicSR
# make clean      removes what demo, tests and linters wrote; distclean also the environments
#
# The environments are made from PYTHON (3.11 or newer). pip obeys its own settings, so a machine
# without a GPU saves two gigabytes by `PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make demo`.

PYTHON ?= python3
ARGS ?=
REQUIRE_TF ?=
REQUIRE_S3 ?=
BENCH ?=
VENV := .venv
RUN := $(VENV)/bin/python
# What an editable install does not pick up by itself: the native core is compiled when it is installed.
INSTALLED_FROM := pyproject.toml constraints.txt tools/make_venv.sh tools/build_native.py \
	$(wildcard src/imagemill/native/core/*)
MAKE_VENV := PYTHON='$(PYTHON)' ./tools/make_venv.sh

.PHONY: demo test chromium lint check bench bench-check bench-fetch bench-sr clean distclean
.NOTPARALLEL:

demo: $(VENV)/.stamp-demo
	$(RUN) examples/demo.py demo-out

test: $(VENV)/.stamp-test .venv-tf/.stamp .venv-s3/.stamp chromium
	$(RUN) -m pytest $(ARGS)

chromium:
	./tools/install_chromium.sh

lint: $(VENV)/.stamp-test
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

check: lint test

$(VENV)/.stamp-demo: $(INSTALLED_FROM)
	$(MAKE_VENV) $(VENV) -c constraints.txt -e '.[torch,demo]'
	touch $@

$(VENV)/.stamp-test: $(INSTALLED_FROM)
	$(MAKE_VENV) $(VENV) -c constraints.txt -e '.[torch,ray,export,faiss,test,lint]'
	touch $(VENV)/.stamp-demo $@

# TensorFlow wants library versions of its own, and one test wants TensorFlow: tests/ runs this interpreter
# beside its own. Where there is no TensorFlow for this Python that test is skipped, unless REQUIRE_TF is set.
.venv-tf/.stamp: tools/make_venv.sh
	if $(MAKE_VENV) .venv-tf tensorflow-cpu; then touch $@; \
		elif test -n '$(REQUIRE_TF)'; then exit 1; \
		else echo 'No TensorFlow for this Python: its test will be skipped.'; fi

# The same with S3: no environment but a folder of packages, which one test has before those of its own.
.venv-s3/.stamp: tests/requirements-s3.txt | $(VENV)/.stamp-test
	if $(RUN) -m pip install --quiet --no-input --disable-pip-version-check --upgrade --target .venv-s3 -r $<; then touch $@; \
		elif test -n '$(REQUIRE_S3)'; then exit 1; \
		else echo 'No S3 server to be had: its test will be skipped.'; fi

bench: .venv-bench/.stamp .venv-ffcv/.stamp
	.venv-bench/bin/python benchmarks/load.py $(BENCH)
	.venv-bench/bin/python benchmarks/pack.py $(BENCH)
	.venv-bench/bin/python benchmarks/scale.py $(filter --record,$(BENCH))

bench-check: .venv-bench/.stamp .venv-check/.stamp
	.venv-bench/bin/python benchmarks/check.py --peers .venv-check/bin/python $(BENCH)

bench-fetch: .venv-fetch/.stamp .venv-img2dataset/.stamp
	.venv-fetch/bin/python benchmarks/fetch.py --peers .venv-img2dataset/bin/python $(BENCH)

bench-sr: $(VENV)/.stamp-test .venv-basicsr/.stamp
	$(RUN) benchmarks/tiles.py $(BENCH)
	$(RUN) benchmarks/training_datasets.py --basicsr .venv-basicsr $(BENCH)

# No environment but the files: BasicSR cannot be imported as a package beside a current torchvision.
.venv-basicsr/.stamp: benchmarks/requirements-basicsr.txt $(VENV)/.stamp-test
	$(RUN) -m pip download --quiet --no-deps --no-build-isolation --no-binary :all: -d .venv-basicsr -r benchmarks/requirements-basicsr.txt
	tar xzf .venv-basicsr/basicsr-*.tar.gz --strip-components=1 -C .venv-basicsr
	touch $@

# Nothing but imagemill and what it needs: pyarrow imports pandas where it is there, which img2dataset's own has anyway.
.venv-fetch/.stamp: $(INSTALLED_FROM)
	$(MAKE_VENV) .venv-fetch -e .
	touch $@

.venv-img2dataset/.stamp: benchmarks/requirements-fetch.txt
	$(MAKE_VENV) .venv-img2dataset -r benchmarks/requirements-fetch.txt
	touch $@

.venv-check/.stamp: benchmarks/requirements-check.txt
	$(MAKE_VENV) .venv-check -r benchmarks/requirements-check.txt
	touch $@

.venv-bench/.stamp: benchmarks/requirements.txt $(INSTALLED_FROM)
	$(MAKE_VENV) .venv-bench -c constraints.txt -r benchmarks/requirements.txt -e '.[torch]'
	touch $@

# FFCV is compiled against OpenCV and libturbojpeg, spdl wants FFmpeg's libraries. What cannot be had is left out.
.venv-ffcv/.stamp: benchmarks/requirements-ffcv.txt
	if test "$$(id -u)" = 0 && command -v apt-get >/dev/null; then \
		apt-get install -y -q --no-install-recommends g++ pkg-config libopencv-dev libturbojpeg0-dev ffmpeg || true; fi
	if $(MAKE_VENV) .venv-ffcv -r benchmarks/requirements-ffcv.txt -c constraints.txt; then touch $@; \
		else echo 'FFCV could not be built here: it will be skipped.'; fi

clean:
	rm -rf demo-out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests examples benchmarks tools -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) .venv-tf .venv-s3 .venv-bench .venv-ffcv .venv-check .venv-fetch .venv-img2dataset .venv-basicsr
