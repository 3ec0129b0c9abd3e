//! The fold: one entry at a time into the tables. What a candidate's row says is what the planner's tree says of it.

use kernsmith_core::event::{BaselineFrozen, ForkedFrom, Opened, Proposed};
use kernsmith_core::{
    Digest, Edit, Entry, Event, Evidence, Lane, NewNode, NodeId, Performance, Seq, Verdict,
};
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;

use super::row::Row;
use crate::RunReader;
use crate::line::Line;

/// Writes the entries of one run.
pub(super) struct Fold<'a> {
    database: &'a Connection,
    run: i64,
    origin: Option<ForkedFrom>,
    sources: Option<RunReader>,
}

/// What the tables say of a candidate before the next judgement.
struct Standing {
    status: String,
    lane: Option<String>,
    confirmed: bool,
    judgements: i64,
}

impl<'a> Fold<'a> {
    /// A fold that goes on where the tables stand; `sources` gives the texts, where they are wanted.
    pub(super) fn new(
        database: &'a Connection,
        run: i64,
        sources: Option<RunReader>,
    ) -> rusqlite::Result<Self> {
        let sql = "SELECT forked_from FROM runs WHERE id = ?1";
        let origin: Option<String> = database.query_row(sql, [run], |row| row.get(0))?;
        let origin = origin.and_then(|text| serde_json::from_str(&text).ok());
        Ok(Self { database, run, origin, sources })
    }

    /// Takes one entry.
    pub(super) fn entry(&mut self, entry: &Entry) -> rusqlite::Result<()> {
        self.place(entry.seq, &entry.time, entry.event.name())?;
        match &entry.event {
            Event::Opened(opened) => self.opened(&entry.time, opened),
            Event::BaselineFrozen(frozen) => self.baseline(frozen),
            Event::TreeEdited { author, edits } => self.edited(entry.seq, author, edits),
            Event::Proposed(proposed) => self.proposed(entry.seq, proposed),
            Event::Deduplicated { proposal, of, .. } => self.database.execute(
                "UPDATE proposals SET status = 'duplicate', duplicate_of = ?3 WHERE run_id = ?1 AND seq = ?2 AND status = 'pending'",
                params![self.run, proposal.0, of.0],
            ).map(drop),
            Event::Judged { proposal, evidence } => self.judged(entry.seq, *proposal, evidence),
            Event::Promoted { proposal, confirmation, ratio, ci_low, ci_high } => {
                self.promoted(entry.seq, *proposal, *confirmation, [*ratio, *ci_low, *ci_high])
            }
            Event::ModelCalled(_) | Event::Recovered { .. } => Ok(()),
            Event::Resumed { wall_seconds_before, .. } => self.ended(None, *wall_seconds_before),
            Event::Closed { reason, wall_seconds } => self.ended(Some(reason), *wall_seconds),
        }
    }

    /// An entry of a newer format keeps its place, and that is all that is known of it.
    pub(super) fn unknown(&mut self, line: &Line<'_>) -> rusqlite::Result<()> {
        self.place(line.seq, &line.time, &line.event_name())
    }

    fn place(&self, seq: Seq, time: &str, name: &str) -> rusqlite::Result<()> {
        let mut insert =
            self.database.prepare_cached("INSERT OR REPLACE INTO entries VALUES (?1, ?2, ?3, ?4)")?;
        insert.execute(params![self.run, seq.0, time, name])?;
        let mut touch = self.database.prepare_cached("UPDATE runs SET last_time = ?2 WHERE id = ?1")?;
        touch.execute(params![self.run, time]).map(drop)
    }

    fn opened(&mut self, time: &str, opened: &Opened) -> rusqlite::Result<()> {
        let known = |name: &str| opened.environment.get(name).cloned();
        let forked = opened.forked_from.as_ref().map(json);
        self.origin.clone_from(&opened.forked_from);
        Row::new("runs")
            .set("format", &opened.format)
            .set("program", &opened.program)
            .set("contract", &opened.contract)
            .set("contract_version", &opened.contract_version)
            .set("contract_digest", &opened.contract_digest.to_string())
            .set("target", &opened.target.to_string())
            // SQL integers are signed: a large seed keeps its bits.
            .set("seed", &(opened.seed as i64))
            .set("config", &json(&opened.config))
            .set("config_digest", &opened.config_digest.to_string())
            .set("device", &known("device"))
            .set("fingerprint", &known("fingerprint"))
            .set("compiler", &known("compiler"))
            .set("compiler_digest", &known("compiler_digest"))
            .set("forked_from", &forked)
            .set("started", time)
            .update(self.database, &[("id", self.run)])
    }

