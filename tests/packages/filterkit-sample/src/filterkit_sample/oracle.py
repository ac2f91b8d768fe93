import json

from pydantic import Field

from filterkit.api import Oracle, OracleOptions, Reply


class CountingOptions(OracleOptions):
    word: str = Field("help", min_length=1, description="the word to count")


class CountingOracle(Oracle):
    Options = CountingOptions
    deterministic = True

    async def complete(self, request):
        count = request.article.lower().count(self.options.word)
        scores = dict.fromkeys(self.spec.names, min(count, self.spec.scale.max))
        return Reply(text=json.dumps(scores), model_version="counting-1")
