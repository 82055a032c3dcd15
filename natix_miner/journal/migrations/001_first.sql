-- The journal as it began: pictures once per digest, one short row a query with its verdict, its
-- trace beside it (so that counting a day's queries does not read a day's traces), labels as a
-- history whose newest row is copied into the query.

PRAGMA application_id = 1314404146;

CREATE TABLE pictures (
    sha256 TEXT NOT NULL PRIMARY KEY,
    picture BLOB NOT NULL
);

CREATE TABLE queries (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    sha256 TEXT NOT NULL,
    picture_bytes INTEGER NOT NULL,
    source TEXT NOT NULL,
    asked_by TEXT,
    received_at REAL NOT NULL,
    prediction REAL NOT NULL,
    reason TEXT NOT NULL,
    level TEXT,
    late INTEGER NOT NULL,
    error TEXT,
    total_ms REAL,
    profile TEXT,
    miner TEXT,
    label INTEGER CHECK (label IN (0, 1)),
    label_source TEXT
);

CREATE TABLE traces (
    number INTEGER PRIMARY KEY REFERENCES queries (number) ON DELETE CASCADE,
    trace TEXT NOT NULL
);

-- CROSS JOIN: SQLite then always goes through the queries and looks the traces up.
CREATE VIEW entries AS
SELECT queries.*, traces.trace FROM queries CROSS JOIN traces USING (number);

CREATE INDEX queries_arrival ON queries (received_at, number);
CREATE INDEX queries_sha256 ON queries (sha256);
CREATE INDEX queries_labelled ON queries (received_at) WHERE label IS NOT NULL;
CREATE INDEX queries_unlabelled ON queries (received_at) WHERE label IS NULL;

CREATE TABLE labels (
    number INTEGER PRIMARY KEY,
    query_id TEXT NOT NULL REFERENCES queries (id) ON DELETE CASCADE,
    label INTEGER CHECK (label IN (0, 1)),
    source TEXT NOT NULL,
    set_at REAL NOT NULL
);

CREATE INDEX labels_query ON labels (query_id, set_at, number);

CREATE TRIGGER labels_newest_wins AFTER INSERT ON labels
BEGIN
    UPDATE queries SET (label, label_source) = (
        SELECT label, CASE WHEN label IS NULL THEN NULL ELSE source END
        FROM labels WHERE query_id = NEW.query_id
        ORDER BY set_at DESC, number DESC LIMIT 1
    )
    WHERE id = NEW.query_id
      AND NOT (label IS NEW.label AND label_source IS NEW.source);
END;
