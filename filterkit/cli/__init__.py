"""The command line: thin commands over the pipeline, imported one at a time."""
