"""What `jobs.verify` is made of.

recording   a recorded session, and the parts of it that are replayed
reference   its bars by other means, which share no code with the definition
schedules   orders of arrival: shuffled, split, repeated, crashed
folding     one process that does what the final query does
streaming   the final query itself; `worker` runs it in a process that can be killed
batching    the backfill
amending    late, corrected and cancelled trades, and what reconciling makes of them
mutants     broken rules that a verification has to catch
comparing   the first difference between two sets of bars, and their hash
"""
