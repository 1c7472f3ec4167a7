//! The text form: lossless, canonical, kind to its authors.

mod common;

use program::text::{Line, format, parse};
use program::{
    Errno, Expect, Field, HandleId, MmId, Op, Program, Range, Ret, Target, Thp, on_disk, written,
};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn every_valid_program_survives_text(program in common::programs()) {
        let text = program.to_string();
        let parsed = parse(&text).map_err(|errors| TestCaseError::fail(format!("{errors:?}\n{text}")))?;
        prop_assert_eq!(&parsed.program, &program);
        prop_assert_eq!(format(&text).unwrap(), text);
    }

    #[test]
    fn expectations_survive_text(program in common::programs(), seed: u64) {
        let program = common::with_expects(program, seed);
        let text = program.to_string();
        let parsed = parse(&text).map_err(|errors| TestCaseError::fail(format!("{errors:?}\n{text}")))?;
        prop_assert_eq!(parsed.program, program);
    }

    #[test]
    fn no_text_makes_the_parser_panic(lines in prop::collection::vec(
        prop::collection::vec(prop::sample::select(common::WORDS), 0..7), 0..12,
    )) {
        let text: String = lines.iter().map(|words| words.join(" ") + "\n").collect();
        match parse(&text) {
            Ok(parsed) => {
                prop_assert_eq!(parsed.program.validate(), Ok(()));
                let formatted = format(&text).unwrap();
                prop_assert_eq!(&parse(&formatted).unwrap().program, &parsed.program);
                prop_assert_eq!(format(&formatted).unwrap(), formatted);
            }
            Err(errors) => for error in errors {
                prop_assert!(error.render("t", &text, false).contains(&error.message()));
            },
        }
    }

    #[test]
    fn nor_does_garbage(text in "(\\PC|[ \n#=:*()+m0]){0,60}") {
        if let Err(errors) = parse(&text) {
            errors.iter().for_each(|error| drop(error.render("t", &text, true)));
        }
    }
}

const TOUR: &str = "\
# A tour.
#   Of everything.
machine cpus=2 preempt=none ptes=4 normal=512 movable=256 cma=256 batch=3 thp=always

setup:
  m0 = mmap len=4 rw private  # four pages
  m1 = mmap len=4 r shared f0+2 shift=1
  cpu1: write m0+1 len=2 place=movable fail=page#1
  read m0
  mprotect m0 len=4 r
  m2 = mremap m0+1 len=2 shift=1
  # Advice.
  madvise m0 len=4 populate_read
  mm1 = fork
  h0 = get mm1 m0+1 len=2 write fast
  expect h0[1] ref=2 map=1 by B2
  h1 = pin m0 len=4
  h2 = pin m0 fast
  expect mm1 m0+1 zone=movable data=3.1 w=0 by B2
  expect result=EFAULT by B5
  expect machine used.normal=4 by B2
phase:
  cpu0: unpin h1 h2 dirty hole
  cpu1: put h0
then:
  peek h0
schedule: 0*3 1 (0*2 1)*
";

#[test]
fn the_tour_is_canonical() {
    let tour = TOUR.replace("  peek h0\n", "  exit mm1\n");
    assert_eq!(format(&tour).unwrap(), tour);
    let parsed = parse(&tour).unwrap();
    assert_eq!(parsed.description, ["A tour.", "Of everything."]);
    assert_eq!(parsed.lines[5], Line::Step(0, false));
    assert_eq!(parsed.lines[22], Line::Step(11, true));
    assert_eq!(parsed.steps.len(), 14);
    assert_eq!(
        (parsed.expects[0].line, parsed.expects[0].column, parsed.expects[0].len),
        (16, 3, 30)
    );
    assert_eq!(parsed.program.phases.len(), 13);
}

#[test]
fn sections_are_printed_where_they_are_needed() {
    let text = "setup:\nnop\nphase:\ncpu0: nop\ncpu1: nop\nsetup:\ncpu1: nop\nphase:\ncpu0: nop\n";
    let printed = text.parse::<Program>().unwrap().to_string();
    let sections = "setup:\n  nop\nphase:\n  cpu0: nop\n  cpu1: nop\nthen:\n  cpu1: nop\n  nop\n";
    assert_eq!(printed.split_once('\n').unwrap().1, sections);
}

#[test]
fn names_are_free_and_renumbered() {
    let text = "m7=mmap len=2 private rw\nh3 = get m7\nmm5 = fork\nput h3\nexit mm5\n";
    let canonical = "m0 = mmap len=2 rw private\nh0 = get m0\nmm1 = fork\nput h0\nexit mm1\n";
    assert_eq!(format(text).unwrap(), canonical);
    assert_eq!(parse(text).unwrap().program, parse(canonical).unwrap().program);
}

