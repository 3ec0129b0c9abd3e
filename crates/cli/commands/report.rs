//! `kernsmith report`: writes a run's report again, out of its log alone.

use crate::args::{Format, Global};
use crate::console::data;
use crate::error::{Answer, CliError};
use crate::exit::Exit;
use crate::session;

/// Which run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run; a unique prefix or `latest` will do.
    #[arg(default_value = "latest")]
    run: String,
}

/// Runs the subcommand.
pub(crate) fn run(global: &Global, args: &Args) -> Answer {
    let directory = session::run_directory(global, &args.run)?;
    let options = session::report_options(&directory)?;
    let (summary, paths) = kernsmith_report::conclude(&directory, &options, true).map_err(CliError::log)?;
    match global.format {
        Format::Human => {
            if let Some(paths) = paths {
                data(&format!("wrote {}", paths.html.display()));
                data(&format!("wrote {}", paths.markdown.display()));
            }
        }
        Format::Json | Format::Jsonl | Format::Csv | Format::Parquet => {
            data(&serde_json::to_string(&summary).map_err(CliError::internal)?);
        }
    }
    Ok(Exit::Done)
}
