-- Private tables: they may change with any version of the program. The views of views.sql are the public face.
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    run TEXT NOT NULL UNIQUE,
    -- Book-keeping: what of the history has been taken in. `first` is the digest of line 1, `last` of the last line taken.
    first TEXT NOT NULL, last TEXT NOT NULL, last_offset INTEGER NOT NULL, end_offset INTEGER NOT NULL,
    file_bytes INTEGER NOT NULL, file_modified_ns INTEGER NOT NULL,
    entries INTEGER NOT NULL, state TEXT NOT NULL, damage TEXT,
    -- From the first entry.
    format INTEGER, program TEXT, contract TEXT, contract_version INTEGER, contract_digest TEXT, target TEXT, seed INTEGER,
    config TEXT, config_digest TEXT, device TEXT, fingerprint TEXT, compiler TEXT, compiler_digest TEXT,
    forked_from TEXT, started TEXT,
    -- From later ones.
    last_time TEXT, baseline TEXT, baseline_us REAL, noise_floor REAL,
    champion INTEGER, champion_ratio REAL, champion_low REAL, champion_high REAL,
    closed TEXT, wall_seconds REAL,
    -- From imported.json.
    imported_from TEXT
);
CREATE TABLE entries (
    run_id INTEGER NOT NULL, seq INTEGER NOT NULL, time TEXT NOT NULL, type TEXT NOT NULL,
    PRIMARY KEY (run_id, seq)
) WITHOUT ROWID;
CREATE TABLE proposals (
    run_id INTEGER NOT NULL, seq INTEGER NOT NULL, node INTEGER NOT NULL, source TEXT NOT NULL, key TEXT NOT NULL,
    language TEXT NOT NULL, threads INTEGER, flags TEXT NOT NULL, proposer TEXT NOT NULL, operator TEXT NOT NULL,
    template TEXT, genome TEXT NOT NULL, parents TEXT NOT NULL,
    predicted REAL, predicted_low REAL, predicted_high REAL, rationale TEXT NOT NULL, imported TEXT,
    -- What became of it; changes with later entries.
    status TEXT NOT NULL, class TEXT, gate TEXT, detail TEXT, duplicate_of INTEGER,
    lane TEXT, ratio REAL, ci_low REAL, ci_high REAL, median_us REAL, sol_score REAL,
    judgements INTEGER NOT NULL, confirmed INTEGER NOT NULL, promoted INTEGER NOT NULL,
    PRIMARY KEY (run_id, seq)
) WITHOUT ROWID;
CREATE TABLE judgements (
    run_id INTEGER NOT NULL, seq INTEGER NOT NULL, proposal INTEGER NOT NULL, verdict TEXT NOT NULL, lane TEXT NOT NULL,
    conclusive INTEGER NOT NULL, class TEXT, gate TEXT, detail TEXT, code_object TEXT,
    device TEXT NOT NULL, fingerprint TEXT NOT NULL, compiler TEXT NOT NULL, compiler_digest TEXT NOT NULL, flags TEXT NOT NULL,
    weakened TEXT NOT NULL, sandbox TEXT NOT NULL,
    calls_checked INTEGER NOT NULL, elements_checked INTEGER NOT NULL, worst_error_over_bound REAL,
    build_ms REAL, text_bytes INTEGER, vector_spills INTEGER,
    median_us REAL, baseline_us REAL, ratio REAL, ci_low REAL, ci_high REAL, noise_floor REAL, sol_score REAL,
    interleaved INTEGER, evidence TEXT NOT NULL,
    PRIMARY KEY (run_id, seq)
) WITHOUT ROWID;
CREATE TABLE workloads (
    run_id INTEGER NOT NULL, judgement INTEGER NOT NULL, workload TEXT NOT NULL, axes TEXT NOT NULL, weight REAL NOT NULL,
    median_us REAL, baseline_us REAL, ratio REAL, ci_low REAL, ci_high REAL, sol_us REAL, sol_score REAL,
    copy_fraction REAL, samples INTEGER NOT NULL, outliers INTEGER NOT NULL, cold INTEGER NOT NULL,
    PRIMARY KEY (run_id, judgement, workload)
) WITHOUT ROWID;
CREATE TABLE gates (
    run_id INTEGER NOT NULL, judgement INTEGER NOT NULL, position INTEGER NOT NULL, gate TEXT NOT NULL,
    passed INTEGER NOT NULL, wall_ms REAL, note TEXT NOT NULL,
    PRIMARY KEY (run_id, judgement, position)
) WITHOUT ROWID;
CREATE TABLE nodes (
    run_id INTEGER NOT NULL, node INTEGER NOT NULL, seq INTEGER NOT NULL, parent INTEGER, depth INTEGER NOT NULL,
    kind TEXT NOT NULL, title TEXT NOT NULL, path TEXT NOT NULL, rationale TEXT NOT NULL, template TEXT, fixed TEXT NOT NULL,
    axes TEXT NOT NULL, predicted REAL, predicted_low REAL, predicted_high REAL, difficulty INTEGER NOT NULL,
    author TEXT NOT NULL, pruned TEXT,
    PRIMARY KEY (run_id, node)
) WITHOUT ROWID;
CREATE TABLE edits (
    run_id INTEGER NOT NULL, seq INTEGER NOT NULL, position INTEGER NOT NULL, author TEXT NOT NULL, op TEXT NOT NULL,
    node INTEGER, rationale TEXT NOT NULL, predicted REAL, predicted_low REAL, predicted_high REAL,
    PRIMARY KEY (run_id, seq, position)
) WITHOUT ROWID;
CREATE TABLE champions (
    run_id INTEGER NOT NULL, seq INTEGER NOT NULL, proposal INTEGER NOT NULL, confirmation INTEGER NOT NULL,
    ratio REAL, ci_low REAL, ci_high REAL,
    PRIMARY KEY (run_id, seq)
) WITHOUT ROWID;
CREATE TABLE source_texts (id INTEGER PRIMARY KEY, run_id INTEGER NOT NULL, seq INTEGER NOT NULL, UNIQUE (run_id, seq));
CREATE VIRTUAL TABLE source_words USING fts5(text, content='', contentless_delete=1, tokenize='trigram');
CREATE INDEX proposals_by_node ON proposals (run_id, node);
CREATE INDEX judgements_by_proposal ON judgements (run_id, proposal);
