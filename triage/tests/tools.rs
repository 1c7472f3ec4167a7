//! What is done with a finding: made small, told, compared, exported, bisected, reported.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{GOOD, assert_code, directory, err, out, random, run, run_with_input};
use program::Program;
use serde_json::Value;

/// A page pinned before fork, and things beside the point.
const PINNED: &str = "machine\nm0 = mmap len=2 rw private\nwrite m0 len=2\nl0 = lock_page m0+1 \
                      task=t8\nh0 = pin m0\nunlock_page l0\ncpu1: mm1 = fork\nread mm1 m0\n";
const ON: [&str; 2] = ["--defect", "fork-shares-pinned"];

fn pinned(name: &str) -> std::path::PathBuf {
    let dir = directory(name);
    fs::write(dir.join("pinned.txt"), PINNED).expect("written");
    dir
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn minimise_keeps_what_matters_and_says_what_it_tried() {
    let dir = pinned("minimise");
    let output = run(&dir, &[&["minimise", "pinned.txt"], &ON[..]].concat());
    assert_code(&output, 0);
    let small: Program = out(&output).parse().expect("a program");
    let words: Vec<String> = small.steps().map(|step| step.op.to_string()).collect();
    assert_eq!(words, ["m0 = mmap len=1 rw private", "write m0", "h0 = pin m0", "mm1 = fork"]);
    assert!(err(&output).contains("7 operations made 4"), "{}", err(&output));
    assert!(err(&output).contains("drop a step: tried "), "{}", err(&output));
    fs::write(dir.join("good.txt"), GOOD).expect("written");
    assert_code(&run(&dir, &["minimise", "good.txt"]), 4);
    let told = run(&dir, &[&["minimise", "pinned.txt", "--format", "json"], &ON[..]].concat());
    let told = json(&out(&told));
    assert_eq!((&told["steps_before"], &told["steps"]), (&Value::from(7), &Value::from(4)));
}

#[test]
fn replay_shows_the_states_side_by_side_as_wide_as_asked() {
    let dir = pinned("beside");
    let shown = |columns: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_mm-lockstep"))
            .current_dir(&dir)
            .env("COLUMNS", columns)
            .args(["replay", "--diff", "pinned.txt", "--defect", "fork-shares-pinned"])
            .output()
            .expect("it runs");
        out(&output)
    };
    let wide = shown("120");
    assert!(wide.contains("mm0 m0+0 -> F0 rw"), "{wide}");
    let line = wide.lines().find(|line| line.contains("mm0 m0+0 -> F0 rw")).expect("a line");
    assert!(line.contains(" | mm0 m0+0 -> F0 r-"), "{line}");
    assert!(!wide.contains('\x1b'), "{wide}");
    let rows = |text: &str| text.lines().skip_while(|line| !line.starts_with("reference ")).count();
    assert!(rows(&shown("60")) > rows(&wide));
}

#[test]
fn explain_tells_who_held_what() {
    let dir = pinned("explain");
    let args = [&["explain", "pinned.txt", "--html", "story.html"], &ON[..]].concat();
    let output = run(&dir, &args);
    assert_code(&output, 1);
    let text = out(&output);
    assert!(text.starts_with("mapping: step 6, mm1 = fork.\n"), "{text}");
    assert!(text.contains("4. h0 = pin m0: h0 pins it; refcount 2 to 1026.\n"), "{text}");
    assert!(text.contains("but the optimised side has 1027"), "{text}");
    assert!(text.contains("| cpu0 "), "{text}");
    let row = text.lines().find(|line| line.starts_with(">  6 ")).expect("the divergent step");
    assert!(row.contains("mm1 = fork") && row.ends_with("1026 but 1027"), "{row}");
    let page = fs::read_to_string(dir.join("story.html")).expect("written");
    for part in ["<svg", "class=\"step wrong\"", "class=\"bar\"", "prefers-color-scheme: dark"] {
        assert!(page.contains(part), "{part}");
    }
    // Everything is in it: nothing is loaded.
    for from in ["http:", "https:", "src=", "<link", "@import", "url("] {
        assert!(!page.contains(from), "{from}");
    }
    assert_code(&run(&dir, &["explain", "pinned.txt"]), 0);
    let told =
        json(&out(&run(&dir, &[&["explain", "pinned.txt", "--format", "json"], &ON[..]].concat())));
    assert_eq!(told["steps"][5]["divergent"], true);
    assert_eq!(told["steps"][3]["gained"][0], "h0 pins it");
}

#[test]
fn a_name_in_the_page_is_text_and_not_markup() {
    let dir = directory("escape");
    fs::write(dir.join("<b>&.txt"), PINNED).expect("written");
    assert_code(&run(&dir, &["explain", "<b>&.txt", "--html", "story.html"]), 0);
    let page = fs::read_to_string(dir.join("story.html")).expect("written");
    assert!(!page.contains("<b>"), "{page}");
}

