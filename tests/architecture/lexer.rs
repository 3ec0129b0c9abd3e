//! Just enough of Rust's lexical rules to tell code from comments and literals.

/// A source text taken apart.
pub(crate) struct Words {
    /// Code with every comment gone and every string literal empty; lines are kept.
    pub(crate) code: String,
    /// The contents of string literals, escapes as they stand.
    pub(crate) strings: Vec<String>,
}

pub(crate) fn read_words(text: &str) -> Words {
    let mut words = Words { code: String::with_capacity(text.len()), strings: Vec::new() };
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if next == '"' {
            quoted(rest)
        } else if let Some(length) = raw(rest, &words.code) {
            length
        } else if next == '\'' {
            character(rest)
        } else {
            next.len_utf8()
        };
        let (piece, after) = rest.split_at(length);
        take(piece, &mut words);
        rest = after;
    }
    words
}

fn take(piece: &str, words: &mut Words) {
    if piece.starts_with("//") || piece.starts_with("/*") {
        words.code.extend(piece.chars().filter(|&c| c == '\n'));
    } else if piece.len() > 1 && piece.starts_with(['"', 'r']) {
        words.strings.push(piece.trim_start_matches('r').trim_matches('#').trim_matches('"').to_owned());
        words.code.push_str("\"\"");
        words.code.extend(piece.chars().filter(|&c| c == '\n'));
    } else if piece.len() > 1 {
        words.code.push_str("' '");
    } else {
        words.code.push_str(piece);
    }
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut place) = (0, 0);
    while place < text.len() {
        if text[place..].starts_with("/*") {
            depth += 1;
            place += 2;
        } else if text[place..].starts_with("*/") {
            depth -= 1;
            place += 2;
            if depth == 0 {
                return place;
            }
        } else {
            place += text[place..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (place, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return place + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a raw string, where one begins here and no identifier runs into it.
fn raw(text: &str, before: &str) -> Option<usize> {
    let hashes = text.strip_prefix('r')?.bytes().take_while(|&byte| byte == b'#').count();
    let opens = text[1 + hashes..].starts_with('"');
    // `br"…"` and `cr"…"` are raw too; any other letter in front makes an identifier.
    let word: String = before.chars().rev().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    if !opens || !matches!(word.as_str(), "" | "b" | "c") {
        return None;
    }
    let start = hashes + 2;
    let closing = format!("\"{}", "#".repeat(hashes));
    Some(text[start..].find(&closing).map_or(text.len(), |place| start + place + closing.len()))
}

/// The length of a character literal; a lifetime is a single quote by itself.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some(_)) => text[3..].find('\'').map_or(1, |place| place + 4),
        (Some(_), Some((place, '\''))) => place + 1,
        _ => 1,
    }
}

#[test]
fn code_comments_and_literals_are_told_apart() {
    let text = "let a = \"x // y\"; // unsafe\n/* unsafe /* */ */ let c = '\"'; let d: &'a str = r#\"q\"r\"#; let e = '\\'';\n";
    let words = read_words(text);
    assert_eq!(words.strings, ["x // y", "q\"r"]);
    assert!(!words.code.contains("unsafe"), "{}", words.code);
    assert!(
        words.code.contains("let d: &'a str = \"\"") && words.code.contains("let e = ' ';"),
        "{}",
        words.code
    );
    assert_eq!(words.code.lines().count(), 2);
}