#[test]
fn the_machine_has_defaults() {
    let program: Program = "machine thp=never cma=0\nnop".parse().unwrap();
    assert_eq!((program.shape.thp, program.shape.pages), (Thp::Never, [512, 256, 0, 0, 0]));
    assert_eq!((program.shape.cpus, program.steps().count()), (2, 1));
    assert_eq!("".parse(), Ok(Program::default()));
}

#[test]
fn lines_mean_what_they_say() {
    let program: Program = "\
m0 = mmap len=8 rw private
write m0+2 len=3
expect m0+2 len=3 data=2.0 by R1
h0 = pin m0+2 len=3
expect h0[2] data=2.2 zero=0 by R1
expect result=3 by R1
m1 = mmap len=1 r private f1+7
expect m1 data=f1.7 present=0 by R1
m2 = mremap m0+2
"
    .parse()
    .unwrap();
    let area = program::AreaId(0);
    let range = Range { area, off: 2, len: 3 };
    let expect =
        |after, target, ret, fields| Expect { after, target, ret, fields, cite: "R1".into() };
    assert_eq!(
        program.expects,
        [
            expect(2, Target::Page(MmId(0), range), None, vec![(Field::Data, written(1, 0))]),
            expect(
                3,
                Target::Handle(HandleId(0), 2),
                None,
                vec![(Field::Data, written(1, 2)), (Field::Zero, 0)]
            ),
            expect(3, Target::Result, Some(Ret::Ok(3)), vec![]),
            expect(
                4,
                Target::Page(MmId(0), Range { area: program::AreaId(1), off: 0, len: 1 }),
                None,
                vec![(Field::Data, on_disk(1, 7)), (Field::Present, 0)]
            ),
        ]
    );
    let last = program.steps().last().unwrap();
    let range = Range { area, off: 2, len: 1 };
    assert_eq!(last.op, Op::Mremap { mm: MmId(0), range, area: program::AreaId(2), shift: 0 });
    assert_eq!(Ret::Err(Errno::SIGBUS).to_string(), "SIGBUS");
}

#[test]
fn long_schedules_are_broken_into_lines() {
    let slices: String = (0..200).map(|n| format!("{}*{} ", n % 2, 1 + n % 30)).collect();
    let program: Program = format!("nop\nschedule: {slices} (1 0*9)*").parse().unwrap();
    let text = program.to_string();
    assert!(text.lines().all(|line| line.len() <= 100) && text.contains(" (1 0*9)*\n"));
    assert_eq!(text.parse(), Ok(program));
}

/// The mistakes of a text, as `line:column-end message`.
fn mistakes(text: &str) -> Vec<String> {
    let errors = parse(text).expect_err("must not parse");
    let of =
        |at: program::text::Location| format!("{}:{}-{}", at.line, at.column, at.column + at.len);
    errors.iter().map(|error| format!("{} {}", of(error.at), error.message())).collect()
}

fn hint(text: &str) -> String {
    parse(text).expect_err("must not parse")[0].hint.clone()
}

#[track_caller]
fn refuses(text: &str, message: &str, hint_part: &str) {
    let area = format!("m0 = mmap len=4 rw private\n{text}");
    assert_eq!(mistakes(&area), [message]);
    let hint = hint(&area);
    assert!(hint.contains(hint_part), "hint is: {hint}");
}

#[test]
fn operations_and_arguments() {
    refuses("wirte m0", "2:1-6 unknown operation `wirte`", "did you mean `write`?");
    refuses("frobnicate m0", "2:1-11 unknown operation `frobnicate`", "mmap, munmap");
    refuses("read", "2:1-5 `read` wants a range", "usage: read [mm1] m0+1 [len=2]");
    refuses(
        "m1 = mmap",
        "2:6-10 `mmap` wants `len=` and a protection and `private` or `shared`",
        "usage",
    );
    refuses("read m0 m0", "2:9-11 `m0` contradicts `the one before it`", "");
    refuses("read m0 len=1 len=2", "2:15-20 `len=` is here twice", "");
    refuses("read m0 lne=2", "2:9-12 `read` does not take `lne=`", "did you mean `len`?");
    refuses(
        "madvise m0 dontned",
        "2:12-19 `madvise` does not take `dontned`",
        "did you mean `dontneed`?",
    );
    refuses("mprotect m0 r rw", "2:15-17 `rw` contradicts `r`", "");
    refuses("h0 = pin m0 fast_only", "2:13-22 `pin` does not take `fast_only`", "usage: h0 = pin");
    refuses("read m0 len=four", "2:13-17 `len` is a number up to 65535, not `four`", "");
    refuses("read m0 len= 4 =", "2:16-17 unexpected `=`", "usage");
    refuses("read m0+x", "2:6-10 an offset is a number up to 65535, not `x`", "");
    refuses(
        "write m0 place=high",
        "2:16-20 `high` is not a value of `place`",
        "one of normal, movable, cma",
    );
    refuses("write m0 fail=page", "2:15-19 `page` is not a value of `fail`", "`page#1`");
    refuses(
        "write m0 fail=pge#1",
        "2:15-18 `pge` is not a value of `fail`",
        "did you mean `page`?",
    );
    refuses("l0 = lock_page m0 task=8", "2:24-25 `8` is not a value of `task`", "t8 to t15");
}

