-- Accounts, keys, users, provider keys and settings: one file for all.

-- name: schema_1
CREATE TABLE account (id TEXT PRIMARY KEY, serial INTEGER UNIQUE NOT NULL) STRICT;
CREATE TABLE key (
    id TEXT PRIMARY KEY,
    hashed BLOB UNIQUE NOT NULL,          -- SHA-256; the key itself is never kept
    account TEXT NOT NULL REFERENCES account (id),
    vault TEXT NOT NULL,
    name TEXT NOT NULL,
    masked TEXT NOT NULL,
    is_account INTEGER NOT NULL,
    configured INTEGER NOT NULL DEFAULT 0,
    created_ms INTEGER NOT NULL,
    revoked_ms INTEGER,
    quota_tokens INTEGER,
    rate_per_minute INTEGER
) STRICT;
CREATE INDEX key_account ON key (account, created_ms);
CREATE TABLE person (
    account TEXT NOT NULL REFERENCES account (id),
    name BLOB NOT NULL,                   -- UTF-8; lone surrogates as they are: no two users meet
    vault TEXT NOT NULL,
    PRIMARY KEY (account, name)
) STRICT;
CREATE TABLE provider_key (
    account TEXT NOT NULL REFERENCES account (id),
    provider TEXT NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (account, provider)
) STRICT;
CREATE TABLE setting (
    account TEXT NOT NULL REFERENCES account (id),
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (account, name)
) STRICT;

-- name: begin
BEGIN IMMEDIATE
-- name: commit
COMMIT
-- name: rollback
ROLLBACK
-- name: data_version
PRAGMA data_version

-- name: key_by_hash
SELECT id, account, vault, name, is_account, created_ms, masked, revoked_ms, quota_tokens,
       rate_per_minute
FROM key WHERE hashed = ?
-- name: key_by_id
SELECT id, account, vault, name, is_account, created_ms, masked, revoked_ms, quota_tokens,
       rate_per_minute
FROM key WHERE account = ? AND id = ? AND revoked_ms IS NULL
-- name: keys
SELECT id, account, vault, name, is_account, created_ms, masked, revoked_ms, quota_tokens,
       rate_per_minute
FROM key WHERE account = ? AND revoked_ms IS NULL ORDER BY created_ms, rowid
-- name: first_account
SELECT id FROM account ORDER BY serial LIMIT 1
-- name: add_account
INSERT INTO account (id, serial) VALUES (?, (SELECT coalesce(max(serial), 0) + 1 FROM account))
-- name: add_key
INSERT INTO key (id, hashed, account, vault, name, masked, is_account, configured, created_ms,
                 quota_tokens, rate_per_minute)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
-- name: configured_key
SELECT id, hashed, vault FROM key WHERE account = ? AND configured = 1 AND revoked_ms IS NULL
-- name: configure_key
UPDATE key SET configured = 1, is_account = 1, revoked_ms = NULL WHERE hashed = ?
-- name: change_name
UPDATE key SET name = ? WHERE account = ? AND id = ? AND revoked_ms IS NULL
-- name: change_quota
UPDATE key SET quota_tokens = nullif(?, 0) WHERE account = ? AND id = ? AND revoked_ms IS NULL
-- name: change_rate
UPDATE key SET rate_per_minute = nullif(?, 0) WHERE account = ? AND id = ? AND revoked_ms IS NULL
-- name: rotate_key
UPDATE key SET hashed = ?, masked = ?, configured = 0
WHERE account = ? AND id = ? AND revoked_ms IS NULL
-- name: revoke_key
UPDATE key SET revoked_ms = ?, configured = 0 WHERE account = ? AND id = ? AND revoked_ms IS NULL

-- name: person
SELECT vault FROM person WHERE account = ? AND name = ?
-- name: add_person
INSERT INTO person (account, name, vault) VALUES (?, ?, ?) ON CONFLICT DO NOTHING
-- name: vaults_of
SELECT vault FROM key WHERE account = ?1 UNION SELECT vault FROM person WHERE account = ?1

-- name: set_provider_key
INSERT INTO provider_key (account, provider, sealed) VALUES (?, ?, ?)
ON CONFLICT DO UPDATE SET sealed = excluded.sealed
-- name: provider_keys
SELECT provider, sealed FROM provider_key WHERE account = ?
-- name: all_provider_keys
SELECT account, provider, sealed FROM provider_key
-- name: delete_provider_key
DELETE FROM provider_key WHERE account = ? AND provider = ?
-- name: get_setting
SELECT value FROM setting WHERE account = ? AND name = ?
-- name: set_setting
INSERT INTO setting (account, name, value) VALUES (?, ?, ?)
ON CONFLICT DO UPDATE SET value = excluded.value
