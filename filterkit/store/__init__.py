"""The label store: articles, labels and the ledger of money, in one SQLite file per workspace."""

from filterkit.store.database import SCHEMA_VERSION
from filterkit.store.funds import Limits
from filterkit.store.owners import Owner
from filterkit.store.rows import Failure, Key, LabelRow, Outcome, Question, QuestionCount, Result, Spent, State, Used
from filterkit.store.store import Store

__all__ = [
    "SCHEMA_VERSION",
    "Failure",
    "Key",
    "LabelRow",
    "Limits",
    "Outcome",
    "Owner",
    "Question",
    "QuestionCount",
    "Result",
    "Spent",
    "State",
    "Store",
    "Used",
]
