//! What a person or a script sees while a search runs. The only owner of the progress bar.
//!
//! `human`: one stable line per judged candidate on stdout, a bar on stderr when that is a terminal. `json`: the lines go
//! to stderr, stdout keeps the one final object. `jsonl`: every durable entry is a line on stdout, the final object the last.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kernsmith_core::{CallClass, Entry, Event, Evidence, NodeId, Seq};
use kernsmith_engine::Observe;
use kernsmith_planner::Tree;

use crate::args::{Format, Progress};

/// The proposer of what a person handed over.
const USER: &str = "user";

/// Writes a line of data to stdout; a closed pipe is not an error.
pub(crate) fn data(line: &str) {
    let mut stdout = std::io::stdout().lock();
    if writeln!(stdout, "{line}").is_err() {
        // Whoever read us has gone; there is nobody left to tell.
        std::process::exit(0);
    }
}

/// Writes a line for people to stderr.
pub(crate) fn note(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Shows a search as it goes.
#[derive(Debug)]
pub(crate) struct Console {
    format: Format,
    bar: Option<ProgressBar>,
    started: Instant,
    wall_seconds: f64,
}

impl Console {
    /// A console for one search with a budget of `wall_seconds` (0: none).
    pub(crate) fn new(format: Format, progress: Progress, wall_seconds: f64) -> Self {
        let terminal = std::io::stderr().is_terminal() && std::env::var_os("KERNSMITH_NO_PROGRESS").is_none();
        let shown = matches!(progress, Progress::Auto) && terminal;
        Self { format, bar: shown.then(bar), started: Instant::now(), wall_seconds }
    }

    fn line(&self, text: &str) {
        let print = || if self.format == Format::Human { data(text) } else { note(text) };
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn refresh(&self, tree: &Tree) {
        let Some(bar) = &self.bar else { return };
        let counts = tree.counts();
        let left = (self.wall_seconds - self.started.elapsed().as_secs_f64()).max(0.0);
        let best = match (tree.champion(), tree.best_ratio()) {
            (Some(champion), _) => {
                format!("champion {:.2}x [{:.2}, {:.2}]", champion.ratio, champion.ci_low, champion.ci_high)
            }
            (None, Some(ratio)) => format!("best seen {ratio:.2}x, not confirmed yet"),
            (None, None) => "nothing accepted yet".to_owned(),
        };
        let time = if self.wall_seconds > 0.0 { format!(" · {left:.0} s left") } else { String::new() };
        bar.set_message(format!(
            "{} candidates · {} accepted · {best}{time}",
            counts.proposed, counts.accepted
        ));
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} [{elapsed_precise}] {msg} {prefix}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

impl Observe for Console {
    fn noted(&mut self, tree: &Tree, entry: &Entry) {
        if self.format == Format::Jsonl
            && let Ok(line) = serde_json::to_string(entry)
        {
            match &self.bar {
                Some(bar) => bar.suspend(|| data(&line)),
                None => data(&line),
            }
        } else if let Some(line) = entry_line(tree, entry) {
            self.line(&line);
        }
        self.refresh(tree);
    }

    fn busy(&mut self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_prefix(what.to_owned());
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The stable line of an entry, where it has one.
pub(crate) fn entry_line(tree: &Tree, entry: &Entry) -> Option<String> {
    match &entry.event {
        Event::BaselineFrozen(frozen) => {
            let performance = &frozen.performance;
            Some(format!(
                "baseline {} {} (A/A {:.3}x, noise floor {:.3}x)",
                frozen.name,
                time(performance.median_us),
                performance.ratio,
                performance.noise_floor
            ))
        }
        Event::Deduplicated { proposal, of, by } => Some(format!("{proposal} repeats {of} by {by}")),
        Event::Judged { proposal, evidence } => Some(judged_line(tree, *proposal, evidence)),
        Event::Promoted { proposal, ratio, ci_low, ci_high, .. } => {
            Some(format!("{proposal} champion {ratio:.3}x [{ci_low:.3}, {ci_high:.3}]"))
        }
        Event::ModelCalled(call) if call.class != CallClass::Answered => {
            let detail: String = call.detail.lines().next().unwrap_or_default().chars().take(120).collect();
            Some(format!("{} {} of {}: {}  {detail}", entry.seq, call.purpose, call.model, call.class))
        }
        Event::Recovered { dropped_bytes, reason } => {
            Some(format!("recovered: {dropped_bytes} unacknowledged bytes dropped ({reason})"))
        }
        _ => None,
    }
}

/// `#0042 accepted verify 4.210x [4.180, 4.250] 412.3 us  <strategy>` or `#0043 rejected compile_error@build  <why>`.
pub(crate) fn judged_line(tree: &Tree, proposal: Seq, evidence: &Evidence) -> String {
    let lane = format!("{:?}", evidence.lane).to_lowercase();
    match (&evidence.failure, &evidence.performance) {
        (Some(failure), _) => {
            let detail: String =
                failure.detail.lines().next().unwrap_or_default().chars().take(120).collect();
            format!("{proposal} rejected {lane:7} {}@{}  {detail}", failure.class, failure.gate)
        }
        (None, Some(performance)) => format!(
            "{proposal} accepted {lane:7} {:.3}x [{:.3}, {:.3}] {}  {}",
            performance.ratio,
            performance.ci_low,
            performance.ci_high,
            time(performance.median_us),
            strategy(tree, proposal)
        ),
        (None, None) => format!("{proposal} accepted {lane:7} untimed  {}", strategy(tree, proposal)),
    }
}

fn strategy(tree: &Tree, proposal: Seq) -> String {
    let Some(attempt) = tree.attempt(proposal) else { return String::new() };
    let genes = tree.genome_of(attempt).into_iter().map(|(name, value)| format!("{name}={value}"));
    // What a person handed over has no template; in a batch its strategy is named after where it came from.
    let handed_over =
        tree.node(attempt.node).filter(|node| node.id != NodeId::ROOT && tree.proposer_of(attempt) == USER);
    let name = tree.template_of(attempt).or(handed_over.map(|node| node.title.as_str()));
    let name = name.unwrap_or_else(|| tree.proposer_of(attempt)).to_owned();
    std::iter::once(name).chain(genes).collect::<Vec<_>>().join(" ")
}

/// A time with a unit that suits it.
pub(crate) fn time(microseconds: f64) -> String {
    match microseconds {
        us if us < 1e3 => format!("{us:.1} us"),
        us if us < 1e6 => format!("{:.2} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}
