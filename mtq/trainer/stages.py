"""When a callback of mtq is called, among all callbacks of a `fit`: the values of its attribute `stage`."""

CHECKS_RUN, ADDS_LOGS, USES_LOGS, CHECKS_LOGS, RECORDS_LOGS, CALLED_LAST = range(6)