#[test]
fn diff_compares_programs_and_builds() {
    let dir = pinned("diff");
    fs::write(dir.join("other.txt"), PINNED.replace("read mm1 m0", "write mm1 m0"))
        .expect("written");
    let same = run(&dir, &["diff", "pinned.txt", "pinned.txt"]);
    assert_code(&same, 0);
    assert_eq!(
        out(&same),
        "programs: the same\nverdicts: the same\nstates of the optimised side: the same\n"
    );
    let other = run(&dir, &["diff", "pinned.txt", "other.txt"]);
    assert_code(&other, 1);
    assert!(out(&other).contains("read mm1 m0"), "{}", out(&other));
    let build = run(&dir, &["diff", "pinned.txt", "--with", "fork-shares-pinned"]);
    assert_code(&build, 1);
    assert!(out(&build).contains("first after operation 6"), "{}", out(&build));
    assert_code(&run(&dir, &["diff", "pinned.txt"]), 2);
    let told = json(&out(&run(&dir, &["diff", "pinned.txt", "--with", "C02", "--format", "json"])));
    assert_eq!(
        (&told["same"], &told["b"]["verdict"]),
        (&Value::from(false), &Value::from("mapping"))
    );
}

#[test]
fn exports_are_what_they_say() {
    let dir = directory("export");
    let program = random(4);
    fs::write(dir.join("p.txt"), program.to_string()).expect("written");
    assert_code(&run(&dir, &["export", "p.txt", "--bytes", "-o", "p"]), 0);
    assert_eq!(fs::read(dir.join("p")).expect("readable"), program.encode());
    assert_code(&run(&dir, &["export", "p.txt"]), 2);

    // The committed test is what is exported for this program, and so is compiled and run.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let seed = root.join("corpus/seeds/fork-x-pin.txt");
    let rust = run(&dir, &["export", "--rust", &seed.display().to_string()]);
    let committed = fs::read_to_string(root.join("lockstep/tests/exported.rs")).expect("readable");
    assert_eq!(out(&rust), committed);
}

