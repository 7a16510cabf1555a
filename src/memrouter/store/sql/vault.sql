-- One vault a file: the file is the scope of every statement here, so none names the vault. Its id
-- stands in `meta` and is checked when the file is opened.

-- name: schema_1
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    vault TEXT NOT NULL,
    revision INTEGER NOT NULL DEFAULT 0,  -- grows with every change to what can be recalled
    epoch INTEGER NOT NULL DEFAULT 0,     -- grows when rows went, or vectors were forgotten
    embedder TEXT NOT NULL DEFAULT '',    -- whose vectors these are; '' before the first
    dimension INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE memory (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    role INTEGER NOT NULL,
    text TEXT,                            -- NULL: seen, but not to be kept
    created_ms INTEGER NOT NULL,
    session TEXT NOT NULL,
    conversation TEXT NOT NULL,
    position INTEGER NOT NULL,
    model TEXT NOT NULL,
    tokens INTEGER NOT NULL,
    digest BLOB NOT NULL,
    chain BLOB,                           -- NULL for uploads
    parent BLOB
) STRICT;
CREATE UNIQUE INDEX memory_chain ON memory (chain) WHERE chain IS NOT NULL;
CREATE INDEX memory_digest ON memory (digest);
CREATE INDEX memory_session ON memory (session, id);
CREATE INDEX memory_conversation ON memory (session, conversation, position);
CREATE TABLE thread (
    id INTEGER PRIMARY KEY,
    session TEXT NOT NULL,
    conversation TEXT NOT NULL,
    UNIQUE (session, conversation)
) STRICT;
CREATE TABLE chunk (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    memory INTEGER NOT NULL REFERENCES memory (id) ON DELETE CASCADE,
    text TEXT NOT NULL,
    tokens INTEGER NOT NULL
) STRICT;
CREATE INDEX chunk_memory ON chunk (memory);
CREATE TABLE pending (
    chunk INTEGER PRIMARY KEY REFERENCES chunk (id) ON DELETE CASCADE
) STRICT;
CREATE TABLE segment (                    -- what recall scores; see sqlite/segments.py
    id INTEGER PRIMARY KEY,
    session TEXT NOT NULL,
    first INTEGER NOT NULL,               -- the oldest chunk in it
    size INTEGER NOT NULL,
    changed INTEGER NOT NULL,             -- revision that last changed one of its rows
    embedded BLOB NOT NULL,
    heads BLOB NOT NULL,
    terms BLOB NOT NULL,
    vectors BLOB NOT NULL
) STRICT;
CREATE INDEX segment_place ON segment (session, first, size);
CREATE INDEX segment_changed ON segment (session, changed);
CREATE TABLE block (
    key BLOB PRIMARY KEY,
    text TEXT NOT NULL,
    chunks BLOB NOT NULL,                 -- int64, little-endian
    tokens INTEGER NOT NULL,
    made_ms INTEGER NOT NULL,
    used_ms INTEGER NOT NULL,
    revision INTEGER NOT NULL
) STRICT;
CREATE INDEX block_used ON block (used_ms);
INSERT INTO thread (id, session, conversation) VALUES (0, '', '');

-- name: schema_2
-- The rules that the terms in `segment` were made by; schema 1 was only ever written by rules 2.
ALTER TABLE meta ADD COLUMN analysis INTEGER NOT NULL DEFAULT 2;

-- name: schema_3
ALTER TABLE meta ADD COLUMN encoder TEXT NOT NULL DEFAULT '';       -- whose encodings these are
ALTER TABLE meta ADD COLUMN encoder_dimension INTEGER NOT NULL DEFAULT 0;
ALTER TABLE meta ADD COLUMN next_encoder TEXT NOT NULL DEFAULT '';  -- who is to replace it
ALTER TABLE segment ADD COLUMN encoded BLOB NOT NULL DEFAULT x'';   -- a byte a chunk, or nothing
ALTER TABLE segment ADD COLUMN encodings BLOB NOT NULL DEFAULT x'';
CREATE TABLE unencoded (                  -- wait for next_encoder, or else for encoder
    chunk INTEGER PRIMARY KEY REFERENCES chunk (id) ON DELETE CASCADE
) STRICT;
CREATE TABLE encoding (                   -- by next_encoder, until all have theirs
    chunk INTEGER PRIMARY KEY REFERENCES chunk (id) ON DELETE CASCADE,
    vector BLOB NOT NULL
) STRICT;

