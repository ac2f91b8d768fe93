"""The SQL of the store's everyday work; the schema is in `database`."""

NARROWED = """
    p.hash = :request AND (:oracle IS NULL OR q.oracle = :oracle) AND (:model IS NULL OR q.model = :model)
    AND r.article > :after AND r.article <= :upto
"""
LABELLED = f"""
    SELECT a.body, l.scores, l.evidence, q.oracle, q.model, l.model_version, l.sample, l.sent_hash
    FROM requests p
    JOIN readings r ON r.request = p.id
    JOIN articles a ON a.seq = r.article AND a.text_hash = r.text_hash
    JOIN questions q ON q.request = p.id
    JOIN labels l ON l.question = q.id AND l.sent_hash = r.sent_hash
    WHERE {NARROWED} ORDER BY r.article, q.oracle, q.model, l.sample
"""  # noqa: S608 - both parts stand above
FAILED = f"""
    SELECT a.id, f.reason, q.oracle, q.model
    FROM requests p
    JOIN readings r ON r.request = p.id
    JOIN articles a ON a.seq = r.article AND a.text_hash = r.text_hash
    JOIN questions q ON q.request = p.id
    JOIN failures f ON f.question = q.id AND f.sent_hash = r.sent_hash
    WHERE {NARROWED} ORDER BY r.article, q.oracle, q.model
"""  # noqa: S608 - both parts stand above
SPENT = """
    SELECT COALESCE(sum(spent), 0), COALESCE(sum(held), 0), COALESCE(sum(unknown), 0) FROM questions
    WHERE :question IS NULL OR id = :question
"""
OPEN_ATTEMPT = """
    INSERT OR IGNORE INTO attempts (question, sent_hash, sample, owner, opened, reserved) VALUES (?, ?, ?, ?, ?, ?)
"""
CLOSE_ATTEMPT = """
    UPDATE attempts SET outcome = ?, closed = ?, cost = ?, input_tokens = ?, cached_tokens = ?, output_tokens = ?,
        thinking_tokens = ?, latency_s = ?, model_version = ?, error = ?
    WHERE id = ?
"""
ADD_LABEL = """
    INSERT OR IGNORE INTO labels (question, sent_hash, sample, owner, at, model_version, scores, evidence)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
ADD_FAILURE = """
    INSERT OR REPLACE INTO failures (question, sent_hash, sample, owner, at, reason) VALUES (?, ?, ?, ?, ?, ?)
"""
FIND_LABEL = "SELECT owner FROM labels WHERE question = ? AND sent_hash = ? AND sample = ?"
FIND_FAILURE = "SELECT owner, reason, at FROM failures WHERE question = ? AND sent_hash = ? AND sample = ?"
DROP_FAILURE = "DELETE FROM failures WHERE question = ? AND sent_hash = ? AND sample = ?"
FIND_ATTEMPT = "SELECT question, sent_hash, sample, owner FROM attempts WHERE id = ?"
FIND_QUESTION = """
    SELECT q.id FROM questions q JOIN requests p ON p.id = q.request
    WHERE p.hash = ? AND q.oracle = ? AND q.model = ?
"""
PUT_ARTICLE = """
    INSERT INTO articles (id, text_hash, body) VALUES (?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET text_hash = excluded.text_hash, body = excluded.body WHERE body <> excluded.body
"""
PUT_READING = """
    INSERT INTO readings (request, article, text_hash, sent_hash) SELECT ?, seq, ?, ? FROM articles WHERE id = ?
    ON CONFLICT (request, article) DO UPDATE SET text_hash = excluded.text_hash, sent_hash = excluded.sent_hash
    WHERE text_hash <> excluded.text_hash OR sent_hash <> excluded.sent_hash
"""
COUNTS = """
    SELECT p.hash, q.oracle, q.model, p.filter_name,
        (SELECT count(*) FROM labels WHERE question = q.id),
        (SELECT count(*) FROM failures WHERE question = q.id),
        (SELECT max(at) FROM labels WHERE question = q.id)
    FROM questions q JOIN requests p ON p.id = q.request
"""
