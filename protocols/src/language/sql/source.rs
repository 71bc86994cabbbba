//! The SQL text: its tokens, the positions of its parts, and what can be refused before it is parsed.
//!
//! Tokens are checked against an allow-list, and nesting is bounded, **before** the parser sees the text: the parser
//! builds chains like `a + b + …` without counting depth, and whatever walks or drops such a tree recurses.

use sqlparser::ast::{self, Spanned};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

use super::dialect::StudyDialect;
use super::error::Refusal;
use super::form::Form;

/// Longest SQL text, in bytes.
const MAX_BYTES: usize = 64 * 1024;
/// Deepest tree the tokens may build; above what [`super::expression`] accepts, so that its message comes first.
const MAX_NESTING: usize = 256;
/// Longest part quoted in a message, in characters.
const MAX_PART: usize = 80;

/// SQL text that was cut into allowed tokens.
pub(super) struct Source<'a> {
    /// What the text is read as.
    pub form: Form,
    sql: &'a str,
    /// The byte each line starts at.
    lines: Vec<usize>,
    /// Tokens without white space, comments and a closing semicolon.
    tokens: Vec<TokenWithSpan>,
}

impl<'a> Source<'a> {
    /// Cuts the text into tokens and refuses what no query consists of.
    pub fn read(sql: &'a str, form: Form) -> Result<Self, Refusal> {
        let lines = std::iter::once(0).chain(sql.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let mut source = Self { form, sql, lines, tokens: Vec::new() };
        if sql.len() > MAX_BYTES {
            let why = format!("the text has {} bytes and at most {MAX_BYTES} are read", sql.len());
            return Err(source.refuse(source.whole(), why, "Write a shorter query, or several studies"));
        }
        let tokens = Tokenizer::new(&StudyDialect, sql).tokenize_with_location().map_err(|error| {
            let span = Span::new(error.location, error.location);
            source.refuse(span, error.message, "Close the quotation or comment, or delete the sign")
        })?;
        source.tokens = tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
        if source.tokens.last().is_some_and(|token| token.token == Token::SemiColon) {
            source.tokens.pop();
        }
        source.check_tokens()?;
        source.check_nesting()?;
        Ok(source)
    }

    /// The tokens, for the parser.
    pub fn tokens(&self) -> Vec<TokenWithSpan> {
        self.tokens.clone()
    }

    /// The refusal of what stands at `span`.
    pub fn refuse(&self, span: Span, why: impl Into<String>, instead: impl Into<String>) -> Refusal {
        let span = if span.start.line == 0 { self.whole() } else { span };
        Refusal {
            part: self.shortened(span),
            line: span.start.line,
            column: span.start.column,
            why: why.into(),
            instead: instead.into(),
        }
    }

    /// The text at `span`, on one line.
    pub fn text(&self, span: Span) -> String {
        let (start, end) = (self.offset(span.start), self.offset(span.end));
        let text = self.sql.get(start..end.max(start)).unwrap_or_default();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The span of the whole statement.
    pub fn whole(&self) -> Span {
        let start = Location::new(1, 1);
        match (self.tokens.first(), self.tokens.last()) {
            (Some(first), Some(last)) => Span::new(first.span.start, last.span.end),
            _ => Span::new(start, Location::new(u64::MAX, 1)),
        }
    }

    /// Where a clause stands: from its first word, outside parentheses, to the next clause.
    pub fn clause(&self, keyword: &str) -> Span {
        const CLAUSES: [&str; 12] = [
            "FROM", "WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "OFFSET", "FETCH", "FOR", "WINDOW", "QUALIFY", "INTO",
        ];
        let mut depth = 0usize;
        let mut outside = self.tokens.iter().filter(|token| {
            match token.token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0
        });
        let Some(start) = outside.find(|token| is_word(token, keyword)) else { return self.whole() };
        let next = outside.find(|token| CLAUSES.iter().any(|clause| is_word(token, clause)));
        let end = match next {
            Some(next) => next.span.start,
            None => self.whole().end,
        };
        Span::new(start.span.start, end)
    }

    /// The whole extent of an expression. The parser's own spans leave out parentheses, prefixes and types.
    pub fn extent(&self, expr: &ast::Expr) -> Span {
        use ast::Expr;
        let extent = match expr {
            Expr::Nested(inner) => self.parentheses(self.extent(inner), 0),
            Expr::UnaryOp { op: _, expr } => self.widened(self.extent(expr), 1, 0),
            Expr::IsNull(expr) => self.widened(self.extent(expr), 0, 2),
            Expr::IsNotNull(expr) => self.widened(self.extent(expr), 0, 3),
            Expr::BinaryOp { left, op: _, right } => self.extent(left).union(&self.extent(right)),
            Expr::Between { expr, negated: _, low: _, high } => self.extent(expr).union(&self.extent(high)),
            Expr::InList { expr, list, negated: _ } => match list.last() {
                Some(last) => self.extent(expr).union(&self.widened(self.extent(last), 0, 1)),
                None => self.extent(expr),
            },
            Expr::Cast { kind: ast::CastKind::DoubleColon, expr, data_type, array: _, format: _ } => {
                let words = if *data_type == ast::DataType::DoublePrecision { 3 } else { 2 };
                self.widened(self.extent(expr), 0, words)
            }
            Expr::Cast { expr, .. }
            | Expr::Extract { expr, .. }
            | Expr::Ceil { expr, .. }
            | Expr::Floor { expr, .. }
            | Expr::Convert { expr, .. }
            | Expr::Position { expr, .. }
            | Expr::Substring { expr, .. }
            | Expr::Overlay { expr, .. }
            | Expr::Trim { expr, .. } => self.parentheses(self.extent(expr), 1),
            Expr::Rollup(_) | Expr::Cube(_) => self.parentheses(expr.span(), 1),
            Expr::Tuple(_) => self.parentheses(expr.span(), 0),
            Expr::Function(function) => self.call(function),
            Expr::TypedString(typed) => self.widened(typed.value.span, 1, 0),
            Expr::Interval(interval) => self.widened(interval.value.span(), 1, 0),
            other => other.span(),
        };
        if extent.start.line == 0 { self.whole() } else { extent }
    }

    fn call(&self, function: &ast::Function) -> Span {
        let name = function.name.span();
        let all = function.span();
        let Some(mut last) = self.index_ending_at(name.end) else { return all };
        let opens = |at: usize| self.tokens.get(at).is_some_and(|token| token.token == Token::LParen);
        let follows = |at: usize, word: &str| self.tokens.get(at).is_some_and(|token| is_word(token, word));
        if opens(last + 1) {
            last = self.closing(last + 1);
        }
        loop {
            let clause = match last + 1 {
                next if follows(next, "WITHIN") => next + 1,
                next if ["FILTER", "OVER"].iter().any(|word| follows(next, word)) => next,
                _ => break,
            };
            last = if opens(clause + 1) { self.closing(clause + 1) } else { clause };
        }
        let last = &self.tokens[last.min(self.tokens.len() - 1)];
        Span::new(name.start, last.span.end).union(&all)
    }

    /// The parentheses around `span`, and `before` tokens in front of them.
    fn parentheses(&self, span: Span, before: usize) -> Span {
        let Some(mut at) = self.index_starting_at(span.start) else { return span };
        let mut depth = 0usize;
        while at > 0 {
            at -= 1;
            match self.tokens[at].token {
                Token::RParen => depth += 1,
                Token::LParen if depth == 0 => {
                    let (first, last) = (at.saturating_sub(before), self.closing(at));
                    return Span::new(self.tokens[first].span.start, self.tokens[last].span.end);
                }
                Token::LParen => depth -= 1,
                _ => {}
            }
        }
        span
    }

    /// The token that closes the parenthesis opened by token number `open`; the last one if none does.
    fn closing(&self, open: usize) -> usize {
        let mut depth = 0usize;
        for (at, token) in self.tokens.iter().enumerate().skip(open) {
            match token.token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return at;
            }
        }
        self.tokens.len() - 1
    }

    fn widened(&self, span: Span, before: usize, after: usize) -> Span {
        let (Some(first), Some(last)) = (self.index_starting_at(span.start), self.index_ending_at(span.end)) else {
            return span;
        };
        let last = (last + after).min(self.tokens.len() - 1);
        Span::new(self.tokens[first.saturating_sub(before)].span.start, self.tokens[last].span.end)
    }

    fn index_starting_at(&self, start: Location) -> Option<usize> {
        self.tokens.binary_search_by(|token| token.span.start.cmp(&start)).ok()
    }

    fn index_ending_at(&self, end: Location) -> Option<usize> {
        self.tokens.binary_search_by(|token| token.span.end.cmp(&end)).ok()
    }

    /// The byte at a location; the end of the text where there is no such location.
    fn offset(&self, location: Location) -> usize {
        let line = usize::try_from(location.line).unwrap_or(usize::MAX).saturating_sub(1);
        let column = usize::try_from(location.column).unwrap_or(usize::MAX).saturating_sub(1);
        let Some(&start) = self.lines.get(line) else { return self.sql.len() };
        self.sql[start..].char_indices().nth(column).map_or(self.sql.len(), |(at, _)| start + at)
    }

    /// The text at `span`, cut where it is long.
    pub fn shortened(&self, span: Span) -> String {
        let text = self.text(span);
        if text.is_empty() {
            return self.sql[self.offset(span.start)..]
                .split_whitespace()
                .next()
                .map_or_else(|| "(end of the text)".to_owned(), |word| word.chars().take(MAX_PART).collect());
        }
        if text.chars().count() <= MAX_PART {
            return text;
        }
        text.chars().take(MAX_PART - 1).chain(['…']).collect()
    }

    fn check_tokens(&self) -> Result<(), Refusal> {
        let one = "a query is one SELECT over one data set; subqueries, WITH, UNION and the like are not available \
                   in this version";
        let Some((first, rest)) = self.tokens.split_first() else {
            return Err(self.refuse(self.whole(), "there is no query in the text", self.form.shape()));
        };
        if is_word(first, "WITH") {
            return Err(self.refuse(first.span, one, self.form.shape()));
        }
        if !is_word(first, "SELECT") {
            return Err(self.refuse(
                first.span,
                "a query begins with SELECT, and only queries are run",
                self.form.shape(),
            ));
        }
        for token in rest {
            if ["SELECT", "UNION", "INTERSECT", "EXCEPT", "MINUS"].iter().any(|word| is_word(token, word)) {
                return Err(self.refuse(token.span, one, "Write each SELECT as a study of its own"));
            }
            check_token(&token.token).map_err(|(why, instead)| self.refuse(token.span, why, instead))?;
        }
        Ok(())
    }

    /// Bounds the depth of the tree that the parser will build, from above: within one pair of parentheses (or one
    /// CASE), every operator between two commas can add a level, on top of what is inside.
    fn check_nesting(&self) -> Result<(), Refusal> {
        #[derive(Default)]
        struct Level {
            operators: usize,
            inside: usize,
            deepest: usize,
        }
        impl Level {
            fn next_segment(&mut self) {
                self.deepest = self.deepest.max(self.operators + self.inside);
                (self.operators, self.inside) = (0, 0);
            }

            fn depth(mut self) -> usize {
                self.next_segment();
                self.deepest
            }
        }
        let mut levels = vec![Level::default()];
        for token in &self.tokens {
            // An END or parenthesis too many is left to the parser's message.
            if closes(&token.token) && levels.len() > 1 {
                let closed = levels.pop().map_or(0, Level::depth);
                if let Some(level) = levels.last_mut() {
                    level.inside = level.inside.max(closed + 1);
                }
            }
            let Some(level) = levels.last_mut() else { return Ok(()) };
            match &token.token {
                Token::LParen => levels.push(Level::default()),
                Token::Word(word) if word.keyword == Keyword::CASE => levels.push(Level::default()),
                Token::Comma => level.next_segment(),
                Token::Word(word) => match word.keyword {
                    Keyword::WHEN | Keyword::THEN | Keyword::ELSE => level.next_segment(),
                    Keyword::NoKeyword => {}
                    _ => level.operators += 1,
                },
                Token::RParen | Token::Number(..) | Token::SingleQuotedString(_) => {}
                _ => level.operators += 1,
            }
            let depth: usize = levels.iter().map(|level| level.operators + level.inside + 1).sum();
            if depth > MAX_NESTING {
                let instead = "Write lists of values with IN (…) and bins with one CASE, or ask in several studies";
                return Err(self.refuse(token.span, "the expression is too long or too deeply nested", instead));
            }
        }
        Ok(())
    }
}

fn closes(token: &Token) -> bool {
    match token {
        Token::RParen => true,
        Token::Word(word) => word.keyword == Keyword::END,
        _ => false,
    }
}

fn is_word(token: &TokenWithSpan, expected: &str) -> bool {
    matches!(&token.token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(expected))
}

type WhyInstead = (&'static str, &'static str);

/// The allow-list of tokens.
fn check_token(token: &Token) -> Result<(), WhyInstead> {
    match token {
        Token::Word(word) if matches!(word.quote_style, None | Some('"')) => Ok(()),
        Token::Number(_, false) | Token::SingleQuotedString(_) => Ok(()),
        Token::Comma | Token::Period | Token::LParen | Token::RParen | Token::DoubleColon => Ok(()),
        Token::Plus | Token::Minus | Token::Mul | Token::Div => Ok(()),
        Token::Eq | Token::Neq | Token::Lt | Token::LtEq | Token::Gt | Token::GtEq => Ok(()),
        Token::SemiColon => Err(("a study asks one query", "Write one study for each query")),
        Token::Mod => Err(("the remainder is not available in this version", "Write bins with CASE WHEN")),
        Token::DoubleEq => Err(("it is not an operator of queries", "Write = for equality")),
        Token::StringConcat => Err(("text is compared, never computed", "Write each category as an item of its own")),
        Token::Placeholder(_) => Err(("queries have no parameters", "Write the value itself")),
        _ => Err((
            "this sign or form of literal is not part of queries",
            "Write numbers, 'text', names, + - * / = <> < <= > >= :: and parentheses",
        )),
    }
}
