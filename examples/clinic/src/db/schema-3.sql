-- What the file of a document was stored as before the row was there: who finds the row and not yet the file makes it the file.
-- The table of log-ins is not used any more. It stays until no replica of the release before this one runs.
ALTER TABLE documents ADD COLUMN stage TEXT;
