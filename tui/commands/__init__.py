"""One module a command of `redraft`. They import the engine inside their functions, so that help costs nothing."""
