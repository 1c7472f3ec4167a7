//! The command line when things are not as they should be; the help, taken at its word.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::{GOOD, assert_code, directory, err, out, random, run, run_with_input};

#[test]
fn findings_that_have_nowhere_to_go_are_refused_before_the_hunt() {
    let dir = directory("nowhere");
    fs::write(dir.join("notadir"), "").expect("written");
    for folder in ["notadir", "notadir/below", "/proc/foo"] {
        let output =
            run(&dir, &["hunt", "--defect", "canary", "--execs", "1000", "--findings", folder]);
        assert_code(&output, 2);
        assert!(err(&output).contains(&format!("written to {folder}: ")), "{}", err(&output));
        assert_eq!(out(&output), "");
    }
    assert_code(&run(&dir, &["hunt", "--execs", "300", "--findings", "new/below"]), 0);
    // Nothing is left of the attempt.
    assert_eq!(fs::read_dir(&dir).expect("readable").count(), 1);
}

#[test]
fn a_finding_that_cannot_be_written_is_printed_all_the_same() {
    let dir = directory("unsaved");
    let hunt = ["hunt", "--execs", "1000", "--defect", "canary"];
    assert_code(&run(&dir, &hunt), 1);
    let file = fs::read_dir(dir.join("findings")).expect("written").flatten().next();
    let file = file.expect("one").path();
    fs::remove_file(&file).expect("removed");
    fs::create_dir_all(file.join("in the way")).expect("created");
    let output = run(&dir, &hunt);
    assert_code(&output, 3);
    assert!(out(&output).contains("\nfinding: "), "{}", out(&output));
    assert!(out(&output).contains("not written to a file\n"), "{}", out(&output));
    let name = file.file_name().expect("a name").to_string_lossy();
    assert!(err(&output).contains(&*name), "{}", err(&output));
    let json = run(&dir, &[&hunt[..], &["--format", "json"]].concat());
    assert_code(&json, 3);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert!(json["findings"][0]["file"].is_null(), "{json}");
    assert!(json["findings"][0]["program"].is_string(), "{json}");
}

#[test]
fn a_path_with_spaces_is_quoted_for_the_shell() {
    let dir = directory("spaces");
    let hunt = ["hunt", "--execs", "1000", "--defect", "canary", "--findings", "it's here"];
    let output = run(&dir, &hunt);
    assert_code(&output, 1);
    let text = out(&output);
    assert!(text.contains(r"replay: mm-lockstep replay 'it'\''s here/"), "{text}");
    let line = text.lines().find_map(|line| line.strip_prefix("replay: ")).expect("a line");
    assert_code(&shell(&dir, line), 1);
}

#[test]
fn nothing_to_do_is_no_success() {
    let dir = directory("vacuous");
    for args in [["--for", "0s"], ["--for", "999ms"], ["--execs", "0"], ["--execs", "0_0"]] {
        assert_code(&run(&dir, &[&["hunt"], &args[..]].concat()), 2);
    }
    fs::create_dir(dir.join("empty")).expect("created");
    fs::write(dir.join("empty/p.dat"), GOOD).expect("written");
    for command in ["replay", "fmt"] {
        let output = run(&dir, &[command, "empty"]);
        assert_code(&output, 3);
        assert!(err(&output).contains("no .txt file in empty"), "{}", err(&output));
    }
    for (name, text) in [("nothing.txt", ""), ("comment.txt", "# only this\n")] {
        fs::write(dir.join(name), text).expect("written");
        let output = run(&dir, &["replay", name]);
        assert_code(&output, 3);
        assert!(err(&output).contains("no operation in it"), "{}", err(&output));
    }
    assert_code(&run(&dir, &["replay", "--bytes", "nothing.txt"]), 3);
}

#[test]
fn a_bad_file_does_not_keep_the_others_from_their_turn() {
    let dir = directory("several");
    let wrong = format!("{GOOD}expect m0 ref=5 by B2\n");
    let files = [("bad.txt", "wrte m0\n"), ("wrong.txt", &wrong), ("good.txt", GOOD)];
    for (name, text) in files {
        fs::write(dir.join(name), text).expect("written");
    }
    let output = run(&dir, &["replay", "gone.txt", "bad.txt", "wrong.txt", "good.txt"]);
    assert_code(&output, 3);
    assert!(out(&output).contains("wrong.txt: expect\n"), "{}", out(&output));
    assert!(out(&output).contains("good.txt: clean"), "{}", out(&output));
    assert!(err(&output).contains("gone.txt"), "{}", err(&output));
    assert!(err(&output).contains("bad.txt:1:1"), "{}", err(&output));
    assert_code(&run(&dir, &["replay", "wrong.txt", "good.txt"]), 1);

    fs::write(dir.join("good.txt"), GOOD.replace(" = ", "   =  ")).expect("written");
    assert_code(&run(&dir, &["fmt", "bad.txt", "good.txt"]), 3);
    assert_code(&run(&dir, &["fmt", "--check", "good.txt"]), 0);
    assert_eq!(fs::read_to_string(dir.join("bad.txt")).expect("readable"), "wrte m0\n");
}

