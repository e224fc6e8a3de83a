"""Settings, names of topics, and the configuration files of Spark, Ivy and logging."""
