from filterkit.api import hookimpl


@hookimpl
def register_oracles(register):
    register("counting", "filterkit_sample.oracle:CountingOracle", summary="counts a word")
