-- The keys of encrypted files, each wrapped by SECRET_KEY. A file of its own, so that a copy of the
-- vaults alone, or of the directory alone, opens nothing.

-- name: schema_1
CREATE TABLE wrapped (
    file TEXT PRIMARY KEY,                -- '': the seal by which a wrong SECRET_KEY is noticed
    key BLOB NOT NULL                     -- empty: destroyed, what is left of the file is rubbish
) STRICT, WITHOUT ROWID;

-- name: begin
BEGIN IMMEDIATE
-- name: commit
COMMIT
-- name: rollback
ROLLBACK
-- name: find
SELECT key FROM wrapped WHERE file = ?
-- name: add
INSERT INTO wrapped (file, key) VALUES (?, ?) ON CONFLICT DO NOTHING
-- name: all
SELECT file, key FROM wrapped
-- name: change
UPDATE wrapped SET key = ? WHERE file = ?
-- name: destroy
UPDATE wrapped SET key = x'' WHERE file = ?
-- name: drop
DELETE FROM wrapped WHERE file = ?
