//! A file with all its mutants behind a switch: `if mutated(7) { … } else { what was there }`.

use std::ops::Range;

use crate::site::{Change, Site};

/// The rewritten file, and which of its bytes belong to whom.
pub struct Rewritten {
    pub text: String,
    /// What each mutant would do.
    changes: Vec<(usize, Range<usize>)>,
    /// What each mutant wraps, its own change included.
    wraps: Vec<(usize, Range<usize>)>,
}

impl Rewritten {
    /// The mutants to blame for what the compiler refuses here: whose own text it is, or else those
    /// that wrap it the closest.
    pub fn blamed(&self, at: usize) -> Vec<usize> {
        let closest = |all: &[(usize, Range<usize>)]| {
            let around = || all.iter().filter(|(_, range)| range.contains(&at));
            let least = around().map(|(_, range)| range.len()).min();
            around().filter(|(_, range)| Some(range.len()) == least).map(|(id, _)| *id).collect()
        };
        let own: Vec<usize> = closest(&self.changes);
        if own.is_empty() { closest(&self.wraps) } else { own }
    }
}

/// Rewrites a file.
pub fn rewrite(text: &str, mut sites: Vec<Site>) -> Rewritten {
    // What is inserted comes before what begins there, what is wider before what it contains.
    sites.sort_by_key(|Site { id, range, .. }| {
        (range.start, !range.is_empty(), std::cmp::Reverse(range.end), *id)
    });
    let out = Rewritten { text: String::new(), changes: Vec::new(), wraps: Vec::new() };
    let mut writer = Writer { source: text, out };
    writer.copy(0..text.len(), &sites);
    writer.out
}

struct Writer<'a> {
    source: &'a str,
    out: Rewritten,
}

impl Writer<'_> {
    /// Copies a part that has these sites.
    fn copy(&mut self, part: Range<usize>, mut sites: &[Site]) {
        let mut at = part.start;
        while let Some(first) = sites.first() {
            let range = first.range.clone();
            self.out.text.push_str(&self.source[at..range.start]);
            let same = sites.iter().take_while(|site| site.range == range).count();
            let inner = sites[same..].iter().take_while(|site| site.range.start < range.end);
            let inner = inner.count();
            let (here, rest) = sites.split_at(same);
            let (inside, after) = rest.split_at(inner);
            self.wrap(range.clone(), here, inside);
            (at, sites) = (range.end, after);
        }
        self.out.text.push_str(&self.source[at..part.end]);
    }

    fn wrap(&mut self, range: Range<usize>, here: &[Site], inside: &[Site]) {
        let start = self.out.text.len();
        let wraps = !range.is_empty();
        if let [Site { id, change: Change::Empty, .. }] = here {
            self.out.text.push_str("({");
            self.copy(range, inside);
            let most =
                format!("}}).take(if crate::mutated::mutated({id}) {{ 0 }} else {{ usize::MAX }})");
            self.out.text.push_str(&most);
            self.out.wraps.push((*id, start..self.out.text.len()));
            return;
        }
        if wraps {
            self.out.text.push('(');
        }
        for Site { id, change, .. } in here {
            let (before, change, after) = match change {
                Change::Instead(expr) => ("if {} {(", &**expr, ")} else "),
                Change::Return(value) => (" if {} { return ", &**value, "; } "),
                Change::Never => (" if !{}", "", ""),
                Change::Empty => continue,
            };
            let switch = format!("crate::mutated::mutated({id})");
            self.out.text.push_str(&before.replace("{}", &switch));
            let own = self.out.text.len();
            self.out.text.push_str(change);
            self.out.changes.push((*id, own..self.out.text.len()));
            self.out.text.push_str(after);
        }
        if wraps {
            self.out.text.push_str("{(");
            self.copy(range, inside);
            self.out.text.push_str(")})");
        }
        let whole = start..self.out.text.len();
        self.out.wraps.extend(here.iter().map(|site| (site.id, whole.clone())));
    }
}

#[cfg(test)]
mod tests {
    use super::rewrite;
    use crate::list::{Mutant, Position, Span};
    use crate::site::sites;

