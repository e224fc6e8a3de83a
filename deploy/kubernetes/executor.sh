#!/bin/sh
# What Spark on Kubernetes starts in an executor's pod: /opt/entrypoint.sh executor. PySpark's wheel has no such script.
# Any other command runs as it is.
set -eu
[ "${1:-}" = executor ] || exec "$@"

# Spark copies jars and unpacks archives into the folder that it is started in.
cd "$(mktemp -d)"

# Spark passes JVM options as SPARK_JAVA_OPT_0, SPARK_JAVA_OPT_1, …: one a line, taken as they are.
set -- org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend \
    --driver-url "$SPARK_DRIVER_URL" \
    --executor-id "$SPARK_EXECUTOR_ID" \
    --cores "$SPARK_EXECUTOR_CORES" \
    --app-id "$SPARK_APPLICATION_ID" \
    --hostname "$SPARK_EXECUTOR_POD_IP" \
    --resourceProfileId "$SPARK_RESOURCE_PROFILE_ID" \
    --podName "$SPARK_EXECUTOR_POD_NAME"
number=$(env | grep -c '^SPARK_JAVA_OPT_' || true)
while [ "$number" -gt 0 ]; do
    number=$((number - 1))
    eval "option=\${SPARK_JAVA_OPT_$number}"
    set -- "$option" "$@"
done
exec "${JAVA_HOME:+$JAVA_HOME/bin/}java" "-Xms$SPARK_EXECUTOR_MEMORY" "-Xmx$SPARK_EXECUTOR_MEMORY" \
    -cp "${SPARK_CLASSPATH:+$SPARK_CLASSPATH:}$SPARK_HOME/jars/*" "$@"
