//! Measures the log alone: groups of candidates appended and synced, then the run opened again.
//!
//! `cargo run --release -p kernsmith-experiment-log --example append_rate -- [candidates] [source bytes] [group] [folder]`

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use kernsmith_core::event::Proposed;
use kernsmith_core::evidence::{
    Artifacts, CandidateFacts, EVIDENCE_SCHEMA, Environment, Evidence, Security, Validation,
};
use kernsmith_core::{
    Digest, Event, Failure, FailureClass, Gate, Lane, Language, NodeId, Origin, Plan, Record, Seq, Target,
    Verdict,
};
use kernsmith_experiment_log::{HISTORY_FILE, Index, PACK_FILE, RunWriter, verify};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse());
    let (candidates, source_bytes, group) = (number(20_000)?, number(12_000)?, number(64)?);
    let scratch = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let root = scratch.join(format!("append-rate-{}", std::process::id()));
    let run = "append-rate".parse()?;
    let mut writer = RunWriter::create(&root, &run)?;
    writer.append_group(vec![opened(&run)])?;
    let mut out = std::io::stdout().lock();
    let mut tenths = Vec::new();
    let begin = Instant::now();
    let mut mark = (Instant::now(), 0);
    let mut done = 0;
    while done < candidates {
        let count = group.min(candidates - done);
        let mut events = Vec::with_capacity(2 * count);
        for ordinal in done..done + count {
            let proposal = Seq(writer.next_seq().0 + events.len() as u64);
            events.push(propose(&mut writer, ordinal, source_bytes)?);
            events.push(judge(proposal));
        }
        writer.append_group(events)?;
        done += count;
        if done * 10 / candidates > tenths.len() {
            tenths.push((done - mark.1) as f64 / mark.0.elapsed().as_secs_f64());
            mark = (Instant::now(), done);
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    let directory = writer.directory().to_owned();
    drop(writer);
    let rate = candidates as f64 / seconds;
    writeln!(
        out,
        "appended {candidates} candidates of {source_bytes} bytes in groups of {group}: {rate:.0}/s"
    )?;
    writeln!(out, "  first tenth {:.0}/s, last tenth {:.0}/s", tenths[0], tenths[tenths.len() - 1])?;
    for file in [HISTORY_FILE, PACK_FILE] {
        let bytes = std::fs::metadata(directory.join(file))?.len() / candidates as u64;
        writeln!(out, "  {file}: {bytes} bytes a candidate")?;
    }
    let begin = Instant::now();
    let mut entries = 0_u64;
    drop(RunWriter::open_with(&directory, |_| entries += 1)?);
    writeln!(out, "opened with {entries} entries parsed in {:.3} s", begin.elapsed().as_secs_f64())?;
    let begin = Instant::now();
    drop(RunWriter::open(&directory)?);
    writeln!(out, "opened without parsing events in {:.3} s", begin.elapsed().as_secs_f64())?;
    writeln!(out, "peak resident memory {} kB", peak_resident_kb().unwrap_or(0))?;
    let begin = Instant::now();
    let intact = verify(&directory)?.is_intact();
    writeln!(out, "verified (intact: {intact}) in {:.3} s", begin.elapsed().as_secs_f64())?;
    measure_index(&mut out, &root, &directory, candidates, source_bytes)?;
    std::fs::remove_dir_all(&root)?;
    Ok(())
}

fn measure_index(
    out: &mut impl Write,
    root: &Path,
    directory: &Path,
    candidates: usize,
    source_bytes: usize,
) -> Outcome<()> {
    let begin = Instant::now();
    let (mut index, update) = Index::rebuild(root, false)?;
    let seconds = begin.elapsed().as_secs_f64();
    writeln!(
        out,
        "indexed {} entries in {seconds:.3} s, {:.0}/s",
        update.entries,
        update.entries as f64 / seconds
    )?;
    let bytes = std::fs::metadata(index.path())?.len() / candidates as u64;
    writeln!(out, "  index.sqlite: {bytes} bytes a candidate")?;
    let mut writer = RunWriter::open(directory)?;
    let proposal = writer.next_seq();
    let event = propose(&mut writer, candidates, source_bytes)?;
    writer.append_group(vec![event, judge(proposal)])?;
    let begin = Instant::now();
    let entries = index.update()?.entries;
    writeln!(out, "took in {entries} new entries in {:.4} s", begin.elapsed().as_secs_f64())?;
    let begin = Instant::now();
    let rows = index.query("SELECT class, count(*) FROM v_candidates GROUP BY class")?.rows.len();
    writeln!(out, "answered ({rows} rows) in {:.3} s", begin.elapsed().as_secs_f64())?;
    Ok(())
}

fn peak_resident_kb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn opened(run: &kernsmith_core::RunId) -> Event {
    kernsmith_core::conformance::opened(run)
}

/// Text that compresses about as well as generated kernels do: statements that differ in names and numbers.
fn source(ordinal: usize, bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 80);
    let mut state = ordinal as u64 + 1;
    while text.len() < bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (register, offset) = (state >> 59, (state >> 40) & 0xfff);
        let _ = writeln!(
            text,
            "    acc{register} = _mm512_fmadd_ps(a{register}, _mm512_load_ps(b + {offset}), acc{register});"
        );
    }
    text.truncate(bytes);
    text
}

fn propose(writer: &mut RunWriter, ordinal: usize, bytes: usize) -> Outcome<Event> {
    let text = source(ordinal, bytes);
    Ok(Event::Proposed(Box::new(Proposed {
        node: NodeId(1),
        source: writer.keep(text.as_bytes())?,
        key: Digest::of(&ordinal.to_le_bytes()),
        language: Language::Cpp,
        plan: Plan::default(),
        origin: Origin { proposer: "null".to_owned(), operator: "sample".to_owned(), ..Origin::default() },
        prediction: None,
        rationale: String::new(),
    })))
}

fn judge(proposal: Seq) -> Event {
    let evidence = Evidence {
        schema_version: EVIDENCE_SCHEMA,
        verdict: Verdict::Rejected,
        failure: Some(Failure::new(
            Gate::Build,
            FailureClass::CompileError,
            "error: expected `;` before `}`",
        )),
        lane: Lane::Screen,
        candidate: CandidateFacts {
            contract: "none@1".to_owned(),
            target: Target::host(),
            language: Language::Cpp,
            source: Digest::ZERO,
            code_object: None,
        },
        environment: Environment::default(),
        validation: Validation::default(),
        performance: None,
        artifacts: Artifacts::default(),
        security: Security::default(),
        replay: "kernsmith replay append-rate#1".to_owned(),
    };
    Event::Judged { proposal, evidence: Box::new(evidence) }
}
