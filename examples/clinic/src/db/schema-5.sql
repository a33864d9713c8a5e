-- Whose it is, for two people may be called the same. What was written before, or by a replica of the release before this one, is
-- nobody's: it is not taken back, and a note that is sent a second time is refused.
ALTER TABLE diagnoses ADD COLUMN added_by_id BIGINT;
ALTER TABLE notes ADD COLUMN written_by_id BIGINT;
