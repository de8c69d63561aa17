# Every command of this repository: `make` lists them. What they do is in tools/, in Python: without make, call it as
# `python -m tools dev API_PORT=8001`. Variables: those of .env.example, and RUNTIME=docker|native, SERVER=gunicorn,
# NAME=…, FILE=…, FROM=…, ARGS="-k name", REST=1, QUICK=1, PART=production, PROVE=strict, EXAMPLE=keep, YES=1

PYTHON = $(or $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done), \
	$(error Python 3.11 or newer is needed, and there is none on the PATH: install it (https://www.python.org/downloads/) and try again))
TARGETS := $(shell sed -n 's/^\([a-z][a-z0-9-]*\): .*/\1/p' Makefile)

.DEFAULT_GOAL := help
.PHONY: $(TARGETS)

$(TARGETS):
	@$(PYTHON) -m tools $@

.DEFAULT:
	@$(PYTHON) -m tools $@

help: ## Show this help
dev: ## Run development, with hot reload, in the foreground
debug: ## Run development, and let editors attach with debugpy: docs/DEVELOPMENT.md
attach: ## Show the prompts of breakpoint() in this terminal, for make dev on Docker
live: ## Wait until the API and every worker run the code on disk: ARGS="--timeout 5 --json"
prod: ## Run production: in the background on Docker, replaced without a gap; else in the foreground
deploy: ## Run production on Docker Swarm, and wait until it is healthy
rollback: ## Bring back the version before the last deploy
backup: ## Save the stack's database to a new file in backups/
backup-check: ## Restore the newest backup into a scratch database, and count its rows
restore: ## Put a backup in the place of the data: FILE=backups/….dump
test: ## Run the tests that a change can break, in two minutes: ARGS="-k name"
test-all: ## Run all tests, the slow ones and those on Docker too: ARGS=…, REST=1 without those of make test
check: ## Check format, lint, types, the Dockerfile and the workflows
format: ## Format the code
bench: ## Measure reload and production beside other tools: QUICK=1, PART=reload|scale|page|production
migrate: ## Bring the database to the newest migration
migration: ## Write a migration for changed models: NAME="add a column"
db-reset: ## Empty the development database, and let the migrations make it again
shell: ## Open a Python prompt with a session, the models and the settings: ARGS="-c '…'"
psql: ## Open psql, natively sqlite3, in the stack's database: ARGS="-c 'select 1'"
redis-cli: ## Open redis-cli in the stack's Redis: ARGS="info memory"
doctor: ## Find what is wrong with this clone and its machine, with the fix
schedule: ## Show what the schedules in the code run next
new: ## Turn this clone into your own service: NAME="Order Service"
update: ## Merge what is new in the template: FROM=url-or-folder
api-key: ## Print the API key that production asks for: `make -s api-key`
logs: ## Follow the logs of what runs
down: ## Stop what runs; the data stays
lock: ## Renew the pinned versions of all packages, or the digests of base images: ARGS=images
