-- The journal in PostgreSQL: the same tables as in SQLite, in a schema of their own. Run in one transaction.

CREATE TABLE keyround.rotation (
    id         text COLLATE "C" NOT NULL PRIMARY KEY,
    vendor     text COLLATE "C" NOT NULL,
    account    text COLLATE "C",
    iam_user   text COLLATE "C" NOT NULL,
    started_at bigint           NOT NULL,
    ended      boolean          NOT NULL DEFAULT false
);

-- A user has one rotation at a time, whoever writes.
CREATE UNIQUE INDEX rotation_under_way ON keyround.rotation (coalesce(account, ''), iam_user) WHERE NOT ended;
CREATE INDEX rotation_by_vendor ON keyround.rotation (vendor, started_at);

CREATE TABLE keyround.event (
    position bigint           NOT NULL PRIMARY KEY,
    rotation text COLLATE "C" NOT NULL REFERENCES keyround.rotation (id),
    number   bigint           NOT NULL CHECK (number >= 1),
    at       bigint           NOT NULL,
    writer   text             NOT NULL,
    ends     boolean          NOT NULL,
    body     text             NOT NULL,
    hash     bytea            NOT NULL CHECK (length(hash) = 32),
    UNIQUE (rotation, number)
);

-- These stop mistakes, not an attacker: a role that owns the tables can drop them. The hash chain finds a changed history.
CREATE FUNCTION keyround.refuse_change() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN RAISE EXCEPTION ''the history is append-only''; END';
CREATE TRIGGER event_is_never_changed BEFORE UPDATE OR DELETE ON keyround.event
    FOR EACH ROW EXECUTE FUNCTION keyround.refuse_change();
CREATE TRIGGER event_is_never_truncated BEFORE TRUNCATE ON keyround.event
    FOR EACH STATEMENT EXECUTE FUNCTION keyround.refuse_change();

-- At most one secret a rotation, bound to the event that says which key it belongs to.
CREATE TABLE keyround.sealed_secret (
    rotation text COLLATE "C" NOT NULL PRIMARY KEY REFERENCES keyround.rotation (id),
    number   bigint           NOT NULL,
    box      bytea            NOT NULL,
    FOREIGN KEY (rotation, number) REFERENCES keyround.event (rotation, number)
);

-- One row: the version of these tables, the salt and the check value of the seal key, the end of the history, the seal over
-- its end, the last pass, and the process that drives rotations. Each append locks this row first. `epoch` grows by one
-- whenever a process begins to drive, so that an append of its predecessor is recognised.
CREATE TABLE keyround.journal (
    one            integer NOT NULL PRIMARY KEY CHECK (one = 1),
    schema_version integer NOT NULL,
    seal_salt      bytea   NOT NULL,
    seal_check     bytea   NOT NULL,
    events         bigint  NOT NULL,
    head           bytea   NOT NULL CHECK (length(head) = 32),
    sealed_events  bigint  NOT NULL,
    head_code      bytea   NOT NULL CHECK (length(head_code) = 32),
    last_tick      bigint,
    epoch          bigint  NOT NULL DEFAULT 0,
    holder         text
);

-- What each sink of alerts was sent last.
CREATE TABLE keyround.alert_sink (
    name   text COLLATE "C" NOT NULL PRIMARY KEY,
    memory text             NOT NULL
);
