-- A code over the end of the history under a key that is derived from the seal key (HMAC-SHA256): whoever writes the file
-- and does not hold the seal key cannot write a history that is driven. Events after `events` were appended by operators
-- who could not read the seal key.

CREATE TABLE head_seal (
    one    INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    events INTEGER NOT NULL,
    code   BLOB    NOT NULL CHECK (length(code) = 32)
) STRICT;

PRAGMA user_version = 3;
