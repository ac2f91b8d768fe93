import json

from pydantic import Field

from filterkit.api import Oracle, OracleOptions, Reply


class ShoutingOptions(OracleOptions):
    mark: str = Field("!", min_length=1, description="what counts as shouting")


class ShoutingOracle(Oracle):
    Options = ShoutingOptions
    deterministic = True
    answer_options = ("mark",)

    async def complete(self, request):
        loud = min(request.article.count(self.options.mark), self.spec.scale.max)
        answer = dict.fromkeys(self.spec.names, loud)
        if self.spec.evidence == "short":
            answer = {name: {"evidence": "counted", "score": loud} for name in answer}
        return Reply(text=json.dumps(answer), model_version="shouting-1")