-- name: begin
BEGIN IMMEDIATE
-- name: commit
COMMIT
-- name: rollback
ROLLBACK

-- name: new_meta
-- Any epoch: what a cache holds of a vault that was removed must not pass for this one's.
INSERT INTO meta (one, vault, analysis, epoch) VALUES (1, ?, ?, abs(random() % 1000000000000))
-- name: analysis
SELECT analysis FROM meta
-- name: set_analysis
UPDATE meta SET analysis = ?
-- name: vault_id
SELECT vault FROM meta
-- name: state
SELECT revision, epoch, embedder, dimension, encoder, encoder_dimension, next_encoder FROM meta
-- name: next_revision
UPDATE meta SET revision = revision + 1 RETURNING revision
-- name: next_epoch
UPDATE meta SET revision = revision + 1, epoch = epoch + 1
-- name: set_embedder
UPDATE meta SET embedder = ?, dimension = ?
-- name: embedder
SELECT embedder, dimension FROM meta

-- name: texts_of_chunks
SELECT c.id, c.text, m.created_ms FROM chunk c JOIN memory m ON m.id = c.memory
-- name: texts_of_these
SELECT c.id, c.text, m.created_ms
FROM json_each(?) j JOIN chunk c ON c.id = j.value JOIN memory m ON m.id = c.memory
-- name: all_segments
SELECT id, embedded, heads, terms, vectors FROM segment
-- name: change_terms
UPDATE segment SET heads = ?, terms = ? WHERE id = ?
-- name: encoders
SELECT encoder, next_encoder, embedder FROM meta
-- name: set_encoder
UPDATE meta SET encoder = ?, encoder_dimension = ?, next_encoder = ?

-- name: segments
SELECT embedded, heads, terms, vectors, encoded, encodings FROM segment
WHERE session IN (?, ?) ORDER BY session, first
-- name: segments_since
SELECT embedded, heads, terms, vectors, encoded, encodings FROM segment
WHERE session IN (?, ?) AND changed > ?
-- name: catch_up
-- The state, and beside it each segment that changed since a revision, if that was not long ago.
SELECT revision, epoch, embedder, dimension, encoder, encoder_dimension,
       s.embedded, s.heads, s.terms, s.vectors, s.encoded, s.encodings
FROM meta LEFT JOIN segment s
    ON s.session IN (?1, ?2) AND s.changed > ?3 AND revision BETWEEN ?3 AND ?3 + ?4
-- name: count_rows
SELECT total(size) FROM segment WHERE session IN (?, ?)
-- name: chunks
SELECT c.id, c.memory, m.role, c.text, c.tokens, m.created_ms, m.session, m.conversation,
       m.position, m.digest
FROM carray(?) j JOIN chunk c ON c.id = j.value JOIN memory m ON m.id = c.memory

-- name: known
SELECT m.chain, m.conversation, m.position, m.created_ms
FROM carray(?) j JOIN memory m ON m.chain = j.value
-- name: ends_of
SELECT chain FROM memory
WHERE digest = ? AND session = ? AND chain IS NOT NULL ORDER BY id DESC LIMIT ?
-- name: ends_of_in_conversation
SELECT chain FROM memory
WHERE digest = ? AND session = ? AND conversation = ? AND chain IS NOT NULL
ORDER BY id DESC LIMIT ?
-- name: recent
SELECT id, role, text, created_ms, session, conversation, position, model, tokens FROM memory
WHERE session = ? AND conversation = ? AND text IS NOT NULL ORDER BY position DESC, id DESC LIMIT ?
-- name: conversation_tokens
SELECT coalesce(sum(tokens), 0) FROM memory
WHERE session = ? AND conversation = ? AND text IS NOT NULL

-- name: add_memory
INSERT INTO memory (role, text, created_ms, session, conversation, position, model, tokens,
                    digest, chain, parent)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (chain) WHERE chain IS NOT NULL DO NOTHING
-- name: drop_unkept
DELETE FROM memory WHERE chain = ? AND text IS NULL
-- name: add_chunk
INSERT INTO chunk (memory, text, tokens) VALUES (?, ?, ?)
-- name: thread
SELECT id FROM thread WHERE session = ? AND conversation = ?
-- name: add_thread
INSERT INTO thread (session, conversation) VALUES (?, ?) RETURNING id
-- name: add_pending
INSERT INTO pending (chunk) VALUES (?)
-- name: add_segment
INSERT INTO segment (session, first, size, changed, embedded, heads, terms, vectors, encoded,
                     encodings)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