#[test]
fn names() {
    refuses("read m1", "2:6-8 nothing above defines `m1`", "defined so far: `m0`");
    refuses("put h0", "2:5-7 nothing above defines `h0`", "it would be a handle");
    refuses("m0 = mmap len=1 r private", "2:1-3 `m0` is defined on line 1 already", "`m1` is free");
    refuses("mm0 = fork", "2:1-4 `mm0` exists from the start", "`mm1` is free");
    refuses("h0 = read m0", "2:1-3 `read` creates nothing to name", "");
    refuses("m1 = fork", "2:1-3 `m1` is not a name for what `fork` creates: `mm` and a number", "");
    refuses("get m0", "2:1-4 `get` wants a name for a handle (`h0 = get …` or `pin …`)", "usage");
    refuses("m1 = mmap len=1 r private f2", "2:27-29 nothing above defines `f2`", "f0 and f1");
    // One mistake in a definition is not a second one in every use.
    refuses(
        "h0 = get m0 lne=2\npeek h0\nexpect h0 ref=1 by B2\nput h0",
        "2:13-16 `get` does not take `lne=`",
        "",
    );
}

#[test]
fn rules() {
    refuses(
        "read m0+4",
        "2:6-10 page 4 is outside `m0`, which has 4",
        "line 1 gives it 4 pages, 0 to 3",
    );
    refuses("read m0+2 len=3", "2:6-10 pages 2..=4 reach outside `m0`, which has 4", "0 to 3");
    refuses("read m0 len=0", "2:13-14 a range has at least one page", "");
    refuses("m1 = mmap len=4097 r private", "2:15-19 an area has 1 to 4096 pages, not 4097", "");
    refuses(
        "m1 = mremap m0 shift=4",
        "2:22-23 a shift of 4 pages is a whole page table or more",
        "boundary",
    );
    refuses("exit mm0", "2:6-9 mm0 never exits", "");
    refuses(
        "h0 = get m0\nput h0\n\npeek h0",
        "5:6-8 `h0` was dropped already",
        "that is done on line 3",
    );
    refuses(
        "h0 = get m0\nunpin h0",
        "3:7-9 `h0` was made by `get`, which `unpin` does not drop",
        "use `put`",
    );
    refuses(
        "h0 = pin m0\nput h0",
        "3:5-7 `h0` was made by `pin`, which `put` does not drop",
        "use `unpin`",
    );
    refuses("h0 = pin m0\nunpin h0 h0", "3:10-12 `h0` is unpinned twice in one call", "");
    refuses(
        "h0 = pin m0\nunpin h0 hole",
        "3:10-14 a hole lies between two arrays of pages",
        "two handles",
    );
    refuses("mm1 = fork\nexit mm1\nread mm1 m0", "4:6-9 `mm1` has exited", "line 3");
    refuses("offline cma fail=dst#1", "2:18-23 no failure is injected into `offline`", "");
    refuses("read m0 fail=page#0", "2:14-20 attempts are counted from 1", "");
    refuses(
        "l0 = lock_page m0 task=t3",
        "2:24-26 t3 is not a task that locks pages; t8 to t15 are",
        "",
    );
    refuses("cpu2: nop", "2:1-5 the machine has no cpu2", "machine cpus=N");
    let many: String = (0..65).map(|n| format!("h{n} = get m0\n")).collect();
    refuses(&many, "66:1-4 a program has at most 64 handles", "");
}

