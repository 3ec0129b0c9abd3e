//! The one structure that both pages are filled from: every number is text already, every text is still raw.

use std::path::Path;

use kernsmith_core::{Evidence, Lane};
use kernsmith_planner::PlannerOptions;
use serde::Serialize;

use crate::number::{duration, interval, microseconds, or_nothing, percent, ratio, significant};
use crate::plot::{self, Over};
use crate::story::{self, Leader, Story};
use crate::strategies::{self, Strategies};
use crate::tables::{self, Fact, GateRow, RejectionRow, RivalRow, WorkloadRow};
use crate::{Options, ReportError};

/// Everything that a report says about a run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The run's name.
    pub run: String,
    /// Contract and version, as `rmsnorm_f32@1`.
    pub contract: String,
    /// What it was searched for.
    pub target: String,
    /// The device, as the machine reports it.
    pub device: String,
    /// The one sentence that comes first; it says so when no champion was confirmed.
    pub verdict: String,
    /// Whether a champion was confirmed.
    pub confirmed: bool,
    /// What a reader must know before trusting the numbers.
    pub cautions: Vec<String>,
    /// The most important numbers.
    pub headline: Vec<Fact>,
    /// How the run went: time, state, budget.
    pub run_facts: Vec<Fact>,
    /// Limits of the search and what was used of them.
    pub budget: Vec<Fact>,
    /// The champion, or the best candidate seen.
    pub leader: Option<LeaderView>,
    /// Promotions in order.
    pub milestones: Vec<Milestone>,
    /// Progress over candidates, as inline SVG.
    pub plot_candidates: Option<String>,
    /// Progress over wall time, as inline SVG.
    pub plot_seconds: Option<String>,
    /// What became of the candidates.
    pub fates: Vec<Fact>,
    /// Rejections by class, most frequent first.
    pub rejections: Vec<RejectionRow>,
    /// The tree of strategies with its calibration.
    pub strategies: Strategies,
}

/// The candidate that a report shows.
#[derive(Debug, Clone, Serialize)]
pub struct LeaderView {
    /// What it is called: champion, or best candidate seen.
    pub heading: String,
    /// Its `Proposed` entry, as `#0042`.
    pub seq: String,
    /// Facts about where it came from.
    pub origin: Vec<Fact>,
    /// Why it was written, in its proposer's words.
    pub rationale: String,
    /// The source text.
    pub source: String,
    /// The plan as TOML.
    pub plan: String,
    /// Word for the language, for code fences.
    pub language: String,
    /// A fence that the source does not hold.
    pub fence: String,
    /// The command that judges it again.
    pub replay: String,
    /// One row a bench workload.
    pub workloads: Vec<WorkloadRow>,
    /// Other named baselines in the same run.
    pub rivals: Vec<RivalRow>,
    /// How deep it was judged.
    pub lane: String,
    /// The gates that it passed, with their times.
    pub gates: Vec<GateRow>,
    /// What was checked.
    pub validation: Vec<Fact>,
    /// Where and with what.
    pub environment: Vec<Fact>,
    /// Facts read from the binary.
    pub object: Vec<Fact>,
    /// What the sandbox reached and what the audit saw.
    pub security: Vec<Fact>,
}

/// One promotion.
#[derive(Debug, Clone, Serialize)]
pub struct Milestone {
    /// The candidate.
    pub seq: String,
    /// Candidates proposed up to then.
    pub candidates: u64,
    /// Wall time up to then.
    pub time: String,
    /// Confirmed ratio.
    pub ratio: String,
    /// Its 95 % interval.
    pub interval: String,
}

/// Reads a run and computes its report, without writing anything.
pub fn build(directory: &Path, options: &Options) -> Result<Report, ReportError> {
    let story = read(directory, &options.planner)?;
    view(&story)
}

pub(crate) fn read(directory: &Path, planner: &PlannerOptions) -> Result<Story, ReportError> {
    Ok(story::read(directory, planner)?)
}

pub(crate) fn view(story: &Story) -> Result<Report, ReportError> {
    let opened = &story.opened;
    let environment = story.leader.as_ref().map(|leader| &leader.evidence.environment);
    let device = environment
        .map(|environment| environment.device.clone())
        .or_else(|| opened.environment.get("device").cloned())
        .unwrap_or_else(|| "unknown device".to_owned());
    let counts = story.tree.counts();
    Ok(Report {
        run: opened.run_id.to_string(),
        contract: format!("{}@{}", opened.contract, opened.contract_version),
        target: opened.target.to_string(),
        device,
        verdict: verdict(story),
        confirmed: is_confirmed(story),
        cautions: cautions(story),
        headline: headline(story),
        run_facts: run_facts(story),
        budget: tables::budget(&opened.config, story),
        leader: story.leader.as_ref().map(|leader| leader_view(leader, story)).transpose()?,
        milestones: milestones(story),
        plot_candidates: plot::progress(story, Over::Candidates)?,
        plot_seconds: plot::progress(story, Over::Seconds)?,
        fates: tables::fates(counts),
        rejections: tables::rejections(counts),
        strategies: strategies::table(&story.tree),
    })
}

