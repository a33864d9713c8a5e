-- Whose it is, for two people may be called the same. What was written before, or by a replica of the release before this one, is
-- nobody's: it is not taken back, and who sends a note a second time is compared by name.
ALTER TABLE diagnoses ADD COLUMN added_by_id BIGINT;
ALTER TABLE notes ADD COLUMN written_by_id BIGINT;
-- Which window has kept a draft, and when it was kept last: what another window has kept is not written over.
ALTER TABLE drafts ADD COLUMN page TEXT;
ALTER TABLE drafts ADD COLUMN mark TEXT;