#[test]
fn sections() {
    refuses(
        "phase:\n  read m0",
        "3:3-7 an operation in a `phase:` says on which CPU it runs",
        "`cpu0: read …`",
    );
    refuses("phase:\nthen:\nread m0", "2:1-6 a phase without operations", "below it");
    refuses("setup: read m0", "2:8-12 unexpected `read`", "on the lines below");
    refuses("stup:\nread m0", "2:1-5 unexpected `stup`", "end with a colon");
    refuses(
        "phase:\ncpu0: h0 = get m0\ncpu1: put h0",
        "4:11-13 `h0` is created by another CPU in the same phase",
        "in a later phase",
    );
    refuses(
        "h0 = get m0\nphase:\ncpu0: peek h0\ncpu1: put h0",
        "5:11-13 another CPU uses `h0` in the same phase, so it cannot end here",
        "in a later phase",
    );
    refuses("machine cpus=2", "2:1-8 `machine` stands once, before the first operation", "");
    assert_eq!(mistakes("machine cpus=9"), ["1:9-13 a machine has 1 to 8 CPUs, not 9"]);
    assert_eq!(
        mistakes("machine ptes=6"),
        ["1:9-13 a page table has 4, 8, 16… 512 entries, not 6"]
    );
    assert_eq!(mistakes("machine zones=2"), ["1:9-14 `machine` does not take `zones=`"]);
    assert_eq!(hint("machine thp=on"), "one of always, madvise, never");
    refuses("schedule: 0 (1", "2:13-14 this loop is not closed", "");
    refuses("schedule: (0)* 1", "2:16-17 a schedule ends with its loop", "");
    refuses("schedule: 2*3", "2:11-12 the machine has no CPU 2", "machine cpus=N");
    refuses("schedule: 0+16", "2:11-15 task 16 of a CPU: at most 15 wait for it", "0+1");
    refuses("schedule: 0*0", "2:11-12 a slice runs for 1 to 255 points", "");
}

#[test]
fn expectations() {
    refuses(
        "expect m0 ref=1",
        "2:15-16 an expectation ends with the rule that it comes from",
        "by B2",
    );
    refuses("expect by B2", "2:1-7 an expectation says what it looks at", "expect m0+1");
    refuses("expect m0 by B2", "2:1-7 an expectation states something", "");
    refuses("expect m0 rfe=1 by B2", "2:11-14 unknown field `rfe`", "did you mean `ref`?");
    refuses(
        "expect m0 ref=x by B2",
        "2:15-16 `ref` is a number up to 18446744073709551615, not `x`",
        "",
    );
    refuses("expect m0 ae=2 by B2", "2:11-13 `ae` is never 2", "");
    refuses("expect m0 ref=1 ref=1 by B2", "2:17-20 `ref` is stated twice", "");
    refuses("expect m0 used.cma=1 by B2", "2:11-19 `used.cma` is not a field of this", "");
    refuses(
        "expect m0 data=9.0 by B2",
        "2:11-15 operation 9 does not write that page",
        "STEP.PAGE",
    );
    refuses(
        "write m0\nexpect m0 data=2.1 by B2",
        "3:11-15 operation 2 does not write that page",
        "STEP.PAGE",
    );
    refuses("expect m0 data=x by B2", "2:16-17 `x` is not a value of `data`", "STEP.PAGE");
    refuses(
        "expect result=EFALT by B2",
        "2:15-20 `EFALT` is not a value of `result`",
        "did you mean `EFAULT`?",
    );
    refuses("expect m0+7 ref=1 by B2", "2:8-12 page 7 is outside `m0`, which has 4", "");
    refuses(
        "h0 = get m0\nexpect h0[1] ref=1 by B2",
        "3:8-13 `h0` holds at most 1 pages, from 0",
        "",
    );
    refuses(
        "phase:\ncpu0: nop\nexpect m0 ref=1 by B2\ncpu1: nop",
        "4:1-22 an expectation stands between phases, not inside one",
        "below the last operation",
    );
}

#[test]
fn every_mistake_is_told_at_once() {
    let text = "m0 = mmap len=4 rw private\nwirte m0\nread m9\nread m0+9\nnop nop\n";
    let lines: Vec<_> = parse(text).unwrap_err().iter().map(|error| error.at.line).collect();
    assert_eq!(lines, [2, 3, 4, 5]);
}

#[test]
fn errors_are_shown_in_place() {
    let text = "# ünïcode\nm0 = mmap len=4 rw private\n  wirte m0  # what?\n";
    let error = &parse(text).unwrap_err()[0];
    assert_eq!(
        error.render("corpus/x.mm", text, false),
        "\
error: unknown operation `wirte`
 --> corpus/x.mm:3:3
  |
3 |   wirte m0  # what?
  |   ^^^^^
  |
  = help: did you mean `write`?"
    );
    assert!(error.render("x", text, true).contains("\u{1b}["));
    assert_eq!(error.to_string(), "3:3: unknown operation `wirte` (did you mean `write`?)");
}

#[test]
fn the_manual_names_every_operation() {
    let manual = include_str!("../../docs/program-text.md");
    for name in program::text::op_names() {
        assert!(manual.contains(&format!("`{name}`")), "{name}");
    }
    for field in Field::ALL {
        assert!(manual.contains(&format!("`{}`", field.word())), "{}", field.word());
    }
    // Its examples are programs, in canonical form.
    let mut examples = 0;
    for block in manual.split("```mm\n").skip(1) {
        let source = block.split("```").next().unwrap();
        let formatted = format(source).unwrap_or_else(|errors| panic!("{source}\n{errors:?}"));
        assert_eq!(formatted, source);
        examples += 1;
    }
    assert!(examples >= 3);
}
