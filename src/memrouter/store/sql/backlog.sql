-- Vaults that may have chunks without a vector, and the process that wrote them. A mark is made
-- before the chunks are, and taken away after the last has its vector: a crash leaves a mark too
-- many, never one too few.

-- name: schema_1
CREATE TABLE backlog (
    vault TEXT NOT NULL,
    owner TEXT NOT NULL,
    PRIMARY KEY (owner, vault)
) STRICT, WITHOUT ROWID;

-- name: begin
BEGIN IMMEDIATE
-- name: commit
COMMIT
-- name: rollback
ROLLBACK
-- name: mark
INSERT INTO backlog (vault, owner) VALUES (?, ?) ON CONFLICT DO NOTHING
-- name: unmark
DELETE FROM backlog WHERE vault = ? AND owner = ?
-- name: owners
SELECT DISTINCT owner FROM backlog
-- name: marked
SELECT vault FROM backlog WHERE owner = ? ORDER BY vault
-- name: take_over
INSERT INTO backlog (vault, owner) SELECT vault, ? FROM backlog WHERE owner = ?
ON CONFLICT DO NOTHING
-- name: drop_owner
DELETE FROM backlog WHERE owner = ?
