"""The light scheduler: the command of each job, running one, running them all. When: `conf.schedule`."""
