"""The values of the attribute `mtq_stage` of a callback, which order the callbacks of a `fit`."""

CHECKS_RUN, ADDS_LOGS, USES_LOGS, CHECKS_LOGS, RECORDS_LOGS, CALLED_LAST = range(6)
