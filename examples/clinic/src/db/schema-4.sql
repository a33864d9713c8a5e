-- Who removed a document, and when; then since when its row has ended: nobody restores it any more, and what is left of it is its
-- file. A replica of the release before this one shows a removed document as if it were there. It meets none whose row has ended:
-- that takes a month.
ALTER TABLE documents ADD COLUMN removed_at BIGINT;
ALTER TABLE documents ADD COLUMN removed_by TEXT;
ALTER TABLE documents ADD COLUMN ended_at BIGINT;
CREATE INDEX documents_removed_at ON documents (removed_at) WHERE removed_at IS NOT NULL;
