//! What many runs teach.

use std::collections::BTreeSet;
use std::path::PathBuf;

use kernsmith_core::Target;
use kernsmith_experiment_log::{Cell, Table};
use kernsmith_mine::{Archive, Domain, FrontierRow, Memory};
use kernsmith_skill::{Machine, Skills};
use kernsmith_toolchain::Host;

use super::table::print_rows;
use crate::args::Global;
use crate::console::note;
use crate::error::{Answer, CliError};
use crate::session;

/// Which runs are mined, and where what was learned goes.
#[derive(Debug, clap::Args)]
pub(crate) struct MineArgs {
    /// Runs of this contract only, such as `rmsnorm_f32` or `rmsnorm_f32@1`.
    #[arg(long, value_name = "NAME")]
    contract: Option<String>,
    /// Write `memory.json` and `frontier.csv` into this folder as well.
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
}

/// `log dead-ends`.
pub(super) fn dead_ends(global: &Global, args: &MineArgs) -> Answer {
    let rows = kernsmith_mine::dead_ends(&open(global, args)?);
    let table = table(
        &["choice", "kind", "contract", "target", "attempts", "classes", "best", "chance", "evidence"],
        rows.iter().map(|row| {
            let classes: Vec<String> =
                row.classes.iter().map(|(class, count)| format!("{class} {count}")).collect();
            vec![
                text(&row.subject.to_string()),
                text(&session::word(&row.kind)),
                text(&row.scope.contract),
                text(&row.scope.target),
                Cell::Int(i64::from(row.attempts)),
                text(&classes.join(", ")),
                real(row.best_ratio),
                Cell::Real(row.chance),
                text(&row.evidence.join(" ")),
            ]
        }),
    );
    print_rows(global, &rows, &table)
}

/// `log frontier`.
pub(super) fn frontier(global: &Global, args: &MineArgs) -> Answer {
    let rows = frontier_rows(global, &open(global, args)?);
    let table = table(
        &[
            "template", "gene", "value", "tried", "passed", "failed", "unknown", "best", "best_at", "runs",
            "imported", "contract", "target",
        ],
        rows.iter().map(|row| {
            let mut cells = vec![text(&row.template), text(&row.gene), text(&row.value.to_string())];
            cells.extend(
                [row.tried, row.passed, row.failed, row.unknown].map(|count| Cell::Int(i64::from(count))),
            );
            cells.extend([real(row.best_ratio), row.best_at.as_deref().map_or(Cell::Null, text)]);
            cells.extend([row.runs, row.imported].map(|count| Cell::Int(i64::from(count))));
            cells.extend([text(&row.contract), text(&row.target)]);
            cells
        }),
    );
    print_rows(global, &rows, &table)
}

/// `log facts`.
pub(super) fn facts(global: &Global, args: &MineArgs) -> Answer {
    let rows = kernsmith_mine::facts(&open(global, args)?);
    let table = table(
        &[
            "template", "gene", "value", "against", "ratio", "low", "high", "certain", "pairs", "attempts",
            "runs", "contract",
        ],
        rows.iter().map(|row| {
            let mut cells = vec![text(&row.template), text(&row.gene), text(&row.value.to_string())];
            cells.push(text(&row.against.to_string()));
            cells.extend([row.ratio, row.low, row.high].map(Cell::Real));
            cells.push(text(if row.certain { "yes" } else { "no" }));
            cells.extend([row.pairs, row.attempts, row.runs].map(|count| Cell::Int(i64::from(count))));
            cells.push(text(&row.scope.contract));
            cells
        }),
    );
    print_rows(global, &rows, &table)
}

/// `log calibration`.
pub(super) fn calibration(global: &Global, args: &MineArgs) -> Answer {
    let rows = kernsmith_mine::calibration(&open(global, args)?);
    let table = table(
        &["contract", "kind", "name", "pairs", "runs", "bias", "mean_abs_log_error", "coverage"],
        rows.iter().map(|row| {
            let mut cells = vec![text(&row.contract), text(&row.kind), text(&row.name)];
            cells.extend([row.pairs, row.runs].map(|count| Cell::Int(i64::from(count))));
            cells.extend([row.bias, row.mean_abs_log_error, row.coverage].map(Cell::Real));
            cells
        }),
    );
    print_rows(global, &rows, &table)
}

/// Reads the runs, and writes what they teach where that was asked for.
fn open(global: &Global, args: &MineArgs) -> Result<Archive, CliError> {
    let root = session::log_root(global)?;
    let archive = Archive::open(&root, args.contract.as_deref()).map_err(CliError::log)?;
    for text in &archive.notes {
        note(text);
    }
    if archive.runs.is_empty() {
        note(&format!("no runs to learn from in {}", root.display()));
    }
    if let Some(directory) = &args.write {
        let frontier = frontier_rows(global, &archive);
        let paths = Memory::of(&archive).write(directory, &frontier).map_err(CliError::log)?;
        for path in &paths {
            note(&format!("wrote {}", path.display()));
        }
    }
    Ok(archive)
}

/// Untried values are those that the skills name for this machine; without skills there are only tried ones.
fn frontier_rows(global: &Global, archive: &Archive) -> Vec<FrontierRow> {
    let mut roots = global.skills.clone();
    if let Ok(loaded) = session::config(global, &[]) {
        roots.extend(loaded.config.paths.skills.into_iter().map(PathBuf::from));
    }
    roots.extend(kernsmith_skill::default_roots());
    let templates: BTreeSet<&str> =
        archive.attempts.iter().filter_map(|attempt| attempt.template.as_deref()).collect();
    let mut domains = Vec::new();
    match Skills::open(roots) {
        Ok(skills) => {
            let host = Host::detect();
            let machine = Machine {
                target: Target::host(),
                features: host.features,
                cores: host.cores,
                l1d_bytes: host.l1d_bytes,
                l2_bytes: host.l2_bytes,
                l3_bytes: host.l3_bytes,
            };
            for name in templates {
                let genes =
                    skills.template(name, &machine).map(|template| template.genes).unwrap_or_default();
                let domain = |gene: kernsmith_skill::Gene| Domain {
                    template: name.to_owned(),
                    gene: gene.name,
                    values: gene.values,
                };
                domains.extend(genes.into_iter().map(domain));
            }
        }
        Err(error) => note(&format!("untried values are not named: {error}")),
    }
    kernsmith_mine::frontier(archive, &domains)
}

fn table(columns: &[&str], rows: impl Iterator<Item = Vec<Cell>>) -> Table {
    Table { columns: columns.iter().map(|name| (*name).to_owned()).collect(), rows: rows.collect() }
}

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

fn real(value: Option<f64>) -> Cell {
    value.map_or(Cell::Null, Cell::Real)
}
