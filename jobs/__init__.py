"""What runs on Spark, and the one job that does not (relay). The only folder that imports pyspark."""
