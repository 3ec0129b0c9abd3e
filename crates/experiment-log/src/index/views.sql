-- The public face of the index: documented in docs/mining.md, changed only by adding columns at the end.
CREATE VIEW v_runs AS SELECT
    run, contract, contract_version, target, state, closed, started, last_time, entries,
    (SELECT count(*) FROM proposals p WHERE p.run_id = r.id) AS candidates,
    (SELECT count(*) FROM proposals p WHERE p.run_id = r.id AND p.status = 'accepted') AS accepted,
    (SELECT count(*) FROM proposals p WHERE p.run_id = r.id AND p.status = 'rejected') AS rejected,
    champion, champion_ratio, champion_low, champion_high, baseline, baseline_us, noise_floor, wall_seconds,
    seed, device, compiler, compiler_digest, fingerprint, contract_digest, config_digest, config, program, format, forked_from,
    first, last, damage, imported_from
FROM runs r;
CREATE VIEW v_candidates AS SELECT
    r.run, p.seq, r.contract, r.contract_version, r.target, p.node, n.path AS strategy, p.template, p.genome,
    p.proposer, p.operator, p.status, p.class, p.gate, p.detail, p.duplicate_of, p.lane,
    -- A candidate that was caught later keeps its times in v_judgements only.
    CASE p.status WHEN 'accepted' THEN p.ratio END AS ratio, CASE p.status WHEN 'accepted' THEN p.ci_low END AS ci_low,
    CASE p.status WHEN 'accepted' THEN p.ci_high END AS ci_high, CASE p.status WHEN 'accepted' THEN p.median_us END AS median_us,
    CASE p.status WHEN 'accepted' THEN p.sol_score END AS sol_score, p.judgements, p.confirmed, p.promoted, p.seq = r.champion AS champion,
    p.predicted, p.predicted_low, p.predicted_high, p.threads, p.flags, p.parents, p.rationale, p.language, p.source, p.key,
    p.imported, e.time
FROM proposals p JOIN runs r ON r.id = p.run_id
LEFT JOIN nodes n ON n.run_id = p.run_id AND n.node = p.node
LEFT JOIN entries e ON e.run_id = p.run_id AND e.seq = p.seq;
CREATE VIEW v_judgements AS SELECT
    r.run, j.seq, j.proposal, r.contract, r.target, p.template, p.genome, j.lane, j.verdict, j.conclusive, j.class, j.gate, j.detail,
    j.ratio, j.ci_low, j.ci_high, j.median_us, j.baseline_us, j.noise_floor, j.sol_score, j.interleaved,
    j.calls_checked, j.elements_checked, j.worst_error_over_bound, j.build_ms, j.text_bytes, j.vector_spills, j.code_object,
    j.device, j.compiler, j.compiler_digest, j.fingerprint, j.flags, j.weakened, j.sandbox, j.evidence, e.time
FROM judgements j JOIN runs r ON r.id = j.run_id
LEFT JOIN proposals p ON p.run_id = j.run_id AND p.seq = j.proposal
LEFT JOIN entries e ON e.run_id = j.run_id AND e.seq = j.seq;
CREATE VIEW v_workloads AS SELECT
    r.run, w.judgement, j.proposal, j.lane, r.contract, r.target, w.workload, w.axes, w.weight, w.median_us, w.baseline_us,
    w.ratio, w.ci_low, w.ci_high, w.sol_us, w.sol_score, w.copy_fraction, w.samples, w.outliers, w.cold
FROM workloads w JOIN runs r ON r.id = w.run_id
JOIN judgements j ON j.run_id = w.run_id AND j.seq = w.judgement;
CREATE VIEW v_gates AS SELECT
    r.run, g.judgement, j.proposal, j.lane, g.position, g.gate, g.passed, g.wall_ms, g.note, j.class
FROM gates g JOIN runs r ON r.id = g.run_id
JOIN judgements j ON j.run_id = g.run_id AND j.seq = g.judgement;
CREATE VIEW v_strategies AS SELECT
    r.run, n.node, n.parent, n.depth, n.kind, n.title, n.path, n.template, n.fixed, n.axes,
    n.predicted, n.predicted_low, n.predicted_high, n.difficulty, n.author, n.pruned, n.rationale, n.seq,
    (SELECT count(*) FROM proposals p WHERE p.run_id = n.run_id AND p.node = n.node) AS proposed,
    (SELECT count(*) FROM proposals p WHERE p.run_id = n.run_id AND p.node = n.node AND p.status = 'accepted') AS accepted,
    (SELECT count(*) FROM proposals p WHERE p.run_id = n.run_id AND p.node = n.node AND p.status = 'rejected') AS rejected,
    (SELECT max(p.ratio) FROM proposals p WHERE p.run_id = n.run_id AND p.node = n.node AND p.status = 'accepted') AS best_ratio
FROM nodes n JOIN runs r ON r.id = n.run_id;
CREATE VIEW v_entries AS SELECT r.run, e.seq, e.time, e.type FROM entries e JOIN runs r ON r.id = e.run_id;
CREATE VIEW v_champions AS SELECT
    r.run, c.seq, c.proposal, c.confirmation, c.ratio, c.ci_low, c.ci_high, e.time
FROM champions c JOIN runs r ON r.id = c.run_id LEFT JOIN entries e ON e.run_id = c.run_id AND e.seq = c.seq;
CREATE VIEW v_edits AS SELECT
    r.run, d.seq, d.position, d.author, d.op, d.node, d.rationale, d.predicted, d.predicted_low, d.predicted_high
FROM edits d JOIN runs r ON r.id = d.run_id;
CREATE VIEW v_sources AS SELECT r.run, s.seq, w.text
FROM source_words w JOIN source_texts s ON s.id = w.rowid JOIN runs r ON r.id = s.run_id;
