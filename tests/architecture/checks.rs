//! The rules. Each is a function from a house to what is wrong with it.

use super::house::{House, Package, Source};

/// A rule: nothing found is fine.
pub(crate) type Check = fn(&House) -> Vec<String>;

pub(crate) const CHECKS: [(&str, Check); 10] = [
    ("layers", layers),
    ("owners", owners),
    ("unsafe", unsafe_rooms),
    ("data directories", data_directories),
    ("purity", purity),
    ("network", network),
    ("allow", allow),
    ("file length", file_length),
    ("sentences", sentences),
    ("top level", top_level),
];

/// Which crate stands on which floor; a crate depends only on lower ones. Rooms not yet built are named too.
const LAYERS: [&[&str]; 6] = [
    &["core", "stats", "tensor", "sandbox", "place"],
    &[
        "op-contract",
        "isa-corpus",
        "skill",
        "search-config",
        "experiment-log",
        "toolchain",
        "device",
        "planner",
    ],
    &["brief", "autotune", "llm", "wire", "batch"],
    &["worker", "harness", "engine", "mine", "report"],
    &["bench"],
    &["cli", "serve", "fleet", "xtask"],
];

/// Heavy crates of other people, and who may use each.
const OWNERS: [(&str, &[&str]); 19] = [
    ("petgraph", &["planner"]),
    ("tera", &["skill", "brief", "report"]),
    ("plotters", &["report"]),
    ("indicatif", &["cli"]),
    ("clap", &["cli"]),
    ("object", &["toolchain"]),
    ("iced-x86", &["toolchain"]),
    ("landlock", &["sandbox"]),
    ("seccompiler", &["sandbox"]),
    ("libloading", &["device"]),
    ("cudarc", &["device"]),
    ("zstd", &["experiment-log"]),
    ("rusqlite", &["experiment-log", "isa-corpus"]),
    ("quick-xml", &["isa-corpus"]),
    ("flate2", &["bench"]),
    ("async-openai", &["llm"]),
    ("reqwest", &["llm"]),
    ("rustls", &["llm"]),
    ("axum", &["serve"]),
];

/// Data directories and the crate that opens each.
const DATA_DIRECTORIES: [(&str, &str); 5] = [
    ("op-contracts", "op-contract"),
    ("isa-corpus", "isa-corpus"),
    ("skills", "skill"),
    ("search-configs", "search-config"),
    ("experiment-log", "experiment-log"),
];

const UNSAFE_ROOMS: [&str; 3] = ["device", "sandbox", "wire"];
const PURE: [&str; 4] = ["core", "planner", "stats", "tensor"];

/// What a pure crate may not say; a module of `std` is found in grouped imports too.
const IMPURE: [&str; 16] = [
    "std::fs",
    "std::net",
    "std::io",
    "std::process",
    "std::thread",
    "std::os",
    "std::env::var",
    "std::env::args",
    "std::env::current",
    "Instant",
    "SystemTime",
    "rand::rng(",
    "rand::random",
    "thread_rng",
    "OsRng",
    "SysRng",
];

/// Where sockets come from.
const SOCKETS: [&str; 6] = ["std::net", "TcpStream", "TcpListener", "UdpSocket", "tokio::net", "reqwest"];
const CONNECTED: [&str; 2] = ["llm", "serve"];

const MAX_LINES: usize = 500;

/// The visible top level, in full.
pub(crate) const TOP_LEVEL: [&str; 12] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "crates",
    "docs",
    "experiment-log",
    "isa-corpus",
    "op-contracts",
    "search-configs",
    "skills",
    "tests",
];

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&name))
}

/// The folder's name of one of our own packages.
fn own(package: &str) -> Option<&str> {
    match package {
        "kernsmith" => Some("cli"),
        "xtask" => Some("xtask"),
        _ => package.strip_prefix("kernsmith-"),
    }
}

fn layers(house: &House) -> Vec<String> {
    let mut problems = Vec::new();
    for Package { name, dependencies, dev_dependencies, .. } in &house.packages {
        let Some(here) = layer(name) else {
            problems.push(format!("`{name}` stands in no layer: add it to LAYERS and to crates/README.md"));
            continue;
        };
        for other in dependencies.iter().chain(dev_dependencies).filter_map(|package| own(package)) {
            if layer(other).is_none_or(|there| there >= here) {
                problems.push(format!("`{name}` depends on `{other}`, which is not in a lower layer"));
            }
        }
    }
    problems
}

fn owners(house: &House) -> Vec<String> {
    let mut problems = Vec::new();
    for (heavy, owners) in OWNERS {
        for package in &house.packages {
            let uses = package.dependencies.iter().any(|dependency| dependency == heavy);
            if uses && !owners.contains(&package.name.as_str()) {
                problems.push(format!(
                    "`{}` uses {heavy}, which belongs to {}",
                    package.name,
                    owners.join(", ")
                ));
            }
        }
    }
    problems
}

fn unsafe_rooms(house: &House) -> Vec<String> {
    each_source(house, |package, source| {
        let code = source.words().code;
        let uses = lines_with(&code, |line| {
            line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == "unsafe")
        });
        if !UNSAFE_ROOMS.contains(&package.name.as_str()) {
            // Test kernels and exported symbols of fixtures are text, so no test needs it either.
            return uses.into_iter().map(|line| format!("{}:{line}: unsafe code", source.path)).collect();
        }
        let lines: Vec<&str> = source.text.lines().collect();
        let blocks = lines_with(&code, |line| line.contains("unsafe {") || line.contains("unsafe impl"));
        let is_reasoned =
            |line: &usize| lines[line.saturating_sub(9)..*line].iter().any(|text| text.contains("SAFETY:"));
        let bare = blocks.into_iter().filter(|line| !is_reasoned(line));
        bare.map(|line| format!("{}:{line}: no SAFETY line", source.path)).collect()
    })
}

