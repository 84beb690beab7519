"""Name the run tags and metadata keys that programs read. Everything else in a run's metadata is for people."""

# The pages of Dagster hide tags under `.dagster/`: these are for programs only.
HIDDEN = ".dagster/americano_"
# Tags of an earlier release are under `americano/`; see `earlier_tags.py`.
EARLIER = "americano/"

# The process that executes a run.
RUN_TAG = f"{HIDDEN}run"
HOST_TAG, PID_TAG, STARTED_TAG = f"{HIDDEN}host", f"{HIDDEN}pid", f"{HIDDEN}process_started"
# The file that this process holds locked, the Dagster home that the file is in, the start of the machine and the
# namespace that its process id counts in.
OWNER_TAG, HOME_TAG = f"{HIDDEN}owner", f"{HIDDEN}home"
BOOT_TAG, NAMESPACE_TAG = f"{HIDDEN}boot", f"{HIDDEN}pid_namespace"

# What launched a run: a command of ours, or a row of the app by its id. People filter runs by these.
COMMAND_TAG, REQUEST_TAG = "americano/command", "americano/request"
# The name of the protocol that a run analyses.
PROTOCOL_NAME_TAG = "americano/protocol"

# Where the MLflow run of a Dagster run is, and the status that it has as far as Dagster's records show.
PLACE_TAG, EXPERIMENT_TAG = f"{HIDDEN}mlflow_place", f"{HIDDEN}mlflow_experiment"
STATUS_TAG = f"{HIDDEN}mlflow_status"
OPEN = "RUNNING"
# The app's rows of a run: ROW_TAG and the row's id for each, open until the row is known to show the true end.
# ROWS_TAG is open while any of them may be, because runs are found by whole tags only.
ROW_TAG, ROWS_TAG = f"{HIDDEN}row.", f"{HIDDEN}rows"
# A row that the run never had is `missed`.
ROW_OPEN, ROW_RECONCILED, ROW_MISSED = "open", "settled", "missed"

# The code location in workspace.yaml, and the name that Dagster gives the definitions in it.
CODE_LOCATION, REPOSITORY = "americano_pipelines", "__repository__"
# Dagster's own tags.
PARTITION_TAG, RUN_KEY_TAG, DATA_VERSION_TAG = "dagster/partition", "dagster/run_key", "dagster/data_version"
# Why Dagster says a run failed; this value says that an error ended it outside its steps.
FAILURE_REASON_TAG, OUTSIDE_STEPS = "dagster/failure_reason", "RUN_EXCEPTION"
LAUNCHER_TAGS = ("dagster/schedule_name", "dagster/sensor_name", "dagster/backfill")

# Metadata of a failure: the class of its error.
ERROR_KIND = "americano/error_kind"
# Metadata of an analysis: the hash of its record; an earlier release wrote it under the second name.
RECORD_SHA256, EARLIER_RECORD_SHA256 = "americano/record", "americano/provenance_sha256"
# Metadata of a sync: seconds per stage, whether a new file was published, whether a table is as before, why one is
# skipped, files of the lake that were damaged or gone and were exported again.
SECONDS, NEW_SNAPSHOT, UNCHANGED = "americano/seconds", "americano/new_snapshot", "americano/unchanged"
SKIPPED, REPAIRED = "americano/skipped", "americano/repaired"
# Keys that the pages of Dagster's catalog read.
ROW_COUNT, COLUMN_SCHEMA, COLUMN_LINEAGE = "dagster/row_count", "dagster/column_schema", "dagster/column_lineage"
TABLE_NAME, STORAGE_KIND, URI = "dagster/table_name", "dagster/storage_kind", "dagster/uri"
