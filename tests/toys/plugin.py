"""Registers the toys. The tests copy this folder into a dist of its own, so that the command line finds them."""

from filterkit.api import hookimpl


@hookimpl
def register_trainers(register):
    register("toy", "fk_toys.toys:ToyTrainer", summary="learns which word means which score")


@hookimpl
def register_models(register):
    register("toy", "fk_toys.toys:ToyModel", summary="what the toy trainer makes")
    register("toy-remote", "fk_toys.remote:RemoteToy", summary="asks the tests' own server", schemes=("toy",))


@hookimpl
def register_oracles(register):
    register("toy-batch", "fk_toys.batch:BatchToy", summary="answers batches from a folder that outlives everybody")


@hookimpl
def register_prefilters(register):
    register("short", "fk_toys.toys:ShortPrefilter", summary="holds back short articles")
