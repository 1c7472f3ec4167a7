//! What a wrong text is told: briefly, in place, and always with a hint.

use std::fs;
use std::path::{Path, PathBuf};

use program::SplitMix64;
use program::text::{ParseError, format, parse, render_all};

fn errors(text: &str) -> Vec<ParseError> {
    parse(text).expect_err("must not parse")
}

/// Line, column, caret and hint are there.
#[track_caller]
fn is_kind(error: &ParseError, text: &str) {
    let rendered = error.render("a.txt", text, false);
    let at = error.at;
    assert!(!error.hint.trim().is_empty(), "{rendered}");
    assert!(rendered.contains(&format!("= help: {}", error.hint)), "{rendered}");
    assert!(rendered.contains(&format!("--> a.txt:{}:{}", at.line, at.column)), "{rendered}");
    assert!(rendered.lines().any(|line| line.trim_start_matches([' ', '|']).starts_with('^')));
    assert!(at.line >= 1 && at.line as usize <= text.lines().count().max(1), "{rendered}");
}

#[test]
fn every_mistake_has_a_hint() {
    let overlong = "9".repeat(300);
    for (text, hint) in [
        ("read m0 len=0", "leave `len=` out"),
        ("m1 = mmap len=4097 r private", "1 to 4096"),
        (&format!("read m0 len={overlong}"), "the largest is 65535"),
        (&format!("read m0+{overlong}"), "the largest is 65535"),
        ("read m0 len=07", "without leading zeros"),
        ("read m0+", "decimal digits"),
        ("read m0 len=-1", "decimal digits"),
        ("exit mm0", "`exit mm1`"),
        ("read m0 fail=page#0", "`fail=page#1`"),
        ("read m0 fail=page#256", "the largest is 255"),
        ("l0 = lock_page m0 task=t99", "t8 to t15"),
        ("l0 = lock_page m0 task=t999", "t8 to t15"),
        ("schedule: 0*0", "`0*3`"),
        ("schedule: (0 1", "end it with `)*`"),
        ("schedule: 0*99999999999", "the largest is 255"),
        ("schedule: ()*", "such as `schedule:"),
        ("schedule: (0)", "such as `schedule:"),
        ("schedule: (0)* 1", "nothing stands behind"),
        ("read m0 len=2 len=3", "leave one of them out"),
        ("x = nop", "`nop` alone"),
        ("m1 = mmap len=1 rw private shared", "leave `shared` or"),
        ("machine cpus=2", "at the head"),
        ("cpu0:", "an operation stands there"),
        ("m1 = fork", "`mm1 = fork"),
        ("h0 = pin m0\nunpin h0 h0", "two different"),
        ("offline cma fail=dst#1", "leave `fail=` out"),
        ("expect m0 by B2", "add a field"),
        ("expect m0 ae=2 by B2", "0 for no"),
        ("expect m0 ref=1 ref=1 by B2", "leave one"),
        ("expect m0 used.cma=1 by B2", "`machine` has"),
        ("expect m0 len=1 len=1 ref=1 by B2", "leave one"),
        ("expect m0 ref=1 by B(2", "by"),
        ("h0 = get m0\nexpect h0[1] ref=1 by B2", "0 to 0"),
    ] {
        let text = format!("m0 = mmap len=4 rw private\n{text}\n");
        let errors = errors(&text);
        assert!(errors[0].hint.contains(hint), "{}", render_all(&errors, "a.txt", &text, false));
        errors.iter().for_each(|error| is_kind(error, &text));
    }
    for (text, hint) in [
        ("machine cpus=9", "`cpus=2`"),
        ("machine ptes=5", "powers of two"),
        ("machine batch=0", "1 to 31"),
        ("machine movable=70000", "65536"),
        ("machine cpus=2 cpus=2", "leave one"),
        ("machine cpus=99999999999", "the largest is 255"),
        ("\u{feff}nop", "UTF-8 without BOM"),
    ] {
        let errors = errors(text);
        assert!(errors.len() == 1 && errors[0].hint.contains(hint), "{text}: {errors:?}");
        errors.iter().for_each(|error| is_kind(error, text));
    }
}

#[test]
fn steps_beyond_the_cap_are_one_mistake() {
    let text = "nop\n".repeat(40_000);
    let errors = errors(&text);
    let rendered = render_all(&errors, "a.txt", &text, false);
    assert_eq!(errors.len(), 1);
    assert!(rendered.contains("at most 4096 steps") && rendered.contains("a.txt:4097:1"));
    assert!(parse(&"nop\n".repeat(4096)).is_ok());
}

