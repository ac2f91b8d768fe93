from filterkit.api import hookimpl


@hookimpl
def register_oracles(register):
    register("shouting", "filterkit_shouting.oracle:ShoutingOracle", summary="counts exclamation marks")
