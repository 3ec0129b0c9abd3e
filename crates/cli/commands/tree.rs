//! `kernsmith tree`: a run's tree of strategies, now or at an earlier entry.

use kernsmith_core::Seq;

use crate::args::{Format, Global};
use crate::console::data;
use crate::error::{Answer, CliError};
use crate::exit::Exit;
use crate::session;

/// Far more than a terminal shows: the whole tree of any run.
const WHOLE_TREE_BYTES: usize = 1 << 20;

/// Which tree to print.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run; a unique prefix or `latest` will do.
    run: String,
    /// The tree as it stood after this entry.
    #[arg(long, value_name = "SEQ")]
    at: Option<u64>,
}

/// Runs the subcommand.
pub(crate) fn run(global: &Global, args: &Args) -> Answer {
    let reader = session::reader(global, &args.run)?;
    let mut tree = session::empty_tree(&reader)?;
    for entry in reader.entries().map_err(CliError::log)? {
        let entry = entry.map_err(CliError::log)?;
        if args.at.is_some_and(|at| entry.seq > Seq(at)) {
            break;
        }
        tree.apply(&entry);
    }
    match global.format {
        Format::Human => data(tree.render(WHOLE_TREE_BYTES).trim_end()),
        Format::Json | Format::Jsonl | Format::Csv | Format::Parquet => {
            data(&session::tree_json(&tree).to_string());
        }
    }
    Ok(Exit::Done)
}
