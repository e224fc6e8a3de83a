"""The Spark session: its configuration comes from `spark-submit.sh` and conf/spark-defaults.conf."""

from pyspark.sql import SparkSession


def session(name: str, streaming: bool = False) -> SparkSession:
    """The session that spark-submit configured.

    A streaming query runs its expressions as many small methods instead of one generated method per stage: ours
    are so large that the JIT needs minutes for them, and until then real-time mode cannot keep up.
    """
    spark = SparkSession.builder.appName(name).getOrCreate()
    if streaming:
        spark.conf.set("spark.sql.codegen.wholeStage", "false")
    return spark
