//! The house as plain data: what the checks look at.

use std::fs;
use std::path::Path;

use super::lexer::{Words, read_words};

/// Manifests, sources and the top level.
pub(crate) struct House {
    pub(crate) packages: Vec<Package>,
    /// `crates/README.md`.
    pub(crate) readme: String,
    /// Visible entries of the root, build outputs left out.
    pub(crate) top_level: Vec<String>,
}

/// One crate.
pub(crate) struct Package {
    /// Its folder's name; `cli` for the root package, whose sources are in `crates/cli`.
    pub(crate) name: String,
    pub(crate) description: String,
    /// Package names that it is built with.
    pub(crate) dependencies: Vec<String>,
    /// Package names that its tests are built with.
    pub(crate) dev_dependencies: Vec<String>,
    pub(crate) sources: Vec<Source>,
}

/// One source file.
pub(crate) struct Source {
    /// Relative to the root, with forward slashes.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl House {
    pub(crate) fn read(root: &Path) -> Self {
        let mut packages = vec![Package::read(root, root, "cli", &root.join("crates/cli"))];
        for folder in entries(&root.join("crates")) {
            let path = root.join("crates").join(&folder);
            if path.join("Cargo.toml").is_file() {
                packages.push(Package::read(root, &path, &folder, &path));
            }
        }
        let mut top_level = entries(root);
        top_level.retain(|entry| !entry.starts_with('.') && entry != "target");
        Self { packages, readme: read(&root.join("crates/README.md")), top_level }
    }

    pub(crate) fn package_mut(&mut self, name: &str) -> &mut Package {
        self.packages.iter_mut().find(|package| package.name == name).expect("a package of that name")
    }
}

impl Package {
    pub(crate) fn new(name: &str, description: &str, dependencies: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            description: description.to_owned(),
            dependencies: dependencies.iter().map(|&name| name.to_owned()).collect(),
            dev_dependencies: Vec::new(),
            sources: Vec::new(),
        }
    }

    pub(crate) fn with_source(mut self, path: &str, text: &str) -> Self {
        self.sources.push(Source { path: path.to_owned(), text: text.to_owned() });
        self
    }

    fn read(root: &Path, manifest_folder: &Path, name: &str, source_folder: &Path) -> Self {
        let manifest: toml::Table =
            read(&manifest_folder.join("Cargo.toml")).parse().expect("a manifest is TOML");
        let description = manifest["package"]["description"].as_str().unwrap_or_default();
        let names = |table: &str| dependency_names(&manifest, table);
        let mut sources = Vec::new();
        collect_sources(root, source_folder, &mut sources);
        let dependencies = [names("dependencies"), names("build-dependencies")].concat();
        let dev_dependencies = names("dev-dependencies");
        Self {
            name: name.to_owned(),
            description: description.to_owned(),
            dependencies,
            dev_dependencies,
            sources,
        }
    }
}

impl Source {
    /// The file without comments, and its string literals.
    pub(crate) fn words(&self) -> Words {
        read_words(&self.text)
    }

    /// The same without tests: they stand at the end of a file, or in files of their own.
    pub(crate) fn shipped_words(&self) -> Words {
        let is_test = self.path.ends_with("tests.rs")
            || ["/tests/", "/examples/", "/benches/"].iter().any(|part| self.path.contains(part));
        let end = if is_test { Some(0) } else { self.text.find("\n#[cfg(test)]\nmod ") };
        read_words(&self.text[..end.unwrap_or(self.text.len())])
    }
}

/// Names in a table, for the whole package and per target, with renamed ones under their real names.
fn dependency_names(manifest: &toml::Table, table: &str) -> Vec<String> {
    let per_target = manifest.get("target").and_then(toml::Value::as_table).into_iter().flatten();
    let tables = per_target.filter_map(|(_, value)| value.get(table)).chain(manifest.get(table));
    tables
        .filter_map(toml::Value::as_table)
        .flatten()
        .map(|(name, value)| value.get("package").and_then(toml::Value::as_str).unwrap_or(name).to_owned())
        .collect()
}

fn collect_sources(root: &Path, folder: &Path, sources: &mut Vec<Source>) {
    for entry in entries(folder) {
        let path = folder.join(&entry);
        if path.is_dir() {
            collect_sources(root, &path, sources);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let shown =
                path.strip_prefix(root).expect("a path below the root").to_string_lossy().replace('\\', "/");
            sources.push(Source { path: shown, text: read(&path) });
        }
    }
}

fn entries(folder: &Path) -> Vec<String> {
    let read = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<String> = read
        .map(|entry| entry.expect("a readable entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
