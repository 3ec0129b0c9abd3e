//! SEARCH/REPLACE patches, the form that models know best.

const SEARCH: &str = "<<<<<<< SEARCH";
const MIDDLE: &str = "=======";
const REPLACE: &str = ">>>>>>> REPLACE";

/// Applies every block of a patch to `base`, in order; each must fit in exactly one place.
pub(crate) fn apply(base: &str, patch: &str) -> Result<String, String> {
    let blocks = blocks(patch)?;
    if blocks.is_empty() {
        return Err(format!("no block begins with `{SEARCH}`"));
    }
    let mut source = base.to_owned();
    for (number, (search, replace)) in blocks.iter().enumerate() {
        let place = find(&source, search).map_err(|problem| format!("block {}: {problem}", number + 1))?;
        source.replace_range(place, replace);
    }
    Ok(source)
}

fn blocks(patch: &str) -> Result<Vec<(String, String)>, String> {
    let mut blocks = Vec::new();
    let mut lines = patch.lines();
    while lines.by_ref().any(|line| line.trim_end() == SEARCH) {
        let mut part = |end: &str| -> Result<String, String> {
            let mut text = String::new();
            for line in lines.by_ref() {
                if line.trim_end() == end {
                    return Ok(text);
                }
                text.push_str(line);
                text.push('\n');
            }
            Err(format!("a block lacks its line `{end}`"))
        };
        let search = part(MIDDLE)?;
        blocks.push((search, part(REPLACE)?));
    }
    Ok(blocks)
}

/// The one place of `search`: byte for byte, else line by line without leading and trailing white space.
fn find(source: &str, search: &str) -> Result<std::ops::Range<usize>, String> {
    if search.trim().is_empty() {
        return Err("the SEARCH part is empty".to_owned());
    }
    let exact: Vec<usize> = source.match_indices(search).map(|(at, _)| at).collect();
    if let [at] = exact[..] {
        return Ok(at..at + search.len());
    }
    let wanted: Vec<&str> = search.lines().map(str::trim).collect();
    let mut starts = vec![0];
    starts.extend(source.match_indices('\n').map(|(at, _)| at + 1));
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let found: Vec<usize> = lines
        .windows(wanted.len())
        .enumerate()
        .filter(|(_, window)| *window == wanted.as_slice())
        .map(|(at, _)| at)
        .collect();
    match found[..] {
        [at] => {
            let end = starts.get(at + wanted.len()).copied().unwrap_or(source.len());
            Ok(starts[at]..end)
        }
        [] => Err(format!(
            "the SEARCH part is not in the base: `{}`",
            wanted.first().copied().unwrap_or_default()
        )),
        _ => Err(format!("the SEARCH part fits {} places; give more lines", found.len())),
    }
}

/// The difference of two texts, line by line, unchanged stretches shortened.
pub(crate) fn difference(old: &str, new: &str) -> String {
    const CONTEXT: usize = 3;
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (from, to) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    let mut lines: Vec<String> =
        old[head.saturating_sub(CONTEXT)..head].iter().map(|line| format!("  {line}")).collect();
    lines.extend(common(from, to));
    lines.extend(old[old.len() - tail..].iter().take(CONTEXT).map(|line| format!("  {line}")));
    lines.join("\n")
}

/// Longest common subsequence of lines (Wagner and Fischer, 1974).
fn common(old: &[&str], new: &[&str]) -> Vec<String> {
    let width = new.len() + 1;
    let mut length = vec![0_u32; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            length[i * width + j] = if old[i] == new[j] {
                length[(i + 1) * width + j + 1] + 1
            } else {
                length[(i + 1) * width + j].max(length[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push(format!("  {}", old[i]));
            (i, j) = (i + 1, j + 1);
        } else if i < old.len()
            && (j == new.len() || length[(i + 1) * width + j] >= length[i * width + j + 1])
        {
            lines.push(format!("- {}", old[i]));
            i += 1;
        } else {
            lines.push(format!("+ {}", new[j]));
            j += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "a\n  b\nc\nb\n";

    #[test]
    fn a_block_fits_exactly_or_but_for_indentation() {
        let patch =
            |search: &str, replace: &str| format!("{SEARCH}\n{search}\n{MIDDLE}\n{replace}\n{REPLACE}\n");
        assert_eq!(apply(BASE, &patch("c", "C")).unwrap(), "a\n  b\nC\nb\n");
        assert_eq!(apply(BASE, &patch("a\nb", "x")).unwrap(), "x\nc\nb\n");
        assert!(apply(BASE, &patch("z", "")).unwrap_err().contains("not in the base"));
        assert!(apply(BASE, &patch("", "x")).unwrap_err().contains("empty"));
        assert!(apply("q\nq\n", &patch("q", "x")).unwrap_err().contains("2 places"));
        assert!(apply(BASE, "nothing").is_err());
        assert!(apply(BASE, &format!("{SEARCH}\na\n")).unwrap_err().contains("lacks"));
    }

    #[test]
    fn a_difference_shows_what_changed() {
        let shown = difference("a\nb\nc\nd\ne\nf\ng\n", "a\nb\nc\nd\nX\nf\ng\n");
        assert_eq!(shown, "  b\n  c\n  d\n- e\n+ X\n  f\n  g");
    }
}