fn is_confirmed(story: &Story) -> bool {
    story.leader.as_ref().is_some_and(|leader| leader.confirmed)
}

fn baseline_name(story: &Story) -> &str {
    story.baseline.as_ref().map_or("baseline", |baseline| &baseline.name)
}

/// The first sentence. It claims only what was confirmed.
fn verdict(story: &Story) -> String {
    let counts = story.tree.counts();
    if let (Some(champion), Some(leader)) =
        (story.promotions.last(), story.leader.as_ref().filter(|l| l.confirmed))
    {
        return format!(
            "Champion {} runs at {} the speed of the frozen baseline “{}” (95 % interval {}), confirmed in a fresh process with a \
             fresh build.",
            leader.seq,
            ratio(champion.at.ratio),
            baseline_name(story),
            interval(champion.ci.0, champion.ci.1),
        );
    }
    let seen = match story.best_seen {
        Some((seq, lane, best)) => format!(
            " The best candidate seen, {seq}, measured {} in the {} lane; that number is not a result.",
            ratio(best),
            lane_word(lane)
        ),
        None if counts.proposed == 0 => " No candidate was proposed.".to_owned(),
        None => format!(" None of {} candidates passed with a measured time.", counts.proposed),
    };
    format!("No champion was confirmed.{seen}")
}

fn cautions(story: &Story) -> Vec<String> {
    let mut cautions = Vec::new();
    if let (Some(champion), Some(leader)) = (story.promotions.last(), &story.leader) {
        let floor = leader.evidence.performance.as_ref().map_or(1.0, |performance| performance.noise_floor);
        if champion.ci.0 <= floor.max(1.0) {
            cautions.push(format!(
                "The lower end of the interval ({}) is within what two identical binaries show on this machine ({}): do not call it a \
                 gain.",
                ratio(champion.ci.0),
                ratio(floor.max(1.0))
            ));
        }
    }
    if !story.weakened.is_empty() {
        cautions.push(format!("These gates were switched off or weakened: {}.", story.weakened.join(", ")));
    }
    let missing = story.leader.as_ref().map(|leader| leader.evidence.security.missing.join(", "));
    if let Some(missing) = missing.filter(|missing| !missing.is_empty()) {
        cautions.push(format!("This machine did not give the whole sandbox; missing: {missing}."));
    }
    if story.closed.is_none() {
        cautions.push("The log has no closing entry: the search is still running or was cut off.".to_owned());
    }
    for warning in story.tree.warnings().iter().take(5) {
        cautions.push(format!("The tree could not take an entry of the log: {warning}."));
    }
    cautions
}

fn headline(story: &Story) -> Vec<Fact> {
    let mut facts = Vec::new();
    if let Some(champion) = story.promotions.last().filter(|_| is_confirmed(story)) {
        facts.push(Fact::new("confirmed ratio", ratio(champion.at.ratio)));
        facts.push(Fact::new("95 % interval", interval(champion.ci.0, champion.ci.1)));
        let performance = story.leader.as_ref().and_then(|leader| leader.evidence.performance.as_ref());
        if let Some(performance) = performance {
            facts.push(Fact::new("SOL score", or_nothing(performance.sol_score, significant)));
            facts.push(Fact::new("median of one call", microseconds(performance.median_us)));
        }
    } else {
        facts.push(Fact::new("confirmed ratio", "none"));
    }
    if let Some(baseline) = &story.baseline {
        let time = microseconds(baseline.performance.median_us);
        facts.push(Fact::new(format!("baseline “{}”", baseline.name), time));
        facts.push(Fact::new("noise floor (A/A)", ratio(baseline.performance.noise_floor)));
    }
    facts.push(Fact::new("candidates", story.tree.counts().proposed.to_string()));
    let limit = tables::limit(&story.opened.config, "wall_seconds");
    let wall = duration(story.wall_seconds);
    facts.push(Fact::new(
        "wall time",
        limit.map_or(wall.clone(), |limit| format!("{wall} of {}", duration(limit))),
    ));
    facts
}