#[test]
fn a_c_reproducer_compiles_and_makes_its_system_calls() {
    let dir = directory("export-c");
    // Every operation that a system call does without privilege.
    let source = "m0 = mmap len=4 rw private\nm1 = mmap len=2 rw shared\nm2 = mmap len=2 r private f0\n\
                  write m0 len=4\nread m2 len=2\nh0 = get m0\nmprotect m0 r\nmm1 = fork\nwrite mm1 m1\n\
                  cpu1: read mm1 m0\nm3 = mremap m0+1\nmadvise m0+2 dontneed\nmunmap m1\nput h0\nexit mm1\n";
    fs::write(dir.join("p.txt"), source).expect("written");
    assert_code(&run(&dir, &["export", "p.txt", "--c", "-o", "repro.c"]), 0);
    let flags =
        ["-O1", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror", "-o", "repro", "repro.c"];
    let built = Command::new("cc").current_dir(&dir).args(flags).output().expect("a C compiler");
    assert!(built.status.success(), "{}", err(&built));
    let ran = Command::new(dir.join("repro")).current_dir(&dir).output().expect("it runs");
    assert!(ran.status.success());
    let steps = out(&ran).lines().filter(|line| line.ends_with(": ok")).count();
    assert_eq!(steps, 14, "{}", out(&ran));
    // Whatever the program, the source is C.
    for index in 0..20 {
        let c = run_with_input(&dir, &["export", "-", "--c"], &random(index).to_string());
        fs::write(dir.join("any.c"), out(&c)).expect("written");
        let flags = ["-fsyntax-only", "-Wall", "-Werror", "any.c"];
        let checked =
            Command::new("cc").current_dir(&dir).args(flags).output().expect("a compiler");
        assert!(checked.status.success(), "{index}: {}", err(&checked));
    }
}

#[test]
fn bisect_names_the_defect() {
    let dir = pinned("bisect");
    let told = |args: &[&str]| {
        json(&out(&run(&dir, &[&["bisect", "pinned.txt", "--format", "json"], args].concat())))
    };
    let on = told(&["--defect", "canary", "--defect", "fork-shares-pinned"]);
    assert_eq!(on["culprits"], serde_json::json!(["canary"]), "the canary comes first: {on}");
    let on = told(&["--defect", "batch-put-twice", "--defect", "fork-shares-pinned"]);
    assert!(on["culprits"].as_array().is_some_and(|list| !list.is_empty()), "{on}");
    let all = told(&[]);
    let culprits = all["culprits"].as_array().expect("a list");
    assert!(culprits.contains(&Value::from("fork-shares-pinned")), "{all}");
    assert!(!culprits.contains(&Value::from("mremap-loses-mapcount")), "{all}");
}

/// A hole in a huge page, pinned across: only the variant that guesses tails goes wrong.
const HOLE: &str =
    "m0 = mmap len=4 rw private\nwrite m0\nmadvise m0+1 dontneed\nh0 = pin m0 len=3\n";

#[test]
fn bisect_and_diff_know_variants() {
    let dir = directory("variants");
    fs::write(dir.join("hole.txt"), HOLE).expect("written");
    let told = |args: &[&str]| {
        json(&out(&run(&dir, &[&["bisect", "hole.txt", "--format", "json"], args].concat())))
    };
    let on = told(&["--variant", "vfio-tail-skip", "--defect", "lost-wakeup"]);
    assert_eq!(on["culprits"], serde_json::json!(["vfio-tail-skip"]), "{on}");
    let all = told(&[]);
    let culprits = all["culprits"].as_array().expect("a list");
    assert!(culprits.contains(&Value::from("vfio-tail-skip")), "{all}");
    assert!(!culprits.contains(&Value::from("page-at-a-time")), "{all}");
    let args = ["diff", "hole.txt", "--with-variant", "vfio-tail-skip"];
    let output = run(&dir, &args);
    assert_code(&output, 1);
    assert!(out(&output).contains("first after operation 4"), "{}", out(&output));
}

#[test]
fn bisect_names_the_commit_and_passes_over_what_cannot_say() {
    let dir = pinned("bisect-git");
    let git = |args: &[&str]| {
        let output = Command::new("git")
            .current_dir(&dir)
            .args(["-c", "user.name=test", "-c", "user.email=test@example.com"])
            .args(args)
            .output()
            .expect("git");
        assert!(output.status.success(), "{}", err(&output));
        out(&output).trim().to_owned()
    };
    git(&["init", "-q"]);
    let mut commits = Vec::new();
    for code in [0, 0, 0, 125, 0, 1, 1, 125, 1, 1] {
        fs::write(dir.join("code"), format!("exit {code}\n# {}\n", commits.len()))
            .expect("written");
        git(&["add", "code"]);
        git(&["commit", "-q", "-m", "a commit"]);
        commits.push(git(&["rev-parse", "HEAD"]));
    }
    let run = |good: usize, bad: usize| {
        let args = [
            "bisect",
            "pinned.txt",
            "--run",
            "test -s \"$PROGRAM\" && sh code",
            "--format",
            "json",
        ];
        let args = [&args[..], &["--good", &commits[good], "--bad", &commits[bad]]].concat();
        json(&out(&run(&dir, &args)))
    };
    assert_eq!(run(0, 9)["culprits"], serde_json::json!([commits[5]]));
    // Between a good and a bad one lies one that cannot say: both are named.
    assert_eq!(run(2, 9)["culprits"], serde_json::json!([commits[5]]));
    assert_eq!(git(&["worktree", "list"]).lines().count(), 1, "nothing is left");
}

#[test]
fn a_report_is_a_page_and_files_for_ci() {
    let dir = pinned("report");
    assert_code(&run(&dir, &[&["triage", "pinned.txt"], &ON[..]].concat()), 1);
    let hunt = ["hunt", "--execs", "300", "--format", "json", "--log", "log.jsonl"];
    let hunt = run(&dir, &hunt);
    fs::write(dir.join("hunt.json"), out(&hunt)).expect("written");
    let output = run(
        &dir,
        &[
            "report",
            "--campaign",
            "hunt.json",
            "--log",
            "log.jsonl",
            "--html",
            "r.html",
            "--sarif",
            "r.sarif",
            "--junit",
            "r.xml",
        ],
    );
    assert_code(&output, 1);
    assert!(out(&output).contains("fork-shares-pinned-wrong-page-in-fork-pin"), "{}", out(&output));
    let page = fs::read_to_string(dir.join("r.html")).expect("written");
    let parts = ["<h2>Buckets</h2>", "<h2>Campaign hunt.json</h2>", "<h2>Detection</h2>"];
    for part in parts.into_iter().chain(["300 programs", "<h2>Over time log.jsonl</h2>"]) {
        assert!(page.contains(part), "{part}");
    }
    let log = fs::read_to_string(dir.join("log.jsonl")).expect("written");
    let last = json(log.lines().last().expect("a sample"));
    assert_eq!(last["programs"], 300);
    let most = format!("text-anchor=\"end\">{}</text>", last["paths"]);
    assert!(page.contains("paths taken") && page.contains(&most), "{page}");
    let sarif = json(&fs::read_to_string(dir.join("r.sarif")).expect("written"));
    assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "mapping");
    let junit = fs::read_to_string(dir.join("r.xml")).expect("written");
    assert!(junit.contains("failures=\"1\"") && junit.contains("h0 = pin m0"), "{junit}");
    assert_code(&run(&dir, &["report", "no-such-folder"]), 3);
    fs::write(dir.join("bad.json"), "[]").expect("written");
    assert_code(&run(&dir, &["report", "--campaign", "bad.json", "--html", "r.html"]), 3);
    let output = run(&dir, &["report", "--log", "bad.json", "--html", "r.html"]);
    assert_code(&output, 3);
    assert!(err(&output).contains("bad.json:1: "), "{}", err(&output));
}

#[test]
fn shells_and_man_are_served() {
    let dir = directory("manual");
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&dir, &["completions", shell]);
        assert_code(&script, 0);
        assert!(out(&script).contains("triage"), "{shell}");
    }
    assert_code(&run(&dir, &["manual", "man"]), 0);
    let page = fs::read_to_string(dir.join("man/mm-lockstep-triage.1")).expect("written");
    assert!(page.contains("mm\\-lockstep triage fuzz/artifacts"), "{page}");
}
