"""Records, intervals, bar rules and errors: the definitions every other folder drives. No Spark, no I/O."""
