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
CREATE INDEX logins_started_at ON logins (started_at);
