# Every command of this repository. Variables: RUNTIME=docker|native, SERVER=gunicorn, API_PORT=8001, NAME=…, FILE=…, QUICK=1
# What they do stands in tools/, in Python.

PYTHON = $(or $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done), \
	$(error Python 3.11 or newer is needed, and there is none on the PATH: install it (https://www.python.org/downloads/) and try again))

.DEFAULT_GOAL := help
.PHONY: help dev prod deploy rollback backup restore test test-e2e check format bench migrate migration logs down lock api-key

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

dev: ## Run everything in development, with hot reload, in the foreground
prod: ## Run everything as in production: in the background on Docker
deploy: ## Send the production stack to Docker Swarm, and wait until it is healthy
rollback: ## Bring back the version before the last deploy
backup: ## Write the stack's database into a new file in backups/
restore: ## Put a backup in the place of the data: FILE=backups/….dump
test: ## Run the tests; the end-to-end ones where Docker is there
test-e2e: ## Run the end-to-end tests on Docker
check: ## Check format, lint and types
format: ## Format the code
bench: ## Measure reload, jobs and idle CPU beside other tools: QUICK=1
migrate: ## Bring the database to the newest migration
migration: ## Write a migration for changed models: NAME="add a column"
api-key: ## Print the API key that production asks for: make -s api-key
logs: ## Follow the logs of what runs
down: ## Stop what runs; the data stays
lock: ## Renew the pinned versions of all packages

dev prod deploy rollback backup restore test test-e2e check format bench migrate migration logs down lock api-key:
	@$(PYTHON) -m tools.stack $@
