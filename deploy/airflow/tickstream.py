"""The jobs of jobs/schedule.py as DAGs of Apache Airflow 3, for those who run one: each calls the very same command.

The command notes the run in the table `job_runs` and never runs beside itself, so a job may be here or in
TICKSTREAM_SCHEDULE, or by mistake in both. TICKSTREAM_HOME is the folder of the project, PYTHON its interpreter; the
settings come from the worker's environment.
"""

from datetime import timedelta

import pendulum
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

TIME_ZONE = "UTC"
# Job -> when, and how long it may take.
JOBS = {
    "export": ("30 0 * * *", timedelta(hours=2)),
    "reconcile": ("0 1 * * *", timedelta(hours=4)),
    "retention": ("17 2 * * *", timedelta(hours=2)),
    "backup": ("0 3 * * *", timedelta(hours=4)),
    "check-backup": ("0 5 * * 0", timedelta(hours=4)),
}
# The day that a job works on is the one before it was due, also in a run that is repeated later.
# TICKSTREAM_HOME is none of the project's settings, of which it refuses those that it does not know.
COMMAND = (
    'cd "${TICKSTREAM_HOME:?}" && env -u TICKSTREAM_HOME nice -n 19 "${PYTHON:-python3}" -m jobs.schedule --run %s'
    " --due {{ (data_interval_end.timestamp() * 1000000) | int }}"
)


def dag_of(name: str, cron: str, limit: timedelta) -> DAG:
    """One job as a DAG of one task."""
    with DAG(
        dag_id=f"tickstream_{name.replace('-', '_')}",
        schedule=cron,
        start_date=pendulum.datetime(2026, 1, 1, tz=TIME_ZONE),
        catchup=False,
        max_active_runs=1,
        tags=["tickstream"],
    ) as dag:
        BashOperator(
            task_id=name.replace("-", "_"),
            bash_command=COMMAND % name,
            append_env=True,
            execution_timeout=limit,
            retries=2,
            retry_delay=timedelta(minutes=10),
        )
    return dag


for job, (when, longest) in JOBS.items():
    globals()[f"tickstream_{job.replace('-', '_')}"] = dag_of(job, when, longest)
