"""The Spark session: configuration comes from `spark-submit.sh`, nothing is set here but the application's name."""

from pyspark.sql import SparkSession


def session(name: str) -> SparkSession:
    """The session that spark-submit configured."""
    return SparkSession.builder.appName(name).getOrCreate()
