//! The report.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::list::Mutant;
use crate::trial::Fate;

/// Of a crate.
#[derive(Default)]
struct Score<'a> {
    unviable: usize,
    planted: usize,
    caught: usize,
    by_corpus: usize,
    missed: Vec<(&'a Mutant, bool)>,
}

/// What stands before the numbers.
const ABOUT: &str = include_str!("about.md");

/// In Markdown. A line of `reasons` is a key, ` = ` and a reason; an asterisk in a key stands for
/// anything.
pub fn markdown(
    mutants: &[Mutant],
    fates: &BTreeMap<String, Fate>,
    reasons: &str,
    execs: u64,
) -> String {
    let mut drawn: Vec<&Mutant> = mutants.iter().collect();
    drawn.sort_by_key(|mutant| mutant.lot());
    // Up to the first that is not judged yet.
    let mut judged: Vec<&Mutant> =
        drawn.into_iter().take_while(|mutant| fates.contains_key(&mutant.name)).collect();
    judged.sort_by_key(|mutant| (&mutant.file, mutant.span.start));
    let mut scores: BTreeMap<&str, Score<'_>> = BTreeMap::new();
    for mutant in &judged {
        let score = scores.entry(mutant.file.split('/').next().unwrap_or_default()).or_default();
        match fates.get(&mutant.name) {
            Some(Fate::Unviable) => score.unviable += 1,
            Some(Fate::Planted) => score.planted += 1,
            Some(Fate::Caught(_)) => score.caught += 1,
            Some(Fate::CaughtByCorpus) => score.by_corpus += 1,
            Some(Fate::Survived) => score.missed.push((mutant, true)),
            Some(Fate::Unreached) | None => score.missed.push((mutant, false)),
        }
    }
    let mut out = ABOUT.to_owned();
    if judged.len() < mutants.len() {
        let _ = writeln!(
            out,
            "So far {} of {} mutants are judged, drawn by lot; `scripts/mutants.sh` goes on.\n",
            judged.len(),
            mutants.len()
        );
    }
    let _ = writeln!(
        out,
        "| crate | mutants | do not compile | in planted defects | viable | caught within {execs} executions | by the corpus besides | score |\n\
         |---|---|---|---|---|---|---|---|"
    );
    for (name, score) in &scores {
        let seen = score.caught + score.by_corpus;
        let viable = seen + score.missed.len();
        let all = viable + score.unviable + score.planted;
        let share = 100.0 * seen as f64 / viable.max(1) as f64;
        let Score { unviable, planted, caught, by_corpus, .. } = score;
        let _ = writeln!(
            out,
            "| `{name}` | {all} | {unviable} | {planted} | {viable} | {caught} | {by_corpus} | {share:.1}% |"
        );
    }
    for (name, score) in &scores {
        let _ = writeln!(
            out,
            "\n## Survivors in `{name}`\n\n| mutant | evaluated | why |\n|---|---|---|"
        );
        for (mutant, reached) in &score.missed {
            let why = reason(reasons, &mutant.key()).unwrap_or("not looked at yet");
            let (name, reached) = (&mutant.name, if *reached { "yes" } else { "never" });
            let _ = writeln!(out, "| `{}` | {reached} | {why} |", name.replace('|', "\\|"));
        }
    }
    out
}

fn reason<'a>(reasons: &'a str, key: &str) -> Option<&'a str> {
    let lines = reasons.lines().filter_map(|line| line.split_once(" = "));
    lines.filter(|(pattern, _)| holds(pattern, key)).map(|(_, why)| why).next()
}

/// Whether the parts between the asterisks follow each other in the key.
fn holds(pattern: &str, key: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = key.strip_prefix(first) else { return false };
    let mut last = first;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        (rest, last) = (&rest[at + part.len()..], part);
    }
    rest.is_empty() || last.is_empty()
}

#[cfg(test)]
mod tests {
    use super::holds;

    #[test]
    fn asterisks_stand_for_anything() {
        let key = "a/src/b.rs: replace < with > in World::f";
        assert!(holds(key, key));
        assert!(holds("a/src/b.rs:*World::f", key));
        assert!(holds("a/src/b.rs:*<*World*", key));
        assert!(!holds("a/src/b.rs:*World::g", key));
        assert!(!holds("a/src/b.rs:*World", key));
        assert!(!holds("src/b.rs*", key));
    }
}
