-- The history, what is derived from it for quick answers, and the sealed secrets.
-- Run in one transaction; the header fields below are part of it.

CREATE TABLE rotation (
    id         TEXT    NOT NULL PRIMARY KEY,
    vendor     TEXT    NOT NULL,
    account    TEXT,
    iam_user   TEXT    NOT NULL,
    started_at INTEGER NOT NULL,
    ended      INTEGER NOT NULL DEFAULT 0 CHECK (ended IN (0, 1))
) STRICT;

-- A user has one rotation at a time, whoever writes.
CREATE UNIQUE INDEX rotation_under_way ON rotation (ifnull(account, ''), iam_user) WHERE ended = 0;
CREATE INDEX rotation_by_vendor ON rotation (vendor, started_at);

CREATE TABLE event (
    position INTEGER NOT NULL PRIMARY KEY,
    rotation TEXT    NOT NULL REFERENCES rotation (id),
    number   INTEGER NOT NULL CHECK (number >= 1),
    at       INTEGER NOT NULL,
    writer   TEXT    NOT NULL,
    ends     INTEGER NOT NULL CHECK (ends IN (0, 1)),
    body     TEXT    NOT NULL,
    hash     BLOB    NOT NULL CHECK (length(hash) = 32),
    UNIQUE (rotation, number)
) STRICT;

-- These stop mistakes, not malice: whoever can write the file can drop them. The chain is for that.
CREATE TRIGGER event_is_never_changed BEFORE UPDATE ON event
BEGIN
    SELECT raise(ABORT, 'the history is append-only');
END;
CREATE TRIGGER event_is_never_deleted BEFORE DELETE ON event
BEGIN
    SELECT raise(ABORT, 'the history is append-only');
END;

-- At most one secret a rotation, bound to the event that says which key it belongs to.
CREATE TABLE sealed_secret (
    rotation TEXT    NOT NULL PRIMARY KEY REFERENCES rotation (id),
    number   INTEGER NOT NULL,
    box      BLOB    NOT NULL,
    FOREIGN KEY (rotation, number) REFERENCES event (rotation, number)
) STRICT;

-- One row: which seal key belongs to this journal, where the history ends, and the last pass.
CREATE TABLE journal (
    one        INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    seal_salt  BLOB    NOT NULL,
    seal_check BLOB    NOT NULL,
    events     INTEGER NOT NULL,
    head       BLOB    NOT NULL CHECK (length(head) = 32),
    last_tick  INTEGER
) STRICT;

-- "krnd"
PRAGMA application_id = 1802661476;
PRAGMA user_version = 1;
