"""The final query over the files of one schedule, in a process that is there to be killed."""

import json
import sys
from pathlib import Path

from conf.settings import Settings
from jobs.local_session import local_session
from jobs.verifying.recorder import Recorder
from jobs.verifying.streaming import RUN, run_query


def main(folder: Path) -> None:
    """Read on from the checkpoint to the end."""
    told = json.loads((folder / RUN).read_text())
    settings = Settings(data_path=Path(told["data_path"]), **told["settings"])
    spark = local_session("tickstream verify worker", told["cores"])
    run_query(spark, settings, told["partitions"], Recorder(folder / "out"))
    spark.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
