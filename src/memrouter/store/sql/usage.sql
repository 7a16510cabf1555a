-- Usage: written often, so in a file of its own.

-- name: schema_1
CREATE TABLE usage (
    key TEXT NOT NULL,
    day TEXT NOT NULL,
    model TEXT NOT NULL,
    measured INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    memory_tokens INTEGER NOT NULL,
    PRIMARY KEY (key, day, model, measured)
) STRICT, WITHOUT ROWID;

-- name: begin
BEGIN IMMEDIATE
-- name: commit
COMMIT
-- name: rollback
ROLLBACK
-- name: add_usage
INSERT INTO usage VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET requests = requests + excluded.requests,
    input_tokens = input_tokens + excluded.input_tokens,
    output_tokens = output_tokens + excluded.output_tokens,
    memory_tokens = memory_tokens + excluded.memory_tokens
-- name: usage
SELECT key, day, model, measured, requests, input_tokens, output_tokens, memory_tokens
FROM usage WHERE key = ? AND day >= ? AND day <= ? ORDER BY day, model, measured
