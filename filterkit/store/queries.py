"""The SQL of the store's everyday work; the schema is in `database`."""

NARROWED = """
    p.hash = :request AND (:oracle IS NULL OR q.oracle = :oracle) AND (:model IS NULL OR q.model = :model)
"""
LABELLED = """
    SELECT a.body, l.scores, l.evidence, q.oracle, q.model, l.model_version, l.sample, l.sent_hash
    FROM requests p
    JOIN readings r ON r.request = p.id
    JOIN articles a ON a.seq = r.article AND a.text_hash = r.text_hash
    JOIN questions q ON q.request = p.id
    JOIN labels l ON l.question = q.id AND l.sent_hash = r.sent_hash
    WHERE {which} AND r.article > :after AND r.article <= :upto
    ORDER BY r.article, q.oracle, q.model, l.sample
"""
FAILED = """
    SELECT a.id, f.reason, q.oracle, q.model
    FROM requests p
    JOIN readings r ON r.request = p.id
    JOIN articles a ON a.seq = r.article AND a.text_hash = r.text_hash
    JOIN questions q ON q.request = p.id
    JOIN failures f ON f.question = q.id AND f.sent_hash = r.sent_hash
    WHERE {which} AND r.article > :after AND r.article <= :upto
    ORDER BY r.article, q.oracle, q.model
"""
SPENT = """
    SELECT COALESCE(sum(spent), 0), COALESCE(sum(held), 0), COALESCE(sum(unknown), 0) FROM questions
    WHERE :question IS NULL OR id = :question
"""
FUNDS = """
    SELECT spent, dearest, (
        SELECT count(*) FROM attempts WHERE question = q.id AND outcome IS NULL AND reserved IS NULL
    ) FROM questions q WHERE id = ?
"""
FUNDS_OF_ALL = """
    SELECT COALESCE(sum(spent), 0), COALESCE((SELECT spent FROM days WHERE day = ?), 0) FROM questions
"""
# What open attempts without a reserve may cost: in all, and those opened between two Unix times.
BLIND_OF_ALL = """
    SELECT COALESCE(sum(q.dearest), 0), COALESCE(sum(q.dearest * (a.opened >= ? AND a.opened < ?)), 0)
    FROM attempts a JOIN questions q ON q.id = a.question WHERE a.outcome IS NULL AND a.reserved IS NULL
"""
SPENT_ON = "SELECT COALESCE((SELECT spent FROM days WHERE day = ?), 0)"
USED = """
    SELECT count(*), avg(input_tokens), avg(cached_tokens), avg(output_tokens), avg(cost) FROM (
        SELECT input_tokens, cached_tokens, output_tokens, cost FROM attempts
        WHERE question = ? AND outcome = 'labelled' AND input_tokens IS NOT NULL AND output_tokens IS NOT NULL
        ORDER BY id DESC LIMIT ?
    )
"""
OPEN_ATTEMPT = """
    INSERT OR IGNORE INTO attempts (question, sent_hash, sample, owner, opened, reserved) VALUES (?, ?, ?, ?, ?, ?)
"""
CLOSE_ATTEMPT = """
    UPDATE attempts SET outcome = ?, closed = ?, cost = ?, input_tokens = ?, cached_tokens = ?, output_tokens = ?,
        thinking_tokens = ?, latency_s = ?, model_version = ?, error = ?
    WHERE id = ?
"""
# The row stays, so that its number is never given to another attempt: whoever still holds it would end that one.
RELEASE_ATTEMPT = """
    UPDATE attempts SET outcome = 'released', closed = :now, cost = 0
    WHERE id = :attempt AND (:owner IS NULL OR owner = :owner) AND (outcome IS NULL OR outcome = 'lost')
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
ANY_JOB_OUT = "SELECT EXISTS (SELECT 1 FROM jobs WHERE question = ? AND ended IS NULL)"
IN_JOB = """
    SELECT 1 FROM attempts a JOIN jobs j ON j.owner = a.owner
    WHERE a.question = ? AND a.sent_hash = ? AND a.sample = ? AND a.outcome IS NULL AND j.ended IS NULL
"""
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
FIND_SCORES = "SELECT scores FROM labels WHERE question = ? AND sent_hash = ? AND sample = ?"
FIND_ANSWERS = "SELECT scores FROM labels WHERE question = ? AND sent_hash = ? ORDER BY sample"

# Statistics

ATTEMPTS = """
    SELECT sent_hash, sample, COALESCE(cost, reserved), input_tokens, output_tokens, latency_s
    FROM attempts WHERE question = ? AND outcome IS NOT NULL AND outcome <> 'released'
"""
TEXTS_OF = "SELECT count(DISTINCT sent_hash) FROM labels WHERE question IN ({})"
REPLIED = """
    SELECT COALESCE(model_version, X''), count(*) FROM labels WHERE question = ? GROUP BY 1 ORDER BY 2 DESC, 1
"""
SUMS = """
    SELECT count(*), count(latency_s), COALESCE(sum(input_tokens), 0), COALESCE(sum(cached_tokens), 0),
        COALESCE(sum(output_tokens), 0), COALESCE(sum(thinking_tokens), 0)
    FROM attempts WHERE question = ? AND outcome IS NOT 'released'