    const SOURCE: &str = "\
fn f(a: u32, b: u32) -> bool {
    if self.has(Defect::X) && a > b {
        return !late(a);
    }
    match a {
        0 if b == 1 => false,
        1 => a < b + 1,
        _ => true,
    }
}
fn g() -> impl Iterator<Item = u32> { (0..3).map(|a| a + 9) }
fn h(a: Option<u32>) -> u32 {
    match a {
        _ if late() => 4,
        None => 5,
        Some(b) => b,
    }
}
";

    /// A mutant of the one place where this stands.
    fn mutant(genre: &str, at: &str, replacement: &str) -> Mutant {
        let (line, text) =
            (1..).zip(SOURCE.lines()).find(|(_, text)| text.contains(at)).expect("there");
        let column = text.find(at).expect("found") + 1;
        let (start, end) =
            (Position { line, column }, Position { line, column: column + at.len() });
        let (name, file) = (String::new(), String::new());
        let (replacement, genre) = (replacement.to_owned(), genre.to_owned());
        Mutant { name, file, span: Span { start, end }, replacement, genre }
    }

    fn rewritten(mutants: &[Mutant]) -> (String, Vec<bool>) {
        let numbered: Vec<_> = mutants.iter().enumerate().collect();
        let mut sites = sites(SOURCE, &numbered).expect("Rust");
        sites.sort_by_key(|site| site.id);
        let planted = sites.iter().map(|site| site.planted).collect();
        let text = rewrite(SOURCE, sites).text;
        syn::parse_file(&text).expect("still Rust");
        (text.replace("crate::mutated::mutated", "m"), planted)
    }

    #[test]
    fn sites_in_sites_are_nested() {
        let (text, _) = rewritten(&[
            mutant("BinaryOperator", "< b", "=="),
            mutant("BinaryOperator", "< b", ">"),
            mutant("BinaryOperator", "+ 1", "-"),
        ]);
        let expected = "1 => (if m(0) {(a == b + 1)} else if m(1) {(a > b + 1)} else \
                        {(a < (if m(2) {(b - 1)} else {(b + 1)}))}),";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn arms_guards_and_bodies() {
        let (text, _) = rewritten(&[
            mutant("FnValue", "if self", "true"),
            mutant("FnValue", "if self", "false"),
            mutant("MatchArm", "0 if", ""),
            mutant("MatchArmGuard", "b == 1", "true"),
            mutant("MatchArm", "1 => a", ""),
            mutant("UnaryOperator", "!late", ""),
        ]);
        let has = |part: &str| assert!(text.contains(part), "{part} in {text}");
        has("-> bool { if m(0) { return true; }  if m(1) { return false; } \n");
        has("0 if (if m(2) {(false)} else if m(3) {(true)} else {(b == 1)}) => false");
        has("1 if !m(4) => a");
        has("return (if m(5) {(late(a))} else {(!late(a))});");
    }

    /// Iterators stay of one type; an arm that no other stands in for cannot be missing.
    #[test]
    fn what_would_not_compile_is_done_otherwise_or_left_out() {
        let (text, _) = rewritten(&[
            mutant("FnValue", "(0..3).map(|a| a + 9)", "::std::iter::empty()"),
            mutant("BinaryOperator", "+ 9", "-"),
            mutant("MatchArm", "None => 5", ""),
        ]);
        let expected = "{({ (0..3).map(|a| (if m(1) {(a - 9)} else {(a + 9)})) })\
                        .take(if m(0) { 0 } else { usize::MAX })}";
        assert!(text.contains(expected), "{text}");
        assert!(text.contains("None => 5"), "{text}");
    }

    #[test]
    fn what_only_a_defect_evaluates_is_known() {
        let (_, planted) = rewritten(&[
            mutant("BinaryOperator", "&& a", "||"),
            mutant("BinaryOperator", "> b {", "<"),
            mutant("UnaryOperator", "!late", ""),
            mutant("BinaryOperator", "< b", "=="),
        ]);
        assert_eq!(planted, [false, true, true, false]);
    }

    #[test]
    fn what_the_compiler_refuses_is_blamed_on_the_closest() {
        let mutants = [mutant("BinaryOperator", "< b", "=="), mutant("BinaryOperator", "+ 1", "-")];
        let numbered: Vec<_> = mutants.iter().enumerate().collect();
        let rewritten = rewrite(SOURCE, sites(SOURCE, &numbered).expect("Rust"));
        let at = |part: &str| rewritten.text.find(part).expect("there");
        assert_eq!(rewritten.blamed(at("a == b")), [0]);
        assert_eq!(rewritten.blamed(at("b - 1")), [1]);
        assert_eq!(rewritten.blamed(at("{(b + 1)")), [1], "what it wraps");
        assert_eq!(rewritten.blamed(0), [0; 0]);
    }
}
