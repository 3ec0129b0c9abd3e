//! The reader of expressions: recursive descent with a depth limit.

use super::{Binary, ExprError, Function, Node, Unary};

/// Deep enough for any contract, shallow enough for any stack.
const MAX_DEPTH: u32 = 64;

pub(super) fn parse(text: &str) -> Result<Node, ExprError> {
    let mut reader = Reader { text, offset: 0, depth: 0 };
    let node = reader.or()?;
    reader.skip_space();
    if reader.offset == text.len() { Ok(node) } else { Err(reader.error("an operator or the end")) }
}

struct Reader<'a> {
    text: &'a str,
    offset: usize,
    depth: u32,
}

type Parsed = Result<Node, ExprError>;

impl<'a> Reader<'a> {
    fn error(&self, expected: &'static str) -> ExprError {
        ExprError::Syntax { text: self.text.to_owned(), offset: self.offset, expected }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.offset..]
    }

    fn skip_space(&mut self) {
        self.offset += self.rest().len() - self.rest().trim_start().len();
    }

    fn eat(&mut self, token: &str) -> bool {
        self.skip_space();
        let found = self.rest().starts_with(token);
        if found {
            self.offset += token.len();
        }
        found
    }

    fn left_assoc(&mut self, operators: &[(&str, Binary)], next: impl Fn(&mut Self) -> Parsed) -> Parsed {
        let mut left = next(self)?;
        'again: loop {
            for (token, operator) in operators {
                if self.eat(token) {
                    let right = next(self)?;
                    left = Node::Binary(*operator, Box::new(left), Box::new(right));
                    continue 'again;
                }
            }
            return Ok(left);
        }
    }

    fn or(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error("less nesting"));
        }
        let node = self.left_assoc(&[("||", Binary::Or)], Self::and);
        self.depth -= 1;
        node
    }

    fn and(&mut self) -> Parsed {
        self.left_assoc(&[("&&", Binary::And)], Self::comparison)
    }

    fn comparison(&mut self) -> Parsed {
        // Longer tokens first, or `<=` would be read as `<`.
        let operators = [
            ("==", Binary::Equal),
            ("!=", Binary::NotEqual),
            ("<=", Binary::LessEqual),
            (">=", Binary::GreaterEqual),
            ("<", Binary::Less),
            (">", Binary::Greater),
        ];
        self.left_assoc(&operators, Self::sum)
    }

    fn sum(&mut self) -> Parsed {
        self.left_assoc(&[("+", Binary::Add), ("-", Binary::Subtract)], Self::product)
    }

    fn product(&mut self) -> Parsed {
        let operators = [("*", Binary::Multiply), ("/", Binary::Divide), ("%", Binary::Remainder)];
        self.left_assoc(&operators, Self::unary)
    }

    fn unary(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error("less nesting"));
        }
        let node = if self.eat("-") {
            self.unary().map(|inner| Node::Unary(Unary::Negate, Box::new(inner)))
        } else if self.eat("!") {
            self.unary().map(|inner| Node::Unary(Unary::Not, Box::new(inner)))
        } else {
            self.atom()
        };
        self.depth -= 1;
        node
    }

    fn atom(&mut self) -> Parsed {
        self.skip_space();
        if self.eat("(") {
            let inner = self.or()?;
            return if self.eat(")") { Ok(inner) } else { Err(self.error("`)`")) };
        }
        match self.rest().chars().next() {
            Some(c) if c.is_ascii_digit() => self.number(),
            Some(c) if c.is_ascii_alphabetic() || c == '_' => self.name(),
            _ => Err(self.error("a number, an axis or `(`")),
        }
    }

    fn take_while(&mut self, legal: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|c| !legal(c)).unwrap_or(rest.len());
        self.offset += length;
        &rest[..length]
    }

    fn number(&mut self) -> Parsed {
        let start = self.offset;
        let digits = self.take_while(|c| c.is_ascii_digit() || c == '_').replace('_', "");
        let scale = match self.take_while(|c| c.is_ascii_alphabetic()) {
            "" => 1,
            "Ki" => 1 << 10,
            "Mi" => 1 << 20,
            "Gi" => 1 << 30,
            _ => 0,
        };
        let value =
            digits.parse::<i64>().ok().and_then(|value| value.checked_mul(scale)).filter(|_| scale > 0);
        value.map(Node::Number).ok_or_else(|| {
            self.offset = start;
            self.error("a 64-bit number with no suffix or Ki, Mi, Gi")
        })
    }

    fn name(&mut self) -> Parsed {
        let start = self.offset;
        let name = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
        if !self.eat("(") {
            return Ok(Node::Axis(name.to_owned()));
        }
        let mut arguments = vec![self.or()?];
        while self.eat(",") {
            arguments.push(self.or()?);
        }
        if !self.eat(")") {
            return Err(self.error("`,` or `)`"));
        }
        let function = match (name, arguments.len()) {
            ("min", _) => Function::Min,
            ("max", _) => Function::Max,
            ("ceil_div", 2) => Function::CeilDiv,
            ("sqrt", 1) => Function::Sqrt,
            _ => {
                self.offset = start;
                return Err(self.error("min(a, …), max(a, …), ceil_div(a, b) or sqrt(a)"));
            }
        };
        Ok(Node::Call(function, arguments))
    }
}
