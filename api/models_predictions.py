"""The answers on predictions and on what they were worth, as published in OpenAPI."""

from typing import Literal

from pydantic import Field

from api.models import Answer, NextCursor, Time

Abstained = Literal["return", "rise"]


class LatestPrediction(Answer):
    """What a model said after one bar about a bar some bars later."""

    symbol: str
    start: Time = Field(description="of the bar after which it was said")
    end: Time = Field(description="of that bar; what was known then is all that the prediction is made of")
    horizon: int = Field(description="bars ahead", examples=[5])
    outcome_at: Time = Field(description="the outcome is known then at the earliest")
    made_at: Time = Field(description="when it was stored, by the database's clock; always before `outcome_at`")
    expected_return: float = Field(description="log return to the close `horizon` bars later", examples=[0.00012])
    rise_probability: float = Field(description="calibrated, of a rise among moves", examples=[0.512])
    volatility: float = Field(description="standard deviation of that log return, as known then", examples=[0.0011])
    abstains: list[Abstained] = Field(
        description="what the model did not beat its baselines in out of sample: do not act on it",
        examples=[["return"]],
    )
    model: str = Field(description="version", examples=["20260105T143000123Z"])


class LatestPredictionsAnswer(Answer):
    """The newest prediction of every symbol and horizon."""

    interval: str
    now: Time = Field(description="the server's clock")
    predictions: list[LatestPrediction] = Field(description="by symbol, then horizon")


class Prediction(LatestPrediction):
    """A prediction with what became of it."""

    outcome: float | None = Field(
        description="log return to the close of the `horizon`-th next bar; null unless the state is `known`",
        examples=[-0.0003],
    )
    outcome_state: Literal["pending", "known", "other-session"] = Field(
        description="`other-session`: the session ended before, so it does not count", examples=["known"]
    )


class PredictionsAnswer(Answer):
    """The newest predictions of a symbol."""

    symbol: str
    interval: str
    truncated: bool = Field(description="there are more than `limit`")
    next: NextCursor
    predictions: list[Prediction] = Field(description="newest bar first, then by horizon")


class Uncertain(Answer):
    """A number with its 95 % interval."""

    value: float = Field(examples=[0.0021])
    low: float | None = Field(description="null: too few blocks of time for an interval", examples=[-0.0014])
    high: float | None = Field(examples=[0.0056])


class SkillOfRise(Answer):
    """1 - Brier score / that of the baseline; 0 is as good as it, below 0 worse."""

    coin: Uncertain | None = Field(description="against 0.5 each time, whose Brier score is 0.25")
    prior: Uncertain | None = Field(
        description="against the share of rises of this same period, which nobody could have known beforehand"
    )


class SkillOfReturn(Answer):
    """1 - squared error / that of the baseline, errors in units of the predicted volatility."""

    zero: Uncertain | None = Field(description="against a return of 0 each time")


class ReliabilityClass(Answer):
    """A tenth of the predictions, by the probability that was said."""

    said: float = Field(description="mean probability of a rise", examples=[0.512])
    came: float = Field(description="share of rises", examples=[0.498])
    samples: int = Field(examples=[120])


class Score(Answer):
    """One model on one horizon. What abstains is scored all the same."""

    model: str = Field(examples=["20260105T143000123Z"])
    horizon: int = Field(description="bars ahead", examples=[5])
    made: int = Field(description="predictions", examples=[1400])
    known: int = Field(description="of which the outcome is known and counts", examples=[1200])
    other_session: int = Field(description="of which the outcome lies in another session, so that it does not count")
    abstained_return: int = Field(description="predictions that abstained from the return", examples=[1400])
    abstained_rise: int = Field(description="predictions that abstained from the direction", examples=[1400])
    moved: int = Field(description="known outcomes other than 0; the direction is judged over these", examples=[1190])
    rises: int = Field(description="rises among them", examples=[590])
    blocks: int = Field(
        description="blocks of time with outcomes that moved; intervals are made of them", examples=[24]
    )
    block_minutes: int = Field(description="length of a block: an hour, or four horizons", examples=[60])
    direction_right: Uncertain | None = Field(description="how often the likelier direction came; a tie counts half")
    brier: float | None = Field(
        description="mean squared error of the probability; null: nothing moved", examples=[0.25]
    )
    skill_of_rise: SkillOfRise
    error_of_return: float | None = Field(description="mean squared error, in squared volatilities", examples=[1.02])
    skill_of_return: SkillOfReturn
    calibration: list[ReliabilityClass] = Field(description="lowest probability first")
    verdict: str = Field(
        description="what the intervals come to, in words",
        examples=["Direction: not distinguishable from a coin. Return: worse than saying 0."],
    )


class ModelSkill(Answer):
    """Skill out of sample in the walk-forward of the training, with its 95 % interval."""

    of: Abstained = Field(examples=["rise"])
    baseline: str = Field(description="zero, persistence, ar1, prior", examples=["prior"])
    value: float = Field(examples=[0.0004])
    low: float = Field(examples=[-0.0042])
    high: float = Field(examples=[0.0047])


class ModelHorizon(Answer):
    """What a model was worth on one horizon before it served."""

    horizon: int = Field(description="bars ahead", examples=[5])
    samples: int = Field(description="out of sample", examples=[22_030])
    moments: int = Field(description="different times among them", examples=[2_203])
    direction_right: Uncertain
    calibration_error: float = Field(description="mean distance of what was said from what came", examples=[0.011])
    abstains: list[Abstained] = Field(description="where it does not beat every baseline", examples=[["return"]])
    skills: list[ModelSkill]


class ModelCard(Answer):
    """A version of the model."""

    version: str = Field(examples=["20260105T143000123Z"])
    made_at: Time
    bars: int = Field(description="it was trained on", examples=[40_000])
    histories: int = Field(description="symbols, or several sources of one", examples=[20])
    start: Time = Field(description="of the first bar")
    end: Time = Field(description="of the last bar")
    calendar: str = Field(examples=["24/7"])
    features: int = Field(description="how many", examples=[28])
    horizons: list[ModelHorizon]


class ModelsAnswer(Answer):
    """The model that serves, as far as the API's machine has it."""

    interval: str
    champion: ModelCard | None
    because: str | None = Field(description="why there is none")
    versions: list[str] = Field(description="the newest first, at most 20", examples=[["20260105T143000123Z"]])


class ScorecardAnswer(Answer):
    """What predictions were worth once their outcomes were known."""

    interval: str
    since: Time = Field(description="bars that start there or later")
    until: Time
    calendar: str = Field(description="whose sessions an outcome may not leave; UTC days for 24/7", examples=["24/7"])
    scores: list[Score] = Field(description="the newest model first, then by horizon")
