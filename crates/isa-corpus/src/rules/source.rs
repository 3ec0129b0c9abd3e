//! A source as rules see it.

/// Replaces comments by blanks, so that lines and columns stay; strings are kept, because assembly stands in them.
pub(super) fn without_comments(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut chars = source.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('/', Some('/')) => {
                out.push(' ');
                while let Some(next) = chars.next_if(|&next| next != '\n') {
                    out.push(if next == '\t' { '\t' } else { ' ' });
                }
            }
            ('/', Some('*')) => {
                chars.next();
                out.push_str("  ");
                let mut last = ' ';
                for next in chars.by_ref() {
                    out.push(if next == '\n' { '\n' } else { ' ' });
                    if last == '*' && next == '/' {
                        break;
                    }
                    last = next;
                }
            }
            ('"' | '\'', _) => literal(c, &mut chars, &mut out),
            _ => out.push(c),
        }
    }
    out
}

fn literal(quote: char, chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) {
    out.push(quote);
    while let Some(next) = chars.next() {
        out.push(next);
        if next == '\\' {
            out.extend(chars.next());
        } else if next == quote || next == '\n' {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_go_and_lines_and_strings_stay() {
        let code = without_comments("a; // x\n/* y\n z */ b(\"// kept\");\n");
        assert_eq!(code.lines().count(), 3);
        assert!(!code.contains('x') && !code.contains('z') && code.contains("// kept") && code.contains('b'));
    }
}
