//! `cargo xtask size`: lines of each crate, longest files and functions.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::shell::root;

const SHOWN: usize = 5;

/// Lines of one crate.
struct Count {
    name: String,
    files: usize,
    lines: usize,
}

pub(crate) fn run() -> Result<()> {
    let root = root();
    let (mut counts, mut files, mut functions) = (Vec::new(), Vec::new(), Vec::new());
    let mut folders: Vec<PathBuf> =
        fs::read_dir(root.join("crates"))?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    folders.push(root.join("tests"));
    folders.sort();
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut count = Count { name, files: 0, lines: 0 };
        for path in sources(folder)? {
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let shown = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
            let lines = text.lines().count();
            functions
                .extend(function_lengths(&text).into_iter().map(|(name, n)| (n, format!("{shown}: {name}"))));
            files.push((lines, shown));
            count.files += 1;
            count.lines += lines;
        }
        counts.push(count);
    }
    for Count { name, files, lines } in &counts {
        println!("{name:16} {files:4} files {lines:7} lines");
    }
    let total: usize = counts.iter().map(|count| count.lines).sum();
    println!("{:16} {:4} files {total:7} lines", "total", files.len());
    print_longest("longest files", &mut files);
    let mut lengths: Vec<usize> = functions.iter().map(|(length, _)| *length).collect();
    lengths.sort_unstable();
    println!("{} functions, median {} lines", lengths.len(), lengths.get(lengths.len() / 2).unwrap_or(&0));
    print_longest("longest functions", &mut functions);
    Ok(())
}

fn print_longest(title: &str, items: &mut [(usize, String)]) {
    items.sort_by(|a, b| b.cmp(a));
    println!("{title}:");
    for (lines, name) in items.iter().take(SHOWN) {
        println!("  {lines:5} {name}");
    }
}

fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
    Ok(found)
}

/// Name and lines of every function with a body, test code left out.
///
/// It relies on rustfmt: a function's last line is the first `}` as deep as its first line.
fn function_lengths(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let end = lines.iter().position(|line| *line == "#[cfg(test)]").unwrap_or(lines.len());
    let mut found = Vec::new();
    for (start, line) in lines[..end].iter().enumerate() {
        let code = line.trim_start();
        let depth = line.len() - code.len();
        let words = ["pub ", "pub(crate) ", "pub(super) ", "const ", "async ", "unsafe ", "extern \"C\" "];
        let mut rest = code;
        while let Some(shorter) = words.iter().find_map(|word| rest.strip_prefix(word)) {
            rest = shorter;
        }
        let Some(name) = rest.strip_prefix("fn ").and_then(|rest| rest.split(['(', '<']).next()) else {
            continue;
        };
        if code.ends_with(';') || code.ends_with('}') {
            continue;
        }
        let closing = format!("{}}}", " ".repeat(depth));
        let length = lines[start..].iter().position(|line| *line == closing);
        found.extend(length.map(|length| (name.to_owned(), length + 1)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_measured_from_their_first_line_to_their_last() {
        let text = "impl A {\n    pub(crate) const fn one(&self) {\n        2\n    }\n}\n\nfn two<T>(\n    a: T,\n) {\n}\n";
        assert_eq!(function_lengths(text), [("one".to_owned(), 3), ("two".to_owned(), 4)]);
    }
}
