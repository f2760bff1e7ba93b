# Every recipe is one habit; `make help` lists them.
.PHONY: help
help: ## List the recipes
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'