-- name: small_segments
SELECT id, changed, embedded, heads, terms, vectors, encoded, encodings FROM segment
WHERE session = ? AND size < ? ORDER BY first
-- name: count_small_segments
SELECT count(*) FROM segment WHERE session = ? AND size < ?
-- name: segments_of
SELECT DISTINCT s.id, s.embedded, s.heads, s.terms, s.vectors, s.encoded, s.encodings
FROM json_each(?) j JOIN chunk c ON c.id = j.value JOIN memory m ON m.id = c.memory
JOIN segment s ON s.session = m.session AND s.first = (
    SELECT max(first) FROM segment WHERE session = m.session AND first <= c.id
)
-- name: change_segment
UPDATE segment SET size = ?, changed = ?, embedded = ?, heads = ?, terms = ?, vectors = ?,
    encoded = ?, encodings = ?
WHERE id = ?
-- name: change_vectors
UPDATE segment SET changed = ?, embedded = ?, vectors = ? WHERE id = ?
-- name: change_encodings
UPDATE segment SET changed = ?, encoded = ?, encodings = ? WHERE id = ?
-- name: segment_ids
SELECT id FROM segment ORDER BY id
-- name: segment
SELECT embedded, heads, terms, vectors, encoded, encodings FROM segment WHERE id = ?
-- name: drop_segment
DELETE FROM segment WHERE id = ?

-- name: blocks
SELECT b.key, b.text, b.chunks, b.tokens, b.made_ms, b.revision
FROM carray(?) j JOIN block b ON b.key = j.value WHERE b.used_ms >= ?
-- name: put_block
INSERT INTO block (key, text, chunks, tokens, made_ms, used_ms, revision)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET text = excluded.text, chunks = excluded.chunks,
    tokens = excluded.tokens, made_ms = excluded.made_ms, used_ms = excluded.used_ms,
    revision = excluded.revision
-- name: use_blocks
UPDATE block SET used_ms = ? WHERE key IN (SELECT value FROM carray(?))
-- name: drop_block
DELETE FROM block WHERE key = ?
-- name: drop_old_blocks
DELETE FROM block WHERE used_ms < ?
-- name: drop_all_blocks
DELETE FROM block

-- name: pending
SELECT c.id, c.text, m.created_ms
FROM pending p JOIN chunk c ON c.id = p.chunk JOIN memory m ON m.id = c.memory
ORDER BY p.chunk LIMIT ?
-- name: has_pending
SELECT EXISTS (SELECT 1 FROM pending) OR EXISTS (SELECT 1 FROM unencoded)
-- name: has_vectors
SELECT EXISTS (SELECT 1 FROM segment WHERE length(vectors) > 0)
-- name: drop_pending
DELETE FROM pending WHERE chunk = ?
-- name: forget_vectors
UPDATE segment SET embedded = zeroblob(size), vectors = zeroblob(0)
-- name: all_pending
INSERT OR IGNORE INTO pending (chunk) SELECT id FROM chunk

-- name: unencoded
SELECT u.chunk, c.text, m.created_ms, coalesce((
    SELECT b.text FROM memory b
    WHERE b.id < m.id AND b.id >= m.id - 32 AND b.session = m.session
        AND b.conversation = m.conversation AND b.text IS NOT NULL
        AND (b.conversation <> '' OR b.session <> ''
             OR m.created_ms - b.created_ms BETWEEN 0 AND 1800000)
    ORDER BY b.id DESC LIMIT 1
), '')
FROM unencoded u JOIN chunk c ON c.id = u.chunk JOIN memory m ON m.id = c.memory
ORDER BY u.chunk LIMIT ?
-- name: count_unencoded
SELECT count(*) FROM unencoded
-- name: has_chunks
SELECT EXISTS (SELECT 1 FROM chunk)
-- name: add_unencoded
INSERT OR IGNORE INTO unencoded (chunk) VALUES (?)
-- name: all_unencoded
INSERT OR IGNORE INTO unencoded (chunk) SELECT id FROM chunk
-- name: drop_unencoded
DELETE FROM unencoded WHERE chunk = ?
-- name: drop_all_unencoded
DELETE FROM unencoded
-- name: add_encoding
INSERT OR REPLACE INTO encoding (chunk, vector) SELECT id, ? FROM chunk WHERE id = ?
-- name: encoding_bytes
SELECT length(vector) FROM encoding LIMIT 1
-- name: encodings_between
SELECT chunk, vector FROM encoding WHERE chunk BETWEEN ? AND ? ORDER BY chunk
-- name: drop_all_encodings
DELETE FROM encoding
-- name: forget_encodings
UPDATE segment SET encoded = x'', encodings = x'' WHERE length(encoded) > 0

