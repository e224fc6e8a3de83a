#!/usr/bin/env bash
# The one place that knows master, jars and configuration.
#   ./spark-submit.sh jobs/stream.py --queries live,final,archive
#   SPARK_MASTER=spark://host:7077 ./spark-submit.sh jobs/backfill.py --ticks PATH
# SPARK_MASTER      local[16] (default), spark://…, yarn, k8s://…
# SUBMIT_ARGS       further spark-submit options, e.g. "--conf spark.executor.memory=4g"
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${SUBMIT_PYTHON:-$root/.venv/bin/python}
[ -x "$python" ] || python=$(command -v python3)

if [ $# -eq 0 ] || [ "$1" = "--help" ] || [ "$1" = "-h" ]; then
    sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0
fi

spark_home=$("$python" -c 'import importlib.util, os; print(os.path.dirname(importlib.util.find_spec("pyspark").origin))' 2>/dev/null) || {
    echo "spark-submit.sh: pyspark is missing; run 'make up' or 'pip install -r requirements.txt'" >&2
    exit 1
}
jars=$(cd "$root" && "$python" -m local jars --print connector)

master=${SPARK_MASTER:-local[16]}
export SPARK_HOME=$spark_home PYSPARK_PYTHON=$python PYSPARK_DRIVER_PYTHON=$python
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
options=(--master "$master" --properties-file "$root/conf/spark-defaults.conf" --jars "$jars")
# Spark's generated stages are larger than what the JIT compiles by default; else they would stay interpreted.
jvm=-XX:-DontCompileHugeMethods
# Java's verifier would look through each class of jars that Ivy and pip have checked: a third of what a start costs.
jvm+=" -XX:+IgnoreUnrecognizedVMOptions -XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote"
gc=
# Cheaper per row than G1. Of the 3 GB of spark-defaults.conf, one is for what is new; without OldSize the rest would
# start with 6 MB, and each step of its growth stop everything. What a start loads is old after two collections, not
# copied for fifteen: at 2,000 ticks/s live's pauses of 22 ms each five seconds are 2 to 6 ms (docs/decisions/0004).
[[ $master == local* ]] && gc="-XX:+UseParallelGC -Xmn1g -XX:OldSize=512m -XX:MaxTenuringThreshold=2 -XX:MetaspaceSize=256m"
options+=(--conf "spark.executor.extraJavaOptions=$jvm")
log4j=log4j2
[ "${TICKSTREAM_LOG_FORMAT:-}" = json ] && log4j=log4j2-json
classes=
# `python -m local classes` makes it, for shorter starts. A JVM that it does not fit does without it.
if [ -r "$root/.jars/driver.jsa" ]; then
    classes="\"-XX:SharedArchiveFile=$root/.jars/driver.jsa\" -Xlog:cds=off -Xlog:cds+dynamic=off"
fi
options+=(--driver-java-options "$jvm $gc $classes \"-Dlog4j2.configurationFile=$root/conf/$log4j.properties\" ${SUBMIT_JAVA_OPTIONS:-}")

case $master in
local*) # Nobody else is to reach this driver; executors of a cluster must, so there Spark finds out its own address.
    export SPARK_LOCAL_IP=${SPARK_LOCAL_IP:-127.0.0.1}
    options+=(--conf spark.driver.host=127.0.0.1 --conf spark.driver.bindAddress=127.0.0.1)
    ;;
*)  # Executors get our packages, unpacked: rulesets and migrations are files beside the code. Not as --py-files, which
    # the driver would import from the archive too, before the folder.
    archive=$(mktemp -d)/tickstream.zip
    (cd "$root" && "$python" -c '
import pathlib, sys, zipfile
with zipfile.ZipFile(sys.argv[1], "w") as archive:
    for room in ("core", "conf", "metrics", "stores", "producers", "jobs"):
        for path in sorted(pathlib.Path(room).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                archive.write(path)
' "$archive")
    options+=(--archives "$archive#tickstream" --conf spark.executorEnv.PYTHONPATH=tickstream)
    ;;
esac

exec "$spark_home/bin/spark-submit" "${options[@]}" ${SUBMIT_ARGS:-} "$@"
