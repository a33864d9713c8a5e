-- Who is dismissed is staff no longer; what they wrote stays theirs.
ALTER TABLE staff ADD COLUMN dismissed_at BIGINT;
-- Half-written notes: one of each member of staff for each patient, whichever session it was typed in.
CREATE TABLE drafts (
    staff   BIGINT NOT NULL REFERENCES staff (id),
    patient BIGINT NOT NULL REFERENCES patients (id),
    -- That of the note to be.
    id      TEXT NOT NULL,
    text    TEXT NOT NULL,
    kept_at BIGINT NOT NULL,
    PRIMARY KEY (staff, patient)
);
CREATE INDEX drafts_kept_at ON drafts (kept_at);
-- Log-ins that were tried and did not succeed, by account and by address, until a time: all replicas count them together.
CREATE TABLE attempts (
    -- A hash: people type passwords into the wrong field.
    subject TEXT PRIMARY KEY,
    count   BIGINT NOT NULL,
    until   BIGINT NOT NULL
);
CREATE INDEX attempts_until ON attempts (until);
CREATE INDEX logins_started_at ON logins (started_at);
