-- What each sink of alerts was last told: a projection of the history, beside it. Losing it would tell things twice.

CREATE TABLE alert_sink (
    name   TEXT NOT NULL PRIMARY KEY,
    memory TEXT NOT NULL
) STRICT;

PRAGMA user_version = 2;
