"""What is said about bars: anomalies, predictions, alerts."""

from prometheus_client import Counter

from metrics.pulled import Pulled

ANOMALIES = Counter("tickstream_anomalies", "Findings of anomaly rules", ["rule", "severity", "state"])
PREDICTOR = Pulled("predictor", {"predictions_total": "Predictions stored"})
CHAMPION = Pulled("predictor", {"champion_timestamp_seconds": "When the model that serves was made"}, ["interval"])
ALERTER = Pulled("alerter", {"messages_total": "Messages of alerts that were decided"})
WAITING = Pulled(
    "alerter",
    {
        "waiting_messages": "Messages of alerts that are not delivered yet",
        "oldest_waiting_seconds": "Since when the oldest of them was decided; 0 without any",
    },
    ["target"],
)
