//! A program as a C reproducer for a real kernel.
//!
//! Each address space is a process. The first one, `mm0`, tells the others over pipes which step to
//! make, so that steps keep their order. What no system call does (a failing allocation, the place
//! of a folio, a folio lock held by name) is left as a comment.

use std::fmt::Write;

use program::{Advice, Backing, Entry, Foll, Layout, Op, Place, Program, Prot, Range, Step};

/// The source.
pub fn reproducer(program: &Program) -> String {
    let mut out = String::from(
        "// A reproducer: cc -O2 -o repro repro.c && ./repro. Some steps need root or hardware.\n//\n",
    );
    for line in program.to_string().lines() {
        let _ = writeln!(out, "// {line}");
    }
    out.push_str(PRELUDE);
    let layout = Layout::of(program);
    let _ = writeln!(out, "\nstatic int step(int n)\n{{\n\tswitch (n) {{");
    for (number, step) in program.steps().enumerate() {
        let _ = writeln!(out, "\tcase {number}: // {}", step.op);
        for line in statements(number, step, program, &layout) {
            let _ = writeln!(out, "\t\t{line}");
        }
        let _ = writeln!(out, "\t\treturn 0;");
    }
    out.push_str("\t}\n\treturn 0;\n}\n");
    out.push_str(WORKERS);
    out.push_str("\nint main(void)\n{\n\tstart();\n");
    for (number, step) in program.steps().enumerate() {
        let mm = step.op.mm().map_or(0, |mm| mm.0);
        match step.op {
            Op::Exit { .. } => {
                let _ = writeln!(out, "\tend({mm});");
            }
            _ => {
                let _ = writeln!(out, "\tdo_step({mm}, {}, {number});", step.cpu);
            }
        }
    }
    out.push_str("\treturn 0;\n}\n");
    out
}

/// What a step does, as C.
fn statements(number: usize, step: &Step, program: &Program, layout: &Layout) -> Vec<String> {
    let ptes = u32::from(program.shape.ptes);
    // An area begins `shift` pages past a PMD boundary of the real machine too.
    let page = |vpn: u32| format!("PAGE({}, {})", vpn / ptes, vpn % ptes);
    let at = |range: Range| page(layout.span(range).start);
    let len = |range: Range| format!("{} * PSZ", range.len);
    let mut lines = Vec::new();
    if step.place != Place::Normal {
        lines.push("// where folios are placed is up to the kernel".to_owned());
    }
    if let Some(fail) = step.fail {
        lines.push(format!(
            "// {:?} attempt {} fails: see CONFIG_FAIL_PAGE_ALLOC",
            fail.site, fail.nth
        ));
    }
    lines.push(match step.op {
        Op::Mmap { area, backing, prot, .. } => {
            let span = layout.area(area);
            let (flags, fd, offset) = match backing {
                Backing::AnonPrivate => ("MAP_PRIVATE | MAP_ANONYMOUS", "-1".to_owned(), 0),
                Backing::AnonShared => ("MAP_SHARED | MAP_ANONYMOUS", "-1".to_owned(), 0),
                Backing::FilePrivate { file, pgoff } => ("MAP_PRIVATE", format!("file[{file}]"), pgoff),
                Backing::FileShared { file, pgoff } => ("MAP_SHARED", format!("file[{file}]"), pgoff),
            };
            format!(
                "return mmap({}, {} * PSZ, {}, MAP_FIXED_NOREPLACE | {flags}, {fd}, {offset} * PSZ) == MAP_FAILED;",
                page(span.start), span.end - span.start, protection(prot)
            )
        }
        Op::Munmap { range, .. } => format!("return munmap({}, {});", at(range), len(range)),
        Op::Mprotect { range, prot, .. } => {
            format!("return mprotect({}, {}, {});", at(range), len(range), protection(prot))
        }
        Op::Mremap { range, area, .. } => format!(
            "return mremap({}, {len}, {len}, MREMAP_MAYMOVE | MREMAP_FIXED, {}) == MAP_FAILED;",
            at(range), page(layout.area(area).start), len = len(range)
        ),
        Op::Madvise { range, advice, .. } => {
            let advice = match advice {
                Advice::DontNeed => "MADV_DONTNEED",
                Advice::DontFork => "MADV_DONTFORK",
                Advice::DoFork => "MADV_DOFORK",
                Advice::HugePage => "MADV_HUGEPAGE",
                Advice::NoHugePage => "MADV_NOHUGEPAGE",
                Advice::Collapse => "MADV_COLLAPSE",
                Advice::PopulateRead => "MADV_POPULATE_READ",
                Advice::PopulateWrite => "MADV_POPULATE_WRITE",
            };
            format!("return madvise({}, {}, {advice});", at(range), len(range))
        }
        Op::Read { range, .. } => format!("return touch({}, {}, 0, {});", at(range), range.len, number + 1),
        Op::Write { range, .. } => format!("return touch({}, {}, 1, {});", at(range), range.len, number + 1),
        Op::Fork { child, .. } => format!("return spawn({});", child.0),
        Op::Gup { range, handle, entry, foll, .. } => {
            let what = match (foll, entry) {
                (Foll::Pin, _) => "pin",
                (Foll::Get, Entry::FastOnly) => "get /* fast_only: no system call insists on it */",
                (Foll::Get, _) => "get",
            };
            format!("return {what}({}, {}, {});", handle.0, at(range), range.len)
        }
        Op::Put { handle } => format!("return put({});", handle.0),
        Op::Unpin { handle, also, .. } => match also {
            Some(also) => format!("return unpin({}) | unpin({});", handle.0, also.0),
            None => format!("return unpin({});", handle.0),
        },
        Op::SplitFolio { range, .. } => format!("return split_huge({}, {});", at(range), range.len),
        Op::Migrate { range, .. } => format!("return migrate({}, {});", at(range), range.len),
        Op::LruAddDrain | Op::LruAddDrainAll => "return drain();".to_owned(),
        Op::Nop => return lines,
        _ => "// no system call does this".to_owned(),
    });
    if lines.last().is_some_and(|line| line.starts_with("return")) {
        // The caller adds a return of its own; what follows one is never reached.
        let last = lines.pop().unwrap_or_default();
        lines.push(format!("if ({})", last.trim_start_matches("return ").trim_end_matches(';')));
        lines.push("\treturn 1;".to_owned());
    }
    lines
}

fn protection(prot: Prot) -> &'static str {
    match prot {
        Prot::None => "PROT_NONE",
        Prot::Read => "PROT_READ",
        Prot::ReadWrite => "PROT_READ | PROT_WRITE",
    }
}

const PRELUDE: &str = include_str!("prelude.c");
const WORKERS: &str = include_str!("workers.c");