#[test]
fn input_larger_than_any_program_is_refused() {
    let dir = directory("large");
    let file = fs::File::create(dir.join("large.txt")).expect("created");
    file.set_len((16 << 20) + 1).expect("sparse");
    for command in ["replay", "show", "fmt"] {
        let output = run(&dir, &[command, "large.txt"]);
        assert_code(&output, 3);
        assert!(err(&output).contains("large.txt: larger than 16 MiB"), "{}", err(&output));
    }
}

#[test]
fn fmt_prints_bytes_as_text_and_leaves_the_file_alone() {
    let dir = directory("fmt-bytes");
    let program = random(7);
    fs::write(dir.join("p"), program.encode()).expect("written");
    for args in [&["fmt", "p"][..], &["fmt", "--bytes", "p"]] {
        let output = run(&dir, args);
        assert_code(&output, 0);
        assert_eq!(out(&output), program.to_string());
        assert_eq!(fs::read(dir.join("p")).expect("readable"), program.encode());
    }
    // Whatever the bytes: the text is canonical.
    fs::write(dir.join("noise"), [0xff, 0xfe, 0x00, 0x80, 0x07, 0x21]).expect("written");
    let text = run(&dir, &["fmt", "--bytes", "noise"]);
    assert_code(&text, 0);
    assert_code(&run_with_input(&dir, &["fmt", "--check", "-"], &out(&text)), 0);
    assert_code(&run(&dir, &["fmt", "--bytes", "--check", "noise"]), 2);
}

/// Runs a line as a user would type it.
fn shell(dir: &Path, line: &str) -> Output {
    let binary = Path::new(env!("CARGO_BIN_EXE_mm-lockstep"));
    let mut path = binary.parent().expect("a folder").as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    Command::new("sh")
        .current_dir(dir)
        .env("PATH", path)
        .args(["-c", line])
        .stdin(Stdio::null())
        .output()
        .expect("it runs")
}

#[test]
fn every_example_of_every_help_page_works() {
    let dir = directory("examples");
    fs::create_dir_all(dir.join("corpus")).expect("created");
    fs::create_dir_all(dir.join("findings")).expect("created");
    fs::write(dir.join("corpus/p.txt"), GOOD).expect("written");
    let mut examples = 0;
    for command in ["", "hunt", "replay", "show", "fmt", "defects"] {
        let args: Vec<&str> =
            [command, "--help"].into_iter().filter(|arg| !arg.is_empty()).collect();
        let help = out(&run(&dir, &args));
        let lines = help.lines().map(str::trim);
        let lines = lines
            .filter(|line| line.starts_with("mm-lockstep ") || line.contains("| mm-lockstep "));
        for line in lines {
            // What follows after two spaces says what it is for.
            let line = line.split("  ").next().unwrap_or(line);
            let words: Vec<&str> = line.split(' ').collect();
            for file in
                words.iter().filter(|w| w.starts_with("findings/") || w.starts_with("crash"))
            {
                fs::write(dir.join(file), GOOD).expect("written");
            }
            let output = if words.get(1) == Some(&"hunt") {
                let at = words.iter().position(|word| *word == "--execs").unwrap_or(words.len());
                let mut kept = words[..at].to_vec();
                kept.extend(words.iter().skip(at + 2));
                shell(&dir, &format!("{} --execs 300", kept.join(" ")))
            } else {
                shell(&dir, line)
            };
            let code = output.status.code();
            // So few programs need not reach all floors; a defect is there to be found.
            let finds = line.contains("--smoke") || line.contains("--defect");
            assert!(code == Some(0) || finds && code == Some(1), "{line}: {}", err(&output));
            examples += 1;
        }
    }
    assert!(examples >= 10, "{examples}");
}

#[test]
fn help_teaches_by_example() {
    let dir = directory("help");
    for command in ["hunt", "replay"] {
        let output = run(&dir, &[command, "--help"]);
        assert_code(&output, 0);
        assert!(out(&output).contains("Examples:\n  mm-lockstep "), "{}", out(&output));
    }
}