    fn baseline(&self, frozen: &BaselineFrozen) -> rusqlite::Result<()> {
        Row::new("runs")
            .set("baseline", &frozen.name)
            .set("baseline_us", &frozen.performance.median_us)
            .set("noise_floor", &frozen.performance.noise_floor)
            .update(self.database, &[("id", self.run)])
    }

    fn ended(&self, reason: Option<&String>, wall_seconds: f64) -> rusqlite::Result<()> {
        Row::new("runs")
            .set("closed", &reason)
            .set("wall_seconds", &wall_seconds)
            .update(self.database, &[("id", self.run)])
    }

    fn proposed(&self, seq: Seq, proposed: &Proposed) -> rusqlite::Result<()> {
        let origin = &proposed.origin;
        let predicted = proposed.prediction;
        let imported = self
            .origin
            .as_ref()
            .and_then(|forked| forked.origin_of(seq).map(|origin| format!("{}#{}", forked.run, origin.0)));
        Row::new("proposals")
            .set("run_id", &self.run)
            .set("seq", &seq.0)
            .set("node", &proposed.node.0)
            .set("source", &proposed.source.to_string())
            .set("key", &proposed.key.to_string())
            .set("language", proposed.language.as_str())
            .set("threads", &proposed.plan.threads)
            .set("flags", &json(&proposed.plan.flags))
            .set("proposer", &origin.proposer)
            .set("operator", &origin.operator)
            .set("template", &origin.template)
            .set("genome", &json(&origin.genome))
            .set("parents", &json(&origin.parents))
            .set("predicted", &predicted.map(|it| it.ratio))
            .set("predicted_low", &predicted.map(|it| it.low))
            .set("predicted_high", &predicted.map(|it| it.high))
            .set("rationale", &proposed.rationale)
            .set("imported", &imported)
            .set("status", "pending")
            .set("judgements", &0)
            .set("confirmed", &0)
            .set("promoted", &0)
            .insert(self.database)?;
        self.searchable(seq, &proposed.source)
    }

    fn searchable(&self, seq: Seq, source: &Digest) -> rusqlite::Result<()> {
        // A blob that cannot be read is a matter for `log verify`; the tables do not need it.
        let Some(bytes) = self.sources.as_ref().and_then(|reader| reader.blob(source).ok()) else {
            return Ok(());
        };
        let sql = "INSERT INTO source_texts (run_id, seq) VALUES (?1, ?2)";
        self.database.prepare_cached(sql)?.execute(params![self.run, seq.0])?;
        let id = self.database.last_insert_rowid();
        let mut insert =
            self.database.prepare_cached("INSERT INTO source_words (rowid, text) VALUES (?1, ?2)")?;
        insert.execute(params![id, String::from_utf8_lossy(&bytes)]).map(drop)
    }

    fn judged(&self, seq: Seq, proposal: Seq, evidence: &Evidence) -> rusqlite::Result<()> {
        let failure = evidence.failure.as_ref();
        let conclusive = failure.is_none_or(|failure| failure.class.is_conclusive());
        let environment = &evidence.environment;
        let object = evidence.artifacts.object.as_ref();
        let times = evidence.performance.as_ref();
        Row::new("judgements")
            .set("run_id", &self.run)
            .set("seq", &seq.0)
            .set("proposal", &proposal.0)
            .set("verdict", &word(&evidence.verdict))
            .set("lane", &word(&evidence.lane))
            .set("conclusive", &conclusive)
            .set("class", &failure.map(|failure| failure.class.as_str()))
            .set("gate", &failure.map(|failure| failure.gate.as_str()))
            .set("detail", &failure.map(|failure| &failure.detail))
            .set("code_object", &evidence.candidate.code_object.map(|digest| digest.to_string()))
            .set("device", &environment.device)
            .set("fingerprint", &environment.fingerprint)
            .set("compiler", &environment.compiler)
            .set("compiler_digest", &environment.compiler_digest)
            .set("flags", &json(&environment.flags))
            .set("weakened", &json(&environment.weakened))
            .set("sandbox", &evidence.security.sandbox)
            .set("calls_checked", &evidence.validation.calls_checked)
            .set("elements_checked", &evidence.validation.elements_checked)
            .set("worst_error_over_bound", &evidence.validation.worst.as_ref().map(|it| it.error_over_bound))
            .set("build_ms", &evidence.artifacts.build_ms)
            .set("text_bytes", &object.map(|facts| facts.text_bytes))
            .set("vector_spills", &object.map(|facts| facts.vector_spills))
            .set("median_us", &times.map(|times| times.median_us))
            .set("baseline_us", &times.map(|times| times.baseline_us))
            .set("ratio", &times.map(|times| times.ratio))
            .set("ci_low", &times.map(|times| times.ci_low))
            .set("ci_high", &times.map(|times| times.ci_high))
            .set("noise_floor", &times.map(|times| times.noise_floor))
            .set("sol_score", &times.and_then(|times| times.sol_score))
            .set("interleaved", &times.map(|times| times.interleaved))
            .set("evidence", &Digest::of(json(evidence).as_bytes()).to_string())
            .insert(self.database)?;
        self.gates(seq, evidence)?;
        times.map_or(Ok(()), |times| self.workloads(seq, times))?;
        self.verdict(proposal, evidence, conclusive)
    }