fn data_directories(house: &House) -> Vec<String> {
    each_source(house, |package, source| {
        let named = |directory: &str, text: &String| {
            !text.contains(char::is_whitespace) && text.split('/').any(|part| part == directory)
        };
        let mut problems = Vec::new();
        for text in source.shipped_words().strings {
            for (directory, owner) in DATA_DIRECTORIES {
                if package.name != owner && named(directory, &text) {
                    problems.push(format!("{}: `{text}`: only `{owner}` opens {directory}/", source.path));
                }
            }
        }
        problems
    })
}

fn purity(house: &House) -> Vec<String> {
    each_source(house, |package, source| {
        if !PURE.contains(&package.name.as_str()) {
            return Vec::new();
        }
        let code = ungrouped(&source.shipped_words().code);
        let found = IMPURE.iter().filter(|word| has_word(&code, word));
        found
            .map(|word| format!("{}: {word} in a crate without input, output, clock or dice", source.path))
            .collect()
    })
}

fn network(house: &House) -> Vec<String> {
    each_source(house, |package, source| {
        // What a pure crate may not do at all is said by `purity`; xtask calls package managers, which is their business.
        if CONNECTED.contains(&package.name.as_str()) || PURE.contains(&package.name.as_str()) {
            return Vec::new();
        }
        let code = ungrouped(&source.shipped_words().code);
        let found = SOCKETS.iter().find(|word| has_word(&code, word));
        found
            .map(|word| format!("{}: {word}: only llm connects, only serve listens", source.path))
            .into_iter()
            .collect()
    })
}

fn allow(house: &House) -> Vec<String> {
    each_source(house, |_, source| {
        let lines =
            lines_with(&source.words().code, |line| line.contains("#[allow(") || line.contains("#![allow("));
        let problem = |line| format!("{}:{line}: use #[expect(lint, reason = \"…\")]", source.path);
        lines.into_iter().map(problem).collect()
    })
}

fn file_length(house: &House) -> Vec<String> {
    each_source(house, |_, source| {
        let lines = source.text.lines().count();
        let problem = format!("{} has {lines} lines, {MAX_LINES} are allowed", source.path);
        (lines > MAX_LINES).then_some(problem).into_iter().collect()
    })
}

fn sentences(house: &House) -> Vec<String> {
    let mut problems = Vec::new();
    for package in house.packages.iter().filter(|package| package.name != "cli") {
        let Package { name, description, sources, .. } = package;
        let is_root =
            |source: &&Source| source.path.ends_with("/src/lib.rs") || source.path.ends_with("/src/main.rs");
        let first =
            sources.iter().find(is_root).and_then(|source| source.text.lines().next()).unwrap_or_default();
        if first.strip_prefix("//! ") != Some(description) {
            problems.push(format!("`{name}`: the description is `{description}`, the first line `{first}`"));
        }
        let layer = layer(name).unwrap_or(0);
        let row = format!("| `{name}` | L{layer} | {description} |");
        // A crate that no layer names has been reported already.
        if LAYERS.iter().any(|layer| layer.contains(&name.as_str()))
            && !house.readme.lines().any(|line| line.trim() == row)
        {
            problems.push(format!("crates/README.md lacks the row `{row}`"));
        }
    }
    problems
}

fn top_level(house: &House) -> Vec<String> {
    let missing = TOP_LEVEL.iter().filter(|entry| !house.top_level.iter().any(|there| there == *entry));
    let surplus = house.top_level.iter().filter(|entry| !TOP_LEVEL.contains(&entry.as_str()));
    let missing = missing.map(|entry| format!("{entry} is missing"));
    missing.chain(surplus.map(|entry| format!("{entry} does not belong here"))).collect()
}

fn each_source(house: &House, check: impl Fn(&Package, &Source) -> Vec<String>) -> Vec<String> {
    let pairs =
        house.packages.iter().flat_map(|package| package.sources.iter().map(move |source| (package, source)));
    pairs.flat_map(|(package, source)| check(package, source)).collect()
}

/// Numbers, from 1, of the lines that a condition holds for.
fn lines_with(code: &str, condition: impl Fn(&str) -> bool) -> Vec<usize> {
    code.lines().enumerate().filter(|(_, line)| condition(line)).map(|(place, _)| place + 1).collect()
}

/// Whether a path or name occurs that does not merely begin a longer name or end one.
fn has_word(code: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(place, _)| {
        let before = code[..place].chars().next_back();
        let after = code[place + word.len()..].chars().next();
        let open_end = word.ends_with('(') || word.ends_with("current");
        !before.is_some_and(is_name) && (open_end || !after.is_some_and(is_name))
    })
}

/// The code with every member of `std::{…}` written out behind it.
fn ungrouped(code: &str) -> String {
    let mut out = code.to_owned();
    for (place, group) in code.match_indices("std::{") {
        let members = &code[place + group.len()..];
        let members = &members[..members.find(';').unwrap_or(members.len())];
        for member in members.split([',', '{', '}']) {
            out.push_str("\nstd::");
            out.push_str(member.trim());
        }
    }
    out
}
