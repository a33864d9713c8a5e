-- Both SQLite and PostgreSQL understand this. Times are milliseconds since the Unix epoch.
CREATE TABLE staff (
    id       BIGINT PRIMARY KEY,
    login    TEXT NOT NULL UNIQUE,
    name     TEXT NOT NULL,
    role     TEXT NOT NULL,
    password TEXT NOT NULL
);
CREATE TABLE patients (
    id   BIGINT PRIMARY KEY,
    name TEXT NOT NULL,
    -- The name in lowercase with a space before each word, so that LIKE '% word%' finds the beginnings of words.
    find TEXT NOT NULL,
    born TEXT NOT NULL,
    sex  TEXT NOT NULL
);
CREATE TABLE diagnoses (
    id          TEXT PRIMARY KEY,
    patient     BIGINT NOT NULL REFERENCES patients (id),
    code        TEXT NOT NULL,
    title       TEXT NOT NULL,
    chapter     TEXT NOT NULL,
    added_at    BIGINT NOT NULL,
    added_by    TEXT NOT NULL,
    resolved_at BIGINT,
    resolved_by TEXT
);
-- A patient has a code once among the active diagnoses, whatever several replicas do at the same time.
CREATE UNIQUE INDEX diagnoses_active ON diagnoses (patient, code) WHERE resolved_at IS NULL;
CREATE INDEX diagnoses_patient ON diagnoses (patient, added_at);
CREATE TABLE notes (
    id         TEXT PRIMARY KEY,
    patient    BIGINT NOT NULL REFERENCES patients (id),
    text       TEXT NOT NULL,
    written_at BIGINT NOT NULL,
    written_by TEXT NOT NULL
);
CREATE INDEX notes_patient ON notes (patient, written_at);
CREATE TABLE documents (
    -- Also the key of the file in the file store.
    id           TEXT PRIMARY KEY,
    patient      BIGINT NOT NULL REFERENCES patients (id),
    name         TEXT NOT NULL,
    content_type TEXT NOT NULL,
    size         BIGINT NOT NULL,
    added_at     BIGINT NOT NULL,
    added_by     TEXT NOT NULL
);
CREATE INDEX documents_patient ON documents (patient, added_at);
-- Which sessions each member of staff began. The sessions themselves are in the session store.
CREATE TABLE logins (
    session_key TEXT PRIMARY KEY,
    staff       BIGINT NOT NULL REFERENCES staff (id),
    device      TEXT NOT NULL,
    started_at  BIGINT NOT NULL
);
CREATE INDEX logins_staff ON logins (staff, started_at);