    fn gates(&self, seq: Seq, evidence: &Evidence) -> rusqlite::Result<()> {
        for (position, report) in evidence.validation.gates.iter().enumerate() {
            Row::new("gates")
                .set("run_id", &self.run)
                .set("judgement", &seq.0)
                .set("position", &(position as i64))
                .set("gate", report.gate.as_str())
                .set("passed", &report.passed)
                .set("wall_ms", &report.wall_ms)
                .set("note", &report.note)
                .insert(self.database)?;
        }
        Ok(())
    }

    fn workloads(&self, seq: Seq, times: &Performance) -> rusqlite::Result<()> {
        for timing in &times.workloads {
            Row::new("workloads")
                .set("run_id", &self.run)
                .set("judgement", &seq.0)
                .set("workload", &timing.workload)
                .set("axes", &json(&timing.axes))
                .set("weight", &timing.weight)
                .set("median_us", &timing.median_us)
                .set("baseline_us", &timing.baseline_us)
                .set("ratio", &timing.ratio)
                .set("ci_low", &timing.ci_low)
                .set("ci_high", &timing.ci_high)
                .set("sol_us", &timing.sol_us)
                .set("sol_score", &timing.sol_score)
                .set("copy_fraction", &timing.copy_fraction)
                .set("samples", &(timing.samples_us.len() as i64))
                .set("outliers", &timing.outliers)
                .set("cold", &timing.cold)
                .insert(self.database)?;
        }
        Ok(())
    }

    /// The deepest conclusive judgement decides; a kernel that was ever caught stays caught.
    fn verdict(&self, proposal: Seq, evidence: &Evidence, conclusive: bool) -> rusqlite::Result<()> {
        let Some(standing) = self.standing(proposal)? else { return Ok(()) };
        let accepted = evidence.verdict == Verdict::Accepted;
        let status = match standing.status.as_str() {
            "rejected" => "rejected",
            _ if accepted => "accepted",
            _ if conclusive => "rejected",
            "pending" | "inconclusive" => "inconclusive",
            other => other,
        };
        let confirmed = standing.confirmed || (conclusive && evidence.lane == Lane::Confirm);
        let judgements = standing.judgements + 1;
        let mut row = Row::new("proposals")
            .set("status", status)
            .set("confirmed", &confirmed)
            .set("judgements", &judgements);
        let failure =
            evidence.failure.as_ref().filter(|_| !accepted && (conclusive || status == "inconclusive"));
        let (class, gate) = (failure.map(|it| it.class.as_str()), failure.map(|it| it.gate.as_str()));
        let detail = failure.map(|failure| failure.detail.as_str());
        if failure.is_some() || (status == "accepted" && standing.status != "accepted") {
            row = row.set("class", &class).set("gate", &gate).set("detail", &detail);
        }
        let lane = word(&evidence.lane);
        let deeper = depth(Some(&lane)) >= depth(standing.lane.as_deref());
        let times = evidence.performance.as_ref();
        let times = times.filter(|it| accepted && deeper && it.ratio.is_finite() && it.ratio > 0.0);
        if let Some(times) = times {
            row = row
                .set("lane", &lane)
                .set("ratio", &times.ratio)
                .set("ci_low", &times.ci_low)
                .set("ci_high", &times.ci_high)
                .set("median_us", &times.median_us)
                .set("sol_score", &times.sol_score);
        }
        row.update(self.database, &[("run_id", self.run), ("seq", proposal.0 as i64)])
    }

    fn standing(&self, proposal: Seq) -> rusqlite::Result<Option<Standing>> {
        let sql = "SELECT status, lane, confirmed, judgements FROM proposals WHERE run_id = ?1 AND seq = ?2";
        let mut statement = self.database.prepare_cached(sql)?;
        statement
            .query_row(params![self.run, proposal.0], |row| {
                let (status, lane) = (row.get(0)?, row.get(1)?);
                Ok(Standing { status, lane, confirmed: row.get(2)?, judgements: row.get(3)? })
            })
            .optional()
    }