"""
LATENCY = """
    SELECT latency_s FROM attempts WHERE question = ? AND latency_s IS NOT NULL ORDER BY latency_s LIMIT 1 OFFSET ?
"""

# Merging and forgetting

ATTEMPT = """
    question, sent_hash, sample, owner, opened, reserved, outcome, closed, cost,
    input_tokens, cached_tokens, output_tokens, thinking_tokens, latency_s, model_version, error
"""
LABEL = "question, sent_hash, sample, owner, at, model_version, scores, evidence"
ALL_QUESTIONS = "SELECT q.id, p.hash, q.oracle, q.model FROM questions q JOIN requests p ON p.id = q.request"
ALL_READINGS = """
    SELECT r.request, a.id, r.text_hash, r.sent_hash FROM readings r JOIN articles a ON a.seq = r.article
"""
ALL_FORMER_READINGS = """
    SELECT r.request, a.id, r.sent_hash FROM former_readings r JOIN articles a ON a.seq = r.article
"""
FIND_READING = """
    SELECT a.seq, a.text_hash, r.text_hash FROM articles a LEFT JOIN readings r ON r.article = a.seq AND r.request = ?
    WHERE a.id = ?
"""
PUT_FORMER_READING = """
    INSERT OR IGNORE INTO former_readings (article, request, sent_hash) SELECT :article, :request, :sent_hash
    WHERE NOT EXISTS (
        SELECT 1 FROM readings WHERE request = :request AND article = :article AND sent_hash = :sent_hash
    )
"""
MAKE_KNOWN = """
    CREATE TEMP TABLE known (
        question, sent_hash, sample, owner, opened, id, PRIMARY KEY (owner, opened, question, sent_hash, sample)
    ) WITHOUT ROWID
"""
FILL_KNOWN = """
    INSERT OR IGNORE INTO known SELECT question, sent_hash, sample, owner, opened, id FROM attempts WHERE owner = ?
"""
FIND_KNOWN = """
    SELECT a.id, a.outcome FROM known k JOIN attempts a ON a.id = k.id
    WHERE k.question = ? AND k.sent_hash = ? AND k.sample = ? AND k.owner = ? AND k.opened = ?
"""
END_ATTEMPT = """
    UPDATE attempts SET reserved = ?, outcome = ?, closed = ?, cost = ?, input_tokens = ?, cached_tokens = ?,
        output_tokens = ?, thinking_tokens = ?, latency_s = ?, model_version = ?, error = ?
    WHERE id = ?
"""
# Not 'lost': a job that is attached again takes up what it lost, and must not bring words of a forgotten text.
LOSE_ATTEMPTS = """
    UPDATE attempts SET outcome = 'forgotten', closed = COALESCE(closed, ?)
    WHERE question = ? AND sent_hash = ? AND (outcome IS NULL OR outcome = 'lost')
"""
TEXTS = """
    SELECT request, sent_hash FROM readings WHERE request IN (SELECT id FROM requests) AND article = :article
    UNION SELECT request, sent_hash FROM former_readings WHERE article = :article
"""
DROP_READINGS = "DELETE FROM readings WHERE request IN (SELECT id FROM requests) AND article = ?"

# Jobs

FIND_OPEN = "SELECT question, sent_hash, sample FROM attempts WHERE id = ? AND owner = ? AND outcome IS NULL"
OF_JOB = "id BETWEEN :first AND :last AND owner = :owner AND outcome IS NULL"
PUT_JOB = """
    INSERT INTO jobs (token, owner, question, state, oracle, first, last, requests, created)
    VALUES (?, ?, ?, 'prepared', ?, ?, ?, ?, ?)
"""
JOBS = """
    SELECT j.token, p.hash, q.oracle, q.model, p.filter_name, j.state, j.handle, j.oracle,
        j.requests, j.labelled, j.failed, j.again, j.released, j.lost, j.created, j.submitted, j.cancelled, j.ended,
        j.message, j.owner, j.first, j.last
    FROM jobs j JOIN questions q ON q.id = j.question JOIN requests p ON p.id = q.request
"""
PUT_TRY = """
    INSERT INTO tries (question, sent_hash, sample, count, reason) VALUES (?, ?, ?, 1, ?)
    ON CONFLICT (question, sent_hash, sample) DO UPDATE SET count = count + 1, reason = excluded.reason
    RETURNING count
"""
FIND_TRY = "SELECT count, reason FROM tries WHERE question = ? AND sent_hash = ? AND sample = ?"
DROP_TRY = "DELETE FROM tries WHERE question = ? AND sent_hash = ? AND sample = ?"
REOPEN_ATTEMPTS = """
    UPDATE OR IGNORE attempts SET outcome = NULL, closed = NULL
    WHERE id BETWEEN :first AND :last AND owner = :owner AND outcome = 'lost'
        AND NOT EXISTS (SELECT 1 FROM labels l WHERE l.question = attempts.question
            AND l.sent_hash = attempts.sent_hash AND l.sample = attempts.sample)
"""
IN_JOBS = """
    SELECT count(*) FROM attempts a JOIN jobs j ON j.owner = a.owner
    WHERE a.question = ? AND a.outcome IS NULL AND j.ended IS NULL
"""