-- name: stats
SELECT count(*), coalesce(sum(tokens), 0), min(created_ms), max(created_ms) FROM memory
WHERE text IS NOT NULL
-- name: stats_session
SELECT count(*), coalesce(sum(tokens), 0), min(created_ms), max(created_ms) FROM memory
WHERE text IS NOT NULL AND session = ?
-- name: count_sessions
SELECT count(DISTINCT session) FROM memory WHERE text IS NOT NULL AND session <> ''
-- name: count_chunks
SELECT coalesce(sum(size), 0), (SELECT count(*) FROM pending), (SELECT count(*) FROM unencoded)
FROM segment
-- name: count_chunks_session
SELECT coalesce(sum(size), 0), (
    SELECT count(*) FROM pending p JOIN chunk c ON c.id = p.chunk JOIN memory m ON m.id = c.memory
    WHERE m.session = ?1
), (
    SELECT count(*) FROM unencoded u JOIN chunk c ON c.id = u.chunk
    JOIN memory m ON m.id = c.memory WHERE m.session = ?1
) FROM segment WHERE session = ?1

-- name: memories
SELECT id, role, text, created_ms, session, conversation, position, model, tokens FROM memory
WHERE id > ? AND session = ? AND text IS NOT NULL ORDER BY id LIMIT ?
-- name: memories_whole
SELECT id, role, text, created_ms, session, conversation, position, model, tokens FROM memory
WHERE id > ? AND text IS NOT NULL ORDER BY id LIMIT ?
-- name: memory
SELECT id, role, text, created_ms, session, conversation, position, model, tokens FROM memory
WHERE id = ? AND text IS NOT NULL
-- name: chunks_of
SELECT id FROM chunk WHERE memory = ?
-- name: chunks_of_session
SELECT c.id FROM memory m JOIN chunk c ON c.memory = m.id WHERE m.session = ?
-- name: count_chunks_of
SELECT count(*) FROM carray(?) j JOIN chunk c ON c.id = j.value
-- name: all_blocks
SELECT key, chunks FROM block
-- name: forget_memory
UPDATE memory SET text = NULL, tokens = 0, model = '' WHERE id = ? AND chain IS NOT NULL
-- name: delete_memory
DELETE FROM memory WHERE id = ? AND chain IS NULL
-- name: delete_chunks_of
DELETE FROM chunk WHERE memory = ?
-- name: count_session
SELECT count(*) FROM memory WHERE session = ? AND text IS NOT NULL
-- name: count_all
SELECT count(*) FROM memory WHERE text IS NOT NULL
-- name: clear_session
DELETE FROM memory WHERE session = ?
-- name: clear_segments
DELETE FROM segment WHERE session = ?
-- name: clear_threads
DELETE FROM thread WHERE session = ? AND id <> 0
-- name: clear_all
DELETE FROM memory
-- name: clear_all_segments
DELETE FROM segment
-- name: clear_all_threads
DELETE FROM thread WHERE id <> 0

-- name: integrity
PRAGMA integrity_check
-- name: foreign_keys
PRAGMA foreign_key_check
-- name: reindex
REINDEX
-- name: places
SELECT c.id, c.memory, m.session FROM chunk c JOIN memory m ON m.id = c.memory
-- name: all_pending_ids
SELECT chunk FROM pending
-- name: segments_whole
SELECT session, size, embedded, heads, terms, vectors, encoded, encodings FROM segment
-- name: drop_all_segments
DELETE FROM segment
-- name: drop_orphans
DELETE FROM chunk WHERE memory NOT IN (SELECT id FROM memory)
-- name: drop_orphaned_pending
DELETE FROM pending WHERE chunk NOT IN (SELECT id FROM chunk)
-- name: sources
SELECT c.id, c.memory, m.role, c.text, m.created_ms, m.session, m.conversation, m.digest
FROM chunk c JOIN memory m ON m.id = c.memory ORDER BY c.id
-- name: oldest
SELECT min(created_ms) FROM memory WHERE text IS NOT NULL
-- name: expired
SELECT id FROM memory WHERE created_ms < ? AND text IS NOT NULL
