"""What is said about bars: anomalies, predictions, alerts."""

from prometheus_client import Counter

from metrics.pulled import Pulled

ANOMALIES = Counter("tickstream_anomalies", "Findings of anomaly rules", ["rule", "severity", "state"])
PREDICTOR = Pulled("predictor", {"predictions_total": "Predictions stored"})
CHAMPION = Pulled("predictor", {"champion_timestamp_seconds": "When the model that serves was made"}, ["interval"])
ALERTER = Pulled("alerter", {"messages_total": "Messages of alerts that were decided"})