fn run_facts(story: &Story) -> Vec<Fact> {
    let opened = &story.opened;
    let state = match (&story.closed, story.sealed) {
        (Some(reason), true) => format!("ended with “{reason}”, sealed"),
        (Some(reason), false) => format!("ended with “{reason}”, not sealed"),
        (None, _) => "open".to_owned(),
    };
    let mut facts = vec![
        Fact::new("started", story.started.clone()),
        Fact::new("state", state),
        Fact::new("program", opened.program.clone()),
        Fact::new("seed", opened.seed.to_string()),
        Fact::new("contract digest", opened.contract_digest.to_string()),
        Fact::new("configuration digest", opened.config_digest.to_string()),
        Fact::new("log entries", story.entries.to_string()),
    ];
    if let Some(memory) = &opened.memory {
        let (digest, runs) = (memory.digest.short(), memory.runs.len());
        facts.push(Fact::new("memory", format!("{} ({runs} runs, {digest})", memory.origin)));
    }
    if story.resumed > 0 {
        facts.push(Fact::new("resumed", format!("{} times", story.resumed)));
    }
    if story.recovered > 0 {
        facts.push(Fact::new("torn tails cut off", story.recovered.to_string()));
    }
    facts.extend(opened.environment.iter().map(|(name, value)| Fact::new(name.clone(), value.clone())));
    facts
}

fn milestones(story: &Story) -> Vec<Milestone> {
    story
        .promotions
        .iter()
        .map(|promotion| Milestone {
            seq: promotion.proposal.to_string(),
            candidates: promotion.at.ordinal,
            time: duration(promotion.at.seconds),
            ratio: ratio(promotion.at.ratio),
            interval: interval(promotion.ci.0, promotion.ci.1),
        })
        .collect()
}

fn leader_view(leader: &Leader, story: &Story) -> Result<LeaderView, ReportError> {
    let evidence: &Evidence = &leader.evidence;
    let heading = if leader.confirmed { "Champion" } else { "Best candidate seen (not confirmed)" };
    let workloads =
        evidence.performance.as_ref().map(|p| tables::workloads(&p.workloads)).unwrap_or_default();
    let rivals = evidence.performance.as_ref().map(|p| tables::rivals(&p.rivals)).unwrap_or_default();
    Ok(LeaderView {
        heading: heading.to_owned(),
        seq: leader.seq.to_string(),
        origin: origin(leader, story),
        rationale: leader.proposed.rationale.clone(),
        source: leader.source.clone(),
        plan: toml::to_string(&leader.proposed.plan)?,
        language: leader.proposed.language.to_string(),
        fence: fence_for(&leader.source),
        replay: replay(story, leader),
        workloads,
        rivals,
        lane: lane_word(evidence.lane).to_owned(),
        gates: tables::gates(&evidence.validation.gates),
        validation: tables::validation(&evidence.validation),
        environment: tables::environment(&evidence.environment),
        object: tables::object(evidence),
        security: tables::security(&evidence.security),
    })
}

fn origin(leader: &Leader, story: &Story) -> Vec<Fact> {
    let proposed = &leader.proposed;
    let mut facts = vec![
        Fact::new("proposer", format!("{} ({})", proposed.origin.proposer, proposed.origin.operator)),
        Fact::new("strategy", strategies::path(&story.tree, proposed.node)),
    ];
    if let Some(template) = &proposed.origin.template {
        facts.push(Fact::new("template", template.clone()));
    }
    if !proposed.origin.genome.is_empty() {
        let genes = proposed.origin.genome.iter().map(|(name, value)| format!("{name}={value}"));
        facts.push(Fact::new("genes", genes.collect::<Vec<_>>().join(", ")));
    }
    if !proposed.origin.parents.is_empty() {
        let parents = proposed.origin.parents.iter().map(ToString::to_string);
        facts.push(Fact::new("made from", parents.collect::<Vec<_>>().join(", ")));
    }
    if let Some(predicted) = proposed.prediction {
        let text = format!("{} ({})", ratio(predicted.ratio), interval(predicted.low, predicted.high));
        facts.push(Fact::new("predicted", text));
    }
    facts.push(Fact::new("source digest", proposed.source.to_string()));
    if let Some(digest) = leader.evidence.candidate.code_object {
        facts.push(Fact::new("code object digest", digest.to_string()));
    }
    let rate = or_nothing(story.tree.counts().accept_rate(), percent);
    facts.push(Fact::new("accept rate of the run", rate));
    facts
}

/// The command that judges the shown candidate again.
pub(crate) fn replay(story: &Story, leader: &Leader) -> String {
    format!("kernsmith replay {}#{}", story.opened.run_id, leader.seq.0)
}

pub(crate) const fn lane_word(lane: Lane) -> &'static str {
    match lane {
        Lane::Screen => "screen",
        Lane::Verify => "verify",
        Lane::Confirm => "confirm",
    }
}

/// Back-ticks that are longer than any run of them in the text.
fn fence_for(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    "`".repeat(longest.max(2) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_is_longer_than_what_it_encloses() {
        assert_eq!(fence_for("int x;"), "```");
        assert_eq!(fence_for("// ```` four"), "`````");
    }
}
