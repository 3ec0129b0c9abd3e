//! Reads search-configs/: how a search is run.
//!
//! Every value has a default in `search-configs/default.toml`, which is embedded, commented and the reference page of all
//! keys. Layers lie on top of it, later ones win: the user's own file, the file or name given by `--config`, the
//! environment (`KERNSMITH_<SECTION>_<KEY>`), and flags. A layer is the same set of sections with every value optional; the
//! result, [`SearchConfig`], has no options.

mod error;
mod key;
mod layer;
mod load;
mod section;
mod source;
mod value;

pub use error::{ConfigError, Refusal};
pub use key::{Key, Rule, keys};
pub use load::{Loaded, Request, Row, load};
pub use section::{
    BudgetConfig, BuildConfig, ClosureConfig, ExecConfig, HarnessConfig, LlmConfig, LogConfig, LoopConfig,
    PathsConfig, ProposerConfig, ReportConfig, SearchConfig,
};
pub use source::{Origin, embedded, user_file};
pub use value::{ByteCount, Seed};
