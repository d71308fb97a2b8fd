# Two commands do everything: `make demo` shows a full connection, `make test` passes all tests. Both install what they need.

PYTHON ?= python3
VENV ?= .venv
PREFIX ?= /opt/anyike
BIN ?= /usr/local/bin
SYSTEM_PACKAGES = python3-venv iproute2 iputils-ping curl tshark tcpdump

.PHONY: demo test check lint bench install uninstall wheel system-packages clean

demo: $(VENV)/ready system-packages
	$(VENV)/bin/python tests/demo.py

test: lint system-packages
	$(VENV)/bin/pytest

check: lint
	$(VENV)/bin/pytest -m "not container and not namespace"
	@echo
	@echo "Left out: tests that need root, namespaces or the strongSwan container. 'make test' runs them."

lint: $(VENV)/ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

bench: $(VENV)/ready system-packages
	$(VENV)/bin/python bench/connect.py

# The environment for development and tests: this tree, editable, and the tools that check it.
$(VENV)/ready: pyproject.toml
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { apt-get update -qq && apt-get install -y -qq python3-venv; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --upgrade pip
	$(VENV)/bin/pip install --quiet --editable . --group dev
	touch $@

# What the container tests and the demo use beside Python. The gateway script installs its container engine itself.
system-packages:
	@missing=""; for package in $(SYSTEM_PACKAGES); do \
	    dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; done; \
	if [ -n "$$missing" ]; then \
	    echo "installing:$$missing"; apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$missing >/dev/null; fi

# An environment of its own under $(PREFIX), and the command where sudo finds it.
install:
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { apt-get update -qq && apt-get install -y -qq python3-venv; }
	$(PYTHON) -m venv --clear $(PREFIX)
	$(PREFIX)/bin/pip install --quiet --upgrade pip
	$(PREFIX)/bin/pip install --quiet .
	install -d $(BIN)
	ln -sf $(PREFIX)/bin/anyike $(BIN)/anyike
	@echo "installed: $(BIN)/anyike"

uninstall:
	rm -f $(BIN)/anyike
	rm -rf $(PREFIX)

wheel: $(VENV)/ready
	$(VENV)/bin/python -m build --wheel

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
