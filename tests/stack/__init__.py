"""The production stack, run for real in containers: `make stack-test`. Not part of `make test`."""