#[test]
fn very_many_mistakes_are_counted_not_shown() {
    let shown = |text: &str| {
        let rendered = render_all(&errors(text), "a.txt", text, false);
        assert!(rendered.len() < 20_000, "{} bytes", rendered.len());
        (rendered.matches("error: ").count(), rendered.lines().last().unwrap_or("").to_string())
    };
    assert_eq!(shown(&"wirte\n".repeat(20)).0, 20);
    assert_eq!(shown(&"wirte\n".repeat(25)), (20, "… and 5 more".into()));
    assert_eq!(shown(&"wirte\n".repeat(100_000)), (20, "… and at least 980 more".into()));
    // On one line, too.
    for (head, word) in [
        ("read ", "x "),
        ("machine ", "x=1 "),
        ("expect ", "x=1 "),
        ("schedule: ", "9 "),
        ("mmap ", "len=1 "),
    ] {
        shown(&format!("{head}{}", word.repeat(200_000)));
    }
    assert_eq!(shown(&"x".repeat(1_000_000)).0, 1);
    assert_eq!(shown(&format!("read m{} len={}", "1".repeat(500_000), "1".repeat(9))).0, 1);
}

#[test]
fn long_lines_are_shortened_around_the_place() {
    let rendered = |text: &str| errors(text)[0].render("a.txt", text, false);
    let quoted = |text: &str| {
        let rendered = rendered(text);
        let lines: Vec<_> = rendered.lines().collect();
        let caret = lines[4].find('^').unwrap() - lines[3].find("| ").unwrap() - 2;
        (lines[3].split_once("| ").unwrap().1.to_string(), caret)
    };
    let pad = " ".repeat(40);
    for text in [
        format!("wirte {}", "m0 ".repeat(500)),
        format!("cpu0:{}wirte {}", pad.repeat(30), "m0 ".repeat(500)),
        format!("cpu0:{}wirte", pad.repeat(30)),
    ] {
        let (line, caret) = quoted(&text);
        assert!(line.contains('…') && line.chars().count() <= 160, "{line}");
        let at: String = line.chars().skip(caret).take(5).collect();
        assert_eq!(at, "wirte");
    }
    let word = "x".repeat(5000);
    let (line, _) = quoted(&format!("read {word}"));
    assert!(line.chars().count() <= 160);
    let (line, _) = quoted(&format!("wirte {}", "y".repeat(154)));
    assert!(!line.contains('…'));
}

#[test]
fn control_characters_are_escaped() {
    for text in ["wi\u{1b}[31mrte m0", "read\u{7}", "nop # \u{202e}\nx\u{0}\u{9b}y", "nop\nread\rz"]
    {
        let rendered = render_all(&errors(text), "a.txt", text, false);
        assert!(rendered.chars().all(|c| c == '\n' || !c.is_control()), "{rendered:?}");
    }
    let text = "wi\u{1b}rte m0";
    let rendered = render_all(&errors(text), "a.txt", text, false);
    assert!(rendered.contains("unknown operation `wi\\u{1b}rte`"), "{rendered}");
    assert!(rendered.contains("| wi\\u{1b}rte m0") && rendered.contains("^^^^^^^^^^^\n"));
}

fn texts(folder: &Path, out: &mut Vec<PathBuf>) {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            texts(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "txt") {
            out.push(path);
        }
    }
}

/// Words and signs, with the spaces between.
fn split(line: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut in_word = false;
    for c in line.chars() {
        let word = c.is_alphanumeric() || c == '_';
        match parts.last_mut().filter(|_| word && in_word) {
            Some(last) => last.push(c),
            None => parts.push(c.into()),
        }
        in_word = word;
    }
    parts
}

const WORDS: [&str; 38] = [
    "0",
    "1",
    "3",
    "7",
    "4096",
    "65536",
    "99999999999999999999",
    "-1",
    "00",
    "m0",
    "m9",
    "mm0",
    "mm1",
    "h0",
    "h1",
    "l0",
    "t8",
    "t99",
    "cpu1",
    "cpu9",
    "=",
    ":",
    "*",
    "(",
    ")",
    "#",
    "+",
    "[",
    "]",
    "len",
    "machine",
    "expect",
    "by",
    "put",
    "exit",
    "phase:\n",
    "\n",
    "\u{feff}",
];

#[test]
fn broken_corpus_texts_are_told_where_and_how() {
    let mut files = Vec::new();
    texts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus"), &mut files);
    assert!(files.len() > 100);
    let mut rng = SplitMix64::new(7);
    let mut rejected = 0;
    for path in files {
        let source = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = source.lines().filter(|line| !line.starts_with('#')).collect();
        for _ in 0..40 {
            let mut lines: Vec<String> = lines.iter().map(|line| line.to_string()).collect();
            for _ in 0..=rng.below(2) {
                let line = rng.below(lines.len() as u64) as usize;
                let mut parts = split(&lines[line]);
                if parts.is_empty() {
                    continue;
                }
                let part = rng.below(parts.len() as u64) as usize;
                match rng.below(4) {
                    0 => drop(parts.remove(part)),
                    1 => parts.insert(part, parts[part].clone()),
                    2 => parts[part] = WORDS[rng.below(WORDS.len() as u64) as usize].into(),
                    _ if rng.below(2) == 0 => lines.insert(line, lines[line].clone()),
                    _ => parts.clear(),
                }
                lines[line] = parts.concat();
            }
            let text = lines.join("\n");
            let Err(errors) = parse(&text) else { continue };
            rejected += 1;
            errors.iter().for_each(|error| is_kind(error, &text));
            assert!(format(&text).is_err());
        }
    }
    assert!(rejected > 3000, "{rejected}");
}
