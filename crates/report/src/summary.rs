//! The machine-readable answer of a search: what `search --format json` prints.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::page::champion_path;
use crate::spend::ModelSpend;
use crate::story::{Leader, Story};
use crate::tables::rejected_by_name;
use crate::{HTML_FILE, Options, view};

/// The version of [`Summary`].
pub const SUMMARY_SCHEMA: u32 = 1;

/// What a search came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// [`SUMMARY_SCHEMA`].
    pub schema_version: u32,
    /// The run's name.
    pub run_id: String,
    /// Contract name.
    pub contract: String,
    /// What it was searched for.
    pub target: String,
    /// The frozen baseline; `None` where the run ended before it was measured.
    pub baseline: Option<BaselineSummary>,
    /// The confirmed champion; `None` where there is none.
    pub champion: Option<ChampionSummary>,
    /// What became of the candidates.
    pub candidates: CandidateSummary,
    /// Wall time of the search, all sessions together.
    pub wall_seconds: f64,
    /// Why the search ended; `None` while it is open.
    pub closed: Option<String>,
    /// Calls of models and their price; absent where none was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<ModelSpend>,
    /// The page for a browser.
    pub report: PathBuf,
}

/// The frozen baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaselineSummary {
    /// Its name.
    pub name: String,
    /// Median time of one call.
    pub median_us: f64,
}

/// The confirmed champion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChampionSummary {
    /// Its `Proposed` entry.
    pub seq: u64,
    /// Confirmed ratio to the frozen baseline.
    pub ratio: f64,
    /// Lower end of its 95 % interval.
    pub ci_low: f64,
    /// Upper end of it.
    pub ci_high: f64,
    /// Score against the speed of light, where the device is calibrated.
    pub sol_score: Option<f64>,
    /// The source, written by the report.
    pub source_path: PathBuf,
    /// The command that judges it again.
    pub replay: String,
}

/// What became of the candidates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CandidateSummary {
    /// Handed over.
    pub proposed: u64,
    /// Seen before and not judged.
    pub deduplicated: u64,
    /// Passed, by their deepest judgement.
    pub accepted: u64,
    /// Rejected, by class.
    pub rejected: BTreeMap<String, u64>,
    /// Only the apparatus failed.
    pub inconclusive: u64,
}

/// What a run comes to; [`crate::conclude`] makes the files that it names.
pub(crate) fn summary_of(story: &Story, directory: &Path, options: &Options) -> Summary {
    let output = options.output.as_deref().unwrap_or(directory);
    let counts = story.tree.counts();
    Summary {
        schema_version: SUMMARY_SCHEMA,
        run_id: story.opened.run_id.to_string(),
        contract: story.opened.contract.clone(),
        target: story.opened.target.to_string(),
        baseline: story.baseline.as_ref().map(|baseline| BaselineSummary {
            name: baseline.name.clone(),
            median_us: baseline.performance.median_us,
        }),
        champion: story.leader.as_ref().and_then(|leader| champion(story, leader, output)),
        candidates: CandidateSummary {
            proposed: counts.proposed,
            deduplicated: counts.deduplicated,
            accepted: counts.accepted,
            rejected: rejected_by_name(&counts.rejected),
            inconclusive: counts.inconclusive,
        },
        wall_seconds: story.wall_seconds,
        closed: story.closed.clone(),
        models: story.models.clone(),
        report: output.join(HTML_FILE),
    }
}

fn champion(story: &Story, leader: &Leader, output: &Path) -> Option<ChampionSummary> {
    let promotion = story.promotions.last().filter(|_| leader.confirmed)?;
    Some(ChampionSummary {
        seq: leader.seq.0,
        ratio: promotion.at.ratio,
        ci_low: promotion.ci.0,
        ci_high: promotion.ci.1,
        sol_score: leader.evidence.performance.as_ref().and_then(|performance| performance.sol_score),
        source_path: champion_path(output, leader),
        replay: view::replay(story, leader),
    })
}