    fn promoted(&self, seq: Seq, proposal: Seq, confirmation: Seq, ratio: [f64; 3]) -> rusqlite::Result<()> {
        Row::new("champions")
            .set("run_id", &self.run)
            .set("seq", &seq.0)
            .set("proposal", &proposal.0)
            .set("confirmation", &confirmation.0)
            .set("ratio", &ratio[0])
            .set("ci_low", &ratio[1])
            .set("ci_high", &ratio[2])
            .insert(self.database)?;
        let key = [("run_id", self.run), ("seq", proposal.0 as i64)];
        Row::new("proposals").set("promoted", &true).update(self.database, &key)?;
        Row::new("runs")
            .set("champion", &proposal.0)
            .set("champion_ratio", &ratio[0])
            .set("champion_low", &ratio[1])
            .set("champion_high", &ratio[2])
            .update(self.database, &[("id", self.run)])
    }

    fn edited(&self, seq: Seq, author: &str, edits: &[Edit]) -> rusqlite::Result<()> {
        for (position, edit) in edits.iter().enumerate() {
            let (op, node, rationale, predicted) = match edit {
                Edit::Insert { parent, node } => {
                    let id = self.insert(seq, author, *parent, node)?;
                    ("insert", id, &node.rationale, Some(node.predicted))
                }
                Edit::Update { node, predicted, rationale } => {
                    Row::new("nodes")
                        .set("predicted", &predicted.ratio)
                        .set("predicted_low", &predicted.low)
                        .set("predicted_high", &predicted.high)
                        .set("rationale", rationale)
                        .update(self.database, &self.node_key(*node))?;
                    ("update", Some(node.0), rationale, Some(*predicted))
                }
                Edit::Prune { node, rationale } => {
                    Row::new("nodes")
                        .set("pruned", rationale)
                        .update(self.database, &self.node_key(*node))?;
                    ("prune", Some(node.0), rationale, None)
                }
            };
            Row::new("edits")
                .set("run_id", &self.run)
                .set("seq", &seq.0)
                .set("position", &(position as i64))
                .set("author", author)
                .set("op", op)
                .set("node", &node)
                .set("rationale", rationale)
                .set("predicted", &predicted.map(|it| it.ratio))
                .set("predicted_low", &predicted.map(|it| it.low))
                .set("predicted_high", &predicted.map(|it| it.high))
                .insert(self.database)?;
        }
        Ok(())
    }

    fn node_key(&self, node: NodeId) -> [(&'static str, i64); 2] {
        [("run_id", self.run), ("node", i64::from(node.0))]
    }

    /// Ids are handed out in order of insertion. Edits are checked before they are logged; an insert that does not fit
    /// (no such parent, a title that a sibling has) gets no id, as in the tree.
    fn insert(&self, seq: Seq, author: &str, parent: NodeId, new: &NewNode) -> rusqlite::Result<Option<u32>> {
        let above = "SELECT depth, path, template, fixed FROM nodes WHERE run_id = ?1 AND node = ?2";
        let above: Option<(u32, String, Option<String>, String)> = self
            .database
            .prepare_cached(above)?
            .query_row(params![self.run, parent.0], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })
            .optional()?;
        let sql = "SELECT count(*), count(*) FILTER (WHERE parent = ?2 AND title = ?3) FROM nodes WHERE run_id = ?1";
        let (count, twins): (u32, u32) = self
            .database
            .prepare_cached(sql)?
            .query_row(params![self.run, parent.0, new.title], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if twins > 0 || (above.is_none() && parent != NodeId::ROOT) {
            return Ok(None);
        }
        let (depth, path, template, fixed) = above.unwrap_or_default();
        let mut genes: kernsmith_core::Genome = serde_json::from_str(&fixed).unwrap_or_default();
        genes.extend(new.fixed.clone());
        let path = if path.is_empty() { new.title.clone() } else { format!("{path} / {}", new.title) };
        Row::new("nodes")
            .set("run_id", &self.run)
            .set("node", &(count + 1))
            .set("seq", &seq.0)
            .set("parent", &parent.0)
            .set("depth", &(depth + 1))
            .set("kind", &word(&new.kind))
            .set("title", &new.title)
            .set("path", &path)
            .set("rationale", &new.rationale)
            .set("template", &new.template.as_ref().or(template.as_ref()))
            .set("fixed", &json(&genes))
            .set("axes", &json(&new.axes))
            .set("predicted", &new.predicted.ratio)
            .set("predicted_low", &new.predicted.low)
            .set("predicted_high", &new.predicted.high)
            .set("difficulty", &new.difficulty)
            .set("author", author)
            .insert(self.database)?;
        Ok(Some(count + 1))
    }
}

fn depth(lane: Option<&str>) -> u8 {
    match lane {
        None => 0,
        Some("screen") => 1,
        Some("verify") => 2,
        Some(_) => 3,
    }
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The stable word of an enum, as it stands in the log.
fn word<T: Serialize>(value: &T) -> String {
    json(value).trim_matches('"').to_owned()
}
